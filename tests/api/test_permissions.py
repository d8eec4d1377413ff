"""Every route, with its permission and without; what a token may give away; users and their logins."""

import re
import sqlite3
from urllib.parse import quote

import pytest

from api.auth import LOGINS_PER_MINUTE, ROLES, covers
from api.compat.ari.table import ROUTES as ARI_ROUTES
from api.v1.table import ROUTES
from tandem.store.users import FREE_FAILURES
from tests.api.conftest import SOURCES, Client
from tests.api.schemathesis import ENDLESS

GUARDED = [route for route in ROUTES if route.permission is not None]


def path_of(route):
    return re.sub(r"\{\w+\}", "nothing-of-this-name", route.path)


@pytest.mark.parametrize("route", GUARDED, ids=lambda route: route.operation)
def test_every_route_takes_its_permission(route, client):
    body = {"nothing": 1} if route.body is not None else None
    client.ask(route.method, path_of(route), body, 401, token=None)
    assert client.headers["www-authenticate"].startswith("Bearer")
    group, _, action = route.permission.partition("/")
    others = sorted({other.permission for other in GUARDED} - {route.permission})
    poor = client.with_token(*others)
    poor.ask(route.method, path_of(route), body, 403)
    if route.operation in (*ENDLESS, "log_out"):
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

    @pytest.fixture
    def elsewhere(self, client):
        """The same from another address."""
        return Client(client.port, client.token, client.api, next(SOURCES))

    def make(self, client, name, role="user"):
        client.ask("POST", "/api/v1/users", {"name": name, "password": self.PASSWORD, "role": role}, 201)

    def log_in(self, client, name, password=PASSWORD, status=201):
        made = client.ask("POST", "/api/v1/session", {"name": name, "password": password}, status, token=None)
        return client.with_secret(made.get("secret"))

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

    def test_people_change_their_own_password_and_their_other_logins_end(self, client):
        self.make(client, "dora")
        here, elsewhere, other = self.log_in(client, "dora"), self.log_in(client, "dora"), "other horse battery"
        path, right = "/api/v1/session/password", {"old_password": self.PASSWORD, "new_password": other}
        for wrong, field in (
            ({**right, "old_password": "guess"}, "old_password"),
            ({**right, "new_password": "short"}, "new_password"),
            ({**right, "new_password": self.PASSWORD}, "new_password"),
            ({"new_password": other}, "old_password"),
        ):
            problems = here.ask("PUT", path, wrong, 422)["error"]["problems"]
            assert [problem["field"] for problem in problems] == [field]
        elsewhere.ask("GET", "/api/v1/dids")
        here.ask("PUT", path, right, 204)
        here.ask("GET", "/api/v1/dids")
        elsewhere.ask("GET", "/api/v1/dids", status=401)
        self.log_in(client, "dora", status=401)
        self.log_in(client, "dora", other)
        client.ask("PUT", path, right, 409)  # a token is nobody
        # An admin needs no old password, and ends everything.
        client.ask("PATCH", "/api/v1/users/dora", {"password": self.PASSWORD})
        here.ask("GET", "/api/v1/dids", status=401)
        audit = client.ask("GET", "/api/v1/audit?limit=1000")
        assert ("user dora", "session/update", "users/dora") in [
            (entry["who"], entry["action"], entry["target"]) for entry in audit["items"]
        ]
        assert other not in str(audit)

    def test_who_found_an_open_login_cannot_guess_the_password_through_it(self, client):
        self.make(client, "emil")
        emil = self.log_in(client, "emil")
        statuses = []
        for attempt in range(12):
            body = {"old_password": f"guess {attempt}", "new_password": "stolen horse battery"}
            emil.ask("PUT", "/api/v1/session/password", body, (422, 429))
            statuses.append(emil.status)
        assert statuses[0] == 422
        assert statuses[-1] == 429
        assert int(emil.headers["retry-after"]) >= 1
        emil.ask(
            "PUT",
            "/api/v1/session/password",
            {"old_password": self.PASSWORD, "new_password": "a new horse battery"},
            429,
        )

    def test_guessing_locks_the_name_for_everybody(self, client, elsewhere):
        self.make(client, "victim")
        statuses = []
        while 429 not in statuses:
            body = {"name": "victim", "password": f"guess {len(statuses)}"}
            client.ask("POST", "/api/v1/session", body, (401, 429), token=None)
            statuses.append(client.status)
        assert len(statuses) == FREE_FAILURES + 1  # before the address is too fast
        # From elsewhere too, and not even by the right password: or a name could be guessed through the lock.
        self.log_in(elsewhere, "victim", status=429)
        assert 1 <= int(elsewhere.headers["retry-after"]) <= 30
        # A name that nobody has is answered alike.
        for attempt in range(FREE_FAILURES + 1):
            body = {"name": "nobody at all", "password": "guess"}
            elsewhere.ask("POST", "/api/v1/session", body, 401 if attempt < FREE_FAILURES else 429, token=None)

    def test_guessing_of_many_names_slows_the_address_and_no_other(self, client, elsewhere):
        self.make(client, "honest")
        for attempt in range(6 * LOGINS_PER_MINUTE):
            body = {"name": f"name {attempt}", "password": "guess"}
            answer = client.ask("POST", "/api/v1/session", body, (401, 429), token=None)
            if client.status == 429:
                break
        assert attempt >= LOGINS_PER_MINUTE
        assert answer["error"]["message"] == "too many logins from this address"
        self.log_in(elsewhere, "honest")

    def test_a_password_is_kept_as_argon2id_alone(self, client, server):
        self.make(client, "hashed")
        rows = (
            sqlite3.connect(server.folder / "db" / "tandem.db").execute("SELECT name, password FROM users").fetchall()
        )
        assert dict(rows)["hashed"].startswith("$argon2id$")
        for path in (server.folder / "db").iterdir():
            assert self.PASSWORD.encode() not in path.read_bytes()
        assert self.PASSWORD not in (server.folder / "log").read_text()

    def test_what_a_role_may_do_is_what_it_says_route_by_route(self, client):
        self.make(client, "roland")
        self.make(client, "adele", "admin")
        roland, adele = self.log_in(client, "roland"), self.log_in(client, "adele")
        for route in GUARDED:
            if route.operation in (*ENDLESS, "log_out"):
                continue
            body = {"nothing": 1} if route.body is not None else None
            headers = {"Content-Type": "application/yaml"} if route.operation == "import_config" else None
            roland.ask(route.method, path_of(route), body, None, headers=headers)
            assert (roland.status == 403) == (route.permission not in ROLES["user"]), (route.operation, roland.body)
            adele.ask(route.method, path_of(route), body, None, headers=headers)
            assert adele.status not in (401, 403), (route.operation, adele.body)
        client.ask("DELETE", "/api/v1/users/adele", status=(204, 409))  # 409: run by itself she is the last admin
