"""Actions as data, and typed views of events."""

import hashlib

import pytest

from tandem.ami import actions, events
from tandem.ami.errors import AmiForged, AmiValueRefused
from tandem.ami.wire import Message, encode_action


def message(*headers: tuple[str, str]) -> Message:
    return Message("\r\n".join(f"{name}: {value}" for name, value in headers).encode())


def test_login_sends_the_digest_and_never_the_secret() -> None:
    action = actions.login("tandem", "s3cret", "118222514")
    sent = encode_action(action.name, action.headers)
    assert b"s3cret" not in sent
    assert f"Key: {hashlib.md5(b'118222514s3cret').hexdigest()}\r\n".encode() in sent
    assert "Key" not in repr(action)


def test_originate() -> None:
    action = actions.originate(
        "PJSIP/4930@trunk",
        channel_id="c1",
        context="tandem-answered",
        exten="s",
        timeout_s=20.5,
        caller_name="Ann Lee",
        caller_number="+4930",
        account="shop",
        variables={"__TANDEM_CALL": "a,b"},
    )
    assert encode_action(action.name, action.headers, action.variables).decode().split("\r\n") == [
        "Action: Originate",
        "Channel: PJSIP/4930@trunk",
        "Context: tandem-answered",
        "Exten: s",
        "Priority: 1",
        "Timeout: 20500",
        "Async: true",
        "ChannelId: c1",
        "OtherChannelId: c1;2",
        'CallerID: "Ann Lee" <+4930>',
        "Account: shop",
        "Variable: __TANDEM_CALL=a\\,b",
        "",
        "",
    ]


@pytest.mark.parametrize(
    ("name", "number"), [('A" <1>', ""), ("A\\", ""), ("", "1>"), ("", "1 2"), ("", "1\r\nAction: x")]
)
def test_caller_id_cannot_be_rewritten(name: str, number: str) -> None:
    with pytest.raises(AmiValueRefused, match="CallerID"):
        actions.originate("Local/1@a", channel_id="c", context="a", exten="s", caller_name=name, caller_number=number)


@pytest.mark.parametrize(
    ("action", "sent"),
    [
        (actions.queue_status("sales"), [("Queue", "sales")]),
        (actions.queue_status(), []),
        (actions.db_del_tree("did"), [("Family", "did")]),
        (actions.db_get_tree("did", "49"), [("Family", "did"), ("Key", "49")]),
        (actions.module_reload("res_pjsip.so"), [("Module", "res_pjsip.so")]),
        (
            actions.queue_pause("PJSIP/ann", paused=True, reason="lunch"),
            [("Interface", "PJSIP/ann"), ("Paused", "true"), ("Reason", "lunch")],
        ),
        (
            actions.queue_add("sales", "PJSIP/ann"),
            [("Queue", "sales"), ("Interface", "PJSIP/ann"), ("Penalty", "0"), ("Paused", "false")],
        ),
        (actions.getvar("", "GLOBAL"), [("Variable", "GLOBAL")]),
        (actions.setvar("SIP/1", "A", "x,y"), [("Channel", "SIP/1"), ("Variable", "A"), ("Value", "x,y")]),
        (actions.hangup("SIP/1", 17), [("Channel", "SIP/1"), ("Cause", "17")]),
        (actions.filter_events(["B", "A"]), [("Operation", "Add"), ("Filter", "^Event: (A|B)[[:space:]]")]),
    ],
)
def test_headers(action: actions.Action, sent: list[tuple[str, str]]) -> None:
    assert list(action.headers) == sent
    assert encode_action(action.name, action.headers)


def test_queue_member_reads_lists_and_changes_alike() -> None:
    common = [
        ("Queue", "sales"),
        ("Membership", "dynamic"),
        ("Penalty", "2"),
        ("CallsTaken", "3"),
        ("InCall", "0"),
        ("Status", "1"),
    ]
    state = [("Paused", "1"), ("PausedReason", "lunch")]
    listed = message(("Event", "QueueMember"), ("Name", "Ann"), ("Location", "PJSIP/ann"), *common, *state)
    changed = message(("Event", "QueueMemberPause"), ("MemberName", "Ann"), ("Interface", "PJSIP/ann"), *common, *state)
    expected = events.QueueMember(
        "sales", "Ann", "PJSIP/ann", "dynamic", 2, 3, 1, in_call=False, paused=True, paused_reason="lunch"
    )
    assert events.QueueMember.read(listed) == events.QueueMember.read(changed) == expected


def test_cdr_and_hangup() -> None:
    cdr = events.Cdr.read(
        message(
            ("Event", "Cdr"),
            ("UniqueID", "c1"),
            ("Duration", "12"),
            ("BillableSeconds", "7"),
            ("Disposition", "ANSWERED"),
        )
    )
    assert (cdr.uniqueid, cdr.duration_s, cdr.billable_s, cdr.disposition, cdr.sequence) == ("c1", 12, 7, "ANSWERED", 0)
    hangup = events.Hangup.read(message(("Event", "Hangup"), ("Uniqueid", "c1"), ("Cause", "17"), ("TechCause", "486")))
    assert (hangup.uniqueid, hangup.cause, hangup.tech_cause) == ("c1", 17, "486")
    response = events.OriginateResponse.read(
        message(("Event", "OriginateResponse"), ("ActionID", "a"), ("Response", "Failure"), ("Reason", "3"))
    )
    assert response == events.OriginateResponse("a", succeeded=False, reason=3, channel="", uniqueid="")


@pytest.mark.parametrize("text", ["", "x", "1_0", "٣", "1e3", "-", "9" * 19, " 1", "1.5"])
def test_a_number_that_is_none_is_zero(text: str) -> None:
    assert events.read_int(message(("Event", "A"), ("N", text)), "N") == 0


def test_a_number() -> None:
    assert events.read_int(message(("Event", "A"), ("N", "-42")), "N") == -42


def test_a_forged_second_header_spoils_the_view() -> None:
    with pytest.raises(AmiForged):
        events.Newchannel.read(
            message(("Event", "Newchannel"), ("CallerIDNum", "5\r\nUniqueid: theirs"), ("Uniqueid", "1.1"))
        )


def test_the_other_views() -> None:
    dial = events.Dial.read(
        message(
            ("Event", "DialEnd"),
            ("Uniqueid", "a"),
            ("DestUniqueid", "b"),
            ("DestChannel", "PJSIP/x-1"),
            ("DialStatus", "BUSY"),
        )
    )
    assert dial == events.Dial("a", "b", "PJSIP/x-1", "BUSY")
    assert (
        events.DeviceStateChange.read(
            message(("Event", "DeviceStateChange"), ("Device", "PJSIP/ann"), ("State", "INUSE"))
        ).state
        == "INUSE"
    )
    params = events.QueueParams.read(
        message(
            ("Event", "QueueParams"),
            ("Queue", "sales"),
            ("Max", "5"),
            ("Strategy", "ringall"),
            ("Calls", "2"),
            ("Holdtime", "9"),
        )
    )
    assert (params.queue, params.max_calls, params.strategy, params.calls, params.hold_time_s) == (
        "sales",
        5,
        "ringall",
        2,
        9,
    )
    joined = message(
        ("Event", "QueueCallerJoin"), ("Queue", "sales"), ("Position", "1"), ("Uniqueid", "c"), ("Channel", "PJSIP/x-1")
    )
    assert events.QueueEntry.read(joined) == events.QueueEntry("sales", 1, "c", "PJSIP/x-1", 0)
    trunk = events.TrunkRegistration.read(
        message(
            ("Event", "OutboundRegistrationDetail"),
            ("ObjectName", "carrier"),
            ("Status", "Rejected"),
            ("NextReg", "57"),
        )
    )
    assert (trunk.name, trunk.status, trunk.next_register_s) == ("carrier", "Rejected", 57)
    endpoint = events.Endpoint.read(
        message(
            ("Event", "EndpointList"), ("ObjectName", "ann"), ("DeviceState", "Not in use"), ("ActiveChannels", "2")
        )
    )
    assert endpoint == events.Endpoint("ann", "Not in use", "", 2)
