"""Every list is filtered, sorted and paged alike, whatever it lists."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import get_args, get_origin

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.declare import Page, read_query
from api.errors import Refused
from api.listing import list_query, make_page
from api.v1.table import ROUTES


@dataclass(frozen=True, slots=True)
class Thing:
    name: str
    weight: int | None = None
    is_new: bool = False
    made_at: datetime = datetime(2026, 1, 1, tzinfo=UTC)
    parts: tuple[str, ...] = ()
    secret: str = ""


QUERY = list_query(Thing, "name")
THINGS = [
    Thing("d", 3),
    Thing("b", None, is_new=True),
    Thing("a", 3, made_at=datetime(2026, 1, 1, tzinfo=UTC) + timedelta(1)),
    Thing("c", 1),
]


def ask(**query):
    return make_page(THINGS, read_query(QUERY, query), "name")


def names(**query):
    return "".join(thing.name for thing in ask(**query).items)


def test_order():
    assert names() == "abcd"
    assert names(sort="-name") == "dcba"
    assert names(sort="weight") == "bcad"
    assert names(sort="-weight") == "adcb"
    assert names(sort="-made_at") == "abcd"


def test_filters_and_search():
    assert names(weight="3") == "ad"
    assert names(weight="3", name="d") == "d"
    assert names(is_new="true") == "b"
    assert names(q="B") == "b"
    assert names(name="") == ""


def test_pages():
    page = ask(limit="2", offset="1")
    assert ([thing.name for thing in page.items], page.total, page.offset, page.limit) == (["b", "c"], 4, 1, 2)


@pytest.mark.parametrize(
    "query", [{"secret": "x"}, {"parts": "x"}, {"made_at": "x"}, {"sort": "secret"}, {"sort": "parts"}, {"limit": "0"}, {"weight": "x"}]
)  # fmt: skip
def test_what_is_no_plain_field_is_no_filter(query):
    with pytest.raises(Refused) as refused:
        ask(**query)
    assert refused.value.problems[0]["field"] == next(iter(query))


@given(st.lists(st.builds(Thing, st.text(max_size=3), st.none() | st.integers(0, 3))), st.integers(1, 4))
def test_pages_together_are_the_list(things, limit):
    def read(offset):
        return make_page(things, QUERY(sort="-weight", limit=limit, offset=offset), "name")

    whole = [thing for offset in range(0, len(things), limit) for thing in read(offset).items]
    assert sorted(map(repr, whole)) == sorted(map(repr, things))
    assert whole == list(make_page(things, QUERY(sort="-weight", limit=1000), "name").items)


LISTS = [route for route in ROUTES if route.answer and get_origin(route.answer.kind) is Page]


def test_the_lists_are_at_least_these():
    assert {route.operation.removeprefix("list_") for route in LISTS} >= {
        *("dids", "endpoints", "trunks", "menus", "queues", "voicemail", "schedules", "announcements"),
        *("calls", "tokens", "users", "audit", "channels", "queue_states", "agents"),
    }


@pytest.mark.parametrize("route", LISTS, ids=lambda route: route.operation)
def test_every_list_takes_what_it_declares(route, client):
    path = route.path.replace("{mailbox}", "1000")
    # There is no Asterisk here; what a voicemail box has is in its folder.
    expected = 503 if HTTPStatus.SERVICE_UNAVAILABLE in route.raises and path == route.path else 200
    for name, field in route.query.model_fields.items():
        values = ["1"]
        if name == "sort":
            values = get_args(field.annotation)
            assert len(values) > 1
        for value in values:
            answer = client.ask("GET", f"{path}?{name}={value}", status=(expected, 422))
            assert client.status == expected or name not in ("sort", "limit", "offset", "q"), answer
    client.ask("GET", f"{path}?nothing=1", status=422)
    client.ask("GET", f"{path}?limit=1&offset=1", status=expected)
