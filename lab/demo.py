"""`make demo`, and with `DOOR=name` through that API (`lab.doors`): one real call through everything and a small campaign, told in plain words, and one more call with Tandem killed; never passes over a failure.

Exit code 0 only if all of it happened as told.
"""

import importlib
import pkgutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from lab import doors
from lab.demo_campaign import run_small_campaign
from lab.pbx import LabPbx, TandemFailed
from lab.rtp import RtpSink
from lab.sipp import Caller, HangUp, Leg, Press, Speak, Step, Wait, place_calls, register_phones, run_phone
from lab.telling import DemoFailed, Teller, expect
from tandem.asterisk.install import find_asterisk
from tandem.cli.words import tell_call
from tandem.document import read_document, write_document
from tandem.domain.entities import OpenHours, Pbx
from tandem.resources import find_shipped

CARRIER_HOST = "127.0.0.2"
CALLED = "03023125000"
CALLER = "03055510023"
AGENT = "1002"
PHONE_PORT = 5070
HEARD_PACKETS = 50


def compose_document() -> str:
    """The example, with the carrier and the opening hours of a lab: SIPp on this machine, at any time of day."""
    path = find_shipped("examples") / "pbx.yaml"
    pbx = read_document(path.read_text(encoding="utf-8"), path.name)
    trunks = tuple(replace(trunk, hosts=(f"{CARRIER_HOST}:5060",), match=(CARRIER_HOST,)) for trunk in pbx.trunks)
    always = OpenHours(days=("mon", "tue", "wed", "thu", "fri", "sat", "sun"), start="00:00", end="24:00")
    schedules = tuple(
        replace(schedule, hours=(always,), holidays=(), holiday_country=None, holiday_subdivision=None)
        for schedule in pbx.schedules
    )
    # Its route tests speak of its opening hours.
    changed: Pbx = replace(pbx, trunks=trunks, schedules=schedules, expect=())
    return write_document(changed)


def run_demo(teller: Teller) -> None:
    """The whole story; DemoFailed, or an error of the lab, when it breaks."""
    install = teller.step("An Asterisk of our own", lambda: find_asterisk(teller.say))
    teller.say(f"{install.version}, in namespaces of its own: nothing on this machine is touched")
    document = compose_document()
    with LabPbx(install, document) as pbx:
        teller.say(f"Database made and filled from examples/pbx.yaml: {pbx.folder / 'tandem.db'}")
        teller.step("Tandem starts: it writes Asterisk's configuration, and Asterisk loads it", pbx.serve)
        for finding in pbx.ask("check"):
            teller.say(f"{finding['what']}: {finding['found']}")
        listing = pbx.asterisk.cli("pjsip show endpoints")
        expect(f" {AGENT}/{AGENT} " in listing, f"endpoint {AGENT} is not in Asterisk:\n{listing}")
        secret = next(
            endpoint.secret for endpoint in read_document(document, "demo").endpoints if endpoint.extension == AGENT
        )
        register_phones(pbx.asterisk, [(AGENT, secret)], port=PHONE_PORT)
        teller.say(f"The phone {AGENT} (SIPp) has registered")
        with run_phone(pbx.asterisk, port=PHONE_PORT, ring_s=2) as phone:
            first = teller.step(
                f"A caller dials {CALLED}, hears the menu, presses 2, waits for sales", lambda: make_call(pbx)
            )
            (phone_leg,) = phone.wait_for("bye")
            check_call(first, phone_leg)
            tell_call_as_heard(teller, first, phone_leg)
            teller.step("What Tandem decided, and Asterisk's CDR", lambda: tell_story(teller, pbx))
            teller.step(
                "A campaign: four people are called, those who answer talk to sales; nobody is called against the rules",
                lambda: run_small_campaign(teller, pbx),
            )
            before = len(phone.read_legs())
            teller.step("Tandem is killed (kill -9)", pbx.kill)
            checked = pbx.tandem("check", check=False)
            expect(checked.returncode != 0, "tandem check says that all is well, with Tandem dead")
            teller.say(*checked.stdout.strip().splitlines()[-4:])
            second = teller.step(
                "The next caller dials the same number: nobody decides, AstDB has the last-known route",
                lambda: make_call(pbx, keys=""),
            )
            phone_leg = phone.wait_for("bye", count=before + 1)[-1]
            check_call(second, phone_leg)
            tell_call_as_heard(teller, second, phone_leg)
            teller.say("The call was not lost")


@dataclass(frozen=True, slots=True)
class Call:
    """What a caller lived through, and how many RTP packets of 20 ms it heard before it sent any itself."""

    leg: Leg
    heard: int


def make_call(pbx: LabPbx, keys: str = "2") -> Call:
    """One call of the carrier, to its end: menu, ringing and a talk."""
    with RtpSink(pbx.asterisk) as sink:
        press: list[Step] = [Wait(2), Press(keys)] if keys else []
        run = place_calls(
            pbx.asterisk,
            [Caller(CALLED, caller=CALLER)],
            steps=[*press, Wait(6), Speak(2), HangUp()],
            host=CARRIER_HOST,
            media_port=sink.port,
        )
        with run:
            result = run.wait(timeout_s=60)
        heard = sum(sink.count_packets().values())
    expect(len(result.legs) == 1, f"SIPp made {len(result.legs)} calls: {result.errors}")
    # 20 ms each; counted until the caller sends media itself, which Asterisk then answers at that port.
    expect(heard > HEARD_PACKETS, f"the caller heard nothing ({heard} RTP packets)")
    return Call(result.legs[0], heard)


def check_call(call: Call, phone_leg: Leg) -> None:
    """The caller was answered and hung up itself after the talk; the phone rang, answered and saw the caller go."""
    leg = call.leg
    expect(leg.is_answered, f"the call was not answered: {leg.events}")
    expect(leg.ended_by == "us", f"the call was cut by Asterisk: {leg.events}")
    expect(
        phone_leg.is_answered and phone_leg.ended_by == "them", f"the phone did not have the call: {phone_leg.events}"
    )


def tell_call_as_heard(teller: Teller, call: Call, phone_leg: Leg) -> None:
    """What the caller and the phone lived through."""
    (first, *_), waited = call.leg.events, phone_leg.at_ms("answered") or 0
    for event in call.leg.events:
        teller.say(f"{(event.at_ms - first.at_ms) / 1000:6.2f} s  caller: {event.word} {event.detail}".rstrip())
    teller.say(f"The caller heard {call.heard / 50:.1f} s of sound before sending any")
    invited = phone_leg.at_ms("invited") or 0
    teller.say(
        f"The phone {AGENT} rang for {(waited - invited) / 1000:.1f} s and answered; they talked for {phone_leg.talk_s:.1f} s"
    )


def tell_story(teller: Teller, pbx: LabPbx) -> None:
    """The call as `tandem calls` tells it, with its CDR, which Asterisk writes when the last leg is gone."""
    deadline = time.monotonic() + 10
    while True:
        calls = pbx.ask("calls", "--limit", "1")
        if calls and any(record["disposition"] == "ANSWERED" for record in calls[0]["records"]):
            break
        if time.monotonic() > deadline:
            raise DemoFailed(f"there is no CDR of the call: {calls}")
        time.sleep(0.2)
    story = calls[0]
    teller.say(*tell_call(story))
    reasons = [reason for decision in story["decisions"] for reason in decision["reasons"]]
    outcome = story["decisions"][0]["outcome"]
    expect(any("pressed 2" in reason for reason in reasons), f"the key 2 was not read: {reasons}")
    expect(outcome.startswith("tandem-enter,queue,1(sales"), f"the call did not go to sales: {outcome}")


def find_demo(door: str) -> Callable[[Teller], None]:
    """The story of one door (`lab.doors`), or of everything. Raises DemoFailed for a door that there is not."""
    if not door:
        return run_demo
    names = sorted(module.name for module in pkgutil.iter_modules(doors.__path__))
    expect(door in names, f"there is no door {door}: {', '.join(names)}")
    told: Callable[[Teller], None] = importlib.import_module(f"lab.doors.{door}").run_demo
    return told


def main() -> int:
    """Exit code 0 or 1."""
    teller = Teller()
    try:
        find_demo(sys.argv[1] if len(sys.argv) > 1 else "")(teller)
    except (RuntimeError, OSError, TandemFailed) as error:
        teller.conclude(str(error))
        return 1
    teller.conclude(None)
    return 0


if __name__ == "__main__":
    sys.exit(main())
