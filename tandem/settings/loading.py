"""Settings read once at start, from a YAML file and the `TANDEM_*` variables above it; never changed afterwards and never logged.

A variable is `TANDEM_` and the key's dotted path in capitals: `fastagi.port` is `TANDEM_FASTAGI_PORT`. Values are read as text and
converted by the field, so `0123` and `no` arrive as written.
"""

import difflib
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import Any, Final, TypeVar

import yaml
from pydantic import SecretStr, ValidationError

from tandem.settings.describing import DEFAULT_PATH, PATH_VARIABLE, describe_settings, variable_of
from tandem.settings.fields import Section
from tandem.settings.sections import Settings

# Read by the lab and by tests, not settings of a Tandem.
OTHER_VARIABLES: Final = frozenset({PATH_VARIABLE, "TANDEM_CACHE"})
SECRETS: Final = ("ami.secret", "ami.config_secret", "database.password", "lookup.token", "apis.while1.api_key")
MAX_SECRET_BYTES: Final = 1024

_S = TypeVar("_S", bound=Section)


@dataclass(frozen=True, slots=True)
class SettingsProblem:
    """One thing that is wrong.

    source: the file, or the variable, that said it. key: dotted path, empty when it is the file itself. rule: what must hold.
    """

    source: str
    key: str
    rule: str

    def __str__(self) -> str:
        return ": ".join(part for part in (self.source, self.key, self.rule) if part)


class SettingsError(Exception):
    """The settings cannot be used; `problems` has everything that was found."""

    def __init__(self, problems: list[SettingsProblem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = tuple(problems)


def load_settings(path: Path | None, environ: Mapping[str, str]) -> Settings:
    """Settings from `path`, else from the file that TANDEM_SETTINGS names, else from /etc/tandem/tandem.yaml if it is there.

    Variables win over the file; an empty value means that the default holds. Raises SettingsError with every problem.
    """
    named = path or (Path(environ[PATH_VARIABLE]) if environ.get(PATH_VARIABLE) else None)
    chosen = named or DEFAULT_PATH
    values = _read_file(chosen) if named or chosen.exists() else {}
    sources = dict.fromkeys(values, str(chosen))
    given, problems = _read_variables(environ)
    for key, value in given.items():
        # Whichever of secret and secret_file a variable names replaces both of the file's.
        values.pop(key.removesuffix("_file"), None)
        values.pop(f"{key}_file", None)
        values[key], sources[key] = value, variable_of(key)
    settings = _validate(values, sources, problems, str(chosen))
    if any(sources.get(key) == str(chosen) for key in SECRETS):
        problems += _check_mode(chosen.stat().st_mode, chosen, str(chosen), "")
    tls_key = settings.http.tls_key if settings is not None else None
    if tls_key is not None and tls_key.exists():
        problems += _check_mode(tls_key.stat().st_mode, tls_key, sources["http.tls_key"], "http.tls_key")
    if settings is None or problems:
        raise SettingsError(problems)
    return _with_secrets(settings, sources)


def _validate(
    values: dict[str, Any], sources: Mapping[str, str], problems: list[SettingsProblem], file: str
) -> Settings | None:
    """The settings, or None after adding what is wrong to `problems`."""
    try:
        return Settings.model_validate(_nest(values))
    except ValidationError as error:
        for item in error.errors():
            key = ".".join(part for part in map(str, item["loc"]) if not part.isdigit() and "[" not in part)
            source = sources.get(key) or next((sources[name] for name in sources if name.startswith(f"{key}.")), file)
            problems.append(SettingsProblem(source, key, _rule_of(item["type"], item["msg"], key)))
        return None


def _rule_of(kind: str, message: str, key: str) -> str:
    if kind != "extra_forbidden":
        return message.removeprefix("Value error, ")
    close = difflib.get_close_matches(key, [row.key for row in describe_settings()], n=1)
    return "unknown key" + (f"; did you mean {close[0]}?" if close else "")


def _with_secrets(settings: Settings, sources: Mapping[str, str]) -> Settings:
    """The settings with the contents of secret files in their places."""
    problems: list[SettingsProblem] = []
    for key in SECRETS:
        path, _, field = key.rpartition(".")
        given = attrgetter(path)(settings)
        file: Path | None = getattr(given, f"{field}_file")
        if file is None:
            continue
        source = sources[f"{key}_file"]
        if getattr(given, field) is not None:
            problems.append(SettingsProblem(source, key, f"must not be set together with {key}_file"))
            continue
        secret = _read_secret(file, source, f"{key}_file")
        if isinstance(secret, SecretStr):
            settings = _replace(settings, key.split("."), secret)
        else:
            problems += secret
    if problems:
        raise SettingsError(problems)
    return settings


def _replace(section: _S, path: list[str], value: SecretStr) -> _S:
    """The section with another value at a place within it."""
    name, *rest = path
    return section.model_copy(update={name: _replace(getattr(section, name), rest, value) if rest else value})


def _read_secret(file: Path, source: str, key: str) -> SecretStr | list[SettingsProblem]:
    try:
        with file.open("rb") as stream:
            # Of what was opened: the name may be another file's by now.
            if problems := _check_mode(os.fstat(stream.fileno()).st_mode, file, source, key):
                return problems
            text = stream.read(MAX_SECRET_BYTES + 1).decode().removesuffix("\n")
    except (OSError, UnicodeDecodeError) as error:
        return [SettingsProblem(source, key, f"{file} cannot be read: {error}")]
    if not text or len(text) > MAX_SECRET_BYTES or not text.isprintable():
        rule = f"{file} must hold one line of 1 to {MAX_SECRET_BYTES} printable characters"
        return [SettingsProblem(source, key, rule)]
    return SecretStr(text)


def _check_mode(mode: int, file: Path, source: str, key: str) -> list[SettingsProblem]:
    """A file with a secret belongs to its owner and, at most, its group may read it."""
    mode = stat.S_IMODE(mode)
    if not mode & 0o027:
        return []
    rule = f"{file} holds a secret and has mode {mode:04o}: others must not read or change it (chmod 640 {file})"
    return [SettingsProblem(source, key, rule)]


# ------------------------------------------------------------------------------------------------- file and variables


class _TextLoader(yaml.BaseLoader):
    """Every scalar as text, and no key twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"{key.value} is there twice", key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def _read_file(path: Path) -> dict[str, Any]:
    """Dotted key -> text or list; keys with an empty value are left out."""
    try:
        tree = yaml.load(path.read_text(encoding="utf-8"), Loader=_TextLoader)  # noqa: S506 - BaseLoader makes no objects
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError([SettingsProblem(str(path), "", f"cannot be read: {error}")]) from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}, line {mark.line + 1}" if mark else str(path)
        raise SettingsError([SettingsProblem(where, "", getattr(error, "problem", None) or str(error))]) from error
    if tree in (None, ""):
        return {}
    if not isinstance(tree, dict):
        raise SettingsError([SettingsProblem(str(path), "", "must be a mapping, such as `fastagi:` and its keys")])
    return dict(_flatten(tree, ""))


def _flatten(tree: dict[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for name, value in tree.items():
        if isinstance(value, dict) and value:
            yield from _flatten(value, f"{prefix}{name}.")
        elif value not in ("", None, {}):
            yield f"{prefix}{name}", value


def _nest(values: Mapping[str, Any]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for key, value in values.items():
        *parents, leaf = key.split(".")
        branch = tree
        for parent in parents:
            branch = branch.setdefault(parent, {})
        branch[leaf] = value
    return tree


def _read_variables(environ: Mapping[str, str]) -> tuple[dict[str, str], list[SettingsProblem]]:
    keys = {row.variable: row.key for row in describe_settings()}
    given: dict[str, str] = {}
    problems: list[SettingsProblem] = []
    for name, value in environ.items():
        if not name.startswith("TANDEM_") or name in OTHER_VARIABLES or not value:
            continue
        if name in keys:
            given[keys[name]] = value
        else:
            close = difflib.get_close_matches(name, keys, n=1)
            hint = f"; did you mean {close[0]}?" if close else ""
            problems.append(SettingsProblem(name, "", f"unknown variable{hint}"))
    problems += [
        SettingsProblem(variable_of(key), key, f"must not be set together with {key}_file")
        for key in SECRETS
        if key in given and f"{key}_file" in given
    ]
    return given, problems
