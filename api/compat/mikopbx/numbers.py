"""The numbers of a task, as clients write them -> numbers of a campaign; stores none."""

import re
from datetime import datetime
from typing import Any, Final

from pydantic import TypeAdapter

from api.compat.mikopbx.speech import Failed, read_list, read_text
from api.declare import validate
from api.exchange import Services
from tandem.domain.campaigns import NewNumber
from tandem.domain.customers import ending_of
from tandem.domain.schedules import load_zone

_NUMBER: Final[TypeAdapter[NewNumber]] = TypeAdapter(NewNumber)
_MAX_NUMBERS: Final = 100_000
_HOURS: Final = re.compile(r"[+-]?[0-9]{1,2}(\.[0-9]{1,6})?", re.ASCII)
_FEW_DECIMALS: Final = 2
_SLIPS: Final = (0.31, 0.01)


def read_numbers(services: Services, given: Any) -> list[NewNumber]:
    """Numbers as texts or objects; of one number (its last ten digits) the first counts."""
    found: dict[str, NewNumber] = {}
    for index, one in enumerate(read_list(given, "numbers", _MAX_NUMBERS)):
        at = f"numbers[{index}]"
        entry = one if isinstance(one, dict) else {"number": one}
        phone = read_text(entry.get("number"), f"{at}.number", 40)
        dialled = read_digits(phone)
        params = entry.get("params") or {}
        if not isinstance(params, dict):
            raise Failed(f"{at}.params must be an object")
        data = {
            read_text(name, f"{at}.params", 80): read_text(value, f"{at}.params", 500) for name, value in params.items()
        }
        value = {
            "phone_number": dialled,
            "data": data or None,
            "not_before": _read_time(services, entry.get("timeCallAllow")),
            "person": read_text(entry.get("clientId"), f"{at}.clientId", 64).strip(),
            "utc_offset_min": _read_offset(entry.get("TimeOffset"), f"{at}.TimeOffset", phone),
        }
        found.setdefault(ending_of(dialled), validate(_NUMBER, NewNumber, value))
    return list(found.values())


def read_digits(phone: str) -> str:
    """What is dialled of a number, however it is written: its digits, behind a + where there is one."""
    return ("+" if phone.strip().startswith("+") else "") + "".join(sign for sign in phone if sign in "0123456789")


def _read_offset(given: Any, field: str, phone: str) -> int | None:
    """Hours from UTC, -12 to 14 by whole minutes, as minutes; None for none. A bad one refuses the whole task, and says whose it is."""
    text = read_text(given, field, 10).strip().replace(",", ".")
    if not text:
        return None
    minutes = float(text) * 60 if _HOURS.fullmatch(text) else None
    # A third of an hour is 5.33 as people write it: two decimals say no more, and more of them do.
    slip = _SLIPS[len(text.partition(".")[2]) > _FEW_DECIMALS]
    if minutes is None or not -12 * 60 <= minutes <= 14 * 60 or abs(minutes - round(minutes)) > slip:
        rule = f"{field} must be hours from UTC, -12 to 14, by whole minutes"
        raise Failed(rule, data={"error": rule, "phone": phone})
    return round(minutes)


def _read_time(services: Services, given: Any) -> float | None:
    """`DD.MM.YYYY HH:MM:SS` in the PBX's time zone; what is none is now, as there."""
    text = read_text(given, "timeCallAllow", 40)
    try:
        at = datetime.strptime(text, "%d.%m.%Y %H:%M:%S").replace(
            tzinfo=load_zone(services.live.current.general.time_zone)
        )
        return max(0.0, at.timestamp())
    except (ValueError, OverflowError):
        return None
