"""A client of the ARI Dialer's API, and calls that are over, written where the dialer would have written them."""

import re
import secrets
import sqlite3
import time
from contextlib import closing
from zoneinfo import ZoneInfo

from api.compat.ari.table import ROUTES

BASE = "/adial/api"
GUARDED = [route for route in ROUTES if route.permission is not None]
ZONE = ZoneInfo("Europe/Berlin")
NASTY = "N & <b>x</b> '; DROP TABLE campaigns; -- ${SHELL(id)} =1+1 é漢😀"
CAMPAIGN = {
    "name": "Sales Campaign", "description": "Outbound sales calls", "trunk_type": "pjsip", "trunk_value": "my_trunk",
    "callerid": "1234567890", "agent_dest_type": "exten", "agent_dest_value": "100", "record_calls": 1,
    "concurrent_calls": 5, "retry_times": 2, "retry_delay": 300,
}  # fmt: skip


def path_of(route):
    return re.sub(r"\{\w+\}", "987654", route.path.removeprefix("/adial/api"))


def bodies(route):
    return {} if route.body is not None else None


class Ari:
    """Asks, and looks at the envelope of every answer."""

    def __init__(self, client):
        self.client = client

    def ask(self, method, path, body=None, status=200, **more):
        found = self.client.ask(method, BASE + path, body, status, **more)
        code = self.client.status
        assert found["success"] is (code < 400), found
        if "pagination" in found:
            assert "code" not in found
        else:
            assert found["code"] == code, found
        assert isinstance(found["message"], str)
        return found

    def get(self, path, **more):
        return self.ask("GET", path, **more)

    def data(self, method, path, body=None, status=200):
        return self.ask(method, path, body, status)["data"]

    def deny(self, message, method, path, body=None, status=400, **more):
        found = self.ask(method, path, body, status, **more)
        assert found["message"] == message, found
        assert found.keys() <= {"success", "code", "message", "errors"}
        return found

    def make(self, **changes):
        return self.data("POST", "/campaigns", CAMPAIGN | changes, 201)

    def token(self, *permissions):
        made = self.data("POST", "/tokens", {"name": "test", "permissions": list(permissions)}, 201)
        return Ari(type(self.client)(self.client.port, made["token"], self.client.api))


def write(server, *statements):
    """Runs SQL beside the running server."""
    with closing(sqlite3.connect(server.folder / "db" / "tandem.db", timeout=20)) as db, db:
        for sql, given in statements:
            db.execute(sql, given)


def add_attempts(server, rows):
    """Calls that are over (or not): each with campaign_id, and whatever else differs."""
    now = time.time()
    statements = []
    for row in rows:
        full = {
            "call_id": secrets.token_hex(16), "number_id": None, "dial": 1, "epoch": 0, "node": "test",
            "phone_number": "1234567890", "caller_number": "1234567890", "trunk": "my_trunk", "destination": "endpoint 100",
            "agent": "", "started_at": now - 60, "answered_at": None, "connected_at": None, "abandoned_at": None,
            "ended_at": now, "disposition": "no-answer", "cause": 0, "tech_cause": 0, "recording_file": None,
            "recording_leg1": None, "recording_leg2": None,
        } | row  # fmt: skip
        names = ", ".join(full)
        statements.append((f"INSERT INTO attempts ({names}) VALUES ({', '.join('?' * len(full))})", (*full.values(),)))
        if full["campaign_id"] is not None:
            statements.append(
                (
                    (
                        "INSERT INTO campaign_counts VALUES (?, 'total_calls', 1)"
                        " ON CONFLICT (campaign_id, kind) DO UPDATE SET amount = amount + 1"
                    ),
                    (full["campaign_id"],),
                )
            )
    write(server, *statements)
