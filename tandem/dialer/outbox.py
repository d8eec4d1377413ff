"""What is claimed, on its way to Asterisk: each claim is sent once, or dropped where others have taken it over; never claims anything itself."""

from collections import deque
from collections.abc import Iterable

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from tandem.ami.errors import AmiError
from tandem.dialer.desk import Desk
from tandem.domain.open_calls import AttemptStep, OpenCall, queue_of, trunk_of
from tandem.domain.surveys import describe_surveyed
from tandem.store.attempt_claims import Claim

_log = Logger()


class Outbox:
    """Claims that wait for their turn of the reactor."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._claims: deque[Claim] = deque()
        desk.lease.on_lost(self.drop)

    def __len__(self) -> int:
        return len(self._claims)

    def add(self, claims: Iterable[Claim], agent: str = "") -> None:
        """They count from now on. agent: the endpoint that they are dialled for by hand."""
        now = self._desk.clock.seconds()
        for claim in claims:
            self._note(claim, now, agent)
            self._claims.append(claim)

    def _note(self, claim: Claim, now: float, agent: str) -> None:
        saved = claim.campaign
        self._desk.board.calls[claim.call.call_id] = OpenCall(
            claim.call.call_id,
            saved.campaign_id,
            trunk_of(saved),
            "" if agent else queue_of(saved.campaign),
            saved.campaign.call_timeout_s,
            now,
            agent=agent,
            is_listened_to=not agent and saved.campaign.on_machine != "connect",
            surveyed=describe_surveyed(claim.number, saved.campaign.destination, claim.customer),
            endpoint=agent or getattr(saved.campaign.destination, "endpoint", ""),
            is_agent_first=saved.campaign.agent_first and not agent,
        )
        self._desk.lines.note_claim(saved)
        self._desk.tell(AttemptStep("claimed", saved.campaign_id, claim.call.call_id))

    def send(self, amount: int | None = None) -> None:
        """The next `amount` of what is claimed and not sent yet; None is all of it."""
        for _ in range(len(self._claims) if amount is None else min(amount, len(self._claims))):
            Deferred.fromCoroutine(self._send(self._claims.popleft()))

    def drop(self) -> None:
        """Others have taken over what was claimed and not sent: they may have dialled it again."""
        while self._claims:
            self._desk.calls.drop(self._claims.popleft().call)

    async def _send(self, claim: Claim) -> None:
        if not self._desk.lease.is_held:
            self._desk.calls.drop(claim.call)
            return
        try:
            await self._desk.calls.place(claim.order, call_id=claim.call.call_id, record=_is_recorded)
        except AmiError as error:
            # The call is over for `Calls`, and its end comes back to us from there.
            _log.info(
                "{call} to {number}: {error}", call=claim.call.call_id, number=claim.number.phone_number, error=error
            )
        except Exception:  # noqa: BLE001 - one number must not stop the others
            _log.failure("{call} was not placed", call=claim.call.call_id)


async def _is_recorded(_call: object) -> None:
    """The claim has kept the call already."""
