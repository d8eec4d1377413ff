"""The script of the code that records a prompt: beep, speech, playback, and it is kept or not; never decides who may, and never keeps anything that was not heard to its keys.

Fails closed: without a key, with a hang-up before it, or when Tandem dies, callers hear what they heard before.
"""

from secrets import token_hex
from time import perf_counter
from typing import Final

from twisted.python.failure import Failure

from fastagi.brain import Brain, Case
from fastagi.code import CodeRefused, serve_code
from fastagi.session import AgiError, PlaybackFailed, Session
from tandem.domain.agents import AgentsUnavailable
from tandem.domain.dialplan import CONTEXT_FEATURE
from tandem.domain.dictation import Dictation, DictationRefused, plan_dictation
from tandem.domain.sounds import SoundRefused

# What is heard at the end, as extensions of the static dialplan.
KEPT: Final = "kept"
DROPPED: Final = "dropped"
TOO_SHORT: Final = "tooshort"
# What Asterisk's own prompt says of the keys: 1 accepts, 2 plays it, 3 records it again; and * ends it all.
REVIEW: Final = "vm-review"
KEYS: Final = "123*"
REVIEW_S: Final = 20.0
ANSWER_S: Final = 6.0
# How often who presses nothing is asked, how often a phone speaks again in one call, and how long it waits for the conversion.
ASKED: Final = 3
TAKES: Final = 20
KEEPING_S: Final = 60.0
# As phones and their codecs have it at best.
FORMAT: Final = "wav16"


async def record(brain: Brain, session: Session) -> None:
    """`AGI(agi://…/record,record,DIGITS)`: DIGITS as `plan_dictation` has them."""

    async def change(case: Case, endpoint: str, _code: str, digits: str) -> str:
        try:
            wanted = plan_dictation(case.snapshot, endpoint, digits)
        except DictationRefused as refused:
            raise CodeRefused(str(refused)) from refused
        return await _Recording(brain, case, endpoint, wanted).run()

    await serve_code(brain, session, "record", CONTEXT_FEATURE, change)


class _Recording:
    """One phone that records one prompt."""

    def __init__(self, brain: Brain, case: Case, endpoint: str, wanted: Dictation) -> None:
        self._brain, self._case, self._endpoint, self._wanted = brain, case, endpoint, wanted
        self._session: Session = case.session
        self._token = token_hex(16)
        self._path = brain.locate_dictation(self._token)
        self._length_s = brain.prompt_max_s

    async def run(self) -> str:
        """The extension that is heard at the end. AgentsUnavailable where nothing can be recorded or kept."""
        is_handed_on, key = False, ""
        try:
            for _ in range(TAKES):
                await self._speak()
                key = await self._review()
                if key != "3":
                    break
            if key != "1":
                self._case.reasons.append(f"{self._wanted.prompt} stays as it is")
                return DROPPED
            is_handed_on = True
            return await self._keep()
        finally:
            if not is_handed_on:
                self._brain.drop_prompt(self._token)

    async def _speak(self) -> None:
        most_s = int(self._brain.prompt_max_s)
        await self._case.renew_guard(most_s + 2)
        started = perf_counter()
        try:
            await self._case.listen(self._session.record_file(self._path, FORMAT, "#*", most_s * 1000, beep=True))
        except AgiError as error:
            raise AgentsUnavailable(f"the prompt cannot be recorded: {error}") from error
        self._length_s = perf_counter() - started

    async def _review(self) -> str:
        """The key; '' for none at all."""
        for _ in range(ASKED):
            key = await self._play(self._path, self._length_s)
            key = key or await self._play(REVIEW, REVIEW_S)
            if not key:
                await self._case.renew_guard(ANSWER_S)
                pressed: str | None = await self._case.listen(self._session.wait_for_digit(round(ANSWER_S * 1000)))
                key = pressed or ""
            if key in ("1", "3", "*"):
                return key
        return ""

    async def _play(self, file: str, length_s: float) -> str:
        await self._case.renew_guard(length_s)
        try:
            return (await self._case.listen(self._session.stream_file(file, KEYS))).digit or ""
        except PlaybackFailed:
            self._case.reasons.append(f"{file} cannot be played")
            return ""

    async def _keep(self) -> str:
        """Waits by the phone's own clock, as in surveys: a script may not wait elsewhere for long."""
        ended: list[object] = []
        self._brain.keep_prompt(self._endpoint, self._wanted, self._token).addBoth(ended.append)
        waited_s = 0.0
        while not ended and waited_s < KEEPING_S:
            await self._case.renew_guard(1)
            await self._case.listen(self._session.wait_for_digit(250))
            waited_s += 0.25
        if not ended:
            raise AgentsUnavailable(f"{self._wanted.prompt} is not converted yet")
        if isinstance(failure := ended[0], Failure):
            if failure.check(SoundRefused) is None:
                failure.raiseException()
            self._case.reasons.append(f"{self._wanted.prompt} stays as it is: {failure.value}")
            return TOO_SHORT
        self._case.reasons.append(f"{self._wanted.prompt} is recorded")
        return KEPT
