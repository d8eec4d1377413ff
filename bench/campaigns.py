"""How many campaign attempts a second a real Asterisk is given, each committed before it is sent, beside what AMI alone would take in the same run.

The ceilings are a client that originates calls with nothing behind it (no database, no limits, nothing kept), to Local channels and over the same PJSIP
trunk to the same SIPp: what this Asterisk could do on this machine if Tandem cost nothing. Then a whole `tandem serve`
runs two campaigns of the same size over HTTP: to Local channels (the admin's own dial string), whose far end answers and hangs up at once, and over
a PJSIP trunk to SIPp, which answers at once and waits until Asterisk hangs up: each of its calls is decided over FastAGI. The end of each call
is read, classified and committed; SIPp's own count says that there was none too many.

    python -m bench.campaigns [NUMBERS]
"""

import re
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from bench.sip_calls import QUIET_LOG, read_cpu_s
from lab.pbx import LabPbx
from lab.sipp import run_far_end
from tandem.ami import actions
from tandem.ami.connection import new_action_id
from tandem.ami.wire import FRAME_END, encode_action
from tandem.asterisk.install import find_asterisk
from tandem.domain.calls import new_call_id

NUMBERS = 20_000
IN_FLIGHT = 200
"""Few for 300 calls a second: with people who talk there are thousands."""
WARM_UP = 500
"""Calls before those that are counted: what is loaded and cached by the first ones is not theirs to pay."""
FAR_HOST, FAR_PORT = "127.0.0.4", 5070
STUCK_S = 30.0
"""Without any progress for so long a run has failed."""
POLL_S = 0.3
"""Each question costs Tandem a millisecond or two."""
BATCH = 10_000
CEILING = "AMI alone, Local channels"
SIP_CEILING = "AMI alone, PJSIP to SIPp"
# Not asked whether it lives: SIPp takes an OPTIONS for a call, which it waits for to go on, and counts.
DOCUMENT = f"""
general: {{country: DE, outbound_trunk: carrier, allowed_contexts: [bench]}}
trunks: [{{name: carrier, hosts: ["{FAR_HOST}:{FAR_PORT}"], match: [{FAR_HOST}], qualify_s: 0}}]
"""
SETTINGS = {"dialer.max_calls": "1000", "dialer.max_cps": "2000"}
DIALPLAN = """
[bench]
exten => _X.,1,Answer(,i)
 same => n,Hangup()
exten => end,1,Hangup()
"""
_HANGUP = re.compile(rb"\r\nUniqueid: ([0-9a-f]{32})\r\n")


@dataclass(frozen=True, slots=True)
class CampaignRow:
    """One way of dialling. attempts: with a committed end (of the ceiling: calls that ended); answered: of them; CPU per attempt in ms, lag in ms.

    far_end_ms: SIPp's CPU; extra: calls that SIPp counted and nobody attempted, or the other way round.
    """

    way: str
    attempts: int
    answered: int
    took_s: float
    tandem_ms: float
    asterisk_ms: float
    lag_p99_ms: float
    far_end_ms: float = 0.0
    extra: int = 0

    @property
    def rate(self) -> float:
        """Attempts a second, from the first to the end of the last."""
        return self.attempts / self.took_s


def run(
    numbers: int = NUMBERS, in_flight: int = IN_FLIGHT, warm_up: int = WARM_UP, say: Callable[[str], None] = print
) -> list[CampaignRow]:
    """Both ceilings, Local, PJSIP. AsteriskUnavailable where none can run."""
    with LabPbx(find_asterisk(say), DOCUMENT, settings=SETTINGS, admin_dialplan=DIALPLAN) as pbx:
        asterisk = pbx.asterisk
        asterisk.write_config("logger.conf", QUIET_LOG)
        asterisk.cli("logger reload")
        rows = []
        pbx.serve()  # Asterisk has the trunk then
        pbx.kill()
        for way, channel in ((CEILING, "Local/0301234567@bench/n"), (SIP_CEILING, "PJSIP/0301234567@carrier")):
            with run_far_end(asterisk, host=FAR_HOST, port=FAR_PORT) as far_end:
                _originate(pbx, way, channel, warm_up, in_flight)
                before_s = read_cpu_s(far_end.process.pid)
                row = _originate(pbx, way, channel, numbers, in_flight)
                far_end_s = read_cpu_s(far_end.process.pid) - before_s
            rows.append(replace(row, far_end_ms=far_end_s / numbers * 1000))
        pbx.serve()
        ways = ("Local channels", {"dial_string": "Local/${EXTEN}@bench"}), ("PJSIP to SIPp", {"trunk": "carrier"})
        for way, fields in ways:
            # One for the warm-up, another one for what counts: so its count is of that alone.
            with run_far_end(asterisk, host=FAR_HOST, port=FAR_PORT):
                _campaign(pbx, way, fields, warm_up, in_flight)
            with run_far_end(asterisk, host=FAR_HOST, port=FAR_PORT) as far_end:
                row = _campaign(pbx, way, fields, numbers, in_flight)
                far_end_s = read_cpu_s(far_end.process.pid)
                counted = far_end.stop()
            over_sip = row.attempts if "trunk" in fields else 0
            rows.append(
                replace(
                    row,
                    far_end_ms=far_end_s / row.attempts * 1000 if over_sip else 0.0,
                    extra=counted.successful + counted.failed - over_sip,
                )
            )
        return rows


# ------------------------------------------------------------------------------------------------------ the ceilings


def _originate(pbx: LabPbx, way: str, channel: str, calls: int, in_flight: int) -> CampaignRow:
    """So many calls over one AMI login, the next as soon as one is hung up."""
    before_s, began_at = read_cpu_s(pbx.asterisk.process.pid), time.monotonic()
    with _log_in(pbx) as link:
        link.sendall(b"".join(_encode_call(channel) for _ in range(min(in_flight, calls))))
        sent, ended, rest = min(in_flight, calls), 0, b""
        while ended < calls:
            *frames, rest = (rest + link.recv(1 << 18)).split(FRAME_END)
            # Of each Local call two channels hang up: ours, and the other half, whose id has another form.
            over = sum(frame.startswith(b"Event: Hangup\r\n") and bool(_HANGUP.search(frame)) for frame in frames)
            more = min(over, calls - sent)
            link.sendall(b"".join(_encode_call(channel) for _ in range(more)))
            sent, ended = sent + more, ended + over
    took_s = time.monotonic() - began_at
    asterisk_ms = (read_cpu_s(pbx.asterisk.process.pid) - before_s) / calls * 1000
    return CampaignRow(way, ended, ended, took_s, 0.0, asterisk_ms, 0.0)


def _encode_call(channel: str) -> bytes:
    wanted = actions.originate(channel, channel_id=new_call_id(), context="bench", exten="end")
    return encode_action(wanted.name, (("ActionID", new_action_id()), *wanted.headers))


def _log_in(pbx: LabPbx) -> socket.socket:
    link = pbx.asterisk.connect_ami()
    link.settimeout(STUCK_S)
    challenge = re.search(r"Challenge: (\S+)", _ask(link, actions.challenge()))
    assert challenge is not None
    _ask(link, actions.login("tandem-dialer", pbx.asterisk.ami_secrets["tandem-dialer"], challenge[1]))
    _ask(link, actions.events("call"))
    return link


def _ask(link: socket.socket, action: Any) -> str:
    action_id = new_action_id()
    link.sendall(encode_action(action.name, (("ActionID", action_id), *action.headers)))
    said = b""
    while action_id.encode() not in said or not said.endswith(FRAME_END):
        said += link.recv(65536)
    return said.decode()


# ----------------------------------------------------------------------------------------------------- our campaigns


def _campaign(pbx: LabPbx, way: str, fields: dict[str, Any], numbers: int, in_flight: int) -> CampaignRow:
    """One campaign from its start to the committed end of its last call."""
    wanted = {"name": way, "destination": {"dialplan": "bench,end"}, "concurrent_calls": in_flight} | fields
    path = f"/api/v1/campaigns/{pbx.request('POST', '/api/v1/campaigns', wanted)['campaign_id']}"
    for start in range(0, numbers, BATCH):
        batch = [{"phone_number": f"030{number:07}"} for number in range(start, min(start + BATCH, numbers))]
        pbx.request("POST", f"{path}/numbers/bulk", {"numbers": batch})
    assert pbx.process is not None
    pids = pbx.process.pid, pbx.asterisk.process.pid
    before_s, began_at = [read_cpu_s(pid) for pid in pids], time.monotonic()
    pbx.request("POST", f"{path}/start")
    counts = _wait(pbx, path)
    took_s = time.monotonic() - began_at
    tandem_s, asterisk_s = (read_cpu_s(pid) - was for pid, was in zip(pids, before_s, strict=True))
    lag_s = pbx.request("GET", "/api/v1/monitoring/status")["reactor_lag_s"]["p99"]
    pbx.request("POST", f"{path}/stop")
    made, answered = counts["total_calls"], counts["answered_calls"]
    return CampaignRow(
        way, made, answered, took_s, tandem_s / made * 1000, asterisk_s / made * 1000, lag_s * 1000
    )  # fmt: skip


def _wait(pbx: LabPbx, path: str) -> dict[str, int]:
    """The counts, once nothing is pending or up."""
    seen, moved_at = 0, time.monotonic()
    while True:
        time.sleep(POLL_S)
        counts: dict[str, int] = pbx.request("GET", path)["counts"]
        if not counts["pending"] + counts["calling"] + counts["answered"]:
            return counts
        if counts["total_calls"] > seen:
            seen, moved_at = counts["total_calls"], time.monotonic()
        if time.monotonic() - moved_at > STUCK_S:
            raise RuntimeError(f"the campaign stands still: {counts}\n{pbx.read_log()[-3000:]}")


if __name__ == "__main__":
    for row in run(int(sys.argv[1]) if len(sys.argv) > 1 else NUMBERS):
        print(f"{row.rate:,.0f}/s", row)
