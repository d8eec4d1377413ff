"""Asterisk's XML documentation without its prose, for an Asterisk that nobody asks for help; never changes the installed one.

It is read at every boot and searched for each module's options: two thirds of the CPU of a boot. Without what it says of configuration Asterisk does not
start at all, so that is kept whole; of applications, functions and actions only their names are.
"""

import re
from pathlib import Path
from typing import Final

# Where the installed one may be: Debian's, and that of Asterisk's own `make install`.
PLACES: Final = ("usr/share/asterisk/documentation", "var/lib/asterisk/documentation")

_ROOT: Final = re.compile(rb"<docs\b[^>]*>")
_KEPT: Final = re.compile(
    rb"<configInfo\b.*?</configInfo>|<(application|function|agi|manager|managerEvent)\b[^>]*>", re.DOTALL
)


def thin_documentation(text: bytes) -> bytes | None:
    """The file with as much as Asterisk needs to boot without a complaint; None for one that is not as we know it."""
    root = _ROOT.search(text)
    if root is None or b"<configInfo" not in text:
        return None
    # An element without any in it would be passed over.
    kept = (
        match[0] if match[1] is None or match[0].endswith(b"/>") else match[0] + b"<synopsis/></" + match[1] + b">"
        for match in _KEPT.finditer(text, root.end())
    )
    return text[: root.end()] + b"\n" + b"\n".join(kept) + b"\n</docs>\n"


def copy_thinned(installed: Path, folder: Path) -> bool:
    """Writes the thin form of a documentation folder into `folder`; False, and no folder, where there is nothing to win."""
    thinned = {path.name: thin_documentation(path.read_bytes()) for path in sorted(installed.glob("*.xml"))}
    if not thinned or None in thinned.values():
        return False
    folder.mkdir(parents=True, exist_ok=True)
    for path in installed.iterdir():
        if path.is_file():
            (folder / path.name).write_bytes(thinned.get(path.name) or path.read_bytes())
    return True
