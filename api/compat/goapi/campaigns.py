"""goCampaigns: campaigns by their short ids, added, edited, deleted and told; which pacing a dial method is. Never dials itself.

What a client says that is nothing to us (AMD, survey words) is kept and told back; docs/goapi-campaigns.md names it.
"""

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from api.compat.goapi.actions import Action, Call
from api.compat.goapi.dialling import Known, commit, find_known, list_known, need, read_choice, refuse_rule
from api.compat.goapi.objects import flag, save
from api.compat.goapi.speech import fail, fail_code
from tandem.domain.agent_statuses import statuses_of
from tandem.domain.campaigns import Campaign, RetryDisposition, RetryRule, SavedCampaign
from tandem.domain.destinations import HangupDestination
from tandem.domain.entities import Queue
from tandem.domain.problems import describe_errors
from tandem.domain.snapshot import Snapshot
from tandem.store.campaign_codes import CodeTaken, load_codes, save_code
from tandem.store.campaigns import StateConflict, load_counts
from tandem.store.user_groups import admit_campaign

_CAMPAIGN: Final[TypeAdapter[Campaign]] = TypeAdapter(Campaign)
TYPES: Final = frozenset({"OUTBOUND", "INBOUND", "BLENDED", "SURVEY", "COPY"})
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
_RECORDING: Final = {"NEVER": False, "ONDEMAND": False, "ALLCALLS": True, "ALLFORCE": True}
# What is kept and told back, and does nothing here.
_KEPT: Final = (
    "answering_machine_detection", "campaign_vdad_exten", "campaign_script", "web_form_address", "survey_type", "call_time",
    "hopper_level", "lead_order", "next_agent_call", "dial_method", "campaign_recording", "group_color", "dial_statuses",
)  # fmt: skip
_PARAMETERS: Final = (
    "campaign_id", "campaign_name", "campaign_desc", "campaign_type", "dial_method", "auto_dial_level", "auto_dial_level_adv",
    "adaptive_dropped_percentage", "campaign_recording", "dial_prefix", "custom_dial_prefix", "custom_prefix", "campaign_cid",
    "dial_timeout", "closer_campaigns", "carrier_id", "no_channels", "active",
)  # fmt: skip
# What becomes of a call by itself -> its code among the dial statuses.
_RETRIED: Final[tuple[tuple[RetryDisposition, str], ...]] = (("busy", "B"), ("no-answer", "NA"))


# ----------------------------------------------------------------------------------------------------------- fields


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
    if method:
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


def _read_fields(call: Call, before: Mapping[str, Any]) -> dict[str, Any]:
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
    return found


def _kept(call: Call) -> dict[str, str]:
    return {name: value[:200] for name in _KEPT if (value := call.given.line(name))}


_WORDS: Final = {
    "name": "campaign_name", "description": "campaign_desc", "caller_number": "campaign_cid", "dial_timeout_s": "dial_timeout",
    "trunk": "carrier_id", "concurrent_calls": "no_channels", "abandon_cap": "adaptive_dropped_percentage",
    "lines_per_agent": "auto_dial_level", "destination": "closer_campaigns", "dial_mode": "dial_method",
}  # fmt: skip


def _make(values: Mapping[str, Any]) -> Campaign:
    try:
        return _CAMPAIGN.validate_python(values)
    except ValidationError as error:
        problem = describe_errors(error, root=Campaign)[0]
        field = problem.path.partition(".")[0]
        raise refuse_rule(_WORDS.get(field, field), problem.message) from None


def _dump(campaign: Campaign) -> dict[str, Any]:
    dumped: dict[str, Any] = _CAMPAIGN.dump_python(campaign, mode="json")
    return dumped


# ----------------------------------------------------------------------------------------------------------- adding


async def _add(call: Call) -> Mapping[str, Any]:
    need(call, "campaign_id", "campaign_type", "campaign_name")
    kind = read_choice(call, "campaign_type", TYPES, "10003")
    code = call.given.text("campaign_id")
    if len(code) != 8 or not code.isascii() or not code.isalnum():
        raise fail_code("41006", "campaign_id. Limit is 8 Characters.")
    if kind == "SURVEY":
        raise fail_code("10003", "campaign_type. A survey is made under /api/v1")
    taken = await call.services.store.read(load_codes)
    if code in {one.code for one in taken.values()}:
        raise fail_code("10109")
    words = {"campaign_type": kind, **_kept(call)}
    if kind == "COPY":
        source = await find_known(call, "copy_from_campaign")
        fields = _dump(source.saved.campaign) | _read_fields(call, {})
        words = {**source.words, **words, "campaign_type": source.words.get("campaign_type", "OUTBOUND")}
    else:
        start = "manual" if kind == "OUTBOUND" else "inbound" if kind == "INBOUND" else "ratio"
        fields = {"dial_mode": start, "recording": kind in ("INBOUND", "BLENDED"), "concurrent_calls": 20}
        fields |= _read_fields(call, fields) | {"name": call.given.text("campaign_name")}
        fields |= {"destination": {"queue": await _choose_queue(call, kind, code)}}
        if kind == "INBOUND":
            fields |= {"dial_mode": "inbound", "trunk": None}
        elif "trunk" not in fields:
            fields["trunk"] = _choose_trunk(call.services.live.current)
    saved = await _create(call, _make(fields), code, words)
    if call.given.text("active").upper() != "N" and call.exchange.who.may("campaigns/start"):
        await call.services.campaigns.start(
            saved.campaign_id, call.exchange.who.reach, commit=commit(call, f"campaigns/{saved.campaign_id}/start")
        )
    return {}


async def _create(call: Call, campaign: Campaign, code: str, words: Mapping[str, Any]) -> SavedCampaign:
    group, at = call.exchange.who.group, call.services.now().timestamp()

    def beside(db: Any, saved: SavedCampaign) -> None:
        try:
            save_code(db, saved.campaign_id, code, words)
        except CodeTaken:
            raise fail_code("10109") from None
        if group is not None:
            admit_campaign(db, group.name, saved.campaign_id, at)

    saved: SavedCampaign = await call.services.campaigns.create(
        campaign, author=call.exchange.who.name, commit=commit(call, f"campaigns/{code}", beside)
    )
    if group is not None and group.campaigns is not None:
        await call.services.authority.load()
    return saved


def _choose_trunk(snapshot: Snapshot) -> str:
    trunk = snapshot.general.outbound_trunk or next(iter(snapshot.trunks), None)
    if trunk is None:
        raise fail("Error: Set a value for carrier_id: there is no carrier")
    return trunk


async def _choose_queue(call: Call, kind: str, code: str) -> str:
    """The in-group whose agents take the calls: named, or one of the campaign's own, which anybody may log in to."""
    named = call.given.text("closer_campaigns").split(" ")[0]
    route = call.given.text("call_route").upper()
    if kind in ("INBOUND", "BLENDED") and route:
        if route != "INGROUP":
            raise fail_code(
                "10003", "call_route. A campaign's calls go to an in-group: lead the DID elsewhere with goEditDID"
            )
        named = named or call.given.text("call_route_text")
    queues = call.services.live.current.queues
    if named:
        if named not in queues:
            raise fail_code("41004", "closer_campaigns")
        return named
    own = f"C{code}"
    if own not in queues:
        made = Queue(
            name=own,
            description=call.given.text("campaign_name")[:40],
            open_login=True,
            fallback=HangupDestination(hangup=16),
        )
        await save(call, lambda _: made)
        if own not in call.services.live.current.queues:
            raise fail(
                f"Error: in-group {own} of the campaign is kept, and Asterisk cannot be asked now: add the campaign again"
            )
    return own


# ---------------------------------------------------------------------------------------------------------- editing


async def _edit(call: Call) -> Mapping[str, Any]:
    need(call, "campaign_id")
    active = read_choice(call, "active", frozenset({"Y", "N"}))
    read_choice(call, "dial_method", METHODS)
    code = call.given.text("campaign_id")
    if code not in {one.code for one in await list_known(call)}:
        raise fail_code("41004", "Campaign doesn't exist")
    known = await find_known(call)
    words = {**known.words, **_kept(call)}
    queue = call.given.text("closer_campaigns").split(" ")[0]

    def decide(saved: SavedCampaign) -> Campaign:
        before = _dump(saved.campaign)
        fields = before | _read_fields(call, before) | ({"destination": {"queue": queue}} if queue else {})
        return _make(fields)

    await change(call, known, decide, words)
    await _turn(call, known, active)
    return {}


async def change(call: Call, known: Known, decide: Any, words: Mapping[str, Any] | None = None) -> None:
    """Another campaign in its place; one that is running pauses for it, and calls go on."""
    campaigns, campaign_id = call.services.campaigns, known.campaign_id

    def beside(db: Any, _saved: SavedCampaign) -> None:
        if words is not None:
            save_code(db, campaign_id, known.code, words)

    target = f"campaigns/{known.code}"
    try:
        await campaigns.change(campaign_id, decide, commit=commit(call, target, beside))
    except StateConflict:
        await campaigns.pause(campaign_id, commit=commit(call, f"{target}/pause"))
        try:
            await campaigns.change(campaign_id, decide, commit=commit(call, target, beside))
        finally:
            await campaigns.resume(campaign_id, commit=commit(call, f"{target}/resume"))


async def _turn(call: Call, known: Known, active: str) -> None:
    """Active Y dials, N does not; calls go on."""
    target, is_running = f"campaigns/{known.code}", known.saved.state == "running"
    if active == "Y" and not is_running:
        call.exchange.require("campaigns/start")
        await call.services.campaigns.start(
            known.campaign_id, call.exchange.who.reach, commit=commit(call, f"{target}/start")
        )
    elif active == "N" and is_running:
        call.exchange.require("campaigns/pause")
        await call.services.campaigns.pause(known.campaign_id, commit=commit(call, f"{target}/pause"))


async def _edit_dial_statuses(call: Call) -> Mapping[str, Any]:
    need(call, "campaign_id", "dial_statuses")
    known = await find_known(call)
    codes = [code for code in call.given.text("dial_statuses").upper().split() if code != "-"]

    def decide(saved: SavedCampaign) -> Campaign:
        campaign = saved.campaign
        rule = RetryRule(times=max(1, campaign.retry_times), delay_s=campaign.retry_delay_s)
        said = statuses_of(campaign.statuses)
        retries = dict(campaign.retry_rules)
        for disposition, code in _RETRIED:
            never = RetryRule(times=0, delay_s=60)
            retries[disposition] = (retries.get(disposition) or rule) if code in codes else never
        return replace(
            campaign,
            retry_rules=retries,
            recycle_rules={
                code: campaign.recycle_rules.get(code, rule)
                for code in codes
                if code in said and code not in dict(_RETRIED).values()
            },
        )

    await change(call, known, decide, {**known.words, "dial_statuses": f" {' '.join(codes)} -"})
    return {}


async def _delete(call: Call) -> Mapping[str, Any]:
    codes = call.given.many("campaign_id")
    if not codes:
        raise fail_code("40001", "campaign_id")
    known = {one.code: one for one in await list_known(call)}
    if not any(code in known for code in codes):
        raise fail_code_text("10109", "Error: Campaign doesn't exist.")
    for code in codes:
        if (one := known.get(code)) is None:
            continue
        if one.saved.state != "stopped":
            await call.services.campaigns.stop(one.campaign_id, commit=commit(call, f"campaigns/{code}/stop"))
        await call.services.campaigns.delete(one.campaign_id, commit=commit(call, f"campaigns/{code}"))
    return {}


def fail_code_text(code: str, text: str) -> Exception:
    """A code with a text of its own."""
    said = fail(text)
    return type(said)({"code": code, **said.body})


# ---------------------------------------------------------------------------------------------------------- reading


def tell_method(known: Known) -> str:
    """As it was said, where it still is that; else what ours is nearest to."""
    said = str(known.words.get("dial_method", "")).upper()
    mode = known.saved.campaign.dial_mode
    return said if METHODS.get(said) == mode else _TOLD_METHODS[mode]


def _row(known: Known) -> dict[str, Any]:
    campaign = known.saved.campaign
    queue = getattr(campaign.destination, "queue", "")
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
        "dial_timeout": campaign.dial_timeout_s,
        "closer_campaigns": f" {queue} -" if queue else " -",
        "dial_statuses": known.words.get("dial_statuses", " NEW -"),
        "carrier_id": campaign.trunk or "",
        "campaign_allow_inbound": flag(known.words.get("campaign_type") in ("INBOUND", "BLENDED")),
    }  # fmt: skip


async def _list(call: Call) -> Mapping[str, Any]:
    rows = [_row(one) for one in await list_known(call)]
    names = ("campaign_id", "campaign_name", "dial_method", "active")
    return {**{name: [row[name] for row in rows] for name in names}, "use_custom_cid": ["N"] * len(rows)}


async def _info(call: Call) -> Mapping[str, Any]:
    known = await find_known(call)
    counts = (await call.services.store.read(load_counts, [known.campaign_id])).get(known.campaign_id)
    return {
        "data": {**known.words, **_row(known)},
        "campaign_type": known.words.get("campaign_type", "OUTBOUND"),
        "number_of_lines": known.saved.campaign.concurrent_calls,
        "counts": asdict(counts) if counts is not None else {},
    }


async def _check(call: Call) -> Mapping[str, Any]:
    need(call, "campaign_id")
    codes = {one.code for one in (await call.services.store.read(load_codes)).values()}
    if call.given.text("campaign_id") in codes:
        return {"result": "fail", "status": "Campaign already exist."}
    return {}


ACTIONS: Final = (
    Action(is_scoped=True, name="goAddCampaign", permission="campaigns/create", handler=_add, summary="Adds a campaign.", parameters=_PARAMETERS),
    Action(
        is_scoped=True, name="goEditCampaign", permission="campaigns/update", handler=_edit, summary="Changes what is given of a campaign.",
        parameters=_PARAMETERS, aliases=("goUpdateCampaign",),
    ),
    Action(
        is_scoped=True, name="goUpdateCampaignDialStatus", permission="campaigns/update", handler=_edit_dial_statuses,
        summary="Says which statuses are called again.", parameters=("campaign_id", "dial_statuses"),
    ),
    Action(
        is_scoped=True, name="goDeleteCampaign", permission="campaigns/delete", handler=_delete, summary="Deletes campaigns.",
        parameters=("campaign_id", "action"),
    ),
    Action(
        is_scoped=True, name="goGetAllCampaigns", permission="campaigns/read", handler=_list, summary="Lists campaigns.", aliases=("getAllCampaigns",),
    ),
    Action(
        is_scoped=True, name="goGetCampaignInfo", permission="campaigns/read", handler=_info, summary="Tells a campaign.", parameters=("campaign_id",),
        aliases=("getCampaignInfo",),
    ),
    Action(is_scoped=True, name="goCheckCampaign", permission="campaigns/read", handler=_check, summary="Whether an id is free.", parameters=("campaign_id",)),
)  # fmt: skip
