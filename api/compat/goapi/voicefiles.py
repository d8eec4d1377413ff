"""goVoiceFiles and goMusicOnHold: sounds that are uploaded, and the classes of music that queues name; a client's file name is never a path."""

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from api.compat.goapi.actions import Action, Call
from api.compat.goapi.dialling import commit
from api.compat.goapi.objects import EVERYBODY, columns, read_limit
from api.compat.goapi.parameters import check_special
from api.compat.goapi.speech import fail, fail_code
from tandem.domain.music import MusicClass
from tandem.domain.sounds import PROMPT_PREFIX, Sound, SoundRefused, check_sound_name
from tandem.sounds import Waiting
from tandem.store.sounds import SoundQuery, load_sounds

MAX_UPLOAD: Final = 64 * 1024 * 1024
_MAX_LISTED: Final = 100_000
_FILE_FIELDS: Final = ("files", "file", "voicefile", "uploaded_wav")


async def _upload(call: Call) -> Mapping[str, Any]:
    field = next((name for name in _FILE_FIELDS if call.given.files.get(name)), None)
    if field is None:
        raise fail_code("10006", "files")
    given = call.given.text("files_name") or call.given.file_names[field]
    upload = await convert_sound(call, "files_name", given, call.given.files[field])
    await upload.keep(call, commit(call, upload.target))
    return {"file_name": upload.prompt}


@dataclass(frozen=True, slots=True)
class Upload:
    """A sound that is converted and waits to be kept."""

    waiting: Waiting
    is_new: bool

    @property
    def prompt(self) -> str:
        """What plays it."""
        return self.waiting.sound.prompt

    @property
    def target(self) -> str:
        """For the audit log."""
        return f"sounds/{self.waiting.sound.name}"

    async def keep(self, call: Call, commit: Callable[[Any], Awaitable[Any]]) -> None:
        """In the place of one of its name."""
        await call.services.sounds.save(self.waiting, commit, is_new=self.is_new)

    async def undo(self, call: Call) -> None:
        """Takes a new one away again; one that it replaced is gone."""
        if self.is_new:
            await call.services.sounds.delete(self.waiting.sound, call.services.store.run)


async def convert_sound(call: Call, field: str, named: str, content: bytes) -> Upload:
    """A sound under the name of its file. field: is named where it is wrong."""
    name = (
        re.sub(r"\.[A-Za-z0-9]{1,4}$", "", check_special(field, named.strip(), is_id=True))
        .replace(" ", "_")
        .replace(".", "_")
    )
    try:
        check_sound_name(name, "")
        waiting = await call.services.sounds.convert(name, "", content)
    except SoundRefused as refused:
        if refused.field == "file":
            raise fail_code("10008") from None
        raise fail(f"Error: {field} {refused.rule}") from None
    known = await call.services.store.read(load_sounds, SoundQuery(q=name, limit=_MAX_LISTED))
    return Upload(waiting, is_new=not any(sound.name == name and not sound.language for sound in known))


async def _list(call: Call) -> Mapping[str, Any]:
    sounds: list[Sound] = await call.services.store.read(
        load_sounds, SoundQuery(limit=min(read_limit(call), _MAX_LISTED))
    )
    rows = [
        {
            "file_name": sound.prompt, "file_date": f"{sound.created_at:%Y-%m-%d %H:%M:%S}", "file_size": sound.bytes,
            "file_language": sound.language,
        }
        for sound in sounds
    ]  # fmt: skip
    return columns(rows, ("file_name", "file_date", "file_size", "file_language"))


async def _delete(call: Call) -> Mapping[str, Any]:
    name = check_special("file_name", call.given.text("file_name"), is_id=True).removeprefix(PROMPT_PREFIX)
    if not name:
        raise fail_code("40001", "file_name")
    sounds: list[Sound] = await call.services.store.read(load_sounds, SoundQuery(q=name, limit=_MAX_LISTED))
    found = [sound for sound in sounds if sound.name == name]
    if not found:
        raise fail("Error: Voice file doesn't exist.")

    # Those of a language first: the one for all languages may be what is played instead.
    for sound in sorted(found, key=lambda one: not one.language):
        await call.services.sounds.delete(sound, commit(call, f"sounds/{name}"))
    return {}


async def _list_music(call: Call) -> Mapping[str, Any]:
    """The classes that queues name; `default` is always there."""
    snapshot = await call.services.head.read()
    names = sorted({"default", *snapshot.music_classes, *(queue.music for queue in snapshot.queues.values())})
    rows = [_describe_music(name, snapshot.music_classes.get(name)) for name in names[: read_limit(call)]]
    return columns(rows, ("moh_id", "moh_name", "active", "random", "user_group"))


def _describe_music(name: str, music: MusicClass | None) -> dict[str, Any]:
    """music: None for a class of Asterisk's own, of which only the name is known."""
    return {
        "moh_id": name,
        "moh_name": (music.description if music is not None else "") or name,
        "active": "Y",
        "random": "Y" if music is not None and music.order == "random" else "N",
        "user_group": EVERYBODY,
    }


async def _music_info(call: Call) -> Mapping[str, Any]:
    name = call.given.text("moh_id")
    if not name:
        raise fail("Error: Set a value for MOH ID.")
    snapshot = await call.services.head.read()
    if name not in {"default", *snapshot.music_classes, *(queue.music for queue in snapshot.queues.values())}:
        raise fail("Error: Music On Hold doesn't exist.")
    return {"data": _describe_music(name, snapshot.music_classes.get(name))}


ACTIONS: Final = (
    Action(
        name="goUploadVoiceFiles", aliases=("goUploadVoiceFile",), permission="sounds/create", is_scoped=True, handler=_upload,
        parameters=("files_name", "files"), summary="Upload a sound (wav, mp3, ogg, flac); one of that name is replaced.",
    ),
    Action(
        name="goGetAllVoiceFiles", aliases=("getAllVoiceFiles", "goGetVoiceFilesList"), permission="sounds/read", is_scoped=True,
        handler=_list, parameters=("limit",), summary="List uploaded sounds.",
    ),
    Action(
        name="goDeleteVoiceFile", aliases=("goDeleteVoiceFiles",), permission="sounds/delete", is_scoped=True, handler=_delete,
        parameters=("file_name",), summary="Delete a sound that nothing plays.",
    ),
)  # fmt: skip

MUSIC_ACTIONS: Final = (
    Action(
        name="goGetAllMusicOnHold", aliases=("getAllMusicOnHold", "goGetMOHList"), permission="queues/read", is_scoped=True,
        handler=_list_music, parameters=("limit",), summary="List classes of music.",
    ),
    Action(
        name="goGetMOHInfo", aliases=("getMOHInfo",), permission="queues/read", is_scoped=True, handler=_music_info,
        parameters=("moh_id",), summary="Read a class of music.",
    ),
)  # fmt: skip
