"""Several objects are edited together: all are saved or none, and no edit goes past the route tests."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import pytest
from twisted.trial.unittest import TestCase

from tandem.document import read_document
from tandem.domain.entities import OutsideMember, Queue
from tandem.domain.snapshot import build_snapshot
from tandem.editing import Author, EditRefused, Head
from tandem.store.database import Store, open_store
from tandem.store.objects import save_pbx
from tandem.store.revisions import load_head

DOCUMENT = """
general: {country: DE, outbound_trunk: carrier}
trunks: [{name: carrier, hosts: [sip.example.com]}]
queues: [{name: sales, fallback: {hangup: busy}}, {name: support, fallback: {hangup: busy}}]
dids: [{number: "+49301000", destination: {queue: sales}}]
expect: [{did: "+49301000", destination: {queue: sales}}]
"""


class EditAllTests(TestCase):
    store: Store

    @pytest.fixture(autouse=True)
    def _take(self, tmp_path: Path) -> None:
        self.store = open_store(tmp_path / "tandem.db")

    async def make(self) -> tuple[Head, int]:
        self.addCleanup(self.store.stop)
        pbx, author = read_document(DOCUMENT, "test"), "anna"
        saved = await self.store.run(save_pbx, pbx, author=author, note="", at=datetime.now(UTC))
        head = Head(self.store, cast("Any", None))
        # What the live one would be shared with.
        head._snapshot = build_snapshot(saved.revision, pbx)
        return head, saved.revision

    async def edit(self, head: Head, **changes: dict[str, Any]) -> Any:
        def decide(snapshot: Any) -> list[Queue]:
            return [replace(snapshot.queues[name], **fields) for name, fields in changes.items()]

        return await head.edit_all(decide, Author("anna", lambda: datetime.now(UTC)), self.store.run)

    async def test_all_are_saved(self) -> None:
        head, revision = await self.make()
        member = {"outside_members": (OutsideMember(number="+49305550"),)}
        edited = await self.edit(head, sales=member, support=member)
        assert [queue.name for queue in edited] == ["sales", "support"]
        assert await self.store.read(load_head) == revision + 2
        snapshot = await head.read()
        assert snapshot.revision == revision + 2
        assert snapshot.queues["support"].outside_members == member["outside_members"]
        # The same again is no revision.
        await self.edit(head, sales=member, support=member)
        assert await self.store.read(load_head) == revision + 2

    async def test_one_that_does_not_fit_or_fails_a_route_test_saves_none(self) -> None:
        head, revision = await self.make()
        good = {"outside_members": (OutsideMember(number="+49305550"),)}
        for sales, problem in (
            ({"outside_members": (OutsideMember(number="112"),)}, "must not be an emergency number"),
            ({"active": False}, r"expect/\+49301000"),
        ):
            with pytest.raises(EditRefused, match=problem):
                await self.edit(head, support=good, sales=sales)
            assert await self.store.read(load_head) == revision
            assert (await head.read()).queues["support"].outside_members == ()
