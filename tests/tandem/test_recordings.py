"""Recordings: names, what is taken up and when, conversion that loses nothing whenever the process dies, retention."""

import os
import shutil
import tempfile
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet import reactor
from twisted.internet.task import Clock, deferLater
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from tandem.audio import Converter, ToolFailed, Tools
from tandem.domain.cdr import Leg
from tandem.domain.recordings import MixMonitorFiles, RecordingName, plan_recording, read_recording_name
from tandem.recordings import LOOK_EVERY_S, RETRY_AFTER_S, UNTOUCHED_S, Found, Recordings, is_ready, list_finished
from tandem.store.cdrs import record_legs
from tandem.store.database import open_store
from tandem.store.recordings import (
    RecordingQuery,
    count_recordings,
    delete_recordings,
    load_over,
    load_recording,
    load_recordings,
)
from tests.audio import write_tone

BEGAN = datetime(2026, 11, 20, 23, 59, 58, tzinfo=UTC)
CALL = "0123456789abcdef0123456789abcdef"


def test_the_arguments_of_mixmonitor():
    files = plan_recording("/var/spool/tandem-recordings", CALL, BEGAN)
    stem = f"/var/spool/tandem-recordings/{CALL}-20261120T235958Z"
    assert files == MixMonitorFiles(f"{stem}-mixed.wav", f"{stem}-leg1.wav", f"{stem}-leg2.wav")
    assert files.write_arguments() == f"{stem}-mixed.wav,r({stem}-leg1.wav)t({stem}-leg2.wav)"
    assert files.write_arguments("b") == f"{stem}-mixed.wav,br({stem}-leg1.wav)t({stem}-leg2.wav)"


@pytest.mark.parametrize(
    ("folder", "call_id"),
    [("/a,b", CALL), ("/a(b", CALL), ("/a&b", CALL), ("a", CALL), ("/a b", CALL), ("/a", "x/y"), ("/a", ""), ("/a", "a,b"), ("/a", "${X}")],
)  # fmt: skip
def test_what_its_arguments_cannot_hold_is_refused(folder, call_id):
    with pytest.raises(ValueError, match=r"^(recordings_dir|call_id): "):
        plan_recording(folder, call_id, BEGAN)


@given(
    st.text("abcXYZ0189_.-", min_size=1, max_size=100),
    st.datetimes(datetime(1971, 1, 1), datetime(9999, 12, 31)).map(lambda at: at.replace(tzinfo=UTC, microsecond=0)),  # noqa: DTZ001
    st.sampled_from(["mixed", "leg1", "leg2"]),
)
def test_a_name_says_what_went_into_it(call_id, at, kind):
    said = RecordingName(call_id, at, kind)
    assert read_recording_name(f"{said.stem}.wav") == said


@given(st.text(max_size=60))
def test_any_other_name_says_nothing(name):
    said = read_recording_name(name)
    assert said is None or f"{said.stem}.wav" == name


@pytest.mark.parametrize(
    "name",
    ["", "x.wav", f"{CALL}-20261120T235958Z-mixed.mp3", f"{CALL}-20261320T235958Z-mixed.wav", f"{CALL}-20261120T235958Z-leg3.wav"],
)  # fmt: skip
def test_files_of_others_are_left_alone(name):
    assert read_recording_name(name) is None


@pytest.mark.parametrize(
    ("is_over", "is_closed", "untouched_s", "ready"),
    [
        (True, True, 0, True),
        (True, False, UNTOUCHED_S - 1, False),  # Asterisk closes it in a moment
        (True, False, UNTOUCHED_S, True),  # Asterisk died
        (False, True, 3600, False),  # a pause in a call
        (False, True, 24 * 3600, True),  # a call that is in no record
    ],
)
def test_a_file_is_taken_when_asterisk_has_finished_with_it(is_over, is_closed, untouched_s, ready):
    found = Found("x.wav", RecordingName(CALL, BEGAN, "mixed"), 1000, is_closed, untouched_s)
    assert is_ready(found, {CALL} if is_over else set()) is ready


class BrokenConverter(Converter):
    """A disk or a program in trouble, until `broken` is off."""

    broken = True

    def encode_recording(self, source: Path, target: Path, form: Any) -> None:
        if self.broken:
            target.write_bytes(b"half")
            raise ToolFailed("it broke")
        super().encode_recording(source, target, form)


class SlowConverter(Converter):
    """One that has begun a long recording, and goes on when it is let."""

    def __init__(self) -> None:
        super().__init__(Tools())
        self.began, self.may_go_on = threading.Event(), threading.Event()

    def encode_recording(self, source: Path, target: Path, form: Any) -> None:
        self.began.set()
        assert self.may_go_on.wait(30)
        super().encode_recording(source, target, form)


class RecordingsCase(TestCase):
    """A folder in which Asterisk writes, and one in which recordings are kept."""

    def setUp(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.folder)
        self.spool, self.archive = self.folder / "spool", self.folder / "archive"
        self.spool.mkdir(parents=True)
        self.store = open_store(self.folder / "tandem.db")
        self.addCleanup(self.store.stop)
        self.clock, self.now, self.busy = Clock(), BEGAN + timedelta(hours=1), False
        self.recordings = self.make()

    def make(self, form: Any = "mp3", keep_days: int = 0, converter: Converter | None = None) -> Recordings:
        recordings = Recordings(
            self.store, converter or Converter(Tools()), self.clock, spool=self.spool, archive=self.archive, form=form,
            keep_days=keep_days, is_busy=lambda: self.busy, now=lambda: self.now,
        )  # fmt: skip
        recordings.running = True
        return recordings

    async def turn(self, recordings: Recordings) -> None:
        """What is finished is taken up, then converted."""
        await recordings.look()
        await recordings.convert()

    def write(self, kind: Any = "mixed", call_id: str = CALL, length_s: float = 2.0, at: datetime = BEGAN) -> Path:
        return write_tone(self.spool / f"{RecordingName(call_id, at, kind).stem}.wav", length_s)

    async def end(self, call_id: str) -> None:
        leg = Leg(uniqueid=call_id, call_id=call_id, channel="PJSIP/x-1", caller="1", exten="2", account="", application="",
                  started_at=1.0, answered_at=2.0, ended_at=3.0, cause=16, is_far_hangup=False, is_lost=False)  # fmt: skip
        await self.store.run(record_legs, [leg], ())

    async def load(self) -> Any:
        return await self.store.read(load_recordings, RecordingQuery())

    def files(self, folder: Path) -> list[str]:
        return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())

    async def test_three_files_of_a_call_are_converted_once_it_is_over(self) -> None:
        for kind in ("mixed", "leg1", "leg2"):
            self.write(kind)
        (self.spool / "notes.txt").write_text("of the admin")
        await self.turn(self.recordings)
        assert await self.load() == []  # it goes on
        await self.end(CALL)
        assert await self.store.read(load_over, [CALL, "other"]) == {CALL}
        await self.turn(self.recordings)
        found = await self.load()
        assert sorted(one.kind for one in found) == ["leg1", "leg2", "mixed"]
        assert self.files(self.spool) == ["notes.txt"]
        stem = f"2026/11/20/{CALL}-20261120T235958Z"
        assert self.files(self.archive) == [f"{stem}-{kind}.mp3" for kind in ("leg1", "leg2", "mixed")]
        for one in found:
            assert (one.call_id, one.duration_s, one.format, one.started_at) == (CALL, 2.0, "mp3", BEGAN)
            assert one.converted_at == self.now
            assert self.recordings.locate(one).stat().st_size == one.bytes
        await self.turn(self.recordings)
        assert await self.load() == found

    async def test_told_that_a_call_is_over_it_does_not_wait_for_the_record(self) -> None:
        self.write()
        self.write(call_id="other")
        self.recordings.record_finished(CALL)
        await self.turn(self.recordings)
        assert [one.call_id for one in await self.load()] == [CALL]

    async def test_it_yields_while_calls_need_the_machine_and_can_be_heard_meanwhile(self) -> None:
        source = self.write()
        self.recordings.record_finished(CALL)
        self.busy = True
        await self.turn(self.recordings)
        (one,) = await self.load()
        assert (one.format, one.converted_at) == ("wav", None)
        assert self.recordings.locate(one) == source
        self.busy = False
        await self.turn(self.recordings)
        (one,) = await self.load()
        assert one.format == "mp3"
        assert not source.exists()

    async def test_what_is_finished_is_listed_while_a_long_one_is_converted(self) -> None:
        converter = SlowConverter()
        again = self.make(converter=converter)
        again.running = False
        self.write()
        again.record_finished(CALL)
        await again.look()
        again.startService()
        assert await deferToThread(converter.began.wait, 30)
        self.write(call_id="other")
        again.record_finished("other")
        try:
            for _ in range(1500):
                self.clock.advance(LOOK_EVERY_S)
                if len(found := await self.load()) == 2:
                    break
                await deferLater(reactor, 0.02)
            assert [(one.call_id, one.format) for one in found] == [("other", "wav"), (CALL, "wav")]
        finally:
            converter.may_go_on.set()
            # What is under way comes to its end, and no other begins.
            await again.stopService()
        assert [(one.call_id, one.format) for one in await self.load()] == [("other", "wav"), (CALL, "mp3")]

    async def test_a_kill_at_each_step_loses_nothing(self) -> None:
        """What a process that died at each step leaves; the next one begins with it."""
        source = self.write()
        content = source.read_bytes()
        self.recordings.record_finished(CALL)
        self.busy = True
        await self.turn(self.recordings)
        # Before the conversion; and in the middle of it.
        target = self.archive / f"2026/11/20/{source.stem}.mp3"
        target.parent.mkdir(parents=True)
        (target.parent / f".{target.name}.part").write_bytes(b"half")
        self.busy = False
        await self.turn(self.make())
        (one,) = await self.load()
        assert self.files(self.archive) == [str(target.relative_to(self.archive))]
        # After the transaction, before the source went.
        source.write_bytes(content)
        await self.turn(self.make())
        assert self.files(self.spool) == []
        assert await self.load() == [one]
        # Converted, and not in the database yet.
        await self.store.run(delete_recordings, [one.id])
        source.write_bytes(content)
        again = self.make()
        again.record_finished(CALL)
        await self.turn(again)
        (other,) = await self.load()
        assert (other.bytes, other.name) == (one.bytes, one.name)
        assert len(self.files(self.archive)) == 1

    async def test_what_a_killed_asterisk_left_is_heard_to_its_end(self) -> None:
        source = self.write()
        content = bytearray(source.read_bytes())
        content[4:8] = content[40:44] = bytes(4)
        source.write_bytes(content)
        self.recordings.record_finished(CALL)
        await self.turn(self.recordings)
        assert await self.load() == []
        long_ago = time.time() - UNTOUCHED_S
        os.utime(source, (long_ago, long_ago))
        for tool in ("ffmpeg", "sox"):
            again = self.make("flac", converter=Converter(Tools(), tool))  # type: ignore[arg-type]
            again.record_finished(CALL)
            await self.turn(again)
            (one,) = await self.load()
            assert one.duration_s == 2.0
            heard = Converter(Tools()).decode(again.locate(one), "flac", self.folder / "heard.wav", 10)
            assert heard == 2.0
            (self.folder / "heard.wav").unlink()
            await again.remove_file(one)
            await self.store.run(delete_recordings, [one.id])
            source.write_bytes(content)
            os.utime(source, (long_ago, long_ago))

    async def test_every_format_by_either_program(self) -> None:
        for form in ("wav", "mp3", "ogg", "flac", "opus"):
            for tool in ("ffmpeg", "sox"):
                if (tool, form) == ("sox", "opus"):
                    continue
                self.write()
                again = self.make(form, converter=Converter(Tools(), tool))  # type: ignore[arg-type]
                again.record_finished(CALL)
                await self.turn(again)
                (one,) = await self.load()
                assert (one.format, one.converted_at) == (form, self.now), (form, tool)
                await self.store.run(delete_recordings, [one.id])

    async def test_one_that_cannot_be_converted_stays_and_is_tried_again(self) -> None:
        source, converter = self.write(), BrokenConverter(Tools())
        again = self.make(converter=converter)
        again.record_finished(CALL)
        await self.turn(again)
        converter.broken = False
        await self.turn(again)  # not yet
        (one,) = await self.load()
        assert (one.converted_at, source.exists(), self.files(self.archive)) == (None, True, [])
        self.clock.advance(RETRY_AFTER_S)
        await self.turn(again)
        (one,) = await self.load()
        assert one.format == "mp3"

    async def test_one_that_is_deleted_meanwhile_does_not_come_back(self) -> None:
        self.write()
        self.recordings.record_finished(CALL)
        self.busy = True
        await self.turn(self.recordings)
        (one,) = await self.load()
        await self.recordings.remove_file(one)
        await self.store.run(delete_recordings, [one.id])
        self.busy = False
        await self.turn(self.recordings)
        assert (await self.load(), self.files(self.spool), self.files(self.archive)) == ([], [], [])

    async def test_silence_is_no_recording(self) -> None:
        source = self.write(length_s=0)
        os.utime(source, (0, 0))
        self.recordings.record_finished(CALL)
        await self.turn(self.recordings)
        assert (await self.load(), self.files(self.spool)) == ([], [])

    async def test_a_link_is_not_followed(self) -> None:
        secret = self.folder / "secret.wav"
        write_tone(secret)
        (self.spool / f"{RecordingName(CALL, BEGAN, 'mixed').stem}.wav").symlink_to(secret)
        assert list_finished(self.spool, time.time()) == []

    async def test_old_ones_go(self) -> None:
        keeping = self.make(keep_days=30)
        for days in (0, 29, 31, 400):
            call_id = f"call.{days}"
            self.write(call_id=call_id, at=self.now - timedelta(days=days))
            keeping.record_finished(call_id)
        await self.turn(keeping)
        assert await self.recordings.expire() == 0  # for ever
        assert await keeping.expire() == 2
        assert sorted(one.call_id for one in await self.load()) == ["call.0", "call.29"]
        assert len(self.files(self.archive)) == 2

    async def test_pages_and_filters(self) -> None:
        for number in range(5):
            self.write(call_id=f"call.{number}", at=BEGAN + timedelta(seconds=number))
            self.recordings.record_finished(f"call.{number}")
        self.busy = True
        await self.turn(self.recordings)
        first = await self.store.read(load_recordings, RecordingQuery(limit=2))
        rest = await self.store.read(load_recordings, RecordingQuery(limit=9, before_id=first[-1].id))
        assert [one.call_id for one in (*first, *rest)] == [f"call.{n}" for n in (4, 3, 2, 1, 0)]
        assert await self.store.read(count_recordings, RecordingQuery(limit=2, before_id=first[-1].id)) == 5
        for query, wanted in (
            (RecordingQuery(call_id="call.3"), ["call.3"]),
            (RecordingQuery(kind="leg1"), []),
            (RecordingQuery(since=BEGAN + timedelta(seconds=3)), ["call.4", "call.3"]),
            (RecordingQuery(until=BEGAN + timedelta(seconds=1)), ["call.0"]),
        ):
            assert [one.call_id for one in await self.store.read(load_recordings, query)] == wanted
        assert await self.store.read(load_recording, first[0].id) == first[0]
        assert await self.store.read(load_recording, 10**12) is None

    async def test_as_a_service_it_looks_by_itself(self) -> None:
        self.write()
        self.recordings.running = False
        self.recordings.record_finished(CALL)
        self.recordings.startService()
        # Stopping waits for the look that is under way.
        await self.recordings.stopService()
        assert len(await self.load()) == 1
        assert self.clock.getDelayedCalls() == []
