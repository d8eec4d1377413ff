"""The settings of one Tandem: a YAML file, `TANDEM_*` variables above it, read once at start; never changed afterwards and never logged.

A variable is `TANDEM_` and the key's dotted path in capitals: `fastagi.port` is `TANDEM_FASTAGI_PORT`. Values are read as text and
converted by the field, so `0123` and `no` arrive as written. Everything listens on loopback until a setting says otherwise.
"""

import difflib
import ipaddress
import os
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self
from urllib.parse import parse_qsl, urlsplit

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    IPvAnyNetwork,
    SecretStr,
    StringConstraints,
    ValidationError,
    model_validator,
)

DEFAULT_PATH: Final = Path("/etc/tandem/tandem.yaml")
PATH_VARIABLE: Final = "TANDEM_SETTINGS"
# Read by the lab and by tests, not settings of a Tandem.
OTHER_VARIABLES: Final = frozenset({PATH_VARIABLE, "TANDEM_CACHE"})
SECRETS: Final = ("ami.secret", "ami.config_secret", "database.password")
MAX_SECRET_BYTES: Final = 1024


def _check_absolute(value: Path) -> Path:
    if not value.is_absolute():
        raise ValueError("must be an absolute path")
    return value


def _check_plain(value: Path) -> Path:
    """It stands among the arguments of dialplan applications, which would read a comma, a bracket or an `&`."""
    if not all(sign.isascii() and (sign.isalnum() or sign in "/._-") for sign in str(value)):
        raise ValueError("must be an absolute path of letters, digits and the signs / . _ -")
    return value


def _check_command(value: tuple[str, ...]) -> tuple[str, ...]:
    if not value or not value[0] or not any("{output}" in word for word in value):
        raise ValueError("must be a program and its words, one of them with {output}")
    return value


def _check_host(value: str) -> str:
    if is_loopback(value):
        return value
    try:
        ipaddress.ip_address(value)
    except ValueError:
        if not all(part.isalnum() for part in value.replace("-", "a").split(".")):
            raise ValueError("must be an IP address or a host name") from None
    return value


def _split_list(value: object) -> object:
    """A variable has its list as one text with commas."""
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def _check_database_url(value: str) -> str:
    """A libpq URL; over a network it must say whether it is encrypted, and no password is in it: it stands in logs and messages."""
    parts = urlsplit(value)
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    user, _, places = parts.netloc.rpartition("@")
    if parts.scheme not in ("postgresql", "postgres") or not parts.path.strip("/") or not value.isprintable():
        raise ValueError("must be postgresql://user@host:port/name")
    if ":" in user or "password" in query or "passfile" in query:
        raise ValueError("must not hold a password: that is database.password_file")
    hosts = [re.sub(r":[0-9]*\Z", "", place) for place in places.split(",")] + query.get("host", "").split(",")
    near = all(not host or host.startswith(("/", "%2F", "%2f")) or is_loopback(host.strip("[]")) for host in hosts)
    if not ((near and not query.get("hostaddr")) or "sslmode" in query):
        raise ValueError(
            "the server is reached over a network: the URL must say ?sslmode=verify-full (or another mode)"
        )
    return value.replace("postgres://", "postgresql://", 1)


def is_loopback(host: str) -> bool:
    """True for `localhost` and for addresses that only this machine reaches."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


AbsolutePath = Annotated[Path, AfterValidator(_check_absolute)]
PlainPath = Annotated[AbsolutePath, AfterValidator(_check_plain)]
Host = Annotated[str, StringConstraints(min_length=1, max_length=100), AfterValidator(_check_host)]
DatabaseUrl = Annotated[str, StringConstraints(max_length=1000), AfterValidator(_check_database_url)]
Port = Annotated[int, Field(ge=1, le=65535)]
AmiUser = Annotated[str, StringConstraints(pattern=r"\A[A-Za-z0-9_.-]{1,40}\z")]
Networks = Annotated[tuple[IPvAnyNetwork, ...], BeforeValidator(_split_list), Field(min_length=1)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class DatabaseSettings(_Section):
    """Where everything is kept."""

    path: AbsolutePath = Field(Path("/var/lib/tandem/tandem.db"), description="The SQLite database.")
    url: DatabaseUrl | None = Field(
        None,
        description="A PostgreSQL database in its place: postgresql://user@host:5432/name, without the password.",
    )
    password: SecretStr | None = Field(None, description="Its password; better in a file of its own.")
    password_file: AbsolutePath | None = Field(None, description="File with the password, not readable by others.")


class FastagiSettings(_Section):
    """Where Asterisk asks what to do with a call."""

    host: Host = Field("127.0.0.1", description="Address to listen on; another than loopback needs allowed_peers.")
    port: Port = Field(4573, description="TCP port to listen on.")
    allowed_peers: Networks = Field(
        (ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128")),
        description="Networks that Asterisk may connect from; anyone else is disconnected at once.",
    )
    max_sessions: Annotated[int, Field(ge=1, le=100_000)] = Field(
        2000, description="Sessions at the same time; one more is closed, and its call takes the last-known route."
    )
    decision_deadline_s: Annotated[float, Field(ge=0.05, le=3)] = Field(
        1.0, description="Our own time to decide a call; the guard in the dialplan waits 4 s."
    )
    idle_timeout_s: Annotated[float, Field(ge=5, le=86400)] = Field(
        600.0, description="A session from which nothing came for so long is closed."
    )

    @model_validator(mode="after")
    def _check_peers(self) -> Self:
        if not is_loopback(self.host) and "allowed_peers" not in self.model_fields_set:
            raise ValueError(
                f"host {self.host} is reached from outside: fastagi.allowed_peers must say which networks may connect"
            )
        return self


class AmiSettings(_Section):
    """How Tandem logs in to Asterisk's manager interface."""

    host: Host = Field("127.0.0.1", description="Where Asterisk's manager listens.")
    port: Port = Field(5038, description="Its TCP port.")
    allow_remote: bool = Field(
        False, description="Must be yes when host is not loopback: AMI is plain text on the network."
    )
    username: AmiUser = Field("tandem", description="Login for calls and events; it must not have the right `system`.")
    secret: SecretStr | None = Field(None, description="Its secret; better in a file of its own.")
    secret_file: AbsolutePath | None = Field(None, description="File with the secret, not readable by others.")
    config_username: AmiUser = Field(
        "tandem-config", description="Login for configuration and AstDB; needs the right `system`."
    )
    config_secret: SecretStr | None = Field(None, description="Its secret; better in a file of its own.")
    config_secret_file: AbsolutePath | None = Field(None, description="File with the secret, not readable by others.")

    @model_validator(mode="after")
    def _check_remote(self) -> Self:
        if not is_loopback(self.host) and not self.allow_remote:
            raise ValueError(f"host {self.host} is not loopback: ami.allow_remote must be yes")
        return self


class AsteriskSettings(_Section):
    """The Asterisk beside us."""

    mode: Literal["guest", "owner"] = Field(
        "guest", description="guest: its files are its admin's and include ours; owner: whole files are ours."
    )
    check: Literal["required", "if-possible", "off"] = Field(
        "if-possible",
        description="Whether a throw-away Asterisk must load a change first; it needs namespaces (root, or user namespaces).",
    )
    etc_dir: AbsolutePath = Field(Path("/etc/asterisk"), description="Folder of Asterisk's own files.")
    sip_bind: Annotated[str, StringConstraints(pattern=r"\A[0-9.]{7,15}:[0-9]{1,5}\z")] = Field(
        "0.0.0.0:5060", description="Where PJSIP listens (UDP); of a guest only where its admin has no transport."
    )
    trunk_transport: Annotated[str, StringConstraints(pattern=r"\A[A-Za-z0-9_.-]{0,40}\z")] = Field(
        "", description="Name of the transport for trunks in the admin's pjsip.conf; empty lets PJSIP choose."
    )
    config_dir: AbsolutePath = Field(
        Path("/etc/asterisk/tandem"), description="Folder of our generated files, which Asterisk's own files include."
    )
    recordings_dir: PlainPath = Field(
        Path("/var/spool/tandem-recordings"),
        description="Where Asterisk writes recordings, as both of us see it; from there they go to recordings.dir.",
    )
    cel_file: AbsolutePath = Field(
        Path("/var/log/asterisk/cel-custom/cel.json"),
        description="Where cel_custom writes (CHAN_START, ANSWER and HANGUP in JSON): CDRs are made from it.",
    )
    cdr_file: AbsolutePath = Field(
        Path("/var/log/asterisk/cdr-custom/cdr.json"), description="Where cdr_custom writes its JSON."
    )
    agi_url: Annotated[str, StringConstraints(pattern=r"\Aagi://[A-Za-z0-9.:\[\]-]{1,100}\z")] | None = Field(
        None, description="Where Asterisk finds us, without a path; else from fastagi.host and fastagi.port."
    )


class HttpSettings(_Section):
    """HTTP: for now the command line's, over a unix socket; nothing listens on a network."""

    socket: AbsolutePath | None = Field(
        None, description="Unix socket of the command line; else control.sock in run_dir."
    )
    host: Host = Field("127.0.0.1", description="Address to listen on when a port is set.")
    port: Port | None = Field(None, description="TCP port; without one there is only the unix socket.")
    allow_remote: bool = Field(
        False, description="Must be yes when host is not loopback and there is no TLS: tokens would be read on the way."
    )
    tls_certificate: AbsolutePath | None = Field(None, description="Certificate chain (PEM); with it, TLS only.")
    tls_key: AbsolutePath | None = Field(None, description="Its private key (PEM), not readable by others.")
    max_connections: Annotated[int, Field(ge=10, le=100_000)] = Field(
        1000, description="Connections at the same time; one more ends the one that is idle longest."
    )
    ari_dialer: bool | None = Field(
        None, description="The ARI Dialer's API at /adial/api and /api; without a word, only while host is loopback."
    )

    @property
    def speaks_ari_dialer(self) -> bool:
        """Whether the ARI Dialer's API is there."""
        return is_loopback(self.host) if self.ari_dialer is None else self.ari_dialer

    @model_validator(mode="after")
    def _check_remote(self) -> Self:
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("tls_certificate and tls_key go together")
        if self.port is not None and not is_loopback(self.host) and not self.allow_remote and self.tls_key is None:
            raise ValueError(
                f"host {self.host} is reached from outside: http.allow_remote must be yes, or give it http.tls_certificate"
            )
        return self


class SoundsSettings(_Section):
    """Sounds that are uploaded or spoken."""

    dir: PlainPath = Field(
        Path("/var/lib/tandem-sounds"), description="Their folder; Asterisk must be able to read it."
    )
    converter: Literal["auto", "ffmpeg", "sox"] = Field(
        "auto", description="What audio is converted with; auto takes ffmpeg where it is installed, else sox."
    )
    max_s: Annotated[float, Field(ge=1, le=3600)] = Field(600.0, description="How long a sound may be.")


class SpeechSettings(_Section):
    """What speaks texts."""

    engine: Literal["command", "http"] = Field("command", description="A program, or a server that is asked over HTTP.")
    command: Annotated[tuple[str, ...], BeforeValidator(_split_list), AfterValidator(_check_command)] = Field(
        ("espeak-ng", "-v", "{voice}", "-w", "{output}", "--stdin"),
        description="The program's words, with {voice}, {language}, {text} and {output} (a file) in them; the text is also on its standard input.",
    )
    url: Annotated[str, StringConstraints(pattern=r"\Ahttps?://[!-~]{1,500}\z")] | None = Field(
        None, description='Of the server: it gets {"text", "voice", "language"} in a POST and answers with audio.'
    )
    timeout_s: Annotated[float, Field(ge=1, le=300)] = Field(30.0, description="How long the engine may take.")
    cache_mb: Annotated[int, Field(ge=0, le=100_000)] = Field(
        200, description="What was spoken is kept in state_dir up to this size, so that nothing is spoken twice."
    )

    @model_validator(mode="after")
    def _check_url(self) -> Self:
        if self.engine == "http" and self.url is None:
            raise ValueError("engine http needs speech.url")
        return self


class RecordingsSettings(_Section):
    """Recordings of calls."""

    dir: AbsolutePath = Field(Path("/var/lib/tandem/recordings"), description="Where they are kept.")
    format: Literal["wav", "mp3", "ogg", "opus", "flac"] = Field(
        "mp3", description="What they are converted to when nobody needs the machine; opus takes ffmpeg."
    )
    keep_days: Annotated[int, Field(ge=0, le=36500)] = Field(
        0, description="Older ones are deleted; 0 keeps them for ever."
    )


class DialerSettings(_Section):
    """Campaigns: what holds for all of them together."""

    enabled: bool = Field(True, description="Whether running campaigns dial; off, they can still be edited.")
    max_calls: Annotated[int, Field(ge=1, le=10_000)] = Field(
        200, description="Campaign calls at the same time, ringing or up."
    )
    max_cps: Annotated[float, Field(gt=0, le=2000)] = Field(50.0, description="Campaign calls placed in a second.")
    node: Annotated[str, StringConstraints(pattern=r"\A[A-Za-z0-9_.-]{1,40}\z")] = Field(
        "tandem", description="Name of this Tandem in its attempts, where several share a database."
    )


Days = Annotated[int, Field(ge=0, le=36_500)]


class RetentionSettings(_Section):
    """How long what happened is kept; 0 is for ever. What is too old goes a little at a time, and no call waits for it."""

    cdrs_days: Days = Field(365, description="CDRs, with the legs that they were made from.")
    placed_calls_days: Days = Field(365, description="Calls that Tandem placed, after their end.")
    audit_days: Days = Field(730, description="The audit log: who changed what.")
    webhook_deliveries_days: Days = Field(30, description="What was delivered to webhooks, and what was given up.")
    record_file_mb: Annotated[int, Field(ge=0, le=1_000_000)] = Field(
        64,
        description="Asterisk's CEL and CDR files are set aside (.1) when they are so long and read to the end; 0 leaves them to you.",
    )


class WebhookSettings(_Section):
    """Events that are sent to other systems."""

    allow_private: bool = Field(
        False, description="Whether webhooks may lead to private networks; also without TLS then."
    )
    max_pending: Annotated[int, Field(ge=100, le=10_000_000)] = Field(
        100_000, description="A webhook for which more deliveries wait is made inactive."
    )


class LogSettings(_Section):
    """What is written to the journal."""

    level: Literal["debug", "info", "warning", "error"] = Field("info", description="The least that is written.")


class Settings(_Section):
    """All settings, frozen; `load_settings` makes it."""

    state_dir: AbsolutePath = Field(
        Path("/var/lib/tandem"),
        description="Folder of the last live snapshot, for a start without database, and of the key of ETags.",
    )
    run_dir: AbsolutePath = Field(Path("/run/tandem"), description="Folder of the control socket.")
    calls_kept: Annotated[int, Field(ge=0, le=100_000)] = Field(
        1000, description="How many of the last calls' decisions are kept in memory for `tandem calls`."
    )
    database: DatabaseSettings = DatabaseSettings()
    fastagi: FastagiSettings = FastagiSettings()
    ami: AmiSettings = AmiSettings()
    asterisk: AsteriskSettings = AsteriskSettings()
    http: HttpSettings = HttpSettings()
    sounds: SoundsSettings = SoundsSettings()
    speech: SpeechSettings = SpeechSettings()
    recordings: RecordingsSettings = RecordingsSettings()
    dialer: DialerSettings = DialerSettings()
    retention: RetentionSettings = RetentionSettings()
    webhooks: WebhookSettings = WebhookSettings()
    log: LogSettings = LogSettings()

    @property
    def control_socket(self) -> Path:
        """The unix socket of the command line."""
        return self.http.socket or self.run_dir / "control.sock"

    @property
    def snapshot_path(self) -> Path:
        """The file of the last live snapshot."""
        return self.state_dir / "live.snapshot"

    @property
    def etag_key(self) -> Path:
        """The file of the key that ETags are made with."""
        return self.state_dir / "etag.key"

    @property
    def agi_url(self) -> str:
        """What the dialplan's global TANDEM_AGI says: `agi://127.0.0.1:4573`."""
        host = self.fastagi.host
        return self.asterisk.agi_url or f"agi://{f'[{host}]' if ':' in host else host}:{self.fastagi.port}"


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


@dataclass(frozen=True, slots=True)
class SettingRow:
    """One setting, for documentation. default: as it would be written in the file, empty when there is none."""

    key: str
    variable: str
    default: str
    description: str


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
        values[key], sources[key] = value, _variable_of(key)
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
    found: dict[str, dict[str, SecretStr]] = {}
    for key in SECRETS:
        section, _, field = key.partition(".")
        given = getattr(settings, section)
        file: Path | None = getattr(given, f"{field}_file")
        if file is None:
            continue
        source = sources[f"{key}_file"]
        if getattr(given, field) is not None:
            problems.append(SettingsProblem(source, key, f"must not be set together with {key}_file"))
            continue
        secret = _read_secret(file, source, f"{key}_file")
        if isinstance(secret, SecretStr):
            found.setdefault(section, {})[field] = secret
        else:
            problems += secret
    if problems:
        raise SettingsError(problems)
    return settings.model_copy(
        update={section: getattr(settings, section).model_copy(update=secrets) for section, secrets in found.items()}
    )


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
        SettingsProblem(_variable_of(key), key, f"must not be set together with {key}_file")
        for key in SECRETS
        if key in given and f"{key}_file" in given
    ]
    return given, problems


def _variable_of(key: str) -> str:
    return "TANDEM_" + key.replace(".", "_").upper()


# ---------------------------------------------------------------------------------------------------- documentation


def describe_settings() -> tuple[SettingRow, ...]:
    """Every setting, in the order of the file."""
    return tuple(_describe(Settings, ""))


def _describe(section: type[BaseModel], prefix: str) -> Iterator[SettingRow]:
    for name, field in section.model_fields.items():
        key = f"{prefix}{name}"
        if isinstance(field.default, BaseModel):
            yield from _describe(type(field.default), f"{key}.")
        else:
            yield SettingRow(key, _variable_of(key), _write_value(field.default), field.description or "")


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
    section = ""
    for row in describe_settings():
        parent, _, name = row.key.rpartition(".")
        indent = "  " if parent else ""
        if parent != section:
            section = parent
            lines += ["", f"# {type(getattr(Settings(), parent)).__doc__}", f"{parent}:"]
        lines.append(f"{indent}# {row.description} ({row.variable})")
        value = given.pop(row.key, None)
        written = f"# {name}: {row.default}".rstrip() if value is None else f"{name}: {_write_value(value)}"
        lines.append(indent + written)
    if given:
        raise ValueError(f"no such setting: {', '.join(given)}")
    return "\n".join(lines) + "\n"


def write_settings_template(path: Path, values: Mapping[str, object] | None = None) -> None:
    """Writes `format_settings(values)` to a new file with mode 0640; FileExistsError if there is one."""
    text = format_settings(values)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o640)
    with os.fdopen(handle, "w", encoding="utf-8") as stream:
        stream.write(text)
