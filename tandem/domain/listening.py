"""Who listens to an agent's call, speaks to the agent alone, or to both: one order to call the listener's phone; pure, and only ever for endpoints of ours."""

from dataclasses import replace
from typing import Final, Literal

from tandem.domain.destinations import EndpointDestination
from tandem.domain.dialplan import CONTEXT_LISTEN, VARIABLE_LISTEN_OPTIONS, VARIABLE_LISTEN_TO
from tandem.domain.originate import CallRefused, CallRequest, OriginateOrder, plan_call
from tandem.domain.snapshot import Snapshot

# listen: nobody hears the listener; whisper: the agent does; barge: both do.
Ear = Literal["listen", "whisper", "barge"]
# ChanSpy: q: no beep; E: until that channel's call ends; S: the end, where there is none; w and B: who hears the listener.
_OPTIONS: Final[dict[Ear, str]] = {"listen": "qES", "whisper": "qESw", "barge": "qESB"}


def plan_listening(snapshot: Snapshot, listener: str, agent: str, ear: Ear) -> OriginateOrder:
    """The order that calls the listener's phone and puts it on the agent's call. CallRefused naming field and rule."""
    for field, extension in (("listener", listener), ("agent", agent)):
        if extension not in snapshot.endpoints:
            raise CallRefused(field, f"there is no endpoint {extension}")
    if listener == agent:
        raise CallRefused("listener", "must be another phone than the agent's")
    endpoints = EndpointDestination(endpoint=listener), EndpointDestination(endpoint=agent)
    order = plan_call(snapshot, CallRequest(origin=endpoints[0], destination=endpoints[1]))
    # With its dash a prefix is one endpoint's: 1001 is not 10012.
    ours = ((VARIABLE_LISTEN_TO, f"PJSIP/{agent}-"), (VARIABLE_LISTEN_OPTIONS, _OPTIONS[ear]))
    return replace(order, context=CONTEXT_LISTEN, variables=(*order.variables, *ours))
