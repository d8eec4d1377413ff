"""`python -m lab prepare` makes the Asterisk that tests and demo need; `python -m lab shell` gives one to play with."""

from __future__ import annotations

import argparse
import sys
import time

from lab.playground import PLAYGROUND
from tandem.asterisk.install import AsteriskUnavailable, find_asterisk
from tandem.asterisk.instance import AsteriskFailed, AsteriskInstance
from tandem.asterisk.namespaces import NamespaceError


class ProgressPrinter:
    """Prints progress: on a terminal in one line that changes, elsewhere a line at most every five seconds."""

    def __init__(self) -> None:
        self._last_at = 0.0
        self._is_terminal = sys.stderr.isatty()

    def __call__(self, message: str) -> None:
        """Print one step."""
        if self._is_terminal:
            sys.stderr.write(f"\r\033[K{message[:100]}")
        elif time.monotonic() - self._last_at >= 5:
            self._last_at = time.monotonic()
            sys.stderr.write(f"{message}\n")
        sys.stderr.flush()

    def end(self) -> None:
        """Leave the changing line."""
        if self._is_terminal:
            sys.stderr.write("\r\033[K")
            sys.stderr.flush()


def main() -> int:
    """Exit status: 0 done, 1 no Asterisk can be had here (the message says what to install), 2 wrong usage."""
    parser = argparse.ArgumentParser(prog="python -m lab", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("prepare", help="find an Asterisk, or make one with debootstrap (once)")
    commands.add_parser("shell", help="start a private Asterisk and open its console")
    arguments = parser.parse_args()
    printer = ProgressPrinter()
    try:
        install = find_asterisk(printer)
        printer.end()
        print(f"{install.version} ({install.root or install.binary})")
        if arguments.command == "shell":
            with AsteriskInstance(install, config=PLAYGROUND) as instance:
                run_shell(instance)
    except (AsteriskUnavailable, AsteriskFailed, NamespaceError) as error:
        printer.end()
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def run_shell(instance: AsteriskInstance) -> None:
    """Asterisk's own console on this terminal, until the user leaves it (``exit``, ``core stop now`` or Ctrl-D)."""
    print(f"Its folder, gone when you leave: {instance.folder}")
    print("Call the dialplan with: channel originate Local/100@lab application Wait 5      Leave with: exit")
    instance.popen(instance.command("-C", str(instance.etc / "asterisk.conf"), "-rvvv"), stdin=None, cwd="/").wait()


if __name__ == "__main__":
    sys.exit(main())
