"""Uploaded sounds as callers hear them, and recordings from MixMonitor to a deleted file, in a whole Tandem beside a real Asterisk."""

import io
import json
import signal
import threading
import time
import wave
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from lab.observe import Observer, wait_until
from lab.pbx import LabPbx
from lab.rtp import RtpSink
from lab.sipp import CARRIER_HOST, Caller, HangUp, Press, Speak, Wait, place_calls
from tandem.cli.control import _UnixConnection
from tandem.domain.recordings import plan_recording
from tests.audio import measure_pitch, write_tone

pytestmark = pytest.mark.asterisk

DOCUMENT = """
general: {country: DE, allowed_contexts: [from-admin]}
trunks: [{name: carrier, hosts: ["127.0.0.2:5060"], match: [127.0.0.2], numbers: national}]
announcements: [{name: notice, prompts: [tandem/hello], then: {hangup: normal}}]
menus:
  - name: main
    prompts: [tandem/hello, tandem/missing]
    options: {1: {announcement: notice}}
    timeout_s: 1
    invalid: {announcement: notice}
    timeout: {announcement: notice}
    fallback: {announcement: notice}
music_classes: [{name: tones, sounds: [tandem/hello], announcement: beep}]
queues:
  - {name: wait, join_when_empty: yes, leave_when_empty: no, periodic_prompts: [tandem/hello], periodic_every_s: 3, periodic_after_s: 1,
     fallback: {hangup: normal}}
  - {name: lounge, music: tones, join_when_empty: yes, leave_when_empty: no, max_wait_s: 60, fallback: {hangup: normal}}
dids:
  - {number: "+493010007", destination: {queue: wait}, language: de}
  - {number: "+493010008", destination: {queue: lounge}}
  - {number: "+493010001", destination: {announcement: notice}}
  - {number: "+493010002", destination: {announcement: notice}, language: de}
  - {number: "+493010003", destination: {menu: main}}
  - {number: "+493010004", destination: {dialplan: "from-admin,300"}}
  - {number: "+493010005", destination: {dialplan: "from-admin,301"}}
  - {number: "+493010006", destination: {dialplan: "from-admin,302"}}
"""


class Client:
    """Speaks to the unix socket, and keeps what was answered."""

    def __init__(self, pbx: LabPbx) -> None:
        self._socket = pbx.folder / "run" / "control.sock"
        self.headers: dict[str, str] = {}

    def ask(self, method: str, path: str, body: bytes | None = None, status: int = 200, **headers: str) -> Any:
        connection = _UnixConnection(self._socket, 60)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if body is not None:
            named.setdefault("Content-Type", "audio/wav")
        connection.request(method, f"/api/v1/{path}", body, named)
        response = connection.getresponse()
        answer = response.read()
        connection.close()
        assert response.status == status, (method, path, response.status, answer[:500])
        self.headers = {name.lower(): value for name, value in response.getheaders()}
        return json.loads(answer) if answer and self.headers["content-type"] == "application/json" else answer


@pytest.fixture(scope="module")
def pbx(asterisk_install: Any) -> Iterator[LabPbx]:
    with LabPbx(asterisk_install, DOCUMENT) as pbx:
        # 300: three files, of what comes, what is heard, and both, by arguments of ours; 301: by the context that campaigns use.
        files = plan_recording(str(pbx.asterisk.spool / "monitor"), "CALL", datetime(2026, 11, 20, 12, tzinfo=UTC))
        arguments = files.write_arguments().replace("CALL-", "${UNIQUEID}-")
        dialplan = f"""
exten => 300,1,Answer(1)
 same => n,MixMonitor({arguments})
 same => n,Playback(${{TANDEM_SOUNDS}}/hello)
 same => n,Wait(20)
exten => 301,1,Answer(1)
 same => n,Set(TANDEM_RECORDING_LEGS=yes)
 same => n,Gosub(tandem-record,s,1(yes))
 same => n,Playback(${{TANDEM_SOUNDS}}/hello)
 same => n,Wait(20)
exten => 302,1,Answer(1)
 same => n,Set(TANDEM_SORRY=tandem/hello&beep&tandem/hello)
 same => n,Goto(tandem-campaign,sorry,1)
"""
        path = pbx.asterisk.etc / "extensions.conf"
        path.write_text(path.read_text() + dialplan)
        pbx.asterisk.reload("dialplan")
        pbx.serve()
        yield pbx


@pytest.fixture(scope="module")
def observer(pbx: LabPbx) -> Observer:
    return Observer(pbx)


@pytest.fixture
def client(pbx: LabPbx) -> Client:
    return Client(pbx)


@pytest.fixture(scope="module")
def hello(pbx: LabPbx, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A sound of 600 Hz for all languages, and one of 900 Hz in German; its path as Asterisk is given it."""
    folder: Path = tmp_path_factory.mktemp("tones")
    for language, hertz in (("", 600), ("de", 900)):
        tone = write_tone(folder / "tone.wav", 1.0, hertz=hertz).read_bytes()
        Client(pbx).ask("POST", f"sounds?name=hello&language={language}", tone, 201)
    return f"{pbx.asterisk.folder}/sounds/hello"


def test_an_announcement_plays_it_in_the_callers_language(observer: Observer, hello: str) -> None:
    lived = observer.call_all({"03010001": (Wait(3), HangUp()), "03010002": (Wait(3), HangUp())})
    assert [sound for sound, _ in lived["03010001"].sounds] == [hello]
    assert lived["03010002"].sounds == ((hello, "de"),)
    # Without transcoding: the caller sends and hears G.711.
    log = observer.pbx.asterisk.read_log()
    assert f"Playing '{hello}.alaw'" in log or f"Playing '{hello}.ulaw'" in log, [
        line for line in log.splitlines() if hello in line
    ]
    assert lived["03010001"].leg.ended_by == "them"


def test_a_menu_plays_it_and_goes_on_where_one_is_missing(observer: Observer, hello: str) -> None:
    lived = observer.call("03010003", Wait(1.6), Press("1"), Wait(3), HangUp())
    assert [sound for sound, _ in lived.sounds] == [hello, hello]
    assert "prompt tandem/missing cannot be played" in lived.reasons


def test_a_queue_plays_it_in_the_callers_language(observer: Observer, hello: str) -> None:
    lived = observer.call("03010007", Wait(5), HangUp())
    assert (hello, "de") in lived.sounds


def test_who_cannot_be_served_hears_one_among_others(observer: Observer, hello: str) -> None:
    lived = observer.call("03010006", Wait(6), HangUp())
    assert [sound for sound, _ in lived.sounds] == [hello, "beep", hello]
    assert lived.leg.ended_by == "them"


def test_it_is_refused_to_delete_what_is_played(client: Client, hello: str) -> None:
    error = client.ask("DELETE", "sounds/hello", status=409)["error"]
    users = {"announcements/notice", "menus/main", "music_classes/tones", "queues/wait"}
    assert {one["object"] for one in error["problems"]} == users


def test_whoever_waits_hears_the_queues_own_music(observer: Observer, client: Client, hello: str) -> None:
    pbx = observer.pbx
    mark = len(pbx.asterisk.read_log())
    with RtpSink(pbx.asterisk) as sink:
        observer.call("03010008", Wait(4), HangUp(), media_port=sink.port)
        # Nobody but the music is heard there; a class without a file is silence.
        assert sink.count_loud() > 100
    wait_until(
        lambda: "Started music on hold, class 'tones'" in pbx.asterisk.read_log()[mark:], "the music's line in the log"
    )
    error = client.ask("DELETE", "music-classes/tones", status=409)["error"]
    assert [one["object"] for one in error["problems"]] == ["queues/lounge"]
    assert hello in pbx.asterisk.cli("moh show files")


def test_a_call_that_hears_the_old_one_hears_it_to_its_end(
    observer: Observer, client: Client, hello: str, tmp_path: Path
) -> None:
    pbx = observer.pbx
    long = write_tone(tmp_path / "long.wav", 4.0, hertz=600).read_bytes()
    client.ask("PUT", "sounds/hello", long)
    mark = len(pbx.asterisk.read_log())
    replaced: list[float] = []

    def replace() -> None:
        wait_until(lambda: f"Playing '{hello}." in pbx.asterisk.read_log()[mark:], "the old one is played")
        client.ask("PUT", "sounds/hello", write_tone(tmp_path / "short.wav", 0.5, hertz=600).read_bytes())
        replaced.append(time.monotonic())

    thread = threading.Thread(target=replace)
    thread.start()
    first = observer.call("03010001", Wait(8), HangUp())
    thread.join()
    second = observer.call("03010001", Wait(8), HangUp())
    assert replaced
    assert first.leg.talk_s is not None
    assert second.leg.talk_s is not None
    assert first.leg.talk_s > 4  # its four seconds, though the file was half a second long before they were over
    assert second.leg.talk_s < 3


@pytest.mark.usefixtures("hello")
def test_the_command_line(pbx: LabPbx, tmp_path: Path) -> None:
    path = write_tone(pbx.folder / "upload.wav", 0.5)
    planned = pbx.tandem("plan").stdout
    assert "menus/main prompts: tandem/missing" in planned
    assert "tandem/hello" not in planned
    assert "tandem/note: 0.5 s" in pbx.tandem("sounds", "add", "note", str(path)).stdout
    assert pbx.tandem("sounds", "add", "note", str(path), check=False).returncode == 1
    pbx.tandem("sounds", "add", "note", str(path), "--replace")
    spoken = pbx.ask("sounds", "add", "said", "--text", "Hello", "--language", "en")
    assert spoken["source"] == "speech"
    listed = pbx.tandem("sounds", "list").stdout
    assert "tandem/note  any language  0.5 s  from wav" in listed
    assert "'Hello'" in listed
    assert "gone" in pbx.tandem("sounds", "remove", "note").stdout
    assert "there is no sound note" in pbx.tandem("sounds", "remove", "note", check=False).stderr
    assert [one["name"] for one in pbx.ask("sounds", "list") if one["name"] != "hello"] == ["said"]
    assert pbx.tandem("sounds", "add", "note", check=False).returncode == 2


def test_a_call_recorded_in_three_files(observer: Observer, client: Client, hello: str) -> None:
    lived = observer.call("03010005", Wait(0.5), Speak(2.0), HangUp())
    call_id = lived.story["uniqueid"]
    found = wait_for_recordings(client, call_id)
    by_kind = {one["kind"]: one for one in found}
    assert set(by_kind) == {"mixed", "leg1", "leg2"}
    assert len({round(one["duration_s"], 1) for one in found}) == 1
    assert {one["format"] for one in found} == {"mp3"}
    assert not list((observer.pbx.asterisk.spool / "monitor").glob(f"{call_id}-*"))
    path = f"recordings/{by_kind['mixed']['id']}"
    whole = client.ask("GET", f"{path}/audio")
    tag = client.headers["etag"]
    assert len(whole) == by_kind["mixed"]["bytes"]
    assert client.ask("GET", f"{path}/audio", status=206, Range="bytes=100-299", If_Range=tag) == whole[100:300]
    assert client.headers["content-range"] == f"bytes 100-299/{len(whole)}"
    client.ask("GET", f"{path}/download")
    assert call_id in client.headers["content-disposition"]
    for one in found:
        client.ask("DELETE", f"recordings/{one['id']}", status=204)
    assert client.ask("GET", f"recordings?call_id={call_id}")["items"] == []
    assert not list((observer.pbx.folder / "recordings").rglob(f"{call_id}-*"))


def test_a_kill_before_the_conversion_loses_nothing(
    observer: Observer, client: Client, hello: str, tmp_path: Path
) -> None:
    """Tandem dies while the call goes on; the next one finds the three files, and each holds what it should."""
    pbx = observer.pbx
    client.ask("PUT", "sounds/hello", write_tone(tmp_path / "tone.wav", 3.0, hertz=600).read_bytes())
    spool = pbx.asterisk.spool / "monitor"

    def kill() -> None:
        wait_until(lambda: list(spool.glob("*-leg1.wav")), "a recording")
        pbx.kill(signal.SIGKILL)

    thread = threading.Thread(target=kill)
    thread.start()
    with place_calls(
        pbx.asterisk, [Caller("03010004", "0305559999")], steps=(Wait(3.5), Speak(2.0), HangUp()), host=CARRIER_HOST
    ) as run:
        run.wait()
    thread.join()
    observer.wait_until_idle()
    files = sorted(spool.glob("*.wav"))
    assert [path.stem.rpartition("-")[2] for path in files] == ["leg1", "leg2", "mixed"]
    call_id = files[0].name.split("-2026")[0]
    heard = {path.stem.rpartition("-")[2]: read_loudness(path) for path in files}
    # First the prompt is heard, then the caller speaks.
    assert heard["leg2"][0] > 1000 > heard["leg2"][1]
    assert heard["leg1"][1] > 1000 > heard["leg1"][0]
    assert min(heard["mixed"]) > 1000
    with wave.open(str(next(path for path in files if path.stem.endswith("leg2")))) as audio:
        audio.setpos(8000)
        assert measure_pitch(audio.readframes(8000), 8000) == pytest.approx(600, abs=20)
    pbx.serve()
    found = wait_for_recordings(client, call_id)
    assert len(found) == 3
    assert list(spool.glob("*.wav")) == []
    assert client.ask("GET", f"recordings/{found[0]['id']}/audio", status=206, Range="bytes=0-1")


def read_loudness(path: Path) -> tuple[int, int]:
    """The loudest sample from 0.5 s to 2.5 s, and in the last 1.5 s."""
    with wave.open(io.BytesIO(path.read_bytes())) as audio:
        samples = memoryview(audio.readframes(audio.getnframes())).cast("h")
    return max(map(abs, samples[4000:20000])), max(map(abs, samples[-12000:]))


def wait_for_recordings(client: Client, call_id: str) -> list[dict[str, Any]]:
    def look() -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = client.ask("GET", f"recordings?call_id={call_id}")["items"]
        return items if len(items) == 3 and all(one["converted_at"] for one in items) else []

    return wait_until(look, f"three converted recordings of {call_id}", timeout_s=40)
