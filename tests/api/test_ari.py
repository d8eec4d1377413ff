"""The rules of the ARI Dialer's API on a live server: its messages and codes, verbs, permissions, words, filters; nothing of a stranger's is ever executed."""

import json
import re
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import openapi_spec_validator
import pytest

from api.auth import ROLES
from api.compat.ari.table import ROUTES
from tests.api.ari_site import CAMPAIGN, Ari, add_attempts, write
from tests.api.conftest import Client

GUARDED = [route for route in ROUTES if route.permission is not None]
ZONE = ZoneInfo("Europe/Berlin")
NASTY = "N & <b>x</b> '; DROP TABLE campaigns; -- ${SHELL(id)} =1+1 é漢😀"


def path_of(route):
    return re.sub(r"\{\w+\}", "987654", route.path.removeprefix("/adial/api"))


def bodies(route):
    return {} if route.body is not None else None


# ------------------------------------------------------------------------------------------------ tokens, permissions


class TestWhoMay:
    @pytest.mark.parametrize("route", GUARDED, ids=lambda route: route.operation)
    def test_every_route_takes_its_permission(self, ari, route):
        method, path, body = route.method, path_of(route), bodies(route)
        ari.deny("Authentication required", method, path, body, 401, token=None)
        group = route.permission.partition("/")[0]
        poor = ari.token(*sorted({other.permission for other in GUARDED} - {route.permission}))
        message = "Admin access required" if group == "users" else "Permission denied for this endpoint"
        poor.deny(message, method, path, body, 403)
        for held in (route.permission, f"{group}/*"):
            ari.token(held).ask(method, path, body, None)
            rich = ari.token(held)
            rich.client.ask(method, f"/adial/api{path}", body, None)
            assert rich.client.status not in (401, 403)

    def test_what_is_open(self, ari):
        assert {route.operation for route in ROUTES} - {route.operation for route in GUARDED} == {
            "ari_read_index",
            "ari_get_openapi",
        }
        ari.deny("Authentication required", "GET", "", status=401, token=None)
        index = ari.get("")["data"]
        assert (index["version"], index["user"]["role"]) == ("1.0", "admin")
        assert index["endpoints"]["campaigns"] == "/api/campaigns"

    @pytest.mark.parametrize("wrong", ["Bearer x", "Bearer " + "0" * 64, "Bearer tandem_1_" + "0" * 64, "Basic abc"])
    def test_wrong_tokens(self, ari, wrong):
        ari.deny(
            "Invalid or expired token", "GET", "/campaigns", None, 401, headers={"Authorization": wrong}, token=None
        )

    def test_a_token_in_the_address_is_none(self, ari, site):
        path = f"/campaigns?api_token={site.token}"
        ari.deny("Authentication required", "GET", path, None, 401, token=None)

    def test_a_token_is_64_digits_shown_once_used_and_revoked(self, ari):
        made = ari.data("POST", "/tokens", {"name": "My API Token"}, 201)
        secret = made["token"]
        assert re.fullmatch("[0-9a-f]{64}", secret)
        assert made["message"] == "Save this token securely. It will not be shown again."
        child = Ari(Client(ari.client.port, secret, ari.client.api))
        child.get("/campaigns")
        Client(ari.client.port, secret).ask("GET", "/api/v1/campaigns")
        row = ari.get("/tokens")["data"][0]
        assert row["token"] == f"{secret[:8]}...{secret[-8:]}"
        assert (row["id"], row["is_active"], row["expires_at"]) == (made["id"], 1, None)
        assert json.loads(row["permissions"]) == ["*"]
        assert secret not in json.dumps(ari.get("/tokens"))
        for _ in range(2):
            ari.ask("DELETE", f"/tokens/{made['id']}")
        child.deny("Invalid or expired token", "GET", "/campaigns", None, 401)
        row = ari.get("/tokens")["data"][0]
        assert (row["id"], row["is_active"]) == (made["id"], 0)
        for odd in ("999999", "x", "9" * 30, "-1"):
            ari.deny("Token not found", "DELETE", f"/tokens/{odd}", None, 404)

    def test_a_token_gives_no_more_than_its_maker_has(self, ari):
        maker = ari.token("tokens/*", "campaigns/list")
        for wanted in ("*", "campaigns/*", "campaigns/start", "users/list"):
            maker.ask("POST", "/tokens", {"permissions": [wanted]}, 403)
        for given in ({}, {"permissions": []}, {"permissions": None}):
            made = maker.data("POST", "/tokens", given, 201)
            child = Ari(Client(ari.client.port, made["token"], ari.client.api))
            child.get("/campaigns")
            child.deny("Permission denied for this endpoint", "GET", "/cdr", None, 403)
            assert made["name"] == "API Token"

    def test_who_may_start_campaigns_may_call_as_far_as_their_maker(self, ari):
        def held(maker, *permissions):
            maker.data("POST", "/tokens", {"permissions": list(permissions)}, 201)
            return json.loads(ari.get("/tokens")["data"][0]["permissions"])

        assert held(ari, "campaigns/*") == ["campaigns/*", "calls/internal", "calls/national", "calls/international"]
        assert held(ari, "campaigns/list") == ["campaigns/list"]
        assert held(ari.token("tokens/*", "campaigns/list"), "campaigns/list") == ["campaigns/list"]

    @pytest.mark.parametrize(
        "wrong",
        [
            {"expires_at": "tomorrow"}, {"expires_at": "2020-01-01 00:00:00"}, {"expires_at": "2090-02-30 00:00:00"},
            {"permissions": "campaigns/*"}, {"permissions": [1]}, {"permissions": ["a b"]}, {"permissions": ["campaigns"]}, {"permissions": ["campaign/*"]},
            {"name": "a\nb"}, {"name": "x" * 81}, {"name": ["x"]}, {"expires_at": "0001-01-01"},
        ],
    )  # fmt: skip
    def test_bad_tokens_are_not_made(self, ari, wrong):
        before = len(ari.get("/tokens")["data"])
        assert ari.ask("POST", "/tokens", wrong, 400)["errors"].keys() == wrong.keys()
        assert len(ari.get("/tokens")["data"]) == before

    def test_an_expiry_is_local_time_and_ends_it(self, ari, site):
        at = (datetime.now(ZONE) + timedelta(hours=1)).strftime("%Y-%m-%d %H:%M:%S")
        made = ari.data("POST", "/tokens", {"expires_at": at}, 201)
        assert ari.get("/tokens")["data"][0]["expires_at"] == at
        write(site, ("UPDATE tokens SET expires_at = ? WHERE id = ?", ("2020-01-01T00:00:00.000000+00:00", made["id"])))
        ari.token("cdr/list")  # whatever makes a token has all of them read again
        child = Ari(Client(ari.client.port, made["token"]))
        child.deny("Invalid or expired token", "GET", "/campaigns", None, 401)


USER = {"username": "anna", "password": "secure_password", "email": "anna@example.com"}


class TestUsers:
    def make(self, ari, name, **more):
        return ari.data("POST", "/users", USER | {"username": name} | more, 201)

    def log_in(self, ari, name, password="secure_password", status=201):
        login = Client(ari.client.port, None)
        made = login.ask("POST", "/api/v1/session", {"name": name, "password": password}, status)
        return Ari(Client(ari.client.port, made.get("secret"), ari.client.api))

    def test_made_read_changed_deleted(self, ari):
        made = self.make(ari, "anna", full_name="Anna <b>A</b>", api_access=0)
        assert (made["role"], made["is_active"], made["api_access"]) == ("user", 1, 0)
        assert made["full_name"] == "Anna <b>A</b>"
        assert made["last_login"] is made["updated_at"] is None
        assert "password" not in made
        one = f"/users/{made['id']}"
        changed = ari.data("PUT", one, {"username": "anne", "api_access": 1, "password": "another_password"})
        assert (changed["id"], changed["username"], changed["api_access"]) == (made["id"], "anne", 1)
        assert changed["updated_at"] is not None
        # Hashed once: the new password works, under the new name.
        self.log_in(ari, "anne", "another_password")
        assert next(user for user in ari.get("/users")["data"] if user["id"] == made["id"])["last_login"] is not None
        ari.ask("DELETE", one)
        for method in ("PUT", "DELETE"):
            ari.deny("User not found", method, one, bodies_for(method), 404)

    def test_what_is_refused(self, ari):
        found = ari.deny("Missing required fields", "POST", "/users", {"username": "x", "password": ""})
        assert found["errors"] == {"missing_fields": ["password", "email"]}
        made = self.make(ari, "berta")
        ari.deny("Username already exists", "POST", "/users", USER | {"username": "BERTA"})
        ari.deny("Invalid role. Must be: admin or user", "POST", "/users", USER | {"username": "c", "role": "boss"})
        for wrong in (
            {"password": "short"},
            {"email": "x"},
            {"username": "a b"},
            {"api_access": 2},
            {"full_name": "a\nb"},
        ):
            found = ari.ask("POST", "/users", USER | {"username": "carl"} | wrong, 400)
            assert found["errors"].keys() == wrong.keys()
            ari.ask("PUT", f"/users/{made['id']}", wrong, 400)
        ari.deny("No valid fields to update", "PUT", f"/users/{made['id']}", {"nonsense": 1, "email": None})
        other = self.make(ari, "other")
        ari.deny("Username already exists", "PUT", f"/users/{other['id']}", {"username": "Berta"})

    def test_the_last_admin_stays(self, ari):
        made = self.make(ari, "boss", role="admin")
        one = f"/users/{made['id']}"
        message = "Cannot delete or demote the last admin user"
        ari.deny(message, "DELETE", one)
        ari.deny(message, "PUT", one, {"role": "user"})
        ari.deny(message, "PUT", one, {"is_active": 0})
        second = self.make(ari, "boss2", role="admin")
        ari.ask("PUT", one, {"is_active": 0})
        # An admin who cannot log in is none.
        ari.deny(message, "DELETE", f"/users/{second['id']}")
        ari.ask("PUT", one, {"is_active": 1})
        ari.ask("DELETE", f"/users/{second['id']}")
        some = ari.token("users/*")
        some.deny("Admin access required", "PUT", one, {"password": "stolen_password"}, 403)
        some.deny("Admin access required", "POST", "/users", USER | {"username": "evil", "role": "admin"}, 403)

    def test_own_tokens_and_what_ends_them(self, ari):
        made = self.make(ari, "dora")
        one = f"/users/{made['id']}"
        dora = self.log_in(ari, "dora")
        assert dora.get("")["data"]["user"] == {"id": made["id"], "username": "dora", "role": "user"}
        token = dora.data("POST", "/tokens", {}, 201)
        api = Ari(Client(ari.client.port, token["token"], ari.client.api))
        assert api.get("")["data"]["user"]["username"] == "dora"
        assert [row["id"] for row in api.get("/tokens")["data"]] == [token["id"]]
        assert token["id"] not in [row["id"] for row in ari.get("/tokens")["data"]]
        # Everybody runs campaigns; users are for admins.
        campaign = api.make()
        api.ask("POST", f"/campaigns/{campaign['id']}/numbers", {"phone_number": "1"}, 201)
        api.deny("Admin access required", "GET", "/users", None, 403)
        api.deny("Permission denied for this endpoint", "DELETE", "/ivr/1", None, 403)
        stranger = ari.token("tokens/*")
        stranger.deny("You do not have permission to revoke this token", "DELETE", f"/tokens/{token['id']}", None, 403)
        for change in ({"api_access": 0}, {"is_active": 0}):
            ari.ask("PUT", one, change)
            api.deny("Invalid or expired token", "GET", "/campaigns", None, 401)
            ari.ask("PUT", one, dict.fromkeys(change, 1))
            api.get("/campaigns")
        ari.ask("PUT", one, {"is_active": 0})
        self.log_in(ari, "dora", status=401)
        ari.ask("PUT", one, {"is_active": 1, "role": "admin"})
        # The token was made with what a user may; a role that grows does not make it grow.
        api.deny("Admin access required", "GET", "/users", None, 403)
        ari.ask("DELETE", one)
        api.deny("Invalid or expired token", "GET", "/campaigns", None, 401)

    def test_a_demoted_admins_token_does_less(self, ari):
        made = self.make(ari, "emil", role="admin")
        token = self.log_in(ari, "emil").data("POST", "/tokens", {}, 201)
        api = Ari(Client(ari.client.port, token["token"], ari.client.api))
        api.get("/users")
        self.make(ari, "someone", role="admin")
        ari.ask("PUT", f"/users/{made['id']}", {"role": "user"})
        api.deny("Admin access required", "GET", "/users", None, 403)
        api.get("/campaigns")

    def test_the_role_knows_only_declared_names(self):
        groups = {route.permission.partition("/")[0] for route in GUARDED}
        ours = {route.permission for route in GUARDED}
        assert {one for one in ours if one in ROLES["user"]} == {
            one for one in ours if not one.startswith("users/") and one != "ivr/delete"
        }
        assert groups == {"campaigns", "numbers", "cdr", "monitoring", "ivr", "users", "tokens"}


def bodies_for(method):
    return {"email": "a@example.com"} if method == "PUT" else None


# ---------------------------------------------------------------------------------------------------------- protocol


class TestProtocol:
    def test_strict_verbs(self, ari):
        by_path = {}
        for route in ROUTES:
            by_path.setdefault(path_of(route), set()).add(route.method)
        for path, methods in by_path.items():
            for method in {"GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"} - methods:
                ari.deny("Method not allowed", method, path, None, 405)
                allowed = {name.strip() for name in ari.client.headers["allow"].split(",")}
                assert allowed == methods | ({"HEAD"} if "GET" in methods else set()), path

    @pytest.mark.parametrize(
        "path", ["/nothing", "/campaigns/", "/campaigns/1/nothing", "/settings", "/campaigns_create"]
    )
    def test_what_is_not_there(self, ari, path):
        ari.deny("Endpoint not found", "GET", path, None, 404)

    @pytest.mark.parametrize("odd", ["abc", "0", "-1", "1.5", "9" * 30, "9223372036854775808", "%C2%B2"])
    def test_odd_ids(self, ari, odd):
        for what, paths in {
            "Campaign": (f"/campaigns/{odd}", f"/campaigns/{odd}/stats", f"/campaigns/{odd}/numbers"),
            "Number": (f"/numbers/{odd}",),
            "CDR record": (f"/cdr/{odd}",),
            "IVR menu": (f"/ivr/{odd}",),
        }.items():
            for path in paths:
                ari.deny(f"{what} not found", "GET", path, None, 404)

    @pytest.mark.parametrize("raw", [b"{", b"{'a': 1}", b"\xff", b"[" * 1000, b"nan"])
    def test_a_body_that_is_no_json(self, ari, raw):
        for method, path in (("POST", "/campaigns"), ("PUT", "/campaigns/1"), ("POST", "/tokens"), ("POST", "/users")):
            ari.deny("Invalid JSON body", method, path, raw=raw)

    @pytest.mark.parametrize("body", [[], "x", 1, None])
    def test_a_body_that_is_no_object(self, ari, body):
        raw = json.dumps(body).encode()
        ari.deny("The body must be a JSON object", "POST", "/campaigns", raw=raw)

    def test_no_content_type_is_needed_and_unknown_fields_are_passed_over(self, ari):
        raw = json.dumps(CAMPAIGN | {"status": "running", "nonsense": 1}).encode()
        made = ari.ask("POST", "/campaigns", None, 201, raw=raw)["data"]
        assert made["status"] == "stopped"
        ari.get("/campaigns?nonsense=1&status=stopped&status=running")

    def test_a_body_that_is_too_large_is_refused_in_our_envelope(self, ari):
        ari.ask("POST", "/campaigns", None, 413, raw=b" " * (1024 * 1024 + 1))

    def test_a_repeated_request_does_nothing_and_shows_no_secret(self, ari):
        headers = {"Idempotency-Key": "ari-once"}
        first = ari.ask("POST", "/tokens", {"name": "once"}, 201, headers=headers)
        again = ari.ask("POST", "/tokens", {"name": "once"}, 201, headers=headers)
        assert again["data"] == first["data"] | {"token": None}

    def test_the_audit_log_knows(self, ari, site):
        made = ari.make()
        native = Client(site.port, site.token)
        entry = native.ask("GET", "/api/v1/audit?limit=1")["items"][0]
        assert (entry["action"], entry["target"]) == ("campaigns/create", f"campaigns/{made['id']}")
        assert native.ask("GET", f"/api/v1/campaigns/{made['id']}")["trunk"] == "my_trunk"

    def test_the_native_api_speaks_as_ever(self, site):
        native = Client(site.port, site.token)
        assert native.ask("GET", "/api/v1/nothing", status=404)["error"]["status"] == 404
        assert native.ask("GET", "/elsewhere", status=404)["error"]["status"] == 404


# --------------------------------------------------------------------------------------------------------- campaigns


class TestCampaigns:
    def test_defaults(self, ari):
        required = ("name", "trunk_type", "trunk_value", "agent_dest_type", "agent_dest_value")
        made = ari.data("POST", "/campaigns", {name: CAMPAIGN[name] for name in required}, 201)
        assert made["description"] == ""
        assert made["callerid"] is made["updated_at"] is None
        wanted = {"record_calls": 0, "concurrent_calls": 1, "retry_times": 0, "retry_delay": 300, "dial_timeout": 30}
        assert {name: made[name] for name in wanted} == wanted
        assert abs(datetime.now(ZONE).replace(tzinfo=None) - datetime.fromisoformat(made["created_at"])) < timedelta(
            minutes=1
        )
        for name in required:
            found = ari.deny("Missing required fields", "POST", "/campaigns", CAMPAIGN | {name: None})
            assert found["errors"] == {"missing_fields": [name]}
        found = ari.deny("Missing required fields", "POST", "/campaigns", raw=b"")
        assert found["errors"] == {"missing_fields": list(required)}

    @pytest.mark.parametrize(
        ("field", "wrong"),
        [
            ("trunk_type", {"trunk_type": "iax"}),
            ("agent_dest_type", {"agent_dest_type": "person"}),
            ("trunk_value", {"trunk_value": "nowhere"}),
            ("trunk_value", {"trunk_value": "my_trunk\r\nVariable: a=b"}),
            ("trunk_value", {"trunk_type": "custom", "trunk_value": "Local/${EXTEN}@default"}),
            ("trunk_value", {"trunk_type": "custom", "trunk_value": "Local/${EXTEN}@to-carrier,s,1"}),
            ("trunk_value", {"trunk_type": "custom", "trunk_value": "SIP/x/${EXTEN}"}),
            ("agent_dest_value", {"agent_dest_value": "999"}),
            ("agent_dest_value", {"agent_dest_value": "PJSIP/999"}),
            ("agent_dest_value", {"agent_dest_value": "Local/100@internal"}),
            ("agent_dest_value", {"agent_dest_type": "custom", "agent_dest_value": "System(id)"}),
            ("agent_dest_value", {"agent_dest_type": "queue", "agent_dest_value": "nobody"}),
            ("agent_dest_value", {"agent_dest_type": "ivr", "agent_dest_value": "99"}),
            ("callerid", {"callerid": "Bob"}),
            ("callerid", {"callerid": '"a\r\nb" <1>'}),
            ("callerid", {"callerid": "1" * 30}),
            ("name", {"name": "a\nb"}),
            ("name", {"name": "x" * 256}),
            ("record_calls", {"record_calls": 2}),
            ("concurrent_calls", {"concurrent_calls": 0}),
            ("concurrent_calls", {"concurrent_calls": 1001}),
            ("concurrent_calls", {"concurrent_calls": "many"}),
            ("concurrent_calls", {"concurrent_calls": 1.5}),
            ("retry_times", {"retry_times": -3}),
            ("retry_delay", {"retry_delay": 0}),
            ("dial_timeout", {"dial_timeout": 4}),
            ("call_timeout", {"call_timeout": -1}),
        ],
    )  # fmt: skip
    def test_whatever_is_wrong_is_named(self, ari, field, wrong):
        made = ari.make()
        for method, path, body in (
            ("POST", "/campaigns", CAMPAIGN | wrong),
            ("PUT", f"/campaigns/{made['id']}", wrong),
        ):
            found = ari.ask(method, path, body, 400)
            assert list(found["errors"]) == [field], found
            assert field in found["message"]
        assert ari.data("GET", f"/campaigns/{made['id']}")["updated_at"] is None

    def test_documented_texts(self, ari):
        ari.deny(
            "Invalid trunk_type. Must be: custom, pjsip, or sip", "POST", "/campaigns", CAMPAIGN | {"trunk_type": "x"}
        )
        wrong = CAMPAIGN | {"agent_dest_type": "x"}
        ari.deny("Invalid agent_dest_type. Must be: custom, exten, ivr, or queue", "POST", "/campaigns", wrong)
        for method, path in (
            *(("GET", "/campaigns/9999"), ("DELETE", "/campaigns/9999"), ("POST", "/campaigns/9999/start")),
            *(("POST", "/campaigns/9999/stop"), ("GET", "/campaigns/9999/stats")),
        ):
            ari.deny("Campaign not found", method, path, None, 404)

    @pytest.mark.parametrize(
        ("said", "meant"),
        [
            ({"trunk_type": "pjsip", "trunk_value": "my_trunk"}, {"trunk": "my_trunk"}),
            ({"trunk_type": "sip", "trunk_value": "trunk1"}, {"trunk": "trunk1"}),
            (
                {"trunk_type": "custom", "trunk_value": "Local/${EXTEN}@to-carrier"},
                {"trunk": None, "dial_string": "Local/${EXTEN}@to-carrier"},
            ),
            ({"trunk_type": "custom", "trunk_value": "PJSIP/${EXTEN}@trunk1"}, {"dial_string": "PJSIP/${EXTEN}@trunk1"}),
            ({"agent_dest_value": "PJSIP/100"}, {"destination": {"endpoint": "100"}}),
            ({"agent_dest_value": "SIP/101"}, {"destination": {"endpoint": "101"}}),
            ({"agent_dest_value": "Local/100@from-internal"}, {"destination": {"endpoint": "100"}}),
            ({"agent_dest_value": "Local/7@lobby"}, {"destination": {"dialplan": "lobby,7"}}),
            ({"agent_dest_value": "600"}, {"destination": {"queue": "sales"}}),
            ({"agent_dest_type": "custom", "agent_dest_value": "PJSIP/100"}, {"destination": {"endpoint": "100"}}),
            ({"agent_dest_type": "queue", "agent_dest_value": "sales"}, {"destination": {"queue": "sales"}}),
            ({"agent_dest_type": "queue", "agent_dest_value": "600"}, {"destination": {"queue": "sales"}}),
            ({"callerid": '"Bob B" <+49301>'}, {"caller_name": "Bob B", "caller_number": "+49301"}),
            ({"callerid": "Bob <100>"}, {"caller_name": "Bob", "caller_number": "100"}),
            ({"callerid": "<100>"}, {"caller_name": "", "caller_number": "100"}),
            ({"callerid": ""}, {"caller_name": "", "caller_number": ""}),
            ({"concurrent_calls": "7"}, {"concurrent_calls": 7}),
            ({"record_calls": "0"}, {"recording": False}),
            ({"record_calls": True}, {"recording": True}),
            ({"name": NASTY, "description": NASTY}, {"name": NASTY, "description": NASTY}),
        ],
    )  # fmt: skip
    def test_words_are_kept_and_mean_ours(self, ari, site, said, meant):
        native = Client(site.port, site.token)
        made = ari.make(**said)
        shown = {name: str(value) for name, value in made.items() if name in said and name != "record_calls"}
        assert shown == {name: value for name, value in said.items() if name in shown}
        ours = native.ask("GET", f"/api/v1/campaigns/{made['id']}")
        for name, value in meant.items():
            assert ours[name] == value or {key: ours[name][key] for key in value} == value
        other = ari.make()
        changed = ari.data("PUT", f"/campaigns/{other['id']}", said)
        assert {name: changed[name] for name in shown} == {name: made[name] for name in shown}

    def test_words_that_mean_something_else_by_now_are_not_shown(self, ari, site):
        native = Client(site.port, site.token)
        made = ari.make(trunk_type="sip", callerid="Bob <100>", agent_dest_value="PJSIP/100")
        path = f"/api/v1/campaigns/{made['id']}"
        native.ask("PATCH", path, {"name": "Other"})
        shown = ari.data("GET", f"/campaigns/{made['id']}")
        assert (shown["trunk_type"], shown["callerid"], shown["agent_dest_value"]) == ("sip", "Bob <100>", "PJSIP/100")
        native.ask("PATCH", path, {"trunk": "trunk1", "caller_name": "", "destination": {"queue": "sales"}})
        shown = ari.data("GET", f"/campaigns/{made['id']}")
        assert (shown["trunk_type"], shown["trunk_value"], shown["callerid"]) == ("pjsip", "trunk1", "100")
        assert (shown["agent_dest_type"], shown["agent_dest_value"]) == ("queue", "sales")
        for destination, told in (
            ({"menu": "main"}, "ivr"),
            ({"endpoint": "100"}, "exten"),
            ({"dialplan": "lobby,9"}, "custom"),
            ({"announcement": "thanks"}, "custom"),
        ):
            native.ask("PATCH", path, {"destination": destination})
            assert ari.data("GET", f"/campaigns/{made['id']}")["agent_dest_type"] == told

    def test_an_update_changes_what_it_names_alone(self, ari, site):
        made = ari.make(agent_dest_value="PJSIP/100", callerid="Bob <100>")
        one = f"/campaigns/{made['id']}"
        ari.deny("No valid fields to update", "PUT", one, {})
        ari.deny("No valid fields to update", "PUT", one, {"status": "running", "name": None})
        # A value without its type means the type that there is.
        changed = ari.data("PUT", one, {"trunk_value": "trunk1", "agent_dest_value": "101", "name": None})
        expected = made | {"trunk_value": "trunk1", "agent_dest_value": "101", "updated_at": changed["updated_at"]}
        assert changed == expected
        assert changed["updated_at"] is not None
        native = Client(site.port, site.token)
        native.ask("PATCH", f"/api/v1{one}", {"priority": 9, "retry_rules": {"busy": {"times": 3, "delay_s": 60}}})
        assert ari.data("PUT", one, {"dial_timeout": 20, "call_timeout": 600})["call_timeout"] == 600
        ours = native.ask("GET", f"/api/v1{one}")
        assert (ours["priority"], ours["dial_timeout_s"]) == (9, 20)
        assert ours["retry_rules"] == {"busy": {"times": 3, "delay_s": 60}}

    def test_states(self, ari):
        made = ari.make()
        one = f"/campaigns/{made['id']}"

        def act(name, status):
            found = ari.ask("POST", f"{one}/{name}")
            assert found["data"] == {"campaign_id": made["id"], "status": status}
            assert ari.data("GET", one)["status"] == status
            return found["message"]

        ari.deny("Can only pause a running campaign", "POST", f"{one}/pause")
        ari.deny("Can only resume a paused campaign", "POST", f"{one}/resume")
        ari.deny("Campaign is already stopped", "POST", f"{one}/stop")
        assert act("start", "running") == "Campaign started successfully"
        ari.deny("Campaign is already running", "POST", f"{one}/start")
        ari.deny("Cannot update running campaign. Stop it first.", "PUT", one, {"name": "x"})
        ari.deny("Cannot delete running campaign. Stop it first.", "DELETE", one)
        assert [row["id"] for row in ari.get("/campaigns?status=running")["data"]] == [made["id"]]
        assert made["id"] in [row["id"] for row in ari.get("/monitoring/realtime")["data"]["campaigns"]]
        assert act("pause", "paused") == "Campaign paused successfully"
        assert ari.data("PUT", one, {"name": "while paused"})["name"] == "while paused"
        assert act("resume", "running") == "Campaign resumed successfully"
        act("pause", "paused")
        act("start", "running")
        assert act("stop", "stopped") == "Campaign stopped successfully"
        ari.ask("DELETE", one)
        ari.deny("Campaign not found", "GET", one, None, 404)
        assert ari.get("/campaigns?status=nonsense")["data"] == []

    def test_newest_first_and_duplicate_names(self, ari):
        made = [ari.make(name="twin")["id"] for _ in range(2)]
        assert [row["id"] for row in ari.get("/campaigns")["data"]][:2] == made[::-1]


# ----------------------------------------------------------------------------------------------------------- numbers


class TestNumbers:
    @pytest.fixture
    def campaign(self, ari):
        return ari.make()["id"]

    def add(self, ari, campaign, phone_number, **more):
        return ari.data("POST", f"/campaigns/{campaign}/numbers", {"phone_number": phone_number, **more}, 201)

    @pytest.mark.parametrize(
        ("data", "shown"),
        [
            ({"name": "John Doe"}, '{"name": "John Doe"}'), (None, None), ({}, None), ("", None), (0, None), ([], None),
            ("str", '"str"'), ([1], "[1]"), ({"n": NASTY}, json.dumps({"n": NASTY}, ensure_ascii=False)),
        ],
    )  # fmt: skip
    def test_data_is_json_as_text(self, ari, campaign, data, shown):
        added = self.add(ari, campaign, "+49301", data=data)
        assert (added["campaign_id"], added["phone_number"]) == (campaign, "+49301")
        row = ari.data("GET", f"/numbers/{added['id']}")
        assert row["data"] == shown
        assert row["last_attempt"] is row["updated_at"] is None
        assert (row["status"], row["attempts"]) == ("pending", 0)

    @pytest.mark.parametrize(
        "wrong",
        [
            "\r\nEvil: x",
            "1\n2",
            "123 456",
            "x@from-internal",
            "1,TRUNK=x",
            "${EXTEN}",
            "1" * 26,
            True,
            1.5,
            [],
            {},
            "١٢٣",
        ],
    )
    def test_what_is_no_number_is_refused_and_never_stored(self, ari, campaign, wrong):
        path = f"/campaigns/{campaign}/numbers"
        found = ari.ask("POST", path, {"phone_number": wrong}, 400)
        assert list(found["errors"]) == ["phone_number"]
        ari.ask("POST", f"{path}/bulk", {"numbers": [{"phone_number": wrong}]}, 400)
        assert ari.get(path)["pagination"]["total"] == 0

    def test_missing_and_numbers_as_numbers(self, ari, campaign):
        path = f"/campaigns/{campaign}/numbers"
        for given in ({}, {"phone_number": ""}, {"phone_number": None}):
            assert ari.deny("Missing required fields", "POST", path, given)["errors"] == {
                "missing_fields": ["phone_number"]
            }
        assert self.add(ari, campaign, 1234567890)["phone_number"] == "1234567890"
        ari.deny("Campaign not found", "POST", "/campaigns/9999/numbers", {"phone_number": "1"}, 404)
        ari.deny("Campaign not found", "GET", "/campaigns/9999/numbers", None, 404)
        ari.ask("POST", path, {"phone_number": "1", "data": "x" * 5000}, 400)

    def test_bulk(self, ari, campaign):
        path = f"/campaigns/{campaign}/numbers/bulk"
        message = 'Invalid input. Expected "numbers" array'
        for given in ({}, {"numbers": "1"}, {"numbers": {"a": 1}}, {"numbers": None}):
            ari.deny(message, "POST", path, given)
        for given in ([], [{}], [1], [{"phone_number": ""}], [{"phone_number": "x"}]):
            ari.deny("No valid numbers provided", "POST", path, {"numbers": given})
        ari.deny("Campaign not found", "POST", "/campaigns/9999/numbers/bulk", {"numbers": []}, 404)
        numbers = [
            {"phone_number": "1"},
            {"data": 1},
            {"phone_number": 2},
            {"phone_number": "a"},
            {"phone_number": "1"},
        ]
        found = ari.ask("POST", path, {"numbers": numbers}, 201)
        assert found["message"] == "3 numbers added successfully"
        errors = found["data"].pop("errors")
        assert found["data"] == {"campaign_id": campaign, "count": 3, "skipped": 2, "duplicates": 0}
        assert [error["index"] for error in errors] == [1, 3]
        found = ari.data("POST", path, {"numbers": [*numbers, {"phone_number": "9"}], "skip_duplicates": True}, 201)
        assert (found["count"], found["duplicates"]) == (1, 3)
        rows = ari.get(f"/campaigns/{campaign}/numbers")["data"]
        assert [row["phone_number"] for row in rows] == ["1", "2", "1", "9"]
        ari.ask("POST", path, {"numbers": [{"phone_number": "1"}] * 100_001}, 400)

    def test_a_hundred_thousand_at_once(self, ari, campaign):
        numbers = [{"phone_number": f"030{index:07}", "data": {"name": "Jane"}} for index in range(100_000)]
        found = ari.data("POST", f"/campaigns/{campaign}/numbers/bulk", {"numbers": numbers}, 201)
        assert found["count"] == 100_000
        page = ari.get(f"/campaigns/{campaign}/numbers?page=1000&per_page=100")
        assert page["data"][-1]["phone_number"] == "0300099999"
        ari.ask("DELETE", f"/campaigns/{campaign}")

    def test_listed_by_status_and_deleted_unless_it_is_being_called(self, ari, site, campaign):
        ids = [self.add(ari, campaign, str(number))["id"] for number in range(1, 4)]
        write(
            site,
            ("UPDATE numbers SET status = 'calling', call_id = 'x' WHERE number_id = ?", (ids[0],)),
            ("UPDATE campaign_counts SET amount = 2 WHERE campaign_id = ? AND kind = 'pending'", (campaign,)),
            ("INSERT INTO campaign_counts VALUES (?, 'calling', 1)", (campaign,)),
        )
        path = f"/campaigns/{campaign}/numbers"
        assert [row["id"] for row in ari.get(f"{path}?status=calling")["data"]] == ids[:1]
        assert ari.get(f"{path}?status=pending")["pagination"]["total"] == 2
        assert ari.get(f"{path}?status=nonsense")["data"] == []
        ari.deny('Cannot delete number with status "calling"', "DELETE", f"/numbers/{ids[0]}")
        ari.ask("DELETE", f"/numbers/{ids[1]}")
        ari.deny("Number not found", "DELETE", f"/numbers/{ids[1]}", None, 404)
        assert ari.data("GET", f"/campaigns/{campaign}/stats")["total"] == 2

    def test_pages(self, ari, campaign):
        for number in range(1, 6):
            self.add(ari, campaign, str(number))
        path = f"/campaigns/{campaign}/numbers"

        def page(query):
            found = ari.get(f"{path}?{query}")
            return [row["phone_number"] for row in found["data"]], found["pagination"]

        everything = {"total": 5, "per_page": 20, "current_page": 1, "total_pages": 1, "from": 1, "to": 5}
        assert page("") == (["1", "2", "3", "4", "5"], everything)
        for odd in ("page=0", "page=-3", "page=abc", "page=", "per_page=", "page=1abc"):
            assert page(odd) == (["1", "2", "3", "4", "5"], everything), odd
        assert page("per_page=2&page=3") == (
            ["5"],
            {"total": 5, "per_page": 2, "current_page": 3, "total_pages": 3, "from": 5, "to": 5},
        )
        assert page("per_page=0")[1] == everything | {"per_page": 1, "total_pages": 5, "to": 1}
        assert page("per_page=1000")[1] == everything | {"per_page": 100}
        assert page("page=99")[1] == everything | {"current_page": 99, "from": 0, "to": 0}
        assert page("page=" + "9" * 40)[0] == []


# --------------------------------------------------------------------------------------------------------------- CDR


@pytest.fixture(scope="module")
def calls(ari, site):
    """Five calls of one campaign around midnight in Berlin, one that is under way, and one of a campaign that is gone."""
    campaign = ari.make()["id"]
    midnight = datetime(2024, 12, 9, tzinfo=ZONE).timestamp()
    rows = [
        (-1, "answered", {"answered_at": midnight + 4, "ended_at": midnight + 9, "agent": "Anna_100%"}),
        (0, "busy", {"phone_number": "0987654321"}),
        (3600, "no-answer", {"caller_number": "555"}),
        (86399, "cancelled", {}),
        (86400, "congestion", {}),
    ]
    rows = [
        {"campaign_id": campaign, "started_at": midnight + at, "ended_at": midnight + at + 10, "disposition": how}
        | more
        for at, how, more in rows
    ]
    rows.append({"campaign_id": campaign, "started_at": midnight, "ended_at": None, "disposition": None})
    rows.append(
        {"campaign_id": None, "started_at": midnight + 5, "ended_at": midnight + 6, "disposition": "trunk-dead"}
    )
    add_attempts(site, rows)
    return campaign


class TestCdr:
    def found(self, ari, query):
        page = ari.get(f"/cdr?{query}&per_page=100")
        assert page["pagination"]["total"] == len(page["data"])
        return [row["disposition"] for row in page["data"]]

    def test_filters(self, ari, calls):
        mine = f"campaign_id={calls}"
        assert self.found(ari, mine) == ["failed", "cancelled", "no_answer", "busy", "answered"]
        assert self.found(ari, f"{mine}&disposition=failed") == ["failed"]
        assert self.found(ari, f"{mine}&disposition=no_answer") == ["no_answer"]
        assert self.found(ari, f"{mine}&disposition=nonsense") == []
        # The whole day counts, by the clock in Berlin.
        assert self.found(ari, f"{mine}&start_date=2024-12-09&end_date=2024-12-09") == [
            "cancelled",
            "no_answer",
            "busy",
        ]
        assert self.found(ari, f"{mine}&end_date=2024-12-08") == ["answered"]
        assert self.found(ari, f"{mine}&start_date=2024-12-10") == ["failed"]
        assert self.found(ari, f"{mine}&start_date=2024-12-09%2001:00:00&end_date=2024-12-09T23:59:59") == [
            "cancelled",
            "no_answer",
        ]
        assert self.found(ari, f"{mine}&end_date=2024-12-09%2023:59:58") == ["no_answer", "busy", "answered"]
        assert self.found(ari, f"{mine}&search=0987") == ["busy"]
        assert self.found(ari, f"{mine}&search=555") == ["no_answer"]
        assert self.found(ari, f"{mine}&search=anna_100%25") == ["answered"]
        assert self.found(ari, f"{mine}&search=%25") == ["answered"]
        assert self.found(ari, f"{mine}&search=_") == ["answered"]
        assert self.found(ari, f"{mine}&search='%20OR%201=1%20--") == []
        assert self.found(ari, "campaign_id=999999") == []
        assert "failed" in self.found(ari, "start_date=2024-12-09&end_date=2024-12-09&disposition=failed")

    @pytest.mark.parametrize(
        "wrong", ["2024-13-01", "2024-02-30", "yesterday", "09.12.2024", "2024-12-09 25:00:00", "1"]
    )
    def test_bad_dates(self, ari, wrong):
        for path in ("/cdr", "/cdr/stats"):
            for name in ("start_date", "end_date"):
                found = ari.ask("GET", f"{path}?{name}={wrong.replace(' ', '%20')}", None, 400)
                assert found["message"] == f"Invalid {name}. Use YYYY-MM-DD or YYYY-MM-DD HH:MM:SS"

    @pytest.mark.parametrize("edge", ["0001-01-01", "9999-12-31"])
    def test_dates_at_the_edge(self, ari, edge):
        for name in ("start_date", "end_date"):
            ari.ask("GET", f"/cdr?{name}={edge}", None, (200, 400))

    def test_a_row(self, ari, calls):
        row = ari.get(f"/cdr?campaign_id={calls}&disposition=answered")["data"][0]
        assert row["start_time"] == "2024-12-08 23:59:59"
        assert (row["answer_time"], row["end_time"]) == ("2024-12-09 00:00:04", "2024-12-09 00:00:09")
        assert (row["duration"], row["billsec"], row["agent"]) == (10, 5, "Anna_100%")
        assert ari.data("GET", f"/cdr/{row['id']}") == row
        missed = ari.get(f"/cdr?campaign_id={calls}&disposition=busy")["data"][0]
        assert missed["agent"] is missed["answer_time"] is missed["recording_file"] is None
        assert missed["billsec"] == 0
        assert missed["uniqueid"] == missed["channel_id"]

    def test_stats(self, ari, calls):
        found = ari.data("GET", f"/cdr/stats?campaign_id={calls}")
        assert found == {
            "total_calls": 5, "answered": 1, "no_answer": 1, "busy": 1, "failed": 1, "cancelled": 1, "avg_duration": 10.0,
            "avg_billsec": 1.0, "total_duration": 50, "total_billsec": 5,
        }  # fmt: skip
        nothing = ari.data("GET", "/cdr/stats?campaign_id=999999")
        assert set(nothing.values()) == {0}
        assert (
            ari.data("GET", f"/cdr/stats?campaign_id={calls}&start_date=2024-12-09&end_date=2024-12-09")["total_calls"]
            == 3
        )

    def test_a_call_outlives_its_campaign(self, ari, site):
        campaign = ari.make()["id"]
        add_attempts(site, [{"campaign_id": campaign, "call_id": "outlives"}])
        row = ari.get(f"/cdr?campaign_id={campaign}")["data"][0]
        ari.ask("DELETE", f"/campaigns/{campaign}")
        assert ari.data("GET", f"/cdr/{row['id']}") == row | {"campaign_id": None}


# --------------------------------------------------------------------------------------------------- monitoring, menus


class TestMonitoring:
    def test_without_asterisk(self, ari):
        status = ari.data("GET", "/monitoring/status")
        assert (status["asterisk"], status["database"], status["active_channels"]) == (False, True, 0)
        found = ari.ask("GET", "/monitoring/channels", None, 503)
        assert found["message"].startswith("Failed to get channels: ")
        realtime = ari.data("GET", "/monitoring/realtime")
        assert (realtime["channels"], realtime["channel_count"]) == ([], 0)

    def test_today_is_the_day_in_berlin(self, ari, site):
        midnight = datetime.now(ZONE).replace(hour=0, minute=0, second=0, microsecond=0).timestamp()
        before = ari.data("GET", "/monitoring/realtime")["today_stats"]
        add_attempts(
            site, [{"campaign_id": None, "started_at": midnight + at, "disposition": "busy"} for at in (-1, 0, 1)]
        )
        after = ari.data("GET", "/monitoring/realtime")["today_stats"]
        assert after == before | {"total_calls": before["total_calls"] + 2, "busy": before["busy"] + 2}


class TestMenus:
    def menu(self, ari, name):
        return next(menu for menu in ari.get("/ivr")["data"] if menu["name"] == name)

    def test_listed_and_read(self, ari):
        menus = ari.get("/ivr")["data"]
        assert [menu["id"] for menu in menus] == sorted((menu["id"] for menu in menus), reverse=True)
        main, second = self.menu(ari, "main"), self.menu(ari, "second")
        assert (main["audio_file"], main["timeout"], main["max_digits"]) == ("custom/main-menu.wav", 10, 2)
        assert second["audio_file"] == "custom/one.wav&custom/two.wav"
        found = ari.data("GET", f"/ivr/{main['id']}")
        actions = found.pop("actions")
        assert found == main
        assert [(it["dtmf_digit"], it["action_type"], it["action_value"]) for it in actions] == [
            ("*", "goto_ivr", str(second["id"])),
            ("0", "hangup", ""),
            ("1", "exten", "100"),
            ("2", "queue", "sales"),
            ("3", "playback", "thanks"),
            ("42", "exten", "Local/100@lobby"),
            ("i", "hangup", ""),
            ("t", "queue", "sales"),
        ]
        assert len({action["id"] for action in actions}) == len(actions)
        assert {action["ivr_menu_id"] for action in actions} == {main["id"]}
        assert ari.data("GET", f"/ivr/{main['id']}")["actions"] == actions
        ari.deny("IVR menu not found", "GET", "/ivr/9999", None, 404)

    def test_numbers_stay_when_menus_come_and_go(self, ari, site):
        native = Client(site.port, site.token)
        before = {menu["name"]: menu["id"] for menu in ari.get("/ivr")["data"]}
        body = {"prompts": ["custom/x"], "options": {}, "invalid": {"hangup": 16}, "timeout": {"hangup": 16}}
        body |= {"fallback": {"hangup": 16}, "name": "aaa"}
        native.ask("POST", "/api/v1/menus", body, 201)
        made = self.menu(ari, "aaa")
        assert made["id"] > max(before.values())
        native.ask("DELETE", "/api/v1/menus/aaa", status=204)
        assert {menu["name"]: menu["id"] for menu in ari.get("/ivr")["data"]} == before
        native.ask("POST", "/api/v1/menus", body | {"name": "bbb"}, 201)
        assert self.menu(ari, "bbb")["id"] > made["id"]
        native.ask("PATCH", "/api/v1/menus/bbb", {"timeout_s": 3.5})
        changed = self.menu(ari, "bbb")
        assert changed["timeout"] == 3
        assert changed["updated_at"] is not None
        native.ask("DELETE", "/api/v1/menus/bbb", status=204)

    def test_campaigns_and_what_leads_to_a_menu(self, ari):
        menu = self.menu(ari, "lonely")
        assert menu["campaign_id"] is None
        campaign = ari.make(name="Needs it", agent_dest_type="ivr", agent_dest_value=str(menu["id"]))
        assert (campaign["agent_dest_type"], campaign["agent_dest_value"]) == ("ivr", str(menu["id"]))
        assert [row["name"] for row in ari.get(f"/ivr?campaign_id={campaign['id']}")["data"]] == ["lonely"]
        assert self.menu(ari, "lonely")["campaign_id"] == campaign["id"]
        assert ari.get("/ivr?campaign_id=9999")["data"] == []
        found = ari.ask("DELETE", f"/ivr/{menu['id']}", None, 400)
        assert found["message"] == f"IVR menu lonely is still used by campaign {campaign['id']} (Needs it)"
        found = ari.ask("DELETE", f"/ivr/{self.menu(ari, 'second')['id']}", None, 400)
        assert found["message"] == "IVR menu second is still used by menus/main"
        assert found["errors"] == {"used_by": ["menus/main"]}
        ari.ask("DELETE", f"/campaigns/{campaign['id']}")

    def test_what_cannot_be_applied_is_not_deleted(self, ari, site):
        """There is no Asterisk here: the menu is there afterwards as before, in the newest revision, too."""
        menu = self.menu(ari, "lonely")
        assert ari.ask("DELETE", f"/ivr/{menu['id']}", None, 503)["message"]
        assert self.menu(ari, "lonely")["id"] == menu["id"]
        assert Client(site.port, site.token).ask("GET", "/api/v1/menus/lonely")["prompts"] == ["custom/lonely"]


# ------------------------------------------------------------------------------------------------ document and setting

CHECKS = ",".join(
    (
        *("not_a_server_error", "status_code_conformance", "content_type_conformance"),
        *("response_schema_conformance", "response_headers_conformance", "unsupported_method"),
    )
)


def test_the_document_is_valid(ari):
    openapi_spec_validator.validate(ari.client.api.document)
    listed = {
        (method.upper(), path) for path, methods in ari.client.api.document["paths"].items() for method in methods
    }
    assert listed == {(route.method, route.path) for route in ROUTES}


def test_schemathesis_finds_nothing(site, ari, tmp_path):
    done = subprocess.run(
        [
            *(str(Path(sys.executable).parent / "schemathesis"), "run"),
            *(f"http://127.0.0.1:{site.port}/adial/api/openapi.json", "--header", f"Authorization: Bearer {site.token}"),
            *("--exclude-operation-id-regex", "revoke_token|read_channels|delete_menu", "--checks", CHECKS, "--phases", "fuzzing"),
            *("--max-examples", "8", "--workers", "2", "--seed", "3", "--generation-deterministic", "--no-color"),
            *("--request-timeout", "20", "--suppress-health-check", "all"),
        ],
        capture_output=True, text=True, timeout=170, cwd=tmp_path, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    ari.get("")


def test_it_can_be_switched_off(tmp_path):
    from tandem.settings import HttpSettings
    from tests.api.conftest import Server

    assert HttpSettings().speaks_ari_dialer
    remote = {"host": "192.0.2.1", "port": 80, "allow_remote": True}
    assert not HttpSettings(**remote).speaks_ari_dialer
    assert HttpSettings(**remote, ari_dialer=True).speaks_ari_dialer
    server = Server(tmp_path, **{"http.ari_dialer": "no"})
    server.start()
    try:
        client = Client(server.port, server.token)
        for path in ("/adial/api/campaigns", "/api/campaigns", "/adial/api/openapi.json"):
            assert client.ask("GET", path, status=404)["error"]["status"] == 404
        client.ask("GET", "/api/v1/campaigns")
    finally:
        server.stop()
