"""The audit log: who changed what, when, from where; only read here."""

from typing import Annotated, Any, Final

from pydantic import Field

from api.declare import PREFIX, Frozen, Page, Reply, Route, Shown
from api.exchange import Exchange, Services
from tandem.store.audit import AuditEntry, count_audit, load_audit


class AuditQuery(Frozen):
    """Which part of it."""

    limit: Annotated[int, Field(ge=1, le=1000, description="How many at most.")] = 100
    offset: Annotated[int, Field(ge=0, le=10**9, description="How many to pass over.")] = 0


async def _list(services: Services, exchange: Exchange) -> Reply:
    query: AuditQuery = exchange.query

    def read(db: Any) -> tuple[int, list[AuditEntry]]:
        return count_audit(db), load_audit(db, query.limit, query.offset)

    total, entries = await services.store.read(read)
    return Reply(Page(tuple(entries), total, query.offset, query.limit))


ROUTES: Final = (
    Route(
        method="GET", path=f"{PREFIX}/audit", permission="audit/read", summary="Who changed what, newest first.",
        handler=_list, tag="audit", operation="list_audit", query=AuditQuery, answer=Shown(Page[AuditEntry], name="AuditPage"),
    ),
)  # fmt: skip
