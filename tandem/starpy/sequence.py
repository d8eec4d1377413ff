"""InSequence: calls made one after the other, each when the one before has succeeded; knows nothing of telephones."""

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.python.failure import Failure


class InSequence:
    """Collects calls with `append`; calling it makes them.

    Single-shot. The Deferred fires with the list of results; at the first failure it fails, and `failure.results` has those before.
    """

    def __init__(self) -> None:
        self.actions: list[tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]] = []
        self.results: list[Any] = []

    def append(self, function: Callable[..., Any], *args: Any, **named: Any) -> None:
        """One more call, for after those before it."""
        self.actions.append((function, args, named))

    def __call__(self) -> Deferred[list[Any]]:
        """Makes the calls."""
        return Deferred.fromCoroutine(self._run()).addErrback(self._keep_results)

    async def _run(self) -> list[Any]:
        while self.actions:
            function, args, named = self.actions.pop(0)
            self.results.append(await maybeDeferred(function, *args, **named))
        return self.results

    def _keep_results(self, failure: Failure) -> Failure:
        failure.results = self.results  # type: ignore[attr-defined]  # starpy's programs read it there
        return failure
