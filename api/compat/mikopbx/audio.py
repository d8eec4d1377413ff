"""Audio files are sounds: uploaded, listed and deleted as such; and which phones are there. Never writes a file itself."""

import hashlib
import re
from http import HTTPStatus
from typing import Any, Final

from api.compat.mikopbx.session import identify
from api.compat.mikopbx.speech import BASE, declare, encode, read_text
from api.compat.parameters import Parameters, parameters_body
from api.declare import Reply, Route, Shown
from api.exchange import Commit, Exchange, Services
from tandem.domain.sounds import Sound, SoundRefused
from tandem.store.sounds import SoundQuery, load_sound, load_sounds

_PREFIX: Final = "mp-"
_MAX_BODY: Final = 20 * 1024 * 1024
_MAX_LISTED: Final = 10_000
_NOT_A_NAME: Final = re.compile(r"[^A-Za-z0-9_-]")
PEERS: Final = "/pbxcore/api/sip/getPeersStatuses"


def sound_name(file_name: str) -> str:
    """The sound of an uploaded file: its name may hold anything, a sound's may not."""
    return _PREFIX + hashlib.sha256(file_name.encode("utf-8", "replace")).hexdigest()[:32]


async def _upload(services: Services, exchange: Exchange) -> Reply:
    exchange.require("sounds/create")
    given: Parameters = exchange.body
    file = next(iter(given.files.values()), None)
    if file is None or not file.content:
        return Reply(encode(False, [], ["error upload file: file is empty"]))
    name = sound_name(file.name)
    before = await services.store.read(load_sound, name, "")
    try:
        waiting = await services.sounds.convert(name, "", file.content)
    except SoundRefused as refused:
        return Reply(encode(False, [], [str(refused)]))
    path = f"{services.sounds.folder}/{name}.wav"
    commit: Commit[Any] = Commit(exchange, f"sounds/{name}", lambda _db, _made: Reply(encode(True, {"filename": path})))
    await services.sounds.save(waiting, commit, is_new=before is None)
    return Reply(encode(True, {"filename": path}))


async def _list(services: Services, exchange: Exchange) -> Any:
    del exchange
    found = await services.store.read(load_sounds, SoundQuery(language="", limit=_MAX_LISTED))
    return [
        {"id": str(place + 1), "name": one.name, "path": f"{services.sounds.folder}/{one.name}.wav"}
        for place, one in enumerate(found)
    ]


async def _delete(services: Services, exchange: Exchange) -> Any:
    wanted = read_text(exchange.path["id"], "name")
    sound: Sound | None = await services.store.read(load_sound, sound_name(wanted), "")
    if sound is None and not _NOT_A_NAME.search(wanted):
        sound = await services.store.read(load_sound, wanted, "")
    if sound is not None:
        await services.sounds.delete(sound, Commit(exchange, f"sounds/{sound.name}", lambda _db, _gone: Reply(b"")))
    return []


async def _peers(services: Services, exchange: Exchange) -> Any:
    del exchange
    states = await services.monitor.list_phones()
    there = {name for name, state in states.items() if state not in ("", "Unavailable", "Invalid", "Unknown")}
    return [{"id": name, "state": "OK" if name in there else "UNKNOWN"} for name in services.live.current.endpoints]


ROUTES: Final = (
    Route(
        method="POST", path=f"{BASE}/audio", permission=None, summary="Upload a sound.", handler=_upload, tag="mikopbx",
        operation="mikopbx_post_audio", body=parameters_body(), answer=Shown(dict[str, Any], name="MikoPbxAnswer"), identify=identify,
        max_body=_MAX_BODY, is_scoped=True, raises=(HTTPStatus.NOT_FOUND,),
    ),
    declare("GET", f"{BASE}/audio", "sounds/read", _list, "List sounds."),
    declare("DELETE", f"{BASE}/audio/{{id}}", "sounds/delete", _delete, "Delete a sound."),
    declare("GET", PEERS, "monitoring/read", _peers, "Which phones are there."),
)  # fmt: skip
