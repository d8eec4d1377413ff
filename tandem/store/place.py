"""Where a database is; never shows a password."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from tandem.settings import Settings


@dataclass(frozen=True, slots=True)
class PostgresPlace:
    """A database of a PostgreSQL server: a libpq URL without a password, and the password, empty where none is needed."""

    url: str
    password: str = field(default="", repr=False)

    def __str__(self) -> str:
        return self.url


# What a transaction is for: a view in which nothing can be written; writing, with no other writer beside it; or taking rows that
# nobody else has (`dialect.for_claim`), beside other writers where the database can.
Kind = Literal["read", "write", "claim"]
# An SQLite file, or a database of a server.
Place = Path | PostgresPlace


def place_of(settings: "Settings") -> Place:
    """The database of the settings: `database.url` where it is set, else `database.path`."""
    database = settings.database
    if database.url is None:
        return database.path
    return PostgresPlace(database.url, database.password.get_secret_value() if database.password is not None else "")
