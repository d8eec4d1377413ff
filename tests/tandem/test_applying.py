"""The use-cases of changes with an Asterisk that plays along, or does not: what a dry run sends, and a stop at each step of an apply."""

import tempfile
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import pytest
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint
from twisted.trial.unittest import TestCase

from confgen.generations import linked_generation, list_generations, switch_link, write_generation
from confgen.render import RenderTarget
from confgen.verify import Check
from tandem.ami import actions
from tandem.ami.client import AmiClient
from tandem.ami.errors import AmiConnectionLost
from tandem.ami.testing import FakeAsterisk
from tandem.applying import Applying, Beside
from tandem.domain.changes import ApplyRefused, ApplyStopped, PlanOutdated
from tandem.domain.entities import Announcement, Endpoint, Expectation, Pbx
from tandem.domain.sounds import Sound
from tandem.live import Live
from tandem.planning import Planning, compose_plan, read_ground
from tandem.store.database import open_store
from tandem.store.objects import save_pbx
from tandem.store.plans import save_plan
from tandem.store.revisions import load_head, load_live, load_revisions, record_live
from tandem.store.sounds import record_sound
from tandem.target import read_dialplan

TARGET = RenderTarget(agi_url="agi://127.0.0.1:4573", recordings_dir="/r", dialplan_dir="/d")


def look(*folders):
    """Everything about every file: ctime cannot be turned back."""
    return {
        str(path): (found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_mode)
        for folder in folders
        for path in (folder, *folder.rglob("*"))
        for found in [path.lstat()]
    }


class ApplyingTest(TestCase):
    timeout = 30

    async def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.etc = self.folder / "etc"
        self.etc.mkdir()
        self.store = open_store(self.folder / "tandem.db")
        self.addCleanup(self.store.stop)
        self.live = Live(reactor, self.store, self.folder / "live.snapshot")
        self.addCleanup(self.live.stop)
        self.asterisk = FakeAsterisk()
        port = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(self.asterisk)
        self.addCleanup(port.stopListening)
        endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", port.getHost().port)
        self.ami = AmiClient(endpoint, self.asterisk.username, self.asterisk.secret)
        self.ami.startService()
        self.addCleanup(self.ami.stopService)
        await self.ami.when_ready()
        self.applying = self.make()
        await self.live.load()
        self.store.run_now(
            save_pbx,
            Pbx(endpoints=(Endpoint(extension="1001", secret="correct-horse"),)),
            author="test",
            note="",
            at=datetime.now(UTC),
        )

    def make(self):
        async def after(_):
            raise AssertionError("nothing went live")

        self.beside = Beside(self.etc, TARGET, read_dialplan())
        return Applying(self.store, self.live, self.ami, lambda: self.beside, Check("off"), reactor, after=after)

    def leave_unanswered(self, action):
        """Fires when Asterisk is asked this; it never answers."""
        asked = Deferred()

        def swallow(_):
            if not asked.called:
                asked.callback(None)

        self.asterisk.answers[action] = swallow
        return asked

    def links(self):
        return linked_generation(self.etc, "current"), linked_generation(self.etc, "live")

    async def test_a_dry_run_asks_asterisk_nothing_and_writes_nothing(self):
        watched = (self.etc, *self.folder.glob("tandem.db*"))
        before, asked = look(*watched), len(self.asterisk.received)
        for full in (False, True):
            view = await self.applying.apply_head(dry_run=True, full=full)
            assert (view.live, view.verified, view.reloaded) == (False, 0, ())
            assert "pjsip.conf" in view.changed
        await self.applying.plan_head()
        # Its own answer comes after those of whatever was sent before.
        await self.ami.send_list(actions.queue_status())
        assert [message.name for message in self.asterisk.received[asked:]] == ["QueueStatus"]
        assert look(*watched) == before
        assert self.live.current.revision == 0

    async def test_a_failing_route_test_stops_every_apply_before_anything_is_written(self):
        """Also one that came in by a way that did not look: the database was written by another program."""
        expect = Expectation(did="+49301", destination={"endpoint": "1001"})
        self.store.run_now(save_pbx, Pbx(expect=(expect,)), author="test", note="", at=datetime.now(UTC))
        for dry_run in (False, True):
            with pytest.raises(ApplyRefused, match=r"route tests expect them: expect \+49301: comes to hang up"):
                await self.applying.apply_head(dry_run=dry_run)
        assert self.links() == (None, None)
        assert await self.store.read(load_live) is None
        assert self.applying.problem is not None

    def plan_with(self, **changes):
        pbx = Pbx(endpoints=(Endpoint(extension="1001", secret="correct-horse", **changes),))
        plan = compose_plan(pbx, {}, self.store.run_now(read_ground, pbx), self.beside, "test", "why")
        self.store.run_now(save_plan, plan)
        return plan

    async def test_a_plan_names_sounds_that_are_not_there_and_is_not_refused(self):
        notice = Announcement(name="notice", prompts=("tandem/hello", "beep"), then={"hangup": "normal"})
        pbx = Pbx(announcements=(notice,))

        def plan():
            return compose_plan(pbx, {}, self.store.run_now(read_ground, pbx), self.beside, "test", "why").shown

        missing = {"object": "announcements/notice", "field": "prompts", "sound": "tandem/hello"}
        assert plan()["missing_sounds"] == [missing]
        self.store.run_now(save_pbx, pbx, author="test", note="", at=datetime.now(UTC))
        assert [asdict(one) for one in (await self.applying.plan_head()).missing_sounds] == [missing]
        sound = Sound(name="hello", language="de", version="1", source="wav", text="", voice="", duration_s=1, bytes=1,
                      formats=("alaw",), created_at=datetime.now(UTC))  # fmt: skip
        self.store.run_now(record_sound, sound, is_new=True)
        assert plan()["missing_sounds"] == []
        assert (await self.applying.plan_head()).missing_sounds == ()

    async def applying_live(self):
        """One that lets a revision go live, and its plans."""

        async def after(_):
            pass

        applying = Applying(self.store, self.live, self.ami, lambda: self.beside, Check("off"), reactor, after=after)
        return applying, Planning(self.store, self.live, self.ami, lambda: self.beside, applying, lambda: None)

    async def test_a_plan_is_refused_by_whatever_moved_since_and_nothing_is_changed(self):
        _, planning = await self.applying_live()
        with pytest.raises(KeyError):
            await planning.apply_plan("nosuch", "", author="test")
        plan = self.plan_with(name="Anna")
        assert [change["key"] for change in plan.shown["objects"]] == ["1001"]
        # Somebody wrote a generation of files, and it became live.
        name = write_generation(self.etc, 1, {"pjsip.conf": "; theirs\n"})
        switch_link(self.etc, "current", name)
        with pytest.raises(PlanOutdated, match="files on the disk are not those") as outdated:
            await planning.apply_plan(plan.plan_id, "", author="test")
        assert len(outdated.value.moved) == 1
        plan = self.plan_with(name="Anna")
        self.store.run_now(record_live, 1, datetime.now(UTC))
        with pytest.raises(PlanOutdated, match="revision 1 is live, not none"):
            await planning.apply_plan(plan.plan_id, "", author="test")
        plan = self.plan_with(name="Anna")
        # A file edited by hand, though no link moved.
        (self.etc / "current" / "pjsip.conf").write_text("; edited\n")
        with pytest.raises(PlanOutdated, match="files on the disk"):
            await planning.apply_plan(plan.plan_id, "", author="test")
        plan = self.plan_with(name="Anna")
        self.store.run_now(save_pbx, Pbx(), author="test", note="", at=datetime.now(UTC))
        with pytest.raises(PlanOutdated, match="the newest revision is 2, not 1"):
            await planning.apply_plan(plan.plan_id, "", author="test")
        assert self.store.run_now(load_head) == 2

    async def test_a_plan_is_saved_as_it_was_shown_and_once(self):
        applying, planning = await self.applying_live()

        async def applied(**_):
            return "applied"

        self.patch(applying, "apply_head", applied)
        plan = self.plan_with(name="Anna")
        assert await planning.apply_plan(plan.plan_id, "because", author="test") == "applied"
        assert self.store.run_now(load_head) == 2
        (revision,) = self.store.run_now(load_revisions, 1)
        assert (revision.note, revision.author, revision.changed) == ("because", "test", 1)
        with pytest.raises(PlanOutdated, match="it was saved as revision 2 already"):
            await planning.apply_plan(plan.plan_id, "", author="test")
        shown = await planning.find_plan(plan.plan_id)
        assert (shown["revision"], shown["note"]) == (2, "why")

    async def test_a_stop_while_modules_reload(self):
        asked = self.leave_unanswered("Reload")
        await self.stop_after(asked)

    async def test_a_stop_while_the_live_one_is_asked(self):
        asked = self.leave_unanswered("PJSIPShowEndpoint")
        await self.stop_after(asked)

    async def stop_after(self, asked):
        """Quiet, with the disk as it was, and the next process has the same to do."""
        running = Deferred.fromCoroutine(self.applying.apply_head())
        waiting = Deferred.fromCoroutine(self.applying.apply_head(full=True))
        await asked
        assert self.links()[0] is not None
        with self.assertNoLogs(level="WARNING"):
            await self.applying.stop()
            for ended in (running, waiting):
                with pytest.raises(ApplyStopped, match="next start applies"):
                    await ended
            with pytest.raises(ApplyStopped):
                await self.applying.apply_head()
            await self.ami.stopService()
        assert self.flushLoggedErrors() == []
        assert self.links() == (None, None)
        assert await self.store.read(load_live) is None
        assert len(list_generations(self.etc)) == 1
        plan = await self.make().plan_head()
        assert (plan.live, "res_pjsip.so" in plan.modules) == (None, True)

    async def test_a_stop_where_nothing_is_under_way(self):
        await self.applying.stop()
        with pytest.raises(ApplyStopped):
            await self.applying.apply_head()

    async def test_an_asterisk_that_goes_away_while_it_is_asked_is_told_as_that(self):
        asked = self.leave_unanswered("PJSIPShowEndpoint")
        running = Deferred.fromCoroutine(self.applying.apply_head())
        await asked
        self.asterisk.cut()
        with pytest.raises(AmiConnectionLost):
            await running
        assert self.links() == (None, None)
        assert "is not live" in self.applying.problem
