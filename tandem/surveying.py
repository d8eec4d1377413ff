"""Surveys: checks and changes them, keeps the ones that calls are asked, and stores what they answer; never decides what a key means.

Calls ask memory, not the database: a survey is there from its commit on. Answers are stored a few times a second, each from the moment
it is given; while the database is away they wait here.
"""

import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from twisted.internet.defer import Deferred, DeferredLock

from tandem.audio import ToolMissing
from tandem.campaigning import Commit
from tandem.domain.originate import CallRefused, check_destination
from tandem.domain.snapshot import Snapshot
from tandem.domain.sounds import PROMPT_PREFIX, SoundRefused
from tandem.domain.surveys import (
    SavedSurvey,
    Survey,
    SurveyAnswer,
    Surveyed,
    SurveyVisit,
    check_survey,
    fill,
    has_placeholders,
    list_destinations,
    list_sounds,
    list_texts,
    read_said,
    write_answers,
)
from tandem.regular import Regular
from tandem.speech import SpeechFailed
from tandem.spoken import Spoken
from tandem.store.database import Store
from tandem.store.errors import StoreError
from tandem.store.rows import LISTED, listed
from tandem.store.surveys import (
    SurveyMissing,
    SurveyUsed,
    create_survey,
    delete_survey,
    load_surveys,
    record_visits,
    update_survey,
)

log = logging.getLogger(__name__)

FLUSH_EVERY_S: Final = 0.2
AGAIN_S: Final = 1.0
MAX_UNSAVED: Final = 100_000
_JSON: Final = {"content-type": "application/json"}


class SurveyRefused(ValueError):
    """The survey does not fit itself or the live PBX, or cannot be spoken; each problem is (field, rule)."""

    def __init__(self, problems: tuple[tuple[str, str], ...]) -> None:
        super().__init__("; ".join(f"{where} {rule}" for where, rule in problems))
        self.problems = problems


@dataclass(slots=True)
class _Unsaved:
    visits: list[SurveyVisit] = field(default_factory=list)
    answers: list[SurveyAnswer] = field(default_factory=list)


class Surveys(Regular):
    """The use-cases, and the book that calls read."""

    name = "surveys"

    def __init__(
        self,
        store: Store,
        spoken: Spoken,
        snapshot: Callable[[], Snapshot],
        clock: Any,
        now: Callable[[], float] = time.time,
        exchange: Callable[[str, Mapping[str, str], bytes], Awaitable[tuple[int, bytes]]] | None = None,
    ) -> None:
        super().__init__(clock)
        self._exchange = exchange
        self._store, self._spoken, self._snapshot, self._now, self._clock = store, spoken, snapshot, now, clock
        self._book: dict[int, SavedSurvey] = {}
        self._is_loaded = False
        self._unsaved = _Unsaved()
        self._saving = DeferredLock()
        self._tried_at = float("-inf")
        self._is_failing = False
        self.repeat(self._work, FLUSH_EVERY_S)

    async def stopService(self) -> None:
        """Stores what is left."""
        super().stopService()
        await self.save()

    # -------------------------------------------------------------------------------------------------- use-cases

    async def find_prompt_users(self, prompt: str) -> tuple[tuple[str, str], ...]:
        """Which surveys play it, and where: (`surveys/7`, `questions[0].sound`); StoreError."""
        return tuple(
            (f"surveys/{saved.survey_id}", where)
            for saved in await self._store.read(load_surveys)
            for where, sound in list_sounds(saved.survey)
            if sound == prompt
        )

    async def create(
        self,
        survey: Survey,
        *,
        author: str,
        commit: Commit[SavedSurvey],
        words: Mapping[str, Any] | None = None,
        within: Snapshot | None = None,
    ) -> SavedSurvey:
        """A new one, whose texts are spoken already; SurveyRefused. within: the PBX that it must fit, where that is not the live one yet."""
        await self._prepare(survey, within)
        at = self._now()

        def work(db: Any) -> SavedSurvey:
            _check_sounds(db, survey)
            return create_survey(db, survey, author=author, at=at, words=words)

        return self._keep(await commit(work))

    async def replace(
        self,
        survey_id: int,
        survey: Survey,
        *,
        commit: Commit[SavedSurvey],
        check: Callable[[Any], object] = lambda _: None,
        version: int | None = None,
        words: Mapping[str, Any] | None = None,
        within: Snapshot | None = None,
    ) -> SavedSurvey:
        """Other questions; calls that are in it go on as they began. `check` may raise, within the transaction; SurveyRefused."""
        await self._prepare(survey, within)
        at = self._now()

        def work(db: Any) -> SavedSurvey:
            check(db)
            _check_sounds(db, survey)
            return update_survey(db, survey_id, survey, at, version=version, words=words)

        return self._keep(await commit(work))

    async def delete(
        self,
        *survey_ids: int,
        commit: Commit[list[int]],
        check: Callable[[Any], object] = lambda _: None,
        keeps_used: bool = False,
    ) -> None:
        """Takes them away; their answers stay. SurveyMissing, SurveyUsed; keeps_used: those that are used, or gone already, are left as they are."""

        def work(db: Any) -> list[int]:
            check(db)
            gone = []
            for survey_id in survey_ids:
                try:
                    delete_survey(db, survey_id)
                except (SurveyMissing, SurveyUsed):
                    if not keeps_used:
                        raise
                else:
                    gone.append(survey_id)
            return gone

        for survey_id in await commit(work):
            self._book.pop(survey_id, None)

    def _keep(self, saved: SavedSurvey) -> SavedSurvey:
        self._book[saved.survey_id] = saved
        return saved

    async def _prepare(self, survey: Survey, within: Snapshot | None) -> None:
        """Checks, and speaks every text that is the same for everybody."""
        problems = list(check_survey(survey))
        for where, destination in list_destinations(survey):
            if hasattr(destination, "hangup"):
                continue
            try:
                check_destination(within or self._snapshot(), destination, ())
            except CallRefused as refused:
                problems.append((f"{where}{refused.field.removeprefix('destination')}", refused.rule))
        if problems:
            raise SurveyRefused(tuple(problems))
        # Also of those that are another for each person: what is known of nobody is what is heard when speaking takes too long.
        for where, text in list_texts(survey):
            said = fill(text, {})
            if said:
                try:
                    await self._spoken.speak(said, survey.voice, self._language(survey))
                except (SpeechFailed, ToolMissing, SoundRefused) as error:
                    raise SurveyRefused(((where, f"cannot be spoken: {error}"),)) from error

    def _language(self, survey: Survey) -> str:
        return survey.language or self._snapshot().general.language

    # ------------------------------------------------------------------------------------------------------ calls

    def find(self, survey_id: int) -> SavedSurvey | None:
        """The survey that a call is asked; None where there is none, or none could be read yet."""
        return self._book.get(survey_id)

    def play(self, survey: Survey, text: str, known: Mapping[str, str]) -> "tuple[str, Deferred[str] | None]":
        """(what is played now, what would be better once it is spoken, or None where that is it already); '' for nothing."""
        voice, language = survey.voice, self._language(survey)
        plain = self._spoken.locate(fill(text, {}), voice, language)
        fallback = str(plain) if self._spoken.is_ready(plain) else ""
        said = fill(text, known)
        if not said:
            return "", None
        if not has_placeholders(text) and fallback:
            return fallback, None
        mine = self._spoken.locate(said, voice, language, personal=True)
        if self._spoken.is_ready(mine):
            return str(mine), None
        speaking = Deferred.fromCoroutine(self._speak(said, voice, language, fallback))
        return fallback, speaking

    async def _speak(self, text: str, voice: str, language: str, fallback: str) -> str:
        try:
            return str(await self._spoken.speak(text, voice, language, personal=True))
        except Exception as error:  # noqa: BLE001 - the call goes on without it
            log.warning("a text of a survey cannot be spoken: %s", error)
            return fallback

    def prepare(self, surveyed: Surveyed | None) -> None:
        """Somebody's telephone rings: speaks what will be said to them alone."""
        saved = self._book.get(surveyed.survey_id) if surveyed is not None and surveyed.survey_id is not None else None
        if saved is None or surveyed is None:
            return
        for _, text in list_texts(saved.survey):
            if has_placeholders(text):
                self.play(saved.survey, text, surveyed.known)

    def note_visit(self, visit: SurveyVisit) -> None:
        """A call began, or is over."""
        self._unsaved.visits.append(visit)

    def note_answer(self, answer: SurveyAnswer) -> None:
        """Somebody answered."""
        self._unsaved.answers.append(answer)

    def send_answers(self, url: str, visit: SurveyVisit, answers: tuple[SurveyAnswer, ...]) -> "Deferred[str]":
        """What an address says to the answers of a call, to be heard; '' where it says nothing, or cannot. Never fails."""
        return Deferred.fromCoroutine(self._send(url, visit, answers))

    async def _send(self, url: str, visit: SurveyVisit, answers: tuple[SurveyAnswer, ...]) -> str:
        if self._exchange is None:
            return ""
        try:
            status, body = await self._exchange(url, _JSON, write_answers(visit, answers))
        except Exception as error:  # noqa: BLE001 - somebody else's server; the call goes on without it
            log.warning("answers of call %s are not sent: %s", visit.call_id, error)
            return ""
        if status // 100 != 2:
            log.warning("answers of call %s: their address answers %d", visit.call_id, status)
            return ""
        return read_said(body)

    # ----------------------------------------------------------------------------------------------------- storing

    def _work(self) -> None:
        if self._saving.locked or (self._is_failing and self._clock.seconds() - self._tried_at < AGAIN_S):
            return
        if not self._is_loaded or self._unsaved.visits or self._unsaved.answers:
            Deferred.fromCoroutine(self.save())

    async def save(self) -> None:
        """Stores what was noted until now, and reads the surveys where that is still to be done; what cannot be is tried again later."""
        async with self._saving:
            batch, self._unsaved = self._unsaved, _Unsaved()
            self._tried_at = self._clock.seconds()
            try:
                if not self._is_loaded:
                    found = await self._store.read(load_surveys)
                    self._book = {saved.survey_id: saved for saved in found} | self._book
                    self._is_loaded = True
                if batch.visits or batch.answers:
                    await self._store.run(record_visits, batch.visits, batch.answers)
                self._is_failing = False
            except StoreError as error:
                self._unsaved.visits[:0] = batch.visits[-MAX_UNSAVED:]
                self._unsaved.answers[:0] = batch.answers[-MAX_UNSAVED:]
                if not self._is_failing:
                    log.warning("answers of surveys wait for the database: %s", error)
                self._is_failing = True


def _check_sounds(db: Any, survey: Survey) -> None:
    """SurveyRefused where a sound of ours is played that is not there; Asterisk's own are the admin's."""
    ours = {
        sound.removeprefix(PROMPT_PREFIX): where
        for where, sound in list_sounds(survey)
        if sound.startswith(PROMPT_PREFIX)
    }
    cursor = db.execute_sql(f"SELECT DISTINCT name FROM sounds WHERE name IN {LISTED}", (listed(ours),))  # noqa: S608 - our own text
    known = {row[0] for row in cursor.fetchall()}
    problems = tuple((where, f"there is no sound {name}") for name, where in ours.items() if name not in known)
    if problems:
        raise SurveyRefused(problems)
