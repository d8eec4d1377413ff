"""What Asterisk must record of every channel so that CDRs can be made of it; the one definition, for templates, `init`, `check` and the lab.

An event more than these three, on a busy system, and the backlog of CEL takes inbound calls down (asterisk-notes).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

# A start, an answer and an end of each channel.
CEL_EVENTS: Final = ("CHAN_START", "ANSWER", "HANGUP")
CEL_FIELDS: Final = "eventtype, eventtime(%s.%3q), num, exten, channame, uniqueid, linkedid, accountcode, eventextra"
CDR_FIELDS: Final = (
    "uniqueid, linkedid, sequence, accountcode, clid, src, dst, dcontext, channel, dstchannel, lastapp, lastdata, "
    "start(int64), answer(int64), end(int64), duration, billsec, disposition, amaflags, userfield"
)
# In the order in which they need each other.
RECORD_MODULES: Final = ("res_cdrel_custom", "cdr_custom", "cel_custom", "cdr_manager")
# cdr_manager.conf: variable of a CDR -> header of its event.
CDR_MAPPINGS: Final = (("linkedid", "LinkedID"), ("sequence", "Sequence"))


@dataclass(frozen=True, slots=True)
class RecordFiles:
    """Where Asterisk writes: `cel-custom/NAME` and `cdr-custom/NAME` in its log folder; NAME is a section of cel_custom.conf and cdr_custom.conf."""

    cel: Path
    cdr: Path

    @classmethod
    def in_log_folder(cls, folder: Path) -> Self:
        """Under the names that they have by default."""
        return cls(folder / "cel-custom/cel.json", folder / "cdr-custom/cdr.json")

    @property
    def folders(self) -> tuple[Path, ...]:
        """Asterisk does not make them, and loses every record where they are missing."""
        return tuple(dict.fromkeys((self.cel.parent, self.cdr.parent)))


# stasis.conf: messages that Asterisk makes by the dozen for each call (a variable, a step of AGI, an RTCP report), and that neither its records
# nor Tandem read. Each waits in the manager's queue, at whose mark inbound INVITEs are dropped, and wakes every AMI login.
DECLINED_MESSAGES: Final = (
    "ast_channel_varset_type",
    "agi_exec_start_type",
    "agi_exec_end_type",
    "ast_rtp_rtcp_sent_type",
    "ast_rtp_rtcp_received_type",
    "ast_test_suite_message_type",
)


def list_declined() -> tuple[str, ...]:
    """The lines of stasis.conf."""
    return ("[declined_message_types]", *(f"decline = {name}" for name in DECLINED_MESSAGES))
