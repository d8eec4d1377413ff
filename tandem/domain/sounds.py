"""Uploaded sounds as values: their names, what a prompt is to Asterisk, who plays one; never touches a file."""

import re
from collections.abc import Container, Iterator
from dataclasses import dataclass, is_dataclass
from datetime import datetime
from functools import cache
from typing import Any, Final, Literal, cast, get_args, get_type_hints

from tandem.domain.changes import MissingSound
from tandem.domain.entities import COLLECTIONS
from tandem.domain.fields import Prompt
from tandem.domain.snapshot import Snapshot

# A sound that was uploaded as `welcome` is the prompt `tandem/welcome`; every other prompt is one of Asterisk's own sounds.
PROMPT_PREFIX: Final = "tandem/"
AudioKind = Literal["wav", "mp3", "ogg", "opus", "flac"]
MAX_TEXT: Final = 4000
# What is needed of a file to tell what it is.
HEAD_BYTES: Final = 64

_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,39}")
_LANGUAGE: Final = re.compile(r"([a-z]{2,3}(_[A-Z]{2})?)?")
_VOICE: Final = re.compile(r"([A-Za-z0-9][A-Za-z0-9_+.-]{0,39})?")

# Collections whose objects name a music class.
HAVE_MUSIC: Final = ("queues", "endpoints", "ring_groups", "conferences")


class SoundRefused(ValueError):
    """A sound that cannot be taken; the field and its rule."""

    def __init__(self, field: str, rule: str) -> None:
        super().__init__(f"{field} {rule}")
        self.field, self.rule = field, rule


@dataclass(frozen=True, slots=True, kw_only=True)
class Sound:
    """An uploaded or spoken sound in one language; language '': for every language that has none of its own.

    version: new with each upload. source: what it was made of. bytes: of all its files. formats: their suffixes, as Asterisk reads them.
    """

    name: str
    language: str
    version: str
    source: str
    text: str
    voice: str
    duration_s: float
    bytes: int
    formats: tuple[str, ...]
    created_at: datetime

    @property
    def prompt(self) -> str:
        """How menus and announcements name it."""
        return PROMPT_PREFIX + self.name


def check_sound_name(name: str, language: str) -> None:
    """SoundRefused unless both can be the parts of a path, as they are."""
    if _NAME.fullmatch(name) is None:
        raise SoundRefused("name", "must be a letter and then up to 39 letters, digits, dashes or underscores")
    if _LANGUAGE.fullmatch(language) is None:
        raise SoundRefused("language", "must be a language such as en or pt_BR, or nothing for all languages")


def check_speech(text: str, voice: str) -> None:
    """SoundRefused unless an engine may be given these."""
    if not text.strip() or len(text) > MAX_TEXT:
        raise SoundRefused("text", f"must be 1 to {MAX_TEXT} characters")
    if not all(sign.isprintable() or sign in "\n\t" for sign in text):
        raise SoundRefused("text", "must not hold control characters")
    if _VOICE.fullmatch(voice) is None:
        raise SoundRefused("voice", "must be up to 40 letters, digits or the signs _ + . -")


def choose_voice(voice: str, language: str) -> str:
    """The voice that was asked for, else the language's: `pt-br` for pt_BR."""
    return voice or language.replace("_", "-").lower()


def identify_audio(head: bytes) -> AudioKind:
    """What a file is, by its first HEAD_BYTES (its name and what a client calls it decide nothing); SoundRefused for anything else."""
    if head[:4] == b"RIFF" and head[8:12] == b"WAVE":
        return "wav"
    if head[:4] == b"fLaC":
        return "flac"
    # RFC 3533: the first page holds the codec's own header, after one entry of its segment table.
    if head[:4] == b"OggS" and head[28:35] == b"\x01vorbis":
        return "ogg"
    if head[:4] == b"OggS" and head[28:36] == b"OpusHead":
        return "opus"
    # ISO 11172-3: eleven bits of sync, then version and layer III.
    if head[:3] == b"ID3" or (len(head) > 1 and head[0] == 0xFF and head[1] & 0xE6 == 0xE2):
        return "mp3"
    raise SoundRefused("file", "must be audio: wav, mp3, ogg (Vorbis or Opus) or flac")


def locate_prompt(prompt: str, sounds_dir: str) -> str:
    """What Asterisk is given to play a prompt: below `sounds_dir` for one of ours. It puts the channel's language before the last part."""
    if not prompt.startswith(PROMPT_PREFIX):
        return prompt
    return f"{sounds_dir}/{prompt.removeprefix(PROMPT_PREFIX)}"


def find_prompt_users(snapshot: Snapshot, prompt: str) -> tuple[tuple[str, str], ...]:
    """Who plays a prompt: (`menus/main`, `prompts`), each once."""
    return tuple(dict.fromkeys(place for place, named in _list_prompts(snapshot) if named == prompt))


def find_missing_sounds(snapshot: Snapshot, known: Container[str]) -> tuple[MissingSound, ...]:
    """What is to be played of uploaded sounds that are none of `known`, their names. Asterisk's own are its admin's."""
    missing = dict.fromkeys(
        MissingSound(*place, prompt)
        for place, prompt in _list_prompts(snapshot)
        if prompt.startswith(PROMPT_PREFIX) and prompt.removeprefix(PROMPT_PREFIX) not in known
    )
    return tuple(missing)


def _list_prompts(snapshot: Snapshot) -> Iterator[tuple[tuple[str, str], str]]:
    """((`menus/main`, `prompts`), prompt) of everything that is played."""
    for collection, paths in _list_prompt_fields().items():
        for name, entity in getattr(snapshot, collection).items():
            for path in paths:
                for prompt in _read_prompts(entity, path):
                    yield (f"{collection}/{name}", ".".join(path)), prompt


def find_music_users(snapshot: Snapshot, music: str) -> tuple[tuple[str, str], ...]:
    """Whose callers hear a music class: (`queues/sales`, `music`)."""
    return tuple(
        (f"{collection}/{name}", "music")
        for collection in HAVE_MUSIC
        for name, entity in getattr(snapshot, collection).items()
        if entity.music == music
    )


@cache
def _list_prompt_fields() -> dict[str, list[tuple[str, ...]]]:
    """Of each collection whose objects play something, where they name it."""
    found = {collection: _find_prompt_fields(cast(Any, kind)) for collection, (kind, _) in COLLECTIONS.items()}
    return {collection: paths for collection, paths in found.items() if paths}


@cache
def _find_prompt_fields(kind: Any, *above: Any) -> list[tuple[str, ...]]:
    """By the types of an object's fields: `("callback", "prompts")`. above: what it is a part of."""
    found: list[tuple[str, ...]] = []
    for name, hint in get_type_hints(kind, include_extras=True).items():
        for part in _take_apart(hint):
            if part == Prompt:
                found.append((name,))
            elif isinstance(part, type) and is_dataclass(part) and part not in above:
                found += [(name, *path) for path in _find_prompt_fields(part, kind, *above)]
    return found


def _take_apart(hint: Any) -> Iterator[Any]:
    yield hint
    for part in get_args(hint):
        yield from _take_apart(part)


def _read_prompts(value: Any, path: tuple[str, ...]) -> tuple[str, ...]:
    for name in path:
        value = None if value is None else getattr(value, name)
    return (value,) if isinstance(value, str) else value or ()
