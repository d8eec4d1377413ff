"""The While1 Voice API on a live server without Asterisk: its envelope, who speaks it, hashes and signatures, and hostile values."""

import html
import json
import re
import time
from pathlib import Path
from urllib.parse import quote_plus, urlencode

import pytest
from pydantic import SecretStr

from api.compat.php_names import nest_pairs, split_pairs
from api.compat.table import DOORS
from api.compat.while1.calls import RING_S, WAIT_S
from api.compat.while1.credentials import hash_parameters, is_signed, sign
from api.compat.while1.speech import DEPRECATED, key_messages
from api.compat.while1.table import ROUTES
from tandem.settings import While1Settings
from tests.api.conftest import Client, Server
from tests.api.while1_site import CALL, FORM, While1, make_token, share_site
from tests.beside import lacks

SEED = next(iter((Path(__file__).parents[3] / "shared" / "specs" / "seeds").glob("004_*.txt")), None)
VECTORS = Path(__file__).parents[3] / "shared" / "specs" / "while1_vectors.json"
KEY = "the key of the lab"
server, native, voice = share_site()


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
    # Of a path that the ARI Dialer has too, what only While1 sends.
    for own in ({"filters": {"direction": "IN"}}, {"action": "read", "page": 2}, {"api_hash": "x"}):
        While1(Client(server.port, wrong)).deny("Token does not match", "cdr", own, how="get")
    Client(server.port, wrong).ask("GET", "/api/cdr?page=1", status=401)


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


def make_person(native, name, **more):
    """(its client from an address of its own, its credentials)."""
    native.ask("POST", "/api/v1/users", {"name": name, "password": "long enough it is", **more}, 201)
    login = {"api_username": name, "api_password": "long enough it is"}
    return While1(Client(native.port, None, source=f"127.0.78.{len(name)}")), login


def test_a_group_limits_who_comes_with_a_password(native):
    group = {"name": "didsonly", "title": "A group", "permissions": ["dids/read"]}
    native.ask("POST", "/api/v1/user-groups", group, 201)
    nobody, login = make_person(native, "gina", role="admin", user_group="didsonly")
    nobody.get("inbound-routes", login)
    nobody.deny("You do not have permission for this: cdrs/read", "cdr", login)
    nobody.deny("You do not have permission for this: calls/create", "originate-call", {**login, "data": CALL})
    # Every change of it holds for the next request.
    native.ask("PATCH", "/api/v1/user-groups/didsonly", {"permissions": ["cdrs/read"]})
    nobody.get("cdr", login)
    nobody.deny("You do not have permission for this: dids/read", "inbound-routes", login)


def test_a_right_password_is_not_limited_and_ends_at_once(native):
    wrong = "Username or password does not match"
    nobody, login = make_person(native, "hannah", role="user")
    for _ in range(15):  # more than a minute's logins
        nobody.get("inbound-routes", login)
    edit = {"goUser": "x", "goPass": native.token, "goAction": "goEditUser", "responsetype": "json", "user": "hannah"}
    for active, ask in (("N", lambda: nobody.deny(wrong, "inbound-routes", login)), ("Y", lambda: nobody.get("inbound-routes", login))):  # fmt: skip
        raw = urlencode({**edit, "active": active}).encode()
        native.ask("POST", "/goAPI/goUsers/goAPI.php", raw=raw, headers=FORM)
        ask()
    native.ask("PATCH", "/api/v1/users/hannah", {"password": "another long one"})
    nobody.deny(wrong, "inbound-routes", login)
    nobody.get("inbound-routes", {**login, "api_password": "another long one"})
    # A token of ours is a header, never a password.
    nobody.deny(wrong, "inbound-routes", {**login, "api_password": native.token})


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


# ------------------------------------------------------------------------------------------------------ hostile input

HOSTILE = (
    "'; DROP TABLE cdrs; --", 'a"b', "a\r\nAction: Command", ";[x](+)", "${SHELL(id)}", "\0", "x" * 900_000, "é漢😀", "\u202e", -1, 2**70, 1.5, True, None,
    [], {}, [[[["x"]]]], {"a": {"b": {"c": ["d"]}}}, "%", "_", " ",
)  # fmt: skip
PARAMETERS = {
    "originate-call": ["data", *(f"data.{name}" for name in (*CALL, "async", "outbound_number", "outbound_trunk", "vars", "external_info"))],
    "channel": ["action", "page", "data", "data.channel", "data.context", "data.exten", "data.priority", "data.tech", "data.appname"],
    "queues": ["action", "data", "filters", "filters.queues", "data.sales", "data.sales.members", "data.get_info", "data.get_db_reports", "data.queue_status", "page",
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
