"""The settings told: every key with its variable, default and meaning, and the text of a settings file; never a value of a secret."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import Final

import yaml
from pydantic import BaseModel

from tandem.settings.sections import Settings

DEFAULT_PATH: Final = Path("/etc/tandem/tandem.yaml")
PATH_VARIABLE: Final = "TANDEM_SETTINGS"


@dataclass(frozen=True, slots=True)
class SettingRow:
    """One setting, for documentation. default: as it would be written in the file, empty when there is none."""

    key: str
    variable: str
    default: str
    description: str


def variable_of(key: str) -> str:
    """The variable of a setting: `TANDEM_FASTAGI_PORT` of `fastagi.port`."""
    return "TANDEM_" + key.replace(".", "_").upper()


def describe_settings() -> tuple[SettingRow, ...]:
    """Every setting, in the order of the file."""
    return tuple(_describe(Settings, ""))


def _describe(section: type[BaseModel], prefix: str) -> Iterator[SettingRow]:
    for name, field in section.model_fields.items():
        key = f"{prefix}{name}"
        if isinstance(field.default, BaseModel):
            yield from _describe(type(field.default), f"{key}.")
        else:
            yield SettingRow(key, variable_of(key), _write_value(field.default), field.description or "")


def _write_value(value: object) -> str:
    """A value as YAML on one line, quoted where YAML needs it."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return str(value)
    plain = list(map(str, value)) if isinstance(value, tuple) else str(value)
    dumped: str = yaml.safe_dump(plain, default_flow_style=True, width=10_000, allow_unicode=True)
    return dumped.removesuffix("...\n").strip()


def format_settings(values: Mapping[str, object] | None = None) -> str:
    """The text of a settings file with every key: those in `values` (dotted) set, the others as comments with their default."""
    given = dict(values or {})
    lines = [
        f"# Settings of Tandem. What is commented out has its default. Variables win: {PATH_VARIABLE} names this file."
    ]
    section: tuple[str, ...] = ()
    for row in describe_settings():
        *parents, name = row.key.split(".")
        if (now := tuple(parents)) != section:
            lines += _write_headings(section, now)
            section = now
        indent = "  " * len(parents)
        lines.append(f"{indent}# {row.description} ({row.variable})")
        value = given.pop(row.key, None)
        written = f"# {name}: {row.default}".rstrip() if value is None else f"{name}: {_write_value(value)}"
        lines.append(indent + written)
    if given:
        raise ValueError(f"no such setting: {', '.join(given)}")
    return "\n".join(lines) + "\n"


def _write_headings(before: tuple[str, ...], now: tuple[str, ...]) -> Iterator[str]:
    """The lines that open a section within those that are open."""
    for depth in range(1, len(now) + 1):
        if now[:depth] != before[:depth]:
            indent = "  " * (depth - 1)
            if depth == 1:
                yield ""
            yield f"{indent}# {type(attrgetter('.'.join(now[:depth]))(Settings())).__doc__}"
            yield f"{indent}{now[depth - 1]}:"


def write_settings_template(path: Path, values: Mapping[str, object] | None = None) -> None:
    """Writes `format_settings(values)` to a new file with mode 0640; FileExistsError if there is one."""
    text = format_settings(values)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o640)
    with os.fdopen(handle, "w", encoding="utf-8") as stream:
        stream.write(text)
