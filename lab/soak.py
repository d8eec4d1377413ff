"""`make soak`: calls come in without a pause while a seeded run of faults goes on; never passes over a call that was lost or cut.

Faults: Tandem killed and started again, frozen and thawed, frozen and killed, a changed document imported.
Every call must be answered at its DID's destination and last until the caller hangs up.
"""

import argparse
import random
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

from lab.demo import CARRIER_HOST
from lab.pbx import LabPbx
from lab.sipp import Caller, HangUp, Leg, Wait, place_calls
from tandem.asterisk.install import find_asterisk

# The admin's own extension from-admin,200 answers and waits, so a call lasts as long as its caller wants.
DOCUMENT = """
general: {{allowed_contexts: [from-admin], country: DE}}
trunks: [{{name: carrier, hosts: ["127.0.0.2:5060"], match: [127.0.0.2]}}]
menus:
  - name: welcome
    prompts: [vm-press, digits/1]
    options: {{1: {{dialplan: "from-admin,200"}}}}
    invalid: {{dialplan: "from-admin,200"}}
    timeout: {{dialplan: "from-admin,200"}}
    timeout_retries: 0
    timeout_s: 1
    fallback: {{dialplan: "from-admin,200"}}
dids:
  - {{number: "493012000", destination: {{dialplan: "from-admin,200"}}, description: "Version {version}"}}
  - {{number: "493012*", destination: {{menu: welcome}}}}
"""
ADMIN_DIALPLAN = "exten => 200,1,Answer(,i)\n same => n,Wait(60)\n same => n,Hangup()\n"
TALK_S = 8.0
NUMBERS = ("493012000", "493012000", "493012000", "493012777")


@dataclass(frozen=True, slots=True)
class SoakResult:
    """What became of the calls. lost: never answered; cut: ended by us before their caller hung up."""

    calls: int
    lost: tuple[Leg, ...]
    cut: tuple[Leg, ...]
    faults: tuple[str, ...]

    @property
    def is_clean(self) -> bool:
        """No call was lost or cut."""
        return self.calls > 0 and not self.lost and not self.cut


def run_soak(
    pbx: LabPbx, *, seed: int, duration_s: float, rate: float, say: Callable[[str], object] = str
) -> SoakResult:
    """Calls at `rate` per second for `duration_s`, a fault every few seconds; Tandem runs before and after."""
    randomness = random.Random(seed)
    faults: list[str] = []
    count = int(rate * duration_s)
    callers = [Caller(number) for number in NUMBERS]
    with place_calls(
        pbx.asterisk, callers, rate=rate, count=count, steps=[Wait(TALK_S), HangUp()], host=CARRIER_HOST
    ) as run:
        ends_at = time.monotonic() + duration_s
        while time.monotonic() < ends_at:
            time.sleep(randomness.uniform(1, 3))
            fault = randomness.choice(list(FAULTS))
            faults.append(fault)
            say(fault)
            FAULTS[fault](pbx, randomness)
        result = run.wait(timeout_s=duration_s + 120)
    lost = tuple(leg for leg in result.legs if not leg.is_answered)
    cut = tuple(leg for leg in result.legs if leg.is_answered and leg.ended_by != "us")
    return SoakResult(len(result.legs), lost, cut, tuple(faults))


def _kill(pbx: LabPbx, randomness: random.Random) -> None:
    pbx.kill()
    time.sleep(randomness.uniform(0, 2))
    pbx.serve()


def _freeze(pbx: LabPbx, randomness: random.Random) -> None:
    pbx.freeze()
    time.sleep(randomness.uniform(0.2, 6))
    pbx.thaw()


def _freeze_and_kill(pbx: LabPbx, randomness: random.Random) -> None:
    pbx.freeze()
    time.sleep(randomness.uniform(0.2, 5))
    _kill(pbx, randomness)


def _import(pbx: LabPbx, randomness: random.Random) -> None:
    pbx.import_document(DOCUMENT.format(version=randomness.randrange(10**6)))


FAULTS: dict[str, Callable[[LabPbx, random.Random], None]] = {
    "Tandem is killed and started again": _kill,
    "Tandem is frozen and thawed": _freeze,
    "Tandem is frozen and killed": _freeze_and_kill,
    "a changed document is imported": _import,
}


def main() -> int:
    """Exit code 0 when no call was lost or cut."""
    parser = argparse.ArgumentParser(prog="python -m lab.soak", description=__doc__)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--duration", type=float, default=600.0, help="seconds (default 600)")
    parser.add_argument("--rate", type=float, default=25.0, help="calls per second (default 25)")
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}, {arguments.duration:.0f} s at {arguments.rate:g} calls/s")
    with LabPbx(find_asterisk(print), DOCUMENT.format(version=0), admin_dialplan=ADMIN_DIALPLAN) as pbx:
        pbx.serve()
        result = run_soak(pbx, seed=arguments.seed, duration_s=arguments.duration, rate=arguments.rate, say=print)
    print(f"{result.calls} calls, {len(result.faults)} faults: {len(result.lost)} lost, {len(result.cut)} cut")
    for leg in (*result.lost, *result.cut)[:10]:
        print(leg)
    return 0 if result.is_clean else 1


if __name__ == "__main__":
    sys.exit(main())
