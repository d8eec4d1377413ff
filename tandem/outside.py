"""What Tandem has to do with outside, made as the settings name it: Asterisk's manager, other systems, engines of speech; connects to nothing yet."""

from typing import Any, Final

from pydantic import SecretStr
from twisted.internet.endpoints import HostnameEndpoint

from tandem.ami.client import AmiClient
from tandem.ami.connection import Clock
from tandem.audio import Tools
from tandem.lookups import CallerLookup
from tandem.posting import Poster, read_trust
from tandem.settings import Settings
from tandem.speech import CommandEngine, Engine, HttpEngine, Speech

# Of the time of a decision.
LOOKUP_SHARE: Final = 0.8


def make_ami(settings: Settings, username: str, secret: SecretStr | None, reactor: Any, clock: Clock) -> AmiClient:
    """A connection to Asterisk's manager, not opened yet."""
    endpoint: Any = HostnameEndpoint(reactor, settings.ami.host.encode(), settings.ami.port)
    client = AmiClient(endpoint, username, secret.get_secret_value() if secret is not None else "", clock=clock)
    client.setName(f"ami {username}")  # type: ignore[no-untyped-call]  # Twisted's Service has no types
    return client


def make_poster(settings: Settings, reactor: Any, clock: Clock) -> tuple[Poster, str | None]:
    """And what is wrong with webhooks.ca_file: one that is no good costs the receivers that need it, not the calls."""
    path, trust, problem = settings.webhooks.ca_file, None, None
    try:
        trust = read_trust(path) if path is not None else None
    except ValueError as error:
        problem = f"webhooks.ca_file: {error}"
    return Poster(reactor, clock, allow_private=settings.webhooks.allow_private, trust=trust), problem


def make_lookup(settings: Settings, poster: Poster, clock: Clock) -> CallerLookup | None:
    """None where nobody is asked who is calling."""
    lookup = settings.lookup
    if not lookup.url:
        return None
    return CallerLookup(
        poster,
        clock,
        url=lookup.url,
        token=lookup.token.get_secret_value() if lookup.token is not None else "",
        # The rest of a decision takes time, too; without one the call would take its last-known route.
        deadline_s=min(lookup.deadline_s, LOOKUP_SHARE * settings.fastagi.decision_deadline_s),
        keep_s=lookup.keep_s,
    )


def make_speech(settings: Settings, tools: Tools, reactor: Any) -> Speech:
    """With the engine that the settings name."""
    speech = settings.speech
    engine: Engine = (
        HttpEngine(reactor, speech.url, speech.timeout_s)
        if speech.engine == "http" and speech.url is not None
        else CommandEngine(tools, speech.command, speech.timeout_s)
    )
    return Speech(engine, settings.state_dir / "speech", speech.cache_mb * 1024 * 1024)
