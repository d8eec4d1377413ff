"""The dialer's view of its calls that are up, and what they teach; never the truth about an attempt, which the database is."""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from tandem.domain.campaign_calls import PHONE_FREE
from tandem.domain.disposition import Disposition
from tandem.domain.experience import Tally
from tandem.domain.open_calls import OpenCall
from tandem.store.attempts import Attempt

# More agents of one queue are not reached between two reports.
MAX_REACHED: Final = 500


@dataclass(slots=True)
class Board:
    """All open calls, by id, with what is counted of them."""

    calls: dict[str, OpenCall] = field(default_factory=dict)
    tallies: dict[int, Tally] = field(default_factory=dict)
    # Those that have begun with what the database knows of them: who is asked how fast it dials has a tally before that.
    taught: set[int] = field(default_factory=set)
    # Queue -> when each of its agents who had a call of ours is free again.
    wrap_ends: dict[str, deque[float]] = field(default_factory=dict)
    # Queue -> when calls of ours reached one of its agents, the last few seconds' worth: they may be over already.
    reached: dict[str, deque[float]] = field(default_factory=dict)

    def of_campaign(self, campaign_id: int) -> Iterator[OpenCall]:
        """Those of one campaign."""
        return (call for call in self.calls.values() if call.campaign_id == campaign_id)

    def tally(self, campaign_id: int) -> Tally:
        """What that campaign has learnt."""
        tally = self.tallies.get(campaign_id)
        if tally is None:
            tally = self.tallies[campaign_id] = Tally()
        return tally

    def count_trunks(self) -> dict[str, int]:
        """Trunk -> calls over it."""
        counts: dict[str, int] = {}
        for call in self.calls.values():
            counts[call.trunk] = counts.get(call.trunk, 0) + 1
        return counts

    def count_free_phone(self, endpoint: str, state: str | None) -> int | None:
        """1 for a phone that is free and that no call of ours is under way for, whichever campaign's; None where its state is not known."""
        if state is None:
            return None
        is_taken = any(call.endpoint == endpoint for call in self.calls.values())
        return int(state == PHONE_FREE and not is_taken)

    def count_waiting(self, queue: str, *, besides: str = "") -> int:
        """People who were sent to that queue, and for whom no agent is rung yet."""
        return sum(
            call.queue == queue and call.served_at is not None and call.is_waiting and call.call_id != besides
            for call in self.calls.values()
        )

    def count_rung(self, queue: str) -> int:
        """People of ours in that queue for whom agents are being rung."""
        return sum(call.queue == queue and call.rung_at is not None for call in self.calls.values())

    def answer(self, call_id: str, now: float) -> None:
        """Somebody answered; the first report counts."""
        call = self.calls.get(call_id)
        if call is not None and call.answered_at is None:
            call.answered_at = now
            if not call.is_listened_to:
                self._count(call, is_person=True, now=now)

    def _count(self, call: OpenCall, *, is_person: bool, now: float) -> None:
        """Whether it needed an agent, learnt once; the time is that of the answer."""
        if not call.is_counted:
            call.is_counted = True
            until = now if call.answered_at is None else call.answered_at
            self.tally(call.campaign_id).add_attempt(is_answered=is_person, time_s=until - call.dialled_at)

    def find_person(self, call: OpenCall, now: float) -> None:
        """It is a person who answered, or may be one."""
        self.answer(call.call_id, now)
        self._count(call, is_person=True, now=now)

    def find_machine(self, call: OpenCall, now: float) -> None:
        """A machine answered: it waits for nobody."""
        call.is_machine = True
        self.answer(call.call_id, now)
        self._count(call, is_person=False, now=now)

    def connect(self, call: OpenCall, now: float) -> None:
        """An agent, or what was to be heard, is there."""
        self.answer(call.call_id, now)
        self.ring(call, now)
        call.connected_at, call.rung_at = now, None

    def ring(self, call: OpenCall, now: float) -> None:
        """An agent is rung for it, and counts as free no more. Where several are rung at once it is one that it will take."""
        if call.rung_at is None and call.queue:
            call.rung_at = now
            self.reached.setdefault(call.queue, deque(maxlen=MAX_REACHED)).append(now)

    def ring_no_more(self, call: OpenCall) -> None:
        """The agent did not answer: it waits again."""
        call.rung_at = None

    def end(self, call_id: str, now: float, wrap_up_s: float) -> OpenCall | None:
        """The call is over; what it was, None for a call that is not here."""
        call = self.calls.pop(call_id, None)
        if call is None:
            return None
        tally = self.tally(call.campaign_id)
        self._count(call, is_person=call.answered_at is not None, now=now)
        if call.connected_at is not None and call.queue:
            tally.add_talk(now - call.connected_at)
            tally.add_wrap(wrap_up_s)
            if wrap_up_s:
                self.wrap_ends.setdefault(call.queue, deque()).append(now + wrap_up_s)
        return call

    def learn(self, campaign_id: int, attempts: Iterable[Attempt], wrap_up_s: float) -> None:
        """Begins anew with what all its last attempts have shown, oldest first; of a last run, too."""
        self.taught.add(campaign_id)
        tally = self.tallies[campaign_id] = Tally()
        for attempt in attempts:
            if attempt.ended_at is None:
                continue
            until = attempt.answered_at or attempt.ended_at
            is_person = attempt.answered_at is not None and attempt.disposition != Disposition.MACHINE.value
            tally.add_attempt(is_answered=is_person, time_s=max(0.0, until - attempt.started_at))
            if attempt.connected_at is not None:
                tally.add_talk(max(0.0, attempt.ended_at - attempt.connected_at))
                tally.add_wrap(wrap_up_s)

    def list_wrap_ends(self, queue: str, now: float) -> tuple[float, ...]:
        """When the agents of that queue who rest after a call of ours are free again."""
        ends = self.wrap_ends.get(queue)
        while ends and ends[0] <= now:
            ends.popleft()
        return tuple(ends or ())
