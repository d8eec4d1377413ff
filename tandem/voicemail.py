"""Greetings and messages of voicemail boxes, in the folder where Asterisk keeps them; never writes a message, and takes one away through Asterisk alone.

app_voicemail numbers its messages without gaps and locks a folder while it does, so it is asked to delete one. A greeting
is a file of a fixed name that a caller's channel opens: it is replaced whole, by a rename.
"""

import os
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path
from secrets import token_hex
from tempfile import TemporaryDirectory
from typing import Any, Final, TypeVar

from twisted.internet.defer import DeferredLock
from twisted.internet.threads import deferToThread

from tandem.ami import actions
from tandem.ami.actions import Action
from tandem.audio import MASTER, Converter, read_wav_length, sync_file, sync_folder
from tandem.domain.dialplan import VOICEMAIL_CONTEXT
from tandem.domain.voicemail import FOLDERS, GREETING_KINDS, Greeting, GreetingKind, VoiceMessage, read_message

T = TypeVar("T")

SUFFIX: Final = ".wav"
# What a message may be in, best first: a player of today knows the first two.
_MESSAGE_SUFFIXES: Final = (".wav", ".WAV", ".gsm")
_MAX_TEXT_BYTES: Final = 8192


class GreetingMissing(LookupError):
    """The box has no such greeting: callers hear Asterisk's own."""


class MessageMissing(LookupError):
    """The box has no such message."""


class VoicemailClosed(Exception):
    """Tandem's user may not read or write there; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A greeting that lies beside its place."""

    kind: GreetingKind
    part: Path


class Voicemail:
    """The boxes of `folder` (one for each number). send: AMI that may run commands; max_s: how long a greeting may be."""

    def __init__(
        self, folder: Path, converter: Converter, send: Callable[[Action], Awaitable[Any]], max_s: float
    ) -> None:
        self._folder, self._converter, self._send, self._max_s = folder, converter, send, max_s
        # One conversion at a time: nobody waits for it on the line.
        self._turn = DeferredLock()

    # ----------------------------------------------------------------------------------------------- greetings

    async def list_greetings(self, mailbox: str) -> list[Greeting]:
        """What a box has; VoicemailClosed."""
        return await self._try(self._list_greetings, mailbox)

    async def find_greeting(self, mailbox: str, kind: GreetingKind) -> tuple[Greeting, Path]:
        """One of them and its file; GreetingMissing, VoicemailClosed."""
        return await self._try(self._find_greeting, mailbox, kind)

    async def prepare(self, mailbox: str, kind: GreetingKind, content: bytes) -> Prepared:
        """A greeting from the bytes of a file, not heard yet. SoundRefused, ToolMissing, VoicemailClosed; nothing is left of what is refused."""
        async with self._turn:
            return Prepared(kind, await self._try(self._prepare, mailbox, kind, content))

    def put(self, prepared: Prepared) -> Greeting:
        """In a thread: callers hear it from now on."""
        place = prepared.part.with_name(f"{prepared.kind}{SUFFIX}")
        prepared.part.replace(place)
        # Asterisk may hold an older one in another format, and would choose between them.
        for other in _find(place.parent, f"{prepared.kind}.*"):
            if other != place:
                other.unlink(missing_ok=True)
        sync_folder(place.parent)
        return _describe(prepared.kind, place)

    async def drop(self, prepared: Prepared) -> None:
        """Takes away what was not put in place."""
        await deferToThread(prepared.part.unlink, missing_ok=True)

    def delete_greeting(self, mailbox: str, kind: GreetingKind) -> None:
        """In a thread: callers hear Asterisk's own from now on. GreetingMissing, VoicemailClosed."""
        try:
            self._find_greeting(mailbox, kind)
            for path in _find(self._box(mailbox), f"{kind}.*"):
                path.unlink(missing_ok=True)
        except PermissionError as error:
            raise VoicemailClosed(self._explain(error)) from error

    def _list_greetings(self, mailbox: str) -> list[Greeting]:
        found = []
        for kind in GREETING_KINDS:
            with suppress(GreetingMissing):
                found.append(self._find_greeting(mailbox, kind)[0])
        return found

    def _find_greeting(self, mailbox: str, kind: GreetingKind) -> tuple[Greeting, Path]:
        files = sorted(_find(self._box(mailbox), f"{kind}.*"), key=lambda path: path.suffix != SUFFIX)
        if not files:
            raise GreetingMissing(f"{mailbox} has no greeting {kind}")
        return _describe(kind, files[0]), files[0]

    def _prepare(self, mailbox: str, kind: GreetingKind, content: bytes) -> Path:
        box = self._box(mailbox)
        _make_folder(box)
        part = box / f".{kind}.{token_hex(8)}.part"
        with TemporaryDirectory() as made:
            source, master = Path(made, "source"), Path(made, f"greeting.{MASTER}")
            source.write_bytes(content)
            self._converter.decode_upload(source, master, self._max_s)
            greeting = Path(made, f"greeting{SUFFIX}")
            self._converter.encode_greeting(master, greeting)
            try:
                part.write_bytes(greeting.read_bytes())
                sync_file(part)
            except BaseException:
                part.unlink(missing_ok=True)
                raise
        return part

    # ------------------------------------------------------------------------------------------------ messages

    async def list_messages(self, mailbox: str) -> list[VoiceMessage]:
        """What is in a box; VoicemailClosed."""
        return [message for message, _ in await self._try(self._list_messages, mailbox)]

    async def find_message(self, mailbox: str, message_id: str) -> tuple[VoiceMessage, Path]:
        """One of them and its file; MessageMissing, VoicemailClosed."""
        for message, path in await self._try(self._list_messages, mailbox):
            if message.id == message_id:
                return message, path
        raise MessageMissing(message_id)

    async def delete_message(self, mailbox: str, message: VoiceMessage) -> None:
        """Asterisk takes it away, and its lamps and numbers follow. AmiError; VoicemailClosed where it does not.

        By its command: the action VoicemailRemove takes the class `user`, which no login of ours needs for anything else.
        """
        answer = await self._send(
            actions.command(f"voicemail remove {mailbox} {VOICEMAIL_CONTEXT} {message.folder} {message.id}")
        )
        if any(left.id == message.id for left in await self.list_messages(mailbox)):
            raise VoicemailClosed(f"Asterisk did not delete the message: {' '.join(answer.all('Output'))[:200]}")

    def _list_messages(self, mailbox: str) -> list[tuple[VoiceMessage, Path]]:
        found = []
        for folder in FOLDERS:
            for path in _find(self._box(mailbox) / folder, "msg[0-9][0-9][0-9][0-9].txt"):
                audio = next((one for suffix in _MESSAGE_SUFFIXES if (one := path.with_suffix(suffix)).exists()), None)
                # One that Asterisk deletes or numbers anew just now is there at the next look.
                with suppress(FileNotFoundError):
                    if audio is not None and (message := _read(path, folder, audio)) is not None:
                        found.append((message, audio))
        return found

    # --------------------------------------------------------------------------------------------------- files

    def _box(self, mailbox: str) -> Path:
        return self._folder / mailbox

    async def _try(self, work: Callable[..., T], *args: Any) -> T:
        try:
            return await deferToThread(work, *args)
        except PermissionError as error:
            raise VoicemailClosed(self._explain(error)) from error

    def _explain(self, error: PermissionError) -> str:
        return (
            f"Tandem may not use {error.filename or self._folder}: let it, with"
            f" setfacl -R -m g:asterisk:rwX,d:g:asterisk:rwX {self._folder} (asterisk: the group of Asterisk and Tandem)"
        )


def _find(folder: Path, pattern: str) -> list[Path]:
    """By name; PermissionError where we may not look, which Path.glob would pass over as if nothing were there."""
    with suppress(FileNotFoundError):
        return sorted(path for path in folder.iterdir() if fnmatchcase(path.name, pattern))
    return []


def _describe(kind: GreetingKind, path: Path) -> Greeting:
    state = path.stat()
    return Greeting(
        kind=kind,
        duration_s=(read_wav_length(path) or None) if path.suffix == SUFFIX else None,
        bytes=state.st_size,
        changed_at=datetime.fromtimestamp(state.st_mtime, UTC),
    )


def _read(path: Path, folder: str, audio: Path) -> VoiceMessage | None:
    with path.open("rb") as stream:
        text = stream.read(_MAX_TEXT_BYTES).decode("utf-8", "replace")
    return read_message(text, folder, audio.stat().st_size)


def _make_folder(path: Path) -> None:
    """A folder that Asterisk can use as well as we; PermissionError where the rights of the one above do not give it that.

    Asterisk makes a box's folder with its first message; one of ours that it cannot write would cost it every message.
    """
    if path.is_dir():
        return
    _make_folder(path.parent)
    path.mkdir(mode=0o777, exist_ok=True)
    made, above = path.stat(), path.parent.stat()
    if made.st_uid != above.st_uid and not (made.st_mode & 0o020 and made.st_gid == above.st_gid):
        path.rmdir()
        raise PermissionError(0, "not writable for Asterisk", os.fspath(path))
