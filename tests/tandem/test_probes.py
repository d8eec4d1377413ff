"""What counts as worse after a change, and which numbers a test call is placed to."""

import pytest

from tandem.domain.changes import ObjectChange
from tandem.domain.entities import Did, Endpoint, Pbx, Trunk
from tandem.domain.probes import Health, choose_numbers, choose_phones, find_worse, list_questions, sample_number
from tandem.domain.snapshot import build_snapshot

BUSY = {"hangup": "busy"}
SNAPSHOT = build_snapshot(
    2,
    Pbx(
        trunks=(
            Trunk(name="carrier", hosts=("a.example",)),
            Trunk(name="backup", hosts=("a.example", "b.example"), authentication="registration", username="u", secret="12345678"),
        ),
        endpoints=(Endpoint(extension="1001", secret="correct-horse"),),
        dids=(Did(number="+49301", destination=BUSY), Did(number="+4930*", destination=BUSY),
              Did(number="_4931[2-5]XZN.", destination=BUSY), Did(number="default", destination=BUSY),
              Did(number="+49309", destination=BUSY, active=False)),
    ),
)  # fmt: skip


def test_only_what_stood_before_and_is_still_wanted_can_be_worse():
    before = Health(frozenset({"backup", "backup.2", "backup.3", "gone"}), frozenset({"carrier", "1001", "1002"}))
    found = {(it.object, it.reason) for it in find_worse(before, Health(), SNAPSHOT)}
    assert found == {
        ("trunks.backup", "was registered (as backup) and is not any more"),
        ("trunks.backup", "was registered (as backup.2) and is not any more"),
        ("trunks.carrier", "answered before and does not any more"),
        ("endpoints.1001", "was registered before and is not any more"),
    }
    assert find_worse(before, before, SNAPSHOT) == ()
    assert find_worse(Health(), before, SNAPSHOT) == ()


@pytest.mark.parametrize(
    ("did", "number"),
    [
        ("+49301", "+49301"),
        ("+4930*", "+4930"),
        ("_4931[2-5]XZN.", "4931201" + "20"),
        ("_49-30!", "4930"),
        ("default", ""),
    ],
)
def test_a_number_that_a_did_answers(did, number):
    assert sample_number(did) == number
    if number:
        snapshot = build_snapshot(1, Pbx(dids=(Did(number=did, destination=BUSY),)))
        assert snapshot.dids.find(number.lstrip("+")).number == did


def test_test_calls_go_to_dids_that_are_new_or_changed_and_active():
    changes = [ObjectChange("dids", key, kind) for key, kind in
               (("+49301", "changed"), ("+4930*", "added"), ("+49309", "changed"), ("+49302", "removed"), ("default", "changed"))]  # fmt: skip
    assert choose_numbers([*changes, ObjectChange("queues", "x", "changed")], SNAPSHOT) == ("+49301", "+4930")
    assert choose_phones(
        [ObjectChange("endpoints", "1001", "changed"), ObjectChange("endpoints", "1002", "added")]
    ) == ("1001",)


def test_what_a_test_call_looks_for():
    (did,) = Pbx(dids=({"number": "1", "destination": {"dialplan": "lobby,100"}},)).dids
    assert list_questions(did.destination) == (("DIALPLAN_EXISTS(lobby,100,1)", "the dialplan has no lobby,100"),)
    assert list_questions(SNAPSHOT.dids.default.destination) == ()
