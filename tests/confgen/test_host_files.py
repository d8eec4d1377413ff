"""What init makes of Asterisk's own files: idempotent, with a backup, and taken back to the byte."""

import re
import stat
from pathlib import Path

import pytest

from confgen.host_files import (
    BACKUP_SUFFIX,
    BEGIN,
    END,
    FOLDER_MARK,
    AmiUsers,
    make_record_folders,
    plan_install,
    plan_uninstall,
    read_ami_secret,
    remove_backups,
    remove_record_folders,
    write_host_file,
)
from confgen.host_records import HostConflict
from tandem.domain.records import CEL_FIELDS, RecordFiles, list_declined

USERS = AmiUsers("tandem", "a" * 32, "tandem-config", "b" * 32)
ADMIN = {
    "pjsip.conf": "[udp]\ntype = transport\nbind = 0.0.0.0:5060\n",
    "extensions.conf": "[general]\nstatic = yes\n[globals]\nMINE = 1\n[mine]\nexten => 1,1,NoOp()\n",
    "queues.conf": "[general]\nautofill = yes",  # no line's end
    "voicemail.conf": '[general]\nformat = wav\n#include "zones/*.conf"\n',
    "manager.conf": "[general]\nenabled = yes\nport = 5038\n\n[mine]\nsecret = x\n",
    # As Asterisk's samples have them, and one more file of his own.
    "cel.conf": "[general]\napps=dial,park\nevents=APP_START,CHAN_START\n[manager]\n",
    "cel_custom.conf": "[mappings]\nMaster.csv => ${CSV_QUOTE(${eventtype})}\n[mine.json]\nformat = json\nfields = eventtype\n",
    "cdr_manager.conf": "[general]\nenabled = no\n[mappings]\nlinkedid => LinkedID\n",
    "modules.conf": "[modules]\nautoload = no\nload => pbx_config.so\nload = cel_custom.so\n[global]\n",
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
    files = plan_install(
        mode,
        etc,
        etc / "tandem",
        USERS,
        RecordFiles.in_log_folder(Path("/var/log/asterisk")),
        ("pbx_config",),
        "0.0.0.0:5060",
    )
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
    untouched = {"pjsip.conf"} if mode == "guest" else set()  # it has a transport
    assert set(install(etc, mode)) >= {*ADMIN, "sorcery.conf", "tandem-pjsip.conf"} - untouched
    after = read_all(etc)
    assert install(etc, mode) == []
    assert read_all(etc) == after
    assert all(after[f"{name}{BACKUP_SUFFIX}"] == ADMIN[name].encode() for name in ADMIN.keys() - untouched)
    uninstall(etc)
    assert read_all(etc) == before


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
    assert "type = transport\nprotocol = udp\nbind = 0.0.0.0:5060\n" in (tmp_path / "pjsip.conf").read_text()
    assert "[globals]\n#tryinclude" in (tmp_path / "extensions.conf").read_text()
    assert "[zonemessages]\n#tryinclude" in (tmp_path / "voicemail.conf").read_text()
    assert "enabled = yes\nbindaddr = 127.0.0.1\n" in (tmp_path / "manager.conf").read_text()
    assert stat.S_IMODE((tmp_path / "manager.conf").stat().st_mode) == 0o640
    uninstall(tmp_path)
    assert read_all(tmp_path) == {}


def test_of_two_voicemails_one_is_loaded(etc):
    """Debian's app_voicemail_odbc declines without its database, and takes what app_voicemail has registered with it."""
    (etc / "modules.conf").write_text("[modules]\nautoload = yes\n[global]\n")
    install(etc)
    assert (
        "\n[modules](+)\nnoload = app_voicemail_imap.so\nnoload = app_voicemail_odbc.so\n"
        in (etc / "modules.conf").read_text()
    )


def test_a_transport_of_the_admins_is_enough(etc):
    install(etc)
    assert (etc / "pjsip.conf").read_text() == ADMIN["pjsip.conf"]


def test_phones_have_a_file_that_no_other_kind_reads(etc):
    (etc / "sorcery.conf").write_text("[res_pjsip]\ncontact = astdb,registrar\n")
    install(etc)
    added = (etc / "sorcery.conf").read_text().partition(BEGIN)[2]
    assert "[res_pjsip](+)\nendpoint = config,tandem-pjsip.conf,criteria=type=endpoint\n" in added
    assert "[res_pjsip_endpoint_identifier_ip]\nidentify = config," in added
    included = re.findall("#tryinclude (.+)", (etc / "tandem-pjsip.conf").read_text())
    # The admin's phones too: what is mapped here is looked for nowhere else. His additions to ours come last.
    assert included == ["pjsip.conf", f"{etc}/tandem/current/pjsip.conf", f"{etc}/tandem/own/pjsip.conf"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("sorcery.conf", "[res_pjsip]\nendpoint = realtime,ps_endpoints\n"),
        ("sorcery.conf", "[res_pjsip_outbound_registration]\nregistration/own = config,mine.conf\n"),
        # Set up by an earlier version; Asterisk would lose all phones with the next reload if it was not restarted before.
        ("pjsip.conf", f"[udp]\ntype = transport\n\n{BEGIN}\n#tryinclude {{etc}}/tandem/current/pjsip.conf\n{END}\n"),
    ],
)
def test_phones_stay_in_pjsip_conf_where_they_are_or_sorcery_has_a_say(etc, name, text):
    (etc / name).write_text(text.replace("{etc}", str(etc)))
    before = (etc / "sorcery.conf").read_text() if (etc / "sorcery.conf").exists() else None
    install(etc)
    assert f"#tryinclude {etc}/tandem/current/pjsip.conf\n" in (etc / "pjsip.conf").read_text()
    assert not (etc / "tandem-pjsip.conf").exists()
    assert (etc / "sorcery.conf").exists() == (before is not None)


def test_an_include_of_the_admins_own_is_not_doubled(etc):
    (etc / "pjsip.conf").write_text("#include tandem/current/pjsip.conf\n[udp]\ntype = transport\n")
    assert "pjsip.conf" not in install(etc)


def test_what_the_admin_writes_later_stays(etc):
    install(etc)
    path = etc / "extensions.conf"
    path.write_text(path.read_text() + "[later]\nexten => 1,1,NoOp()\n")
    uninstall(etc)
    assert path.read_text() == ADMIN["extensions.conf"] + "[later]\nexten => 1,1,NoOp()\n"
    assert (etc / f"extensions.conf{BACKUP_SUFFIX}").read_text() == ADMIN["extensions.conf"]


def test_the_secret_is_found_again(etc):
    install(etc)
    assert read_ami_secret(etc, "tandem-config") == USERS.config_secret
    assert read_ami_secret(etc, "nobody") is None


def test_bytes_that_are_no_utf8_survive(etc):
    (etc / "pjsip.conf").write_bytes(b"; caf\xe9\n")
    install(etc)
    assert (etc / "pjsip.conf").read_bytes().startswith(b"; caf\xe9\n")


def test_records_are_added_to_the_admins_own(etc):
    install(etc)
    added = {name: (etc / name).read_text().partition(BEGIN)[2] for name in ADMIN}
    assert added["cel.conf"].splitlines()[1:4] == ["[general](+)", "enable = yes", "events = ANSWER,HANGUP"]
    assert added["cel_custom.conf"].splitlines()[1:4] == ["[cel.json]", "format = json", f"fields = {CEL_FIELDS}"]
    assert "[general](+)\nenabled = yes\n[mappings](+)\nsequence => Sequence\n" in added["cdr_manager.conf"]
    loads = [line for line in added["modules.conf"].splitlines() if line.startswith("load")]
    assert loads == [f"load = {name}.so" for name in ("res_cdrel_custom", "cdr_custom", "cdr_manager")]
    assert "[cdr.json]" in (etc / "cdr_custom.conf").read_text()
    assert not (etc / "cdr.conf").exists()  # it is on where nothing is said


def test_what_records_enough_stays_as_it_is(etc):
    own = {
        "cel.conf": "[general]\nenable = yes\nevents = ALL\n",
        "cel_custom.conf": f"[cel.json]\nformat = json\nfields = {CEL_FIELDS.replace(' ', '')}\n",
        "modules.conf": "[modules]\nautoload = yes\nnoload = app_voicemail_imap.so\nload = app_voicemail_odbc.so\n",
        "cdr.conf": "[general]\nenable = yes\n",
    }
    for name, text in own.items():
        (etc / name).write_text(text)
    assert own.keys().isdisjoint(install(etc))


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("cel.conf", "[general]\nenable = no\n", "cel.conf: .*enable = no"),
        ("cdr.conf", "[general]\nenable = off\n", "cdr.conf: .*enable = no"),
        (
            "cel_custom.conf",
            "[cel.json]\nformat = json\nfields = eventtype\n",
            r"cel_custom.conf: \[cel.json\] .*fields",
        ),
        ("cdr_custom.conf", "[cdr.json]\nfields = uniqueid\n", r"cdr_custom.conf: \[cdr.json\] .*asterisk.cdr_file"),
        ("modules.conf", "[modules]\nautoload = yes\nnoload => cel_custom.so\n", "noload = cel_custom.so"),
    ],
)
def test_what_excludes_it_is_refused_before_anything_is_written(etc, name, text, problem):
    (etc / name).write_text(text)
    before = read_all(etc)
    with pytest.raises(HostConflict, match=problem):
        install(etc)
    assert read_all(etc) == before


def test_other_line_ends_and_a_last_line_without_one(etc):
    (etc / "queues.conf").write_bytes(b"[general]\r\nautofill = yes")
    install(etc)
    with (etc / "queues.conf").open("ab") as stream:
        stream.write(b"[later]\n")
    uninstall(etc)
    assert (etc / "queues.conf").read_bytes() == b"[general]\r\nautofill = yes\n[later]\n"


def test_folders_of_records(tmp_path):
    records = RecordFiles.in_log_folder(tmp_path / "log")
    made, opened = records.cel.parent, records.cdr.parent
    opened.mkdir(parents=True)
    opened.chmod(0o755)  # as Debian's package has it
    assert make_record_folders(records) == [made, opened]
    assert make_record_folders(records) == []
    assert [stat.S_IMODE(folder.stat().st_mode) for folder in (made, opened)] == [0o2770, 0o2775]
    records.cel.write_text("{}")
    assert remove_record_folders(records) == [made]  # records are never taken away
    records.cel.unlink()
    (made / FOLDER_MARK).touch()
    assert remove_record_folders(records) == []
    assert not made.exists()
    assert list(opened.iterdir()) == []  # it was there before
    assert stat.S_IMODE(opened.stat().st_mode) == 0o755


def test_what_the_manual_gives_a_guests_admin_is_what_owner_mode_writes():
    text = (Path(__file__).parents[2] / "docs/operations.md").read_text()
    assert "```\n" + "\n".join(list_declined()) + "\n```" in text
