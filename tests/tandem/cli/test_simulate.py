"""The command; what it computes is proven in test_simulation.py."""

import json

import pytest
from click.testing import CliRunner

from tandem.cli import exits
from tandem.cli.main import main


def run(*arguments, code=exits.DONE):
    result = CliRunner().invoke(main, ["simulate", "--hours", "0.5", *map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result.output


def test_the_same_seed_writes_the_same_file(tmp_path):
    one, two, other = (tmp_path / name for name in ("one", "two", "other"))
    said = run("--seed", 5, "--log", one)
    assert run("--seed", 5, "--log", two) == said
    run("--seed", 6, "--log", other)
    assert one.read_bytes() == two.read_bytes() != other.read_bytes()
    assert one.read_text().startswith("0.000 dialled call=1\n")
    assert one.read_text().endswith("\n")


def test_json_and_words_say_the_same():
    outcome = json.loads(run("--json", "--mode", "fixed", "--limit", 60, "--agents", 5))
    said = run("--mode", "fixed", "--limit", 60, "--agents", 5)
    assert f"{outcome['calls_placed']}, at most 60 at once" in said
    assert f"{outcome['abandoned_share']:.2%} of them" in said
    assert f"{outcome['talk_share']:.1%} of their time" in said
    assert outcome["peak_calls"] == 60
    assert outcome["answered"] >= outcome["connected"] + outcome["abandoned"] > 0
    assert outcome["wait_s"]["p50"] <= outcome["wait_s"]["p90"] <= outcome["wait_s"]["p99"] <= 2


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--agents", 0], "--agents"),
        (["--answer-rate", 1.1], "--answer-rate"),
        (["--talk", "long"], "number of seconds"),
        (["--talk", "120:x"], "number of seconds"),
        (["--talk", "-5"], "must be a mean"),
        (["--talk", "nan"], "must be a mean"),
        (["--ring", "5:99"], "--ring"),
        (["--mode", "guess"], "--mode"),
        (["--hours", 0], "--hours"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(arguments, word):
    assert word in run(*arguments, code=exits.USAGE)


def test_a_log_that_cannot_be_written_is_said(tmp_path):
    assert "--log" in run("--log", tmp_path / "none" / "log", code=exits.FAILED)
