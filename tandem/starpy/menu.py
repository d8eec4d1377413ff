"""starpy's menus: a tree of options, digits, passwords and recordings that a caller is asked for over FastAGI; plays and collects, decides nothing for the program.

    Menu(prompt=["welcome"], options=[Option(option="1"), SubMenu(option="2", menu=more), ExitOn(option="#")])(agi)

fires with [(option, key), …], one for each level; fails with the errors of `tandem.starpy.error`. It needs no basicproperty.
"""

import hmac
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.python.failure import Failure

from tandem.starpy.error import MenuExit, MenuTimeout, MenuUnexpectedOption
from tandem.starpy.fastagi import FastAGIProtocol
from tandem.starpy.prompts import (
    AlphaPrompt,
    AudioPrompt,
    DateTimePrompt,
    DigitsPrompt,
    Named,
    NumberPrompt,
    Prompt,
    PromptRunner,
    TextPrompt,
    make_prompts,
)

__all__ = [
    "AlphaPrompt", "AudioPrompt", "CollectAudio", "CollectAudioRunner", "CollectDigits", "CollectDigitsRunner", "CollectPassword",
    "CollectPasswordRunner", "DateTimePrompt", "DigitsPrompt", "ExitOn", "Interaction", "Menu", "MenuRunner", "NumberPrompt", "Option",
    "Prompt", "PromptRunner", "Runner", "SubMenu", "TextPrompt",
]  # fmt: skip

log = logging.getLogger("menu")

Callback = Callable[..., object]
Chosen = list[tuple[Any, str]]


# --------------------------------------------------------------------------------------------------------- runners


class Runner:
    """One caller in one interaction (`model`). alreadyRepeated: how often it was asked in vain."""

    def __init__(self, *, agi: FastAGIProtocol, model: Any) -> None:
        self.agi, self.model = agi, model
        self.alreadyRepeated = 0

    def __call__(self, *args: Any, **named: Any) -> Deferred[Any]:
        """Begins; the model's `onSuccess(result, runner=…)` and `onFailure(failure, runner=…)` are asked at the end."""
        finished: Deferred[Any] = Deferred.fromCoroutine(self.run(*args, **named))
        if self.model.onSuccess is not None:
            finished.addCallback(self.model.onSuccess, runner=self)
        if self.model.onFailure is not None:
            finished.addErrback(self.model.onFailure, runner=self)
        return finished

    async def run(self, *args: Any, **named: Any) -> Any:
        """What a subclass does."""
        raise NotImplementedError

    def repeat(self, what: str) -> None:
        """Once more; MenuTimeout after `maxRepetitions`."""
        self.alreadyRepeated += 1
        if self.alreadyRepeated >= self.model.maxRepetitions:
            raise MenuTimeout(self.model, f"{what} in {self.alreadyRepeated} passes")

    def hear(self, escapeDigits: str, timeout: float) -> Deferred[str]:
        """Plays the model's prompt."""
        elements = make_prompts(self.model.prompt)
        return PromptRunner(elements=elements, agi=self.agi, escapeDigits=escapeDigits, timeout=timeout)()


class MenuRunner(Runner):
    """A choice."""

    @property
    def escapeDigits(self) -> str:
        """The keys that end a prompt: every one where the caller is told of wrong ones."""
        if self.model.tellInvalid:
            return Interaction.ALL_DIGITS
        return "".join(option.option for option in self.model.options)

    async def run(self, *_args: Any, **_named: Any) -> Chosen:
        """[(option, key)], with what a callable option adds."""
        while True:
            pressed = await self.hear(self.escapeDigits, self.model.timeout)
            if not pressed:
                self.repeat("nothing was chosen")
                continue
            for option in self.model.options:
                if pressed in option.option:
                    return await self._choose(option, pressed)
            if not self.model.tellInvalid:
                raise MenuUnexpectedOption(self.model, f"{pressed!r} is no option")
            self.repeat("nothing that there is was chosen")
            await self.agi.getOption(self.model.INVALID_OPTION_FILE, self.escapeDigits, timeout=0)

    async def _choose(self, option: Any, pressed: str) -> Chosen:
        follow = option if callable(option) else option.onSuccess
        if follow is None:
            return [(option, pressed)]
        found: Chosen = await maybeDeferred(follow, pressed, self)
        return found


class CollectDigitsRunner(Runner):
    """Digits up to `#`."""

    async def run(self, *_args: Any, **_named: Any) -> Chosen:
        """[(the runner itself, digits)]; `#` alone is MenuExit."""
        while True:
            digits, timed_out = await self.agi.getData(
                self.model.soundFile, timeout=self.model.timeout, maxDigits=self.model.maxDigits
            )
            if not digits and not timed_out:
                raise MenuExit(self.model, "the caller gave up the entry of digits")
            is_valid, _reason = self.validEntry(digits)
            if is_valid:
                if self.model.readBack:
                    await self.agi.sayDigits(digits)
                return [(self, digits)]
            self.repeat("nothing valid was entered")

    def validEntry(self, digits: str) -> tuple[bool, str | None]:
        """Whether these will do, and why not."""
        if self.model.minDigits is not None and len(digits) < self.model.minDigits:
            return False, "too few digits"
        return True, None


class CollectPasswordRunner(CollectDigitsRunner):
    """Digits that must be the ones expected."""

    expected = ""

    async def run(self, expected: str, *args: Any, **named: Any) -> Chosen:
        """As of digits."""
        self.expected = str(expected)
        return await super().run(*args, **named)

    def validEntry(self, digits: str) -> tuple[bool, str | None]:
        """Compared in constant time; a key of `escapeDigits` is MenuExit."""
        if any(digit in digits for digit in self.model.escapeDigits):
            raise MenuExit(self.model, "the caller gave up the entry of the password")
        return hmac.compare_digest(digits.encode(), self.expected.encode()), "the password does not match"


class CollectAudioRunner(Runner):
    """A recording."""

    async def run(self, *_args: Any, **_named: Any) -> tuple[Any, tuple[int, str, int]]:
        """(the runner itself, what recordFile tells); a key of `escapeDigits` is MenuExit."""
        model = self.model
        if model.prompt and await self.hear(model.escapeDigits, 0.1):
            raise MenuExit(model, "the caller gave up during the prompt")
        name = model.temporaryFile or model.filename
        result = await self.agi.recordFile(
            name, model.format, model.escapeDigits, timeout=model.timeout, beep=model.beep, silence=int(model.silence)
        )
        made = Path(f"{name}.{model.format}")
        if result[1] == "dtmf":
            if model.deleteOnFail:
                made.unlink(missing_ok=True)
            raise MenuExit(model, "the caller gave up the recording")
        if model.temporaryFile:
            made.replace(f"{model.filename}.{model.format}")
        return self, result


# ---------------------------------------------------------------------------------------------------- interactions


class Interaction(Named):
    """Something that a caller is asked. timeout: how long to wait, in seconds; maxRepetitions: how often it is asked at most.

    onSuccess(result, runner=…), onFailure(failure, runner=…): asked at the end; what they return is the result.
    """

    ALL_DIGITS = "0123456789*#"
    timeout = 5.0
    maxRepetitions = 5
    onSuccess: Callback | None = None
    onFailure: Callback | None = None
    runnerClass: ClassVar[type[Runner]] = Runner

    def __call__(self, agi: FastAGIProtocol, *args: Any, **named: Any) -> Deferred[Any]:
        """Asks the caller of `agi`."""
        return self.runnerClass(agi=agi, model=self)(*args, **named)


class Menu(Interaction):
    """A choice among options. tellInvalid: any key ends the prompt, and one that is none is told so; else it is MenuUnexpectedOption."""

    INVALID_OPTION_FILE = "pm-invalid-option"
    prompt: Sequence[Any] = ()
    textPrompt = ""
    options: Sequence[Any] = ()
    tellInvalid = True
    runnerClass = MenuRunner


class CollectDigits(Interaction):
    """Digits, with a sound before them. readBack: says them again."""

    soundFile = ""
    textPrompt = ""
    readBack = False
    minDigits: int | None = None
    maxDigits: int | None = None
    tellInvalid = True
    runnerClass = CollectDigitsRunner


class CollectPassword(CollectDigits):
    """A password: `CollectPassword()(agi, "1234")`."""

    escapeDigits = ""
    soundFile = "vm-password"
    runnerClass = CollectPasswordRunner


class CollectAudio(Interaction):
    """A recording into `filename`.`format`, by way of `temporaryFile` where one is given: both on the machine of the program, which must be Asterisk's.

    timeout: the longest; silence: which ends it; both in seconds.
    """

    prompt: Sequence[Any] = ()
    textPrompt = ""
    temporaryFile = ""
    filename = ""
    format = "wav"
    deleteOnFail = True
    escapeDigits = "#*0123456789"
    timeout = 60.0
    silence = 5.0
    beep = True
    runnerClass = CollectAudioRunner


# --------------------------------------------------------------------------------------------------------- options


class Option(Named):
    """One choice. option: the keys that make it; onSuccess(key, runner): what follows, where it is no callable itself."""

    option = ""
    onSuccess: Callback | None = None


class SubMenu(Option):
    """Another menu; who leaves it by ExitOn hears the one before again."""

    menu: Any = None

    def __call__(self, pressed: str, parent: Runner) -> Deferred[Chosen]:
        """Its choices behind this one."""

        def add(result: Chosen) -> Chosen:
            return [(self, pressed), *result]

        def restart(failure: Failure) -> Deferred[Chosen]:
            failure.trap(MenuExit)
            log.debug("%s: again", parent.model)
            again: Deferred[Chosen] = parent.model(parent.agi)
            return again

        finished: Deferred[Chosen] = self.menu(parent.agi)
        return finished.addCallbacks(add, restart)


class ExitOn(Option):
    """Leaves the menu."""

    def __call__(self, pressed: str, parent: Runner) -> Chosen:
        """MenuExit."""
        raise MenuExit(self, pressed, parent, "the caller left the menu")
