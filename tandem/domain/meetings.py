"""The definition of where several people are heard at once: conferences and page groups; never knows who is in one."""

from dataclasses import field
from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from tandem.domain.fields import STRICT, Extension, Name, Pin, Prompt, Text


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Conference:
    """A room (ConfBridge). Who has the moderator's PIN is one: may mute, lock and end it.

    Without a PIN everybody gets in; where there is only a moderator's, others pass with #.
    """

    name: Name
    description: Text = ""
    extension: Extension | None = None
    pin: Pin | None = field(default=None, repr=False)
    moderator_pin: Pin | None = field(default=None, repr=False)
    # 0: as many as want to.
    max_members: Annotated[int, Field(ge=0, le=500)] = 0
    # Nobody hears anybody before a moderator is there, nor after the last one has left.
    wait_for_moderator: bool = False
    announce_joins: bool = False
    # Heard by whoever comes, before the PIN; what asks for the PIN; and, with `announce_joins`, what the others hear of who comes and leaves.
    # Asterisk's own sounds where nothing else is given.
    prompts: Annotated[tuple[Prompt, ...], Field(max_length=5)] = ()
    pin_prompt: Prompt | None = None
    join_prompt: Prompt | None = None
    leave_prompt: Prompt | None = None
    # Who is alone hears it.
    music: Name | None = "default"
    recording: bool = False


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class PageGroup:
    """Phones that answer by themselves and say what the caller says. duplex: and are heard."""

    name: Name
    description: Text = ""
    extension: Extension
    members: Annotated[tuple[Extension, ...], Field(min_length=1, max_length=100)]
    duplex: bool = False
    # Heard by the phones before the caller.
    prompt: Prompt | None = None
