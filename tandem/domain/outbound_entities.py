"""The definitions of what is for calls outside: routes over trunks; part of `tandem.domain.entities`, and never knows a call."""

from dataclasses import field
from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from tandem.domain.fields import STRICT, CallerPattern, Country, DialPattern, Name, Permission, Pin, Text, matches

DialPrefix = Annotated[
    str, matches(r"\+?[0-9*#]{0,12}", "must be at most 12 digits (also * and #), with or without a leading +")
]


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class OutboundRoute:
    """Which numbers outside go over which trunks, and who may dial them.

    Of several routes with the number, the one with the lowest `position` is tried first, then the one that says more about it.
    """

    name: Name
    description: Text = ""
    active: bool = True
    position: Annotated[int, Field(ge=0, le=9999)] = 100
    # 0049*, 110, _0[1-9]X.: as it was dialled; +49*, _+491[5-7].: in international form, however it was dialled.
    patterns: Annotated[tuple[DialPattern, ...], Field(max_length=200)] = ()
    # Numbers of these countries.
    countries: Annotated[tuple[Country, ...], Field(max_length=250)] = ()
    # How many signs are taken off what was dialled, and what is put before the rest, before a trunk sees it.
    strip: Annotated[int, Field(ge=0, le=20)] = 0
    prepend: DialPrefix = ""
    # In this order: the next one where a trunk is down or full.
    trunks: Annotated[tuple[Name, ...], Field(min_length=1, max_length=10)]
    # Without one the route is open all the time.
    schedule: Name | None = None
    # What an endpoint needs; without it, what the number needs: national or international.
    permission: Permission | None = None
    # Keys that have to be pressed before the call goes out.
    pin: Pin | None = field(default=None, repr=False)
    # Everybody may dial it at any time, past every limit, also while Tandem is down.
    emergency: bool = False
    # Works while Tandem is down, too.
    static: bool = False


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class TollGuard:
    """What an endpoint, a trunk or the whole PBX may cost; what goes over a daily or a per-minute limit locks it until a person unlocks it.

    0 is no limit, and no country every country. Emergency calls pass all of it.
    """

    # Whether premium numbers may be dialled; an endpoint that says nothing may what the PBX may, which is not unless it says so.
    premium: bool | None = None
    countries: Annotated[tuple[Country, ...], Field(max_length=250)] = ()
    # +4990055501 and +4411* in international form: allowed prefixes pass the countries and premium, denied ones are never dialled.
    allowed_prefixes: Annotated[tuple[CallerPattern, ...], Field(max_length=200)] = ()
    denied_prefixes: Annotated[tuple[CallerPattern, ...], Field(max_length=200)] = ()
    max_calls: Annotated[int, Field(ge=0, le=10_000)] = 0
    max_calls_per_minute: Annotated[int, Field(ge=0, le=100_000)] = 0
    daily_calls: Annotated[int, Field(ge=0, le=10_000_000)] = 0
    daily_minutes: Annotated[int, Field(ge=0, le=10_000_000)] = 0
