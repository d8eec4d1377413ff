# mypy: disallow-untyped-calls=False
# (types-peewee leaves some of what we call untyped)
"""Many rows in and out of a table with one statement; never with a name that is not our own text.

sqlite3 lets go of the interpreter's lock at every row that it reads, and gets it back late from a busy reactor: so they are read as one JSON text.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import orjson
import peewee

from tandem.store.dialect import is_postgres

# `WHERE name IN {LISTED}` with `listed(values)` as the parameter; LISTED_IDS for whole numbers.
LISTED: Final = "(SELECT value FROM json_each(?))"
LISTED_IDS: Final = "(SELECT CAST(value AS BIGINT) FROM json_each(?))"
# Rows of one statement: 500 of 60 values are within SQLite's limit of 32,766.
_AT_ONCE: Final = 500


def listed(values: Iterable[Any]) -> str:
    """What LISTED takes."""
    return orjson.dumps(list(values)).decode()


def load_rows(
    db: peewee.Database, columns: Sequence[str], source: str, given: Sequence[object] = ()
) -> list[dict[str, Any]]:
    """`SELECT columns FROM source`, in its order. source: what follows FROM, ORDER BY and LIMIT included."""
    names = [column.rpartition(".")[2] for column in columns]
    inner = f"SELECT {', '.join(columns)} FROM {source}"  # noqa: S608 - our own text
    if is_postgres(db):
        rows = db.execute_sql(inner, tuple(given)).fetchall()
    else:
        sql = f"SELECT json_group_array(json_array({', '.join(map(_as_json, names))})) FROM ({inner})"  # noqa: S608 - our own text
        rows = orjson.loads(db.execute_sql(sql, tuple(given)).fetchone()[0])
    return [dict(zip(names, row, strict=True)) for row in rows]


def _as_json(name: str) -> str:
    """A column in a JSON text, where SQLite writes a REAL with 15 digits: a cursor made of such a time would meet its own row again, or pass the next."""
    if not name.endswith(("_at", "_s", "_until")) and name not in {"since", "seconds"}:
        return name
    return f"CASE typeof({name}) WHEN 'real' THEN json(printf('%!.17g', {name})) ELSE {name} END"


def insert_rows(
    db: peewee.Database, table: str, columns: Sequence[str], rows: Sequence[Mapping[str, Any]], conflict: str = ""
) -> None:
    """Inserts rows; `conflict` is an ON CONFLICT clause, and then no key may be there twice."""
    names = ", ".join(columns)
    if is_postgres(db):
        values = ", ".join(f"given.{column}" for column in columns)
        given = f"SELECT {values} FROM {_POPULATED.format(table=table)} WHERE true"  # noqa: S608 - our own text
        _execute_json(db, f"INSERT INTO {table} ({names}) {given} {conflict}", columns, rows)
    else:
        _execute_values(db, f"INSERT INTO {table} ({names}) VALUES {{values}} {conflict}", columns, rows)  # noqa: S608 - our own text


def update_rows(
    db: peewee.Database, table: str, key: str, columns: Sequence[str], rows: Sequence[Mapping[str, Any]]
) -> None:
    """Sets `columns` of the rows whose `key` is that of one of `rows`."""
    sets = ", ".join(f"{column} = given.{column}" for column in columns)
    where = f"WHERE {table}.{key} = given.{key}"
    names = (key, *columns)
    if is_postgres(db):
        given = _POPULATED.format(table=table)
        _execute_json(db, f"UPDATE {table} SET {sets} FROM {given} {where}", names, rows)  # noqa: S608 - our own text
    else:
        given = f"WITH given ({', '.join(names)}) AS (VALUES {{values}})"
        _execute_values(db, f"{given} UPDATE {table} SET {sets} FROM given {where}", names, rows)  # noqa: S608 - our own text


# PostgreSQL must know the types of what is given, which are those of the table.
_POPULATED: Final = "json_populate_recordset(NULL::{table}, ?::json) AS given"


def _execute_json(db: peewee.Database, sql: str, columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> None:
    """All rows as one parameter. A flag is an INTEGER in our tables, for which PostgreSQL takes no `true`."""
    if rows:
        given = [
            {column: int(value) if isinstance(value := row.get(column), bool) else value for column in columns}
            for row in rows
        ]
        db.execute_sql(sql, (orjson.dumps(given).decode(),))


def _execute_values(db: peewee.Database, sql: str, columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> None:
    """A parameter for each value: to read JSON costs SQLite three times what the row does."""
    row_of_marks = f"({', '.join('?' * len(columns))})"
    for start in range(0, len(rows), _AT_ONCE):
        part = rows[start : start + _AT_ONCE]
        values = [row.get(column) for row in part for column in columns]
        db.execute_sql(sql.format(values=", ".join([row_of_marks] * len(part))), values)
