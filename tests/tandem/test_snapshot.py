import dataclasses
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tandem.domain.destinations import QueueDestination
from tandem.domain.entities import COLLECTIONS, Did, Endpoint, General, Menu, Pbx, Queue, Schedule, Trunk
from tandem.domain.snapshot import (
    SnapshotBuilder,
    build_snapshot,
    name_of,
    with_entity,
    with_general,
    without_entity,
)
from tests.strategies import pbxes

SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large]


def test_a_snapshot_cannot_be_changed():
    snapshot = build_snapshot(1, Pbx())
    with pytest.raises(dataclasses.FrozenInstanceError):
        snapshot.revision = 2


@settings(deadline=None, max_examples=50, suppress_health_check=SLOW)
@given(pbxes(), st.randoms())
def test_edits_end_where_building_at_once_does(pbx, random):
    """Objects one by one, in any order, some first in another form and some only for a while."""
    entities = [entity for collection in COLLECTIONS for entity in getattr(pbx, collection)]
    random.shuffle(entities)
    snapshot = build_snapshot(0, Pbx(general=General(time_zone="Asia/Kathmandu")))
    snapshot = with_entity(snapshot, 1, Trunk(name="for-a-while", hosts=("192.0.2.1",)))
    snapshot = with_entity(
        snapshot, 1, Did(number="+99999999999999999", destination={"hangup": 16}, blocked_callers=("1",))
    )
    snapshot = with_entity(snapshot, 1, Did(number="_99999999999999999X", destination={"hangup": 16}))
    snapshot = with_entity(snapshot, 1, Did(number="99999999999999999*", destination={"hangup": 16}))
    for entity in entities:
        if "description" in {field.name for field in dataclasses.fields(entity)}:
            snapshot = with_entity(snapshot, 2, dataclasses.replace(entity, description="first"))
        snapshot = with_entity(snapshot, 3, entity)
    snapshot = with_general(snapshot, 4, pbx.general)
    snapshot = without_entity(snapshot, 5, "trunks", "for-a-while")
    snapshot = without_entity(snapshot, 5, "dids", "99999999999999999")
    snapshot = without_entity(snapshot, 5, "dids", "_99999999999999999X")
    snapshot = without_entity(snapshot, 5, "dids", "99999999999999999*")
    assert snapshot == build_snapshot(5, pbx)


@settings(deadline=None, max_examples=30, suppress_health_check=SLOW)
@given(pbxes())
def test_taking_everything_out_leaves_nothing(pbx):
    snapshot = kept = build_snapshot(1, pbx)
    for collection in COLLECTIONS:
        for entity in getattr(pbx, collection):
            snapshot = without_entity(snapshot, 2, collection, name_of(entity))
    assert dataclasses.replace(snapshot, revision=2) == build_snapshot(2, Pbx(general=pbx.general))
    assert kept == build_snapshot(1, pbx)


def test_taking_out_what_is_not_there():
    for collection in COLLECTIONS:
        with pytest.raises(KeyError):
            without_entity(build_snapshot(1, Pbx()), 2, collection, "12")


def test_the_earlier_revision_stays_as_it_was():
    did = Did(number="+1", destination={"hangup": 16})
    first = build_snapshot(1, Pbx(dids=(did,)))
    second = with_entity(first, 2, Did(number="1", destination={"hangup": 17}))
    assert (first.revision, first.dids.find("1")) == (1, did)
    assert (second.revision, second.dids.find("1").destination.hangup) == (2, 17)
    assert second.dids.count == 1


def test_block_lists_follow_their_did():
    blocked = Did(number="+1", destination={"hangup": 16}, blocked_callers=("5*",))
    snapshot = build_snapshot(1, Pbx(dids=(blocked,)))
    assert snapshot.did_blocked["+1"].holds("55")
    freed = with_entity(snapshot, 2, Did(number="1", destination={"hangup": 16}))
    assert freed.did_blocked == {}


def test_numbers_inside():
    snapshot = build_snapshot(
        1,
        Pbx(
            endpoints=(
                Endpoint(extension="100", secret="long enough"),
                Endpoint(extension="1001", secret="long enough"),
            ),
            queues=(
                Queue(name="sales", extension="20", fallback={"hangup": 16}),
                Queue(name="none", fallback={"hangup": 16}),
            ),
        ),
    )
    assert snapshot.number_list == ("100", "1001", "20")
    assert snapshot.numbers["20"] == QueueDestination(queue="sales")
    assert [snapshot.has_longer_number(digits) for digits in ("1", "10", "100", "1001", "2", "20", "3", "")] == [
        True, True, True, False, True, False, False, True,
    ]  # fmt: skip
    moved = with_entity(snapshot, 2, Queue(name="sales", extension="30", fallback={"hangup": 16}))
    assert moved.number_list == ("100", "1001", "30")


def test_invalid_objects_are_refused_one_by_one():
    builder = SnapshotBuilder(1, General())
    with pytest.raises(ValueError, match="nothing may follow"):
        builder.add(Did(number="_1.2", destination={"hangup": 16}))
    with pytest.raises(ValueError, match="time zone"):
        builder.add(Schedule(name="a", time_zone="Europe/Atlantis"))


def test_finishing_is_cheap_however_many_dids_there_are():
    builder = SnapshotBuilder(1, General())
    builder.add(
        Menu(
            name="m",
            prompts=("a",),
            options={},
            invalid={"hangup": 16},
            timeout={"hangup": 16},
            fallback={"hangup": 16},
        )
    )
    for number in range(20_000):
        builder.add(Did(number=f"+49{number:07}", destination=QueueDestination(queue="sales")))
    best = min(_seconds(builder.finish) for _ in range(5))
    assert best < 0.005
    snapshot = builder.finish()
    assert snapshot.dids.count == 20_000
    assert len({id(did.destination) for did in snapshot.dids}) == 1


def _seconds(work):
    started = time.perf_counter()
    work()
    return time.perf_counter() - started
