"""A large document comes into a running Tandem: its calls do not wait for it, and a broken one changes nothing in a real Asterisk."""

import time
from collections.abc import Iterator
from typing import Any

import pytest

from lab.pbx import LabPbx
from tandem.cli.control import ask

pytestmark = pytest.mark.asterisk

COUNT = 30_000
DOCUMENT = """
queues: [{name: sales, fallback: {hangup: busy}}]
dids:
  - {number: default, destination: {queue: sales}}
"""


@pytest.fixture(scope="module")
def pbx(asterisk_install: Any) -> Iterator[LabPbx]:
    with LabPbx(asterisk_install, DOCUMENT) as pbx:
        pbx.serve()
        yield pbx


def read_health(pbx: LabPbx) -> dict[str, Any]:
    health: dict[str, Any] = ask(pbx.folder / "run" / "control.sock", "GET", "/api/v1/monitoring/status")
    return health


def wait_until_ready(pbx: LabPbx, timeout_s: float = 60) -> dict[str, Any]:
    deadline = time.monotonic() + timeout_s
    while not (health := read_health(pbx))["ready"]:
        assert time.monotonic() < deadline, health
        time.sleep(0.2)
    return health


def test_a_broken_document_changes_nothing(pbx: LabPbx) -> None:
    generation = (pbx.asterisk.etc / "tandem" / "current").readlink()
    routes = pbx.asterisk.cli("database show tandem-meta")
    broken = pbx.folder / "broken.yaml"
    broken.write_text(DOCUMENT + "  - {number: '12', destination: {queue: sails}}\n")
    refused = pbx.tandem("import", str(broken), check=False)
    assert refused.returncode == 2
    assert f"{broken}:5: dids[1].destination.queue: there is no queue 'sails'; did you mean sales?" in refused.stderr
    assert (pbx.asterisk.etc / "tandem" / "current").readlink() == generation
    assert pbx.asterisk.cli("database show tandem-meta") == routes
    assert read_health(pbx)["revision"] == 1


def test_calls_do_not_wait_for_a_large_document(pbx: LabPbx) -> None:
    numbers = "".join(f'  - {{number: "+4930{number:06}", destination: {{queue: sales}}}}\n' for number in range(COUNT))
    pbx.import_document(DOCUMENT + numbers)
    health = wait_until_ready(pbx)
    assert (health["revision"], health["dids"]) == (2, COUNT + 1)
    # Read in the process that decides calls, it would take a second and a half.
    assert health["reactor_lag_s"]["max"] < 0.5, health["reactor_lag_s"]
    assert f"tandem-did/4930{COUNT - 1:06}" in pbx.asterisk.cli(f"database showkey 4930{COUNT - 1:06}")
