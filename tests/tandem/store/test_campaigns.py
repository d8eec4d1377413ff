"""Campaigns in the database: whatever happens in whatever order, the counts are those of the rows, each call has one attempt, and nobody is called twice at once."""

from collections import Counter
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime

import peewee
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from tandem.domain.calls import end_call
from tandem.domain.campaign_calls import plan_number
from tandem.domain.campaigns import CallWindow, Campaign, CampaignCounts, NewNumber, NumberStatus, RetryRule
from tandem.domain.destinations import QueueDestination
from tandem.domain.disposition import Evidence
from tandem.domain.entities import OpenHours, Pbx
from tandem.domain.snapshot import build_snapshot
from tandem.domain.why import Conditions, explain_number
from tandem.store.attempt_claims import claim_numbers, load_blocked, load_busy
from tandem.store.call_book import record_progress
from tandem.store.campaigns import (
    CampaignMissing,
    StateConflict,
    change_state,
    create_campaign,
    delete_campaign,
    load_campaign,
    load_counts,
    reset_numbers,
)
from tandem.store.closed_numbers import close_numbers
from tandem.store.database import open_store
from tandem.store.dnc import add_dnc_numbers
from tandem.store.number_lists import create_number_list, update_number_list
from tandem.store.number_places import MAX_LISTS, NumberPlaces
from tandem.store.numbers import (
    NumberInFlight,
    NumberMissing,
    NumberQuery,
    add_numbers,
    count_waiting,
    delete_number,
    load_number,
    load_numbers,
)
from tandem.store.rows import load_rows

DOCUMENT = {
    "general": {"country": "DE", "time_zone": "Europe/Berlin", "outbound_trunk": "carrier"},
    "trunks": [{"name": "carrier", "hosts": ["192.0.2.1"], "match": ["192.0.2.1"]}],
    "endpoints": [{"extension": "1001", "secret": "swordfish1"}],
    "queues": [{"name": "sales", "fallback": {"hangup": 17}, "members": [{"endpoint": "1001"}]}],
}
SNAPSHOT = build_snapshot(1, TypeAdapter(Pbx).validate_python(DOCUMENT))
CAMPAIGN = Campaign(
    name="x",
    trunk="carrier",
    destination=QueueDestination(queue="sales"),
    concurrent_calls=3,
    retry_times=1,
    retry_delay_s=5,
    retry_rules={"busy": RetryRule(times=2, delay_s=1)},
)
NOW = datetime(2026, 3, 2, 10, tzinfo=UTC).timestamp()
EVIDENCE = {
    "answered": Evidence(has_channel=True, has_rung=True, is_answered=True, is_hung_up=True, cause=16),
    "busy": Evidence(has_channel=True, has_rung=True, is_hung_up=True, cause=17),
    "no-answer": Evidence(has_channel=True, has_rung=True, is_hung_up=True, cause=19, response="timed-out"),
    "dead": Evidence(has_channel=True, is_hung_up=True, cause=20),
    "unsent": Evidence(is_unsent=True),
    "lost": Evidence(is_lost=True),
}
STEPS = st.one_of(
    st.tuples(st.just("add"), st.integers(1, 3)),
    st.tuples(st.just("claim"), st.integers(1, 4)),
    st.tuples(st.just("answer"), st.integers(0, 3)),
    st.tuples(st.just("end"), st.integers(0, 3), st.sampled_from(sorted(EVIDENCE))),
    st.tuples(st.just("again"), st.integers(0, 30)),
    st.tuples(st.sampled_from(["start", "stop", "pause", "reset"])),
    st.tuples(st.just("delete"), st.integers(0, 5)),
    st.tuples(st.just("close"), st.integers(0, 5)),
    st.tuples(st.just("wait"), st.sampled_from([1.0, 6.0, 120.0])),
)
SLOW = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


class QuickStore:
    """The same transactions on one connection that does not wait for the disk."""

    def __init__(self, path):
        open_store(path)
        self.db = peewee.SqliteDatabase(str(path), pragmas={"foreign_keys": 1, "synchronous": 0, "journal_mode": "wal"})

    def run_now(self, work, *args, **kwargs):
        with self.db.atomic("IMMEDIATE"):
            return work(self.db, *args, **kwargs)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    store = QuickStore(tmp_path_factory.mktemp("store") / "tandem.db")
    yield store
    store.db.close()


class Story:
    """One campaign, its calls and a clock."""

    def __init__(self, store):
        self.store, self.now, self.calls, self.ended = store, NOW, {}, {}
        self.campaign_id = store.run_now(create_campaign, CAMPAIGN, author="t", permissions=(), at=NOW).campaign_id
        self.claims = 0

    def do(self, step):
        name, *rest = step
        getattr(self, name)(*rest)
        self.now += 0.5

    def add(self, count):
        # Of each story its own: a telephone whose call was lost is in doubt in every campaign.
        added = [NewNumber(phone_number=f"+4930{n}{self.campaign_id:06}") for n in range(count)]
        self.store.run_now(add_numbers, self.campaign_id, added, self.now)

    def claim(self, wanted):
        claimed = self.store.run_now(
            claim_numbers,
            {self.campaign_id: wanted},
            lambda saved, number: plan_number(SNAPSHOT, saved, number, self.now),
            lambda number: number.removeprefix("+"),
            self.now,
            "node",
        )
        numbers = [claim.number.number_id for claim in claimed.claims]
        assert len(set(numbers)) == len(numbers)
        assert not {call.number_id for call in self.open_rows()} - {*numbers, *self.calls.values()}
        for claim in claimed.claims:
            assert claim.number.number_id not in self.calls.values(), "it is being called already"
            self.calls[claim.call] = claim.number.number_id
        self.claims += len(numbers)

    def pick(self, index):
        calls = list(self.calls)
        return calls[index % len(calls)] if calls else None

    def answer(self, index):
        if (call := self.pick(index)) is None or call.answered_at is not None:
            return
        answered = replace(call, answered_at=datetime.fromtimestamp(self.now, UTC))
        self.calls[answered] = self.calls.pop(call)
        self.store.run_now(record_progress, [answered])

    def end(self, index, what):
        if (call := self.pick(index)) is None:
            return
        evidence = EVIDENCE["answered"] if call.answered_at is not None else EVIDENCE[what]
        over = end_call(call, evidence, datetime.fromtimestamp(self.now, UTC))
        self.ended[over.call_id] = over
        del self.calls[call]
        assert self.store.run_now(record_progress, [over]) == {over.call_id}

    def again(self, index):
        """The same end, told twice, changes nothing."""
        if self.ended:
            over = list(self.ended.values())[index % len(self.ended)]
            self.store.run_now(record_progress, [over])

    def start(self):
        self.turn("running", {"stopped", "paused"}, ("national",))

    def pause(self):
        self.turn("paused", {"running"})

    def stop(self):
        self.turn("stopped", {"running", "paused"})

    def turn(self, state, allowed, permissions=None):
        with suppress(StateConflict):
            self.store.run_now(change_state, self.campaign_id, state, allowed, "no", self.now, permissions)

    def reset(self):
        self.store.run_now(reset_numbers, self.campaign_id, self.now)

    def delete(self, index):
        numbers, _ = self.store.run_now(load_numbers, NumberQuery(campaign_id=self.campaign_id))
        if not numbers:
            return
        number = numbers[index % len(numbers)]
        try:
            self.store.run_now(delete_number, number.number_id)
        except NumberInFlight:
            assert number.number_id in self.calls.values()
        else:
            assert number.number_id not in self.calls.values()

    def close(self, index):
        numbers, _ = self.store.run_now(load_numbers, NumberQuery(campaign_id=self.campaign_id))
        if not numbers:
            return
        number = numbers[index % len(numbers)]
        (closed,) = self.store.run_now(close_numbers, [number.number_id], self.now)
        assert closed.status in ({number.status} if number.call_id else {number.status, NumberStatus.COMPLETED})

    def wait(self, time_s):
        self.now += time_s

    def open_rows(self):
        return [row for row in self.attempts() if row.ended_at is None]

    def attempts(self):
        from tandem.store.attempts import ATTEMPT_COLUMNS, read_attempt

        rows = self.store.run_now(
            load_rows, ATTEMPT_COLUMNS, "attempts WHERE campaign_id = ? ORDER BY attempt_id", [self.campaign_id]
        )
        return [read_attempt(row) for row in rows]

    def check(self):
        counts = self.store.run_now(load_counts, [self.campaign_id]).get(self.campaign_id, CampaignCounts())
        numbers, total = self.store.run_now(load_numbers, NumberQuery(campaign_id=self.campaign_id, limit=1000))
        assert total == len(numbers) == counts.total
        real = Counter(number.status.value for number in numbers)
        assert {status.value: getattr(counts, status.value) for status in NumberStatus} == {
            status.value: real[status.value] for status in NumberStatus
        }
        attempts = self.attempts()
        assert counts.total_calls == len(attempts) == self.claims
        assert {row.call_id for row in attempts if row.ended_at is None} == {call.call_id for call in self.calls}
        closed = [row for row in attempts if row.ended_at is not None]
        assert sorted(row.call_id for row in closed) == sorted(self.ended)
        for row in closed:
            assert row.disposition == self.ended[row.call_id].disposition
        answered = {call.call_id for call in self.calls if call.answered_at is not None}
        answered |= {call.call_id for call in self.ended.values() if call.disposition == "answered"}
        assert counts.answered_calls == len(answered)
        assert counts.connected_calls + counts.abandoned_calls == sum(
            call.disposition == "answered" for call in self.ended.values()
        )
        under_way = {number.number_id for number in numbers if number.call_id}
        assert under_way == set(self.calls.values())
        for number in numbers:
            assert number.status is not NumberStatus.CALLING or number.number_id in under_way
        assert len(self.calls) <= CAMPAIGN.concurrent_calls
        waiting = self.store.run_now(count_waiting, self.campaign_id, self.now)
        assert sum(waiting.values()) <= counts.pending


@SLOW
@given(steps=st.lists(STEPS, max_size=40))
def test_counts_are_those_of_the_rows_whatever_happens(store, steps):
    story = Story(store)
    story.start()
    story.add(3)
    for step in steps:
        story.do(step)
        story.check()
    story.stop()
    while story.calls:
        story.end(0, "no-answer")
    story.check()
    numbers, _ = store.run_now(load_numbers, NumberQuery(campaign_id=story.campaign_id, limit=1000))
    assert not [number for number in numbers if number.status in (NumberStatus.CALLING, NumberStatus.ANSWERED)]
    store.run_now(delete_campaign, story.campaign_id, NOW)
    with pytest.raises(CampaignMissing):
        store.run_now(load_campaign, story.campaign_id)
    rows = store.run_now(load_rows, ("call_id",), "attempts", [])
    assert {row["call_id"] for row in rows} >= set(story.ended)  # the campaign's CDRs outlive it


@pytest.mark.parametrize("step", [("end", 0, "busy"), ("end", 0, "answered"), ("end", 0, "lost"), ("answer", 0)])
def test_a_number_that_is_closed_in_its_call_is_not_dialled_after_it(store, step):
    story = Story(store)
    story.start()
    story.add(1)
    story.claim(1)
    (number_id,) = story.calls.values()
    (closed,) = store.run_now(close_numbers, [number_id], story.now)
    assert (closed.status, closed.hold) == (NumberStatus.CALLING, "closed")
    story.do(step)
    if story.calls:
        story.end(0, "answered")
    after = store.run_now(load_number, number_id)
    assert (after.status, after.disposition, after.hold, after.due_at) == (NumberStatus.COMPLETED, "closed", "", None)
    story.wait(86400)
    story.claim(1)
    story.check()
    assert not story.calls
    story.reset()
    story.claim(1)
    story.end(0, "busy")
    assert store.run_now(load_number, number_id).status is NumberStatus.PENDING


def test_closing_takes_what_waits_and_leaves_what_is_over(store):
    story = Story(store)
    story.start()
    story.add(2)
    story.claim(1)
    story.end(0, "answered")
    ids = [number.number_id for number in store.run_now(load_numbers, NumberQuery(campaign_id=story.campaign_id))[0]]
    closed = store.run_now(close_numbers, ids, story.now)
    assert [(number.status, number.disposition) for number in closed] == [
        ("completed", "answered"),
        ("completed", "closed"),
    ]
    story.check()
    with pytest.raises(NumberMissing):
        store.run_now(close_numbers, [ids[0], 2**62], story.now)


WINDOWS = st.one_of(
    st.none(),
    st.tuples(st.integers(0, 22), st.integers(1, 12)).map(
        lambda given: CallWindow(
            hours=(
                OpenHours(days=("mon", "wed"), start=f"{given[0]:02}:00", end=f"{min(23, given[0] + given[1]):02}:30"),
            )
        )
    ),
)


@SLOW
@given(
    phone_number=st.sampled_from(["+4930123", "030123", "+12125550100", "112", "+493066", "+880000"]),
    not_before=st.one_of(st.none(), st.integers(-100, 100).map(lambda seconds: NOW + seconds)),
    window=WINDOWS,
    state=st.sampled_from(["running", "running", "paused", "stopped"]),
    lists=st.sampled_from([(), ("mine",)]),
    permissions=st.sampled_from([(), ("national",), ("national", "international")]),
    story=st.sampled_from(["fresh", "fresh", "called", "retry", "reached", "reset"]),
    hour=st.integers(0, 48),
)
def test_why_says_nothing_exactly_when_a_claim_would_take_the_number(
    store, phone_number, not_before, window, state, lists, permissions, story, hour
):
    def make_key(number):
        return "49" + number[1:] if number.startswith("0") else number.removeprefix("+")

    def claim(now):
        def plan(saved, number):
            return plan_number(SNAPSHOT, saved, number, now)

        return store.run_now(claim_numbers, {campaign_id: 1}, plan, make_key, now, "node").claims

    store.run_now(_ensure_list)
    campaign = replace(CAMPAIGN, call_window=None, dnc_lists=lists)
    campaign_id = store.run_now(create_campaign, campaign, author="t", permissions=(), at=NOW).campaign_id
    number = NewNumber(phone_number=phone_number, not_before=not_before)
    number_id = store.run_now(add_numbers, campaign_id, [number], NOW - 1000).number_ids[0]
    store.run_now(change_state, campaign_id, "running", {"stopped"}, "no", NOW - 900, permissions)
    if story != "fresh":
        for taken in claim(NOW - 500):
            what = {"retry": "busy", "reached": "answered"}.get(story)
            if what is not None:
                over = end_call(taken.call, EVIDENCE[what], datetime.fromtimestamp(NOW - 400, UTC))
                store.run_now(record_progress, [over])
        if story == "reset":
            store.run_now(reset_numbers, campaign_id, NOW - 300)
    if state != "running":
        # Without the reset that a stop brings: that is a story of its own.
        store.run_now(
            lambda db: db.execute_sql("UPDATE campaigns SET state = ? WHERE campaign_id = ?", (state, campaign_id))
        )
    store.run_now(_set_window, campaign_id, replace(campaign, call_window=window))
    now = NOW + hour * 3600
    saved, before = store.run_now(load_campaign, campaign_id), store.run_now(load_number, number_id)
    key = make_key(before.phone_number)
    blocked = store.run_now(load_blocked, ("global", *lists), [key]).get(key)
    is_busy = key in store.run_now(load_busy, make_key, now)
    why = explain_number(SNAPSHOT, saved, before, blocked, Conditions(), now, is_busy=is_busy)
    assert (why.reasons == ()) == bool(claim(now)), (why, before, saved)
    if why.callable_at is not None and not why.reasons:
        assert why.callable_at.timestamp() == now
    if why.callable_at is not None and why.reasons:
        later = why.callable_at.timestamp()
        assert later > now
        number = store.run_now(load_number, number_id)
        after = explain_number(SNAPSHOT, saved, number, blocked, Conditions(), later, is_busy=is_busy)
        assert after.reasons == (), (why, after)


def _ensure_list(db):
    db.execute_sql("INSERT INTO dnc_lists VALUES ('mine', 0, 0) ON CONFLICT DO NOTHING")
    add_dnc_numbers(db, "mine", ["493066"], NOW, "t")


def _set_window(db, campaign_id, campaign):
    from tandem.store.campaigns import _write

    db.execute_sql("UPDATE campaigns SET body = ? WHERE campaign_id = ?", (_write(campaign), campaign_id))


@pytest.mark.parametrize("status", [None, "pending"])
@pytest.mark.parametrize("gap", [False, True])
def test_a_page_by_offset_is_that_part_of_the_list(store, gap, status):
    story = Story(store)
    story.add(5)
    Story(store).add(2)  # ids of another campaign come between
    story.add(4 if gap else 0)
    listed = load_numbers(store.db, NumberQuery(campaign_id=story.campaign_id))[0]
    if gap:
        store.run_now(delete_number, listed.pop(3).number_id)
    for offset in range(len(listed) + 2):
        for limit in range(4):
            query = NumberQuery(campaign_id=story.campaign_id, status=status, offset=offset, limit=limit)
            page, total = load_numbers(store.db, query)
            assert (page, total) == (listed[offset : offset + limit], len(listed)), (offset, limit)


def test_a_list_with_gaps_is_counted_once_and_again_after_each_change(store):
    story, places = Story(store), NumberPlaces(step=2)
    story.add(5)
    Story(store).add(2)
    story.add(6)

    def load(offset, limit=2):
        return load_numbers(store.db, NumberQuery(campaign_id=story.campaign_id, offset=offset, limit=limit), places)

    def check():
        listed = load_numbers(store.db, NumberQuery(campaign_id=story.campaign_id))[0]
        # From behind and from before: what was not counted yet is counted, what was is used.
        for offset in (*range(len(listed) + 2, 0, -1), *range(len(listed) + 2)):
            assert load(offset) == (listed[offset : offset + 2], len(listed)), offset
        return listed

    listed = check()
    for index in (0, 4, -1):  # the first, one in the middle, the last
        store.run_now(delete_number, listed[index].number_id)
        listed = check()
    # As many as before, and another last one.
    store.run_now(delete_number, listed[2].number_id)
    story.add(1)
    check()


def test_a_list_that_comes_from_another_campaign_is_noticed(store):
    story, other, places = Story(store), Story(store), NumberPlaces(step=2)
    lists = [store.run_now(create_number_list, one.campaign_id, "a list", NOW).list_id for one in (story, other, story)]
    for list_id, one in zip(lists, (story, other, story), strict=True):
        numbers = [NewNumber(phone_number=f"+4930{n}55", list_id=list_id) for n in range(3)]
        store.run_now(add_numbers, one.campaign_id, numbers, NOW)
        other.add(1)  # so that there is a gap
    query = NumberQuery(campaign_id=story.campaign_id, offset=3, limit=9)
    for _ in range(3):
        before = load_numbers(store.db, query, places)[0]
    # As many as before, with the same last one: the first three give way to others.
    store.run_now(update_number_list, lists[0], NOW, campaign_id=other.campaign_id)
    store.run_now(update_number_list, lists[1], NOW, campaign_id=story.campaign_id)
    for _ in range(3):
        page, total = load_numbers(store.db, replace(query, offset=1), places)
        assert total == 6
        assert [number.list_id for number in page] == [lists[1]] * 2 + [lists[2]] * 3
        assert load_numbers(store.db, query, places)[0] == before


def test_only_so_many_lists_are_remembered(store):
    places = NumberPlaces()
    for campaign_id in range(MAX_LISTS + 50):
        assert places.find(store.db, campaign_id, (1, 9), 3, 2) is None
    assert len(places._lists) == MAX_LISTS
