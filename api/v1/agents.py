"""Agents: who is logged in to which queue and who pauses; log in and out, pause, work again. Never calls anybody."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Any, Final

from pydantic import AfterValidator, Field, StringConstraints

from api.declare import PREFIX, Frozen, Page, Reply, Route, Shown, model_body
from api.errors import Refused
from api.exchange import Commit, Exchange, Services
from api.listing import list_query, make_page
from api.times import time_of
from tandem.agents import Agent
from tandem.domain.agents import AgentChange, AgentWish, Roster, Wish
from tandem.domain.fields import Name, check_line
from tandem.store.agents import load_agent_sessions

_PATH: Final = f"{PREFIX}/agents"
_ONE: Final = f"{_PATH}/{{extension}}"


class AgentLoginBody(Frozen):
    """Which queues."""

    queues: Annotated[
        tuple[Name, ...],
        Field(
            max_length=100,
            description="Names of queues. Without any: those that it is a member of (login), those that it is logged in to (logout).",
        ),
    ] = ()


class AgentPauseBody(Frozen):
    """Why."""

    reason: Annotated[
        str, StringConstraints(max_length=79), AfterValidator(check_line), Field(description="What others are told.")
    ] = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentState:
    """What holds for an agent from now on. queues: those that it is logged in to; paused_since: null while it works."""

    extension: str
    is_logged_in: bool
    queues: tuple[str, ...]
    is_paused: bool
    pause_reason: str
    paused_since: datetime | None


async def _list(services: Services, exchange: Exchange) -> Reply:
    return Reply(make_page(await services.agents.list_agents(), exchange.query, "extension"))


async def _get(services: Services, exchange: Exchange) -> Reply:
    extension = exchange.path["extension"]
    for agent in await services.agents.list_agents():
        if agent.extension == extension:
            return Reply(agent)
    raise Refused(HTTPStatus.NOT_FOUND, "there is no such agent")


def _change(wish: Wish) -> Callable[[Services, Exchange], Awaitable[Reply]]:
    async def handle(services: Services, exchange: Exchange) -> Reply:
        extension, body = exchange.path["extension"], exchange.body
        wanted = AgentWish(wish, getattr(body, "queues", ()), getattr(body, "reason", ""))
        snapshot = services.live.current

        def answer(db: Any, change: AgentChange) -> Reply:
            roster = Roster(snapshot, load_agent_sessions(db))
            queues, pause = tuple(roster.list_entered(extension)), roster.read_pause(extension)
            is_paused = pause is not None and pause.is_paused
            return Reply(
                AgentState(
                    extension=change.endpoint,
                    is_logged_in=bool(queues),
                    queues=queues,
                    is_paused=is_paused,
                    pause_reason=pause.reason if pause is not None else "",
                    paused_since=time_of(pause.since) if pause is not None and is_paused else None,
                )
            )

        commit: Commit[AgentChange] = Commit(
            exchange, lambda change: f"agents/{change.endpoint}/{change.event}", answer
        )
        await services.agents.change(extension, wanted, by=exchange.who.name, commit=commit)
        return commit.reply

    return handle


_PARAMETERS: Final = {"extension": "The extension of an endpoint."}
_AWAY: Final = (HTTPStatus.SERVICE_UNAVAILABLE,)
_FAILURES: Final = (HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT, HTTPStatus.SERVICE_UNAVAILABLE)

ROUTES: Final = (
    Route(
        method="GET", path=_PATH, permission="agents/read", handler=_list, tag="agents", operation="list_queue_agents",
        summary="Agents: members of queues and whoever logged in, with their phones, pauses and calls.",
        query=list_query(Agent, "extension"), answer=Shown(Page[Agent], name="AgentPage"), raises=_AWAY,
    ),
    Route(
        method="GET", path=_ONE, permission="agents/read", handler=_get, tag="agents", operation="get_queue_agent",
        summary="One agent.", parameters=_PARAMETERS, answer=Shown(Agent), raises=(HTTPStatus.NOT_FOUND, *_AWAY),
    ),
    Route(
        method="POST", path=f"{_ONE}/login", permission="agents/login", handler=_change("login"), tag="agents", operation="log_agent_in",
        summary="Log in to queues: those that it is a member of, or that are open to everybody.", parameters=_PARAMETERS,
        body=model_body(AgentLoginBody, optional=True), answer=Shown(AgentState), raises=_FAILURES,
    ),
    Route(
        method="POST", path=f"{_ONE}/logout", permission="agents/login", handler=_change("logout"), tag="agents", operation="log_agent_out",
        summary="Log out of queues; the end of the last login is the end of a pause.", parameters=_PARAMETERS,
        body=model_body(AgentLoginBody, optional=True), answer=Shown(AgentState), raises=_FAILURES,
    ),
    Route(
        method="POST", path=f"{_ONE}/pause", permission="agents/pause", handler=_change("pause"), tag="agents", operation="pause_agent",
        summary="Pause in all queues.", parameters=_PARAMETERS,
        body=model_body(AgentPauseBody, optional=True), answer=Shown(AgentState), raises=_FAILURES,
    ),
    Route(
        method="POST", path=f"{_ONE}/unpause", permission="agents/pause", handler=_change("unpause"), tag="agents", operation="unpause_agent",
        summary="Work again.", parameters=_PARAMETERS, answer=Shown(AgentState), raises=_FAILURES,
    ),
)  # fmt: skip
