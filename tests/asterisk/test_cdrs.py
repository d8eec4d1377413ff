"""CDRs of a whole Tandem beside a real Asterisk: a menu and a queue, transfers, merged calls, ringall, restarts and kills of either side."""

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from lab.pbx import LabPbx
from lab.sipp import AwaitBye, Caller, HangUp, Press, Wait, place_calls, register_phones, run_phone, run_transfer
from tandem.ami.wire import AmiParser, Message, encode_action
from tandem.cli.control import ask
from tandem.domain.cdr import Cdr
from tandem.domain.disposition import Disposition
from tandem.store.cdrs import CdrQuery, load_cdr, load_cdrs, load_open_legs
from tandem.store.database import Store
from tandem.store.routes import load_routes
from tandem.store.rows import load_rows

pytestmark = pytest.mark.asterisk

CARRIER, PHONES = "127.0.0.2", "127.0.0.3"
DOCUMENT = """
general: {country: DE, outbound_trunk: carrier, allowed_contexts: [from-admin]}
trunks:
  - {name: carrier, hosts: ["127.0.0.2:5099"], match: [127.0.0.2], numbers: national}
endpoints:
  - {extension: "1001", secret: swordfish1, permissions: [internal, national]}
  - {extension: "1002", secret: swordfish2}
  - {extension: "1003", secret: swordfish3}
  - {extension: "1004", secret: swordfish4}
menus:
  - {name: main, prompts: [silence/1], options: {"2": {queue: sales}}, invalid: {hangup: normal}, timeout: {hangup: normal}, fallback: {hangup: normal}}
queues:
  - {name: sales, strategy: ringall, members: [{endpoint: "1001"}, {endpoint: "1002"}], fallback: {hangup: normal}}
  - {name: one, members: [{endpoint: "1001"}], fallback: {hangup: normal}}
dids:
  - {number: "+493010", destination: {menu: main}}
  - {number: "+493011", destination: {queue: one}}
  - {number: "+493012", destination: {endpoint: "1001"}}
  - {number: "+493014", destination: {endpoint: "1002"}}
  - {number: "+493015", destination: {endpoint: "1004"}}
  - {number: "+493013", destination: {hangup: busy}}
"""


@pytest.fixture(scope="module")
def pbx(asterisk_install) -> Iterator[LabPbx]:
    with LabPbx(
        asterisk_install, DOCUMENT, admin_dialplan="exten => 200,1,Dial(PJSIP/1003,20)\nexten => 300,1,Wait(60)\n"
    ) as pbx:
        pbx.serve()
        yield pbx


@pytest.fixture(scope="module")
def phones(pbx: LabPbx) -> Iterator[None]:
    wait_until(lambda: "1003/1003" in pbx.asterisk.cli("pjsip show endpoints"))
    runs = []
    for number, (extension, ring_s) in enumerate((("1001", 0.3), ("1002", 30.0), ("1003", 0.1))):
        port = 5070 + 10 * number
        register_phones(pbx.asterisk, [(extension, f"swordfish{extension[-1]}")], port=port, host=PHONES)
        runs.append(run_phone(pbx.asterisk, port=port, host=PHONES, ring_s=ring_s, steps=[AwaitBye(60)]))
    yield
    for run in runs:
        run.__exit__()


def read_cdrs(pbx: LabPbx) -> list[Cdr]:
    return Store(pbx.folder / "tandem.db").run_now(load_cdrs, CdrQuery(newest_first=False, limit=1000))


def wait_until(holds: Callable[[], Any], timeout_s: float = 40.0) -> Any:
    deadline = time.monotonic() + timeout_s
    while not (found := holds()):
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.1)
    return found


def wait_for_cdr(pbx: LabPbx, caller: str, timeout_s: float = 40.0) -> Cdr:
    """The one CDR of that caller, with its legs, once Asterisk has no channel left and the ledger no open leg."""

    def find() -> list[Cdr]:
        store = Store(pbx.folder / "tandem.db")
        return [] if store.run_now(load_open_legs) else [cdr for cdr in read_cdrs(pbx) if cdr.caller == caller]

    (cdr,) = wait_until(find, timeout_s)
    whole = Store(pbx.folder / "tandem.db").run_now(load_cdr, cdr.call_id)
    assert whole is not None
    assert abs(whole.ring_s + whole.hold_s + whole.talk_s - whole.duration_s) < 0.005
    return whole


def dial(pbx: LabPbx, number: str, caller: str, steps: list[Any]) -> Any:
    return place_calls(pbx.asterisk, [Caller(number, caller=caller)], steps=steps, host=CARRIER)


def ask_ami(pbx: LabPbx, action: str, **headers: str) -> Message:
    """One action as the dialer's login, with its response."""
    with pbx.asterisk.connect_ami() as link:
        link.settimeout(5)
        secret = pbx.asterisk.ami_secrets["tandem-dialer"]
        link.sendall(encode_action("Login", (("Username", "tandem-dialer"), ("Secret", secret), ("Events", "off"))))
        link.sendall(encode_action(action, (("ActionID", "it"), *headers.items())))
        parser = AmiParser()
        while True:
            for frame in parser.feed(link.recv(65536)):
                if (message := Message(frame)).get("ActionID") == "it":
                    return message


def channels(pbx: LabPbx, beginning: str) -> list[str]:
    listing = pbx.asterisk.cli("core show channels concise")
    return [line.split("!")[0] for line in listing.splitlines() if line.startswith(beginning) and "!Up!" in line]


def find_uniqueids(pbx: LabPbx, beginning: str) -> list[str]:
    listing = pbx.asterisk.cli("core show channels concise")
    return [line.split("!")[-1] for line in listing.splitlines() if line.startswith(beginning)]


def test_a_menu_a_ringall_queue_and_an_agent_are_one_call(pbx: LabPbx, phones: None) -> None:
    with dial(pbx, "03010", "0170001", [Wait(1.5), Press("2"), Wait(3), HangUp()]) as run:
        assert run.wait(timeout_s=30).answered == 1
    cdr = wait_for_cdr(pbx, "0170001")
    assert (cdr.direction, cdr.called, cdr.trunk, cdr.endpoint, cdr.queue) == (
        "inbound",
        "03010",
        "carrier",
        "1001",
        "sales",
    )
    assert cdr.route.startswith("DID +493010, menu main")
    assert "pressed 2" in cdr.route
    assert (cdr.disposition, len(cdr.legs)) == (Disposition.ANSWERED, 3)
    assert cdr.hold_s > 1.0
    assert 1.0 < cdr.talk_s < 4.0


def test_callers_who_give_up_and_numbers_that_are_busy(pbx: LabPbx, phones: None) -> None:
    with dial(pbx, "03013", "0170002", []) as run:
        assert run.wait(timeout_s=30).legs[0].refusal == 486
    assert (wait_for_cdr(pbx, "0170002").disposition, wait_for_cdr(pbx, "0170002").cause) == (Disposition.BUSY, 17)
    with place_calls(pbx.asterisk, [Caller("03014", caller="0170003")], answer_timeout_s=1.0, host=CARRIER) as run:
        run.wait(timeout_s=30)
    cdr = wait_for_cdr(pbx, "0170003")
    assert (cdr.disposition, cdr.answered_at, cdr.endpoint) == (Disposition.CANCELLED, None, "1002"), cdr
    assert cdr.ring_s == cdr.duration_s > 0.9


def place_and_await_answer(pbx: LabPbx, destination: dict[str, str]) -> str:
    """A call over HTTP, from phone 1003; its id once it is answered."""
    wanted = {"origin": {"endpoint": "1003"}, "destination": destination}
    call = ask(pbx.folder / "run/control.sock", "POST", "/api/v1/calls", json.dumps(wanted).encode())
    wait_until(lambda: find_call(pbx, call["call_id"])["answered_at"])
    return str(call["call_id"])


def find_call(pbx: LabPbx, call_id: str) -> dict[str, Any]:
    found: dict[str, Any] = ask(pbx.folder / "run/control.sock", "GET", f"/api/v1/calls/{call_id}")
    return found


@pytest.mark.parametrize(
    ("destination", "reached", "queue", "called", "route"),
    [
        ({"endpoint": "1001"}, ["1001"], "", "1001", "endpoint 1003, endpoint 1001"),
        ({"queue": "one"}, ["1001"], "one", "one", "endpoint 1003, queue one"),
        ({"menu": "main"}, [], "", "main", "menu main"),
    ],
)
def test_a_placed_call_reaches_its_destination(
    pbx: LabPbx,
    phones: None,
    destination: dict[str, str],
    reached: list[str],
    queue: str,
    called: str,
    route: str,
) -> None:
    call_id = place_and_await_answer(pbx, destination)
    for endpoint in reached:
        wait_until(lambda endpoint=endpoint: channels(pbx, f"PJSIP/{endpoint}"))
        pbx.asterisk.cli("channel request hangup all")
    # A menu in which nobody presses a key ends by itself.
    cdr = wait_until(lambda: Store(pbx.folder / "tandem.db").run_now(load_cdr, call_id), 60.0)
    assert sorted(leg.endpoint for leg in cdr.legs) == sorted(["1003", *reached])
    assert (cdr.is_placed, cdr.direction, cdr.called, cdr.queue) == (True, "internal", called, queue)
    assert cdr.route.startswith(route)
    assert find_call(pbx, call_id)["disposition"] == cdr.disposition == Disposition.ANSWERED


def test_a_blind_transfer_stays_one_call(pbx: LabPbx, phones: None) -> None:
    with dial(pbx, "03012", "0170004", [Wait(5), HangUp()]) as run:
        agent = wait_until(lambda: channels(pbx, "PJSIP/1001"))[0]
        answer = ask_ami(pbx, "BlindTransfer", Channel=agent, Context="from-admin", Exten="200")
        assert answer.name == "Success", answer.items()
        wait_until(lambda: channels(pbx, "PJSIP/1003"))
        run.wait(timeout_s=30)
    cdr = wait_for_cdr(pbx, "0170004")
    assert {leg.endpoint for leg in cdr.legs} == {"carrier", "1001", "1003"}
    assert (cdr.direction, cdr.disposition) == ("inbound", Disposition.ANSWERED)
    assert cdr.talk_s > 2.0


@pytest.mark.parametrize(
    ("is_attended", "caller", "ends"), [(False, "0170009", ["hangup"]), (True, "0170010", ["bye", "hangup"])]
)
def test_a_transfer_by_refer_stays_one_call(
    pbx: LabPbx, phones: None, is_attended: bool, caller: str, ends: list[str]
) -> None:
    """A phone hands a caller on: blind, and after speaking with the third party (Replaces), when three legs and one of the second call merge."""
    # A contact of its own each time: SIPp answers no OPTIONS between two phones, and Asterisk would know this one as dead.
    account, port = ("1004", "swordfish4"), 5110 + is_attended
    known = {cdr.call_id for cdr in read_cdrs(pbx)}
    register_phones(pbx.asterisk, [account], port=port, host=PHONES)
    with run_transfer(pbx.asterisk, account, "1003", is_attended=is_attended, port=port, host=PHONES) as phone:
        with dial(pbx, "03015", caller, [Wait(4), HangUp()]) as run:
            assert run.wait(timeout_s=30).answered == 1
        (leg,) = phone.wait(timeout_s=30).legs
    words = [event.word for event in leg.events]
    assert words[words.index("referred") :] == ["referred", *ends], words
    assert ("consulted" in words) == is_attended
    cdr = wait_for_cdr(pbx, caller)
    assert sorted(leg.endpoint for leg in cdr.legs) == sorted(["carrier", "1003", *["1004"] * len(ends)])
    assert (cdr.direction, cdr.called, cdr.disposition) == ("inbound", "03015", Disposition.ANSWERED)
    assert cdr.route == "DID +493015, endpoint 1004"
    assert cdr.talk_s > 3.0
    assert {cdr.call_id for cdr in read_cdrs(pbx)} - known == {cdr.call_id}


def test_calls_that_are_bridged_together_are_one(pbx: LabPbx, phones: None) -> None:
    with dial(pbx, "03012", "0170005", [Wait(6)]) as one:
        wait_until(lambda: channels(pbx, "PJSIP/1001"))
        pbx.asterisk.cli("channel originate PJSIP/1003 extension 100@from-admin")
        third = wait_until(lambda: channels(pbx, "PJSIP/1003"))[0]
        (caller,) = channels(pbx, "PJSIP/carrier")
        assert ask_ami(pbx, "Bridge", Channel1=caller, Channel2=third).name == "Success"
        one.wait(timeout_s=30)
    cdr = wait_for_cdr(pbx, "0170005")
    assert {leg.endpoint for leg in cdr.legs} == {"carrier", "1001", "1003"}
    assert len(read_cdrs(pbx)) == len({cdr.call_id for cdr in read_cdrs(pbx)})


def test_a_call_that_ended_while_tandem_was_down(pbx: LabPbx, phones: None) -> None:
    with dial(pbx, "03011", "0170006", [Wait(4), HangUp()]) as run:
        wait_until(lambda: channels(pbx, "PJSIP/1001"))
        (caller,) = wait_until(lambda: find_uniqueids(pbx, "PJSIP/carrier"))
        wait_until(lambda: Store(pbx.folder / "tandem.db").run_now(load_routes, [caller]))
        pbx.kill()
        run.wait(timeout_s=30)
    with dial(
        pbx, "03012", "0170007", [Wait(0.5), HangUp()]
    ) as run:  # begun and ended without us: the last-known route
        assert run.wait(timeout_s=30).answered == 1
    assert [cdr for cdr in read_cdrs(pbx) if cdr.caller in {"0170006", "0170007"}] == []
    pbx.serve()
    cdr = wait_for_cdr(pbx, "0170006")
    assert (cdr.disposition, cdr.queue, cdr.endpoint) == (Disposition.ANSWERED, "one", "1001")
    assert cdr.talk_s > 2.0
    assert cdr.route == "DID +493011, queue one"  # decided by the Tandem that was killed
    assert wait_for_cdr(pbx, "0170007").disposition == Disposition.ANSWERED


def test_the_same_records_again_change_nothing(pbx: LabPbx, phones: None) -> None:
    def read_offsets() -> dict[str, int]:
        rows = Store(pbx.folder / "tandem.db").run_now(load_rows, ("name", "offset"), "record_files")
        return {row["name"]: row["offset"] for row in rows}

    before, offsets = read_cdrs(pbx), read_offsets()
    assert before
    assert offsets
    pbx.kill()
    Store(pbx.folder / "tandem.db").run_now(lambda db: db.execute_sql("DELETE FROM record_files") and None)
    pbx.serve()
    wait_until(lambda: read_offsets() == offsets)
    assert read_cdrs(pbx) == before


def test_hostile_numbers_in_the_record(pbx: LabPbx, phones: None) -> None:
    hostile = "017%0d%0a%22%7d,%7b%22uniqueid%22:%22x"
    with dial(pbx, "03013", hostile, []) as run:
        run.wait(timeout_s=30)
    (cdr,) = wait_until(lambda: [cdr for cdr in read_cdrs(pbx) if "uniqueid" in cdr.caller])
    assert cdr.caller.isprintable()
    assert cdr.disposition == Disposition.BUSY


def test_calls_that_were_up_when_asterisk_was_killed(pbx: LabPbx, phones: None) -> None:
    with dial(pbx, "03012", "0170008", [Wait(3)]) as run:
        wait_until(lambda: channels(pbx, "PJSIP/1001"))
        time.sleep(1.5)
        pbx.asterisk.kill()
        run.process.kill()
        run.process.wait()
    pbx.asterisk.start()
    cdr = wait_for_cdr(pbx, "0170008", 60.0)
    assert (cdr.disposition, cdr.ended_at, cdr.talk_s) == (Disposition.UNCONFIRMED, None, 0.0)
    assert cdr.answered_at is not None


def test_placed_calls_end_when_tandem_was_killed_and_when_both_were(pbx: LabPbx, phones: None) -> None:
    ends = {}
    for kills_asterisk in (False, True):
        call_id = place_and_await_answer(pbx, {"dialplan": "from-admin,300"})
        # Of a call that no record tells yet, none ever will.
        wait_until(lambda call_id=call_id: call_id in Store(pbx.folder / "tandem.db").run_now(load_open_legs))
        pbx.kill()
        if kills_asterisk:
            pbx.asterisk.kill()
            pbx.asterisk.start()
        else:
            pbx.asterisk.cli("channel request hangup all")
            wait_until(lambda: "0 active channels" in pbx.asterisk.cli("core show channels"))
        pbx.serve()
        wait_until(lambda call_id=call_id: find_call(pbx, call_id)["ended_at"], 60.0)
        ends[call_id] = "unconfirmed" if kills_asterisk else "answered"
        cdr = wait_until(lambda call_id=call_id: Store(pbx.folder / "tandem.db").run_now(load_cdr, call_id), 60.0)
        assert (cdr.disposition, cdr.is_placed, cdr.ended_at is None) == (ends[call_id], True, kills_asterisk)
    # Later restarts and records change neither.
    assert {call_id: find_call(pbx, call_id)["disposition"] for call_id in ends} == ends
