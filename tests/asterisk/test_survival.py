"""Tandem killed, and frozen, while fifty calls a second come in: every call gets to its destination, and nothing cuts it later.

No limit of Asterisk or of this machine has to be raised for it: a call is answered by one extension that waits, so it costs no media, and
the lab's Asterisk has as many files as the system allows (its default of 1024 would do for 100 calls).
"""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pytest

from lab.observe import Observer, wait_until
from lab.pbx import LabPbx
from lab.sipp import Caller, HangUp, SippResult, SippRun, Wait, place_calls, register_phones, run_phone

pytestmark = pytest.mark.asterisk

RATE = 50
COUNT = 300
# The guard gives Tandem 4 s, and a wait in a menu a bit more: whatever is left of a timer would end a talk that is longer.
TALK_S = 9.0
SECRET = "swordfish-of-the-lab"
PHONE_PORT = 5070

ADMIN_DIALPLAN = "exten => _2XX,1,Answer(,i)\n same => n,Wait(60)\n same => n,Hangup()\n"
DOCUMENT = f"""
general: {{country: DE, allowed_contexts: [from-admin]}}
trunks:
  - {{name: carrier, hosts: ["127.0.0.2:5060"], match: [127.0.0.2], numbers: national}}
endpoints: [{{extension: 1001, secret: {SECRET}}}]
menus:
  - name: short
    prompts: [beep]
    options: {{1: {{dialplan: "from-admin,221"}}}}
    timeout_s: 20
    invalid: {{dialplan: "from-admin,222"}}
    timeout: {{dialplan: "from-admin,223"}}
    fallback: {{dialplan: "from-admin,217"}}
queues:
  - {{name: sales, members: [{{endpoint: 1001}}], fallback: {{dialplan: "from-admin,231"}}}}
  - {{name: nobody, max_wait_s: 5, join_when_empty: yes, leave_when_empty: no, timeout: {{dialplan: "from-admin,232"}},
     fallback: {{dialplan: "from-admin,231"}}}}
dids:
  - {{number: "+493010001", destination: {{dialplan: "from-admin,201"}}}}
  - {{number: "+493010003", destination: {{menu: short}}}}
  - {{number: "+493010004", destination: {{queue: sales}}}}
  - {{number: "+493010005", destination: {{queue: nobody}}}}
  - {{number: default, destination: {{hangup: failure}}}}
"""


@pytest.fixture(scope="module")
def pbx(asterisk_install: Any) -> Iterator[LabPbx]:
    with LabPbx(asterisk_install, DOCUMENT, admin_dialplan=ADMIN_DIALPLAN) as pbx:
        pbx.serve()
        register_phones(pbx.asterisk, [("1001", SECRET)], port=PHONE_PORT)
        yield pbx


@dataclass(frozen=True, slots=True)
class Calls:
    """What became of the calls of one case. log: what Asterisk wrote meanwhile."""

    plain: SippResult
    menu: SippResult
    queue: SippResult
    nobody: SippResult
    log: str

    def count_arrivals(self, exten: str) -> int:
        """How many came to an extension of the admin's."""
        return self.log.count(f"Executing [{exten}@from-admin:1]")

    @property
    def longest_wait_s(self) -> float:
        """From the first ringing to the answer."""
        return self._waits_s()[-1]

    @property
    def usual_wait_s(self) -> float:
        """What nine of ten waited at most."""
        waits = self._waits_s()
        return waits[len(waits) * 9 // 10]

    def _waits_s(self) -> list[float]:
        return sorted(((leg.at_ms("answered") or 0) - (leg.at_ms("ringing") or 0)) / 1000 for leg in self.plain.legs)


def place_under(pbx: LabPbx, fault: Callable[[], None]) -> Calls:
    """Fifty calls a second for six seconds, a few to a menu and to queues from two seconds earlier on; `fault` happens among them."""
    mark = len(pbx.asterisk.read_log())
    with ExitStack() as stack:

        def place(called: str, talk_s: float, rate: float, count: int) -> SippRun:
            steps = [Wait(talk_s), HangUp()]
            run = stack.enter_context(place_calls(pbx.asterisk, [Caller(called)], rate=rate, count=count, steps=steps))
            run.wait_until_listening(pbx.asterisk)
            return run

        stack.enter_context(run_phone(pbx.asterisk, port=PHONE_PORT))
        nobody = place("03010005", TALK_S + 5, 1, 4)
        menu, queue = place("03010003", TALK_S + 4, 1, 4), place("03010004", TALK_S + 4, 1, 4)
        nobody.wait_for("answered", count=3)
        plain = place("03010001", TALK_S, RATE, COUNT)
        plain.wait_for("answered", count=RATE // 2)
        fault()
        results = [run.wait() for run in (plain, menu, queue, nobody)]
        Observer(pbx).wait_until_idle()
    return Calls(*results, log=pbx.asterisk.read_log()[mark:])


def assert_no_call_was_lost_or_cut(calls: Calls) -> None:
    for result, talk_s, count in (
        (calls.plain, TALK_S, COUNT),
        (calls.menu, TALK_S + 4, 4),
        (calls.queue, TALK_S + 4, 4),
        (calls.nobody, TALK_S + 5, 4),
    ):
        assert (len(result.legs), result.failed) == (count, 0)
        for leg in result.legs:
            assert leg.is_answered, leg
            assert leg.ended_by == "us", leg
            assert leg.talk_s is not None
            assert leg.talk_s > talk_s - 0.1, leg
    assert calls.count_arrivals("201") == COUNT
    # Five seconds of waiting in vain, and on to the queue's destination, by Tandem or by AstDB.
    assert calls.count_arrivals("232") == 4
    assert calls.log.count('Queue("PJSIP/carrier-') == 8


def test_tandem_is_killed_and_started_again(pbx: LabPbx) -> None:
    def fault() -> None:
        pbx.kill()
        time.sleep(2)
        pbx.serve()

    calls = place_under(pbx, fault)
    assert_no_call_was_lost_or_cut(calls)
    fell_back = calls.log.count("Last-known route of 493010001")
    assert RATE < fell_back < COUNT, "calls while it was dead, and before"
    assert calls.count_arrivals("217") >= 1, "whoever was in the menu goes to its fallback"
    # A third of them came while it was dead. Not the very longest: whoever comes while a process starts waits for the processor.
    assert calls.usual_wait_s < 2, "a dead Tandem costs no time"


def test_tandem_is_frozen_and_goes_on(pbx: LabPbx) -> None:
    def fault() -> None:
        pbx.freeze()
        time.sleep(3)
        pbx.thaw()

    calls = place_under(pbx, fault)
    assert_no_call_was_lost_or_cut(calls)
    assert calls.longest_wait_s > 2
    assert calls.usual_wait_s < 6
    wait_until(lambda: pbx.tandem("check", check=False).returncode == 0, "ready again", timeout_s=20, every_s=0.2)


def test_tandem_is_frozen_and_then_killed(pbx: LabPbx) -> None:
    def fault() -> None:
        pbx.freeze()
        time.sleep(5)
        pbx.kill()

    calls = place_under(pbx, fault)
    pbx.serve()
    assert_no_call_was_lost_or_cut(calls)
    assert calls.log.count("Tandem gave no answer in time") > RATE // 2, (
        "the guard ended the waiting of those who came first"
    )
    assert calls.log.count("Last-known route of 493010001") > 3 * RATE
    assert calls.count_arrivals("217") >= 1
    assert calls.longest_wait_s > 3
    assert calls.usual_wait_s < 6
