"""What a benchmark hands over and how it is printed: a table, lines below it, and budgets that are met or missed; measures nothing."""

import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, slots=True)
class Budget:
    """A promise about one figure. `stretch`: only said, never a failure."""

    what: str
    measured: float
    limit: float
    unit: str
    at_least: bool = False
    stretch: bool = False

    @property
    def is_met(self) -> bool:
        """Whether the figure keeps within its limit."""
        return self.measured >= self.limit if self.at_least else self.measured <= self.limit


@dataclass(frozen=True, slots=True)
class Report:
    """One benchmark's result. Cells are texts; what a program would read is in `figures`."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()
    budgets: tuple[Budget, ...] = ()
    figures: Mapping[str, Any] = field(default_factory=dict)


def print_report(console: Console, report: Report) -> None:
    """The table, its notes and its budgets."""
    table = Table(title=report.title, title_justify="left", title_style="bold")
    for number, column in enumerate(report.columns):
        table.add_column(column, justify="right" if number else "left", no_wrap=not number)
    for row in report.rows:
        table.add_row(*row)
    console.print(table)
    for note in report.notes:
        console.print(f"  {note}", markup=False)
    for budget in report.budgets:
        verdict = (
            "[green]met[/]" if budget.is_met else "[yellow]not met[/]" if budget.stretch else "[bold red]MISSED[/]"
        )
        sign = ">=" if budget.at_least else "<="
        kind = "stretch" if budget.stretch else "budget"
        figures = f"{budget.measured:.4g} {budget.unit} ({sign} {budget.limit:g})"
        console.print(f"  {kind}: {budget.what}: {figures} {verdict}")
    console.print()


def describe_machine() -> dict[str, str]:
    """Names and values: CPU, cores, kernel, Python."""
    cpuinfo = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    model = next((line.partition(":")[2].strip() for line in cpuinfo if line.startswith("model name")), "unknown")
    return {
        "cpu": model,
        "cores": str(len(os.sched_getaffinity(0))),
        "kernel": platform.release(),
        "python": platform.python_version(),
    }


def to_json(report: Report) -> dict[str, Any]:
    """Figures and verdicts."""
    budgets: Sequence[dict[str, Any]] = [asdict(budget) | {"met": budget.is_met} for budget in report.budgets]
    return {"title": report.title, "figures": dict(report.figures), "budgets": budgets}
