"""The signal that somebody need not be called any more: their open rows are closed; never hangs up."""

from typing import Any, Final

from api.compat.mikopbx.numbers import read_digits
from api.compat.mikopbx.speech import BASE, Failed, declare, read_object, read_text
from api.compat.mikopbx.tasks import find_task, load_tasks
from api.declare import Reply
from api.exchange import Commit, Exchange, Services
from tandem.domain.campaigns import OPEN_STATUSES, SavedNumber
from tandem.domain.customers import ending_of
from tandem.store.closed_numbers import load_same_telephone
from tandem.store.people import load_open_of


def _find_open(db: Any, campaign_ids: list[int], ending: str) -> list[int]:
    """The open rows with that number, and in the same task those of the same client."""
    found = load_same_telephone(db, campaign_ids, ending)
    mine = [number for number in found if ending_of(number.phone_number) == ending]
    clients = {(number.campaign_id, number.person) for number in mine if number.person}
    wanted = {number.number_id for number in mine if number.status in OPEN_STATUSES}
    for campaign_id, client in sorted(clients):
        wanted |= {number.number_id for number in load_open_of(db, campaign_id, client)}
    return sorted(wanted)


async def _close(services: Services, exchange: Exchange) -> Any:
    body = read_object(exchange)
    ending = ending_of(read_digits(read_text(body.get("phone"), "phone", 40)))
    if not ending:
        raise Failed("phone must be a telephone number")
    if wanted := read_text(body.get("taskId"), "taskId", 64):
        task = await find_task(services, exchange, wanted)
        if task is None:
            raise Failed(data={"error": "TaskNotFound"})
        campaign_ids = [task[0].campaign_id]
    else:
        tasks = await services.store.read(load_tasks)
        campaign_ids = [one[0].campaign_id for one in tasks if exchange.who.sees_campaign(one[0].campaign_id)]
    number_ids = await services.store.read(_find_open, campaign_ids, ending)
    if number_ids:
        target = "numbers/" + ",".join(map(str, number_ids))
        commit: Commit[tuple[SavedNumber, ...]] = Commit(exchange, target, lambda _db, _closed: Reply(b""))
        await services.campaigns.close_numbers(number_ids, commit=commit)
    return body


ROUTES: Final = (declare("POST", f"{BASE}/task-signal-close", "numbers/update", _close, "Call somebody no more."),)
