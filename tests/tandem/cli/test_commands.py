"""The command line without a running process: exit codes, messages, and that nothing is half done."""

import fcntl
import json
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from tandem.cli import exits
from tandem.cli.main import COMMANDS, main

EXAMPLE = Path(__file__).parents[3] / "examples" / "pbx.yaml"


class Admin:
    """An admin with an empty machine."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.settings = folder / "etc" / "tandem.yaml"

    def run(self, *arguments, code=exits.DONE, environ=None):
        result = CliRunner().invoke(
            main, ["--settings", str(self.settings), *map(str, arguments)], env=environ, catch_exceptions=False
        )
        assert result.exit_code == code, result.output
        return result.output

    def init(self):
        folder = self.folder
        values = {
            "state_dir": folder / "state",
            "run_dir": folder / "run",
            "database.path": folder / "db" / "tandem.db",
        }
        return self.run("init", *(f"--set={key}={value}" for key, value in values.items()))


@pytest.fixture
def admin(tmp_path):
    return Admin(tmp_path)


@pytest.fixture
def ready(admin):
    admin.init()
    return admin


def test_init_makes_everything_once(admin):
    first = admin.init()
    assert "Admin token, shown only now: tandem_1_" in first
    assert "calls_kept" in admin.settings.read_text()
    assert stat.S_IMODE((admin.folder / "db" / "tandem.db").stat().st_mode) == 0o600
    token = first.partition("now: ")[2].split()[0]
    assert token.encode() not in (admin.folder / "db" / "tandem.db").read_bytes()
    assert not (admin.folder / "run").exists()  # `tandem serve` makes it, for itself alone
    second = admin.run("init")
    assert "kept as it is)" in second
    assert "token" not in second
    assert "--set was not written" in admin.run("init", "--set=calls_kept=5")
    assert "calls_kept: 5" not in admin.settings.read_text()


def test_init_in_a_place_that_cannot_be(admin):
    (admin.folder / "file").write_text("")
    output = admin.run("init", f"--set=state_dir={admin.folder}/file/state", code=exits.FAILED)
    assert "file/state: Not a directory" in output
    assert not admin.settings.exists()


def test_init_refuses_a_setting_it_does_not_know_and_leaves_nothing(admin):
    assert "no such setting: colour" in admin.run("init", "--set=colour=red", code=exits.USAGE)
    assert not admin.settings.exists()
    assert "KEY=VALUE" in admin.run("init", "--set=colour", code=exits.USAGE)


def test_wrong_settings_name_file_key_and_rule(ready):
    ready.settings.write_text("fastagi: {port: 99999}\ncolour: red\n")
    output = ready.run("check", code=exits.USAGE)
    assert f"{ready.settings}: fastagi.port: " in output
    assert "colour: unknown key" in output
    assert "TANDEM_FASTAGI_PROT" in ready.run("check", code=exits.USAGE, environ={"TANDEM_FASTAGI_PROT": "1"})


def test_import_export_import_is_the_same_revision_and_the_same_bytes(ready, tmp_path):
    assert "Revision 1: " in ready.run("import", EXAMPLE)
    assert "applied at the next start" in ready.run("import", EXAMPLE)
    assert "Nothing differs from revision 1." in ready.run("import", EXAMPLE)
    exported = tmp_path / "exported.yaml"
    ready.run("export", exported)
    assert stat.S_IMODE(exported.stat().st_mode) == 0o600
    assert "Nothing differs from revision 1." in ready.run("import", exported)
    assert ready.run("export") == exported.read_text()


def test_a_broken_document_changes_nothing(ready, tmp_path):
    ready.run("import", EXAMPLE)
    before = (ready.folder / "db" / "tandem.db").read_bytes()
    broken = tmp_path / "broken.yaml"
    broken.write_text(EXAMPLE.read_text().replace("{queue: support}", "{queue: suport}").replace("pin: 2580", "pin: x"))
    output = ready.run("import", broken, code=exits.USAGE)
    line = broken.read_text()[: broken.read_text().index("pin: x")].count("\n") + 1
    assert output.splitlines()[0] == f"{broken}:{line}: voicemail_boxes[0].pin: must be 4 to 12 digits"
    assert "Nothing was changed." in output
    assert (ready.folder / "db" / "tandem.db").read_bytes() == before
    assert "Nothing was changed." in ready.run("import", "--dry-run", EXAMPLE)
    assert (ready.folder / "db" / "tandem.db").read_bytes() == before


def test_import_while_another_holds_the_database(ready):
    with (ready.folder / "db" / "tandem.db.lock").open("a+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.write("tandem serve (pid 1)\n")
        lock.flush()
        assert "is using the database" in ready.run("import", EXAMPLE, code=exits.BUSY)


def test_serve_while_another_holds_the_database(ready):
    with (ready.folder / "db" / "tandem.db.lock").open("a+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        argv = [sys.executable, "-m", "tandem", "--settings", str(ready.settings), "serve"]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False, cwd=EXAMPLE.parents[1])
    assert done.returncode == exits.BUSY
    assert "is using the database" in done.stderr


def test_without_database_the_message_says_what_to_do(ready):
    (ready.folder / "db" / "tandem.db").unlink()
    assert "tandem init" in ready.run("export", code=exits.UNREACHABLE)


def test_a_newer_schema_is_refused(ready):
    connection = sqlite3.connect(ready.folder / "db" / "tandem.db")
    connection.execute("PRAGMA user_version = 999")
    connection.close()
    assert "newer" in ready.run("export", code=exits.UNREACHABLE)


def test_explain(ready):
    ready.run("import", EXAMPLE)
    output = ready.run("route", "explain", "+493023125000", "--from", "+4930999", "--at", "2026-11-16T11:00+01:00")
    assert "schedule office: open" in output
    assert "menu main" in output
    assert "--trunk" not in output
    # A number as the carrier writes it is another one without the carrier's number plan.
    assert "for carrier's way of writing numbers: --trunk" in ready.run("route", "explain", "03023125000")
    answer = json.loads(
        ready.run("route", "explain", "03023125000", "--trunk", "carrier", "--at", "2026-12-25T11:00", "--json")
    )
    assert answer["jump"].startswith("tandem-enter,voicemail,1(1000,")
    assert answer["revision"] == 1
    assert "blocked" in ready.run("route", "explain", "+493023125001", "--from", "+4930 23125666".replace(" ", ""))
    assert "trunk" in ready.run("route", "explain", "1", "--trunk", "nobody", code=exits.USAGE)
    assert "ISO 8601" in ready.run("route", "explain", "1", "--at", "tomorrow", code=exits.USAGE)


def test_explain_a_document_that_was_never_imported(ready, tmp_path):
    document = tmp_path / "small.yaml"
    document.write_text('dids: [{number: "4930*", destination: {hangup: busy}}]\n')
    assert "hang up (busy)" in ready.run("route", "explain", "4930555", "--document", document)
    assert "No DID matches" in ready.run("route", "explain", "555", "--document", document, code=exits.FAILED)


def test_calls_and_apply_need_the_process(ready):
    assert "no Tandem is running" in ready.run("calls", code=exits.UNREACHABLE)
    assert "no Tandem is running" in ready.run("config", "apply", code=exits.UNREACHABLE)


def test_check_names_a_remedy_for_each(ready):
    found = json.loads(ready.run("check", "--json", code=exits.FAILED))
    bad = {finding["what"]: finding["remedy"] for finding in found if not finding["well"]}
    assert set(bad) == {"database", "AMI login tandem", "AMI login tandem-config", "FastAGI", "process"}
    assert all(bad.values())
    assert "tandem import" in bad["database"]


def test_help_has_the_exit_codes():
    told = " ".join(CliRunner().invoke(main, ["--help"]).output.split()).partition("Exit codes: ")[2]
    codes = {value for name, value in vars(exits).items() if name.isupper() and isinstance(value, int)}
    readme = (EXAMPLE.parents[1] / "README.md").read_text().partition("Exit codes: ")[2]
    for text in (told, readme):
        assert {int(part.split()[0]) for part in text.partition(".")[0].split("; ")} == codes == {0, 1, 2, 3, 4}


def test_validate_needs_no_settings_and_no_database(admin, tmp_path):
    told = admin.run("validate", EXAMPLE)
    assert "pbx.yaml is right: 1 trunks, 6 endpoints" in told
    assert not (admin.folder / "etc").exists()
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "a.yaml").write_text("dids: [{number: 1, destination: {queue: sales}}]")
    (tmp_path / "parts" / "b.yaml").write_text("queues: [{name: sales, fallback: {hangup: busy}}]")
    assert json.loads(admin.run("validate", tmp_path / "parts", "--json"))["objects"] == {"queues": 1, "dids": 1}
    told = admin.run("validate", tmp_path / "parts" / "a.yaml", code=exits.USAGE)
    assert "a.yaml:1: dids[0].destination.queue: there is no queue 'sales'" in told


def test_the_schema_is_one_json_document(admin):
    assert "endpoints" in json.loads(admin.run("schema"))["properties"]


def test_an_export_names_the_secrets_that_the_document_named(ready, tmp_path):
    folder = tmp_path / "pbx"
    folder.mkdir()
    (folder / "phones.yaml").write_text(
        "endpoints: [{extension: 1001, secret: {env: PHONE}}, {extension: 1002, secret: plain-secret}]"
    )
    ready.run("import", folder, "--note", "why", environ={"PHONE": "from-the-environment"})
    told = ready.run("export")
    assert "secret: {env: PHONE}" in told
    assert "secret: plain-secret" in told
    assert "from-the-environment" not in told
    assert "from-the-environment" in ready.run("export", "--plain")
    # Changed by another way since: what is exported is what there is.
    with sqlite3.connect(ready.folder / "db" / "tandem.db") as db:
        db.execute("UPDATE objects SET body = json_set(body, '$.secret', 'changed-since') WHERE key = '1001'")
    assert "secret: changed-since" in ready.run("export")
    told = ready.run("import", folder, code=exits.USAGE, environ={"PHONE": None})
    assert "endpoints[0].secret: the environment has no PHONE" in told


def test_route_tests_of_documents_and_of_the_newest_revision(ready, tmp_path):
    assert "5 route tests, 0 failed." in ready.run("test", EXAMPLE)
    assert ready.run("test") == "There is no route test (`expect:`).\n"
    ready.run("import", EXAMPLE)
    assert "passed  +493023125001 from +15550199123: hang up (rejected)" in ready.run("test")
    broken = tmp_path / "broken.yaml"
    broken.write_text(EXAMPLE.read_text().replace("2: {queue: sales}", "2: {queue: support}"))
    told = ready.run("test", broken, code=exits.FAILED)
    assert (
        "FAILED  03023125000 over carrier at 2026-11-23T10:00, keys 2: comes to queue support, not to queue sales"
        in told
    )
    assert [bool(it["problem"]) for it in json.loads(ready.run("test", broken, "--json", code=exits.FAILED))].count(
        True
    ) == 1
    told = ready.run("import", broken, code=exits.USAGE)
    assert "expect 03023125000 over carrier at 2026-11-23T10:00, keys 2: comes to queue support" in told
    assert "1 of 5 route tests fail. Nothing was changed." in told
    assert len(ready.run("config", "history").splitlines()) == 1


def test_a_plan_of_documents_shows_the_change_and_makes_none(ready, tmp_path):
    ready.run("import", EXAMPLE)
    text = EXAMPLE.read_text().replace(
        "name: Front desk\n    secret: change-me-front-desk", "name: Hall\n    secret: another-secret-here"
    )
    changed = tmp_path / "changed.yaml"
    changed.write_text(text.replace("  - name: thanks\n", "  - name: thanks\n    description: new\n"))
    told = ready.run("plan", changed, "-m", "the hall")
    for line in ("~ announcements.thanks", "~ endpoints.1000", "    name: Front desk -> Hall", "    secret: ******** -> ********",
                 "pjsip.conf (added)", "0 to create, 2 to change, 0 to delete."):  # fmt: skip
        assert line in told
    assert "another-secret-here" not in told
    assert "\x1b[" not in told
    assert len(ready.run("config", "history").splitlines()) == 1
    with sqlite3.connect(ready.folder / "db" / "tandem.db") as db:
        ((plan_id, note, head),) = db.execute("SELECT plan_id, note, head FROM plans").fetchall()
    assert (note, head) == ("the hall", 1)
    assert f"tandem apply --plan {plan_id}" in told
    ready.run("apply", "--plan", plan_id, code=exits.UNREACHABLE)
    ready.run("drift", code=exits.UNREACHABLE)
    assert "there is no plan '../x'" in ready.run("apply", "--plan", "../x", code=exits.USAGE)
    shown = json.loads(ready.run("plan", EXAMPLE, "--json"))
    assert (shown["plan"]["objects"], shown["plan"]["head"], shown["plan"]["live"]) == ([], 1, None)


def test_a_plan_is_coloured_on_a_terminal():
    from rich.console import Console

    from tandem.cli.main import Screen
    from tandem.cli.plan import say_changes

    screen = Screen(None)
    screen.out = Console(force_terminal=True, highlight=False, color_system="standard")
    with screen.out.capture() as captured:
        say_changes(screen, ["+ endpoints.1001", "- queues.sales", "[bold]not markup"])
    added, removed, plain, *_ = captured.get().split("\n")
    assert (added, removed) == ("\x1b[32m+ endpoints.1001\x1b[0m", "\x1b[31m- queues.sales\x1b[0m")
    assert plain == "[bold]not markup"


def test_backup_and_restore(ready, tmp_path):
    ready.run("import", EXAMPLE)
    archive = tmp_path / "tandem.tar.gz"
    assert "files" in ready.run("backup", archive)
    told = ready.run("restore", archive, code=exits.USAGE)
    assert "has revisions already: --replace. Nothing was changed." in told
    (tmp_path / "empty.yaml").write_text("{}")
    ready.run("import", tmp_path / "empty.yaml")
    with (ready.folder / "db" / "tandem.db.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        ready.run("restore", archive, "--replace", code=exits.BUSY)
    assert "revision 1 is the newest" in ready.run("restore", archive, "--replace")
    assert "+493023125000" in ready.run("export")
    # On another machine, after a loss: settings, and no database yet.
    other = Admin(tmp_path / "other")
    other.folder.mkdir()
    other.init()
    (other.folder / "db" / "tandem.db").unlink()
    other.run("restore", archive)
    assert other.run("export") == ready.run("export")
    archive.write_bytes(b"no archive")
    assert "is no backup of Tandem's" in ready.run("restore", archive, "--replace", code=exits.USAGE)


def test_another_systems_configuration_becomes_a_document(admin, tmp_path):
    folder = tmp_path / "asterisk"
    folder.mkdir()
    (folder / "pjsip.conf").write_text(
        "#include pjsip.d/*.conf\n[1001]\ntype=endpoint\nauth=a\nt38_udptl=yes\n[a]\ntype=auth\npassword=correct-horse\n"
    )
    (folder / "pjsip.d").mkdir()
    (folder / "pjsip.d" / "more.conf").write_text("[1002]\ntype=endpoint\nauth=a\n")
    told = admin.run("import-conf", folder, "-o", tmp_path / "pbx.yaml")
    assert "pjsip.conf:5: t38_udptl = yes is not carried over" in told
    assert "2 endpoints carried over; 1 things were not, see above." in told
    assert stat.S_IMODE((tmp_path / "pbx.yaml").stat().st_mode) == 0o600
    assert "2 endpoints" in admin.run("validate", tmp_path / "pbx.yaml")
    assert "has none of pjsip.conf" in admin.run("import-conf", tmp_path / "asterisk" / "pjsip.d", code=exits.USAGE)
    dump = tmp_path / "dump.sql"
    dump.write_text(
        "INSERT INTO `users` (`extension`,`name`) VALUES ('1001','Ann');\nINSERT INTO `sip` (`id`,`keyword`,`data`) VALUES ('1001','secret','correct-horse');"
    )
    told = admin.run("import-freepbx", dump)
    assert 'extension: "1001"' in told
    assert "1 endpoints carried over" in told
    dump.write_text("no dump")
    assert "has none of FreePBX's tables" in admin.run("import-freepbx", dump, code=exits.USAGE)


def test_each_command_is_there_by_its_name_and_imports_no_other():
    assert {name: main.get_command(None, name).name for name in COMMANDS} == {name: name for name in COMMANDS}
    program = (
        "import sys; from tandem.cli.main import main; main(sys.argv[1:], standalone_mode=False); print(*sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "calls", "--help"], capture_output=True, text=True, check=True, timeout=60
    )
    assert "What was decided" in done.stdout
    # What checks a PBX takes a second to load.
    assert {"tandem.domain.entities", "twisted", "peewee"}.isdisjoint(done.stdout.split())
