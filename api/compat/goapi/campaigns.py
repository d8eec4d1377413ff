"""goCampaigns: campaigns by their short ids, added, edited, deleted and told; which pacing a dial method is. Never dials itself."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any, Final

from api.compat.goapi import campaign_surveys, campaign_whole
from api.compat.goapi.actions import Action, Call
from api.compat.goapi.campaign_fields import (
    MACHINE_WORDS,
    METHODS,
    dump_campaign,
    kept,
    make_campaign,
    read_dial_statuses,
    read_fields,
    read_listening,
    tell_campaign,
)
from api.compat.goapi.campaign_routes import (
    check_queues,
    choose_queue,
    choose_trunk,
    lead_did,
    leave_message,
    read_route,
)
from api.compat.goapi.campaign_whole import Whole
from api.compat.goapi.dialling import (
    RETRIED,
    change,
    commit,
    find_known,
    list_known,
    need,
    read_choice,
)
from api.compat.goapi.speech import Said, fail_code
from api.joint import Joint
from tandem.domain.agent_statuses import statuses_of
from tandem.domain.campaigns import Campaign, CampaignState, RetryRule, SavedCampaign
from tandem.store.campaign_codes import load_codes
from tandem.store.campaigns import load_counts

TYPES: Final = frozenset({"OUTBOUND", "INBOUND", "BLENDED", "SURVEY", "COPY"})
_PARAMETERS: Final = (
    "campaign_id", "campaign_name", "campaign_desc", "campaign_type", "dial_method", "auto_dial_level", "auto_dial_level_adv",
    "adaptive_dropped_percentage", "campaign_recording", "dial_prefix", "custom_dial_prefix", "custom_prefix", "campaign_cid",
    "dial_timeout", "closer_campaigns", "carrier_id", "no_channels", "active", "local_call_time", "dial_statuses", *MACHINE_WORDS, *campaign_surveys.PARAMETERS,
)  # fmt: skip
_ADDED: Final = ("copy_from_campaign", "call_route", "call_route_text", "did_tfn_extension")


# ----------------------------------------------------------------------------------------------------------- adding


async def _add(call: Call) -> Mapping[str, Any]:
    need(call, "campaign_id", "campaign_type", "campaign_name")
    kind = read_choice(call, "campaign_type", TYPES, "10003")
    code = call.given.text("campaign_id")
    if len(code) != 8 or not code.isascii() or not code.isalnum():
        raise fail_code("41006", "campaign_id. Limit is 8 Characters.")
    active = read_choice(call, "active", frozenset({"Y", "N"}))
    if active == "Y":
        call.exchange.require("campaigns/start")
    taken = await call.services.store.read(load_codes)
    if code in {one.code for one in taken.values()}:
        raise fail_code("10109")
    await check_queues(call)
    words: dict[str, Any] = {"campaign_type": kind, **kept(call)}
    fields: dict[str, Any] = {}
    if kind == "COPY":
        source = await find_known(call, "copy_from_campaign")
        kind = source.words.get("campaign_type", "OUTBOUND")
        words = {**source.words, **words, "campaign_type": kind}
        fields = dump_campaign(source.saved.campaign)
    whole = Whole(code, words)
    campaign = await (_plan_survey if kind == "SURVEY" else _plan_dialling)(call, kind, whole, fields)
    # A survey waits until somebody says that it may begin.
    is_started = active == "Y" or (not active and kind != "SURVEY" and call.exchange.who.may("campaigns/start"))
    return await campaign_whole.create(call, whole, campaign, is_started=is_started)


async def _plan_dialling(call: Call, kind: str, whole: Whole, source: dict[str, Any]) -> Campaign:
    """Whoever answers, or calls, goes to the agents of an in-group. source: the fields of the campaign that it is a copy of."""
    listening = read_listening(call, whole.words)
    if source:
        fields = source | read_fields(call, source)
        fields |= {"name": call.given.text("campaign_name")}
        return _with_machines(call, whole, fields, listening)
    start = "manual" if kind == "OUTBOUND" else "inbound" if kind == "INBOUND" else "ratio"
    route = read_route(call) if kind in ("INBOUND", "BLENDED") else ""
    fields = {"dial_mode": start, "recording": kind in ("INBOUND", "BLENDED"), "concurrent_calls": 20}
    fields |= read_fields(call, fields) | {"name": call.given.text("campaign_name")}
    if kind == "INBOUND":
        fields |= {"dial_mode": "inbound", "trunk": None}
    elif "trunk" not in fields:
        fields["trunk"] = choose_trunk(call.services.live.current)
    queue = choose_queue(call, whole, route)
    fields["destination"] = {"queue": queue}
    campaign = _with_machines(call, whole, fields, listening)
    if kind != "OUTBOUND":
        await lead_did(call, whole, route, queue)
    return campaign


async def _plan_survey(call: Call, _kind: str, whole: Whole, source: dict[str, Any]) -> Campaign:
    """Whoever answers is asked; those who press a key go on to agents, or elsewhere."""
    said = campaign_surveys.read_words(call, whole.words)
    listening = read_listening(call, whole.words)
    fields = source or {"recording": False, "concurrent_calls": 1, "trunk": None}
    fields = fields | read_fields(call, {"dial_mode": "fixed"})
    fields |= {"name": call.given.text("campaign_name"), "dial_mode": "fixed"}
    fields["trunk"] = fields["trunk"] or choose_trunk(call.services.live.current)
    # Its number is known when it is written.
    fields["destination"] = {"survey": 1}
    campaign = _with_machines(call, whole, fields, listening)
    if not said.get("survey_type"):
        raise fail_code("40001", "survey_type")
    await campaign_surveys.take_sound(call, whole, said)
    whole.survey = campaign_surveys.compose(call, whole, said, call.given.text("campaign_name"))
    whole.words |= said
    return campaign


def _with_machines(call: Call, whole: Whole, fields: Mapping[str, Any], listening: tuple[bool, str] | None) -> Campaign:
    """The campaign of these fields, with what is said of answering machines."""
    if listening is None:
        return _with_retries(call, make_campaign(fields))
    listens, sound = listening
    if not (listens and sound):
        on_machine = "hang-up" if listens else "connect"
        return _with_retries(call, make_campaign({**fields, "on_machine": on_machine, "machine_announcement": None}))
    name = leave_message(call, whole, sound)
    return _with_retries(call, make_campaign({**fields, "on_machine": "message", "machine_announcement": name}))


def _with_retries(call: Call, campaign: Campaign) -> Campaign:
    """The campaign, and who of it is called again by `dial_statuses`; unchanged where that is not given."""
    if (codes := read_dial_statuses(call)) is None:
        return campaign
    rule = RetryRule(times=max(1, campaign.retry_times), delay_s=campaign.retry_delay_s)
    said, never = statuses_of(campaign.statuses), RetryRule(times=0, delay_s=60)
    # A rule of its own stays; one that said never does not.
    own = {disposition: known for disposition, known in campaign.retry_rules.items() if known.times}
    retries = {disposition: own.get(disposition, rule) if code in codes else never for disposition, code in RETRIED}
    others = [code for code in codes if code in said and code not in dict(RETRIED).values()]
    return replace(
        campaign,
        retry_rules=campaign.retry_rules | retries,
        recycle_rules={code: campaign.recycle_rules.get(code, rule) for code in others},
    )


# ---------------------------------------------------------------------------------------------------------- editing


async def _edit(call: Call) -> Mapping[str, Any]:
    need(call, "campaign_id")
    active = read_choice(call, "active", frozenset({"Y", "N"}))
    read_choice(call, "dial_method", METHODS)
    code = call.given.text("campaign_id")
    if code not in {one.code for one in await list_known(call)}:
        raise fail_code("41004", "Campaign doesn't exist")
    known = await find_known(call)
    whole = Whole(code, {**known.words, **kept(call)})
    queue = call.given.text("closer_campaigns").split(" ")[0]
    await check_queues(call)
    listening = read_listening(call, whole.words)
    survey_id = campaign_surveys.survey_of(known)
    before = dump_campaign(known.saved.campaign)
    make_campaign(before | read_fields(call, before))
    machines = _with_machines(call, whole, before, listening)

    def decide(saved: SavedCampaign) -> Campaign:
        now = dump_campaign(saved.campaign)
        fields = now | read_fields(call, now)
        if listening is not None:
            fields |= {"on_machine": machines.on_machine, "machine_announcement": machines.machine_announcement}
        if survey_id is not None:
            return _with_retries(call, make_campaign({**fields, "dial_mode": now["dial_mode"]}))
        return _with_retries(call, make_campaign(fields | ({"destination": {"queue": queue}} if queue else {})))

    if survey_id is not None and (queue or campaign_surveys.is_given(call)):
        said = campaign_surveys.read_words(call, whole.words)
        await campaign_surveys.take_sound(call, whole, said)
        name = call.given.text("campaign_name") or known.saved.campaign.name
        whole.survey = campaign_surveys.compose(call, whole, said, name)
        whole.words |= said
    state = _turn(call, active, is_running=known.saved.state == "running")
    return await campaign_whole.change(call, whole, known, survey_id, decide, state)


def _turn(call: Call, active: str, *, is_running: bool) -> CampaignState | None:
    """Active Y dials, N does not; calls go on. None: it stays as it is."""
    if active == "Y" and not is_running:
        call.exchange.require("campaigns/start")
        return "running"
    if active == "N" and is_running:
        call.exchange.require("campaigns/pause")
        return "paused"
    return None


async def _edit_dial_statuses(call: Call) -> Mapping[str, Any]:
    need(call, "campaign_id", "dial_statuses")
    known = await find_known(call)
    await change(call, known, lambda saved: _with_retries(call, saved.campaign), {**known.words, **kept(call)})
    return {}


async def _delete(call: Call) -> Mapping[str, Any]:
    codes = call.given.many("campaign_id")
    if not codes:
        raise fail_code("40001", "campaign_id")
    known = {one.code: one for one in await list_known(call)}
    if not any(code in known for code in codes):
        raise Said({"code": "10109", "result": "Error: Campaign doesn't exist."})
    gone = [known[code] for code in dict.fromkeys(codes) if code in known]
    surveys = [campaign_surveys.survey_of(one) for one in gone if one.words.get("campaign_type") == "SURVEY"]
    use, survey_ids = call.services, [survey_id for survey_id in surveys if survey_id is not None]
    campaign_ids = [one.campaign_id for one in gone]
    await Joint().run(
        commit(call, {f"campaigns/{one.code}": None for one in gone}),
        [
            lambda keep: use.campaigns.delete(*campaign_ids, commit=keep, is_paused_first=True),
            lambda keep: use.surveys.delete(*survey_ids, commit=keep, keeps_used=True),
        ],
    )
    return {}


# ---------------------------------------------------------------------------------------------------------- reading


async def _list(call: Call) -> Mapping[str, Any]:
    rows = [tell_campaign(one) for one in await list_known(call)]
    names = ("campaign_id", "campaign_name", "dial_method", "active")
    return {**{name: [row[name] for row in rows] for name in names}, "use_custom_cid": ["N"] * len(rows)}


async def _info(call: Call) -> Mapping[str, Any]:
    known = await find_known(call)
    counts = (await call.services.store.read(load_counts, [known.campaign_id])).get(known.campaign_id)
    return {
        "data": {**known.words, **tell_campaign(known), "survey_id": campaign_surveys.survey_of(known)},
        "campaign_type": known.words.get("campaign_type", "OUTBOUND"),
        "number_of_lines": known.saved.campaign.concurrent_calls,
        "counts": asdict(counts) if counts is not None else {},
    }


async def _check(call: Call) -> Mapping[str, Any]:
    need(call, "campaign_id")
    code, status = call.given.text("campaign_id"), call.given.text("status").upper()
    if status:
        # Whether a status of that name is there in it.
        is_taken = any(one.code == code and status in one.saved.campaign.statuses for one in await list_known(call))
    else:
        is_taken = code in {one.code for one in (await call.services.store.read(load_codes)).values()}
    if is_taken:
        return {"result": "fail", "status": "Campaign already exist."}
    return {}


ACTIONS: Final = (
    Action(is_scoped=True, name="goAddCampaign", permission="campaigns/create", handler=_add, summary="Adds a campaign.", parameters=(*_PARAMETERS, *_ADDED)),
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
    Action(is_scoped=True, name="goCheckCampaign", permission="campaigns/read", handler=_check, summary="Whether an id is free, or a status in a campaign.", parameters=("campaign_id", "status")),
)  # fmt: skip
