"""What `route explain` says of a phone that forwards, is not to be disturbed or has follow-me; that calls go so is in tests/asterisk/phones."""

from datetime import UTC, datetime

import pytest

from tandem.document import read_document
from tandem.domain.arrivals import explain_arrival
from tandem.domain.features import Features
from tandem.domain.snapshot import build_snapshot

SNAPSHOT = build_snapshot(
    1,
    read_document(
        """
general: {country: DE, outbound_trunk: out}
trunks: [{name: out, hosts: [192.0.2.1]}]
voicemail_boxes: [{mailbox: 1002, pin: 4711}]
endpoints:
  - {extension: 1001, secret: swordfish, permissions: [internal, national]}
  - {extension: 1002, secret: swordfish, voicemail: 1002, voicemail_on: [busy, unavailable], ring_time_s: 9}
  - {extension: 1003, secret: swordfish, permissions: [], forward_busy: "1002", follow_me: [{number: "1001", ring_time_s: 8}, {number: "1002"}]}
queues: [{name: shop, extension: "500", fallback: {hangup: normal}}]
""",
        "test",
    ),
)
NOON = datetime(2026, 11, 16, 11, 0, tzinfo=UTC)
RINGS = [
    "endpoint 1002 rings for 9 s",
    "endpoint 1002 busy: voicemail 1002",
    "endpoint 1002 not answered: the caller hears that it is not answered",
    "endpoint 1002 not there: voicemail 1002",
]


@pytest.mark.parametrize(
    ("extension", "features", "steps"),
    [
        ("1002", {}, RINGS),
        ("1001", {"always": "1002", "do_not_disturb": True}, ["endpoint 1001 forwards always to 1002", *RINGS]),
        ("1001", {"always": "500"}, ["endpoint 1001 forwards always to 500", "queue shop"]),
        (
            "1001",
            {"always": "03055501"},
            ["endpoint 1001 forwards always to 03055501", "03055501 outside: 03055501 over out"],
        ),
        ("1001", {"do_not_disturb": True}, ["endpoint 1001 is not to be disturbed: the caller hears that it is busy"]),
        ("1002", {"do_not_disturb": True}, ["endpoint 1002 is not to be disturbed: voicemail 1002"]),
        (
            "1003",
            {"do_not_disturb": True},
            [
                "endpoint 1003 is not to be disturbed, and forwards to 1002 when it is busy",
                "endpoint 1003 may not dial 1002 (it needs the permission internal): the caller hears that it is busy",
            ],
        ),
        (
            "1003",
            {},
            [
                "endpoint 1003 rings for 25 s",
                "endpoint 1003 busy: forwards to 1002",
                "endpoint 1003 not answered: follow-me 1001 for 8 s, then follow-me 1002 for 20 s, then the caller hears that it is not answered",
                "endpoint 1003 not there: follow-me 1001 for 8 s, then follow-me 1002 for 20 s, then the caller hears that it is not there",
            ],
        ),
        ("9999", {}, []),
    ],
)
def test_the_steps_of_a_call_to_a_phone(extension, features, steps):
    known = {extension: Features(extension=extension, **features)}
    assert list(explain_arrival(SNAPSHOT, extension, known.get, NOON)) == steps


def test_a_circle_of_forwards_ends_at_the_phone_that_forwarded_first():
    known = {"1001": Features(extension="1001", always="1002"), "1002": Features(extension="1002", always="1001")}
    steps = list(explain_arrival(SNAPSHOT, "1001", known.get, NOON))
    assert steps[:2] == ["endpoint 1001 forwards always to 1002", "endpoint 1002 forwards always to 1001"]
    assert "it has forwarded this call already" in steps[2]


def test_premium_numbers_and_those_abroad_stay_inside():
    for number, why in (("09001234567", "premium"), ("0014155550100", "international")):
        known = {"1001": Features(extension="1001", always=number)}
        assert why in list(explain_arrival(SNAPSHOT, "1001", known.get, NOON))[-1]
