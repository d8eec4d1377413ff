import dataclasses
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tandem.document import read_document
from tandem.domain.destinations import (
    AgentDestination,
    DialplanDestination,
    DidDestination,
    EndpointDestination,
    ExternalDestination,
    HangupDestination,
    MenuDestination,
    QueueDestination,
    ScheduleDestination,
    VoicemailDestination,
)
from tandem.domain.dialplan import encode_jump
from tandem.domain.entities import COLLECTIONS, Did, General, Pbx, Queue, Schedule, Trunk
from tandem.domain.routing import (
    BLOCKED,
    DEAD_END,
    INACTIVE,
    QueueFacts,
    after_queue,
    describe_destination,
    enter_queue,
    jump_to,
    name_agent_branch,
    resolve,
    route_did,
)
from tandem.domain.snapshot import build_snapshot
from tests.strategies import did_numbers, instants, pbxes, phone_numbers

EXAMPLE = Path(__file__).parents[2] / "examples" / "pbx.yaml"
OPEN = datetime(2026, 6, 2, 10, 0, tzinfo=UTC)
CLOSED = datetime(2026, 6, 2, 20, 0, tzinfo=UTC)
AGENT = AgentDestination(agent="1001", unavailable={"hangup": 17})


@pytest.fixture(scope="module")
def workshop():
    return build_snapshot(7, read_document(EXAMPLE.read_text(encoding="utf-8")))


def dids(*numbers, **general):
    """A snapshot in which each DID hangs up with a cause of its own: 1, 16, 17, 21 …"""
    causes = (3, 16, 17, 19, 21, 22, 27, 28)
    return build_snapshot(
        1,
        Pbx(
            general=General(**general),
            trunks=(
                Trunk(name="national", hosts=("192.0.2.1",), numbers="national", country="DE"),
                Trunk(name="plain", hosts=("192.0.2.2",)),
            ),
            dids=tuple(
                Did(number=number, destination=HangupDestination(hangup=causes[index]))
                for index, number in enumerate(numbers)
            ),
        ),
    )


def found(snapshot, called, trunk="plain"):
    route = route_did(snapshot, called, "+15550100", trunk, OPEN)
    return route.did and route.did.number


def test_the_order_of_the_look_up():
    snapshot = dids("+493012345", "+4930*", "+493012*", "_49[3-4]0XXXXX", "_4[0-9]!", "default")
    assert found(snapshot, "+493012345") == "+493012345"
    assert found(snapshot, "493012345") == "+493012345"
    assert found(snapshot, "493012399") == "+493012*"
    assert found(snapshot, "493012") == "+493012*"
    assert found(snapshot, "49301") == "+4930*"
    assert found(snapshot, "494012345") == "_49[3-4]0XXXXX"
    assert found(snapshot, "4940123456") == "_4[0-9]!"
    assert found(snapshot, "15550123") == "default"
    assert found(snapshot, "") == "default"
    assert found(snapshot, "default") == "default"


def test_without_a_default_the_fallback_decides():
    route = route_did(dids("+4930*"), "15550100", "+15550123", "plain", OPEN)
    assert route.did is route.destination is None
    assert route.reasons == ("no DID for 15550100",)


@pytest.mark.parametrize("sent", ["03012345", "00493012345", "+493012345", "493012345", "+49 30 12345"])
def test_a_national_trunk_is_normalised(sent):
    assert found(dids("+493012345", "default"), sent, "national") == "+493012345"


def test_numbers_count_as_sent_on_other_trunks():
    snapshot = dids("+493012345", "default")
    assert found(snapshot, "03012345", "plain") == "default"
    assert found(snapshot, "03012345", None) == "default"
    assert found(snapshot, "03012345", "unknown") == "default"


def test_open_and_closed(workshop):
    route = route_did(workshop, "+493023125000", "+15550123", "carrier", OPEN)
    assert route.destination == MenuDestination(menu="main")
    assert route.reasons == ("DID +493023125000", "schedule office: open", "menu main")
    route = route_did(workshop, "030 23125000", "+15550123", "carrier", CLOSED)
    assert route.destination == VoicemailDestination(voicemail="1000")
    assert route.reasons == ("DID +493023125000", "schedule office: closed", "voicemail 1000")


def test_what_a_did_says_goes_along(workshop):
    route = route_did(workshop, "+493023125001", "+15550123", "carrier", OPEN)
    assert (route.recording, route.priority, route.language, route.caller) == ("until-queue", 5, "", "")
    did = Did(number="+1", destination={"hangup": 16}, language="de", caller_id_cleanup="R7")
    route = route_did(build_snapshot(1, Pbx(dids=(did,))), "1", "+15550123", None, OPEN)
    assert (route.language, route.caller) == ("de", "5550123")


def test_inactive_dids_are_unallocated_numbers(workshop):
    route = route_did(workshop, "+493023125009", "+15550123", "carrier", OPEN)
    assert route.destination == INACTIVE == HangupDestination(hangup=1)
    assert route.reasons == ("DID +493023125009 is inactive",)


@pytest.mark.parametrize(
    ("caller", "called", "blocked"),
    [
        ("+15550199", "+493023125000", True),
        ("00155501991", "+493023125000", True),  # a prefix, dialled as abroad
        ("15550198", "+493023125000", False),
        ("03023125666", "+493023125000", True),  # as the national trunk shows it
        ("03023125666", "+4930999", True),
        ("+15550188", "+493023125002", True),
        ("+15550188", "+493023125000", False),
        ("", "+493023125000", False),
        ("anonymous", "+493023125000", False),
    ],
)
def test_blocked_callers(workshop, caller, called, blocked):
    route = route_did(workshop, called, caller, "carrier", OPEN)
    assert (route.destination == BLOCKED) is blocked
    assert not blocked or "is blocked" in route.reasons[-1]


def test_a_blocked_caller_may_be_written_as_the_trunk_shows_it():
    snapshot = dids("default", blocked_callers=("030999*",))
    assert route_did(snapshot, "1", "0309991", "national", OPEN).destination == BLOCKED
    assert route_did(snapshot, "1", "0309991", "plain", OPEN).destination == BLOCKED
    did = {"number": "default", "destination": {"hangup": 16}, "blocked_callers": ["030999*"]}
    snapshot = build_snapshot(1, Pbx(trunks=tuple(snapshot.trunks.values()), dids=(did,)))
    assert route_did(snapshot, "1", "0309991", "national", OPEN).destination == BLOCKED


def test_following_dids_and_schedules():
    day = Schedule(name="day", hours=({"days": "mon-sun", "start": "08:00", "end": "18:00"},))
    snapshot = build_snapshot(
        1,
        Pbx(
            schedules=(day,),
            dids=(
                Did(number="+1", destination=DidDestination(did="2*")),
                Did(number="2*", destination=DidDestination(did="_3X")),
                Did(number="_3X", destination=DidDestination(did="default")),
                Did(number="default", destination={"schedule": "day", "open": {"did": "+5"}, "closed": {"hangup": 17}}),
                Did(number="5", destination={"hangup": 16}, active=False),
            ),
        ),
    )
    assert resolve(snapshot, DidDestination(did="1"), CLOSED) == (
        HangupDestination(hangup=17),
        ("DID +1", "DID 2*", "DID _3X", "DID default", "schedule day: closed", "hang up (busy)"),
    )
    assert resolve(snapshot, DidDestination(did="1"), OPEN).destination == INACTIVE


def test_what_no_check_would_let_in_ends_the_call():
    circle = Did(number="1", destination=DidDestination(did="1"))
    snapshot = build_snapshot(1, Pbx(dids=(circle, Did(number="2", destination=DidDestination(did="9")))))
    assert route_did(snapshot, "1", "", None, OPEN).destination == DEAD_END
    assert route_did(snapshot, "2", "", None, OPEN).destination == DEAD_END
    lost = ScheduleDestination(schedule="x", open={"hangup": 16}, closed={"hangup": 16})
    assert resolve(snapshot, lost, OPEN).destination == DEAD_END


QUEUE = {
    "fallback": {"hangup": 16},
    "closed": {"hangup": 17},
    "full": {"hangup": 19},
    "join_empty": {"hangup": 21},
    "leave_empty": {"hangup": 22},
    "timeout": {"hangup": 27},
}


def queue(**fields):
    shop = Schedule(name="day", hours=({"days": "mon-sun", "start": "08:00", "end": "18:00"},))
    return build_snapshot(1, Pbx(schedules=(shop,), queues=(Queue(name="sales", **{**QUEUE, **fields}),)))


def entering(snapshot, facts, now=OPEN):
    instead = enter_queue(snapshot, "sales", facts, now)
    return instead and instead.hangup


def test_a_queue_that_is_not_active_takes_nobody():
    assert entering(queue(active=False), QueueFacts(0, 2, 2)) == entering(queue(active=False), None) == 17
    assert entering(queue(active=False, closed=None), QueueFacts(0, 2, 2)) == 16


def test_entering_a_queue():
    busy, full, nobody = QueueFacts(1, 0, 2), QueueFacts(5, 1, 2), QueueFacts(0, 0, 0)
    assert entering(queue(), busy) is None
    assert entering(queue(), None) is None
    assert entering(queue(schedule="day"), busy, OPEN) is None
    assert entering(queue(schedule="day"), busy, CLOSED) == 17
    assert entering(queue(schedule="day"), None, CLOSED) == 17
    assert entering(queue(schedule="day", closed=None), None, CLOSED) == 16
    assert entering(queue(), full) is None
    assert entering(queue(max_callers=5), full) == 19
    assert entering(queue(max_callers=6), full) is None
    assert entering(queue(max_callers=5, full=None), full) == 16
    assert entering(queue(), nobody) == 21
    assert entering(queue(join_empty=None), nobody) == 16
    assert entering(queue(join_when_empty=True), nobody) is None
    # Only app_queue knows who is there when phones that are off count.
    assert entering(queue(absent_when=("paused",)), nobody) is None
    assert enter_queue(queue(), "unknown", nobody, OPEN) is None


@pytest.mark.parametrize(
    ("status", "cause"),
    [("TIMEOUT", 27), ("FULL", 19), ("JOINEMPTY", 21), ("LEAVEEMPTY", 22), ("JOINUNAVAIL", 21), ("LEAVEUNAVAIL", 22), ("CONTINUE", 16), ("", 16)],
)  # fmt: skip
def test_after_a_queue(status, cause):
    assert after_queue(queue(), "sales", status).hangup == cause
    assert (
        after_queue(queue(**dict.fromkeys(("timeout", "full", "join_empty", "leave_empty"))), "sales", status).hangup
        == 16
    )
    assert after_queue(queue(), "unknown", status) == DEAD_END


@pytest.mark.parametrize(
    ("destination", "jump"),
    [
        (EndpointDestination(endpoint="1000"), "tandem-enter,endpoint,1(1000,3,de,yes,,555)"),
        (QueueDestination(queue="sales"), "tandem-enter,queue,1(sales,9,de,yes,,555)"),
        (QueueDestination(queue="gone"), "tandem-enter,queue,1(gone,3,de,yes,,555)"),
        (MenuDestination(menu="main"), "tandem-enter,menu,1(main,3,de,yes,,555)"),
        (VoicemailDestination(voicemail="1000"), "tandem-enter,voicemail,1(1000,3,de,yes,,555)"),
        (VoicemailDestination(voicemail="1000", instructions=False), "tandem-enter,voicemail,1(1000,3,de,yes,s,555)"),
        (DialplanDestination(dialplan="lobby,100"), "tandem-enter,dialplan,1(100,3,de,yes,lobby,555)"),
        (ExternalDestination(external="+49301"), "tandem-enter,external,1(+49301,3,de,yes,,555)"),
        (ExternalDestination(external="+49301", trunk="b"), "tandem-enter,external,1(+49301,3,de,yes,b,555)"),
        (HangupDestination(hangup=17), "tandem-enter,hangup,1(17,3,de,yes,,555)"),
        (AGENT, f"tandem-enter,agent,1(1001,3,de,yes,{name_agent_branch(AGENT)},555)"),
    ],
)
def test_jumps(destination, jump):
    snapshot = queue(priority=9)
    found = jump_to(snapshot, destination, priority=3, language="de", recording="yes", caller="555")
    assert encode_jump(found) == jump


@pytest.mark.parametrize(
    "destination",
    [DidDestination(did="1"), ScheduleDestination(schedule="a", open={"hangup": 16}, closed={"hangup": 16})],
)
def test_a_jump_needs_a_target(destination):
    with pytest.raises(TypeError, match="must be resolved"):
        jump_to(queue(), destination)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(pbxes(), st.text(max_size=30) | phone_numbers | did_numbers, st.text(max_size=30) | phone_numbers, instants)
def test_whatever_is_sent_the_route_can_be_entered(pbx, called, caller, now):
    snapshot = build_snapshot(1, pbx)
    for trunk in (None, *snapshot.trunks):
        route = route_did(snapshot, called, caller, trunk, now)
        assert not any("leads nowhere" in reason for reason in route.reasons)
        assert all(reason.isprintable() for reason in route.reasons)
        if route.destination is None:
            assert route.did is None
            continue
        jump = jump_to(
            snapshot,
            route.destination,
            priority=route.priority,
            language=route.language,
            recording=route.recording,
            caller=route.caller,
        )
        assert encode_jump(jump).startswith("tandem-enter,")
        assert describe_destination(route.destination)
    for did in pbx.dids:
        assert snapshot.dids.named(did.number) == did
        assert resolve(snapshot, DidDestination(did=did.number), now).reasons
    assert sorted(did.number for did in snapshot.dids) == sorted(did.number for did in pbx.dids)
    assert snapshot.dids.count == len(pbx.dids)
    assert {field.name for field in dataclasses.fields(snapshot)} >= set(COLLECTIONS)
