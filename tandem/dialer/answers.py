"""Follows the dialer's calls: who answered, where they go, who took them, and that they are over; never ends a call.

What is told of an attempt here comes from Asterisk's events; the attempt itself is closed where its call is (`tandem.calls`).
"""

from collections.abc import Callable
from typing import Any

from tandem.ami.events import Dial
from tandem.ami.wire import Message
from tandem.dialer.desk import Desk
from tandem.domain.calls import CallEnded, CallEvent
from tandem.domain.campaign_calls import Served, choose_destination, tell_taken
from tandem.domain.campaigns import Campaign
from tandem.domain.destinations import EndpointDestination
from tandem.domain.disposition import Disposition
from tandem.domain.open_calls import AttemptStep, OpenCall, phone_of
from tandem.domain.surveys import Surveyed


class Answers:
    """Whom calls have reached. freed: called with the campaign whose call is over, or needs nobody."""

    def __init__(self, desk: Desk, freed: Callable[[int], None]) -> None:
        self._desk = desk
        self._freed = freed
        desk.calls.watch(self._take_step)
        desk.calls.watch_ends(self._take_end)

    def follow(self, ami: Any) -> None:
        """Hears from Asterisk who took a call."""
        ami.on("AgentCalled", self._take_ring)
        ami.on("AgentRingNoAnswer", self._take_no_answer)
        ami.on("AgentConnect", self._take_agent)
        ami.on("DialEnd", self._take_dial_end)

    def serve_answered(self, call_id: str) -> Served | None:
        """Where somebody goes who has answered; None for a call that is none of ours."""
        call = self._desk.board.calls.get(call_id)
        if call is None:
            return None
        # Paused or stopped meanwhile: whoever answers is served all the same.
        saved = self._desk.roster.find(call.campaign_id)
        if saved is None:
            return None
        now = self._desk.clock.seconds()
        self._desk.board.find_person(call, now)
        call.served_at = now
        facts = self._desk.around.queue_facts(call.queue) if call.queue else None
        if call.agent:
            return Served(EndpointDestination(endpoint=call.agent), f"dialled by hand for {call.agent}")
        if (taken := self._find_taken(saved.campaign)) is not None:
            return self._leave(call, taken)
        board = self._desk.board
        served = choose_destination(
            saved.campaign,
            facts,
            free=self._desk.count_free(call.queue, facts),
            waiting=board.count_waiting(call.queue, besides=call_id),
            rung=board.count_rung(call.queue),
        )
        if served.is_unserved:
            return self._leave(call, served)
        if not call.queue and not hasattr(served.destination, "endpoint"):
            self._connect(call_id, "")
        return served

    def _find_taken(self, campaign: Campaign) -> Served | None:
        phone = phone_of(campaign)
        return tell_taken(campaign, self._desk.around.phone_state(phone)) if phone else None

    def _leave(self, call: OpenCall, served: Served) -> Served:
        """They are told that nobody is free."""
        call.is_unserved = True
        self._desk.notes.note_abandoned(call.call_id, self._desk.now())
        return served

    def note_machine(self, call_id: str) -> bool:
        """An answering machine has answered; whether the call is one of ours."""
        call = self._desk.board.calls.get(call_id)
        if call is None:
            return False
        self._desk.board.find_machine(call, self._desk.clock.seconds())
        self._desk.calls.note_machine(call_id)
        # An agent who was kept for this call is free for another.
        self._freed(call.campaign_id)
        return True

    def find_surveyed(self, call_id: str) -> Surveyed | None:
        """Whom a call of ours has reached, for a survey."""
        call = self._desk.board.calls.get(call_id)
        return call.surveyed if call is not None else None

    def _take_step(self, event: CallEvent) -> None:
        if event.kind == "answered":
            self._desk.board.answer(event.call.call_id, self._desk.clock.seconds())
            if (call := self._desk.board.calls.get(event.call.call_id)) is not None:
                self._desk.tell(AttemptStep("answered", call.campaign_id, call.call_id))

    def _take_end(self, end: CallEnded) -> None:
        if not self._desk.is_loaded:
            self._desk.over.add(end.call.call_id)
        known = self._desk.board.calls.get(end.call.call_id)
        if known is None:
            return
        call = self._desk.board.end(known.call_id, self._desk.clock.seconds(), self._desk.wrap_up_s(known.queue))
        if call is None:
            return
        if call.trunk:
            self._desk.lines.note_end(call.trunk, is_dead=end.call.disposition is Disposition.TRUNK_DEAD)
        self._desk.tell(AttemptStep("ended", call.campaign_id, call.call_id, str(end.call.disposition or "")))
        self._freed(call.campaign_id)

    def _take_ring(self, message: Message) -> None:
        call = self._desk.board.calls.get(message.get("Uniqueid"))
        if call is not None and call.connected_at is None:
            self._desk.board.ring(call, self._desk.clock.seconds())

    def _take_no_answer(self, message: Message) -> None:
        call = self._desk.board.calls.get(message.get("Uniqueid"))
        if call is not None:
            self._desk.board.ring_no_more(call)

    def _take_agent(self, message: Message) -> None:
        self._connect(message.get("Uniqueid"), message.get("Interface") or message.get("MemberName"))

    def _take_dial_end(self, message: Message) -> None:
        dial = Dial.read(message)
        if dial.dialstatus == "ANSWER":
            self._connect(dial.uniqueid, dial.dest_channel.rpartition("-")[0])

    def _connect(self, call_id: str, agent: str) -> None:
        call = self._desk.board.calls.get(call_id)
        if call is None or call.connected_at is not None:
            return
        self._desk.board.connect(call, self._desk.clock.seconds())
        if call.is_agent_first:
            # What answered now is the number.
            agent = call.endpoint
        self._desk.notes.note_connected(call_id, self._desk.now(), agent.partition("/")[2] or agent)
        self._desk.tell(AttemptStep("connected", call.campaign_id, call_id))
