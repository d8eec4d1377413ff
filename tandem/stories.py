"""The last calls, each with its decisions and its CDRs, kept in memory for `tandem calls`; never the record of anything: that is the ledger's."""

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from tandem.domain.decisions import Decision

# As cdr_manager.c writes them; what an admin's [mappings] add comes after.
CDR_HEADERS: Final = (
    *("Event", "Privilege", "AccountCode", "Source", "Destination", "DestinationContext", "CallerID", "Channel"),
    *("DestinationChannel", "LastApplication", "LastData", "StartTime", "AnswerTime", "EndTime", "Duration"),
    *("BillableSeconds", "Disposition", "AMAFlags", "UniqueID", "UserField"),
)


@dataclass(frozen=True, slots=True)
class CallRecord:
    """One CDR as Asterisk reported it. Times of Asterisk are text in its own zone; durations in seconds."""

    uniqueid: str
    linkedid: str
    channel: str
    other_channel: str
    source: str
    destination: str
    disposition: str
    started_at: str
    duration_s: int
    talk_s: int
    last_application: str


@dataclass(slots=True)
class Story:
    """A call so far, by the uniqueid of its first channel."""

    uniqueid: str
    decisions: list[Decision] = field(default_factory=list)
    records: list[CallRecord] = field(default_factory=list)


class Stories:
    """Keeps the last `kept` calls; the oldest goes first.

    What comes over AMI may be a stranger's text. So a CDR is taken only for a call that FastAGI decided, and only whole, with every
    header that cdr_manager writes, in its order: the 80 bytes of a forged number cannot hold them all.
    """

    RECORDS_PER_CALL = 50

    def __init__(self, kept: int) -> None:
        self._kept = kept
        self._stories: OrderedDict[str, Story] = OrderedDict()
        # A caller who hangs up in a menu: the CDR may be here before the script has noticed.
        self._unclaimed: OrderedDict[str, list[CallRecord]] = OrderedDict()

    def __iter__(self) -> Iterator[Story]:
        """Newest first."""
        return reversed(self._stories.values())

    def __len__(self) -> int:
        return len(self._stories)

    def record_decision(self, decision: Decision) -> None:
        """Adds a decision to its call's story."""
        story = self._stories.get(decision.uniqueid)
        if story is None:
            story = self._stories[decision.uniqueid] = Story(decision.uniqueid)
            story.records += self._unclaimed.pop(decision.uniqueid, [])
            if len(self._stories) > self._kept:
                self._stories.popitem(last=False)
        if len(story.decisions) < self.RECORDS_PER_CALL:
            story.decisions.append(decision)

    def record_cdr(self, headers: Sequence[tuple[str, str]]) -> bool:
        """Takes the headers of an AMI `Cdr` event (cdr_manager, with LinkedID mapped); whether it belongs to a known call.

        One of an unknown call is kept for a while: its decision may come yet.
        """
        event = dict(headers)
        if tuple(name for name, _ in headers)[: len(CDR_HEADERS)] != CDR_HEADERS or len(event) != len(headers):
            return False
        record = _read_record(event)
        story = self._stories.get(record.linkedid) or self._stories.get(record.uniqueid)
        if story is None:
            self._keep_unclaimed(record)
            return False
        if len(story.records) >= self.RECORDS_PER_CALL:
            return False
        story.records.append(record)
        return True

    def _keep_unclaimed(self, record: CallRecord) -> None:
        """For the case that a decision on its call comes yet; no more of them than stories."""
        records = self._unclaimed.setdefault(record.linkedid or record.uniqueid, [])
        if len(records) < self.RECORDS_PER_CALL:
            records.append(record)
        if len(self._unclaimed) > self._kept:
            self._unclaimed.popitem(last=False)


def _read_record(event: Mapping[str, str]) -> CallRecord:
    return CallRecord(
        uniqueid=event.get("UniqueID", ""),
        linkedid=event.get("LinkedID", ""),
        channel=event.get("Channel", ""),
        other_channel=event.get("DestinationChannel", ""),
        source=event.get("Source", ""),
        destination=event.get("Destination", ""),
        disposition=event.get("Disposition", ""),
        started_at=event.get("StartTime", ""),
        duration_s=_read_seconds(event.get("Duration", "")),
        talk_s=_read_seconds(event.get("BillableSeconds", "")),
        last_application=event.get("LastApplication", ""),
    )


def _read_seconds(text: str) -> int:
    return int(text) if text.isdecimal() and len(text) < 10 else 0
