"""Finding and making an Asterisk: the choice, the lock, half-made trees. debootstrap is a script here; the rest is real."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tandem.asterisk import install
from tandem.asterisk.install import AsteriskUnavailable, find_asterisk, list_mirrors, parse_major
from tandem.asterisk.namespaces import World

TOOLS = ("sh", "bash", "cat", "chroot", "cp", "grep", "ldd", "mkdir", "mount", "sleep", "unshare")

# Makes a tree that can be chrooted into, whose asterisk prints the version in $VERSION_OF_<suite>; notes that it ran; waits for $GO.
FAKE_DEBOOTSTRAP = """#!/bin/sh
set -e
suite=$3 target=$4
echo "$@" >>"$CALLS"
mkdir -p "$target/usr/sbin" "$target/etc" "$target/bin" "$target/var/cache/apt/archives"
echo "I: Extracting asterisk..."
while [ -n "$GO" ] && [ ! -e "$GO" ]; do sleep 0.05; done
cp -L --parents /bin/sh $(ldd /bin/sh | grep -o '/[^ ]*') "$target"
if [ "$suite" = sid ]; then version=$VERSION_OF_sid; else version=$VERSION_OF_forky; fi
printf '#!/bin/sh\\necho "Asterisk %s"\\n' "$version" >"$target/usr/sbin/asterisk"
chmod +x "$target/usr/sbin/asterisk"
"""

FINDER = """
import sys
from pathlib import Path
from tandem.asterisk import install
install.APT = Path(sys.argv[1])
print("found", install.find_asterisk(lambda line: print(line, flush=True)))
"""


@pytest.fixture
def machine(tmp_path, monkeypatch) -> Path:
    """A machine without Asterisk: its PATH has our debootstrap and a few tools, its cache and apt folders are our own."""
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    for tool in (*TOOLS, "chmod"):
        (bin_folder / tool).symlink_to(shutil.which(tool))
    write_script(bin_folder / "debootstrap", FAKE_DEBOOTSTRAP)
    (tmp_path / "apt").mkdir()
    (tmp_path / "apt/sources.list").write_text("deb http://mirror.invalid/debian bookworm main\n")
    monkeypatch.setattr(install, "APT", tmp_path / "apt")
    environment = {
        "PATH": str(bin_folder),
        "TANDEM_CACHE": str(tmp_path / "cache"),
        "CALLS": str(tmp_path / "calls"),
        "GO": "",
    }
    for name, value in {**environment, "VERSION_OF_sid": "22.10.1~dfsg", "VERSION_OF_forky": "22.9.0"}.items():
        monkeypatch.setenv(name, value)
    return tmp_path


def write_script(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


def debootstrap_calls(machine: Path) -> list[str]:
    path = machine / "calls"
    return path.read_text().splitlines() if path.exists() else []


def start_finder(machine: Path) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, "-c", FINDER, str(machine / "apt")], stdout=subprocess.PIPE, text=True)


def wait_until(is_true, timeout_s: float = 30.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not is_true():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.02)


# The choice


@pytest.mark.parametrize("version", ["Asterisk 20.0.0", "Asterisk certified/20.7-cert1", "Asterisk 23.1.0~dfsg"])
def test_the_asterisk_on_the_path_is_preferred(machine, version):
    write_script(machine / "bin/asterisk", f"#!/bin/sh\necho '{version}'\n")
    assert find_asterisk() == install.AsteriskInstall(str(machine / "bin/asterisk"), version, None)
    assert debootstrap_calls(machine) == []


@pytest.mark.asterisk
@pytest.mark.parametrize("answer", ["echo 'Asterisk 18.10.0'", "echo nonsense", "exit 1"])
def test_one_that_is_too_old_or_broken_is_not_used(machine, answer):
    write_script(machine / "bin/asterisk", f"#!/bin/sh\n{answer}\n")
    found = find_asterisk(print)
    assert (found.root, found.major) == (machine / "cache/asterisk-22", 22)


def test_versions():
    examples = {
        "Asterisk 22.10.1+dfsg+~cs6": 22,
        "Asterisk certified/20.7-cert1": 20,
        "Asterisk GIT-21-abc": 21,
        "": 0,
        "Asterisk x": 0,
    }
    assert {text: parse_major(text) for text in examples} == examples


def test_where_nothing_can_be_made_the_message_says_what_to_install(machine, monkeypatch):
    (machine / "apt/sources.list").write_text("deb http://mirror.invalid/thirdparty thing main\n")
    with pytest.raises(AsteriskUnavailable, match="no Debian mirror"):
        find_asterisk()
    (machine / "bin/debootstrap").unlink()
    with pytest.raises(AsteriskUnavailable, match="please install debootstrap"):
        find_asterisk()
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(AsteriskUnavailable, match=r"needs root.*please install Asterisk 20 or newer"):
        find_asterisk()


def test_mirrors_are_read_from_both_formats_of_apt(tmp_path):
    (tmp_path / "sources.list.d").mkdir()
    (tmp_path / "sources.list").write_text(
        "# deb http://no.invalid/debian sid main\n"
        "deb [arch=amd64 signed-by=/k.gpg] http://one.invalid/debian/ trixie main contrib # ours\n"
        "deb-src http://no.invalid/debian trixie main\n"
        "deb http://no.invalid/debian-security trixie-security main\n"
    )
    (tmp_path / "sources.list.d/a.list").write_text(
        "deb https://no.invalid/apt cloud-bookworm main\ndeb cdrom:[x]/ trixie main\n"
    )
    (tmp_path / "sources.list.d/b.sources").write_text(
        "Types: deb deb-src\n# note\nURIs: http://two.invalid/debian\n http://three.invalid/debian\nSuites: sid sid-updates\nComponents: main\n"
        "\nEnabled: no\nTypes: deb\nURIs: http://no.invalid/debian\nSuites: sid\nComponents: main\n"
        "\nTypes: deb\nURIs: http://no.invalid/node\nSuites: nodistro\nComponents: main\n"
    )
    assert list_mirrors(tmp_path) == [
        "http://one.invalid/debian",
        "http://two.invalid/debian",
        "http://three.invalid/debian",
    ]
    assert list_mirrors(tmp_path / "absent") == []


# The making: these need root, as the real thing does


@pytest.mark.asterisk
def test_it_is_made_once_and_reused(machine):
    lines: list[str] = []
    found = find_asterisk(lines.append)
    assert (found.version, found.root) == ("Asterisk 22.10.1~dfsg", machine / "cache/asterisk-22")
    assert any("Extracting" in line for line in lines)
    assert find_asterisk() == found
    assert len(debootstrap_calls(machine)) == 1
    assert "http://mirror.invalid/debian" in debootstrap_calls(machine)[0]
    assert not (found.root / "var/cache/apt/archives").exists()


@pytest.mark.asterisk
def test_two_runs_at_once_make_one(machine, monkeypatch):
    monkeypatch.setenv("GO", str(machine / "go"))
    first = start_finder(machine)
    wait_until(lambda: debootstrap_calls(machine))
    second = start_finder(machine)
    assert "waiting" in second.stdout.readline()
    (machine / "go").touch()
    outputs = [finder.communicate(timeout=20)[0] for finder in (first, second)]
    assert [output.splitlines()[-1].startswith("found") for output in outputs] == [True, True]
    assert len(debootstrap_calls(machine)) == 1


@pytest.mark.asterisk
def test_a_run_killed_half_way_is_cleaned_up_by_the_next(machine, monkeypatch):
    monkeypatch.setenv("GO", str(machine / "go"))
    killed = start_finder(machine)
    wait_until(lambda: list((machine / "cache").glob("making-*/usr/sbin")))
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    (half_made,) = (machine / "cache").glob("making-*")
    assert not (machine / "cache/asterisk-22").exists()
    (machine / "go").touch()
    lines: list[str] = []
    assert find_asterisk(lines.append).major == 22
    assert f"removing {half_made}" in lines[0]
    assert sorted(path.name for path in (machine / "cache").iterdir()) == ["asterisk-22", "lock"]


@pytest.mark.asterisk
def test_the_next_suite_is_tried_and_another_major_is_refused(machine, monkeypatch):
    monkeypatch.setenv("VERSION_OF_sid", "23.0.0")
    assert find_asterisk().version == "Asterisk 22.9.0"
    assert [call.split()[2] for call in debootstrap_calls(machine)] == ["sid", "forky"]
    shutil.rmtree(machine / "cache")
    monkeypatch.setenv("VERSION_OF_forky", "24.0.0")
    with pytest.raises(
        AsteriskUnavailable, match=r"(?s)Debian sid .*23\.0\.0.*pinned to Asterisk 22.*Debian forky .*24\.0\.0"
    ):
        find_asterisk()
    assert [path.name for path in (machine / "cache").iterdir()] == ["lock"]


@pytest.mark.asterisk
def test_a_failing_debootstrap_is_told_with_its_last_lines(machine):
    write_script(machine / "bin/debootstrap", "#!/bin/sh\necho 'E: no such mirror'\nexit 3\n")
    with pytest.raises(AsteriskUnavailable, match=r"status 3: E: no such mirror"):
        find_asterisk()


@pytest.mark.asterisk
def test_each_step_is_told_once_and_each_trouble(machine):
    said = ["I: Unpacking dpkg", "I: Unpacking tar", "W: odd", "W: odder", "I: Configuring dpkg", "I: Unpacking sed"]
    write_script(
        machine / "bin/debootstrap",
        "#!/bin/sh\nprintf '%s\\n' " + " ".join(f"'{line}'" for line in said) + "\nexit 3\n",
    )
    told: list[str] = []
    with pytest.raises(AsteriskUnavailable):
        find_asterisk(told.append)
    shown = [line for line in told if line in said]
    assert shown == ["I: Unpacking dpkg", "W: odd", "W: odder", "I: Configuring dpkg"] * (len(shown) // 4)
    assert shown


@pytest.mark.asterisk
def test_a_cached_tree_of_another_major_is_refused_with_a_remedy(machine):
    root = find_asterisk().root
    write_script(root / "usr/sbin/asterisk", "#!/bin/sh\necho Asterisk 21.0.0\n")
    with pytest.raises(AsteriskUnavailable, match=r"pinned to Asterisk 22.*remove that folder"):
        find_asterisk()


def test_an_orphan_ends_without_the_world_and_leaves_no_zombie():
    with World() as world:
        for _ in range(3):
            world.run(["sh", "-c", "sleep 0.1 & exit 0"])
        deadline = time.monotonic() + 10
        while "sleep" in (left := world.run(["ps", "axo", "stat,args"]).stdout) or "Z" in left.replace("STAT", ""):
            assert time.monotonic() < deadline, left
            time.sleep(0.05)
