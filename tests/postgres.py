"""A PostgreSQL server for the tests: its own data folder, a unix socket and loopback only, no durability; ended by its pid."""

import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from lab.ports import find_free_port
from tandem.store.database import open_store
from tandem.store.place import PostgresPlace

PASSWORD = "lab-only-Passw0rd"
# Nothing here must outlive the tests; a durable one takes ten times as long for each database.
FAST = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "wal_level": "minimal",
        "max_wal_senders": "0", "autovacuum": "off", "shared_buffers": "32MB", "max_connections": "60"}  # fmt: skip


def find_programs() -> Path:
    """The folder of `initdb` and `postgres`; a missing one is a failure."""
    found = sorted(
        Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[4].split(".")[0])
    )
    on_path = shutil.which("postgres")
    if found or on_path:
        return found[-1].parent if found else Path(on_path or "").resolve().parent
    # Never a skip: make installs it.
    pytest.fail("PostgreSQL is not installed: `make setup`")


class PostgresServer:
    """Runs as the user `postgres` where we are root, because it refuses that."""

    def __init__(self) -> None:
        self.programs = find_programs()
        self.folder = Path(tempfile.mkdtemp(prefix="tandem-pg-"))
        self.process: subprocess.Popen[bytes] | None = None
        self._numbers = itertools.count(1)
        self._template = ""
        self._as = []
        if os.geteuid() == 0:
            account = pwd.getpwnam("postgres")
            os.chown(self.folder, account.pw_uid, account.pw_gid)
            self._as = ["setpriv", f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}", "--clear-groups"]
        self.port = find_free_port()
        password = self.folder / "password"
        password.write_text(PASSWORD)
        made = subprocess.run(
            [*self._as, self.programs / "initdb", "-D", self.folder / "data", "-U", "tandem", "-E", "UTF8", "--no-sync",
             # Not C: what depends on the order of letters must not depend on the server's.
             "--locale-provider=icu", "--icu-locale=en", "--locale=C.UTF-8",
             "--auth-local=trust", "--auth-host=scram-sha-256", f"--pwfile={password}"],
            capture_output=True, text=True, check=False, cwd=self.folder,
        )  # fmt: skip
        assert made.returncode == 0, made.stdout + made.stderr

    def start(self) -> None:
        """Runs it, and waits until it lets somebody in."""
        settings = {
            **FAST,
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": str(self.folder),
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        with (self.folder / "log").open("ab") as log:
            # exec: the process that we started is the server itself, and it dies with us.
            self.process = subprocess.Popen(
                [*(self._as or ["setpriv"]), "--pdeathsig=INT", self.programs / "postgres", "-D", self.folder / "data", *options],
                stdout=log, stderr=log, cwd=self.folder,
            )  # fmt: skip
        deadline = time.monotonic() + 30
        while True:
            try:
                with self.connect("postgres"):
                    return
            except psycopg.OperationalError:
                assert self.process.poll() is None, (self.folder / "log").read_text()
                assert time.monotonic() < deadline, "it lets nobody in"
                time.sleep(0.05)

    def stop(self, how: int = signal.SIGINT) -> None:
        """SIGINT: at once, with everybody's transactions rolled back; SIGQUIT: as after a power cut."""
        if self.process is not None:
            self.process.send_signal(how)
            self.process.wait(30)
            self.process = None

    def close(self) -> None:
        """Ends it and takes everything away."""
        self.stop(signal.SIGQUIT)
        shutil.rmtree(self.folder)

    def connect(self, database: str) -> "psycopg.Connection[tuple[object, ...]]":
        """As its admin, over the socket."""
        return psycopg.connect(self.socket_url(database), autocommit=True, connect_timeout=5)

    def socket_url(self, database: str) -> str:
        return f"postgresql://tandem@/{database}?host={self.folder}&port={self.port}"

    def tcp_url(self, database: str) -> str:
        return f"postgresql://tandem@127.0.0.1:{self.port}/{database}"

    def make_database(self, template: str = "template0", name: str = "") -> str:
        """The name of a new database."""
        name = name or f"t{next(self._numbers)}"
        with self.connect("postgres") as admin:
            admin.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        return name

    def make_place(self) -> PostgresPlace:
        """A new database with our schema in it, copied, because migrating takes longer."""
        if not self._template:
            template = self.make_database(name="migrated")
            open_store(PostgresPlace(self.socket_url(template)))
            self._template = template
        return PostgresPlace(self.socket_url(self.make_database(self._template)))

    def drop(self, place: PostgresPlace) -> bool:
        """Takes a database away, whoever is still in it; whether there was one."""
        with self.connect("postgres") as admin:
            known = admin.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name_of(place),)).fetchone()
            admin.execute(f"DROP DATABASE IF EXISTS {name_of(place)} WITH (FORCE)")
            return known is not None

    def rename(self, place: PostgresPlace, name: str) -> None:
        """Puts a database out of reach; whoever is in it is thrown out."""
        with self.connect("postgres") as admin:
            admin.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = %s", (name_of(place),)
            )
            admin.execute(f"ALTER DATABASE {name_of(place)} RENAME TO {name}")


def run_server() -> Iterator[PostgresServer]:
    """For fixtures: a server that runs, and is gone afterwards."""
    server = PostgresServer()
    try:
        server.start()
        yield server
    finally:
        server.close()


def name_of(place: PostgresPlace) -> str:
    """A database's name in its server."""
    return place.url.partition("?")[0].rpartition("/")[2]
