"""The definition of queues: members, callbacks, penalty rules; never knows who waits or works right now."""

from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field
from pydantic.dataclasses import dataclass

from tandem.domain.destinations import Destination
from tandem.domain.fields import (
    STRICT,
    AbsentWhen,
    CallerPriority,
    Extension,
    Key,
    Name,
    PhoneNumber,
    Prompt,
    QueueStrategy,
    Text,
)

# app_queue's `strict`.
ABSENT: Final[tuple[AbsentWhen, ...]] = ("penalty", "paused", "invalid", "unavailable")
MAX_PENALTY: Final = 999
_Penalty = Annotated[int, Field(ge=0, le=MAX_PENALTY)]


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class PenaltyChange:
    """Whom a caller may reach after so many seconds in the queue; what is left out stays as it was."""

    after_s: Annotated[int, Field(ge=0, le=86400)]
    # Members with a higher penalty, and with a lower one, are not rung.
    max_penalty: _Penalty | None = None
    min_penalty: _Penalty | None = None
    # A lower penalty counts as this one, so that members ring beside each other.
    raise_penalty: _Penalty | None = None


def _check_changes(changes: tuple[PenaltyChange, ...]) -> tuple[PenaltyChange, ...]:
    before, lowest, highest = -1, 0, MAX_PENALTY
    for change in changes:
        where = f"the change after {change.after_s} s"
        if change.after_s <= before:
            raise ValueError(f"{where} must be later than the one before it")
        if (change.max_penalty, change.min_penalty, change.raise_penalty) == (None, None, None):
            raise ValueError(f"{where} must set max_penalty, min_penalty or raise_penalty")
        lowest = change.min_penalty if change.min_penalty is not None else lowest
        highest = change.max_penalty if change.max_penalty is not None else highest
        if lowest > highest:
            raise ValueError(f"{where} leaves nobody to ring: min_penalty {lowest} is above max_penalty {highest}")
        before = change.after_s
    return changes


def _check_rounding(value: int) -> int:
    if value not in (0, 5, 10, 15, 20, 30):
        raise ValueError("must be 0, 5, 10, 15, 20 or 30")
    return value


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class PenaltyRule:
    """Opens a queue to more members the longer a caller waits; without a change after 0 s it begins with all of them."""

    name: Name
    description: Text = ""
    changes: Annotated[tuple[PenaltyChange, ...], Field(min_length=1, max_length=50), AfterValidator(_check_changes)]

    @property
    def at_first(self) -> tuple[int, int, int]:
        """(highest, lowest, raised) penalty of a caller who has just joined."""
        first = self.changes[0] if self.changes[0].after_s == 0 else PenaltyChange(after_s=0)
        highest = MAX_PENALTY if first.max_penalty is None else first.max_penalty
        return highest, first.min_penalty or 0, first.raise_penalty or 0


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class QueueMember:
    """An endpoint that answers a queue's calls; lower penalties ring first."""

    endpoint: Extension
    penalty: Annotated[int, Field(ge=0, le=999)] = 0


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class OutsideMember:
    """A number outside that answers a queue's calls, over the outbound routes, else `general.outbound_trunk`; it neither logs in nor pauses."""

    number: PhoneNumber
    penalty: Annotated[int, Field(ge=0, le=999)] = 0


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class QueueCallback:
    """Callers who press a key may hang up: they keep their place, and are called back when an agent has answered for them."""

    key: Key
    # The caller's own number; that one or another, as the caller says; or one that the caller enters.
    number: Literal["caller", "confirm", "enter"] = "confirm"
    # Heard by those who wait, each in its turn with `periodic_prompts`; and by those who will be called back.
    prompts: Annotated[tuple[Prompt, ...], Field(max_length=5)] = ()
    accepted_prompts: Annotated[tuple[Prompt, ...], Field(max_length=5)] = ("auth-thankyou", "vm-goodbye")
    # How far the numbers may be.
    permission: Literal["national", "international"] = "national"
    # How often a caller who does not answer is called, how long it rings and how long the pause is; and when it is too late.
    tries: Annotated[int, Field(ge=1, le=10)] = 3
    ring_time_s: Annotated[int, Field(ge=5, le=120)] = 30
    retry_s: Annotated[int, Field(ge=10, le=86400)] = 300
    max_age_s: Annotated[int, Field(ge=60, le=604_800)] = 14_400
    # How many callbacks a queue may owe at once.
    max_waiting: Annotated[int, Field(ge=1, le=1000)] = 100
    # When people are called back, beside the queue's own opening hours.
    schedule: Name | None = None


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Queue:
    """Callers wait, members answer (app_queue)."""

    name: Name
    description: Text = ""
    extension: Extension | None = None
    # A queue that is not active takes nobody: callers go where they would go while it is closed.
    active: bool = True
    strategy: QueueStrategy = "rrmemory"
    # Whom callers may reach after how long.
    penalty_rule: Name | None = None
    # With so many members or fewer, penalties do not count; 0: they always do.
    penalty_members_limit: Annotated[int, Field(ge=0, le=999)] = 0
    members: tuple[QueueMember, ...] = ()
    outside_members: Annotated[tuple[OutsideMember, ...], Field(max_length=50)] = ()
    # Whether endpoints that are no members may log in, too.
    open_login: bool = False
    # How long one member rings, the pause before the next, and the rest that a member has after a call.
    ring_time_s: Annotated[int, Field(ge=5, le=300)] = 20
    retry_s: Annotated[int, Field(ge=1, le=60)] = 2
    wrap_up_s: Annotated[int, Field(ge=0, le=3600)] = 0
    # Whether one member's refusal gives the next their whole ring time; with ringall all ring from the start anyway.
    timeout_restart: bool = False
    max_wait_s: Annotated[int, Field(ge=5, le=86400)] = 300
    # Whether a member who rings when that is over is let off, or rings to the end.
    wait_ends_ring: bool = False
    # 0 means no limit.
    max_callers: Annotated[int, Field(ge=0, le=10000)] = 0
    music: Name = "default"
    weight: Annotated[int, Field(ge=0, le=999)] = 0
    announce_position: bool = False
    announce_every_s: Annotated[int, Field(ge=0, le=3600)] = 0
    # Not sooner after the last one, however often the position changes; and only where it is a better one.
    announce_min_s: Annotated[int, Field(ge=0, le=3600)] = 15
    announce_only_up: bool = False
    # Only those within the limit hear their position; the others nothing, or that more than so many wait. 0: everybody does.
    announce_position_limit: Annotated[int, Field(ge=0, le=1000)] = 0
    announce_beyond_limit: bool = False
    # Whether who is next hears announcements, too: an agent who answers may have to wait for their end.
    announce_to_first: bool = False
    # With the position, how long others have waited; once: only the first time.
    announce_hold_time: Literal["no", "yes", "once"] = "no"
    # To so many seconds; 0 tells minutes alone.
    announce_round_s: Annotated[int, Field(ge=0, le=30), AfterValidator(_check_rounding)] = 0
    # Heard by callers one after the other, beginning after so many seconds and again as many later; 0: never.
    periodic_prompts: Annotated[tuple[Prompt, ...], Field(max_length=10)] = ()
    periodic_every_s: Annotated[int, Field(ge=0, le=3600)] = 60
    # When the first one begins, if not after that time; in a random order; and with the time counted from the end of the last one.
    periodic_after_s: Annotated[int, Field(ge=1, le=3600)] | None = None
    periodic_random: bool = False
    periodic_from_end: bool = False
    # What the caller hears just before an agent, and what that member hears: which queue it is, how long the caller has waited, how long it takes.
    caller_prompt: Prompt | None = None
    member_prompt: Prompt | None = None
    report_hold_time: bool = False
    member_delay_s: Annotated[int, Field(ge=0, le=60)] = 0
    # A member who does not answer pauses: in this queue, or in all of theirs; not within so many seconds of their last call; and also one
    # who is busy or cannot be reached.
    autopause: Literal["no", "yes", "all"] = "no"
    autopause_delay_s: Annotated[int, Field(ge=0, le=3600)] = 0
    autopause_busy: bool = False
    autopause_unavailable: bool = False
    # Whether members in a call are rung, too.
    ring_in_use: bool = False
    recording: bool = False
    # A caller who presses it leaves the queue for `exit`.
    exit_key: Key | None = None
    exit: Destination | None = None
    callback: QueueCallback | None = None
    service_level_s: Annotated[int, Field(ge=0, le=3600)] = 20
    priority: CallerPriority = 0
    join_when_empty: bool = False
    leave_when_empty: bool = True
    # When a member is nobody, for these two; penalty: while the caller may not reach them, which does not count where there is a rule.
    absent_when: Annotated[tuple[AbsentWhen, ...], Field(min_length=1, max_length=8)] = ABSENT
    schedule: Name | None = None
    # Where callers go whom the queue does not serve; each that is left out is `fallback`.
    fallback: Destination
    closed: Destination | None = None
    timeout: Destination | None = None
    full: Destination | None = None
    join_empty: Destination | None = None
    leave_empty: Destination | None = None
