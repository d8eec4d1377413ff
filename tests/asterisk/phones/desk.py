"""A desk with phones beside a whole Tandem and a real Asterisk, for the tests beside it; decides nothing."""

import contextlib

from lab.certificates import write_certificate
from lab.observe import Observer, wait_until
from lab.rtp import RtpSink
from lab.sipp import (
    HangUp,
    Wait,
    dial_from_phone,
    run_phone,
)
from tests.asterisk.test_api import Site

SECRET = "swordfish-of-the-lab"
CERTIFIED = "pbx.example.org"
OUTSIDE = "127.0.0.5"
# Each phone at a port of its own, so that a test says which one rang. 1005 has a box and is never there, 1009 is never there.
PORTS = {"1001": 5071, "1002": 5072, "1003": 5073, "1004": 5074, "1010": 5075, "1014": 5078}
HOST = "127.0.0.3"
ADMIN_DIALPLAN = "exten => _2XX,1,Answer(,i)\n same => n,Wait(60)\n same => n,Hangup()\n"
DOCUMENT = (
    f"""
general: {{country: DE, language: de, outbound_trunk: outside, allowed_contexts: [from-admin], speed_dials: {{5: "112", 7: "1002", 8: "+493055508"}},
  record_prompt_code: "*77", record_prompt_phones: ["1001"], parking_extension: "700", parking_time_s: 60, directory_extension: "411"}}
trunks:
  - {{name: carrier, hosts: ["127.0.0.2:5060"], match: [127.0.0.2], numbers: national}}
  - {{name: outside, hosts: ["{OUTSIDE}:5060"], match: ["{OUTSIDE}"]}}
voicemail_boxes:
  - {{mailbox: "1005", pin: "4711", name: Eve Moss, operator: {{dialplan: "from-admin,207"}}}}
  - {{mailbox: "1002", pin: "4711", name: Bob Smith}}
conferences:
  - {{name: open, extension: "640", prompts: [auth-thankyou, tandem/none], announce_joins: yes, join_prompt: tandem/gong, leave_prompt: vm-goodbye}}
  - {{name: shut, pin: "4711", moderator_pin: "0815", wait_for_moderator: yes, pin_prompt: tandem/gong}}
announcements: [{{name: notice, prompts: [tandem/prompt-12], then: {{hangup: normal}}}}]
page_groups: [{{name: floor, extension: "650", members: ["1001", "1002", "1003"], prompt: auth-thankyou}}]
endpoints:
  - {{extension: "1001", secret: {SECRET}, ring_time_s: 5, pickup_groups: [office], permissions: [internal, national]}}
  - {{extension: "1002", secret: {SECRET}, ring_time_s: 5, pickup_groups: [office]}}
  - {{extension: "1003", secret: {SECRET}, ring_time_s: 5, permissions: [internal]}}
  - {{extension: "1004", secret: {SECRET}, ring_time_s: 5}}
  - {{extension: "1005", secret: {SECRET}, ring_time_s: 5, voicemail: "1005", voicemail_on: [busy]}}
  - {{extension: "1006", secret: {SECRET}, forward_unavailable: "1002"}}
  - {{extension: "1007", secret: {SECRET}, permissions: [internal, national],
     follow_me: [{{number: "1009", ring_time_s: 5}}, {{number: "03055507", ring_time_s: 8}}, {{number: "1003", ring_time_s: 8}}]}}
  - {{extension: "1008", secret: {SECRET}, devices: 2, call_limit: 1}}
  - {{extension: "1009", secret: {SECRET}}}
  - {{extension: "1010", secret: {SECRET}, call_limit: 1, recording: inbound}}
  - {{extension: "1011", secret: {SECRET}, webrtc: yes, codecs: [opus, alaw], music: quiet}}
  - {{extension: "1012", secret: {SECRET}, media_encryption: sdes, nat: no, dtmf_mode: info}}
  - {{extension: "1013", name: Mo Stone, secret: {SECRET}, permissions: [national], recording: outbound, external_caller_id: "+493010099", emergency_caller_id: "+493010098"}}
  - {{extension: "1014", name: Ada Hill, secret: {SECRET}, permissions: [internal, national], toll_guard: {{max_calls_per_minute: 1, denied_prefixes: ["+4930666*"]}}}}
  - {{extension: "1015", secret: {SECRET}, follow_me: [{{number: "1008", ring_time_s: 8}}]}}
schedules: [{{name: shop, hours: [{{days: mon-sun, start: "00:00", end: "24:00"}}], night_code: "*28", night_phones: ["1001"]}}]
ring_groups:
  - {{name: all, extension: "600", members: [{{endpoint: "1001"}}, {{endpoint: "1002"}}, {{endpoint: "1009"}}], ring_time_s: 5, caller_prefix: "Shop:",
     fallback: {{dialplan: "from-admin,201"}}}}
  - {{name: hunt, extension: "601", strategy: hunt, members: [{{endpoint: "1001"}}, {{endpoint: "1002"}}], ring_time_s: 5, fallback: {{dialplan: "from-admin,202"}}}}
  - {{name: memory, extension: "602", strategy: memory-hunt, members: [{{endpoint: "1001"}}, {{endpoint: "1002"}}], ring_time_s: 5, fallback: {{dialplan: "from-admin,203"}}}}
  - {{name: random, extension: "603", strategy: random, members: [{{endpoint: "1001"}}, {{endpoint: "1002"}}], ring_time_s: 5, fallback: {{dialplan: "from-admin,204"}}}}
  - {{name: first, extension: "604", strategy: first-available, members: [{{endpoint: "1009"}}, {{endpoint: "1002"}}, {{endpoint: "1001"}}], ring_time_s: 5,
     fallback: {{dialplan: "from-admin,205"}}}}
  - {{name: mixed, extension: "605", members: [{{external: "+493055501", trunk: outside}}, {{endpoint: "1004"}}], ring_time_s: 15, fallback: {{dialplan: "from-admin,206"}}}}
queues:
  - {{name: shop, members: [{{endpoint: "1004"}}], ring_time_s: 5, retry_s: 1, join_when_empty: yes, leave_when_empty: no, max_wait_s: 60, announce_position: yes,
     announce_every_s: 15, announce_hold_time: once, periodic_prompts: [beep, tandem/none], periodic_every_s: 3, report_hold_time: yes, member_delay_s: 1,
     autopause: all, ring_in_use: yes, recording: yes, exit_key: "9", exit: {{dialplan: "from-admin,208"}}, fallback: {{hangup: normal}}}}
dids:
  - {{number: "+493010074", destination: {{queue: shop}}}}
  - {{number: "+493010075", destination: {{schedule: shop, open: {{dialplan: "from-admin,209"}}, closed: {{dialplan: "from-admin,210"}}}}}}
  - {{number: "+493010076", destination: {{announcement: notice}}}}
  - {{number: "+493010060", destination: {{ring_group: all}}}}
  - {{number: "+493010061", destination: {{ring_group: hunt}}}}
  - {{number: "+493010062", destination: {{ring_group: memory}}}}
  - {{number: "+493010063", destination: {{ring_group: random}}}}
  - {{number: "+493010064", destination: {{ring_group: first}}}}
  - {{number: "+493010065", destination: {{ring_group: mixed}}}}
  - {{number: "+493010070", destination: {{conference: open}}}}
  - {{number: "+493010071", destination: {{conference: shut}}}}
  - {{number: "+493010072", destination: {{directory: last}}}}
  - {{number: "+493010073", destination: {{voicemail: "1005"}}}}
"""
    + "".join(
        f'  - {{number: "+49301100{n}", destination: {{endpoint: "100{n}"}}}}\n' for n in (1, 2, 3, 4, 5, 6, 7, 8)
    )
    + '  - {number: "+493011010", destination: {endpoint: "1010"}}\n'
    + '  - {number: "+493011011", destination: {endpoint: "1011"}}\n'
    + '  - {number: "+493011015", destination: {endpoint: "1015"}}\n'
    + '  - {number: "+493011018", destination: {agent: "1008", unavailable: {dialplan: "from-admin,211"}}}\n'
)
FIELDS = ("do_not_disturb", "forward_always", "forward_busy", "forward_no_answer", "forward_unavailable")


class Desk(Site):
    """Phones to ring and to dial with, and the API."""

    def __init__(self, pbx):
        super().__init__(pbx)
        self.pbx, self.observer, self._mark = pbx, Observer(pbx), 0

    def call(self, number, *steps, **options):
        self.mark()
        return self.observer.call(number, *(steps or (Wait(0.5), HangUp())), **options)

    def mark(self):
        self._mark = len(self.pbx.asterisk.read_log())

    @contextlib.contextmanager
    def phones(self, **what):
        """p1001={...}: what `run_phone` takes; who is not named does not answer at all."""
        with contextlib.ExitStack() as stack:
            phones = {
                name[1:]: stack.enter_context(
                    run_phone(self.pbx.asterisk, host=HOST, port=PORTS[name[1:]], **{"ring_s": 0.1, **options})
                )
                for name, options in what.items()
            }
            yield phones
        self.observer.wait_until_idle(timeout_s=40)

    @contextlib.contextmanager
    def outside(self, **options):
        """The carrier of calls that leave."""
        with run_phone(self.pbx.asterisk, host=OUTSIDE, port=5060, **{"ring_s": 0.1, **options}) as outside:
            yield outside

    def dial(self, extension, number, heard=25):
        """Dials from a phone until the other side hangs up; something is heard."""
        with (
            RtpSink(self.pbx.asterisk, HOST) as sink,
            dial_from_phone(self.pbx.asterisk, (extension, SECRET), number, media_port=sink.port) as run,
        ):
            (leg,) = run.wait(timeout_s=60).legs
            assert sum(sink.count_packets().values()) > heard
        assert (leg.is_answered, leg.ended_by) == (True, "them")

    def count_lines(self, *parts):
        """How many lines of Asterisk's log have all of these, since the last call began."""
        lines = self.pbx.asterisk.read_log()[self._mark :].splitlines()
        return sum(all(part in line for part in parts) for line in lines)

    def wait_for_line(self, *parts):
        """The log lags behind."""
        wait_until(lambda: self.count_lines(*parts), f"a line with {parts}")

    def count_recordings(self):
        return self.ask("GET", "/api/v1/recordings?limit=1")["total"]

    def wait_for_recording(self, before):
        """Taken up; it is converted once the machine has nothing better to do. before: how many there were."""
        self.wait_for("/api/v1/recordings?limit=1", lambda page: page["total"] == before + 1, 60)

    def wait_until_reached(self, exten):
        self.wait_for_line(f"Executing [{exten}@from-admin:1]")

    def features(self, extension, change=None):
        path = f"/api/v1/features/{extension}"
        return self.ask("GET", path) if change is None else self.ask("PATCH", path, change)

    def reset(self):
        for extension in ("1001", "1002", "1003", "1004"):
            self.features(extension, dict.fromkeys(FIELDS))


def rung(phones):
    return {extension: len(run.read_legs()) for extension, run in phones.items()}


def open_door_of_browsers(asterisk):
    """What the manual tells an admin to do."""
    files = write_certificate(asterisk.etc, CERTIFIED)
    asterisk.write_config(
        "http.conf",
        f"[general]\ntlsenable = yes\ntlsbindaddr = 0.0.0.0:8089\ntlscertfile = {files.certificate}\ntlsprivatekey = {files.key}\n",
    )
    asterisk.write_config("rtp.conf", "[general]\nrtpstart = 10000\nrtpend = 19999\nstrictrtp = no\n")
    for module in ("http", "res_rtp_asterisk.so"):
        asterisk.reload(module)
