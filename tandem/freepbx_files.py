"""Finds the database dump or the modules' files, and voicemail.conf, in a FreePBX backup; unpacks into memory alone, within bounds, and never onto a disk."""

import gzip
import json
import tarfile
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final

MAX_BYTES: Final = 512 * 1024 * 1024
MAX_MEMBERS: Final = 1_000_000
_GZIP: Final = b"\x1f\x8b"


class FreepbxFileError(ValueError):
    """The file is no backup or dump that can be read; says why."""


@dataclass(frozen=True, slots=True)
class FreepbxFiles:
    """The text of the dumps, one after another, and of voicemail.conf; empty where there is none. modules: module -> its file, parsed."""

    dump: str
    voicemail: str
    modules: dict[str, Any] = field(default_factory=dict)


def read_freepbx(path: Path) -> FreepbxFiles:
    """A backup of FreePBX 12 or newer, or a dump alone. FreepbxFileError, OSError."""
    try:
        is_backup = tarfile.is_tarfile(path)
    except (EOFError, zlib.error):
        is_backup = False  # a packed dump that is cut; what is wrong with it is told below
    if is_backup:
        return _read_backup(path)
    with path.open("rb") as file:
        is_packed = file.read(2) == _GZIP
        file.seek(0)
        return FreepbxFiles(_read_text(file, is_packed=is_packed), "")


def _read_backup(path: Path) -> FreepbxFiles:
    dumps: list[str] = []
    modules: dict[str, Any] = {}
    voicemail = ""
    left = MAX_BYTES
    try:
        with tarfile.open(path, "r:*") as archive:
            for count, member in enumerate(archive):
                if count >= MAX_MEMBERS:
                    raise FreepbxFileError("holds too many files")
                name = member.name.rpartition("/")[2]
                is_dump = name.endswith((".sql", ".sql.gz"))
                is_module = "modulejson/" in member.name and name.endswith(".json")
                if not member.isfile() or not (is_dump or is_module or name == "voicemail.conf"):
                    continue
                file = archive.extractfile(member)
                assert file is not None
                text = _read_text(file, is_packed=name.endswith(".gz"), limit=left)
                left -= len(text)
                if is_dump:
                    dumps.append(text)
                elif is_module:
                    modules[name.removesuffix(".json")] = _read_json(member.name, text)
                else:
                    voicemail = text
    except (tarfile.TarError, EOFError) as error:
        raise FreepbxFileError(f"is damaged ({error})") from error
    if not dumps and not modules:
        raise FreepbxFileError("has no database dump (.sql, .sql.gz) in it, and no modulejson")
    return FreepbxFiles("\n".join(dumps), voicemail, modules)


def _read_json(name: str, text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FreepbxFileError(f"is damaged ({name} is no JSON)") from error


def _read_text(file: IO[bytes], *, is_packed: bool, limit: int = MAX_BYTES) -> str:
    try:
        content = gzip.GzipFile(fileobj=file).read(limit + 1) if is_packed else file.read(limit + 1)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise FreepbxFileError(f"is damaged ({error})") from error
    if len(content) > limit:
        raise FreepbxFileError(f"is larger than {MAX_BYTES // 1024 // 1024} million bytes unpacked")
    return content.decode("utf-8", "replace")
