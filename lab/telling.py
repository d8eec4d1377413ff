"""Says what a demonstration does, step by step, and stops it when something did not happen; never passes over a failure."""

from collections.abc import Callable
from typing import TypeVar

from rich.console import Console

T = TypeVar("T")


class DemoFailed(RuntimeError):
    """Something did not happen as it should."""


class Teller:
    """Says each step when it begins, and how it ended."""

    def __init__(self) -> None:
        self._console = Console(highlight=False, soft_wrap=True)
        self._number = 0

    def step(self, what: str, work: Callable[[], T]) -> T:
        """Runs `work` under the words `what`."""
        self._number += 1
        self._console.print(f"\n[bold]{self._number}. {what}[/bold]")
        with self._console.status("…"):
            return work()

    def say(self, *lines: str) -> None:
        """Plain lines, indented below their step."""
        for line in lines:
            self._console.print(f"   {line}", markup=False)

    def conclude(self, problem: str | None) -> None:
        """The last word."""
        self._console.print()
        if problem is None:
            self._console.print("[bold green]All of it happened, in a real Asterisk.[/]")
        else:
            self._console.print("[bold red]It did not happen as it should:[/]")
            self._console.print(problem, markup=False)


def expect(condition: bool, otherwise: str) -> None:
    """DemoFailed with `otherwise` unless the condition holds."""
    if not condition:
        raise DemoFailed(otherwise)
