"""What is set at phones: do not disturb and forwards, over what is configured; never changes the configuration, and calls nobody."""

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
from tandem.domain.features import FORWARD_KINDS, Features, FeatureWish, features_in_force
from tandem.domain.fields import matches
from tandem.domain.phones import Endpoint

_PATH: Final = f"{PREFIX}/features"
_ONE: Final = f"{_PATH}/{{extension}}"
_PARAMETERS: Final = {"extension": "The extension of an endpoint."}


@dataclass(frozen=True, slots=True, kw_only=True)
class FeaturesShown:
    """What holds for an endpoint; a forward is empty while there is none.

    set_…: what somebody set, null for as configured, '' for off. by, since: who set something last, and when.
    """

    extension: str
    do_not_disturb: bool
    forward_always: str
    forward_busy: str
    forward_no_answer: str
    forward_unavailable: str
    set_do_not_disturb: bool | None
    set_forward_always: str | None
    set_forward_busy: str | None
    set_forward_no_answer: str | None
    set_forward_unavailable: str | None
    since: datetime | None
    by: str


_Forward = Annotated[
    str,
    matches(r"(\+?[0-9]{2,24})?", "must be 2 to 24 digits, with or without a leading +, or empty"),
    Field(description="A number; empty turns the forward off, null puts it back to what is configured."),
]


class FeaturesChange(Frozen):
    """What is to be set; an absent field stays as it is."""

    do_not_disturb: Annotated[bool | None, Field(description="null puts it back to what is configured.")] = None
    forward_always: _Forward | None = None
    forward_busy: _Forward | None = None
    forward_no_answer: _Forward | None = None
    forward_unavailable: _Forward | None = None


def _show(endpoint: Endpoint, features: Features) -> FeaturesShown:
    in_force = features_in_force(endpoint, features)
    now = {f"forward_{kind}": getattr(in_force, kind) for kind in FORWARD_KINDS}
    given = {f"set_forward_{kind}": getattr(features, kind) for kind in FORWARD_KINDS}
    return FeaturesShown(
        extension=endpoint.extension,
        do_not_disturb=in_force.do_not_disturb,
        set_do_not_disturb=features.do_not_disturb,
        since=time_of(features.since) if features.since else None,
        by=features.by,
        **now,
        **given,
    )


async def _list(services: Services, exchange: Exchange) -> Reply:
    endpoints = services.live.current.endpoints
    # Of 10,000 phones a handful has something to tell.
    shown = [_show(endpoint, services.features.read(endpoint.extension)) for endpoint in endpoints.values()]
    return Reply(make_page(shown, exchange.query, "extension"))


def _find(services: Services, exchange: Exchange) -> Endpoint:
    endpoint = services.live.current.endpoints.get(exchange.path["extension"])
    if endpoint is None:
        raise Refused(HTTPStatus.NOT_FOUND, "there is no such endpoint in the live revision")
    found: Endpoint = endpoint
    return found


async def _get(services: Services, exchange: Exchange) -> Reply:
    endpoint = _find(services, exchange)
    return Reply(_show(endpoint, services.features.read(endpoint.extension)))


async def _change(services: Services, exchange: Exchange) -> Reply:
    endpoint = _find(services, exchange)
    given = exchange.body.model_dump(exclude_unset=True)
    wish = FeatureWish(values={name.removeprefix("forward_"): value for name, value in given.items()})

    def answer(_db: Any, features: Features) -> Reply:
        return Reply(_show(endpoint, features))

    commit: Commit[Features] = Commit(exchange, f"features/{endpoint.extension}", answer)
    await services.features.change(endpoint.extension, wish, by=exchange.who.name, commit=commit)
    return commit.reply


ROUTES: Final = (
    Route(
        method="GET", path=_PATH, permission="features/read", handler=_list, tag="features", operation="list_features",
        summary="Do not disturb and forwards of all phones, as they are now.",
        query=list_query(FeaturesShown, "extension"), answer=Shown(Page[FeaturesShown], name="FeaturesPage"),
    ),
    Route(
        method="GET", path=_ONE, permission="features/read", handler=_get, tag="features", operation="get_features",
        summary="Do not disturb and forwards of one phone.", parameters=_PARAMETERS, answer=Shown(FeaturesShown),
        raises=(HTTPStatus.NOT_FOUND,),
    ),
    Route(
        method="PATCH", path=_ONE, permission="features/update", handler=_change, tag="features", operation="change_features",
        summary="Set do not disturb and forwards of a phone; they hold at once, and over restarts.", parameters=_PARAMETERS,
        body=model_body(FeaturesChange), answer=Shown(FeaturesShown), raises=(HTTPStatus.NOT_FOUND,),
    ),
)  # fmt: skip
