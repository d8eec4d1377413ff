"""Plays a menu and reads keys; what a key means is decided in tandem.domain.menu, never here.

Fails open: when Tandem dies in the middle, the connection closes and the dialplan goes on at its fallback; when it freezes, the
guard's timer does the same. Each wait renews that timer for no longer than the wait can take, so a caller is never held for long.
"""

from typing import TypeVar

from fastagi.brain import Brain, Case
from fastagi.session import AgiError, PlaybackFailed, Session
from tandem.domain.destinations import Destination, HangupDestination
from tandem.domain.dialplan import CONTEXT_RECORD
from tandem.domain.entities import Menu
from tandem.domain.hangup_causes import HANGUP_CAUSE_BY_NAME
from tandem.domain.menu import Again, Tries, collect, step

T = TypeVar("T")

ALL_KEYS = "0123456789*#"
MAX_DIGITS = 12
MISSING = HangupDestination(hangup=HANGUP_CAUSE_BY_NAME["no-route"])


async def hear_menu(brain: Brain, case: Case, name: str, *, language: str, recording: str) -> Destination:
    """Answers, plays and collects until the caller has chosen or the menu gives up; where to go then, still to be resolved.

    language and recording are the DID's, '' where the channel has them already: the caller is recorded in the menu, too.
    A menu that does not exist leads to a hang-up with `no-route`: the references check refuses such a PBX.
    """
    chosen = case.snapshot.menus.get(name)
    if chosen is None:
        case.reasons.append(f"menu {name} is missing")
        return MISSING
    listener = _Listener(brain, case, chosen, language or case.session.environment.language)
    await listener.start(language, recording)
    prompts, tries = chosen.prompts, Tries()
    while True:
        outcome = step(chosen, tries, await listener.collect(prompts), case.snapshot)
        case.reasons.append(outcome.reason)
        if not isinstance(outcome, Again):
            return outcome.destination
        prompts, tries = outcome.prompts, outcome.tries


class _Listener:
    """One caller in one menu."""

    def __init__(self, brain: Brain, case: Case, menu: Menu, language: str) -> None:
        self._brain, self._case, self._menu, self._language = brain, case, menu, language
        self._session: Session = case.session

    async def start(self, language: str, recording: str) -> None:
        """`Answer(,i)` answers at once; without `i` Asterisk waits half a second for media first."""
        await self._case.listen(self._session.exec("Answer", ",i"))
        if language:
            await self._case.listen(self._session.set_variable("CHANNEL(language)", language))
        if recording in ("yes", "until-queue"):
            await self._record(recording)

    async def _record(self, recording: str) -> None:
        """Fails open: a call that cannot be recorded goes on."""
        try:
            await self._case.listen(self._session.gosub(CONTEXT_RECORD, "s", 1, recording))
        except AgiError as error:
            self._case.reasons.append(f"not recorded in menu {self._menu.name} ({error})")

    async def collect(self, prompts: tuple[str, ...]) -> str:
        """The digits of one round, empty for silence."""
        digits = await self._play(prompts)
        while len(digits) < MAX_DIGITS:
            wait_s = collect(self._menu, digits, self._case.snapshot)
            if wait_s is None:
                break
            await self._case.renew_guard(wait_s)
            digit = await self._case.listen(self._session.wait_for_digit(round(wait_s * 1000)))
            if digit is None:
                break
            digits += digit
        return digits

    async def _play(self, prompts: tuple[str, ...]) -> str:
        """The key that cut the prompts short; without barge-in Asterisk drops a key that comes before they are over."""
        lengths = self._brain.prompt_lengths
        keys = ALL_KEYS if self._menu.barge_in else ""
        for prompt in prompts:
            await self._case.renew_guard(lengths.read(self._language, prompt))
            try:
                playback = await self._case.listen(self._session.stream_file(self._brain.locate(prompt), keys))
            except PlaybackFailed:
                # A sound that is missing must not cost the call: whoever knows the menu can still press.
                self._case.reasons.append(f"prompt {prompt} cannot be played")
                continue
            if playback.digit is not None:
                return playback.digit
            lengths.learn(self._language, prompt, playback.endpos)
        return ""
