"""The fields of a campaign in goAPI's words and in ours: what is given is read, what is there is told; saves nothing.

What a client says that is nothing to us is kept and told back; docs/goapi-campaigns.md names it.
"""

from collections.abc import Mapping
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from api.compat.goapi.actions import Call
from api.compat.goapi.dialling import Known, read_choice, refuse_rule
from api.compat.goapi.objects import flag
from api.compat.goapi.parameters import check_special
from api.compat.goapi.speech import fail_code
from tandem.domain.campaigns import Campaign
from tandem.domain.problems import describe_errors

_CAMPAIGN: Final[TypeAdapter[Campaign]] = TypeAdapter(Campaign)
# A dial method -> how we pace. All the adaptive ones never pass the share of abandoned calls.
METHODS: Final = {
    "MANUAL": "manual", "INBOUND_MAN": "manual", "RATIO": "ratio", "ADAPT_HARD_LIMIT": "predictive",
    "ADAPT_TAPERED": "predictive", "ADAPT_AVERAGE": "predictive",
}  # fmt: skip
_TOLD_METHODS: Final = {
    "manual": "MANUAL", "inbound": "INBOUND_MAN", "ratio": "RATIO", "fixed": "RATIO", "progressive": "RATIO",
    "predictive": "ADAPT_HARD_LIMIT",
}  # fmt: skip
# A level's word -> lines per agent.
LEVELS: Final = {"OFF": 0.0, "SLOW": 1.0, "NORMAL": 2.0, "HIGH": 4.0, "MAX": 6.0, "MAX_PREDICTIVE": 10.0}
# The call time that is always open.
ALWAYS: Final = "24hours"
_RECORDING: Final = {"NEVER": False, "ONDEMAND": False, "ALLCALLS": True, "ALLFORCE": True}
# Whether somebody listens for answering machines, by the extension that GOautodial sends whoever answers to (8369, 8373: AMD first).
_LISTENS: Final = {
    "8369": True,
    "8373": True,
    "8368": False,
    "8366": False,
    "8365": False,
    "8367": False,
    "Y": True,
    "N": False,
}
# Where a machine is told something, and what.
MACHINE_WORDS: Final = (
    "answering_machine_detection",
    "campaign_vdad_exten",
    "amd_send_to_vmx",
    "am_message_exten",
    "am_message_chooser",
)
# What is kept and told back.
KEPT: Final = (
    "answering_machine_detection", "campaign_vdad_exten", "amd_send_to_vmx", "am_message_exten", "am_message_chooser", "campaign_script", "web_form_address", "survey_type", "call_time",
    "hopper_level", "lead_order", "next_agent_call", "dial_method", "campaign_recording", "group_color", "dial_statuses", "local_call_time",
    "survey_first_audio_file", "survey_opt_in_audio_file", "survey_ni_audio_file", "survey_dtmf_digits", "survey_ni_digit", "survey_method",
    "survey_no_response_action", "survey_wait_sec", "survey_xfer_exten", "survey_menu_id",
)  # fmt: skip


def _read_level(call: Call) -> float | None:
    """Lines per agent; None where nothing is said."""
    text = call.given.line("auto_dial_level").upper()
    if text == "ADVANCE":
        text = call.given.line("auto_dial_level_adv")
    if not text:
        return None
    level = LEVELS.get(text)
    if level is None:
        try:
            level = float(text)
        except ValueError:
            raise fail_code("41006", "auto_dial_level") from None
    if not 0 <= level <= 10:
        raise fail_code("41006", "auto_dial_level. Must be 0 to 10")
    return level


def _read_pacing(call: Call, before: Mapping[str, Any]) -> dict[str, Any]:
    method, level = read_choice(call, "dial_method", METHODS), _read_level(call)
    found: dict[str, Any] = {}
    # An inbound campaign is told so, and is one when that is sent back.
    if method and not (method == "INBOUND_MAN" and before.get("dial_mode") == "inbound"):
        found["dial_mode"] = METHODS[method]
    mode = found.get("dial_mode", before.get("dial_mode"))
    if level is not None and mode == "ratio":
        # Without a line nobody is dialled who is not asked for.
        found |= {"lines_per_agent": max(1.0, level)} if level else {"dial_mode": "manual"}
    elif level and mode == "manual" and not method:
        found |= {"dial_mode": "ratio", "lines_per_agent": max(1.0, level)}
    share = call.given.line("adaptive_dropped_percentage").rstrip("%")
    if share:
        try:
            found["abandon_cap"] = float(share) / 100
        except ValueError:
            raise fail_code("41006", "adaptive_dropped_percentage") from None
        if not 0 <= found["abandon_cap"] <= 0.1:
            raise fail_code(
                "41006", "adaptive_dropped_percentage. Must be 0 to 10: more may not be left without an agent"
            )
    return found


def _read_prefix(call: Call) -> dict[str, Any]:
    value = call.given.line("dial_prefix")
    if value.upper() == "CUSTOM":
        value = call.given.line("custom_dial_prefix") or call.given.line("custom_prefix")
    if not value:
        return {}
    return {"dial_prefix": "" if value.upper() == "X" else value}


def read_fields(call: Call, before: Mapping[str, Any]) -> dict[str, Any]:
    """Our fields of what is given; what is not given stays as it is."""
    given = call.given
    found: dict[str, Any] = {**_read_pacing(call, before), **_read_prefix(call)}
    if name := given.text("campaign_name"):
        found["name"] = name
    if "campaign_desc" in given:
        found["description"] = given.lines("campaign_desc")
    if recording := read_choice(call, "campaign_recording", _RECORDING):
        found["recording"] = _RECORDING[recording]
    if number := given.text("campaign_cid"):
        found["caller_number"] = number
    for name, field in (("dial_timeout", "dial_timeout_s"), ("no_channels", "concurrent_calls")):
        if value := given.text(name):
            if not value.isascii() or not value.isdecimal() or len(value) > 6:
                raise fail_code("41002", name)
            found[field] = int(value)
    if carrier := given.text("carrier_id"):
        found["trunk"] = carrier
    if call_time := given.text("local_call_time"):
        found["call_window"] = _read_call_time(call, call_time)
    return found


def _read_call_time(call: Call, name: str) -> dict[str, Any] | None:
    """The hours that a call time has now, by the clock of those who are called; None for `24hours`."""
    if name == ALWAYS:
        return None
    schedule = call.services.live.current.schedules.get(name)
    if schedule is None:
        raise fail_code("41004", "local_call_time")
    if not schedule.hours:
        raise refuse_rule("local_call_time", "must have hours: nobody would ever be called")
    return {"hours": [{"days": list(one.days), "start": one.start, "end": one.end} for one in schedule.hours]}


def kept(call: Call) -> dict[str, str]:
    """What is given of what is kept."""
    words = {name: value[:200] for name in KEPT if (value := call.given.line(name))}
    if (codes := read_dial_statuses(call)) is not None:
        words["dial_statuses"] = f" {' '.join(codes)} -"
    return words


def read_dial_statuses(call: Call) -> list[str] | None:
    """The statuses that are called again; None where nothing is said of them."""
    if not call.given.line("dial_statuses"):
        return None
    return [code for code in call.given.line("dial_statuses").upper().split() if code != "-"]


def read_listening(call: Call, words: Mapping[str, Any]) -> tuple[bool, str] | None:
    """(whether AMD listens, the sound that a machine is left, '' for none), of `words` with what is given; None where nothing of it is given."""
    for name in MACHINE_WORDS[:2]:
        read_choice(call, name, _LISTENS)
    read_choice(call, "amd_send_to_vmx", frozenset({"Y", "N"}))
    sounds = [check_special(name, call.given.text(name), is_id=True) for name in MACHINE_WORDS[3:]]
    if not any(call.given.text(name) for name in MACHINE_WORDS):
        return None
    told = next((value for name in MACHINE_WORDS[:2] if (value := call.given.text(name) or words.get(name))), "N")
    sound = next(filter(None, (*sounds, *(words.get(name) for name in MACHINE_WORDS[3:]))), "")
    is_told = str(call.given.text("amd_send_to_vmx") or words.get("amd_send_to_vmx", "")).upper() == "Y"
    if is_told and not sound:
        raise fail_code("40001", "am_message_exten")
    return _LISTENS.get(str(told).upper(), False), str(sound) if is_told else ""


_WORDS: Final = {
    "name": "campaign_name", "description": "campaign_desc", "caller_number": "campaign_cid", "dial_timeout_s": "dial_timeout",
    "trunk": "carrier_id", "concurrent_calls": "no_channels", "abandon_cap": "adaptive_dropped_percentage",
    "machine_announcement": "am_message_exten", "on_machine": "answering_machine_detection", "lines_per_agent": "auto_dial_level", "destination": "closer_campaigns", "dial_mode": "dial_method",
}  # fmt: skip


def make_campaign(values: Mapping[str, Any]) -> Campaign:
    """A campaign of ours; Said with goAPI's parameter and the rule for the first field that is wrong."""
    try:
        return _CAMPAIGN.validate_python(values)
    except ValidationError as error:
        problem = describe_errors(error, root=Campaign)[0]
        field = problem.path.partition(".")[0]
        raise refuse_rule(_WORDS.get(field, field), problem.message) from None


def dump_campaign(campaign: Campaign) -> dict[str, Any]:
    """What `make_campaign` takes."""
    dumped: dict[str, Any] = _CAMPAIGN.dump_python(campaign, mode="json")
    return dumped


def tell_method(known: Known) -> str:
    """As it was said, where it still is that; else what ours is nearest to."""
    said = str(known.words.get("dial_method", "")).upper()
    mode = known.saved.campaign.dial_mode
    return said if METHODS.get(said) == mode else _TOLD_METHODS[mode]


def tell_campaign(known: Known) -> dict[str, Any]:
    """The row of a campaign."""
    campaign = known.saved.campaign
    return {
        "campaign_id": known.code,
        "campaign_name": campaign.name,
        "campaign_description": campaign.description,
        "active": flag(known.saved.state == "running"),
        "dial_method": tell_method(known),
        "auto_dial_level": campaign.lines_per_agent if campaign.dial_mode == "ratio" else int(campaign.dial_mode == "fixed"),
        "adaptive_dropped_percentage": round(campaign.abandon_cap * 100, 2),
        "campaign_cid": campaign.caller_number,
        "campaign_recording": str(known.words.get("campaign_recording") or ("ALLFORCE" if campaign.recording else "NEVER")).upper(),
        "dial_prefix": campaign.dial_prefix,
        **dict.fromkeys(MACHINE_WORDS[:2], "8368" if campaign.on_machine == "connect" else "8369"),
        "dial_timeout": campaign.dial_timeout_s,
        "closer_campaigns": f" {known.queue} -" if known.queue else " -",
        "dial_statuses": known.words.get("dial_statuses", " NEW -"),
        "local_call_time": ALWAYS if campaign.call_window is None else known.words.get("local_call_time", ""),
        "carrier_id": campaign.trunk or "",
        "campaign_allow_inbound": flag(known.words.get("campaign_type") in ("INBOUND", "BLENDED")),
    }  # fmt: skip
