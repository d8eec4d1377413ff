"""The examples in starpy's style, as processes of their own beside a real Asterisk."""

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from lab.observe import wait_until
from tandem.asterisk.instance import AsteriskInstance
from tests.asterisk.starpy.far import EXAMPLES, SECRET, stored

pytestmark = pytest.mark.asterisk


@pytest.fixture(scope="module")
def survey(asterisk: AsteriskInstance) -> Iterator[subprocess.Popen[str]]:
    process = asterisk.popen(
        [sys.executable, str(EXAMPLES / "starpy_survey.py"), "4574"],
        env=os.environ | {"PYTHONPATH": str(EXAMPLES.parent)},
        stderr=subprocess.DEVNULL,
    )
    wait_until(lambda: listens(asterisk, 4574), "the survey listens")
    yield process
    process.terminate()
    process.wait(timeout=10)


def listens(asterisk: AsteriskInstance, port: int) -> bool:
    try:
        asterisk.connect("127.0.0.1", port).close()
    except OSError:
        return False
    return True


def call_survey(asterisk: AsteriskInstance, far_end: str) -> None:
    asterisk.cli("channel request hangup all")
    asterisk.cli("database deltree test")
    asterisk.cli("database deltree survey")
    wait_until(lambda: "0 active channels" in asterisk.cli("core show channels"), "no call")
    asterisk.cli(f"channel originate Local/survey@starpy extension {far_end}@far")


def read_answers(asterisk: AsteriskInstance) -> list[str]:
    lines = [line for line in asterisk.cli("database show survey").splitlines() if line.startswith("/survey")]
    return [line.rpartition(":")[2].strip() for line in sorted(lines)]


def test_a_survey_is_answered(asterisk, survey) -> None:
    call_survey(asterisk, "surveyed")  # a key that the menu does not have, then 1; 5 and 3
    wait_until(lambda: stored(asterisk, "test", "after"), "the end of the survey")
    assert stored(asterisk, "test", "after") == "done."
    assert read_answers(asterisk) == ["5", "3"]


def test_who_hangs_up_half_way_has_answered_what_he_has_answered(asterisk, survey) -> None:
    call_survey(asterisk, "leaver")
    wait_until(lambda: read_answers(asterisk), "an answer")
    wait_until(lambda: "0 active channels" in asterisk.cli("core show channels"), "no call")
    assert read_answers(asterisk) == ["5"]
    assert stored(asterisk, "test", "after") in {None, "."}
    assert survey.poll() is None


def test_the_menu_connects(asterisk, survey) -> None:
    call_survey(asterisk, "chooser")
    wait_until(lambda: stored(asterisk, "test", "after"), "the end of the menu")
    assert stored(asterisk, "test", "after") == "operator"
    assert read_answers(asterisk) == []


def run_call(asterisk: AsteriskInstance, secret: str, channel: str) -> list[str]:
    process = asterisk.popen(
        [sys.executable, str(EXAMPLES / "starpy_call.py"), "starpy", channel, "starpy", "bad", "1"],
        env=os.environ | {"PYTHONPATH": str(EXAMPLES.parent)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        said, complaints = process.communicate(f"{secret}\n", timeout=40)
    finally:
        process.kill()
    assert complaints == ""
    return said.splitlines()


def test_a_call_and_its_events(asterisk) -> None:
    lines = run_call(asterisk, SECRET, "Local/hold@starpy")
    assert lines[0].startswith("Newchannel Down")
    assert any(line.startswith("Newstate Up") for line in lines)
    assert "OriginateResponse Success" in lines
    assert lines[-1].startswith("Hangup")


def test_a_login_that_is_refused(asterisk) -> None:
    (line,) = run_call(asterisk, "wrong", "Local/hold@starpy")
    assert line.startswith("Asterisk says")
    assert "Authentication failed" in line
