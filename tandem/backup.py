"""A whole Tandem as one archive, taken while it runs, put back, or tried out; never trusts a name or a byte of an archive.

manifest.json    what is in it and the SHA-256 of each file: an archive with any other, or another content, is refused whole
database         a consistent copy (tandem.store.copies)
config/          the generated files that Asterisk had
sounds/ recordings/ greetings/    where they are wanted
"""

import hashlib
import json
import os
import secrets
import shutil
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from confgen.generations import linked_generation, read_generation
from confgen.render import RenderTarget, body_of, render
from confgen.verify import try_whole
from tandem.asterisk.trial import HOME_PREFIX
from tandem.domain.snapshot import build_snapshot
from tandem.store.copies import copy_database, restore_database
from tandem.store.database import Store, open_store
from tandem.store.errors import StoreError
from tandem.store.objects import load_pbx
from tandem.store.place import Place, PostgresPlace
from tandem.store.revisions import load_head, load_target

FORMAT: Final = 1
MANIFEST: Final = "manifest.json"
DATABASE: Final = "database"
CONFIG: Final = "config"
_TRIES: Final = 5
_CHUNK: Final = 1024 * 1024


class BackupError(Exception):
    """The archive is not what it should be; says why, and nothing was changed."""


@dataclass(frozen=True, slots=True)
class Verified:
    """What trying an archive out found. differences: files that the restored database does not make as they were; empty is good."""

    revision: int
    head: int
    files: int
    differences: tuple[str, ...]
    check: str


def write_backup(path: Path, place: Place, config_dir: Path, folders: Mapping[str, Path]) -> dict[str, Any]:
    """Writes the archive beside `path` and renames it when it is whole; its manifest. folders: name in the archive -> folder.

    StoreError, OSError: nothing is left behind.
    """
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with tempfile.TemporaryDirectory(prefix="tandem-backup-", dir=path.parent) as scratch:
            copy = Path(scratch) / DATABASE
            generation = _copy_in_step(place, config_dir, copy)
            with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
                manifest = _write_archive(stream, place, copy, config_dir, generation, folders)
                stream.flush()
                os.fsync(stream.fileno())
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)
    return manifest


def _copy_in_step(place: Place, config_dir: Path, copy: Path) -> str | None:
    """A copy of the database that fits the generation it returns: an apply may come in between."""
    for _ in range(_TRIES):
        generation = linked_generation(config_dir, "live")
        copy.unlink(missing_ok=True)
        copy_database(place, copy)
        if linked_generation(config_dir, "live") == generation:
            return generation
    raise StoreError(place, "changes are applied all the time", "try again at a quiet moment")


def _write_archive(
    stream: Any, place: Place, copy: Path, config_dir: Path, generation: str | None, folders: Mapping[str, Path]
) -> dict[str, Any]:
    hashes: dict[str, str] = {}
    with tarfile.open(fileobj=stream, mode="w:gz", compresslevel=6) as archive:
        _add(archive, DATABASE, copy, hashes)
        if generation is not None:
            home = config_dir / "generations" / generation
            for name in sorted(read_generation(config_dir, generation).files):
                _add(archive, f"{CONFIG}/{name}", home / name, hashes)
        for name, folder in folders.items():
            for file in sorted(it for it in folder.rglob("*") if it.is_file() and not it.is_symlink()):
                _add(archive, f"{name}/{file.relative_to(folder)}", file, hashes)
        manifest = {
            "format": FORMAT,
            "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "database": "postgresql" if isinstance(place, PostgresPlace) else "sqlite",
            "generation": generation,
            "folders": sorted(folders),
            "sha256": hashes,
        }
        with tempfile.NamedTemporaryFile("w", encoding="utf-8") as written:
            json.dump(manifest, written, indent=1)
            written.flush()
            archive.add(written.name, MANIFEST)
    return manifest


def _add(archive: tarfile.TarFile, name: str, path: Path, hashes: dict[str, str]) -> None:
    """A file that goes away meanwhile (a recording, by retention) is left out; one that grows is cut at what it was."""
    try:
        with path.open("rb") as file:
            info = archive.gettarinfo(arcname=name, fileobj=file)
            reading = _Hashing(file)
            archive.addfile(info, reading)
    except FileNotFoundError:
        return
    hashes[name] = reading.digest.hexdigest()


class _Hashing:
    """A file that is hashed while it is read."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self.digest = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        """The next bytes."""
        content: bytes = self._file.read(size)
        self.digest.update(content)
        return content


@contextmanager
def open_backup(path: Path, scratch: Path | None = None) -> Iterator[tuple[Path, dict[str, Any]]]:
    """(a folder with what is in the archive, its manifest), all of it checked. BackupError, OSError."""
    with tempfile.TemporaryDirectory(prefix="tandem-restore-", dir=scratch) as folder:
        home = Path(folder)
        try:
            with tarfile.open(path, "r:gz") as archive:
                for member in archive:
                    if not member.isfile():
                        raise BackupError(f"{path}: {member.name} is no file")
                    archive.extract(member, home, filter="data")
            manifest = json.loads((home / MANIFEST).read_text(encoding="utf-8"))
            hashes = manifest["sha256"]
            if manifest["format"] != FORMAT:
                raise BackupError(f"{path}: has format {manifest['format']}, and this Tandem reads {FORMAT}")
        except (tarfile.TarError, EOFError, ValueError, KeyError, TypeError, FileNotFoundError) as error:
            if isinstance(error, FileNotFoundError) and not path.exists():
                raise
            raise BackupError(f"{path}: is no backup of Tandem's, or not a whole one ({error})") from error
        present = {str(it.relative_to(home)) for it in home.rglob("*") if it.is_file()} - {MANIFEST}
        if wrong := sorted(present ^ hashes.keys()) or [
            it for it in sorted(present) if _digest(home / it) != hashes[it]
        ]:
            raise BackupError(f"{path}: is damaged ({', '.join(wrong[:5])})")
        yield home, manifest


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def restore_backup(
    home: Path, manifest: Mapping[str, Any], store: Store, place: Place, folders: Mapping[str, Path]
) -> int:
    """Puts an opened backup back, the database last; its head. The caller's store holds the lock. BackupError, StoreError, OSError.

    Files that are there and in the archive are replaced, others stay.
    """
    _refuse_other_kind(manifest, place)
    for name, folder in folders.items():
        if (home / name).is_dir():
            shutil.copytree(home / name, folder, dirs_exist_ok=True)
    restore_database(place, home / DATABASE)
    store.migrate()
    return store.run_now(load_head)


def _refuse_other_kind(manifest: Mapping[str, Any], place: Place) -> None:
    kind = "postgresql" if isinstance(place, PostgresPlace) else "sqlite"
    if manifest["database"] != kind:
        raise BackupError(f"the backup is of a {manifest['database']} database, and the settings name a {kind} one")


def verify_backup(
    home: Path, manifest: Mapping[str, Any], scratch: Place, target: RenderTarget, static_files: Mapping[str, str]
) -> Verified:
    """Restores into `scratch`, an empty place, renders its live revision, compares, and boots a throw-away Asterisk on it.

    ApplyRefused by that Asterisk; BackupError, StoreError.
    """
    _refuse_other_kind(manifest, scratch)
    restore_database(scratch, home / DATABASE)
    store = open_store(scratch)
    live = store.run_now(load_target, None)
    snapshot = build_snapshot(live, store.run_now(load_pbx, live))
    made = {**static_files, **render(snapshot, target)}
    config = home / CONFIG
    kept = {it.name: it.read_text(encoding="utf-8", errors="surrogateescape") for it in config.glob("*")}
    different = {name for name in made.keys() & kept.keys() if body_of(made[name]) != body_of(kept[name])}
    differences = tuple(sorted(different | (made.keys() ^ kept.keys()))) if kept else ()
    folder = Path(tempfile.gettempdir()) / f"{HOME_PREFIX}{secrets.token_hex(6)}"
    check = try_whole(snapshot, replace(target, dialplan_dir=f"{folder}/etc/tandem/current"), static_files, folder)
    return Verified(live, store.run_now(load_head), len(kept), differences, check)
