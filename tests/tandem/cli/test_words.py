"""A call in plain words: what is told, and that nobody's text moves the cursor of whoever reads it."""

from typing import Any

from tandem.cli.words import tell_call, tell_jump


def make_call(**changes: Any) -> dict[str, Any]:
    decision = {
        "script": "did",
        "decided_at": "2026-11-20T09:00:00.5+00:00",
        "caller": "030555",
        "called": "03023125000",
        "reasons": ["DID +493023125000", "queue sales"],
        "outcome": "tandem-enter,queue,1(sales,5,,,,)",
        "computing_s": 0.0004,
    }
    record = {
        "disposition": "ANSWERED",
        "duration_s": 12,
        "talk_s": 7,
        "channel": "PJSIP/carrier-1",
        "other_channel": "PJSIP/1002-2",
        "last_application": "Queue",
    }
    return {"decisions": [decision | changes], "records": [record | {}]}


def test_a_call_is_told_from_its_number_to_its_cdr() -> None:
    assert tell_call(make_call()) == [
        "2026-11-20 09:00:00 UTC  030555 called 03023125000",
        "  did    DID +493023125000, queue sales -> queue sales  (0.4 ms to decide)",
        "  CDR    answered, 12 s in all, 7 s answered: PJSIP/carrier-1 with PJSIP/1002-2 (Queue)",
    ]
    assert "an anonymous caller called" in tell_call(make_call(caller=""))[0]


def test_control_characters_are_shown_and_not_obeyed() -> None:
    call = make_call(caller="\x1b[2J030\n555", called="\x9b1m")
    call["records"][0]["channel"] = "\r\x1b]0;owned\x07"
    lines = tell_call(call)
    assert all(line.isprintable() for line in lines)
    assert r"\x1b[2J030\n555 called \x9b1m" in lines[0]


def test_what_is_no_jump_stays_as_it_is() -> None:
    assert tell_jump("fallback") == "fallback"
    assert tell_jump("tandem-enter,queue,1(sales,5,,,,) (not confirmed)") == "queue sales (not confirmed)"
