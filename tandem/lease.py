"""The lease of this node in a database that several may share: shows that it lives, takes over from those that do not; never acts on a lease that may be over.

A node is dead when its count of beats stands still for LEASE_S, by the watcher's own steady clock: no clock that jumps, on any machine,
kills one. Whoever is watched stops VALID_S after its last beat, which is sooner. An SQLite file has one node, whose lease is the file's lock: then this does nothing.
"""

import secrets
from collections.abc import Callable
from typing import Any, Concatenate, Final, ParamSpec, TypeVar

from twisted.logger import Logger

from tandem.ami.connection import Clock
from tandem.regular import Regular
from tandem.store.database import Store
from tandem.store.errors import LeaseLost, StoreError
from tandem.store.nodes import Beat, Node, bury_node, has_lease, renew_lease, take_lease

_log = Logger()

BEAT_EVERY_S: Final = 5.0
# So long after its last beat began a node may still send what it has claimed.
VALID_S: Final = 20.0
# So long its count must stand still for the others, while they look all the time.
LEASE_S: Final = 30.0

P = ParamSpec("P")
T = TypeVar("T")


class Lease(Regular):
    """node: its name, different on each. clock: steady."""

    name = "lease"

    def __init__(self, store: Store, node: str, clock: Clock) -> None:
        super().__init__(clock)
        self.node = node
        self.instance = secrets.token_hex(8)
        self.is_shared = store.is_postgres
        self.problem: str | None = None
        # Counts losses: what was claimed in an earlier term may be somebody else's by now.
        self.term = 0
        self._store = store
        self._clock = clock
        self._valid_until: float | None = None
        # Node -> its count, and since when it has stood there.
        self._seen: dict[str, tuple[int, float]] = {}
        self._looked_at = clock.seconds()
        self._is_beating = False
        self._loss_watchers: tuple[Callable[[], object], ...] = ()
        self._heir_watchers: tuple[Callable[[frozenset[str]], object], ...] = ()
        # When it stops, the row stays: a node that is back soon finds its calls as it left them.
        if self.is_shared:
            self.repeat(self.beat, BEAT_EVERY_S)

    @property
    def is_held(self) -> bool:
        """Whether what was claimed may be sent now."""
        return not self.is_shared or (self._valid_until is not None and self._clock.seconds() < self._valid_until)

    @property
    def followed(self) -> str | None:
        """Whose open calls are ours to follow: this node's; None: everybody's."""
        return self.node if self.is_shared else None

    def on_lost(self, callback: Callable[[], object]) -> None:
        """Calls back when others have taken over what this node had claimed."""
        self._loss_watchers = (*self._loss_watchers, callback)

    def on_taken_over(self, callback: Callable[[frozenset[str]], object]) -> None:
        """Calls back when there are more calls to follow, with the ids of those that a dead node followed before."""
        self._heir_watchers = (*self._heir_watchers, callback)

    def guard(self, work: Callable[Concatenate[Any, P], T]) -> Callable[Concatenate[Any, P], T]:
        """The same work, which raises LeaseLost where this node counts as dead in its transaction."""
        if not self.is_shared:
            return work

        def guarded(db: Any, /, *args: P.args, **kwargs: P.kwargs) -> T:
            if not has_lease(db, self.node, self.instance):
                remedy = "nothing is dialled until its next sign of life"
                raise LeaseLost(self._store.place, f"node {self.node} counts as dead", remedy)
            return work(db, *args, **kwargs)

        return guarded

    async def beat(self) -> None:
        """One sign of life, and a look at the others'."""
        if self._is_beating:
            return
        self._is_beating = True
        began_at = self._clock.seconds()
        try:
            is_first = self._valid_until is None
            found: Beat = await self._store.run(take_lease if is_first else renew_lease, self.node, self.instance)
            if found.is_taken:
                self._valid_until = began_at
                self.problem = f"another Tandem has the name {self.node}: dialer.node must be different on each"
                _log.warn("{problem}", problem=self.problem)
                self._lose()
                return
            if found.is_new and not is_first:
                _log.warn("node {node} counted as dead; others have taken its calls over", node=self.node)
                self._lose()
            self._valid_until, self.problem = began_at + VALID_S, None
            if found.is_new:
                _tell(self._heir_watchers, frozenset())
            for dead in self._find_dead(found) if self.running else ():
                calls = await self._store.run(bury_node, dead, self.node)
                if calls is not None:
                    _log.warn("node {node} is dead: its {n} open calls are ours", node=dead.node, n=len(calls))
                    _tell(self._heir_watchers, calls)
        except StoreError as error:
            _log.debug("no sign of life: {error}", error=error)
        except Exception:  # noqa: BLE001 - the next beat may do better
            _log.failure("a beat of the lease failed")
        finally:
            self._is_beating = False

    def _lose(self) -> None:
        self.term += 1
        _tell(self._loss_watchers)

    def _find_dead(self, beat: Beat) -> list[Node]:
        """Those whose count has stood still for a lease's time, while we were looking."""
        now = self._clock.seconds()
        if now - self._looked_at > 2 * BEAT_EVERY_S:
            # We, or the database, were away: nobody could show us anything.
            self._seen.clear()
        self._looked_at = now
        dead = []
        for other in beat.nodes:
            if other.node == self.node:
                continue
            beats, since = self._seen.get(other.node, (None, now))
            if beats != other.beats:
                self._seen[other.node] = (other.beats, now)
            elif now - since > LEASE_S:
                dead.append(other)
        return dead


def _tell(watchers: tuple[Callable[..., object], ...], *told: object) -> None:
    for callback in watchers:
        try:
            callback(*told)
        except Exception:  # noqa: BLE001 - the lease goes on
            _log.failure("a watcher of the lease failed")
