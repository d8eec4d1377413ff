"""`/night-modes`: schedules that somebody holds open or closed whatever the clock says; never changes the configuration."""

from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Any, Final

from pydantic import Field

from api.declare import PREFIX, Frozen, Page, Reply, Route, Shown, model_body
from api.errors import Refused
from api.exchange import Commit, Exchange, Services
from api.listing import list_query, make_page
from api.times import time_of
from tandem.domain.nights import NightMode
from tandem.domain.schedules import Mode, is_open

_PATH: Final = f"{PREFIX}/night-modes"
_ONE: Final = f"{_PATH}/{{schedule}}"
_PARAMETERS: Final = {"schedule": "The name of a schedule."}


@dataclass(frozen=True, slots=True, kw_only=True)
class NightModeShown:
    """mode: auto (by the clock), day (open) or night (closed); is_open: what calls meet now. by, since: who switched it last, and when; null for never."""

    schedule: str
    mode: Mode
    is_open: bool
    code: str
    since: datetime | None
    by: str


class NightModeChange(Frozen):
    """What a schedule is from now on."""

    mode: Annotated[Mode, Field(description="auto: by the clock; day: open; night: closed.")]


def _show(services: Services, night: NightMode) -> NightModeShown:
    snapshot = services.live.current
    return NightModeShown(
        schedule=night.schedule,
        mode=night.mode,
        is_open=night.mode == "day"
        if night.mode != "auto"
        else is_open(snapshot.hours[night.schedule], services.now()),
        code=snapshot.schedules[night.schedule].night_code,
        since=time_of(night.since) if night.since else None,
        by=night.by,
    )


async def _list(services: Services, exchange: Exchange) -> Reply:
    shown = [_show(services, services.nights.read(name)) for name in services.live.current.schedules]
    return Reply(make_page(shown, exchange.query, "schedule"))


def _find(services: Services, exchange: Exchange) -> str:
    name: str = exchange.path["schedule"]
    if name not in services.live.current.schedules:
        raise Refused(HTTPStatus.NOT_FOUND, "there is no such schedule in the live revision")
    return name


async def _get(services: Services, exchange: Exchange) -> Reply:
    return Reply(_show(services, services.nights.read(_find(services, exchange))))


async def _change(services: Services, exchange: Exchange) -> Reply:
    name, mode = _find(services, exchange), exchange.body.mode

    def answer(_db: Any, night: NightMode) -> Reply:
        return Reply(_show(services, night))

    commit: Commit[NightMode] = Commit(exchange, f"night_modes/{name}/{mode}", answer)
    await services.nights.change(name, lambda _snapshot, _now: mode, by=exchange.who.name, commit=commit)
    return commit.reply


ROUTES: Final = (
    Route(
        method="GET", path=_PATH, permission="night_modes/read", handler=_list, tag="night_modes", operation="list_night_modes",
        summary="All schedules, and which somebody holds open or closed.",
        query=list_query(NightModeShown, "schedule"), answer=Shown(Page[NightModeShown], name="NightModes"),
    ),
    Route(
        method="GET", path=_ONE, permission="night_modes/read", handler=_get, tag="night_modes", operation="get_night_mode",
        summary="Whether somebody holds a schedule open or closed.", parameters=_PARAMETERS, answer=Shown(NightModeShown),
        raises=(HTTPStatus.NOT_FOUND,),
    ),
    Route(
        method="PATCH", path=_ONE, permission="night_modes/update", handler=_change, tag="night_modes", operation="change_night_mode",
        summary="Hold a schedule open or closed, or let the clock decide again; it holds at once, and over restarts.",
        parameters=_PARAMETERS, body=model_body(NightModeChange, example={"mode": "night"}), answer=Shown(NightModeShown),
        raises=(HTTPStatus.NOT_FOUND,),
    ),
)  # fmt: skip
