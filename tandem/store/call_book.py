"""The store as `tandem.calls` needs it; never decides anything about a call."""

from collections.abc import Sequence

import peewee
from twisted.internet.defer import Deferred

from tandem.domain.calls import PlacedCall
from tandem.domain.disposition import Evidence
from tandem.store.attempt_ends import follow_attempts
from tandem.store.calls import load_call, load_named_calls, load_open_calls, record_calls, record_placed_calls
from tandem.store.cdrs import load_leg_evidence
from tandem.store.database import Store
from tandem.store.events import tell_calls
from tandem.store.outbox import load_listeners


def record_progress(db: peewee.Database, calls: Sequence[PlacedCall]) -> frozenset[str]:
    """What became of calls, and of the attempts that they are, and who is to be told of it; the ids of those that this ends."""
    listeners = load_listeners(db)
    before = (
        {call.call_id: call for call in load_named_calls(db, [call.call_id for call in calls])} if listeners else {}
    )
    ended = record_calls(db, calls)
    follow_attempts(db, calls, listeners)
    if listeners:
        tell_calls(db, listeners, before, calls, ended)
    return ended


class CallBook:
    """Placed calls in the database; every method fires with StoreError where the database cannot do it.

    node: who places them; with `is_shared` only what that node follows is open to it, else everything.
    """

    def __init__(self, store: Store, node: str = "", *, is_shared: bool = False) -> None:
        self._store = store
        self._node = node
        self._followed = node if is_shared else None

    def save_placed(self, calls: Sequence[PlacedCall]) -> "Deferred[None]":
        """Keeps new calls, all or none."""
        return self._store.run(record_placed_calls, calls, self._node)

    def save_changes(self, calls: Sequence[PlacedCall]) -> "Deferred[frozenset[str]]":
        """Keeps what became of calls; the ids of those that this ends."""
        return self._store.run(record_progress, calls)

    def load(self, call_id: str) -> "Deferred[PlacedCall | None]":
        """One call."""
        return self._store.read(load_call, call_id)

    def load_open(self) -> "Deferred[list[PlacedCall]]":
        """Every call whose end is not known and that is ours to follow."""
        return self._store.read(load_open_calls, self._followed)

    def find_end(self, call_id: str) -> "Deferred[Evidence | None]":
        """What Asterisk's own records say of a leg that is over."""
        return self._store.read(load_leg_evidence, call_id)
