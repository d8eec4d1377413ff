"""goAPI's front controller: ways to send parameters, envelopes, answers as JSON, XML and text, credentials and their limits."""

import contextlib
import json
import re
import secrets
import sqlite3
import time
import xml.etree.ElementTree as ET
from pathlib import Path
from urllib.parse import urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.compat.goapi.parameters import Given, check_special, read_given
from api.compat.goapi.speech import Said, encode_json, encode_text, encode_xml
from api.declare import Sent
from api.errors import Refused
from api.recent import KEPT_S
from tests.api.conftest import SOURCES, Client, Server
from tests.api.goapi_site import FORM, GoApi, make_admin, multipart, share_site

ROOT = Path(__file__).parent
PASSWORD = "the password of the admin"


site, _, go = share_site(PASSWORD)


class TestTransport:
    def test_get_urlencoded_and_multipart_are_one(self, go):
        wanted = go.call("goInbound", "goGetDIDsList")
        assert wanted["result"] == "success"
        assert go.get("goInbound", "goGetDIDsList") == wanted
        body, headers = multipart(go.fields("goGetDIDsList", {}).items())
        go.send("POST", "/goAPIv2/goInbound/goAPI.php", body, headers)
        assert go.read() == wanted
        body, headers = multipart(go.fields("goGetDIDsList", {}).items())
        go.send("POST", "/goAPI/goInbound/goAPI.php", body, {**headers, "Expect": "100-continue"})
        assert go.read() == wanted

    def test_an_address_wins_for_three_names_and_the_body_for_all_others(self, go):
        fields = go.fields("goGetDIDsList", {"did_pattern": "15550100", "responsetype": "xml"})
        query = urlencode({"goAction": "goCheckDID", "responsetype": "json", "did_pattern": "1999", "goPass": "wrong"})
        go.send("POST", f"/goAPI/goInbound/goAPI.php?{query}", urlencode(fields), {"Content-Type": FORM})
        assert go.read() == {"result": "DID NOT ADDED - DID already exist."}

    @pytest.mark.parametrize(
        "text", ["did_id[]=998&did_id[]=999", "did_id[0]=998&did_id[1]=999", "did_id=998&did_id=999", "did_id=998,999"]
    )
    def test_lists_come_in_four_ways(self, go, text):
        assert read_given(Sent(text.encode(), b"", "")).many("did_id") == ("998", "999")
        body = f"{urlencode(go.fields('goDeleteDID', {}))}&{text}"
        go.send("POST", "/goAPI/goInbound/goAPI.php", body, {"Content-Type": FORM})
        assert go.read() == {"result": "Error: DID doesn't exist."}

    def test_what_there_is_none_of(self, go):
        for module, action in (
            ("goInbound", "goGetdidslist"), ("goInbound", ""), ("goInbound", "../goInbound/goAddDID"), ("goNone", "goAddDID"),
            ("goInbound", None), ("goInbound", "goGetDIDsList\0"), ("goInbound", "goGetDIDsList "),
        ):  # fmt: skip
            assert go.call(module, action) == {"result": "error", "message": "Command Not Found"}
        go.send("GET", "/goAPI/goInbound/other.php")
        assert go.read() == {"result": "error", "message": "Command Not Found"}

    @pytest.mark.parametrize(
        ("body", "headers"),
        [
            (b"\xff=1", {"Content-Type": FORM}),
            (b"&".join(b"a%d=1" % n for n in range(1001)), {"Content-Type": FORM}),
            (b"a" + b"[b]" * 100 + b"=1", {"Content-Type": FORM}),
            (b'{"a":' * 100 + b"1" + b"}" * 100, {"Content-Type": "application/json"}),
            (b"{", {"Content-Type": "application/json"}),
            (b"no form", {"Content-Type": "multipart/form-data; boundary=x"}),
            (b"x", {"Content-Type": "multipart/form-data"}),
        ],
    )
    def test_what_is_no_form_is_refused_in_its_envelope(self, go, body, headers):
        go.send("POST", "/goAPI/goInbound/goAPI.php", body, headers)
        found = go.read()
        assert go.status == 200
        assert (found.get("message") or found["result"]).startswith(("Error: ", "Invalid Username")), found

    def test_what_is_too_long_never_reaches_it(self, go):
        go.send("POST", "/goAPI/goInbound/goAPI.php", b"a=" + b"x" * 1024 * 1024, {"Content-Type": FORM})
        assert go.status == 413
        assert go.read()["result"].startswith("Error: the body may have")


class TestAnswers:
    def test_the_same_as_json_xml_and_text(self, go):
        wanted = go.call("goInbound", "goGetDIDsList")
        assert go.headers["access-control-allow-origin"] == "*"
        fields = go.fields("goGetDIDsList", {})
        for prefix, kind, media in (
            ("goAPI", "xml", "application/xml"), ("goAPIv2", "XML", "application/xml"), ("goAPIv2", "", "application/xml"),
            ("goAPIv2", None, "application/xml"), ("goAPI", "other", "application/xml"), ("goAPI", "", "text/plain; charset=utf-8"),
        ):  # fmt: skip
            given = {key: value for key, value in (fields | {"responsetype": kind}).items() if value is not None}
            body = go.send("POST", f"/{prefix}/goInbound/goAPI.php", urlencode(given), {"Content-Type": FORM})
            assert (go.status, go.headers["content-type"]) == (200, media)
            if media == "application/xml":
                root = ET.fromstring(body)
                assert (root.tag, root.get("version"), root.findtext("action")) == (
                    "goautodialapi",
                    "4.0",
                    "goGetDIDsList",
                )
                assert [element.text for element in root.findall("did_pattern")] == wanted["did_pattern"]
                assert root.findtext("result") == "success"
            else:
                assert body.decode().startswith("result=success;did_id=")

    def test_an_unknown_type_is_told_before_anything_is_done(self, go):
        fields = go.fields("goDeleteDID", {"did_id": "1", "responsetype": "yaml"})
        go.call("goInbound", "goGetDIDsList")
        body = go.send("POST", "/goAPIv2/goInbound/goAPI.php", urlencode(fields), {"Content-Type": FORM})
        assert body == b"result=error;message=This API function only accepts XML or JSON value on responsetype;"
        assert "15550100" in go.call("goInbound", "goGetDIDsList")["did_pattern"]

    def test_json_is_written_as_php_does(self):
        assert (
            encode_json({"a": "1/2 ü 😀", "b": None, "c": [1]})
            == b'{"a":"1\\/2 \\u00fc \\ud83d\\ude00","b":null,"c":[1]}'
        )

    @settings(deadline=None)
    @given(
        st.dictionaries(st.text(max_size=8), st.text() | st.lists(st.text()) | st.dictionaries(st.text(), st.text()))
    )
    def test_every_answer_can_be_written(self, body):
        assert json.loads(encode_json(body)) == body
        ET.fromstring(encode_xml(body, "x\0y"))
        encode_text(body).decode()


class TestCredentials:
    def test_a_password_a_token_and_log_pass(self, go, site):
        client = Client(site.port, site.token, None, next(SOURCES))
        found = go.do("goInbound", "goGetDIDsList", goPass="wrong", log_pass=PASSWORD)
        assert found == go.do("goInbound", "goGetDIDsList", goPass=site.token)
        session = client.ask("POST", "/api/v1/session", {"name": "admin", "password": PASSWORD}, 201)["secret"]
        assert go.do("goInbound", "goGetDIDsList", goPass=session) == found
        go.deny("Invalid Username/Password", "goInbound", "goGetDIDsList", goUser="other", goPass=session)
        go.send("GET", "/goAPI/goInbound/goAPI.php?goAction=goGetDIDsList&responsetype=json", None, {"Authorization": f"Bearer {site.token}"})  # fmt: skip
        assert go.read() == found

    def test_wrong_ones_are_all_refused_alike_and_before_the_action_is_known(self, go, site):
        bad = go.with_credentials(go.user, go.secret, next(SOURCES))
        wrong = {"result": "error", "message": "Invalid Username/Password"}
        for user, secret in (
            ("admin", "wrong"), ("nobody", PASSWORD), ("", ""), ("admin", ""), ("admin", "tandem_1_" + "0" * 64), ("admin\0", PASSWORD),
            ("admin", "x" * 300), ("' OR '1'='1", "' OR '1'='1"),
        ):  # fmt: skip
            for action in ("goGetDIDsList", "goNothing"):
                assert bad.call("goInbound", action, goUser=user, goPass=secret) == wrong, (user, secret)
            bad.source = next(SOURCES)

    def test_guessing_is_limited_and_does_not_lock_the_one_who_knows_it_out(self, go, site):
        name = f"u{secrets.token_hex(4)}"
        client = Client(site.port, site.token, None, next(SOURCES))
        mine = make_admin(client, name)
        mine.source = next(SOURCES)
        mine.do("goInbound", "goGetDIDsList")
        told = []
        guesser = mine.with_credentials(name, "wrong", next(SOURCES))
        for _ in range(12):
            found = guesser.call("goInbound", "goGetDIDsList")
            told.append(found["message"])
        assert told[0] == "Invalid Username/Password"
        assert told[-1] == "Too many login attempts, try again later"
        for _ in range(15):  # more than a minute's logins
            mine.do("goInbound", "goGetDIDsList")

    def test_a_new_password_ends_the_old_one_at_once(self, site):
        client = Client(site.port, site.token, None, next(SOURCES))
        mine = make_admin(client, f"u{secrets.token_hex(4)}")
        mine.source = next(SOURCES)
        mine.do("goInbound", "goGetDIDsList")
        client.ask("PATCH", f"/api/v1/users/{mine.user}", {"password": "another password"})
        mine.deny("Invalid Username/Password", "goInbound", "goGetDIDsList")
        mine.with_credentials(mine.user, "another password").do("goInbound", "goGetDIDsList")

    def test_every_change_of_somebody_holds_for_their_next_request(self, go, site):
        """Who they are is remembered for a moment."""
        client = Client(site.port, site.token, None, next(SOURCES))
        name, group = f"u{secrets.token_hex(4)}", f"g{secrets.token_hex(4)}"
        client.ask(
            "POST", "/api/v1/user-groups", {"name": group, "title": "A group", "permissions": ["dids/read"]}, 201
        )
        client.ask("POST", "/api/v1/users", {"name": name, "password": "password of a user", "role": "admin"}, 201)
        user = go.with_credentials(name, "password of a user", next(SOURCES))
        missing = "Error: You do not have permission to view this page"
        user.do("goLists", "goGetAllLists")
        client.ask("PATCH", f"/api/v1/users/{name}", {"user_group": group})
        user.deny(missing, "goLists", "goGetAllLists")
        client.ask("PATCH", f"/api/v1/user-groups/{group}", {"permissions": ["lists/read"]})
        user.do("goLists", "goGetAllLists")
        user.deny(missing, "goInbound", "goGetAllDIDs")
        go.do("goUsers", "goEditUser", user=name, active="N")
        user.deny("Invalid Username/Password", "goLists", "goGetAllLists")
        go.do("goUsers", "goEditUser", user=name, active="Y")
        user.source = next(SOURCES)
        user.do("goLists", "goGetAllLists")
        client.ask("DELETE", f"/api/v1/users/{name}", status=204)
        user.deny("Invalid Username/Password", "goLists", "goGetAllLists")

    def test_what_another_node_changes_is_noticed_soon(self, go, site):
        client = Client(site.port, site.token, None, next(SOURCES))
        mine = make_admin(client, f"u{secrets.token_hex(4)}")
        mine.source = next(SOURCES)
        mine.do("goLists", "goGetAllLists")
        with contextlib.closing(sqlite3.connect(site.folder / "db" / "tandem.db", timeout=20)) as db, db:
            db.execute("UPDATE users SET api_access = 0 WHERE name = ?", (mine.user,))
        deadline = time.monotonic() + 10 * KEPT_S
        while (found := mine.call("goLists", "goGetAllLists"))["result"] == "success":
            assert time.monotonic() < deadline
            time.sleep(0.2)
        assert found["message"] == "Invalid Username/Password"

    def test_a_role_decides_whoever_session_user_is_said_to_be(self, go, site):
        client = Client(site.port, site.token, None, next(SOURCES))
        name = f"u{secrets.token_hex(4)}"
        client.ask("POST", "/api/v1/users", {"name": name, "password": "password of a user", "role": "user"}, 201)
        user = go.with_credentials(name, "password of a user", next(SOURCES))
        user.do("goInbound", "goGetDIDsList", session_user="admin")
        found = user.call("goInbound", "goDeleteDID", did_id="1", session_user="admin")
        assert found == {"code": "10001", "result": "Error: You do not have permission to view this page"}


class TestStatus:
    def test_errors_have_the_status_of_the_readme_where_the_settings_say_so(self, tmp_path):
        server = Server(tmp_path, document=ROOT / "goapi.yaml", **{"apis.goapi.http_errors": "yes"})
        server.start()
        try:
            go = GoApi(server.port, "x", server.token)
            go.call("goInbound", "goGetDIDsList")
            go.call("goInbound", "goAddDID", http=400)
            go.call("goInbound", "goNothing", http=400)
            go.call("goInbound", "goGetDIDsList", goPass="wrong", http=401)
            made = Client(server.port, server.token).with_token("dids/read")
            assert go.call("goInbound", "goAddDID", goPass=made.token, http=403)["code"] == "10001"
        finally:
            server.stop()

    def test_a_closed_door_is_not_there(self, tmp_path):
        server = Server(tmp_path, document=ROOT / "goapi.yaml", **{"apis.goapi.serve": "off"})
        server.start()
        try:
            Client(server.port, server.token).ask("GET", "/goAPI/goInbound/goAPI.php", status=404)
        finally:
            server.stop()


# ------------------------------------------------------------------------------------------------------- parameters


@settings(deadline=None)
@given(
    st.dictionaries(st.from_regex(r"[a-z_]{1,10}", fullmatch=True), st.text(st.characters(exclude_categories=["Cs"])))
)
def test_texts_come_back_as_they_were_sent(fields):
    found = read_given(Sent(b"", urlencode(fields).encode(), FORM))
    assert {name: found.raw(name) for name in found} == fields


@settings(deadline=None)
@given(st.binary(), st.binary(), st.sampled_from([FORM, "multipart/form-data; boundary=x", "application/json", ""]))
def test_whatever_is_sent_is_read_or_refused(query, body, kind):
    try:
        found = read_given(Sent(query, body, kind))
    except Refused:
        return
    for name in found:
        for read in (found.text, found.many, found.listed, found.lines):
            with contextlib.suppress(Refused):
                read(name)


@pytest.mark.parametrize("text", ["", "0", " ", " 0 "])
def test_php_calls_it_empty(text):
    assert Given({"a": text}).text("a") == ""


@pytest.mark.parametrize("sign", "#$%&'()*+,-<=>?@^_{|}~£¬ºãì€;[]\"\\`\n\x7f")
def test_special_characters(sign):
    with pytest.raises(Said, match=re.escape("Error: Special characters found in did_pattern")):
        check_special("did_pattern", f"a{sign}b")


@pytest.mark.parametrize("text", ["é ñ ü 中 Ж", "a!b./:c 1", ""])
def test_what_is_not_special(text):
    assert check_special("did_description", text) == text
