"""What a stranger can write into an INVITE: it changes no route, no state and no line of a log, with Tandem and without it."""

import re
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from lab.observe import Observer
from lab.pbx import LabPbx
from lab.sipp import Caller, HangUp, SippResult, Wait, place_calls

pytestmark = pytest.mark.asterisk

SECRET = "swordfish-of-the-lab"
STRANGER = "127.0.0.9"
ADMIN_DIALPLAN = "exten => _2XX,1,Answer(,i)\n same => n,Wait(60)\n same => n,Hangup()\n"
DOCUMENT = f"""
general: {{country: DE, allowed_contexts: [from-admin], blocked_callers: ["+49666*"]}}
trunks:
  - {{name: carrier, hosts: ["127.0.0.2:5060"], match: [127.0.0.2], numbers: national}}
endpoints: [{{extension: 1001, secret: {SECRET}}}]
queues:
  - {{name: sales, members: [{{endpoint: 1001}}], fallback: {{dialplan: "from-admin,231"}}}}
  - {{name: empty, join_empty: {{dialplan: "from-admin,232"}}, fallback: {{dialplan: "from-admin,231"}}}}
dids:
  - {{number: "+49301*", destination: {{dialplan: "from-admin,201"}}, caller_id_cleanup: R10 L1}}
  - {{number: "+49302*", destination: {{dialplan: "from-admin,202"}}}}
  - {{number: "+49303", destination: {{queue: empty}}}}
  - {{number: default, destination: {{dialplan: "from-admin,299"}}}}
"""

# PJSIP turns %0d%0a in a user part into a line's end, and AMI and AGI would print it so. About 80 bytes reach the field.
LINES = (
    "%0d%0aagi_network_script%3a%20health",
    "%0aagi_arg_1%3a%2003031%0aagi_arg_2%3a%201%0aagi_arg_3%3a%20carrier",
    "%0d%0a%0d%0aEvent%3a%20QueueSummary%0d%0aQueue%3a%20empty%0d%0aAvailable%3a%209%0d%0aLoggedIn%3a%209",
    "%0d%0a%0d%0aEvent%3a%20FullyBooted%0d%0aStatus%3a%20x",
    "%0d%0a%0d%0aEvent%3a%20Cdr%0d%0aPrivilege%3a%20cdr%2call%0d%0aLinkedID%3a%201",
    "%0d%0a%0d%0aEvent%3a%20QueueMember%0d%0aQueue%3a%20sales%0d%0aMembership%3a%20dynamic",
    "%0d%0a%0d%0aResponse%3a%20Error%0d%0aActionID%3a%201",
    "%0aCALL%20did%201.1%20from%20forged%20to%20forged",
    "%1b%5b2J%07%08%7f",
)
CODE = (
    "%24%7bSET(GLOBAL(PWNED)=1)%7d",
    "%24%7bDB_DELETE(tandem-meta%2fdefault)%7d",
    "%24%5b1%2f0%5d",
    "%22%20%7c%20%221%22%20=%20%221",
    "%22%5d?from-admin%2c299%2c1)",
    "%2c1)%26PJSIP%2f1001",
    "%5c%22%60id%60%27",
    "9" * 120,
)
NAMES = (
    "${SET(GLOBAL(PWNED)=1)}",
    "$[1/0]",
    "${DB_DELETE(tandem-meta/default)}",
    "x]?tandem-last-resort,s,1)",
    "%0d%0aEvent: Cdr",
)
BRIEFLY = [Wait(0.2), HangUp()]


@pytest.fixture(scope="module")
def pbx(asterisk_install: Any) -> Iterator[LabPbx]:
    settings = {"fastagi.allowed_peers": "127.0.0.1/32"}
    with LabPbx(asterisk_install, DOCUMENT, settings, admin_dialplan=ADMIN_DIALPLAN) as pbx:
        pbx.serve()
        yield pbx


def read_state(pbx: LabPbx) -> dict[str, str]:
    """What a call must not change: AstDB, members, endpoints, globals."""
    cli = pbx.asterisk.cli
    # Whether a contact answers OPTIONS, and whether an endpoint is in a call, changes by itself.
    endpoints = [line for line in cli("pjsip show endpoints").splitlines() if "Contact:" not in line]
    members = re.sub(r"login was \d+ secs ago", "", cli("queue show"))
    return {
        "AstDB": cli("database show"),
        "members": members,
        "endpoints": re.sub(r"(Not in use|In use|Unavailable).*", "", "\n".join(endpoints)),
        "globals": cli("dialplan show globals"),
        "files": "\n".join(sorted(str(path) for path in (pbx.asterisk.etc / "tandem").rglob("*"))),
    }


def compare(before: dict[str, str], after: dict[str, str]) -> dict[str, list[str]]:
    """The lines that differ."""
    return {
        name: sorted(set(text.splitlines()) ^ set(after[name].splitlines()))
        for name, text in before.items()
        if text != after[name]
    }


def hostile_calls() -> list[tuple[str, list[Caller], list[str]]]:
    """(destination, callers, headers): each payload in the called number, the caller's, the name, and headers that the trunk trusts."""
    payloads = LINES + CODE
    called = [Caller(f"0302{index:03}{payload}", "0305501") for index, payload in enumerate(payloads)]
    caller = [Caller(f"0301{index:03}", f"555{payload}") for index, payload in enumerate(payloads)]
    named = [Caller(f"03014{index:02}", "0305501", name=name) for index, name in enumerate(NAMES)]
    calls = [("202", called, []), ("201", caller, []), ("201", named, [])]
    for index, payload in enumerate((LINES[0], LINES[2], LINES[7], CODE[0])):
        headers = [
            f"P-Asserted-Identity: <sip:555{payload}@127.0.0.2>",
            f"Diversion: <sip:5{payload}@127.0.0.2>;reason=unconditional",
            f"Remote-Party-ID: <sip:5{payload}@127.0.0.2>;party=calling",
        ]
        calls.append(("201", [Caller(f"03015{index:02}", "0305501")], headers))
    return calls


def place_all(pbx: LabPbx, calls: Sequence[tuple[str, list[Caller], list[str]]]) -> list[SippResult]:
    results = []
    for _, callers, headers in calls:
        with place_calls(pbx.asterisk, callers, rate=20, steps=BRIEFLY, headers=headers) as run:
            results.append(run.wait())
    return results


def count_arrivals(log: str) -> dict[str, int]:
    arrivals = re.findall(r"Executing \[(\d+)@from-admin:1\]", log)
    return {exten: arrivals.count(exten) for exten in sorted(set(arrivals))}


def count_wanted(calls: Sequence[tuple[str, list[Caller], list[str]]]) -> dict[str, int]:
    wanted: dict[str, int] = {}
    for exten, callers, _ in calls:
        wanted[exten] = wanted.get(exten, 0) + len(callers)
    return dict(sorted(wanted.items()))


def test_nothing_that_a_stranger_writes_changes_anything(pbx: LabPbx) -> None:
    calls = hostile_calls()
    total = sum(len(callers) for _, callers, _ in calls)
    before, mark, told = read_state(pbx), len(pbx.asterisk.read_log()), len(pbx.read_log())

    results = place_all(pbx, calls)

    for result in results:
        assert all(leg.is_answered and leg.ended_by == "us" for leg in result.legs)
    log = pbx.asterisk.read_log()[mark:]
    assert count_arrivals(log) == count_wanted(calls)
    assert "Last-known route" not in log, "Tandem decided every one"
    assert log.count('"CALLERID(num)=555') >= len(LINES), "the forged numbers did arrive, and were cleaned"
    stories = pbx.ask("calls", "--limit", "1000")
    assert len(stories) == total, "one story for each call, and none of anything else"
    for story in stories:
        (decision,) = story["decisions"]
        assert decision["outcome"].startswith(("tandem-enter,dialplan,1(201,", "tandem-enter,dialplan,1(202,"))
        assert re.fullmatch(r"[0-9A-Za-z+*#@._-]{0,40}", decision["caller"])
        assert re.fullmatch(r"030[12][0-9A-Za-z+*#]{0,36}", decision["called"])
        assert decision["script"] == "did"
        if decision["called"].startswith("03015"):
            assert decision["caller"].startswith("555"), "the carrier's P-Asserted-Identity counts"
        assert {record["linkedid"] for record in story["records"]} <= {story["uniqueid"]}
        assert len(story["records"]) <= 1
    lines = pbx.read_log()[told:].splitlines()
    assert sum(line.startswith("CALL did ") for line in lines) == total
    strange = [
        line for line in lines if not re.match(r"CALL did \d+\.\d+ from \S+ to \S+: |\d{4}-\d\d-\d\d .* INFO ", line)
    ]
    assert strange == []
    assert all(line.isprintable() for line in lines)
    assert compare(before, read_state(pbx)) == {}
    assert pbx.tandem("check", check=False).returncode == 0


def test_the_queues_are_as_they_were(pbx: LabPbx) -> None:
    """After every forged event: nobody is in `empty`, and the facts still say so."""
    lived = Observer(pbx).call("0303", Wait(1.5), HangUp())
    assert lived.reached == "232"
    assert "queue empty takes nobody" in lived.reasons


def test_a_blocked_caller_stays_blocked_however_it_writes_itself(pbx: LabPbx) -> None:
    callers = [
        Caller("0301999", number)
        for number in ("0666123", "+49666123", "0049666123", "0%0d%0a666123", "+4966%2d612", "06%206%206123")
    ]
    with place_calls(pbx.asterisk, callers, rate=20, steps=BRIEFLY) as run:
        assert [leg.refusal for leg in run.wait().legs] == [403] * len(callers)


def test_nobody_but_the_carrier_is_served(pbx: LabPbx) -> None:
    mark = len(pbx.asterisk.read_log())
    callers = [Caller("0301000", name) for name in ("carrier", "1001", "anonymous", "tandem.trunk", "+4930")]
    with place_calls(pbx.asterisk, callers, rate=20, host=STRANGER, steps=BRIEFLY) as run:
        legs = run.wait().legs
    assert [leg.refusal for leg in legs] == [401] * len(callers)
    assert "Executing" not in pbx.asterisk.read_log()[mark:]


def test_nobody_but_asterisk_may_ask(pbx: LabPbx) -> None:
    """The other one is waited for, until it has sent the rest."""
    ask = (
        "import socket, sys\n"
        "link = socket.create_connection(('127.0.0.1', 4573), source_address=(sys.argv[1], 0), timeout=1)\n"
        "link.sendall(b'agi_network: yes\\n')\n"
        "try: print(link.recv(100) or 'closed')\n"
        "except TimeoutError: print('waits')\n"
        "except ConnectionResetError: print('closed')"
    )
    answers = {
        host: pbx.asterisk.run([sys.executable, "-c", ask, host]).stdout.strip() for host in (STRANGER, "127.0.0.1")
    }
    assert answers == {STRANGER: "closed", "127.0.0.1": "waits"}


def test_without_tandem_nothing_changes_either(pbx: LabPbx) -> None:
    calls = hostile_calls()
    before = read_state(pbx)
    pbx.kill()
    try:
        mark = len(pbx.asterisk.read_log())
        results = place_all(pbx, calls)
        assert all(leg.is_answered and leg.ended_by == "us" for result in results for leg in result.legs)
        log = pbx.asterisk.read_log()[mark:]
        assert count_arrivals(log) == count_wanted(calls)
        assert log.count("Last-known route") == sum(len(callers) for _, callers, _ in calls)
        assert compare(before, read_state(pbx)) == {}
    finally:
        pbx.serve()
    assert compare(before, read_state(pbx)) == {}, "nothing was to be repaired"
