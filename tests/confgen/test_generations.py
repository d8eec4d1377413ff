"""Generations on a real disk: whole or not there, readable by Asterisk's group alone, safe against a crash at every system call."""

import errno
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from confgen.generations import (
    drop_link,
    linked_generation,
    list_generations,
    name_generation,
    read_generation,
    remove_old_generations,
    switch_link,
    write_generation,
)

OLD = {"a.conf": "[a]\n", "b.conf": "[é]\n"}
NEW = {"a.conf": "[a]\nx = 1\n", "c.conf": "[c]\n"}


class TestWrite:
    def test_what_is_written_is_read(self, tmp_path):
        name = write_generation(tmp_path, 3, OLD)
        found = read_generation(tmp_path, name)
        assert (found.files, found.edited, found.revision) == (OLD, (), 3)
        assert list_generations(tmp_path) == (name,)
        assert name == name_generation(3, OLD)

    def test_name_follows_revision_names_and_texts(self):
        names = {name_generation(*it) for it in [(1, OLD), (2, OLD), (1, NEW), (1, {"a.conf": "", "b.conf": ""})]}
        assert len(names) == 4
        assert name_generation(1, OLD) == name_generation(1, dict(reversed(OLD.items())))

    @pytest.mark.parametrize("umask", [0o000, 0o077])
    def test_modes_do_not_follow_the_umask(self, tmp_path, umask):
        before = os.umask(umask)
        try:
            name = write_generation(tmp_path / "x", 1, OLD)
        finally:
            os.umask(before)
        home = tmp_path / "x" / "generations" / name
        assert {stat.S_IMODE(path.stat().st_mode) for path in home.iterdir()} == {0o640}
        assert [stat.S_IMODE(path.stat().st_mode) for path in (home, home.parent)] == [0o750, 0o750]

    def test_group_comes_from_above(self, tmp_path):
        tmp_path.chmod(0o2750)
        home = tmp_path / "generations" / write_generation(tmp_path, 1, OLD)
        assert home.stat().st_mode & stat.S_ISGID

    def test_the_shipped_unit_allows_it(self, tmp_path, monkeypatch):
        """tandem.service has UMask=0027 and RestrictSUIDSGID: a chmod that names a setgid bit is refused, whoever owns the folder."""
        unit = (Path(__file__).parents[2] / "systemd" / "tandem.service").read_text()
        assert "UMask=0027\n" in unit
        chmod = os.chmod

        def restricted_chmod(path, mode, **options):
            if mode & (stat.S_ISGID | stat.S_ISUID):
                raise PermissionError(errno.EPERM, "RestrictSUIDSGID", str(path))
            chmod(path, mode, **options)

        tmp_path.chmod(0o2750)
        monkeypatch.setattr(os, "chmod", restricted_chmod)
        before = os.umask(0o027)
        try:
            home = tmp_path / "generations" / write_generation(tmp_path, 1, OLD)
        finally:
            os.umask(before)
        assert stat.S_IMODE(home.stat().st_mode) == 0o2750

    def test_again_changes_nothing(self, tmp_path):
        name = write_generation(tmp_path, 1, OLD)
        before = (tmp_path / "generations" / name).stat()
        assert write_generation(tmp_path, 1, OLD) == name
        after = (tmp_path / "generations" / name).stat()
        assert (after.st_ino, after.st_mtime_ns, after.st_ctime_ns) == (
            before.st_ino,
            before.st_mtime_ns,
            before.st_ctime_ns,
        )

    def test_edits_are_found_and_kept_aside(self, tmp_path):
        name = write_generation(tmp_path, 1, OLD)
        home = tmp_path / "generations" / name
        (home / "a.conf").write_bytes(b"\xff")
        (home / "b.conf").unlink()
        (home / "new.conf").write_text("x")
        assert read_generation(tmp_path, name).edited == ("a.conf", "b.conf", "new.conf")
        assert write_generation(tmp_path, 1, OLD) == name
        assert read_generation(tmp_path, name).edited == ()
        (aside,) = (tmp_path / "generations").glob("*.edited-*")
        assert (aside / "new.conf").read_text() == "x"

    def test_without_its_manifest_all_is_edited(self, tmp_path):
        name = write_generation(tmp_path, 1, OLD)
        (tmp_path / "generations" / name / "manifest.json").unlink()
        assert read_generation(tmp_path, name).edited == ("a.conf", "b.conf")

    def test_unknown(self, tmp_path):
        with pytest.raises(FileNotFoundError):
            read_generation(tmp_path, "1-000000000000")
        with pytest.raises(FileNotFoundError):
            switch_link(tmp_path, "current", "1-000000000000")
        assert list_generations(tmp_path) == ()

    def test_full_disk(self, tmp_path, monkeypatch):
        name = write_generation(tmp_path, 1, OLD)
        switch_link(tmp_path, "current", name)

        def refuse(descriptor):
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(os, "fsync", refuse)
        with pytest.raises(OSError, match="No space"):
            write_generation(tmp_path, 2, NEW)
        assert [path.name for path in (tmp_path / "generations").iterdir()] == [name]
        assert linked_generation(tmp_path, "current") == name


class TestLinks:
    def test_switch(self, tmp_path):
        old, new = write_generation(tmp_path, 1, OLD), write_generation(tmp_path, 2, NEW)
        assert linked_generation(tmp_path, "current") is None
        for name in (old, new, old):
            switch_link(tmp_path, "current", name)
            assert linked_generation(tmp_path, "current") == name
        assert (tmp_path / "current" / "a.conf").read_text() == OLD["a.conf"]
        assert not (tmp_path / "current").readlink().is_absolute()
        assert sorted(path.name for path in tmp_path.iterdir()) == ["current", "generations"]
        drop_link(tmp_path, "current")
        drop_link(tmp_path, "current")
        assert linked_generation(tmp_path, "current") is None

    def test_old_ones_go_but_never_those_in_use(self, tmp_path):
        names = [write_generation(tmp_path, revision, OLD) for revision in range(6)]
        switch_link(tmp_path, "current", names[0])
        switch_link(tmp_path, "live", names[1])
        (tmp_path / "generations" / ".unfinished-0").mkdir()
        assert remove_old_generations(tmp_path, keep=2) == (names[2], names[3])
        assert {path.name for path in (tmp_path / "generations").iterdir()} == {names[0], names[1], names[4], names[5]}
        assert remove_old_generations(tmp_path, keep=10) == ()


# Writes and switches, and dies before the n-th call into the kernel that matters.
CRASH = """
import os, sys
from pathlib import Path
from confgen import generations
folder, step = Path(sys.argv[1]), int(sys.argv[2])
count = 0
def die_in_time(event, args):
    global count
    path = os.fsdecode(args[0]) if args and isinstance(args[0], (str, bytes, os.PathLike)) else ""
    if event in {"os.rename", "os.mkdir", "os.symlink", "os.chmod", "open"} and str(folder) in str(path) + str(args[1:2]):
        count += 1
        if count == step:
            os.kill(os.getpid(), 9)
sys.addaudithook(die_in_time)
files = {"a.conf": "[a]\\nx = 1\\n", "c.conf": "[c]\\n"}
generations.switch_link(folder, "current", generations.write_generation(folder, 2, files))
os._exit(0)
"""


def test_killed_at_every_step(tmp_path):
    """Whatever the moment, `current` is the old or the new generation, whole, and the next run completes it."""
    seen = set()
    for step in range(1, 60):
        folder = tmp_path / str(step)
        old = write_generation(folder, 1, OLD)
        switch_link(folder, "current", old)
        done = subprocess.run(
            [sys.executable, "-c", CRASH, str(folder), str(step)],
            cwd=Path(__file__).parents[2],
            timeout=30,
            check=False,
        )
        current = linked_generation(folder, "current")
        assert current is not None
        found = read_generation(folder, current)
        assert (found.files, found.edited) in ((OLD, ()), (NEW, ()))
        seen.add((done.returncode, found.files == NEW))
        # Every generation on the disk is whole.
        assert all(not read_generation(folder, name).edited for name in list_generations(folder))
        switch_link(folder, "current", write_generation(folder, 2, NEW))
        remove_old_generations(folder, keep=1)
        assert read_generation(folder, linked_generation(folder, "current")).files == NEW
        assert sorted(path.name for path in folder.iterdir()) == ["current", "generations"]
        if done.returncode == 0:
            break
    assert {(-9, False), (-9, True), (0, True)} >= seen >= {(-9, False), (0, True)}
    assert done.returncode == 0
    assert step > 10  # it did die in many places
