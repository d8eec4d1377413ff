"""API tokens: list, create, delete; a new one's secret is answered once and kept nowhere."""

from dataclasses import asdict, dataclass, field
from http import HTTPStatus
from typing import Annotated, Any, Final, Literal, Self

from pydantic import AwareDatetime, Field, StringConstraints

from api.auth import covers
from api.declare import PREFIX, Frozen, Page, Reply, Route, Shown, model_body
from api.errors import Refused, refuse_fields
from api.exchange import Exchange, Services
from api.listing import list_query, make_page
from tandem.domain.fields import matches
from tandem.domain.problems import suggest
from tandem.store.tokens import Token, create_token, delete_token, load_tokens

_PATH: Final = f"{PREFIX}/tokens"

TokenName = Annotated[str, StringConstraints(min_length=1, max_length=80)]
PermissionText = Annotated[str, matches(r"\*|[a-z_]{1,40}/(\*|[a-z_]{1,40})", "must be group/action, group/* or *")]


class NewToken(Frozen):
    """A token to make. permissions: `dids/read`, `calls/*`, `*`; never more than whoever makes it has.

    dialect: `while1` for one that speaks While1 under `/api/`, where other tokens speak the ARI Dialer's API.
    """

    name: TokenName
    permissions: Annotated[tuple[PermissionText, ...], Field(min_length=1, max_length=500)]
    expires_at: AwareDatetime | None = None
    dialect: Literal["", "while1"] = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenMade(Token):
    """A token just made. secret: null when the answer is a repeated one."""

    secret: str | None = field(repr=False)

    @classmethod
    def of(cls, token: Token, secret: str | None) -> Self:
        """With its secret, or without."""
        return cls(**asdict(token), secret=secret)


async def _list(services: Services, exchange: Exchange) -> Reply:
    return Reply(make_page(await services.store.read(load_tokens), exchange.query, "id"))


async def _create(services: Services, exchange: Exchange) -> Reply:
    wanted: NewToken = exchange.body
    unknown = [
        (
            f"permissions[{place}]",
            f"{permission!r} covers nothing that there is{suggest(permission, services.permissions)}",
        )
        for place, permission in enumerate(wanted.permissions)
        if not any(covers((permission,), known) for known in services.permissions)
    ]
    if unknown:
        raise refuse_fields(unknown)
    for permission in wanted.permissions:
        if not covers(exchange.who.permissions, permission):
            raise Refused(HTTPStatus.FORBIDDEN, f"{permission} is more than you have yourself")
    if (limits := exchange.who.group) is not None:
        # It would be nobody's, and so in no group.
        raise Refused(HTTPStatus.FORBIDDEN, f"a token would reach beyond your group {limits.name}")
    now = services.now()
    if wanted.expires_at is not None and wanted.expires_at <= now:
        raise refuse_fields([("expires_at", "must be in the future")])
    if not wanted.name.isprintable():
        raise refuse_fields([("name", "must not hold control characters")])

    def work(db: Any) -> tuple[None, Reply]:
        made = create_token(
            db,
            name=wanted.name,
            permissions=wanted.permissions,
            at=now,
            expires_at=wanted.expires_at,
            dialect=wanted.dialect,
        )
        shown, kept = TokenMade.of(made.token, made.secret), TokenMade.of(made.token, None)
        return None, Reply(shown, HTTPStatus.CREATED, (("location", f"{_PATH}/{made.token.id}"),), kept=kept)

    _, reply = await exchange.write(work, f"tokens ({wanted.name})")
    await services.authority.load()
    return reply


async def _delete(services: Services, exchange: Exchange) -> Reply:
    text = exchange.path["id"]
    missing = Refused(HTTPStatus.NOT_FOUND, "there is no such token")
    if not text.isascii() or not text.isdecimal() or len(text) > 18:
        raise missing
    if exchange.who.group is not None:
        raise Refused(HTTPStatus.FORBIDDEN, "a token may be that of people in no group, or in another")

    def work(db: Any) -> tuple[None, Reply]:
        if not delete_token(db, int(text)):
            raise missing
        return None, Reply(None, HTTPStatus.NO_CONTENT)

    _, reply = await exchange.write(work, f"tokens/{text}")
    await services.authority.load()
    return reply


ROUTES: Final = (
    Route(
        method="GET", path=_PATH, permission="tokens/read", summary="List tokens, without their secrets.", handler=_list,
        tag="tokens", operation="list_tokens", query=list_query(Token, "id"), answer=Shown(Page[Token], name="TokenPage"),
    ),
    Route(
        method="POST", path=_PATH, permission="tokens/create", summary="Make a token; its secret is shown only now.",
        handler=_create, tag="tokens", operation="create_token", body=model_body(NewToken, example={"name": "billing", "permissions": ["cdrs/read", "calls/read"]}), answer=Shown(TokenMade),
        status=HTTPStatus.CREATED,
    ),
    Route(
        method="DELETE", path=f"{_PATH}/{{id}}", parameters={"id": "The number of the token."}, permission="tokens/delete", summary="Delete a token; it ends at once.",
        handler=_delete, tag="tokens", operation="delete_token", status=HTTPStatus.NO_CONTENT, raises=(HTTPStatus.NOT_FOUND,),
    ),
)  # fmt: skip
