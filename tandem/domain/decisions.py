"""What was decided for a call and why, as one value and one readable line; never decides anything."""

from dataclasses import dataclass
from datetime import datetime

from tandem.domain.contacts import Contact
from tandem.domain.printable import escape_unprintable


@dataclass(frozen=True, slots=True)
class Decision:
    """One FastAGI session of a call.

    uniqueid names the channel. called and caller are as the carrier sent them, cleaned. reasons are the steps in order.
    outcome is the jump that was made, or why none was. computing_s is our own time, without listening to the caller and without waiting for what others know of them. contact: that.
    """

    decided_at: datetime
    script: str
    uniqueid: str
    channel: str
    called: str
    caller: str
    reasons: tuple[str, ...]
    outcome: str
    computing_s: float
    revision: int
    contact: Contact | None = None


def format_decision(decision: Decision) -> str:
    """The one line of the log: `did 1763600000.1 from 0301234567 to 493012345: DID +493012345, menu main -> queue sales (0.4 ms)`."""
    line = (
        f"{decision.script} {decision.uniqueid} from {decision.caller or 'anonymous'} to {decision.called or '-'}: "
        f"{', '.join(decision.reasons) or 'no rule'} -> {decision.outcome} "
        f"({decision.computing_s * 1000:.1f} ms, revision {decision.revision})"
    )
    return escape_unprintable(line)
