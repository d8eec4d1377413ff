"""Sounds and recordings over HTTP: uploaded in each way, refused by name and rule, heard in parts, deleted."""

import io
import os
import time
import uuid
import wave
from datetime import UTC, datetime
from http.client import HTTPConnection

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.errors import Refused
from api.files import read_range
from tandem.domain.recordings import RecordingName
from tests.audio import write_audio, write_tone

SOUNDS = "/api/v1/sounds"


def name_one():
    return f"s{uuid.uuid4().hex[:12]}"


def encode_form(fields, content, boundary="x-boundary-x"):
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n' for key, value in fields
    ]
    parts.append(
        f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="../../etc/passwd"\r\n'
        "Content-Type: text/html\r\n\r\n"
    )
    return "".join(parts).encode() + content + f"\r\n--{boundary}--\r\n".encode()


FORM = {"Content-Type": "multipart/form-data; boundary=x-boundary-x"}


@pytest.fixture
def tone(tmp_path):
    return write_tone(tmp_path / "tone.wav", 0.5).read_bytes()


@pytest.mark.parametrize("suffix", ["wav", "mp3", "ogg", "flac", "opus"])
def test_a_form_brings_a_sound(client, server, tmp_path, suffix):
    name, content = name_one(), write_audio(tmp_path / f"a.{suffix}", 0.5).read_bytes()
    sound = client.ask("POST", SOUNDS, None, 201, raw=encode_form([("name", name)], content), headers=FORM)
    assert (sound["name"], sound["language"], sound["source"]) == (name, "", suffix)
    assert sound["duration_s"] == pytest.approx(0.5, abs=0.12)
    assert client.headers["location"] == f"{SOUNDS}/{name}"
    assert client.ask("GET", f"{SOUNDS}/{name}") == sound
    assert sound in client.ask("GET", f"{SOUNDS}?q={name}")["items"]
    files = [path for path in (server.folder / "sounds").iterdir() if path.name.startswith(name)]
    assert sum(path.stat().st_size for path in files) == sound["bytes"]
    client.ask("DELETE", f"{SOUNDS}/{name}", status=204)
    assert not any(path.exists() for path in files)
    client.ask("GET", f"{SOUNDS}/{name}", status=404)


def test_bytes_bring_one_too_once_for_each_key(client, tone, tmp_path):
    name = name_one()
    path = f"{SOUNDS}?name={name}&language=de"
    headers = {"Content-Type": "audio/x-wav", "Idempotency-Key": name}
    first = client.ask("POST", path, None, 201, raw=tone, headers=headers)
    again = client.ask("POST", path, None, 201, raw=tone, headers=headers)
    assert client.headers["idempotency-replayed"] == "true"
    assert again == first
    assert first["language"] == "de"
    other = write_tone(tmp_path / "b.wav", 0.7).read_bytes()
    client.ask("POST", path, None, 409, raw=other, headers=headers)
    client.ask("POST", path, None, 409, raw=other, headers={"Content-Type": "application/octet-stream"})
    entries = [one for one in client.ask("GET", "/api/v1/audit")["items"] if one["target"] == f"sounds/{name} (de)"]
    assert [(one["action"]) for one in entries] == ["sounds/create"]


def test_the_same_form_in_other_words_is_the_same_request(client, tone):
    name = name_one()
    key = {"Idempotency-Key": name}
    first = client.ask("POST", SOUNDS, None, 201, raw=encode_form([("name", name)], tone), headers={**FORM, **key})
    form = {"Content-Type": 'multipart/form-data; boundary="another"'}
    raw = encode_form([("name", name)], tone, "another")
    assert client.ask("POST", SOUNDS, None, 201, raw=raw, headers={**form, **key}) == first


def test_it_is_replaced_by_whoever_has_read_it(client, tone, tmp_path):
    name, kind = name_one(), {"Content-Type": "audio/wav"}
    first = client.ask("POST", f"{SOUNDS}?name={name}", None, 201, raw=tone, headers=kind)
    tag = client.headers["etag"]
    longer = write_tone(tmp_path / "b.wav", 1.0).read_bytes()
    client.ask("PUT", f"{SOUNDS}/{name}", None, 412, raw=longer, headers={**kind, "If-Match": '"other"'})
    second = client.ask("PUT", f"{SOUNDS}/{name}", None, 200, raw=longer, headers={**kind, "If-Match": tag})
    assert (first["duration_s"], second["duration_s"]) == (0.5, 1.0)
    client.ask("DELETE", f"{SOUNDS}/{name}", status=412, headers={"If-Match": tag})
    client.ask("PUT", f"{SOUNDS}/{name}?language=fr", None, 404, raw=longer, headers=kind)
    client.ask("PUT", f"{SOUNDS}/{name}", {"text": "hi", "name": "other"}, 422)
    assert client.ask("GET", f"{SOUNDS}/{name}") == second


def test_a_text_is_spoken(client):
    name = name_one()
    sound = client.ask("POST", SOUNDS, {"text": "Guten Morgen", "language": "de", "name": name}, 201)
    assert (sound["source"], sound["voice"], sound["text"]) == ("speech", "de", "Guten Morgen")
    assert sound["duration_s"] > 0.4
    error = client.ask("POST", SOUNDS, {"text": "x", "name": name_one(), "voice": "nobody"}, 503)["error"]
    assert "the speech engine failed for voice 'nobody'" in error["message"]


@pytest.mark.parametrize(
    ("fields", "content", "field"),
    [
        ([("name", "../../etc/cron.d/x")], None, "name"),
        ([("name", "a/b")], None, "name"),
        ([], None, "name"),
        ([("name", "ok"), ("language", "../..")], None, "language"),
        ([("name", "ok"), ("path", "/etc")], None, "path"),
        ([("name", "ok"), ("name", "no")], None, "name"),
        ([("name", "ok")], b"", "file"),
        ([("name", "ok")], b"<html>no sound</html>" * 100, "file"),
        ([("name", "ok")], b"RIFF\x24\x00\x00\x00WAVE" + bytes(3000), "file"),
    ],
)
def test_what_is_wrong_is_named(client, tone, fields, content, field):
    raw = encode_form(fields, tone if content is None else content)
    error = client.ask("POST", SOUNDS, None, 422, raw=raw, headers=FORM)["error"]
    assert error["problems"][0]["field"] == field
    assert error["problems"][0]["rule"]
    assert "/" not in error["message"].replace("wav, mp3", "") or "etc" not in error["message"]


def test_forms_that_are_none(client, tone):
    for raw, headers in (
        (b"nonsense", FORM),
        (b"nonsense", {"Content-Type": "multipart/form-data"}),
        (b"--x-boundary-x\r\n\r\n", FORM),
        (encode_form([(f"f{n}", "x") for n in range(30)], tone), FORM),
        (encode_form([("name", "x" * 100_000)], tone), FORM),
    ):
        client.ask("POST", SOUNDS, None, (400, 422), raw=raw, headers=headers)
    client.ask("POST", SOUNDS, None, 415, raw=tone, headers={"Content-Type": "text/html"})


def test_nobody_without_permission_gets_a_byte_in(client, server, tone):
    """Refused by its headers: the body is not waited for."""
    poor = client.with_token("sounds/read")
    connection = HTTPConnection("127.0.0.1", server.port, timeout=10)
    headers = {"Authorization": f"Bearer {poor.token}", "Content-Type": "audio/wav", "Content-Length": str(50 << 20)}
    connection.putrequest("POST", SOUNDS)
    for header in headers.items():
        connection.putheader(*header)
    connection.endheaders()
    assert connection.getresponse().status == 403
    connection.close()
    client.ask(
        "POST", SOUNDS, None, 413, raw=b"", headers={"Content-Type": "audio/wav", "Content-Length": str(65 << 20)}
    )


def test_it_is_kept_while_a_menu_plays_it(client, tone):
    name = name_one()
    client.ask("POST", f"{SOUNDS}?name={name}", None, 201, raw=tone, headers={"Content-Type": "audio/wav"})
    announcement = {"name": f"a{name}", "prompts": [f"tandem/{name}"]}
    client.ask("POST", "/api/v1/announcements", announcement, 201)
    error = client.ask("DELETE", f"{SOUNDS}/{name}", status=409)["error"]
    assert error["problems"] == [
        {"object": f"announcements/a{name}", "field": "prompts", "rule": f"leads to sounds/{name}"}
    ]
    client.ask("DELETE", f"/api/v1/announcements/a{name}", status=204)
    client.ask("DELETE", f"{SOUNDS}/{name}", status=204)


def test_it_is_kept_while_a_survey_plays_it(client, tone):
    name = name_one()
    client.ask("POST", f"{SOUNDS}?name={name}", None, 201, raw=tone, headers={"Content-Type": "audio/wav"})
    survey = {"name": name, "questions": [{"id": "a", "sound": f"tandem/{name}"}]}
    made = client.ask("POST", "/api/v1/surveys", survey, 201)
    where = f"surveys/{made['survey_id']}"
    error = client.ask("DELETE", f"{SOUNDS}/{name}", status=409)["error"]
    assert error["problems"] == [{"object": where, "field": "questions[0].sound", "rule": f"leads to sounds/{name}"}]
    client.ask("DELETE", f"/api/v1/{where}", status=204)
    client.ask("DELETE", f"{SOUNDS}/{name}", status=204)


def test_a_sound_becomes_a_greeting_that_outlives_it(client, tone, server):
    name, greeting = name_one(), "/api/v1/voicemail/1000/greetings/temp"
    client.ask("POST", f"{SOUNDS}?name={name}&language=de", None, 201, raw=tone, headers={"Content-Type": "audio/wav"})
    # That name has a sound in German alone.
    problems = client.ask("PUT", greeting, {"sound": name}, 422)["error"]["problems"]
    assert problems == [{"field": "sound", "rule": f"must be one that is there: there is no sound {name}"}]
    assert (
        client.ask("PUT", greeting, {"sound": name, "nonsense": 1}, 422)["error"]["problems"][0]["field"] == "nonsense"
    )
    client.ask("GET", greeting, status=404)
    given = client.ask("PUT", greeting, {"sound": name, "language": "de"})
    assert given["duration_s"] == pytest.approx(0.5, abs=0.02)
    client.ask("DELETE", f"{SOUNDS}/{name}?language=de", status=204)
    assert client.ask("GET", greeting) == given
    with wave.open(io.BytesIO(client.ask("GET", f"{greeting}/audio"))) as audio:
        assert (audio.getframerate(), audio.getnchannels()) == (8000, 1)
    client.ask("DELETE", greeting, status=204)
    client.ask("GET", greeting, status=404)
    assert not list((server.folder / "voicemail").rglob("*.wav"))


# ------------------------------------------------------------------------------------------------------ in parts


@given(st.integers(0, 10**6), st.text("bytes=-0123456789, ", max_size=30))
def test_whatever_a_range_says_it_is_within_the_file(size, header):
    try:
        part = read_range(header, size)
    except Refused:
        return
    assert part is None or (part[0] >= 0 and part[1] > 0 and sum(part) <= size)


@pytest.mark.parametrize(
    ("header", "part"),
    [
        ("bytes=0-", (0, 100)),
        ("bytes=0-0", (0, 1)),
        ("bytes=10-19", (10, 10)),
        ("bytes=90-1000", (90, 10)),
        ("bytes=-10", (90, 10)),
        ("bytes=-1000", (0, 100)),
        ("bytes=5-4", None),
        ("bytes=-", None),
        ("bytes=0-1,5-6", None),
        ("lines=0-1", None),
        ("nonsense", None),
        (None, None),
        ("bytes=100-", 416),
        ("bytes=-0", 416),
    ],
)
def test_ranges(header, part):
    if part == 416:
        with pytest.raises(Refused) as refused:
            read_range(header, 100)
        assert ("content-range", "bytes */100") in refused.value.headers
    else:
        assert read_range(header, 100) == part


class TestPlaying:
    @pytest.fixture
    def sound(self, client, tone):
        name = name_one()
        client.ask("POST", f"{SOUNDS}?name={name}", None, 201, raw=tone, headers={"Content-Type": "audio/wav"})
        return f"{SOUNDS}/{name}/audio"

    def test_the_whole(self, client, sound):
        whole = client.ask("GET", sound)
        assert client.headers["content-type"] == "audio/wav"
        assert (client.headers["accept-ranges"], client.headers["content-disposition"]) == ("bytes", "inline")
        with wave.open(io.BytesIO(whole)) as audio:
            assert (audio.getframerate(), audio.getnframes()) == (16000, 8000)
        tag = client.headers["etag"]
        client.ask("GET", sound, status=304, headers={"If-None-Match": tag})
        client.ask("HEAD", sound)
        assert (client.headers["content-length"], client.headers["etag"], client.body) == (str(len(whole)), tag, b"")

    def test_a_part(self, client, sound):
        whole = client.ask("GET", sound)
        tag, size = client.headers["etag"], len(whole)
        assert client.ask("GET", sound, status=206, headers={"Range": "bytes=100-199"}) == whole[100:200]
        assert client.headers["content-range"] == f"bytes 100-199/{size}"
        assert client.ask("GET", sound, status=206, headers={"Range": "bytes=-7", "If-Range": tag}) == whole[-7:]
        # What it knows is another file: it gets this one whole.
        for stale in ('"other"', f"W/{tag}", "Thu, 26 Nov 2026 12:00:00 GMT"):
            assert client.ask("GET", sound, headers={"Range": "bytes=-7", "If-Range": stale}) == whole
        error = client.ask("GET", sound, status=416, headers={"Range": f"bytes={size}-"})["error"]
        assert client.headers["content-range"] == f"bytes */{size}"
        assert str(size) in error["message"]
        client.ask("HEAD", sound, status=206, headers={"Range": "bytes=0-9"})
        assert client.headers["content-length"] == "10"

    def test_a_client_that_goes_in_the_middle_is_no_error(self, client, server, tmp_path):
        name, long = name_one(), write_tone(tmp_path / "long.wav", 300).read_bytes()
        client.ask("POST", f"{SOUNDS}?name={name}", None, 201, raw=long, headers={"Content-Type": "audio/wav"})
        for _ in range(3):
            connection = HTTPConnection("127.0.0.1", server.port, timeout=10)
            connection.request("GET", f"{SOUNDS}/{name}/audio", headers={"Authorization": f"Bearer {server.token}"})
            assert len(connection.getresponse().read(1000)) == 1000
            connection.sock.close()
            connection.close()
        assert len(client.ask("GET", f"{SOUNDS}/{name}/audio")) == 300 * 32000 + 44
        assert "Traceback" not in (server.folder / "log").read_text()


# ---------------------------------------------------------------------------------------------------- recordings


def test_a_recording_is_found_played_saved_and_deleted(client, server):
    # Of a call that is in no record, and old enough to be taken all the same.
    call_id = uuid.uuid4().hex
    spool = server.folder / "spool"
    spool.mkdir(exist_ok=True)
    at = datetime(2026, 11, 20, 12, tzinfo=UTC)
    for kind in ("mixed", "leg1"):
        path = write_tone(server.folder / "part.wav", 1.0)
        long_ago = time.time() - 25 * 3600
        os.utime(path, (long_ago, long_ago))
        path.rename(spool / f"{RecordingName(call_id, at, kind).stem}.wav")
    deadline = time.monotonic() + 30
    while True:
        page = client.ask("GET", f"/api/v1/recordings?call_id={call_id}")
        if page["total"] == 2 and all(one["converted_at"] for one in page["items"]):
            break
        assert time.monotonic() < deadline, page
        time.sleep(0.2)
    one = next(one for one in page["items"] if one["kind"] == "mixed")
    path = f"/api/v1/recordings/{one['id']}"
    assert client.ask("GET", path) == one
    assert (one["format"], one["duration_s"]) == ("mp3", 1.0)
    whole = client.ask("GET", f"{path}/audio")
    assert (client.headers["content-type"], client.headers["content-disposition"]) == ("audio/mpeg", "inline")
    assert len(whole) == one["bytes"]
    assert client.ask("GET", f"{path}/audio", status=206, headers={"Range": "bytes=10-19"}) == whole[10:20]
    assert client.ask("GET", f"{path}/download") == whole
    stem = RecordingName(call_id, at, "mixed").stem
    assert client.headers["content-disposition"] == f"attachment; filename*=UTF-8''{stem}.mp3"
    # Whoever may see that there is one may not hear it.
    reader = client.with_token("recordings/read")
    reader.ask("GET", path)
    reader.ask("GET", f"{path}/audio", status=403)
    reader.ask("DELETE", path, status=403)
    client.ask("DELETE", path, status=204)
    client.ask("DELETE", path, status=404)
    client.ask("GET", f"{path}/audio", status=404)
    for odd in ("x", "-1", "9" * 30, "%C2%B2"):
        client.ask("GET", f"/api/v1/recordings/{odd}", status=404)
    assert [file.name for file in (server.folder / "recordings").rglob(f"{call_id}*mixed*")] == []
    targets = [entry["target"] for entry in client.ask("GET", "/api/v1/audit")["items"]]
    assert f"recordings/{one['id']} ({stem})" in targets
