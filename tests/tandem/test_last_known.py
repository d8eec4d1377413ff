"""What AstDB must hold: every route leads somewhere without Tandem, and says the same as the live decision."""

import re
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from tandem.domain.dialplan import FAMILIES, FAMILY_META
from tandem.domain.entities import Pbx
from tandem.domain.last_known import iterate_entries, last_known_entries
from tandem.domain.routing import route_did
from tandem.domain.snapshot import Snapshot, build_snapshot

TODAY = date(2026, 3, 2)
JUMP = re.compile(r"tandem-enter,([a-z]+),1\(([^,()]*),(\d+),([^,()]*),([^,()]*),([^,()]*),([^,()]*)\)")

PBX: dict[str, Any] = {
    "general": {
        "country": "DE",
        "time_zone": "Europe/Berlin",
        "blocked_callers": ["+49900*", "+49151234"],
        "allowed_contexts": ["own"],
    },
    "trunks": [
        {"name": "carrier", "hosts": ["192.0.2.1"], "numbers": "national"},
        {"name": "raw", "hosts": ["192.0.2.2"]},
    ],
    "endpoints": [
        {"extension": "1001", "secret": "swordfish1", "voicemail": "1001", "ring_time_s": 12},
        {"extension": "1002", "secret": "swordfish2", "permissions": ["internal", "national"]},
    ],
    "voicemail_boxes": [{"mailbox": "1001", "pin": "4711"}],
    "schedules": [
        {
            "name": "office",
            "hours": [{"days": "mon-fri", "start": "09:00", "end": "17:00"}],
            "holidays": ["12-24", "2026-05-01"],
        }
    ],
    "announcements": [{"name": "closed", "prompts": ["custom/closed", "beep"], "then": {"voicemail": "1001"}}],
    "menus": [
        {
            "name": "main",
            "extension": "4000",
            "prompts": ["hello"],
            "options": {"1": {"queue": "sales"}},
            "invalid": {"hangup": "normal"},
            "timeout": {"hangup": "normal"},
            "fallback": {"queue": "sales"},
        }
    ],
    "penalty_rules": [
        {"name": "widen", "changes": [{"after_s": 0, "max_penalty": 3}, {"after_s": 9, "min_penalty": 1}]}
    ],
    "queues": [
        {
            "name": "sales",
            "extension": "4001",
            "schedule": "office",
            "priority": 3,
            "max_wait_s": 60,
            "penalty_rule": "widen",
            "closed": {"announcement": "closed"},
            "timeout": {"endpoint": "1001"},
            "fallback": {"voicemail": "1001", "instructions": False},
        },
        {"name": "quiet", "active": False, "closed": {"endpoint": "1001"}, "fallback": {"hangup": "normal"}},
    ],
    "dids": [
        {"number": "+493012340", "destination": {"menu": "main"}, "language": "de", "recording": "until-queue"},
        {"number": "+493012341", "destination": {"queue": "sales"}, "priority": 7, "blocked_callers": ["+4930999*"]},
        {"number": "+493012342", "destination": {"did": "+493012341"}},
        {"number": "+493012343", "destination": {"endpoint": "1001"}, "active": False, "blocked_callers": ["+491*"]},
        {"number": "+493012344", "destination": {"did": "+493012343"}},
        {
            "number": "+493012345",
            "destination": {"agent": "1002", "unavailable": {"did": "+493012346"}},
        },
        {
            "number": "+493012346",
            "destination": {"schedule": "office", "open": {"queue": "quiet"}, "closed": {"hangup": "busy"}},
        },
        {"number": "+493055*", "destination": {"dialplan": "own,500"}},
        {"number": "+4930*", "destination": {"external": "+4989111", "trunk": "raw"}},
        {"number": "_49[45]0XX", "destination": {"endpoint": "1002"}},
        {
            "number": "default",
            "destination": {"schedule": "office", "open": {"endpoint": "1002"}, "closed": {"hangup": "busy"}},
            "blocked_callers": ["+49666"],
        },
    ],
}


@pytest.fixture(scope="module")
def snapshot() -> Snapshot:
    return build_snapshot(7, TypeAdapter(Pbx).validate_python(PBX))


@pytest.fixture(scope="module")
def entries(snapshot: Snapshot) -> dict[str, str]:
    return {f"{family}/{key}": value for (family, key), value in last_known_entries(snapshot, TODAY).items()}


def test_every_number_leads_where_the_document_says(entries: dict[str, str]) -> None:
    assert entries["tandem-did/493012340"] == "tandem-enter,menu,1(main,0,de,until-queue,,)"
    assert entries["tandem-did/493012343"] == "tandem-enter,hangup,1(1,0,,,,)"
    assert entries["tandem-prefix/493055"] == "tandem-enter,dialplan,1(500,0,,no,own,)"
    assert entries["tandem-prefix/4930"] == "tandem-enter,external,1(+4989111,0,,no,raw,)"
    assert entries["tandem-meta/prefix-lengths"] == "6&4"
    assert entries["tandem-pattern/1"] == "^49[45]0[0-9][0-9]$"
    assert entries["tandem-pattern/1/jump"] == "tandem-enter,endpoint,1(1002,0,,no,,)"
    assert entries["tandem-internal/1001"] == "tandem-enter,endpoint,1(1001,0,,,,)"
    assert entries["tandem-internal/4000"] == "tandem-enter,menu,1(main,0,,,,)"


def test_a_did_that_names_another_goes_where_that_goes_with_its_own_settings(entries: dict[str, str]) -> None:
    named, naming = (JUMP.fullmatch(entries[f"tandem-did/{key}"]).groups() for key in ("493012341", "493012342"))
    assert named[:2] == naming[:2]
    assert (named[2], naming[2]) == ("7", "0")
    assert entries["tandem-did/493012344"] == "tandem-enter,hangup,1(1,0,,no,,)"  # the other is inactive


def test_a_queue_with_opening_hours_is_a_branch(entries: dict[str, str]) -> None:
    branch = JUMP.fullmatch(entries["tandem-menu/main"])[2]
    assert entries["tandem-menu/main"].startswith("tandem-enter,branch,1(")
    assert entries[f"tandem-branch/{branch}"] == "office"
    assert entries[f"tandem-branch/{branch}/open"] == "tandem-enter,queue,1(sales,3,,,,)"
    assert entries[f"tandem-branch/{branch}/closed"] == "tandem-enter,announcement,1(closed,0,,,,)"
    assert JUMP.fullmatch(entries["tandem-did/493012341"])[2] == branch  # one and the same branch


def test_an_agent_has_its_way_out_where_the_dialplan_finds_it(entries: dict[str, str]) -> None:
    agent = JUMP.fullmatch(entries["tandem-did/493012345"])
    assert (agent[1], agent[2]) == ("agent", "1002")
    branch = JUMP.fullmatch(entries[f"tandem-branch/{agent[6]}/closed"])
    assert branch[1] == "branch"
    # A queue that is not active is never entered.
    assert entries[f"tandem-branch/{branch[2]}/open"] == "tandem-enter,endpoint,1(1001,0,,,,)"


def test_what_is_kept_of_objects(entries: dict[str, str]) -> None:
    assert entries["tandem-queue/sales"] == "tandem-enter,voicemail,1(1001,0,,,s,)"
    assert entries["tandem-queue/sales/timeout"] == "tandem-enter,endpoint,1(1001,0,,,,)"
    assert "tandem-queue/sales/full" not in entries  # is the fallback
    assert entries["tandem-queue/sales/wait"] == "60"
    assert entries["tandem-queue/sales/penalties"] == "3,0,0"
    assert "tandem-queue/quiet/penalties" not in entries
    assert entries["tandem-endpoint/1001"] == "12,1001,internal"
    assert entries["tandem-endpoint/1002"] == "25,,internal-national"
    assert entries["tandem-announcement/closed"] == "2"
    assert entries["tandem-announcement/closed/1"] == "custom/closed"
    assert entries["tandem-announcement/closed/then"] == "tandem-enter,voicemail,1(1001,0,,,,)"
    assert entries["tandem-trunk/carrier"] == "49,0,00"
    assert "tandem-trunk/raw" not in entries
    assert entries["tandem-schedule/office"] == "1"
    assert entries["tandem-schedule/office/1"] == "09:00-16:59,mon-fri,*,*,Europe/Berlin"
    assert entries["tandem-schedule/office/closed/1"] == "*,*,1,may,Europe/Berlin"
    assert entries["tandem-schedule/office/closed/2"] == "*,*,24,dec,Europe/Berlin"


def test_blocked_callers_of_all_and_of_one_did(entries: dict[str, str]) -> None:
    blocked = {key for key in entries if key.startswith("tandem-block/")}
    assert blocked == {
        "tandem-block/49151234",
        "tandem-block/49900*",
        "tandem-block/lengths",
        "tandem-block/493012341:4930999*",
        "tandem-block/493012341:lengths",
        "tandem-block/default:49666",
    }
    assert entries["tandem-block/lengths"] == "5"


def test_every_jump_is_well_formed_and_every_branch_is_there_before_it_is_needed(snapshot: Snapshot) -> None:
    seen: set[str] = set()
    for (family, key), value in iterate_entries(snapshot, TODAY):
        assert family in FAMILIES
        assert len(f"/{family}/{key}") < 256, "AstDB cuts longer keys"
        assert len(value) < 256
        seen.add(f"{family}/{key}")
        if value.startswith("tandem-enter"):
            jump = JUMP.fullmatch(value)
            assert jump, value
            if jump[1] == "branch":
                assert {f"tandem-branch/{jump[2]}{part}" for part in ("", "/open", "/closed")} <= seen
    assert f"{FAMILY_META}/revision" not in seen  # is written last, by tandem.fallback


def test_unchanged_objects_keep_their_entries(snapshot: Snapshot) -> None:
    assert last_known_entries(replace(snapshot, revision=8), TODAY) == last_known_entries(snapshot, TODAY)


CALLED = st.sampled_from(
    [
        "493012340",
        "493012341",
        "493012342",
        "493012343",
        "49305512",
        "4930999",
        "494012",
        "495099",
        "4960",
        "+493012340",
    ]
) | st.from_regex(r"\A\+?49[0-9]{1,9}\Z")
CALLERS = st.sampled_from(["", "+499001", "49151234", "491512345", "+49309991", "49666", "+49301"])


@given(called=CALLED, caller=CALLERS, minutes=st.integers(0, 14 * 24 * 60))
def test_without_tandem_a_call_goes_where_tandem_would_have_sent_it(
    snapshot: Snapshot, called: str, caller: str, minutes: int
) -> None:
    """Plays the dialplan's look-up on the entries; tests/asterisk holds the dialplan itself to the same answers."""
    entries = last_known_entries(snapshot, TODAY)
    at = datetime(2026, 4, 20, tzinfo=UTC) + timedelta(minutes=minutes)
    route = route_did(snapshot, called, caller, "raw", at)
    expected = (type(route.destination).__name__.removesuffix("Destination").lower(), route.destination)
    kind, target = look_up(entries, called.removeprefix("+"), caller.removeprefix("+"), at)
    if expected[0] == "queue":  # has opening hours
        kinds = {"queue"} if kind == "queue" else {"announcement"}
        assert kind in kinds
    else:
        assert kind == expected[0]
        fields = {"dialplan": "500", "external": "+4989111", "hangup": str(getattr(expected[1], "hangup", ""))}
        assert target == fields.get(kind, str(getattr(expected[1], kind)))


def look_up(entries: dict[tuple[str, str], str], called: str, caller: str, at: datetime) -> tuple[str, str]:
    def blocked(scope: str) -> bool:
        keys = [f"{scope}{caller}", *(f"{scope}{caller[:length]}*" for length in range(1, len(caller) + 1))]
        return caller != "" and any(("tandem-block", key) in entries for key in keys)

    if blocked(""):
        return "hangup", "21"
    found, jump = called, entries.get(("tandem-did", called), "")
    for length in range(len(called), 0, -1):
        if not jump:
            found, jump = f"{called[:length]}*", entries.get(("tandem-prefix", called[:length]), "")
    index = 1
    while not jump and (regex := entries.get(("tandem-pattern", str(index)))):
        if re.search(regex, called):
            found, jump = f"_{index}", entries["tandem-pattern", f"{index}/jump"]
        index += 1
    if not jump:
        found, jump = "default", entries["tandem-meta", "default"]
    if blocked(f"{found}:"):
        return "hangup", "21"
    kind, target = JUMP.fullmatch(jump).group(1, 2)
    while kind == "branch":
        from zoneinfo import ZoneInfo

        local = at.astimezone(ZoneInfo("Europe/Berlin"))
        is_open = local.weekday() < 5 and 9 <= local.hour < 17 and (local.month, local.day) != (5, 1)
        kind, target = JUMP.fullmatch(entries["tandem-branch", f"{target}/{'open' if is_open else 'closed'}"]).group(
            1, 2
        )
    return kind, target
