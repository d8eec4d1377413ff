"""One blocking login to AMI, questions and off again, for `tandem check`; never used by the running process."""

import socket
from collections.abc import Sequence
from dataclasses import dataclass
from io import BufferedReader

from tandem.ami import actions
from tandem.ami.actions import Action
from tandem.ami.wire import encode_action

MAX_ANSWER_BYTES = 65_536


class AmiProbeFailed(Exception):
    """Something answers, but it is not an AMI that lets us in."""


@dataclass(frozen=True, slots=True)
class ProbeAnswer:
    """The headers of one answer as they came, names in lower case."""

    headers: tuple[tuple[str, str], ...]

    def list(self, name: str) -> list[str]:
        """Every value of a header."""
        return [value for header, value in self.headers if header == name]

    def get(self, name: str) -> str:
        """Its first value; '' where there is none."""
        return next(iter(self.list(name)), "")

    @property
    def is_success(self) -> bool:
        """Whether Asterisk did what was asked."""
        return self.get("response") == "Success"


def probe_login(
    host: str, port: int, username: str, secret: str, *, timeout_s: float, questions: Sequence[Action] = ()
) -> tuple[str, list[ProbeAnswer]]:
    """Asterisk's greeting, and what it answers each question.

    ConnectionError when nobody answers in time; AmiProbeFailed when the login is refused.
    """
    try:
        with socket.create_connection((host, port), timeout=timeout_s) as connection:
            stream = connection.makefile("rb")
            greeting = stream.readline(256).decode("utf-8", "replace").strip()
            if not greeting.startswith("Asterisk Call Manager/"):
                raise AmiProbeFailed("this is not Asterisk's manager")
            answer = _ask(connection, stream, actions.challenge())
            answer = _ask(connection, stream, actions.login(username, secret, answer.get("challenge")))
            if not answer.is_success:
                raise AmiProbeFailed(answer.get("message") or "login refused")
            return greeting, [_ask(connection, stream, question) for question in questions]
    except OSError as error:
        raise ConnectionError(str(error)) from error


def _ask(connection: socket.socket, stream: BufferedReader, action: Action) -> ProbeAnswer:
    """The answer; events in between are passed over."""
    connection.sendall(encode_action(action.name, action.headers))
    read = 0
    headers: list[tuple[str, str]] = []
    while read < MAX_ANSWER_BYTES:
        line = stream.readline(MAX_ANSWER_BYTES)
        if not line:
            raise AmiProbeFailed("the connection was closed (permit, deny or the user's name in manager.conf?)")
        read += len(line)
        text = line.decode("utf-8", "replace").strip()
        if text:
            name, _, value = text.partition(":")
            headers.append((name.lower(), value.strip()))
        elif (answer := ProbeAnswer(tuple(headers))).get("response"):
            return answer
        else:
            headers = []
    raise AmiProbeFailed("too long an answer")
