"""Pages and campaigns of the ARI Dialer's API without a server: whatever is asked for, a page fits its total; what is told means what was meant."""

import json

from hypothesis import given
from hypothesis import strategies as st

from api.auth import covers, limit_permissions
from api.compat.ari.speech import Denied, PageQuery, make_pagination
from api.compat.ari.words import Dictionary
from tandem.domain.campaigns import Campaign
from tandem.domain.destinations import (
    AnnouncementDestination,
    DialplanDestination,
    EndpointDestination,
    HangupDestination,
    MenuDestination,
    QueueDestination,
)
from tandem.domain.entities import Endpoint, General, Menu, Pbx, Queue
from tandem.domain.snapshot import build_snapshot

HANGUP = HangupDestination()
SNAPSHOT = build_snapshot(
    1,
    Pbx(
        general=General(allowed_contexts=("lobby", "to-carrier")),
        endpoints=(Endpoint(extension="100", secret="secret-100"),),
        queues=(Queue(name="sales", fallback=HANGUP),),
        menus=(Menu(name="main", prompts=("x",), options={}, invalid=HANGUP, timeout=HANGUP, fallback=HANGUP),),
    ),
)
DICTIONARY = Dictionary(SNAPSHOT, {"main": 7})


@given(
    st.text(max_size=30) | st.integers().map(str), st.text(max_size=30) | st.integers().map(str), st.integers(0, 10**6)
)
def test_a_page_is_always_one_of_its_list(page, per_page, total):
    query = PageQuery(page=page, per_page=per_page)
    assert query.page >= 1
    assert 1 <= query.per_page <= 100
    rows = range(total)[query.offset : query.offset + query.per_page]
    found = make_pagination(query, total, len(rows))
    assert (found.total_pages - 1) * found.per_page < total <= found.total_pages * found.per_page or total == 0
    if rows:
        assert (found.from_, found.to) == (rows[0] + 1, rows[-1] + 1)
    else:
        assert (found.from_, found.to) == (0, 0)
    assert bool(rows) == (query.page <= found.total_pages)


destinations = st.one_of(
    st.just(EndpointDestination(endpoint="100")),
    st.just(QueueDestination(queue="sales")),
    st.just(MenuDestination(menu="main")),
    st.from_regex(r"(lobby|to-carrier),[0-9A-Za-z*#+_-]{1,40}", fullmatch=True).map(
        lambda place: DialplanDestination(dialplan=place)
    ),
)
ways = st.one_of(
    st.from_regex(r"[A-Za-z][A-Za-z0-9_-]{0,39}", fullmatch=True).map(lambda name: {"trunk": name}),
    st.just({"dial_string": "Local/${EXTEN}@to-carrier"}),
)
caller_names = st.text(
    st.characters(exclude_characters='"<>\\', exclude_categories=("C", "Z"), include_characters=" "), max_size=20
).map(str.strip)


@given(
    destinations,
    ways,
    st.from_regex(r"\+?[0-9]{0,24}", fullmatch=True),
    caller_names,
    st.booleans(),
    st.integers(1, 1000),
)
def test_what_is_told_of_a_campaign_of_ours_means_that_campaign(destination, way, number, name, recording, calls):
    campaign = Campaign(
        name="x",
        destination=destination,
        caller_number=number,
        caller_name=name,
        recording=recording,
        concurrent_calls=calls,
        **way,
    )
    told = DICTIONARY.tell(campaign, {})
    again, words = DICTIONARY.read(told, None, {})
    assert again == campaign
    # And is told in the same words, also after they were kept as JSON.
    assert DICTIONARY.tell(again, json.loads(json.dumps(words))) == told


@given(st.text(max_size=60), st.text(max_size=60), st.text(max_size=60), st.text(max_size=60))
def test_nothing_that_a_client_writes_is_more_than_refused(trunk, agent, callerid, name):
    for trunk_type in ("custom", "pjsip"):
        for agent_type in ("custom", "exten", "ivr", "queue"):
            given = {"name": name, "trunk_type": trunk_type, "trunk_value": trunk, "agent_dest_type": agent_type}
            try:
                made, _ = DICTIONARY.read(given | {"agent_dest_value": agent, "callerid": callerid}, None, {})
            except Denied as denied:
                made = denied
            assert isinstance(made, Campaign) or made.status == 400


def test_an_announcement_is_told_in_words():
    campaign = Campaign(name="x", trunk="t", destination=AnnouncementDestination(announcement="a"))
    assert DICTIONARY.tell(campaign, {})["agent_dest_type"] == "custom"


names = st.sampled_from(["*", "a/*", "b/*", "a/x", "a/y", "b/x"])


@given(st.lists(names, max_size=4), st.lists(names, max_size=4), names)
def test_limited_permissions_are_what_both_allow(held, most, wanted):
    found = limit_permissions(held, most)
    assert covers(found, wanted) == (covers(held, wanted) and covers(most, wanted))
