"""Applying: only what changed is reloaded, and what was not confirmed is never forgotten."""

import sys
import threading
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from twisted.internet.defer import CancelledError, Deferred, ensureDeferred
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from confgen.apply import Steps, apply_snapshot, plan_snapshot
from confgen.generations import (
    linked_generation,
    list_generations,
    read_generation,
    switch_link,
    write_generation,
)
from confgen.render import RenderTarget
from confgen.values import ValueUnrepresentable
from tandem.domain.changes import ApplyBusy, ApplyRefused, Complaint, HandEdited
from tandem.domain.destinations import HangupDestination
from tandem.domain.entities import Endpoint, Pbx, Queue
from tandem.domain.snapshot import build_snapshot

TARGET = RenderTarget(agi_url="agi://127.0.0.1:4573", recordings_dir="/r", dialplan_dir="/d")
PBX = Pbx(
    endpoints=(Endpoint(extension="1001", secret="12345678"),),
    queues=(Queue(name="q", fallback=HangupDestination()),),
)
OTHER_QUEUE = replace(PBX, queues=(Queue(name="q", weight=5, fallback=HangupDestination()),))
ALL_MODULES = ["res_pjsip.so", "app_voicemail.so", "res_musiconhold.so", "pbx_config.so", "app_queue.so"]


def list_files(folder):
    """Everything but the time of the last reading."""
    found = ((path, path.lstat()) for path in folder.rglob("*"))
    return {path: (stat.st_mode, stat.st_ino, stat.st_nlink, stat.st_size, stat.st_mtime_ns) for path, stat in found}


class ReloadFailed(Exception):
    pass


class ApplyTest(TestCase):
    def setUp(self):
        folder = TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name) / "tandem"
        self.reloaded = []
        self.failing = None

    async def reload(self, module):
        # What Asterisk would read now must be there already.
        self.reloaded.append(module)
        self.seen = read_generation(self.folder, linked_generation(self.folder, "current"))
        if module == self.failing:
            raise ReloadFailed(module)

    def apply(self, pbx, revision):
        self.reloaded.clear()
        return ensureDeferred(apply_snapshot(build_snapshot(revision, pbx), TARGET, self.folder, self.reload))

    def links(self):
        return linked_generation(self.folder, "current"), linked_generation(self.folder, "live")

    async def test_first(self):
        applied = await self.apply(PBX, 1)
        assert self.reloaded == ALL_MODULES
        assert applied.reloaded == tuple(ALL_MODULES)
        assert applied.changed == (
            "extensions.conf",
            "musiconhold.conf",
            "pjsip.conf",
            "queuerules.conf",
            "queues.conf",
            "voicemail.conf",
        )
        assert (applied.previous, applied.revision) == (None, 1)
        assert self.links() == (applied.generation, applied.generation)
        assert "[1001]" in self.seen.files["pjsip.conf"]

    async def test_only_what_changed(self):
        first = await self.apply(PBX, 1)
        second = await self.apply(OTHER_QUEUE, 2)
        assert self.reloaded == ["app_queue.so"]
        assert (second.changed, second.previous) == (("queues.conf",), first.generation)
        files = read_generation(self.folder, second.generation).files
        assert "revision 1 is the last" in files["pjsip.conf"]
        assert "revision 2 is the last" in files["queues.conf"]

    async def test_nothing_to_do_touches_nothing(self):
        await self.apply(PBX, 1)
        before = list_files(self.folder)
        applied = await self.apply(PBX, 2)
        assert self.reloaded == []
        assert (applied.changed, applied.reloaded) == ((), ())
        assert list_files(self.folder) == before

    async def test_refused_value_touches_nothing(self):
        await self.apply(PBX, 1)
        before = list_generations(self.folder), self.links()
        queue = Queue(name="general", fallback=HangupDestination())
        bad = replace(PBX, queues=(queue,))
        with pytest.raises(ValueUnrepresentable):
            await self.apply(bad, 2)
        assert (list_generations(self.folder), self.links()) == before
        assert self.reloaded == []

    async def test_cancelled_while_it_switches_it_is_taken_back_and_not_after_that_switched(self):
        first = await self.apply(PBX, 1)
        begun, may_go_on = threading.Event(), threading.Event()

        def switch_slowly(folder, name, generation):
            if generation != first.generation:
                begun.set()
                assert may_go_on.wait(30)
            switch_link(folder, name, generation)

        self.patch(sys.modules["confgen.apply"], "switch_link", switch_slowly)
        applying = self.apply(OTHER_QUEUE, 2)
        await deferToThread(begun.wait)
        applying.cancel()
        may_go_on.set()
        with pytest.raises(CancelledError):
            await applying
        assert self.links() == (first.generation, None)
        assert self.reloaded == []

    async def test_failed_reload_is_taken_back_and_not_forgotten(self):
        first = await self.apply(PBX, 1)
        self.failing = "app_queue.so"
        with pytest.raises(ReloadFailed):
            await self.apply(OTHER_QUEUE, 2)
        assert self.links() == (first.generation, None)
        self.failing = None
        # Back to what is on the disk: Asterisk may run on something else, so all is reloaded.
        await self.apply(PBX, 3)
        assert self.reloaded == ALL_MODULES
        assert self.links() == (first.generation, first.generation)

    async def test_first_that_fails_is_done_again(self):
        self.failing = "pbx_config.so"
        with pytest.raises(ReloadFailed):
            await self.apply(PBX, 1)
        assert self.links()[1] is None
        self.failing = None
        await self.apply(PBX, 1)
        assert self.reloaded == ALL_MODULES

    async def test_crash_while_reloading(self):
        first = await self.apply(PBX, 1)
        # Killed after the switch and before the confirmation: the link is new, and nothing says that Asterisk has read it.
        plan = plan_snapshot(build_snapshot(2, OTHER_QUEUE), TARGET, self.folder).plan
        new = write_generation(self.folder, 2, plan.files)
        switch_link(self.folder, "current", new)
        assert self.links() == (new, first.generation)
        await self.apply(OTHER_QUEUE, 2)
        assert self.reloaded == ["app_queue.so"]
        assert self.links() == (new, new)

    async def test_two_at_once(self):
        """The second of two processes is told, and touches nothing; here the first is this one."""
        hanging = Deferred()
        first = ensureDeferred(apply_snapshot(build_snapshot(1, PBX), TARGET, self.folder, lambda module: hanging))
        while linked_generation(self.folder, "current") is None:
            await self.pause()
        with pytest.raises(ApplyBusy):
            await self.apply(OTHER_QUEUE, 2)
        assert self.reloaded == []
        hanging.callback(None)
        await first
        await self.apply(OTHER_QUEUE, 2)

    async def test_checked_before_anything_is_written(self):
        await self.apply(PBX, 1)
        before = {path: path.lstat().st_ctime_ns for path in self.folder.rglob("*")}
        asked = []

        async def refuse(touched):
            asked.append(touched)
            raise ApplyRefused("check", (Complaint("queues.q", "weight", "is wrong"),))

        self.reloaded.clear()
        steps = Steps(self.reload, check=refuse)
        with pytest.raises(ApplyRefused, match=r"queues\.q\.weight: is wrong"):
            await apply_snapshot(build_snapshot(2, OTHER_QUEUE), TARGET, self.folder, steps)
        assert [touched.queues for touched in asked] == [{"q"}]
        assert self.reloaded == []
        assert {path: path.lstat().st_ctime_ns for path in self.folder.rglob("*")} == before

    async def test_what_the_live_one_does_not_have_is_taken_back(self):
        first = await self.apply(PBX, 1)
        seen = []

        async def differ(expected):
            seen.append(expected)
            return (Complaint("queues.q", "weight", "must be 5, and Asterisk has 0"),)

        self.reloaded.clear()
        with pytest.raises(ApplyRefused, match="taken back") as caught:
            await apply_snapshot(build_snapshot(2, OTHER_QUEUE), TARGET, self.folder, Steps(self.reload, verify=differ))
        assert caught.value.stage == "live"
        assert seen[0].queues["q"].get("weight") == "5"
        assert self.reloaded == ["app_queue.so", "app_queue.so"]  # there, and back
        assert "weight = 0" in self.seen.files["queues.conf"]
        assert self.links() == (first.generation, first.generation)

    async def test_a_first_apply_that_fails_leaves_nothing_to_read(self):
        async def differ(expected):
            return (Complaint("queues.q", "", "Asterisk does not have it"),)

        async def reload(module):
            self.reloaded.append(module)

        with pytest.raises(ApplyRefused):
            await apply_snapshot(build_snapshot(1, PBX), TARGET, self.folder, Steps(reload, verify=differ))
        assert self.links() == (None, None)
        assert self.reloaded == ALL_MODULES * 2

    async def test_hand_edit_stops_it(self):
        first = await self.apply(PBX, 1)
        path = self.folder / "current" / "queues.conf"
        path.write_text(path.read_text() + "; mine\n")
        with pytest.raises(HandEdited) as caught:
            await self.apply(OTHER_QUEUE, 2)
        assert caught.value.files == ("queues.conf",)
        assert "queues.conf" in str(caught.value)
        assert self.links()[0] == first.generation
        assert self.reloaded == []

    async def test_static_files_belong_to_the_generation(self):
        await self.apply(PBX, 1)
        self.reloaded.clear()
        static = {"tandem-enter.conf": "[tandem-enter]\n"}
        applied = await apply_snapshot(build_snapshot(2, PBX), TARGET, self.folder, self.reload, static)
        assert applied.changed == ("tandem-enter.conf",)
        assert self.reloaded == ["pbx_config.so"]
        assert (self.folder / "current" / "tandem-enter.conf").read_text() == "[tandem-enter]\n"

    async def test_old_generations_are_removed(self):
        for revision in range(1, 26):
            queue = Queue(name="q", weight=revision, fallback=HangupDestination())
            await self.apply(replace(PBX, queues=(queue,)), revision)
        assert len(list_generations(self.folder)) == 20

    def pause(self):
        from twisted.internet import reactor

        done = Deferred()
        reactor.callLater(0.005, done.callback, None)
        return done
