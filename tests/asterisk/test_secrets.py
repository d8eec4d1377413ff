"""Where the secrets of a running Tandem are, and where they never are: not in its log at level debug, not in what its commands print."""

import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lab.pbx import LabPbx

pytestmark = pytest.mark.asterisk

PHONE, CARRIER, PIN, LATER = "swordfish-of-a-phone", "swordfish-of-a-carrier", "918273", "swordfish-come-later"
DOCUMENT = f"""
trunks: [{{name: carrier, authentication: registration, hosts: ["127.0.0.2:5060"], username: us, secret: {CARRIER}}}]
endpoints: [{{extension: 1001, secret: {PHONE}}}]
voicemail_boxes: [{{mailbox: 1001, pin: {PIN}}}]
dids: [{{number: default, destination: {{endpoint: 1001}}}}]
"""


@pytest.fixture(scope="module")
def pbx(asterisk_install: Any) -> Iterator[LabPbx]:
    with LabPbx(asterisk_install, DOCUMENT, settings={"log.level": "debug"}) as pbx:
        pbx.serve()
        yield pbx


def secrets_of(pbx: LabPbx) -> list[str]:
    return [PHONE, CARRIER, PIN, LATER, *pbx.asterisk.ami_secrets.values()]


def test_no_log_and_no_answer_holds_a_secret(pbx: LabPbx) -> None:
    document = pbx.folder / "later.yaml"
    document.write_text(DOCUMENT.replace(PHONE, LATER))
    printed = [pbx.tandem("import", str(document), "--json").stdout]
    document.write_text(DOCUMENT.replace(PHONE, f'"{LATER}\\x07"').replace("pin: ", "pim: "))
    refused = pbx.tandem("import", str(document), check=False)
    assert refused.returncode == 2
    printed += [refused.stdout, refused.stderr]
    printed += [
        pbx.tandem(*command).stdout for command in (["check", "--json"], ["calls", "--json"], ["config", "apply"])
    ]
    log = pbx.read_log()
    assert "DEBUG" in log
    for secret in secrets_of(pbx):
        assert secret not in log
        assert not any(secret in text for text in printed)


def test_files_with_secrets_are_closed_to_others(pbx: LabPbx) -> None:
    etc = pbx.asterisk.etc / "tandem"
    holders = {
        path
        for folder in (pbx.folder, etc)
        for path in folder.rglob("*")
        if path.is_file() and any(secret.encode() in path.read_bytes() for secret in secrets_of(pbx))
    }
    names = {path.name for path in holders if not path.is_relative_to(etc) and "later" not in path.name}
    assert (
        {"tandem.db"}
        < names
        <= {"tandem.db", "tandem.db-wal", "pbx.yaml", "tandem-dialer.secret", "tandem-config.secret"}
    )
    assert {path.name for path in holders if path.is_relative_to(etc)} == {"pjsip.conf", "voicemail.conf"}
    assert not [path for path in holders if mode_of(path) & 0o007 and "later" not in path.name]
    assert mode_of(pbx.folder / "run") == 0o700
    assert mode_of(pbx.folder / "run" / "control.sock") == 0o600


def test_what_an_admin_edited_by_hand_is_not_lost_and_the_way_out_is_told(pbx: LabPbx) -> None:
    current = pbx.asterisk.etc / "tandem" / "current"
    generation = current.resolve()
    (generation / "queues.conf").write_text("; mine\n")
    document = pbx.folder / "edited.yaml"
    document.write_text(DOCUMENT + "menus: []\ngeneral: {language: de}\n")
    refused = pbx.tandem("import", str(document), check=False)
    assert refused.returncode == 1
    assert re.search("edited by hand in generation .*: queues.conf .*`adopt` or `discard`", refused.stderr)
    assert (generation / "queues.conf").read_text() == "; mine\n"
    assert "; mine" in pbx.tandem("config", "edits", check=False).stdout
    pbx.tandem("config", "discard")
    assert "is live" in pbx.tandem("config", "apply").stdout
    assert "; mine" not in (generation / "queues.conf").read_text()
    kept = [path.read_text() for path in current.parent.glob("**/*") if path.is_file() and "queues.conf" in path.name]
    assert "; mine\n" in kept


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)
