"""Places calls over AMI, follows each by the id that we gave it, and reports its end exactly once; never sends an originate twice.

A call is kept before anything is sent. What happens to it then comes by events, in any order, some of them never: AMI may be away, a
stranger's text may spoil one. So what is open is compared with Asterisk's own list of channels after each login and now and then; a
call that is in no list for a while ends by Asterisk's durable record, and without one it is *unconfirmed*.
"""

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Protocol

from twisted.internet.base import DelayedCall
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from tandem.ami import actions
from tandem.ami.actions import Action
from tandem.ami.connection import Clock, new_action_id
from tandem.ami.errors import AmiError, AmiRefused, AmiUnanswered
from tandem.ami.events import Hangup, Newchannel, read_int
from tandem.ami.wire import Message
from tandem.call_keeping import CallKeeper, Keeping
from tandem.domain.calls import (
    CallEnded,
    CallEvent,
    CallEventKind,
    PlacedCall,
    advance_call,
    end_call,
    new_call_id,
    start_call,
)
from tandem.domain.dialplan import CONTEXT_ORIGINATED, VARIABLE_JUMP
from tandem.domain.disposition import Evidence, Response, merge_evidence
from tandem.domain.originate import OriginateOrder
from tandem.regular import Regular

_log = Logger()

# What comes late and out of order: a Hangup and its OriginateResponse, or the Newchannel of an originate that failed.
SETTLE_S: Final = 1.0
# How long a call may be in no list of channels before it counts as gone. An originate that a frozen Asterisk had read already is carried out late.
GRACE_S: Final = 10.0
COMPARE_EVERY_S: Final = 5.0
# While a call is missing: its end is in Asterisk's records soon, and until it is known its slot and its number wait.
LOOK_AGAIN_S: Final = 1.0
# A commit whose answer was lost may have kept a call that we do not know of: what is open in the database is read again.
LOAD_EVERY_S: Final = 60.0
_UP: Final = 6  # Asterisk's channel state
_RESPONSES: Final[dict[int, Response]] = {0: "failed", 3: "timed-out", 4: "answered"}
_SIGNS_OF_LIFE: Final = frozenset({"RINGING", "PROGRESS"})
# What most events say, made once: there are several for each call.
_IS_THERE: Final = Evidence(has_channel=True)
_RINGS: Final = Evidence(has_channel=True, has_rung=True)
_FAR_HANGUP: Final = Evidence(has_channel=True, is_far_hangup=True)
_ANSWERS: Final = {reason: Evidence(response=response) for reason, response in _RESPONSES.items()}


class Ami(Protocol):
    """What Calls needs of an AmiClient."""

    def send(self, action: Action, *, action_id: str = "") -> Awaitable[Message]:
        """Send one action, once."""

    def send_list(self, action: Action) -> Awaitable[list[Message]]:
        """Send one list action."""

    def on(self, event: str, callback: Callable[[Message], object]) -> Callable[[], None]:
        """Call back for each event of that name."""

    def on_ready(self, callback: Callable[[], Awaitable[object] | None]) -> None:
        """Call back after each login."""

    def on_lost(self, callback: Callable[[], Awaitable[object] | None]) -> None:
        """Call back whenever a login is lost."""


class CallRecords(Keeping, Protocol):
    """Where calls are kept (`tandem.store.call_book`), and looked up."""

    def load(self, call_id: str) -> Awaitable[PlacedCall | None]:
        """One call."""

    def load_open(self) -> Awaitable[list[PlacedCall]]:
        """Every call whose end is not known, and that is ours to follow."""

    def find_end(self, call_id: str) -> Awaitable[Evidence | None]:
        """What Asterisk's own records say of a leg that is over; None where they say nothing."""


@dataclass(slots=True)
class _Followed:
    call: PlacedCall
    evidence: Evidence
    action_id: str = ""
    missing_since: float | None = None
    settling: DelayedCall | None = None


class Calls(Regular):
    """The calls that Tandem placed and that are not over."""

    name = "calls"

    def __init__(
        self,
        ami: Ami,
        records: CallRecords,
        clock: Clock,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        *,
        grace_s: float = GRACE_S,
        node: str = "",
    ) -> None:
        super().__init__(clock)
        self.node = node
        self._ami = ami
        self._records = records
        self._clock = clock
        self._now = now
        self._grace_s = grace_s
        self._open: dict[str, _Followed] = {}
        self._actions: dict[str, str] = {}  # ActionID -> call id
        self._ended: dict[str, CallEnded] = {}  # over, and not saved yet
        self._watchers: tuple[Callable[[CallEvent], None], ...] = ()
        self._end_watchers: tuple[Callable[[CallEnded], None], ...] = ()
        self._load_at = clock.seconds()
        self._looking_again: DelayedCall | None = None
        self._inherited: set[str] = set()
        self._loads = 0
        self._told: set[str] = set()  # what ended while open calls are read
        self._keeper = CallKeeper(records, clock, self._take_saved)
        self.repeat(self._compare_regularly, min(COMPARE_EVERY_S, grace_s), now=False)
        for event, take in (
            ("Newchannel", self._take_channel),
            ("DialState", self._take_dial_state),
            ("OriginateResponse", self._take_response),
            ("HangupRequest", self._take_request),
            ("Hangup", self._take_hangup),
        ):
            ami.on(event, take)
        ami.on_ready(self.compare)
        ami.on_lost(self._note_gap)

    def stopService(self) -> None:
        """What is open stays open, and is taken up at the next start."""
        super().stopService()
        self._keeper.stop()
        _cancel(self._looking_again)
        for followed in self._open.values():
            _cancel(followed.settling)

    # ------------------------------------------------------------------------------------------------- use-cases

    async def place(
        self,
        order: OriginateOrder,
        *,
        call_id: str = "",
        record: Callable[[PlacedCall], Awaitable[object]] | None = None,
    ) -> PlacedCall:
        """Sends the originate, once, after the call is kept; the call as it is then.

        record: keeps the call in the caller's own transaction (`tandem.store.calls.record_placed`); what it raises stops the call.
        Raises AmiRefused, or AmiUnanswered where not a byte was sent: the call is over then. An answer that is lost after sending is
        no error: the call is followed up like any other.
        """
        call = start_call(order, call_id or new_call_id(), self._now())
        await (record(call) if record is not None else self._keeper.enter(call))
        action_id = new_action_id()
        # Behind a Local channel phones ring that we do not see.
        known = Evidence(is_trunk=order.is_trunk, has_gap=order.channel.startswith("Local/"))
        self._open[call.call_id] = _Followed(call, known, action_id)
        self._actions[action_id] = call.call_id
        self._tell("placed", call)
        try:
            await self._ami.send(_originate(order, call.call_id), action_id=action_id)
        except AmiUnanswered as error:
            if not error.written:
                self._end(call.call_id, Evidence(is_unsent=True))
                raise
            _log.warn("call {call}: {error}; followed up, not sent again", call=call.call_id, error=error)
        except AmiRefused:
            self._end(call.call_id, Evidence(is_refused=True))
            raise
        except AmiError:  # a value that AMI cannot carry
            self._end(call.call_id, Evidence(is_unsent=True))
            raise
        return self._known(call.call_id) or call

    def drop(self, call: PlacedCall) -> None:
        """Ends a call that was kept and must not be sent any more."""
        self._open[call.call_id] = _Followed(call, Evidence())
        self._end(call.call_id, Evidence(is_unsent=True))

    def take_up(self, calls: frozenset[str]) -> None:
        """There may be more calls to follow. calls: those of a node that died, whose Asterisk may be another one than ours and up."""
        self._inherited |= calls
        self._load_at = self._clock.seconds()
        self._supervise(self._compare_regularly())

    async def find(self, call_id: str) -> PlacedCall | None:
        """A placed call, over or not."""
        return self._known(call_id) or await self._records.load(call_id)

    async def wait_answered(self, call_id: str, timeout_s: float) -> PlacedCall | None:
        """The call as soon as its first leg answered or it is over, or as it is after so many seconds."""
        done: Deferred[None] = Deferred()

        def stop_waiting() -> None:
            if not done.called:
                done.callback(None)

        def look(event: CallEvent) -> None:
            if event.call.call_id == call_id and event.kind in ("answered", "ended"):
                stop_waiting()

        stop = self.watch(look)
        timer = self._clock.callLater(timeout_s, stop_waiting)
        try:
            call = await self.find(call_id)
            if call is not None and call.state not in ("answered", "ended"):
                await done
                call = await self.find(call_id)
            return call
        finally:
            stop()
            _cancel(timer)

    def note_machine(self, call_id: str) -> None:
        """An answering machine has answered this call; nothing for a call that is none of ours, or over."""
        self._observe(call_id, Evidence(is_answered=True, is_machine=True))

    def list_open(self) -> list[PlacedCall]:
        """Those that are not over, newest first."""
        return sorted(
            (followed.call for followed in self._open.values()), key=lambda call: call.placed_at, reverse=True
        )

    async def hang_up(self, call_id: str) -> bool:
        """Ends a call, all its legs; False where it is over, or none of ours. Raises AmiError."""
        return bool(await self.hang_up_all([call_id]))

    async def hang_up_all(self, call_ids: Iterable[str]) -> frozenset[str]:
        """Ends calls, with all their legs; those of them that were not over. Raises AmiError: they are then ended as soon as they are seen."""
        wanted = frozenset(call_id for call_id in call_ids if call_id in self._open)
        if not wanted:
            return wanted
        for call_id in wanted:
            self._observe(call_id, Evidence(is_cancelled=True))
        for row in await self._ami.send_list(actions.core_show_channels()):
            channel = Newchannel.read(row)
            if channel.uniqueid in wanted or channel.linkedid in wanted:
                self._supervise(self._hang_up_channel(channel.channel))
        # One that has no channel yet is ended by its Newchannel.
        return wanted

    async def transfer(self, call_id: str, jump: str) -> bool:
        """Sends the first leg of an answered call to another place; False where there is none. jump: of `tandem.domain.dialplan`. Raises AmiError."""
        followed = self._open.get(call_id)
        if followed is None or followed.call.answered_at is None:
            return False
        for row in await self._ami.send_list(actions.core_show_channels()):
            channel = Newchannel.read(row)
            if channel.uniqueid == call_id:
                await self._ami.send(actions.setvar(channel.channel, VARIABLE_JUMP, jump))
                await self._ami.send(actions.redirect(channel.channel, CONTEXT_ORIGINATED, "s"))
                return True
        return False

    def watch(self, callback: Callable[[CallEvent], None]) -> Callable[[], None]:
        """Calls back for each step of each call; what it raises is logged. Returns the function that ends it."""
        self._watchers = (*self._watchers, callback)

        def end() -> None:
            self._watchers = tuple(other for other in self._watchers if other is not callback)

        return end

    def watch_ends(self, callback: Callable[[CallEnded], None]) -> None:
        """Calls back once for each call that ended, when its end is kept."""
        self._end_watchers = (*self._end_watchers, callback)

    # ---------------------------------------------------------------------------------------------------- events

    def _take_channel(self, message: Message) -> None:
        # Not the whole of it, as of the next: an event of a stranger's call is passed over after one header.
        call_id = message.get("Uniqueid")
        followed = self._open.get(call_id)
        if followed is None:
            return
        self._observe(call_id, _IS_THERE)
        if followed.evidence.is_cancelled:
            self._supervise(self._hang_up_channel(message.get("Channel")))

    def _take_dial_state(self, message: Message) -> None:
        call_id = message.get("DestUniqueid")
        if call_id in self._open and message.get("DialStatus") in _SIGNS_OF_LIFE:
            self._observe(call_id, _RINGS)

    def _take_response(self, message: Message) -> None:
        # By ActionID alone: its Uniqueid may be another, living call's (asterisk-notes).
        if call_id := self._actions.get(message.get("ActionID")):
            self._observe(call_id, _ANSWERS.get(read_int(message, "Reason"), _ANSWERS[0]))

    def _take_request(self, message: Message) -> None:
        self._observe(message.get("Uniqueid"), _FAR_HANGUP)

    def _take_hangup(self, message: Message) -> None:
        if message.get("Uniqueid") not in self._open:
            return
        hangup = Hangup.read(message)
        tech_cause = int(hangup.tech_cause) if hangup.tech_cause.isdecimal() and len(hangup.tech_cause) == 3 else 0
        cause = hangup.cause if 0 < hangup.cause < 128 else 0
        self._observe(hangup.uniqueid, Evidence(has_channel=True, is_hung_up=True, cause=cause, tech_cause=tech_cause))

    def _observe(self, call_id: str, news: Evidence) -> None:
        """Takes a piece of evidence in; nothing for an id that is not open."""
        followed = self._open.get(call_id)
        if followed is None:
            return
        followed.evidence = merge_evidence(followed.evidence, news)
        before, followed.call = followed.call, advance_call(followed.call, followed.evidence, self._now())
        if followed.call is not before:
            if followed.call.state != before.state:
                self._tell("answered" if followed.call.answered_at is not None else "ringing", followed.call)
            self._keeper.save(followed.call, is_urgent=followed.call.answered_at is not None)
        if followed.evidence.is_complete:
            self._end(call_id)
        elif followed.settling is None and (followed.evidence.is_hung_up or followed.evidence.response == "failed"):
            followed.settling = self._clock.callLater(SETTLE_S, self._end, call_id)

    # ---------------------------------------------------------------------------------------------- exactly once

    def _end(self, call_id: str, last: Evidence | None = None) -> None:
        followed = self._open.pop(call_id, None)
        if followed is None:
            return
        _cancel(followed.settling)
        self._inherited.discard(call_id)
        self._actions.pop(followed.action_id, None)
        evidence = followed.evidence if last is None else merge_evidence(followed.evidence, last)
        call = end_call(followed.call, evidence, self._now())
        self._ended[call_id] = CallEnded(call, evidence)
        self._keeper.save(call)

    def _take_saved(self, call: PlacedCall) -> None:
        if call.ended_at is not None:
            self._report(self._ended.pop(call.call_id))

    def _report(self, end: CallEnded) -> None:
        """Also where the database had it already: the answer to its commit was lost, or another node was sooner."""
        if self._loads:
            self._told.add(end.call.call_id)
        self._tell("ended", end.call)
        for callback in self._end_watchers:
            self._guard(callback, end)

    # ------------------------------------------------------------------------------------------------- comparing

    async def compare(self) -> None:
        """Compares what is open with Asterisk's channels; after each login, and now and then."""
        await self._load()
        before = set(self._open)
        if not before:
            return
        channels = {
            channel.uniqueid: channel
            for channel in map(Newchannel.read, await self._ami.send_list(actions.core_show_channels()))
        }
        for call_id in before & self._open.keys():
            channel = channels.get(call_id)
            if call_id not in self._open:
                continue  # it ended while another one was asked about
            if channel is None:
                await self._miss(call_id)
                continue
            self._open[call_id].missing_since = None
            self._observe(call_id, Evidence(has_channel=True, is_answered=channel.state == _UP))
            if self._open[call_id].evidence.is_cancelled:
                await self._hang_up_channel(channel.channel)
        if any(followed.missing_since is not None for followed in self._open.values()):
            _cancel(self._looking_again)
            self._looking_again = self._clock.callLater(LOOK_AGAIN_S, self._look_again)

    def _look_again(self) -> None:
        if self.running:
            self._supervise(self._compare_regularly())

    async def _miss(self, call_id: str) -> None:
        """Nowhere to be seen: over, as soon as Asterisk's own records say so; and after a while without their word."""
        followed = self._open[call_id]
        now = self._clock.seconds()
        if followed.missing_since is None:
            followed.missing_since = now
        # What events say of it may be on its way, and says more than a record.
        if now - followed.missing_since < min(SETTLE_S, self._grace_s):
            return
        found = await self._records.find_end(call_id)
        is_over = found is not None and found.is_hung_up
        if is_over or now - followed.missing_since >= self._grace_s:
            # Who was talking when a node died may be talking still, and must not be called: that one was answered.
            is_kept = call_id in self._inherited and followed.evidence.is_answered
            gap = Evidence() if is_over else Evidence(has_gap=True)
            self._end(call_id, merge_evidence(found or Evidence(is_lost=not is_kept), gap))

    async def _load(self) -> None:
        if self._clock.seconds() < self._load_at:
            return
        self._loads += 1
        try:
            found = await self._records.load_open()
            # What ended since the database was read must not come back.
            known = self._open.keys() | self._ended.keys() | self._told
        finally:
            self._loads -= 1
            if not self._loads:
                self._told.clear()
        for call in found:
            if call.call_id not in known:
                seen = Evidence(
                    is_trunk=call.is_trunk,
                    has_rung=call.ringing_at is not None,
                    is_answered=call.answered_at is not None,
                    is_machine=call.is_machine,
                    has_gap=True,
                )
                self._open[call.call_id] = _Followed(call, seen)
        self._load_at = self._clock.seconds() + LOAD_EVERY_S

    async def _compare_regularly(self) -> None:
        try:
            await self.compare()
        except AmiError as error:
            _log.debug("calls not compared: {error}", error=error)
        except Exception:  # noqa: BLE001 - the next time may do better
            _log.failure("calls could not be compared")

    def _note_gap(self) -> None:
        for followed in self._open.values():
            followed.evidence = merge_evidence(followed.evidence, Evidence(has_gap=True))

    # --------------------------------------------------------------------------------------------------- the rest

    async def _hang_up_channel(self, channel: str) -> None:
        try:
            await self._ami.send(actions.hangup(channel))
        except AmiRefused:
            _log.debug("{channel} is gone already", channel=channel)

    def _known(self, call_id: str) -> PlacedCall | None:
        if call_id in self._open:
            return self._open[call_id].call
        return self._ended[call_id].call if call_id in self._ended else None

    def _tell(self, kind: CallEventKind, call: PlacedCall) -> None:
        event = CallEvent(kind, call, self._now())
        for callback in self._watchers:
            self._guard(callback, event)

    @staticmethod
    def _guard(callback: Callable[[Any], None], value: object) -> None:
        try:
            callback(value)
        except Exception:  # noqa: BLE001 - a watcher's mistake must not end the call's story
            _log.failure("a watcher of calls failed")

    @staticmethod
    def _supervise(work: Any) -> None:
        Deferred.fromCoroutine(work).addErrback(
            lambda failure: None if failure.check(AmiError) else _log.failure("following calls failed", failure)
        )


def _cancel(timer: DelayedCall | None) -> None:
    if timer is not None and timer.active():
        timer.cancel()


def _originate(order: OriginateOrder, call_id: str) -> Action:
    return actions.originate(
        order.channel,
        channel_id=call_id,
        context=order.context,
        exten=order.exten,
        timeout_s=order.ring_timeout_s,
        caller_name=order.caller_name,
        caller_number=order.caller_number,
        account=order.account,
        variables=dict(order.variables),
    )
