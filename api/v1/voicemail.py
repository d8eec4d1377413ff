"""`/voicemail/{mailbox}/…`: greetings of a box uploaded, heard and deleted, and its messages; who may listen needs a permission of its own."""

from http import HTTPStatus
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import Field, TypeAdapter
from twisted.internet.threads import deferToThread

from api.declare import PREFIX, Body, Frozen, Page, Reply, Route, Shown, validate
from api.errors import Refused, refuse_fields
from api.exchange import Exchange, Services
from api.files import FILE_ANSWERS, MEDIA_TYPES, send_file
from api.listing import list_query, make_page
from api.uploads import Upload
from tandem.domain.voicemail import GREETING_KINDS, Greeting, GreetingKind, VoiceMessage
from tandem.store.sounds import SoundMissing

_BOX: Final = f"{PREFIX}/voicemail/{{mailbox}}"
_GREETINGS: Final = f"{_BOX}/greetings"
_GREETING: Final = f"{_GREETINGS}/{{kind}}"
_MESSAGES: Final = f"{_BOX}/messages"
_MESSAGE: Final = f"{_MESSAGES}/{{id}}"
_MAX_UPLOAD: Final = 16 * 1024 * 1024
_PARAMETERS: Final = {"mailbox": "The number of the box."}
_OF_GREETING: Final = _PARAMETERS | {
    "kind": "unavail: when nobody answers; busy; greet: the name; temp: instead of all others."
}
_OF_MESSAGE: Final = _PARAMETERS | {"id": "The id of a message."}


class SoundWanted(Frozen):
    """One of the uploaded, spoken or recorded sounds as a greeting."""

    sound: Annotated[str, Field(max_length=40, description="The name of a sound.")]
    language: Annotated[str, Field(max_length=40, description="Which of the sounds of this name.")] = ""


async def _list_greetings(services: Services, exchange: Exchange) -> Reply:
    found = await services.voicemail.list_greetings(_mailbox(services, exchange))
    return Reply(make_page(found, exchange.query, "kind"))


async def _get_greeting(services: Services, exchange: Exchange) -> Reply:
    greeting, _ = await services.voicemail.find_greeting(_mailbox(services, exchange), _kind(exchange))
    return Reply(greeting)


async def _play_greeting(services: Services, exchange: Exchange) -> None:
    greeting, path = await services.voicemail.find_greeting(_mailbox(services, exchange), _kind(exchange))
    version = f"{greeting.kind}-{greeting.bytes}-{greeting.changed_at.timestamp():.6f}"
    await send_file(exchange, path, _media_type(path), version)


async def _put_greeting(services: Services, exchange: Exchange) -> Reply:
    mailbox, kind = _mailbox(services, exchange), _kind(exchange)
    prepared = await services.voicemail.prepare(mailbox, kind, await _read_content(services, exchange.body))

    def work(_db: Any) -> tuple[None, Reply]:
        return None, Reply(services.voicemail.put(prepared))

    try:
        _, reply = await exchange.write(work, _target(mailbox, kind))
    finally:
        await services.voicemail.drop(prepared)
    return reply


async def _read_content(services: Services, given: Upload | SoundWanted) -> bytes:
    if isinstance(given, Upload):
        if given.fields:
            raise refuse_fields([(min(given.fields), "is not known here")])
        return given.content
    try:
        sound = await services.sounds.find(given.sound, given.language)
    except SoundMissing as missing:
        raise refuse_fields([("sound", f"must be one that is there: there is no {missing}")]) from missing
    content: bytes = await deferToThread(services.sounds.locate(sound).read_bytes)
    return content


async def _delete_greeting(services: Services, exchange: Exchange) -> Reply:
    mailbox, kind = _mailbox(services, exchange), _kind(exchange)
    gone = Reply(None, HTTPStatus.NO_CONTENT)

    def work(_db: Any) -> tuple[None, Reply]:
        services.voicemail.delete_greeting(mailbox, kind)
        return None, gone

    await exchange.write(work, _target(mailbox, kind))
    return gone


async def _list_messages(services: Services, exchange: Exchange) -> Reply:
    found = await services.voicemail.list_messages(_mailbox(services, exchange))
    return Reply(make_page(found, exchange.query, "id"))


async def _get_message(services: Services, exchange: Exchange) -> Reply:
    message, _ = await services.voicemail.find_message(_mailbox(services, exchange), exchange.path["id"])
    return Reply(message)


async def _play_message(services: Services, exchange: Exchange) -> None:
    await _send_message(services, exchange)


async def _download_message(services: Services, exchange: Exchange) -> None:
    await _send_message(services, exchange, is_download=True)


async def _send_message(services: Services, exchange: Exchange, *, is_download: bool = False) -> None:
    mailbox = _mailbox(services, exchange)
    message, path = await services.voicemail.find_message(mailbox, exchange.path["id"])
    name = f"voicemail-{mailbox}-{message.id}{path.suffix.lower()}" if is_download else ""
    await send_file(exchange, path, _media_type(path), f"{message.id}-{message.bytes}", name)


async def _delete_message(services: Services, exchange: Exchange) -> Reply:
    mailbox = _mailbox(services, exchange)
    message, _ = await services.voicemail.find_message(mailbox, exchange.path["id"])
    gone = Reply(None, HTTPStatus.NO_CONTENT)
    # As with recordings, first: a person's voice that stayed behind would be worse than one deletion that is in no log.
    await services.voicemail.delete_message(mailbox, message)
    await exchange.write(lambda _db: (None, gone), f"voicemail/{mailbox}/messages/{message.id}")
    return gone


def _mailbox(services: Services, exchange: Exchange) -> str:
    mailbox: str = exchange.path["mailbox"]
    if mailbox not in services.live.current.voicemail_boxes:
        raise Refused(HTTPStatus.NOT_FOUND, "there is no such voicemail box in the live revision")
    return mailbox


def _kind(exchange: Exchange) -> GreetingKind:
    for kind in GREETING_KINDS:
        if kind == exchange.path["kind"]:
            return kind
    raise Refused(HTTPStatus.NOT_FOUND, f"a greeting is one of {', '.join(GREETING_KINDS)}")


def _media_type(path: Path) -> str:
    return MEDIA_TYPES.get(path.suffix.lower().removeprefix("."), "application/octet-stream")


def _target(mailbox: str, kind: GreetingKind) -> str:
    return f"voicemail/{mailbox}/greetings/{kind}"


_SOUND: Final[TypeAdapter[SoundWanted]] = TypeAdapter(SoundWanted)


def _read_body(value: Any) -> Upload | SoundWanted:
    return value if isinstance(value, Upload) else validate(_SOUND, SoundWanted, value)


_FILE: Final = Body(SoundWanted, _read_body, takes_files=True)
_AUDIO: Final = Shown(bytes, media_type="*/*")

ROUTES: Final = (
    Route(
        method="GET", path=_GREETINGS, permission="voicemail_greetings/read", handler=_list_greetings, tag="voicemail",
        operation="list_greetings", summary="The greetings of a box; where one is missing, callers hear Asterisk's own.",
        parameters=_PARAMETERS, query=list_query(Greeting, "kind"), answer=Shown(Page[Greeting], name="Greetings"),
        raises=(HTTPStatus.NOT_FOUND,),
    ),
    Route(
        method="GET", path=_GREETING, permission="voicemail_greetings/read", handler=_get_greeting, tag="voicemail",
        operation="get_greeting", summary="What is known of a greeting.", parameters=_OF_GREETING, answer=Shown(Greeting),
        raises=(HTTPStatus.NOT_FOUND,),
    ),
    Route(
        method="GET", path=f"{_GREETING}/audio", permission="voicemail_greetings/read", handler=_play_greeting, tag="voicemail",
        operation="play_greeting", summary="What a greeting sounds like, whole or in part.", parameters=_OF_GREETING, answer=_AUDIO,
        raises=FILE_ANSWERS, etag=True,
    ),
    Route(
        method="PUT", path=_GREETING, permission="voicemail_greetings/update", handler=_put_greeting, tag="voicemail",
        operation="put_greeting", summary="Upload a greeting (wav, mp3, ogg, flac), or take a sound for it; the next caller hears it.",
        parameters=_OF_GREETING, body=_FILE, max_body=_MAX_UPLOAD, answer=Shown(Greeting),
        raises=(HTTPStatus.NOT_FOUND, HTTPStatus.INSUFFICIENT_STORAGE),
    ),
    Route(
        method="DELETE", path=_GREETING, permission="voicemail_greetings/delete", handler=_delete_greeting, tag="voicemail",
        operation="delete_greeting", summary="Delete a greeting; callers hear Asterisk's own.", parameters=_OF_GREETING,
        status=HTTPStatus.NO_CONTENT, raises=(HTTPStatus.NOT_FOUND,),
    ),
    Route(
        method="GET", path=_MESSAGES, permission="voicemail_messages/read", handler=_list_messages, tag="voicemail",
        operation="list_messages", summary="The messages of a box, in all of its folders.", parameters=_PARAMETERS,
        query=list_query(VoiceMessage, "id", sort="-received_at"), answer=Shown(Page[VoiceMessage], name="VoiceMessages"),
        raises=(HTTPStatus.NOT_FOUND,),
    ),
    Route(
        method="GET", path=_MESSAGE, permission="voicemail_messages/read", handler=_get_message, tag="voicemail",
        operation="get_message", summary="What is known of a message.", parameters=_OF_MESSAGE, answer=Shown(VoiceMessage),
        raises=(HTTPStatus.NOT_FOUND,),
    ),
    Route(
        method="GET", path=f"{_MESSAGE}/audio", permission="voicemail_messages/listen", handler=_play_message, tag="voicemail",
        operation="play_message", summary="Play a message, whole or in part; it stays as new as it was.", parameters=_OF_MESSAGE,
        answer=_AUDIO, raises=FILE_ANSWERS, etag=True,
    ),
    Route(
        method="GET", path=f"{_MESSAGE}/download", permission="voicemail_messages/listen", handler=_download_message, tag="voicemail",
        operation="download_message", summary="Save a message as a file.", parameters=_OF_MESSAGE, answer=_AUDIO, raises=FILE_ANSWERS,
        etag=True,
    ),
    Route(
        method="DELETE", path=_MESSAGE, permission="voicemail_messages/delete", handler=_delete_message, tag="voicemail",
        operation="delete_message", summary="Delete a message; Asterisk's counts and lamps follow.", parameters=_OF_MESSAGE,
        status=HTTPStatus.NO_CONTENT, raises=(HTTPStatus.NOT_FOUND,),
    ),
)  # fmt: skip
