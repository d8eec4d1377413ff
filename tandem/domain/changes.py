"""What a change of the configuration is, what became of it and why it was refused, as plain values; never computes or does one."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

Kind = Literal["added", "changed", "removed"]
Stage = Literal["settings", "tests", "render", "check", "reload", "live", "probe"]

MASK: Final = "********"
_STAGE_WORDS: Final[dict[Stage, str]] = {
    "settings": "Asterisk could not use what the settings name",
    "tests": "calls would not go where the route tests expect them",
    "render": "a template of the site's cannot be used",
    "check": "the check in a throw-away Asterisk found",
    "reload": "Asterisk could not load it",
    "live": "Asterisk does not have what it should",
    "probe": "after the switch it was not as well as before",
}


@dataclass(frozen=True, slots=True)
class FieldChange:
    """A field before and after, as text; None where there was, or will be, none. Secrets are masked on both sides."""

    name: str
    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True)
class ObjectChange:
    """An object that two revisions do not have alike; its fields only where it is in both."""

    collection: str
    key: str
    change: Kind
    fields: tuple[FieldChange, ...] = ()


@dataclass(frozen=True, slots=True)
class FileDiff:
    """A file of the configuration, and what changes in it; secrets are masked."""

    name: str
    change: Kind
    diff: str


@dataclass(frozen=True, slots=True)
class MissingSound:
    """A sound that nobody has uploaded yet, and who would play it: nothing is heard in its place, and the call goes on."""

    object: str
    field: str
    sound: str


@dataclass(frozen=True, slots=True)
class PlanView:
    """What an apply would do. live: the revision that Asterisk has; None before the first apply. modules: what would be reloaded.

    missing_sounds refuse nothing: a phone may record them later.
    """

    head: int
    live: int | None
    objects: tuple[ObjectChange, ...]
    files: tuple[FileDiff, ...]
    modules: tuple[str, ...]
    hand_edits: tuple[FileDiff, ...]
    missing_sounds: tuple[MissingSound, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to do."""
        return not (self.objects or self.files or self.modules) and self.head == self.live


@dataclass(frozen=True, slots=True)
class PlannedView:
    """What applying documents would do, kept under an id. revision: what it was applied as; None until then."""

    plan_id: str
    created_at: datetime
    author: str
    note: str
    plan: PlanView
    revision: int | None = None


@dataclass(frozen=True, slots=True)
class DriftView:
    """In what database, files on the disk and the live Asterisk differ; all empty where they agree.

    objects: what the newest revision has and the live one has not; files: what would be written for the live revision against what
    is there; asterisk: in what the live Asterisk differs from the live revision, `checked` objects were asked about.
    """

    head: int
    live: int | None
    objects: tuple[ObjectChange, ...]
    files: tuple[FileDiff, ...]
    asterisk: tuple["Complaint", ...]
    checked: int

    @property
    def is_none(self) -> bool:
        """Whether all three agree."""
        return self.head == self.live and not (self.objects or self.files or self.asterisk)


@dataclass(frozen=True, slots=True)
class AppliedView:
    """What an apply did. live: whether the revision is live now (not after a dry run).

    changed: files; reloaded: modules; both empty: Asterisk had it already. check: `passed`, `nothing to check`, or `skipped: ` and why.
    verified: how many objects the live Asterisk was asked about.
    """

    revision: int
    live: bool
    generation: str | None
    changed: tuple[str, ...]
    reloaded: tuple[str, ...]
    check: str
    verified: int
    took_s: float
    plan: PlanView | None = None


@dataclass(frozen=True, slots=True)
class RevisionView:
    """A revision for the history; live_since where it is the one that Asterisk has."""

    number: int
    created_at: datetime
    author: str
    note: str
    added: int
    changed: int
    removed: int
    is_head: bool
    live_since: datetime | None


@dataclass(frozen=True, slots=True)
class RevisionDetail:
    """A revision, and what it changed."""

    revision: RevisionView
    objects: tuple[ObjectChange, ...]


@dataclass(frozen=True, slots=True)
class Complaint:
    """One reason for a refusal. object: such as `endpoints.1001`, or a file; field: of the object, empty where none can be named."""

    object: str
    field: str
    reason: str

    def __str__(self) -> str:
        return f"{self.object}{f'.{self.field}' if self.field else ''}: {self.reason}"


class ApplyRefused(Exception):
    """The change was not made, or was taken back: what was live before is live."""

    def __init__(self, stage: Stage, problems: tuple[Complaint, ...], aftermath: str = "") -> None:
        listed = "; ".join(map(str, problems[:20])) + (f"; and {len(problems) - 20} more" if len(problems) > 20 else "")
        super().__init__(f"{_STAGE_WORDS[stage]}: {listed}{f' ({aftermath})' if aftermath else ''}")
        self.stage, self.problems, self.aftermath = stage, problems, aftermath


class HandEdited(Exception):
    """Somebody changed generated files by hand; `files` names them. Applying would lose what they did."""

    def __init__(self, generation: str, files: tuple[str, ...]) -> None:
        super().__init__(
            f"edited by hand in generation {generation}: {', '.join(files)} "
            "(`tandem config edits` shows what; `adopt` or `discard` it)"
        )
        self.generation, self.files = generation, files


class EditNotAdoptable(Exception):
    """A hand edit that cannot be kept; `problems` names each line."""

    def __init__(self, problems: tuple[Complaint, ...]) -> None:
        super().__init__("this cannot be adopted: " + "; ".join(map(str, problems)))
        self.problems = problems


class ApplyBusy(Exception):
    """Another process applies to the same folder right now."""


class ApplyStopped(ApplyBusy):
    """Tandem ends. What was under way is left as a kill would leave it, whole; the next start applies the newest revision."""

    def __init__(self) -> None:
        super().__init__("Tandem is stopping; its next start applies the newest revision")


class RevisionChanged(Exception):
    """The newest revision is not the one that was planned with."""

    def __init__(self, expected: int, head: int) -> None:
        super().__init__(f"the newest revision is {head}, not {expected}: look at the plan again")
        self.expected, self.head = expected, head


class PlanOutdated(Exception):
    """Something moved since the plan was made; `moved` says what."""

    def __init__(self, plan_id: str, moved: tuple[str, ...]) -> None:
        super().__init__(f"plan {plan_id} is not what would happen any more: {'; '.join(moved)}. Make a new one")
        self.plan_id, self.moved = plan_id, moved


def show_value(value: Any) -> str:
    """A field's value in a plan."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {show_value(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(show_value, value)) + "]"
    return "none" if value is None else str(value)
