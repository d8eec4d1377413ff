"""What tells that Asterisk has booted: FakeAsterisk, in memory, on a clock."""

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tandem.ami.boot import UNTOLD_S, Boot
from tandem.ami.client import AmiClient
from tandem.ami.testing import FakeAsterisk


class BootTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock, self.asterisk = Clock(), FakeAsterisk()
        self.ami = AmiClient(self.asterisk.endpoint, self.asterisk.username, self.asterisk.secret, clock=self.clock)
        self.boot = Boot(self.ami, self.clock)
        self.ami.on("Hangup", lambda _: None)

    def tearDown(self) -> None:
        self.ami.stopService()
        self.asterisk.flush()

    def start(self, *, is_booted: bool) -> None:
        self.asterisk.is_booted = is_booted
        self.ami.startService()
        self.asterisk.flush()

    def test_a_login_to_a_booted_asterisk_is_told_at_once(self) -> None:
        assert not self.boot.is_over
        self.start(is_booted=True)
        assert self.boot.is_over

    def test_a_boot_that_goes_on_is_waited_for(self) -> None:
        self.start(is_booted=False)
        assert (self.ami.is_ready, self.boot.is_over) == (True, False)
        self.asterisk.send_event("FullyBooted", Status="Fully Booted")
        self.asterisk.flush()
        assert self.boot.is_over

    def test_the_next_login_asks_anew(self) -> None:
        self.start(is_booted=True)
        self.asterisk.is_booted = False
        self.asterisk.cut()
        self.asterisk.flush()
        assert not self.boot.is_over
        self.clock.advance(self.ami.limits.reconnect_first_s)
        self.asterisk.flush()
        assert (self.ami.is_ready, self.boot.is_over) == (True, False)

    def test_a_login_that_may_not_be_told_waits_no_longer_than_a_boot_takes(self) -> None:
        self.start(is_booted=False)
        for _ in range(int(UNTOLD_S)):
            assert not self.boot.is_over
            self.clock.advance(1.0)
            self.asterisk.flush()
        assert self.boot.is_over
