"""Every route, with its permission and without; what a token may give away; users and their logins."""

import re
from urllib.parse import quote

import pytest

from api.auth import ROLES, covers
from api.compat.ari.table import ROUTES as ARI_ROUTES
from api.v1.table import ROUTES

GUARDED = [route for route in ROUTES if route.permission is not None]


def path_of(route):
    return re.sub(r"\{\w+\}", "nothing-of-this-name", route.path)


@pytest.mark.parametrize("route", GUARDED, ids=lambda route: route.operation)
def test_every_route_takes_its_permission(route, client):
    body = {} if route.body is not None else None
    client.ask(route.method, path_of(route), body, 401, token=None)
    assert client.headers["www-authenticate"].startswith("Bearer")
    group, _, action = route.permission.partition("/")
    others = sorted({other.permission for other in GUARDED} - {route.permission})
    poor = client.with_token(*others)
    poor.ask(route.method, path_of(route), body, 403)
    if route.operation in ("listen_events", "log_out"):
        return  # a stream has no end, and a login is needed: both have tests of their own
    headers = {"Content-Type": "application/yaml"} if route.operation == "import_config" else None
    for held in (route.permission, f"{group}/*"):
        rich = client.with_token(held)
        rich.ask(route.method, path_of(route), body, None, headers=headers)
        assert rich.status not in (401, 403), rich.body
    assert action


@pytest.mark.parametrize(
    "route", [route for route in ROUTES if route.permission is None], ids=lambda route: route.operation
)
def test_the_open_routes_are_few_and_tell_no_secret(route, client):
    assert route.operation in ("read_health", "log_in", "get_openapi", "read_docs", "read_docs_part")


def test_health_tells_reasons_only_to_whoever_may_read_them(client):
    assert client.ask("GET", "/health", token=None)["reasons"] == []
    assert client.with_token("dids/read").ask("GET", "/health")["reasons"] == []
    assert client.with_token("monitoring/read").ask("GET", "/health")["reasons"]


@pytest.mark.parametrize(
    "wrong", ["", "Basic abc", "Bearer", "Bearer x", "Bearer tandem_1_" + "0" * 64, "Bearer tandem_99_" + "0" * 64]
)
def test_wrong_tokens_are_nobody(client, wrong):
    client.ask("GET", "/api/v1/dids", status=401, headers={"Authorization": wrong}, token=None)


def test_a_token_gives_no_more_than_it_has(client):
    maker = client.with_token("tokens/*", "dids/read")
    for wanted in ("*", "dids/*", "dids/create", "queues/read"):
        maker.ask("POST", "/api/v1/tokens", {"name": "x", "permissions": [wanted]}, 403)
    made = maker.ask("POST", "/api/v1/tokens", {"name": "x", "permissions": ["dids/read", "tokens/read"]}, 201)
    assert made["secret"] not in str(maker.ask("GET", "/api/v1/tokens"))
    child = client.with_token("dids/read")
    child.ask("GET", "/api/v1/dids")
    tokens = client.ask("GET", "/api/v1/tokens?sort=-id")["items"]
    client.ask("DELETE", f"/api/v1/tokens/{tokens[0]['id']}", status=204)
    child.ask("GET", "/api/v1/dids", status=401)
    client.ask("DELETE", f"/api/v1/tokens/{tokens[0]['id']}", status=404)
    for odd in ("x", "9" * 30, "%C2%B2"):
        client.ask("DELETE", f"/api/v1/tokens/{odd}", status=404)


def test_a_token_ends_when_it_says(client):
    past = {"name": "x", "permissions": ["dids/read"], "expires_at": "2020-01-01T00:00:00Z"}
    assert client.ask("POST", "/api/v1/tokens", past, 422)["error"]["problems"][0]["field"] == "expires_at"


def test_roles_are_made_of_declared_permissions():
    declared = {route.permission for route in (*GUARDED, *ARI_ROUTES)} | {"calls/national", "calls/international"}
    for held in ROLES["user"]:
        assert held in declared, held
    assert not covers(ROLES["user"], "calls/international")
    assert not covers(ROLES["user"], "dids/update")
    assert not covers(("dids/read",), "*")
    assert not covers(("dids/read",), "dids/*")


class TestUsers:
    PASSWORD = "correct horse battery"

    def make(self, client, name, role="user"):
        client.ask("POST", "/api/v1/users", {"name": name, "password": self.PASSWORD, "role": role}, 201)

    def log_in(self, client, name, password=PASSWORD, status=201):
        from tests.api.conftest import Client

        made = client.ask("POST", "/api/v1/session", {"name": name, "password": password}, status, token=None)
        return Client(client.port, made.get("secret"), client.api)

    def test_log_in_work_and_log_out(self, client):
        self.make(client, "berta")
        berta = self.log_in(client, "berta")
        berta.ask("GET", "/api/v1/dids")
        berta.ask("DELETE", "/api/v1/dids/x", status=403)
        berta.ask("DELETE", "/api/v1/session", status=204)
        berta.ask("GET", "/api/v1/dids", status=401)
        client.ask("DELETE", "/api/v1/session", status=409)
        client.ask("POST", "/api/v1/users", {"name": "BERTA", "password": self.PASSWORD}, 409)
        for wrong in ({"password": "short"}, {"role": "root"}, {"name": "a b"}, {"x": 1}):
            body = {"name": "carl", "password": self.PASSWORD, **wrong}
            assert self.PASSWORD not in str(client.ask("POST", "/api/v1/users", body, 422))
        # A new password ends what was opened with the old one.
        berta = self.log_in(client, "berta")
        client.ask("PATCH", "/api/v1/users/berta", {"password": "another horse battery"})
        berta.ask("GET", "/api/v1/dids", status=401)
        client.ask("DELETE", "/api/v1/users/berta", status=204)
        client.ask("DELETE", "/api/v1/users/berta", status=404)
        who = [entry["who"] for entry in client.ask("GET", "/api/v1/audit?limit=1000")["items"]]
        assert "user berta" in who

    def test_the_last_admin_stays_and_only_admins_make_admins(self, client):
        self.make(client, "first", "admin")
        # The server is shared, and a fuzzer may have made admins before us.
        for user in client.ask("GET", "/api/v1/users?limit=1000")["items"]:
            if user["name"] != "first":
                client.ask("DELETE", f"/api/v1/users/{quote(user['name'], safe='')}", status=204)
        client.ask("DELETE", "/api/v1/users/first", status=409)
        client.ask("PATCH", "/api/v1/users/first", {"role": "user"}, 409)
        self.make(client, "second", "admin")
        some = client.with_token("users/*")
        some.ask("POST", "/api/v1/users", {"name": "evil", "password": self.PASSWORD, "role": "admin"}, 403)
        some.ask("PATCH", "/api/v1/users/first", {"password": "stolen horse battery"}, 403)
        some.ask("DELETE", "/api/v1/users/first", status=403)
        client.ask("PATCH", "/api/v1/users/second", {"role": "user"})
        client.ask("DELETE", "/api/v1/users/first", status=409)
        client.ask("DELETE", "/api/v1/users/second", status=204)

    def test_brute_force_meets_a_locked_name_and_a_slow_address(self, client):
        self.make(client, "victim")
        statuses = []
        for attempt in range(14):
            client.ask(
                "POST", "/api/v1/session", {"name": "victim", "password": f"guess {attempt}"}, (401, 429), token=None
            )
            statuses.append(client.status)
        assert 401 in statuses
        assert statuses[-1] == 429
        assert int(client.headers["retry-after"]) >= 1
        # Not even the right password opens a locked name, or a name could be guessed through the lock.
        self.log_in(client, "victim", status=429)
