"""`python -m bench [NAME...]`: runs the benchmarks side by side and prints tables, ratios and whether the budgets are met.

Exit code 0: every budget is met; 1: one is missed, or a benchmark could not run. Absolute times are this machine's; ratios are of one run.
`--json FILE` writes machine, figures and verdicts.
"""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import click
from rich.console import Console

from bench.report import Budget, Report, describe_machine, print_report, to_json

PRINTED_WIDTH = 118


def bench_fastagi() -> Report:
    """Sessions that decide a DID, beside other FastAGI servers."""
    from bench.fastagi_load import CONCURRENCY, FEW_DIDS, MANY_DIDS, REAL, run

    rows, swaps, failed_in_swap = run()
    by_name = {row.server: row for row in rows}
    few, many = by_name[REAL.format(FEW_DIDS)], by_name[REAL.format(MANY_DIDS)]
    idle, loaded = swaps["idle"], swaps["under load"]
    return Report(
        "FastAGI: one EXEC per session, 200 sessions at a time",
        ("server", "CPU µs", "to ours", "apart µs", "sessions/s", "p50 ms", "p99 ms", "failed"),
        tuple(
            (
                row.server,
                f"{row.cpu_us:.1f}",
                f"{row.cpu_us / many.cpu_us:.2f}",
                f"{row.cpu_apart_us:.1f}",
                f"{row.sessions_per_s:,.0f}",
                f"{row.p50_ms:.1f}",
                f"{row.p99_ms:.1f}",
                str(row.failed),
            )
            for row in rows
        ),
        notes=(
            "CPU: of the server, per session, on one core with the load; apart and the rest: on all cores, where it",
            "pays for waking the load generator on another one. Medians of interleaved rounds.",
            f"Reactor lag while {MANY_DIDS:,} other DIDs are loaded: max {idle.lag_max_ms:.1f} ms, p99 {idle.lag_p99_ms:.1f} ms",
            f"The same under load: max {loaded.lag_max_ms:.1f} ms, p99 {loaded.lag_p99_ms:.1f} ms",
        ),
        budgets=(
            Budget("server CPU per session", many.cpu_us, 50, "µs"),
            Budget("server CPU per session", many.cpu_us, 25, "µs", stretch=True),
            Budget(f"failed sessions, {CONCURRENCY} at a time", few.failed + many.failed + failed_in_swap, 0, ""),
            Budget(f"cost of {MANY_DIDS:,} DIDs to {FEW_DIDS}", many.cpu_us / few.cpu_us, 1.2, "times"),
            Budget("resident memory with two snapshots", max(idle.rss_mb, loaded.rss_mb), 200, "MB"),
            Budget("reactor lag while one is loaded", idle.lag_max_ms, 20, "ms"),
        ),
        figures={
            "servers": {row.server: {name: getattr(row, name) for name in row.__slots__} for row in rows},
            "swaps": {name: {key: getattr(one, key) for key in one.__slots__} for name, one in swaps.items()},
        },
    )


def bench_ami() -> Report:
    """AMI events parsed and handed out."""
    from bench.ami_events import run

    rows = dict(run())
    theirs, ours = rows["panoramisk: wanted, 3 headers read"], rows["tandem: wanted, 3 headers read"]
    unwanted = rows["tandem: nobody wants it"] / rows["panoramisk: nobody wants it"]
    return Report(
        "AMI: events of 22 lines on one core",
        ("reader", "events/s", "to panoramisk"),
        tuple((name, f"{rate:,.0f}", f"{rate / theirs:.1f}") for name, rate in rows.items()),
        budgets=(
            Budget("rate to panoramisk's, wanted events", ours / theirs, 4, "times", at_least=True),
            Budget("rate to panoramisk's, events nobody wants", unwanted, 4, "times", at_least=True),
        ),
        figures=rows,
    )


def bench_calls() -> Report:
    """Real calls through a real Asterisk."""
    from bench.sip_calls import RATE, run

    rows = run(say=lambda text: print(text, file=sys.stderr))
    native = rows[0]
    return Report(
        f"Real calls through Asterisk, {RATE} a second: CPU per call",
        ("way", "Asterisk ms", "Tandem ms", "both ms", "to native", "calls", "failed"),
        tuple(
            (
                row.way,
                f"{row.asterisk_ms:.2f}",
                f"{row.tandem_ms:.2f}",
                f"{row.total_ms:.2f}",
                f"{row.total_ms / native.total_ms:.2f}",
                str(row.calls),
                str(row.failed),
            )
            for row in rows
        ),
        notes=("Tandem beside native calls: what it reads of them over AMI.",),
        budgets=(Budget(f"failed calls at {RATE} a second", sum(row.failed for row in rows), 0, ""),),
        figures={row.way: {name: getattr(row, name) for name in row.__slots__} for row in rows},
    )


def bench_pure() -> Report:
    """One decision, and one rendering, alone."""
    from bench.pure_cost import ENDPOINTS, run

    figures = run()
    rendered = f"{figures['render_s']:.2f} s", f"{figures['render_mb']:.1f} MB"
    return Report(
        "Pure parts: one decision by kind of DID match",
        ("match", "µs"),
        tuple((name, f"{value:.2f}") for name, value in figures.items() if not name.startswith("render")),
        notes=(f"All of Asterisk's configuration for {ENDPOINTS:,} endpoints: {rendered[0]}, {rendered[1]}",),
        figures=figures,
    )


def bench_apply() -> Report:
    """Changes to a large PBX, from the database to a verified live Asterisk."""
    from bench.apply import DIDS, ENDPOINTS, MENUS, QUEUES, run

    rows = run()
    return Report(
        f"Changes among {ENDPOINTS:,} endpoints, {DIDS:,} DIDs, {QUEUES} queues, {MENUS} menus",
        ("what", "s"),
        tuple((row.what, f"{row.took_s:.2f}") for row in rows),
        notes=(
            "Checked in a throw-away Asterisk, reloaded, and asked for field by field in the live one; best of the runs.",
            *(f"{row.what.partition(',')[0]}: {row.laps}; the reload is Asterisk's own" for row in rows if row.laps),
        ),
        budgets=tuple(Budget(row.what, row.took_s, row.budget_s, "s") for row in rows),
        figures={row.what: row.took_s for row in rows},
    )


def bench_http() -> Report:
    """GET of a small resource, beside a Klein hello-world."""
    from bench.http_get import CONNECTIONS, run

    hello, ours = rows = run()
    return Report(
        f"HTTP: GET on {CONNECTIONS} kept connections",
        ("server", "CPU µs", "to Klein's", "requests/s", "to Klein's", "failed"),
        tuple(
            (
                row.server,
                f"{row.cpu_us:.0f}",
                f"{hello.cpu_us / row.cpu_us:.2f}",
                f"{row.requests_per_s:,.0f}",
                f"{row.requests_per_s / hello.requests_per_s:.2f}",
                str(row.failed),
            )
            for row in rows
        ),
        notes=("To Klein's: how many answers for one of the hello-world's, by CPU of the server and by the clock.",),
        budgets=(
            Budget(
                "answers for one of Klein's hello-world, by CPU", hello.cpu_us / ours.cpu_us, 0.5, "", at_least=True
            ),
            Budget("failed requests", sum(row.failed for row in rows), 0, ""),
        ),
        figures={row.server: {name: getattr(row, name) for name in row.__slots__} for row in rows},
    )


def bench_events() -> Report:
    """AMI events, some of them to many clients of server-sent events, while a campaign runs."""
    from bench.event_stream import CLIENTS, RATE, TOLD_ONE_IN, run

    row = run()
    return Report(
        f"{RATE:,} AMI events a second while a campaign runs, every {TOLD_ONE_IN}th of them to {CLIENTS} clients",
        ("AMI events", "a second", "told on", "received", "calls placed", "lag p99 ms", "lag max ms", "CPU of a core"),
        (
            (
                f"{row.sent:,}",
                f"{row.events_per_s:,.0f}",
                f"{row.told:,}",
                f"{row.received:,}",
                f"{row.attempts:,}",
                f"{row.lag_p99_ms:.1f}",
                f"{row.lag_max_ms:.1f}",
                f"{row.cpu_share:.0%}",
            ),
        ),
        budgets=(
            Budget("reactor lag at p99", row.lag_p99_ms, 50, "ms"),
            Budget("AMI events a second", row.events_per_s, 0.99 * RATE, "", at_least=True),
            Budget("events that a client did not get", row.lost, 0, ""),
            Budget("calls that the campaign placed meanwhile", row.attempts, 1, "", at_least=True),
        ),
        figures={name: getattr(row, name) for name in row.__slots__},
    )


def bench_originate() -> Report:
    """Calls placed over HTTP and followed to their CDRs."""
    from bench.originate import RATE, run

    row = run(say=lambda text: print(text, file=sys.stderr))
    return Report(
        f"Calls placed over HTTP, {RATE} a second, each followed to its CDR",
        ("calls", "placed", "with their CDR", "a second", "202: p50 ms", "p99 ms", "Tandem CPU ms", "Asterisk CPU ms"),
        (
            (
                str(row.calls),
                str(row.placed),
                str(row.followed),
                f"{row.rate:.1f}",
                f"{row.post_p50_ms:.0f}",
                f"{row.post_p99_ms:.0f}",
                f"{row.tandem_ms:.2f}",
                f"{row.asterisk_ms:.2f}",
            ),
        ),
        notes=(
            f"From placing a call to the news of its CDR: p50 {row.cdr_p50_s:.1f} s, max {row.cdr_max_s:.1f} s, ringing and talking included.",
        ),
        budgets=(
            Budget("calls without their CDR", row.lost, 0, ""),
            Budget("calls placed a second", row.rate, 0.99 * RATE, "", at_least=True),
        ),
        figures={name: getattr(row, name) for name in row.__slots__},
    )


def bench_dialer() -> Report:
    """Campaign attempts a second, each committed before it is sent."""
    from bench.campaigns import NUMBERS
    from bench.campaigns import run as run_real
    from bench.dialer import run as run_fake

    fake = run_fake(NUMBERS)
    *ceilings, local, over_sip = run_real(NUMBERS, say=lambda text: print(text, file=sys.stderr))
    rows = (local, over_sip)
    return Report(
        f"Campaigns of {NUMBERS:,} numbers: every attempt committed before it is sent, and its end",
        ("to", "attempts", "a second", "to its ceiling", "Tandem CPU ms", "Asterisk CPU ms", "SIPp CPU ms", "lag p99 ms"),
        (
            ("an Asterisk played by us", f"{fake.attempts:,}", f"{fake.rate:,.0f}", "", f"{fake.cpu_ms:.2f}", "", "", f"{fake.lag_p99_ms:.0f}"),
            *(
                (ceiling.way, f"{ceiling.attempts:,}", f"{ceiling.rate:,.0f}", "1.00", "", f"{ceiling.asterisk_ms:.2f}", f"{ceiling.far_end_ms:.2f}", "")
                for ceiling in ceilings
            ),
            *(
                (
                    row.way,
                    f"{row.attempts:,}",
                    f"{row.rate:,.0f}",
                    f"{row.rate / ceiling.rate:.2f}",
                    f"{row.tandem_ms:.2f}",
                    f"{row.asterisk_ms:.2f}",
                    f"{row.far_end_ms:.2f}" if row.far_end_ms else "",
                    f"{row.lag_p99_ms:.0f}",
                )
                for ceiling, row in zip(ceilings, rows, strict=True)
            ),
        ),
        notes=(
            "Played: the dialer alone, in one process with its database. The ceilings: calls over AMI with nothing behind them.",
            "The others: a whole Tandem, which also decides over FastAGI what is done with those who answer, and makes the CDRs.",
        ),
        budgets=(
            Budget("attempts a second, Asterisk played", fake.rate, 1000, "", at_least=True),
            *(Budget(f"attempts a second, {row.way}", row.rate, 300, "", at_least=True) for row in rows),
            Budget("reactor lag at p99, Asterisk played", fake.lag_p99_ms, 50, "ms"),
            Budget("numbers not dialled once and answered", sum(abs(NUMBERS - row.answered) for row in (fake, *rows)), 0, ""),
            Budget("calls that the far end counted and nobody attempted, or missed", sum(abs(row.extra) for row in rows), 0, ""),
        ),
        figures={"played": {name: getattr(fake, name) for name in fake.__slots__}}
        | {row.way: {name: getattr(row, name) for name in row.__slots__} for row in (*ceilings, *rows)},
    )  # fmt: skip


def bench_numbers() -> Report:
    """Lists of numbers in the mass, over HTTP."""
    from bench.numbers import BULK, CAMPAIGNS, REQUESTS, ROWS, run

    row = run()
    written = {
        f"{BULK:,} numbers added in one request": (row.bulk_s, 3.0),
        f"{BULK:,} numbers added in {REQUESTS} requests": (row.requests_s, 3.0),
        f"{ROWS:,} numbers from a CSV file": (row.csv_s, 40.0),
    }
    read = {f"a page of {ROWS:,}: {kind}": (took_ms, 20.0) for kind, took_ms in row.pages_ms.items()}
    read[f"a list of {CAMPAIGNS} campaigns with their counts"] = (row.list_ms, 30.0)
    return Report(
        "Numbers over HTTP",
        ("what", "took"),
        (
            *((what, f"{took:.2f} s") for what, (took, _) in written.items()),
            *((what, f"{took:.1f} ms") for what, (took, _) in read.items()),
            ("memory at its most", f"{row.peak_mb:.0f} MB"),
        ),
        budgets=(
            *(Budget(what, took, limit, "s") for what, (took, limit) in written.items()),
            *(Budget(what, took, limit, "ms") for what, (took, limit) in read.items()),
            Budget("resident memory at its most", row.peak_mb, 300, "MB"),
            Budget("answers that were not what was asked for", row.wrong, 0, ""),
        ),
        figures={name: getattr(row, name) for name in row.__slots__},
    )


def bench_compat() -> Report:
    """What other systems' APIs cost, beside the native one."""
    from bench.compat import run

    rows = run()
    return Report(
        "Requests in other systems' words, beside their native twins: CPU of the server",
        ("request", "CPU µs", "the twin's µs", "ratio", "failed"),
        tuple((row.what, f"{row.cpu_us:,.0f}", f"{row.twin_us:,.0f}", f"{row.ratio:.2f}", str(row.failed)) for row in rows),
        notes=("By turns on one kept connection, the whole of Tandem with SQLite; a twin asks the native API for the same.",),
        budgets=(
            *(Budget(f"{row.what}, to its twin", row.ratio, 1.5, "times") for row in rows),
            Budget("answers that were no success", sum(row.failed for row in rows), 0, ""),
        ),
        figures={row.what: {name: getattr(row, name) for name in row.__slots__} for row in rows},
    )  # fmt: skip


BENCHES: dict[str, Callable[[], Report]] = {
    "fastagi": bench_fastagi,
    "ami": bench_ami,
    "http": bench_http,
    "compat": bench_compat,
    "events": bench_events,
    "calls": bench_calls,
    "originate": bench_originate,
    "numbers": bench_numbers,
    "dialer": bench_dialer,
    "pure": bench_pure,
    "apply": bench_apply,
}
NEED_ASTERISK = {"calls", "originate", "dialer", "apply"}


def run_benches(names: tuple[str, ...], console: Console) -> tuple[dict[str, object], bool]:
    """What `--json` writes, and whether every budget was met."""
    machine = describe_machine()
    if NEED_ASTERISK.intersection(names):
        from tandem.asterisk.install import find_asterisk

        machine["asterisk"] = find_asterisk(lambda text: console.print(text, markup=False)).version
    console.print(", ".join(f"{name} {value}" for name, value in machine.items()), markup=False)
    console.print()
    reports, started_at = {}, time.monotonic()
    for name in names:
        with console.status(f"{name} …"):
            reports[name] = BENCHES[name]()
        print_report(console, reports[name])
    missed = [
        f"{name}: {budget.what}"
        for name, report in reports.items()
        for budget in report.budgets
        if not budget.is_met and not budget.stretch
    ]
    console.print(f"{time.monotonic() - started_at:.0f} s. ", end="")
    console.print("Every budget is met." if not missed else f"MISSED: {'; '.join(missed)}", markup=False)
    return {"machine": machine, "benches": {name: to_json(report) for name, report in reports.items()}}, not missed


@click.command(help=f"Benchmarks: {', '.join(BENCHES)}; without a NAME all of them.")
@click.argument("names", nargs=-1, type=click.Choice(list(BENCHES)), metavar="[NAME]...")
@click.option("--json", "path", type=click.Path(dir_okay=False, path_type=Path), help="Writes the figures here, too.")
def main(names: tuple[str, ...], path: Path | None) -> None:
    """Exit code 0 or 1."""
    result, is_met = run_benches(names or tuple(BENCHES), Console(highlight=False, width=PRINTED_WIDTH))
    if path is not None:
        path.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    sys.exit(0 if is_met else 1)


if __name__ == "__main__":
    main()
