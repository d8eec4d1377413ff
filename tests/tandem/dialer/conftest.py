"""The database of the dialer's tests: as fast as it can be, and for what a module names in ON_BOTH on PostgreSQL, too."""

import pytest

from tandem.store.database import open_store
from tests.tandem.dialer import harness


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Each statement that the dialer has is in one test of an ON_BOTH; how it keeps time does not depend on the database."""
    named = getattr(metafunc.module, "ON_BOTH", None)
    if named is not None:
        is_on_both = any(name in metafunc.function.__name__ for name in named)
        metafunc.parametrize("_fast", ["sqlite", "postgres"] if is_on_both else ["sqlite"], indirect=True)


@pytest.fixture(autouse=True)
def _fast(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if getattr(request, "param", "sqlite") == "postgres":
        place = request.getfixturevalue("postgres_place")
        monkeypatch.setattr(harness, "open_store", lambda _: open_store(place))
    monkeypatch.setattr("tandem.store.sqlite.PRAGMAS", ("PRAGMA journal_mode = WAL", "PRAGMA synchronous = OFF"))
