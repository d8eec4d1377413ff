"""The AMI client against FakeAsterisk in memory: login, answers, lists, events."""

import itertools

import pytest
from twisted.logger import formatEvent, globalLogPublisher

from tandem.ami import actions
from tandem.ami.actions import Action
from tandem.ami.client import new_action_id
from tandem.ami.errors import (
    AmiConnectionLost,
    AmiLoginRefused,
    AmiOverloaded,
    AmiProtocolError,
    AmiRefused,
    AmiTimeout,
    AmiValueRefused,
)
from tandem.ami.testing import success
from tests.tandem.ami.line import ORIGINATE, LineTests


class ClientTests(LineTests):
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
