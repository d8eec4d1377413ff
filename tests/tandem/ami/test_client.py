"""The AMI client against FakeAsterisk in memory: login, answers, events, deadlines, and what a lost connection leaves behind."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint
from twisted.internet.task import Clock
from twisted.logger import formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase, TestCase

from tandem.ami import actions
from tandem.ami.actions import Action
from tandem.ami.client import AmiClient, AmiLimits, new_action_id
from tandem.ami.errors import (
    AmiConnectionLost,
    AmiLoginRefused,
    AmiOverloaded,
    AmiProtocolError,
    AmiRefused,
    AmiTimeout,
    AmiValueRefused,
)
from tandem.ami.testing import FakeAsterisk, success

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


class ClientTests(SynchronousTestCase):
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

    # -- login

    def test_login_by_challenge_then_filter_then_events(self) -> None:
        line = self.line()
        line.client.on("Hangup", lambda _: None)
        ready = line.client.when_ready()
        line.start()
        self.successResultOf(ready)
        self.successResultOf(line.client.when_ready())
        assert [message.name for message in line.asterisk.received] == ["Challenge", "Login", "Filter", "Events"]
        assert line.asterisk.secret.encode() not in b"".join(message.frame for message in line.asterisk.received)

    def test_a_refused_login_is_told_and_tried_again_slowly(self) -> None:
        line = self.line(secret="wrong", reconnect_max_s=30)
        ready = line.client.when_ready()
        line.start()
        error = self.failureResultOf(ready, AmiLoginRefused).value
        assert "Authentication failed" in str(error)
        assert "wrong" not in str(error)
        assert line.client.last_error is error
        assert not line.client.is_ready
        line.pass_time(14)
        assert len(line.asterisk.sent("Login")) == 1
        line.asterisk.secret = "wrong"
        line.pass_time(17)
        assert line.client.is_ready
        assert line.client.last_error is None

    def test_a_port_that_says_nothing_is_left(self) -> None:
        line = self.line(login_timeout_s=3)
        line.asterisk.freeze()
        line.start()
        line.pass_time(3.1)
        assert isinstance(line.client.last_error, AmiTimeout)
        assert line.asterisk.sessions == []
        line.asterisk.thaw()
        line.pass_time(1)
        assert line.client.is_ready

    def test_another_service_is_left(self) -> None:
        line = self.line()
        line.asterisk.greeting = b"220 mail.example.org ESMTP\r\n"
        line.start()
        assert isinstance(line.client.last_error, AmiProtocolError)
        assert line.asterisk.sessions == []

    def test_reconnects_with_growing_pauses(self) -> None:
        line = self.line(reconnect_first_s=1, reconnect_max_s=4)
        line.asterisk.is_down = True
        tries: list[float] = []
        connect = line.client._endpoint.connect
        line.client._endpoint.connect = lambda factory: tries.append(line.clock.seconds()) or connect(factory)
        line.start()
        line.pass_time(40)
        pauses = [later - earlier for earlier, later in itertools.pairwise(tries)]
        for pause, whole in zip(pauses, [1, 2, 4, 4, 4, 4], strict=False):
            assert whole / 2 - 0.11 <= pause <= whole + 0.11, pauses
        line.asterisk.is_down = False
        line.pass_time(4)
        assert line.client.is_ready

    # -- answers

    def test_answers_find_their_action_in_any_order(self) -> None:
        line = self.line().start()
        line.asterisk.answers["Ping"] = lambda message: None
        line.asterisk.answers["CoreStatus"] = lambda message: None
        first, second = line.client.send(actions.ping()), line.client.send(actions.core_status())
        line.asterisk.flush()
        for action in ("CoreStatus", "Ping"):
            action_id = line.asterisk.sent(action)[0].get("ActionID")
            line.asterisk.send_bytes(f"Response: Success\r\nActionID: {action_id}\r\nFor: {action}\r\n\r\n".encode())
        line.asterisk.flush()
        assert self.successResultOf(first).get("For") == "Ping"
        assert self.successResultOf(second).get("For") == "CoreStatus"

    def test_every_send_has_an_action_id_of_its_own(self) -> None:
        line = self.line().start()
        for _ in range(50):
            line.client.send(ORIGINATE)
        line.asterisk.flush()
        ids = {message.get("ActionID") for message in line.asterisk.received}
        assert len(ids) == len(line.asterisk.received)
        assert all(len(action_id) == 32 and int(action_id, 16) >= 0 for action_id in ids)

    def test_an_action_id_can_be_chosen_but_not_shared(self) -> None:
        line = self.line().start()
        action_id = new_action_id()
        first = line.client.send(ORIGINATE, action_id=action_id)
        self.failureResultOf(line.client.send(ORIGINATE, action_id=action_id), AmiValueRefused)
        line.asterisk.flush()
        assert self.successResultOf(first).get("ActionID") == action_id
        assert len(line.asterisk.sent("Originate")) == 1

    def test_refusal_tells_the_reason(self) -> None:
        line = self.line().start()
        wanted = line.client.send(actions.db_del("did", "1"))
        unknown = line.client.send(actions.Action("Nonsense"))
        line.asterisk.flush()
        assert self.failureResultOf(wanted, AmiRefused).value.reason == "Database entry could not be deleted"
        assert "unknown command" in str(self.failureResultOf(unknown, AmiRefused).value)

    def test_output_of_a_command_and_its_refusal(self) -> None:
        line = self.line().start()
        line.asterisk.answers["Command"] = lambda message: (
            success("Command output follows", ("Output", "one"), ("Output", ""), ("Output", "two"))
            if message.get("Command") == "good"
            else [[("Response", "Error"), ("Message", "Command output follows"), ("Output", "No such command 'bad'")]]
        )
        good, bad = line.client.send(actions.command("good")), line.client.send(actions.command("bad"))
        line.asterisk.flush()
        assert self.successResultOf(good).all("Output") == ("one", "", "two")
        assert self.failureResultOf(bad, AmiRefused).value.reason == "No such command 'bad'"

    def test_no_secret_is_ever_logged(self) -> None:
        line = self.line(secret="hunter2")
        logged: list[str] = []
        observer = lambda event: logged.append(f"{event} {formatEvent(event)}")  # noqa: E731
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        line.start()
        line.asterisk.secret = "hunter2"
        line.pass_time(60)
        assert line.client.is_ready
        line.client.send(actions.db_put("did", "1", "hunter2\n")).addErrback(
            lambda failure: logged.append(str(failure.value))
        )
        line.client.send(actions.setvar("", "PASSWORD", "hunter2")).addErrback(
            lambda failure: logged.append(str(failure.value))
        )
        line.asterisk.cut()
        line.asterisk.flush()
        keys = [message.get("Key") for message in line.asterisk.sent("Login")]
        assert len(logged) > 3
        assert not [text for text in logged for hidden in ("hunter2", *keys) if hidden in text]

    def test_an_action_that_cannot_be_written_fails_alone(self) -> None:
        line = self.line().start()
        hostile = line.client.send(actions.db_put("did", "1", "x\r\n\r\nAction: Originate"))
        self.failureResultOf(hostile, AmiValueRefused)
        good = line.client.send(actions.ping())
        line.asterisk.flush()
        assert self.successResultOf(good).get("Ping") == "Pong"
        assert line.asterisk.sent("Originate") == []

    def test_responses_nobody_waits_for_are_dropped(self) -> None:
        line = self.line().start()
        line.asterisk.send_bytes(b"Response: Success\r\nActionID: 1\r\n\r\nResponse: Error\r\nMessage: x\r\n\r\n")
        line.asterisk.send_bytes(
            b"Response: Success\r\nActionID: 1\r\nActionID: 2\r\n\r\n" + b"debris@example.org>\r\nExten: s\r\n\r\n"
        )
        line.asterisk.flush()
        assert line.client.is_ready
        assert line.client._connection.debris == 1

    def test_not_connected_fails_at_once_and_sends_nothing_later(self) -> None:
        line = self.line()
        error = self.failureResultOf(line.client.send(ORIGINATE), AmiConnectionLost).value
        self.failureResultOf(line.client.send_list(actions.queue_status()), AmiConnectionLost)
        assert not error.written
        line.start()
        line.pass_time(60)
        assert line.asterisk.sent("Originate") == []

    def test_thousands_of_db_puts_through_a_window(self) -> None:
        line = self.line(window=100).start()
        puts = [line.client.send(actions.db_put("did", f"+49{number}", f"queue,{number}")) for number in range(2_000)]
        assert len(line.client._connection._in_flight) == 100
        line.asterisk.flush()
        for put in puts:
            self.successResultOf(put)
        assert line.asterisk.astdb == {f"did/+49{number}": f"queue,{number}" for number in range(2_000)}

    def test_the_queue_is_bounded(self) -> None:
        line = self.line(window=2, queue=3).start()
        line.asterisk.freeze()
        sent = [line.client.send(actions.ping()) for _ in range(6)]
        error = self.failureResultOf(sent[5], AmiOverloaded).value
        assert not error.written
        line.asterisk.thaw()
        for deferred in sent[:5]:
            self.assertNoResult(deferred)
        line.asterisk.flush()
        for deferred in sent[:5]:
            self.successResultOf(deferred)

    # -- lists

    def test_list_with_events_in_between(self) -> None:
        line = self.line().start()
        seen: list[str] = []
        line.client.on("QueueMember", lambda message: seen.append(message.get("Name")))
        line.client.on("Hangup", lambda message: seen.append(message.get("Uniqueid")))
        line.asterisk.flush()
        line.asterisk.answers["QueueStatus"] = lambda message: None
        line.asterisk.answers["QueueSummary"] = lambda message: None
        members, summary = line.client.send_list(actions.queue_status()), line.client.send_list(actions.queue_summary())
        line.asterisk.flush()
        first, second = (line.asterisk.sent(name)[0].get("ActionID") for name in ("QueueStatus", "QueueSummary"))
        line.asterisk.send_bytes(
            f"Response: Success\r\nActionID: {first}\r\nEventList: start\r\n\r\n"
            f"Event: QueueMember\r\nName: a\r\nActionID: {first}\r\n\r\n"
            f"Event: Hangup\r\nUniqueid: c1\r\n\r\n"
            f"Response: Success\r\nActionID: {second}\r\nEventList: start\r\n\r\n"
            f"Event: QueueMember\r\nName: b\r\nActionID: {first}\r\n\r\n"
            f"Event: QueueSummary\r\nQueue: q\r\nActionID: {second}\r\n\r\n"
            f"Event: QueueMember\r\nName: unasked\r\n\r\n"
            # a caller's number cannot end the list early
            f"Event: QueueMember\r\nName: c\r\nEventList: Complete\r\nActionID: {first}\r\n\r\n"
            f"Event: QueueSummaryComplete\r\nActionID: {second}\r\nEventList: Complete\r\n\r\n"
            f"Event: QueueStatusComplete\r\nActionID: {first}\r\nEventList: Complete\r\nListItems: 3\r\n\r\n".encode()
        )
        line.asterisk.flush()
        assert [message.get("Name") for message in self.successResultOf(members)] == ["a", "b", "c"]
        assert [message.get("Queue") for message in self.successResultOf(summary)] == ["q"]
        assert seen == ["c1", "unasked"]

    def test_lists_of_nothing(self) -> None:
        line = self.line().start()
        asked = [
            actions.queue_status(),
            actions.pjsip_show_contacts(),
            actions.pjsip_show_endpoints(),
            actions.db_get("did", "1"),
            actions.db_get_tree("did"),
        ]
        answers = [line.client.send_list(action) for action in asked]
        line.asterisk.flush()
        for answer in answers:
            assert self.successResultOf(answer) == []

    def test_a_list_of_nothing_may_be_a_plain_success(self) -> None:
        """As VoicemailUsersList answers where there is no mailbox."""
        line = self.line().start()
        line.asterisk.answers["VoicemailUsersList"] = lambda _: success(
            "There are no voicemail users currently defined."
        )
        asked = Action("VoicemailUsersList", nothing="There are no voicemail users currently defined.")
        answer = line.client.send_list(asked)
        line.asterisk.flush()
        assert self.successResultOf(answer) == []
        line.asterisk.answers["VoicemailUsersList"] = lambda _: success("Something else.")
        answer = line.client.send_list(asked)
        line.asterisk.flush()
        self.failureResultOf(answer, AmiProtocolError)

    def test_not_a_list_and_too_long_a_list(self) -> None:
        line = self.line(list_items=2).start()
        line.asterisk.lists["QueueStatus"] = [[("Event", "QueueParams"), ("Queue", str(number))] for number in range(3)]
        ping, queues = line.client.send_list(actions.ping()), line.client.send_list(actions.queue_status())
        line.asterisk.flush()
        self.failureResultOf(ping, AmiProtocolError)
        self.failureResultOf(queues, AmiProtocolError)
        assert line.client._connection._listing == 0

    def test_astdb(self) -> None:
        line = self.line().start()
        for key, value in (("1/a", "x"), ("1/b", "ü,;${}"), ("10", "z")):
            line.client.send(actions.db_put("did", key, value))
        one, tree = (
            line.client.send_list(actions.db_get("did", "1/b")),
            line.client.send_list(actions.db_get_tree("did", "1")),
        )
        line.client.send(actions.db_del_tree("did", "1"))
        line.asterisk.flush()
        assert [message.get("Val") for message in self.successResultOf(one)] == ["ü,;${}"]
        assert [message.get("Key") for message in self.successResultOf(tree)] == ["/did/1/a", "/did/1/b"]
        assert line.asterisk.astdb == {"did/10": "z"}

    # -- events

    def test_events_go_to_who_asked_and_survive_their_mistakes(self) -> None:
        line = self.line().start()
        seen: list[tuple[str, str]] = []

        def broken(message) -> None:
            raise RuntimeError("a reader's mistake")

        line.client.on("Hangup", broken)
        end = line.client.on("Hangup", lambda message: seen.append(("first", message.get("Uniqueid"))))
        line.client.on("Hangup", lambda message: seen.append(("second", message.get("Uniqueid"))))
        line.asterisk.flush()
        line.asterisk.send_event("Hangup", Uniqueid="c1")
        line.asterisk.flush()
        end()
        line.asterisk.send_event("Hangup", Uniqueid="c2")
        line.asterisk.send_event("Newchannel", Uniqueid="c3")
        line.asterisk.flush()
        assert seen == [("first", "c1"), ("second", "c1"), ("second", "c2")]
        assert len(self.flushLoggedErrors(RuntimeError)) == 2
        assert line.client.is_ready

    def test_a_name_that_would_change_the_filter_is_refused(self) -> None:
        for name in ("Hangup|.*", "", "Han gup", "Hang\r\nup", "Häng"):
            with pytest.raises(AmiValueRefused):
                self.line().client.on(name, lambda _: None)

    def test_only_wanted_events_are_sent(self) -> None:
        line = self.line()
        line.client.on("Hangup", lambda _: None)
        line.start()
        line.client.on("Cdr", lambda _: None)
        line.asterisk.flush()
        (session,) = line.asterisk.sessions
        for name, wanted in (("Hangup", True), ("Cdr", True), ("HangupRequest", False), ("Newchannel", False)):
            assert session.wants(f"Event: {name}\r\nX: Event: Hangup\r\n\r\n".encode()) == wanted, name

    def test_without_the_right_to_filter_all_events_come(self) -> None:
        line = self.line(may_filter=False)
        seen: list[str] = []
        line.client.on("Hangup", lambda message: seen.append(message.name))
        line.start()
        line.asterisk.send_event("Newchannel")
        line.asterisk.send_event("Hangup")
        line.asterisk.flush()
        assert seen == ["Hangup"]

    def test_a_forged_header_keeps_the_event_from_its_reader(self) -> None:
        line = self.line().start()
        seen: list[str] = []
        line.client.on("Newchannel", lambda message: seen.append(message.get("Uniqueid")))
        line.asterisk.flush()
        line.asterisk.send_bytes(
            b"Event: Newchannel\r\nCallerIDNum: 555\r\nUniqueid: ours\r\nExten: s\r\nUniqueid: 1.1\r\n\r\n"
        )
        line.asterisk.send_bytes(b"Event: Newchannel\r\nCallerIDNum: 555\r\nUniqueid: 1.2\r\n\r\n")
        line.asterisk.flush()
        assert seen == ["1.2"]

    def test_a_forged_answer_finds_no_action(self) -> None:
        line = self.line().start()
        line.asterisk.answers["Originate"] = lambda message: None
        answer = line.client.send(ORIGINATE)
        line.asterisk.flush()
        line.asterisk.send_bytes(
            b"Event: Newchannel\r\nCallerIDNum: 555\r\n\r\nResponse: Error\r\nActionID: 1\r\n\r\n@1.2.3.4\r\nExten: s\r\n\r\n"
        )
        line.asterisk.flush()
        self.assertNoResult(answer)
        answer.addErrback(lambda failure: failure.trap(AmiConnectionLost))

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
