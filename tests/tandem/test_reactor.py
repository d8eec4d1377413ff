"""The clock of everything that waits: it does not follow the wall clock."""

import time

import pytest
from twisted.internet.task import Clock

from tandem.reactor import SteadyClock


def test_it_does_not_follow_the_wall_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    timers = Clock()
    clock = SteadyClock(timers)
    before = clock.seconds()
    monkeypatch.setattr(time, "time", lambda: 0.0)
    assert before <= clock.seconds() < before + 60
    called: list[str] = []
    clock.callLater(5, called.append, "now").cancel()
    clock.callLater(5, called.append, "then")
    timers.advance(5)
    assert called == ["then"]
