"""What starpy's calls fail with, under starpy's names; holds no logic.

A value that the wire cannot carry (CR, LF and other control characters above all) is none of these but a ValueError that names the field and
the rule: `fastagi.wire.CommandRefused` for AGI, `tandem.ami.errors.AmiValueRefused` for AMI. Nothing of such a command is ever sent.
"""

from twisted.internet.error import ConnectionDone


class AMICommandFailure(Exception):
    """Asterisk refused an action, or did not answer; the first argument is the answer as a dict, or one of ours with `response` Error and `message`."""


class AMIConnectionGone(AMICommandFailure, ConnectionDone):
    """The AMI connection is lost. What was written may have been carried out; it is never sent again."""


class AGICommandFailure(Exception):
    """An AGI command failed; arguments: code (510 unknown, 511 dead channel, 520 wrong usage, -1 failed) and Asterisk's text."""


class AGIChannelGone(AGICommandFailure, ConnectionDone):
    """The caller hung up, or the connection is lost: what starpy tells as either of the two, by chance."""


class MenuFinished(Exception):
    """A menu ended without a choice; raised by programs, never here."""


class MenuExit(MenuFinished):
    """The caller left the menu."""


class MenuTimeout(MenuFinished):
    """The caller did not choose in time."""


class MenuUnexpectedOption(MenuFinished):
    """The caller chose what the menu does not have."""
