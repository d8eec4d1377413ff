"""The While1 Voice API on a live server without Asterisk: its envelope, who speaks it, hashes and signatures, what is read, and hostile values."""

import html
import json
import re
import sqlite3
import time
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote_plus
from zoneinfo import ZoneInfo

import pytest
from pydantic import SecretStr, TypeAdapter

from api.compat.php_names import build_query, nest_pairs, split_pairs
from api.compat.table import DOORS
from api.compat.while1.calls import RING_S, WAIT_S, read_request
from api.compat.while1.credentials import hash_parameters, is_signed, sign
from api.compat.while1.members import read_members, show_members
from api.compat.while1.speech import DEPRECATED, Denied, key_messages
from api.compat.while1.table import ROUTES
from tandem.domain.destinations import ExternalDestination
from tandem.domain.entities import Pbx
from tandem.domain.originate import plan_call
from tandem.domain.snapshot import build_snapshot
from tandem.settings import While1Settings
from tests.api.conftest import Client, Server
from tests.beside import lacks

SEED = next(iter((Path(__file__).parents[3] / "shared" / "specs" / "seeds").glob("004_*.txt")), None)
VECTORS = Path(__file__).parents[3] / "shared" / "specs" / "while1_vectors.json"
KEY = "the key of the lab"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


class While1:
    """A client as the vendor's: Bearer, HTTP 200 always."""

    def __init__(self, client, key=None):
        self.client, self.key = client, key

    def hashed(self, params):
        return params if self.key is None else {**params, "api_hash": hash_parameters(params, self.key)}

    def ask(self, name, params=None, *, how="json", **more):
        params = self.hashed(params or {})
        path = f"/api/{name}"
        if how == "get":
            answer = self.client.ask("GET", f"{path}?{build_query(params)}", **more)
        elif how == "form":
            answer = self.client.ask("POST", path, raw=build_query(params).encode(), headers=FORM, **more)
        else:
            answer = self.client.ask("POST", path, params, **more)
        assert isinstance(answer["has_error"], bool)
        # What is wrong may stand under codes; nothing is wrong is always a list.
        if isinstance(answer["messages"], dict):
            self.codes = list(answer["messages"])
            answer["messages"] = list(answer["messages"].values())
        return answer

    def get(self, name, params=None, **more):
        answer = self.ask(name, params, **more)
        assert not answer["has_error"], answer
        return answer

    def deny(self, message, name, params=None, **more):
        answer = self.ask(name, params, **more)
        assert answer == {"has_error": True, "messages": [message], "pagination": [], "results": []}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("while1"))
    server.start()
    yield server
    server.stop()
    assert "Traceback" not in (server.folder / "log").read_text()


@pytest.fixture(scope="module")
def native(server):
    return Client(server.port, server.token)


def make_token(native, *permissions, dialect="while1"):
    body = {"name": "w", "permissions": list(permissions or ("*",)), "dialect": dialect}
    return native.with_secret(native.ask("POST", "/api/v1/tokens", body, 201)["secret"])


@pytest.fixture(scope="module")
def voice(native):
    return While1(make_token(native))


# --------------------------------------------------------------------------------------------------- who speaks it


def test_a_token_names_its_dialect(server, native, voice):
    assert voice.get("cdr", how="get")["pagination"]["page_size"] == 100
    assert native.ask("GET", "/api/cdr")["success"] is True
    # Never under /api/v1.
    assert voice.client.ask("GET", "/api/v1/cdrs")["items"] == []
    # Each has only its own paths.
    assert voice.ask("campaigns", how="get")["messages"] == ["Invalid endpoint"]
    assert native.ask("GET", "/api/queues", status=404)["message"] == "Endpoint not found"
    assert voice.client.ask("DELETE", "/api/queues")["has_error"] is True


def test_without_a_token_api_username_means_while1(server):
    nobody = Client(server.port, None)
    assert nobody.ask("GET", "/api/cdr", status=401)["message"] == "Authentication required"
    assert nobody.ask("GET", "/api/cdr?api_username=x&api_password=y")["messages"] == [
        "Username or password does not match"
    ]
    for method, path in (("GET", "/api/queues"), ("POST", "/api/cdr"), ("POST", "/api/originate-call")):
        answer = nobody.ask(method, path)
        assert answer == {"has_error": True, "messages": ["Token does not match"], "pagination": [], "results": []}


@pytest.mark.parametrize("wrong", ["x", "tandem_1_" + "0" * 64, ""])
def test_a_wrong_token(server, wrong):
    While1(Client(server.port, wrong)).deny("Token does not match", "users-status", {"type": "sip"})


def test_names_and_passwords_work_with_a_warning(server, native):
    native.ask("POST", "/api/v1/users", {"name": "olga", "password": "long enough it is", "role": "user"}, 201)
    nobody = While1(Client(server.port, None, source="127.0.77.1"))
    login = {"api_username": "olga", "api_password": "long enough it is"}
    for how in ("get", "form", "json"):
        answer = nobody.get("inbound-routes", login, how=how)
        assert answer["warnings"] == [DEPRECATED]
    nobody.deny("Username or password does not match", "inbound-routes", {**login, "api_password": "wrong"})
    for odd in (["x"], 1, None, "", "x" * 300, "a\nb"):
        nobody.deny(
            "Username or password does not match", "inbound-routes", {"api_username": "olga", "api_password": odd}
        )
    # Their role decides.
    nobody.deny("You do not have permission for this: queues/update", "queues", {**login, "action": "save"})
    for _ in range(12):
        answer = nobody.ask("inbound-routes", {**login, "api_password": "wrong"})
    assert "too many" in answer["messages"][0]


@pytest.mark.parametrize(
    ("name", "params", "permission"),
    [
        ("originate-call", {}, "calls/create"), ("channel", {}, "monitoring/read"), ("channel", {"action": "hangup"}, "channels/delete"),
        ("channel", {"action": "originate"}, "calls/create"), ("channel", {"action": "redirect"}, "channels/update"),
        ("queues", {}, "queues/read"), ("queues", {"action": "info"}, "queues/read"), ("queues", {"action": "save"}, "queues/update"),
        ("queues", {"action": "pause"}, "agents/pause"), ("users-status", {}, "monitoring/read"), ("cdr", {}, "cdrs/read"),
        ("cdr", {"action": "save"}, "cdrs/update"), ("reports", {}, "cdrs/read"), ("inbound-routes", {}, "dids/read"), ("schedule", {}, "schedules/read"),
    ],
)  # fmt: skip
def test_each_action_takes_its_permission(native, name, params, permission):
    While1(make_token(native, "tokens/read")).deny(f"You do not have permission for this: {permission}", name, params)
    answer = While1(make_token(native, permission)).ask(name, params)
    assert not any("permission" in message for message in answer["messages"])


# ------------------------------------------------------------------------------------------------- the vendor's page


def read_printed():
    """The JSON that the page prints, each as it stands there."""
    if SEED is None:
        lacks("the vendor's page")
    text = html.unescape(SEED.read_text(encoding="utf-8"))
    return [json.loads(found) for found in re.findall(r"^\{\n\n.*?^\}$", text, re.MULTILINE | re.DOTALL)]


def test_answers_are_as_printed(server, voice, native):
    success, error, deprecated = read_printed()
    answer = voice.get("cdr", {"filters": {"external_id": "nobody's"}})
    assert list(answer) == list(success)
    assert list(answer["pagination"]) == list(success["pagination"])
    assert (answer["messages"], answer["pagination"]["page_size"]) == ([], success["pagination"]["page_size"])
    # One row is printed, and none in the results; a page of one is so.
    did = native.ask("GET", "/api/v1/dids")["items"][0]["number"]
    assert voice.get("inbound-routes", {"filters": {"search": did}})["pagination"] == success["pagination"]
    assert While1(Client(server.port, "wrong")).ask("cdr") == error
    native.ask("POST", "/api/v1/users", {"name": "vera", "password": "long enough it is", "role": "user"}, 201)
    nobody = While1(Client(server.port, None, source="127.0.77.2"))
    answer = nobody.get("users-status", {"type": "iax", "api_username": "vera", "api_password": "long enough it is"})
    assert answer == deprecated
    assert list(answer) == list(deprecated)


@pytest.mark.parametrize("kind", ["text/xml", "application/json", "application/x-www-form-urlencoded", "", "nonsense"])
def test_a_body_is_what_it_looks_like(voice, kind):
    """The page's own header block says text/xml for all of them."""
    headers = {"Content-Type": kind}
    for raw in (b'{"filters": {"xxx": 1}}', b' \n{"filters": {"xxx": 1}}', b"filters%5Bxxx%5D=1", b"filters[xxx]=1"):
        answer = voice.client.ask("POST", "/api/inbound-routes", raw=raw, headers=headers)
        assert answer["messages"] == ["Invalid filter: xxx"], (kind, raw)


def test_forms_with_parts_and_what_wins(voice):
    part = 'Content-Disposition: form-data; name="filters[xxx]"'
    raw = f"--b\r\n{part}\r\n\r\n1\r\n--b--\r\n".encode()
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    answer = voice.client.ask("POST", "/api/inbound-routes", raw=raw, headers=headers)
    assert answer["messages"] == ["Invalid filter: xxx"]
    # As PHP's $_REQUEST: the body's, name by name.
    answer = voice.client.ask("POST", "/api/inbound-routes?filters[aaa]=1&page=0", raw=b"filters[bbb]=1", headers=FORM)
    assert answer["messages"] == ["Invalid filter: bbb"]
    answer = voice.client.ask("POST", "/api/inbound-routes?page=0", raw=b"filters[search]=x", headers=FORM)
    assert answer["messages"] == ["page: must be a whole number from 1"]


def test_nothing_is_ever_sent_elsewhere(voice):
    """Their client would follow, and a POST would become a GET."""
    for path in ("/api/cdr/", "/api//cdr", "/api/cdr/x", "/api/nothing"):
        answer = voice.client.ask("POST", path, {})
        assert answer["has_error"] is True
        assert "location" not in voice.client.headers
    assert voice.client.headers["content-type"].startswith("application/json")


def test_an_answer_comes_before_their_client_goes_away():
    assert RING_S < WAIT_S < 60


# -------------------------------------------------------------------------------------------------- hash, signature


def test_the_vectors():
    if not VECTORS.exists():
        lacks("while1_vectors.json")
    for vector in json.loads(VECTORS.read_text())["vectors"]:
        body = vector["body"]
        params = json.loads(body) if vector["transport"] == "json" else nest_pairs(split_pairs(body.encode()))
        assert hash_parameters(params, vector["api_key"]) == vector["api_hash"], vector["id"]


def test_signatures_are_young_and_of_the_message():
    signed = sign("k", b"POST./api/cdr.x", 1000)
    assert is_signed(signed, "k", b"POST./api/cdr.x", 1300)
    assert not is_signed(signed, "k", b"POST./api/cdr.x", 1301)
    assert not is_signed(signed, "k", b"POST./api/cdr.x", 699)
    assert not is_signed(signed, "K", b"POST./api/cdr.x", 1000)
    assert not is_signed(signed, "k", b"POST./api/cdr.y", 1000)
    assert not is_signed("t=1000,v1=" + "0" * 64, "k", b"POST./api/cdr.x", 1000)
    assert not is_signed("nonsense", "k", b"", 0)


@pytest.fixture(scope="module")
def keyed(tmp_path_factory):
    """With a key, POST only, and without names and passwords."""
    folder = tmp_path_factory.mktemp("keyed")
    (folder / "key").write_text(KEY)
    (folder / "key").chmod(0o600)
    apis = {"api_key_file": folder / "key", "post_only": "yes", "deprecated_credentials": "no", "message_codes": "yes"}
    server = Server(folder, **{f"apis.while1.{name}": value for name, value in apis.items()})
    server.start()
    yield server
    server.stop()
    log = (server.folder / "log").read_text()
    assert "Traceback" not in log
    assert KEY not in log


def test_with_a_key_the_hash_is_needed(keyed):
    token = make_token(Client(keyed.port, keyed.token))
    plain, hashed = While1(token), While1(token, KEY)
    params = {"filters": {"search": "é ~*"}, "page": 1, "empty": [], "none": None, "yes": True}
    for how in ("get", "form", "json"):
        hashed.get("inbound-routes", params, how=how)
        plain.deny("Hash does not match", "inbound-routes", params, how=how)
    for wrong in ("x", 1, None, ["a"], {"a": "b"}, "é", hash_parameters(params, KEY).upper()):
        plain.deny("Hash does not match", "inbound-routes", {**params, "api_hash": wrong})
    good = hashed.hashed(params)
    plain.deny("Hash does not match", "inbound-routes", {**good, "page": 2})


def test_messages_have_codes_where_the_settings_say_so(keyed):
    voice = While1(make_token(Client(keyed.port, keyed.token)), KEY)
    voice.deny("Invalid filter: xxx", "inbound-routes", {"filters": {"xxx": 1}})
    assert voice.codes == ["invalid"]
    voice.deny("project_id: is missing", "originate-call", {})
    assert voice.codes == ["project_id"]
    rows = [{"agent_name": "nobody"}, {"agent_name": "nobody"}]
    answer = voice.ask("queues", {"action": "pause", "data": rows})
    assert voice.codes == ["pause", "pause_2"]
    assert answer["has_error"] is True
    assert key_messages(["Token does not match", "a b", "a b"]) == {
        "token": "Token does not match",
        "error": "a b",
        "error_2": "a b",
    }
    # Without mistakes it is a list, as printed.
    assert voice.client.ask("POST", "/api/schedule", voice.hashed({}))["messages"] == []


def test_a_signature_takes_the_place_of_the_hash(keyed):
    token = make_token(Client(keyed.port, keyed.token))
    body = b'{"page": 1}'
    message = b"POST./api/inbound-routes." + body
    for signature, holds in (
        (sign(KEY, message, int(time.time())), True),
        (sign(KEY, message, int(time.time()) - 400), False),
        (sign("other", message, int(time.time())), False),
        (sign(KEY, message + b" ", int(time.time())), False),
    ):
        headers = {"X-Tandem-Signature": signature}
        answer = token.ask("POST", "/api/inbound-routes", raw=body, headers=headers)
        assert answer["has_error"] is not holds
        assert holds or answer["messages"] == {"signature": "Signature does not match"}


def test_what_changes_something_can_be_kept_to_post(keyed):
    voice = While1(make_token(Client(keyed.port, keyed.token)), KEY)
    for name, params in (
        ("originate-call", {"data": {"x": "1"}}), ("channel", {"action": "hangup"}), ("queues", {"action": "save"}), ("queues", {"action": "pause"}),
        ("cdr", {"action": "save"}), ("channel", {"action": {"a": "b"}}),
    ):  # fmt: skip
        voice.deny("This action must be sent by POST", name, params, how="get")
        assert voice.codes == ["method"]
        assert voice.ask(name, params, how="form")["messages"] != ["This action must be sent by POST"]
    voice.get("queues", {"action": "read"}, how="get")
    nobody = While1(Client(keyed.port, None), KEY)
    answer = nobody.ask("inbound-routes", {"api_username": "a", "api_password": "b"})
    assert answer["messages"][0].startswith("API Username and Password are not accepted")


# -------------------------------------------------------------------------------------------------------- resources


@pytest.mark.parametrize("how", ["get", "form", "json"])
def test_queues_are_read(voice, native, how):
    names = [queue["name"] for queue in native.ask("GET", "/api/v1/queues")["items"]]
    answer = voice.get("queues", {"action": "read", "data": {"get_info": 0}}, how=how)
    assert sorted(answer["results"]) == sorted(names)
    assert "pagination" not in answer
    one = voice.get("queues", {"filters": {"queues": ["sales"]}}, how=how)["results"]
    assert list(one) == ["sales"]
    assert set(one["sales"]["members"]["1002"]) == {"type", "name", "penalty", "order", "is_active"}


def test_what_the_vendor_calls_by_name(voice):
    voice.deny("No Queues found", "queues", {"filters": {"queues": ["nothing"]}})
    voice.deny("Invalid type: sipx", "users-status", {"type": "sipx"})
    voice.deny("Invalid report ID 999", "reports", {"data": {"type": "custom", "id": 999}})
    voice.deny("Invalid filter: date_between", "queues", {"action": "info", "filters": {"date_between": ["a", "b"]}})
    assert voice.get("queues", {"filters": {"project_id": 7}})["results"] == voice.get("queues")["results"]
    assert (
        voice.get("inbound-routes", {"filters": {"project_id": 7}})["results"] == voice.get("inbound-routes")["results"]
    )
    voice.deny("Invalid filter: xxx", "inbound-routes", {"filters": {"xxx": 1}})
    voice.deny("Invalid schedule type: xxx", "schedule", {"data": {"type": "xxx"}})
    voice.deny("Invalid action nothing", "queues", {"action": "nothing"})
    answer = voice.get("users-status", {"type": "iax"})
    assert answer["results"] == []
    pause = {"action": "pause", "data": [{"agent_name": "nobody", "reason": "x", "paused": 1}]}
    answer = voice.ask("queues", pause)
    assert answer["messages"] == ["Queue pause error for row 1: No interfaces could be matched"]


def test_dids_and_hours(voice, native):
    dids = native.ask("GET", "/api/v1/dids")["items"]
    answer = voice.get("inbound-routes")
    assert answer["pagination"] == {"row_count": len(dids), "page_size": 100, "current_page": 1, "max_page": 1}
    assert {row["dnid"] for row in answer["results"]} == {did["number"] for did in dids}
    wanted = dids[0]["number"]
    assert [row["dnid"] for row in voice.get("inbound-routes", {"filters": {"search": wanted}})["results"]] == [wanted]
    assert voice.get("inbound-routes", {"page": 2})["results"] == []
    hours = voice.get("schedule", {"data": {"type": "weekdays"}})["results"]
    assert {"schedule", "weekday", "start", "end"} == set(hours[0])
    assert all(
        {"schedule", "date", "is_closed"} == set(row)
        for row in voice.get("schedule", {"data": {"type": "custom"}})["results"]
    )


def add_calls(server):
    """150 calls of three days; those that are there stay."""
    database = sqlite3.connect(server.folder / "db" / "tandem.db", timeout=20)
    with database:
        for number in range(150):
            row = {
                "call_id": f"c{number:03}", "direction": "inbound" if number % 2 else "outbound", "is_placed": 1, "caller": f"0305550{number:03}",
                "called": "1002", "trunk": "", "endpoint": "1002", "queue": "", "route": "", "account": "",
                "started_at": f"2024-03-0{1 + number % 3}T10:00:{number % 60:02}.000000+00:00", "answered_at": None,
                "ended_at": None, "ring_s": 1, "hold_s": 0, "talk_s": 0, "duration_s": 1, "disposition": ("answered", "busy", "cancelled")[number % 3],
                "cause": 16, "project": str(number % 2), "external_id": f"e{number}",
            }  # fmt: skip
            marks = ",".join("?" * len(row))
            database.execute(f"INSERT OR IGNORE INTO cdrs ({','.join(row)}) VALUES ({marks})", tuple(row.values()))
    database.close()


def test_calls_are_found_by_every_filter(voice, server, native):
    add_calls(server)

    def count(**filters):
        return voice.get("cdr", {"filters": filters}, how="form")["pagination"]["row_count"]

    first = voice.get("cdr", {"page": 1})
    assert first["pagination"] == {"row_count": 150, "page_size": 100, "current_page": 1, "max_page": 2}
    second = voice.get("cdr", {"page": 2})
    assert (len(first["results"]), len(second["results"])) == (100, 50)
    assert len({row["id"] for row in first["results"] + second["results"]}) == 150
    assert (count(project_id=1), count(external_id="e7"), count(external_id="e7", project_id=0)) == (75, 1, 0)
    assert (count(direction="IN"), count(direction="OUT"), count(user_id="1002"), count(user_id="1003")) == (
        75,
        75,
        150,
        0,
    )
    assert (count(call_status="ANSWERED"), count(call_status=["BUSY", "NO ANSWER"]), count(call_status="FAILED")) == (
        50,
        100,
        0,
    )
    assert (
        count(telephone="0305550007"),
        count(telephone="030555"),
        count(telephone_like="50007"),
        count(telephone_like="%"),
    ) == (1, 0, 1, 0)
    assert (count(source="0305550007"), count(destination="1002"), count(uniqueid="c004"), count(linkedid="c004")) == (
        1,
        150,
        1,
        1,
    )
    # What is kept of a call, the DID that it came in by, and the time of day.
    database = sqlite3.connect(server.folder / "db" / "tandem.db", timeout=20)
    with database:
        for name, kind in (("c100", "mixed"), ("leg101", "leg1"), ("c102", "answer")):
            row = (f"{name}-{kind}", name, kind, "x", "2024-03-01T10:00:00.000000+00:00", 1.0, 1, "wav")
            database.execute(
                "INSERT INTO recordings (name, call_id, kind, path, started_at, duration_s, bytes, format) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                row,
            )
        leg = {
            "uniqueid": "leg101", "call_id": "c101", "channel": "", "caller": "", "exten": "", "account": "", "application": "",
            "cause": 0, "is_far_hangup": 0, "is_lost": 1,
        }  # fmt: skip
        database.execute(f"INSERT INTO legs ({','.join(leg)}) VALUES ({','.join('?' * len(leg))})", tuple(leg.values()))
        for name, route in (
            ("c001", "DID 030, queue sales"),
            ("c003", "DID 030"),
            ("c005", "DID 0301, queue sales"),
            ("c006", "DID 030, x"),
        ):
            database.execute("UPDATE cdrs SET route = ? WHERE call_id = ?", (route, name))
    database.close()
    assert (count(has_monitor_file=1), count(has_monitor_file=0), count(has_recording_file=1)) == (2, 148, 1)
    assert (count(has_recording_file=0), count(has_monitor_file=1, uniqueid="c101")) == (149, 1)
    voice.get("cdr", {"action": "save", "data": [{"id": "c120", "transcriptions": [SAID]}]})
    written = count(has_transcription=1)
    assert (count(has_transcription=1, uniqueid="c120"), count(has_transcription=0)) == (1, 150 - written)
    assert (count(inbound_route_id="030"), count(inbound_route_id=["030", "0301"]), count(inbound_route_id="03")) == (
        2,
        3,
        0,
    )
    assert count(inbound_route_id="1002") == 75  # by the number that was dialled
    zone = ZoneInfo(native.ask("GET", "/api/v1/general")["time_zone"])
    hour = datetime(2024, 3, 1, 10, tzinfo=UTC).astimezone(zone).hour
    assert (
        count(hour_between=[hour, hour]),
        count(hour_between=[hour - 2, hour - 1]),
        count(hour_between=[hour + 1, hour - 1]),
    ) == (150, 0, 0)
    assert (count(hour_between=[f"{hour:02}:00:10", f"{hour:02}:00:19"]), count(hour_between=["0", "23"])) == (30, 150)
    assert count(hour_between=[f"{hour:02}:00", f"{hour:02}:00"]) == 3
    assert count(hour_between=[hour, hour], date_between=["2024-03-01 00:00:00", "2024-03-01 23:59:59"]) == 50
    assert count(hour_between=[hour, hour], date_between=["2020-03-01 00:00:00", "2020-03-01 23:59:59"]) == 0
    assert [one["call_id"] for one in native.ask("GET", "/api/v1/cdrs?did=0301")["items"]] == ["c005"]
    assert native.ask("GET", "/api/v1/cdrs?is_recorded=true")["total"] == 2
    assert native.ask("GET", "/api/v1/cdrs?has_transcription=true")["total"] == written
    for name, wrong in (
        ("hour_between", "9"), ("hour_between", ["9"]), ("hour_between", ["9", "24"]), ("hour_between", ["9", "9:60"]), ("hour_between", ["9", "10", "11"]),
        ("hour_between", ["9", {"a": "b"}]), ("has_monitor_file", "yes"), ("has_transcription", ["1"]), ("inbound_route_id", [{"a": "b"}]),
        ("inbound_route_id", ["1"] * 101),
    ):  # fmt: skip
        answer = voice.ask("cdr", {"filters": {name: wrong}})
        assert answer["has_error"], (name, wrong)
        assert answer["messages"][0].startswith(f"{name}: ")
    zone_safe = ["2024-03-01 00:00:00", "2024-03-01 23:59:59"]
    assert count(date_between=zone_safe) == 50
    after = voice.get("cdr", {"filters": {"from_id": first["results"][0]["id"]}})["results"]
    assert after == []
    oldest = voice.get("cdr", {"filters": {"from_id": "c000"}})["results"]
    assert "c000" not in [row["id"] for row in oldest]
    (row,) = voice.get("cdr", {"filters": {"external_id": "e3"}})["results"]
    assert (row["project_id"], row["direction"], row["call_status"]) == ("1", "IN", "ANSWERED")
    assert re.fullmatch(r"2024-03-01 [0-9]{2}:00:03", row["start"])
    report = voice.get("reports", {"data": {"type": "standard", "id": "cdr_api"}, "page": 1})
    assert report["pagination"]["row_count"] == 150
    # The native filter too.
    assert [one["call_id"] for one in native.ask("GET", "/api/v1/cdrs?external_id=e3")["items"]] == ["c003"]
    assert native.ask("GET", "/api/v1/cdrs?external_id=e3&project=0")["items"] == []
    for name, value in (
        ("direction", "UP"),
        ("call_status", "x"),
        ("date_between", "x"),
        ("date_between", ["x", "y"]),
        ("source", ["a"]),
    ):
        assert voice.ask("cdr", {"filters": {name: value}})["has_error"]


def test_calls_are_counted_in_reports(voice, server, native):
    add_calls(server)

    def count(name, **filters):
        return voice.get("reports", {"data": {"type": "standard", "id": name}, "filters": filters}, how="form")

    by_user = count("users")
    assert by_user["pagination"] == {"row_count": 1, "page_size": 100, "current_page": 1, "max_page": 1}
    assert by_user["results"] == [
        {
            "user_id": "1002",
            "calls": 150,
            "answered": 50,
            "talked": 0,
            "duration": 150,
            "billsec": 0,
            "ring": 150,
            "hold": 0,
        }
    ]
    assert count("users", project_id="0")["results"][0]["calls"] == 75
    assert count("users", date_between=["2024-03-01 00:00:00", "2024-03-01 23:59:59"])["results"][0]["calls"] == 50
    assert count("inbound_routes")["results"][0]["calls"] == 75
    words = {row["disposition"]: row["calls"] for row in count("call_status")["results"]}
    assert words == {"answered": 50, "busy": 50, "cancelled": 50}
    # Calls without one are in no row.
    for name in ("queues", "trunks"):
        assert count(name)["pagination"] == {"row_count": 0, "page_size": 100, "current_page": 0, "max_page": 0}
    found = native.ask("GET", "/api/v1/cdrs/count?by=disposition&limit=1&offset=1")
    assert (found["total"], [row["key"] for row in found["items"]]) == (3, ["busy"])
    native.ask("GET", "/api/v1/cdrs/count?by=call_id", status=422)
    for wrong in (
        {"type": "custom", "id": "queues"},
        {"type": "standard", "id": 7},
        {"type": "standard", "id": "queue"},
    ):
        voice.deny(f"Invalid report ID {wrong['id']}", "reports", {"data": wrong})
    voice.deny("Invalid report type own", "reports", {"data": {"type": "own", "id": "queues"}})
    voice.deny(
        "Invalid filter: user_id", "reports", {"data": {"type": "standard", "id": "queues"}, "filters": {"user_id": 1}}
    )


SAID = {
    "type": "monitor", "filename": "a.wav", "provider": "example", "remote_id": "77", "text": "Good morning.\nGood bye.", "metadata": {"words": {"n": "2"}},
}  # fmt: skip


def read_row(voice, name):
    (row,) = voice.get("cdr", {"filters": {"uniqueid": name}})["results"]
    return row


@pytest.mark.parametrize(("how", "call_id"), [("form", "c010"), ("json", "c011")])
def test_what_is_saved_of_a_call_is_shown_again(voice, server, native, how, call_id):
    add_calls(server)
    assert (read_row(voice, call_id)["comments"], read_row(voice, call_id)["transcriptions"]) == (None, [])
    row = {"id": call_id, "comments": "one\ntwo", "accounting_code": 4711, "transcriptions": [SAID]}
    answer = voice.get("cdr", {"action": "save", "data": [row]}, how=how)
    assert answer["results"] == [{"id": call_id, "result": 1}]
    shown = read_row(voice, call_id)
    assert {name: shown[name] for name in row} == {**row, "accounting_code": "4711"}
    # What is not named stays.
    voice.get("cdr", {"action": "save", "data": [{"id": call_id, "comments": ""}]}, how=how)
    shown = read_row(voice, call_id)
    assert (shown["comments"], shown["accounting_code"], shown["transcriptions"]) == (None, "4711", [SAID])
    # Natively the same, and in the audit log.
    path = f"/api/v1/cdrs/{call_id}/notes"
    said = {"kind" if name == "type" else name: value for name, value in SAID.items()}
    notes = native.ask("GET", path)
    assert notes == {"comments": "", "accounting_code": "4711", "transcriptions": [said]}
    assert native.ask("PATCH", path, {"comments": "three"}) == {**notes, "comments": "three"}
    entries = native.ask("GET", "/api/v1/audit?limit=2")["items"]
    assert {(one["action"], one["target"]) for one in entries} == {("cdrs/update", f"cdrs/{call_id}")}
    native.ask("PATCH", path, {"accounting_code": "x" * 81}, 422)
    native.ask("PATCH", path, {"transcriptions": [{**said, "filename": f"{number}"} for number in range(10)]}, 422)
    native.ask("PATCH", "/api/v1/cdrs/none/notes", {}, 404)
    native.ask("GET", "/api/v1/cdrs/none/notes", status=404)
    assert native.ask("GET", path) == {**notes, "comments": "three"}


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"id": None}, "row 2: id: is missing"), ({"id": "none"}, "row 2: id: there is no call none that is over"),
        ({"comments": 5}, "row 2: comments: "), ({"comments": "a\0"}, "row 2: comments: "), ({"comments": "x" * 4001}, "row 2: comments: "),
        ({"comments": ["x"]}, "row 2: comments: "), ({"accounting_code": "a\nb"}, "row 2: accounting_code: "), ({"accounting_code": {"a": 1}}, "row 2: accounting_code: "),
        ({"other": "x"}, "row 2: other: "), ({"transcriptions": "x"}, "row 2: transcriptions: "), ({"transcriptions": [1]}, "row 2: transcriptions: "),
        ({"transcriptions": [SAID] * 11}, "row 2: transcriptions: "), ({"transcriptions": [{**SAID, "type": "video"}]}, "row 2: transcriptions[0].type: "),
        ({"transcriptions": [{**SAID, "type": None}]}, "row 2: transcriptions[0].type: "), ({"transcriptions": [{**SAID, "kind": "monitor"}]}, "row 2: transcriptions: kind: "),
        ({"transcriptions": [{**SAID, "text": ""}]}, "row 2: transcriptions[0].text: "), ({"transcriptions": [{**SAID, "text": "x" * 100_001}]}, "row 2: transcriptions[0].text: "),
        ({"transcriptions": [{**SAID, "text": "\x1b[2J"}]}, "row 2: transcriptions[0].text: "), ({"transcriptions": [{**SAID, "filename": "x" * 201}]}, "row 2: filename: "),
        ({"transcriptions": [{**SAID, "metadata": "x"}]}, "row 2: transcriptions[0].metadata: "), ({"transcriptions": [{**SAID, "metadata": {"a": "x" * 10_000}}]}, "row 2: transcriptions[0].metadata: "),
        ({"transcriptions": [{**SAID, "other": "x"}]}, "row 2: transcriptions[0].other: "),
    ],
)  # fmt: skip
def test_of_rows_with_one_that_is_wrong_none_is_saved(voice, server, native, row, message):
    add_calls(server)
    before = native.ask("GET", "/api/v1/cdrs/c020/notes"), native.ask("GET", "/api/v1/audit?limit=1")["total"]
    rows = [{"id": "c020", "comments": "good"}, {"id": "c021", **row}]
    answer = voice.ask("cdr", {"action": "save", "data": rows})
    assert (answer["has_error"], answer["results"]) == (True, [])
    assert answer["messages"][0].startswith(message)
    assert (native.ask("GET", "/api/v1/cdrs/c020/notes"), native.ask("GET", "/api/v1/audit?limit=1")["total"]) == before


# ---------------------------------------------------------------------------------------------------- originate-call

CALL = {
    "project_id": 1, "caller_id": "0123456789", "caller_id_name": "John Doe", "type": "user", "destination": "1002", "external_id": "asdf1234",
}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"project_id": ""}, "project_id: is missing"), ({"external_id": None}, "external_id: is missing"), ({"caller_id": ""}, "caller_id: is missing"),
        ({"caller_id_name": None}, "caller_id_name: is missing"), ({"type": None}, "type: is missing"), ({"destination": ""}, "destination: is missing"),
        ({"type": "x"}, "type: must be user, user_email, extension, queue or context"),
        ({"destination": "nobody"}, "destination: there is no user nobody"),
        ({"type": "queue"}, "destination: there is no queue 1002"), ({"type": "extension", "destination": "9"}, "destination: there is no user and no queue at extension 9"),
        ({"type": "user_email", "destination": "x@example.com"}, "destination: there is no user with the e-mail address x@example.com"),
        ({"type": "context", "destination": "secret"}, "destination: context secret is not in general.allowed_contexts"),
        ({"type": "context", "destination": "a,b"}, "destination: must be the name of a context of the dialplan"),
        ({"caller_id": "112"}, "caller_id: must not be an emergency number: those are dialled at a phone"),
        ({"caller_id": "abc"}, "caller_id: must be the number of the customer: digits, with or without a leading +"),
        ({"outbound_trunk": "none"}, "outbound_trunk: there is no trunk none"), ({"async": "2"}, "async: must be 0 or 1"),
        ({"outbound_number": "x"}, "outbound_number: must be up to 24 digits (also * and #), with or without a leading +"),
        ({"vars": {"CHANNEL(x)": "1"}}, "vars: names must be letters, digits and _, not beginning with a digit"),
        ({"vars": {"OTHER": "1"}}, "vars.OTHER: is not in general.allowed_variables"), ({"vars": "x"}, "vars: must be a map of names and values"),
        ({"vars": {"BACKEND_LINK": "a\r\nb"}}, "BACKEND_LINK: must be at most 400 characters, without control characters or line breaks"),
        ({"caller_id_name": 'a"b'}, 'caller_id_name: must be at most 79 bytes, without control characters and without " < > \\'),
    ],
)  # fmt: skip
def test_a_call_that_is_refused(voice, native, change, message):
    voice.deny(message, "originate-call", {"data": {**CALL, **change}})
    assert native.ask("GET", "/api/v1/calls")["items"] == []


def test_what_a_call_asks_for_is_inherited_by_whom_it_dials():
    """The dialplan that rings a queue's members, or the customer, has the variables too."""
    general = {"country": "DE", "outbound_trunk": "carrier"}
    trunk = {"name": "carrier", "hosts": ["sip.example.com"]}
    document = {"general": general, "endpoints": [{"extension": "1002", "secret": "a long secret"}], "trunks": [trunk]}
    snapshot = build_snapshot(1, TypeAdapter(Pbx).validate_python(document))
    wanted = {**CALL, "vars": {"BACKEND_LINK": "https://crm.example/?id=1", "SKIP_WELCOME": 1}}
    order = plan_call(snapshot, read_request(snapshot, wanted, ("national",), None))
    assert order.variables[:2] == (("__BACKEND_LINK", "https://crm.example/?id=1"), ("__SKIP_WELCOME", "1"))


def test_without_asterisk_a_call_says_so(voice):
    answer = voice.ask("originate-call", {"data": {**CALL, "external_id": "away"}})
    assert answer["messages"][0].startswith("Asterisk did not take the call")


NATIVE_CALL = {"origin": {"endpoint": "1002"}, "destination": {"endpoint": "1001"}}


def test_native_external_ids(native):
    for name, most in (("project", 40), ("external_id", 80)):
        native.ask("POST", "/api/v1/calls", {**NATIVE_CALL, name: "x" * (most + 1)}, 422)
        native.ask("POST", "/api/v1/calls", {**NATIVE_CALL, name: "a\nb"}, 422)
    body = {**NATIVE_CALL, "project": "p", "external_id": "once"}
    native.ask("POST", "/api/v1/calls", body, 503)
    assert "once" in native.ask("POST", "/api/v1/calls", body, 409)["error"]["message"]


# ---------------------------------------------------------------------------------------------------------- members

MEMBERS_PBX = build_snapshot(
    1,
    TypeAdapter(Pbx).validate_python(
        {
            "general": {"country": "DE", "outbound_trunk": "carrier"},
            "endpoints": [
                {"extension": "1001", "secret": "a long secret", "name": "anna"},
                {"extension": "1002", "secret": "a long secret"},
            ],
            "trunks": [{"name": "carrier", "hosts": ["sip.example.com"]}],
            "queues": [{"name": "sales", "members": [{"endpoint": "1002"}], "fallback": {"hangup": "busy"}}],
        }
    ),
)


def test_users_numbers_and_a_fallback_are_members():
    given = {
        "+49305550": {"type": "remote", "penalty": "5", "is_active": "1"}, "1002": {"type": "sip", "order": 2, "is_active": True},
        "Anna": {"order": "1", "is_active": 1}, "0305551": {"type": "remote", "order": 1, "is_active": 1}, "0305552": {"type": "fallback", "is_active": 1},
        "0305553": {"type": "remote", "is_active": 0},
    }  # fmt: skip
    queue = read_members(MEMBERS_PBX, "sales", given).put_into(MEMBERS_PBX.queues["sales"])
    assert [member.endpoint for member in queue.members] == ["1001", "1002"]
    assert [(member.number, member.penalty) for member in queue.outside_members] == [("+49305550", 5), ("0305551", 0)]
    assert queue.fallback == ExternalDestination(external="0305552")
    shown = show_members(queue, MEMBERS_PBX.endpoints)
    assert {who: (row["type"], row["order"]) for who, row in shown.items()} == {
        "1001": ("sip", 1), "1002": ("sip", 2), "+49305550": ("remote", 3), "0305551": ("remote", 4), "0305552": ("fallback", 5),
    }  # fmt: skip
    # What is shown can be saved as it is.
    again = read_members(MEMBERS_PBX, "sales", shown).put_into(queue)
    assert again == queue
    # An empty list takes them away, and leaves where callers go then: a queue has that always.
    empty = read_members(MEMBERS_PBX, "sales", {}).put_into(queue)
    assert (empty.members, empty.outside_members, empty.fallback) == ((), (), queue.fallback)


@pytest.mark.parametrize(
    ("who", "row", "message"),
    [
        ("nobody", {}, "sales.members.nobody: must be a user of this PBX"), ("+49305550", {}, "sales.members.+49305550: must be a user of this PBX"),
        ("1002", {"type": "iax"}, "sales.members.1002.type: must be sip, remote or fallback"), ("1002", {"type": ["sip"]}, "sales.members.1002.type: must be a text"),
        ("anna", {"type": "remote"}, "sales.members.anna: must be a number outside"), ("+", {"type": "remote"}, "sales.members.+: must be a number outside"),
        ("0305;x", {"type": "remote"}, "sales.members.0305;x: must be a number outside"), ("1" * 25, {"type": "remote"}, f"sales.members.{'1' * 25}: must be a number outside"),
        ("x", {"type": "fallback"}, "sales.members.x: must be a user of this PBX"), ("1002", {"is_active": ""}, "sales.members.1002.is_active: is missing"),
        ("1002", {"is_active": "yes"}, "sales.members.1002.is_active: must be 0 or 1"), ("1002", {"penalty": "few"}, "sales.members.1002.penalty: must be a whole number from 0 to 999"),
        ("1002", {"order": -1}, "sales.members.1002.order: must be a whole number from 0 to 999"), ("1002", "x", "sales.members.1002: must be a map of settings"),
        ("a\nb", "x", "sales.members.?: must be a map of settings"), ("1001", {"type": "fallback", "is_active": 1, "twice": 1}, "sales.members: only one of them can be the fallback"),
    ],
)  # fmt: skip
def test_a_member_that_is_refused(who, row, message):
    rows = {who: {"is_active": 1, **row} if isinstance(row, dict) else row}
    if isinstance(row, dict) and "twice" in row:
        rows["1002"] = row
    with pytest.raises(Denied) as refused:
        read_members(MEMBERS_PBX, "sales", rows)
    assert refused.value.messages == (message,)


def test_queues_are_saved_together_or_not_at_all(server, native, voice):
    """Without Asterisk nothing becomes live: the members are again those that it has."""
    before = native.ask("GET", "/api/v1/queues")["items"]
    head = native.ask("GET", "/api/v1/config/history?limit=1")
    good = {"members": {"1002": {"is_active": 1}}}
    first = before[0]["name"]
    for wrong in (
        {first: good, "nothing": good},
        {first: good, before[1]["name"]: {"members": {"9999": {"is_active": 1}}}},
    ):
        assert voice.ask("queues", {"action": "save", "data": wrong})["has_error"]
        assert native.ask("GET", "/api/v1/config/history?limit=1") == head
    assert voice.ask("queues", {"action": "save", "data": {queue["name"]: good for queue in before}})["has_error"]
    assert native.ask("GET", "/api/v1/queues")["items"] == before


# ------------------------------------------------------------------------------------------------------ hostile input

HOSTILE = (
    "'; DROP TABLE cdrs; --", 'a"b', "a\r\nAction: Command", ";[x](+)", "${SHELL(id)}", "\0", "x" * 900_000, "é漢😀", "\u202e", -1, 2**70, 1.5, True, None,
    [], {}, [[[["x"]]]], {"a": {"b": {"c": ["d"]}}}, "%", "_", " ",
)  # fmt: skip
PARAMETERS = {
    "originate-call": ["data", *(f"data.{name}" for name in (*CALL, "async", "outbound_number", "outbound_trunk", "vars", "external_info"))],
    "channel": ["action", "page", "data", "data.channel", "data.context", "data.exten", "data.priority", "data.tech", "data.appname"],
    "queues": ["action", "data", "filters", "filters.queues", "data.sales", "data.sales.members", "data.get_info", "data.queue_status", "page",
        *(f"data.sales.members.1002{name}" for name in ("", ".type", ".penalty", ".order", ".is_active")), "filters.project_id", "filters.date_between"],
    "users-status": ["type"], "reports": ["page", "data", "data.type", "data.id", "filters", "filters.date_between", "filters.project_id"],
    "inbound-routes": ["filters", "filters.search", "page"],
    "schedule": ["data", "data.type"],
    "cdr": ["action", "page", "data", *(f"data.{name}" for name in ("id", "comments", "accounting_code", "transcriptions")), "filters", *(f"filters.{name}" for name in (
        "date_between", "project_id", "user_id", "direction", "call_status", "telephone", "telephone_like", "source", "destination", "from_id",
        "uniqueid", "linkedid", "external_id", "nothing", "inbound_route_id", "hour_between", "has_monitor_file", "has_recording_file", "has_transcription"))],
}  # fmt: skip
BASE = {
    "originate-call": [{"data": CALL}],
    "channel": [{"action": action, "data": {"channel": "x", "context": "c", "exten": "s", "tech": "SIP/1002"}} for action in ("list", "hangup", "redirect", "originate")],
    "queues": [{"action": action} for action in ("read", "info", "save", "pause")],
    "reports": [{}, {"data": {"type": "standard", "id": "queues"}}],
    "cdr": [{"action": "read"}, {"action": "save"}],
}  # fmt: skip


def place(params, path, value):
    first, _, rest = path.partition(".")
    inner = params.get(first)
    return {**params, first: place(inner if isinstance(inner, dict) else {}, rest, value) if rest else value}


@pytest.mark.parametrize("name", PARAMETERS)
def test_hostile_values_are_refused_in_their_words_and_write_nothing(server, native, voice, name):
    before = native.ask("GET", "/api/v1/audit?limit=1")["total"], native.ask("GET", "/api/v1/queues")["items"]
    for path in PARAMETERS[name]:
        for base in BASE.get(name, [{}]):
            for value in HOSTILE:
                if path == "data.sales.members" and value in ([], {}):
                    continue  # takes all members away, as documented
                if path == "data.sales.members.1002.is_active" and value is True:
                    continue  # means it
                # What would be a good call is for nobody.
                usual = place(base, "data.destination", "nobody") if name == "originate-call" else base
                answer = voice.ask(name, place(usual, path, value))
                assert "something went wrong" not in str(answer["messages"])
    audit = native.ask("GET", "/api/v1/audit?limit=1")["total"]
    assert (audit, native.ask("GET", "/api/v1/queues")["items"]) == before


@pytest.mark.parametrize(
    "raw", [b"{", b"[" * 5000, b"\xff\xfe", b"a" + b"[b]" * 50 + b"=1", b"&".join([b"a=1"] * 1001), b'{"a":' * 40 + b"1" + b"}" * 40, b"x" * 1_100_000]
)  # fmt: skip
def test_bodies_that_nobody_can_mean(voice, raw):
    answer = voice.client.ask("POST", "/api/queues", raw=raw, headers=FORM)
    assert answer["has_error"]
    assert answer["results"] == []


def test_every_action_is_declared_for_both_methods():
    assert {(route.method, route.path) for route in ROUTES} == {
        (method, f"/api/{name}") for method in ("GET", "POST") for name in PARAMETERS
    }
    # It claims what is its own; the ARI Dialer has the rest of what both have.
    names = [door.name for door in DOORS]
    assert names.index("while1") < names.index("ari_dialer")
    assert While1Settings(api_key=SecretStr("x")).model_dump_json().count("x") == While1Settings(
        api_key=SecretStr("y")
    ).model_dump_json().count("x")
    assert quote_plus("~") == "~"  # what build_query has to mend
