"""Sends events to webhooks: signed, at least once, again later where it failed, until it is given up; never holds up what the events tell of.

What is to be sent stands in the database (`tandem.store.outbox`) from the transaction on that it tells of, and stays there until an
answer is written beside it. Each webhook has its own few connections, so a slow one holds up nobody else; order is best effort.
"""

import random
import time
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from tandem.ami.connection import Clock
from tandem.domain.jumps import JumpGauge
from tandem.domain.webhooks import MAX_DELAY_S, Delivery, TargetRefused, Webhook, plan_retry, sign
from tandem.lease import Lease
from tandem.posting import Answer, NotSent
from tandem.regular import Regular
from tandem.store.database import Store
from tandem.store.errors import StoreError
from tandem.store.outbox import Outcome, claim_due, count_pending, load_due, record_outcomes, shift_next_times
from tandem.store.webhooks import Target, deactivate_webhook, load_targets

_log = Logger()

LOOK_EVERY_S: Final = 0.5
COUNT_EVERY_S: Final = 60.0
# At the same time to one webhook; to one that has just failed a single one, until it answers again. With `MAX_WEBHOOKS` that bounds all.
SLOTS: Final = 4
AHEAD: Final = 100
_GONE: Final = 410


class _Untold(Exception):
    """The format of this webhook has no word for the event."""


class Posting(Protocol):
    """What is needed of `tandem.posting.Poster`."""

    def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Coroutine[Any, Any, Answer]:
        """Sends it once; TargetRefused, NotSent."""

    def get(self, url: str, headers: Mapping[str, str]) -> Coroutine[Any, Any, Answer]:
        """The same by GET."""

    def stop(self) -> Awaitable[None]:
        """Ends idle connections."""


@dataclass(slots=True)
class _Lane:
    """What goes to one webhook."""

    target: Target
    queue: deque[Delivery] = field(default_factory=deque)
    sending: set[int] = field(default_factory=set)
    is_failing: bool = False
    has_more: bool = False

    @property
    def has_room(self) -> bool:
        return len(self.sending) < (1 if self.is_failing else SLOTS)


class Webhooks(Regular):
    """max_pending: a webhook for which more than that waits is made inactive, because nobody seems to be there.

    phrase: a delivery as the query of a webhook's format that is not ours; None where that has no word for it.
    """

    name = "webhooks"

    def __init__(
        self,
        store: Store,
        poster: Posting,
        clock: Clock,
        now: Callable[[], float] = time.time,
        luck: Callable[[], float] = random.random,
        *,
        max_pending: int = 100_000,
        lease: Lease | None = None,
        phrase: Callable[[Webhook, Delivery], str | None] = lambda _, __: None,
    ) -> None:
        super().__init__(clock)
        self._store, self._poster, self._now, self._luck = store, poster, now, luck
        self._max_pending = max_pending
        self._phrase = phrase
        self._lease = lease or Lease(store, "tandem", clock)
        self._lease.on_lost(self._drop)
        self._node = self._lease.node if self._lease.is_shared else ""
        self._jumps = JumpGauge(now, clock.seconds)
        self._lanes: dict[int, _Lane] = {}
        # By delivery; until they are written it is not sent again.
        self._outcomes: dict[int, Outcome] = {}
        self._gone: set[int] = set()
        self._posting: set[Deferred[Answer]] = set()
        self._is_saving = self._is_looking = False
        self.repeat(self.look, LOOK_EVERY_S)
        self.repeat(self._count, COUNT_EVERY_S)

    async def stopService(self) -> None:
        """Writes what is known; what is on its way stays pending, and is sent again at the next start."""
        super().stopService()
        for posting in list(self._posting):
            posting.cancel()
        await self._save()
        await self._poster.stop()

    async def look(self) -> None:
        """Sends what is due."""
        if self._is_looking or not self.running:
            return
        self._is_looking = True
        try:
            # What is in our hands now is left out, so that nothing is sent twice for being written while we read.
            known = {
                webhook_id: {*lane.sending, *(one.id for one in lane.queue), *self._outcomes}
                for webhook_id, lane in self._lanes.items()
            }
            if (jump := self._jumps.read()) and not self._lease.is_shared:
                await self._store.run(shift_next_times, jump)
            found = await self._store.read(_load, self._now(), known)
            if self._lease.is_shared and self.running and any(due for _, due in found):
                term, work = self._lease.term, self._lease.guard(_claim)
                found = await self._store.claim(work, self._now(), known, self._lease.node)
                if self._lease.term != term:
                    return  # they may be another node's by now
            self._take(found)
            await self._save()
        except StoreError as error:
            _log.debug("webhooks wait for the database: {error}", error=error)
        except Exception:  # noqa: BLE001 - a mistake of ours: calls go on, and the next look may do better
            _log.failure("webhooks could not be looked at")
        finally:
            self._is_looking = False

    def _take(self, found: list[tuple[Target, list[Delivery]]]) -> None:
        for gone in self._lanes.keys() - {target.webhook.id for target, _ in found}:
            self._lanes[gone].queue.clear()
            if not self._lanes[gone].sending:
                del self._lanes[gone]
        for target, due in found:
            webhook_id = target.webhook.id
            if webhook_id in self._gone:
                continue
            lane = self._lanes.setdefault(webhook_id, _Lane(target))
            lane.target = target
            lane.queue.extend(due)
            lane.has_more = len(due) == AHEAD
            self._pump(lane)

    def _drop(self) -> None:
        """Others send what waits here."""
        for lane in self._lanes.values():
            lane.queue.clear()

    def _pump(self, lane: _Lane) -> None:
        if not self._lease.is_held:
            lane.queue.clear()
        while self.running and lane.queue and lane.has_room:
            delivery = lane.queue.popleft()
            lane.sending.add(delivery.id)
            Deferred.fromCoroutine(self._send(lane, delivery)).addErrback(_log_failure)
        if not lane.queue and lane.has_more and self.running:
            lane.has_more = False
            Deferred.fromCoroutine(self.look()).addErrback(_log_failure)

    async def _send(self, lane: _Lane, delivery: Delivery) -> None:
        """One try."""
        webhook = lane.target.webhook
        answer, error = Answer(0, None), ""
        posting: Deferred[Answer] = Deferred.fromCoroutine(self._request(lane.target, delivery))
        self._posting.add(posting)
        try:
            answer = await posting
            error = "" if 200 <= answer.status < 300 else f"answered {answer.status}"
        except _Untold:
            pass  # done with, and nothing was sent
        except (NotSent, TargetRefused) as refused:
            error = str(refused)
        except Exception as failed:  # noqa: BLE001 - of one delivery, which says so
            _log.failure("delivery {id} could not be sent", id=delivery.id)
            error = type(failed).__name__
        finally:
            self._posting.discard(posting)
            lane.sending.discard(delivery.id)
        if error and not self.running:
            return  # cut off by our own end: it stays pending
        lane.is_failing = bool(error)
        self._outcomes[delivery.id] = self._judge(webhook.id, delivery, answer, error)
        if answer.status == _GONE:
            self._gone.add(webhook.id)
            lane.queue.clear()
        await self._save()
        self._pump(lane)

    async def _request(self, target: Target, delivery: Delivery) -> Answer:
        """What is signed is the body, or the query that stands for it."""
        webhook, at, is_ours = target.webhook, int(self._now()), target.webhook.format == "json"
        told = delivery.body if is_ours else self._phrase(webhook, delivery)
        if told is None:
            raise _Untold
        headers = {
            "User-Agent": "Tandem",
            "Webhook-Id": delivery.event_id,
            "Webhook-Timestamp": str(at),
            "Webhook-Signature": sign(target.keys, delivery.event_id, at, told.encode()),
        }
        if is_ours:
            return await self._poster.post(webhook.url, {"Content-Type": "application/json", **headers}, told.encode())
        return await self._poster.get(f"{webhook.url}{'&' if '?' in webhook.url else '?'}{told}", headers)

    def _judge(self, webhook_id: int, delivery: Delivery, answer: Answer, error: str) -> Outcome:
        attempts, now = delivery.attempts + 1, self._now()
        if not error:
            return Outcome(delivery.id, "delivered", attempts, None, answer.status, "", now)
        delay_s = None if answer.status == _GONE else plan_retry(attempts, self._luck())
        if delay_s is None:
            _log.warn(
                "webhook {webhook}: {kind} is given up after {attempts} tries: {error}",
                webhook=webhook_id, kind=delivery.kind, attempts=attempts, error=error,
            )  # fmt: skip
            return Outcome(delivery.id, "dead", attempts, None, answer.status, error, now)
        delay_s = max(delay_s, min(answer.retry_after_s or 0.0, MAX_DELAY_S))
        return Outcome(delivery.id, "pending", attempts, now + delay_s, answer.status, error, now)

    async def _save(self) -> None:
        """Writes outcomes, all that there are at once; those that come meanwhile with the next."""
        if self._is_saving:
            return
        self._is_saving = True
        try:
            while self._outcomes:
                written, gone = dict(self._outcomes), set(self._gone)
                await self._store.run(_write, list(written.values()), gone, self._now(), self._node)
                for delivery_id in written:
                    del self._outcomes[delivery_id]
                self._gone -= gone
        except StoreError as error:
            _log.debug("what became of webhooks is written later: {error}", error=error)
        finally:
            self._is_saving = False

    async def _count(self) -> None:
        try:
            if self._lanes:
                counts = await self._store.read(count_pending)
                for webhook_id in sorted(
                    webhook_id for webhook_id, amount in counts.items() if amount > self._max_pending
                ):
                    problem = f"more than {self._max_pending} deliveries wait for it"
                    _log.warn("webhook {webhook} is made inactive: {problem}", webhook=webhook_id, problem=problem)
                    await self._store.run(deactivate_webhook, webhook_id, problem, self._now())
        except StoreError as error:
            _log.debug("webhooks are not counted: {error}", error=error)


def _log_failure(failure: Failure) -> None:
    _log.failure("a webhook's delivery went wrong", failure)


def _load(db: Any, now: float, known: Mapping[int, set[int]]) -> list[tuple[Target, list[Delivery]]]:
    return [
        (target, load_due(db, target.webhook.id, now, known.get(target.webhook.id, ()), AHEAD))
        for target in load_targets(db, now)
    ]


def _claim(db: Any, now: float, known: Mapping[int, set[int]], node: str) -> list[tuple[Target, list[Delivery]]]:
    return [
        (target, claim_due(db, target.webhook.id, now, known.get(target.webhook.id, ()), AHEAD, node))
        for target in load_targets(db, now)
    ]


def _write(db: Any, outcomes: list[Outcome], gone: set[int], at: float, node: str) -> None:
    record_outcomes(db, outcomes, node)
    for webhook_id in sorted(gone):
        deactivate_webhook(db, webhook_id, "it answered 410 Gone", at)
