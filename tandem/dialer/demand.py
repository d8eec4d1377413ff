"""How many numbers each campaign may dial now: its own pace, the limits, the trunks and the PBX together; dials nothing."""

from collections.abc import Mapping
from typing import Final

from tandem.dialer.desk import Desk
from tandem.domain.campaigns import SavedCampaign
from tandem.domain.open_calls import measure, phone_of, policy_of, queue_of, trunk_of
from tandem.domain.pacing import Live, Policy, pace
from tandem.domain.shares import Demand, share
from tandem.domain.why import Conditions
from tandem.store.attempt_claims import ClaimRefused

# Before the name of a phone that is counted on, where queues are named too: no queue's name has a blank.
_PHONE: Final = "endpoint "


class Demands:
    """Reads the desk, changes nothing."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def divide(self) -> dict[int, int]:
        """How many each campaign may claim now."""
        desk = self._desk
        now = desk.clock.seconds()
        trunk_calls = desk.board.count_trunks()
        trunks: dict[str, int] = {}
        demands = []
        spoken_for: dict[str, int] = {}
        for saved in sorted(desk.roster.running.values(), key=lambda one: (-one.campaign.priority, one.campaign_id)):
            # Without its trunk or destination every number would be refused for good: it waits for the PBX to have them again.
            if desk.roster.idle.get(saved.campaign_id, 0.0) > now or desk.find_misfit(saved):
                continue
            trunk = trunk_of(saved)
            if trunk not in trunks:
                known = desk.around.snapshot().trunks.get(trunk)
                trunks[trunk] = desk.lines.room_on_trunk(trunk, known, trunk_calls.get(trunk, 0))
            want = self._pace(saved, now, spoken_for)
            if want:
                demands.append(
                    Demand(
                        campaign=saved.campaign_id,
                        trunk=trunk,
                        want=want,
                        weight=saved.campaign.priority,
                        held=sum(1 for _ in desk.board.of_campaign(saved.campaign_id)),
                        served=desk.lines.turns_of(saved.campaign_id),
                    )
                )
        capacity = desk.lines.room_in_all(len(desk.board.calls), desk.brake.speed)
        return {campaign: amount for campaign, amount in share(demands, capacity, trunks).items() if amount}

    def _pace(self, saved: SavedCampaign, now: float, spoken_for: dict[str, int]) -> int:
        """What one campaign may dial by its own rules. spoken_for: queue or phone -> agents that campaigns before it count on."""
        want = self._desk.lines.room_of_campaign(saved, pace(*self._read_pacing(saved, now, spoken_for), now))
        queue, phone = queue_of(saved.campaign), phone_of(saved.campaign)
        unserved = sum(
            not call.has_agent and not call.is_unserved and not call.is_machine
            for call in self._desk.board.of_campaign(saved.campaign_id)
        )
        needed = queue or (_PHONE + phone)
        spoken_for[needed] = spoken_for.get(needed, 0) + want + (unserved if queue else 0)
        return want

    def list_phones(self) -> set[str]:
        """The endpoints whose phones a running campaign waits for."""
        running = self._desk.roster.running.values()
        return {phone for saved in running if (phone := phone_of(saved.campaign))}

    def _read_pacing(self, saved: SavedCampaign, now: float, spoken_for: Mapping[str, int]) -> tuple[Policy, Live]:
        """What `pace` takes."""
        board, around = self._desk.board, self._desk.around
        queue = queue_of(saved.campaign)
        facts = around.queue_facts(queue) if queue else None
        free = None
        if facts is not None:
            free = max(0, self._desk.count_free(queue, facts) - spoken_for.get(queue, 0))
        elif phone := phone_of(saved.campaign):
            free = board.count_free_phone(phone, around.phone_state(phone))
            if spoken_for.get(_PHONE + phone):
                free = 0
        days = self._desk.roster.days.get(saved.campaign_id, ())
        live = measure(
            list(board.of_campaign(saved.campaign_id)),
            agents_free=free,
            wrap_ends=board.list_wrap_ends(queue, now),
            answered_live=sum(day.answered for day in days),
            abandoned=sum(day.abandoned for day in days),
            experience=board.tally(saved.campaign_id).experience(),
        )
        return policy_of(saved.campaign), live

    def weigh(self, saved: SavedCampaign) -> Conditions:
        """What keeps a campaign's numbers from being dialled now, or does not, whatever the number."""
        desk = self._desk
        now, trunk = desk.clock.seconds(), trunk_of(saved)
        known = desk.around.snapshot().trunks.get(trunk)
        policy, live = self._read_pacing(saved, now, {})
        return Conditions(
            is_ready=desk.around.is_ready(),
            calls=len(desk.board.calls),
            max_calls=desk.lines.limits.max_calls,
            trunk=trunk,
            trunk_calls=desk.board.count_trunks().get(trunk, 0),
            trunk_limit=known.max_calls if known is not None else 0,
            breaker=desk.lines.breaker_of(trunk),
            is_locked=desk.lines.is_locked(trunk),
            campaign_calls=live.in_flight + live.connected,
            agents_free=live.agents_free,
            wanted=pace(policy, live, now),
            speed=desk.brake.speed,
            problem=desk.problem or desk.find_misfit(saved) or None,
        )

    def check_room(self, saved: SavedCampaign) -> None:
        """ClaimRefused where the PBX or the trunk takes no further call."""
        desk = self._desk
        if misfit := desk.find_misfit(saved):
            raise ClaimRefused(f"the campaign does not dial: {misfit}")
        trunk = trunk_of(saved)
        if desk.lines.room_in_all(len(desk.board.calls), desk.brake.speed) < 1:
            raise ClaimRefused("the PBX takes no further call now")
        if (
            desk.lines.room_on_trunk(
                trunk, desk.around.snapshot().trunks.get(trunk), desk.board.count_trunks().get(trunk, 0)
            )
            < 1
        ):
            raise ClaimRefused(f"trunk {trunk} takes no further call now")
