"""The PBX of the tests beside it: every kind of destination, and what is told of the calls that came to one; decides nothing."""

import wave
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lab.observe import Lived, wait_until
from lab.pbx import LabPbx
from tandem.domain.hangup_causes import HANGUP_CAUSE_BY_NAME

OUTSIDE = "127.0.0.5"
PHONE_PORT, BUSY_PORT = 5070, 5080
SECRET = "swordfish-of-the-lab"

# Whoever reaches 2XX is answered and stays on the line.
ADMIN_DIALPLAN = "exten => _2XX,1,Answer(,i)\n same => n,Wait(60)\n same => n,Hangup()\n"

DOCUMENT = f"""
general:
  country: DE
  outbound_trunk: outside
  allowed_contexts: [from-admin]
  blocked_callers: ["+49666*"]
trunks:
  - {{name: carrier, hosts: ["127.0.0.2:5060"], match: [127.0.0.2], numbers: national}}
  - {{name: outside, hosts: ["{OUTSIDE}:5060"], match: ["{OUTSIDE}"]}}
endpoints:
  - {{extension: 1001, secret: {SECRET}, voicemail: 1001, ring_time_s: 5}}
  - {{extension: 1002, secret: {SECRET}}}
  - {{extension: 1003, secret: {SECRET}, voicemail: 1001}}
  - {{extension: 1004, secret: {SECRET}, voicemail: 1001}}
voicemail_boxes: [{{mailbox: 1001, pin: 4711}}, {{mailbox: 1009, pin: 4711}}]
schedules:
  - {{name: always, hours: [{{days: mon-sun, start: "00:00", end: "24:00"}}]}}
  - {{name: never}}
announcements:
  - {{name: notice, prompts: [beep, no/such/sound, beep], then: {{dialplan: "from-admin,202"}}}}
menus:
  - name: main
    prompts: [beep, demo-congrats]
    options:
      1: {{dialplan: "from-admin,211"}}
      12: {{dialplan: "from-admin,212"}}
      "*": {{dialplan: "from-admin,213"}}
      "#": {{dialplan: "from-admin,214"}}
      2: {{queue: sales}}
      3: {{menu: patient}}
    direct_dial: yes
    inter_digit_timeout_s: 1
    invalid_retries: 1
    invalid_prompts: [beeperr]
    invalid: {{dialplan: "from-admin,215"}}
    timeout: {{dialplan: "from-admin,216"}}
    fallback: {{dialplan: "from-admin,217"}}
  - name: patient
    prompts: [no/such/sound, beep, vm-press]
    options: {{1: {{dialplan: "from-admin,221"}}}}
    barge_in: no
    timeout_s: 1
    timeout_retries: 1
    timeout_prompts: [beeperr]
    invalid: {{dialplan: "from-admin,222"}}
    timeout: {{dialplan: "from-admin,223"}}
    fallback: {{dialplan: "from-admin,224"}}
queues:
  - {{name: sales, members: [{{endpoint: 1002}}], fallback: {{dialplan: "from-admin,231"}}}}
  - {{name: empty, join_empty: {{dialplan: "from-admin,232"}}, fallback: {{hangup: failure}}}}
  - {{name: shut, schedule: never, closed: {{dialplan: "from-admin,233"}}, fallback: {{hangup: failure}}, join_when_empty: yes}}
  - {{name: narrow, max_callers: 1, max_wait_s: 5, join_when_empty: yes, leave_when_empty: no,
     full: {{dialplan: "from-admin,234"}}, timeout: {{dialplan: "from-admin,235"}}, fallback: {{hangup: failure}}}}
dids:
  - {{number: "+493010001", destination: {{dialplan: "from-admin,201"}}}}
  - {{number: "+493010002", destination: {{did: "+493010001"}}}}
  - {{number: "+493010003", destination: {{announcement: notice}}}}
  - {{number: "+493010004", destination: {{schedule: always, open: {{dialplan: "from-admin,203"}}, closed: {{hangup: failure}}}}}}
  - {{number: "+493010005", destination: {{schedule: never, open: {{hangup: failure}}, closed: {{dialplan: "from-admin,204"}}}}}}
  - {{number: "+493010006", destination: {{external: "+4989111"}}}}
  - {{number: "+493010007", destination: {{endpoint: 1001}}, caller_id_cleanup: R5, language: de, recording: "yes"}}
  - {{number: "+493010008", destination: {{endpoint: 1004}}}}
  - {{number: "+493010009", destination: {{endpoint: 1003}}}}
  - {{number: "+493010010", destination: {{voicemail: 1009}}}}
  - {{number: "+493010011", destination: {{voicemail: 1009, instructions: no}}}}
  - {{number: "+493010012", destination: {{queue: sales}}}}
  - {{number: "+493010013", destination: {{menu: main}}}}
  - {{number: "+493010014", destination: {{menu: patient}}, language: de, recording: "yes"}}
  - {{number: "+493010015", destination: {{menu: main}}, recording: until-queue}}
  - {{number: "+493010016", destination: {{queue: empty}}}}
  - {{number: "+493010017", destination: {{queue: shut}}}}
  - {{number: "+493010018", destination: {{queue: narrow}}}}
  - {{number: "+493010019", destination: {{dialplan: "from-admin,201"}}, active: no}}
  - {{number: "+493010020", destination: {{dialplan: "from-admin,201"}}, anonymous: {{dialplan: "from-admin,242"}},
     caller_routes: [{{callers: ["+4917055501"], destination: {{dialplan: "from-admin,241"}}}}, {{callers: ["+4917055*"], destination: {{hangup: busy}}}}]}}
  - {{number: "+493010021", destination: {{dialplan: "from-admin,201"}}, allowed_callers: ["+4917055*"]}}
  - {{number: "+493010022", destination: {{dialplan: "from-admin,201"}}, blocked_callers: ["+4917055*"]}}
  - {{number: default, destination: {{dialplan: "from-admin,299"}}}}
""" + "".join(
    f'  - {{number: "+4930200{cause}", destination: {{hangup: {name}}}}}\n'
    for name, cause in HANGUP_CAUSE_BY_NAME.items()
)


@contextmanager
def changed(pbx: LabPbx, old: str, new: str) -> Iterator[None]:
    """The document with one change, for a while."""
    assert old in DOCUMENT
    pbx.import_document(DOCUMENT.replace(old, new))
    try:
        yield
    finally:
        pbx.import_document(DOCUMENT)


def read_sound(path: Path) -> tuple[float, int]:
    """Length in seconds and loudest sample of a WAV file."""
    with wave.open(str(path)) as sound:
        samples = array("h", sound.readframes(sound.getnframes()))
        return sound.getnframes() / sound.getframerate(), max(map(abs, samples), default=0)


def find_recordings(pbx: LabPbx, lived: Lived) -> list[Path]:
    """Those that Tandem has taken over."""
    return list((pbx.folder / "recordings").rglob(f"{lived.story['uniqueid']}-*-mixed.wav"))


def wait_for_recording(pbx: LabPbx, lived: Lived) -> Path:
    return wait_until(lambda: find_recordings(pbx, lived), "a recording")[0]


def list_steps(lived: Lived, pbx: LabPbx) -> list[str]:
    """Applications and sounds of a call's channel in the order in which they are in the log."""
    channel = lived.story["decisions"][0]["channel"]
    log = [line for line in pbx.asterisk.read_log().splitlines() if channel in line]
    return [line for line in log if "Executing" in line or "Playing" in line]
