"""The lab itself: a real call, clean ends, instances side by side."""

import contextlib
import json
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lab.freezing import freeze
from lab.playground import PLAYGROUND
from lab.rtp import RtpSink
from lab.sipp import AwaitBye, Caller, HangUp, Press, SippFailed, Speak, Wait, place_calls, register_phones, run_phone
from tandem.asterisk.instance import AsteriskFailed, AsteriskInstance
from tandem.asterisk.namespaces import NamespaceError, World

pytestmark = pytest.mark.asterisk


@pytest.fixture(scope="module")
def asterisk(asterisk_factory) -> AsteriskInstance:
    return asterisk_factory(config=PLAYGROUND)


def wait_until(is_true, timeout_s: float = 30.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not is_true():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.02)


# A call


@pytest.mark.parametrize("by", ["rfc4733", "info"])
def test_a_call_is_answered_and_its_keys_arrive(asterisk, by):
    callers = [Caller("100", f"+4021333{by[-1]}1"), Caller("100", f"+4021333{by[-1]}2", name="Ana Pop")]
    result = place_calls(
        asterisk, callers, steps=[Wait(1), Press("4", by), Wait(0.2), Press("*", by), AwaitBye(10)]
    ).wait()
    assert (result.exit_status, result.successful, result.failed, result.retransmissions) == (0, 2, 0, 0)
    assert [(leg.is_answered, leg.ended_by, leg.refusal) for leg in result.legs] == [(True, "them", None)] * 2
    for caller in callers:
        assert f"keys 4* from {caller.caller}" in asterisk.read_log()


def test_a_refused_call_tells_its_code(asterisk):
    (leg,) = place_calls(asterisk, [Caller("120")]).wait().legs
    assert (leg.is_answered, leg.refusal, leg.ended_by) == (False, 486, None)


def test_a_registered_phone_rings_answers_and_hangs_up(asterisk):
    register_phones(asterisk, [("101", "lab-101")], port=5070)
    with run_phone(asterisk, port=5070, ring_s=0.3, steps=[Speak(0.5), HangUp()]) as phone, RtpSink(asterisk) as sink:
        (caller,) = place_calls(asterisk, [Caller("101", "+40213334455")], media_port=sink.port).wait().legs
        (called,) = phone.stop().legs
        assert 20 <= sum(sink.count_packets().values()) <= 30  # half a second, 50 a second
    assert [event.word for event in caller.events] == ["ringing", "answered", "bye"]
    assert [event.word for event in called.events] == ["invited", "called", "answered", "hangup"]
    assert "+40213334455" in called.events[0].detail


def test_a_phone_that_refuses_and_one_that_the_caller_leaves_ringing(asterisk):
    register_phones(asterisk, [("102", "lab-102")], port=5072)
    with run_phone(asterisk, port=5072, refuse=486) as phone:
        (caller,) = place_calls(asterisk, [Caller("102")]).wait().legs
        assert (caller.refusal, phone.stop().legs[0].refusal) == (486, 486)
    with run_phone(asterisk, port=5072, ring_s=60) as phone:
        (caller,) = place_calls(asterisk, [Caller("102")], answer_timeout_s=0.5).wait().legs
        assert caller.events[-1].word == "cancelled"
        assert [event.word for event in phone.stop().legs[0].events] == ["invited", "called", "cancelled"]


def test_a_wrong_password_is_not_registered(asterisk):
    with pytest.raises(SippFailed, match="0 of 1 phones"):
        register_phones(asterisk, [("103", "wrong")], port=5074)


def test_the_number_a_stranger_forges_arrives_as_sent(asterisk):
    result = place_calls(asterisk, [Caller("100", "555%0d%0aEvent%3a%20Forged")], steps=[HangUp()]).wait()
    assert result.successful == 1
    wait_until(lambda: "Event: Forged" in (asterisk.log / "cdr-custom/cdr.json").read_text())


def test_a_hundred_calls_a_second(asterisk):
    result = place_calls(asterisk, [Caller("100")], rate=100, count=200, steps=[Wait(0.5), HangUp()]).wait()
    assert (result.answered, result.failed, result.retransmissions) == (200, 0, 0)


def test_every_call_has_its_records(asterisk_factory):
    own = asterisk_factory(config=PLAYGROUND)
    place_calls(own, [Caller("100", "+40210000001")], steps=[HangUp()]).wait()
    wait_until((own.log / "cdr-custom/cdr.json").exists)
    (cdr,) = [json.loads(line) for line in (own.log / "cdr-custom/cdr.json").read_text().splitlines()]
    assert (cdr["src"], cdr["dst"], cdr["disposition"]) == ("+40210000001", "100", "ANSWERED")
    wait_until(lambda: "HANGUP" in (own.log / "cel-custom/cel.json").read_text())


# The instance


def test_it_boots_without_a_complaint(asterisk_factory):
    own = asterisk_factory(config=PLAYGROUND)
    complaints = [line for line in own.read_log().splitlines() if "WARNING" in line or "ERROR" in line]
    assert complaints == []
    assert own.cli("core show uptime").startswith("System uptime")


def test_astdb_and_secrets_outlive_a_crash_and_a_restart(asterisk_factory):
    own = asterisk_factory(config=PLAYGROUND)
    own.cli("database put lab key kept")
    # Asterisk commits AstDB once a second at most: only then is it safe from a crash.
    with contextlib.closing(sqlite3.connect(own.folder / "lib/astdb.sqlite3", timeout=5)) as astdb:
        wait_until(lambda: astdb.execute("SELECT value FROM astdb WHERE key = '/lab/key'").fetchone() == ("kept",))
    pid = own.process.pid
    own.kill()
    with pytest.raises(AsteriskFailed, match="not running"):
        _ = own.process
    own.start()
    own.restart()
    assert own.process.pid != pid
    assert "kept" in own.cli("database get lab key")


def test_a_shared_folder_has_the_same_path_inside(asterisk_factory, tmp_path):
    (tmp_path / "more.conf").write_text("[more]\nexten => s,1,NoOp(from a shared folder)\n")
    own = asterisk_factory(config={"extensions.conf": f"#include {tmp_path}/more.conf\n"}, shared=[tmp_path])
    assert "from a shared folder" in own.cli("dialplan show more")
    (tmp_path / "more.conf").write_text("[more]\nexten => s,1,NoOp(changed)\n")
    own.reload("dialplan")
    wait_until(lambda: "changed" in own.cli("dialplan show more"))
    own.write_config("extensions.conf", "; empty\n")
    with pytest.raises(ValueError, match="outside"):
        own.write_config("../elsewhere.conf", "")


def test_a_hang_up_at_once_is_no_failure_whatever_the_caller_does(asterisk_factory):
    own = asterisk_factory(
        config={**PLAYGROUND, "extensions.conf": "[lab]\nexten => 100,1,Answer(,i)\n same => n,Hangup()\n"}
    )
    for steps in ([Speak(0.1), AwaitBye()], [Press("1", "info"), AwaitBye()], [Press("1")]):
        result = place_calls(own, [Caller("100")], count=10, rate=50, steps=steps).wait()
        assert (result.successful, {leg.ended_by for leg in result.legs}) == (10, {"them"})


def test_a_configuration_that_cannot_boot_is_told_with_the_log(asterisk_install):
    broken = {"modules.conf": "[modules]\nautoload = no\nrequire = no_such_module.so\n"}
    with pytest.raises(AsteriskFailed, match="no_such_module"), AsteriskInstance(asterisk_install, config=broken):
        pass


def test_the_two_ami_users_log_in_and_only_one_may_run_commands(asterisk):
    for user, may_command in (("tandem-dialer", False), ("tandem-config", True)):
        with asterisk.connect_ami() as ami, ami.makefile("rwb") as stream:
            stream.readline()
            for action in (
                f"Login\r\nUsername: {user}\r\nSecret: {asterisk.ami_secrets[user]}\r\nEvents: off",
                "Command\r\nCommand: core show uptime",
            ):
                stream.write(f"Action: {action}\r\n\r\n".encode())
                stream.flush()
                lines = list(iter(stream.readline, b"\r\n"))
            assert (b"Response: Success\r\n" in lines) is may_command


def test_two_instances_have_the_same_ports_and_nothing_else_in_common(asterisk_factory):
    first, second = asterisk_factory(config=PLAYGROUND), asterisk_factory(config=PLAYGROUND)
    first.cli("database put lab who first")
    second.cli("database put lab who second")
    assert "first" in first.cli("database get lab who")
    assert "second" in second.cli("database get lab who")
    runs = [place_calls(instance, [Caller("100")], steps=[HangUp()]) for instance in (first, second)]
    assert [run.wait().answered for run in runs] == [1, 1]
    second.close()
    assert first.cli("core show uptime")


def test_the_installed_tree_cannot_be_written(asterisk):
    if asterisk.install.root is not None:  # else it is the host's own, and our folders are all it is given
        done = asterisk.run(
            ["chroot", str(asterisk.folder / "root"), "touch", "/usr/share/asterisk/spoilt"], check=False
        )
        assert "Read-only file system" in done.stderr


def test_a_socket_made_inside_is_served_here(asterisk):
    with asterisk.listen() as listener:
        port = listener.getsockname()[1]
        with asterisk.connect("127.0.0.1", port) as client:
            served, _ = listener.accept()
            with served:
                client.sendall(b"hello")
                assert served.recv(10) == b"hello"
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), timeout=1)  # not in the host's network


# The world

OWNER = """
import sys, time
from lab.playground import PLAYGROUND
from tandem.asterisk.install import find_asterisk
from tandem.asterisk.instance import AsteriskInstance
instance = AsteriskInstance(find_asterisk())
instance.start()
other = instance.popen(["sh", "-c", "sleep 1000 & sleep 1000"])
print(instance.folder, instance.world.holder_pid, flush=True)
time.sleep(1000)
"""


def processes_with(text: str) -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if text.encode() in path.read_bytes():
                found.append(path.parent.name)
        except OSError:
            continue
    return found


def network_namespaces() -> set[str]:
    found = set()
    for path in Path("/proc").glob("[0-9]*/ns/net"):
        try:
            found.add(str(path.readlink()))
        except OSError:
            continue
    return found


def test_kill_9_of_the_owner_leaves_nothing(asterisk_install):
    owner = subprocess.Popen([sys.executable, "-c", OWNER], stdout=subprocess.PIPE, text=True)
    try:
        folder, holder_pid = owner.stdout.readline().split()
        network = str(Path(f"/proc/{holder_pid}/ns/net").readlink())
        assert processes_with(folder)
        assert network in network_namespaces()
    finally:
        owner.send_signal(signal.SIGKILL)
        owner.wait()
        owner.stdout.close()
    # No process, so no namespace; with it go its ports and its mounts.
    wait_until(lambda: not processes_with(folder) and network not in network_namespaces())
    assert folder not in Path("/proc/mounts").read_text()
    shutil.rmtree(folder)


def test_closing_a_world_ends_orphans_and_is_idempotent():
    world = World()
    world.run(["sh", "-c", "sleep 987654 & exit"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_until(lambda: processes_with("987654"))
    world.close()
    assert processes_with("987654") == []
    world.close()
    with pytest.raises(NamespaceError, match="closed"):
        world.popen(["true"])


def test_a_process_inside_is_a_child_of_ours_and_sees_only_its_own():
    with World() as world:
        child = world.popen(["sleep", "100"])
        freeze(child)
        assert Path(f"/proc/{child.pid}/stat").read_text().split()[2] == "T"
        listed = world.run(["sh", "-c", "ls -d /proc/[0-9]*"]).stdout.split()
        assert len(listed) <= 4
        with pytest.raises(subprocess.TimeoutExpired):
            world.run(["sleep", "100"], timeout_s=0.1)
        with pytest.raises(subprocess.CalledProcessError):
            world.run(["false"])
        with pytest.raises(FileNotFoundError):
            world.popen(["/no/such/program"])
