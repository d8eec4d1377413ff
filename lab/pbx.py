"""A whole Tandem beside a private Asterisk, driven by its own command line as an admin would; never reaches into the process."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from http.client import HTTPException
from itertools import count
from pathlib import Path
from typing import Any, Self

from confgen.pjsip_objects import OBJECTS_FILE, SORCERY_FILE, list_mappings
from lab.freezing import freeze, thaw
from tandem.asterisk.install import AsteriskInstall
from tandem.asterisk.instance import AsteriskInstance
from tandem.cli.control import _UnixConnection

# Guest mode, as `tandem init` would have it: the admin's own files, each with one line that includes ours.
ADMIN_FILES = {
    "pjsip.conf": """[global]
type = global
endpoint_identifier_order = ip,username,anonymous

[udp]
type = transport
protocol = udp
bind = 127.0.0.1:5060
""",
    OBJECTS_FILE: "#tryinclude pjsip.conf\n#tryinclude tandem/current/pjsip.conf\n",
    SORCERY_FILE: "\n".join(list_mappings()) + "\n",
    "extensions.conf": """[globals]
#tryinclude tandem/current/extensions.conf

[from-admin]
exten => 100,1,Answer(1)
 same => n,Playback(demo-congrats)
 same => n,Hangup()
""",
    "queues.conf": "[general]\nautofill = yes\npersistentmembers = yes\n#tryinclude tandem/current/queues.conf\n",
    "musiconhold.conf": "[default]\nmode = files\ndirectory = moh\n#tryinclude tandem/current/musiconhold.conf\n",
    "queuerules.conf": "#tryinclude tandem/current/queuerules.conf\n",
    "voicemail.conf": "[general]\nformat = wav\n[zonemessages]\n#tryinclude tandem/current/voicemail.conf\n",
}
START_S = 60.0


class TandemFailed(RuntimeError):
    """Tandem did not do what the lab asked; the message has what it said."""


class LabPbx:
    """Context manager: Asterisk runs, and Tandem is set up with `document` in its database; `serve` starts it.

    settings: more settings by dotted key. token: of the HTTP API's admin. callers: numbers that `lab.observe` calls from, each once. admin_dialplan: more lines of the admin's context `from-admin`.
    """

    def __init__(
        self,
        install: AsteriskInstall,
        document: str,
        settings: Mapping[str, str] | None = None,
        admin_dialplan: str = "",
    ) -> None:
        files = ADMIN_FILES | {"extensions.conf": ADMIN_FILES["extensions.conf"] + admin_dialplan}
        self.asterisk = AsteriskInstance(install, config=files, shared=[], documented=False)
        self._document = document
        self._settings = dict(settings or {})
        self.process: subprocess.Popen[Any] | None = None
        self.token = ""
        self.callers = count(1)

    def __enter__(self) -> Self:
        self.asterisk.__enter__()
        try:
            self._set_up()
        except BaseException:
            self.asterisk.__exit__(*sys.exc_info())
            raise
        return self

    def __exit__(self, *exc_info: object) -> None:
        try:
            self.kill()
        finally:
            self.asterisk.__exit__(*exc_info)

    @property
    def folder(self) -> Path:
        """Tandem's own files: settings, secrets, database, log."""
        return self.asterisk.folder / "tandem"

    @property
    def log_path(self) -> Path:
        """What `tandem serve` wrote."""
        return self.folder / "serve.log"

    def _set_up(self) -> None:
        self.folder.mkdir(mode=0o700)
        for name, secret in self.asterisk.ami_secrets.items():
            path = self.folder / f"{name}.secret"
            path.write_text(secret)
            path.chmod(0o600)
        values = {
            "state_dir": self.folder,
            "run_dir": self.folder / "run",
            "database.path": self.folder / "tandem.db",
            "ami.username": "tandem-dialer",
            "ami.secret_file": self.folder / "tandem-dialer.secret",
            "ami.config_username": "tandem-config",
            "ami.config_secret_file": self.folder / "tandem-config.secret",
            "asterisk.config_dir": self.asterisk.etc / "tandem",
            # Phones come and go between tests: one that came seconds after Asterisk asked would be gone to it until it asks again.
            "asterisk.qualify_s": 0,
            "asterisk.recordings_dir": self.asterisk.spool / "monitor",
            "asterisk.voicemail_dir": self.asterisk.spool / "voicemail",
            "recordings.dir": self.folder / "recordings",
            "sounds.dir": self.asterisk.folder / "sounds",
            "asterisk.cel_file": self.asterisk.log / "cel-custom/cel.json",
            "asterisk.cdr_file": self.asterisk.log / "cdr-custom/cdr.json",
        } | self._settings
        said = self.tandem("init", *(f"--set={key}={value}" for key, value in values.items())).stdout
        self.token = re.findall(r"tandem_1_[0-9a-f]{64}", said)[0]
        self.import_document(self._document)

    def tandem(self, *arguments: str, check: bool = True, timeout_s: float = 60.0) -> subprocess.CompletedProcess[str]:
        """Runs one `tandem` command to its end. TandemFailed when it fails, unless `check` is off."""
        done = self.asterisk.run(self._argv(*arguments), timeout_s=timeout_s, check=False, env=self._environ())
        if check and done.returncode:
            raise TandemFailed(
                f"tandem {' '.join(arguments)} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}\n{self.read_log()[-3000:]}"
            )
        return done

    def ask(self, *arguments: str) -> Any:
        """The JSON that one command prints with `--json`."""
        return json.loads(self.tandem(*arguments, "--json").stdout)

    def request(self, method: str, path: str, body: Any = None) -> Any:
        """One request to the HTTP API over the control socket: the JSON of its answer. TandemFailed unless it went well."""
        with closing(_UnixConnection(self.folder / "run" / "control.sock", 60)) as connection:
            content = None if body is None else json.dumps(body).encode()
            connection.request(method, path, content, {"Content-Type": "application/json"})
            response = connection.getresponse()
            answer = response.read()
        if response.status >= 300:
            raise TandemFailed(f"{method} {path}: {response.status} {answer[:500]!r}")
        return json.loads(answer) if answer else None

    def import_document(self, text: str) -> None:
        """Writes the document and imports it."""
        path = self.folder / "pbx.yaml"
        path.write_text(text, encoding="utf-8")
        path.chmod(0o600)
        self.tandem("import", str(path))

    def launch(self) -> None:
        """Starts `tandem serve`, and waits for nothing."""
        with self.log_path.open("ab") as log:
            self.process = self.asterisk.popen(self._argv("serve"), stdout=log, stderr=log, env=self._environ())

    def raise_if_ended(self) -> None:
        """TandemFailed when the Tandem that was launched is no more."""
        if self.process is not None and self.process.poll() is not None:
            raise TandemFailed(f"tandem serve ended with {self.process.returncode}:\n{self.read_log()}")

    def serve(
        self, is_up: Callable[[subprocess.CompletedProcess[str]], bool] | None = None, *, timeout_s: float = START_S
    ) -> None:
        """Starts `tandem serve` and waits until `tandem check --json` says that all is well, or until `is_up` is content with it."""
        self.launch()
        deadline = time.monotonic() + timeout_s
        said = ""
        while time.monotonic() < deadline:
            self.raise_if_ended()
            # A whole command costs as much of the machine as Tandem's start itself.
            if is_up is not None or self._is_ready():
                checked = self.tandem("check", "--json", check=False)
                if checked.returncode == 0 if is_up is None else is_up(checked):
                    return
                said = checked.stdout
            time.sleep(0.05)
        raise TandemFailed(f"tandem serve is not ready after {timeout_s:g} s:\n{said}\n{self.read_log()}")

    def _is_ready(self) -> bool:
        try:
            return bool(self.request("GET", "/health")["ready"])
        except (OSError, HTTPException, TandemFailed):
            return False

    def kill(self, how: signal.Signals = signal.SIGKILL) -> None:
        """Ends the running Tandem and waits for its end; nothing where none runs."""
        if self.process is None or self.process.poll() is not None:
            return
        self.process.send_signal(signal.SIGCONT)
        self.process.send_signal(how)
        self.process.wait(timeout=30)

    def freeze(self) -> None:
        """It accepts and never answers, from now on."""
        assert self.process is not None
        freeze(self.process)

    def thaw(self) -> None:
        """It goes on."""
        assert self.process is not None
        thaw(self.process)

    def read_log(self) -> str:
        """What `tandem serve` wrote so far."""
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def _argv(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "tandem", "--settings", str(self.folder / "tandem.yaml"), *arguments]

    @staticmethod
    def _environ() -> dict[str, str]:
        return {name: value for name, value in os.environ.items() if not name.startswith("TANDEM_")}
