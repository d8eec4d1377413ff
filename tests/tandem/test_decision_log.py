import io
import logging
from collections.abc import Sequence
from datetime import UTC, datetime

import pytest
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock

from tandem.decision_log import FLUSH_EVERY_S, MAX_UNSAVED, SAVE_AGAIN_S, DecisionLog
from tandem.domain.decisions import Decision
from tandem.lag import LagGauge
from tandem.stories import Stories


@pytest.fixture(autouse=True)
def _at_info(caplog):
    caplog.set_level(logging.INFO, "tandem.calls")


class Keeper:
    """Where decisions outlive us, as slow or broken as it must be."""

    def __init__(self) -> None:
        self.kept: list[list[str]] = []
        self.pending: list[Deferred[None]] | None = None

    def __call__(self, decisions: Sequence[Decision]) -> Deferred[None]:
        self.kept.append([decision.caller for decision in decisions])
        if self.pending is None:
            return succeed(None)
        self.pending.append(Deferred())
        return self.pending[-1]


def decision(caller="030"):
    return Decision(
        datetime(2026, 11, 20, tzinfo=UTC),
        "did",
        "1.1",
        "PJSIP/carrier-1",
        "4930",
        caller,
        ("DID 4930", "menu main"),
        "x",
        0.0015,
        7,
    )


def test_one_line_a_call_within_a_moment():
    clock, stream, stories = Clock(), io.StringIO(), Stories(5)
    log = DecisionLog(stories, clock, Keeper(), stream)
    log.startService()
    log.record(decision())
    assert stream.getvalue() == ""
    clock.advance(FLUSH_EVERY_S)
    assert stream.getvalue().splitlines() == [
        "CALL did 1.1 from 030 to 4930: DID 4930, menu main -> x (1.5 ms, revision 7)"
    ]
    assert len(stories) == 1
    log.record(decision())
    log.stopService()
    assert len(stream.getvalue().splitlines()) == 2
    assert not clock.getDelayedCalls()


def test_a_caller_cannot_write_a_second_line():
    stream = io.StringIO()
    log = DecisionLog(Stories(5), Clock(), Keeper(), stream)
    log.record(decision("030\nCALL did 1.2 from nobody\x1b[2J\u2028x"))
    log.flush()
    (line,) = stream.getvalue().splitlines()
    assert line.isprintable()


def test_a_log_that_cannot_be_written_loses_no_story():
    class Full(io.StringIO):
        def write(self, text):
            raise OSError(28, "No space left on device")

    stories = Stories(5)
    log = DecisionLog(stories, Clock(), Keeper(), Full())
    log.record(decision())
    log.flush()
    assert len(stories) == 1


def test_lag_is_lateness():
    clock = Clock()
    gauge = LagGauge(clock)
    gauge.startService()
    for late_s in (0.0, 0.0, 0.05, 0.0):
        clock.advance(0.1 + late_s)
    assert gauge.read_max() == pytest.approx(0.05)
    gauge.stopService()
    assert not clock.getDelayedCalls()


def test_decisions_are_kept_in_batches_one_at_a_time():
    clock, keeper = Clock(), Keeper()
    log = DecisionLog(Stories(5), clock, keeper, io.StringIO())
    keeper.pending = []
    log.startService()
    for caller in ("1", "2"):
        log.record(decision(caller))
    clock.advance(FLUSH_EVERY_S)
    for caller in ("3", "4"):
        log.record(decision(caller))
        clock.advance(FLUSH_EVERY_S)
    assert keeper.kept == [["1", "2"]]  # the first is under way
    waiting = Deferred.fromCoroutine(log.save())
    keeper.pending[0].callback(None)
    assert keeper.kept[1:] == [["3", "4"]]
    assert not waiting.called
    keeper.pending[1].callback(None)
    assert waiting.called
    log.record(decision("5"))
    stopped = log.stopService()
    assert keeper.kept[2:] == [["5"]]
    keeper.pending[2].callback(None)
    assert stopped.called


def test_what_cannot_be_kept_is_tried_again_and_told_once(caplog):
    caplog.set_level(logging.WARNING)
    clock, keeper = Clock(), Keeper()
    log = DecisionLog(Stories(5), clock, keeper, io.StringIO())
    keeper.pending = []
    log.startService()
    log.record(decision("1"))
    clock.advance(FLUSH_EVERY_S)
    keeper.pending[0].errback(OSError("no disk"))
    log.record(decision("2"))
    clock.advance(FLUSH_EVERY_S)
    assert len(keeper.kept) == 1
    clock.pump([FLUSH_EVERY_S] * int(SAVE_AGAIN_S / FLUSH_EVERY_S))
    assert keeper.kept[1:] == [["1", "2"]]
    keeper.pending[1].errback(OSError("no disk"))
    assert sum("not kept" in record.message for record in caplog.records) == 1
    keeper.pending = None
    log.stopService()
    assert keeper.kept[2:] == [["1", "2"]]


def test_a_database_that_is_away_for_long_costs_no_memory():
    keeper = Keeper()
    log = DecisionLog(Stories(5), Clock(), keeper, io.StringIO())
    keeper.pending = []
    for number in range(MAX_UNSAVED + 5):
        log.record(decision(str(number)))
    first = Deferred.fromCoroutine(log.save())
    keeper.pending[0].errback(OSError("no disk"))
    assert first.called
    keeper.pending = None
    Deferred.fromCoroutine(log.save())
    assert len(keeper.kept[1]) == MAX_UNSAVED
    assert keeper.kept[1][0] == "5"
