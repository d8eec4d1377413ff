"""The command line `tandem`; never holds a use-case of its own: it asks the running process, or does offline what it would do."""

from tandem.cli.main import main

__all__ = ["main"]
