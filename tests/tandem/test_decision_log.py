import io
import logging
from datetime import UTC, datetime

import pytest
from twisted.internet.task import Clock

from tandem.decision_log import FLUSH_EVERY_S, DecisionLog
from tandem.domain.decisions import Decision
from tandem.lag import LagGauge
from tandem.stories import Stories


@pytest.fixture(autouse=True)
def _at_info(caplog):
    caplog.set_level(logging.INFO, "tandem.calls")


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
    log = DecisionLog(stories, clock, stream)
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
    log = DecisionLog(Stories(5), Clock(), stream)
    log.record(decision("030\nCALL did 1.2 from nobody\x1b[2J\u2028x"))
    log.flush()
    (line,) = stream.getvalue().splitlines()
    assert line.isprintable()


def test_a_log_that_cannot_be_written_loses_no_story():
    class Full(io.StringIO):
        def write(self, text):
            raise OSError(28, "No space left on device")

    stories = Stories(5)
    log = DecisionLog(stories, Clock(), Full())
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
