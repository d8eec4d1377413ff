"""The exit codes of `tandem`, in one place; never decides which one applies."""

from typing import Final

DONE: Final = 0  # it was done, or everything is well
FAILED: Final = 1  # it was tried and failed, or a check found something wrong
USAGE: Final = 2  # the command line, the settings or the document are not right; nothing was changed
UNREACHABLE: Final = 3  # the running Tandem (or its database, or Asterisk) could not be reached
BUSY: Final = 4  # another Tandem holds the lock

HELP: Final = (
    "Exit codes: 0 done; 1 tried and failed, or a check found something wrong; 2 command line, settings or document not right, "
    "nothing was changed; 3 the running Tandem could not be reached; 4 another Tandem holds the database."
)
