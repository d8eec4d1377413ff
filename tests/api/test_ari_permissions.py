"""The ARI Dialer's tokens, permissions and users on a live server: nobody gets more than they were given."""

import json
import re
from datetime import datetime, timedelta

import pytest

from api.auth import ROLES
from api.compat.ari.table import ROUTES
from tests.api.ari_site import GUARDED, ZONE, Ari, bodies, path_of, write
from tests.api.conftest import Client


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
