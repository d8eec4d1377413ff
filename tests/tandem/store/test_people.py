"""Users, lock-outs, kept answers, edits of single objects: on a real database, with times given."""

import dataclasses
from datetime import UTC, datetime, timedelta

import pytest

from tandem.domain.entities import Did, General
from tandem.store.answers import KEPT, Answer, Once, OtherBody, load_answer, record_answer
from tandem.store.objects import HeadMoved, delete_object, load_changes, load_pbx, save_object
from tandem.store.revisions import load_revisions
from tandem.store.tokens import create_token, load_token_keys, record_token_uses, split_secret
from tandem.store.users import (
    FORGET_AFTER,
    FREE_FAILURES,
    LOCK_FIRST,
    LOCK_MAX,
    LastAdmin,
    create_user,
    delete_user,
    load_lock,
    record_failure,
    record_login,
    update_user,
)

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


class TestUsers:
    def test_names_differ_by_more_than_capitals(self, store):
        store.run_now(create_user, "Anna", "hash", "admin", NOW)
        with pytest.raises(KeyError):
            store.run_now(create_user, "anna", "hash", "user", NOW)

    def test_an_admin_is_always_left(self, store):
        store.run_now(create_user, "anna", "hash", "admin", NOW)
        store.run_now(create_user, "bert", "hash", "user", NOW)
        for work in (
            lambda db: delete_user(db, "anna"),
            lambda db: update_user(db, "anna", password_hash=None, role="user"),
        ):
            with pytest.raises(LastAdmin):
                store.run_now(work)
        store.run_now(update_user, "bert", password_hash=None, role="admin")
        store.run_now(delete_user, "anna")
        with pytest.raises(LastAdmin):
            store.run_now(delete_user, "bert")

    def test_a_change_ends_the_logins_of_that_user_alone(self, store):
        store.run_now(create_user, "anna", "hash", "admin", NOW)
        for user in ("anna", None):
            store.run_now(create_token, name="x", permissions=("*",), at=NOW, user=user)
        store.run_now(update_user, "anna", password_hash="other", role=None)
        assert [key.token.user for key in store.run_now(load_token_keys)] == [None]

    def test_wrong_passwords_lock_longer_and_longer_and_a_right_one_forgets(self, store):
        for _ in range(FREE_FAILURES - 1):
            assert store.run_now(record_failure, "anna", NOW) is None
        locks = [store.run_now(record_failure, "anna", NOW) - NOW for _ in range(8)]
        assert locks[:2] == [LOCK_FIRST, LOCK_FIRST * 2]
        assert locks == sorted(locks)
        assert locks[-1] == LOCK_MAX
        assert store.run_now(load_lock, "anna", NOW) == NOW + LOCK_MAX
        assert store.run_now(load_lock, "anna", NOW + LOCK_MAX) is None
        assert store.run_now(load_lock, "bert", NOW) is None
        store.run_now(record_login, "anna", NOW)
        assert store.run_now(load_lock, "anna", NOW) is None

    def test_old_failures_are_forgotten(self, store):
        for _ in range(FREE_FAILURES + 3):
            store.run_now(record_failure, "anna", NOW)
        later = NOW + FORGET_AFTER + timedelta(seconds=1)
        assert store.run_now(record_failure, "anna", later) is None


class TestAnswers:
    ONCE = Once("token 1", "create_did", "k", b"digest")
    ANSWER = Answer(201, (("location", "/x"),), b'{"a":1}')

    def test_are_kept_for_a_day_for_the_same_body_scope_and_route(self, store):
        store.run_now(record_answer, self.ONCE, self.ANSWER, NOW)
        assert store.run_now(load_answer, self.ONCE, NOW + KEPT) == self.ANSWER
        assert store.run_now(load_answer, self.ONCE, NOW + KEPT + timedelta(seconds=1)) is None
        for other in ({"scope": "token 2"}, {"route": "create_trunk"}, {"key": "K"}):
            assert store.run_now(load_answer, dataclasses.replace(self.ONCE, **other), NOW) is None
        with pytest.raises(OtherBody):
            store.run_now(load_answer, dataclasses.replace(self.ONCE, digest=b"other"), NOW)
        later = NOW + KEPT + timedelta(seconds=1)
        store.run_now(record_answer, self.ONCE, Answer(200, (), b""), later)
        assert store.run_now(load_answer, self.ONCE, later) == Answer(200, (), b"")

    def test_are_gone_with_an_effect_that_failed(self, store):
        def work(db):
            record_answer(db, self.ONCE, self.ANSWER, NOW)
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            store.run_now(work)
        assert store.run_now(load_answer, self.ONCE, NOW) is None


class TestEdits:
    DID = Did(number="+1", destination={"hangup": 16})

    def save(self, store, entity, expected):
        saved = store.run_now(save_object, entity, expected=expected, author="t", note="n", at=NOW)
        return dataclasses.astuple(saved)

    def test_are_revisions_of_their_own(self, store):
        assert self.save(store, self.DID, 0) == (1, 1, 0, 0)
        assert self.save(store, self.DID, 1) == (1, 0, 0, 0)
        assert self.save(store, dataclasses.replace(self.DID, priority=1), 1) == (2, 0, 1, 0)
        assert self.save(store, General(language="de"), 2) == (3, 1, 0, 0)
        gone = store.run_now(delete_object, "dids", "+1", expected=3, author="t", note="n", at=NOW)
        assert dataclasses.astuple(gone) == (4, 0, 0, 1)
        assert [store.run_now(load_pbx, n).dids[:1] for n in range(5)] == [
            (), (self.DID,), (dataclasses.replace(self.DID, priority=1),), (dataclasses.replace(self.DID, priority=1),), (),
        ]  # fmt: skip
        assert len(store.run_now(load_revisions)) == 4

    def test_what_came_and_went_in_between_is_no_change(self, store):
        self.save(store, General(), 0)
        self.save(store, self.DID, 1)
        store.run_now(delete_object, "dids", "+1", expected=2, author="t", note="n", at=NOW)
        assert store.run_now(load_changes, 1, 3, 100) == []
        assert [change.key for change in store.run_now(load_changes, 2, 3, 100)] == ["+1"]

    def test_a_stale_one_is_refused(self, store):
        self.save(store, self.DID, 0)
        with pytest.raises(HeadMoved):
            self.save(store, dataclasses.replace(self.DID, priority=1), 0)
        with pytest.raises(KeyError):
            store.run_now(delete_object, "dids", "+2", expected=1, author="t", note="n", at=NOW)


def test_token_keys_prove_and_uses_are_noted(store):
    made = store.run_now(create_token, name="x", permissions=("*",), at=NOW)
    login = store.run_now(create_token, name="l", permissions=("*",), at=NOW, expires_at=NOW + timedelta(1), user="a")
    found = split_secret(made.secret)
    assert found is not None
    assert [key.digest for key in store.run_now(load_token_keys) if key.token.id == found[0]] == [found[1]]
    assert split_secret("x") is None
    later = NOW + timedelta(days=2)
    store.run_now(record_token_uses, {made.token.id: later}, later)
    keys = store.run_now(load_token_keys)
    assert [(key.token.id, key.token.last_used_at) for key in keys] == [(made.token.id, later)]
    assert login.token.id not in [key.token.id for key in keys]
