"""The whole of `tandem serve` with its HTTP API on a port of the loopback, for load generators; never talks to a real Asterisk.

Set up by its own command line, in a folder of its own. The process is `tandem.app`'s composition with the reactor and the logging of `tandem serve`;
at SIGUSR1 it begins to note how late a timer of 1 ms is, and at the next one it writes the figures to `lag.json`.

    python -m bench.whole_tandem SETTINGS
"""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self
from urllib.request import Request, urlopen

from lab.ports import find_free_port

START_S = 30.0
ROOT = Path(__file__).parents[1]


class WholeTandem:
    """Context manager: it serves. token: the admin's; settings: more of them by dotted key; document: what is imported first."""

    def __init__(self, settings: Mapping[str, object] | None = None, document: str = "") -> None:
        self._temporary = tempfile.TemporaryDirectory()
        self.folder = Path(self._temporary.name)
        self.port = find_free_port()
        self._values = {
            "state_dir": self.folder / "state",
            "run_dir": self.folder / "run",
            "database.path": self.folder / "tandem.db",
            "http.port": self.port,
            "fastagi.port": find_free_port(),
            "asterisk.config_dir": self.folder / "asterisk",
            "asterisk.cel_file": self.folder / "cel.json",
            "asterisk.cdr_file": self.folder / "cdr.json",
            "ami.port": find_free_port(),
            "ami.secret_file": self.folder / "secret",
            "ami.config_secret_file": self.folder / "secret",
        } | dict(settings or {})
        self._document = document
        self._settings_path = self.folder / "tandem.yaml"
        self.secret = os.urandom(16).hex()
        self.token = ""
        self.process: subprocess.Popen[bytes]

    def __enter__(self) -> Self:
        try:
            secret = self.folder / "secret"
            secret.write_text(self.secret)
            secret.chmod(0o600)
            said = self._run("init", *(f"--set={key}={value}" for key, value in self._values.items()))
            self.token = re.findall(r"tandem_1_[0-9a-f]{64}", said)[0]
            if self._document:
                path = self.folder / "pbx.yaml"
                path.write_text(self._document, encoding="utf-8")
                self._run("import", str(path))
            self._start()
        except BaseException:
            self._temporary.cleanup()
            raise
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._temporary.cleanup()

    def request(self, path: str) -> bytes:
        """A GET of the admin's as it goes over the wire."""
        return f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {self.token}\r\n\r\n".encode()

    def wait_for_ami(self) -> None:
        """Until both of its logins are there."""
        deadline = time.monotonic() + START_S
        while b"tandem_ami_connected 1.0" not in self.get("/metrics"):
            if time.monotonic() > deadline:
                raise RuntimeError(f"Tandem has no AMI login:\n{self._read_log()}")
            time.sleep(0.05)

    def get(self, path: str) -> bytes:
        """The body of one answer."""
        asked = Request(f"http://127.0.0.1:{self.port}{path}", headers={"Authorization": f"Bearer {self.token}"})
        with urlopen(asked, timeout=START_S) as answer:
            body: bytes = answer.read()
        return body

    def post(self, path: str, body: Any = None) -> Any:
        """The JSON of the answer to a POST."""
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        content = b"" if body is None else json.dumps(body).encode()
        asked = Request(
            f"http://127.0.0.1:{self.port}{path}", content, headers if content else dict([*headers.items()][:1])
        )
        with urlopen(asked, timeout=START_S) as answer:
            return json.loads(answer.read())

    def begin_lag(self) -> None:
        """From now on the reactor's lag is noted."""
        self.process.send_signal(signal.SIGUSR1)

    def end_lag(self) -> Mapping[str, float]:
        """lag_max_ms and lag_p99_ms since `begin_lag`."""
        path = self.folder / "lag.json"
        self.process.send_signal(signal.SIGUSR1)
        deadline = time.monotonic() + START_S
        while not path.exists():
            if time.monotonic() > deadline:
                raise RuntimeError(f"Tandem did not tell its lag:\n{self._read_log()}")
            time.sleep(0.02)
        figures: Mapping[str, float] = json.loads(path.read_text())
        path.unlink()
        return figures

    def _run(self, *arguments: str) -> str:
        argv = [sys.executable, "-m", "tandem", "--settings", str(self._settings_path), *arguments]
        done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"tandem {arguments[0]}: {done.stdout}{done.stderr}")
        return done.stdout

    def _start(self) -> None:
        with (self.folder / "log").open("wb") as log:
            argv = [sys.executable, "-m", "bench.whole_tandem", str(self._settings_path)]
            self.process = subprocess.Popen(argv, cwd=ROOT, stderr=log)
        deadline = time.monotonic() + START_S
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port)).close()
            except OSError:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    self.process.kill()
                    raise RuntimeError(f"Tandem does not serve: {self._read_log()}") from None
                time.sleep(0.05)
            else:
                return

    def _read_log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")[-3000:]


def serve(path: Path) -> None:
    """Serves until it is terminated."""
    from tandem.settings import load_settings

    settings = load_settings(path, {})
    from tandem.reactor import install_reactor

    install_reactor()
    from twisted.internet import reactor

    from bench.live_build import Lag
    from tandem.app import run_until_stopped
    from tandem.cli.serve import start_logging

    start_logging(settings.log.level)
    running: list[Lag] = []

    def turn() -> None:
        if not running:
            running.append(Lag(reactor))
            running[0].start()
            return
        figures = running.pop().stop("lag")
        fresh = settings.database.path.with_name("lag.fresh")
        fresh.write_text(json.dumps(figures))
        fresh.rename(fresh.with_name("lag.json"))

    on_reactor: Any = reactor
    signal.signal(signal.SIGUSR1, lambda *_: on_reactor.callFromThread(turn))
    if (why := run_until_stopped(settings)) is not None:
        sys.exit(why)


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
