"""A machine to write on and throw away, which is this one with chosen folders under an overlay, in a world of its own; never changes the real ones."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Self

from tandem.asterisk.install import AsteriskInstall
from tandem.asterisk.namespaces import World

CHECKOUT = Path(__file__).parent.parent
SYSTEM_FOLDERS = tuple(map(Path, ("/etc", "/opt", "/usr/local", "/var/lib", "/var/log", "/var/spool")))

# A merged folder has the mode of its upper layer: so one that only its owner may enter (/root, with a Python in it) is open here.
OVERLAY = """
set -eu
layers=$1; shift
mount -t tmpfs -o mode=0755 tmpfs "$layers"
for folder; do
    mkdir -p "$layers/upper$folder" "$layers/work$folder"
    mount -t overlay -o "lowerdir=$folder,upperdir=$layers/upper$folder,workdir=$layers/work$folder" overlay "$folder"
done
mount -t tmpfs -o mode=0755 tmpfs /run
"""


class Machine:
    """Context manager. What is written below `writable` and /run is gone at its end; so are its processes and its network (a loopback).

    Whoever has no rights here can still enter the checkout, its Python and the cached Asterisk. It has what `lab.sipp` needs of an
    instance. Needs root.
    """

    def __init__(self, install: AsteriskInstall, writable: Sequence[Path] = ()) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="machine-"))
        self.folder.chmod(0o755)
        needed = (CHECKOUT, Path(sys.prefix), Path(sys.base_prefix), install.root or Path("/"))
        self.world = World()
        try:
            layers = self.folder / "layers"
            layers.mkdir()
            folders = sorted({*writable, *find_closed(needed)})
            self.world.run(["sh", "-c", OVERLAY, "sh", str(layers), *map(str, folders)])
        except BaseException:
            self.__exit__()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.world.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def popen(self, argv: Sequence[str | Path], **options: Any) -> subprocess.Popen[Any]:
        """Starts a program on it; see `World.popen`."""
        return self.world.popen(argv, **options)

    def run(self, argv: Sequence[str | Path], **options: Any) -> subprocess.CompletedProcess[str]:
        """Runs a program on it to its end; see `World.run`."""
        return self.world.run(argv, **options)


def find_closed(paths: Iterable[Path]) -> set[Path]:
    """The folders on the way to these, and they themselves, that others than their owner may not enter."""
    folders = {folder for path in paths for folder in (path.resolve(), *path.resolve().parents)}
    return {folder for folder in folders if not folder.stat().st_mode & 0o001}
