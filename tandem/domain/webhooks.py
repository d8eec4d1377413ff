"""Webhooks as values: which events there are, what is signed and how, when a delivery is tried again, and which addresses may be reached; no I/O.

Signatures follow the Standard Webhooks specification 1.0 (standardwebhooks.com): HMAC-SHA256 over `id.timestamp.body`.
"""

import base64
import hashlib
import hmac
import ipaddress
import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from pydantic import AnyHttpUrl, TypeAdapter, ValidationError

EventKind = Literal[
    "call.ringing",
    "call.answered",
    "call.ended",
    "campaign.created",
    "campaign.changed",
    "campaign.deleted",
    "campaign.started",
    "campaign.paused",
    "campaign.resumed",
    "campaign.stopped",
    "campaign.reset",
    "campaign.drained",
    "attempt.ended",
    "number.finished",
    "recording.ready",
    "inbound.answered",
    "inbound.ended",
    "inbound.missed",
    "outbound.ended",
    "toll.locked",
]
# json: our own, by POST; while1: the While1 Voice API's events, by GET.
WebhookFormat = Literal["json", "while1"]
# Of what the formats of others have words for; ours has them for everything.
TOLD: Final = {"while1": frozenset({"inbound", "outbound"})}
# Sent when somebody asks for it, whatever a webhook listens to.
TEST_KIND: Final = "webhook.test"
# Who gets events of a kind could read the same by asking.
NEEDED: Final = {
    "call": "calls/read",
    "campaign": "campaigns/read",
    "attempt": "attempts/read",
    "number": "numbers/read",
    "recording": "recordings/read",
    "inbound": "cdrs/read",
    "outbound": "cdrs/read",
    "toll": "toll_guard/read",
}

DeliveryState = Literal["pending", "delivered", "dead"]

SECRET_PREFIX: Final = "whsec_"  # noqa: S105 - what every such secret begins with
_SECRET_BYTES: Final = 32
MAX_URL: Final = 2000

MAX_ATTEMPTS: Final = 12
FIRST_DELAY_S: Final = 5.0
_FACTOR: Final = 3
MAX_DELAY_S: Final = 12 * 3600.0
_JITTER: Final = 0.2

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
# Where clouds answer with credentials, outside the link-local networks, which are never reached anyway.
_METADATA: Final = frozenset(map(ipaddress.ip_address, ("100.100.100.200", "fd00:ec2::254", "168.63.129.16")))
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")
_URL: Final[TypeAdapter[AnyHttpUrl]] = TypeAdapter(AnyHttpUrl)


class TargetRefused(ValueError):
    """A URL, or the address that it leads to, that nothing is sent to; the text is the rule."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """Who is told of which events. problem: why Tandem made it inactive, '' otherwise. Times are seconds since 1970."""

    id: int
    url: str
    events: tuple[str, ...]
    description: str
    active: bool
    problem: str
    author: str
    created_at: float
    updated_at: float
    version: int
    format: WebhookFormat = "json"


@dataclass(frozen=True, slots=True)
class Keys:
    """What a webhook's deliveries are signed with: after a rotation for a while with both."""

    secrets: tuple[str, ...] = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One event for one webhook. attempts: how often it was sent; last_status: HTTP's, 0 for none. Times are seconds since 1970."""

    id: int
    webhook_id: int
    event_id: str
    kind: str
    body: str
    state: DeliveryState
    attempts: int
    next_at: float
    last_status: int
    last_error: str
    created_at: float
    delivered_at: float | None


def new_event_id() -> str:
    """`msg_` and 128 random bits: the same in every delivery of an event, so that a receiver knows it again."""
    return f"msg_{secrets.token_hex(16)}"


def name_event(*words: str) -> str:
    """The same for the same words: of what may be found twice, so that it is told once."""
    return f"msg_{hashlib.sha256(json.dumps(words).encode()).hexdigest()[:32]}"


def new_secret() -> str:
    """A key of 256 random bits, as Standard Webhooks writes it."""
    return SECRET_PREFIX + base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode()


def sign(keys: Keys, event_id: str, timestamp: int, body: bytes) -> str:
    """The header Webhook-Signature: one `v1,` signature for each key, with spaces between."""
    signed = f"{event_id}.{timestamp}.".encode() + body
    return " ".join(
        "v1," + base64.b64encode(hmac.digest(base64.b64decode(secret.removeprefix(SECRET_PREFIX)), signed, hashlib.sha256)).decode()
        for secret in keys.secrets
    )  # fmt: skip


def plan_retry(attempts: int, luck: float) -> float | None:
    """Seconds until the next try after so many: 5 s, three times as long each time, 12 hours at most; None when it was the last.

    luck: 0 to 1, at random: up to a fifth sooner or later, so that what failed together does not come back together.
    """
    if attempts >= MAX_ATTEMPTS:
        return None
    delay: float = min(FIRST_DELAY_S * _FACTOR ** (attempts - 1), MAX_DELAY_S)
    return delay * (1 - _JITTER + 2 * _JITTER * luck)


# ----------------------------------------------------------------------------------------------------------- targets


def read_url(text: str, *, allow_private: bool) -> str:
    """A URL in its normal form, in which an address has one spelling; TargetRefused says what is wrong with it."""
    if len(text) > MAX_URL:
        raise TargetRefused(f"must not be longer than {MAX_URL} characters")
    try:
        url = _URL.validate_python(text)
    except ValidationError:
        raise TargetRefused("must be an http or https URL") from None
    if url.username is not None or url.password is not None:
        raise TargetRefused("must not hold a user name or a password")
    if url.fragment is not None:
        raise TargetRefused("must not have a fragment")
    host = (url.host or "").strip("[]")
    is_secure = url.scheme == "https"
    try:
        literal: IPAddress | None = ipaddress.ip_address(host)
    except ValueError:
        literal = None
    if literal is not None:
        check_addresses(host, [literal], is_secure=is_secure, allow_private=allow_private)
    elif not is_secure and not allow_private and not _names_loopback(host):
        raise TargetRefused("must be https, but for http to this machine itself")
    return str(url)


def check_addresses(host: str, addresses: Sequence[IPAddress], *, is_secure: bool, allow_private: bool) -> IPAddress:
    """The address to connect to, of those that `host` has; TargetRefused if one of them is not allowed, whatever the others are.

    Loopback only where the URL names it: a stranger's name that leads there is an attack. Private networks only where the settings
    say so; link-local, metadata, multicast and reserved addresses never. Plain http never leaves loopback and private networks.
    """
    if not addresses:
        raise TargetRefused("its name has no address")
    for address in addresses:
        kind = _classify(address)
        if kind == "never":
            raise TargetRefused("leads to an address that is never reached")
        if kind == "loopback" and not _names_loopback(host):
            raise TargetRefused("leads to this machine without naming it")
        if kind == "private" and not allow_private:
            raise TargetRefused("leads to a private network, and webhooks.allow_private is no")
        if kind == "public" and not is_secure:
            raise TargetRefused("must be https, but for http to this machine itself")
    return addresses[0]


def _names_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _classify(address: IPAddress) -> Literal["never", "loopback", "private", "public"]:
    inner = _unwrap(address)
    if inner is not None:
        # A wrapped loopback address has no reason to be.
        found = _classify(inner)
        return "never" if found == "loopback" else found
    if address in _METADATA or address.is_link_local or address.is_multicast or address.is_unspecified:
        return "never"
    if address.is_loopback:
        return "loopback"
    if address.is_reserved:
        return "never"
    return "public" if address.is_global else "private"


def _unwrap(address: IPAddress) -> ipaddress.IPv4Address | None:
    """The IPv4 address that an IPv6 one carries: mapped, 6to4, Teredo, NAT64."""
    if isinstance(address, ipaddress.IPv4Address):
        return None
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    teredo = address.teredo
    return address.ipv4_mapped or address.sixtofour or (teredo[1] if teredo is not None else None)
