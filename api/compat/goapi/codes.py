"""goDispositions, goPauseCodes and goLeadRecycling: what agents may say of a campaign's calls, why they pause, and who is called again for what was said. They change while a campaign runs."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from pydantic import ValidationError

from api.compat.goapi.actions import Action, Call
from api.compat.goapi.dialling import RETRIED, Known, change, find_known, list_known, need, refuse_rule
from api.compat.goapi.objects import columns, flag
from api.compat.goapi.speech import fail_code
from tandem.domain.agent_statuses import COMMON, AgentStatus, PauseCode, statuses_of
from tandem.domain.campaigns import Campaign, RetryRule, SavedCampaign
from tandem.domain.problems import describe_errors

# goAPI's flags -> ours.
_FLAGS: Final = {
    "selectable": "is_selectable", "human_answered": "is_human", "sale": "is_sale", "dnc": "is_dnc", "customer_contact": "is_contact",
    "not_interested": "is_not_interested", "unworkable": "is_unworkable", "scheduled_callback": "is_callback",
}  # fmt: skip
_BILLABLE: Final = {"YES": "yes", "NO": "no", "HALF": "half", "Y": "yes", "N": "no"}
# How a call ended by itself -> the code that recycling knows it by.
_RETRIED: Final = {code: disposition for disposition, code in RETRIED}
_MAX_TIMES: Final = 10


def _with(make: Callable[[Campaign], Mapping[str, Any]]) -> Callable[[SavedCampaign], Campaign]:
    """The campaign with what is made of it as it is then; Said with the first rule that is broken."""

    def decide(saved: SavedCampaign) -> Campaign:
        fields = {name: getattr(saved.campaign, name) for name in Campaign.__dataclass_fields__}
        try:
            return Campaign(**{**fields, **make(saved.campaign)})
        except ValidationError as error:
            problem = describe_errors(error, root=Campaign)[0]
            raise refuse_rule(problem.path, problem.message) from None

    return decide


def _read_code(call: Call, name: str) -> str:
    need(call, "campaign_id", name)
    return call.given.text(name).upper()


def _flag(call: Call, name: str, before: bool) -> bool:
    given = call.given.flag(name, f"Error: Default value for {name} is Y or N only.")
    return before if given is None else given


# ----------------------------------------------------------------------------------------------------- dispositions


def _read_status(call: Call, before: AgentStatus | None) -> AgentStatus:
    name = call.given.text("status_name") or (before.name if before is not None else "")
    if not name:
        raise fail_code("40001", "status_name")
    old = before or AgentStatus(name=name)
    flags = {ours: _flag(call, theirs, getattr(old, ours)) for theirs, ours in _FLAGS.items()}
    try:
        return AgentStatus(name=name, **flags)
    except ValidationError as error:
        raise refuse_rule("status_name", describe_errors(error, root=AgentStatus)[0].message) from None


async def _add_status(call: Call) -> Mapping[str, Any]:
    code = _read_code(call, "status")
    known = await find_known(call)
    own = known.saved.campaign.statuses
    if code in own or code in COMMON:
        raise fail_code("10110", "status")
    status = _read_status(call, None)
    if status.name in {one.name for one in own.values()}:
        raise fail_code("10111", "status_name")
    await change(call, known, _with(lambda now: {"statuses": {**now.statuses, code: status}}))
    return {}


async def _edit_status(call: Call) -> Mapping[str, Any]:
    code = _read_code(call, "status")
    known = await find_known(call)
    own = known.saved.campaign.statuses
    before = statuses_of(own).get(code)
    if before is None:
        raise fail_code("41004", "status")
    status = _read_status(call, before)
    await change(call, known, _with(lambda now: {"statuses": {**now.statuses, code: status}}))
    return {}


async def _delete_status(call: Call) -> Mapping[str, Any]:
    known = await find_known(call)
    campaign = known.saved.campaign
    codes = [code.upper() for code in call.given.many("statuses") or call.given.many("status")] or list(
        campaign.statuses
    )
    if any(code not in campaign.statuses for code in codes):
        raise fail_code("41004", "status")

    def without(now: Campaign) -> Mapping[str, Any]:
        left = {code: one for code, one in now.statuses.items() if code not in codes}
        rules = {code: one for code, one in now.recycle_rules.items() if code in left or code in COMMON}
        return {"statuses": left, "recycle_rules": rules}

    await change(call, known, _with(without))
    return {}


def _status_rows(known: Known) -> list[dict[str, Any]]:
    return [
        {
            "campaign_id": known.code,
            "status": code,
            "status_name": one.name,
            **{theirs: flag(getattr(one, ours)) for theirs, ours in _FLAGS.items()},
        }
        for code, one in sorted(statuses_of(known.saved.campaign.statuses).items())
    ]


async def _chosen(call: Call) -> list[Known]:
    """The campaign that is named, or all."""
    return [await find_known(call)] if call.given.text("campaign_id") else await list_known(call)


async def _list_statuses(call: Call) -> Mapping[str, Any]:
    rows = [row for known in await _chosen(call) for row in _status_rows(known)]
    return columns(rows, ("campaign_id", "status", "status_name", *_FLAGS))


async def _status_info(call: Call) -> Mapping[str, Any]:
    known = await find_known(call)
    code = call.given.text("status").upper()
    rows = [row for row in _status_rows(known) if not code or row["status"] == code]
    if not rows:
        raise fail_code("41004", "status")
    return {**columns(rows, ("campaign_id", "status", "status_name", *_FLAGS)), "data": rows}


# ------------------------------------------------------------------------------------------------------ pause codes


def _read_pause(call: Call, before: PauseCode | None) -> PauseCode:
    name = call.given.text("pause_code_name") or (before.name if before is not None else "")
    if not name:
        raise fail_code("40001", "pause_code_name")
    billable = call.given.text("billable").upper()
    if billable and billable not in _BILLABLE:
        raise fail_code("41006", "billable. YES, NO or HALF")
    try:
        return PauseCode(name=name, billable=_BILLABLE[billable] if billable else before.billable if before else "no")  # type: ignore[arg-type]  # it is one of them
    except ValidationError as error:
        raise refuse_rule("pause_code_name", describe_errors(error, root=PauseCode)[0].message) from None


async def _save_pause(call: Call, *, is_new: bool) -> Mapping[str, Any]:
    given_as = "pauseCampID" if "pauseCampID" in call.given else "campaign_id"
    code = call.given.text("pause_code").upper()
    known = await find_known(call, given_as)
    if not code:
        raise fail_code("40001", "pause_code")
    own = known.saved.campaign.pause_codes
    if (code in own) == is_new:
        raise fail_code("10110" if is_new else "41004", "pause_code")
    pause = _read_pause(call, own.get(code))
    await change(call, known, _with(lambda now: {"pause_codes": {**now.pause_codes, code: pause}}))
    return {}


async def _add_pause(call: Call) -> Mapping[str, Any]:
    return await _save_pause(call, is_new=True)


async def _edit_pause(call: Call) -> Mapping[str, Any]:
    return await _save_pause(call, is_new=False)


async def _delete_pause(call: Call) -> Mapping[str, Any]:
    known = await find_known(call, "pauseCampID" if "pauseCampID" in call.given else "campaign_id")
    own, codes = known.saved.campaign.pause_codes, [code.upper() for code in call.given.many("pause_code")]
    if not codes:
        raise fail_code("40001", "pause_code")
    if any(code not in own for code in codes):
        raise fail_code("41004", "pause_code")
    await change(
        call,
        known,
        _with(lambda now: {"pause_codes": {code: one for code, one in now.pause_codes.items() if code not in codes}}),
    )
    return {}


def _pause_rows(known: Known) -> list[dict[str, Any]]:
    return [
        {"campaign_id": known.code, "pause_code": code, "pause_code_name": one.name, "billable": one.billable.upper()}
        for code, one in sorted(known.saved.campaign.pause_codes.items())
    ]


_PAUSE: Final = ("campaign_id", "pause_code", "pause_code_name", "billable")


async def _list_pauses(call: Call) -> Mapping[str, Any]:
    return columns([row for known in await _chosen(call) for row in _pause_rows(known)], _PAUSE)


async def _pause_info(call: Call) -> Mapping[str, Any]:
    known, code = await find_known(call), _read_code(call, "pause_code")
    for row in _pause_rows(known):
        if row["pause_code"] == code:
            return {"data": row}
    raise fail_code("41004", "pause_code")


# -------------------------------------------------------------------------------------------------------- recycling


def _read_rule(call: Call, before: RetryRule | None) -> tuple[RetryRule, bool]:
    """attempt_delay in seconds, attempt_maximum 1 to 10, active."""
    found = {"attempt_delay": before.delay_s if before else 1800, "attempt_maximum": before.times if before else 2}
    for name, low, high in (("attempt_delay", 120, 43_199), ("attempt_maximum", 1, _MAX_TIMES)):
        text = call.given.text(name)
        if text and (not text.isascii() or not text.isdecimal() or len(text) > 9 or not low <= int(text) <= high):
            raise fail_code("41006", f"{name}. From {low} to {high}")
        found[name] = int(text) if text else found[name]
    active = _flag(call, "active", before=True)
    return RetryRule(times=found["attempt_maximum"], delay_s=found["attempt_delay"]), active


def _rules(campaign: Campaign) -> dict[str, RetryRule]:
    """By goAPI's code, what an agent said and how a call ended alike."""
    ended = {
        code: rule for code, disposition in _RETRIED.items()
        if (rule := campaign.retry_rules.get(disposition)) is not None
    }  # fmt: skip
    return {**campaign.recycle_rules, **ended}


async def _save_rule(call: Call, *, is_new: bool) -> Mapping[str, Any]:
    code = _read_code(call, "status")
    known = await find_known(call)
    campaign = known.saved.campaign
    rules = _rules(campaign)
    if code not in _RETRIED and code not in statuses_of(campaign.statuses):
        raise fail_code("41004", "status")
    if (code in rules) == is_new:
        raise fail_code("10110" if is_new else "41004", "status")
    rule, active = _read_rule(call, rules.get(code))
    await _put_rule(call, known, code, rule if active else None)
    return {}


async def _put_rule(call: Call, known: Known, code: str, rule: RetryRule | None) -> None:
    field, key = ("retry_rules", _RETRIED[code]) if code in _RETRIED else ("recycle_rules", code)

    def put(now: Campaign) -> Mapping[str, Any]:
        rules = {name: one for name, one in getattr(now, field).items() if name != key}
        return {field: {**rules, key: rule} if rule is not None else rules}

    await change(call, known, _with(put))


async def _add_rule(call: Call) -> Mapping[str, Any]:
    return await _save_rule(call, is_new=True)


async def _edit_rule(call: Call) -> Mapping[str, Any]:
    return await _save_rule(call, is_new=False)


async def _delete_rule(call: Call) -> Mapping[str, Any]:
    code = _read_code(call, "status")
    known = await find_known(call)
    if code not in _rules(known.saved.campaign):
        raise fail_code("41004", "status")
    await _put_rule(call, known, code, None)
    return {}


async def _list_rules(call: Call) -> Mapping[str, Any]:
    rows = [
        {
            "recycle_id": f"{known.code}-{code}", "campaign_id": known.code, "status": code, "attempt_delay": rule.delay_s,
            "attempt_maximum": rule.times, "active": "Y",
        }
        for known in await _chosen(call)
        for code, rule in sorted(_rules(known.saved.campaign).items())
    ]  # fmt: skip
    wanted = call.given.text("status").upper()
    found = [row for row in rows if not wanted or row["status"] == wanted]
    return columns(found, ("recycle_id", "campaign_id", "status", "attempt_delay", "attempt_maximum", "active"))


_STATUS: Final = ("campaign_id", "status", "status_name", *_FLAGS)
DISPOSITIONS: Final = (
    Action(is_scoped=True, name="goAddDisposition", permission="campaigns/update", handler=_add_status, summary="Adds a status.", parameters=_STATUS),
    Action(is_scoped=True, name="goEditDisposition", permission="campaigns/update", handler=_edit_status, summary="Changes a status.", parameters=_STATUS),
    Action(is_scoped=True, name="goDeleteDisposition", permission="campaigns/update", handler=_delete_status, summary="Deletes statuses.", parameters=("campaign_id", "statuses")),
    Action(
        is_scoped=True, name="goGetAllDispositions", permission="campaigns/read", handler=_list_statuses, summary="Lists statuses.", parameters=("campaign_id",),
        aliases=("getAllDispositions", "goGetAllCampaignDispositions"),
    ),
    Action(
        is_scoped=True, name="goGetDispositionInfo", permission="campaigns/read", handler=_status_info, summary="Tells a campaign's statuses, or one.",
        parameters=("campaign_id", "status"), aliases=("getDispositionInfo",),
    ),
)  # fmt: skip
PAUSE_CODES: Final = (
    Action(is_scoped=True, name="goAddPauseCode", permission="campaigns/update", handler=_add_pause, summary="Adds a pause code.", parameters=_PAUSE),
    Action(is_scoped=True, name="goEditPauseCode", permission="campaigns/update", handler=_edit_pause, summary="Changes a pause code.", parameters=_PAUSE),
    Action(is_scoped=True, name="goDeletePauseCode", permission="campaigns/update", handler=_delete_pause, summary="Deletes pause codes.", parameters=("campaign_id", "pause_code")),
    Action(is_scoped=True, name="goGetAllPauseCodes", permission="campaigns/read", handler=_list_pauses, summary="Lists pause codes.", parameters=("campaign_id",)),
    Action(is_scoped=True, name="goGetPauseCodeInfo", permission="campaigns/read", handler=_pause_info, summary="Tells a pause code.", parameters=("campaign_id", "pause_code")),
)  # fmt: skip
_RULE: Final = ("campaign_id", "status", "attempt_delay", "attempt_maximum", "active")
RECYCLING: Final = (
    Action(is_scoped=True, name="goAddLeadRecycling", permission="campaigns/update", handler=_add_rule, summary="Calls again for a status.", parameters=_RULE),
    Action(is_scoped=True, name="goEditLeadRecycling", aliases=("goEditLeadRec",), permission="campaigns/update", handler=_edit_rule, summary="Changes a rule.", parameters=_RULE),
    Action(is_scoped=True, name="goDeleteLeadRecycling", permission="campaigns/update", handler=_delete_rule, summary="Calls no more for a status.", parameters=("campaign_id", "status")),
    Action(
        is_scoped=True, name="goGetAllLeadRecycling", permission="campaigns/read", handler=_list_rules, summary="Lists rules.", parameters=("campaign_id", "status"),
        aliases=("goGetLeadRecyclingInfo", "goGetLeadRecycleInfo"),
    ),
)  # fmt: skip
