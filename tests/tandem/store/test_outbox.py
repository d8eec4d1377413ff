"""Events are kept in the transaction of what they tell, for those who listen and for nobody else; on each database."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import TypeAdapter

from tandem.domain.campaigns import Campaign, NewNumber
from tandem.domain.disposition import Disposition
from tandem.domain.originate import CallRefused, OriginateOrder
from tandem.domain.recordings import Recording
from tandem.store.attempt_claims import claim_numbers
from tandem.store.call_book import record_progress
from tandem.store.campaigns import change_state, create_campaign, delete_campaign, reset_numbers, update_campaign
from tandem.store.database import Store
from tandem.store.nodes import bury_node, renew_lease, take_lease
from tandem.store.numbers import add_numbers
from tandem.store.outbox import (
    Outcome,
    claim_due,
    count_pending,
    delete_deliveries,
    load_deliveries,
    load_due,
    queue_test,
    record_outcomes,
    replay_delivery,
)
from tandem.store.recordings import load_waiting, record_converted, record_recordings
from tandem.store.webhooks import create_webhook, delete_webhook, load_webhooks, update_webhook

NOW = 1_789_992_000.0
AT = datetime.fromtimestamp(NOW, UTC)
CAMPAIGN = TypeAdapter(Campaign).validate_python(
    {"name": "spring", "destination": {"announcement": "sorry"}, "trunk": "carrier", "concurrent_calls": 2}
)


def listen(store: Store, *kinds: str) -> int:
    made, _ = store.run_now(
        create_webhook, url="https://x.example/", events=kinds, description="", active=True, author="anna", at=NOW
    )
    return made.id


def told(store: Store, webhook_id: int) -> list[tuple[str, Any]]:
    found = store.run_now(load_deliveries, webhook_id, None, None, 1000)
    return [(one.kind, json.loads(one.body)["data"]) for one in reversed(found)]


def order(number: str) -> OriginateOrder:
    return OriginateOrder(
        channel=f"PJSIP/{number}@carrier", jump="", context="x", exten="s", caller_number="", caller_name="", account="",
        variables=(), ring_timeout_s=30.0, origin=f"external {number}", destination="announcement sorry", is_trunk=True, revision=1,
    )  # fmt: skip


def test_a_campaign_from_its_first_day_to_its_last(store: Store) -> None:
    webhook_id = listen(
        store, *(f"campaign.{what}" for what in ("created", "changed", "started", "paused", "resumed", "stopped", "reset", "deleted"))
    )  # fmt: skip
    saved = store.run_now(create_campaign, CAMPAIGN, author="anna", permissions=(), at=NOW)
    one = saved.campaign_id
    store.run_now(update_campaign, one, replace(CAMPAIGN, name="summer"), NOW)
    for state, allowed in (
        ("running", {"stopped"}),
        ("paused", {"running"}),
        ("running", {"paused"}),
        ("stopped", {"running"}),
    ):
        store.run_now(change_state, one, state, allowed, "no", NOW)  # type: ignore[arg-type]
    store.run_now(reset_numbers, one, NOW)
    store.run_now(delete_campaign, one, NOW)
    found = told(store, webhook_id)
    kinds = ["created", "changed", "started", "paused", "resumed", "stopped", "reset", "deleted"]
    assert [kind for kind, _ in found] == [f"campaign.{kind}" for kind in kinds]
    assert found[1][1] == {"campaign_id": one, "name": "summer", "state": "stopped"}


def test_a_number_from_its_call_to_the_end_of_its_campaign(store: Store) -> None:
    everything = ("call.ringing", "call.answered", "call.ended", "attempt.ended", "number.finished", "campaign.drained")
    webhook_id = listen(store, *everything)
    some_id = listen(store, "number.finished")
    one = store.run_now(create_campaign, CAMPAIGN, author="anna", permissions=(), at=NOW).campaign_id
    numbers = [NewNumber(phone_number=number) for number in ("030333", "030111", "030222")]
    store.run_now(add_numbers, one, numbers, NOW)
    store.run_now(change_state, one, "running", {"stopped"}, "no", NOW)

    def plan(_: Any, number: Any) -> OriginateOrder:
        if number.phone_number == "030333":
            raise CallRefused("destination", "goes nowhere")
        return order(number.phone_number)

    claimed = store.run_now(claim_numbers, {one: 10}, plan, str, NOW, "here")
    first, second = (claim.call for claim in claimed.claims)
    assert [kind for kind, _ in told(store, webhook_id)] == ["number.finished"]  # the one that cannot be dialled
    rung = replace(first, ringing_at=AT)
    up = replace(rung, answered_at=AT)
    over = replace(up, ended_at=AT + timedelta(seconds=9), disposition=Disposition.ANSWERED)
    for step in ([rung], [rung], [up], [over], [over]):  # the same again tells nothing
        store.run_now(record_progress, step)
    busy = replace(second, ended_at=AT + timedelta(seconds=10), disposition=Disposition.BUSY, cause=17)
    store.run_now(record_progress, [busy])
    found = told(store, webhook_id)
    once = ["attempt.ended", "number.finished"]
    assert [kind for kind, _ in found] == [
        *("number.finished", "call.ringing", "call.answered", *once, "call.ended"),
        *(*once, "campaign.drained", "call.ended"),
    ]
    call = found[5][1]
    assert (call["call_id"], call["state"], call["disposition"]) == (first.call_id, "ended", "answered")
    assert datetime.fromisoformat(call["answered_at"]) == AT
    number = found[7][1]
    assert (number["phone_number"], number["status"], number["attempts"]) == ("030222", "busy", 1)
    assert found[8][1]["counts"] | {"completed": 1, "busy": 1, "failed": 1, "pending": 0} == found[8][1]["counts"]
    assert datetime.fromisoformat(found[3][1]["ended_at"]) == AT + timedelta(seconds=9)
    assert [kind for kind, _ in told(store, some_id)] == ["number.finished"] * 3
    # One event is the same for whoever hears of it.
    ids = [
        {one.event_id for one in store.run_now(load_deliveries, which, None, None, 99)}
        for which in (webhook_id, some_id)
    ]
    assert ids[1] < ids[0]


def test_a_recording_that_can_be_heard(store: Store) -> None:
    webhook_id = listen(store, "recording.ready")
    new = Recording(
        name="x-mixed", call_id="x", kind="mixed", path="/spool/x.wav", started_at=AT, duration_s=3.0, bytes=9, format="wav"
    )  # fmt: skip
    store.run_now(record_recordings, [new])
    (kept,) = store.run_now(load_waiting, 9)
    store.run_now(record_converted, kept.id, "a/x.mp3", 5, "mp3", AT)
    store.run_now(record_converted, kept.id + 1, "a/y.mp3", 5, "mp3", AT)
    ((kind, data),) = told(store, webhook_id)
    assert (kind, data["call_id"], data["format"]) == ("recording.ready", "x", "mp3")
    assert "path" not in data


def test_what_is_rolled_back_is_not_told_and_who_is_inactive_hears_nothing(store: Store) -> None:
    webhook_id = listen(store, "campaign.created")

    def fail(db: Any) -> None:
        create_campaign(db, CAMPAIGN, author="anna", permissions=(), at=NOW)
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        store.run_now(fail)
    assert told(store, webhook_id) == []
    store.run_now(update_webhook, webhook_id, NOW, active=False)
    store.run_now(create_campaign, CAMPAIGN, author="anna", permissions=(), at=NOW)
    assert told(store, webhook_id) == []


def test_what_is_due_replayed_kept_and_taken_away(store: Store) -> None:
    webhook_id = listen(store, "call.ended")
    first, second, third = (store.run_now(queue_test, webhook_id, NOW + n).id for n in range(3))
    assert [one.id for one in store.run_now(load_due, webhook_id, NOW + 1, {first}, 9)] == [second]
    store.run_now(
        record_outcomes,
        [
            Outcome(first, "delivered", 1, None, 200, "", NOW + 5),
            Outcome(second, "dead", 12, None, 500, "x" * 999, NOW + 5),
            Outcome(third, "pending", 1, NOW + 60, 0, "no", NOW + 5),
            Outcome(third + 99, "dead", 1, None, 0, "gone", NOW + 5),
        ],
    )
    assert store.run_now(count_pending) == {webhook_id: 1}
    by_state = {one.state: one for one in store.run_now(load_deliveries, webhook_id, None, None, 9)}
    assert (by_state["delivered"].delivered_at, by_state["dead"].delivered_at) == (NOW + 5, None)
    assert len(by_state["dead"].last_error) == 200
    assert by_state["pending"].next_at == NOW + 60
    assert [one.id for one in store.run_now(load_deliveries, webhook_id, "dead", third, 9)] == [second]
    again = store.run_now(replay_delivery, webhook_id, first, NOW + 7)
    assert again is not None
    assert (again.state, again.attempts, again.delivered_at) == ("pending", 0, None)
    assert store.run_now(replay_delivery, webhook_id + 1, first, NOW) is None
    # Only what is over goes, however old.
    assert store.run_now(delete_deliveries, AT + timedelta(days=9), 9) == 1
    assert {one.id for one in store.run_now(load_deliveries, webhook_id, None, None, 9)} == {first, third}
    store.run_now(delete_webhook, webhook_id)
    assert store.run_now(load_webhooks) == []
    assert store.run_now(count_pending) == {}


def test_a_try_that_failed_undoes_nothing_where_another_node_has_taken_over(store: Store) -> None:
    """It was alive, but slow: the other's answer was written first."""
    webhook_id = listen(store, "call.ended")
    first, second = (store.run_now(queue_test, webhook_id, NOW).id for _ in range(2))
    assert len(store.run_now(claim_due, webhook_id, NOW, (), 9, "one")) == 2
    assert store.run_now(claim_due, webhook_id, NOW, (), 9, "two") == []
    store.run_now(bury_one)
    assert len(store.run_now(claim_due, webhook_id, NOW, (), 9, "two")) == 2
    store.run_now(record_outcomes, [Outcome(first, "delivered", 1, None, 200, "", NOW + 5)], "two")
    late = [Outcome(one, "pending", 1, NOW + 9, 0, "no answer", NOW + 6) for one in (first, second)]
    store.run_now(record_outcomes, late, "one")
    found = {one.id: one for one in store.run_now(load_deliveries, webhook_id, None, None, 9)}
    assert (found[first].state, found[first].attempts, found[first].last_status) == ("delivered", 1, 200)
    assert (found[second].state, found[second].attempts) == ("pending", 0)
    # The second is still two's alone: one gets nothing of it.
    assert store.run_now(claim_due, webhook_id, NOW + 60, (), 9, "one") == []
    # An answer is an answer, whoever got it.
    store.run_now(record_outcomes, [Outcome(second, "delivered", 1, None, 204, "", NOW + 7)], "one")
    assert store.run_now(count_pending) == {}


def bury_one(db: Any) -> None:
    """What burying a node does to deliveries."""
    take_lease(db, "one", "first run")
    take_lease(db, "two", "first run")
    (dead,) = (node for node in renew_lease(db, "two", "first run").nodes if node.node == "one")
    assert bury_node(db, dead, "two") is not None
