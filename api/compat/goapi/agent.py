"""goAgent: what an agent does at their own phone and in their own campaigns: log in, pause, dial, hang up, say what became of a call. Never acts for anybody else's phone."""

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from http import HTTPStatus
from typing import Any, Final
from zoneinfo import ZoneInfo

from pydantic import ValidationError

from api.compat.goapi.actions import Action, Call, Handler
from api.compat.goapi.dialling import Known, commit, find_known, lead_data, lead_status, list_known, read_id
from api.compat.goapi.leads import find_lead
from api.compat.goapi.speech import Said
from api.v1.calls import transfer_call
from tandem.domain.agent_statuses import statuses_of
from tandem.domain.agents import AgentWish, Wish
from tandem.domain.campaigns import NewNumber
from tandem.domain.destinations import QueueDestination
from tandem.domain.number_rows import read_new_number
from tandem.domain.originate import find_destination
from tandem.domain.routing import describe_destination
from tandem.store.attempts import Attempt, load_open_attempts
from tandem.store.users import User, load_user

# One's own login is everybody's; what is dialled and said has permissions of its own.
_OWN: Final = "session/update"


def _deny(message: str) -> Said:
    return Said({"result": "error", "message": message})


def _speak(handler: Handler) -> Handler:
    """With goAgent's envelope: result, message, data."""

    async def speak(call: Call) -> Mapping[str, Any]:
        try:
            found = await handler(call)
        except Said as said:
            raise _deny(str(said.body.get("message") or said.body["result"])) from None
        except Exception as error:
            refused = call.services.refuse(error)
            if refused.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
                raise
            raise _deny(refused.message) from None
        return {"message": "", **found} if "data" in found else {"message": "", "data": found}

    return speak


async def _read_agent(call: Call) -> tuple[User, str]:
    """Who asks, and their phone."""
    name = call.exchange.who.user
    user = await call.services.store.read(load_user, name) if name is not None else None
    if user is None:
        raise _deny("goUser must be somebody who logs in: a token of nobody's has no phone")
    if user.extension is None or user.extension not in call.services.live.current.endpoints:
        raise _deny("this user has no phone: set phone_login with goEditUser")
    return user, user.extension


async def _find_campaign(call: Call) -> Known:
    if not call.given.text("goCampaign"):
        raise _deny("Please select a campaign")
    return await find_known(call, "goCampaign")


def _queue_of(known: Known) -> str:
    if not known.queue:
        raise _deny("this campaign has no in-group that agents could log in to")
    return known.queue


async def _wish(
    call: Call, extension: str, wish: Wish, queues: tuple[str, ...] = (), reason: str = ""
) -> dict[str, Any]:
    change = await call.services.agents.change(
        extension,
        AgentWish(wish, queues, reason),
        by=call.exchange.who.name,
        commit=commit(call, f"agents/{extension}/{wish}"),
    )
    return {"phone_login": extension, "event": change.event, "ingroups": list(change.queues), "reason": change.reason}


# ---------------------------------------------------------------------------------------------------------- sessions


async def _log_in(call: Call) -> Mapping[str, Any]:
    user, extension = await _read_agent(call)
    known = await _find_campaign(call)
    done = await _wish(call, extension, "login", (_queue_of(known),))
    return {**done, "user": user.name, "full_name": user.full_name, "campaign_id": known.code}


async def _log_out(call: Call) -> Mapping[str, Any]:
    _, extension = await _read_agent(call)
    queues = (_queue_of(await _find_campaign(call)),) if call.given.text("goCampaign") else ()
    return await _wish(call, extension, "logout", queues)


async def _pause(call: Call) -> Mapping[str, Any]:
    _, extension = await _read_agent(call)
    task = call.given.text("goTask").upper()
    if task not in ("PAUSE", "READY", "RESUME"):
        raise _deny("goTask must be PAUSE, or READY")
    return await _wish(call, extension, "pause" if task == "PAUSE" else "unpause")


async def _submit_pause_code(call: Call) -> Mapping[str, Any]:
    _, extension = await _read_agent(call)
    known = await _find_campaign(call)
    code = call.given.text("goPauseCode").upper()
    if code not in known.saved.campaign.pause_codes:
        raise _deny(f"goPauseCode must be one of the campaign's: {', '.join(sorted(known.saved.campaign.pause_codes))}")
    return await _wish(call, extension, "pause", reason=code)


async def _login_info(call: Call) -> Mapping[str, Any]:
    user, extension = await _read_agent(call)
    return {
        "user": user.name,
        "full_name": user.full_name,
        "user_group": user.user_group or "",
        "phone_login": extension,
    }


async def _allowed_campaigns(call: Call) -> Mapping[str, Any]:
    running = [one for one in await list_known(call) if one.saved.state == "running"]
    return {"allowed_campaigns": {one.code: one.saved.campaign.name for one in running}}


async def _statuses(call: Call) -> Mapping[str, Any]:
    known = await _find_campaign(call)
    offered = statuses_of(known.saved.campaign.statuses)
    pauses = known.saved.campaign.pause_codes
    return {
        "statuses": {code: one.name for code, one in offered.items() if one.is_selectable},
        "pause_codes": {code: one.name for code, one in pauses.items()},
    }


# ------------------------------------------------------------------------------------------------------------- calls


async def _dial(call: Call, wanted: int | NewNumber | None) -> Mapping[str, Any]:
    _, extension = await _read_agent(call)
    known = await _find_campaign(call)
    call.exchange.require("campaigns/dial")
    target = commit(call, f"campaigns/{known.code}/dial")
    claim = await call.services.campaigns.dial_by_hand(known.campaign_id, extension, wanted, commit=target)
    data = lead_data(claim.number)
    return {
        "uniqueid": claim.call.call_id, "lead_id": claim.number.number_id, "phone_number": claim.number.phone_number,
        "list_id": claim.number.list_id or 0, "status": lead_status(claim.number),
        **{name: str(data.get(name, "")) for name in ("first_name", "last_name", "comments")},
    }  # fmt: skip


async def _dial_next(call: Call) -> Mapping[str, Any]:
    return await _dial(call, (await find_lead(_lead(call)))[0].number_id if call.given.text("goLeadID") else None)


async def _dial_only(call: Call) -> Mapping[str, Any]:
    """A number that the agent types: the campaign's own, or a new one of it."""
    if call.given.text("goLeadID"):
        return await _dial_next(call)
    made = read_new_number({"phone_number": call.given.text("goPhoneNumber")})
    if not isinstance(made, NewNumber):
        raise _deny(f"goPhoneNumber {made[0][1]}")
    return await _dial(call, made)


def _lead(call: Call) -> Call:
    """The same call with the lead under its other name."""
    values = {**call.given.values, "lead_id": call.given.values.get("goLeadID", "")}
    return Call(call.services, call.exchange, type(call.given)(values))


async def _own_calls(call: Call, extension: str) -> list[Attempt]:
    """The agent's calls of campaigns that are up."""
    found: list[Attempt] = await call.services.store.read(load_open_attempts)
    return [one for one in found if extension == one.agent or one.destination == f"endpoint {extension}"]


async def _look(call: Call) -> Mapping[str, Any]:
    _, extension = await _read_agent(call)
    calls = await _own_calls(call, extension)
    return {
        "calls": [
            {
                "uniqueid": one.call_id, "lead_id": one.number_id, "phone_number": one.phone_number,
                "status": "INCALL" if one.connected_at else "RINGING" if one.answered_at is None else "ANSWERED",
            }
            for one in calls
        ]
    }  # fmt: skip


async def _hang_up(call: Call) -> Mapping[str, Any]:
    _, extension = await _read_agent(call)
    calls = await _own_calls(call, extension)
    if not calls:
        raise _deny("there is no call to hang up")
    ended = await call.services.calls.hang_up_all([one.call_id for one in calls])
    await commit(call, f"agents/{extension}/calls")(lambda _db: None)
    return {"uniqueids": sorted(ended)}


async def _transfer(call: Call) -> Mapping[str, Any]:
    """The customer goes to an in-group, or to a number inside or outside; the agent is free."""
    _, extension = await _read_agent(call)
    group, number = call.given.text("goGroupID"), call.given.text("goExtension")
    if not group and not number:
        raise _deny("goGroupID or goExtension is missing")
    calls = [one for one in await _own_calls(call, extension) if one.connected_at is not None]
    placed = await call.services.calls.find(calls[0].call_id) if calls else None
    if placed is None:
        raise _deny("there is no call to transfer")
    snapshot = call.services.live.current
    try:
        to = QueueDestination(queue=group) if group else find_destination(snapshot, number)
    except ValidationError:
        raise _deny("goGroupID is no in-group") from None
    await transfer_call(call.services, call.exchange, placed, to)
    return {"uniqueid": placed.call_id, "destination": describe_destination(to)}


async def _dispose(call: Call) -> Mapping[str, Any]:
    await _read_agent(call)
    lead, _ = await find_lead(_lead(call))
    code = call.given.text("goDispoChoice").upper()
    if not code:
        raise _deny("goDispoChoice is missing")
    call.exchange.require("numbers/status")
    number = await call.services.campaigns.set_status(
        lead.number_id, code, author=call.exchange.who.name, commit=commit(call, f"numbers/{lead.number_id}/status"),
        call_again_at=_read_time(call),
    )  # fmt: skip
    return {"lead_id": number.number_id, "status": code, "is_called_again": number.status.value == "pending"}


def _read_time(call: Call) -> float | None:
    """When to call back, by the clock of the PBX."""
    text = call.given.text("goCallbackDatetime")
    if not text:
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise _deny("goCallbackDatetime must be a time such as 2026-03-01 09:00:00") from None
    zone = ZoneInfo(call.services.live.current.general.time_zone)
    return (at if at.tzinfo is not None else at.replace(tzinfo=zone)).timestamp()


async def _skip(call: Call) -> Mapping[str, Any]:
    """The next lead is not shown before it is dialled, so there is nothing to take back but a call that rings."""
    read_id(_lead(call), "lead_id")
    return await _hang_up(call)


def _declare(
    name: str, handler: Callable[[Call], Awaitable[Mapping[str, Any]]], summary: str, *parameters: str
) -> Action:
    return Action(
        name=name, permission=_OWN, handler=_speak(handler), summary=summary, parameters=parameters, is_scoped=True
    )


ACTIONS: Final = (
    _declare("goLoginUser", _log_in, "Logs one's phone in to a campaign's in-group.", "goCampaign"),
    _declare("goLogoutUser", _log_out, "Logs one's phone out.", "goCampaign"),
    _declare("goAutodialResumePause", _pause, "Pauses, or works again.", "goTask"),
    _declare("goPauseCodeSubmit", _submit_pause_code, "Pauses for a reason.", "goCampaign", "goPauseCode"),
    _declare("goManualDialNext", _dial_next, "Dials the campaign's next lead, or one.", "goCampaign", "goLeadID"),
    _declare("goManualDialOnly", _dial_only, "Dials a number, or a lead.", "goCampaign", "goPhoneNumber", "goLeadID"),
    _declare("goManualDialSkip", _skip, "Hangs up what was dialled.", "goLeadID"),
    _declare("goManualDialLookCall", _look, "One's calls that are up."),
    _declare("goXFERSendRedirect", _transfer, "Sends one's call on.", "goGroupID", "goExtension"),
    _declare("goHangupCall", _hang_up, "Hangs up one's calls."),
    _declare(
        "goUpdateDispo", _dispose, "Says what became of a call.", "goLeadID", "goDispoChoice", "goCallbackDatetime"
    ),
    _declare("goGetLoginInfo", _login_info, "Who one is."),
    _declare("goGetAllowedCampaigns", _allowed_campaigns, "One's campaigns that run."),
    _declare("goGetStatuses", _statuses, "What may be said and why one may pause.", "goCampaign"),
)
