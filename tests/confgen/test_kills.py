"""kill -9 at every step of an apply, and a full disk: what is on the disk is the old or the new generation, whole."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from confgen.apply import plan_snapshot
from confgen.generations import (
    linked_generation,
    list_generations,
    read_generation,
    remove_old_generations,
    switch_link,
    write_generation,
)
from confgen.render import RenderTarget
from tandem.domain.entities import Endpoint, Pbx
from tandem.domain.snapshot import build_snapshot

TARGET = RenderTarget(agi_url="agi://127.0.0.1:4573", recordings_dir="/r", dialplan_dir="/d")
OLD = Pbx(endpoints=(Endpoint(extension="1001", secret="12345678"),))
NEW = Pbx(endpoints=(Endpoint(extension="1001", secret="12345678", name="New"),))

# What sys.addaudithook sees of an apply.
TOUCHES = frozenset(
    {"open", "os.mkdir", "os.rename", "os.symlink", "os.remove", "os.rmdir", "os.chmod", "shutil.rmtree"}
)


def start(folder):
    """The old configuration, applied to its end."""
    prepared = plan_snapshot(build_snapshot(1, OLD), TARGET, folder)
    name = write_generation(folder, 1, prepared.plan.files)
    switch_link(folder, "current", name)
    switch_link(folder, "live", name)
    return name


def apply_all(folder):
    """The steps of `apply_snapshot` on the disk, in its order, in this process."""
    prepared = plan_snapshot(build_snapshot(2, NEW), TARGET, folder)
    name = prepared.previous
    if prepared.plan.changed:
        name = write_generation(folder, 2, prepared.plan.files)
        switch_link(folder, "current", name)
    if linked_generation(folder, "live") != name:
        switch_link(folder, "live", name)
    remove_old_generations(folder, 20)
    return name


def run_killed(folder, step):
    """Whether the child came to its end; else it died by SIGKILL at its `step`-th touch of the folder."""
    child = os.fork()
    if child == 0:
        left = [step]

        def hook(event, arguments):
            if event in TOUCHES and any(str(folder) in str(argument) for argument in arguments):
                left[0] -= 1
                if left[0] < 0:
                    os.kill(os.getpid(), signal.SIGKILL)

        try:
            sys.addaudithook(hook)
            apply_all(folder)
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    return not os.WIFSIGNALED(status)


def test_killed_at_every_step(tmp_path):
    names, step = set(), 0
    while True:
        folder = tmp_path / f"{step}" / "tandem"
        old = start(folder)
        done = run_killed(folder, step)
        current = linked_generation(folder, "current")
        found = read_generation(folder, current)
        names.add(current)
        assert not found.edited, step
        assert ("New" in found.files["pjsip.conf"]) == (current != old)
        for name in list_generations(folder):
            assert not read_generation(folder, name).edited, (step, name)
        # The next one ends it, whatever was left.
        new = apply_all(folder)
        assert linked_generation(folder, "current") == linked_generation(folder, "live") == new
        assert not list((folder / "generations").glob(".unfinished-*"))
        assert not [path for path in folder.iterdir() if path.name.startswith(".")]
        if done:
            break
        step += 1
    assert step > 15
    assert len(names) == 2  # some died before the switch and some after


@pytest.mark.skipif("CI" not in os.environ and os.geteuid() != 0, reason="mounts a small file system")
def test_a_full_disk_is_an_error_before_the_switch(tmp_path):
    """On a file system of 256 KB, in a mount namespace of its own."""
    script = f"""
import errno, sys
sys.path[:0] = {sys.path!r}
from dataclasses import replace
from pathlib import Path
import importlib.util
spec = importlib.util.spec_from_file_location("kills", {str(Path(__file__))!r})
kills = importlib.util.module_from_spec(spec); spec.loader.exec_module(kills)
folder = Path({str(tmp_path)!r}) / "tandem"
old = kills.start(folder)
(folder / "filler").write_bytes(bytes(200_000))
kills.NEW = replace(kills.OLD, endpoints=tuple(replace(kills.OLD.endpoints[0], extension=f"{{n}}") for n in range(1000, 1500)))
try:
    kills.apply_all(folder)
except OSError as error:
    assert error.errno == errno.ENOSPC, error
else:
    sys.exit("it fitted")
assert kills.linked_generation(folder, "current") == kills.linked_generation(folder, "live") == old
assert kills.list_generations(folder) == (old,)
assert not kills.read_generation(folder, old).edited
(folder / "filler").unlink()
"""
    mount = f"mount -t tmpfs -o size=256k tmpfs {tmp_path} && exec {sys.executable} -"
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", mount], input=script, text=True, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
