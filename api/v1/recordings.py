"""Recordings of calls: listed, played in parts, downloaded, deleted; who may listen needs a permission of its own."""

from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated, Any, Final

from pydantic import AwareDatetime, Field, StringConstraints

from api.declare import PREFIX, Frozen, Reply, Route, Shown
from api.errors import Refused
from api.exchange import Exchange, Services
from api.files import FILE_ANSWERS, MEDIA_TYPES, send_file
from tandem.domain.recordings import Recording, RecordingKind
from tandem.store.recordings import (
    RecordingQuery,
    count_recordings,
    delete_recordings,
    load_recording,
    load_recordings,
)

_PATH: Final = f"{PREFIX}/recordings"
_ONE: Final = f"{_PATH}/{{id}}"
_MAX_ID: Final = 2**63 - 1


class RecordingsQuery(Frozen):
    """Which recordings, newest first. before_id: the last id of the page before."""

    call_id: Annotated[str, StringConstraints(max_length=100)] | None = Field(None, description="Of one call.")
    kind: RecordingKind | None = Field(None, description="Mixed, or one side.")
    since: AwareDatetime | None = Field(None, description="Begun then or later.")
    until: AwareDatetime | None = Field(None, description="Begun before.")
    before_id: Annotated[int, Field(ge=1, le=_MAX_ID)] | None = Field(
        None, description="The last id of the page before."
    )
    limit: Annotated[int, Field(ge=1, le=1000, description="How many at most.")] = 100


@dataclass(frozen=True, slots=True)
class RecordingPage:
    """Some of the recordings; the next page begins before the last id of this one. `total` is how many there are in all."""

    items: tuple[Recording, ...]
    total: int
    limit: int


async def _list(services: Services, exchange: Exchange) -> Reply:
    query = RecordingQuery(**exchange.query.model_dump())

    def read(db: Any) -> tuple[int, list[Recording]]:
        return count_recordings(db, query), load_recordings(db, query)

    total, found = await services.store.read(read)
    return Reply(RecordingPage(tuple(found), total, query.limit))


async def _get(services: Services, exchange: Exchange) -> Reply:
    return Reply(await _find(services, exchange))


async def _play(services: Services, exchange: Exchange) -> None:
    await _send(services, exchange)


async def _download(services: Services, exchange: Exchange) -> None:
    await _send(services, exchange, is_download=True)


async def _send(services: Services, exchange: Exchange, *, is_download: bool = False) -> None:
    recording = await _find(services, exchange)
    if not services.recordings.locate(recording).exists():
        recording = await _find(services, exchange)  # it may just have been converted
    path, form = services.recordings.locate(recording), recording.format
    suffix = "ogg" if form == "opus" else form
    version = f"{recording.id}-{recording.bytes}-{form}"
    name = f"{recording.name}.{suffix}" if is_download else ""
    await send_file(exchange, path, MEDIA_TYPES[form], version, name)


async def _delete(services: Services, exchange: Exchange) -> Reply:
    recording = await _find(services, exchange)
    await services.recordings.remove_file(recording)
    gone = Reply(None, HTTPStatus.NO_CONTENT)
    target = f"recordings/{recording.id} ({recording.name})"
    await exchange.write(lambda db: (delete_recordings(db, [recording.id]), gone), target)
    return gone


async def _find(services: Services, exchange: Exchange) -> Recording:
    wanted = exchange.path["id"]
    is_number = wanted.isascii() and wanted.isdecimal() and len(wanted) < 19
    found = await services.store.read(load_recording, int(wanted)) if is_number else None
    if found is None:
        raise Refused(HTTPStatus.NOT_FOUND, "there is no such recording")
    return found


ROUTES: Final = (
    Route(
        method="GET", path=_PATH, permission="recordings/read", summary="Recordings, newest first.", handler=_list,
        tag="recordings", operation="list_recordings", query=RecordingsQuery, answer=Shown(RecordingPage),
    ),
    Route(
        method="GET", path=_ONE, permission="recordings/read", summary="What is known of a recording.", handler=_get,
        tag="recordings", operation="get_recording", answer=Shown(Recording), raises=(HTTPStatus.NOT_FOUND,),
    ),
    Route(
        method="GET", path=f"{_ONE}/audio", permission="recordings/listen", summary="Play a recording, whole or in part.",
        handler=_play, tag="recordings", operation="play_recording", answer=Shown(bytes, media_type="*/*"), raises=FILE_ANSWERS, etag=True,
    ),
    Route(
        method="GET", path=f"{_ONE}/download", permission="recordings/listen", summary="Save a recording as a file.",
        handler=_download, tag="recordings", operation="download_recording", answer=Shown(bytes, media_type="*/*"), raises=FILE_ANSWERS,
        etag=True,
    ),
    Route(
        method="DELETE", path=_ONE, permission="recordings/delete", summary="Delete a recording, the file first.", handler=_delete,
        tag="recordings", operation="delete_recording", status=HTTPStatus.NO_CONTENT, raises=(HTTPStatus.NOT_FOUND,),
    ),
)  # fmt: skip
