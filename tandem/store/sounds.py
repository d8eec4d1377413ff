# mypy: disallow-untyped-calls=False
# (types-peewee leaves some of what we call untyped)
"""What is known of uploaded sounds; never touches their files. Every function is work for a Store."""

from dataclasses import dataclass
from typing import Any

import peewee

from tandem.domain.sounds import Sound
from tandem.store.tables import SoundRow


class SoundExists(ValueError):
    """There is one of that name and language already."""


class SoundMissing(LookupError):
    """There is none of that name and language."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SoundQuery:
    """Which sounds. q: part of the name or of what is said; language: None for all."""

    q: str = ""
    language: str | None = None
    limit: int = 100
    offset: int = 0


def record_sound(db: peewee.Database, sound: Sound, *, is_new: bool) -> None:
    """Keeps a sound; SoundExists for a new one that is there already, SoundMissing where there is none to replace."""
    values = {
        "version": sound.version,
        "source": sound.source,
        "text": sound.text,
        "voice": sound.voice,
        "duration_s": sound.duration_s,
        "bytes": sound.bytes,
        "formats": ",".join(sound.formats),
        "created_at": sound.created_at,
    }
    named = (SoundRow.name == sound.name) & (SoundRow.language == sound.language)
    if not is_new:
        if not SoundRow.update(**values).where(named).execute(db):
            raise SoundMissing(_tell(sound.name, sound.language))
        return
    if SoundRow.select().where(named).exists(db):
        raise SoundExists(_tell(sound.name, sound.language))
    SoundRow.insert(name=sound.name, language=sound.language, **values).execute(db)


def load_sound_names(db: peewee.Database) -> frozenset[str]:
    """The names of all, in whatever languages they are."""
    return frozenset(name for (name,) in SoundRow.select(SoundRow.name).distinct().tuples().execute(db))


def load_sound(db: peewee.Database, name: str, language: str) -> Sound | None:
    """One sound in one language."""
    found = SoundRow.select().where((SoundRow.name == name) & (SoundRow.language == language)).tuples().first(db)
    return None if found is None else _read(found)


def load_version(db: peewee.Database, version: str) -> Sound | None:
    """The sound that has this version now."""
    found = SoundRow.select().where(SoundRow.version == version).tuples().first(db)
    return None if found is None else _read(found)


def load_sounds(db: peewee.Database, query: SoundQuery) -> list[Sound]:
    """Some of them, by name and language."""
    rows = SoundRow.select().where(_condition(query)).order_by(SoundRow.name, SoundRow.language)
    return [_read(row) for row in rows.limit(query.limit).offset(query.offset).tuples().execute(db)]


def count_sounds(db: peewee.Database, query: SoundQuery) -> int:
    """How many there are."""
    return int(SoundRow.select().where(_condition(query)).count(db))


def delete_sound(db: peewee.Database, name: str, language: str) -> None:
    """Forgets one; SoundMissing where there is none."""
    if not SoundRow.delete().where((SoundRow.name == name) & (SoundRow.language == language)).execute(db):
        raise SoundMissing(_tell(name, language))


def _condition(query: SoundQuery) -> Any:
    condition = SoundRow.name.contains(query.q) | SoundRow.text.contains(query.q)
    return condition if query.language is None else condition & (SoundRow.language == query.language)


def _tell(name: str, language: str) -> str:
    return f"sound {name}" + (f" in {language}" if language else "")


def _read(row: tuple[Any, ...]) -> Sound:
    name, language, version, source, text, voice, duration_s, size, formats, created_at = row
    return Sound(
        name=name, language=language, version=version, source=source, text=text, voice=voice, duration_s=duration_s,
        bytes=size, formats=tuple(formats.split(",")), created_at=created_at,
    )  # fmt: skip
