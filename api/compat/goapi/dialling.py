"""What all modules around campaigns share: campaigns by their short ids, transactions with an audit entry, lead fields and statuses in goAPI's words; declares no action."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final, TypeVar
from zoneinfo import ZoneInfo

from api.compat.goapi.actions import Call
from api.compat.goapi.speech import fail, fail_code
from api.declare import Reply
from api.exchange import Commit
from tandem.domain.campaigns import NumberStatus, RetryDisposition, SavedCampaign, SavedNumber
from tandem.store.campaign_codes import load_codes, save_code
from tandem.store.campaigns import load_campaigns

T = TypeVar("T")

LEAD_FIELDS: Final = (
    "vendor_lead_code", "title", "first_name", "middle_initial", "last_name", "address1", "address2", "address3", "city", "state",
    "province", "postal_code", "country_code", "gender", "date_of_birth", "alt_phone", "email", "security_phrase", "comments",
)  # fmt: skip
# What becomes of a call by itself and may be dialled again -> its code among the dial statuses.
RETRIED: Final[tuple[tuple[RetryDisposition, str], ...]] = (("busy", "B"), ("no-answer", "NA"), ("machine", "AA"))
# What became of a number of which no agent has said anything -> the field's custom word for it.
_BY_DISPOSITION: Final = {"busy": "B", "no-answer": "NA", "invalid-number": "DC", "answered": "PU"}


@dataclass(frozen=True, slots=True)
class Known:
    """A campaign as goAPI knows it. words: what a client said of it that is nothing to us."""

    saved: SavedCampaign
    code: str
    words: Mapping[str, Any] = field(default_factory=dict)

    @property
    def campaign_id(self) -> int:
        """Ours."""
        return self.saved.campaign_id

    @property
    def queue(self) -> str:
        """The in-group whose agents take its calls, of a survey those of people who press a key; '' for none."""
        found = getattr(self.saved.campaign.destination, "queue", "") or self.words.get("closer_campaigns", "")
        return str(found)


def read_known(db: Any, campaign_ids: Collection[int] | None = None) -> list[Known]:
    """All campaigns, or these; one that goAPI did not make is called by its number."""
    codes = load_codes(db)
    found = []
    for saved in load_campaigns(db, campaign_ids=campaign_ids):
        code = codes.get(saved.campaign_id)
        found.append(Known(saved, code.code, code.words) if code is not None else Known(saved, str(saved.campaign_id)))
    return found


async def list_known(call: Call) -> list[Known]:
    """Those that the group of whoever asks shows them, by goAPI's id, highest first."""
    found: list[Known] = await call.services.store.read(read_known)
    seen = [one for one in found if call.exchange.who.sees_campaign(one.campaign_id)]
    return sorted(seen, key=lambda one: one.code, reverse=True)


async def find_known(call: Call, name: str = "campaign_id") -> Known:
    """The campaign that a parameter names; 40001 without one, 41004 for one that is not there or not theirs."""
    code = call.given.text(name)
    if not code:
        raise fail_code("40001", name)
    for one in await list_known(call):
        if one.code == code:
            return one
    raise fail_code("41004", name)


Target = str | Mapping[str, int | None]


def commit(call: Call, target: Target, beside: Callable[[Any, Any], object] = lambda _db, _result: None) -> Commit[Any]:
    """A transaction of a use-case with its audit entry, and with what `beside(db, result)` does."""

    def reply(db: Any, result: Any) -> Reply:
        beside(db, result)
        return Reply()

    return Commit(call.exchange, target if isinstance(target, str) else lambda _: target, reply)


async def write(call: Call, target: Target, work: Callable[[Any], T]) -> T:
    """Work of one's own in such a transaction."""
    result: T = await commit(call, target)(work)
    return result


async def change(call: Call, known: Known, decide: Any, words: Mapping[str, Any] | None = None) -> None:
    """Another campaign in its place; one that is running pauses for it, and calls go on."""

    def beside(db: Any, _saved: SavedCampaign) -> None:
        if words is not None:
            save_code(db, known.campaign_id, known.code, words)

    target = commit(call, f"campaigns/{known.code}", beside)
    await call.services.campaigns.change_running(known.campaign_id, decide, commit=target)


def lead_status(number: SavedNumber) -> str:
    """What an agent said; else what became of the last call."""
    return tell_status(number.status, number.agent_status, number.disposition)


def tell_status(status: str, agent_status: str, disposition: str) -> str:
    """The same, of what is known of a number."""
    if status in (NumberStatus.CALLING, NumberStatus.ANSWERED):
        return "INCALL"
    if agent_status:
        return agent_status
    if disposition.startswith("dnc "):
        return "DNC"
    if disposition == "machine":
        # Left a message, or hung up on.
        return "AM" if status == NumberStatus.COMPLETED else "AA"
    return _BY_DISPOSITION.get(disposition, "NA" if disposition else "NEW")


def lead_data(number: SavedNumber) -> Mapping[str, Any]:
    """What is known of a person; a client may have put anything there."""
    return number.data if isinstance(number.data, dict) else {}


def read_id(call: Call, name: str, code: str = "40001") -> int:
    """A whole number that must be there; 41002 for what is none."""
    text = call.given.text(name)
    if not text:
        raise fail_code(code, name)
    if not text.isascii() or not text.isdecimal() or len(text) > 18:
        raise fail_code("41002", name)
    return int(text)


def read_choice(call: Call, name: str, choices: Mapping[str, T] | frozenset[str], code: str = "41006") -> str:
    """One of the choices in capitals, '' where nothing is said; else Said with the code."""
    value = call.given.text(name).upper()
    if value and value not in choices:
        raise fail_code(code, name)
    return value


def need(call: Call, *names: str) -> None:
    """40001 naming the first that is empty."""
    for name in names:
        if not call.given.text(name):
            raise fail_code("40001", name)


def refuse_rule(name: str, rule: str) -> Exception:
    """Form A with a parameter and its rule."""
    return fail(f"Error: {name} {rule}")


def zone_of(call: Call) -> ZoneInfo:
    """By whose clock days begin."""
    return ZoneInfo(call.services.live.current.general.time_zone)


def today_of(call: Call) -> datetime:
    """When today began, by the clock of the PBX."""
    now: datetime = call.services.now()
    return now.astimezone(zone_of(call)).replace(hour=0, minute=0, second=0, microsecond=0)


def read_span(call: Call, first: str, last: str) -> tuple[datetime, datetime]:
    """From a day or time to another, which is included; today without them."""
    found = []
    for name, default in ((first, today_of(call)), (last, today_of(call))):
        text = call.given.text(name)
        try:
            at = datetime.fromisoformat(text) if text else default
        except ValueError:
            raise fail_code("41004", f"{name}. A day such as 2026-03-01") from None
        at = at if at.tzinfo is not None else at.replace(tzinfo=zone_of(call))
        found.append(at + timedelta(days=1) if name == last and (len(text) <= 10) else at)
    if found[0] > found[1]:
        raise fail_code("41006", first)
    return found[0], found[1]
