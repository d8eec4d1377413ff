# mypy: disallow-untyped-calls=False
# (types-peewee leaves some of what we call untyped)
"""Many rows in and out of a table as one JSON text; never for a single row, and never with a name that is not our own text.

sqlite3 lets go of the interpreter's lock at every row, and gets it back late from a busy reactor: one text costs one step.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import peewee

# `WHERE id IN {LISTED}` with `listed(values)` as the parameter.
LISTED: Final = "(SELECT value FROM json_each(?))"


def listed(values: Iterable[Any]) -> str:
    """What LISTED takes."""
    return json.dumps(list(values))


def load_rows(
    db: peewee.SqliteDatabase, columns: Sequence[str], source: str, given: Sequence[object] = ()
) -> list[dict[str, Any]]:
    """`SELECT columns FROM source`, in its order. source: what follows FROM, ORDER BY and LIMIT included."""
    row = f"json_array({', '.join(column.rpartition('.')[2] for column in columns)})"
    inner = f"SELECT {', '.join(columns)} FROM {source}"  # noqa: S608 - our own text
    text = db.execute_sql(f"SELECT json_group_array({row}) FROM ({inner})", tuple(given)).fetchone()[0]  # noqa: S608 - our own text
    names = [column.rpartition(".")[2] for column in columns]
    return [dict(zip(names, values, strict=True)) for values in json.loads(text)]


def insert_rows(
    db: peewee.SqliteDatabase, table: str, columns: Sequence[str], rows: Sequence[Mapping[str, Any]], conflict: str = ""
) -> None:
    """Inserts rows, all or none; `conflict` is an ON CONFLICT clause."""
    if not rows:
        return
    values = ", ".join(f"json_extract(value, '$.{column}')" for column in columns)
    body = json.dumps([{column: row.get(column) for column in columns} for row in rows])
    db.execute_sql(
        f"INSERT INTO {table} ({', '.join(columns)}) SELECT {values} FROM json_each(?) WHERE true {conflict}",  # noqa: S608 - our own text
        (body,),
    )


def update_rows(
    db: peewee.SqliteDatabase, table: str, key: str, columns: Sequence[str], rows: Sequence[Mapping[str, Any]]
) -> None:
    """Sets `columns` of the rows whose `key` is that of one of `rows`."""
    if not rows:
        return
    sets = ", ".join(f"{column} = json_extract(value, '$.{column}')" for column in columns)
    body = json.dumps([{column: row.get(column) for column in (key, *columns)} for row in rows])
    db.execute_sql(
        f"UPDATE {table} SET {sets} FROM json_each(?) WHERE {table}.{key} = json_extract(value, '$.{key}')",  # noqa: S608 - our own text
        (body,),
    )
