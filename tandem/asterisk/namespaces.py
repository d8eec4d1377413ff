"""One isolated world of Linux namespaces (mount, network, PID) that dies with the process that made it.

It never touches the mounts, ports or processes outside: what is mounted, bound or started inside is gone when the world
closes, also when its owner is killed with SIGKILL.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any, Self, TypeVar

T = TypeVar("T")

CLONE_FS = 0x00000200
CLONE_NEWNS = 0x00020000
CLONE_NEWNET = 0x40000000
CLONE_NEWPID = 0x20000000

# PID 1 of the world. Its standard input is a pipe that only the owner holds open: when the owner closes it or dies, however it
# dies, `cat` ends, then PID 1, and the kernel kills all the rest. `wait` reaps orphans meanwhile. (With a `read` of the shell's own instead
# of cat, the first orphan's end would be the world's: dash is interrupted by SIGCHLD even where it was told to ignore it.)
# It tells its PID outside (in the /proc it still sees) before it mounts the /proc of the world.
HOLDER = """
set -e
read -r outer_pid rest </proc/self/stat
mount -t proc proc /proc
if [ "$1" = own-network ]; then ip link set lo up; fi
if [ "$1" = silent-network ]; then echo 1 >/proc/sys/net/ipv4/ip_nonlocal_bind || :; fi
exec 3<&0
cat <&3 >/dev/null &
echo "$outer_pid"
exec >&- 3<&- 0<&-
wait $!
"""

_libc = ctypes.CDLL(None, use_errno=True)


class NamespaceError(RuntimeError):
    """The namespaces could not be made or entered; the message says what is missing."""


class World:
    """A mount, network and PID namespace of their own, held by one small process.

    The file system inside is the host's (further mounts stay inside); the network has a loopback device only; with
    ``own_network=False`` it is the host's network. With ``silent=True`` even its loopback stays down: every address can be bound and
    not one packet can leave a socket. Needs root (or to be started under ``unshare --map-root-user``).

    Sockets made by `connect`, `listen` and `udp` belong to *this* process but live in the world's network, so a reactor here can
    serve them. Do not ``fork`` without ``exec`` while one is open: the copy would keep it alive.
    """

    def __init__(self, *, own_network: bool = True, silent: bool = False) -> None:
        _check_tools(own_network=own_network)
        network = ("silent-network" if silent else "own-network") if own_network else "host-network"
        self._children: list[subprocess.Popen[Any]] = []
        self._namespaces: list[tuple[int, int]] = []
        kinds = ["--mount", "--pid", *(["--net"] if own_network else [])]
        self._holder = subprocess.Popen(
            [
                *("unshare", *kinds, "--fork", "--kill-child"),
                *("sh", "-c", HOLDER, "sh", network),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is for the owner, who then closes in order
        )
        try:
            self.holder_pid = self._read_holder_pid()
            for name, flag in (("net", CLONE_NEWNET), ("pid", CLONE_NEWPID), ("mnt", CLONE_NEWNS)):
                if name != "net" or own_network:
                    descriptor = os.open(f"/proc/{self.holder_pid}/ns/{name}", os.O_RDONLY | os.O_CLOEXEC)
                    self._namespaces.append((descriptor, flag))
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def popen(self, argv: Sequence[str | os.PathLike[str]], **options: Any) -> subprocess.Popen[Any]:
        """Start a process inside; it is a direct child of ours, so its ``pid`` and its signals are the real ones.

        ``options`` are those of `subprocess.Popen`. The working directory stays ours unless ``cwd`` is given.
        """
        options.setdefault("cwd", Path.cwd())
        options.setdefault("stdin", subprocess.DEVNULL)
        child: subprocess.Popen[Any] = self.enter(lambda: subprocess.Popen(argv, **options))
        self._children = [*(other for other in self._children if other.poll() is None), child]
        return child

    def run(
        self,
        argv: Sequence[str | os.PathLike[str]],
        *,
        timeout_s: float = 30.0,
        check: bool = True,
        **options: Any,
    ) -> subprocess.CompletedProcess[str]:
        """Run to the end inside, with output captured as text.

        Raises `subprocess.TimeoutExpired` (the process is killed), and with ``check`` `subprocess.CalledProcessError`.
        """
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
        child = self.popen(argv, text=True, errors="replace", **options)
        try:
            stdout, stderr = child.communicate(timeout=timeout_s)
        except BaseException:
            child.kill()
            child.communicate()
            raise
        if check and child.returncode:
            raise subprocess.CalledProcessError(child.returncode, list(argv), stdout, stderr)
        return subprocess.CompletedProcess(list(argv), child.returncode, stdout, stderr)

    def connect(self, host: str, port: int, *, timeout_s: float = 10.0) -> socket.socket:
        """A blocking TCP connection made inside; raises `OSError`."""
        return self.enter(lambda: socket.create_connection((host, port), timeout=timeout_s), CLONE_NEWNET)

    def listen(self, host: str = "127.0.0.1", port: int = 0, *, backlog: int = 1024) -> socket.socket:
        """A listening TCP socket inside; port 0 picks a free one (ask ``getsockname()``)."""
        return self.enter(lambda: socket.create_server((host, port), backlog=backlog), CLONE_NEWNET)

    def udp(self, host: str = "127.0.0.1", port: int = 0) -> socket.socket:
        """A bound UDP socket inside."""

        def bind() -> socket.socket:
            bound = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            bound.bind((host, port))
            return bound

        return self.enter(bind, CLONE_NEWNET)

    def enter(self, work: Callable[[], T], kinds: int = CLONE_NEWNET | CLONE_NEWPID | CLONE_NEWNS) -> T:
        """Call ``work`` in a short-lived thread that is inside; what it raises is raised here.

        A thread, because a namespace belongs to a thread: the rest of this process never leaves its own.
        """
        if not self._namespaces:
            raise NamespaceError("the world is closed")
        result: list[T] = []
        failure: list[BaseException] = []

        def visit() -> None:
            try:
                if kinds & CLONE_NEWNS:
                    _call("unshare", CLONE_FS)  # threads share their working directory; setns refuses that
                for descriptor, flag in self._namespaces:
                    if flag & kinds:
                        _call("setns", descriptor, flag)
                result.append(work())
            except BaseException as error:  # noqa: BLE001  raised again in the caller's thread
                failure.append(error)

        visitor = threading.Thread(target=visit, name="tandem-world")
        visitor.start()
        visitor.join()
        if failure:
            raise failure[0]
        return result[0]

    def _read_holder_pid(self) -> int:
        assert self._holder.stdout is not None
        assert self._holder.stderr is not None
        with self._holder.stdout as stdout:
            line = stdout.readline()
        if line:
            return int(line)
        reason = self._holder.stderr.read().decode(errors="replace").strip()
        raise NamespaceError(
            f"cannot make mount, PID and network namespaces (root is needed; in a container, CAP_SYS_ADMIN too): {reason}"
        )

    def close(self) -> None:
        """Kill everything inside and wait until it is gone. Idempotent."""
        for child in self._children:
            if child.poll() is None:
                child.kill()
        # Reap before waiting for PID 1: it cannot end while a process of its namespace is a zombie of ours.
        for child in self._children:
            child.wait()
        self._children.clear()
        for descriptor, _ in self._namespaces:
            os.close(descriptor)
        self._namespaces.clear()
        pipes: tuple[IO[bytes] | None, ...] = (self._holder.stdin, self._holder.stderr)
        for pipe in pipes:
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()
        self._holder.wait()


def _check_tools(*, own_network: bool) -> None:
    if not sys.platform.startswith("linux"):
        raise NamespaceError("a private Asterisk needs Linux namespaces; this system is not Linux")
    if os.geteuid() != 0:
        raise NamespaceError(
            "a private Asterisk needs root, for its own mount, network and PID namespaces; "
            "with an Asterisk on the PATH, `unshare --user --map-root-user COMMAND` is enough"
        )
    wanted = {"unshare": "util-linux", "mount": "mount", **({"ip": "iproute2"} if own_network else {})}
    missing = [package for tool, package in wanted.items() if shutil.which(tool) is None]
    if missing:
        raise NamespaceError(f"please install {' '.join(missing)}: a private Asterisk needs namespaces")


def _call(function: str, *arguments: int) -> None:
    if getattr(_libc, function)(*arguments) != 0:
        number = ctypes.get_errno()
        raise NamespaceError(f"{function}: {os.strerror(number)}")
