"""Queue facts and members over a real AMI protocol, with FakeAsterisk at the far end."""

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import TestCase

from tandem.ami import actions
from tandem.ami.client import AmiClient, AmiLimits
from tandem.ami.testing import FakeAsterisk, error, success
from tandem.document import read_document
from tandem.domain.agents import AgentSessions, Roster
from tandem.domain.routing import QueueFacts
from tandem.domain.snapshot import build_snapshot
from tandem.facts import ASK_SOON_S, Facts, Overview
from tandem.members import plan_members, read_present, send_plan

SNAPSHOT = build_snapshot(1, read_document("""
endpoints:
  - {extension: 1001, secret: not-a-secret-1, name: Anna's desk}
  - {extension: 1002, secret: not-a-secret-2}
queues:
  - {name: sales, members: [{endpoint: 1001}, {endpoint: 1002, penalty: 3}], fallback: {hangup: normal}}
""", "test"))  # fmt: skip


def summary(queue, logged_in="2", available="1", callers="4"):
    return [
        ("Event", "QueueSummary"),
        ("Queue", queue),
        ("LoggedIn", logged_in),
        ("Available", available),
        ("Callers", callers),
    ]


def member(queue, interface, penalty="0", membership="dynamic"):
    return [
        ("Event", "QueueMember"),
        ("Queue", queue),
        ("Location", interface),
        ("Membership", membership),
        ("Penalty", penalty),
    ]


class AmiTestCase(TestCase):
    def setUp(self):
        self.clock = Clock()
        self.asterisk = FakeAsterisk()
        self.client = AmiClient(
            self.asterisk.endpoint,
            self.asterisk.username,
            self.asterisk.secret,
            clock=self.clock,
            limits=AmiLimits(ping_every_s=10_000),
        )
        self.client.startService()
        self.asterisk.flush()


class FactsTest(AmiTestCase):
    def setUp(self):
        super().setUp()
        self.facts = Facts(self.client.send_list, self.clock)

    def refresh(self):
        done = Deferred.fromCoroutine(self.facts.refresh())
        self.asterisk.flush()
        self.successResultOf(done)

    def test_known_for_five_seconds(self):
        assert self.facts.read_queue("sales") is None
        self.asterisk.lists["QueueSummary"] = [summary("sales")]
        self.refresh()
        assert self.facts.read_queue("sales") == QueueFacts(callers=4, members_available=1, members_logged_in=2)
        assert self.facts.read_queue("support") is None
        self.clock.advance(5)
        assert self.facts.read_queue("sales") is not None
        self.clock.advance(0.1)
        assert self.facts.read_queue("sales") is None

    def test_the_phones_that_somebody_waits_for_are_asked_for_and_no_others(self):
        states = {"DEVICE_STATE(PJSIP/1001)": "NOT_INUSE", "DEVICE_STATE(PJSIP/1002)": "INUSE"}
        self.asterisk.answers["Getvar"] = lambda message: success("", ("Value", states[message.get("Variable")]))
        wanted, told = {"1001"}, []
        facts = Facts(self.client.send_list, self.clock, self.client.send)
        facts.follow(self.client)
        facts.watch(lambda: told.append(facts.read_phone("1001")))
        facts.watch_phones(lambda: wanted)
        facts.startService()
        self.addCleanup(facts.stopService)
        self.asterisk.flush()
        assert (facts.read_phone("1001"), facts.read_phone("1002")) == ("NOT_INUSE", None)
        # An event is not believed, it makes us ask; and one of another phone does not even that.
        states["DEVICE_STATE(PJSIP/1001)"] = "INUSE"
        for device, state in (("PJSIP/1002", "INUSE"), ("PJSIP/1001", "UNAVAILABLE")):
            self.asterisk.send_event("DeviceStateChange", Device=device, State=state)
            self.asterisk.flush()
            self.clock.advance(ASK_SOON_S)
            self.asterisk.flush()
        assert facts.read_phone("1001") == "INUSE"
        assert told[-1] == "INUSE"
        # By itself every two seconds; what is wanted no more is known no more.
        wanted = {"1002"}
        self.clock.advance(2)
        self.asterisk.flush()
        assert (facts.read_phone("1001"), facts.read_phone("1002")) == (None, "INUSE")
        self.asterisk.answers["Getvar"] = lambda message: error("No such channel")
        for _ in range(3):
            self.clock.advance(2)
            self.asterisk.flush()
        assert facts.read_phone("1002") is None

    def test_what_is_not_understood_or_refused_leaves_them_to_age(self):
        self.asterisk.lists["QueueSummary"] = [summary("sales")]
        self.refresh()
        for answer in ([summary("sales", callers="many")], [[*summary("sales"), ("Callers", "0")]]):
            self.asterisk.lists["QueueSummary"] = answer
            self.refresh()
            assert self.facts.read_queue("sales").callers == 4
        self.asterisk.answers["QueueSummary"] = lambda message: error("Permission denied")
        self.refresh()
        self.clock.advance(6)
        assert self.facts.read_queue("sales") is None

    def test_after_a_login_everything_is_asked_again(self):
        self.client.on_ready(self.facts.ask_again)
        assert self.facts.read_overview() is None
        self.asterisk.lists["CoreShowChannels"] = [[("Event", "CoreShowChannel"), ("Channel", "PJSIP/1001-1")]]
        paused = [*member("sales", "PJSIP/1001"), ("Paused", "1")]
        self.asterisk.lists["QueueStatus"] = [paused, [("Event", "QueueEntry"), ("Queue", "sales")]]
        self.asterisk.lists["DeviceStateList"] = [
            [("Event", "DeviceStateChange"), ("Device", device), ("State", state)]
            for device, state in (("PJSIP/1001", "INUSE"), ("PJSIP/1002", "UNAVAILABLE"), ("Queue:sales", "NOT_INUSE"))
        ]
        self.asterisk.cut()
        for _ in range(5):
            self.clock.advance(1)
            self.asterisk.flush()
        assert self.facts.read_overview() == Overview(1, 1, 1, phones=2, phones_reachable=1)
        for name in ("CoreShowChannels", "QueueStatus", "DeviceStateList"):
            assert self.asterisk.sent(name)
        self.clock.advance(61)
        assert self.facts.read_overview() is None

    def test_it_asks_by_itself_and_stops(self):
        self.asterisk.lists["QueueSummary"] = [summary("sales")]
        self.facts.startService()
        for _ in range(3):
            self.asterisk.flush()
            self.clock.advance(2)
        self.facts.stopService()
        self.asterisk.flush()
        asked = len(self.asterisk.sent("QueueSummary"))
        assert asked >= 3
        self.clock.advance(20)
        self.asterisk.flush()
        assert len(self.asterisk.sent("QueueSummary")) == asked

    def test_a_frozen_asterisk_is_asked_once_at_a_time(self):
        self.asterisk.freeze()
        self.facts.startService()
        self.clock.advance(9)
        self.asterisk.thaw()
        self.asterisk.flush()
        assert len(self.asterisk.sent("QueueSummary")) <= 2
        self.facts.stopService()

    def test_an_event_makes_it_ask_a_moment_later_and_is_never_believed(self):
        told = []
        self.facts.follow(self.client)
        self.facts.watch(lambda: told.append(self.facts.read_queue("sales")))
        self.asterisk.lists["QueueSummary"] = [summary("sales")]
        self.facts.startService()
        self.addCleanup(self.facts.stopService)
        self.asterisk.flush()
        asked = len(self.asterisk.sent("QueueSummary"))
        read_at = self.facts.read_at()
        self.asterisk.lists["QueueSummary"] = [summary("sales", available="0")]
        for name in (
            "QueueMemberPause",
            "QueueMemberStatus",
            "AgentConnect",
            "AgentComplete",
            "QueueMemberRemoved",
        ) * 20:
            self.asterisk.send_event(name, Queue="sales", Available="7")
        self.asterisk.flush()
        assert self.facts.read_queue("sales").members_available == 1
        self.clock.advance(ASK_SOON_S)
        self.asterisk.flush()
        assert len(self.asterisk.sent("QueueSummary")) == asked + 1
        assert self.facts.read_queue("sales").members_available == 0
        assert self.facts.read_at() == read_at + ASK_SOON_S
        assert [facts.members_available for facts in told] == [1, 0]
        self.clock.advance(1)
        self.asterisk.flush()
        assert len(self.asterisk.sent("QueueSummary")) == asked + 1

    def test_a_flood_of_events_does_not_ask_an_asterisk_that_does_not_answer(self):
        self.facts.follow(self.client)
        self.facts.startService()
        self.asterisk.flush()
        self.asterisk.answers["QueueSummary"] = lambda message: None
        asked = len(self.asterisk.sent("QueueSummary"))
        for _ in range(15):
            self.asterisk.send_event("QueueMemberStatus", Queue="sales")
            self.asterisk.flush()
            self.clock.advance(ASK_SOON_S)
            self.asterisk.flush()
        assert len(self.asterisk.sent("QueueSummary")) == asked + 1
        self.facts.stopService()


class MembersTest(AmiTestCase):
    def sync(self):
        async def bring_in_step():
            present = read_present(await self.client.send_list(actions.queue_status()), SNAPSHOT.queues)
            plan = plan_members(SNAPSHOT, Roster(SNAPSHOT, AgentSessions()), present)
            return await send_plan(plan, self.client.send)

        done = Deferred.fromCoroutine(bring_in_step())
        self.asterisk.flush()
        return self.successResultOf(done)

    def sent(self, name):
        return [
            tuple(action.get(header) for header in ("Queue", "Interface", "Penalty"))
            for action in self.asterisk.sent(name)
        ]

    def test_members_that_are_missing_are_added(self):
        assert self.sync() == 2
        assert self.sent("QueueAdd") == [("sales", "PJSIP/1001", "0"), ("sales", "PJSIP/1002", "3")]
        assert self.asterisk.sent("QueueAdd")[0].get("MemberName") == "Anna's desk"

    def test_nothing_to_do_sends_nothing(self):
        self.asterisk.lists["QueueStatus"] = [member("sales", "PJSIP/1001"), member("sales", "PJSIP/1002", "3")]
        assert self.sync() == 0
        assert not self.asterisk.sent("QueueAdd")

    def test_who_is_gone_is_removed_and_a_penalty_changes_without_taking_the_pause(self):
        self.asterisk.answers["QueuePenalty"] = lambda message: success("Penalty set")
        self.asterisk.lists["QueueStatus"] = [
            member("sales", "PJSIP/1003"),
            member("sales", "PJSIP/1001"),
            member("sales", "PJSIP/1002", "9"),
        ]
        assert self.sync() == 2
        assert self.sent("QueueRemove") == [("sales", "PJSIP/1003", "")]
        assert self.sent("QueuePenalty") == [("sales", "PJSIP/1002", "3")]
        assert not self.sent("QueueAdd")

    def test_what_is_not_ours_is_left_alone(self):
        ours = [member("sales", "PJSIP/1001"), member("sales", "PJSIP/1002", "3")]
        others = [
            member("admins", "PJSIP/1009"),
            member("sales", "Local/5@x"),
            member("sales", "PJSIP/1007", membership="static"),
        ]
        self.asterisk.lists["QueueStatus"] = ours + others
        assert self.sync() == 0
        assert not self.asterisk.sent("QueueRemove")

    def test_a_refused_member_does_not_stop_the_others(self):
        self.asterisk.answers["QueueAdd"] = lambda message: error("Unable to add interface to queue: No such queue")
        assert self.sync() == 0
        assert len(self.asterisk.sent("QueueAdd")) == 2
