"""Destination -> one EXEC Gosub; never sends a second command after it, and never decides which destination is right."""

from time import perf_counter

from fastagi.brain import Brain, Case, read_trunk
from fastagi.hearing import hear_menu
from fastagi.session import ChannelGone
from tandem.domain.destinations import AgentDestination, Destination, MenuDestination, QueueDestination
from tandem.domain.dialplan import encode_jump
from tandem.domain.routing import Target, enter_queue, jump_to

# Menus and closed queues send callers on; a chain that is longer goes round in a circle, and the fallback ends it.
MAX_HOPS = 25


async def enter(
    brain: Brain,
    case: Case,
    target: Target,
    priority: int = 0,
    language: str = "",
    recording: str = "",
    caller: str = "",
) -> None:
    """Sends the call to `target`, which the reasons name already: menus are heard here, a queue that takes nobody is passed by, the rest is one jump.

    Fails open: without a jump the script just ends, and the next priority of the dialplan is the fallback.
    """
    now = case.decided_at
    for _ in range(MAX_HOPS):
        onward: Destination | None = None
        if isinstance(target, MenuDestination):
            onward = await hear_menu(brain, case, target.menu, language=language, recording=recording)
            now = brain.now()
        elif isinstance(target, QueueDestination):
            onward = enter_queue(case.snapshot, target.queue, brain.queue_facts(target.queue), now)
            if onward is not None:
                case.reasons.append(f"queue {target.queue} takes nobody")
        elif isinstance(target, AgentDestination) and not brain.agent_works(target.agent):
            onward = target.unavailable
            case.reasons.append(f"agent {target.agent} is not at work")
        if onward is None:
            way = jump_to(case.snapshot, target, priority, language, recording, caller)
            if isinstance(target, QueueDestination) and (place := await _find_place(brain, case, target.queue)):
                way = way._replace(option=str(place))
            jump = encode_jump(way)
            case.outcome = f"{jump} (not confirmed)"
            taken = await case.session.exec("Gosub", jump)
            case.outcome = jump if taken >= 0 else f"{jump} is missing in the dialplan: fallback"
            return
        target = case.follow(onward, now)
    case.outcome = f"{MAX_HOPS} steps and no end: fallback"


async def _find_place(brain: Brain, case: Case, queue: str) -> int:
    """The place of a caller whom the queue would have called back, and who did not wait for it; 0 for everybody else."""
    trunk = read_trunk(case.session.environment.channel, case.snapshot.trunks)
    callback_id = brain.find_owed(queue, case.caller, trunk)
    if not callback_id:
        return 0
    started = perf_counter()
    place = await brain.take_back(callback_id)
    case.listening_s += perf_counter() - started
    case.reasons.append(f"callback {callback_id}: " + (f"called again, place {place}" if place else "over"))
    return place


async def conclude(
    brain: Brain,
    case: Case,
    target: Target | None,
    priority: int = 0,
    language: str = "",
    recording: str = "",
    caller: str = "",
) -> None:
    """Enters `target` and records the decision whatever happens; None leaves the call to the fallback."""
    try:
        if target is None:
            case.outcome = "fallback"
        else:
            await enter(brain, case, target, priority, language, recording, caller)
    except ChannelGone:
        case.outcome = f"caller hung up ({case.outcome})"
        raise
    finally:
        brain.record(case.close())
