# mypy: disallow-untyped-calls=False
# (types-peewee leaves some of what we call untyped)
"""Many rows in and out of a table as one JSON text; never for a single row, and never with a name that is not our own text.

sqlite3 lets go of the interpreter's lock at every row, and gets it back late from a busy reactor: one text costs one step.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import peewee

from tandem.store.dialect import is_postgres

# `WHERE name IN {LISTED}` with `listed(values)` as the parameter; LISTED_IDS for whole numbers.
LISTED: Final = "(SELECT value FROM json_each(?))"
LISTED_IDS: Final = "(SELECT CAST(value AS BIGINT) FROM json_each(?))"


def listed(values: Iterable[Any]) -> str:
    """What LISTED takes."""
    return json.dumps(list(values))


def load_rows(
    db: peewee.Database, columns: Sequence[str], source: str, given: Sequence[object] = ()
) -> list[dict[str, Any]]:
    """`SELECT columns FROM source`, in its order. source: what follows FROM, ORDER BY and LIMIT included."""
    names = [column.rpartition(".")[2] for column in columns]
    inner = f"SELECT {', '.join(columns)} FROM {source}"  # noqa: S608 - our own text
    if is_postgres(db):
        rows = db.execute_sql(inner, tuple(given)).fetchall()
    else:
        sql = f"SELECT json_group_array(json_array({', '.join(names)})) FROM ({inner})"  # noqa: S608 - our own text
        rows = json.loads(db.execute_sql(sql, tuple(given)).fetchone()[0])
    return [dict(zip(names, row, strict=True)) for row in rows]


def insert_rows(
    db: peewee.Database, table: str, columns: Sequence[str], rows: Sequence[Mapping[str, Any]], conflict: str = ""
) -> None:
    """Inserts rows, all or none; `conflict` is an ON CONFLICT clause, and then no key may be there twice."""
    if not rows:
        return
    given, values = _read_back(db, table, columns)
    db.execute_sql(
        f"INSERT INTO {table} ({', '.join(columns)}) SELECT {', '.join(values)} FROM {given} WHERE true {conflict}",  # noqa: S608 - our own text
        (_write(columns, rows),),
    )


def update_rows(
    db: peewee.Database, table: str, key: str, columns: Sequence[str], rows: Sequence[Mapping[str, Any]]
) -> None:
    """Sets `columns` of the rows whose `key` is that of one of `rows`."""
    if not rows:
        return
    given, (key_value, *values) = _read_back(db, table, (key, *columns))
    sets = ", ".join(f"{column} = {value}" for column, value in zip(columns, values, strict=True))
    db.execute_sql(
        f"UPDATE {table} SET {sets} FROM {given} WHERE {table}.{key} = {key_value}",  # noqa: S608 - our own text
        (_write((key, *columns), rows),),
    )


def _write(columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> str:
    # A flag is an INTEGER in our tables.
    return json.dumps(
        [
            {column: int(value) if isinstance(value := row.get(column), bool) else value for column in columns}
            for row in rows
        ]
    )


def _read_back(db: peewee.Database, table: str, columns: Sequence[str]) -> tuple[str, list[str]]:
    """What the parameter is as a table, and its columns; PostgreSQL must know their types, which are those of `table`."""
    if is_postgres(db):
        return f"json_populate_recordset(NULL::{table}, ?::json) AS given", [f"given.{column}" for column in columns]
    return "json_each(?) AS given", [f"json_extract(given.value, '$.{column}')" for column in columns]
