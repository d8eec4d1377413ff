"""Where a call can go: a kind for each, written as one key that names it (`{queue: sales}`, `{voicemail: 1001, instructions: no}`); never decides.

Rules that need a second object are in `tandem.domain.references`.
"""

from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag
from pydantic.dataclasses import dataclass

from tandem.domain.fields import STRICT, ContextExten, DidNumber, Extension, Mailbox, Name, PhoneNumber
from tandem.domain.hangup_causes import HANGUP_CAUSE_BY_NAME


def _check_hangup(value: int) -> int:
    if value not in HANGUP_CAUSE_BY_NAME.values():
        raise ValueError("must be a Q.850 cause (such as 17) or its name (such as busy)")
    return value


def _name_hangup(value: object) -> object:
    """Lets a document say `busy` for 17."""
    return HANGUP_CAUSE_BY_NAME.get(value, value) if isinstance(value, str) else value


# A destination is written as one key that names the kind: `{queue: sales}`, `{voicemail: 1001, instructions: no}`.


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class EndpointDestination:
    """Ring an endpoint for its ring time; then its voicemail box, if it has one."""

    endpoint: Extension


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class QueueDestination:
    """Wait in a queue."""

    queue: Name


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class MenuDestination:
    """Hear a menu (IVR)."""

    menu: Name


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class VoicemailDestination:
    """Leave a message; `instructions` says whether the caller hears how to."""

    voicemail: Mailbox
    instructions: bool = True


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class DialplanDestination:
    """Priority 1 of `context,exten` in the admin's own dialplan; the context must be in `general.allowed_contexts`."""

    dialplan: ContextExten


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class ExternalDestination:
    """Dial a number outside, over `trunk` or, without one, over the outbound routes, else `general.outbound_trunk`."""

    external: PhoneNumber
    trunk: Name | None = None


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class AnnouncementDestination:
    """Play an announcement and go on to the destination that it names."""

    announcement: Name


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class RingGroupDestination:
    """Ring the members of a group; then its fallback."""

    ring_group: Name


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class ConferenceDestination:
    """Join a conference; its PIN is asked for first."""

    conference: Name


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class DirectoryDestination:
    """Choose somebody with a voicemail box by the keys of a part of their name, and be connected."""

    directory: Literal["first", "last", "both"]


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class SurveyDestination:
    """Be asked the questions of a survey, by its number. Surveys are no part of the PBX's revisions: one that is gone is a missing object."""

    survey: Annotated[int, Field(ge=1, le=2**53)]


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class DidDestination:
    """Whatever another DID does."""

    did: DidNumber


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class HangupDestination:
    """End the call with a Q.850 cause (ITU-T Q.850, table 1)."""

    hangup: Annotated[int, BeforeValidator(_name_hangup), AfterValidator(_check_hangup)] = 16


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class ScheduleDestination:
    """`open` while the schedule is open, else `closed`."""

    schedule: Name
    open: "Destination"
    closed: "Destination"


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class AgentDestination:
    """Ring an agent's endpoint; `unavailable` while nobody works there (logged out, pausing), and when nobody answers.

    That is a place, no further question: opening hours or another agent are asked behind a DID.
    """

    agent: Extension
    unavailable: "Place"


DESTINATION_CLASSES: Final = {
    "endpoint": EndpointDestination,
    "queue": QueueDestination,
    "menu": MenuDestination,
    "voicemail": VoicemailDestination,
    "dialplan": DialplanDestination,
    "external": ExternalDestination,
    "announcement": AnnouncementDestination,
    "ring_group": RingGroupDestination,
    "conference": ConferenceDestination,
    "directory": DirectoryDestination,
    "survey": SurveyDestination,
    "did": DidDestination,
    "schedule": ScheduleDestination,
    "agent": AgentDestination,
    "hangup": HangupDestination,
}
DESTINATION_KINDS: Final = tuple(DESTINATION_CLASSES)


# Sets the union's tags apart from field names in the location of an error.
DESTINATION_TAG: Final = "destination:"


def _kind_of(value: Any) -> str | None:
    """The tag of a destination: the one key of `DESTINATION_KINDS` that it has."""
    if isinstance(value, dict):
        kinds = [kind for kind in DESTINATION_KINDS if kind in value]
    else:
        kinds = [kind for kind in DESTINATION_KINDS if hasattr(value, kind)]
    return f"{DESTINATION_TAG}{kinds[0]}" if len(kinds) == 1 else None


def _among(kinds: tuple[str, ...]) -> Discriminator:
    """Chooses the class by the key, and tells the keys that there are."""
    return Discriminator(
        _kind_of,
        custom_error_type="destination",
        custom_error_message=f"must have exactly one of the keys {', '.join(kinds)}",
    )


_AnyPlace = (
    Annotated[EndpointDestination, Tag("destination:endpoint")]
    | Annotated[QueueDestination, Tag("destination:queue")]
    | Annotated[MenuDestination, Tag("destination:menu")]
    | Annotated[VoicemailDestination, Tag("destination:voicemail")]
    | Annotated[DialplanDestination, Tag("destination:dialplan")]
    | Annotated[ExternalDestination, Tag("destination:external")]
    | Annotated[AnnouncementDestination, Tag("destination:announcement")]
    | Annotated[RingGroupDestination, Tag("destination:ring_group")]
    | Annotated[ConferenceDestination, Tag("destination:conference")]
    | Annotated[DirectoryDestination, Tag("destination:directory")]
    | Annotated[SurveyDestination, Tag("destination:survey")]
    | Annotated[DidDestination, Tag("destination:did")]
    | Annotated[HangupDestination, Tag("destination:hangup")]
)
_AnyQuestion = (
    Annotated[ScheduleDestination, Tag("destination:schedule")] | Annotated[AgentDestination, Tag("destination:agent")]
)

Place = Annotated[_AnyPlace, _among(tuple(kind for kind in DESTINATION_KINDS if kind not in ("schedule", "agent")))]
Destination = Annotated[_AnyPlace | _AnyQuestion, _among(DESTINATION_KINDS)]
