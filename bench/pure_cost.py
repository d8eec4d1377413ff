"""The pure parts alone, in one process: one decision by kind of DID match, and all of Asterisk's configuration for 10,000 endpoints."""

import time
from collections.abc import Callable
from datetime import UTC, datetime

from confgen.render import RenderTarget, render
from tandem.domain.destinations import HangupDestination, QueueDestination
from tandem.domain.entities import Did, Endpoint, General, Pbx, Queue
from tandem.domain.routing import route_did
from tandem.domain.snapshot import Snapshot, build_snapshot

DIDS = 20_000
ENDPOINTS = 10_000
DECISIONS = 20_000
RUNS = 5
TARGET = RenderTarget(
    agi_url="agi://127.0.0.1:4573", recordings_dir="/var/spool/asterisk/monitor", dialplan_dir="/usr/share/tandem"
)


def build_pbx(dids: int = DIDS) -> Snapshot:
    """Exact numbers, 100 prefixes, 100 patterns and a default."""
    sales = QueueDestination(queue="sales")
    numbers = (
        *(f"+4930{number:07}" for number in range(dids)),
        *(f"+4940{number:02}*" for number in range(100)),
        *(f"_4950{number:02}XXXX" for number in range(100)),
        "default",
    )
    return build_snapshot(
        1,
        Pbx(
            queues=(Queue(name="sales", fallback=HangupDestination()),),
            dids=tuple(Did(number=number, destination=sales) for number in numbers),
        ),
    )


def build_endpoints(count: int = ENDPOINTS) -> Snapshot:
    """A PBX of phones."""
    endpoints = tuple(Endpoint(extension=str(100_000 + n), secret=f"secret-{n:08}") for n in range(count))
    return build_snapshot(1, Pbx(general=General(country="DE"), endpoints=endpoints))


def best_s(work: Callable[[], object], runs: int = RUNS) -> float:
    """CPU seconds of the best of some runs."""
    times = []
    for _ in range(runs):
        started_s = time.process_time()
        work()
        times.append(time.process_time() - started_s)
    return min(times)


def run(dids: int = DIDS, endpoints: int = ENDPOINTS, decisions: int = DECISIONS) -> dict[str, float]:
    """µs of one decision for exact, prefix, pattern, default; seconds and MB of one rendering."""
    pbx, now = build_pbx(dids), datetime.now(UTC)

    def decide(called: str) -> Callable[[], None]:
        assert route_did(pbx, called, "4930999", "carrier", now).destination is not None

        def work() -> None:
            for _ in range(decisions):
                route_did(pbx, called, "4930999", "carrier", now)

        return work

    kinds = {
        "exact": "+49300000007",
        "prefix": "+4940551234",
        "pattern, the 50th": "+4950491234",
        "default": "+15550001",
    }
    figures = {kind: best_s(decide(called)) / decisions * 1e6 for kind, called in kinds.items()}
    phones = build_endpoints(endpoints)
    texts: dict[str, str] = {}
    figures["render_s"] = best_s(lambda: texts.update(render(phones, TARGET)), 1)
    figures["render_mb"] = sum(map(len, texts.values())) / 1e6
    return figures
