"""Every setting of one Tandem, with its default and its meaning; reads no file. Everything is on loopback until a setting says otherwise."""

import ipaddress
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, StringConstraints, model_validator

from tandem.settings.apis import ApiSettings
from tandem.settings.fields import (
    AbsolutePath,
    AmiUser,
    DatabaseUrl,
    Days,
    Host,
    Networks,
    PlainPath,
    Port,
    Section,
    check_command,
    is_loopback,
    split_list,
)


class DatabaseSettings(Section):
    """Where everything is kept."""

    path: AbsolutePath = Field(Path("/var/lib/tandem/tandem.db"), description="The SQLite database.")
    url: DatabaseUrl | None = Field(
        None,
        description="A PostgreSQL database in its place: postgresql://user@host:5432/name, without the password.",
    )
    password: SecretStr | None = Field(None, description="Its password; better in a file of its own.")
    password_file: AbsolutePath | None = Field(None, description="File with the password, not readable by others.")


class FastagiSettings(Section):
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


class AmiSettings(Section):
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


class AsteriskSettings(Section):
    """The Asterisk beside us."""

    mode: Literal["guest", "owner"] = Field(
        "guest", description="guest: its files are its admin's and include ours; owner: whole files are ours."
    )
    check: Literal["required", "if-possible", "off"] = Field(
        "if-possible",
        description="Whether a throw-away Asterisk must load a change first; it needs namespaces (root, or user namespaces).",
    )
    probe_s: Annotated[float, Field(ge=0, le=300)] = Field(
        10.0,
        description="After a change, how long registrations and trunks may take to be as before, and test calls to changed DIDs"
        " to come to their place; else it is taken back. 0: no such probe.",
    )
    etc_dir: AbsolutePath = Field(Path("/etc/asterisk"), description="Folder of Asterisk's own files.")
    sip_bind: Annotated[str, StringConstraints(pattern=r"\A[0-9.]{7,15}:[0-9]{1,5}\z")] = Field(
        "0.0.0.0:5060", description="Where PJSIP listens (UDP); of a guest only where its admin has no transport."
    )
    sip_tcp: bool = Field(
        False, description="Of an owner: whether PJSIP listens there with TCP, too, for trunks that want it."
    )
    sip_tls_bind: Annotated[str, StringConstraints(pattern=r"\A[0-9.]{7,15}:[0-9]{1,5}\z")] = Field(
        "0.0.0.0:5061",
        description="Of an owner: where PJSIP listens with TLS, where there is a certificate. Read when Asterisk starts.",
    )
    sip_tls_certificate: PlainPath | None = Field(
        None,
        description="Of an owner: certificate chain (PEM), readable by Asterisk; phones and trunks can use TLS then, and browsers wss.",
    )
    sip_tls_key: PlainPath | None = Field(None, description="Its private key (PEM), readable by Asterisk alone.")
    qualify_s: Annotated[int, Field(ge=0, le=3600)] = Field(
        60,
        description="How often Asterisk asks phones, and trunks without a qualify_s of their own, whether they are there; 0: never.",
    )
    wss_bind: Annotated[str, StringConstraints(pattern=r"\A[0-9.]{7,15}:[0-9]{1,5}\z")] = Field(
        "0.0.0.0:8089",
        description="Of an owner: where browsers (endpoints with webrtc) find Asterisk, as wss://…/ws, with that certificate. While there are none, nothing listens.",
    )
    wss_max_sessions: Annotated[int, Field(ge=1, le=100_000)] = Field(
        1000, description="Of an owner: browsers at the same time; one more is refused."
    )
    trunk_transport: Annotated[str, StringConstraints(pattern=r"\A[A-Za-z0-9_.-]{0,40}\z")] = Field(
        "", description="Name of the transport for trunks in the admin's pjsip.conf; empty lets PJSIP choose."
    )
    config_dir: AbsolutePath = Field(
        Path("/etc/asterisk/tandem"), description="Folder of our generated files, which Asterisk's own files include."
    )
    templates_dir: AbsolutePath = Field(
        Path("/etc/tandem/templates"),
        description="Folder of your own templates (queues.conf.j2 and so on), which come before ours of the same name.",
    )
    recordings_dir: PlainPath = Field(
        Path("/var/spool/tandem-recordings"),
        description="Where Asterisk writes recordings, as both of us see it; from there they go to recordings.dir.",
    )
    voicemail_dir: PlainPath = Field(
        Path("/var/spool/asterisk/voicemail"),
        description="Where Asterisk keeps greetings and messages, as both of us see it; both must be able to write there.",
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

    @model_validator(mode="after")
    def _check_tls(self) -> Self:
        if (self.sip_tls_certificate is None) != (self.sip_tls_key is None):
            raise ValueError("sip_tls_certificate and sip_tls_key go together")
        if self.mode == "guest" and (self.sip_tls_key is not None or self.sip_tcp):
            raise ValueError(
                "sip_tcp and sip_tls_… are for mode owner: a guest's transports are its admin's, in pjsip.conf"
            )
        return self


class HttpSettings(Section):
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

    @model_validator(mode="after")
    def _check_remote(self) -> Self:
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("tls_certificate and tls_key go together")
        if self.port is not None and not is_loopback(self.host) and not self.allow_remote and self.tls_key is None:
            raise ValueError(
                f"host {self.host} is reached from outside: http.allow_remote must be yes, or give it http.tls_certificate"
            )
        return self


class SoundsSettings(Section):
    """Sounds that are uploaded or spoken."""

    dir: PlainPath = Field(
        Path("/var/lib/tandem-sounds"), description="Their folder; Asterisk must be able to read it."
    )
    converter: Literal["auto", "ffmpeg", "sox"] = Field(
        "auto", description="What audio is converted with; auto takes ffmpeg where it is installed, else sox."
    )
    max_s: Annotated[float, Field(ge=1, le=3600)] = Field(600.0, description="How long a sound may be.")


class SpeechSettings(Section):
    """What speaks texts."""

    engine: Literal["command", "http"] = Field("command", description="A program, or a server that is asked over HTTP.")
    command: Annotated[tuple[str, ...], BeforeValidator(split_list), AfterValidator(check_command)] = Field(
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


class RecordingsSettings(Section):
    """Recordings of calls."""

    dir: AbsolutePath = Field(Path("/var/lib/tandem/recordings"), description="Where they are kept.")
    format: Literal["wav", "mp3", "ogg", "opus", "flac"] = Field(
        "mp3", description="What they are converted to when nobody needs the machine; opus takes ffmpeg."
    )
    keep_days: Annotated[int, Field(ge=0, le=36500)] = Field(
        0, description="Older ones are deleted; 0 keeps them for ever."
    )


class DialerSettings(Section):
    """Campaigns: what holds for all of them together."""

    enabled: bool = Field(True, description="Whether running campaigns dial; off, they can still be edited.")
    max_calls: Annotated[int, Field(ge=1, le=10_000)] = Field(
        200, description="Campaign calls at the same time, ringing or up."
    )
    max_cps: Annotated[float, Field(gt=0, le=2000)] = Field(50.0, description="Campaign calls placed in a second.")
    node: Annotated[str, StringConstraints(pattern=r"\A[A-Za-z0-9_.-]{1,40}\z")] = Field(
        "tandem", description="Name of this Tandem in its attempts, where several share a database."
    )


class RetentionSettings(Section):
    """How long what happened is kept; 0 is for ever. What is too old goes a little at a time, and no call waits for it."""

    cdrs_days: Days = Field(365, description="CDRs, with the legs that they were made from.")
    placed_calls_days: Days = Field(365, description="Calls that Tandem placed, after their end.")
    audit_days: Days = Field(730, description="The audit log: who changed what.")
    webhook_deliveries_days: Days = Field(30, description="What was delivered to webhooks, and what was given up.")
    record_file_mb: Annotated[int, Field(ge=0, le=1_000_000)] = Field(
        64,
        description="Asterisk's CEL and CDR files are set aside (.1) when they are so long and read to the end; 0 leaves them to you.",
    )


class WebhookSettings(Section):
    """Events that are sent to other systems."""

    allow_private: bool = Field(
        False, description="Whether webhooks may lead to private networks; also without TLS then."
    )
    ca_file: AbsolutePath | None = Field(
        None,
        description="Certificate authorities (PEM) that are believed beside the system's, for receivers of your own.",
    )
    max_pending: Annotated[int, Field(ge=100, le=10_000_000)] = Field(
        100_000, description="A webhook for which more deliveries wait is made inactive."
    )


class LookupSettings(Section):
    """Who is calling: asked of your own server for each call that comes in, and the call goes on without an answer that is late."""

    # Where it may lead is decided by webhooks.allow_private, whenever it is asked.
    url: Annotated[str, StringConstraints(max_length=1000, pattern=r"\A(https?://[^\s/@#?]+[^\s#@]*)?\z")] = Field(
        "", description="Address that is asked by GET with telephone, dnid and token; empty: nobody is asked."
    )
    token: SecretStr | None = Field(None, description="What your server knows Tandem by; better in a file of its own.")
    token_file: AbsolutePath | None = Field(None, description="File with the token, not readable by others.")
    deadline_s: Annotated[float, Field(ge=0.05, le=3)] = Field(
        0.7, description="A call waits so long at the most, and never longer than fastagi.decision_deadline_s allows."
    )
    keep_s: Annotated[float, Field(ge=0, le=86_400)] = Field(
        300.0, description="The same caller is not asked about again for so long."
    )


class LogSettings(Section):
    """What is written to the journal."""

    level: Literal["debug", "info", "warning", "error"] = Field("info", description="The least that is written.")


class Settings(Section):
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
    lookup: LookupSettings = LookupSettings()
    apis: ApiSettings = ApiSettings()
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
