"""Destination -> one EXEC Gosub; never sends a second command after it, and never decides which destination is right."""

from fastagi.brain import Brain, Case
from fastagi.hearing import hear_menu
from fastagi.session import ChannelGone
from tandem.domain.dialplan import encode_jump
from tandem.domain.entities import Destination, MenuDestination, QueueDestination
from tandem.domain.routing import enter_queue, jump_to, resolve

# Menus and closed queues send callers on; a chain that is longer goes round in a circle, and the fallback ends it.
MAX_HOPS = 25


async def enter(
    brain: Brain,
    case: Case,
    destination: Destination,
    *,
    priority: int = 0,
    language: str = "",
    recording: str = "",
    caller: str = "",
) -> None:
    """Sends the call to `destination`: menus are heard here, a queue that takes nobody is passed by, the rest is one jump.

    Fails open: without a jump the script just ends, and the next priority of the dialplan is the fallback.
    """
    for _ in range(MAX_HOPS):
        resolved = resolve(case.snapshot, destination, brain.now())
        if resolved.destination is not destination or not case.reasons:
            case.reasons.extend(resolved.reasons)
        elif case.reasons[-1] != resolved.reasons[-1]:
            case.reasons.append(resolved.reasons[-1])
        destination = resolved.destination
        if isinstance(destination, MenuDestination):
            destination = await hear_menu(brain, case, destination.menu, language=language, recording=recording)
            continue
        if isinstance(destination, QueueDestination):
            other = enter_queue(case.snapshot, destination.queue, brain.queue_facts(destination.queue), brain.now())
            if other is not None:
                case.reasons.append(f"queue {destination.queue} takes nobody")
                destination = other
                continue
        jump = encode_jump(
            jump_to(
                case.snapshot, destination, priority=priority, language=language, recording=recording, caller=caller
            )
        )
        case.outcome = f"{jump} (not confirmed)"
        taken = await case.session.exec("Gosub", jump)
        case.outcome = jump if taken >= 0 else f"{jump} is missing in the dialplan: fallback"
        return
    case.outcome = f"{MAX_HOPS} steps and no end: fallback"


async def conclude(brain: Brain, case: Case, destination: Destination | None, **how: str | int) -> None:
    """Enters `destination` and records the decision whatever happens; None leaves the call to the fallback."""
    try:
        if destination is None:
            case.outcome = "fallback"
        else:
            await enter(brain, case, destination, **how)  # type: ignore[arg-type]
    except ChannelGone:
        case.outcome = f"caller hung up ({case.outcome})"
        raise
    finally:
        brain.record(case.close())
