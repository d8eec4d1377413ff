"""Groups of users over HTTP: what those in one see, change and may do; everybody else's is as if it were not there."""

import pytest

from tests.api.conftest import Client
from tests.api.test_campaigns import CAMPAIGN, PATH, problems

GROUPS = "/api/v1/user-groups"
USERS = "/api/v1/users"
PASSWORD = "correct-horse-battery"


@pytest.fixture
def campaigns(client):
    made = [client.ask("POST", PATH, CAMPAIGN | {"name": name}, 201)["campaign_id"] for name in ("ours", "theirs")]
    yield made
    for campaign_id in made:
        client.ask("DELETE", f"{PATH}/{campaign_id}", status=(204, 404))


def log_in(client, name):
    made = client.ask("POST", "/api/v1/session", {"name": name, "password": PASSWORD}, 201, token=None)
    return client.with_secret(made["secret"])


def test_a_group_limits_what_its_people_see_and_change(client, campaigns):
    ours, theirs = campaigns
    group = client.ask("POST", GROUPS, {"name": "north", "title": "North", "campaigns": [ours]}, 201)
    assert client.headers["location"] == f"{GROUPS}/north"
    assert client.ask("GET", f"{GROUPS}/north") == group
    user = client.ask("POST", USERS, {"name": "ann", "password": PASSWORD, "user_group": "north"}, 201)
    assert user["user_group"] == "north"
    numbers = {
        one: client.ask("POST", f"{PATH}/{one}/numbers", {"phone_number": "030123"}, 201)["number_id"]
        for one in campaigns
    }
    lists = {
        one: client.ask("POST", "/api/v1/lists", {"campaign_id": one, "name": "x"}, 201)["list_id"] for one in campaigns
    }
    ann = log_in(client, "ann")
    assert [one["campaign_id"] for one in ann.ask("GET", PATH)["items"]] == [ours]
    assert ann.ask("GET", f"{PATH}/{ours}")["name"] == "ours"
    assert ann.ask("GET", f"/api/v1/numbers/{numbers[ours]}")["campaign_id"] == ours
    assert [one["list_id"] for one in ann.ask("GET", "/api/v1/lists")["items"]] == [lists[ours]]
    missing = ann.ask("GET", f"{PATH}/{theirs}", status=404)
    assert missing == ann.ask("GET", f"{PATH}/4711471", status=404)
    for method, path, body in (
        ("GET", f"{PATH}/{theirs}/counts", None),
        ("GET", f"{PATH}/{theirs}/numbers", None),
        ("GET", f"{PATH}/{theirs}/attempts", None),
        ("POST", f"{PATH}/{theirs}/start", None),
        ("POST", f"{PATH}/{theirs}/dial", {"agent": "1001"}),
        ("PATCH", f"{PATH}/{theirs}", {"name": "mine"}),
        ("DELETE", f"{PATH}/{theirs}", None),
        ("GET", f"/api/v1/numbers/{numbers[theirs]}", None),
        ("GET", f"/api/v1/numbers/{numbers[theirs]}/why", None),
        ("PUT", f"/api/v1/numbers/{numbers[theirs]}/status", {"status": "SALE"}),
        ("GET", f"/api/v1/lists/{lists[theirs]}", None),
    ):
        ann.ask(method, path, body, 404)
    assert client.ask("GET", f"{PATH}/{theirs}")["name"] == "theirs"
    # What does not know groups is refused, in every API.
    for path in ("/api/v1/attempts", "/api/v1/cdrs", "/api/v1/calls", "/api/v1/events"):
        ann.ask("GET", path, status=403)
    Client(ann.port, ann.token).ask("GET", "/api/campaigns", status=403)  # the ARI Dialer's
    # A campaign that she makes is her group's.
    made = ann.ask("POST", PATH, CAMPAIGN | {"name": "new"}, 201)["campaign_id"]
    assert {one["campaign_id"] for one in ann.ask("GET", PATH)["items"]} == {ours, made}
    assert client.ask("GET", f"{GROUPS}/north")["campaigns"] == [ours, made]
    # A list does not leave for a campaign that she does not see.
    assert ann.ask("GET", f"/api/v1/lists/{lists[ours]}")["campaign_id"] == ours
    # Whom it admits is changed at once, and nobody is thrown out by it.
    client.ask("PATCH", f"{GROUPS}/north", {"campaigns": [theirs]})
    assert [one["campaign_id"] for one in ann.ask("GET", PATH)["items"]] == [theirs]
    client.ask("PATCH", f"{GROUPS}/north", {"campaigns": None})
    assert {ours, theirs, made} <= {one["campaign_id"] for one in ann.ask("GET", PATH)["items"]}
    ann.ask("GET", "/api/v1/attempts")
    client.ask("DELETE", f"{GROUPS}/north", status=409)
    assert client.ask("PATCH", f"{USERS}/ann", {"user_group": None})["user_group"] is None
    client.ask("DELETE", f"{GROUPS}/north", status=204)
    client.ask("DELETE", f"{USERS}/ann", status=204)
    client.ask("DELETE", f"{PATH}/{made}", status=204)


def test_a_group_takes_permissions_away_and_gives_none(client, campaigns):
    limited = ["campaigns/read", "users/read"]
    client.ask("POST", GROUPS, {"name": "readers", "title": "Readers", "permissions": limited}, 201)
    client.ask("POST", USERS, {"name": "bob", "password": PASSWORD, "user_group": "readers"}, 201)
    bob = log_in(client, "bob")
    assert bob.ask("GET", f"{PATH}/{campaigns[0]}")["name"] == "ours"
    bob.ask("POST", f"{PATH}/{campaigns[0]}/start", status=403)
    bob.ask("GET", USERS, status=403)  # the role has it not
    bob.ask("DELETE", "/api/v1/session", status=204)  # one's own login is always one's own
    client.ask("DELETE", f"{USERS}/bob", status=204)
    client.ask("DELETE", f"{GROUPS}/readers", status=204)


def test_an_admin_in_a_group_does_not_get_out_of_it(client):
    for name in ("north", "south"):
        client.ask("POST", GROUPS, {"name": name, "title": name}, 201)
    people = {
        "nora": {"role": "admin", "user_group": "north"},
        "nick": {"role": "admin", "user_group": "north"},
        "sue": {"user_group": "south"},
        "free": {"role": "admin"},
    }
    for name, fields in people.items():
        client.ask("POST", USERS, {"name": name, "password": PASSWORD} | fields, 201)
    before = client.ask("GET", USERS)["items"]
    nora = log_in(client, "nora")
    new = {"name": "evil", "password": PASSWORD}
    for fields in ({"role": "admin"}, {"role": "admin", "user_group": "north"}, {"user_group": "south"}, {}):
        nora.ask("POST", USERS, new | fields, 403)
    for name in people:
        if name != "nora":
            nora.ask("PATCH", f"{USERS}/{name}", {"password": "another-correct-horse"}, 403)
            nora.ask("PATCH", f"{USERS}/{name}", {"user_group": "north"}, 403)
            nora.ask("DELETE", f"{USERS}/{name}", status=403)
    nora.ask("PATCH", f"{USERS}/nora", {"user_group": None}, 403)
    for permission in ("*", "dids/read"):
        nora.ask("POST", "/api/v1/tokens", {"name": "out", "permissions": [permission]}, 403)
    token = client.ask("POST", "/api/v1/tokens", {"name": "of all", "permissions": ["*"]}, 201)["id"]
    nora.ask("DELETE", f"/api/v1/tokens/{token}", status=403)
    client.ask("DELETE", f"/api/v1/tokens/{token}", status=204)
    nora.ask("PATCH", f"{GROUPS}/north", {"permissions": ["*"]}, 403)
    nora.ask("POST", GROUPS, {"name": "west", "title": "West"}, 403)
    nora.ask("DELETE", f"{GROUPS}/south", status=403)
    unmoved = {one["name"]: (one["role"], one["user_group"]) for one in client.ask("GET", USERS)["items"]}
    assert unmoved == {one["name"]: (one["role"], one["user_group"]) for one in before}
    # Her group's own people are hers to make, change and delete, but not to send elsewhere or up.
    nora.ask("POST", USERS, new | {"name": "ned", "user_group": "north"}, 201)
    assert nora.ask("PATCH", f"{USERS}/ned", {"extension": "1001"})["user_group"] == "north"
    for fields in ({"role": "admin"}, {"user_group": "south"}, {"user_group": None}):
        nora.ask("PATCH", f"{USERS}/ned", fields, 403)
    nora.ask("DELETE", f"{USERS}/ned", status=204)
    for name in people:
        # 409: run by itself `free` is the last admin.
        client.ask("DELETE", f"{USERS}/{name}", status=(204, 409) if name == "free" else 204)
    for name in ("north", "south"):
        client.ask("DELETE", f"{GROUPS}/{name}", status=204)


def test_what_does_not_fit_is_refused(client):
    new = {"name": "a", "title": "A"}
    for wrong, field in (
        ({"name": "a b"}, "name"),
        ({"name": ""}, "name"),
        ({"title": ""}, "title"),
        ({"title": "a\nb"}, "title"),
        ({"permissions": ["everything"]}, "permissions"),
        ({"permissions": ["nothing/read"]}, "permissions"),
        ({"campaigns": ["x"]}, "campaigns"),
    ):
        found = problems(client.ask("POST", GROUPS, new | wrong, 422))
        assert any(name.startswith(field) for name in found), found
    client.ask("POST", GROUPS, new | {"campaigns": [4711471]}, 404)
    headers = {"Idempotency-Key": "group-once"}
    made = client.ask("POST", GROUPS, new, 201, headers=headers)
    assert client.ask("POST", GROUPS, new, 201, headers=headers) == made
    client.ask("POST", GROUPS, new | {"name": "A"}, 409)
    client.ask("PATCH", f"{GROUPS}/a", {"title": None}, 422)
    unknown = {"name": "eve", "password": PASSWORD, "user_group": "nobodys"}
    assert "user_group" in problems(client.ask("POST", USERS, unknown, 422))
    client.ask("GET", f"{USERS}/eve", status=404)
    client.ask("DELETE", f"{GROUPS}/a", status=204)
    client.ask("DELETE", f"{GROUPS}/a", status=404)
    client.ask("PATCH", f"{GROUPS}/a", {"title": "x"}, 404)
