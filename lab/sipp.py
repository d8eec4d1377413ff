"""SIPp as the far end: a carrier that calls our DIDs, phones that register and are called, and what each of them lived through.

Runs only inside the world of a private Asterisk; never sends a packet to the host's network.
"""

from __future__ import annotations

import random
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from lab.legs import Event, Leg, parse_legs, parse_statistics
from lab.scenarios import (
    AwaitBye,
    HangUp,
    Press,
    Quiet,
    Speak,
    Step,
    Wait,
    check_field,
    check_line,
    compose_steps,
    load_scenario,
    write_media,
)
from tandem.asterisk.base_config import SIP_PORT
from tandem.asterisk.instance import AsteriskInstance
from tandem.asterisk.namespaces import CLONE_NEWNET

__all__ = [
    "AwaitBye", "Caller", "Event", "HangUp", "Leg", "Press", "Quiet", "SippFailed", "SippResult", "SippRun", "Speak", "Step", "Wait",
    "free_udp_port", "place_calls", "register_phones", "run_far_end", "run_phone", "run_transfer",
]  # fmt: skip

CARRIER_HOST = "127.0.0.2"
"""Where our carriers live: an address of its own on the loopback, so that ``identify match=127.0.0.2`` is the carrier alone."""
PHONE_HOST = "127.0.0.3"
EXPECTED = re.compile(
    r"The following events occurred:\n|\S+\t\S+\t[\d.]+: Call-Id: \S+, receive timeout on message \S+, jumping to label \d+(?=\d{4}-|\n|$)"
)
"""Noise in SIPp's error file: the end of each of our waits."""
REFUSALS = (
    400, 401, 403, 404, 408, 410, 415, 420, 480, 481, 482, 483, 484, 486, 487, 488, 500, 501, 502, 503, 504, 600, 603, 604, 606,
)  # fmt: skip


PORT_BLOCKS = (61000, 65000, 10)
MEDIA_OFFSET = 4


class SippFailed(RuntimeError):
    """SIPp did not start, did not end in time, or is not installed; the message has what it printed."""


@dataclass(frozen=True, slots=True)
class SippResult:
    """What a SIPp process reported: its own counts (a call is successful when its scenario ran to the end), and each leg."""

    exit_status: int
    successful: int
    failed: int
    retransmissions: int
    legs: tuple[Leg, ...]
    errors: str

    @property
    def answered(self) -> int:
        """How many legs were answered."""
        return sum(leg.is_answered for leg in self.legs)


class SippRun:
    """A running SIPp; `wait` for its end or `stop` it. As a context manager it is killed at the end if it still runs."""

    def __init__(
        self,
        instance: AsteriskInstance,
        scenario: str,
        *,
        rows: Sequence[Sequence[str]] = (),
        steps: Sequence[Step] = (),
        options: Sequence[str] = (),
        host: str,
        port: int = 0,
    ) -> None:
        """Start it. ``port`` 0 is a free one.

        ``scenario``: the XML; ``rows``: [field0], [field1]… of each call; ``steps``: those whose media the scenario plays.
        """
        if shutil.which("sipp") is None:
            raise SippFailed("please install SIPp (Debian: sip-tester)")
        self.host = host
        # One block for both: a second look could find the same block, which SIPp has not taken yet.
        block = free_udp_port(instance, host)
        self.port = port or block
        self.folder = Path(tempfile.mkdtemp(prefix="sipp-", dir=instance.folder))
        (self.folder / "scenario.xml").write_text(scenario, encoding="utf-8")
        write_media(self.folder, steps)
        if rows:
            lines = [";".join(check_field(value) for value in row) + ";" for row in rows]
            (self.folder / "fields.csv").write_text("\n".join(["SEQUENTIAL", *lines, ""]), encoding="utf-8")
            options = ["-inf", "fields.csv", *options]
        with (self.folder / "output").open("wb") as output:
            self.process: subprocess.Popen[Any] = instance.popen(
                [
                    *("sipp", f"127.0.0.1:{SIP_PORT}", "-i", host, "-p", str(self.port), "-mi", host),
                    *("-mp", str(block + MEDIA_OFFSET)),
                    *("-sf", "scenario.xml", "-nostdin", "-aa", "-l", "5000", "-timer_resol", "5"),
                    *("-trace_logs", "-log_file", "legs.log", "-trace_err", "-error_file", "errors.log"),
                    *("-trace_stat", "-stf", "statistics.csv", "-fd", "1"),
                    *options,
                ],
                cwd=self.folder,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def read_legs(self) -> tuple[Leg, ...]:
        """The legs so far, in the order in which they began."""
        return parse_legs(self._read("legs.log"))

    def wait(self, *, timeout_s: float = 60.0) -> SippResult:
        """The result once SIPp has ended by itself. Raises `SippFailed` (and kills it) when that takes too long."""
        try:
            status = self.process.wait(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise SippFailed(self._describe(f"SIPp did not end within {timeout_s:g} s")) from None
        if status not in (0, 1, 97, 99):  # all well; a call failed; ended on our signal; no call at all
            raise SippFailed(self._describe(f"SIPp ended with status {status}"))
        statistics = parse_statistics(self._read("statistics.csv"))
        result = SippResult(
            exit_status=status,
            successful=int(statistics.get("SuccessfulCall(C)", "0")),
            failed=int(statistics.get("FailedCall(C)", "0")),
            retransmissions=int(statistics.get("Retransmissions(C)", "0")),
            legs=self.read_legs(),
            errors=EXPECTED.sub("", self._read("errors.log")),
        )
        if status == 1 and not result.failed:  # so says SIPp of a scenario that it cannot read, too
            raise SippFailed(self._describe("SIPp made no call"))
        return result

    def stop(self, *, timeout_s: float = 30.0) -> SippResult:
        """Take no more calls, let those under way end, and give the result."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGUSR1)
        return self.wait(timeout_s=timeout_s)

    def wait_for(self, word: str, *, count: int = 1, timeout_s: float = 30.0) -> tuple[Leg, ...]:
        """Wait until ``count`` legs had that event (as ``answered``), and give the legs. Raises `SippFailed`."""
        deadline = time.monotonic() + timeout_s
        while True:
            legs = self.read_legs()
            if sum(leg.at_ms(word) is not None for leg in legs) >= count:
                return legs
            if time.monotonic() > deadline or self.process.poll() is not None:
                raise SippFailed(self._describe(f"no {count} legs were {word!r} within {timeout_s:g} s: {legs}"))
            time.sleep(0.02)

    def wait_until_listening(self, instance: AsteriskInstance, *, timeout_s: float = 30.0) -> None:
        """Wait until SIPp has its SIP port, so that the first call finds it."""
        wanted = f":{self.port:04X} "
        deadline = time.monotonic() + timeout_s
        while wanted not in instance.world.enter(Path("/proc/thread-self/net/udp").read_text, CLONE_NEWNET):
            if time.monotonic() > deadline or self.process.poll() is not None:
                raise SippFailed(self._describe(f"SIPp does not listen at {self.host}:{self.port}"))
            time.sleep(0.01)

    def _read(self, name: str) -> str:
        path = self.folder / name
        return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""

    def _describe(self, problem: str) -> str:
        return f"{problem}; it printed:\n{self._read('errors.log')[-2000:]}\n{self._read('output')[-2000:]}"


@dataclass(frozen=True, slots=True)
class Caller:
    """One caller of a carrier: the number called, the number (From user, sent as written) and display name it calls from."""

    number: str
    caller: str = "+40213334455"
    name: str = ""


def place_calls(
    instance: AsteriskInstance,
    callers: Iterable[Caller],
    *,
    rate: float = 10.0,
    count: int | None = None,
    steps: Sequence[Step] = (AwaitBye(),),
    answer_timeout_s: float = 60.0,
    headers: Sequence[str] = (),
    host: str = CARRIER_HOST,
    port: int = 0,
    media_port: int | None = None,
    options: Sequence[str] = (),
) -> SippRun:
    """A carrier calls: ``count`` calls (default: one for each of ``callers``, else they take turns) at ``rate`` per second.

    Numbers go out as written, ``%0d%0a`` included. Each call lives through ``steps`` after the answer, and hangs up when they end;
    ``answer_timeout_s`` after the last provisional response it sends CANCEL. ``headers`` are more lines of the INVITE. ``media_port``: where
    Asterisk shall send RTP instead of to SIPp (see `lab.rtp.RtpSink`). ``options``: more SIPp options (``-trace_msg``, ``-rtp_echo``).
    """
    callers = list(callers)
    rows = [(caller.number, caller.caller, f'"{caller.name}" ' if caller.name else "") for caller in callers]
    scenario = load_scenario(
        "caller.xml",
        REFUSALS=_compose_refusals(),
        STEPS=compose_steps(steps, "[next_url]", "[last_From:]", "[last_To:]"),
        HEADERS="".join(f"{check_line('headers', header)}\n" for header in headers),
        MEDIA_PORT="[media_port]" if media_port is None else str(media_port),
        ANSWER_TIMEOUT=str(round(answer_timeout_s * 1000)),
    )
    options = ["-m", str(count or len(callers)), "-r", f"{rate:g}", *options]
    return SippRun(instance, scenario, rows=rows, steps=steps, options=options, host=host, port=port)


def run_phone(
    instance: AsteriskInstance,
    *,
    ring_s: float = 0.2,
    refuse: int | None = None,
    forward: str | None = None,
    early_media: bool = False,
    steps: Sequence[Step] = (AwaitBye(3600.0),),
    host: str = PHONE_HOST,
    port: int = 0,
    media_port: int | None = None,
    options: Sequence[str] = (),
) -> SippRun:
    """A phone (or the far end of a trunk) at ``host:port`` that takes every call, any number at once, until it is stopped.

    It rings for ``ring_s`` (a CANCEL then ends the call: event ``cancelled``), or with ``early_media`` is heard meanwhile (183). Then it
    refuses with SIP code ``refuse`` if given, or sends the caller on to the user ``forward`` of this PBX (302), else answers and lives
    through ``steps``. The run's ``port`` says where it listens.
    """
    refuse = refuse if forward is None else 302
    sdp = load_scenario("phone.sdp", MEDIA_PORT="[media_port]" if media_port is None else str(media_port))
    scenario = load_scenario(
        "phone.xml",
        RINGING="183 Session Progress" if early_media else "180 Ringing",
        EARLY_MEDIA=sdp if early_media else "Content-Length: 0\n\n",
        SDP=sdp,
        FINAL="" if refuse is None else '  <nop next="refuse"/>\n',
        STEPS=compose_steps(steps, "[$target]", "From:[$local];tag=[pid]SIPpTag01[call_number]", "To:[$remote]"),
        REFUSAL=str(refuse or 486),
        MORE="" if forward is None else f"\nContact: <sip:{forward}@127.0.0.1>",
        RING=str(max(1, round(ring_s * 1000))),
    )
    phone = SippRun(instance, scenario, steps=steps, options=options, host=host, port=port)
    phone.wait_until_listening(instance)
    return phone


def run_far_end(instance: AsteriskInstance, *, host: str, port: int) -> SippRun:
    """The far end of a trunk for many calls a second: answers each, and waits for its hang-up. No legs are told; `SippResult.successful` counts them."""
    far_end = SippRun(instance, load_scenario("far_end.xml"), host=host, port=port)
    far_end.wait_until_listening(instance)
    return far_end


def dial_from_phone(
    instance: AsteriskInstance,
    account: tuple[str, str],
    number: str,
    *,
    steps: Sequence[Step] = (),
    host: str = PHONE_HOST,
    port: int = 0,
    media_port: int | None = None,
) -> SippRun:
    """The phone of ``account`` (user, password) dials ``number`` once, lives through ``steps`` and stays on the line until the other side hangs up, at most a minute.

    Events: ``answered``, ``bye``; ``refused``; ``gave-up`` where nobody hung up. ``media_port`` as in `place_calls`.
    """
    user, password = account
    scenario = load_scenario(
        "dialler.xml",
        NUMBER=check_line("number", number),
        USER=user,
        PASSWORD=password,
        REFUSALS=_compose_refusals(),
        STEPS=compose_steps(steps, "[next_url]", "[last_From:]", "[last_To:]"),
        MEDIA_PORT="[media_port]" if media_port is None else str(media_port),
    )
    return SippRun(instance, scenario, steps=steps, options=["-m", "1"], host=host, port=port)


def _compose_refusals() -> str:
    return "".join(
        f'  <recv response="{code}" optional="true" next="refused">'
        f'<action><log message="[call_id] [clock_tick] refused {code}"/></action></recv>\n'
        for code in REFUSALS
    )


def run_transfer(
    instance: AsteriskInstance,
    account: tuple[str, str],
    third: str,
    *,
    is_attended: bool,
    talk_s: float = 0.5,
    host: str = PHONE_HOST,
    port: int = 0,
) -> SippRun:
    """The phone of ``account`` (user, password) takes one call and hands it on to ``third`` with REFER, then SIPp ends.

    ``is_attended``: it calls the third party first and names that call (Replaces), else blind. ``talk_s`` is how long it speaks with either.
    Events: ``consulted``, ``referred`` (202), ``bye`` where Asterisk ends its second call, ``hangup`` for the first, which is left to it.
    """
    user, password = account
    values = {"USER": user, "TALK": str(round(talk_s * 1000)), "QUIET": "1000"}
    consult, refer_to = "", f"sip:{third}@[remote_ip]:[remote_port]"
    if is_attended:
        consult = load_scenario("consult.xml", THIRD=third, PASSWORD=password, **values)
        tags = "%3Bto-tag%3D[$third-tag]%3Bfrom-tag%3D[pid]SIPpTag02[call_number]"
        refer_to += f"?Replaces=2///[call_id]{tags}"
    scenario = load_scenario("transfer.xml", CONSULT=consult, REFER_TO=refer_to, **values)
    phone = SippRun(instance, scenario, options=["-m", "1"], host=host, port=port)
    phone.wait_until_listening(instance)
    return phone


def register_phones(
    instance: AsteriskInstance,
    accounts: Sequence[tuple[str, str]],
    *,
    host: str = PHONE_HOST,
    port: int,
    expires_s: int = 3600,
    timeout_s: float = 30.0,
) -> SippResult:
    """Register each (user, password) with a contact at ``host:port``; start `run_phone` there afterwards (SIPp holds the port).

    Raises `SippFailed` unless every one was accepted.
    """
    rows = [(user, f"[authentication username={user} password={password}]") for user, password in accounts]
    scenario = load_scenario("register.xml", EXPIRES=str(expires_s))
    with SippRun(
        instance, scenario, rows=rows, options=["-m", str(len(rows)), "-r", "200"], host=host, port=port
    ) as run:
        result = run.wait(timeout_s=timeout_s)
    registered = sum(leg.at_ms("registered") is not None for leg in result.legs)
    if registered != len(rows):
        raise SippFailed(f"{registered} of {len(rows)} phones were registered: {result}")
    return result


def free_udp_port(instance: AsteriskInstance, host: str) -> int:
    """A UDP port that nobody has in the instance's world, nor the seven after it (SIPp takes the upper four for media).

    From blocks of ten above what Asterisk and the kernel give out, so that two runs that start together rarely choose one block.
    """
    while True:
        port = random.SystemRandom().randrange(*PORT_BLOCKS)
        try:
            for offset in range(2 * MEDIA_OFFSET):
                instance.world.udp(host, port + offset).close()
        except OSError:
            continue
        return port
