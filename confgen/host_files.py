"""Asterisk's own files: what `tandem init` adds to them or puts in their place, and how `tandem uninstall` takes it back; never touches a line of the admin's.

Guest mode adds one marked block at the end of a file; the block is all that is ever changed or removed again. Owner mode puts a whole file there.
A file that was there before is kept beside it (`.before-tandem`), once.
"""

import os
import re
import secrets
import shutil
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from confgen.host_records import RECORD_CONFS, list_record_lines
from confgen.pjsip_objects import OBJECTS_FILE, SORCERY_FILE, is_mapped, list_mappings
from confgen.render import GUEST_FILES, OWNER_FILES
from tandem.domain.records import RecordFiles, list_declined

BACKUP_SUFFIX: Final = ".before-tandem"
BEGIN: Final = "; >>> added by `tandem init`, taken back by `tandem uninstall`"
END: Final = "; <<< tandem"
# In a folder for Asterisk's records that was made, or opened to its group: then with the mode that it had.
FOLDER_MARK: Final = ".made-by-tandem"
OWNED: Final = "; Written whole by `tandem init` (owner mode); `tandem uninstall` puts back what was here."
NEW_MODE: Final = 0o640
# Asterisk's group may write: Tandem sets files that have grown aside.
FOLDER_MODE: Final = 0o2770

_BLOCK: Final = re.compile(rf"\n?{re.escape(BEGIN)}\n.*?{re.escape(END)}\n", re.DOTALL)
_INCLUDE: Final = re.compile(r'^#(?:try)?include\s*=?>?\s*["<]?([^">\n;]+)[">]?', re.MULTILINE)
_MAX_DEPTH: Final = 5

DIALER_READ: Final = "system,call,agent,user,dtmf,reporting,cdr,dialplan"
DIALER_WRITE: Final = "call,agent,originate,reporting"
CONFIG_READ: Final = "system,call,agent,user,dtmf,reporting,cdr,dialplan"
CONFIG_WRITE: Final = "system,config,command,agent,call,reporting"


@dataclass(frozen=True, slots=True)
class AmiUsers:
    """The two logins: the dialer's, without the right `system`, and the configuration's."""

    dialer: str
    dialer_secret: str
    config: str
    config_secret: str


@dataclass(frozen=True, slots=True)
class HostFile:
    """A file of Asterisk's as it shall be; None where it shall be gone. before: as it was read, None where it was not there."""

    path: Path
    before: str | None
    after: str | None

    @property
    def is_changed(self) -> bool:
        """Whether there is something to write."""
        return self.before != self.after


def plan_install(
    mode: Literal["guest", "owner"],
    etc: Path,
    folder: Path,
    users: AmiUsers,
    records: RecordFiles,
    modules: tuple[str, ...],
    sip_bind: str,
) -> tuple[HostFile, ...]:
    """What `init` makes of Asterisk's files in `etc`; `folder` is that of our files. The same again is no change.

    sip_bind: where a guest's PJSIP listens, if its admin has no transport yet. HostConflict where the admin's files exclude what is needed; then nothing is planned.
    """
    if mode == "owner":
        names = (
            *(name for name in OWNER_FILES if name != "pjsip_transport.conf"),
            *(OBJECTS_FILE, SORCERY_FILE, "manager.conf", "modules.conf", "stasis.conf"),
        )
        return tuple(
            HostFile(etc / name, _read(etc / name), _compose_owned(name, folder, users, modules)) for name in names
        )
    files = []
    apart = (OBJECTS_FILE, SORCERY_FILE) if _may_be_apart(etc, folder) else ()
    for name in (*GUEST_FILES, *apart, "manager.conf", *RECORD_CONFS):
        before = _read(etc / name)
        rest = _without_block(before or "")
        if name not in RECORD_CONFS:
            lines = list(_block_lines(name, rest, etc, folder, users, sip_bind, are_apart=bool(apart)))
        elif name == "modules.conf" and not rest:
            continue  # Asterisk's default loads everything
        else:
            lines = list(list_record_lines(name, _options_of(rest, etc, name), records))
        after = f"{rest}\n{BEGIN}\n" + "\n".join(lines) + f"\n{END}\n" if lines else rest
        files.append(HostFile(etc / name, before, after if after or before is not None else None))
    return tuple(files)


def plan_uninstall(etc: Path) -> tuple[HostFile, ...]:
    """What takes it back: our blocks out, whole files of ours replaced by what was there before."""
    files = []
    for path in sorted(etc.glob("*.conf")):
        before = _read(path) or ""
        if before.startswith(OWNED):
            files.append(HostFile(path, before, _read(path.with_name(path.name + BACKUP_SUFFIX))))
        elif BEGIN in before:
            left = _without_block(before)
            # A file that was made for the block alone goes with it.
            files.append(HostFile(path, before, left if left.strip() else None))
    return tuple(files)


def write_host_file(file: HostFile) -> None:
    """Writes, by one rename, keeping mode and owner; what was there first stays as a backup. OSError."""
    path = file.path
    if file.after is None:
        path.unlink(missing_ok=True)
        return
    backup = path.with_name(path.name + BACKUP_SUFFIX)
    if file.before is not None and BEGIN not in file.before and OWNED not in file.before and not backup.exists():
        shutil.copy2(path, backup)
        _keep_owner(path, backup)
    fresh = path.with_name(f".{path.name}-{secrets.token_hex(4)}")
    try:
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, NEW_MODE), "wb") as stream:
            stream.write(file.after.encode("utf-8", "surrogateescape"))
            stream.flush()
            os.fsync(stream.fileno())
        if path.exists():
            shutil.copymode(path, fresh)
        _keep_owner(path if path.exists() else path.parent, fresh)
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)


def make_record_folders(records: RecordFiles) -> list[Path]:
    """Makes the folders of Asterisk's records, for whoever owns the log folder, or opens them to their group; which ones it did. OSError."""
    done = []
    for folder in records.folders:
        had = stat.S_IMODE(folder.stat().st_mode) if folder.is_dir() else None
        if had is not None and had & stat.S_IWGRP:
            continue
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(FOLDER_MODE if had is None else had | stat.S_IWGRP | stat.S_ISGID)
        if had is None:
            _keep_owner(folder.parent, folder)
        (folder / FOLDER_MARK).write_text("" if had is None else f"{had:o}")
        done.append(folder)
    return done


def remove_record_folders(records: RecordFiles) -> list[Path]:
    """Takes the folders back that were made, where nothing is in them, and the modes of others; those that stay because of their records. OSError."""
    kept = []
    for folder in records.folders:
        had = _read(folder / FOLDER_MARK)
        if had is None:
            continue
        (folder / FOLDER_MARK).unlink()
        if had:
            folder.chmod(int(had, 8))
        elif any(folder.iterdir()):
            kept.append(folder)
        else:
            folder.rmdir()
    return kept


def remove_backups(files: tuple[HostFile, ...]) -> None:
    """Takes away the backups of files that are again what they were; one that differs (the admin changed his file since) stays."""
    for file in files:
        backup = file.path.with_name(file.path.name + BACKUP_SUFFIX)
        if _read(backup) is not None and _read(backup) == _read(file.path):
            backup.unlink()


def read_ami_secret(etc: Path, user: str) -> str | None:
    """The secret of a login in our block of manager.conf; None where there is none."""
    found = _BLOCK.search(_read(etc / "manager.conf") or "")
    text = found[0] if found else _read(etc / "manager.conf") or ""
    match = re.search(rf"^\[{re.escape(user)}\]\nsecret = (\S+)$", text, re.MULTILINE)
    return match[1] if match else None


def _without_block(text: str) -> str:
    """The admin's text alone, to the byte; where his last line had no end and he went on after the block, it gets one."""

    def rejoin(block: re.Match[str]) -> str:
        before = text[: block.start()]
        return "\n" if before and not before.endswith("\n") and block.end() < len(text) else ""

    return _BLOCK.sub(rejoin, text)


def _may_be_apart(etc: Path, folder: Path) -> bool:
    """Whether phones and trunks can have a file of their own in guest mode.

    Not where the admin keeps them elsewhere, nor where pjsip.conf includes ours, be it his line or one of ours: an Asterisk that was not
    restarted since would read the one file no more and the other one not yet.
    """
    included = _read(etc / "pjsip.conf") or ""
    if "tandem/current/pjsip.conf" in included or f"{folder}/current/pjsip.conf" in included:
        return False
    return not is_mapped(_sections_of(_without_block(_read(etc / SORCERY_FILE) or ""), etc, SORCERY_FILE))


def _block_lines(
    name: str, text: str, etc: Path, folder: Path, users: AmiUsers, sip_bind: str, *, are_apart: bool
) -> Iterator[str]:
    if name == SORCERY_FILE:
        yield from list_mappings(_sections_of(text, etc, name))
        return
    if name == OBJECTS_FILE:
        yield "#tryinclude pjsip.conf"
        yield from (f"#tryinclude {folder}/{kept}/pjsip.conf" for kept in ("current", "own"))
        return
    sections = _sections_of(text, etc, name)
    if name == "manager.conf":
        if "yes" not in sections.get("general", {}).get("enabled", "no").lower():
            yield "[general](+)" if "general" in sections else "[general]"
            yield "enabled = yes"
            yield "bindaddr = 127.0.0.1"
        yield from _ami_lines(users)
        return
    if f"tandem/current/{name}" in text or f"{folder}/current/{name}" in text:
        return  # the admin has included it already, at a place of his choice
    if name == "pjsip.conf" and not any(options.get("type") == "transport" for options in sections.values()):
        yield "[tandem-udp]"
        yield "type = transport"
        yield "protocol = udp"
        yield f"bind = {sip_bind}"
    if name == "pjsip.conf" and are_apart:
        return
    if name == "queues.conf" and sections.get("general", {}).get("persistentmembers", "no") != "yes":
        yield "[general](+)" if "general" in sections else "[general]"
        yield "persistentmembers = yes"
    needed = {"extensions.conf": "globals", "voicemail.conf": "zonemessages"}.get(name)
    if name == "voicemail.conf" and "general" not in sections:
        yield "[general]"
        yield "format = wav"
    if needed is not None and needed not in sections:
        yield f"[{needed}]"
    yield f"#tryinclude {folder}/current/{name}"
    yield f"#tryinclude {folder}/own/{name}"


def _ami_lines(users: AmiUsers) -> Iterator[str]:
    for user, secret, read, write in (
        (users.dialer, users.dialer_secret, DIALER_READ, DIALER_WRITE),
        (users.config, users.config_secret, CONFIG_READ, CONFIG_WRITE),
    ):
        yield f"[{user}]"
        yield f"secret = {secret}"
        yield "deny = 0.0.0.0/0.0.0.0"
        yield "permit = 127.0.0.1/255.255.255.255"
        yield f"read = {read}"
        yield f"write = {write}"
        yield "writetimeout = 1000"


def _compose_owned(name: str, folder: Path, users: AmiUsers, modules: tuple[str, ...]) -> str:
    match name:
        case "manager.conf":
            body = ["[general]", "enabled = yes", "bindaddr = 127.0.0.1", "authtimeout = 5", "", *_ami_lines(users)]
        case "stasis.conf":
            body = list(list_declined())
        case "modules.conf":
            body = ["[modules]", "autoload = no", *(f"load = {module}.so" for module in modules)]
        case "pjsip.conf":
            body = [
                f"#tryinclude {folder}/current/pjsip_transport.conf",
                "; What is neither a phone nor a trunk: global, system, acl and other transports.",
                f"#tryinclude {folder}/own/pjsip_system.conf",
            ]
        case _ if name == OBJECTS_FILE:
            body = [f"#tryinclude {folder}/{kept}/pjsip.conf" for kept in ("current", "own")]
        case _ if name == SORCERY_FILE:
            body = list(list_mappings())
        case _:
            body = [f"#tryinclude {folder}/current/{name}", f"#tryinclude {folder}/own/{name}"]
    return "\n".join((OWNED, *body)) + "\n"


def _sections_of(text: str, etc: Path, name: str) -> Mapping[str, Mapping[str, str]]:
    """Section -> option -> value, the last of each."""
    found: dict[str, dict[str, str]] = {}
    for section, option, value in _options_of(text, etc, name):
        options = found.setdefault(section, {})
        if option:
            options[option] = value
    return found


def _options_of(text: str, etc: Path, name: str) -> Iterator[tuple[str, str, str]]:
    """(section, option, value) of a file and of all that it includes, as far as that can be found; a section begins with two empty texts."""
    section = ""
    for line in _with_includes(text, etc, {name}, 0):
        stripped = line.partition(";")[0].strip()
        if stripped.startswith("[") and "]" in stripped:
            section = stripped[1 : stripped.index("]")]
            yield section, "", ""
        elif "=" in stripped:
            option, _, value = stripped.partition("=")
            yield section, option.strip(), value.removeprefix(">").strip()


def _with_includes(text: str, etc: Path, seen: set[str], depth: int) -> Iterator[str]:
    for line in text.splitlines():
        match = _INCLUDE.match(line)
        if match is None:
            yield line
            continue
        pattern = match[1].strip()
        base, pattern = (Path("/"), pattern.lstrip("/")) if pattern.startswith("/") else (etc, pattern)
        for path in sorted(base.glob(pattern)) if depth < _MAX_DEPTH else ():
            if str(path) not in seen and path.is_file():
                seen.add(str(path))
                yield from _with_includes(_read(path) or "", etc, seen, depth + 1)


def _keep_owner(of: Path, path: Path) -> None:
    status = of.stat()
    _try(lambda: os.chown(path, status.st_uid, status.st_gid))


def _try(work: Callable[[], None]) -> None:
    """Only root can give a file away; who is not root owns both anyway, or could not have written here."""
    try:
        work()
    except PermissionError:
        return


def _read(path: Path) -> str | None:
    try:
        # Not as text: that would turn the line ends of other systems into ours.
        return path.read_bytes().decode("utf-8", "surrogateescape")
    except FileNotFoundError:
        return None
