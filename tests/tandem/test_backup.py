"""Backup and restore: consistent while others write, whole or refused, and nothing of a stranger's archive is trusted."""

import io
import json
import os
import sqlite3
import stat
import tarfile
import threading
from contextlib import closing
from datetime import UTC, datetime

import psycopg
import pytest

from confgen.generations import switch_link, write_generation
from confgen.render import RenderTarget, render
from tandem.backup import BackupError, open_backup, restore_backup, verify_backup, write_backup
from tandem.domain.entities import Endpoint, Pbx
from tandem.domain.snapshot import build_snapshot
from tandem.store.copies import copy_database, scratch_database
from tandem.store.database import Store, open_store
from tandem.store.errors import StoreError
from tandem.store.objects import load_pbx, save_pbx
from tandem.store.place import PostgresPlace
from tandem.store.revisions import load_head, record_live
from tandem.target import read_dialplan

TARGET = RenderTarget(agi_url="agi://127.0.0.1:4573", recordings_dir="/r", dialplan_dir="/d")
PBX = Pbx(endpoints=(Endpoint(extension="1001", secret="correct-horse", name="Ann"),))
NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


def save(store, pbx):
    return store.run_now(save_pbx, pbx, author="test", note="", at=NOW)


@pytest.fixture
def place(tmp_path):
    store = open_store(tmp_path / "tandem.db")
    save(store, PBX)
    store.run_now(record_live, 1, NOW)
    return tmp_path / "tandem.db"


@pytest.fixture
def config(tmp_path):
    files = {**read_dialplan(), **render(build_snapshot(1, PBX), TARGET)}
    folder = tmp_path / "asterisk"
    name = write_generation(folder, 1, files)
    switch_link(folder, "current", name)
    switch_link(folder, "live", name)
    return folder


def test_all_comes_back_as_it_was(place, config, tmp_path):
    sounds = tmp_path / "sounds"
    (sounds / "de").mkdir(parents=True)
    (sounds / "de" / "hello.wav").write_bytes(b"RIFF\0hello")
    (sounds / "elsewhere").symlink_to("/etc/passwd")
    made = write_backup(tmp_path / "b.tar.gz", place, config, {"sounds": sounds})
    assert stat.S_IMODE((tmp_path / "b.tar.gz").stat().st_mode) == 0o600
    assert {"database", "sounds/de/hello.wav", "config/pjsip.conf"} <= made["sha256"].keys()
    assert "sounds/elsewhere" not in made["sha256"]
    save(Store(place), Pbx())
    (sounds / "de" / "hello.wav").write_bytes(b"another")
    (sounds / "newer.wav").write_bytes(b"stays")
    with open_backup(tmp_path / "b.tar.gz") as (home, manifest):
        assert restore_backup(home, manifest, Store(place), place, {"sounds": sounds}) == 1
    assert Store(place).run_now(load_pbx) == PBX
    assert (sounds / "de" / "hello.wav").read_bytes() == b"RIFF\0hello"
    assert (sounds / "newer.wav").exists()
    assert not list(tmp_path.glob(".*"))


def test_a_copy_is_one_moment_of_a_database_that_is_written_to(place, tmp_path):
    """Each revision changes two objects together: no copy may have one without the other."""
    ended = threading.Event()

    def write():
        store, number = Store(place), 0
        while not ended.is_set():
            number += 1
            twins = (Endpoint(extension="1001", secret="correct-horse", name=str(number)),
                     Endpoint(extension="1002", secret="correct-horse", name=str(number)))  # fmt: skip
            save(store, Pbx(endpoints=twins))

    thread = threading.Thread(target=write)
    thread.start()
    try:
        heads = set()
        for number in range(20):
            copy_database(place, tmp_path / f"copy{number}")
            copied = Store(tmp_path / f"copy{number}")
            heads.add(copied.run_now(load_head))
            assert len({it.name for it in copied.run_now(load_pbx).endpoints[-2:]}) == 1
    finally:
        ended.set()
        thread.join()
    assert heads


def test_one_that_is_tried_out_says_what_is_not_as_it_was(place, config, tmp_path, monkeypatch):
    monkeypatch.setattr("tandem.backup.try_whole", lambda *_: "passed")
    write_backup(tmp_path / "b.tar.gz", place, config, {})
    with open_backup(tmp_path / "b.tar.gz") as (home, manifest):
        found = verify_backup(home, manifest, tmp_path / "scratch.db", TARGET, read_dialplan())
        assert (found.revision, found.head, found.differences, found.check) == (1, 1, (), "passed")
        assert found.files == len(read_dialplan()) + len(render(build_snapshot(1, PBX), TARGET))
        with closing(sqlite3.connect(home / "database")) as db, db:
            db.execute("UPDATE objects SET body = json_set(body, '$.name', 'Bob')  WHERE key = '1001'")
        (tmp_path / "scratch.db").unlink()
        found = verify_backup(home, manifest, tmp_path / "scratch.db", TARGET, read_dialplan())
        assert found.differences == ("pjsip.conf",)
    assert Store(place).run_now(load_pbx) == PBX


def repack(path, change):
    """The archive with each file's content, and the names, as `change` gives them."""
    with tarfile.open(path, "r:gz") as archive:
        files = {member.name: archive.extractfile(member).read() for member in archive}
    change(files)
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda files: files.update(database=files["database"][:-1] + b"?"), "is damaged (database)"),
        (lambda files: files.pop("config/pjsip.conf"), "is damaged (config/pjsip.conf)"),
        (lambda files: files.update({"sounds/more": b""}), "is damaged (sounds/more)"),
        (lambda files: files.update({"../../outside": b"x"}), "outside"),
        (lambda files: files.update({"/tmp/absolute": b"x"}), "is damaged"),
        (lambda files: files.pop("manifest.json"), "is no backup of Tandem's"),
        (lambda files: files.update({"manifest.json": b"[1]"}), "is no backup of Tandem's"),
        (lambda files: files.update({"manifest.json": json.dumps({"format": 9, "sha256": {}}).encode()}), "has format 9"),
    ],
)  # fmt: skip
def test_an_archive_that_is_not_whole_is_refused(place, config, tmp_path, change, told):
    path = tmp_path / "b.tar.gz"
    write_backup(path, place, config, {})
    repack(path, change)
    with pytest.raises(BackupError) as error, open_backup(path):
        pass
    assert told in str(error.value)
    assert not (tmp_path.parent / "outside").exists()


def test_cut_archives_links_and_other_files_are_refused(place, config, tmp_path):
    path = tmp_path / "b.tar.gz"
    write_backup(path, place, config, {})
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(BackupError), open_backup(path):
        pass
    path.write_bytes(b"no archive")
    with pytest.raises(BackupError), open_backup(path):
        pass
    with tarfile.open(path, "w:gz") as archive:
        info = tarfile.TarInfo("database")
        info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(info)
    with pytest.raises(BackupError, match="database is no file"), open_backup(path):
        pass


def test_what_cannot_be_copied_leaves_nothing_behind(tmp_path):
    with pytest.raises(StoreError, match="there is no database"):
        write_backup(tmp_path / "b.tar.gz", tmp_path / "gone.db", tmp_path, {})
    (tmp_path / "broken.db").write_bytes(b"SQLite format 3\0" + os.urandom(5000))
    with pytest.raises(StoreError):
        write_backup(tmp_path / "b.tar.gz", tmp_path / "broken.db", tmp_path, {})
    assert [path.name for path in tmp_path.iterdir()] == ["broken.db"]


def test_a_database_of_a_server_comes_back_as_it_was(postgres_place, tmp_path, monkeypatch):
    monkeypatch.setattr("tandem.backup.try_whole", lambda *_: "passed")
    store = open_store(postgres_place)
    save(store, PBX)
    path = tmp_path / "b.tar.gz"
    made = write_backup(path, postgres_place, tmp_path / "none", {})
    assert made["database"] == "postgresql"
    save(store, Pbx())
    with open_backup(path) as (home, manifest):
        with scratch_database(postgres_place) as beside:
            found = verify_backup(home, manifest, beside, TARGET, read_dialplan())
        assert (found.revision, found.head, found.differences) == (1, 1, ())
        assert store.run_now(load_head) == 2
        assert restore_backup(home, manifest, store, postgres_place, {}) == 1
        with pytest.raises(BackupError, match="is of a postgresql database, and the settings name a sqlite one"):
            restore_backup(home, manifest, store, tmp_path / "tandem.db", {})
    assert store.run_now(load_pbx) == PBX
    assert save(store, Pbx()).revision == 2
    with psycopg.connect(postgres_place.url, password=postgres_place.password) as connection:
        names = connection.execute("SELECT datname FROM pg_database WHERE datname LIKE 'tandem_scratch%'").fetchall()
    assert names == []
    with pytest.raises(StoreError, match="pg_dump: "):
        copy_database(PostgresPlace(postgres_place.url + "_gone", postgres_place.password), tmp_path / "copy")
    assert not (tmp_path / "copy").exists()
