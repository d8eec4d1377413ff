"""What webhooks are told of the calls of the PBX: once each, in the transaction of the records; the same on SQLite and PostgreSQL."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from api.compat.php_names import nest_pairs, split_pairs
from api.compat.while1.events import write_event
from tandem.document import read_document
from tandem.domain.cdr import Leg
from tandem.domain.contacts import Contact
from tandem.domain.decisions import Decision
from tandem.domain.pbx_events import find_did, find_queue
from tandem.domain.snapshot import build_snapshot
from tandem.domain.webhooks import Delivery
from tandem.store.cdrs import CdrQuery, load_cdrs, record_legs
from tandem.store.database import Store
from tandem.store.outbox import load_deliveries
from tandem.store.pbx_events import load_contacts
from tandem.store.retention import delete_cdrs
from tandem.store.routes import record_routes
from tandem.store.webhooks import create_webhook

BEGAN = datetime(2026, 3, 28, 8, 30, tzinfo=UTC).timestamp()
KINDS = ("inbound.answered", "inbound.ended", "inbound.missed", "outbound.ended")
TRUNKS = ["carrier"]
SNAPSHOT = build_snapshot(
    1,
    read_document(
        """
general: {country: DE}
endpoints: [{extension: "1001", secret: not-a-secret-1}]
queues: [{name: sales, fallback: {hangup: busy}}]
dids: [{number: "+49301000", description: Hotline, destination: {queue: sales}}]
""",
        "test",
    ),
)


def leg(name: str, channel: str = "PJSIP/carrier-1", call_id: str = "1.0", **more: Any) -> Leg:
    known = {"started_at": BEGAN, "caller": "0305550100", "exten": "+49301000"} if channel.startswith("PJSIP/carrier-1") else {"started_at": BEGAN + 1}  # fmt: skip
    return Leg(uniqueid=name, call_id=call_id, channel=channel, **{**known, **more})


def decide(store: Store, *reasons: str, contact: Contact | None = None, uniqueid: str = "1.0") -> None:
    at = datetime.fromtimestamp(BEGAN, UTC)
    decision = Decision(
        decided_at=at, script="did", uniqueid=uniqueid, channel="", called="", caller="", reasons=reasons, outcome="", computing_s=0.0, revision=1,
        contact=contact,
    )  # fmt: skip
    store.run_now(record_routes, [decision])


def listen(store: Store, *kinds: str) -> int:
    def work(db: Any) -> int:
        made, _ = create_webhook(db, url="https://crm.example/", events=kinds or KINDS, description="", active=True, author="a", at=BEGAN, form="while1")  # fmt: skip
        return made.id

    return store.run_now(work)


def told(store: Store, webhook_id: int) -> list[Delivery]:
    return list(reversed(store.run_now(load_deliveries, webhook_id, None, None, 100)))


def translate(delivery: Delivery) -> dict[str, Any] | None:
    query = write_event(delivery, SNAPSHOT, "p1")
    return None if query is None else nest_pairs(split_pairs(query.encode()))


def test_a_queues_call_is_told_when_it_is_answered_and_when_it_is_over(either_store: Store) -> None:
    store = either_store
    webhook_id = listen(store)
    contact = Contact(contact_id="7", external_id="crm-7", name="Jane")
    decide(store, "DID +49301000", "queue sales", "caller is contact 7", contact=contact)
    store.run_now(record_legs, [leg("1.0"), leg("1.1", "PJSIP/1001-2")], TRUNKS)
    store.run_now(record_legs, [leg("1.0", answered_at=BEGAN + 1)], TRUNKS)  # Queue() answers the caller
    assert told(store, webhook_id) == []
    answered = leg("1.1", "PJSIP/1001-2", answered_at=BEGAN + 5)
    store.run_now(record_legs, [answered], TRUNKS)
    store.run_now(record_legs, [answered], TRUNKS)
    (one,) = told(store, webhook_id)
    shown = {
        "direction": "IN", "agent": "1001", "remote_number": "0305550100", "telephone": "0305550100", "dnid": "+49301000",
        "dnid_identifier": "Hotline", "contact_id": "7", "queue": "sales", "uniqueid": "1.0", "project_id": "p1",
    }  # fmt: skip
    assert translate(one) == {"event": "queue_answer", **shown}
    event = json.loads(one.body)
    assert event["data"] == {
        "call_id": "1.0", "caller": "0305550100", "called": "+49301000", "did": "+49301000", "trunk": "carrier", "queue": "sales",
        "endpoint": "1001", "is_outside": False, "wait_s": 5.0, "contact_id": "7", "external_id": "crm-7",
    }  # fmt: skip
    ends = [replace(one, ended_at=BEGAN + 20, cause=16) for one in (leg("1.0"), leg("1.1", "PJSIP/1001-2"))]
    store.run_now(record_legs, ends, TRUNKS)
    # Asterisk's CDR comes later and says more: it is no second end.
    store.run_now(record_legs, [leg("1.0", application="Queue(sales,,,,300)")], TRUNKS)
    _, two = told(store, webhook_id)
    assert translate(two) == {"event": "queue_answer_end", **shown}
    # The caller's id there finds the CDR here.
    (cdr,) = store.run_now(load_cdrs, CdrQuery(external_id="crm-7"))
    assert cdr.call_id == "1.0"
    store.run_now(delete_cdrs, datetime.fromtimestamp(BEGAN + 100, UTC), 10)
    assert store.run_now(load_contacts, ["1.0"]) == {}


def test_a_missed_call_says_why(either_store: Store) -> None:
    store = either_store
    webhook_id = listen(store, "inbound.missed", "inbound.answered")
    decide(store, "DID +49301000", "queue sales")
    gone = [leg("1.0", answered_at=BEGAN, ended_at=BEGAN + 33, cause=16), leg("1.1", "PJSIP/1001-2", ended_at=BEGAN + 33, cause=26)]  # fmt: skip
    store.run_now(record_legs, gone, TRUNKS)
    (one,) = told(store, webhook_id)
    assert translate(one) == {
        "event": "missed_calls", "telephone": "0305550100", "dnid": "+49301000", "dnid_identifier": "Hotline", "contact_id": "", "queue": "sales",
        "uniqueid": "1.0", "queue_hold_time": "33", "fail_reason": "NOTCONNECTED", "explain_reason": "the caller was heard by a machine only, and spoke with nobody",
        "project_id": "p1",
    }  # fmt: skip
    assert json.loads(one.body)["data"]["was_called"] == ["1001"]


def test_phones_and_forwarded_calls_have_words_of_their_own(either_store: Store) -> None:
    store = either_store
    webhook_id = listen(store)
    for number, channel in enumerate(("PJSIP/1001-2", "PJSIP/carrier-9")):
        call_id = f"{number}.0"
        decide(store, "DID +49301000", "endpoint 1001", uniqueid=call_id)
        legs = [leg(call_id, call_id=call_id), leg(f"{number}.1", channel, call_id, answered_at=BEGAN + 5)]
        store.run_now(record_legs, [legs[0], replace(legs[1], answered_at=None)], TRUNKS)
        store.run_now(record_legs, [legs[1]], TRUNKS)
        store.run_now(record_legs, [replace(one, ended_at=BEGAN + 9) for one in legs], TRUNKS)
    words = [found and (found["event"], found["agent"]) for found in map(translate, told(store, webhook_id))]
    # The end of a call without a queue has no word there.
    assert words == [("dial_answer", "1001"), None, ("call_forward_answer", ""), None]


def test_what_left_the_house_is_told_and_what_stayed_is_not(either_store: Store) -> None:
    store = either_store
    webhook_id = listen(store)
    out = [
        leg("1.0", "PJSIP/1001-2", caller="1001", exten="0305550177", answered_at=BEGAN + 2, ended_at=BEGAN + 9),
        leg("1.1", "PJSIP/carrier-9", answered_at=BEGAN + 2, ended_at=BEGAN + 9),
    ]
    inside = [leg(f"2.{number}", f"PJSIP/100{number}-3", "2.0", answered_at=BEGAN, ended_at=BEGAN + 9) for number in (0, 1)]  # fmt: skip
    store.run_now(record_legs, [*out, *inside], TRUNKS)
    (one,) = told(store, webhook_id)
    found = translate(one)
    assert found is not None
    assert (found["event"], found["agent"], found["telephone"], found["billsec"]) == (
        "outgoing_end",
        "1001",
        "0305550177",
        "7",
    )


def test_a_blocked_caller_and_a_call_without_listeners_are_not_told(either_store: Store) -> None:
    store = either_store
    store.run_now(record_legs, [leg("0.0", call_id="0.0", ended_at=BEGAN + 1)], TRUNKS)
    webhook_id = listen(store)
    for number, reasons in enumerate((("caller 49190 is blocked",), ("DID +49301000: caller 49190 is blocked",)), 1):
        decide(store, *reasons, uniqueid=f"{number}.0")
        store.run_now(record_legs, [leg(f"{number}.0", call_id=f"{number}.0", ended_at=BEGAN + 1, cause=21)], TRUNKS)
    assert told(store, webhook_id) == []


def test_a_direct_lines_queue_is_not_the_dids() -> None:
    assert find_queue("DID +49, queue sales, caller is contact 7, direct line, endpoint 1001") == ""
    assert find_queue("DID +49, queue sales takes nobody, queue support") == "support"
    assert find_queue("DID +49, queue sales, queue sales: TIMEOUT, endpoint 1001") == "sales"
    assert (find_did("DID +49, queue sales"), find_did("campaign 7")) == ("+49", "")


def test_the_test_of_a_webhook_is_told_too() -> None:
    body = json.dumps({"data": {"webhook_id": 1}})
    test = Delivery(id=1, webhook_id=1, event_id="m", kind="webhook.test", body=body, state="pending", attempts=0, next_at=0, last_status=0, last_error="", created_at=0, delivered_at=None)  # fmt: skip
    assert translate(test) == {"event": "test", "project_id": "p1"}
    assert translate(replace(test, kind="call.ended")) is None
