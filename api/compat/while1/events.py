"""What While1 tells other systems of calls, as the query of a GET: their words for our events of the PBX's calls; sends nothing.

`queue_answer`, `queue_answer_end`, `dial_answer`, `call_forward_answer`, `missed_calls` and `outgoing_end`; the rest has no word there.
"""

import json
from collections.abc import Mapping
from typing import Any, Final

from api.compat.php_names import build_query
from tandem.domain.snapshot import Snapshot
from tandem.domain.webhooks import TEST_KIND, Delivery

# Our disposition -> why nobody answered, in a word and in words.
_REASONS: Final = {
    "busy": ("BUSY", "everybody who was called was busy"),
    "no-answer": ("NOANSWER", "nobody answered"),
    "cancelled": ("ABANDON", "the caller hung up before anybody answered"),
    "answered": ("NOTCONNECTED", "the caller was heard by a machine only, and spoke with nobody"),
    "congestion": ("CONGESTION", "the call could not be connected"),
    "rejected": ("REJECTED", "the call was rejected"),
}
_UNKNOWN: Final = ("FAILED", "the call failed")


def write_event(delivery: Delivery, snapshot: Snapshot, project: str) -> str | None:
    """The query that tells an event; None where While1 has no word for it."""
    event = json.loads(delivery.body)
    told = _translate(delivery.kind, event["data"], snapshot)
    return None if told is None else build_query({**told, "project_id": project})


def _translate(kind: str, data: Mapping[str, Any], snapshot: Snapshot) -> dict[str, Any] | None:
    match kind:
        case "inbound.answered":
            return {"event": _name_answer(data), **_show_inbound(data, snapshot)}
        case "inbound.ended" if data["queue"]:
            return {"event": "queue_answer_end", **_show_inbound(data, snapshot)}
        case "inbound.missed":
            word, why = _REASONS.get(data["disposition"], _UNKNOWN)
            shown = _show_inbound(data, snapshot)
            for name in ("direction", "agent", "remote_number"):
                del shown[name]
            return {
                "event": "missed_calls", **shown, "queue_hold_time": round(data["wait_s"]) if data["queue"] else 0,
                "fail_reason": word, "explain_reason": why,
            }  # fmt: skip
        case "outbound.ended":
            return _show_outgoing(data, snapshot)
        case _ if kind == TEST_KIND:
            return {"event": "test"}
    return None


def _name_answer(data: Mapping[str, Any]) -> str:
    if data["queue"]:
        return "queue_answer"
    return "call_forward_answer" if data["is_outside"] else "dial_answer"


def _show_inbound(data: Mapping[str, Any], snapshot: Snapshot) -> dict[str, Any]:
    did = snapshot.dids.named(data["did"]) if data["did"] else None
    return {
        "direction": "IN",
        "agent": data["endpoint"],
        "remote_number": data["caller"],
        "telephone": data["caller"],
        "dnid": data["called"],
        "dnid_identifier": did.description if did is not None else "",
        "contact_id": data["contact_id"],
        "queue": data["queue"],
        "uniqueid": data["call_id"],
    }


def _show_outgoing(data: Mapping[str, Any], snapshot: Snapshot) -> dict[str, Any]:
    agent = data["endpoint"] if data["endpoint"] in snapshot.endpoints else ""
    return {
        "event": "outgoing_end",
        "direction": "OUT",
        "agent": agent,
        "remote_number": data["called"],
        "telephone": data["called"],
        "contact_id": data["contact_id"],
        "external_id": data["external_id"],
        "disposition": data["disposition"],
        "duration": round(data["duration_s"]),
        "billsec": round(data["talk_s"]),
        "uniqueid": data["call_id"],
    }
