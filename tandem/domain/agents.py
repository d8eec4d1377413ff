"""Who is logged in to which queue and who pauses, as it was last asked for, and what a wish makes of it; never asks Asterisk.

An endpoint that is a member of a queue is logged in until it logs out; one that is none may log in where the queue allows it
(`open_login`), and is out until then. Whoever pauses pauses in all queues; the end of the last login is the end of the pause.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from tandem.domain.snapshot import Snapshot

# `switch-…` is the other of the two: what a feature code means.
Wish = Literal["login", "logout", "switch-login", "pause", "unpause", "switch-pause"]
AgentEvent = Literal["login", "logout", "pause", "unpause"]


class AgentMissing(KeyError):
    """There is no endpoint of this extension."""


class AgentRefused(ValueError):
    """The agent cannot have it: `field` of the wish breaks `rule`."""

    def __init__(self, field: str, rule: str) -> None:
        super().__init__(f"{field} {rule}".strip())
        self.field, self.rule = field, rule


class AgentNotThere(Exception):
    """It takes an agent who is logged in."""


class AgentWithdrawn(Exception):
    """Whoever asked for it does not wait any more; nothing was changed."""


class AgentsUnavailable(Exception):
    """It cannot be done now, and nothing was changed."""


@dataclass(frozen=True, slots=True)
class AgentLogin:
    """One endpoint in one queue. since: seconds since 1970; by: who asked for it."""

    endpoint: str
    queue: str
    is_logged_in: bool
    since: float
    by: str


@dataclass(frozen=True, slots=True)
class AgentPause:
    """Whether one endpoint pauses, in all its queues. since: seconds since 1970; by: who asked for it."""

    endpoint: str
    is_paused: bool
    reason: str
    since: float
    by: str


@dataclass(frozen=True, slots=True)
class AgentSessions:
    """All that was asked for: (endpoint, queue) -> login, endpoint -> pause. What nobody asked for is as configured."""

    logins: Mapping[tuple[str, str], AgentLogin] = field(default_factory=dict)
    pauses: Mapping[str, AgentPause] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AgentWish:
    """What somebody wants of an agent. queues: of a login or logout; none is all that are meant."""

    wish: Wish
    queues: tuple[str, ...] = ()
    reason: str = ""


@dataclass(frozen=True, slots=True)
class AgentChange:
    """What a wish comes to. event: what happened, also where nothing had to change; queues: those it is about."""

    endpoint: str
    event: AgentEvent
    queues: tuple[str, ...]
    reason: str
    by: str
    logins: tuple[AgentLogin, ...] = ()
    pause: AgentPause | None = None


class Roster:
    """Who may be where, and who is, by one snapshot and one state of the sessions."""

    def __init__(self, snapshot: Snapshot, sessions: AgentSessions) -> None:
        self._snapshot = snapshot
        self._sessions = sessions
        self._members: dict[str, dict[str, int]] = {}
        for queue in snapshot.queues.values():
            for member in queue.members:
                self._members.setdefault(member.endpoint, {})[queue.name] = member.penalty
        self._entered: dict[str, set[str]] = {
            endpoint: {name for name in queues if (endpoint, name) not in sessions.logins}
            for endpoint, queues in self._members.items()
        }
        for (endpoint, name), login in sessions.logins.items():
            if login.is_logged_in and self._may_enter(endpoint, name):
                self._entered.setdefault(endpoint, set()).add(name)

    @property
    def sessions(self) -> AgentSessions:
        """What was asked for."""
        return self._sessions

    def list_agents(self) -> list[str]:
        """Endpoints that are members of a queue, or logged in to one."""
        return sorted({*self._members, *self._entered} & self._snapshot.endpoints.keys())

    def list_members(self) -> Iterator[tuple[str, str, int]]:
        """(queue, endpoint, penalty) of everybody who is to be called."""
        for endpoint, entered in self._entered.items():
            for name in sorted(entered):
                yield name, endpoint, self._members.get(endpoint, {}).get(name, 0)

    def list_entered(self, endpoint: str) -> list[str]:
        """The queues that it is logged in to."""
        return sorted(self._entered.get(endpoint, ()))

    def list_queues(self, endpoint: str) -> list[str]:
        """The queues that it is a member of, or logged in to."""
        return sorted({*self._members.get(endpoint, ()), *self._entered.get(endpoint, ())})

    def read_penalty(self, endpoint: str, queue: str) -> int | None:
        """As configured; None where it is no member."""
        return self._members.get(endpoint, {}).get(queue)

    def read_pause(self, endpoint: str) -> AgentPause | None:
        """What was asked for last; None where nobody ever asked."""
        return self._sessions.pauses.get(endpoint)

    def works(self, endpoint: str) -> bool:
        """Whether they are in a queue and do not pause; somebody who never was in one is an endpoint like any other, and works."""
        pause = self.read_pause(endpoint)
        if pause is not None and pause.is_paused:
            return False
        is_agent = endpoint in self._members or any(name == endpoint for name, _ in self._sessions.logins)
        return not is_agent or bool(self._entered.get(endpoint))

    def list_stale(self) -> tuple[list[tuple[str, str]], list[str]]:
        """Logins and pauses of what is not configured any more: whoever gets the extension next begins anew."""
        logins = [key for key in self._sessions.logins if not self._may_enter(*key)]
        return logins, [endpoint for endpoint in self._sessions.pauses if endpoint not in self._snapshot.endpoints]

    def decide(self, endpoint: str, wish: AgentWish, at: float, by: str) -> AgentChange:
        """What a wish comes to; AgentMissing, AgentRefused, AgentNotThere."""
        if endpoint not in self._snapshot.endpoints:
            raise AgentMissing(endpoint)
        for name in wish.queues:
            if name not in self._snapshot.queues:
                raise AgentRefused("queues", f"must be names of queues, and there is no {name!r}")
        if wish.wish in ("pause", "unpause", "switch-pause"):
            return self._decide_pause(endpoint, wish, at, by)
        return self._decide_login(endpoint, wish, at, by)

    def _decide_pause(self, endpoint: str, wish: AgentWish, at: float, by: str) -> AgentChange:
        before = self.read_pause(endpoint) or AgentPause(endpoint, False, "", at, by)
        # A reason given anew is a pause, not the end of one.
        goes_on = before.is_paused and wish.reason in ("", before.reason)
        pauses = wish.wish == "pause" or (wish.wish == "switch-pause" and not goes_on)
        if pauses and not self.list_entered(endpoint):
            raise AgentNotThere(f"endpoint {endpoint} is logged in to no queue")
        reason = wish.reason if pauses else ""
        is_same = (before.is_paused, before.reason) == (pauses, reason)
        pause = before if is_same else AgentPause(endpoint, pauses, reason, at, by)
        event: AgentEvent = "pause" if pauses else "unpause"
        return AgentChange(endpoint, event, tuple(self.list_entered(endpoint)), reason, by, pause=pause)

    def _decide_login(self, endpoint: str, wish: AgentWish, at: float, by: str) -> AgentChange:
        entered = set(self.list_entered(endpoint))
        is_in = entered & set(wish.queues) if wish.queues else entered
        is_login = wish.wish == "login" or (wish.wish == "switch-login" and not is_in)
        meant = sorted(set(wish.queues)) or (self.list_queues(endpoint) if is_login else sorted(entered))
        for name in meant:
            if not self._may_enter(endpoint, name):
                rule = f"must be queues that endpoint {endpoint} is a member of or that are open to everybody: {name} is neither"
                raise AgentRefused("queues", rule)
        if is_login and not meant:
            raise AgentRefused("queues", f"must name a queue: endpoint {endpoint} is a member of none")
        logins = tuple(AgentLogin(endpoint, name, is_login, at, by) for name in meant if (name in entered) != is_login)
        pause = self.read_pause(endpoint)
        ends_pause = not is_login and pause is not None and pause.is_paused and not entered - set(meant)
        return AgentChange(
            endpoint, "login" if is_login else "logout", tuple(meant), "", by, logins,
            AgentPause(endpoint, False, "", at, by) if ends_pause else None,
        )  # fmt: skip

    def _may_enter(self, endpoint: str, name: str) -> bool:
        queue = self._snapshot.queues.get(name)
        if queue is None or endpoint not in self._snapshot.endpoints:
            return False
        return queue.open_login or name in self._members.get(endpoint, ())


def read_code(snapshot: Snapshot, code: str, digits: str) -> AgentWish:
    """What a feature code asks for. code: login or pause; digits: what was dialled after it. AgentRefused."""
    if code == "login":
        if not digits:
            return AgentWish("switch-login")
        names = tuple(queue.name for queue in snapshot.queues.values() if queue.extension == digits)
        if not names:
            raise AgentRefused("queues", f"must be the extension of a queue, not {digits}")
        return AgentWish("switch-login", names)
    if digits and not (digits.isascii() and digits.isdecimal()):
        raise AgentRefused("reason", "must be digits")
    named = {str(number): reason for number, reason in enumerate(snapshot.general.agent_pause_reasons, 1)}
    return AgentWish("switch-pause", reason=named.get(digits, digits))
