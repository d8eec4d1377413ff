"""What systemd hears, on a NOTIFY_SOCKET of the test's own."""

import os
import socket

import pytest
from twisted.internet.task import Clock

from tandem.watchdog import Watchdog, read_watchdog_period


class Systemd:
    def __init__(self, address):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind("\0" + address[1:] if address.startswith("@") else address)
        self.socket.setblocking(False)

    def hear(self):
        lines = []
        while True:
            try:
                lines.append(self.socket.recv(100).decode())
            except BlockingIOError:
                return lines


@pytest.fixture(params=["path", "abstract"])
def address(request, tmp_path):
    return str(tmp_path / "notify") if request.param == "path" else f"@tandem-test-{os.getpid()}"


def test_ready_alive_and_stopping(address):
    systemd, clock = Systemd(address), Clock()
    watchdog = Watchdog({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "3000000"}, clock)
    watchdog.startService()
    assert systemd.hear() == ["READY=1", "WATCHDOG=1"]
    clock.advance(1.4)
    assert systemd.hear() == []
    clock.advance(0.2)
    assert systemd.hear() == ["WATCHDOG=1"]
    clock.advance(30)
    assert systemd.hear() == ["WATCHDOG=1"]
    watchdog.stopService()
    assert systemd.hear() == ["STOPPING=1"]
    assert not clock.getDelayedCalls()
    systemd.socket.close()


def test_without_systemd_nothing_happens():
    clock = Clock()
    watchdog = Watchdog({}, clock)
    watchdog.startService()
    watchdog.stopService()
    assert not clock.getDelayedCalls()


def test_a_systemd_that_is_gone_is_no_trouble_of_ours(tmp_path, caplog):
    watchdog = Watchdog({"NOTIFY_SOCKET": str(tmp_path / "gone")}, Clock())
    watchdog.startService()
    watchdog.stopService()
    assert "READY=1" in caplog.text


@pytest.mark.parametrize(
    ("environ", "period"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": str(os.getpid())}, 3.0),
        ({"WATCHDOG_USEC": "2500000"}, 2.5),
    ],
)
def test_period(environ, period):
    assert read_watchdog_period(environ) == period
