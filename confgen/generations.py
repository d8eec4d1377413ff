"""Whole generations of configuration files on disk, and the links that choose one; a generation, once written, is never changed.

    folder/generations/12-3f9c2a7b1d04/    files, and manifest.json with the hash of each
    folder/current -> generations/…        what Asterisk reads when it reloads; switched by one rename
    folder/live    -> generations/…        what Asterisk has confirmed to have read

    folder/generations/…/.originals.zip    the files again, so that a hand edit can be shown and taken back

A crash at any moment leaves the old or the new generation, whole: a folder gets its name only after everything in it is on the
disk, and a link is replaced by a rename. Files are 0640, folders 0750: they hold SIP secrets. Where `folder` has the setgid bit and
Asterisk's group, what is written below has the group too.
"""

import fcntl
import hashlib
import io
import json
import os
import re
import secrets
import shutil
import stat
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

GENERATIONS: Final = "generations"
MANIFEST: Final = "manifest.json"
ORIGINALS: Final = ".originals.zip"
FILE_MODE: Final = 0o640
FOLDER_MODE: Final = 0o750
_UNFINISHED: Final = ".unfinished-"
_read_name: Final = re.compile(r"([0-9]+)-[0-9a-f]{12}").fullmatch

Link = Literal["current", "live"]


@dataclass(frozen=True, slots=True)
class Generation:
    """A generation on the disk. files: name -> text, without the manifest. edited: files that are not what the manifest says."""

    name: str
    files: Mapping[str, str]
    edited: tuple[str, ...]

    @property
    def revision(self) -> int:
        """The revision it was rendered from."""
        return int(self.name.partition("-")[0])


def name_generation(revision: int, files: Mapping[str, str]) -> str:
    """`12-3f9c2a7b1d04`: the revision and a hash of all names and texts."""
    digest = hashlib.sha256()
    for name in sorted(files):
        digest.update(f"{name}\0{_hash(files[name])}\n".encode())
    return f"{revision}-{digest.hexdigest()[:12]}"


def write_generation(folder: Path, revision: int, files: Mapping[str, str]) -> str:
    """Writes a generation and returns its name; one of this name that is whole already is left as it is.

    OSError (no space, no permission) leaves nothing behind that counts as a generation.
    """
    name = name_generation(revision, files)
    home = folder / GENERATIONS
    _make_folder(home)
    if (home / name).exists():
        if not read_generation(folder, name).edited:
            return name
        # Somebody edited it by hand: keep what they wrote, out of the way.
        (home / name).rename(home / f"{name}.edited-{secrets.token_hex(4)}")
    unfinished = home / f"{_UNFINISHED}{secrets.token_hex(8)}"
    try:
        _make_folder(unfinished)
        for file, text in files.items():
            _write_file(unfinished / file, text)
        manifest = {"revision": revision, "sha256": {file: _hash(files[file]) for file in sorted(files)}}
        _write_bytes(unfinished / ORIGINALS, _pack(files))
        _write_file(unfinished / MANIFEST, json.dumps(manifest, indent=1) + "\n")
        _sync_folder(unfinished)
        unfinished.rename(home / name)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    _sync_folder(home)
    return name


def read_generation(folder: Path, name: str) -> Generation:
    """A generation as it is on the disk now; FileNotFoundError if there is none of this name."""
    home = folder / GENERATIONS / name
    try:
        hashes: dict[str, str] = json.loads((home / MANIFEST).read_text(encoding="utf-8"))["sha256"]
    except FileNotFoundError:
        if not home.is_dir():
            raise
        hashes = {}
    except (ValueError, KeyError):
        hashes = {}
    paths = (path for path in sorted(home.iterdir()) if path.name not in (MANIFEST, ORIGINALS))
    # An editor may have saved another encoding: that is an edit, not a reason to fail.
    files = {path.name: path.read_bytes().decode("utf-8", "surrogateescape") for path in paths if path.is_file()}
    edited = tuple(
        sorted(file for file in {*hashes, *files} if file not in files or hashes.get(file) != _hash(files[file]))
    )
    return Generation(name, files, edited)


def read_originals(folder: Path, name: str) -> dict[str, str]:
    """The files as they were written, whatever was edited since. FileNotFoundError where they are gone too."""
    with zipfile.ZipFile(folder / GENERATIONS / name / ORIGINALS) as packed:
        return {file: packed.read(file).decode("utf-8", "surrogateescape") for file in packed.namelist()}


def restore_files(folder: Path, name: str) -> tuple[str, ...]:
    """Puts edited files back as they were written, each by one rename, and removes what was not there; their names.

    What was edited is kept beside the generation, out of the way.
    """
    edited = read_generation(folder, name).edited
    originals = read_originals(folder, name)
    home = folder / GENERATIONS / name
    aside = home.with_name(f"{name}.edited-{secrets.token_hex(4)}")
    _make_folder(aside)
    for file in edited:
        if (home / file).exists():
            shutil.copy2(home / file, aside / file)
        if file in originals:
            fresh = home / f".restored-{secrets.token_hex(4)}"
            _write_file(fresh, originals[file])
            fresh.replace(home / file)
        else:
            (home / file).unlink()
    _sync_folder(home)
    return edited


def fingerprint_files(folder: Path) -> str:
    """What tells whether anything has moved on the disk: both links, and every file of the current generation as it is now."""
    current, live = linked_generation(folder, "current"), linked_generation(folder, "live")
    digest = hashlib.sha256(f"{current}\0{live}\n".encode())
    if current is not None:
        files = read_generation(folder, current).files
        for name in sorted(files):
            digest.update(f"{name}\0{_hash(files[name])}\n".encode())
    return digest.hexdigest()


class FolderBusy(Exception):
    """Another process changes the configuration in this folder."""


@contextmanager
def lock_folder(folder: Path) -> Iterator[None]:
    """Holds the folder (made if missing) for one apply; FolderBusy if another has it. The kernel lets go of it however we end."""
    _make_folder(folder)
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise FolderBusy(f"another process applies a configuration to {folder}") from None
        yield
    finally:
        os.close(descriptor)


def list_generations(folder: Path) -> tuple[str, ...]:
    """Names of the generations on the disk, the newest last."""
    home = folder / GENERATIONS
    if not home.is_dir():
        return ()
    found = [path for path in home.iterdir() if _read_name(path.name)]
    return tuple(path.name for path in sorted(found, key=lambda path: (path.stat().st_mtime_ns, path.name)))


def linked_generation(folder: Path, link: Link) -> str | None:
    """The generation that `current` or `live` points to, None if there is no such link or it points nowhere."""
    try:
        target = (folder / link).readlink()
    except FileNotFoundError:
        return None
    return target.name if (folder / target).is_dir() else None


def switch_link(folder: Path, link: Link, name: str) -> None:
    """Points `current` or `live` at a generation: before or after, never nothing in between. FileNotFoundError if there is none."""
    if not (folder / GENERATIONS / name / MANIFEST).is_file():
        raise FileNotFoundError(f"there is no generation {name} in {folder}")
    fresh = folder / f".{link}-{secrets.token_hex(8)}"
    # Relative, so that it holds wherever an Asterisk in a root of its own sees the folder.
    fresh.symlink_to(Path(GENERATIONS) / name)
    try:
        fresh.replace(folder / link)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise
    _sync_folder(folder)


def drop_link(folder: Path, link: Link) -> None:
    """Takes a link away; none is fine."""
    (folder / link).unlink(missing_ok=True)
    _sync_folder(folder)


def remove_old_generations(folder: Path, keep: int) -> tuple[str, ...]:
    """Removes all but the newest `keep`, `current` and `live`, and what crashes left unfinished; returns what it removed."""
    names = list_generations(folder)
    kept = {
        *names[max(0, len(names) - keep) :],
        linked_generation(folder, "current"),
        linked_generation(folder, "live"),
    }
    removed = tuple(name for name in names if name not in kept)
    unfinished = (folder / GENERATIONS).glob(f"{_UNFINISHED}*")
    for path in (*(folder / GENERATIONS / name for name in removed), *unfinished):
        shutil.rmtree(path)
    for link in ("current", "live"):
        for path in folder.glob(f".{link}-*"):
            path.unlink()
    return removed


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def _make_folder(path: Path) -> None:
    """With our mode whatever the umask says, keeping a setgid bit that comes from above.

    A mode that is right is left alone: under systemd's RestrictSUIDSGID nobody may ask for a setgid bit, not even for one that is there.
    """
    path.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & ~stat.S_ISGID != FOLDER_MODE:
        path.chmod(FOLDER_MODE | (mode & stat.S_ISGID))


def _write_file(path: Path, text: str) -> None:
    _write_bytes(path, text.encode("utf-8", "surrogateescape"))


def _write_bytes(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE)
    with open(descriptor, "wb") as file:  # noqa: PTH123 - it is a descriptor
        os.fchmod(descriptor, FILE_MODE)
        file.write(content)
        file.flush()
        os.fsync(descriptor)


def _pack(files: Mapping[str, str]) -> bytes:
    """The same files always give the same bytes."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name in sorted(files):
            content = files[name].encode("utf-8", "surrogateescape")
            archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED, 1)
    return packed.getvalue()


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
