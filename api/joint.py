"""Several use-cases as one transaction: all of them happen or none does; never begins one of its own."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

Work = Callable[[Any], Any]
Commit = Callable[[Work], Awaitable[Any]]
# A use-case: checks, gives `commit` one piece of work, and tells others once that is committed.
Step = Callable[[Commit], Awaitable[Any]]


class Joint:
    """Steps are entered one within the other, so that each has checked before anything is written; their works are done in this order.

    results: what the works returned, in their order; a work finds those before it. A handful of steps, not one for each of many things.
    """

    def __init__(self) -> None:
        self.results: list[Any] = []
        self._works: list[Work] = []

    async def run(self, commit: Commit, steps: Sequence[Step]) -> None:
        """Does all works by one call of `commit`; what a step or a work raises."""
        if not steps:
            await commit(self._perform)
            return
        place = len(self._works)

        async def join(work: Work) -> Any:
            self._works.append(work)
            await self.run(commit, steps[1:])
            return self.results[place]

        await steps[0](join)
        assert len(self._works) > place, "a step gave no work"

    def _perform(self, db: Any) -> None:
        # A transaction that is tried again begins anew.
        self.results.clear()
        for work in self._works:
            self.results.append(work(db))
