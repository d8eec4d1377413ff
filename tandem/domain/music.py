"""Music on hold as a value: sounds of Tandem's own that those hear who wait, one after the other; never touches a file."""

from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field
from pydantic.dataclasses import dataclass

from tandem.domain.fields import STRICT, Name, Prompt, Text

OURS: Final = "tandem/"


def _check_ours(sounds: tuple[str, ...]) -> tuple[str, ...]:
    """Asterisk opens them by their paths, and knows of its own sounds only where each language has them (res_musiconhold.c, `entry`)."""
    for sound in sounds:
        if not sound.startswith(OURS):
            raise ValueError(f"{sound} must be a sound of Tandem's, such as tandem/waltz: upload it first")
    return sounds


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class MusicClass:
    """What is played to those who wait or are put on hold, over and over; queues, endpoints, ring groups and conferences name it (`music`)."""

    name: Name
    description: Text = ""
    sounds: Annotated[tuple[Prompt, ...], Field(min_length=1, max_length=200), AfterValidator(_check_ours)]
    order: Literal["in-order", "random"] = "in-order"
    # Heard at the beginning and between two sounds.
    announcement: Prompt | None = None
