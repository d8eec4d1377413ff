"""`python -m lab.chaos`: a campaign dials while Tandem and Asterisk are killed in turn; nobody may be dialled twice for one attempt, and nothing may stay open.

What happened is counted at the far end, which no fault of ours reaches, and compared with every number and attempt in the database.
"""

import argparse
import json
import random
import sqlite3
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

from lab.pbx import LabPbx, TandemFailed
from lab.sipp import HangUp, SippRun, Wait, run_phone
from tandem.asterisk.install import find_asterisk

FAR, FAR_PORT = "127.0.0.5", 5060
DOCUMENT = f"""
general: {{country: DE, outbound_trunk: far, allowed_contexts: [from-admin]}}
trunks: [{{name: far, hosts: ["{FAR}:{FAR_PORT}"], match: ["{FAR}"]}}]
announcements: [{{name: news, prompts: [beep]}}]
"""
SETTINGS = {"dialer.max_calls": "100", "dialer.max_cps": "150"}
TALK_S = 0.3
CONCURRENT = 60
# Calls in doubt are followed for their grace, a retry of theirs waits for the ring window.
SETTLE_S = 180.0
# After a kill the campaign must go on within this: both are up again, and what was in doubt is closed.
STALL_S = 60.0


@dataclass(frozen=True, slots=True)
class ChaosResult:
    """What was found; `faults` are the promises that were broken, in words.

    effective: kills that found somebody dialled since the one before; the others came on top of it.
    """

    numbers: int
    kills: int
    effective: int
    legs: int
    attempts: int
    dispositions: dict[str, int]
    statuses: dict[str, int]
    faults: tuple[str, ...]
    # From a kill, until who was killed is up and somebody is dialled again: the median and the longest, of those that were waited for.
    recovery_s: tuple[float, float] = (0.0, 0.0)


def run_chaos(
    pbx: LabPbx,
    *,
    seed: int,
    kills: int,
    numbers: int,
    say: Callable[[str], object] = str,
    pause_s: float = 2.0,
    calm: float = 0.3,
    within_s: float = float("inf"),
) -> ChaosResult:
    """One campaign to its end, under SIGKILLs until `kills` were effective; Tandem runs before and after.

    calm: the share of kills before which it has recovered from the one before, and dials; the others come on top of each other.
    within_s: after so long nothing more is killed, and the campaign comes to its end; too few effective kills are a fault.
    """
    randomness = random.Random(seed)
    with run_phone(pbx.asterisk, host=FAR, port=FAR_PORT, ring_s=0.1, steps=[Wait(TALK_S), HangUp()]) as far:
        path = _make(pbx, numbers)
        pbx.request("POST", f"{path}/start")
        waits: list[float] = []
        began = killed_at = time.monotonic()
        killed, effective, before = 0, 0, 0
        while effective < kills and time.monotonic() - began <= within_s:
            if killed and randomness.random() < calm:
                wait = _wait_for_progress(pbx, path, killed_at)
                if wait is None:
                    break
                waits.append(wait)
            time.sleep(randomness.uniform(0.2, pause_s))
            victim = "Tandem" if killed % 2 == 0 else "Asterisk"
            total = _count(pbx)
            killed, effective, before = killed + 1, effective + (total > before), total
            say(
                f"{time.monotonic() - began:.0f} s: kill -9 {victim} at {total} attempts, {effective} of {killed} were effective"
            )
            killed_at = time.monotonic()
            if victim == "Tandem":
                pbx.kill()
                pbx.launch()
            else:
                pbx.asterisk.kill()
                pbx.asterisk.start()
        say(f"{time.monotonic() - began:.0f} s: nobody is killed any more")
        _wait_for_the_end(pbx, path, say)
        result = _judge(pbx, far, numbers, killed, effective)
        faults = [f"nobody was dialled for {wait:.0f} s" for wait in waits if wait > STALL_S]
        if effective < kills:
            faults.append(f"{effective} of {killed} kills were effective, where {kills} should have been")
        recovery_s = (round(median(waits), 1), round(max(waits), 1)) if waits else (0.0, 0.0)
        return replace(result, faults=(*result.faults, *faults), recovery_s=recovery_s)


def _wait_for_progress(pbx: LabPbx, path: str, since: float) -> float | None:
    """Until somebody is dialled; how long that took, in seconds. None where nobody is left to dial."""
    before = _count(pbx)
    while _count(pbx) == before and time.monotonic() - since <= STALL_S:
        counts = _ask_counts(pbx, path)
        if counts and not counts["pending"] + counts["calling"] + counts["answered"]:
            return None
        time.sleep(0.1)
    return time.monotonic() - since


def _ask_counts(pbx: LabPbx, path: str) -> dict[str, int]:
    """How many numbers are in each state; nothing while Tandem or its Asterisk starts."""
    pbx.raise_if_ended()
    try:
        counts: dict[str, int] = pbx.request("GET", path)["counts"]
    except (TandemFailed, OSError):
        return {}
    return counts


def _make(pbx: LabPbx, numbers: int) -> str:
    fields = {
        "name": "chaos", "trunk": "far", "destination": {"announcement": "news"}, "concurrent_calls": CONCURRENT,
        "retry_times": 1, "retry_delay_s": 5, "dial_timeout_s": 5,
    }  # fmt: skip
    made = pbx.request("POST", "/api/v1/campaigns", fields)
    path = f"/api/v1/campaigns/{made['campaign_id']}"
    for start in range(0, numbers, 5000):
        batch = [{"phone_number": f"030{number:07}"} for number in range(start, min(start + 5000, numbers))]
        pbx.request("POST", f"{path}/numbers/bulk", {"numbers": batch})
    return path


def _count(pbx: LabPbx) -> int:
    """How many attempts there were."""
    total: int = _query(pbx, "SELECT count(*) FROM attempts")[0][0]
    return total


def _query(pbx: LabPbx, sql: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(f"file:{pbx.folder / 'tandem.db'}?mode=ro", uri=True, timeout=10)) as database:
        return database.execute(sql).fetchall()


def _wait_for_the_end(pbx: LabPbx, path: str, say: Callable[[str], object]) -> None:
    """Until nothing is pending or up, or nothing has moved for SETTLE_S."""
    last, moved_at = "", time.monotonic()
    while True:
        counts = _ask_counts(pbx, path)
        if counts and not counts["pending"] + counts["calling"] + counts["answered"]:
            return
        seen = json.dumps(counts)
        if seen != last:
            last, moved_at = seen, time.monotonic()
        elif time.monotonic() - moved_at > SETTLE_S:
            say(f"nothing moves any more: {counts}")
            return
        time.sleep(0.5)


def _judge(pbx: LabPbx, far: SippRun, numbers: int, kills: int, effective: int) -> ChaosResult:
    """Far end and database beside each other."""
    legs = Counter(leg.called for leg in far.read_legs())
    rows = _query(
        pbx,
        "SELECT numbers.phone_number, numbers.status, numbers.call_id, numbers.attempts, count(attempts.attempt_id),"
        " sum(attempts.ended_at IS NULL), sum(attempts.disposition = 'answered'), sum(coalesce(placed_calls.is_unsent, 0)),"
        " sum(attempts.disposition = 'trunk-dead' AND NOT coalesce(placed_calls.is_unsent, 0)), group_concat(attempts.disposition)"
        " FROM numbers LEFT JOIN attempts ON attempts.number_id = numbers.number_id"
        " LEFT JOIN placed_calls ON placed_calls.call_id = attempts.call_id GROUP BY numbers.number_id",
    )
    dispositions = dict(
        _query(
            pbx,
            "SELECT CASE WHEN is_unsent THEN 'not sent' ELSE attempts.disposition END AS what, count(*) FROM attempts"
            " JOIN placed_calls ON placed_calls.call_id = attempts.call_id GROUP BY what",
        )
    )
    statuses = dict(Counter(row[1] for row in rows))
    faults = []
    for phone_number, status, call_id, attempts, made, unclosed, answered, unsent, dead, dispositions_told in rows:
        dialled = legs[phone_number]
        if status in {"pending", "calling", "answered"} or call_id or unclosed:
            faults.append(f"{phone_number} is still open: {status}, {unclosed} attempts not closed")
        # Of one that was not sent not a byte reached Asterisk: it counts for nobody, the far end included.
        sent = made - (unsent or 0)
        if dialled > sent:
            faults.append(f"{phone_number} was dialled {dialled} times for {sent} attempts")
        # Nor does one that the trunk showed no sign of life for: it is made again (docs/dialer.md).
        if sent - (dead or 0) > 2 or attempts > 2 or not made:
            faults.append(
                f"{phone_number} has {sent} attempts ({dispositions_told}), {attempts} of them counted, where 1 or 2 are right"
            )
        if (answered or 0) > 1 or (answered and status != "completed"):
            faults.append(f"{phone_number} is {status} with {answered} answered attempts")
        if not dialled and answered:
            faults.append(f"{phone_number} is answered, and the far end never heard of it")
    if len(rows) != numbers:
        faults.append(f"{len(rows)} numbers of {numbers}")
    strangers = set(legs) - {row[0] for row in rows}
    if strangers:
        faults.append(f"dialled and on no list: {sorted(strangers)[:5]}")
    # `not sent` is another kind: what was sent rings, is refused with a cause, or is unconfirmed.
    if failed := dispositions.get("failed", 0):
        faults.append(f"{failed} attempts were spent on calls that Asterisk did not take")
    made = sum(row[4] for row in rows)
    return ChaosResult(numbers, kills, effective, sum(legs.values()), made, dispositions, statuses, tuple(faults))


def main() -> int:
    """Exit code 0 when every promise was kept."""
    parser = argparse.ArgumentParser(prog="python -m lab.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument(
        "--kills", type=int, default=200, help="effective ones: they find somebody dialled (default 200)"
    )
    # More than it dials before the last kill: who is killed must have something to lose.
    parser.add_argument("--numbers", type=int, default=20_000)
    parser.add_argument(
        "--calm", type=float, default=0.7, help="share of kills that find it dialling again (default 0.7)"
    )
    parser.add_argument(
        "--within", type=float, default=3600.0, help="seconds after which nothing is killed any more (default 3600)"
    )
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}, {arguments.kills} kills, {arguments.numbers} numbers")
    with LabPbx(find_asterisk(print), DOCUMENT, settings=SETTINGS) as pbx:
        pbx.serve()
        result = run_chaos(
            pbx,
            seed=arguments.seed,
            kills=arguments.kills,
            numbers=arguments.numbers,
            calm=arguments.calm,
            within_s=arguments.within,
            say=print,
        )
    print(result)
    return 1 if result.faults else 0


if __name__ == "__main__":
    sys.exit(main())
