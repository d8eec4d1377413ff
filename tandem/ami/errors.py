"""Every way an AMI exchange can fail, so that callers can tell "never left us" from "in doubt"; never carries a secret or a header's value."""

from __future__ import annotations


class AmiError(Exception):
    """Base of everything that `tandem.ami` raises."""


class AmiProtocolError(AmiError):
    """Asterisk's end sent something that is not AMI, or more of it than we take; the connection is closed."""


class AmiValueRefused(AmiError, ValueError):
    """An action cannot be written without changing its meaning; names the header and the rule, never the value."""


class AmiForged(AmiError):
    """A header that Asterisk writes once is there twice: part of the message was written by a stranger."""


class AmiLoginRefused(AmiError):
    """Asterisk knows us not: user, secret or permit/deny in manager.conf."""


class AmiRefused(AmiError):
    """Asterisk answered `Response: Error`; `reason` is its text."""

    def __init__(self, action: str, reason: str) -> None:
        super().__init__(f"Asterisk refused {action}: {reason}")
        self.action = action
        self.reason = reason


class AmiUnanswered(AmiError):
    """No answer, and none will be believed later.

    `written` is False when not one byte of the action can have reached Asterisk; True means in doubt: it may have been carried out.
    """

    def __init__(self, action: str, why: str, *, written: bool) -> None:
        super().__init__(f"{action}: {why}" + (" (in doubt: it was written)" if written else " (never written)"))
        self.action = action
        self.written = written


class AmiTimeout(AmiUnanswered):
    """The deadline of an action passed."""


class AmiConnectionLost(AmiUnanswered):
    """The connection went away, or was not there. Nothing is ever sent again by itself."""


class AmiOverloaded(AmiUnanswered):
    """Too many actions wait already; this one was not taken."""
