"""The AMI client and FakeAsterisk in memory, on one clock, for tests; never a socket."""

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tandem.ami import actions
from tandem.ami.client import AmiClient, AmiLimits
from tandem.ami.testing import FakeAsterisk

ORIGINATE = actions.originate("Local/1@default", channel_id="c1", context="default", exten="s")


class Line:
    """A client and an Asterisk, joined in memory, on one clock."""

    def __init__(self, *, may_filter: bool = True, filters: bool = True, secret: str = "", **limits: float) -> None:
        self.clock = Clock()
        self.asterisk = FakeAsterisk(may_filter=may_filter)
        self.client = AmiClient(
            self.asterisk.endpoint,
            self.asterisk.username,
            secret or self.asterisk.secret,
            clock=self.clock,
            limits=AmiLimits(**limits),
            filters=filters,
        )

    def start(self) -> "Line":
        self.client.startService()
        self.asterisk.flush()
        return self

    def pass_time(self, seconds: float) -> None:
        """Time passes in tenths of a second, bytes move in each."""
        for _ in range(round(seconds * 10)):
            self.clock.advance(0.1)
            self.asterisk.flush()


class LineTests(SynchronousTestCase):
    """Tests with a line each; none leaves a timer or a session behind."""

    def line(self, **options) -> Line:
        line = Line(**options)
        self.addCleanup(self.stop, line)
        return line

    def stop(self, line: Line) -> None:
        if line.client.running:
            line.client.stopService()
            line.asterisk.thaw()
            line.asterisk.flush()
        assert [call for call in line.clock.getDelayedCalls() if call.active()] == [], "a timer is left behind"
        assert line.asterisk.sessions == []
