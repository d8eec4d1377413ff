"""What people ask for at a telephone: a code that they dial, or a key in a queue; each is audited in the transaction that keeps it.

Where it cannot be done now they hear so (AgentsUnavailable); never an error of the database's or of AMI's to a script.
"""

import logging
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, TypeVar

from twisted.internet.defer import Deferred

from tandem.agents import Agents
from tandem.ami.errors import AmiError
from tandem.audio import ToolFailed, ToolMissing, ToolStopped
from tandem.callbacks import Callbacks
from tandem.domain.agents import AgentChange, AgentsUnavailable, AgentWish
from tandem.domain.callbacks import Callback, CallbackWish
from tandem.domain.dictation import Dictation
from tandem.domain.features import Features, FeatureWish
from tandem.domain.nights import NightMode, read_night_digits
from tandem.domain.schedules import Mode
from tandem.domain.snapshot import Snapshot
from tandem.features import PhoneFeatures
from tandem.nights import Nights
from tandem.sounds import Sounds, SoundsBusy
from tandem.store.audit import AuditEntry, record_audit
from tandem.store.database import Store
from tandem.store.errors import StoreError
from tandem.store.sounds import SoundExists, SoundMissing

log = logging.getLogger(__name__)

T = TypeVar("T")
Work = Callable[[Any], T]


class PhoneWishes:
    """The use-cases of others, as phones have them. Each raises AgentsUnavailable, and what its use-case refuses."""

    def __init__(
        self,
        store: Store,
        agents: Agents,
        features: PhoneFeatures,
        nights: Nights,
        callbacks: Callbacks,
        sounds: Sounds,
    ) -> None:
        self._store = store
        self._sounds = sounds
        self._agents, self._features, self._nights, self._callbacks = agents, features, nights, callbacks

    async def change_agent(self, endpoint: str, wish: AgentWish, is_wanted: Callable[[], bool]) -> AgentChange:
        """Logs in or out, pauses or works again."""
        by = _name(endpoint)
        commit = self._audited(by, _describe_agent)
        return await _told(self._agents.change(endpoint, wish, by=by, commit=commit, is_wanted=is_wanted))

    async def set_features(self, endpoint: str, wish: FeatureWish) -> Features:
        """Do not disturb, and forwards."""
        by = _name(endpoint)
        commit = self._audited(by, _describe_features)
        return await _told(self._features.change(endpoint, wish, by=by, commit=commit))

    async def set_night(self, endpoint: str, schedule: str, digits: str) -> NightMode:
        """What a schedule is from now on."""
        by = _name(endpoint)

        def decide(snapshot: Snapshot, now: Mode) -> Mode:
            return read_night_digits(snapshot, schedule, endpoint, digits, now)

        commit = self._audited(by, _describe_night)
        return await _told(self._nights.change(schedule, decide, by=by, commit=commit))

    async def keep_prompt(self, endpoint: str, wanted: Dictation, token: str) -> None:
        """What a phone has recorded and heard is callers' from now on; SoundRefused for what holds nothing."""
        target = f"sounds/{wanted.name}" + (f" ({wanted.language})" if wanted.language else "")
        commit: Callable[[Work[None]], Awaitable[None]] = self._audited(
            _name(endpoint), lambda _: ("sounds/update", target)
        )
        try:
            await _told(self._sounds.take(wanted.name, wanted.language, token, commit))
        except (SoundExists, SoundMissing, SoundsBusy, ToolMissing, ToolStopped, ToolFailed, OSError) as error:
            raise AgentsUnavailable(f"{wanted.prompt} cannot be kept: {error}") from error
        log.info("phone %s recorded %s %s", endpoint, wanted.prompt, wanted.language)

    def drop_prompt(self, token: str) -> None:
        """A phone does not keep what it has recorded."""
        Deferred.fromCoroutine(self._sounds.drop(token)).addErrback(
            lambda failure: log.warning("what a phone dictated stays: %s", failure.value)
        )

    async def keep_callback(self, wish: CallbackWish) -> Callback:
        """A caller in a queue wants to be called back."""
        return await _told(self._callbacks.request(wish))

    async def take_back(self, callback_id: str) -> int:
        """A caller is back who is owed a callback; 0 where that cannot be told now."""
        try:
            return await self._callbacks.take_back(callback_id)
        except StoreError as error:
            log.warning("callback %s stays: %s", callback_id, error)
            return 0

    def _audited(self, by: str, describe: Callable[[T], tuple[str, str] | None]) -> Callable[[Work[T]], Awaitable[T]]:
        """Commits a change and its audit entry (action and target, if it is worth one) as one transaction."""

        def record(db: Any, work: Work[T]) -> T:
            change = work(db)
            if (told := describe(change)) is not None:
                action, target = told
                record_audit(db, AuditEntry(at=datetime.now(UTC), who=by, source="phone", action=action, target=target))
            return change

        return lambda work: self._store.run(record, work)


def _name(endpoint: str) -> str:
    return f"phone {endpoint}"


def _describe_agent(change: AgentChange) -> tuple[str, str] | None:
    """Only of what changed something."""
    if not change.logins and change.pause is None:
        return None
    action = "agents/login" if change.event in ("login", "logout") else "agents/pause"
    return action, f"agents/{change.endpoint}/{change.event}"


def _describe_features(features: Features) -> tuple[str, str]:
    return "features/update", f"features/{features.extension}"


def _describe_night(night: NightMode) -> tuple[str, str]:
    return "night_modes/update", f"night_modes/{night.schedule}/{night.mode}"


async def _told(change: Awaitable[T]) -> T:
    try:
        return await change
    except (AmiError, StoreError) as error:
        raise AgentsUnavailable(str(error)) from error
