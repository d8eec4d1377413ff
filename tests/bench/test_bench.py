"""The pieces of `make bench` at tiny sizes; nothing here says how fast anything is."""

import io
import json
import os
import shutil

import pytest
from click.testing import CliRunner
from rich.console import Console

import bench.__main__ as command
from bench import (
    ami_events,
    apply,
    campaigns,
    compat,
    dialer,
    event_stream,
    fastagi_load,
    http_get,
    numbers,
    originate,
    pure_cost,
    sip_calls,
)
from bench.decision_server import pick_extension
from bench.report import Budget, Report, describe_machine, print_report, to_json

WRONG = Report("wrong", ("what", "ms"), (("x", "2"),), budgets=(Budget("x", 2, 1, "ms"),), figures={"x": 2})
STRETCHED = Report("stretched", ("what",), (("x",),), budgets=(Budget("x", 2, 1, "ms", stretch=True),))


@pytest.mark.parametrize(
    ("measured", "at_least", "is_met"), [(1, False, True), (2, False, False), (1, True, True), (0, True, False)]
)
def test_a_budget_is_a_limit_from_above_or_below(measured, at_least, is_met):
    assert Budget("x", measured, 1, "ms", at_least=at_least).is_met == is_met


def test_a_missed_budget_is_printed_and_written():
    stream = io.StringIO()
    print_report(Console(file=stream, width=100), WRONG)
    assert "MISSED" in stream.getvalue()
    assert to_json(WRONG)["budgets"][0]["met"] is False


@pytest.mark.parametrize(("report", "status"), [(WRONG, 1), (STRETCHED, 0)])
def test_the_exit_code_tells_of_budgets_but_not_of_stretches(report, status, monkeypatch, tmp_path):
    monkeypatch.setitem(command.BENCHES, "pure", lambda: report)
    path = tmp_path / "out.json"
    done = CliRunner().invoke(command.main, ["pure", "--json", str(path)])
    assert done.exit_code == status, done.output
    written = json.loads(path.read_text())
    assert written["benches"]["pure"]["title"] == report.title
    assert written["machine"] == describe_machine()


def test_ami_events_reach_their_readers():
    assert all(rate > 0 for _, rate in ami_events.run(events=200))


def test_pure_parts():
    figures = pure_cost.run(dids=50, endpoints=20, decisions=10)
    assert all(value > 0 for value in figures.values())


def test_an_extension_has_as_many_free_digits_as_there_are_dids():
    assert pick_extension(100) == "4930##00000"
    assert pick_extension(100_000, "40") == "4940#####00"


@pytest.mark.skipif("CI" not in os.environ and shutil.which("cc") is None, reason="needs a C compiler")
def test_every_fastagi_server_answers_every_session():
    rows, swaps, failed = fastagi_load.run(sessions=200, rounds=1, many=1_000)
    assert [row.server for row in rows][-2:] == ["tandem, 100 DIDs", "tandem, 1,000 DIDs"]
    assert {row.server for row in rows} > set(fastagi_load.SERVERS)
    assert [row.failed for row in rows] == [0] * len(rows)
    assert failed == 0
    assert all(swap.rss_mb > 0 for swap in swaps.values())


def test_every_get_is_answered_as_the_first_one_was():
    hello, ours = http_get.run(requests=50, rounds=1, connections=4)
    assert (hello.server, ours.server) == (http_get.HELLO, http_get.OURS)
    assert [(row.requests, row.failed) for row in (hello, ours)] == [(50, 0), (50, 0)]


def test_an_answer_is_whole_by_its_length_or_its_last_chunk():
    whole = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"
    for answer in (whole, chunked):
        assert [http_get.is_whole(answer[:length]) for length in range(len(answer) + 1)].index(True) == len(answer)


def test_every_client_gets_every_event():
    row = event_stream.run(clients=5, rate=2000, seconds=0.5)
    assert (row.sent, row.told, row.received, row.lost) == (1000, 100, 500, 0)
    assert row.attempts > 0
    assert row.lag_max_ms >= row.lag_p99_ms >= 0


def test_every_number_is_dialled_once_by_the_dialer_alone():
    row = dialer.run(numbers=120, in_flight=20)
    assert (row.attempts, row.answered) == (120, 120)
    assert row.cpu_ms > 0


def test_every_other_api_is_asked_beside_its_native_twin():
    rows = compat.run(requests=2, rounds=1)
    assert {row.what.partition(":")[0] for row in rows} == {
        "ARI Dialer",
        "goAPI, token",
        "goAPI, password",
        "MikoPBX",
        "While1",
    }
    for row in rows:
        assert row.failed == 0, row
        assert row.cpu_us > 0, row
        assert row.twin_us > 0, row


def test_numbers_in_the_mass_are_all_there():
    row = numbers.run(rows=2000, bulk=100, campaigns=5, pages=8)
    assert row.wrong == 0
    assert len(row.pages_ms) == 4
    assert row.peak_mb > 0


@pytest.mark.asterisk
def test_every_number_is_dialled_once_by_a_real_asterisk():
    *ceilings, local, trunk = campaigns.run(numbers=60, in_flight=10, warm_up=10)
    assert [(ceiling.way, ceiling.attempts) for ceiling in ceilings] == [
        (campaigns.CEILING, 60),
        (campaigns.SIP_CEILING, 60),
    ]
    for row in (local, trunk):
        assert (row.attempts, row.answered, row.extra) == (60, 60, 0), row
        assert row.tandem_ms > 0
        assert row.asterisk_ms > 0


@pytest.mark.asterisk
def test_every_call_placed_over_http_has_its_cdr():
    row = originate.run(rate=10, calls=10, connections=2)
    assert (row.calls, row.placed, row.followed, row.lost) == (10, 10, 10, 0)


@pytest.mark.asterisk
def test_changes_are_checked_live_and_verified():
    pbx = apply.make_pbx(endpoints=12, dids=4, queues=3, menus=2, mailboxes=2, others=3)
    every, one, nothing = apply.measure_applies(pbx, runs=1, full_runs=1)
    assert all("reload" in row.laps and "verify" in row.laps for row in (every, one))
    assert (nothing.what, nothing.laps) == ("nothing to do", "")


@pytest.mark.asterisk
def test_calls_are_answered_in_every_way():
    rows = sip_calls.run(rate=10, calls=5, rounds=1)
    assert [row.calls for row in rows] == [5, 5, 5]
    assert [row.failed for row in rows] == [0, 0, 0]
    assert all(row.asterisk_ms > 0 for row in rows)
