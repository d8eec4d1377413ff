"""The grid of simulated campaigns: `python -m bench.pacing` writes docs/pacing.csv, the table in docs/pacing.md and docs/pacing.svg.

Fails where a promise does not hold: progressive abandons nobody, predictive stays within the cap and is never worse than progressive.
The same code gives the same files.
"""

import csv
import itertools
import multiprocessing
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tandem.domain.pacing import LEGAL_ABANDON_CAP, SMALLEST_PREDICTIVE_TEAM, Mode, Policy
from tandem.domain.simulation import Outcome, Scenario, Times, simulate

DOCS = Path(__file__).parent.parent / "docs"
START, END = "<!-- grid: python -m bench.pacing -->\n", "<!-- end of grid -->\n"
AGENTS = (1, 2, 5, 10, 20, 50, 100)
ANSWER_RATES = (0.1, 0.3, 0.6, 0.9)
TALK_S = (30, 120, 240)
RING_S = (5, 20)
MODES: tuple[Mode, ...] = ("progressive", "predictive")
ANSWERS = 600
# What chance alone moves the talk-time share of two runs of some thousand calls.
EPSILON = 0.02


@dataclass(frozen=True, slots=True, order=True)
class Cell:
    """One place of the grid."""

    agents: int
    answer_rate: float
    talk_s: int
    ring_s: int

    def scenario(self, answers: int = ANSWERS) -> Scenario:
        """Long enough for about `answers` conversations if agents did little else, and half an hour at least."""
        ring = Times(self.ring_s, 0.4)
        return Scenario(
            agents=self.agents,
            answer_rate=self.answer_rate,
            duration_s=max(1800.0, answers * (self.talk_s + 20) / self.agents),
            ring=ring,
            ring_limit_s=max(25.0, 2 * self.ring_s),
            talk=Times(self.talk_s, 1.0),
        )

    def run(self, mode: Mode, answers: int = ANSWERS, seed: int = 1) -> Outcome:
        """One campaign with a limit that does not bind, as trunks are not what is looked at."""
        policy = Policy(mode=mode, limit=20 * self.agents, lines_per_agent=1.5)
        return simulate(self.scenario(answers), policy, seed)


def cells() -> Iterator[Cell]:
    """All of them, in the order of the table."""
    return itertools.starmap(Cell, itertools.product(AGENTS, ANSWER_RATES, TALK_S, RING_S))


def check(cell: Cell, progressive: Outcome, predictive: Outcome) -> list[str]:
    """What does not hold in this cell."""
    wrong = []
    if progressive.abandoned:
        wrong.append(f"progressive abandoned {progressive.abandoned}")
    if predictive.abandoned_share > LEGAL_ABANDON_CAP:
        wrong.append(f"predictive abandoned {predictive.abandoned_share:.2%}")
    if predictive.talk_share < progressive.talk_share - EPSILON:
        wrong.append(f"predictive talks {predictive.talk_share:.1%}, progressive {progressive.talk_share:.1%}")
    if cell.agents < SMALLEST_PREDICTIVE_TEAM and predictive.abandoned:
        wrong.append("predictive dials ahead in a team that is too small")
    return [f"{cell}: {what}" for what in wrong]


def run_cell(cell: Cell) -> tuple[Cell, Outcome, Outcome]:
    """Both modes, for a worker process."""
    progressive, predictive = (cell.run(mode) for mode in MODES)
    return cell, progressive, predictive


def write_csv(results: list[tuple[Cell, Outcome, Outcome]]) -> None:
    with (DOCS / "pacing.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(
            ["agents", "answer_rate", "talk_s", "ring_s", "mode", "talk_share", "abandoned_share", "answered", "placed", "peak", "wait_p99_s"]
        )  # fmt: skip
        for cell, *outcomes in results:
            for mode, outcome in zip(MODES, outcomes, strict=True):
                writer.writerow([
                    cell.agents, cell.answer_rate, cell.talk_s, cell.ring_s, mode, f"{outcome.talk_share:.4f}",
                    f"{outcome.abandoned_share:.4f}", outcome.answered, outcome.placed, outcome.peak, f"{outcome.wait_s(99):.1f}",
                ])  # fmt: skip


def write_table(results: list[tuple[Cell, Outcome, Outcome]]) -> None:
    found = {cell: outcomes for cell, *outcomes in results}
    columns = list(itertools.product(TALK_S, RING_S))
    lines = [
        "| agents | answer rate | " + " | ".join(f"talk {talk} s, ring {ring} s" for talk, ring in columns) + " |",
        "|---:|---:|" + "---|" * len(columns),
    ]
    for agents, rate in itertools.product(AGENTS, ANSWER_RATES):
        row = []
        for talk, ring in columns:
            progressive, predictive = found[Cell(agents, rate, talk, ring)]
            row.append(
                f"{progressive.talk_share * 100:.0f} → {predictive.talk_share * 100:.0f} ({predictive.abandoned_share * 100:.1f})"
            )
        lines.append(f"| {agents} | {rate} | " + " | ".join(row) + " |")
    page = DOCS / "pacing.md"
    before, rest = page.read_text(encoding="utf-8").split(START)
    page.write_text(before + START + "\n".join(lines) + "\n" + END + rest.split(END)[1], encoding="utf-8")


def write_plot(results: list[tuple[Cell, Outcome, Outcome]], talk_s: int = 120, ring_s: int = 20) -> None:
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams.update({"svg.hashsalt": "tandem", "svg.fonttype": "none", "font.size": 10})
    from matplotlib import pyplot as plt

    figure, (above, below) = plt.subplots(2, 1, figsize=(8, 7), sharex=True, height_ratios=[3, 1.2])
    for index, rate in enumerate(ANSWER_RATES):
        chosen = [r for r in results if (r[0].answer_rate, r[0].talk_s, r[0].ring_s) == (rate, talk_s, ring_s)]
        color = f"C{index}"
        label = f"{rate:.0%} answer"
        above.plot(AGENTS, [100 * r[2].talk_share for r in chosen], color=color, marker="o", label=label)
        above.plot(AGENTS, [100 * r[1].talk_share for r in chosen], color=color, marker=".", linestyle=":")
        below.plot(AGENTS, [100 * r[2].abandoned_share for r in chosen], color=color, marker="o")
    above.set_title(f"Talk {talk_s} s, ring {ring_s} s, wrap-up 5 s: predictive (solid), progressive (dotted)")
    above.set_ylabel("agents talk, % of their time")
    above.set_ylim(0, 100)
    above.legend(loc="lower right", ncols=2)
    below.axhline(100 * LEGAL_ABANDON_CAP, color="black", linewidth=1)
    below.text(1, 100 * LEGAL_ABANDON_CAP + 0.1, "the cap")
    below.set_ylabel("abandoned, %")
    below.set_ylim(0, 4)
    below.set_xscale("log")
    below.set_xticks(AGENTS, [str(agents) for agents in AGENTS])
    below.minorticks_off()
    below.set_xlabel("agents")
    for axes in (above, below):
        axes.grid(alpha=0.3)
    figure.tight_layout()
    figure.savefig(DOCS / "pacing.svg", metadata={"Date": None})


def main() -> int:
    with multiprocessing.Pool(2) as pool:
        # The costly ones first, so that no worker is left alone with one at the end.
        results = []
        for result in pool.imap_unordered(run_cell, reversed(list(cells()))):
            results.append(result)
            print(f"\r{len(results)} cells", end="", file=sys.stderr, flush=True)
    results.sort(key=lambda result: result[0])
    write_csv(results)
    write_table(results)
    write_plot(results)
    wrong = [line for result in results for line in check(*result)]
    print("\n".join(wrong) or f"{len(results)} cells, every promise holds")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
