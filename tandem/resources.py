"""Finds the files that Tandem ships beside its packages: dialplan, systemd, examples; never writes any."""

import sysconfig
from pathlib import Path


class ResourceMissing(RuntimeError):
    """A shipped folder is neither in the checkout nor where the wheel puts it."""


def find_shipped(folder: str) -> Path:
    """The folder `dialplan`, `systemd` or `examples`: of the checkout, else <prefix>/share/tandem of the installation."""
    checkout = Path(__file__).resolve().parent.parent / folder
    installed = Path(sysconfig.get_path("data")) / "share" / "tandem" / folder
    for path in (checkout, installed):
        if path.is_dir():
            return path
    raise ResourceMissing(f"{folder}/ is neither at {checkout} nor at {installed}: is Tandem installed completely?")
