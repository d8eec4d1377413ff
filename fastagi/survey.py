"""The script of a survey: plays questions, reads keys, records what is said; what a key means is decided in tandem.domain.surveys, never here.

Fails open: when Tandem dies in the middle, or there is no such survey, the dialplan tells the person so. What was answered until then is
noted already, also when the person hangs up half-way. As with menus, the guard's timer is renewed for each wait and a bit more.
"""

from collections.abc import Mapping
from dataclasses import replace
from secrets import token_hex
from typing import Any

from fastagi.brain import Brain, Case
from fastagi.dispatch import conclude
from fastagi.hearing import ALL_KEYS
from fastagi.session import AgiError, ChannelGone, PlaybackFailed, Session
from tandem.domain.destinations import HangupDestination
from tandem.domain.surveys import (
    SILENT_S,
    Answer,
    End,
    Outcome,
    Question,
    Step,
    Survey,
    SurveyAnswer,
    SurveyVisit,
    begin,
    collect,
    phrase,
    step,
)

MAX_KEYS = 20
# What an address of the answers has said, as texts name it.
RESULT = "result"
# Silence that ends a recording.
QUIET_S = 4
RECORDING_FORMAT = "wav"


async def survey(brain: Brain, session: Session) -> None:
    """`AGI(agi://…/survey,NUMBER)`; the channel's uniqueid is the call's id."""
    environment = session.environment
    name = environment.args[0] if environment.args else ""
    case = Case(session, brain.snapshot(), brain.now(), "survey", name, environment.callerid or "")
    found = brain.find_survey(int(name)) if name.isascii() and name.isdecimal() and len(name) < 17 else None
    if found is None:
        case.reasons.append(f"survey {name!r} is unknown")
        await conclude(brain, case, None)
        return
    asking = _Asking(brain, case, found.survey_id, found.survey)
    await asking.run()


class _Asking:
    """One person in one survey."""

    def __init__(self, brain: Brain, case: Case, survey_id: int, chosen: Survey) -> None:
        self._brain, self._case, self._survey = brain, case, chosen
        self._session: Session = case.session
        environment = self._session.environment
        called = brain.find_surveyed(environment.uniqueid)
        self._known = called.known if called is not None else {"number": environment.callerid or ""}
        self._visit = SurveyVisit(
            visit_id=token_hex(16),
            survey_id=survey_id,
            call_id=environment.uniqueid[:100],
            campaign_id=called.campaign_id if called is not None else None,
            number_id=called.number_id if called is not None else None,
            phone_number=called.phone_number if called is not None else (environment.callerid or "")[:40],
            started_at=case.decided_at.timestamp(),
        )
        self._given: list[SurveyAnswer] = []
        self._language = chosen.language or environment.language

    async def run(self) -> None:
        """Until the end or the hang-up, whatever that is noted."""
        self._brain.note_visit(self._visit)
        outcome: Outcome | None = None
        try:
            end = await self._ask()
            outcome = end.outcome
            self._case.reasons.append(end.reason)
            self._close(outcome)
            await conclude(self._brain, self._case, self._case.follow(end.destination, self._brain.now()))
        except ChannelGone:
            if outcome is None:
                self._case.outcome = "caller hung up in the survey"
                self._brain.record(self._case.close())
            raise
        finally:
            if outcome is None:
                self._close("hung-up")

    def _close(self, outcome: Outcome) -> None:
        self._brain.note_visit(replace(self._visit, ended_at=self._brain.now().timestamp(), outcome=outcome))

    async def _ask(self) -> End:
        await self._case.listen(self._session.exec("Answer", ",i"))
        await self._case.renew_guard(1)
        if self._survey.language:
            await self._case.listen(self._session.set_variable("CHANNEL(language)", self._survey.language))
        visit = begin(self._survey)
        deadline = self._brain.now().timestamp() + SILENT_S
        while True:
            question = self._survey.find(visit.question)
            keys = await self._hear(question, phrase(question, visit))
            taken = step(self._survey, visit, keys)
            self._case.reasons.append(taken.reason)
            await self._do(taken)
            if isinstance(taken.following, End):
                return taken.following
            if not self._given and self._brain.now().timestamp() > deadline:
                return End("gave-up", HangupDestination(), f"nothing was answered in {SILENT_S:g} s")
            visit = taken.following

    async def _do(self, taken: Step) -> None:
        """What a key does, in the order in which a person takes it: heard, recorded, stored."""
        if taken.answer is not None and not taken.record_s:
            self._note(taken.answer, "")
        if taken.url:
            await self._send(taken.url, taken.text)
        elif taken.text or taken.sound is not None:
            await self._play(taken.sound, taken.text, "")
        if taken.record_s and taken.answer is not None:
            await self._record(taken.answer, taken.record_s)

    async def _send(self, url: str, text: str) -> None:
        """Tells an address what was answered, and the person what it says. Fails open: who is slow or away says nothing."""
        asked = self._brain.send_answers(url, self._visit, tuple(self._given))
        said: list[str] = []
        asked.addCallback(said.append)
        await self._wait_until(said, self._brain.send_wait_s, "")
        if not said or not said[0]:
            self._case.reasons.append("the address of the answers says nothing")
            return
        known = {**self._known, RESULT: said[0]}
        await self._play(None, text or f"<{RESULT}>", "", known)

    def _note(self, answer: Answer, recording: str) -> None:
        visit = self._visit
        self._given.append(
            SurveyAnswer(
                visit_id=visit.visit_id,
                survey_id=visit.survey_id,
                call_id=visit.call_id,
                campaign_id=visit.campaign_id,
                number_id=visit.number_id,
                phone_number=visit.phone_number,
                position=len(self._given),
                question=answer.question,
                key=answer.key,
                value=answer.value,
                label=answer.label,
                recording=recording,
                answered_at=self._brain.now().timestamp(),
            )
        )
        self._brain.note_answer(self._given[-1])

    async def _record(self, answer: Answer, most_s: int) -> None:
        """What the person says, up to a key, silence or the time; noted also when they hang up while they speak. Fails open."""
        if not self._brain.recordings_dir:
            self._note(answer, "")
            return
        name = f"{self._visit.call_id}-{self._brain.now():%Y%m%dT%H%M%SZ}-answer{len(self._given) + 1}"
        await self._case.renew_guard(most_s + 1)
        recording = name
        try:
            made = await self._case.listen(
                self._session.record_file(
                    f"{self._brain.recordings_dir}/{name}",
                    RECORDING_FORMAT,
                    ALL_KEYS,
                    most_s * 1000,
                    beep=True,
                    silence_s=QUIET_S,
                )
            )
            if made.digit is not None and not answer.value:
                answer = replace(answer, value=made.digit)
        except AgiError as error:
            self._case.reasons.append(f"what was said to {answer.question} is not recorded ({error})")
            recording = ""
        except ChannelGone:
            self._note(answer, recording)
            raise
        self._note(answer, recording)

    async def _hear(self, question: Question, text: str) -> str:
        """The keys of one round, empty for silence."""
        keys = ""
        if question.sound is not None or text:
            keys = await self._play(question.sound, text, ALL_KEYS)
        elif question.default_key is not None:
            return ""
        while len(keys) < MAX_KEYS:
            wait_s = collect(question, keys)
            if wait_s is None:
                break
            await self._case.renew_guard(wait_s)
            digit = await self._case.listen(self._session.wait_for_digit(round(wait_s * 1000)))
            if digit is None:
                break
            keys += digit
        return keys

    async def _play(self, sound: str | None, text: str, keys: str, known: Mapping[str, str] | None = None) -> str:
        """The key that cut it short. A text that is another for each person is spoken now; what is known of nobody is heard where that takes too long."""
        if sound is not None:
            place = self._brain.locate(sound)
        else:
            place, better = self._brain.speak_survey(self._survey, text, known or self._known)
            if better is not None:
                place, early = await self._wait_for(better, place)
                if early and early in keys:
                    return early
        if not place:
            return ""
        await self._case.renew_guard(self._brain.prompt_lengths.read(self._language, place))
        try:
            playback = await self._case.listen(self._session.stream_file(place, keys))
        except PlaybackFailed:
            # Whoever knows the question can still press.
            self._case.reasons.append(f"prompt {place} cannot be played")
            return ""
        if playback.digit is None:
            self._brain.prompt_lengths.learn(self._language, place, playback.endpos)
        return playback.digit or ""

    async def _wait_for(self, better: Any, place: str) -> tuple[str, str]:
        """Polls by the person's own clock, Asterisk's: a script may not wait elsewhere for long, and they hear that the line is up."""
        made: list[str] = []
        better.addCallback(made.append)
        digit = await self._wait_until(made, self._brain.speak_wait_s, ALL_KEYS)
        return (made[0] if made and not digit else place), digit

    async def _wait_until(self, made: list[str], most_s: float, keys: str) -> str:
        """Until something is made, so many seconds at the most, or one of these keys, which it gives."""
        waited_s = 0.0
        while not made and waited_s < most_s:
            await self._case.renew_guard(1)
            digit = await self._case.listen(self._session.wait_for_digit(250))
            if digit is not None and digit in keys:
                return str(digit)
            waited_s += 0.25
        return ""
