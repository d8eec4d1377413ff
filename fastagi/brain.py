"""What the scripts may ask and tell, handed over by the composition root; never asks anything that could block."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from time import perf_counter
from typing import Any, Final, Protocol, TypeVar

from twisted.internet.defer import fail, succeed

from fastagi.session import Session
from tandem.domain.agents import AgentChange, AgentMissing, AgentsUnavailable, AgentWish
from tandem.domain.callbacks import Callback, CallbackWish
from tandem.domain.campaign_calls import Served
from tandem.domain.contacts import Contact
from tandem.domain.decisions import Decision
from tandem.domain.destinations import Destination
from tandem.domain.dictation import Dictation
from tandem.domain.features import Features, FeatureWish
from tandem.domain.nights import NightMode
from tandem.domain.outbound import TrunkTry
from tandem.domain.routing import QueueFacts, Target, resolve
from tandem.domain.snapshot import Snapshot
from tandem.domain.sounds import locate_prompt
from tandem.domain.surveys import SavedSurvey, Survey, SurveyAnswer, Surveyed, SurveyVisit
from tandem.domain.tolls import Verdict

T = TypeVar("T")

# What the guard gives on top of the time that Asterisk is busy with a prompt or a wait: the dialplan's own patience with a decision.
GUARD_S: Final = 4


def _no_facts(queue: str) -> None:
    """Unknown facts fail open."""


def _unknown_agent(_endpoint: str) -> bool:
    """Unknown facts fail open: the phone rings."""
    return True


def _no_campaign(uniqueid: str) -> None:
    """A call of no campaign: the dialplan has its destination."""


def _no_machine(_uniqueid: str) -> bool:
    """A call of no campaign: nobody counts it."""
    return False


async def _no_agents(endpoint: str, _wish: AgentWish, _is_wanted: Callable[[], bool]) -> AgentChange:
    """Nobody is an agent."""
    raise AgentMissing(endpoint)


async def _no_features(_endpoint: str, _wish: FeatureWish) -> Features:
    """Nobody sets anything."""
    raise AgentsUnavailable("phones set nothing here")


async def _no_nights(_endpoint: str, _schedule: str, _digits: str) -> NightMode:
    """Nobody switches anything."""
    raise AgentsUnavailable("schedules are not switched here")


async def _no_callbacks(_wish: CallbackWish) -> Callback:
    """Nobody is called back."""
    raise AgentsUnavailable("nobody is called back here")


def _owe_nothing(_queue: str, _caller: str, _trunk: str) -> str:
    """Nobody is called back."""
    return ""


async def _take_nothing(_callback_id: str) -> int:
    """Nobody is called back."""
    return 0


def _drop_nothing(_token: str) -> None:
    """There is nothing."""


def _keep_no_prompt(_endpoint: str, _wanted: Dictation, _token: str) -> Any:
    """Nobody records anything."""
    return fail(AgentsUnavailable("prompts are not recorded here"))


def _forget(decision: Decision) -> None:
    """For tests and tools that keep no story."""


def _no_survey(survey_id: int) -> None:
    """There are no surveys."""


def _not_surveyed(call_id: str) -> None:
    """No campaign's call."""


def _no_speech(_survey: Survey, _text: str, _known: Mapping[str, str]) -> tuple[str, None]:
    """Nothing is spoken."""
    return "", None


def _send_nothing(_url: str, _visit: SurveyVisit, _answers: tuple[SurveyAnswer, ...]) -> Any:
    """Nobody is told."""
    return succeed("")


def _no_probe(_call_id: str) -> None:
    """There is no test call."""


def _forget_noted(noted: SurveyVisit | SurveyAnswer) -> None:
    """For tests and tools that keep no results."""


def _admit_all(
    _endpoint: str, tries: Sequence[TrunkTry], _dialled: str, _called: str, _channel: str
) -> tuple[Verdict, tuple[TrunkTry, ...]]:
    """For tests and tools without a toll guard."""
    return Verdict(""), tuple(tries)


def _utc_now() -> datetime:
    return datetime.now(UTC)


class PromptLengths:
    """How long each prompt plays, learned while it plays: Asterisk tells at its end how far it came.

    It bounds how long a frozen Tandem can hold a caller who listens: the guard's timer is set to the prompt's length and a bit.
    """

    UNKNOWN_S = 120.0
    KEPT = 10_000

    def __init__(self) -> None:
        self._lengths: dict[tuple[str, str], float] = {}

    def read(self, language: str, prompt: str) -> float:
        """Seconds; UNKNOWN_S for a prompt that was never played to its end."""
        return self._lengths.get((language, prompt), self.UNKNOWN_S)

    def learn(self, language: str, prompt: str, endpos: int) -> None:
        """Takes the position of an undisturbed end, in samples of 1/8000 s."""
        if len(self._lengths) < self.KEPT:
            self._lengths[language, prompt] = endpos / 8000


class ProbeAsked(Protocol):
    """A test call: what is called, and what the script found wrong (empty: nothing)."""

    called: str
    problem: str | None


@dataclass(frozen=True, slots=True)
class Brain:
    """The collaborators of every script.

    snapshot: the live snapshot; a script reads it once. queue_facts: what AMI says of a queue right now, None when unknown.
    agent_works: whether an endpoint's agent is logged in and does not pause.
    serve_answered: the call id of an answered campaign call -> where the person goes; None for a call that is none of ours.
    note_machine: an answering machine answered that campaign call; whether it is one of ours.
    change_agent: endpoint, what they want and whether they still wait for it -> what it came to, or what `Roster.decide` raises.
    look_up: caller and called number -> who that is, or a Deferred of it that fires with None when nobody knows in time; None where
    nobody is asked.
    set_features: endpoint and wish -> what is set at its phone now, or what `tandem.features` raises.
    set_night: endpoint, schedule and the digits after its code -> what the schedule is now, or what `tandem.nights` raises.
    keep_callback: what a caller wants -> what is kept of it, CallbackRefused, or AgentsUnavailable where it cannot be kept now.
    find_owed: queue, caller and trunk -> the id of the callback that this caller is owed there, '' for none. take_back: such an id, as the
    caller has called again -> their place in the queue, 0 where they have none any more; it never fails.
    menus: menu scripts may ask `prompt_lengths`. record takes each decision, also those that the caller cut short. sounds_dir: of the
    uploaded sounds, as Asterisk sees it.

    find_probe: a test call of ours, by its id.

    For prompts that a phone records: locate_dictation: a token -> where Asterisk records it, without a suffix; keep_prompt: endpoint, prompt and
    token -> a Deferred that fires once it is in place, and fails with SoundRefused or AgentsUnavailable; drop_prompt: what is not kept goes;
    prompt_max_s: how long one may be.

    For surveys: find_survey by its number; find_surveyed: whom a campaign's call has reached; speak_survey: (what is played now, a
    Deferred with what would be better, or None); note_visit and note_answer keep results; recordings_dir: where Asterisk records, '' for
    nowhere; send_answers: address, visit and answers -> a Deferred with what the address says ('' for nothing, it never fails); send_wait_s: how
    long somebody waits for that; speak_wait_s: how long somebody waits for a text of their own.

    admit: endpoint ('' for none), trunks, dialled number, `OutboundCall.number` and channel (uniqueid) of a call outside -> the toll guard's verdict, and the trunks that it leaves.
    """

    snapshot: Callable[[], Snapshot]
    queue_facts: Callable[[str], QueueFacts | None] = _no_facts
    agent_works: Callable[[str], bool] = _unknown_agent
    serve_answered: Callable[[str], Served | None] = _no_campaign
    note_machine: Callable[[str], bool] = _no_machine
    change_agent: Callable[[str, AgentWish, Callable[[], bool]], Awaitable[AgentChange]] = _no_agents
    set_features: Callable[[str, FeatureWish], Awaitable[Features]] = _no_features
    set_night: Callable[[str, str, str], Awaitable[NightMode]] = _no_nights
    keep_callback: Callable[[CallbackWish], Awaitable[Callback]] = _no_callbacks
    find_owed: Callable[[str, str, str], str] = _owe_nothing
    take_back: Callable[[str], Awaitable[int]] = _take_nothing
    now: Callable[[], datetime] = _utc_now
    record: Callable[[Decision], None] = _forget
    prompt_lengths: PromptLengths = field(default_factory=PromptLengths)
    sounds_dir: str = ""
    find_probe: Callable[[str], ProbeAsked | None] = _no_probe
    locate_dictation: Callable[[str], str] = str
    keep_prompt: Callable[[str, Dictation, str], Any] = _keep_no_prompt
    drop_prompt: Callable[[str], object] = _drop_nothing
    prompt_max_s: float = 600.0
    find_survey: Callable[[int], SavedSurvey | None] = _no_survey
    find_surveyed: Callable[[str], Surveyed | None] = _not_surveyed
    speak_survey: Callable[[Survey, str, Mapping[str, str]], tuple[str, Any]] = _no_speech
    note_visit: Callable[[SurveyVisit], None] = _forget_noted
    note_answer: Callable[[SurveyAnswer], None] = _forget_noted
    recordings_dir: str = ""
    speak_wait_s: float = 3.0
    send_answers: Callable[[str, SurveyVisit, tuple[SurveyAnswer, ...]], Any] = _send_nothing
    send_wait_s: float = 8.0
    look_up: Callable[[str, str], Any] | None = None
    admit: Callable[[str, Sequence[TrunkTry], str, str, str], tuple[Verdict, tuple[TrunkTry, ...]]] = _admit_all

    def locate(self, prompt: str) -> str:
        """What Asterisk is given to play a prompt."""
        return locate_prompt(prompt, self.sounds_dir)


@dataclass(slots=True)
class Case:
    """One session on its way to a decision: what is known and what was found so far."""

    session: Session
    snapshot: Snapshot
    decided_at: datetime
    script: str
    called: str
    caller: str
    reasons: list[str] = field(default_factory=list)
    outcome: str = "cut short"
    started: float = field(default_factory=perf_counter)
    listening_s: float = 0.0
    contact: Contact | None = None

    def follow(self, destination: Destination, now: datetime) -> Target:
        """Where a destination leads right now; the steps become reasons."""
        target, reasons = resolve(self.snapshot, destination, now)
        self.reasons.extend(reasons)
        return target

    async def listen(self, waiting: Awaitable[T]) -> T:
        """Awaits what is Asterisk's and the caller's time, not ours."""
        started = perf_counter()
        try:
            return await waiting
        finally:
            self.listening_s += perf_counter() - started

    async def renew_guard(self, busy_s: float) -> None:
        """The dialplan's guard goes off when Asterisk was busy for so long, and a moment more."""
        await self.listen(self.session.set_autohangup(int(busy_s) + 1 + GUARD_S))

    def close(self) -> Decision:
        """The decision as it stands."""
        environment = self.session.environment
        computing_s = perf_counter() - self.started - self.listening_s
        # By position: names would cost twice as much, for every call.
        return Decision(
            self.decided_at,
            self.script,
            environment.uniqueid,
            environment.channel,
            self.called,
            self.caller,
            tuple(self.reasons),
            self.outcome,
            computing_s,
            self.snapshot.revision,
            self.contact,
        )


def read_trunk(channel: str, endpoints: Mapping[str, object]) -> str:
    """`carrier` of `PJSIP/carrier-0000002a`; empty where the channel is of none of `endpoints`."""
    technology, _, rest = channel.partition("/")
    name = rest.rpartition("-")[0]
    return name if technology == "PJSIP" and name in endpoints else ""
