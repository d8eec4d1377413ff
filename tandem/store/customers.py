# mypy: disallow-untyped-calls=False
# (types-peewee leaves some of what we call untyped)
"""People and their telephones, as clients know them; never a number of a campaign. Every function is work for a Store."""

import json
from collections.abc import Collection, Sequence
from typing import Any, Final

import peewee

from tandem.domain.customers import Customer, ending_of
from tandem.store.rows import LISTED, insert_rows, listed, load_rows

MAX_PAGE: Final = 1000
_COLUMNS: Final = ("person", "name", "properties")
_PHONE_COLUMNS: Final = ("person", "position", "phone_number", "ending")


class CustomerMissing(KeyError):
    """There is no such customer."""


def save_customers(db: peewee.Database, customers: Sequence[Customer], at: float) -> list[Customer]:
    """New ones, or those that are there anew, all or none; of one person the last counts. As they are stored, in their order."""
    last = {customer.person: customer for customer in customers}
    db.execute_sql(f"DELETE FROM customer_phones WHERE person IN {LISTED}", (listed(last),))  # noqa: S608 - our own text
    insert_rows(
        db,
        "customers",
        (*_COLUMNS, "created_at"),
        [
            {"person": one.person, "name": one.name, "properties": json.dumps(one.properties), "created_at": at}
            for one in last.values()
        ],
        "ON CONFLICT (person) DO UPDATE SET name = excluded.name, properties = excluded.properties, updated_at = excluded.created_at",
    )
    phones = [
        {"person": one.person, "position": place, "phone_number": number, "ending": ending_of(number)}
        for one in last.values()
        for place, number in enumerate(dict.fromkeys(one.phone_numbers))
    ]
    insert_rows(db, "customer_phones", _PHONE_COLUMNS, phones)
    found = load_customers(db, last)
    return [found[person] for person in last]


def load_customers(db: peewee.Database, people: Collection[str]) -> dict[str, Customer]:
    """Those of these people that are known, by their ids."""
    if not people:
        return {}
    rows = load_rows(db, _COLUMNS, f"customers WHERE person IN {LISTED} ORDER BY person", [listed(people)])
    return {customer.person: customer for customer in _read(db, rows)}


def load_customer(db: peewee.Database, person: str) -> Customer:
    """One; CustomerMissing."""
    found = load_customers(db, [person])
    if person not in found:
        raise CustomerMissing(person)
    return found[person]


def load_customer_page(db: peewee.Database, after: str, limit: int, phone_number: str = "") -> list[Customer]:
    """By their ids, behind `after`; those with this telephone, by its last ten digits, where it is given."""
    where, given = "person > ?", [after]
    if phone_number:
        where += " AND person IN (SELECT person FROM customer_phones WHERE ending = ?)"
        given.append(ending_of(phone_number))
    source = f"customers WHERE {where} ORDER BY person LIMIT ?"
    return _read(db, load_rows(db, _COLUMNS, source, [*given, min(limit, MAX_PAGE)]))


def delete_customer(db: peewee.Database, person: str) -> Customer:
    """Takes one away, with its telephones; numbers of campaigns stay. CustomerMissing."""
    gone = load_customer(db, person)
    db.execute_sql("DELETE FROM customer_phones WHERE person = ?", (person,))
    db.execute_sql("DELETE FROM customers WHERE person = ?", (person,))
    return gone


def _read(db: peewee.Database, rows: Sequence[dict[str, Any]]) -> list[Customer]:
    source = f"customer_phones WHERE person IN {LISTED} ORDER BY person, position"
    phones: dict[str, list[str]] = {}
    for row in load_rows(db, ("person", "phone_number"), source, [listed(row["person"] for row in rows)]):
        phones.setdefault(row["person"], []).append(row["phone_number"])
    return [
        Customer(
            person=row["person"],
            name=row["name"],
            phone_numbers=tuple(phones.get(row["person"], ())),
            properties=json.loads(row["properties"]),
        )
        for row in rows
    ]
