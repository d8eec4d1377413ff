"""FreePBX's boxes, phones, trunks and feature codes -> ours, and what of them is not in these; pure."""

import re
from collections.abc import Iterator
from dataclasses import fields
from typing import Any, Final

from tandem.domain.carrying import cut_text, list_codecs, name_freely
from tandem.domain.conf_text import read_conf
from tandem.domain.entities import General
from tandem.domain.freepbx_source import Source, is_on, within
from tandem.domain.sql_dump import Row

# FreePBX's (module, feature) -> field of `general`, and the code where the row has none: its own default.
_CODES: Final = {
    ("donotdisturb", "dnd_toggle"): ("do_not_disturb_code", "*76"),
    ("callforward", "cfon"): ("forward_always_code", "*72"),
    ("callforward", "cfbon"): ("forward_busy_code", "*90"),
    ("callforward", "cfuon"): ("forward_no_answer_code", "*52"),
    ("core", "pickupexten"): ("pickup_code", "*8"),
    ("core", "pickup"): ("pickup_call_code", "**"),
    ("paging", "intercom-prefix"): ("intercom_code", "*80"),
    ("infoservices", "echotest"): ("echo_code", "*43"),
    ("speeddial", "callspeeddial"): ("speed_dial_code", "*0"),
    ("queues", "que_toggle"): ("agent_login_code", "*45"),
    ("queues", "que_pause_toggle"): ("agent_pause_code", "*46"),
    ("voicemail", "myvoicemail"): ("voicemail_number", "*97"),
}
_DTMF: Final = frozenset({"rfc4733", "inband", "info", "auto", "auto_info"})
MAX_STEPS: Final = 10


def take_boxes(source: Source, voicemail: str) -> None:
    """Of the text of voicemail.conf."""
    sections, lost = read_conf("voicemail.conf", voicemail)
    source.carrier.lost += lost
    for option in (
        it for section in sections if section.name not in {"general", "zonemessages"} for it in section.options
    ):
        pin, name, email, *_ = [*(part.strip() for part in option.value.split(",")), "", "", ""]
        place = f"{option.place} ({option.name})"
        box = {
            "mailbox": option.name,
            "pin": source.carrier.take_pin(place, pin),
            "name": cut_text(name.replace("|", " ")),
            "email": email,
        }
        if source.carrier.add("voicemail_boxes", place, box):
            source.boxes.add(option.name)


def take_phones(source: Source) -> None:
    """Users that have a SIP or PJSIP device, with their follow-me."""
    devices = source.devices()
    emergency = {row.get("id", ""): row.get("emergency_cid", "") for row in source.rows("devices")}
    follows = {row.get("grpnum", ""): row for row in source.rows("findmefollow")}
    source.phones |= {number for row in source.rows("users") if (number := row.get("extension", "")) in devices}
    for row in source.rows("users"):
        number = row.get("extension", "")
        place = f"users {number}"
        device = devices.get(number)
        if device is None:
            source.carrier.lose(place, "it has no SIP or PJSIP device: no phone can be made of it")
            continue
        has_box = row.get("voicemail", "novm") not in {"", "novm"}
        if has_box and number not in source.boxes:
            source.carrier.lose(place, "its voicemail box is not in the backup")
        for field in ("noanswer_dest", "busy_dest", "chanunavail_dest"):
            if row.get(field):
                source.carrier.lose(place, f"its {field} ({row[field][:60]}) is not carried over")
        media = device.get("media_encryption", "no")
        webrtc = is_on(device.get("webrtc", ""))
        source.carrier.add("endpoints", place, {
            "extension": number,
            "name": cut_text(row.get("name", "")),
            "secret": source.carrier.take_secret(place, device.get("secret", "")),
            "codecs": tuple(list_codecs(device.get("allow", ""))),
            "voicemail": number if has_box and number in source.boxes else None,
            "ring_time_s": within(row.get("ringtimer", ""), 5, 300),
            "permissions": ("internal", "national"),
            "external_caller_id": _read_caller(row.get("outboundcid", "")),
            "emergency_caller_id": _read_caller(emergency.get(number, "")),
            "devices": within(device.get("max_contacts", ""), 1, 10),
            "dtmf_mode": device.get("dtmfmode") if device.get("dtmfmode") in _DTMF else None,
            "media_encryption": media if media in {"sdes", "dtls"} and not webrtc else None,
            "webrtc": webrtc or None,
            "follow_me": tuple(_list_steps(source, number, follows.get(number, {}))),
        })  # fmt: skip


def _read_caller(text: str) -> str | None:
    """The number of `"Ann" <+49301234>`."""
    number = re.sub(r"[^0-9+]", "", text.rpartition("<")[2].partition(">")[0] if "<" in text else text)
    return number if re.fullmatch(r"\+?[0-9]{1,24}", number) else None


def _list_steps(source: Source, extension: str, row: Row) -> Iterator[dict[str, Any]]:
    """FreePBX has a row for every phone: its own number alone is no follow-me."""
    place = f"findmefollow {extension}"
    numbers = [it for it in row.get("grplist", "").split("-") if it not in {"", extension, f"{extension}#"}]
    if not numbers:
        return
    source.carrier.lose(place, "its follow-me is on now: whether it was is not in the tables")
    if not row.get("strategy", "").startswith(("hunt", "ringall")) or len(numbers) > MAX_STEPS:
        source.carrier.lose(
            place, f"strategy {row.get('strategy', '')} is one after the other now, {MAX_STEPS} numbers at the most"
        )
    for number in numbers[:MAX_STEPS]:
        if not re.fullmatch(r"\+?[0-9]{2,24}", plain := number.rstrip("#")):
            source.carrier.lose(place, f"number {number[:30]} is left out: it is none that can be dialled")
        else:
            yield {"number": plain, "ring_time_s": within(row.get("grptime", ""), 5, 300) or 20, "confirm": is_on(row.get("needsconf", ""))}  # fmt: skip


def take_trunks(source: Source) -> None:
    """SIP and PJSIP trunks; names ("trunk", FreePBX's number)."""
    devices = source.devices()
    taken = source.taken.setdefault("trunk", set())
    shaped = {row.get("trunkid", "") for row in source.rows("trunk_dialpatterns")}
    for row in source.rows("trunks"):
        number, name = row.get("trunkid", ""), row.get("name") or row.get("channelid", "")
        place = f"trunks {number}"
        if row.get("tech", "").lower() not in {"sip", "pjsip"}:
            source.carrier.lose(place, f"trunk {name} of kind {row.get('tech', '')} is not carried over")
            continue
        if is_on(row.get("disabled", "")):
            source.carrier.lose(place, f"trunk {name} is left out: it is disabled")
            continue
        if number in shaped:
            source.carrier.lose(
                place,
                "its dialled number manipulation rules are not carried over: see `numbers_out` and outbound routes",
            )
        if row.get("outcid"):
            source.carrier.lose(place, f"its caller id ({row['outcid'][:60]}) is not carried over: see `caller_ids`")
        # chan_sip's are tr-peer-N, PJSIP's have the trunk's number.
        first = devices.get(number) or devices.get(f"tr-peer-{number}") or {}
        host = first.get("sip_server") or first.get("host", "")
        port = first.get("sip_server_port") or first.get("port", "")
        registers = first.get("registration", "none") == "send" or ("register" in first and bool(first["register"]))
        secret = first.get("secret")
        transport = first.get("transport", "").rpartition("-")[2]
        ours = name_freely(name, taken, "trunk")
        is_taken = source.carrier.add("trunks", place, {
            "name": ours,
            "authentication": "registration" if registers else "ip",
            "hosts": (f"{host}:{port}" if port and port != "5060" else host,) if host else (),
            "match": tuple(part.strip() for part in first.get("match", "").split(",") if part.strip()),
            "username": first.get("username") or first.get("defaultuser"),
            "secret": source.carrier.take_secret(place, secret) if secret else None,
            "from_user": first.get("from_user") or first.get("fromuser"),
            "from_domain": first.get("from_domain") or first.get("fromdomain"),
            "codecs": tuple(list_codecs(first.get("codecs") or first.get("allow", ""))),
            "transport": transport if transport in {"tcp", "tls"} else None,
            "media_encryption": "sdes" if first.get("media_encryption") == "sdes" else None,
            "max_calls": within(row.get("maxchans", ""), 0, 10_000),
            "prefix_out": row.get("dialoutprefix", ""),
        })  # fmt: skip
        if is_taken:
            source.names["trunk", number] = ours


def take_codes(source: Source) -> None:
    """Feature codes that we have, too, as FreePBX's phones know them."""
    codes = {
        it.name: it.default for it in fields(General) if it.name.endswith("_code") or it.name == "voicemail_number"
    }
    given: dict[str, str] = {}
    for row in source.rows("featurecodes"):
        key = row.get("modulename", ""), row.get("featurename", "")
        if (known := _CODES.get(key)) is not None:
            code = row.get("customcode") or row.get("defaultcode") or known[1]
            given[known[0]] = code if row.get("enabled", "1") != "0" else ""
    for field, code in given.items():
        place = f"featurecodes {field}"
        others = [str(other) for name, other in (codes | given).items() if name != field and other]
        if code and not re.fullmatch("[*#][0-9*#]{1,7}", code):
            source.carrier.lose(place, f"{code[:20]} is none of * or # and 1 to 7 keys more: ours is {codes[field]}")
        elif not code and field == "voicemail_number":
            source.carrier.lose(place, f"is on here: {codes[field]}")
        elif any(other.startswith(code) for other in others if code):
            source.carrier.lose(place, f"{code} is off now: other codes begin with it")
            source.carrier.general[field] = codes[field] = ""
        elif code != codes[field]:
            source.carrier.general[field] = codes[field] = code
