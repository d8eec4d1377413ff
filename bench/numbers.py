"""Numbers in the mass, over HTTP: many added at once, a million from a CSV file, a page out of the million, a list of campaigns with their counts.

The whole of Tandem, with SQLite, and no Asterisk. Attempts are not made one by one: a million of them are written into its database
as the dialer would have left them. Times are a client's, on one kept connection; memory is the most that the process ever had.

    python -m bench.numbers [ROWS]
"""

import http.client
import json
import random
import sqlite3
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.whole_tandem import WholeTandem

ROWS, BULK, CAMPAIGNS = 1_000_000, 100_000, 200
REQUESTS = 10
"""The numbers of one bulk are also sent in so many requests."""
PAGES = 200
PAGE_ROWS = 100
WITH_GAP = "numbers, by offset, one deleted"
WAIT_S = 180.0
DOCUMENT = """
general: {country: DE}
trunks: [{name: carrier, hosts: ["192.0.2.1"]}]
endpoints: [{extension: "1001", secret: "swordfish-1001"}]
"""
CAMPAIGN = {"trunk": "carrier", "destination": {"endpoint": "1001"}}
ATTEMPTS = """
INSERT INTO attempts (call_id, campaign_id, number_id, dial, epoch, node, phone_number, caller_number, trunk, destination, agent, started_at,
                      answered_at, connected_at, ended_at, disposition, cause, tech_cause)
SELECT lower(hex(randomblob(16))), campaign_id, number_id, 1, 0, 'bench', phone_number, '', 'carrier', 'endpoint 1001', '', 1763600000.0 + number_id,
       1763600005.0 + number_id, 1763600006.0 + number_id, 1763600030.0 + number_id, 'answered', 16, 0
FROM numbers WHERE campaign_id = ? AND number_id >= ? AND number_id < ?
"""


@dataclass(frozen=True, slots=True)
class NumbersRow:
    """Seconds for what is written, medians in ms for what is read, the peak of memory in MB. wrong: answers that were not what was asked for."""

    bulk_s: float
    requests_s: float
    csv_s: float
    pages_ms: dict[str, float]
    list_ms: float
    peak_mb: float
    wrong: int


class _Client:
    """The admin on one kept connection."""

    def __init__(self, tandem: WholeTandem) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", tandem.port, timeout=WAIT_S)
        self._headers = {"Authorization": f"Bearer {tandem.token}"}

    def close(self) -> None:
        """Ends the connection."""
        self._connection.close()

    def ask(self, method: str, path: str, body: Any = None, content_type: str = "application/json") -> Any:
        """The JSON of the answer; RuntimeError unless it went well."""
        headers = self._headers | ({"Content-Type": content_type} if body is not None else {})
        self._connection.request(method, path, body, headers)
        response = self._connection.getresponse()
        answer = response.read()
        if response.status >= 300:
            raise RuntimeError(f"{method} {path}: {response.status} {answer[:500]!r}")
        return json.loads(answer) if answer else None

    def make_campaign(self, name: str) -> str:
        """Its path."""
        made = self.ask("POST", "/api/v1/campaigns", json.dumps(CAMPAIGN | {"name": name}))
        return f"/api/v1/campaigns/{made['campaign_id']}"


def run(rows: int = ROWS, bulk: int = BULK, campaigns: int = CAMPAIGNS, pages: int = PAGES) -> NumbersRow:
    """One run."""
    with WholeTandem(document=DOCUMENT) as tandem, closing(_Client(tandem)) as client:
        bulk_s, first_wrong = _add(client, bulk, 1)
        requests_s, second_wrong = _add(client, bulk, REQUESTS)
        path = client.make_campaign("file")
        csv_s, third_wrong = _import(client, path, rows)
        _make_attempts(tandem.folder / "tandem.db", int(path.rpartition("/")[2]))
        pages_ms, page_wrong = _read_pages(client, path, rows, pages)
        pages_ms[WITH_GAP], gap_wrong = _read_with_gap(client, path, rows, pages)
        for number in range(campaigns - 3):
            client.make_campaign(f"campaign {number}")
        list_ms, list_wrong = _measure(
            lambda: client.ask("GET", f"/api/v1/campaigns?limit={campaigns}"),
            lambda found: (
                len(found["items"]) == campaigns == found["total"]
                and sum(one["total_numbers"] for one in found["items"]) == rows - 1 + 2 * bulk
            ),
            pages // 4,
        )
        wrong = first_wrong + second_wrong + third_wrong + page_wrong + gap_wrong + list_wrong
        return NumbersRow(bulk_s, requests_s, csv_s, pages_ms, list_ms, _read_peak_mb(tandem.process.pid), wrong)


def _add(client: _Client, numbers: int, requests: int) -> tuple[float, int]:
    """(seconds, requests that did not add them all)."""
    path = client.make_campaign(f"bulk of {requests}")
    size = numbers // requests
    bodies = [
        json.dumps({"numbers": [{"phone_number": f"030{start + one:08}"} for one in range(size)]})
        for start in range(0, numbers, size)
    ]
    began_at = time.monotonic()
    added = [client.ask("POST", f"{path}/numbers/bulk", body)["added"] for body in bodies]
    return time.monotonic() - began_at, sum(one != size for one in added)


def _import(client: _Client, path: str, rows: int) -> tuple[float, int]:
    """(seconds until the file is in, 1 if something of it is not)."""

    def lines() -> Iterator[bytes]:
        yield b"phone_number,name,town\r\n"
        for start in range(0, rows, 1000):
            yield b"".join(
                b"030%08d,Customer %d,Berlin\r\n" % (number, number) for number in range(start, min(start + 1000, rows))
            )

    body = b"".join(lines())
    began_at = time.monotonic()
    report = client.ask("POST", f"{path}/numbers/import?wait_s=0", body, "text/csv")
    while report["state"] == "running":
        time.sleep(0.1)
        report = client.ask("GET", f"{path}/imports/{report['import_id']}")
    return time.monotonic() - began_at, int(report["state"] != "finished" or report["added"] != rows)


def _make_attempts(database: Path, campaign_id: int) -> None:
    """One for each number of the campaign, a part at a time: nobody else waits long for the lock."""
    with closing(sqlite3.connect(database, timeout=30, isolation_level=None)) as db:
        first, last = db.execute(
            "SELECT min(number_id), max(number_id) FROM numbers WHERE campaign_id = ?", (campaign_id,)
        ).fetchone()
        for start in range(first, last + 1, 50_000):
            db.execute(ATTEMPTS, (campaign_id, start, start + 50_000))


def _read_pages(client: _Client, path: str, rows: int, pages: int) -> tuple[dict[str, float], int]:
    """Medians by kind of page, and how many were not what was asked for."""
    first = client.ask("GET", f"{path}/numbers?limit=1")["items"][0]["number_id"]
    newest = client.ask("GET", f"{path}/attempts?limit=1")["items"][0]["attempt_id"]
    randomness = random.Random(1)
    medians: dict[str, float] = {}
    wrong = 0
    kinds: dict[str, tuple[Callable[[int], str], Callable[[int, Any], bool]]] = {
        "numbers, by offset": (
            lambda at: f"numbers?limit={PAGE_ROWS}&offset={at}",
            lambda at, page: page["total"] == rows and page["items"][0]["phone_number"] == f"030{at:08}",
        ),
        "numbers, after the page before": (
            lambda at: f"numbers?limit={PAGE_ROWS}&after_id={first + at - 1}",
            lambda at, page: page["items"][0]["phone_number"] == f"030{at:08}",
        ),
        "attempts, after the page before": (
            lambda at: f"attempts?limit={PAGE_ROWS}&after_id={newest - at + 1}",
            lambda at, page: page["items"][0]["attempt_id"] == newest - at,
        ),
    }
    for kind, (query, holds) in kinds.items():
        took_ms = []
        for at in (randomness.randrange(1, rows - PAGE_ROWS) for _ in range(pages)):
            began_at = time.perf_counter()
            page = client.ask("GET", f"{path}/{query(at)}")
            took_ms.append((time.perf_counter() - began_at) * 1000)
            wrong += len(page["items"]) != PAGE_ROWS or not holds(at, page)
        medians[kind] = statistics.median(took_ms)
    return medians, wrong


def _read_with_gap(client: _Client, path: str, rows: int, pages: int) -> tuple[float, int]:
    """By offset, once a number in the middle is deleted: then an offset has to be counted."""
    client.ask(
        "DELETE",
        f"/api/v1/numbers/{client.ask('GET', f'{path}/numbers?limit=1&offset={rows // 2}')['items'][0]['number_id']}",
    )
    randomness = random.Random(2)

    def ask() -> tuple[int, Any]:
        at = randomness.randrange(1, rows - 1 - PAGE_ROWS)
        return at, client.ask("GET", f"{path}/numbers?limit={PAGE_ROWS}&offset={at}")

    def holds(answer: tuple[int, Any]) -> bool:
        at, page = answer
        number = f"030{at + (at >= rows // 2):08}"
        return (
            page["total"] == rows - 1 and len(page["items"]) == PAGE_ROWS and page["items"][0]["phone_number"] == number
        )

    return _measure(ask, holds, pages)


def _measure(ask: Callable[[], Any], holds: Callable[[Any], bool], times: int) -> tuple[float, int]:
    took_ms, wrong = [], 0
    for _ in range(times):
        began_at = time.perf_counter()
        answer = ask()
        took_ms.append((time.perf_counter() - began_at) * 1000)
        wrong += not holds(answer)
    return statistics.median(took_ms), wrong


def _read_peak_mb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


if __name__ == "__main__":
    print(run(int(sys.argv[1]) if len(sys.argv) > 1 else ROWS))
