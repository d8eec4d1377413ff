"""Doors: other systems' APIs, each with its dialect, its routes and whom the settings let in; behind a closed one there is nothing at all.

An API is added by one line in `api.compat.table`. Two may have the same paths: the dialect that claims a request speaks (`Dialect.claims`).
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from twisted.web.http import Request

from api.declare import Route
from api.dialect import Dialect
from tandem.settings import ApiSettings, is_loopback

# What proxies add: whoever asks through one on this machine is not on this machine.
_RELAYED: Final = (b"x-forwarded-for", b"forwarded", b"x-real-ip", b"via")
# What browsers add, and no page can leave out.
_OF_PAGES: Final = (b"origin", b"sec-fetch-site")
_MAPPED: Final = "::ffff:"


@dataclass(frozen=True, slots=True)
class Door:
    """One API. name: also of its section of the settings; make_dialect: how it speaks, by these settings."""

    name: str
    make_dialect: Callable[[ApiSettings], Dialect]
    routes: tuple[Route, ...]


@dataclass(frozen=True, slots=True)
class OpenDoor:
    """One that is served; is_near_only: to this machine alone."""

    name: str
    dialect: Dialect
    routes: tuple[Route, ...]
    is_near_only: bool


def open_doors(doors: Iterable[Door], settings: ApiSettings) -> tuple[OpenDoor, ...]:
    """Those that the settings open."""
    return tuple(
        OpenDoor(door.name, door.make_dialect(settings), door.routes, section.serve == "loopback")
        for door in doors
        if (section := getattr(settings, door.name)).serve != "off"
    )


def is_near(request: Request | Any, *, trusted: bool) -> bool:
    """Whether who asks is on this machine: on the unix socket, or on loopback and not a proxy for somebody else."""
    if trusted:
        return True
    host = getattr(request.getClientAddress(), "host", "")
    return is_loopback(host.removeprefix(_MAPPED)) and not any(map(request.requestHeaders.hasHeader, _RELAYED))


def may_be_a_page(request: Request | Any) -> bool:
    """Whether a browser on this machine may have sent it for somebody's page: it says so (Fetch, 3.1; Fetch Metadata), or it found us by a name, which anybody's DNS may give."""
    headers = request.requestHeaders
    if any(map(headers.hasHeader, _OF_PAGES)):
        return True
    return not all(is_loopback(_read_host(value)) for value in headers.getRawHeaders(b"host", ()))


def _read_host(value: bytes) -> str:
    try:
        return urlsplit(f"//{value.decode('ascii')}").hostname or ""
    except ValueError:
        return ""
