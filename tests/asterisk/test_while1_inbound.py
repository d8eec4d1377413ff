"""Calls that come in, and the customer's own server beside a real Asterisk: it is asked who calls, and told what became of it; slow, dead and answering."""

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit

import pytest

from lab.observe import wait_until
from lab.pbx import LabPbx
from lab.ports import find_free_port
from lab.sipp import AwaitBye, Caller, HangUp, Wait, place_calls, register_phones, run_phone
from tests.asterisk.test_api import Site

pytestmark = pytest.mark.asterisk

OUTSIDE, PHONE_PORT = "127.0.0.5", 5070
DEADLINE_S = 0.4
DIALPLAN = (
    "exten => _2XX,1,Answer(,i)\n same => n,NoOp(link ${BACKEND_LINK})\n same => n,Wait(60)\n same => n,Hangup()\n"
)
DOCUMENT = f"""
general: {{country: DE, outbound_trunk: outside, allowed_contexts: [from-admin], blocked_callers: ["+49666*"]}}
trunks:
  - {{name: carrier, hosts: ["127.0.0.2:5060"], match: [127.0.0.2], numbers: national}}
  - {{name: outside, hosts: ["{OUTSIDE}:5060"], match: ["{OUTSIDE}"]}}
endpoints:
  - {{extension: "1001", secret: secret-1001, name: anna}}
  - {{extension: "1003", secret: secret-1003, name: away, ring_time_s: 5}}
queues: [{{name: sales, members: [{{endpoint: "1001"}}], fallback: {{hangup: busy}}}}, {{name: patient, join_when_empty: true, leave_when_empty: false, fallback: {{hangup: busy}}}}]
dids:
  - {{number: "+493010001", description: Hotline, destination: {{dialplan: "from-admin,201"}}}}
  - {{number: "+493010002", description: Sales, destination: {{queue: sales}}}}
  - {{number: "+493010003", destination: {{endpoint: "1001"}}}}
  - {{number: "+493010004", destination: {{external: "+4989111"}}}}
  - {{number: "+493010005", destination: {{queue: patient}}}}
"""
KNOWN = {
    "0305550001": {"id": 1, "name": "Jane Doe", "queue_position": 50, "backend_link": "https://crm.example/?id=1", "external_id": "crm-1"},
    "0305550002": {"id": 2, "name": "Line; of $her own", "direct_line": "SIP/1001"},
    "0305550003": {"id": 3, "direct_line": "SIP/1003"},
}  # fmt: skip


class Crm:
    """The customer's server: `/who` is asked, `/event` is told. While `gate` is shut nobody is answered."""

    def __init__(self, listening):
        self.asked, self.told = [], []
        self.gate = threading.Event()
        self.gate.set()
        crm = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                place = urlsplit(self.path)
                given = dict(parse_qsl(place.query, keep_blank_values=True))
                body = b""
                if place.path == "/who":
                    crm.asked.append(given)
                    crm.gate.wait(60)
                    body = json.dumps(KNOWN.get(given["telephone"], dict.fromkeys(("id", "name")))).encode()
                else:
                    crm.told.append(given)
                self.send_response(200)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler, bind_and_activate=False)
        self.server.socket.close()
        self.server.socket = listening
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    def close(self):
        self.gate.set()
        self.server.shutdown()
        self.server.server_close()

    def wait_told(self, telephone, *events):
        """The events of a caller, once they are those; with what is the same in all of them."""

        def look():
            found = [one for one in self.told if one.get("telephone") == telephone]
            return found if [one["event"] for one in found] == list(events) else []

        return wait_until(look, f"{events} for {telephone}: {self.told}", timeout_s=30)


@pytest.fixture(scope="module")
def port():
    return find_free_port()


@pytest.fixture(scope="module")
def pbx(asterisk_install, port):
    settings = {
        "lookup.url": f"http://127.0.0.1:{port}/who", "lookup.token": "a token", "lookup.deadline_s": str(DEADLINE_S), "lookup.keep_s": "0",
        "apis.while1.project_id": "7",
    }  # fmt: skip
    # The far end is there before its trunk is: one that Asterisk has found dead is asked again after a minute only.
    with (
        LabPbx(asterisk_install, DOCUMENT, settings, admin_dialplan=DIALPLAN) as pbx,
        run_phone(pbx.asterisk, host=OUTSIDE, port=5060, steps=[Wait(1), HangUp()]) as outside,
    ):
        pbx.outside = outside
        pbx.serve()
        Site(pbx).wait_for("/api/v1/config/plan", lambda plan: plan["live"] == plan["head"] and not plan["files"], 60)
        Site(pbx).wait_for("/health", lambda health: health["ready"], 60)
        hook = {"url": f"http://127.0.0.1:{port}/event?from=pbx", "format": "while1"}
        events = ["inbound.answered", "inbound.ended", "inbound.missed", "outbound.ended"]
        Site(pbx).ask("POST", "/api/v1/webhooks", {**hook, "events": events}, 201)
        register_phones(pbx.asterisk, [("1001", "secret-1001")], port=PHONE_PORT)
        with run_phone(pbx.asterisk, port=PHONE_PORT) as phone:
            pbx.phone = phone
            yield pbx


@pytest.fixture(scope="module")
def crm(pbx, port):
    crm = Crm(pbx.asterisk.listen("127.0.0.1", port))
    yield crm
    crm.close()


@contextmanager
def calling(pbx, called, caller, *steps):
    with place_calls(pbx.asterisk, [Caller(called, caller)], steps=steps or (AwaitBye(),)) as run:
        yield run


def read_story(pbx, caller):
    def look():
        return next(
            (one for one in pbx.ask("calls") if one["decisions"] and one["decisions"][0]["caller"] == caller), None
        )

    return wait_until(look, f"a story of {caller}")


def test_a_caller_who_is_known_is_greeted_and_the_queues_call_is_told(pbx, crm):
    before = len(pbx.phone.read_legs())
    with calling(pbx, "03010002", "0305550001") as run:
        leg = pbx.phone.wait_for("answered", count=before + 1)[-1]
        invited = next(event.detail for event in leg.events if event.word == "invited")
        assert "Jane Doe" in invited
        # The agent's channel has what its screen shows.
        (line,) = [
            line
            for line in pbx.asterisk.cli("core show channels concise").splitlines()
            if line.startswith("PJSIP/1001-")
        ]
        channel = pbx.asterisk.cli(f"core show channel {line.partition('!')[0]}")
        assert "BACKEND_LINK=https://crm.example/?id=1" in channel
        assert "CONTACT_ID=1" in channel
        # Told while they talk.
        (answered,) = crm.wait_told("0305550001", "queue_answer")
        pbx.asterisk.cli("channel request hangup all")
        run.wait()
    assert crm.asked[0] == {"telephone": "0305550001", "dnid": "03010002", "token": "a token"}
    _, ended = crm.wait_told("0305550001", "queue_answer", "queue_answer_end")
    shown = {
        "from": "pbx", "direction": "IN", "agent": "1001", "remote_number": "0305550001", "telephone": "0305550001", "dnid": "03010002",
        "dnid_identifier": "Sales", "contact_id": "1", "queue": "sales", "project_id": "7", "uniqueid": answered["uniqueid"],
    }  # fmt: skip
    assert answered == {"event": "queue_answer", **shown}
    assert ended == {"event": "queue_answer_end", **shown}
    story = read_story(pbx, "0305550001")
    assert story["decisions"][0]["outcome"] == "tandem-enter,queue,1(sales,50,,no,,)"
    # The same without a call.
    path = "/api/v1/routes/explain?did=03010002&trunk=carrier&caller=0305550001"
    explained = Site(pbx).ask("GET", f"{path}&look_up=true")
    assert (explained["contact"]["name"], explained["reasons"][-1]) == ("Jane Doe", "caller is contact 1")
    assert Site(pbx).ask("GET", path)["contact"] is None
    # Their own id finds the CDR.
    found = Site(pbx).wait_for("/api/v1/cdrs?external_id=crm-1", lambda page: page["items"])
    assert found["items"][0]["call_id"] == answered["uniqueid"]


def test_a_line_of_their_own_and_one_that_does_not_answer(pbx, crm):
    before = len(pbx.phone.read_legs())
    with calling(pbx, "03010001", "0305550002", Wait(1), HangUp()) as run:
        leg = pbx.phone.wait_for("answered", count=before + 1)[-1]
        assert "Line; of $her own" in next(event.detail for event in leg.events if event.word == "invited")
        run.wait()
    crm.wait_told("0305550002", "dial_answer")
    mark = len(pbx.asterisk.read_log())
    with calling(pbx, "03010001", "0305550003", Wait(1), HangUp()) as run:
        assert run.wait().answered
    log = pbx.asterisk.read_log()[mark:]
    assert "PJSIP/1003" in log
    # Where the DID leads.
    assert "[201@from-admin:" in log
    assert read_story(pbx, "0305550003")["decisions"][0]["outcome"].startswith("tandem-enter,endpoint,1(1003,")


def test_calls_to_phones_outside_and_nobody_are_told_in_their_words(pbx, crm):
    with calling(pbx, "03010004", "0305550014") as run:
        run.wait()
    with calling(pbx, "03010003", "0305550013", Wait(1), HangUp()) as run:
        run.wait()
    with calling(pbx, "03010005", "0305550015", Wait(2), HangUp()) as run:
        run.wait()
    with calling(pbx, "03010003", "+49666123") as run:
        assert run.wait().legs[0].refusal == 403
    (forwarded,) = crm.wait_told("0305550014", "call_forward_answer")
    assert (forwarded["agent"], forwarded["queue"], forwarded["contact_id"]) == ("", "", "")
    (dialled,) = crm.wait_told("0305550013", "dial_answer")
    assert dialled["agent"] == "1001"
    (missed,) = crm.wait_told("0305550015", "missed_calls")
    assert (missed["queue"], missed["fail_reason"], missed["dnid"]) == ("patient", "NOTCONNECTED", "03010005")
    assert int(missed["queue_hold_time"]) >= 1
    # Whoever is blocked is nobody's business.
    assert not any("666" in str(one) for one in (*crm.asked, *crm.told))


def test_a_call_to_the_outside_is_told_with_the_id_of_whoever_placed_it(pbx, crm):
    body = {"origin": {"endpoint": "1001"}, "destination": {"external": "+4989112"}, "external_id": "order-7"}
    placed = Site(pbx).ask("POST", "/api/v1/calls", body, 202)
    (told,) = crm.wait_told("+4989112", "outgoing_end")
    assert (told["uniqueid"], told["external_id"], told["agent"]) == (placed["call_id"], "order-7", "1001")
    assert (told["direction"], told["disposition"], told["billsec"]) == ("OUT", "answered", "1")


def test_a_slow_server_and_a_dead_one_delay_no_call_beyond_the_deadline(pbx, crm):
    crm.gate.clear()
    for number in range(2):
        caller = f"030555002{number}"
        with calling(pbx, "03010001", caller, Wait(0.2), HangUp()) as run:
            (leg,) = run.wait().legs
        # Ringing is what a caller hears while it is decided; a held question is answered after a minute, the guard fires after 4 s.
        assert leg.at_ms("answered") - leg.at_ms("ringing") < 3000
        decision = read_story(pbx, caller)["decisions"][0]
        assert decision["outcome"] == "tandem-enter,dialplan,1(201,0,,no,from-admin,)"
        assert decision["reasons"][-1] == "caller was not looked up in time"
    crm.gate.set()
    crm.close()
    for number in range(5):
        caller = f"030555003{number}"
        with calling(pbx, "03010001", caller, Wait(0.2), HangUp()) as run:
            assert run.wait().answered
        decision = read_story(pbx, caller)["decisions"][0]
        assert decision["outcome"] == "tandem-enter,dialplan,1(201,0,,no,from-admin,)"
    log = pbx.read_log()
    assert "callers are not looked up for a while" in log
    assert "a token" not in log
    assert "Traceback" not in log
