"""What agents say of a call (statuses) and why they pause (pause codes): the definitions, and what every campaign has from the start; pure, and never says what became of the line itself, which is the disposition.

Sources of the codes that every campaign has: the field's own custom (docs/goapi-campaigns.md).
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, ConfigDict, StringConstraints
from pydantic.dataclasses import dataclass

_STRICT: Final = ConfigDict(extra="forbid")


def check_label(value: str) -> str:
    """A name that people read."""
    if not value.isprintable() or not value.strip():
        raise ValueError("must be text without control characters")
    return value


StatusCode = Annotated[str, StringConstraints(pattern=r"^[A-Z0-9][A-Z0-9_-]{0,7}$")]
Label = Annotated[str, StringConstraints(min_length=1, max_length=50), AfterValidator(check_label)]
MAX_CODES: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True, config=_STRICT)
class AgentStatus:
    """One thing that an agent may say of a call.

    is_selectable: agents are offered it. is_dnc: the number goes on the list `global` of numbers that must not be called.
    is_callback: it is to be called again at a time that the agent names. The others are for reports: is_human: a person answered;
    is_sale; is_contact: the one who was wanted; is_not_interested; is_unworkable: of no use, such as a wrong number.
    """

    name: Label
    is_selectable: bool = True
    is_human: bool = True
    is_sale: bool = False
    is_dnc: bool = False
    is_callback: bool = False
    is_contact: bool = False
    is_not_interested: bool = False
    is_unworkable: bool = False


@dataclass(frozen=True, slots=True, kw_only=True, config=_STRICT)
class PauseCode:
    """One reason for a pause. billable: whether its time is paid; for reports."""

    name: Label
    billable: Literal["no", "yes", "half"] = "no"


# What every campaign offers, unless it says otherwise of the same code.
COMMON: Final[Mapping[str, AgentStatus]] = MappingProxyType(
    {
        "SALE": AgentStatus(name="Sale made", is_sale=True, is_contact=True),
        "NI": AgentStatus(name="Not interested", is_contact=True, is_not_interested=True),
        "DEC": AgentStatus(name="Declined sale", is_contact=True, is_not_interested=True),
        "NP": AgentStatus(name="No pitch, no price", is_contact=True),
        "CALLBK": AgentStatus(name="Call back", is_contact=True, is_callback=True),
        "XFER": AgentStatus(name="Call transferred", is_contact=True),
        "DNC": AgentStatus(name="Do not call", is_contact=True, is_dnc=True),
        "N": AgentStatus(name="No answer", is_human=False),
        "A": AgentStatus(name="Answering machine", is_human=False),
        "B": AgentStatus(name="Busy", is_human=False),
        "DC": AgentStatus(name="Disconnected number", is_human=False, is_unworkable=True),
    }
)


class StatusRefused(ValueError):
    """An agent cannot say this of a call: `field` breaks `rule`."""

    def __init__(self, field: str, rule: str) -> None:
        super().__init__(f"{field} {rule}")
        self.field, self.rule = field, rule


def statuses_of(own: Mapping[str, AgentStatus]) -> dict[str, AgentStatus]:
    """Everything that may be said in a campaign with statuses of its own."""
    return {**COMMON, **own}
