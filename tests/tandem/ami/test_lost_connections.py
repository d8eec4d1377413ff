"""What a lost, frozen or stopped connection leaves behind: each action ends once, and nothing is sent again."""

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint
from twisted.trial.unittest import SynchronousTestCase, TestCase

from tandem.ami import actions
from tandem.ami.client import AmiClient, AmiLimits
from tandem.ami.errors import (
    AmiConnectionLost,
    AmiTimeout,
)
from tandem.ami.testing import FakeAsterisk, success
from tests.tandem.ami.line import ORIGINATE, Line, LineTests


class LostConnectionTests(LineTests):
    # -- a lost connection

    def test_lost_connection_fails_what_waits_and_sends_nothing_again(self) -> None:
        line = self.line(window=1).start()
        line.asterisk.answers["Originate"] = lambda message: None
        first, second = line.client.send(ORIGINATE), line.client.send(ORIGINATE)
        line.asterisk.flush()
        line.asterisk.cut()
        line.asterisk.flush()
        assert self.failureResultOf(first, AmiConnectionLost).value.written
        assert not self.failureResultOf(second, AmiConnectionLost).value.written
        assert not line.client.is_ready
        line.pass_time(60)
        assert line.client.is_ready
        assert len(line.asterisk.sent("Originate")) == 1

    def test_after_a_reconnect_the_state_is_asked_again(self) -> None:
        line = self.line()
        told: list[object] = []
        line.asterisk.lists["QueueStatus"] = [[("Event", "QueueParams"), ("Queue", "sales")]]

        async def ask() -> None:
            told.append([message.get("Queue") for message in await line.client.send_list(actions.queue_status())])

        def fails() -> None:
            raise RuntimeError("an owner's mistake")

        line.client.on_ready(fails)
        line.client.on_ready(ask)
        line.client.on_lost(lambda: told.append("lost"))
        line.client.on("Hangup", lambda message: told.append(message.name))
        line.start()
        line.asterisk.cut()
        line.asterisk.flush()
        line.pass_time(1)
        line.asterisk.send_event("Hangup")
        line.asterisk.flush()
        assert told == [["sales"], "lost", ["sales"], "Hangup"]
        assert line.asterisk.logins == 2
        assert len(line.asterisk.sent("Filter")) == 2
        assert len(self.flushLoggedErrors(RuntimeError)) == 2

    def test_a_callback_may_send_and_cancel_while_everything_fails(self) -> None:
        line = self.line().start()
        line.asterisk.freeze()
        outcomes: list[object] = []
        second: list[Deferred] = []
        first = line.client.send(ORIGINATE)
        first.addErrback(lambda _: second[0].cancel())
        first.addErrback(lambda _: None)
        first.addCallback(
            lambda _: line.client.send(ORIGINATE).addErrback(lambda failure: outcomes.append(failure.value))
        )
        second.append(line.client.send(ORIGINATE))
        line.asterisk.cut()
        line.asterisk.flush()
        self.failureResultOf(second[0], CancelledError)
        assert isinstance(outcomes[0], AmiConnectionLost)
        assert not outcomes[0].written
        line.asterisk.thaw()

    def test_stop_fails_what_waits(self) -> None:
        line = self.line().start()
        line.asterisk.freeze()
        answer, waiting = line.client.send(ORIGINATE), line.client.stopService()
        line.asterisk.flush()
        self.successResultOf(waiting)
        self.failureResultOf(answer, AmiConnectionLost)
        line.asterisk.thaw()
        line.pass_time(60)
        assert line.asterisk.logins == 1

    def test_stop_while_waiting_to_reconnect_and_during_login(self) -> None:
        line = self.line()
        line.asterisk.is_down = True
        line.start()
        line.client.stopService()
        line.pass_time(60)
        assert line.asterisk.logins == 0
        line.asterisk.is_down = False
        line.client.startService()
        stopped = line.client.stopService()
        line.asterisk.flush()
        self.successResultOf(stopped)
        line.pass_time(60)
        assert line.asterisk.logins == 0

    # -- time

    def test_deadline(self) -> None:
        line = self.line(window=1).start()
        line.asterisk.answers["Ping"] = lambda message: None
        first, second = line.client.send(actions.ping(), timeout_s=3), line.client.send(ORIGINATE, timeout_s=2)
        line.asterisk.flush()
        line.asterisk.send_event("Hangup")  # something is heard: this Asterisk is alive
        line.pass_time(2.5)
        line.asterisk.send_event("Hangup")
        line.asterisk.flush()
        assert not self.failureResultOf(second, AmiTimeout).value.written
        line.pass_time(0.6)
        assert self.failureResultOf(first, AmiTimeout).value.written
        assert line.client.is_ready
        assert line.asterisk.sent("Originate") == [], "an action that expired in the queue is never written"
        late = line.asterisk.sent("Ping")[0].get("ActionID")
        line.asterisk.send_bytes(f"Response: Success\r\nActionID: {late}\r\n\r\n".encode())
        line.asterisk.flush()
        assert line.client.is_ready

    def test_a_slow_action_is_not_a_dead_asterisk(self) -> None:
        """Asterisk answers in order: what waits behind a reload times out, and the connection stays."""
        line = self.line().start()
        line.asterisk.freeze()
        reload = line.client.send(actions.module_reload("res_pjsip.so"), timeout_s=60)
        behind = line.client.send(actions.ping())
        line.pass_time(20)
        self.failureResultOf(behind, AmiTimeout)
        assert line.client.is_ready
        line.asterisk.thaw()
        line.asterisk.flush()
        self.successResultOf(reload)

    def test_a_frozen_asterisk_is_noticed_when_idle(self) -> None:
        line = self.line(ping_every_s=5, ping_timeout_s=4).start()
        line.pass_time(60)
        assert len(line.asterisk.sent("Ping")) >= 11
        assert line.asterisk.logins == 1
        line.asterisk.freeze()
        line.pass_time(9.1)
        assert not line.client.is_ready
        line.asterisk.thaw()
        line.pass_time(1)
        assert line.client.is_ready

    def test_an_action_in_a_hurry_does_not_cost_the_connection(self) -> None:
        """Asterisk is silent for longer than one action waits, and not as long as a Ping does: calls' events go on afterwards."""
        line = self.line(ping_every_s=60, ping_timeout_s=4)
        ended: list[str] = []
        line.client.on("Hangup", lambda message: ended.append(message.get("Uniqueid")))
        line.start()
        line.asterisk.freeze()
        hurried = line.client.send_list(actions.queue_status(), timeout_s=2)
        line.asterisk.send_event("Hangup", Uniqueid="c1")
        line.pass_time(2.1)
        assert self.failureResultOf(hurried, AmiTimeout).value.written
        line.pass_time(3.7)
        line.asterisk.thaw()
        line.pass_time(60)
        assert (line.client.is_ready, line.asterisk.logins, ended) == (True, 1, ["c1"])
        # One Ping asked whether it lives, before the next was due.
        assert len(line.asterisk.sent("Ping")) == 2

    def test_a_frozen_asterisk_is_noticed_under_load(self) -> None:
        """By a Ping that leaves although as many actions wait for their answer as may."""
        line = self.line(ping_every_s=5, ping_timeout_s=4, action_timeout_s=3, window=10).start()
        line.asterisk.freeze()
        sent: list[Deferred] = []
        for _ in range(69):
            sent.append(line.client.send(ORIGINATE))
            line.pass_time(0.1)
        assert line.client.is_ready
        line.pass_time(0.3)
        assert not line.client.is_ready
        outcomes = [type(self.failureResultOf(deferred).value) for deferred in sent]
        assert set(outcomes[:38]) == {AmiTimeout}
        assert set(outcomes[45:]) == {AmiConnectionLost}
        line.asterisk.thaw()

    def test_a_cancelled_action_leaves_its_place(self) -> None:
        line = self.line(window=1).start()
        line.asterisk.freeze()
        first, second, third = (line.client.send(actions.ping()) for _ in range(3))
        second.cancel()
        first.cancel()
        self.failureResultOf(first, CancelledError)
        self.failureResultOf(second, CancelledError)
        line.asterisk.thaw()
        line.asterisk.flush()
        self.successResultOf(third)

    def test_a_message_too_long_cuts_the_connection(self) -> None:
        line = self.line().start()
        answer = line.client.send(ORIGINATE)
        line.asterisk.send_bytes(b"Event: " + b"x" * 70_000 + b"\r\n\r\n")
        line.asterisk.flush()
        self.failureResultOf(answer, AmiConnectionLost)
        assert len(self.flushLoggedErrors()) == 0


class ReentrancyTests(SynchronousTestCase):
    """A callback may stop the service that runs it."""

    def stopped_by(self, arrange) -> None:
        line = Line()
        arrange(line)
        line.start()
        assert not line.client.running
        assert not [call for call in line.clock.getDelayedCalls() if call.active()]
        line.pass_time(60)
        assert line.asterisk.logins <= 1
        assert not line.client.is_ready
        assert line.asterisk.sessions == []
        assert not [call for call in line.clock.getDelayedCalls() if call.active()]

    def test_when_ready(self) -> None:
        self.stopped_by(lambda line: line.client.when_ready().addCallback(lambda _: line.client.stopService() and None))

    def test_when_refused(self) -> None:
        def arrange(line: Line) -> None:
            line.asterisk.secret = "another"
            line.client.when_ready().addErrback(lambda _: line.client.stopService() and None)

        self.stopped_by(arrange)

    def test_on_ready(self) -> None:
        self.stopped_by(lambda line: line.client.on_ready(lambda: line.client.stopService() and None))

    def test_on_lost(self) -> None:
        def arrange(line: Line) -> None:
            line.client.on_lost(lambda: line.client.stopService() and None)
            line.client.on_ready(line.asterisk.cut)

        self.stopped_by(arrange)

    def test_event(self) -> None:
        def arrange(line: Line) -> None:
            line.client.on("Hangup", lambda _: line.client.stopService() and None)
            line.client.on_ready(lambda: line.asterisk.send_event("Hangup"))

        self.stopped_by(arrange)


class LoopbackTests(TestCase):
    """The same pair over a real port."""

    async def test_over_tcp(self) -> None:
        asterisk = FakeAsterisk()
        port = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(asterisk)
        self.addCleanup(port.stopListening)
        endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", port.getHost().port)
        client = AmiClient(endpoint, asterisk.username, asterisk.secret, limits=AmiLimits(reconnect_first_s=0.01))
        heard: Deferred = Deferred()
        client.on("Hangup", heard.callback)
        client.startService()
        self.addCleanup(client.stopService)
        await client.when_ready()
        await client.send(actions.db_put("did", "1", "sales"))
        assert asterisk.astdb == {"did/1": "sales"}
        asterisk.send_event("Hangup", Uniqueid="c1")
        assert (await heard).get("Uniqueid") == "c1"
        lost: Deferred = Deferred()
        client.on_lost(lambda: lost.called or lost.callback(None))
        asterisk.cut()
        await lost
        await client.when_ready()
        assert asterisk.logins == 2


def place_calls_over_a_cut(where: dict[str, int]) -> None:
    """Five originates and a list, the connection cut somewhere: each ends exactly once, and none is sent twice."""
    line = Line()
    seen: list[str] = []
    line.client.on("Hangup", lambda message: seen.append(message.get("Uniqueid")))
    line.asterisk.lists["QueueStatus"] = [[("Event", "QueueMember"), ("Name", str(number))] for number in range(3)]
    line.asterisk.cut_after = where.get("sent")
    line.asterisk.cut_after_received = where.get("received")
    line.asterisk.answers["Originate"] = lambda message: success("Originate successfully queued")
    line.start()
    line.pass_time(1.5)  # a cut inside the login: connected again
    assert line.client.is_ready
    outcomes: list[str] = []
    ids = [f"{number:032x}" for number in range(5)]
    for action_id in ids:
        line.client.send(ORIGINATE, action_id=action_id).addCallbacks(
            lambda _: outcomes.append("answered"),
            lambda failure: outcomes.append(
                "in doubt" if failure.trap(AmiConnectionLost) and failure.value.written else "not sent"
            ),
        )
    queue = line.client.send_list(actions.queue_status())
    line.asterisk.flush()
    line.asterisk.send_event("Hangup", Uniqueid="c1")
    line.asterisk.flush()
    line.pass_time(60)
    assert len(outcomes) == 5
    received = [message.get("ActionID") for message in line.asterisk.sent("Originate")]
    assert received == ids[: len(received)], "never twice, never out of order"
    assert outcomes.count("answered") <= len(received) <= 5 - outcomes.count("not sent")
    assert queue.called
    if not isinstance(queue.result, list):
        queue.addErrback(lambda failure: failure.trap(AmiConnectionLost))
    else:
        assert [message.get("Name") for message in queue.result] == ["0", "1", "2"]
    assert line.client.is_ready
    assert set(seen) <= {"c1"}
    line.client.stopService()
    line.asterisk.flush()


@settings(max_examples=150, deadline=None)
@given(st.fixed_dictionaries({}, optional={"sent": st.integers(1, 2200), "received": st.integers(1, 2600)}))
def test_ami_cut_at_random_bytes(where: dict[str, int]) -> None:
    place_calls_over_a_cut(where)


def test_without_a_cut_all_is_answered() -> None:
    place_calls_over_a_cut({})
