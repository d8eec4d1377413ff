"""Sounds: uploaded or spoken, listed, heard, replaced, deleted; what they are made of is decided in tandem.sounds."""

from http import HTTPStatus
from typing import Annotated, Any, Final

from pydantic import Field, StringConstraints, TypeAdapter

from api.declare import PREFIX, Body, Frozen, Page, Reply, Route, Shown, validate
from api.errors import refuse_fields
from api.exchange import Exchange, Services
from api.files import FILE_ANSWERS, MEDIA_TYPES, send_file
from api.uploads import Upload
from tandem.audio import MASTER
from tandem.domain.sounds import MAX_TEXT, Sound
from tandem.store.sounds import SoundQuery, count_sounds, load_sounds

_PATH: Final = f"{PREFIX}/sounds"
_ONE: Final = f"{_PATH}/{{name}}"
MAX_UPLOAD: Final = 64 * 1024 * 1024

_Text = Annotated[str, StringConstraints(max_length=MAX_TEXT)]
_Short = Annotated[str, StringConstraints(max_length=40)]
_LANGUAGE: Final = (
    "A language such as en or pt_BR; without one the sound is for every language that has none of its own."
)


class SpeechWanted(Frozen):
    """A text to speak. language: also of the voice, where no `voice` of the engine is named; without one, the PBX's."""

    text: _Text
    name: _Short = ""
    language: Annotated[_Short, Field(description=_LANGUAGE)] = ""
    voice: _Short = ""


class SoundsQuery(Frozen):
    """Which sounds. q: part of the name or of the text."""

    limit: Annotated[int, Field(ge=1, le=1000, description="How many at most.")] = 100
    offset: Annotated[int, Field(ge=0, le=10**9, description="How many to pass over.")] = 0
    q: Annotated[str, Field(max_length=100, description="Part of the name or of the text.")] = ""
    language: Annotated[_Short | None, Field(description=_LANGUAGE)] = None


class LanguageQuery(Frozen):
    """Which of the sounds of a name."""

    language: Annotated[_Short, Field(description=_LANGUAGE)] = ""


class UploadQuery(LanguageQuery):
    """The name, where a body is nothing but a file."""

    name: Annotated[_Short, Field(description="The name of the sound.")] = ""


async def _list(services: Services, exchange: Exchange) -> Reply:
    query = SoundQuery(**exchange.query.model_dump())

    def read(db: Any) -> tuple[int, list[Sound]]:
        return count_sounds(db, query), load_sounds(db, query)

    total, found = await services.store.read(read)
    return Reply(Page(tuple(found), total, query.offset, query.limit))


async def _get(services: Services, exchange: Exchange) -> Reply:
    sound = await _find(services, exchange)
    tag = (("etag", _tag(sound)),)
    if exchange.is_fresh(_tag(sound)):
        return Reply(None, HTTPStatus.NOT_MODIFIED, tag)
    return Reply(sound, headers=tag)


async def _play(services: Services, exchange: Exchange) -> None:
    sound = await _find(services, exchange)
    await send_file(exchange, services.sounds.locate(sound), MEDIA_TYPES[MASTER], sound.version)


async def _create(services: Services, exchange: Exchange) -> Reply:
    given, name, language = _name_upload(exchange, exchange.query.name)
    return await _save(services, exchange, given, name, language, is_new=True)


async def _replace(services: Services, exchange: Exchange) -> Reply:
    current = await _find(services, exchange)
    exchange.check_match(_tag(current))
    given, name, language = _name_upload(exchange, current.name)
    if (name, language) != (current.name, current.language):
        raise refuse_fields([("name", "and language must be those of the address")])
    return await _save(services, exchange, given, name, language, is_new=False)


def _name_upload(exchange: Exchange, name: str) -> tuple[Upload | SpeechWanted, str, str]:
    """(what is brought, its name, its language): from the body, else from the address; both may say the same."""
    given: Upload | SpeechWanted = exchange.body
    fields = given.fields if isinstance(given, Upload) else {"name": given.name, "language": given.language}
    unknown = sorted(set(fields) - {"name", "language"})
    if unknown:
        raise refuse_fields([(unknown[0], "is not known here")])
    chosen = {"name": name, "language": exchange.query.language}
    for field, value in fields.items():
        if value and chosen[field] and value != chosen[field]:
            raise refuse_fields([(field, "differs between the body and the address")])
        chosen[field] = chosen[field] or value
    if not chosen["name"]:
        raise refuse_fields([("name", "is missing")])
    return given, chosen["name"], chosen["language"]


async def _save(
    services: Services, exchange: Exchange, given: Upload | SpeechWanted, name: str, language: str, *, is_new: bool
) -> Reply:
    if isinstance(given, Upload):
        waiting = await services.sounds.convert(name, language, given.content)
    else:
        default = (await services.head.read()).general.language
        waiting = await services.sounds.speak(name, language, given.text, given.voice, default)
    headers = [("etag", _tag(waiting.sound))]
    if is_new:
        headers.append(("location", f"{_PATH}/{name}" + (f"?language={language}" if language else "")))
    reply = Reply(waiting.sound, HTTPStatus.CREATED if is_new else HTTPStatus.OK, tuple(headers))

    async def commit(work: Any) -> Reply:
        _, written = await exchange.write(lambda db: (work(db), reply), _target(waiting.sound))
        return written

    saved: Reply = await services.sounds.save(waiting, commit, is_new=is_new)
    return saved


async def _delete(services: Services, exchange: Exchange) -> Reply:
    sound = await _find(services, exchange)
    exchange.check_match(_tag(sound))
    gone = Reply(None, HTTPStatus.NO_CONTENT)

    async def commit(work: Any) -> Reply:
        _, written = await exchange.write(lambda db: (work(db), gone), _target(sound))
        return written

    deleted: Reply = await services.sounds.delete(sound, commit)
    return deleted


async def _find(services: Services, exchange: Exchange) -> Sound:
    sound: Sound = await services.sounds.find(exchange.path["name"], exchange.query.language)
    return sound


def _target(sound: Sound) -> str:
    return f"sounds/{sound.name}" + (f" ({sound.language})" if sound.language else "")


def _tag(sound: Sound) -> str:
    return f'"{sound.version}"'


_SPEECH: Final[TypeAdapter[SpeechWanted]] = TypeAdapter(SpeechWanted)


def _read_body(value: Any) -> Upload | SpeechWanted:
    return value if isinstance(value, Upload) else validate(_SPEECH, SpeechWanted, value)


_BODY: Final = Body(SpeechWanted, _read_body, takes_files=True, fields=("name", "language"))
_AUDIO: Final = Shown(bytes, media_type=MEDIA_TYPES[MASTER])

ROUTES: Final = (
    Route(
        method="GET", path=_PATH, permission="sounds/read", summary="Sounds, by name.", handler=_list, tag="sounds",
        operation="list_sounds", query=SoundsQuery, answer=Shown(Page[Sound], name="SoundPage"),
    ),
    Route(
        method="POST", path=_PATH, permission="sounds/create", tag="sounds", operation="create_sound", handler=_create,
        summary="Upload a sound (wav, mp3, ogg, flac), or have a text spoken.", query=UploadQuery, body=_BODY, max_body=MAX_UPLOAD,
        answer=Shown(Sound), status=HTTPStatus.CREATED, etag=True, raises=(HTTPStatus.CONFLICT, HTTPStatus.INSUFFICIENT_STORAGE),
    ),
    Route(
        method="GET", path=_ONE, permission="sounds/read", summary="A sound.", handler=_get, tag="sounds", operation="get_sound",
        query=LanguageQuery, answer=Shown(Sound), raises=(HTTPStatus.NOT_FOUND, HTTPStatus.NOT_MODIFIED), etag=True,
    ),
    Route(
        method="GET", path=f"{_ONE}/audio", permission="sounds/read", summary="What it sounds like, whole or in part.", handler=_play,
        tag="sounds", operation="play_sound", query=LanguageQuery, answer=_AUDIO, raises=FILE_ANSWERS, etag=True,
    ),
    Route(
        method="PUT", path=_ONE, permission="sounds/update", tag="sounds", operation="replace_sound", handler=_replace,
        summary="Replace a sound; a call that hears the old one hears it to its end.", query=LanguageQuery, body=_BODY,
        max_body=MAX_UPLOAD, answer=Shown(Sound), etag=True,
        raises=(HTTPStatus.NOT_FOUND, HTTPStatus.PRECONDITION_FAILED, HTTPStatus.INSUFFICIENT_STORAGE),
    ),
    Route(
        method="DELETE", path=_ONE, permission="sounds/delete", summary="Delete a sound that nothing plays.", handler=_delete,
        tag="sounds", operation="delete_sound", query=LanguageQuery, status=HTTPStatus.NO_CONTENT,
        raises=(HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT, HTTPStatus.PRECONDITION_FAILED),
    ),
)  # fmt: skip
