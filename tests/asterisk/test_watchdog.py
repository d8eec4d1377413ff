"""systemd's part played by the test: a frozen Tandem falls silent, is killed and started again, and calls lose nothing by it."""

import socket
import time
from collections.abc import Iterator

import pytest

from lab.demo import CARRIER_HOST
from lab.pbx import LabPbx
from lab.sipp import Caller, HangUp, Wait, place_calls
from lab.soak import ADMIN_DIALPLAN, DOCUMENT
from tandem.asterisk.install import AsteriskInstall

pytestmark = pytest.mark.asterisk
WATCHDOG_S = 2.0


@pytest.fixture(scope="module")
def pbx(asterisk_install: AsteriskInstall) -> Iterator[LabPbx]:
    with LabPbx(asterisk_install, DOCUMENT.format(version=1), admin_dialplan=ADMIN_DIALPLAN) as made:
        yield made


class Systemd:
    """Hears what a service says, and does what systemd does when it says nothing."""

    def __init__(self, address: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(address)

    def hear(self, timeout_s: float) -> str | None:
        self.socket.settimeout(timeout_s)
        try:
            return self.socket.recv(200).decode()
        except TimeoutError:
            return None

    def await_silence(self) -> None:
        deadline = time.monotonic() + 5 * WATCHDOG_S
        while self.hear(WATCHDOG_S) is not None:
            assert time.monotonic() < deadline, "a frozen Tandem still says that it is alive"


def test_a_frozen_tandem_is_killed_and_calls_go_on(pbx: LabPbx, monkeypatch: pytest.MonkeyPatch) -> None:
    address = str(pbx.folder / "notify")
    systemd = Systemd(address)
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    monkeypatch.setenv("WATCHDOG_USEC", str(int(WATCHDOG_S * 1_000_000)))
    pbx.serve()
    assert systemd.hear(1) == "READY=1"
    heard = [systemd.hear(WATCHDOG_S) for _ in range(3)]
    assert heard == ["WATCHDOG=1"] * 3
    with place_calls(
        pbx.asterisk, [Caller("493012000")], rate=5, count=40, steps=[Wait(6), HangUp()], host=CARRIER_HOST
    ) as run:
        pbx.freeze()
        systemd.await_silence()
        pbx.kill()
        pbx.serve()
        result = run.wait(timeout_s=60)
    assert [leg for leg in result.legs if not leg.is_answered or leg.ended_by != "us"] == []
    assert len(result.legs) == 40
    systemd.socket.close()
