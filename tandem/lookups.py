"""Asks another system who is calling; never lets a call wait longer than its deadline, whatever that system does.

What it answers is kept for a while, late answers too: the next call has them at once. The same caller is asked about once at a time, only
so many are asked about together, and a server that fails again and again is left alone for a while, so that nobody waits for a dead one.
"""

from collections import OrderedDict
from collections.abc import Coroutine, Mapping
from typing import Any, Final, Protocol
from urllib.parse import urlencode

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from tandem.ami.connection import Clock
from tandem.domain.contacts import Contact, read_contact
from tandem.domain.webhooks import TargetRefused
from tandem.posting import NotSent

_log = Logger()

MAX_KEPT: Final = 10_000
# Questions at the same time; a slow server does not collect more of them than that.
MAX_ASKING: Final = 20
# So many failures in a row, and nobody is asked for a while.
FAILURES: Final = 3
LEFT_ALONE_S: Final = 10.0


class Fetching(Protocol):
    """What is needed of `tandem.posting.Poster`."""

    def fetch(self, url: str, headers: Mapping[str, str]) -> Coroutine[Any, Any, tuple[int, bytes]]:
        """Status and body; TargetRefused, NotSent."""


class CallerLookup:
    """url: where is asked, with `telephone`, `dnid` and `token`. deadline_s: of each call; keep_s: how long an answer counts."""

    def __init__(
        self, fetcher: Fetching, clock: Clock, *, url: str, token: str, deadline_s: float, keep_s: float
    ) -> None:
        self._fetcher, self._clock = fetcher, clock
        self._url, self._token, self._deadline_s, self._keep_s = url, token, deadline_s, keep_s
        # By caller and called number: the answer, and until when it counts; oldest first.
        self._kept: OrderedDict[tuple[str, str], tuple[Contact, float]] = OrderedDict()
        self._asking: dict[tuple[str, str], list[Deferred[Contact | None]]] = {}
        self._failures = 0
        self._left_alone_until = float("-inf")

    def find(self, telephone: str, dnid: str) -> Any:
        """The contact where it is known already, `None` where nobody is asked now, else a Deferred that fires with either in time."""
        key, now = (telephone, dnid), self._clock.seconds()
        known = self._kept.get(key)
        if known is not None and known[1] > now:
            return known[0]
        waiting = self._asking.get(key)
        if waiting is None:
            if now < self._left_alone_until or len(self._asking) >= MAX_ASKING:
                return None
            waiting = self._asking[key] = []
            # Before it is asked: what is known at once must find whoever waits.
            answer = self._wait(waiting)
            Deferred.fromCoroutine(self._ask(key)).addErrback(_log_failure)
            return answer
        return self._wait(waiting)

    def _wait(self, waiting: "list[Deferred[Contact | None]]") -> "Deferred[Contact | None]":
        answer: Deferred[Contact | None] = Deferred()
        waiting.append(answer)

        def give_up() -> None:
            waiting.remove(answer)
            self._fail("it is late")
            answer.callback(None)

        timer = self._clock.callLater(self._deadline_s, give_up)

        def stop(found: Any) -> Any:
            if timer.active():
                timer.cancel()
            return found

        answer.addBoth(stop)
        return answer

    async def _ask(self, key: tuple[str, str]) -> None:
        contact: Contact | None = None
        try:
            mark = "&" if "?" in self._url else "?"
            query = urlencode({"telephone": key[0], "dnid": key[1], "token": self._token})
            status, body = await self._fetcher.fetch(
                f"{self._url}{mark}{query}", {"Accept": "application/json", "User-Agent": "Tandem"}
            )
            contact = read_contact(body) if status == 200 else None
            if contact is None:
                self._fail(f"it answered {status}" if status != 200 else "what it answered is no contact")
        except (NotSent, TargetRefused) as error:
            self._fail(str(error))
        finally:
            if contact is not None:
                self._keep(key, contact)
            for answer in self._asking.pop(key):
                answer.callback(contact)

    def _keep(self, key: tuple[str, str], contact: Contact) -> None:
        if self._failures >= FAILURES:
            _log.info("callers are looked up again")
        self._failures, self._left_alone_until = 0, float("-inf")
        if self._keep_s:
            self._kept[key] = contact, self._clock.seconds() + self._keep_s
            self._kept.move_to_end(key)
            while len(self._kept) > MAX_KEPT:
                self._kept.popitem(last=False)

    def _fail(self, why: str) -> None:
        self._failures += 1
        if self._failures >= FAILURES:
            if self._failures == FAILURES:
                _log.warn("callers are not looked up for a while: {why}", why=why)
            self._left_alone_until = self._clock.seconds() + LEFT_ALONE_S


def _log_failure(failure: Any) -> None:
    _log.failure("a caller could not be looked up", failure)
