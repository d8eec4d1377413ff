"""The ONE definition of a customer: a person, their telephones and what is known of them; never knows who calls them."""

from dataclasses import field
from typing import Annotated, Final

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, StringConstraints
from pydantic.dataclasses import dataclass

from tandem.domain.campaigns import Person
from tandem.domain.fields import PhoneNumber

_STRICT: Final = ConfigDict(extra="forbid")
MAX_PHONES: Final = 50
MAX_PROPERTIES: Final = 100
# By so many of its last digits a telephone is known, however it is written.
ENDING_DIGITS: Final = 10


def _check_printable(value: str) -> str:
    if not value.isprintable():
        raise ValueError("must not hold control characters or line breaks")
    return value


def _to_tuple(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


PropertyName = Annotated[str, StringConstraints(min_length=1, max_length=80), AfterValidator(_check_printable)]
PropertyValue = Annotated[str, StringConstraints(max_length=500), AfterValidator(_check_printable)]


@dataclass(frozen=True, slots=True, kw_only=True, config=_STRICT)
class Customer:
    """person: the client's own id, as numbers of campaigns name it; phone_numbers: as they are dialled; properties: what is known of them, in the client's order."""

    person: Annotated[Person, Field(min_length=1)]
    name: Annotated[str, StringConstraints(max_length=255), AfterValidator(_check_printable)] = ""
    phone_numbers: Annotated[tuple[PhoneNumber, ...], BeforeValidator(_to_tuple), Field(max_length=MAX_PHONES)] = ()
    properties: Annotated[dict[PropertyName, PropertyValue], Field(max_length=MAX_PROPERTIES)] = field(
        default_factory=dict
    )


def ending_of(phone_number: str) -> str:
    """What a telephone is known by: its last ten digits."""
    return phone_number.removeprefix("+")[-ENDING_DIGITS:]
