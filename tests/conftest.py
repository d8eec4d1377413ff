"""For all tests: databases (each such test runs on SQLite and on PostgreSQL), and an end to a run that has ended; knows no Asterisk."""

import faulthandler
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tandem.store.database import Store, open_store
from tandem.store.place import Place, PostgresPlace
from tests.postgres import PostgresServer, run_server

ENDED_S = 60.0

# How long an example takes says how busy the machine is; speed is measured in bench/.
settings.register_profile("shared machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared machine")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with a real Asterisk first: they are the longest, and one that is begun last is waited for by a worker that has nothing to do."""
    items.sort(key=lambda item: item.get_closest_marker("asterisk") is None)


def pytest_unconfigure(config: pytest.Config) -> None:
    """After the last line: a thread that keeps the process from ending is shown, and is a failure, instead of holding the run for ever."""
    if hasattr(config, "workerinput"):
        return  # one of several: it waits for the others, and is ended by the first
    faulthandler.dump_traceback_later(ENDED_S, exit=True, file=sys.__stderr__)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """One server for all tests."""
    yield from run_server()


@pytest.fixture
def postgres_place(postgres_server: PostgresServer) -> Iterator[PostgresPlace]:
    """A database with our schema and nothing in it."""
    place = postgres_server.make_place()
    yield place
    postgres_server.drop(place)


@pytest.fixture(params=["sqlite", "postgres"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """Where a database is, or can be made."""
    return tmp_path / "tandem.db" if request.param == "sqlite" else request.getfixturevalue("postgres_place")


@pytest.fixture
def store(place: Place) -> Store:
    """An empty one, open."""
    return open_store(place)
