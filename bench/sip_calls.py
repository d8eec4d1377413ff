"""Real calls through a real Asterisk at 100 a second: decided by Tandem, by a hand-written dialplan, and by AstDB with Tandem killed.

SIPp is the carrier: INVITE, answer, ACK, BYE from the caller. All three ways end at the same extension of the admin's dialplan, which
answers. CPU per call is what the kernel charged to the Asterisk and the Tandem process during the calls (/proc/PID/stat); the ways take
turns in rounds in the same Asterisk, and the medians count. Nothing else calls meanwhile.
"""

import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lab.pbx import ADMIN_FILES, LabPbx
from lab.sipp import Caller, HangUp, place_calls
from tandem.asterisk.install import find_asterisk

RATE = 100
CALLS = 300
"""Per round and way: 3 s."""
ROUNDS = 4
SETTLE_S = 0.5
"""The last BYE, its CDR and Tandem's line in the log come a moment after SIPp has ended."""
CARRIER_HOST = "127.0.0.2"
NATIVE_HOST = "127.0.0.4"
AREA = "4930"
DOCUMENT = f"""
general: {{country: DE, allowed_contexts: [bench]}}
trunks: [{{name: carrier, hosts: ["{CARRIER_HOST}:5060"], match: [{CARRIER_HOST}]}}]
dids: [{{number: "+{AREA}*", destination: {{dialplan: "bench,answer"}}}}]
"""
NATIVE_TRUNK = f"""
[native]
type = endpoint
context = bench-native
disallow = all
allow = alaw
aors = native

[native]
type = aor
contact = sip:{NATIVE_HOST}:5060

[native]
type = identify
endpoint = native
match = {NATIVE_HOST}
"""
DIALPLAN = """
[bench]
exten => answer,1,Answer(,i)
 same => n,Wait(10)
 same => n,Hangup()

[bench-native]
exten => _X.,1,Ringing()
 same => n,Goto(bench,answer,1)
"""
QUIET_LOG = "[general]\n\n[logfiles]\nfull => notice,warning,error\n"


@dataclass(frozen=True, slots=True)
class CallRow:
    """One way of deciding: medians of CPU per call in ms; calls of all rounds, and those that failed."""

    way: str
    calls: int
    failed: int
    asterisk_ms: float
    tandem_ms: float

    @property
    def total_ms(self) -> float:
        """Both processes."""
        return self.asterisk_ms + self.tandem_ms


def run(
    rate: int = RATE, calls: int = CALLS, rounds: int = ROUNDS, say: Callable[[str], None] = print
) -> list[CallRow]:
    """The rows: native, decided by FastAGI, and from AstDB after Tandem was killed. AsteriskUnavailable where none can run."""
    with LabPbx(find_asterisk(say), DOCUMENT, admin_dialplan=DIALPLAN) as pbx:
        asterisk = pbx.asterisk
        asterisk.write_config("logger.conf", QUIET_LOG)
        asterisk.cli("logger reload")
        asterisk.write_config("pjsip.conf", ADMIN_FILES["pjsip.conf"] + NATIVE_TRUNK)
        pbx.serve()
        asterisk.reload("res_pjsip.so")
        native, decided, fallen_back = _Way(pbx, NATIVE_HOST), _Way(pbx, CARRIER_HOST), _Way(pbx, CARRIER_HOST)
        for way in (native, decided):  # what is loaded and cached by the first calls is not theirs to pay
            way.place(rate, rate)
            way.forget()
        for _ in range(rounds):
            native.place(rate, calls)
            decided.place(rate, calls)
        pbx.kill()
        for _ in range(rounds):
            fallen_back.place(rate, calls)
        return [
            native.sum_up("native dialplan"),
            decided.sum_up("Tandem decides"),
            fallen_back.sum_up("Tandem killed: AstDB"),
        ]


class _Way:
    """The calls of one carrier."""

    def __init__(self, pbx: LabPbx, host: str) -> None:
        self._pbx, self._host = pbx, host
        self._asterisk_ms: list[float] = []
        self._tandem_ms: list[float] = []
        self._calls = self._failed = 0

    def place(self, rate: int, calls: int) -> None:
        """One round."""
        pbx = self._pbx
        callers = [Caller(f"{AREA}{number:07}", caller=f"40555{number:05}") for number in range(calls)]
        before_s = self._read_cpu()
        with place_calls(pbx.asterisk, callers, rate=rate, steps=[HangUp()], host=self._host) as sipp:
            result = sipp.wait(timeout_s=30 + calls / rate)
        time.sleep(SETTLE_S)
        asterisk_s, tandem_s = (after - before for after, before in zip(self._read_cpu(), before_s, strict=True))
        well = sum(leg.is_answered and leg.ended_by == "us" for leg in result.legs)
        self._calls += calls
        self._failed += max(calls - well, result.failed)
        self._asterisk_ms.append(asterisk_s / calls * 1000)
        self._tandem_ms.append(tandem_s / calls * 1000)

    def forget(self) -> None:
        """The rounds so far were a warm-up."""
        self._asterisk_ms.clear()
        self._tandem_ms.clear()
        self._calls = self._failed = 0

    def sum_up(self, way: str) -> CallRow:
        """The medians."""
        asterisk_ms, tandem_ms = statistics.median(self._asterisk_ms), statistics.median(self._tandem_ms)
        return CallRow(way, self._calls, self._failed, asterisk_ms, tandem_ms)

    def _read_cpu(self) -> tuple[float, float]:
        tandem = self._pbx.process
        alive = tandem is not None and tandem.poll() is None
        return read_cpu_s(self._pbx.asterisk.process.pid), read_cpu_s(tandem.pid) if alive and tandem else 0.0


def read_cpu_s(pid: int) -> float:
    """Seconds of CPU, user and system, that a process has used: fields 14 and 15 of proc(5)'s stat."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
