"""CDRs: Asterisk's own records (CEL, CDR) as changes of legs, legs joined to calls, a call's legs as one CDR; pure, and never believes a record twice.

The same records read again, or in another order, give the same legs: what is written down is the union of what was said.
"""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal

from pydantic import PlainSerializer

from tandem.domain.calls import PlacedCall
from tandem.domain.dialplan import CONTEXT_PROBE
from tandem.domain.disposition import Disposition, Evidence, classify

Direction = Literal["inbound", "outbound", "internal"]
MAX_TEXT: Final = 80


def _utc(at: float) -> datetime:
    return datetime.fromtimestamp(at, UTC)


# Seconds since 1970 for us, told to others as a time.
EpochTime = Annotated[float, PlainSerializer(_utc, return_type=datetime, when_used="json")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Leg:
    """One channel as the records show it; times are seconds since 1970. As a *change* it holds only what one record says."""

    uniqueid: str
    call_id: str
    channel: str = ""
    caller: str = ""
    exten: str = ""
    account: str = ""
    application: str = ""
    started_at: EpochTime | None = None
    answered_at: EpochTime | None = None
    ended_at: EpochTime | None = None
    cause: int = 0
    is_far_hangup: bool = False
    is_lost: bool = False

    @property
    def is_over(self) -> bool:
        """Nothing more will come, as far as we know."""
        return self.ended_at is not None or self.is_lost

    @property
    def endpoint(self) -> str:
        """`carrier` of `PJSIP/carrier-0000002a`; '' for other channels."""
        technology, _, rest = self.channel.partition("/")
        return rest.rpartition("-")[0] if technology == "PJSIP" else ""

    @property
    def is_party(self) -> bool:
        """A Local channel is nobody."""
        return not self.channel.startswith("Local/")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cdr:
    """One call, whole. ring_s, hold_s and talk_s add up to duration_s.

    ring_s: until it was answered at all. talk_s: while two parties or more were there. hold_s: the rest of the answered time, in
    menus, queues and transfers. ended_at: None where Asterisk died meanwhile; then only ring_s is known. endpoint: who answered, else
    who was asked first. route: what was decided, else the last application. cause: Q.850, 0 for none.
    project, external_id: what whoever placed it calls it.
    """

    call_id: str
    direction: Direction
    is_placed: bool
    caller: str
    called: str
    trunk: str
    endpoint: str
    queue: str
    route: str
    account: str
    started_at: datetime
    answered_at: datetime | None
    ended_at: datetime | None
    ring_s: float
    hold_s: float
    talk_s: float
    duration_s: float
    disposition: Disposition
    cause: int
    project: str = ""
    external_id: str = ""
    legs: tuple[Leg, ...] = field(default=(), compare=False)


# ------------------------------------------------------------------------------------------------- reading records
#
# What Asterisk writes is nearly JSON: a quote in a value gets a backslash, but a backslash gets none, and a line's end or another
# control character stays as it is. A stranger's number can so break a line in two, or swallow the quote that ends it. What no value can
# hold is a key: a quote right after a comma or a brace, letters, a quote and a colon. By that, records and keys are told from values.

_RECORD_END: Final = b'"}\n'
_OPENED: Final = re.compile(rb'[,{]"[a-z]{1,20}":\Z')
_SECONDS: Final = re.compile(r"[0-9]{1,11}(\.[0-9]{1,6})?")
_TOLD: Final = frozenset({"CHAN_START", "ANSWER", "HANGUP"})
_KEY: Final = re.compile(r'[,{]"([a-z]{1,20})":')


def find_records_end(data: bytes) -> int:
    """How many bytes of `data` are whole records."""
    end = data.rfind(_RECORD_END)
    # A quote in a value; or the one before a value that begins so.
    while end > 0 and (data[end - 1 : end] == b"\\" or _OPENED.search(data, max(0, end - 24), end)):
        end = data.rfind(_RECORD_END, 0, end)
    return end + len(_RECORD_END) if end >= 0 else 0


def split_records(data: bytes) -> list[bytes]:
    """Whole records, one by one."""
    return re.split(rb'\n(?=\{"[a-z]{1,20}":)', data)


def read_cel(record: bytes) -> Leg | None:
    """What one of cel_custom's JSON records says of a leg; None for other events, and for what is no record."""
    row = _read_fields(record)
    event = row.get("eventtype")
    if event not in _TOLD or (at := _read_time(row.get("eventtime", ""))) is None:
        return None
    channel = _clean(row.get("channame", ""))
    match event:
        case "CHAN_START":
            # Later events may show other numbers: those of a transfer, or what the dialplan set.
            return _read_leg(
                row,
                channel=channel,
                started_at=at,
                caller=_clean(row.get("num", "")),
                exten=_clean(row.get("exten", "")),
                account=_clean(row.get("accountcode", "")),
            )
        case "ANSWER":
            return _read_leg(row, channel=channel, answered_at=at)
    why = _read_fields(row.get("eventextra", "").encode())
    cause = why.get("hangupcause", "")
    return _read_leg(
        row,
        channel=channel,
        ended_at=at,
        cause=int(cause) if cause.isascii() and cause.isdigit() and int(cause[:4]) < 128 else 0,
        is_far_hangup=channel != "" and why.get("hangupsource") == channel,
    )


def read_cdr(record: bytes) -> Leg | None:
    """What one of cdr_custom's JSON records says: the last application. The rest of a CDR is not the leg's: a transfer splits it, a queue multiplies it."""
    row = _read_fields(record)
    name, data = _clean(row.get("lastapp", "")), _clean(row.get("lastdata", ""))
    return _read_leg(row, channel=_clean(row.get("channel", "")), application=f"{name}({data})") if name else None


def _read_fields(record: bytes) -> dict[str, str]:
    """Key -> value as text; the first of a name counts."""
    _, *parts = _KEY.split(record.decode("utf-8", "replace").rstrip().removesuffix("}"))
    fields: dict[str, str] = {}
    for key, value in zip(parts[::2], parts[1::2], strict=True):
        text = value[1:-1] if len(value) > 1 and value.startswith('"') and value.endswith('"') else value
        fields.setdefault(key, text.replace('\\"', '"'))
    return fields


def _read_leg(row: Mapping[str, str], **said: Any) -> Leg | None:
    """What was said of the leg that a record names; None where it names none, and for a test call of ours, which is nobody's."""
    channel = said.get("channel", "")
    if channel.startswith("Local/") and f"@{CONTEXT_PROBE}-" in channel:
        return None
    uniqueid, linkedid = row.get("uniqueid", ""), row.get("linkedid", "")
    # 150 is AST_MAX_PUBLIC_UNIQUEID.
    if not all(0 < len(name) <= 150 and name.isprintable() for name in (uniqueid, linkedid)):
        return None
    return Leg(uniqueid=uniqueid, call_id=linkedid, **said)


def _read_time(text: str) -> float | None:
    """Seconds since 1970, with or without a fraction."""
    at = float(text) if _SECONDS.fullmatch(text) else 0.0
    return at if at > 0 else None


def _clean(text: str) -> str:
    """A stranger's text, cut down to something that fits on a line."""
    text = text[:MAX_TEXT]
    return text if text.isprintable() else "".join(sign for sign in text if sign.isprintable())


# --------------------------------------------------------------------------------------------------- joining legs


@dataclass(slots=True)
class Joined:
    """Legs by uniqueid and the calls they belong to; `apply_records` changes it, whoever loaded it saves it.

    aliases: linkedid -> call, where that is another. touched: calls with news. absorbed: calls that are part of another now.
    """

    legs: dict[str, Leg]
    aliases: dict[str, str] = field(default_factory=dict)
    changed: set[str] = field(default_factory=set)
    touched: set[str] = field(default_factory=set)
    absorbed: dict[str, str] = field(default_factory=dict)

    def legs_of(self, call_id: str) -> list[Leg]:
        """The legs of one call."""
        return [leg for leg in self.legs.values() if leg.call_id == call_id]

    def by_call(self) -> dict[str, list[Leg]]:
        """The legs of every call."""
        calls: dict[str, list[Leg]] = {}
        for leg in self.legs.values():
            calls.setdefault(leg.call_id, []).append(leg)
        return calls


def apply_records(book: Joined, changes: Iterable[Leg]) -> None:
    """Takes changes in. A leg whose linkedid changed (calls merged, a transfer) joins the two calls to one, the older."""
    for change in changes:
        call_id = book.aliases.get(change.call_id, change.call_id)
        known = book.legs.get(change.uniqueid)
        if known is not None and known.call_id != call_id:
            call_id = _join(book, known.call_id, call_id)
            known = book.legs[change.uniqueid]
        said = change if change.call_id == call_id else replace(change, call_id=call_id)
        merged = said if known is None else _merge(known, said)
        book.touched.add(call_id)
        if merged != known:
            book.legs[change.uniqueid] = merged
            book.changed.add(change.uniqueid)


def _join(book: Joined, one: str, other: str) -> str:
    """The call that both are from now on."""
    kept, gone = sorted((one, other), key=lambda call_id: (_began(book, call_id), call_id))
    for uniqueid, leg in book.legs.items():
        if leg.call_id == gone:
            book.legs[uniqueid] = replace(leg, call_id=kept)
            book.changed.add(uniqueid)
    for mapping in (book.aliases, book.absorbed):
        for linkedid, call_id in mapping.items():
            if call_id == gone:
                mapping[linkedid] = kept
        mapping[gone] = kept
    book.touched.discard(gone)
    return kept


def _began(book: Joined, call_id: str) -> float:
    return min((leg.started_at for leg in book.legs_of(call_id) if leg.started_at is not None), default=float("inf"))


def _merge(known: Leg, change: Leg) -> Leg:
    """What both say, whichever comes first."""
    ends = change.ended_at is not None and known.ended_at is None
    return Leg(
        uniqueid=known.uniqueid,
        call_id=change.call_id,
        channel=known.channel or change.channel,
        caller=known.caller or change.caller,
        exten=known.exten or change.exten,
        account=known.account or change.account,
        # Of several CDRs of a leg the one that waited in a queue says most.
        application=max(known.application, change.application, key=lambda text: (text.startswith("Queue("), text)),
        started_at=_earlier(known.started_at, change.started_at),
        answered_at=_earlier(known.answered_at, change.answered_at),
        ended_at=change.ended_at if ends else known.ended_at,
        cause=change.cause if ends else known.cause,
        is_far_hangup=change.is_far_hangup if ends else known.is_far_hangup,
        is_lost=(known.is_lost or change.is_lost) and known.ended_at is None and change.ended_at is None,
    )


def _earlier(one: float | None, other: float | None) -> float | None:
    if one is None or other is None:
        return one if other is None else other
    return min(one, other)


# ------------------------------------------------------------------------------------------------------- one CDR


def compose_cdr(
    call_id: str, legs: Sequence[Leg], trunks: Collection[str], placed: PlacedCall | None = None, route: str = ""
) -> Cdr | None:
    """The CDR of a call whose legs are all over; None while one is up, and where nothing says when it began.

    trunks: the names of trunks. placed: what Calls knows, where Tandem placed the call; its disposition wins. route: what was decided.
    """
    if not legs or not all(leg.is_over for leg in legs):
        return None
    timed = sorted(
        legs, key=lambda leg: (leg.uniqueid != call_id if placed else False, _known_start(leg), leg.uniqueid)
    )
    first = next((leg for leg in timed if leg.is_party or placed), timed[0])
    began = min((_known_start(leg) for leg in legs), default=float("inf"))
    if began == float("inf"):
        return None
    is_lost = any(leg.is_lost for leg in legs)
    ended = None if is_lost else max(leg.ended_at or began for leg in legs)
    answered = first.answered_at
    duration_s = ended - began if ended is not None else 0.0
    ring_s = (answered if answered is not None else ended if ended is not None else began) - began
    talk_s = 0.0 if ended is None or answered is None else _measure_talk(legs, answered)
    disposition = (
        placed.disposition
        if placed is not None and placed.disposition is not None
        else _classify(first, is_lost=is_lost, is_caller=placed is None)
    )
    applications = [leg.application for leg in timed if leg.application]
    return Cdr(
        call_id=call_id,
        direction=_direction(first, legs, trunks, is_placed=placed is not None),
        is_placed=placed is not None,
        caller=first.caller if placed is None else _last_word(placed.origin),
        called=first.exten if placed is None else _last_word(placed.destination),
        trunk=next((leg.endpoint for leg in timed if leg.endpoint in trunks), ""),
        endpoint=_find_endpoint(first, timed, trunks),
        queue=next((name for name in map(_queue_of, applications) if name), ""),
        route=route
        or (f"{placed.origin}, {placed.destination}" if placed is not None else next(iter(applications), "")),
        account=next((leg.account for leg in timed if leg.account), ""),
        started_at=_utc(began),
        answered_at=_utc(answered) if answered is not None else None,
        ended_at=_utc(ended) if ended is not None else None,
        ring_s=round(ring_s, 3),
        hold_s=round(max(0.0, duration_s - ring_s - talk_s), 3) if ended is not None else 0.0,
        talk_s=round(talk_s, 3),
        duration_s=round(duration_s if ended is not None else ring_s, 3),
        disposition=disposition,
        cause=first.cause,
        project=placed.project if placed is not None else "",
        external_id=placed.external_id if placed is not None else "",
        legs=tuple(timed),
    )


def _measure_talk(legs: Iterable[Leg], since: float) -> float:
    """For how long two answered parties or more were there, in seconds."""
    edges = []
    for leg in legs:
        if leg.is_party and leg.answered_at is not None and leg.ended_at is not None:
            edges += [(max(since, leg.answered_at), 1), (max(since, leg.ended_at), -1)]
    talk_s, present, before = 0.0, 0, since
    for at, step in sorted(edges):
        if present > 1:
            talk_s += at - before
        present, before = present + step, at
    return talk_s


# A CANCEL of the caller is 127 on the caller's own leg (SIP 487); where we call, 127 means that the far end failed.
_GAVE_UP: Final = frozenset({0, 16, 127})


def _classify(first: Leg, *, is_lost: bool, is_caller: bool) -> Disposition:
    gave_up = is_caller and first.cause in _GAVE_UP
    return classify(
        Evidence(
            has_channel=True,
            has_gap=True,
            is_answered=first.answered_at is not None,
            is_hung_up=first.ended_at is not None and not is_lost,
            is_far_hangup=first.is_far_hangup and not gave_up,
            is_cancelled=gave_up,
            cause=first.cause,
            is_lost=is_lost,
        )
    )


def _direction(first: Leg, legs: Iterable[Leg], trunks: Collection[str], *, is_placed: bool) -> Direction:
    if first.endpoint in trunks and not is_placed:
        return "inbound"
    return "outbound" if any(leg.endpoint in trunks for leg in legs) else "internal"


def _find_endpoint(first: Leg, legs: Sequence[Leg], trunks: Collection[str]) -> str:
    phones = [leg for leg in legs if leg.endpoint and leg.endpoint not in trunks]
    others = [leg for leg in phones if leg is not first]
    asked = [leg for leg in others if leg.answered_at is not None] or others
    if first.endpoint and first.endpoint not in trunks and any(leg.endpoint in trunks for leg in legs):
        asked = [first]  # a phone that called outside
    return (asked or phones or [Leg(uniqueid="", call_id="")])[0].endpoint


def _queue_of(application: str) -> str:
    name, _, data = application.partition("(")
    return data.rstrip(")").partition(",")[0] if name == "Queue" else ""


def _last_word(words: str) -> str:
    return words.rpartition(" ")[2]


def _known_start(leg: Leg) -> float:
    known = [at for at in (leg.started_at, leg.answered_at, leg.ended_at) if at is not None]
    return min(known, default=float("inf"))
