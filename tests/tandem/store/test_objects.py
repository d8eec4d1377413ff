import dataclasses
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from tandem.domain.destinations import DESTINATION_KINDS
from tandem.domain.entities import COLLECTIONS, Did, General, Pbx
from tandem.store.bodies import BodyError, decode_body, encode_body
from tandem.store.database import Store, open_store
from tandem.store.objects import load_changes, load_general, load_page, load_pbx, save_pbx
from tandem.store.revisions import load_head, load_live, load_revisions, load_target, record_live
from tandem.store.tokens import create_token, delete_token, load_tokens, verify_token

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
DESTINATIONS = (
    {"endpoint": "1001"},
    {"queue": "sales"},
    {"menu": "main"},
    {"voicemail": "1001", "instructions": False},
    {"dialplan": "custom,s"},
    {"external": "+49301", "trunk": "carrier"},
    {"announcement": "closed"},
    {"did": "default"},
    {"schedule": "office", "open": {"queue": "sales"}, "closed": {"hangup": 17}},
    {"agent": "1001", "unavailable": {"queue": "sales"}},
    {"hangup": "busy"},
    {"survey": 1},
    {"ring_group": "desk"},
    {"conference": "team"},
    {"directory": "last"},
)
WHOLE = TypeAdapter(Pbx).validate_python(
    {
        "general": {"country": "DE", "blocked_callers": ("+49900*",)},
        "trunks": ({"name": "carrier", "hosts": ("sip.example.net:5060",), "secret": "näh'\"\\;[x]", "username": "u"},),
        "outbound_routes": ({"name": "all", "patterns": ("_X.",), "trunks": ("carrier",), "pin": "4711"},),
        "endpoints": ({"extension": "1001", "secret": "0123456789", "name": "Zoë <ü>"},),
        "voicemail_boxes": ({"mailbox": "1001", "pin": "0000"},),
        "schedules": ({"name": "office", "hours": ({"days": "mon-fri", "start": "09:00", "end": "24:00"},)},),
        "announcements": ({"name": "closed", "prompts": ("a/b",)},),
        "conferences": ({"name": "team", "pin": "4711"},),
        "page_groups": ({"name": "floor", "extension": "650", "members": ("1001",)},),
        "ring_groups": ({"name": "desk", "members": ({"endpoint": "1001"},), "fallback": {"hangup": 16}},),
        "menus": (
            {
                "name": "main",
                "prompts": ("hello",),
                "options": {"9": {"queue": "sales"}, "1": {"endpoint": "1001"}, "*#": {"hangup": 16}},
                "invalid": {"hangup": 1},
                "timeout": {"hangup": 1},
                "fallback": {"queue": "sales"},
                "timeout_s": 3.5,
            },
        ),
        "music_classes": ({"name": "waltzes", "sounds": ("tandem/waltz",)},),
        "penalty_rules": ({"name": "widen", "changes": ({"after_s": 30, "max_penalty": 5},)},),
        "queues": ({"name": "sales", "members": ({"endpoint": "1001"},), "fallback": {"voicemail": "1001"}},),
        "dids": tuple(
            {"number": f"+4930{n if n < 10 else f'9{n}'}", "destination": kind} for n, kind in enumerate(DESTINATIONS)
        ),
        "expect": ({"did": "+493012345", "from": "+15550100", "keys": ("1",), "destination": {"queue": "sales"}},),
    }
)


def save(store: Store, pbx: Pbx, note: str = "") -> tuple[int, int, int, int]:
    return dataclasses.astuple(store.run_now(save_pbx, pbx, author="test", note=note, at=NOW))


def with_dids(*dids: Did) -> Pbx:
    return dataclasses.replace(WHOLE, dids=dids)


def test_the_sample_has_every_kind_of_object_and_destination() -> None:
    assert all(getattr(WHOLE, collection) for collection in COLLECTIONS)
    assert {next(iter(set(kind) & set(DESTINATION_KINDS))) for kind in DESTINATIONS} == set(DESTINATION_KINDS)


class TestSaving:
    def test_comes_back_as_it_was(self, store: Store) -> None:
        assert store.run_now(load_pbx) == Pbx()
        assert save(store, WHOLE) == (1, 30, 0, 0)
        loaded = store.run_now(load_pbx)
        assert loaded == WHOLE
        assert list(loaded.menus[0].options) == ["9", "1", "*#"]

    def test_the_same_again_or_in_another_order_is_no_revision(self, store: Store) -> None:
        save(store, WHOLE, "first")
        assert save(store, WHOLE) == (1, 0, 0, 0)
        assert save(store, with_dids(*reversed(WHOLE.dids))) == (1, 0, 0, 0)
        assert [(row.number, row.note, row.created_at) for row in store.run_now(load_revisions)] == [(1, "first", NOW)]

    def test_only_differences_are_written_and_every_revision_stays(self, store: Store) -> None:
        save(store, WHOLE)
        first, second, *others = WHOLE.dids
        changed = with_dids(
            dataclasses.replace(first, priority=9), *others, Did(number="+1", destination={"hangup": 1})
        )
        assert save(store, changed) == (2, 1, 1, 1)
        assert store.run_now(lambda db: db.execute_sql("SELECT count(*) FROM objects").fetchone()) == (32,)
        assert save(store, WHOLE) == (3, 1, 1, 1)
        assert [store.run_now(load_pbx, number) == WHOLE for number in (1, 2, 3)] == [True, False, True]
        assert len(store.run_now(load_pbx, 2).dids) == len(WHOLE.dids)
        assert second not in store.run_now(load_pbx, 2).dids
        assert store.run_now(load_pbx, 0) == Pbx()
        for wrong in (4, -1):
            with pytest.raises(KeyError):
                store.run_now(load_pbx, wrong)

    def test_is_all_or_nothing(self, store: Store) -> None:
        save(store, WHOLE)
        did = WHOLE.dids[0]
        with pytest.raises(ValueError, match=r"dids: \+49300 is there twice"):
            save(store, with_dids(did, dataclasses.replace(did, priority=1)))

        def fail_late(db: object) -> None:
            save_pbx(db, Pbx(), author="", note="", at=NOW)  # type: ignore[arg-type]
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            store.run_now(fail_late)
        assert store.run_now(load_pbx) == WHOLE

    @settings(deadline=None, max_examples=40)
    @given(st.lists(st.frozensets(st.integers(0, 6), max_size=5), min_size=1, max_size=5), st.data())
    def test_changes_lead_from_any_revision_to_any_other(
        self, states: list[frozenset[int]], data: st.DataObject
    ) -> None:
        with tempfile.TemporaryDirectory() as folder:
            store = open_store(Path(folder) / "tandem.db")
            kept = [Pbx()]
            for state in states:
                dids = (Did(number=f"+{n // 2}", destination={"hangup": 17 if n % 2 else 1}) for n in sorted(state))
                pbx = Pbx(dids=tuple({did.number: did for did in dids}.values()))
                if save(store, pbx)[0] == len(kept):
                    kept.append(pbx)
            before, after = (data.draw(st.integers(0, len(kept) - 1)) for _ in range(2))
            found = {did.number: did for did in kept[before].dids}
            for change in store.run_now(load_changes, before, after, 100):
                found.pop(change.key, None)
                if change.body is not None and change.collection == "dids":
                    found[change.key] = decode_body("dids", change.body)  # type: ignore[assignment]
            assert found == {did.number: did for did in kept[after].dids}
            assert store.run_now(load_pbx, after) == kept[after]

    def test_pages_fit_together_whatever_their_size(self, store: Store) -> None:
        save(store, WHOLE)
        save(store, with_dids(*WHOLE.dids[:3]))
        for limit in (1, 3, 100):
            key, bodies = "", []
            while (page := store.run_now(load_page, 1, "dids", key, limit)).last_key:
                bodies += page.bodies.split("\n")
                key = page.last_key
            assert [decode_body("dids", body) for body in bodies] == list(WHOLE.dids)
        assert decode_body("general", store.run_now(load_general, 1) or "") == WHOLE.general
        assert store.run_now(load_general, 0) is None


class TestBodies:
    @pytest.mark.parametrize("collection", COLLECTIONS)
    def test_hold_every_field_on_one_line(self, collection: str) -> None:
        for entity in getattr(WHOLE, collection):
            body = encode_body(entity)
            assert "\n" not in body
            assert decode_body(collection, body) == entity
        assert '"language":"en"' in encode_body(General())

    def test_a_bad_one_is_named_without_its_value(self) -> None:
        with pytest.raises(BodyError, match="endpoints: secret: String should have at least 8 characters"):
            decode_body("endpoints", '{"extension":"1001","secret":"hunter2"}')
        with pytest.raises(BodyError, match="dids: Invalid JSON"):
            decode_body("dids", "{")


class TestLive:
    def test_is_the_head_until_something_was_applied(self, store: Store) -> None:
        assert (store.run_now(load_head), store.run_now(load_live), store.run_now(load_target, None)) == (0, None, 0)
        save(store, WHOLE)
        save(store, Pbx())
        assert store.run_now(load_target, None) == 2
        store.run_now(record_live, 1, NOW)
        store.run_now(record_live, 1, NOW + timedelta(hours=1))
        assert store.run_now(load_target, None) == 1
        assert store.run_now(load_target, 2) == 2
        mark = store.run_now(load_live)
        assert mark is not None
        assert (mark.revision, mark.applied_at) == (1, NOW + timedelta(hours=1))
        for work in (lambda: store.run_now(record_live, 3, NOW), lambda: store.run_now(load_target, 3)):
            with pytest.raises(KeyError):
                work()


class TestTokens:
    def test_are_shown_once_and_kept_as_a_hash(self, tmp_path: Path) -> None:
        store = open_store(tmp_path / "tandem.db")
        new = store.run_now(create_token, name="first", permissions=("*",), at=NOW)
        assert new.secret not in repr(new)
        random = new.secret.rpartition("_")[2]
        assert len(bytes.fromhex(random)) == 32
        files = b"".join(path.read_bytes() for path in tmp_path.iterdir())
        assert random.encode() not in files
        assert bytes.fromhex(random) not in files
        assert store.run_now(load_tokens) == [new.token]

    def test_are_verified_and_their_use_is_noted_once_a_minute(self, store: Store) -> None:
        new = store.run_now(create_token, name="a", permissions=("dids/*", "calls/create"), at=NOW)
        other = store.run_now(create_token, name="b", permissions=("*",), at=NOW)
        for after_s, noted_s in ((1, 1), (30, 1), (61, 61)):
            token = store.run_now(verify_token, new.secret, NOW + timedelta(seconds=after_s))
            assert token is not None
            assert (token.name, token.permissions) == ("a", ("dids/*", "calls/create"))
            assert store.run_now(load_tokens)[0].last_used_at == NOW + timedelta(seconds=noted_s)
        flipped = new.secret[:-1] + ("0" if new.secret[-1] != "0" else "1")
        swapped = f"tandem_{other.token.id}_{new.secret.rpartition('_')[2]}"
        for wrong in ("", "x", flipped, swapped, new.secret + "\n", new.secret.upper(), "tandem_99_" + "0" * 64):
            assert store.run_now(verify_token, wrong, NOW) is None

    def test_end_when_they_say_or_are_deleted_and_no_id_comes_back(self, store: Store) -> None:
        new = store.run_now(create_token, name="a", permissions=("*",), at=NOW, expires_at=NOW + timedelta(days=1))
        assert store.run_now(verify_token, new.secret, NOW + timedelta(hours=23)) is not None
        assert store.run_now(verify_token, new.secret, NOW + timedelta(days=1)) is None
        assert store.run_now(delete_token, new.token.id)
        assert not store.run_now(delete_token, new.token.id)
        assert store.run_now(verify_token, new.secret, NOW) is None
        assert store.run_now(create_token, name="b", permissions=("*",), at=NOW).token.id > new.token.id

    @pytest.mark.parametrize(
        ("wrong", "field"),
        [
            ({"name": ""}, "name"),
            ({"name": "a\nb"}, "name"),
            ({"permissions": ()}, "permissions"),
            ({"permissions": ("**",)}, "permissions"),
            ({"permissions": ("dids/list\n",)}, "permissions"),
            ({"expires_at": NOW}, "expires_at"),
        ],
    )
    def test_bad_ones_are_not_made(self, store: Store, wrong: dict[str, object], field: str) -> None:
        with pytest.raises(ValueError, match=f"^{field}: "):
            store.run_now(create_token, **{"name": "a", "permissions": ("*",), "at": NOW, **wrong})
        assert store.run_now(load_tokens) == []
