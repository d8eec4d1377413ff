"""Calls and queue members of the While1 Voice API: what is refused, and what a call becomes."""

import sqlite3

import pytest
from pydantic import TypeAdapter

from api.compat.while1.calls import read_request
from api.compat.while1.members import read_members, show_members
from api.compat.while1.speech import Denied
from lab.observe import wait_until
from tandem.domain.destinations import ExternalDestination
from tandem.domain.entities import Pbx
from tandem.domain.originate import plan_call
from tandem.domain.snapshot import build_snapshot
from tests.api.while1_site import CALL, share_site

server, native, voice = share_site()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"project_id": ""}, "project_id: is missing"), ({"external_id": None}, "external_id: is missing"), ({"caller_id": ""}, "caller_id: is missing"),
        ({"caller_id_name": None}, "caller_id_name: is missing"), ({"type": None}, "type: is missing"), ({"destination": ""}, "destination: is missing"),
        ({"type": "x"}, "type: must be user, user_email, extension, queue or context"),
        ({"destination": "nobody"}, "destination: there is no user nobody"),
        ({"type": "queue"}, "destination: there is no queue 1002"), ({"type": "extension", "destination": "9"}, "destination: there is no user and no queue at extension 9"),
        ({"type": "user_email", "destination": "x@example.com"}, "destination: there is no user with the e-mail address x@example.com"),
        ({"type": "context", "destination": "secret"}, "destination: context secret is not in general.allowed_contexts"),
        ({"type": "context", "destination": "a,b"}, "destination: must be the name of a context of the dialplan"),
        ({"caller_id": "112"}, "caller_id: must not be an emergency number: those are dialled at a phone"),
        ({"caller_id": "abc"}, "caller_id: must be the number of the customer: digits, with or without a leading +"),
        ({"outbound_trunk": "none"}, "outbound_trunk: there is no trunk none"), ({"async": "2"}, "async: must be 0 or 1"),
        ({"outbound_number": "x"}, "outbound_number: must be up to 24 digits (also * and #), with or without a leading +"),
        ({"vars": {"CHANNEL(x)": "1"}}, "vars: names must be letters, digits and _, not beginning with a digit"),
        ({"vars": {"OTHER": "1"}}, "vars.OTHER: is not in general.allowed_variables"), ({"vars": "x"}, "vars: must be a map of names and values"),
        ({"vars": {"BACKEND_LINK": "a\r\nb"}}, "BACKEND_LINK: must be at most 400 characters, without control characters or line breaks"),
        ({"caller_id_name": 'a"b'}, 'caller_id_name: must be at most 79 bytes, without control characters and without " < > \\'),
    ],
)  # fmt: skip
def test_a_call_that_is_refused(voice, native, change, message):
    voice.deny(message, "originate-call", {"data": {**CALL, **change}})
    assert native.ask("GET", "/api/v1/calls")["items"] == []


def test_what_a_call_asks_for_is_inherited_by_whom_it_dials():
    """The dialplan that rings a queue's members, or the customer, has the variables too."""
    general = {"country": "DE", "outbound_trunk": "carrier"}
    trunk = {"name": "carrier", "hosts": ["sip.example.com"]}
    document = {"general": general, "endpoints": [{"extension": "1002", "secret": "a long secret"}], "trunks": [trunk]}
    snapshot = build_snapshot(1, TypeAdapter(Pbx).validate_python(document))
    wanted = {
        **CALL,
        "vars": {
            "BACKEND_LINK": "https://crm.example/?id=1",
            "SKIP_WELCOME": 1,
            "SKIP_ENTER_QUEUE": True,
            "SKIP_WE_ARE_RECORDING": False,
        },
    }
    order = plan_call(snapshot, read_request(snapshot, wanted, ("national",), None))
    assert order.variables[:4] == (
        ("__BACKEND_LINK", "https://crm.example/?id=1"), ("__SKIP_WELCOME", "1"), ("__SKIP_ENTER_QUEUE", "1"), ("__SKIP_WE_ARE_RECORDING", ""),
    )  # fmt: skip


def test_without_asterisk_a_call_says_so_each_time(server, voice):
    """It was never sent: the same request is a new call, not one that failed."""
    database = sqlite3.connect(server.folder / "db" / "tandem.db", timeout=20)
    over = "SELECT count(*) FROM placed_calls WHERE external_id = 'away' AND ended_at IS NOT NULL"
    for _ in range(3):
        answer = voice.ask("originate-call", {"data": {**CALL, "external_id": "away"}})
        assert answer["has_error"]
        assert answer["messages"][0].startswith("Asterisk did not take the call")
        wait_until(lambda: database.execute(over).fetchone()[0] == 1, "its end is kept")
    (calls,) = database.execute("SELECT count(*) FROM placed_calls WHERE project = '1'").fetchone()
    database.close()
    assert calls == 3


NATIVE_CALL = {"origin": {"endpoint": "1002"}, "destination": {"endpoint": "1001"}}


def test_native_external_ids(native):
    for name, most in (("project", 40), ("external_id", 80)):
        native.ask("POST", "/api/v1/calls", {**NATIVE_CALL, name: "x" * (most + 1)}, 422)
        native.ask("POST", "/api/v1/calls", {**NATIVE_CALL, name: "a\nb"}, 422)
    body = {**NATIVE_CALL, "project": "p", "external_id": "once"}
    native.ask("POST", "/api/v1/calls", body, 503)
    assert "once" in native.ask("POST", "/api/v1/calls", body, 409)["error"]["message"]


# ---------------------------------------------------------------------------------------------------------- members

MEMBERS_PBX = build_snapshot(
    1,
    TypeAdapter(Pbx).validate_python(
        {
            "general": {"country": "DE", "outbound_trunk": "carrier"},
            "endpoints": [
                {"extension": "1001", "secret": "a long secret", "name": "anna"},
                {"extension": "1002", "secret": "a long secret"},
            ],
            "trunks": [{"name": "carrier", "hosts": ["sip.example.com"]}],
            "queues": [{"name": "sales", "members": [{"endpoint": "1002"}], "fallback": {"hangup": "busy"}}],
        }
    ),
)


def test_users_numbers_and_a_fallback_are_members():
    given = {
        "+49305550": {"type": "remote", "penalty": "5", "is_active": "1"}, "1002": {"type": "sip", "order": 2, "is_active": True},
        "Anna": {"order": "1", "is_active": 1}, "0305551": {"type": "remote", "order": 1, "is_active": 1}, "0305552": {"type": "fallback", "is_active": 1},
        "0305553": {"type": "remote", "is_active": 0},  # as if it were not listed
    }  # fmt: skip
    queue = read_members(MEMBERS_PBX, "sales", given).put_into(MEMBERS_PBX.queues["sales"])
    assert [member.endpoint for member in queue.members] == ["1001", "1002"]
    assert [(member.number, member.penalty) for member in queue.outside_members] == [("+49305550", 5), ("0305551", 0)]
    assert queue.fallback == ExternalDestination(external="0305552")
    shown = show_members(queue, MEMBERS_PBX.endpoints)
    assert {who: (row["type"], row["order"]) for who, row in shown.items()} == {
        "1001": ("sip", 1), "1002": ("sip", 2), "+49305550": ("remote", 3), "0305551": ("remote", 4), "0305552": ("fallback", 5),
    }  # fmt: skip
    # What is shown can be saved as it is.
    again = read_members(MEMBERS_PBX, "sales", shown).put_into(queue)
    assert again == queue
    # An empty list takes them away, and leaves where callers go then: a queue has that always.
    empty = read_members(MEMBERS_PBX, "sales", {}).put_into(queue)
    assert (empty.members, empty.outside_members, empty.fallback) == ((), (), queue.fallback)


@pytest.mark.parametrize(
    ("who", "row", "message"),
    [
        ("nobody", {}, "sales.members.nobody: must be a user of this PBX"), ("+49305550", {}, "sales.members.+49305550: must be a user of this PBX"),
        ("1002", {"type": "iax"}, "sales.members.1002.type: must be sip, remote or fallback"), ("1002", {"type": ["sip"]}, "sales.members.1002.type: must be a text"),
        ("anna", {"type": "remote"}, "sales.members.anna: must be a number outside"), ("+", {"type": "remote"}, "sales.members.+: must be a number outside"),
        ("0305;x", {"type": "remote"}, "sales.members.0305;x: must be a number outside"), ("1" * 25, {"type": "remote"}, f"sales.members.{'1' * 25}: must be a number outside"),
        ("x", {"type": "fallback"}, "sales.members.x: must be a user of this PBX"), ("1002", {"is_active": ""}, "sales.members.1002.is_active: is missing"),
        ("1002", {"is_active": "yes"}, "sales.members.1002.is_active: must be 0 or 1"), ("1002", {"penalty": "few"}, "sales.members.1002.penalty: must be a whole number from 0 to 999"),
        ("1002", {"order": -1}, "sales.members.1002.order: must be a whole number from 0 to 999"), ("1002", "x", "sales.members.1002: must be a map of settings"),
        ("a\nb", "x", "sales.members.?: must be a map of settings"), ("1001", {"type": "fallback", "is_active": 1, "twice": 1}, "sales.members: only one of them can be the fallback"),
    ],
)  # fmt: skip
def test_a_member_that_is_refused(who, row, message):
    rows = {who: {"is_active": 1, **row} if isinstance(row, dict) else row}
    if isinstance(row, dict) and "twice" in row:
        rows["1002"] = row
    with pytest.raises(Denied) as refused:
        read_members(MEMBERS_PBX, "sales", rows)
    assert refused.value.messages == (message,)


def test_queues_are_saved_together_or_not_at_all(server, native, voice):
    """Without Asterisk nothing becomes live: the members are again those that it has."""
    before = native.ask("GET", "/api/v1/queues")["items"]
    head = native.ask("GET", "/api/v1/config/history?limit=1")
    good = {"members": {"1002": {"is_active": 1}}}
    first = before[0]["name"]
    for wrong in (
        {first: good, "nothing": good},
        {first: good, before[1]["name"]: {"members": {"9999": {"is_active": 1}}}},
    ):
        assert voice.ask("queues", {"action": "save", "data": wrong})["has_error"]
        assert native.ask("GET", "/api/v1/config/history?limit=1") == head
    assert voice.ask("queues", {"action": "save", "data": {queue["name"]: good for queue in before}})["has_error"]
    assert native.ask("GET", "/api/v1/queues")["items"] == before
