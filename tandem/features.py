"""What people set at their phones: committed first, then in AstDB, where calls read it; never asked of the database by a call.

What is set for an endpoint that is gone stays in the database, and counts again when there is one of that number.
"""

import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any

from twisted.internet.defer import DeferredLock

from tandem.ami.errors import AmiError
from tandem.domain.dialplan import FAMILY_FORWARD
from tandem.domain.features import Features, FeatureSet, FeatureWish, decide_features, features_in_force
from tandem.domain.snapshot import Snapshot
from tandem.store.database import Store
from tandem.store.features import load_features, save_features

log = logging.getLogger(__name__)

Commit = Callable[[Callable[[Any], Features]], Awaitable[Features]]


class PhoneFeatures:
    """The use-cases. put: (family, key, value, or None to take it away) -> AstDB; AmiError where that cannot be done now."""

    def __init__(
        self,
        store: Store,
        snapshot: Callable[[], Snapshot],
        put: Callable[[str, str, str | None], Awaitable[object]],
        now: Callable[[], float] = time.time,
    ) -> None:
        self._store, self._snapshot, self._put, self._now = store, snapshot, put, now
        # Replaced whole, so that who goes through it sees one state of it.
        self.current: FeatureSet = {}
        self._lock = DeferredLock()
        self._is_loaded = False
        self._watchers: tuple[Callable[[Features], None], ...] = ()

    def watch(self, callback: Callable[[Features], None]) -> None:
        """Calls back with each change, once it is committed."""
        self._watchers = (*self._watchers, callback)

    async def load(self) -> None:
        """Reads what was set before; StoreError."""
        self.current = await self._store.read(load_features)
        self._is_loaded = True

    def read(self, extension: str) -> Features:
        """What was set for an endpoint."""
        return self.current.get(extension) or Features(extension=extension)

    async def change(self, extension: str, wish: FeatureWish, *, by: str, commit: Commit) -> Features:
        """What is set from now on. KeyError for an unknown endpoint, FeatureRefused, StoreError.

        `commit` does the work in a transaction of the caller's choice. Where Asterisk is away it has it after the next login.
        """
        async with self._lock:
            if not self._is_loaded:
                await self.load()
            snapshot = self._snapshot()

            def work(db: Any) -> Features:
                known = self.current.get(extension)
                features = decide_features(snapshot, known, extension, wish, self._now(), by)
                if features != known:
                    save_features(db, features)
                return features

            features = await commit(work)
            self.current = {**self.current, extension: features}
            in_force = features_in_force(snapshot.endpoints[extension], features)
            try:
                await self._put(FAMILY_FORWARD, extension, None if in_force.is_plain else in_force.encode())
            except AmiError as error:
                log.warning("what was set at phone %s is not in Asterisk yet: %s", extension, error)
        for callback in self._watchers:
            callback(features)
        log.info("phone %s: %s (%s)", extension, in_force, by)
        return features
