"""Looks whether Asterisk is as well after a change as it was before, and calls changed DIDs; never rings a phone, never changes anything.

A test call is a Local channel to `tandem-probe`: through the dialplan into FastAGI, where the route is decided as for a real call, and
its target looked for in the live Asterisk. Instead of entering it, the call ends.
"""

import logging
import secrets
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from tandem.ami import actions
from tandem.ami.actions import Action
from tandem.ami.errors import AmiError, AmiRefused
from tandem.domain.changes import Complaint
from tandem.domain.dialplan import CONTEXT_PROBE
from tandem.domain.probes import Health, find_worse
from tandem.domain.snapshot import Snapshot

log = logging.getLogger(__name__)

_AGAIN_S: Final = 0.2
_LIST_TIMEOUT_S: Final = 30.0
# A change is not kept waiting for longer.
_REMEMBER_TIMEOUT_S: Final = 2.0
# Not NonQualified: so a contact is called until Asterisk has asked it.
_REACHED: Final = "Reachable"


@dataclass(slots=True)
class ProbeCall:
    """A test call on its way. problem: None until it came to FastAGI, then what is wrong, empty for nothing."""

    called: str
    problem: str | None = None


class Probe:
    """`ask_list`, `ask` and `originate` are those of AMI clients; can_call: whether the last may be used."""

    def __init__(
        self,
        ask_list: Callable[..., Awaitable[list[Any]]],
        ask: Callable[[Action], Awaitable[Any]],
        originate: Callable[[Action], Awaitable[Any]],
        can_call: Callable[[], bool],
        reactor: Any,
        *,
        within_s: float,
    ) -> None:
        self._ask_list, self._ask = ask_list, ask
        self._originate, self._can_call = originate, can_call
        self._reactor, self._within_s = reactor, within_s
        self._calls: dict[str, ProbeCall] = {}

    def find(self, call_id: str) -> ProbeCall | None:
        """The test call of this id, for FastAGI."""
        return self._calls.get(call_id)

    async def remember(self, trunks: Sequence[str], phones: Sequence[str]) -> Health:
        """How well these are before a change; nothing is known of an Asterisk that does not answer, and nothing of it is compared then."""
        try:
            return await self.look(trunks, phones, timeout_s=_REMEMBER_TIMEOUT_S)
        except AmiError as error:
            log.warning("how well Asterisk is before the change is not known: %s", error)
            return Health()

    async def look(self, trunks: Sequence[str], phones: Sequence[str], timeout_s: float = _LIST_TIMEOUT_S) -> Health:
        """How well these are right now. AmiError."""
        registered: set[str] = set()
        if trunks:
            rows = await self._ask_list(actions.pjsip_show_registrations_outbound(), timeout_s=timeout_s)
            registered = {row.get("ObjectName") for row in rows if row.get("Status") == "Registered"}
        reachable = {name for name in (*trunks, *phones) if await self._is_reachable(name, timeout_s)}
        return Health(frozenset(registered), frozenset(reachable))

    async def _is_reachable(self, name: str, timeout_s: float) -> bool:
        action = Action("PJSIPShowEndpoint", (("Endpoint", name),))
        try:
            rows = await self._ask_list(action, timeout_s=timeout_s)
        except AmiRefused:
            return False
        return any(row.name == "ContactStatusDetail" and row.get("Status") == _REACHED for row in rows)

    async def _qualify(self, name: str) -> None:
        """A changed contact would be asked within `qualify_frequency`, whenever that is; now is soon enough."""
        try:
            await self._ask(Action("PJSIPQualify", (("Endpoint", name),)))
        except AmiRefused as error:
            log.info("%s cannot be asked whether it lives: %s", name, error.reason)

    async def check(self, before: Health, snapshot: Snapshot, numbers: Sequence[str]) -> tuple[Complaint, ...]:
        """What is worse than before, or does not come to where it should, after so long; nothing as soon as all is well. AmiError."""
        ends_at = self._reactor.seconds() + self._within_s
        complaints = await self._call(numbers, ends_at)
        names = sorted(before.reachable)
        trunks = [name for name in names if not name.isdigit()] or [
            name.partition(".")[0] for name in before.registered
        ]
        while before != Health():
            after = await self.look(trunks, [name for name in names if name.isdigit()])
            worse = find_worse(before, after, snapshot)
            if not worse:
                break
            if self._reactor.seconds() >= ends_at:
                return (*complaints, *worse)
            await deferLater(self._reactor, _AGAIN_S)
        return complaints

    async def _call(self, numbers: Sequence[str], ends_at: float) -> tuple[Complaint, ...]:
        if numbers and not self._can_call():
            log.warning("no test call: there is no AMI login that may place one")
            return ()
        calls = {str(secrets.randbelow(10**18)).zfill(18): ProbeCall(number) for number in numbers}
        self._calls |= calls
        try:
            for call_id in calls:
                await self._originate(
                    actions.originate(
                        f"Local/{call_id}@{CONTEXT_PROBE}/n",
                        channel_id=f"tandem-probe-{call_id}",
                        context=CONTEXT_PROBE,
                        exten="end",
                        timeout_s=self._within_s,
                    )
                )
            while any(call.problem is None for call in calls.values()) and self._reactor.seconds() < ends_at:
                waited: Deferred[None] = deferLater(self._reactor, _AGAIN_S)
                await waited
        finally:
            for call_id in calls:
                del self._calls[call_id]
        missing = f"a test call did not come to Tandem within {self._within_s:g} s"
        return tuple(
            Complaint(f"dids.{call.called}", "", missing if call.problem is None else call.problem)
            for call in calls.values()
            if call.problem != ""
        )
