"""What was read of the database a moment ago, for requests that ask for the same again; never from before it may have been changed through the API.

For what is small, asked with every request and changed by people: whose an object is, who somebody is. A look at the database costs as much as the
rest of such a request. What another node writes is seen a few seconds late.
"""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, Final, TypeVar

from tandem.store.database import Store

T = TypeVar("T")
KEPT_S: Final = 5.0
MAX_KEPT: Final = 1000


class Recent:
    """now: seconds since 1970, as the requests have it."""

    def __init__(self) -> None:
        self.writes = 0
        self._kept: OrderedDict[Hashable, tuple[int, float, Any]] = OrderedDict()

    def forget(self) -> None:
        """Something was written."""
        self.writes += 1

    async def read(
        self, store: Store, now: float, key: Hashable, version: int, work: Callable[..., T], *args: Any
    ) -> T:
        """What `work(db, *args)` found; StoreError. key: of work and args; version: another one after whatever may have changed it."""
        known = self._kept.get(key)
        if known is not None and known[0] == version and 0 <= now - known[1] < KEPT_S:
            found: T = known[2]
            return found
        # The version is from before it is read: what is written meanwhile makes it old at once.
        found = await store.read(work, *args)
        self._kept.pop(key, None)
        self._kept[key] = (version, now, found)
        if len(self._kept) > MAX_KEPT:
            self._kept.popitem(last=False)
        return found
