"""`/toll_guard`: what was called today and what is locked for it; a person unlocks, and the audit log says who. Never unlocks by itself."""

from http import HTTPStatus
from typing import Annotated, Any, Final

from pydantic import Field, StringConstraints

from api.declare import PREFIX, Frozen, Reply, Route, Shown, Whole, model_body
from api.errors import Refused, refuse_fields
from api.exchange import Exchange, Services
from tandem.domain.originate import OriginateOrder
from tandem.tolls import NotLocked, TollState

_PATH: Final = f"{PREFIX}/toll_guard"


class Unlock(Frozen):
    """What is to be unlocked."""

    scope: Annotated[
        str, StringConstraints(min_length=3, max_length=60), Field(description="pbx, endpoint/1001 or trunk/carrier.")
    ]


def check_tolls(services: Services, order: OriginateOrder) -> None:
    """Refused 422 for a call over a trunk that the guard has locked, or locks for this one. It is counted when it is placed.

    Whoever planned the call has asked about its number: in the channel it is as the trunk wants it.
    """
    _, at, trunk = order.channel.rpartition("@")
    if order.is_trunk and at and (verdict := services.tolls.check_usage("", trunk)).refusal:
        raise refuse_fields([("origin.external", f"the toll guard refuses it: {verdict.refusal}")])


async def _list(services: Services, _exchange: Exchange) -> Reply:
    return Reply(Whole(services.tolls.list_states()))


async def _unlock(services: Services, exchange: Exchange) -> Reply:
    scope = exchange.body.scope
    gone = Reply(None, HTTPStatus.NO_CONTENT)

    async def commit(work: Any) -> None:
        await exchange.write(lambda db: (work(db), gone), f"toll_guard/{scope}")

    try:
        await services.tolls.unlock(scope, commit)
    except NotLocked as error:
        raise Refused(HTTPStatus.NOT_FOUND, str(error)) from None
    return gone


ROUTES: Final = (
    Route(
        method="GET", path=_PATH, permission="toll_guard/read", tag="toll_guard", operation="list_toll_guard",
        summary="What the PBX, endpoints and trunks called outside today, and which are locked; the locked ones first.",
        handler=_list, answer=Shown(Whole[TollState], name="TollStateList"),
    ),
    Route(
        method="POST", path=f"{_PATH}/unlock", permission="toll_guard/unlock", tag="toll_guard", operation="unlock_toll_guard",
        summary="Unlock what the toll guard locked; what it called today is forgotten.", handler=_unlock,
        body=model_body(Unlock, example={"scope": "endpoint/1001"}), status=HTTPStatus.NO_CONTENT, raises=(HTTPStatus.NOT_FOUND,),
    ),
)  # fmt: skip
