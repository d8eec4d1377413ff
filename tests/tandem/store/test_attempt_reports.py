"""Pages and sums of attempts against a plain list in Python; menus keep their numbers; users come through the migration."""

import sqlite3
from contextlib import closing
from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tandem.domain.campaigns import Campaign
from tandem.domain.destinations import HangupDestination
from tandem.domain.disposition import Disposition
from tandem.store import schema
from tandem.store.attempt_reports import ReportQuery, load_finished, load_report_page, sum_report
from tandem.store.campaigns import bump_counts, create_campaign
from tandem.store.database import open_store
from tandem.store.menu_ids import lacks_numbers, load_menu_numbers, number_menus
from tandem.store.rows import insert_rows
from tandem.store.tokens import create_token, load_token_keys, revoke_token
from tandem.store.users import create_user, delete_user, load_users, update_user

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
ENDS = [None, *(one.value for one in Disposition)]


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def filled(request, tmp_path_factory):
    """A store with 400 attempts of three campaigns, and the same as a list."""
    if request.param == "sqlite":
        store = open_store(tmp_path_factory.mktemp("reports") / "tandem.db")
    else:
        store = open_store(request.getfixturevalue("postgres_server").make_place())
    rows = []

    def fill(db):
        campaign = Campaign(name="x", trunk="t", destination=HangupDestination())
        ids = [create_campaign(db, campaign, author="a", permissions=(), at=0.0).campaign_id for _ in range(3)]
        for index in range(400):
            disposition = ENDS[index * 7 % len(ENDS)]
            started = 1000.0 + (index * 37 % 200) * 0.7  # some at the same time
            rows.append(
                {
                    "attempt_id": index + 1, "call_id": f"c{index}", "campaign_id": [*ids, None][index % 4], "number_id": None,
                    "dial": 1, "epoch": 0, "node": "n", "phone_number": f"030{index % 9}", "caller_number": f"55{index % 4}",
                    "trunk": "t", "destination": "", "agent": "Anna" if index % 11 == 0 else "", "started_at": started,
                    "answered_at": started + 3.4 if disposition == "answered" else None, "connected_at": None,
                    "abandoned_at": None, "ended_at": started + index % 50 + 4 if disposition else None,
                    "disposition": disposition, "cause": 0, "tech_cause": 0,
                }
            )  # fmt: skip
        insert_rows(db, "attempts", tuple(rows[0]), rows)
        bump_counts(db, {(one, "total_calls"): sum(row["campaign_id"] == one for row in rows) for one in ids})

    store.run_now(fill)
    return store, rows


queries = st.builds(
    ReportQuery,
    campaign_id=st.none() | st.integers(1, 4),
    dispositions=st.none() | st.lists(st.sampled_from(ENDS[1:]), max_size=3, unique=True).map(tuple),
    since=st.none() | st.floats(990, 1200),
    until=st.none() | st.floats(990, 1200),
    search=st.sampled_from(["", "", "", "0301", "aNNa", "552", "%", "_"]),
)


def matches(query, row):
    if row["ended_at"] is None:
        return False
    texts = (row["caller_number"], row["phone_number"], row["agent"])
    return (
        (query.campaign_id is None or row["campaign_id"] == query.campaign_id)
        and (query.dispositions is None or row["disposition"] in query.dispositions)
        and (query.since is None or row["started_at"] >= query.since)
        and (query.until is None or row["started_at"] < query.until)
        and any(query.search.lower() in text.lower() for text in texts)
    )


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(query=queries, limit=st.integers(1, 100), page=st.integers(0, 30))
def test_pages_and_sums_are_those_of_the_list(filled, query, limit, page):
    store, rows = filled
    wanted = sorted(
        (row for row in rows if matches(query, row)), key=lambda row: (-row["started_at"], -row["attempt_id"])
    )
    found, total = store.run_now(load_report_page, query, limit=limit, offset=page * limit)
    assert total == len(wanted)
    assert [one.attempt_id for one in found] == [row["attempt_id"] for row in wanted[page * limit : (page + 1) * limit]]
    sums = {one.disposition: (one.amount, one.duration_s, one.billsec_s) for one in store.run_now(sum_report, query)}
    expected = {}
    for row in wanted:
        amount, duration, billsec = expected.get(row["disposition"], (0, 0, 0))
        ended = int(row["ended_at"])
        billsec += ended - int(row["answered_at"]) if row["answered_at"] is not None else 0
        expected[row["disposition"]] = (amount + 1, duration + ended - int(row["started_at"]), billsec)
    assert sums == expected


def test_what_is_under_way_is_no_record_yet(filled):
    store, rows = filled
    for row in rows[:12]:
        found = store.run_now(load_finished, row["attempt_id"])
        assert (found is None) == (row["ended_at"] is None)


def test_a_page_needs_no_table_scan_and_no_sorting(tmp_path):
    store = open_store(tmp_path / "tandem.db")

    def explain(db, where):
        sql = f"EXPLAIN QUERY PLAN SELECT * FROM attempts WHERE ended_at IS NOT NULL {where} ORDER BY started_at DESC, attempt_id DESC LIMIT 20"
        return " ".join(str(row[-1]) for row in db.execute_sql(sql).fetchall())

    for where, index in (
        ("", "attempts_over"),
        ("AND campaign_id = 1", "attempts_campaign"),
        ("AND disposition = 'busy'", "attempts_disposition"),
        ("AND campaign_id = 1 AND disposition = 'busy'", "attempts_campaign_disposition"),
        ("AND started_at >= 1 AND started_at < 2", "attempts_over"),
    ):
        plan = store.run_now(explain, where)
        assert f"INDEX {index} " in f"{plan} ", (where, plan)
        assert "TEMP B-TREE" not in plan, (where, plan)


def test_menus_and_their_keys_keep_their_numbers(store):
    first = {"main": ("1", "2"), "other": ("1",)}
    assert store.run_now(lacks_numbers, first)
    store.run_now(number_menus, first)
    store.run_now(number_menus, first)
    assert not store.run_now(lacks_numbers, first)
    before = store.run_now(load_menu_numbers, first)
    assert store.run_now(lacks_numbers, {"main": ("3",)})
    store.run_now(number_menus, {"main": ("3", "1"), "third": ()})
    after = store.run_now(load_menu_numbers, ["main", "other", "third", "nobody"])
    assert after["main"].menu_id == before["main"].menu_id
    assert after["main"].actions["1"] == before["main"].actions["1"]
    assert len({number for one in after.values() for number in one.actions.values()}) == 4
    assert "nobody" not in after


def test_users_and_tokens_come_through_the_migration(tmp_path, monkeypatch):
    path = tmp_path / "tandem.db"
    everything = schema.list_migrations()
    monkeypatch.setattr(schema, "list_migrations", lambda: [one for one in everything if one[0] < 9])
    old = open_store(path)
    old.run_now(lambda db: None)
    old.stop()
    with closing(sqlite3.connect(path)) as db, db:
        for name, role in (("anna", "admin"), ("bert", "user")):
            db.execute(
                "INSERT INTO users VALUES (?, 'hash', ?, ?, NULL)", (name, role, f"2026-01-0{len(name)}T00:00:00+00:00")
            )
        db.execute(
            "INSERT INTO tokens (name, digest, permissions, created_at) VALUES ('old', ?, '[\"*\"]', '2026-01-01T00:00:00+00:00')",
            (bytes(32),),
        )
    monkeypatch.undo()
    store = open_store(path)
    found = store.run_now(load_users)
    assert [(user.user_id, user.name, user.role, user.is_active, user.api_access) for user in found] == [
        (1, "anna", "admin", True, True),
        (2, "bert", "user", True, True),
    ]
    (key,) = store.run_now(load_token_keys)
    assert (key.token.name, key.token.hint, key.token.owner_id, key.role) == ("old", "", None, None)


def test_whose_token_it_is_decides_whether_it_is_taken(store):
    store.run_now(create_user, "anna", "hash", "admin", NOW)
    user = store.run_now(create_user, "bert", "hash", "user", NOW)
    made = store.run_now(create_token, name="x", permissions=("*",), at=NOW, owner_id=user.user_id)

    def taken():
        return [(key.token.id, key.role) for key in store.run_now(load_token_keys)]

    assert taken() == [(made.token.id, "user")]
    for change in ({"is_active": False}, {"api_access": False}):
        store.run_now(update_user, "bert", password_hash=None, **change)
        assert taken() == []
        store.run_now(update_user, "bert", password_hash=None, **dict.fromkeys(change, True))
        assert taken() == [(made.token.id, "user")]
    renamed = store.run_now(update_user, "bert", password_hash=None, name="Berta", at=NOW)
    assert (renamed.user_id, renamed.updated_at) == (user.user_id, NOW)
    with pytest.raises(KeyError):
        store.run_now(update_user, "Berta", password_hash=None, name="ANNA")
    store.run_now(revoke_token, made.token.id, NOW)
    assert taken() == []
    other = store.run_now(create_token, name="y", permissions=("*",), at=NOW, owner_id=user.user_id)
    assert taken() == [(other.token.id, "user")]
    store.run_now(delete_user, "Berta")
    assert taken() == []
    again = store.run_now(create_user, "Berta", "hash", "user", NOW)
    assert again.user_id > user.user_id
