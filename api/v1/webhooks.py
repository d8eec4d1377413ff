"""Webhooks: list, make, change, delete, test; their deliveries, and sending them again; a secret is answered when it is made, and never again."""

from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from http import HTTPStatus
from typing import Annotated, Any, Final, get_args

from pydantic import AwareDatetime, Field, StringConstraints

from api.declare import PREFIX, Frozen, Page, Reply, Route, Shown, model_body
from api.errors import Refused, refuse_fields
from api.exchange import Exchange, Services
from api.listing import list_query, make_page
from api.times import show_times, with_times
from api.v1.campaigns import read_id
from tandem.domain.webhooks import (
    MAX_URL,
    NEEDED,
    TOLD,
    Delivery,
    DeliveryState,
    EventKind,
    TargetRefused,
    Webhook,
    WebhookFormat,
    read_url,
)
from tandem.store.outbox import load_deliveries, queue_test, replay_deliveries, replay_delivery
from tandem.store.webhooks import (
    OVERLAP_S,
    create_webhook,
    delete_webhook,
    load_webhook,
    load_webhooks,
    rotate_secret,
    update_webhook,
)

_PATH: Final = f"{PREFIX}/webhooks"
_ONE: Final = f"{_PATH}/{{id}}"
_DELIVERIES: Final = f"{_ONE}/deliveries"
_ID: Final = {"id": "The number of the webhook."}
_MISSING: Final = (HTTPStatus.NOT_FOUND,)
_EDIT_FAILURES: Final = (HTTPStatus.NOT_FOUND, HTTPStatus.PRECONDITION_FAILED)
_MAX_PAGE: Final = 200

_Url = Annotated[str, StringConstraints(min_length=1, max_length=MAX_URL)]
_Events = Annotated[tuple[EventKind, ...], Field(min_length=1, max_length=len(get_args(EventKind)))]
_Description = Annotated[str, StringConstraints(max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")]

WebhookShown: Final[Any] = with_times(Webhook, "WebhookShown")
DeliveryShown: Final[Any] = with_times(Delivery, "DeliveryShown")


class NewWebhook(Frozen):
    """Whom to tell of which events. url: https, or http to this machine itself; what may be reached is in docs/webhooks.md.

    format: json, or while1 for programs that take the events of that system (inbound.* and outbound.*, by GET).
    """

    url: _Url
    events: _Events
    description: _Description = ""
    active: bool = True
    format: WebhookFormat = "json"


class WebhookChange(Frozen):
    """What changes."""

    url: _Url | None = None
    events: _Events | None = None
    description: _Description | None = None
    active: bool | None = None


class Replay(Frozen):
    """What to send again: what was given up, since a time; include_delivered: what had arrived, too."""

    since: AwareDatetime | None = None
    include_delivered: bool = False


class DeliveriesQuery(Frozen):
    """A page, newest first."""

    state: Annotated[DeliveryState | None, Field(description="Only those in this state.")] = None
    before: Annotated[
        int | None, Field(ge=1, le=2**63 - 1, description="The last id of the page before.")
    ] = None  # fmt: skip
    limit: Annotated[int, Field(ge=1, le=_MAX_PAGE, description="How many at most.")] = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookMade(WebhookShown):  # type: ignore[misc]  # a made dataclass as base
    """A webhook just made, or with a new secret. secret: null when the answer is a repeated one."""

    secret: str | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class DeliveryPage:
    """Some of a webhook's deliveries, newest first."""

    items: tuple[DeliveryShown, ...]
    limit: int


@dataclass(frozen=True, slots=True)
class Replayed:
    """How many are sent again."""

    deliveries: int


def _id_of(exchange: Exchange) -> int:
    return read_id(exchange.path["id"], "webhook")


def _tag(exchange: Exchange, webhook: Webhook) -> str:
    return exchange.tag(b"webhook %d %d" % (webhook.id, webhook.version))


def _make(webhook: Webhook, secret: str | None) -> Any:
    shown = show_times(WebhookShown, webhook)
    return WebhookMade(**{one.name: getattr(shown, one.name) for one in fields(shown)}, secret=secret)


def _give(exchange: Exchange, webhook: Webhook) -> Reply:
    return Reply(show_times(WebhookShown, webhook), headers=(("etag", _tag(exchange, webhook)),))


def _give_secret(exchange: Exchange, webhook: Webhook, secret: str, status: int) -> Reply:
    headers = (("etag", _tag(exchange, webhook)), ("location", f"{_PATH}/{webhook.id}"))
    return Reply(_make(webhook, secret), status, headers, kept=_make(webhook, None))


def _check_url(services: Services, url: str) -> str:
    try:
        return read_url(url, allow_private=services.allow_private_webhooks)
    except TargetRefused as refused:
        raise refuse_fields([("url", str(refused))]) from None


def _check_events(exchange: Exchange, events: Iterable[str]) -> None:
    """Nobody has sent to him what he may not read."""
    for needed in sorted({NEEDED[kind.partition(".")[0]] for kind in events}):
        if not exchange.who.may(needed):
            raise Refused(HTTPStatus.FORBIDDEN, f"these events take the permission {needed}")


def _check_told(form: str, events: Iterable[str]) -> None:
    """Another system's format has words for some events only."""
    for kind in events:
        if form in TOLD and kind.partition(".")[0] not in TOLD[form]:
            raise refuse_fields([("events", f"{kind} cannot be told in the format {form}")])


# --------------------------------------------------------------------------------------------------------- handlers


async def _list(services: Services, exchange: Exchange) -> Reply:
    found = await services.store.read(load_webhooks)
    return Reply(make_page([show_times(WebhookShown, one) for one in found], exchange.query, "id"))


async def _get(services: Services, exchange: Exchange) -> Reply:
    reply = _give(exchange, await services.store.read(load_webhook, _id_of(exchange)))
    if exchange.is_fresh(reply.headers[0][1]):
        return Reply(None, HTTPStatus.NOT_MODIFIED, reply.headers)
    return reply


async def _create(services: Services, exchange: Exchange) -> Reply:
    wanted: NewWebhook = exchange.body
    url, at = _check_url(services, wanted.url), services.now().timestamp()
    _check_events(exchange, wanted.events)
    _check_told(wanted.format, wanted.events)

    def work(db: Any) -> tuple[Webhook, Reply]:
        made, secret = create_webhook(
            db,
            url=url,
            events=tuple(dict.fromkeys(wanted.events)),
            description=wanted.description,
            active=wanted.active,
            author=exchange.who.name,
            at=at,
            form=wanted.format,
        )
        return made, _give_secret(exchange, made, secret, HTTPStatus.CREATED)

    _, reply = await exchange.write(work, lambda made: f"webhooks/{made.id}")
    return reply


async def _change(services: Services, exchange: Exchange) -> Reply:
    webhook_id, at = _id_of(exchange), services.now().timestamp()
    changes = exchange.body.model_dump(exclude_none=True)
    if "url" in changes:
        changes["url"] = _check_url(services, changes["url"])
    if "events" in changes:
        changes["events"] = tuple(dict.fromkeys(changes["events"]))

    def work(db: Any) -> tuple[None, Reply]:
        before = load_webhook(db, webhook_id)
        exchange.check_match(_tag(exchange, before))
        # Whoever sends it elsewhere gets what it told before, too.
        _check_events(exchange, {*before.events, *changes.get("events", ())})
        _check_told(before.format, changes.get("events", ()))
        return None, _give(exchange, update_webhook(db, webhook_id, at, **changes))

    _, reply = await exchange.write(work, f"webhooks/{webhook_id}")
    return reply


async def _delete(services: Services, exchange: Exchange) -> Reply:
    del services
    webhook_id = _id_of(exchange)

    def work(db: Any) -> tuple[None, Reply]:
        exchange.check_match(_tag(exchange, load_webhook(db, webhook_id)))
        delete_webhook(db, webhook_id)
        return None, Reply(None, HTTPStatus.NO_CONTENT)

    _, reply = await exchange.write(work, f"webhooks/{webhook_id}")
    return reply


async def _rotate(services: Services, exchange: Exchange) -> Reply:
    webhook_id, at = _id_of(exchange), services.now().timestamp()

    def work(db: Any) -> tuple[None, Reply]:
        _check_events(exchange, load_webhook(db, webhook_id).events)
        webhook, secret = rotate_secret(db, webhook_id, at)
        return None, _give_secret(exchange, webhook, secret, HTTPStatus.OK)

    _, reply = await exchange.write(work, f"webhooks/{webhook_id}")
    return reply


async def _test(services: Services, exchange: Exchange) -> Reply:
    webhook_id, at = _id_of(exchange), services.now().timestamp()

    def work(db: Any) -> tuple[None, Reply]:
        _check_active(load_webhook(db, webhook_id))
        queued = show_times(DeliveryShown, queue_test(db, webhook_id, at))
        return None, Reply(queued, HTTPStatus.ACCEPTED)

    _, reply = await exchange.write(work, f"webhooks/{webhook_id}")
    return reply


async def _list_deliveries(services: Services, exchange: Exchange) -> Reply:
    webhook_id, query = _id_of(exchange), exchange.query

    def read(db: Any) -> list[Delivery]:
        _check_events(exchange, load_webhook(db, webhook_id).events)
        return load_deliveries(db, webhook_id, query.state, query.before, query.limit)

    found = await services.store.read(read)
    return Reply(DeliveryPage(tuple(show_times(DeliveryShown, one) for one in found), query.limit))


async def _replay_one(services: Services, exchange: Exchange) -> Reply:
    webhook_id, at = _id_of(exchange), services.now().timestamp()
    delivery_id = read_id(exchange.path["delivery_id"], "delivery")

    def work(db: Any) -> tuple[None, Reply]:
        _check_active(load_webhook(db, webhook_id))
        delivery = replay_delivery(db, webhook_id, delivery_id, at)
        if delivery is None:
            raise Refused(HTTPStatus.NOT_FOUND, "there is no such delivery")
        return None, Reply(show_times(DeliveryShown, delivery), HTTPStatus.ACCEPTED)

    _, reply = await exchange.write(work, f"webhooks/{webhook_id}/deliveries/{delivery_id}")
    return reply


async def _replay(services: Services, exchange: Exchange) -> Reply:
    webhook_id, at = _id_of(exchange), services.now().timestamp()
    wanted: Replay = exchange.body or Replay()
    since = wanted.since.timestamp() if wanted.since is not None else None
    states: tuple[DeliveryState, ...] = ("dead", "delivered") if wanted.include_delivered else ("dead",)

    def work(db: Any) -> tuple[None, Reply]:
        _check_active(load_webhook(db, webhook_id))
        return None, Reply(Replayed(replay_deliveries(db, webhook_id, since, states, at)), HTTPStatus.ACCEPTED)

    _, reply = await exchange.write(work, f"webhooks/{webhook_id}")
    return reply


def _check_active(webhook: Webhook) -> None:
    if not webhook.active:
        raise Refused(
            HTTPStatus.CONFLICT, f"this webhook is not active{f': {webhook.problem}' if webhook.problem else ''}"
        )


# ----------------------------------------------------------------------------------------------------- declarations

_EXAMPLE: Final = {"url": "https://crm.example.com/tandem", "events": ["call.ended", "campaign.drained"]}
_SHOWN: Final = Shown(WebhookShown)
_MADE: Final = Shown(WebhookMade)

ROUTES: Final = (
    Route(
        method="GET", path=_PATH, permission="webhooks/read", summary="List webhooks, without their secrets.", handler=_list, tag="webhooks",
        operation="list_webhooks", query=list_query(WebhookShown, "id"), answer=Shown(Page[WebhookShown], name="WebhookPage"),
    ),
    Route(
        method="POST", path=_PATH, permission="webhooks/create", summary="Make a webhook; its secret is shown only now.", handler=_create,
        tag="webhooks", operation="create_webhook", body=model_body(NewWebhook, example=_EXAMPLE), answer=_MADE,
        status=HTTPStatus.CREATED, raises=(HTTPStatus.CONFLICT,), etag=True,
    ),
    Route(
        method="GET", path=_ONE, parameters=_ID, permission="webhooks/read", summary="Read a webhook.", handler=_get, tag="webhooks",
        operation="get_webhook", answer=_SHOWN, raises=(*_MISSING, HTTPStatus.NOT_MODIFIED), etag=True,
    ),
    Route(
        method="PATCH", path=_ONE, parameters=_ID, permission="webhooks/update", summary="Change fields of a webhook.", handler=_change,
        tag="webhooks", operation="change_webhook", body=model_body(WebhookChange, example={"active": False}), answer=_SHOWN,
        raises=_EDIT_FAILURES, etag=True,
    ),
    Route(
        method="DELETE", path=_ONE, parameters=_ID, permission="webhooks/delete", summary="Delete a webhook with its deliveries.",
        handler=_delete, tag="webhooks", operation="delete_webhook", status=HTTPStatus.NO_CONTENT, raises=_EDIT_FAILURES,
    ),
    Route(
        method="POST", path=f"{_ONE}/rotate", parameters=_ID, permission="webhooks/update", handler=_rotate, tag="webhooks",
        operation="rotate_webhook_secret", answer=_MADE, raises=_MISSING, etag=True,
        summary=f"A new secret, shown only now; for {OVERLAP_S / 3600:.0f} hours deliveries are signed with the old one, too.",
    ),
    Route(
        method="POST", path=f"{_ONE}/test", parameters=_ID, permission="webhooks/update", summary="Send a test event.", handler=_test,
        tag="webhooks", operation="test_webhook", answer=Shown(DeliveryShown), status=HTTPStatus.ACCEPTED,
        raises=(HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT),
    ),
    Route(
        method="GET", path=_DELIVERIES, parameters=_ID, permission="webhooks/read", handler=_list_deliveries, tag="webhooks",
        operation="list_webhook_deliveries", query=DeliveriesQuery, answer=Shown(DeliveryPage), raises=_MISSING,
        summary="Deliveries of a webhook, newest first: pending, delivered, or dead, which is what was given up.",
    ),
    Route(
        method="POST", path=f"{_DELIVERIES}/{{delivery_id}}/replay", parameters={**_ID, "delivery_id": "The number of the delivery."},
        permission="webhooks/replay", summary="Send a delivery again, whatever became of it.", handler=_replay_one, tag="webhooks",
        operation="replay_webhook_delivery", answer=Shown(DeliveryShown), status=HTTPStatus.ACCEPTED,
        raises=(HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT),
    ),
    Route(
        method="POST", path=f"{_ONE}/replay", parameters=_ID, permission="webhooks/replay", handler=_replay, tag="webhooks",
        operation="replay_webhook", summary="Send again what was given up, all of it or from a time on.", answer=Shown(Replayed),
        body=model_body(Replay, optional=True, example={"since": "2026-11-20T00:00:00Z"}), status=HTTPStatus.ACCEPTED,
        raises=(HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT),
    ),
)  # fmt: skip
