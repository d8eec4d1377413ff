"""What a caller of one of starpy's menus hears: sounds, numbers, letters and times, one after the other until a key; chooses nothing."""

from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import Deferred

from tandem.starpy.fastagi import FastAGIProtocol


class Named:
    """Fields by name, as starpy's objects take them; TypeError for a name that the class does not have."""

    def __init__(self, **named: Any) -> None:
        for name, value in named.items():
            if not hasattr(type(self), name):
                raise TypeError(f"{type(self).__name__} has no field {name}")
            setattr(self, name, value)


class Prompt:
    """Something that is heard; a subclass knows how. value: a file's name, a number, letters or a time."""

    def __init__(self, value: Any, **named: Any) -> None:
        self.value = value
        for name, more in named.items():
            setattr(self, name, more)

    def read(self, agi: FastAGIProtocol, escapeDigits: str) -> Deferred[Any]:
        """Plays it; fires with the key that interrupted it, as the method of `agi` tells it."""
        raise NotImplementedError


class AudioPrompt(Prompt):
    """A sound."""

    def read(self, agi: FastAGIProtocol, escapeDigits: str) -> Deferred[Any]:
        """Plays it."""
        return agi.getOption(self.value, escapeDigits, 0.001)


class TextPrompt(Prompt):
    """A text that Asterisk's own Festival speaks."""

    def read(self, agi: FastAGIProtocol, escapeDigits: str) -> Deferred[Any]:
        """Speaks it."""
        return agi.execute("Festival", self.value, escapeDigits)


class NumberPrompt(Prompt):
    """A whole number."""

    def read(self, agi: FastAGIProtocol, escapeDigits: str) -> Deferred[Any]:
        """Says it."""
        return agi.sayNumber(self.value, escapeDigits)


class DigitsPrompt(Prompt):
    """Digits, one by one."""

    def read(self, agi: FastAGIProtocol, escapeDigits: str) -> Deferred[Any]:
        """Says them."""
        return agi.sayDigits(self.value, escapeDigits)


class AlphaPrompt(Prompt):
    """Letters and digits, spelt."""

    def read(self, agi: FastAGIProtocol, escapeDigits: str) -> Deferred[Any]:
        """Spells them."""
        return agi.sayAlpha(self.value, escapeDigits)


class DateTimePrompt(Prompt):
    """A time. format: as of sayDateTime."""

    format: str | None = None

    def read(self, agi: FastAGIProtocol, escapeDigits: str) -> Deferred[Any]:
        """Says it."""
        return agi.sayDateTime(self.value, escapeDigits, format=self.format)


class PromptRunner(Named):
    """Prompts one after the other, then a wait for a key; fires with the key of `escapeDigits` that was pressed, or ''."""

    elements: Sequence[Prompt] = ()
    agi: Any = None
    escapeDigits = ""
    timeout = 5.0

    def __call__(self) -> Deferred[str]:
        """Begins."""
        return Deferred.fromCoroutine(self._read())

    async def _read(self) -> str:
        for element in self.elements:
            key = self._find_key(await element.read(self.agi, self.escapeDigits))
            if key:
                return key
        return self._find_key(await self.agi.waitForDigit(self.timeout))

    def _find_key(self, result: Any) -> str:
        """The key within a result: a code, or (key or its code, samples played)."""
        if isinstance(result, tuple):
            result = result[0]
        key = chr(result) if isinstance(result, int) and result > 0 else result if isinstance(result, str) else ""
        return key if key and key in self.escapeDigits else ""


def make_prompts(prompt: Sequence[Any]) -> list[Prompt]:
    """A text is a sound's name, a whole number is said; TypeError for anything that is no prompt."""
    made: list[Prompt] = []
    for one in prompt:
        if isinstance(one, str):
            made.append(AudioPrompt(one))
        elif isinstance(one, int):
            made.append(NumberPrompt(one))
        elif isinstance(one, Prompt):
            made.append(one)
        else:
            raise TypeError(f"{one!r} is no prompt")
    return made
