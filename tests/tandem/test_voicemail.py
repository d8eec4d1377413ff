"""Greetings and messages in a voicemail folder: placed whole, in one format, with rights that Asterisk can use; messages read, never written."""

import contextlib
import errno
import os
import shutil
import tempfile
import wave
from datetime import UTC, datetime
from pathlib import Path
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from tandem.audio import Converter, Tools
from tandem.domain.sounds import SoundRefused
from tandem.domain.voicemail import read_message
from tandem.voicemail import GreetingMissing, MessageMissing, Voicemail, VoicemailClosed
from tests.audio import write_tone

TEXT = """;
; Message Information file
;
[message]
origmailbox=1001
callerid="Mallory" <030555>
origtime=1763600000
duration=7
duration=9
msg_id=1763600000-00000001
"""


def test_a_message_is_what_its_first_lines_say():
    message = read_message(TEXT, "INBOX", 12)
    assert (message.id, message.caller, message.duration_s) == ("1763600000-00000001", '"Mallory" <030555>', 7)
    assert message.received_at == datetime.fromtimestamp(1763600000, UTC)
    for name in ("msg_id", "origtime"):
        assert read_message(TEXT.replace(f"{name}=", "other="), "INBOX", 12) is None
    assert read_message(TEXT.replace("msg_id=", "msg_id=../"), "INBOX", 12) is None


@given(st.text(max_size=300))
def test_no_text_breaks_the_reader(text):
    message = read_message(f"{text}\n{TEXT}", "Old", 1)
    assert message is None or message.folder == "Old"


@contextlib.contextmanager
def nobody():
    """A user of no rights, where the tests have all of them."""
    is_root = os.geteuid() == 0
    if is_root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if is_root:
            os.seteuid(0)


@contextlib.contextmanager
def lent_to_nobody():
    """A folder that nobody may pass through, which pytest's are not."""
    top = Path(tempfile.mkdtemp())
    top.chmod(0o755)
    try:
        yield top
    finally:
        for folder in top.rglob("*"):
            if folder.is_dir():
                folder.chmod(0o755)
        shutil.rmtree(top)


@pytest.mark.usefixtures("folder")
class VoicemailTest(TestCase):
    @pytest.fixture
    def folder(self, tmp_path):
        self.folder = tmp_path
        self.sent = []

        async def send(action):
            self.sent.append(dict(action.headers)["Command"])
            for path in (tmp_path / "tandem" / "1001" / "INBOX").glob("msg0000.*"):
                path.unlink()

        self.voicemail = Voicemail(tmp_path / "tandem", Converter(Tools()), send, 10.0)

    def run_async(self, coroutine):
        return Deferred.fromCoroutine(coroutine)

    def test_a_greeting_replaces_every_older_one_and_nothing_else(self):
        async def check():
            content = write_tone(self.folder / "tone.wav", 1.0, rate=44100, channels=2).read_bytes()
            box = self.folder / "tandem" / "1001"
            (box / "INBOX").mkdir(parents=True)
            for name in ("unavail.gsm", "unavail.WAV", "busy.gsm"):
                (box / name).write_bytes(b"old")
            prepared = await self.voicemail.prepare("1001", "unavail", content)
            assert (await self.voicemail.find_greeting("1001", "unavail"))[0].duration_s is None  # the old one still
            self.voicemail.put(prepared)
            await self.voicemail.drop(prepared)
            assert sorted(path.name for path in box.iterdir()) == ["INBOX", "busy.gsm", "unavail.wav"]
            with wave.open(str(box / "unavail.wav")) as audio:
                assert (audio.getframerate(), audio.getnchannels(), audio.getsampwidth()) == (8000, 1, 2)
            assert [one.kind for one in await self.voicemail.list_greetings("1001")] == ["unavail", "busy"]
            self.voicemail.delete_greeting("1001", "unavail")
            with pytest.raises(GreetingMissing):
                self.voicemail.delete_greeting("1001", "unavail")

        return self.run_async(check())

    def test_what_is_refused_leaves_nothing(self):
        async def check():
            with pytest.raises(SoundRefused, match="file must be audio"):
                await self.voicemail.prepare("1001", "busy", b"no audio")
            assert not list((self.folder / "tandem" / "1001").iterdir())
            long = write_tone(self.folder / "long.wav", 11.0).read_bytes()
            with pytest.raises(SoundRefused, match="at most 10 s"):
                await self.voicemail.prepare("1001", "busy", long)
            assert not list((self.folder / "tandem" / "1001").iterdir())

        return self.run_async(check())

    def test_a_box_that_is_not_ours_is_refused_and_left_as_it_is(self):
        """As a user of no rights: what may not be written, and what may not even be looked at."""

        async def check():
            content = write_tone(self.folder / "tone.wav", 0.2).read_bytes()
            for mode, is_readable in ((0o755, True), (0o711, False)):
                with lent_to_nobody() as top:
                    box = top / "tandem" / "1001"
                    (box / "INBOX").mkdir(parents=True)
                    (box / "busy.wav").write_bytes(b"old")
                    for folder in (box / "INBOX", box, top / "tandem"):
                        folder.chmod(mode)
                    box.chmod(mode)
                    self.voicemail = Voicemail(top / "tandem", Converter(Tools()), None, 10.0)
                    with nobody():
                        for mailbox, kind in (("1001", "busy"), ("1001", "unavail"), ("2002", "unavail")):
                            with pytest.raises(VoicemailClosed, match=r"Tandem may not use .*setfacl"):
                                await self.voicemail.prepare(mailbox, kind, content)
                        with pytest.raises(VoicemailClosed):
                            self.voicemail.delete_greeting("1001", "busy")
                        if is_readable:
                            assert await self.voicemail.list_messages("1001") == []
                        else:
                            for look in (self.voicemail.list_greetings, self.voicemail.list_messages):
                                with pytest.raises(VoicemailClosed):
                                    await look("1001")
                    assert sorted(path.name for path in box.rglob("*")) == ["INBOX", "busy.wav"]
                    assert (box / "busy.wav").read_bytes() == b"old"
                    assert not (top / "tandem" / "2002").exists()

        return self.run_async(check())

    def test_a_full_disk_leaves_the_old_one(self):
        async def check():
            content = write_tone(self.folder / "tone.wav", 0.2).read_bytes()
            box = self.folder / "tandem" / "1001"
            box.mkdir(parents=True)
            (box / "busy.wav").write_bytes(b"old")

            def refuse(_):
                raise OSError(errno.ENOSPC, "No space left on device")

            with patch.object(os, "fsync", refuse), pytest.raises(OSError, match="No space left"):
                await self.voicemail.prepare("1001", "busy", content)
            assert [(path.name, path.read_bytes()) for path in box.iterdir()] == [("busy.wav", b"old")]

        return self.run_async(check())

    @pytest.mark.skipif(os.geteuid() != 0, reason="giving a folder to somebody else needs root")
    def test_a_folder_that_asterisk_could_not_write_is_not_made(self):
        """Asterisk's own folder: one of ours in it would cost the box every message, but where the group may write."""

        async def check():
            content = write_tone(self.folder / "tone.wav", 0.2).read_bytes()
            top = self.folder / "tandem"
            top.mkdir()
            os.chown(top, 54321, os.getgid())
            umask = os.umask(0o022)
            try:
                with pytest.raises(VoicemailClosed, match="setfacl"):
                    await self.voicemail.prepare("1001", "busy", content)
                assert not list(top.iterdir())
                os.umask(0o002)
                self.voicemail.put(await self.voicemail.prepare("1001", "busy", content))
            finally:
                os.umask(umask)
            assert (top / "1001").stat().st_mode & 0o070 == 0o070
            assert [path.name for path in (top / "1001").iterdir()] == ["busy.wav"]

        return self.run_async(check())

    def test_messages_are_found_and_asterisk_takes_them_away(self):
        async def check():
            inbox = self.folder / "tandem" / "1001" / "INBOX"
            inbox.mkdir(parents=True)
            (inbox / "msg0000.txt").write_text(TEXT)
            (inbox / "msg0001.txt").write_text(TEXT)  # its audio is not there yet
            (inbox / "msg0000.wav").write_bytes(b"RIFF")
            (message,) = await self.voicemail.list_messages("1001")
            assert await self.voicemail.find_message("1001", message.id) == (message, inbox / "msg0000.wav")
            with pytest.raises(MessageMissing):
                await self.voicemail.find_message("1001", "../INBOX")
            await self.voicemail.delete_message("1001", message)
            assert self.sent == ["voicemail remove 1001 tandem INBOX 1763600000-00000001"]
            assert await self.voicemail.list_messages("4444") == []

        return self.run_async(check())
