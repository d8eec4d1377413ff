"""One private Asterisk: its own folder, its own world of namespaces, started, asked, stopped and killed at will.

It never reads or writes the host's /etc/asterisk, and never listens anywhere but inside its world.
"""

from __future__ import annotations

import ipaddress
import resource
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from tandem.asterisk.base_config import AMI_PORT, MAX_OPEN_FILES, base_config
from tandem.asterisk.documentation import PLACES, copy_thinned
from tandem.asterisk.install import AsteriskInstall
from tandem.asterisk.namespaces import World

BOOT_TIMEOUT_S = 30.0
CLI_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 10.0
LONGEST_SOCKET_PATH = 107
"""Of a unix socket (unix(7)); Asterisk's is run/asterisk.ctl in our folder."""

NOBODYS_NETWORK = ipaddress.ip_network("198.18.0.0/15")
"""For benchmarks (RFC 2544), so nobody's carrier is there. Each name has its own address: PJSIP complains of one that matches twice."""

NO_ETHERNET = "No ethernet interface found for seeding global EID. You will have to set it manually.\n"
"""What every asterisk command prints first where there is only a loopback, whatever `entityid` says."""

# Makes the Asterisk's root inside the world: the installed tree read-only, all else empty and in memory, and the instance's folder
# (and other shared ones) at the same path as on the host, so that no path needs translating.
BUILD_ROOT = """
set -eu
tree=$1 root=$2; shift 2
mount -t tmpfs -o mode=0755 tmpfs "$root"
for entry in "$tree"/*; do
    name=${entry##*/}
    if [ -L "$entry" ]; then cp -P "$entry" "$root/$name"; else mkdir -p "$root/$name"; fi
done
for name in usr etc; do mount --bind "$tree/$name" "$root/$name"; mount -o remount,bind,ro "$root/$name"; done
mount --rbind /dev "$root/dev"
mount --rbind /proc "$root/proc"
chmod 1777 "$root/tmp"; mkdir -p "$root/var/tmp" "$root/run"
for name in hosts resolv.conf; do mount --bind "/etc/$name" "$root/etc/$name"; done
for folder; do mkdir -p "$root$folder"; mount --bind "$folder" "$root$folder"; done
"""


class AsteriskFailed(RuntimeError):
    """Asterisk did not do what was asked; the message ends with the tail of its log."""


class AsteriskInstance:
    """A private Asterisk whose whole state is in one folder; paths are the same inside and outside.

    ``folder``: its home (made if missing, kept on close); without one, a temporary folder that close() removes.
    ``shared``: more host folders that Asterisk may read and write, at their own paths (they must exist).
    ``verbosity``: of log/full; 0 for load tests.
    ``config``: file name -> text, replacing or adding to `base_config`.
    ``silent``: its world's network is down, so that it cannot send a packet; its manager cannot be reached then.
    ``hosts``: names that it finds in its hosts file, each at an address that is nobody's.
    ``documented``: whether its console can explain applications; without, it boots in a third of the time.

    Use it as a context manager, or call `start` and `close`. Everything in it dies with this process.
    """

    def __init__(
        self,
        install: AsteriskInstall,
        *,
        folder: Path | None = None,
        config: dict[str, str] | None = None,
        shared: Sequence[Path] = (),
        verbosity: int = 3,
        silent: bool = False,
        hosts: Sequence[str] = (),
        documented: bool = True,
    ) -> None:
        self.install = install
        self._temporary = folder is None
        self.folder = Path(tempfile.mkdtemp(prefix="asterisk-")) if folder is None else folder.absolute()
        self.etc, self.spool = self.folder / "etc", self.folder / "spool"
        self.log, self.run_folder = self.folder / "log", self.folder / "run"
        control = self.run_folder / "asterisk.ctl"
        if len(str(control).encode()) > LONGEST_SOCKET_PATH:
            raise ValueError(
                f"folder: {control} is longer than {LONGEST_SOCKET_PATH} bytes, the limit of a unix socket"
            )
        self.ami_host, self.ami_port = "127.0.0.1", AMI_PORT
        self.ami_secrets = {"tandem-dialer": secrets.token_hex(16), "tandem-config": secrets.token_hex(16)}
        self._process: subprocess.Popen[Any] | None = None
        self._make_folders()
        base = base_config(
            self.folder,
            dialer_secret=self.ami_secrets["tandem-dialer"],
            config_secret=self.ami_secrets["tandem-config"],
            verbosity=verbosity,
            max_open_files=_max_open_files(),
        )
        for name, text in {**base, **(config or {})}.items():
            self.write_config(name, text)
        self._world: World | None = None
        try:
            self._world = World(silent=silent)
            self._furnish_world(shared, hosts)
            if not documented:
                self._thin_documentation()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def write_config(self, name: str, text: str) -> Path:
        """Write ``etc/<name>`` (sub-folders are made); the running Asterisk reads it at the next reload."""
        path = self.etc / name
        if not path.resolve().is_relative_to(self.etc.resolve()):
            raise ValueError(f"name: {name!r} is outside the configuration folder")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    @property
    def world(self) -> World:
        """Its namespaces."""
        assert self._world is not None
        return self._world

    @property
    def process(self) -> subprocess.Popen[Any]:
        """The running Asterisk (its ``pid`` is the host's); raises `AsteriskFailed` when it is not running."""
        if self._process is None or self._process.poll() is not None:
            raise AsteriskFailed(self._describe("Asterisk is not running"))
        return self._process

    def start(self, *, timeout_s: float = BOOT_TIMEOUT_S) -> None:
        """Start and wait until fully booted. Raises `AsteriskFailed`."""
        if self._process is not None and self._process.poll() is None:
            raise AsteriskFailed("Asterisk is running already")
        with (self.log / "console.log").open("ab") as console:
            argv = self.command("-f", "-C", str(self.etc / "asterisk.conf"))
            self._process = self.world.popen(
                argv, cwd="/", stdout=console, stderr=subprocess.STDOUT, start_new_session=True
            )
        deadline = time.monotonic() + timeout_s
        while True:
            if self._process.poll() is not None:
                raise AsteriskFailed(
                    self._describe(f"Asterisk ended while booting, with status {self._process.returncode}")
                )
            # Fails at once while the control socket does not exist yet, waits for the boot when it does.
            if (self.run_folder / "asterisk.ctl").exists():
                answer = self._rx("core waitfullybooted", timeout_s=max(0.1, deadline - time.monotonic()))
                if answer is not None and "fully booted" in answer:
                    return
            if time.monotonic() > deadline:
                self.kill()
                raise AsteriskFailed(self._describe(f"Asterisk was not fully booted after {timeout_s:g} s"))
            time.sleep(0.01)

    def cli(self, command: str, *, timeout_s: float = CLI_TIMEOUT_S) -> str:
        """What the console prints for one command. Raises `AsteriskFailed`."""
        if not command.isprintable():
            raise ValueError("command: control characters are not allowed")
        answer = self._rx(command, timeout_s=timeout_s)
        if answer is None:
            raise AsteriskFailed(self._describe(f"no answer to the console command {command!r}"))
        return answer

    def reload(self, module: str = "") -> str:
        """Reload one module (``res_pjsip.so``, ``app_queue.so``…), ``dialplan``, or everything."""
        if module == "dialplan":
            return self.cli("dialplan reload")
        return self.cli(f"module reload {module}".strip())

    def stop(self, *, timeout_s: float = STOP_TIMEOUT_S) -> None:
        """End Asterisk in order, and with SIGKILL where that takes longer than ``timeout_s``. Its world stays."""
        if self._process is None or self._process.poll() is not None:
            return
        self._rx("core stop now", timeout_s=timeout_s)
        try:
            self._process.wait(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """SIGKILL, as a crash would; its world and files stay."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def restart(self) -> None:
        """Stop and start again, with the same files, AMI secrets and AstDB."""
        self.stop()
        self.start()

    def close(self) -> None:
        """End Asterisk (in order where its folder stays) and its world with everything in it. Idempotent."""
        if self._world is not None:
            if not self._temporary:
                self.stop()
            self._world.close()
        if self._temporary:
            shutil.rmtree(self.folder, ignore_errors=True)

    def popen(self, argv: Sequence[str | Path], **options: Any) -> subprocess.Popen[Any]:
        """Start another program in Asterisk's network and PID namespaces, on the host's file system; see `World.popen`."""
        return self.world.popen(argv, **options)

    def run(self, argv: Sequence[str | Path], **options: Any) -> subprocess.CompletedProcess[str]:
        """Run another program to its end there; see `World.run`."""
        return self.world.run(argv, **options)

    def connect(self, host: str, port: int, *, timeout_s: float = 10.0) -> socket.socket:
        """A TCP connection of this process into the world; see `World.connect`."""
        return self.world.connect(host, port, timeout_s=timeout_s)

    def listen(self, host: str = "127.0.0.1", port: int = 0, *, backlog: int = 1024) -> socket.socket:
        """A listening TCP socket of this process in the world; see `World.listen`."""
        return self.world.listen(host, port, backlog=backlog)

    def connect_ami(self) -> socket.socket:
        """A TCP connection to its manager interface (not logged in)."""
        return self.connect(self.ami_host, self.ami_port)

    def read_log(self) -> str:
        """All of log/full; empty before the first start."""
        return _read(self.log / "full")

    def log_tail(self, lines: int = 40) -> str:
        """The last lines of the console and of log/full, for an error message."""
        console = _read(self.log / "console.log").splitlines()[-10:]
        return "\n".join([*console, *self.read_log().splitlines()[-lines:]])

    def command(self, *arguments: str) -> list[str]:
        """The argument list that runs its binary in its root, for `popen`."""
        chroot = ["chroot", str(self._root)] if self.install.root is not None else []
        return [*chroot, self.install.binary, *arguments]

    def _rx(self, command: str, *, timeout_s: float) -> str | None:
        argv = self.command("-C", str(self.etc / "asterisk.conf"), "-rx", command)
        try:
            done = self.world.run(argv, cwd="/", timeout_s=timeout_s, check=False)
        except subprocess.TimeoutExpired:
            return None
        return done.stdout.removeprefix(NO_ETHERNET) if done.returncode == 0 else None

    def _describe(self, problem: str) -> str:
        return f"{problem}; its folder is {self.folder}, and its log ends with:\n{self.log_tail()}"

    def _make_folders(self) -> None:
        self._root = self.folder / "root"
        for folder in (
            *(
                self.folder,
                self.etc,
                self.folder / "lib",
                self.folder / "lib/keys",
                self.spool,
                self.run_folder,
                self._root,
            ),
            *(self.spool / "voicemail", self.spool / "monitor", self.spool / "outgoing", self.spool / "tmp"),
            # A missing one of these three loses every record, with one line in the log.
            *(self.log, self.log / "cdr-custom", self.log / "cdr-csv", self.log / "cel-custom"),
        ):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def _furnish_world(self, shared: Sequence[Path], names: Sequence[str]) -> None:
        hosts = self.folder / "hosts"
        lines = (f"{address} {name}\n" for address, name in zip(NOBODYS_NETWORK.hosts(), names, strict=False))
        hosts.write_text(f"127.0.0.1 localhost {socket.gethostname()}\n::1 localhost\n{''.join(lines)}")
        resolver = self.folder / "resolv.conf"
        resolver.write_text("# no network here, so no name server\n")
        for ours, name in ((hosts, "/etc/hosts"), (resolver, "/etc/resolv.conf")):
            if Path(name).exists():
                self.world.run(["mount", "--bind", str(ours), name])
        if self.install.root is not None:
            folders = [str(path.absolute()) for path in (self.folder, *shared)]
            self.world.run(["sh", "-c", BUILD_ROOT, "sh", str(self.install.root), str(self._root), *folders])

    def _thin_documentation(self) -> None:
        tree, root = self.install.root or Path("/"), self._root if self.install.root is not None else Path("/")
        for place in PLACES:
            thin = self.folder / "documentation" / place.partition("/")[0]
            if (tree / place).is_dir() and copy_thinned(tree / place, thin):
                self.world.run(["mount", "--bind", str(thin), str(root / place)])


def _max_open_files() -> int:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return MAX_OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, MAX_OPEN_FILES)


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
