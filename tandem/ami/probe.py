"""One blocking login to AMI and off again, for `tandem check`; never used by the running process."""

import socket
from io import BufferedReader

from tandem.ami import actions
from tandem.ami.actions import Action
from tandem.ami.wire import encode_action

MAX_ANSWER_BYTES = 16_384


class AmiProbeFailed(Exception):
    """Something answers, but it is not an AMI that lets us in."""


def probe_login(host: str, port: int, username: str, secret: str, *, timeout_s: float) -> str:
    """Asterisk's greeting. ConnectionError when nobody answers in time; AmiProbeFailed when the login is refused."""
    try:
        with socket.create_connection((host, port), timeout=timeout_s) as connection:
            stream = connection.makefile("rb")
            greeting = stream.readline(256).decode("utf-8", "replace").strip()
            if not greeting.startswith("Asterisk Call Manager/"):
                raise AmiProbeFailed("this is not Asterisk's manager")
            answer = _ask(connection, stream, actions.challenge())
            answer = _ask(connection, stream, actions.login(username, secret, answer.get("challenge", "")))
            if answer.get("response") != "Success":
                raise AmiProbeFailed(answer.get("message", "login refused"))
            return greeting
    except OSError as error:
        raise ConnectionError(str(error)) from error


def _ask(connection: socket.socket, stream: BufferedReader, action: Action) -> dict[str, str]:
    """The headers of the answer, names in lower case; events in between are passed over."""
    connection.sendall(encode_action(action.name, action.headers))
    read = 0
    headers: dict[str, str] = {}
    while read < MAX_ANSWER_BYTES:
        line = stream.readline(MAX_ANSWER_BYTES)
        if not line:
            raise AmiProbeFailed("the connection was closed (permit, deny or the user's name in manager.conf?)")
        read += len(line)
        text = line.decode("utf-8", "replace").strip()
        if text:
            name, _, value = text.partition(":")
            headers[name.lower()] = value.strip()
        elif "response" in headers:
            return headers
        else:
            headers = {}
    raise AmiProbeFailed("too long an answer")
