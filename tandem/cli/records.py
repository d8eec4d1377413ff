"""What `tandem check` makes of Asterisk's answers about its records; asks nothing itself and changes nothing."""

import os
import re
from pathlib import Path
from typing import Final

from tandem.ami.probe import ProbeAnswer
from tandem.domain.records import CDR_FIELDS, CEL_EVENTS, CEL_FIELDS

# `init` writes it.
INIT: Final = "init"


def describe_folder(file: Path, *, must_rotate: bool) -> tuple[str, str]:
    """(what was found, remedy) of the folder that Asterisk writes to, and of the file in it."""
    folder = file.parent
    if not folder.is_dir():
        return f"{folder} does not exist, Asterisk does not make it, and every record is lost", INIT
    if file.exists() and not os.access(file, os.R_OK):
        return f"{file} cannot be read", f"chgrp asterisk {folder} {file}, and Tandem's user in that group"
    if must_rotate and not os.access(folder, os.W_OK):
        remedy = f"chmod g+w {folder} for a group that Tandem's user is in, or retention.record_file_mb: 0"
        return f"{folder} cannot be written, so {file.name} grows for ever", remedy
    return str(file), ""


def check_record(
    kind: str, file: Path, status: ProbeAnswer, module: ProbeAnswer, config: ProbeAnswer
) -> tuple[str, str]:
    """(what was found, remedy) of `cel` or `cdr`: is it on, does it record what is read, is the module there that writes it."""
    output = "\n".join(status.list("output"))
    if re.search(r"Logging:\s+Enabled", output) is None:
        return f"{kind} is switched off ({kind}.conf: [general] enable = yes)", INIT
    tracked = set(re.findall(r"Tracking Event:\s+(\S+)", output))
    if kind == "cel" and (missing := [event for event in CEL_EVENTS if event not in tracked]):
        return f"cel.conf lacks events = {','.join(missing)}", INIT
    if _read_section(config, file.name) != ("json", _squeeze(CEL_FIELDS if kind == "cel" else CDR_FIELDS)):
        return f"{kind}_custom.conf has no [{file.name}] with the fields that Tandem reads", INIT
    if not module.is_success:
        remedy = f"restart Asterisk, or `asterisk -rx 'module load {kind}_custom.so'` (res_cdrel_custom.so before it)"
        return f"{kind}_custom.so is not loaded", remedy
    return f"Asterisk writes {file}", ""


def _read_section(config: ProbeAnswer, section: str) -> tuple[str, str]:
    """(format, fields) of a section."""
    options: dict[str, str] = {}
    inside = False
    for name, value in config.headers:
        if name.startswith("category-"):
            inside = value == section
        elif name.startswith("line-") and inside:
            option, _, text = value.partition("=")
            options[option] = text
    return options.get("format", ""), _squeeze(options.get("fields", ""))


def _squeeze(fields: str) -> str:
    return "".join(fields.split())
