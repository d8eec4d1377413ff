"""The clock of everything that waits: it does not follow the wall clock."""

import subprocess
import sys
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


# In a process of its own, whose wall clock is moved while it runs: by an hour back, then by two forward.
JUMPS = """
import subprocess
import sys
import time
wall, jump = time.time, [0.0]
time.time = lambda: wall() + jump[0]
from tandem.reactor import install_reactor
install_reactor()
from twisted.internet import reactor, task
ticks = []
def tick():
    ticks.append(jump[0])
    if len(ticks) in (5, 10):
        jump[0] = -3600.0 if len(ticks) == 5 else 3600.0
    if len(ticks) == 15:
        reactor.stop()
reactor.callLater(0.2, lambda: ticks.append("once"))
task.LoopingCall(tick).start(0.02)
began = time.monotonic()
reactor.callLater(20, reactor.stop)
reactor.run()
print(len(ticks), "once" in ticks, time.monotonic() - began < 15)
"""


def test_timers_go_on_when_the_wall_clock_jumps() -> None:
    done = subprocess.run([sys.executable, "-c", JUMPS], capture_output=True, text=True, check=False, timeout=60)
    assert done.stdout.split() == ["15", "True", "True"], done.stdout + done.stderr
