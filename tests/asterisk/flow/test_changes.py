"""What changes beside calls: imports while serving, restarts of either side, a database or a manager interface that is gone."""

import hashlib
from typing import Any

import pytest

from confgen.generations import linked_generation, read_generation, switch_link, write_generation
from lab.observe import Observer, wait_until
from lab.pbx import LabPbx
from lab.sipp import Caller, HangUp, SippRun, Wait, place_calls
from tests.asterisk.flow.house import (
    DOCUMENT,
    changed,
)

pytestmark = pytest.mark.asterisk


# ------------------------------------------------------------------------------------- import while serving


def fingerprint(pbx: LabPbx) -> dict[str, tuple[int, str]]:
    """Of every file of ours that an import could write: when it was written, and its content. Recordings of calls before are converted in their own time."""
    config = pbx.asterisk.etc / "tandem"
    files = [path for folder in (config, pbx.folder) for path in folder.rglob("*") if path.is_file()]
    others = (".log", ".yaml", "-shm", "-wal")
    ours = [path for path in files if not path.name.endswith(others) and "recordings" not in path.parts]
    assert any(path.name == "pjsip.conf" for path in ours)
    assert any(path.name == "tandem.db" for path in ours)
    return {str(path): (path.stat().st_mtime_ns, hashlib.sha256(path.read_bytes()).hexdigest()) for path in ours}


def read_revisions(pbx: LabPbx) -> str:
    return next(finding["found"] for finding in pbx.ask("check") if finding["what"] == "database")


def test_a_changed_document_is_live_at_once(observer: Observer) -> None:
    pbx = observer.pbx
    assert observer.call("03010099").reached == "299"
    new = '  - {number: "+493010099", destination: {dialplan: "from-admin,240"}}\n'
    with changed(pbx, "dids:\n", f"dids:\n{new}"):
        assert observer.call("03010099").reached == "240"
        wait_until(
            lambda: "from-admin" in pbx.asterisk.cli("database get tandem-did 493010099"), "the new route in AstDB"
        )
    assert observer.call("03010099").reached == "299"


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("{menu: main}", "{menu: mian}", "mian"),
        ("{queue: empty}", "{queue: empty, extra: 1}", "extra"),
        ("general:\n", "general: [\n", "is no YAML"),
        ("{hangup: busy}", '{did: "+4930200999"}', "+4930200999"),
    ],
)
def test_a_broken_document_changes_nothing(observer: Observer, old: str, new: str, problem: str) -> None:
    pbx = observer.pbx
    before, revisions, mark = fingerprint(pbx), read_revisions(pbx), len(pbx.asterisk.read_log())
    path = pbx.folder / "broken.yaml"
    assert old in DOCUMENT
    path.write_text(DOCUMENT.replace(old, new).replace("from-admin,201", "from-admin,250"))
    done = pbx.tandem("import", str(path), check=False)
    assert done.returncode == 2
    assert problem in done.stdout + done.stderr
    assert "Nothing was changed" in done.stdout + done.stderr
    assert fingerprint(pbx) == before
    assert read_revisions(pbx) == revisions
    assert "eload" not in pbx.asterisk.read_log()[mark:]
    assert observer.call("03010001").reached == "201"


def test_an_import_of_what_is_there_touches_nothing(observer: Observer) -> None:
    pbx = observer.pbx
    exported = pbx.tandem("export").stdout
    before, revisions, mark = fingerprint(pbx), read_revisions(pbx), len(pbx.asterisk.read_log())
    path = pbx.folder / "again.yaml"
    path.write_text(exported)
    assert "Nothing differs" in pbx.tandem("import", str(path)).stdout
    assert fingerprint(pbx) == before
    assert read_revisions(pbx) == revisions
    assert "eload" not in pbx.asterisk.read_log()[mark:]
    assert pbx.tandem("export").stdout == exported


def test_a_pause_and_its_reason_survive_a_reload_of_queues(pbx: LabPbx, phone: SippRun) -> None:
    cli = pbx.asterisk.cli
    cli("queue pause member PJSIP/1002 queue sales reason lunch")
    assert "paused:lunch" in cli("queue show sales")
    with changed(
        pbx,
        "{name: sales, members: [{endpoint: 1002}]",
        "{name: sales, strategy: ringall, members: [{endpoint: 1002}, {endpoint: 1001}]",
    ):
        shown = cli("queue show sales")
        assert "'ringall' strategy" in shown
        assert "paused:lunch" in shown
        assert "PJSIP/1001" in shown
    shown = cli("queue show sales")
    assert "'rrmemory' strategy" in shown
    assert "PJSIP/1001" not in shown
    assert "paused:lunch" in shown
    cli("queue unpause member PJSIP/1002 queue sales")


# ----------------------------------------------------------------------------------- restarts, and what is lost


def is_ready(pbx: LabPbx) -> bool:
    return pbx.tandem("check", check=False).returncode == 0


def test_an_asterisk_that_lost_everything_gets_it_back(observer: Observer) -> None:
    """AstDB emptied of our routes and the queue of its members, then a restart: a new login, and both are there again."""
    pbx = observer.pbx
    cli = pbx.asterisk.cli
    for family in ("tandem-did", "tandem-meta", "tandem-menu"):
        cli(f"database deltree {family}")
    cli("queue remove member PJSIP/1002 from sales")
    pbx.asterisk.restart()
    wait_until(lambda: is_ready(pbx), "ready after the restart of Asterisk", timeout_s=20, every_s=0.2)
    assert "tandem-enter,dialplan,1(201" in cli("database get tandem-did 493010001")
    assert "from-admin" in cli("database get tandem-meta default")
    wait_until(lambda: "PJSIP/1002" in cli("queue show sales"), "the member is back")
    assert observer.call("03010001").reached == "201"


def install_older_dialplan(pbx: LabPbx) -> None:
    """As if the version before had written the files: one context has a line that it does not have now."""
    folder = pbx.asterisk.etc / "tandem"
    name = linked_generation(folder, "current")
    assert name is not None
    files = dict(read_generation(folder, name).files)
    files["tandem-enter.conf"] += "[of-the-version-before]\nexten => s,1,NoOp()\n"
    older = write_generation(folder, 1, files)
    for link in ("current", "live"):
        switch_link(folder, link, older)
    pbx.asterisk.reload("dialplan")
    assert has_older_dialplan(pbx)


def has_older_dialplan(pbx: LabPbx) -> bool:
    return "[ Context 'of-the-version-before'" in pbx.asterisk.cli("dialplan show of-the-version-before")


def test_a_restart_of_tandem_brings_its_dialplan_routes_and_members(observer: Observer) -> None:
    pbx = observer.pbx
    pbx.asterisk.cli("database put tandem-did 493010001 tandem-enter,hangup,1(38,0,,,,)")
    pbx.kill()
    install_older_dialplan(pbx)
    pbx.asterisk.cli("queue remove member PJSIP/1002 from sales")
    pbx.serve()
    wait_until(lambda: not has_older_dialplan(pbx), "the dialplan of this version")
    assert "dialplan,1(201" in pbx.asterisk.cli("database get tandem-did 493010001")
    wait_until(lambda: "PJSIP/1002" in pbx.asterisk.cli("queue show sales"), "the member is back")
    assert observer.call("03010001").reached == "201"


def test_without_its_database_tandem_still_decides_and_says_so(observer: Observer) -> None:
    pbx = observer.pbx
    pbx.kill()
    away = pbx.folder / "away"
    away.mkdir()
    for path in pbx.folder.glob("tandem.db*"):
        path.rename(away / path.name)

    def decides(checked: Any) -> bool:
        return '"what":"FastAGI","well":true' in checked.stdout.replace(" ", "").replace("\n", "")

    try:
        pbx.serve(decides)
        lived = observer.call("03010001")
        assert (lived.reached, len(lived.outcomes)) == ("201", 1)
        checked = pbx.tandem("check", check=False)
        assert checked.returncode == 1
        assert "routing without database" in checked.stdout
        assert str(pbx.folder / "tandem.db") in checked.stdout
        assert not (pbx.folder / "tandem.db").exists()
    finally:
        pbx.kill()
        for path in away.iterdir():
            path.rename(pbx.folder / path.name)
        away.rmdir()
        pbx.serve()


def test_without_manager_interface_calls_are_decided_all_the_same(observer: Observer) -> None:
    pbx = observer.pbx
    manager = pbx.asterisk.etc / "manager.conf"
    text = manager.read_text()
    calls = dict.fromkeys(("03010001", "03010016"), (Wait(0.3), HangUp()))
    try:
        manager.write_text(text.replace("enabled = yes", "enabled = no", 1))
        pbx.asterisk.restart()
        wait_until(lambda: not is_ready(pbx), "check says that AMI is gone")
        run = place_calls(
            pbx.asterisk, [Caller(called, f"03077{called[-2:]}") for called in calls], steps=[Wait(0.5), HangUp()]
        )
        with run:
            legs = run.wait().legs
        assert [leg.ended_by for leg in legs] == ["us", "us"]
        stories = {story["decisions"][0]["called"]: story for story in pbx.ask("calls", "--limit", "10")}
        assert stories["03010001"]["decisions"][0]["outcome"].startswith("tandem-enter,dialplan,1(201")
    finally:
        manager.write_text(text)
        pbx.asterisk.restart()
        wait_until(lambda: is_ready(pbx), "ready again", timeout_s=30, every_s=0.2)
    # By the facts, or while they are unknown yet by app_queue itself.
    assert observer.call("03010016", Wait(1.2), HangUp()).reached == "232"
