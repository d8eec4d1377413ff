"""What init makes of Asterisk's own files: idempotent, with a backup, and taken back to the byte."""

import stat

import pytest

from confgen.host_files import (
    BACKUP_SUFFIX,
    BEGIN,
    AmiUsers,
    plan_install,
    plan_uninstall,
    read_ami_secret,
    remove_backups,
    write_host_file,
)

USERS = AmiUsers("tandem", "a" * 32, "tandem-config", "b" * 32)
ADMIN = {
    "pjsip.conf": "[udp]\ntype = transport\nbind = 0.0.0.0:5060\n",
    "extensions.conf": "[general]\nstatic = yes\n[globals]\nMINE = 1\n[mine]\nexten => 1,1,NoOp()\n",
    "queues.conf": "[general]\nautofill = yes",  # no line's end
    "voicemail.conf": '[general]\nformat = wav\n#include "zones/*.conf"\n',
    "manager.conf": "[general]\nenabled = yes\nport = 5038\n\n[mine]\nsecret = x\n",
}


@pytest.fixture
def etc(tmp_path):
    for name, text in ADMIN.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o644)
    (tmp_path / "zones").mkdir()
    (tmp_path / "zones" / "own.conf").write_text("[zonemessages]\nmine = Europe/Paris|Q\n")
    return tmp_path


def install(etc, mode="guest"):
    files = plan_install(mode, etc, etc / "tandem", USERS, ("pbx_config",), "0.0.0.0:5060")
    for file in files:
        if file.is_changed:
            write_host_file(file)
    return [file.path.name for file in files if file.is_changed]


def uninstall(etc):
    files = plan_uninstall(etc)
    for file in files:
        write_host_file(file)
    remove_backups(files)


def read_all(etc):
    return {str(path.relative_to(etc)): path.read_bytes() for path in etc.rglob("*") if path.is_file()}


@pytest.mark.parametrize("mode", ["guest", "owner"])
def test_twice_is_once_and_back_is_back(etc, mode):
    before = read_all(etc)
    assert set(install(etc, mode)) >= set(ADMIN)
    after = read_all(etc)
    assert install(etc, mode) == []
    assert read_all(etc) == after
    assert all(after[f"{name}{BACKUP_SUFFIX}"] == text.encode() for name, text in ADMIN.items())
    uninstall(etc)
    left = read_all(etc)
    # A file without a line's end has one now: nothing else is left of us.
    left["queues.conf"] = left["queues.conf"].removesuffix(b"\n") if mode == "guest" else left["queues.conf"]
    left.pop(f"queues.conf{BACKUP_SUFFIX}", None)
    assert left == before


def test_guest_adds_only_what_is_missing(etc):
    install(etc)
    text = {name: (etc / name).read_text() for name in ADMIN}
    assert all(text[name].startswith(ADMIN[name]) for name in ADMIN)
    assert "[globals]\n#tryinclude" not in text["extensions.conf"]  # it has one
    assert "[zonemessages]" not in text["voicemail.conf"]  # an included file has it
    assert "[general](+)\npersistentmembers = yes\n" in text["queues.conf"]
    added = text["manager.conf"].partition(BEGIN)[2]
    assert "enabled" not in added
    assert "write = call,agent,originate,reporting\n" in added  # the dialer's: without `system`
    assert stat.S_IMODE((etc / "pjsip.conf").stat().st_mode) == 0o644


def test_an_empty_machine(tmp_path):
    install(tmp_path)
    assert "type = transport\nprotocol = udp\nbind = 0.0.0.0:5060\n#tryinclude" in (tmp_path / "pjsip.conf").read_text()
    assert "[globals]\n#tryinclude" in (tmp_path / "extensions.conf").read_text()
    assert "[zonemessages]\n#tryinclude" in (tmp_path / "voicemail.conf").read_text()
    assert "enabled = yes\nbindaddr = 127.0.0.1\n" in (tmp_path / "manager.conf").read_text()
    assert stat.S_IMODE((tmp_path / "manager.conf").stat().st_mode) == 0o640
    uninstall(tmp_path)
    assert read_all(tmp_path) == {}


def test_a_transport_of_the_admins_is_enough(etc):
    install(etc)
    assert (etc / "pjsip.conf").read_text().count("type = transport") == 1


def test_an_include_of_the_admins_own_is_not_doubled(etc):
    (etc / "pjsip.conf").write_text("#include tandem/current/pjsip.conf\n[udp]\ntype = transport\n")
    assert "pjsip.conf" not in install(etc)


def test_what_the_admin_writes_later_stays(etc):
    install(etc)
    path = etc / "pjsip.conf"
    path.write_text(path.read_text() + "[later]\ntype = endpoint\n")
    uninstall(etc)
    assert path.read_text() == ADMIN["pjsip.conf"] + "[later]\ntype = endpoint\n"
    assert (etc / f"pjsip.conf{BACKUP_SUFFIX}").read_text() == ADMIN["pjsip.conf"]


def test_the_secret_is_found_again(etc):
    install(etc)
    assert read_ami_secret(etc, "tandem-config") == USERS.config_secret
    assert read_ami_secret(etc, "nobody") is None


def test_bytes_that_are_no_utf8_survive(etc):
    (etc / "pjsip.conf").write_bytes(b"; caf\xe9\n")
    install(etc)
    assert (etc / "pjsip.conf").read_bytes().startswith(b"; caf\xe9\n")
