"""goCampaigns: campaigns by their short ids, added, edited, deleted and told; which pacing a dial method is. Never dials itself."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any, Final

from api.compat.goapi import campaign_surveys
from api.compat.goapi.actions import Action, Call
from api.compat.goapi.campaign_fields import (
    MACHINE_WORDS,
    METHODS,
    dump_campaign,
    kept,
    make_campaign,
    read_fields,
    read_listening,
    tell_campaign,
)
from api.compat.goapi.campaign_routes import choose_queue, choose_trunk, leave_message, plan_did, read_route, save_did
from api.compat.goapi.dialling import (
    RETRIED,
    Known,
    change,
    commit,
    find_known,
    list_known,
    need,
    read_choice,
)
from api.compat.goapi.speech import Said, fail_code
from tandem.domain.agent_statuses import statuses_of
from tandem.domain.campaigns import Campaign, RetryRule, SavedCampaign
from tandem.store.campaign_codes import CodeTaken, load_codes, save_code
from tandem.store.campaigns import load_counts
from tandem.store.user_groups import admit_campaign

TYPES: Final = frozenset({"OUTBOUND", "INBOUND", "BLENDED", "SURVEY", "COPY"})
_PARAMETERS: Final = (
    "campaign_id", "campaign_name", "campaign_desc", "campaign_type", "dial_method", "auto_dial_level", "auto_dial_level_adv",
    "adaptive_dropped_percentage", "campaign_recording", "dial_prefix", "custom_dial_prefix", "custom_prefix", "campaign_cid",
    "dial_timeout", "closer_campaigns", "carrier_id", "no_channels", "active", *MACHINE_WORDS, *campaign_surveys.PARAMETERS,
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
    words: dict[str, Any] = {"campaign_type": kind, **kept(call)}
    fields: dict[str, Any] = {}
    if kind == "COPY":
        source = await find_known(call, "copy_from_campaign")
        kind = source.words.get("campaign_type", "OUTBOUND")
        words = {**source.words, **words, "campaign_type": kind}
        fields = dump_campaign(source.saved.campaign)
    made = await (_add_survey if kind == "SURVEY" else _add_dialling)(call, kind, code, words, fields)
    # A survey waits until somebody says that it may begin.
    if active == "Y" or (not active and kind != "SURVEY" and call.exchange.who.may("campaigns/start")):
        saved = made[0]
        await call.services.campaigns.start(
            saved.campaign_id, call.exchange.who.reach, commit=commit(call, f"campaigns/{saved.campaign_id}/start")
        )
    return made[1]


async def _add_dialling(
    call: Call, kind: str, code: str, words: dict[str, Any], source: dict[str, Any]
) -> tuple[SavedCampaign, Mapping[str, Any]]:
    """Whoever answers, or calls, goes to the agents of an in-group. source: the fields of the campaign that it is a copy of."""
    listening = read_listening(call, words)
    if source:
        fields = source | read_fields(call, source)
        fields |= {"name": call.given.text("campaign_name")}
        return await _create(call, await _with_machines(call, fields, listening), code, words), {}
    start = "manual" if kind == "OUTBOUND" else "inbound" if kind == "INBOUND" else "ratio"
    route = read_route(call) if kind in ("INBOUND", "BLENDED") else ""
    fields = {"dial_mode": start, "recording": kind in ("INBOUND", "BLENDED"), "concurrent_calls": 20}
    fields |= read_fields(call, fields) | {"name": call.given.text("campaign_name")}
    if kind == "INBOUND":
        fields |= {"dial_mode": "inbound", "trunk": None}
    elif "trunk" not in fields:
        fields["trunk"] = choose_trunk(call.services.live.current)
    # What is wrong with it is told before anything is made for it.
    make_campaign({**fields, "destination": {"queue": "any"}})
    if kind != "OUTBOUND":
        await plan_did(call, route, "any")
    queue = await choose_queue(call, code, route)
    fields["destination"] = {"queue": queue}
    did = await plan_did(call, route, queue) if kind != "OUTBOUND" else None
    saved = await _create(call, await _with_machines(call, fields, listening), code, words)
    return saved, await save_did(call, did)


async def _add_survey(
    call: Call, _kind: str, code: str, words: dict[str, Any], source: dict[str, Any]
) -> tuple[SavedCampaign, Mapping[str, Any]]:
    """Whoever answers is asked; those who press a key go on to agents, or elsewhere."""
    said = campaign_surveys.read_words(call, words)
    listening = read_listening(call, words)
    fields = source or {"recording": False, "concurrent_calls": 1, "trunk": None}
    fields = fields | read_fields(call, {"dial_mode": "fixed"})
    fields |= {"name": call.given.text("campaign_name"), "dial_mode": "fixed"}
    fields["trunk"] = fields["trunk"] or choose_trunk(call.services.live.current)
    make_campaign({**fields, "destination": {"survey": 1}})
    if not said.get("survey_type"):
        raise fail_code("40001", "survey_type")
    await campaign_surveys.take_sound(call, said)
    survey = await campaign_surveys.compose(call, said, call.given.text("campaign_name"), code)
    campaign = await _with_machines(call, {**fields, "destination": {"survey": 1}}, listening)
    survey_id = await campaign_surveys.create(call, survey, code)
    try:
        ready = make_campaign({**dump_campaign(campaign), "destination": {"survey": survey_id}})
        return await _create(call, ready, code, {**words, **said}), {}
    except Exception:
        await campaign_surveys.delete(call, survey_id, code)
        raise


async def _with_machines(call: Call, fields: Mapping[str, Any], listening: tuple[bool, str] | None) -> Campaign:
    """The campaign of these fields, with what is said of answering machines."""
    if listening is None:
        return make_campaign(fields)
    listens, sound = listening
    if not (listens and sound):
        on_machine = "hang-up" if listens else "connect"
        return make_campaign({**fields, "on_machine": on_machine, "machine_announcement": None})
    make_campaign(fields)
    name = await leave_message(call, sound)
    return make_campaign({**fields, "on_machine": "message", "machine_announcement": name})


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


# ---------------------------------------------------------------------------------------------------------- editing


async def _edit(call: Call) -> Mapping[str, Any]:
    need(call, "campaign_id")
    active = read_choice(call, "active", frozenset({"Y", "N"}))
    read_choice(call, "dial_method", METHODS)
    code = call.given.text("campaign_id")
    if code not in {one.code for one in await list_known(call)}:
        raise fail_code("41004", "Campaign doesn't exist")
    known = await find_known(call)
    words = {**known.words, **kept(call)}
    queue = call.given.text("closer_campaigns").split(" ")[0]
    listening = read_listening(call, words)
    is_survey = campaign_surveys.survey_of(known) is not None
    before = dump_campaign(known.saved.campaign)
    make_campaign(before | read_fields(call, before))
    machines = await _with_machines(call, before, listening)

    def decide(saved: SavedCampaign) -> Campaign:
        now = dump_campaign(saved.campaign)
        fields = now | read_fields(call, now)
        if listening is not None:
            fields |= {"on_machine": machines.on_machine, "machine_announcement": machines.machine_announcement}
        if is_survey:
            return make_campaign({**fields, "dial_mode": now["dial_mode"]})
        return make_campaign(fields | ({"destination": {"queue": queue}} if queue else {}))

    if is_survey and (queue or campaign_surveys.is_given(call)):
        said = campaign_surveys.read_words(call, words)
        await campaign_surveys.take_sound(call, said)
        words |= said
        name = call.given.text("campaign_name") or known.saved.campaign.name
        await campaign_surveys.replace(call, known, await campaign_surveys.compose(call, said, name, code))
    await change(call, known, decide, words)
    await _turn(call, known, active)
    return {}


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
        for disposition, code in RETRIED:
            never = RetryRule(times=0, delay_s=60)
            retries[disposition] = (retries.get(disposition) or rule) if code in codes else never
        return replace(
            campaign,
            retry_rules=retries,
            recycle_rules={
                code: campaign.recycle_rules.get(code, rule)
                for code in codes
                if code in said and code not in dict(RETRIED).values()
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
        raise Said({"code": "10109", "result": "Error: Campaign doesn't exist."})
    for code in codes:
        if (one := known.get(code)) is None:
            continue
        if one.saved.state != "stopped":
            await call.services.campaigns.stop(one.campaign_id, commit=commit(call, f"campaigns/{code}/stop"))
        await call.services.campaigns.delete(one.campaign_id, commit=commit(call, f"campaigns/{code}"))
        if (survey_id := campaign_surveys.survey_of(one)) is not None and one.words.get("campaign_type") == "SURVEY":
            await campaign_surveys.delete(call, survey_id, code)
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
    codes = {one.code for one in (await call.services.store.read(load_codes)).values()}
    if call.given.text("campaign_id") in codes:
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
    Action(is_scoped=True, name="goCheckCampaign", permission="campaigns/read", handler=_check, summary="Whether an id is free.", parameters=("campaign_id",)),
)  # fmt: skip
