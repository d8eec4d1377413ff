"""The audit log: who changed what, when, from where; only read here."""

from typing import Annotated, Any, Final

from pydantic import AwareDatetime, Field, StringConstraints

from api.declare import PREFIX, Frozen, Page, Reply, Route, Shown
from api.exchange import Exchange, Services
from tandem.store.audit import AuditEntry, AuditFilter, count_audit, load_audit

_Text = Annotated[str, StringConstraints(max_length=200)]


class AuditQuery(Frozen):
    """Which part of it."""

    limit: Annotated[int, Field(ge=1, le=1000, description="How many at most.")] = 100
    offset: Annotated[int, Field(ge=0, le=10**9, description="How many to pass over.")] = 0
    who: Annotated[_Text, Field(description="Only what this one did: `user anna`, `token 3 (billing)`.")] = ""
    action: Annotated[_Text, Field(description="Only what took this permission: `dids/update`.")] = ""
    target: Annotated[_Text, Field(description="How the target begins: `dids/`.")] = ""
    source: Annotated[_Text, Field(description="Only from this address; `unix` is the command line.")] = ""
    since: Annotated[AwareDatetime | None, Field(description="Not before.")] = None
    until: Annotated[AwareDatetime | None, Field(description="Before.")] = None


async def _list(services: Services, exchange: Exchange) -> Reply:
    query: AuditQuery = exchange.query
    wanted = AuditFilter(**query.model_dump(exclude={"limit", "offset"}))

    def read(db: Any) -> tuple[int, list[AuditEntry]]:
        return count_audit(db, wanted), load_audit(db, query.limit, query.offset, wanted)

    total, entries = await services.store.read(read)
    return Reply(Page(tuple(entries), total, query.offset, query.limit))


ROUTES: Final = (
    Route(
        method="GET", path=f"{PREFIX}/audit", permission="audit/read", summary="Who changed what, newest first.",
        handler=_list, tag="audit", operation="list_audit", query=AuditQuery, answer=Shown(Page[AuditEntry], name="AuditPage"),
    ),
)  # fmt: skip
