"""Runs campaigns: claims numbers as fast as limits, agents and the PBX allow, places their calls, and serves those who answer; never sends what is not committed.

One tick at a time: `pace` says how many each campaign may dial, `share` divides what there is, one transaction claims them, then
they are sent. A tick follows whatever frees a slot at once. Limits are counted again in the claim's transaction, so that nothing that
is late (Asterisk, the database, a pause) can pass them. What a crash left open is `tandem.calls`' to follow up; here it only counts.
"""

import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol, cast

from twisted.application.service import Service
from twisted.internet.base import DelayedCall
from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall, deferLater
from twisted.logger import Logger

from tandem.ami.connection import Clock
from tandem.ami.errors import AmiConnectionLost, AmiError
from tandem.ami.events import Dial
from tandem.ami.wire import Message
from tandem.calls import Calls
from tandem.dialer.board import AttemptStep, Board, OpenCall, queue_of
from tandem.dialer.brake import Brake
from tandem.dialer.lines import Limits, Lines, trunk_of
from tandem.dialer.notes import Notes
from tandem.domain.calls import CallEnded, CallEvent
from tandem.domain.campaign_calls import Held, Served, choose_destination, plan_number
from tandem.domain.campaign_checks import check_campaign_within
from tandem.domain.campaigns import UNPACED, CampaignState, CampaignView, SavedCampaign, SavedNumber
from tandem.domain.destinations import EndpointDestination
from tandem.domain.disposition import Disposition
from tandem.domain.experience import Tally
from tandem.domain.jumps import JumpGauge
from tandem.domain.numbers import normalise_number, number_plan
from tandem.domain.originate import CallRefused, OriginateOrder
from tandem.domain.pacing import Live as PacingFacts
from tandem.domain.pacing import Policy, count_free, pace
from tandem.domain.routing import QueueFacts
from tandem.domain.shares import Demand, share
from tandem.domain.snapshot import Snapshot
from tandem.domain.surveys import Surveyed, describe_surveyed
from tandem.domain.why import Conditions
from tandem.lease import Lease
from tandem.store.attempt_claims import Claim, Claimed, ClaimRefused, claim_by_hand, claim_numbers
from tandem.store.attempts import load_open_attempts, load_recent_attempts
from tandem.store.campaigns import (
    DAY_S,
    CampaignDay,
    change_state,
    load_campaign,
    load_campaigns,
    load_days,
    reset_numbers,
    shift_due_times,
)
from tandem.store.database import Store
from tandem.store.errors import StoreError

_log = Logger()

TICK_EVERY_S: Final = 0.25
WATCH_EVERY_S: Final = 1.0
# A campaign without a due number is asked again so much later, unless somebody adds one meanwhile.
IDLE_S: Final = 1.0
ABANDON_DAYS: Final = 30
# Calls sent in one turn of the reactor: each takes a fifth of a millisecond.
TURN_CALLS: Final = 20
# Does work within a transaction, and fires with what it returned.
Commit = Callable[[Callable[[Any], Any]], Awaitable[Any]]


class QueueReader(Protocol):
    """Facts about queues."""

    def __call__(self, name: str) -> QueueFacts | None:
        """None when unknown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Around:
    """What the dialer asks of others. facts_at: when queue_facts were true, by the reactor's clock. ask_pbx: the lines that Asterisk's console prints for a command."""

    snapshot: Callable[[], Snapshot]
    queue_facts: QueueReader
    facts_at: Callable[[], float]
    is_ready: Callable[[], bool]
    lag_s: Callable[[], float]
    ask_pbx: Callable[[str], Awaitable[Iterable[str]]]


class Dialer(Service):
    """Campaigns that are running, and their calls."""

    name = "dialer"

    def __init__(
        self,
        store: Store,
        calls: Calls,
        around: Around,
        clock: Clock,
        *,
        limits: Limits | None = None,
        lease: Lease | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._calls = calls
        self._around = around
        self._clock = clock
        self._lease = lease or Lease(store, "tandem", clock)
        self._now = now
        self.board = Board()
        self.lines = Lines(limits or Limits(), clock, now)
        self.brake = Brake(around.lag_s, around.ask_pbx)
        self.problem: str | None = None
        self._running: dict[int, SavedCampaign] = {}
        self._resting: dict[int, SavedCampaign] = {}
        self._days: dict[int, list[CampaignDay]] = {}
        self._misfits: dict[int, tuple[tuple[int, int], str]] = {}
        self._idle: dict[int, float] = {}
        self._is_loaded = False
        self._is_ticking = False
        self._again = False
        self._outbox: deque[Claim] = deque()
        self._due: DelayedCall | None = None
        self._notes = Notes(store)
        self._watchers: tuple[Callable[[AttemptStep], None], ...] = ()
        self._loops = (
            LoopingCall(self.kick),
            LoopingCall(lambda: Deferred.fromCoroutine(self.brake.look(is_dialling=self._is_dialling()))),
            LoopingCall(lambda: Deferred.fromCoroutine(self.refresh())),
        )
        calls.watch(self._take_step)
        calls.watch_ends(self._take_end)
        self._lease.on_lost(self._drop_claims)
        self._jumps = JumpGauge(now, clock.seconds)
        # By how much the clock has jumped that due times do not know of, and since when they do.
        self._jumped: tuple[float, float] | None = None

    def follow(self, ami: Any) -> None:
        """Hears from Asterisk who took a call."""
        ami.on("AgentConnect", self._take_agent)
        ami.on("DialEnd", self._take_dial_end)
        ami.on_lost(self.lines.forget_probes)

    def watch_attempts(self, callback: Callable[[AttemptStep], None]) -> None:
        """Calls back with each step of each attempt; those of a last run have no `claimed`."""
        self._watchers = (*self._watchers, callback)

    def _tell(self, step: AttemptStep) -> None:
        for callback in self._watchers:
            try:
                callback(step)
            except Exception:  # noqa: BLE001 - a watcher's mistake must not keep a claimed number from being called
                _log.failure("a watcher of attempts failed")

    def startService(self) -> None:
        """Goes on with the campaigns that were running."""
        super().startService()  # type: ignore[no-untyped-call]
        for loop, every_s in zip(self._loops, (TICK_EVERY_S, WATCH_EVERY_S, WATCH_EVERY_S), strict=True):
            loop.clock = cast("Any", self._clock)
            loop.start(every_s)

    async def stopService(self) -> None:
        """Dials no more; calls go on, and are taken up at the next start."""
        super().stopService()  # type: ignore[no-untyped-call]
        for loop in self._loops:
            if loop.running:
                loop.stop()
        if self._due is not None and self._due.active():
            self._due.cancel()
        self._send_some(len(self._outbox))
        await self._notes.flush()

    # --------------------------------------------------------------------------------------------------- use-cases

    # Each of these is one transaction; `commit` is whose, where it is not the dialer's own.

    async def start(
        self, campaign_id: int, permissions: tuple[str, ...], *, resume: bool = False, commit: Commit | None = None
    ) -> SavedCampaign:
        """Dials from now on. CampaignMissing, StateConflict."""
        allowed, refusal = ({"paused"}, "Can only resume a paused campaign") if resume else (
            {"stopped", "paused"}, "Campaign is already running",
        )  # fmt: skip
        return await self._change(campaign_id, "running", allowed, refusal, None if resume else permissions, commit)

    async def pause(self, campaign_id: int, *, commit: Commit | None = None) -> SavedCampaign:
        """Dials no more; calls go on. Whatever was claimed before is sent when this answers, and nothing after it."""
        saved = await self._change(
            campaign_id, "paused", {"running"}, "Can only pause a running campaign", commit=commit
        )
        self._send_some(len(self._outbox))
        return saved

    async def stop(self, campaign_id: int, *, commit: Commit | None = None) -> SavedCampaign:
        """Dials no more, hangs up all calls, and puts what was not reached back to the beginning."""
        saved = await self._change(
            campaign_id, "stopped", {"running", "paused"}, "Campaign is already stopped", commit=commit
        )
        await self.hang_up(campaign_id)
        return saved

    async def reset(self, campaign_id: int, *, commit: Commit | None = None) -> int:
        """Every number is pending again, those that were reached too; how many. CampaignMissing."""

        def work(db: Any) -> int:
            load_campaign(db, campaign_id)
            return reset_numbers(db, campaign_id, self._now())

        moved: int = await (commit or self._store.run)(work)
        self.wake(campaign_id)
        return moved

    async def dial_by_hand(
        self, campaign_id: int, agent: str, number_id: int | None = None, *, commit: Commit | None = None
    ) -> Claim:
        """Dials one number of a campaign for one agent, or the next that is due: whoever answers is connected with the agent's phone.

        agent: an endpoint. Limits of the PBX and of the trunk hold as for every call. ClaimRefused, CallRefused and what `claim_by_hand` raises.
        """
        snapshot = self._around.snapshot()
        if agent not in snapshot.endpoints:
            raise CallRefused("agent", f"there is no endpoint {agent}")
        if not self._around.is_ready() or not self._is_loaded or not self._lease.is_held:
            raise AmiConnectionLost("Originate", "not connected", written=False)
        saved = self._running.get(campaign_id)
        if saved is not None:
            self._check_room(saved, snapshot)
        now = self._now()

        def plan(saved: SavedCampaign, number: SavedNumber) -> OriginateOrder | Held:
            return plan_number(snapshot, saved, number, now, agent)

        def work(db: Any) -> Claim:
            return claim_by_hand(db, campaign_id, number_id, plan, self._make_key(), now, self._lease.node)

        claim: Claim = await (commit or self._store.run)(self._lease.guard(work))
        self._note_claim(claim, self._clock.seconds(), agent)
        self._outbox.append(claim)
        self._send_some(len(self._outbox))
        return claim

    def _check_room(self, saved: SavedCampaign, snapshot: Snapshot) -> None:
        """ClaimRefused where the PBX or the trunk takes no further call."""
        if misfit := self.find_misfit(saved):
            raise ClaimRefused(f"the campaign does not dial: {misfit}")
        trunk = trunk_of(saved)
        if self.lines.room_in_all(len(self.board.calls), self.brake.speed) < 1:
            raise ClaimRefused("the PBX takes no further call now")
        if self.lines.room_on_trunk(trunk, snapshot.trunks.get(trunk), self.board.count_trunks().get(trunk, 0)) < 1:
            raise ClaimRefused(f"trunk {trunk} takes no further call now")

    async def hang_up(self, campaign_id: int) -> None:
        """Ends all calls of a campaign."""
        # What is claimed is a call already: it must be known to be hung up.
        self._send_some(len(self._outbox))
        calls = list(self.board.of_campaign(campaign_id))
        for call in calls:
            call.is_hung_up = True
        try:
            await self._calls.hang_up_all([call.call_id for call in calls])
        except AmiError as error:
            # They are marked as cancelled: whoever compares them with Asterisk's channels hangs them up then.
            _log.warn("calls of campaign {campaign} not hung up yet: {error}", campaign=campaign_id, error=error)

    async def _change(
        self,
        campaign_id: int,
        state: CampaignState,
        allowed: set[str],
        refusal: str,
        permissions: tuple[str, ...] | None = None,
        commit: Commit | None = None,
    ) -> SavedCampaign:
        def work(db: Any) -> SavedCampaign:
            return change_state(db, campaign_id, state, allowed, refusal, self._now(), permissions)

        saved: SavedCampaign = await (commit or self._store.run)(work)
        self.note_change(saved)
        return saved

    def note_change(self, saved: SavedCampaign) -> None:
        """A campaign was changed by whoever edits it."""
        if saved.state == "running":
            self._running[saved.campaign_id] = saved
            self._resting.pop(saved.campaign_id, None)
        else:
            self._running.pop(saved.campaign_id, None)
            self._resting[saved.campaign_id] = saved
        self.wake(saved.campaign_id)

    def forget(self, campaign_id: int) -> None:
        """A campaign was deleted; it had no calls."""
        self._running.pop(campaign_id, None)
        self._resting.pop(campaign_id, None)

    def wake(self, campaign_id: int) -> None:
        """There may be something due."""
        self._idle.pop(campaign_id, None)
        self.kick()

    @property
    def running_campaigns(self) -> int:
        """How many campaigns dial."""
        return len(self._running)

    def describe(self) -> list[CampaignView]:
        """How the running campaigns are doing."""
        views = []
        for campaign_id in sorted({*self._running, *(call.campaign_id for call in self.board.calls.values())}):
            calls = list(self.board.of_campaign(campaign_id))
            views.append(
                CampaignView(
                    campaign_id,
                    len(calls),
                    sum(call.answered_at is None for call in calls),
                    sum(call.answered_at is not None and call.connected_at is None for call in calls),
                    sum(call.connected_at is not None for call in calls),
                    campaign_id in self._idle and not calls,
                    self.find_misfit(self._running[campaign_id]) if campaign_id in self._running else "",
                )
            )
        return views

    def find_misfit(self, saved: SavedCampaign) -> str:
        """What a campaign needs and the live PBX has not; '' when it has everything."""
        snapshot = self._around.snapshot()
        key = (saved.version, snapshot.revision)
        known = self._misfits.get(saved.campaign_id)
        if known is None or known[0] != key:
            problems = "; ".join(f"{field}: {rule}" for field, rule in check_campaign_within(snapshot, saved.campaign))
            if problems:
                _log.warn(
                    "campaign {campaign} does not dial: {problems}", campaign=saved.campaign_id, problems=problems
                )
            known = self._misfits[saved.campaign_id] = (key, problems)
        return known[1]

    def weigh(self, saved: SavedCampaign) -> Conditions:
        """What keeps a campaign's numbers from being dialled now, or does not, whatever the number."""
        now, trunk = self._clock.seconds(), trunk_of(saved)
        known = self._around.snapshot().trunks.get(trunk)
        policy, live = self._read_pacing(saved, now, {})
        return Conditions(
            is_ready=self._around.is_ready(),
            calls=len(self.board.calls),
            max_calls=self.lines.limits.max_calls,
            trunk=trunk,
            trunk_calls=self.board.count_trunks().get(trunk, 0),
            trunk_limit=known.max_calls if known is not None else 0,
            breaker=self.lines.breaker_of(trunk),
            campaign_calls=live.in_flight + live.connected,
            agents_free=live.agents_free,
            wanted=pace(policy, live, now),
            speed=self.brake.speed,
            problem=self.problem or self.find_misfit(saved) or None,
        )

    # ------------------------------------------------------------------------------------------------------ ticking

    def _is_dialling(self) -> bool:
        return bool(self._running) and self._around.is_ready() and self._lease.is_held

    def kick(self) -> None:
        """A tick, as soon as the reactor has a turn; many at once are one."""
        if self._is_ticking:
            self._again = True
        elif self._due is None and self.running and self._is_loaded:
            self._due = self._clock.callLater(0, self._tick)

    def _tick(self) -> None:
        self._due = None
        self._is_ticking = True
        Deferred.fromCoroutine(self._tick_once()).addBoth(lambda _: self._after_tick())

    def _after_tick(self) -> None:
        self._is_ticking = False
        again, self._again = self._again, False
        if again and self.running:
            self.kick()

    async def _tick_once(self) -> None:
        try:
            await self._dial()
        except StoreError as error:
            problem = f"campaigns do not dial: {error}"
            if problem != self.problem:
                _log.warn("{problem}", problem=problem)
            self.problem = problem
        except Exception:  # noqa: BLE001 - the next tick may do better
            self.problem = "campaigns do not dial: see the log"
            _log.failure("a tick of the dialer failed")

    async def _dial(self) -> None:
        if not self._is_dialling():
            return
        wanted = self._divide()
        if not wanted:
            return
        term = self._lease.term
        claimed: Claimed = await self._store.run(
            self._lease.guard(claim_numbers),
            wanted,
            self._make_plan(),
            self._make_key(),
            self._now(),
            self._lease.node,
            self._list_trunk_limits() if self._lease.is_shared else None,
        )
        now = self._clock.seconds()
        for campaign_id in claimed.drained:
            self._idle[campaign_id] = now + IDLE_S
        if claimed.held or claimed.refused:
            self._again = True
        for claim in claimed.claims:
            self._note_claim(claim, now)
        self._outbox.extend(claimed.claims)
        if self._lease.term != term:
            self._drop_claims()
        self._send_some(TURN_CALLS)
        while self._outbox:
            # The reactor has other work between them.
            await deferLater(cast("Any", self._clock), 0)
            self._send_some(TURN_CALLS)

    def _list_trunk_limits(self) -> dict[str, int]:
        """Calls at once of each trunk: the carrier counts those of every node."""
        return {trunk.name: trunk.max_calls for trunk in self._around.snapshot().trunks.values() if trunk.max_calls}

    def _divide(self) -> dict[int, int]:
        """How many each campaign may claim now."""
        now = self._clock.seconds()
        trunk_calls = self.board.count_trunks()
        trunks: dict[str, int] = {}
        demands = []
        spoken_for: dict[str, int] = {}
        for saved in sorted(self._running.values(), key=lambda one: (-one.campaign.priority, one.campaign_id)):
            # Without its trunk or destination every number would be refused for good: it waits for the PBX to have them again.
            if self._idle.get(saved.campaign_id, 0.0) > now or self.find_misfit(saved):
                continue
            trunk = trunk_of(saved)
            if trunk not in trunks:
                known = self._around.snapshot().trunks.get(trunk)
                trunks[trunk] = self.lines.room_on_trunk(trunk, known, trunk_calls.get(trunk, 0))
            want = self._pace(saved, now, spoken_for)
            if want:
                demands.append(
                    Demand(
                        campaign=saved.campaign_id,
                        trunk=trunk,
                        want=want,
                        weight=saved.campaign.priority,
                        held=sum(1 for _ in self.board.of_campaign(saved.campaign_id)),
                        served=self.lines.turns_of(saved.campaign_id),
                    )
                )
        capacity = self.lines.room_in_all(len(self.board.calls), self.brake.speed)
        return {campaign: amount for campaign, amount in share(demands, capacity, trunks).items() if amount}

    def _pace(self, saved: SavedCampaign, now: float, spoken_for: dict[str, int]) -> int:
        """What one campaign may dial by its own rules. spoken_for: queue -> agents that campaigns before it count on."""
        want = self.lines.room_of_campaign(saved, pace(*self._read_pacing(saved, now, spoken_for), now))
        queue = queue_of(saved.campaign)
        unserved = sum(call.connected_at is None for call in self.board.of_campaign(saved.campaign_id))
        spoken_for[queue] = spoken_for.get(queue, 0) + want + unserved
        return want

    def _read_pacing(
        self, saved: SavedCampaign, now: float, spoken_for: Mapping[str, int]
    ) -> tuple[Policy, PacingFacts]:
        """What `pace` takes."""
        campaign = saved.campaign
        calls = list(self.board.of_campaign(saved.campaign_id))
        in_flight = [call for call in calls if call.answered_at is None]
        waiting = sum(call.answered_at is not None and call.connected_at is None for call in calls)
        queue = queue_of(campaign)
        facts = self._around.queue_facts(queue) if queue else None
        free = None
        if facts is not None:
            # An agent whom a call of ours has reached since the report is free no more.
            left = count_free(facts.members_available, self._around.facts_at(), self.board.reached.get(queue, ()))
            free = max(0, left - spoken_for.get(queue, 0))
        wrap_ends = self.board.list_wrap_ends(queue, now)
        days = self._days.get(saved.campaign_id, ())
        live = PacingFacts(
            in_flight=len(in_flight),
            dialled=tuple(call.dialled_at for call in in_flight),
            connected=len(calls) - len(in_flight),
            waiting=waiting,
            agents_free=free,
            agents_busy=sum(call.connected_at is not None for call in calls),
            agents_wrapping=len(wrap_ends),
            wrap_ends=wrap_ends,
            answered_live=sum(day.answered for day in days),
            abandoned=sum(day.abandoned for day in days),
            experience=self.board.tally(saved.campaign_id).experience(),
        )
        policy = Policy(
            mode=campaign.dial_mode,
            limit=campaign.concurrent_calls,
            lines_per_agent=campaign.lines_per_agent,
            abandon_cap=campaign.abandon_cap,
        )
        return policy, live

    def _note_claim(self, claim: Claim, now: float, agent: str = "") -> None:
        saved = claim.campaign
        self.board.calls[claim.call.call_id] = OpenCall(
            claim.call.call_id,
            saved.campaign_id,
            trunk_of(saved),
            "" if agent else queue_of(saved.campaign),
            saved.campaign.call_timeout_s,
            now,
            agent=agent,
            surveyed=describe_surveyed(claim.number, saved.campaign.destination),
        )
        self.lines.note_claim(saved)
        self._tell(AttemptStep("claimed", saved.campaign_id, claim.call.call_id))

    def _send_some(self, amount: int) -> None:
        """The next of what is claimed and not sent yet."""
        for _ in range(min(amount, len(self._outbox))):
            Deferred.fromCoroutine(self._send(self._outbox.popleft()))

    def _drop_claims(self) -> None:
        """Others have taken over what was claimed and not sent: they may have dialled it again."""
        while self._outbox:
            self._calls.drop(self._outbox.popleft().call)

    async def _send(self, claim: Claim) -> None:
        if not self._lease.is_held:
            self._calls.drop(claim.call)
            return
        try:
            await self._calls.place(claim.order, call_id=claim.call.call_id, record=_is_recorded)
        except AmiError as error:
            # The call is over for `Calls`, and its end comes back to us from there.
            _log.info(
                "{call} to {number}: {error}", call=claim.call.call_id, number=claim.number.phone_number, error=error
            )
        except Exception:  # noqa: BLE001 - one number must not stop the others
            _log.failure("{call} was not placed", call=claim.call.call_id)

    # ------------------------------------------------------------------------------------------------------- gates

    def _make_plan(self) -> Callable[[SavedCampaign, SavedNumber], OriginateOrder | Held]:
        """What the claim asks for each number; it runs in the store's thread, so it holds values only."""
        snapshot, now = self._around.snapshot(), self._now()
        return lambda saved, number: plan_number(snapshot, saved, number, now)

    def _make_key(self) -> Callable[[str], str]:
        general = self._around.snapshot().general
        plan = number_plan(general.country) if general.country else None
        return lambda phone_number: normalise_number(phone_number, plan)

    # ------------------------------------------------------------------------------------------------------ events

    def _take_step(self, event: CallEvent) -> None:
        if event.kind == "answered":
            self.board.answer(event.call.call_id, self._clock.seconds())
            if (call := self.board.calls.get(event.call.call_id)) is not None:
                self._tell(AttemptStep("answered", call.campaign_id, call.call_id))

    def _take_end(self, end: CallEnded) -> None:
        known = self.board.calls.get(end.call.call_id)
        if known is None:
            return
        queue = self._around.snapshot().queues.get(known.queue)
        call = self.board.end(
            known.call_id, self._clock.seconds(), float(queue.wrap_up_s) if queue is not None else 0.0
        )
        if call is None:
            return
        if call.trunk:
            self.lines.note_end(call.trunk, is_dead=end.call.disposition is Disposition.TRUNK_DEAD)
        self._tell(AttemptStep("ended", call.campaign_id, call.call_id, str(end.call.disposition or "")))
        self.wake(call.campaign_id)

    def _take_agent(self, message: Message) -> None:
        self._connect(message.get("Uniqueid"), message.get("Interface") or message.get("MemberName"))

    def _take_dial_end(self, message: Message) -> None:
        dial = Dial.read(message)
        if dial.dialstatus == "ANSWER":
            self._connect(dial.uniqueid, dial.dest_channel.rpartition("-")[0])

    def _connect(self, call_id: str, agent: str) -> None:
        call = self.board.calls.get(call_id)
        if call is None or call.connected_at is not None:
            return
        self.board.connect(call, self._clock.seconds())
        self._notes.note_connected(call_id, self._now(), agent.partition("/")[2] or agent)
        self._tell(AttemptStep("connected", call.campaign_id, call_id))

    def serve_answered(self, call_id: str) -> Served | None:
        """Where somebody goes who has answered; None for a call that is none of ours."""
        call = self.board.calls.get(call_id)
        if call is None:
            return None
        # Paused or stopped meanwhile: whoever answers is served all the same.
        saved = self._running.get(call.campaign_id) or self._resting.get(call.campaign_id)
        if saved is None:
            return None
        now = self._clock.seconds()
        self.board.answer(call_id, now)
        call.served_at = now
        facts = self._around.queue_facts(call.queue) if call.queue else None
        if call.agent:
            return Served(EndpointDestination(endpoint=call.agent), f"dialled by hand for {call.agent}")
        served = choose_destination(saved.campaign, facts, self.board.count_waiting(call.queue, besides=call_id))
        if served.is_unserved:
            call.is_unserved = True
            self._notes.note_abandoned(call_id, self._now())
        elif not call.queue and not hasattr(served.destination, "endpoint"):
            self._connect(call_id, "")
        return served

    def find_surveyed(self, call_id: str) -> Surveyed | None:
        """Whom a call of ours has reached, for a survey."""
        call = self.board.calls.get(call_id)
        return call.surveyed if call is not None else None

    # ---------------------------------------------------------------------------------------------------- watching

    async def refresh(self) -> None:
        """Reads the campaigns again: another process may have changed them; and the days that the abandoned share is made of."""
        try:
            if not self._is_loaded:
                await self._load()
            await self._follow_clock()
            rows = await self._store.read(load_campaigns)
            self._running = {saved.campaign_id: saved for saved in rows if saved.state == "running"}
            self._resting = {saved.campaign_id: saved for saved in rows if saved.state != "running"}
            paced = [
                one.campaign_id for one in self._running.values() if one.campaign.dial_mode not in ("fixed", *UNPACED)
            ]
            if paced:
                since = int(self._now() // DAY_S) - ABANDON_DAYS + 1
                self._days = await self._store.read(load_days, paced, since)
                await self._learn(paced)
            self.lines.forget_turns()
            await self._notes.flush()
            await self._end_long_calls()
            await self._end_stopped_calls()
            self.problem = self._lease.problem
            self.kick()
        except StoreError as error:
            self.problem = f"campaigns cannot be read: {error}"
        except AmiError as error:
            _log.debug("long calls not hung up: {error}", error=error)

    async def _follow_clock(self) -> None:
        """Numbers that wait for a while wait for just that while, whatever the wall clock does. Where nodes share a database each has a clock of its own, and NTP."""
        jump = self._jumps.read()
        if jump:
            before, since = self._jumped or (0.0, self._now() - 2 * WATCH_EVERY_S)
            self._jumped = (before + jump, since)
            _log.warn("the wall clock has jumped by {jump:.0f} s", jump=jump)
        if self._jumped is not None and not self._lease.is_shared:
            await self._store.run(shift_due_times, *self._jumped, self._now())
        self._jumped = None

    async def _learn(self, paced: Iterable[int]) -> None:
        """What the last run has shown of campaigns that are new to this one."""
        for campaign_id in paced:
            if campaign_id in self.board.tallies:
                continue
            queue = self._around.snapshot().queues.get(queue_of(self._running[campaign_id].campaign))
            attempts = await self._store.read(load_recent_attempts, campaign_id, Tally().attempts)
            self.board.learn(campaign_id, attempts, float(queue.wrap_up_s) if queue is not None else 0.0)

    async def _load(self) -> None:
        """The attempts that a last run left open count from the start."""
        now, wall = self._clock.seconds(), self._now()
        timeouts = {
            saved.campaign_id: saved.campaign.call_timeout_s for saved in await self._store.read(load_campaigns)
        }
        for attempt in await self._store.read(load_open_attempts, self._lease.followed):
            if attempt.campaign_id is None or attempt.call_id in self.board.calls:
                continue
            ago = max(0.0, wall - attempt.started_at)
            self.board.calls[attempt.call_id] = OpenCall(
                attempt.call_id,
                attempt.campaign_id,
                attempt.trunk,
                attempt.destination.removeprefix("queue ") if attempt.destination.startswith("queue ") else "",
                timeouts.get(attempt.campaign_id, 0),
                now - ago,
                answered_at=now if attempt.answered_at is not None else None,
                connected_at=now if attempt.connected_at is not None else None,
                # For a campaign that leads to an endpoint anyway it is the same.
                agent=attempt.destination.removeprefix("endpoint ")
                if attempt.destination.startswith("endpoint ")
                else "",
                surveyed=Surveyed(
                    attempt.campaign_id, attempt.number_id, attempt.phone_number, {"number": attempt.phone_number}
                ),
            )
        self._is_loaded = True

    async def _end_stopped_calls(self) -> None:
        """Calls of campaigns that were stopped by another node, or by a run of ours that died before it had hung up."""
        stopped = {
            call.campaign_id
            for call in self.board.calls.values()
            if not call.is_hung_up
            and (saved := self._resting.get(call.campaign_id)) is not None
            and saved.state == "stopped"
        }
        for campaign_id in sorted(stopped):
            await self.hang_up(campaign_id)

    async def _end_long_calls(self) -> None:
        now = self._clock.seconds()
        long = [
            call
            for call in self.board.calls.values()
            if call.call_timeout_s
            and call.answered_at is not None
            and now - call.answered_at > call.call_timeout_s
            and not call.is_hung_up
        ]
        for call in long:
            call.is_hung_up = True
        if long:
            await self._calls.hang_up_all([call.call_id for call in long])


async def _is_recorded(_call: object) -> None:
    """The claim has kept the call already."""
