"""The script of a call outside: number, endpoint and trunk -> which trunks in which order, or a refusal; never asks anything but the snapshot.

Without an answer the dialplan goes on by itself: a phone has the static routes, a configured destination its trunk.
"""

import hmac
from typing import Final

from fastagi.brain import Brain, Case
from fastagi.session import ChannelGone, Session
from tandem.domain.dialling import present_caller
from tandem.domain.dialplan import CONTEXT_OUT, encode_tries
from tandem.domain.outbound import CONFIGURED, Caller, OutboundCall, Refusal, route_outbound, try_trunk

PIN_TRIES: Final = 3
PIN_WAIT_S: Final = 6
# Q.850 cause and what is heard. All of these are sounds of Asterisk's own package.
_REFUSED: Final[dict[Refusal | str, tuple[int, str]]] = {
    "unknown": (1, "ss-noservice"),
    "forbidden": (21, "im-sorry&feature-not-avail-line"),
    "closed": (21, "im-sorry&feature-not-avail-line"),
    "busy": (34, "im-sorry&please-try-call-later"),
    "guarded": (21, "im-sorry&feature-not-avail-line"),
    "pin": (21, "vm-incorrect&vm-goodbye"),
}


async def outbound(brain: Brain, session: Session) -> None:
    """`AGI(agi://…/outbound,NUMBER,ENDPOINT,TRUNK,HOW,PAYER)`, cleaned by the dialplan.

    ENDPOINT is the phone that dials, `-` where nobody knows which; without one a configured destination is on its way, over TRUNK if
    that is given. HOW: `forward` where ENDPOINT does not dial, but forwards. PAYER: the phone that a configured destination is for, which
    its toll guard counts; `` where it is for a caller from outside.
    """
    number, extension, trunk, how, payer = (*session.environment.args, "", "", "", "", "")[:5]
    snapshot = brain.snapshot()
    case = Case(session, snapshot, brain.now(), "outbound", number, extension or session.environment.callerid or "")
    is_forward = how == "forward"
    caller = (
        Caller(snapshot.endpoints.get(extension), is_phone=True, is_forward=is_forward) if extension else CONFIGURED
    )
    try:
        if trunk and caller is CONFIGURED:
            found = OutboundCall(
                None, (try_trunk(snapshot, trunk, number),), "", (f"trunk {trunk} is configured",), number
            )
        else:
            found = route_outbound(snapshot, caller, number, case.decided_at)
        case.reasons.extend(found.reasons)
        refusal: str = found.refusal
        if not refusal and found.route is not None and found.route.pin is not None and caller.is_phone:
            refusal = "" if await _ask_pin(brain, case, found.route.pin) else "pin"
        tries, limit_s = found.tries, 0
        if not refusal and not (found.route is not None and found.route.emergency):
            channel = session.environment.uniqueid or ""
            verdict, tries = brain.admit(extension or payer, found.tries, number, found.number, channel)
            limit_s = verdict.limit_s
            if verdict.refusal:
                refusal = "busy" if verdict.is_busy else "guarded"
                case.reasons.append(f"toll guard: {verdict.refusal}")
        if refusal:
            cause, sounds = _REFUSED[refusal]
            case.outcome = f"{CONTEXT_OUT},refuse,1({cause},{sounds})"
        else:
            case.outcome = encode_tries(((one.trunk, one.number, _present(case, one.trunk)) for one in tries), limit_s)
        if await session.exec("Gosub", case.outcome) < 0:
            case.outcome = f"{case.outcome} is missing in the dialplan: fallback"
    except ChannelGone:
        case.outcome = f"caller hung up ({case.outcome})"
        raise
    finally:
        brain.record(case.close())


def _present(case: Case, trunk: str) -> str:
    known = case.snapshot.trunks.get(trunk)
    return present_caller(known, case.session.environment.callerid or "") if known is not None else ""


async def _ask_pin(brain: Brain, case: Case, pin: str) -> bool:
    """Answers and listens, three times at the most; whether the PIN was pressed."""
    session = case.session
    await case.listen(session.exec("Answer", ",i"))
    for sound in ("agent-pass", *("auth-incorrect",) * (PIN_TRIES - 1)):
        await case.renew_guard(brain.prompt_lengths.UNKNOWN_S + PIN_WAIT_S)
        heard = await case.listen(session.get_data(sound, PIN_WAIT_S * 1000, len(pin)))
        if hmac.compare_digest(heard.digits.encode(), pin.encode()):
            case.reasons.append("the PIN is right")
            return True
    case.reasons.append("the PIN is wrong")
    return False
