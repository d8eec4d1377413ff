"""Finds an Asterisk to run privately, or makes one with debootstrap in a cache folder.

It never touches an Asterisk of the host, never downloads from anywhere but the machine's own apt sources, and never leaves a
half-made tree where a later run would use it.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tandem.asterisk.namespaces import NamespaceError, World

OLDEST_MAJOR = 20
"""Oldest release on the PATH that is accepted."""
PINNED_MAJOR = 22
"""The release that is made when there is none on the PATH."""
SUITES = ("sid", "forky")
"""Debian suites that package it, in the order they are tried."""
PACKAGES = ("asterisk", "asterisk-core-sounds-en-wav", "asterisk-moh-opsound-wav", "tzdata")
DEBOOTSTRAP_TIMEOUT_S = 1800.0
APT = Path("/etc/apt")

Progress = Callable[[str], None]


class AsteriskUnavailable(RuntimeError):
    """There is no Asterisk and none can be made here; the message says what to install."""


@dataclass(frozen=True, slots=True)
class AsteriskInstall:
    """Where an Asterisk is: ``binary`` inside ``root``, or on the host where ``root`` is None."""

    binary: str
    version: str
    root: Path | None = None

    @property
    def major(self) -> int:
        """Major version, as 22 of 22.10.1."""
        return parse_major(self.version)


def find_asterisk(progress: Progress = lambda _: None) -> AsteriskInstall:
    """The Asterisk on the PATH if it is new enough, else the cached Debian root, made now if it is not there.

    ``progress`` gets a line for each step that may take longer than a second. Safe in several processes at once: one makes
    the root, the others wait for it. Raises `AsteriskUnavailable`.
    """
    on_path = shutil.which("asterisk")
    if on_path is not None:
        version = read_version([on_path, "-V"])
        if parse_major(version) >= OLDEST_MAJOR:
            return AsteriskInstall(on_path, version)
        progress(
            f"{on_path} is {version or 'of unknown version'}; Asterisk {OLDEST_MAJOR} or newer is needed, so another is used"
        )
    root = cache_folder() / f"asterisk-{PINNED_MAJOR}"
    if not root.is_dir():
        _check_can_make()
        root.parent.mkdir(parents=True, exist_ok=True)
        with _locked(root.parent / "lock", progress):
            if not root.is_dir():
                _make_root(root, progress)
    return AsteriskInstall("/usr/sbin/asterisk", _check_root(root), root)


def locate_asterisk() -> AsteriskInstall:
    """As `find_asterisk`, but never makes one: for a service that must not install anything. Raises `AsteriskUnavailable`."""
    if shutil.which("asterisk") is None and not (cache_folder() / f"asterisk-{PINNED_MAJOR}").is_dir():
        raise AsteriskUnavailable("there is no asterisk on the PATH")
    return find_asterisk()


def cache_folder() -> Path:
    """``$TANDEM_CACHE``, else /var/cache/tandem for root, else a folder in the user's cache."""
    chosen = os.environ.get("TANDEM_CACHE")
    if chosen:
        return Path(chosen).absolute()
    if os.geteuid() == 0:
        return Path("/var/cache/tandem")
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tandem"


def parse_major(version: str) -> int:
    """Major number in what ``asterisk -V`` prints: ``Asterisk 22.10.1~dfsg``, ``Asterisk certified/20.7``; 0 if there is none."""
    match = re.match(r"Asterisk (?:certified[/-]|certified-|GIT-)?(\d+)\b", version)
    return int(match[1]) if match else 0


def read_version(argv: list[str]) -> str:
    """What a version command prints, or an empty string where it cannot be run."""
    try:
        return subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False).stdout.strip()
    except (OSError, subprocess.TimeoutExpired):
        return ""


def list_mirrors(apt: Path) -> list[str]:
    """Debian mirrors that this machine's apt already uses, in the order of its files.

    An entry counts when it has component ``main`` and a suite that is a plain name of Debian's (no ``-security``, no third
    party's): only such a mirror can have the suites we need.
    """
    names = {"stable", "oldstable", "testing", "unstable", *SUITES, "bookworm", "trixie", _host_codename()}
    mirrors: dict[str, None] = {}
    for uris, suites, components in _read_sources(apt):
        if "main" in components and names & set(suites):
            mirrors.update(
                dict.fromkeys(uri.rstrip("/") for uri in uris if uri.startswith(("http://", "https://", "file:/")))
            )
    return list(mirrors)


def _read_sources(apt: Path) -> Iterator[tuple[list[str], list[str], list[str]]]:
    """(URIs, suites, components) of every ``deb`` entry, in both of apt's formats (sources.list(5))."""
    folder = apt / "sources.list.d"
    for path in (apt / "sources.list", *sorted(folder.glob("*.list"))):
        for line in path.read_text(errors="replace").splitlines() if path.is_file() else ():
            words = re.sub(r"\[[^]]*\]", " ", line.partition("#")[0]).split()
            if len(words) > 3 and words[0] == "deb":
                yield [words[1]], [words[2]], words[3:]
    for path in sorted(folder.glob("*.sources")):
        text = re.sub(r"(?m)^#.*\n?", "", path.read_text(errors="replace"))
        for stanza in re.split(r"\n\s*\n", text):
            joined = re.sub(r"\n[ \t]+", " ", stanza)
            fields = {
                name.strip().lower(): value.split()
                for name, _, value in (line.partition(":") for line in joined.splitlines())
            }
            if "deb" in fields.get("types", []) and fields.get("enabled", ["yes"])[0].lower() not in (
                "no",
                "false",
                "0",
            ):
                yield fields.get("uris", []), fields.get("suites", []), fields.get("components", [])


def _host_codename() -> str:
    path = Path("/etc/os-release")
    match = re.search(r'(?m)^VERSION_CODENAME="?([a-z]+)', path.read_text() if path.is_file() else "")
    is_debian = path.is_file() and re.search(r"(?m)^ID=debian$", path.read_text())
    return match[1] if match and is_debian else "sid"


def _check_can_make() -> None:
    advice = f"please install Asterisk {OLDEST_MAJOR} or newer so that `asterisk` is on the PATH"
    if os.geteuid() != 0:
        raise AsteriskUnavailable(
            f"there is no Asterisk here, and making one needs root: run as root on Debian, or {advice}"
        )
    if shutil.which("debootstrap") is None:
        raise AsteriskUnavailable(
            f"there is no Asterisk here: please install debootstrap (and run this again), or {advice}"
        )
    if not list_mirrors(APT):
        raise AsteriskUnavailable(f"there is no Asterisk here, and no Debian mirror in {APT}/sources.list*: {advice}")


@contextmanager
def _locked(path: Path, progress: Progress) -> Iterator[None]:
    """Hold ``path`` exclusively; the kernel frees it when this process ends, however it ends."""
    with path.open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress("another run is making the Asterisk; waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _make_root(root: Path, progress: Progress) -> None:
    """Make the tree beside ``root`` and rename it when it is whole. The caller holds the lock."""
    for stale in root.parent.glob("making-*"):
        progress(f"removing {stale}, left by a run that did not finish")
        shutil.rmtree(stale)
    problems: list[str] = []
    for suite in SUITES:
        for mirror in list_mirrors(APT):
            building = Path(tempfile.mkdtemp(prefix="making-", dir=root.parent))
            progress(f"making Asterisk {PINNED_MAJOR} from Debian {suite} in {root} (once; a minute or two)")
            try:
                _debootstrap(suite, building, mirror, progress)
                version = _check_root(building)
            except AsteriskUnavailable as error:
                problems.append(f"Debian {suite} from {mirror}: {error}")
                progress(problems[-1])
                shutil.rmtree(building)
                continue
            shutil.rmtree(building / "var/cache/apt/archives", ignore_errors=True)
            for name in ("hosts", "resolv.conf"):  # each instance mounts its own over them
                (building / "etc" / name).touch()
            building.chmod(0o755)
            building.rename(root)
            progress(f"{version} is ready in {root}")
            return
    raise AsteriskUnavailable("no Asterisk could be made:\n" + "\n".join(problems))


def _debootstrap(suite: str, target: Path, mirror: str, progress: Progress) -> None:
    """Run debootstrap in a world of its own, so that a run killed half-way leaves no process and no mount behind."""
    command = ["debootstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}", suite, str(target), mirror]
    last_lines: list[str] = []
    told: set[str] = set()
    try:
        with World(own_network=False) as world:
            process = world.popen(
                command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
            )
            for line in process.stdout or ():
                last_lines = [*last_lines[-4:], line.strip()]
                # "I: Retrieving …", "I: Unpacking …" come once for each of two hundred packages: a person wants the steps.
                step = " ".join(line.split()[:2])
                if step not in told or not step.startswith("I:"):
                    told.add(step)
                    progress(line.strip())
            status = process.wait(timeout=DEBOOTSTRAP_TIMEOUT_S)
    except NamespaceError as error:
        raise AsteriskUnavailable(str(error)) from error
    if status != 0:
        raise AsteriskUnavailable(f"debootstrap ended with status {status}: {' / '.join(last_lines)}")


def _check_root(root: Path) -> str:
    version = read_version(["chroot", str(root), "/usr/sbin/asterisk", "-V"])
    if parse_major(version) != PINNED_MAJOR:
        raise AsteriskUnavailable(
            f"{root} has {version or 'no Asterisk that runs'}, and Tandem is pinned to Asterisk {PINNED_MAJOR}: "
            f"install one so that `asterisk` is on the PATH, or remove that folder to have it made again"
        )
    return version
