"""What a request costs in other systems' words, beside its native twin: CPU of the server per request, in the same run, by turns.

The whole of Tandem, with SQLite, and no Asterisk. A twin is what a client of the native API would ask for the same: one request, or
two where a vendor's answer has both. Every answer is looked at: one that is no success costs little and says nothing.

    python -m bench.compat
"""

import http.client
import json
import sqlite3
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from bench.whole_tandem import WholeTandem

REQUESTS = 40
ROUNDS = 7
CAMPAIGNS, DIDS, CALLS = 20, 20, 20
LISTS = (2001, 2002)
WAIT_S = 60.0
PASSWORD = "the password of the bench"
DOCUMENT = "\n".join(
    (
        "general: {country: DE}",
        'trunks: [{name: carrier, hosts: ["192.0.2.1"]}]',
        'endpoints: [{extension: "1001", name: Ann, secret: a-secret-of-1001}]',
        "dids:",
        *(f'- {{number: "49305550{one:03}", destination: {{endpoint: "1001"}}}}' for one in range(DIDS)),
    )
)
SETTINGS = {f"apis.{name}.serve": "everywhere" for name in ("goapi", "mikopbx", "while1", "ari_dialer")}
CAMPAIGN = {"trunk": "carrier", "destination": {"endpoint": "1001"}}
CDR = """
INSERT INTO cdrs (call_id, direction, is_placed, caller, called, trunk, endpoint, queue, route, account, started_at, answered_at, ended_at, ring_s, hold_s,
                  talk_s, duration_s, disposition, cause)
VALUES (?, 'inbound', 0, '03055501001', '49305550000', 'carrier', '1001', '', 'did 49305550000', '', ?, ?, ?, 2.0, 0.0, 20.0, 22.0, 'answered', 16)
"""


@dataclass(frozen=True, slots=True)
class CompatRow:
    """One request and its twin: medians of CPU in µs. failed: answers that were no success, of either."""

    what: str
    cpu_us: float
    twin_us: float
    requests: int
    failed: int

    @property
    def ratio(self) -> float:
        """How many times the twin's."""
        return self.cpu_us / self.twin_us


@dataclass(frozen=True, slots=True)
class Ask:
    """One request of a client: body of the request of that number (a write differs each time), and whether the answer is a success."""

    method: str
    path: str
    token: str
    body: Callable[[int], bytes | None] = lambda _: None
    media_type: str = "application/json"
    holds: Callable[[Any], bool] = lambda _: True


def run(requests: int = REQUESTS, rounds: int = ROUNDS) -> list[CompatRow]:
    """Every pair, by turns."""
    with WholeTandem(SETTINGS, DOCUMENT) as tandem, closing(_Client(tandem)) as client:
        pairs = list(_list_pairs(tandem, _furnish(tandem)))
        turns: dict[str, list[tuple[float, float]]] = {what: [] for what, _, _ in pairs}
        for what, theirs, ours in pairs:  # what the first requests compile and cache is not theirs to pay
            for ask in (theirs, *ours):
                if client.ask(ask):
                    raise RuntimeError(f"{what}: {ask.method} {ask.path}: {client.said[:500]!r}")
        for _ in range(rounds):
            for what, theirs, ours in pairs:
                turns[what].append((client.measure([theirs], requests), client.measure(ours, requests)))
        return [
            CompatRow(
                what,
                statistics.median(one for one, _ in figures),
                statistics.median(twin for _, twin in figures),
                requests * rounds,
                client.failed,
            )
            for what, figures in turns.items()
        ]


class _Client:
    """One kept connection, and the clock of the server's CPU."""

    def __init__(self, tandem: WholeTandem) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", tandem.port, timeout=WAIT_S)
        # Of all threads of the process, to the nanosecond: clock_getcpuclockid(3) makes it so; /proc counts in hundredths of a second.
        self._clock = (~tandem.process.pid << 3) | 2
        self._count = 0
        self.failed = 0
        self.said = b""

    def close(self) -> None:
        """Ends the connection."""
        self._connection.close()

    def ask(self, ask: Ask) -> bool:
        """Whether it failed."""
        self._count += 1
        headers = {"Authorization": f"Bearer {ask.token}"} if ask.token else {}
        body = ask.body(self._count)
        self._connection.request(
            ask.method, ask.path, body, headers | ({"Content-Type": ask.media_type} if body is not None else {})
        )
        response = self._connection.getresponse()
        self.said = response.read()
        failed = response.status >= 300 or not ask.holds(json.loads(self.said))
        self.failed += failed
        return failed

    def measure(self, asks: Sequence[Ask], times: int) -> float:
        """CPU of the server in µs for each time that all of these are asked."""
        before_s = time.clock_gettime(self._clock)
        for _ in range(times):
            for ask in asks:
                self.ask(ask)
        return (time.clock_gettime(self._clock) - before_s) / times * 1e6


def _furnish(tandem: WholeTandem) -> str:
    """Campaigns, a user, calls that are over; a token that speaks While1."""
    for number in range(CAMPAIGNS):
        made = tandem.post("/api/v1/campaigns", CAMPAIGN | {"name": f"campaign {number}"})
        numbers = [{"phone_number": f"0305551{one:04}"} for one in range(20)]
        tandem.post(f"/api/v1/campaigns/{made['campaign_id']}/numbers/bulk", {"numbers": numbers})
    for list_id in LISTS:
        tandem.post("/api/v1/lists", {"campaign_id": 1, "name": "a list", "list_id": list_id})
    tandem.post("/api/v1/users", {"name": "bench", "password": PASSWORD, "role": "admin"})
    with closing(sqlite3.connect(tandem.folder / "tandem.db", timeout=30)) as db, db:
        at = [f"2025-11-{1 + one // 1440:02}T{one // 60 % 24:02}:{one % 60:02}:00.000000Z" for one in range(CALLS)]
        db.executemany(CDR, [(_name_call(one), when, when, when) for one, when in enumerate(at)])
    made = tandem.post("/api/v1/tokens", {"name": "while1", "permissions": ["*"], "dialect": "while1"})
    return str(made["secret"])


def _name_call(number: int) -> str:
    return f"1763600000.{number}"


def _list_pairs(tandem: WholeTandem, while1: str) -> Iterator[tuple[str, Ask, tuple[Ask, ...]]]:
    """(what, the vendor's request, the native ones)."""
    admin = tandem.token
    yield from _list_ari(admin)
    for secret, how in ((admin, "token"), (PASSWORD, "password")):
        yield from _list_goapi(admin, secret, how)
    yield from _list_mikopbx(admin)
    yield from _list_while1(admin, while1)


def _list_ari(token: str) -> Iterator[tuple[str, Ask, tuple[Ask, ...]]]:
    def ask(method: str, path: str, body: Callable[[int], bytes | None] = _nothing) -> Ask:
        return Ask(method, f"/adial/api/{path}", token, body, holds=lambda found: found["success"])

    number = _write(lambda one: {"phone_number": f"0305552{one % 10_000:04}"})
    yield "ARI Dialer: list campaigns", ask("GET", f"campaigns?limit={CAMPAIGNS}"), (_list_campaigns(token),)
    yield "ARI Dialer: get a campaign", ask("GET", "campaigns/1"), (_get(token, "campaigns/1"),)
    yield (
        "ARI Dialer: list numbers",
        ask("GET", "campaigns/1/numbers?limit=20"),
        (_get(token, "campaigns/1/numbers?limit=20"),),
    )
    yield (
        "ARI Dialer: add a number",
        ask("POST", "campaigns/2/numbers", number),
        (Ask("POST", "/api/v1/campaigns/3/numbers", token, number),),
    )


def _list_goapi(token: str, secret: str, how: str) -> Iterator[tuple[str, Ask, tuple[Ask, ...]]]:
    def ask(module: str, action: str, fields: Callable[[int], dict[str, Any]] = lambda _: {}) -> Ask:
        user = "bench" if secret == PASSWORD else "tandem"
        known = {"goUser": user, "goPass": secret, "goAction": action, "responsetype": "json"}
        return Ask(
            "POST", f"/goAPI/{module}/goAPI.php", "", lambda one: urlencode(known | fields(one)).encode(),
            "application/x-www-form-urlencoded", lambda found: found["result"] == "success",
        )  # fmt: skip

    first = "49305550000"
    yield f"goAPI, {how}: list DIDs", ask("goInbound", "goGetAllDIDs"), (_get(token, "dids"),)
    yield (
        f"goAPI, {how}: get a DID",
        ask("goInbound", "goGetDIDInfo", lambda _: {"did_pattern": first}),
        (_get(token, f"dids/{first}"),),
    )
    yield (
        f"goAPI, {how}: rename a list",
        ask("goLists", "goEditList", lambda one: {"list_id": LISTS[0], "list_name": f"List {one}"}),
        (Ask("PATCH", f"/api/v1/lists/{LISTS[1]}", token, _write(lambda one: {"name": f"List {one}"})),),
    )


def _list_mikopbx(token: str) -> Iterator[tuple[str, Ask, tuple[Ask, ...]]]:
    def ask(method: str, path: str, body: Callable[[int], bytes | None] = _nothing) -> Ask:
        base = "/pbxcore/api/module-dialer/v1/"
        return Ask(method, base + path, token, body, holds=lambda found: found["result"])

    yield "MikoPBX: list tasks", ask("GET", f"task?limit={CAMPAIGNS}"), (_list_campaigns(token),)
    yield (
        "MikoPBX: get a task with its numbers",
        ask("GET", "task/1"),
        (_get(token, "campaigns/1"), _get(token, "campaigns/1/numbers?limit=1000")),
    )
    yield "MikoPBX: change a task", ask("PUT", "task/1", _write(lambda one: {"maxCountChannels": 1 + one % 9})), (
        Ask("PATCH", "/api/v1/campaigns/2", token, _write(lambda one: {"concurrent_calls": 1 + one % 9})),
    )  # fmt: skip


def _list_while1(token: str, while1: str) -> Iterator[tuple[str, Ask, tuple[Ask, ...]]]:
    def ask(name: str, body: Callable[[int], bytes | None]) -> Ask:
        return Ask("POST", f"/api/{name}", while1, body, holds=lambda found: not found["has_error"])

    first, last = _name_call(0), _name_call(CALLS - 1)
    yield "While1: list calls", ask("cdr", _write(lambda _: {})), (_get(token, f"cdrs?limit={CALLS}"),)
    yield (
        "While1: get a call",
        ask("cdr", _write(lambda _: {"filters": {"uniqueid": first}})),
        (_get(token, f"cdrs/{first}"),),
    )
    yield (
        "While1: comment on a call",
        ask("cdr", _write(lambda one: {"action": "save", "data": [{"id": first, "comments": f"Comment {one}"}]})),
        (Ask("PATCH", f"/api/v1/cdrs/{last}/notes", token, _write(lambda one: {"comments": f"Comment {one}"})),),
    )


def _nothing(_: int) -> None:
    return None


def _write(make: Callable[[int], Any]) -> Callable[[int], bytes]:
    return lambda one: json.dumps(make(one)).encode()


def _get(token: str, path: str) -> Ask:
    return Ask("GET", f"/api/v1/{path}", token)


def _list_campaigns(token: str) -> Ask:
    return _get(token, f"campaigns?limit={CAMPAIGNS}")


if __name__ == "__main__":
    for row in run():
        print(f"{row.ratio:.2f} {row.cpu_us:6.0f} {row.twin_us:6.0f} {row.what} failed {row.failed}")
