"""On a terminal, whatever may take longer than a second shows that it works; elsewhere nothing but the answer is written."""

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from tandem.settings import write_settings_template

EXAMPLE = Path(__file__).parents[3] / "examples" / "pbx.yaml"


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    path = tmp_path / "tandem.yaml"
    values = {"state_dir": tmp_path, "run_dir": tmp_path / "run", "database.path": tmp_path / "tandem.db"}
    # Ports of nobody: what is asked there is refused at once.
    write_settings_template(path, values | {"ami.port": 1, "fastagi.port": 1})
    return path


def run(settings: Path, *arguments: str) -> tuple[str, str]:
    """(standard output, what a terminal shows of standard error)."""
    ours, theirs = pty.openpty()
    argv = [sys.executable, "-m", "tandem", "--settings", str(settings), *arguments]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=theirs, env=os.environ | {"TERM": "xterm"}) as process:
        os.close(theirs)
        shown = b""
        try:
            while part := os.read(ours, 4096):
                shown += part
        except OSError:  # Linux says so at the end of a pseudo-terminal
            pass
        assert process.stdout is not None
        output = process.stdout.read().decode()
    os.close(ours)
    return output, shown.decode()


def test_each_command_that_may_take_long_shows_that_it_works(settings: Path) -> None:
    output, shown = run(settings, "import", str(EXAMPLE))
    assert "Revision 1" in output
    assert "reading" in shown
    assert "importing" in shown
    output, shown = run(settings, "export")
    assert output.startswith("general:")
    assert "reading the database" in shown
    assert "reading" in run(settings, "route", "explain", "1")[1]
    assert "looking" in run(settings, "check")[1]
    assert "asking" in run(settings, "config", "apply")[1]
