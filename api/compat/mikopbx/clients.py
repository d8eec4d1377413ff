"""Clients are customers: people with several telephones, and what is known of them; never calls one."""

from typing import Any, Final

from pydantic import TypeAdapter

from api.compat.mikopbx.numbers import read_digits
from api.compat.mikopbx.speech import BASE, Failed, declare, path_id, read_list, read_text
from api.compat.parameters import AnyJson
from api.declare import Reply, validate
from api.exchange import Commit, Exchange, Services
from tandem.domain.customers import MAX_PHONES, MAX_PROPERTIES, Customer, ending_of
from tandem.store.customers import CustomerMissing, load_customer_page

_MAX_CLIENTS: Final = 10_000
_MAX_BODY: Final = 16 * 1024 * 1024
_CUSTOMER: Final[TypeAdapter[Customer]] = TypeAdapter(Customer)


def _read_client(at: str, given: Any) -> Customer:
    if not isinstance(given, dict):
        raise Failed(f"{at} must be an object")
    crm_id = read_text(given.get("crmId"), f"{at}.crmId", 64).strip()
    if not crm_id:
        raise Failed(f"{at}.crmId is missing")
    phones = []
    for place, phone in enumerate(read_list(given.get("phones") or [], f"{at}.phones", MAX_PHONES)):
        digits = read_digits(read_text(phone, f"{at}.phones[{place}]", 40))
        if not digits.removeprefix("+"):
            raise Failed(f"{at}.phones[{place}] must be a telephone number")
        phones.append(digits)
    properties: dict[str, str] = {}
    for place, one in enumerate(read_list(given.get("properties") or [], f"{at}.properties", MAX_PROPERTIES)):
        where = f"{at}.properties[{place}]"
        if not isinstance(one, dict):
            raise Failed(f"{where} must be an object")
        properties[read_text(one.get("key"), f"{where}.key", 80)] = read_text(one.get("value"), f"{where}.value", 500)
    value = {
        "person": crm_id,
        "name": read_text(given.get("name"), f"{at}.name"),
        "phone_numbers": phones,
        "properties": properties,
    }
    return validate(_CUSTOMER, Customer, value)


def _show(customer: Customer) -> dict[str, Any]:
    crm_id = customer.person
    return {
        "crmId": crm_id, "name": customer.name,
        "phones": [{"clientId": crm_id, "phone": number, "phoneId": ending_of(number)} for number in customer.phone_numbers],
        "properties": [{"clientId": crm_id, "key": key, "value": value} for key, value in customer.properties.items()],
    }  # fmt: skip


async def _save(services: Services, exchange: Exchange) -> Any:
    body: AnyJson = exchange.body
    clients = [
        _read_client(f"[{place}]", one) for place, one in enumerate(read_list(body.value, "clients", _MAX_CLIENTS))
    ]
    commit: Commit[list[Customer]] = Commit(
        exchange, lambda saved: "customers/" + ",".join(one.person for one in saved), lambda _db, _saved: Reply(b"")
    )
    return [_show(one) for one in await services.campaigns.save_customers(clients, commit=commit)]


async def _delete(services: Services, exchange: Exchange) -> Any:
    crm_id = path_id(exchange)
    commit: Commit[Any] = Commit(exchange, f"customers/{crm_id}", lambda _db, _gone: Reply(b""))
    try:
        await services.campaigns.delete_customer(crm_id, commit=commit)
    except CustomerMissing:
        # As there: what is gone is gone.
        return []
    return []


async def _find(services: Services, exchange: Exchange) -> Any:
    phone = ending_of(read_digits(read_text(exchange.path["id"], "phone", 40)))
    if not phone:
        raise Failed("phone must be a telephone number")
    found = await services.store.read(load_customer_page, "", 1, phone)
    if not found:
        return []
    return [
        {"key": "NAME", "value": found[0].name},
        *({"key": key, "value": value} for key, value in found[0].properties.items() if key != "NAME"),
    ]


# Clients are of no campaign: whoever is limited to some does not see them.
ROUTES: Final = (
    declare(
        "POST", f"{BASE}/client", "customers/create", _save, "Make or replace clients.", _MAX_BODY, is_scoped=False
    ),
    declare("DELETE", f"{BASE}/client/{{id}}", "customers/delete", _delete, "Delete a client.", is_scoped=False),
    declare(
        "GET",
        f"{BASE}/client-by-phone/{{id}}",
        "customers/read",
        _find,
        "What is known of a telephone.",
        is_scoped=False,
    ),
)
