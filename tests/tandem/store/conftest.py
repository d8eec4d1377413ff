"""A store on each database that Tandem runs on."""

from pathlib import Path

import pytest

from tandem.store.database import Store, open_store
from tests.postgres import PostgresServer


@pytest.fixture(params=["sqlite", "postgres"])
def either_store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "sqlite":
        return open_store(tmp_path / "tandem.db")
    server: PostgresServer = request.getfixturevalue("postgres_server")
    return open_store(server.make_place())
