"""`/ivr`: the menus of the newest revision under whole numbers; a deleted one is applied at once, or is there as before."""

from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any, Final
from zoneinfo import ZoneInfo

from pydantic.dataclasses import dataclass

from api.compat.ari.speech import (
    Answer,
    Done,
    Lenient,
    answer,
    declare,
    deny,
    done,
    missing,
    read_id,
    read_int,
    tell_known_time,
    tell_time,
    zone_of,
)
from api.declare import Reply
from api.exchange import Exchange, Services
from tandem.domain.campaigns import SavedCampaign
from tandem.domain.destinations import (
    AnnouncementDestination,
    DialplanDestination,
    EndpointDestination,
    ExternalDestination,
    HangupDestination,
    MenuDestination,
    QueueDestination,
)
from tandem.domain.entities import Menu
from tandem.domain.routing import describe_destination
from tandem.store.campaigns import load_campaigns
from tandem.store.menu_ids import (
    INVALID,
    SILENCE,
    MenuNumbers,
    lacks_numbers,
    load_menu_ids,
    load_menu_numbers,
    number_menus,
)
from tandem.store.objects import Saved

_WHAT: Final = "IVR menu"


@dataclass(frozen=True, slots=True, kw_only=True)
class MenuRow:
    """A menu. campaign_id: a campaign that leads to it; null where none does."""

    id: int
    campaign_id: int | None
    name: str
    audio_file: str
    timeout: int
    max_digits: int
    created_at: str
    updated_at: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionRow:
    """What a key does."""

    id: int
    ivr_menu_id: int
    dtmf_digit: str
    action_type: str
    action_value: str
    created_at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MenuWithActions(MenuRow):
    """A menu with its keys."""

    actions: tuple[ActionRow, ...]


class MenuQuery(Lenient):
    """Only menus that this campaign leads to."""

    campaign_id: str = ""


def _keys(menu: Menu) -> tuple[str, ...]:
    return (*sorted(menu.options), INVALID, SILENCE)


async def _number(services: Services, menus: Iterable[Menu]) -> None:
    """Sees to it that each of these has its number; writes only where one has none."""
    wanted = {menu.name: _keys(menu) for menu in menus}
    if await services.store.read(lacks_numbers, wanted):
        await services.store.run(number_menus, wanted)


async def load_names(services: Services) -> dict[str, int]:
    """Name -> number of the live menus."""
    wanted = {menu.name: _keys(menu) for menu in services.live.current.menus.values()}
    is_short, found = await services.store.read(lambda db: (lacks_numbers(db, wanted), load_menu_ids(db)))
    if is_short:
        await services.store.run(number_menus, wanted)
        found = await services.store.read(load_menu_ids)
    names: dict[str, int] = found
    return names


class _Book:
    """Menus with their numbers and the campaigns that lead to them."""

    def __init__(
        self,
        menus: Mapping[str, Menu],
        numbers: Mapping[str, MenuNumbers],
        campaigns: Iterable[SavedCampaign],
        zone: ZoneInfo,
    ) -> None:
        self.menus, self.numbers, self.zone = menus, numbers, zone
        self.campaigns: dict[str, list[int]] = {}
        for saved in campaigns:
            if isinstance(saved.campaign.destination, MenuDestination):
                self.campaigns.setdefault(saved.campaign.destination.menu, []).append(saved.campaign_id)

    def row(self, menu: Menu, campaign_id: int | None = None) -> dict[str, Any]:
        """The fields of a menu."""
        numbers = self.numbers[menu.name]
        return {
            "id": numbers.menu_id,
            "campaign_id": campaign_id or min(self.campaigns.get(menu.name, ()), default=None),
            "name": menu.name,
            "audio_file": "&".join(f"{prompt}.wav" for prompt in menu.prompts),
            "timeout": int(menu.timeout_s),
            "max_digits": max((len(keys) for keys in menu.options), default=1),
            "created_at": self._created_at(numbers),
            "updated_at": tell_time(numbers.updated_at, self.zone),
        }

    def _created_at(self, numbers: MenuNumbers) -> str:
        return tell_known_time(numbers.created_at, self.zone) if numbers.created_at is not None else ""

    def actions(self, menu: Menu) -> tuple[ActionRow, ...]:
        """What its keys do, in their order."""
        numbers = self.numbers[menu.name]
        wanted = {**menu.options, INVALID: menu.invalid, SILENCE: menu.timeout}
        rows = []
        for keys in _keys(menu):
            kind, value = self._tell(wanted[keys])
            rows.append(
                ActionRow(
                    id=numbers.actions[keys],
                    ivr_menu_id=numbers.menu_id,
                    dtmf_digit=keys,
                    action_type=kind,
                    action_value=value,
                    created_at=self._created_at(numbers),
                )
            )
        return tuple(rows)

    def _tell(self, destination: Any) -> tuple[str, str]:
        match destination:
            case EndpointDestination(endpoint=number) | ExternalDestination(external=number):
                return "exten", number
            case QueueDestination(queue=name):
                return "queue", name
            case HangupDestination():
                return "hangup", ""
            case AnnouncementDestination(announcement=name):
                return "playback", name
            case MenuDestination(menu=name):
                return "goto_ivr", str(self.numbers[name].menu_id)
            case DialplanDestination(dialplan=place):
                context, _, exten = place.partition(",")
                return "exten", f"Local/{exten}@{context}"
        return "exten", describe_destination(destination)


async def _open(services: Services) -> _Book:
    snapshot = await services.head.read()
    await _number(services, snapshot.menus.values())

    def read(db: Any) -> tuple[dict[str, MenuNumbers], list[SavedCampaign]]:
        return load_menu_numbers(db, snapshot.menus), load_campaigns(db)

    numbers, campaigns = await services.store.read(read)
    return _Book(snapshot.menus, numbers, campaigns, zone_of(services))


def _find(book: _Book, exchange: Exchange) -> Menu:
    wanted = read_id(exchange.path["id"], _WHAT)
    found = next((menu for menu in book.menus.values() if book.numbers[menu.name].menu_id == wanted), None)
    if found is None:
        raise missing(_WHAT)
    return found


async def _list(services: Services, exchange: Exchange) -> Reply:
    book, text = await _open(services), exchange.query.campaign_id
    campaign_id = read_int("campaign_id", text) if text else None
    found = [
        menu for menu in book.menus.values() if campaign_id is None or campaign_id in book.campaigns.get(menu.name, ())
    ]
    newest_first = sorted(found, key=lambda menu: -book.numbers[menu.name].menu_id)
    rows = tuple(MenuRow(**book.row(menu, campaign_id)) for menu in newest_first)
    return answer(rows, "IVR menus retrieved successfully")


async def _get(services: Services, exchange: Exchange) -> Reply:
    book = await _open(services)
    menu = _find(book, exchange)
    return answer(MenuWithActions(**book.row(menu), actions=book.actions(menu)), "IVR menu retrieved successfully")


async def _delete(services: Services, exchange: Exchange) -> Reply:
    menu = _find(await _open(services), exchange)
    gone = done("IVR menu deleted successfully")
    place = f"menus/{menu.name}"

    async def commit(work: Any) -> Saved:
        def perform(db: Any) -> tuple[Saved, Reply]:
            _refuse_used(load_campaigns(db), menu)
            return work(db), gone

        saved, _ = await exchange.write(perform, place, lambda one: one.revision)
        return saved

    await services.head.delete("menus", menu.name, lambda _: None, exchange.author, commit)
    try:
        await services.applying.apply_head()
    except Exception:
        # Half of it would be worse: the menu is there again, as Asterisk still has it.
        await services.head.edit(lambda _: menu, exchange.author, services.store.run)
        raise
    return gone


def _refuse_used(campaigns: Iterable[SavedCampaign], menu: Menu) -> None:
    users = [
        f"campaign {saved.campaign_id} ({saved.campaign.name})"
        for saved in campaigns
        if saved.campaign.destination == MenuDestination(menu=menu.name)
    ]
    if users:
        raise deny(f"IVR menu {menu.name} is still used by {', '.join(users)}", {"used_by": users})


_ONE: Final = "/ivr/{id}"
_LOST: Final = {"raises": (HTTPStatus.NOT_FOUND,)}

ROUTES: Final = (
    declare(
        "GET", "/ivr", "ivr/list", "List IVR menus, newest first.", _list, "list_menus",
        (Answer[tuple[MenuRow, ...]], "MenuList"), query=MenuQuery,
    ),
    declare(
        "GET", _ONE, "ivr/view", "Read an IVR menu with what its keys do.", _get, "get_menu",
        (Answer[MenuWithActions], "MenuAnswer"), **_LOST,
    ),
    declare(
        "DELETE", _ONE, "ivr/delete", "Delete an IVR menu that nothing leads to, and apply that.", _delete, "delete_menu", Done,
        **_LOST,
    ),
)  # fmt: skip
