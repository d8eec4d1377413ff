"""Asks the running Tandem over its unix socket; never opens the database."""

import http.client
import json
import os
import socket
from pathlib import Path
from typing import Any, BinaryIO


class NotRunning(Exception):
    """Nobody answers at the control socket."""


class ControlFailed(Exception):
    """The running Tandem answered with an error."""


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout_s: float) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def ask(
    socket_path: Path,
    method: str,
    path: str,
    body: bytes | BinaryIO | None = None,
    *,
    timeout_s: float = 60.0,
    content_type: str = "application/json",
) -> Any:
    """The JSON answer, None for none; a body may be a file. NotRunning when there is no process, ControlFailed with its message when it refuses."""
    connection = _UnixConnection(socket_path, timeout_s)
    try:
        headers = {} if body is None else {"Content-Type": content_type}
        if body is not None and not isinstance(body, bytes):
            headers["Content-Length"] = str(os.fstat(body.fileno()).st_size)
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        content = response.read()
        answer = json.loads(content) if content else None
    except (FileNotFoundError, ConnectionRefusedError) as error:
        raise NotRunning(f"no Tandem is running here (nothing answers at {socket_path})") from error
    except PermissionError as error:
        raise NotRunning(f"{socket_path} may only be opened by Tandem's own user or root") from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise NotRunning(f"the Tandem at {socket_path} does not answer properly: {error}") from error
    finally:
        connection.close()
    if response.status >= 400:
        raise ControlFailed(str((answer or {}).get("error", {}).get("message", response.reason)))
    return answer
