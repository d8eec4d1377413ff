"""The audit log: each change with who, when, what and from where; reading leaves nothing, a refused change neither."""

from datetime import UTC, datetime, timedelta

import pytest

HANGUP = {"hangup": 16}
PASSWORD = "correct horse battery"


@pytest.fixture
def entries(client):
    """What this test's client (by its address) left, oldest first, as (who, action, target)."""

    def read(**query):
        asked = "&".join(f"{name}={value}" for name, value in {"source": client.source, "limit": 1000, **query}.items())
        return [
            (one["who"], one["action"], one["target"]) for one in client.ask("GET", f"/api/v1/audit?{asked}")["items"]
        ][::-1]

    return read


def test_each_change_is_told_and_nothing_else(client, entries):
    before = datetime.now(UTC)
    client.ask("GET", "/api/v1/dids")
    client.ask("POST", "/api/v1/dids", {"number": "x"}, 422)
    client.ask("DELETE", "/api/v1/dids/nothing", status=404)
    client.ask(
        "POST", "/api/v1/dids", {"number": "+4930790", "destination": HANGUP}, 201, headers={"Idempotency-Key": "au"}
    )
    client.ask(
        "POST", "/api/v1/dids", {"number": "+4930790", "destination": HANGUP}, 201, headers={"Idempotency-Key": "au"}
    )
    client.ask("PATCH", "/api/v1/dids/+4930790", {"priority": 2})
    client.ask("PUT", "/api/v1/dids/+4930790", {"number": "+4930790", "destination": HANGUP})
    client.ask("DELETE", "/api/v1/dids/+4930790", status=204)
    language = client.ask("GET", "/api/v1/general")["language"]
    client.ask("PATCH", "/api/v1/general", {"language": "fr"})
    client.ask("PATCH", "/api/v1/general", {"language": language})
    made = client.ask("POST", "/api/v1/tokens", {"name": "audited", "permissions": ["dids/read"]}, 201)
    client.ask("DELETE", f"/api/v1/tokens/{made['id']}", status=204)
    client.ask("POST", "/api/v1/users", {"name": "audited", "password": PASSWORD}, 201)
    login = client.with_secret(
        client.ask("POST", "/api/v1/session", {"name": "audited", "password": PASSWORD}, 201, token=None)["secret"]
    )
    client.ask("POST", "/api/v1/session", {"name": "audited", "password": "wrong"}, 401, token=None)
    login.ask("PUT", "/api/v1/session/password", {"old_password": PASSWORD, "new_password": f"{PASSWORD} 2"}, 204)
    login.ask("DELETE", "/api/v1/session", status=204)
    client.ask("PATCH", "/api/v1/users/audited", {"role": "user"})
    client.ask("DELETE", "/api/v1/users/audited", status=204)
    admin, user = "token 1 (admin)", "user audited"
    assert entries() == [
        (admin, "dids/create", "dids/+4930790"),
        (admin, "dids/update", "dids/+4930790"),
        (admin, "dids/update", "dids/+4930790"),
        (admin, "dids/delete", "dids/+4930790"),
        (admin, "general/update", "general"),
        (admin, "general/update", "general"),
        (admin, "tokens/create", "tokens (audited)"),
        (admin, "tokens/delete", f"tokens/{made['id']}"),
        (admin, "users/create", "users/audited"),
        (user, "log_in", "users/audited"),
        (user, "session/update", "users/audited"),
        (user, "session/delete", "users/audited"),
        (admin, "users/update", "users/audited"),
        (admin, "users/delete", "users/audited"),
    ]
    found = client.ask("GET", f"/api/v1/audit?source={client.source}")
    assert found["total"] == 14
    for entry in found["items"]:
        assert before <= datetime.fromisoformat(entry["at"]) <= datetime.now(UTC)
    revisions = [entry["revision"] for entry in found["items"] if entry["action"] == "dids/create"]
    head = client.ask("GET", f"/api/v1/config/history/{revisions[0]}")
    assert head["objects"][0]["key"] == "+4930790"
    assert PASSWORD not in str(found)


def test_it_is_filtered_and_paged(client, entries):
    for number in range(3):
        client.ask("POST", "/api/v1/dids", {"number": f"+493079{number}", "destination": HANGUP}, 201)
        client.ask("DELETE", f"/api/v1/dids/+493079{number}", status=204)
    assert len(entries()) == 6
    assert {action for _, action, _ in entries(action="dids/delete")} == {"dids/delete"}
    assert entries(target="dids/%2B4930791") == entries()[2:4]
    assert entries(target="dids/_4930791") == []  # no pattern
    assert entries(who="nobody") == []
    assert entries(limit=2, offset=1) == entries()[3:5]
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    assert entries(since=tomorrow) == []
    assert len(entries(until=tomorrow)) == 6
    client.ask("GET", "/api/v1/audit?since=yesterday", status=422)
