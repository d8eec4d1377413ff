"""Recordings of calls as values: the names of their files and the arguments of MixMonitor; never touches a file.

A call is recorded in up to three files: `mixed`, `leg1` (what came from the recorded channel: the person who was called or who
calls) and `leg2` (what that channel heard); `answer1`, `answer2` … are what a person said in a survey. The name says all that is
needed to find them again: `CALLID-TIME-KIND.wav`.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Literal

RecordingKind = Literal["mixed", "leg1", "leg2", "answer"]
RecordingFormat = Literal["wav", "mp3", "ogg", "opus", "flac"]
SUFFIX: Final = ".wav"
_TIME: Final = "%Y%m%dT%H%M%SZ"
# A uniqueid: ours are 32 hex digits; Asterisk's own have its system name, if any, before seconds and a counter.
_CALL_ID: Final = re.compile(r"[A-Za-z0-9_.-]{1,100}")
_NAME: Final = re.compile(r"([A-Za-z0-9_.-]{1,100})-([0-9]{8}T[0-9]{6}Z)-(mixed|leg1|leg2|answer[0-9]{1,4})", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """One file of a recorded call. path: relative; converted_at: None while it is as Asterisk wrote it. id is 0 before it is kept."""

    id: int = 0
    name: str
    call_id: str
    kind: RecordingKind
    path: str
    started_at: datetime
    duration_s: float
    bytes: int
    format: RecordingFormat
    converted_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class RecordingName:
    """What the name of a file says."""

    call_id: str
    started_at: datetime
    kind: RecordingKind
    number: str = ""

    @property
    def stem(self) -> str:
        """The name without its suffix. number: of several of one kind."""
        return f"{self.call_id}-{self.started_at.astimezone(UTC).strftime(_TIME)}-{self.kind}{self.number}"


@dataclass(frozen=True, slots=True)
class MixMonitorFiles:
    """Where the three files of a call go, absolute, as Asterisk sees them."""

    mixed: str
    leg1: str
    leg2: str

    def write_arguments(self, options: str = "") -> str:
        """What `MixMonitor(…)` takes: `/spool/X-mixed.wav,r(/spool/X-leg1.wav)t(/spool/X-leg2.wav)`.

        `r()` is what comes from the channel, `t()` what it hears; `options`: more letters, such as `b` (only while bridged).
        """
        return f"{self.mixed},{options}r({self.leg1})t({self.leg2})"


def plan_recording(recordings_dir: str, call_id: str, at: datetime) -> MixMonitorFiles:
    """The files of a call whose recording starts at `at`; ValueError for an id or folder that MixMonitor's arguments could not hold."""
    if _CALL_ID.fullmatch(call_id) is None:
        raise ValueError(f"call_id: {call_id!r} must be up to 100 letters, digits or the signs _ . -")
    if re.fullmatch(r"(/[A-Za-z0-9_.-]+)+", recordings_dir) is None:
        raise ValueError(f"recordings_dir: {recordings_dir!r} holds a sign that Asterisk's dialplan would read")
    kinds: tuple[RecordingKind, ...] = ("mixed", "leg1", "leg2")
    return MixMonitorFiles(*(f"{recordings_dir}/{RecordingName(call_id, at, kind).stem}{SUFFIX}" for kind in kinds))


def read_recording_name(file_name: str) -> RecordingName | None:
    """What a file's name says; None for a file that is none of ours."""
    found = _NAME.fullmatch(file_name.removesuffix(SUFFIX)) if file_name.endswith(SUFFIX) else None
    if found is None:
        return None
    try:
        started_at = datetime.strptime(found[2], _TIME).replace(tzinfo=UTC)
    except ValueError:
        return None
    kinds: dict[str, RecordingKind] = {"mixed": "mixed", "leg1": "leg1", "leg2": "leg2"}
    if found[3] in kinds:
        return RecordingName(found[1], started_at, kinds[found[3]])
    return RecordingName(found[1], started_at, "answer", found[3].removeprefix("answer"))
