"""What somebody changed by hand in the current generation: read, shown, put back; never judges whether it may stay."""

from collections.abc import Mapping
from pathlib import Path

from confgen.generations import (
    FolderBusy,
    linked_generation,
    lock_folder,
    read_generation,
    read_originals,
    restore_files,
)
from confgen.sections import diff_file
from tandem.domain.changes import ApplyBusy, FileDiff


def read_edits(folder: Path) -> tuple[FileDiff, ...]:
    """The hand edits of the current generation, as differences."""
    found = read_edited(folder)
    if found is None:
        return ()
    _, originals, files = found
    names = sorted(name for name in {*originals, *files} if originals.get(name) != files.get(name))
    return tuple(diff_file(name, originals.get(name), files.get(name)) for name in names)


def read_edited(folder: Path) -> tuple[str, dict[str, str], Mapping[str, str]] | None:
    """(name of the current generation, its files as they were written, as they are); None where nothing was edited."""
    current = linked_generation(folder, "current")
    if current is None or not (generation := read_generation(folder, current)).edited:
        return None
    return current, read_originals(folder, current), generation.files


def discard_edits(folder: Path) -> tuple[str, ...]:
    """Puts the files back; their names. ApplyBusy."""
    current = linked_generation(folder, "current")
    if current is None:
        return ()
    try:
        with lock_folder(folder):
            return restore_files(folder, current)
    except FolderBusy as error:
        raise ApplyBusy(str(error)) from None
