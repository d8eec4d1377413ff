"""What a DID does by who calls: routes of their own, allow lists, callers without a number."""

from datetime import UTC, datetime

import pytest

from tandem.document import DocumentError, read_document, write_document
from tandem.domain.routing import describe_destination, route_did
from tandem.domain.snapshot import build_snapshot

DOCUMENT = """
general: {country: DE}
trunks: [{name: carrier, hosts: [192.0.2.1], numbers: national}]
endpoints: [{extension: 1001, secret: not-a-secret-1}, {extension: 1002, secret: not-a-secret-2}]
schedules: [{name: never}]
dids:
  - number: "+49301"
    destination: {endpoint: 1001}
    caller_routes:
      - {callers: ["+49170*", "+4930555"], destination: {endpoint: 1002}}
      - {callers: ["+4917*"], destination: {schedule: never, open: {hangup: busy}, closed: {endpoint: 1001}}}
    anonymous: {hangup: congestion}
  - {number: "+49302", destination: {endpoint: 1001}, allowed_callers: ["+49170*"]}
  - {number: "+49303", destination: {endpoint: 1001}}
"""
PBX = read_document(DOCUMENT, "test")
NOON = datetime(2026, 11, 16, 11, 0, tzinfo=UTC)


def goes(called, caller, text=DOCUMENT):
    found = route_did(build_snapshot(1, read_document(text, "test")), called, caller, "carrier", NOON)
    return describe_destination(found.destination)


@pytest.mark.parametrize(
    ("called", "caller", "expected"),
    [
        ("0301", "0170123", "endpoint 1002"),
        ("0301", "030555", "endpoint 1002"),
        ("0301", "0305551", "endpoint 1001"),
        ("0301", "017155501", "endpoint 1001"),
        ("0301", "", "hang up (congestion)"),
        ("0302", "0170123", "endpoint 1001"),
        ("0302", "0171123", "hang up (rejected)"),
        ("0302", "", "hang up (rejected)"),
        ("0303", "", "endpoint 1001"),
        ("0303", "0171123", "endpoint 1001"),
    ],
)
def test_where_a_caller_goes(called, caller, expected):
    assert goes(called, caller) == expected


def test_callers_without_a_number_may_be_rejected_everywhere():
    text = DOCUMENT.replace("country: DE", "country: DE, anonymous_callers: reject")
    assert goes("0303", "", text) == "hang up (rejected)"
    assert goes("0301", "", text) == "hang up (congestion)"


def test_documents_come_back_and_places_are_checked():
    assert read_document(write_document(PBX)) == PBX
    with pytest.raises(DocumentError, match=r"caller_routes\[0\].destination.endpoint: there is no endpoint '1009'"):
        read_document(DOCUMENT.replace("destination: {endpoint: 1002}}", "destination: {endpoint: 1009}}"), "test")
    with pytest.raises(DocumentError, match="anonymous"):
        read_document(DOCUMENT.replace("anonymous: {hangup: congestion}", "anonymous: {queue: gone}"), "test")
