"""Agents: what a wish comes to, and a real AMI protocol and database around it, with FakeAsterisk's queues at the far end."""

import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import TestCase

from tandem.agents import Agents
from tandem.ami.client import AmiClient, AmiLimits
from tandem.ami.errors import AmiConnectionLost
from tandem.ami.testing import FakeAsterisk, error, event_list, success
from tandem.document import read_document
from tandem.domain.agents import (
    AgentMissing,
    AgentNotThere,
    AgentRefused,
    AgentSessions,
    AgentWish,
    AgentWithdrawn,
    Roster,
    read_code,
)
from tandem.domain.snapshot import build_snapshot
from tandem.store.agents import load_agent_sessions
from tandem.store.database import open_store

DOCUMENT = """
general: {agent_pause_reasons: [lunch, training]}
endpoints:
  - {extension: 1001, secret: not-a-secret-1, name: Anna}
  - {extension: 1002, secret: not-a-secret-2}
  - {extension: 1003, secret: not-a-secret-3}
queues:
  - {name: sales, extension: 500, members: [{endpoint: 1001, penalty: 2}, {endpoint: 1002}], fallback: {hangup: normal}}
  - {name: support, extension: 501, members: [{endpoint: 1001}], fallback: {hangup: normal}}
  - {name: overflow, extension: 502, open_login: yes, fallback: {hangup: normal}}
"""
SNAPSHOT = build_snapshot(1, read_document(DOCUMENT, "test"))
OTHER = build_snapshot(
    2, read_document(DOCUMENT.replace("members: [{endpoint: 1001, penalty: 2}, {endpoint: 1002}], ", ""), "test")
)


def keep(sessions, change):
    """What the database makes of a change."""
    logins = {**sessions.logins, **{(login.endpoint, login.queue): login for login in change.logins}}
    pauses = {**sessions.pauses, **({change.endpoint: change.pause} if change.pause is not None else {})}
    return AgentSessions(logins, pauses)


def ask(sessions, endpoint, wish, *queues, reason="", at=1.0):
    change = Roster(SNAPSHOT, sessions).decide(endpoint, AgentWish(wish, queues, reason), at, "somebody")
    return change, keep(sessions, change)


class TestWishes:
    def test_members_are_in_until_they_go_and_come_back_to_what_they_left(self):
        start = AgentSessions()
        assert Roster(SNAPSHOT, start).list_entered("1001") == ["sales", "support"]
        change, gone = ask(start, "1001", "switch-login")
        assert (change.event, change.queues) == ("logout", ("sales", "support"))
        assert Roster(SNAPSHOT, gone).list_entered("1001") == []
        assert set(Roster(SNAPSHOT, gone).list_members()) == {("sales", "1002", 0)}
        change, back = ask(gone, "1001", "switch-login")
        assert (change.event, change.queues) == ("login", ("sales", "support"))
        assert ("sales", "1001", 2) in set(Roster(SNAPSHOT, back).list_members())

    def test_one_queue_of_several(self):
        change, sessions = ask(AgentSessions(), "1001", "logout", "sales")
        assert change.queues == ("sales",)
        assert Roster(SNAPSHOT, sessions).list_entered("1001") == ["support"]
        change, sessions = ask(sessions, "1001", "switch-login", "sales")
        assert (change.event, Roster(SNAPSHOT, sessions).list_entered("1001")) == ("login", ["sales", "support"])

    def test_who_is_no_member_enters_open_queues_alone(self):
        with pytest.raises(AgentRefused, match="sales is neither"):
            ask(AgentSessions(), "1003", "login", "sales")
        with pytest.raises(AgentRefused, match="no 'nowhere'"):
            ask(AgentSessions(), "1003", "login", "nowhere")
        with pytest.raises(AgentRefused, match="must name a queue"):
            ask(AgentSessions(), "1003", "switch-login")
        with pytest.raises(AgentMissing):
            ask(AgentSessions(), "1009", "login")
        _, sessions = ask(AgentSessions(), "1003", "login", "overflow")
        assert Roster(SNAPSHOT, sessions).list_agents() == ["1001", "1002", "1003"]
        change, sessions = ask(sessions, "1003", "switch-login")
        assert (change.event, change.queues) == ("logout", ("overflow",))

    def test_a_pause_goes_on_until_its_end_another_reason_or_the_last_logout(self):
        change, sessions = ask(AgentSessions(), "1001", "switch-pause", reason="lunch", at=5)
        assert (change.event, change.reason, change.pause.since) == ("pause", "lunch", 5)
        change, sessions = ask(sessions, "1001", "switch-pause", reason="training", at=6)
        assert (change.event, change.pause.reason) == ("pause", "training")
        change, sessions = ask(sessions, "1001", "pause", reason="training", at=7)
        assert change.pause.since == 6
        change, one = ask(sessions, "1001", "logout", "sales")
        assert one.pauses["1001"].is_paused
        change, none = ask(one, "1001", "logout")
        assert not none.pauses["1001"].is_paused
        with pytest.raises(AgentNotThere):
            ask(none, "1001", "pause")
        for wish, reason in (("switch-pause", ""), ("switch-pause", "training"), ("unpause", "")):
            change, working = ask(sessions, "1001", wish, reason=reason)
            assert change.event == "unpause"
            assert not working.pauses["1001"].is_paused

    def test_nothing_to_do_changes_nothing(self):
        change, _ = ask(AgentSessions(), "1001", "login")
        assert (change.event, change.logins, change.pause) == ("login", (), None)

    def test_codes(self):
        assert read_code(SNAPSHOT, "login", "") == AgentWish("switch-login")
        assert read_code(SNAPSHOT, "login", "502") == AgentWish("switch-login", ("overflow",))
        assert read_code(SNAPSHOT, "pause", "") == AgentWish("switch-pause")
        assert read_code(SNAPSHOT, "pause", "2") == AgentWish("switch-pause", reason="training")
        assert read_code(SNAPSHOT, "pause", "7") == AgentWish("switch-pause", reason="7")
        for code, digits in (("login", "999"), ("pause", "x"), ("pause", "*")):
            with pytest.raises(AgentRefused):
                read_code(SNAPSHOT, code, digits)

    def test_who_is_at_work(self):
        nobody = AgentSessions({}, {})
        assert [Roster(SNAPSHOT, nobody).works(endpoint) for endpoint in ("1001", "1002", "1003")] == [True] * 3
        _, paused = ask(nobody, "1001", "pause")
        assert not Roster(SNAPSHOT, paused).works("1001")
        _, out = ask(nobody, "1002", "logout")
        assert not Roster(SNAPSHOT, out).works("1002")
        # 1003 is a phone like any other until its owner has worked somewhere.
        _, entered = ask(nobody, "1003", "login", "overflow")
        assert Roster(SNAPSHOT, entered).works("1003")
        _, left = ask(entered, "1003", "logout")
        assert not Roster(SNAPSHOT, left).works("1003")

    def test_what_is_not_configured_any_more_is_stale(self):
        _, sessions = ask(AgentSessions(), "1001", "logout")
        _, sessions = ask(sessions, "1003", "login", "overflow")
        logins, pauses = Roster(OTHER, sessions).list_stale()
        assert logins == [("1001", "sales")]
        assert pauses == []
        assert Roster(SNAPSHOT, sessions).list_stale() == ([], [])

    @given(
        st.lists(
            st.tuples(
                st.sampled_from(["1001", "1002", "1003"]),
                st.sampled_from(["login", "logout", "switch-login", "pause", "unpause", "switch-pause"]),
                st.sets(st.sampled_from(["sales", "support", "overflow"])),
                st.sampled_from(["", "lunch"]),
            )
        )
    )
    def test_whatever_is_asked_the_event_says_what_holds_after_it(self, wishes):
        sessions = AgentSessions()
        for endpoint, wish, queues, reason in wishes:
            try:
                change, sessions = ask(sessions, endpoint, wish, *sorted(queues), reason=reason)
            except (AgentRefused, AgentNotThere):
                continue
            roster = Roster(SNAPSHOT, sessions)
            entered, pause = set(roster.list_entered(endpoint)), roster.read_pause(endpoint)
            match change.event:
                case "login":
                    assert entered >= set(change.queues)
                case "logout":
                    assert not entered & set(change.queues)
                case "pause":
                    assert (pause.is_paused, pause.reason) == (True, reason)
                case "unpause":
                    assert not pause.is_paused
            assert entered or pause is None or not pause.is_paused
            assert roster.list_stale() == ([], [])


class Queues:
    """app_queue's members, as far as AMI shows and changes them."""

    def __init__(self, asterisk):
        self.members = {}
        self.log = []
        asterisk.answers["QueueStatus"] = lambda _: event_list(
            "Queue status will follow", self.rows(), "QueueStatusComplete"
        )
        for name in ("QueueAdd", "QueueRemove", "QueuePause", "QueuePenalty"):
            asterisk.answers[name] = self.change

    def rows(self):
        for (queue, interface), (paused, reason, penalty) in self.members.items():
            yield [
                ("Event", "QueueMember"), ("Queue", queue), ("Location", interface), ("Membership", "dynamic"), ("Penalty", penalty),
                ("Paused", str(int(paused))), ("PausedReason", reason), ("Status", "1"), ("CallsTaken", "3"), ("LastCall", "1700000000"),
                ("LoginTime", "1600000000"), ("InCall", "0"),
            ]  # fmt: skip

    def change(self, message):
        key = message.get("Queue"), message.get("Interface")
        self.log.append((message.name, *key))
        if (message.name == "QueueAdd") == (key in self.members):
            return error("Unable to do it")
        if message.name == "QueueRemove":
            del self.members[key]
        elif message.name == "QueueAdd":
            self.members[key] = (message.get("Paused") == "true", "", message.get("Penalty"))
        else:
            penalty = self.members[key][2]
            self.members[key] = (message.get("Paused") == "true", message.get("Reason"), penalty)
        return success("Done")


class AgentsTest(TestCase):
    def setUp(self):
        self.folder = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.folder)
        self.store = open_store(self.folder / "tandem.db")
        self.addCleanup(self.store.stop)
        self.asterisk = FakeAsterisk()
        self.queues = Queues(self.asterisk)
        self.snapshot = SNAPSHOT
        self.clock = Clock()
        self.client = AmiClient(
            self.asterisk.endpoint, self.asterisk.username, self.asterisk.secret, clock=self.clock, limits=AmiLimits(ping_every_s=10_000)
        )  # fmt: skip
        self.client.startService()
        self.asterisk.flush()
        self.told = []
        self.agents = self.make()

    def make(self):
        agents = Agents(self.store, lambda: self.snapshot, self.send, self.ask, lambda: 1000.0)
        agents.watch(self.told.append)
        return agents

    def send(self, action):
        return self.pump(self.client.send(action))

    def ask(self, action):
        return self.pump(self.client.send_list(action))

    def pump(self, sent):
        self.asterisk.flush()
        return sent

    async def wish(self, endpoint, wish, *queues, reason="", **more):
        async def commit(work):
            return await self.store.run(work)

        return await self.agents.change(endpoint, AgentWish(wish, queues, reason), by="somebody", commit=commit, **more)

    def test_logged_out_stays_out_over_restarts_of_either_side(self):
        async def live():
            assert await self.agents.sync() == 3
            assert set(self.queues.members) == {
                ("sales", "PJSIP/1001"),
                ("sales", "PJSIP/1002"),
                ("support", "PJSIP/1001"),
            }
            change = await self.wish("1001", "logout")
            assert change.queues == ("sales", "support")
            assert set(self.queues.members) == {("sales", "PJSIP/1002")}
            # A new Tandem, then a new Asterisk.
            self.agents = self.make()
            assert await self.agents.sync() == 0
            self.queues.members.clear()
            assert await self.agents.sync() == 1
            assert set(self.queues.members) == {("sales", "PJSIP/1002")}
            await self.wish("1001", "login", "sales")
            assert ("sales", "PJSIP/1001") in self.queues.members
            assert self.queues.members["sales", "PJSIP/1001"][2] == "2"
            assert [change.event for change in self.told] == ["logout", "login"]

        return Deferred.fromCoroutine(live())

    def test_a_pause_comes_back_with_its_reason_and_is_not_taken_from_who_never_asked(self):
        async def live():
            await self.agents.sync()
            await self.wish("1001", "pause", reason="lunch")
            paused = {
                key
                for key, (is_paused, reason, _) in self.queues.members.items()
                if (is_paused, reason) == (True, "lunch")
            }
            assert paused == {("sales", "PJSIP/1001"), ("support", "PJSIP/1001")}
            self.queues.members.clear()
            await self.agents.sync()
            assert {key for key, member in self.queues.members.items() if member[:2] == (True, "lunch")} == paused
            # The admin's own pause of somebody else.
            self.queues.members["sales", "PJSIP/1002"] = (True, "of the admin", "0")
            assert await self.agents.sync() == 0
            agents = {agent.extension: agent for agent in await self.agents.list_agents()}
            assert (agents["1002"].is_paused, agents["1002"].pause_reason) == (True, "of the admin")
            assert (agents["1001"].pause_reason, agents["1001"].paused_since.timestamp()) == ("lunch", 1000)
            await self.wish("1001", "unpause")
            assert not any(member[0] for key, member in self.queues.members.items() if key[1] == "PJSIP/1001")

        return Deferred.fromCoroutine(live())

    def test_the_list_says_all_of_an_agent(self):
        async def live():
            await self.agents.sync()
            await self.wish("1003", "login", "overflow")
            await self.wish("1002", "logout")
            self.asterisk.lists["DeviceStateList"] = [
                [("Event", "DeviceStateChange"), ("Device", "PJSIP/1002"), ("State", "RINGINUSE")]
            ]
            anna, bert, carl = await self.agents.list_agents()
            assert (anna.extension, anna.name, anna.device, anna.calls_taken, anna.is_logged_in) == (
                "1001",
                "Anna",
                "not-in-use",
                6,
                True,
            )
            assert (anna.logged_in_since.timestamp(), anna.last_call_at.timestamp()) == (1600000000, 1700000000)
            assert (bert.device, bert.is_logged_in, bert.logged_in_since) == ("ringing-in-use", False, None)
            assert [
                (queue.queue, queue.is_member, queue.is_logged_in, queue.since.timestamp()) for queue in carl.queues
            ] == [("overflow", False, True, 1000)]

        return Deferred.fromCoroutine(live())

    def test_without_asterisk_and_for_who_does_not_wait_nothing_changes(self):
        async def live():
            await self.agents.sync()
            with pytest.raises(AgentWithdrawn):
                await self.wish("1001", "logout", is_wanted=lambda: False)
            self.asterisk.is_down = True
            self.asterisk.cut()
            self.asterisk.flush()
            with pytest.raises(AmiConnectionLost):
                await self.wish("1001", "logout")
            assert (await self.store.read(load_agent_sessions)).logins == {}
            assert self.told == []

        return Deferred.fromCoroutine(live())

    def test_what_was_committed_and_not_done_is_done_later(self):
        async def live():
            await self.agents.sync()
            problems = []
            self.agents.retry = problems.append
            whole, self.asterisk.answers["QueueRemove"] = (
                self.asterisk.answers["QueueRemove"],
                lambda _: self.asterisk.cut(),
            )
            await self.wish("1002", "logout")
            assert len(problems) == 1
            self.asterisk.answers["QueueRemove"] = whole
            for _ in range(5):
                self.clock.advance(1)
                self.asterisk.flush()
            assert ("sales", "PJSIP/1002") in self.queues.members
            await self.agents.sync()
            assert ("sales", "PJSIP/1002") not in self.queues.members

        return Deferred.fromCoroutine(live())

    def test_who_gets_the_extension_or_the_place_next_begins_anew(self):
        async def live():
            await self.agents.sync()
            await self.wish("1001", "logout")
            self.snapshot = OTHER
            await self.agents.sync()
            self.snapshot = SNAPSHOT
            await self.agents.sync()
            assert ("sales", "PJSIP/1001") in self.queues.members
            assert ("support", "PJSIP/1001") not in self.queues.members

        return Deferred.fromCoroutine(live())

    def test_without_database_asterisk_keeps_its_members(self):
        async def live():
            await self.agents.sync()
            await self.wish("1001", "logout")
            await self.store.stop()
            (self.folder / "tandem.db").write_bytes(b"no database")
            for rest in self.folder.glob("tandem.db-*"):
                rest.unlink()
            before = dict(self.queues.members)
            assert await self.agents.sync() == 0
            assert self.queues.members == before

        return Deferred.fromCoroutine(live())
