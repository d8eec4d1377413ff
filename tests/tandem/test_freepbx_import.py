"""FreePBX's tables as a PBX, what of them is not in it, and the dump and backup they are read from."""

import gzip
import io
import tarfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tandem import freepbx_files
from tandem.document import read_document, write_document
from tandem.domain.freepbx_import import import_freepbx
from tandem.domain.sql_dump import read_dump
from tandem.freepbx_files import FreepbxFileError, read_freepbx

DUMP = r"""
-- MySQL dump 10.19
/*!40101 SET NAMES utf8 */;
DROP TABLE IF EXISTS `users`;
CREATE TABLE `users` (
  `extension` varchar(20) NOT NULL DEFAULT '',
  `password` varchar(20) DEFAULT NULL,
  `name` varchar(50) DEFAULT NULL, -- a comment, with a ; and a '
  `voicemail` varchar(50) DEFAULT NULL,
  `ringtimer` int(3) DEFAULT NULL,
  PRIMARY KEY (`extension`),
  KEY `name` (`name`)
) ENGINE=InnoDB;
INSERT INTO `users` VALUES ('1001','','Ann O\'Neil; ''x''','default',20),('1002',NULL,'Bob','novm',0),('1003','','Cy','default',0);
INSERT INTO `sip` (`id`,`keyword`,`data`,`flags`) VALUES ('1001','secret','correct-horse',1),('1001','allow','alaw&ulaw',2),('1002','secret','short',1),
('2','host','sip.carrier.example',1),('tr-peer-2','x','y',1);
INSERT INTO pjsip (id, keyword, data, flags) VALUES ('1','sip_server','pjsip.carrier.example',1),('1','sip_server_port','5070',1),
('1','username','account',1),('1','secret','of-the-carrier',1),('1','registration','send',1),('1','codecs','g722,alaw',1);
INSERT INTO `trunks` (`trunkid`,`name`,`tech`,`channelid`) VALUES (1,'My carrier','pjsip','x'),(2,'Backup','sip','y'),(3,'Old','dahdi','g0');
INSERT INTO `incoming` (`cidnum`,`extension`,`destination`,`description`) VALUES ('','+493012340','from-did-direct,1001,1','Ann'),
('','493012341','ext-queues,400,1','Sales'),('','493012342','ivr-3,s,1','Menu'),('','493012343','ext-local,vmu1001,1','Box'),
('','493012344','app-announcement-7,s,1','Told'),('','493012345','timeconditions,1,1','Hours'),('+15550100','493012346','ext-queues,400,1','VIP'),
('','','app-blackhole,busy,1','Else'),('','_49301235X','ext-queues,400,1','');
INSERT INTO `queues_config` (`extension`,`descr`,`maxwait`,`dest`) VALUES ('400','Sales team','90','ext-local,vmu1001,1');
INSERT INTO `queues_details` (`id`,`keyword`,`data`) VALUES ('400','strategy','rrmemory'),('400','timeout','15'),('400','wrapuptime','5'),
('400','member','Local/1001@from-queue/n,2'),('400','member','Local/9@agents/n,0');
INSERT INTO `ivr_details` (`id`,`name`,`timeout_time`,`invalid_destination`,`timeout_destination`,`directdial`) VALUES (3,'Main menu',7,'app-blackhole,hangup,1','ext-queues,400,1','');
INSERT INTO `ivr_entries` (`ivr_id`,`selection`,`dest`) VALUES (3,'1','ext-queues,400,1'),(3,'2','from-did-direct,1002,1'),(3,'x','ivr-3,s,1');
INSERT INTO `announcement` (`announcement_id`,`description`,`post_dest`) VALUES (7,'We are closed','ext-local,vmu1001,1');
INSERT INTO `ringgroups` (`grpnum`,`description`) VALUES ('600','Everybody');
"""
VOICEMAIL = "[default]\n1001 => 4711,Ann,ann@example.net,,attach=yes\n"
CARRIED = import_freepbx(read_dump(DUMP), VOICEMAIL)
LOST = [str(lost) for lost in CARRIED.lost]


def test_a_dump_is_read_as_mysql_would():
    tables = read_dump(DUMP)
    assert tables["users"][0] == {
        "extension": "1001",
        "password": "",
        "name": "Ann O'Neil; 'x'",
        "voicemail": "default",
        "ringtimer": "20",
    }
    assert tables["users"][1]["password"] == ""
    assert tables["pjsip"][1] == {"id": "1", "keyword": "sip_server_port", "data": "5070", "flags": "1"}
    assert [row["trunkid"] for row in tables["trunks"]] == ["1", "2", "3"]
    assert read_dump("INSERT INTO a.`b` VALUES (1),('NULL'),(NULL)") == {"b": [{}, {}, {}]}


def test_objects_are_carried_over():
    pbx = CARRIED.pbx
    assert [(it.extension, it.name, it.voicemail, it.ring_time_s) for it in pbx.endpoints] == [
        ("1001", "Ann O'Neil; 'x'", "1001", 20), ("1002", "Bob", None, 25)]  # fmt: skip
    assert (pbx.endpoints[0].secret, pbx.endpoints[0].codecs) == ("correct-horse", ("alaw", "ulaw"))
    assert [(it.name, it.authentication, it.hosts, it.codecs) for it in pbx.trunks] == [
        ("My-carrier", "registration", ("pjsip.carrier.example:5070",), ("g722", "alaw")),
        ("Backup", "ip", ("sip.carrier.example",), ("alaw", "ulaw")),
    ]  # fmt: skip
    (queue,) = pbx.queues
    assert (queue.name, queue.extension, queue.strategy, queue.ring_time_s, queue.max_wait_s) == (
        "Sales-team",
        "400",
        "rrmemory",
        15,
        90,
    )
    assert [(it.endpoint, it.penalty) for it in queue.members] == [("1001", 2)]
    (menu,) = pbx.menus
    assert (menu.name, list(menu.options), menu.timeout_s) == ("Main-menu", ["1", "2"], 7)
    written = write_document(pbx)
    assert read_document(written) == pbx
    for number, destination in (('"+493012340"', 'endpoint: "1001"'), ('"493012341"', "queue: Sales-team"), ('"493012342"', "menu: Main-menu"),
                                ('"493012343"', 'voicemail: "1001"'), ('"493012344"', "announcement: We-are-closed"), ('"493012345"', "hangup: normal"),
                                ("default", "hangup: busy"), ('"_49301235X"', "queue: Sales-team")):  # fmt: skip
        assert f"destination: {{{destination}}}" in written.partition(f"- number: {number}")[2].partition("- number")[0]


@pytest.mark.parametrize(
    "told",
    [
        "users 1002: its secret is none that Tandem takes",
        "users 1003: it has no SIP or PJSIP device",
        "trunks 3: trunk Old of kind dahdi is not carried over",
        "queues_config 400: member Local/9@agents/n is no phone of ours",
        "ivr_details 3: option x is not carried over",
        "ivr_details 3: its recordings are not carried over",
        "announcement 7: its recording is not carried over",
        "incoming 6 (493012345): has no destination of ours (timeconditions,1,1): the call ends there",
        "incoming 7 (493012346 from +15550100): routes by the caller's number are not carried over",
        "ringgroups 1: ring group Everybody is not carried over",
    ],
)
def test_what_is_not_carried_over_is_told_by_table_and_row(told):
    assert any(line.startswith(told) for line in LOST), LOST


def backup(path, **files):
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name.replace("__", "/").replace("_dot_", "."))
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def test_a_backup_a_packed_dump_and_a_plain_one_are_the_same(tmp_path):
    packed = gzip.compress(DUMP.encode())
    whole = read_freepbx(backup(tmp_path / "b.tar.gz", modulejson=b"{}", files__mysql_dot_sql_dot_gz=packed,
                                etc__asterisk__voicemail_dot_conf=VOICEMAIL.encode()))  # fmt: skip
    assert (whole.dump, whole.voicemail) == (DUMP, VOICEMAIL)
    (tmp_path / "dump.sql.gz").write_bytes(packed)
    (tmp_path / "dump.sql").write_text(DUMP)
    assert read_freepbx(tmp_path / "dump.sql.gz").dump == read_freepbx(tmp_path / "dump.sql").dump == DUMP


def test_what_is_no_backup_is_refused(tmp_path):
    with pytest.raises(FreepbxFileError, match="has no database dump"):
        read_freepbx(backup(tmp_path / "b.tar.gz", other=b"x"))
    (tmp_path / "cut.sql.gz").write_bytes(gzip.compress(DUMP.encode())[:200])
    with pytest.raises(FreepbxFileError, match="is damaged"):
        read_freepbx(tmp_path / "cut.sql.gz")


def test_a_bomb_is_not_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr("tandem.freepbx_files.MAX_BYTES", 1000)
    monkeypatch.setitem(freepbx_files._read_text.__kwdefaults__, "limit", 1000)
    (tmp_path / "bomb.sql.gz").write_bytes(gzip.compress(b"x" * 100_000))
    with pytest.raises(FreepbxFileError, match="is larger than"):
        read_freepbx(tmp_path / "bomb.sql.gz")


texts = st.text(max_size=30)


@given(st.lists(st.lists(texts, min_size=1, max_size=4), max_size=5))
def test_every_text_comes_back_as_it_was_dumped(rows):
    def quote(text):
        return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"

    values = ",".join(f"({','.join(map(quote, row))})" for row in rows)
    found = read_dump(
        f"CREATE TABLE t (`a` int, `b` int, `c` int, `d` int);\nINSERT INTO t VALUES {values};" if rows else ""
    )
    assert [list(row.values()) for row in found.get("t", [])] == rows


words = st.sampled_from(["'", "`", "(", ")", ",", ";", "INSERT INTO ", "users", " VALUES ", "CREATE TABLE ", "\\", "--", "/*", "*/", "1001", "\n", "NULL"])  # fmt: skip


@settings(deadline=None, max_examples=200)
@given(st.lists(words | texts, max_size=30).map("".join))
def test_any_text_is_read_without_an_error(text):
    assert isinstance(read_dump(text), dict)


@settings(deadline=None, max_examples=100)
@given(st.dictionaries(st.sampled_from(["users", "incoming", "queues_config", "queues_details", "ivr_details", "ivr_entries", "trunks", "sip"]),
       st.lists(st.dictionaries(st.sampled_from(["extension", "id", "keyword", "data", "destination", "dest", "name", "tech", "trunkid", "cidnum"]),
       texts | st.sampled_from(["1001", "400", "secret", "member", "ext-queues,400,1", "from-did-direct,1001,1", "sip", "correct-horse", "host"]), max_size=6), max_size=4)))  # fmt: skip
def test_whatever_the_tables_hold_what_comes_out_is_a_valid_pbx(tables):
    pbx = import_freepbx(tables).pbx
    assert read_document(write_document(pbx)) == pbx
