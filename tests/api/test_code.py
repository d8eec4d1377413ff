"""A PBX as code over the API: route tests, and that no change goes past them."""

EXPECTATION = "+493023125002 at 2026-11-22T10:00"


def test_route_tests_are_run(client):
    found = client.ask("GET", "/api/v1/config/tests")
    assert found["failed"] == 0
    test = next(it for it in found["items"] if it["question"] == EXPECTATION)
    assert (test["expected"], test["problem"]) == ("menu after-hours", "")
    assert test["steps"] == ["DID +493023125002", "queue support", "queue support is closed, so menu after-hours"]


def test_an_edit_that_makes_a_route_test_fail_is_refused_and_changes_nothing(client):
    head = client.ask("GET", "/api/v1/monitoring/status")["head"]
    error = client.ask("PATCH", "/api/v1/queues/support", {"closed": {"endpoint": "1000"}}, 422)["error"]
    assert error["problems"][0]["object"] == f"expect/{EXPECTATION}"
    assert "comes to endpoint 1000, not to menu after-hours" in error["message"]
    error = client.ask("PATCH", "/api/v1/general", {"blocked_callers": []}, 422)["error"]
    assert "expect/+493023125001 from +15550199123" in error["message"]
    # A test names an object as others do: what it leads to stays.
    assert client.ask("GET", "/api/v1/monitoring/status")["head"] == head


def test_an_import_that_makes_one_fail_is_refused_and_changes_nothing(client):
    head = client.ask("GET", "/api/v1/monitoring/status")["head"]
    document = (
        b"dids: [{number: +49301, destination: {hangup: busy}}]\nexpect: [{did: +49301, destination: {hangup: normal}}]"
    )
    headers = {"Content-Type": "application/yaml"}
    error = client.ask("POST", "/api/v1/config/import", raw=document, status=422, headers=headers)["error"]
    assert "expect +49301: comes to hang up (busy), not to hang up (normal): DID +49301" in error["message"]
    assert client.ask("GET", "/api/v1/monitoring/status")["head"] == head


YAML = {"Content-Type": "application/yaml"}


def test_a_plan_is_kept_under_an_id_and_changes_nothing(client):
    head = client.ask("GET", "/api/v1/monitoring/status")["head"]
    document = b"endpoints: [{extension: 4711, secret: a-secret-of-mine}]"
    made = client.ask("POST", "/api/v1/config/plans?note=why", raw=document, status=201, headers=YAML)
    added = [it for it in made["plan"]["objects"] if it["change"] == "added"]
    assert [(it["collection"], it["key"]) for it in added] == [("endpoints", "4711")]
    assert any(it["change"] == "removed" and it["collection"] == "dids" for it in made["plan"]["objects"])
    assert "a-secret-of-mine" not in client.body.decode()
    assert client.headers["location"] == f"/api/v1/config/plans/{made['plan_id']}"
    assert client.ask("GET", client.headers["location"]) == made
    assert client.ask("GET", "/api/v1/monitoring/status")["head"] == head
    client.ask("GET", "/api/v1/config/plans/nosuch", status=404)
    client.ask("POST", "/api/v1/config/plans/nosuch/apply", {}, status=404)


def test_a_plan_that_is_asked_for_twice_is_one(client):
    document = b"endpoints: [{extension: 4711, secret: a-secret-of-mine}]"
    key = {**YAML, "Idempotency-Key": "plan-once"}
    made, again = (client.ask("POST", "/api/v1/config/plans", raw=document, status=201, headers=key) for _ in range(2))
    assert again["plan_id"] == made["plan_id"]
    other = b"endpoints: [{extension: 4712, secret: a-secret-of-mine}]"
    client.ask("POST", "/api/v1/config/plans", raw=other, status=409, headers=key)


def test_a_plan_of_another_head_is_refused(client):
    document = b"endpoints: [{extension: 4711, secret: a-secret-of-mine}]"
    made = client.ask("POST", "/api/v1/config/plans", raw=document, status=201, headers=YAML)
    client.ask("POST", "/api/v1/endpoints", {"extension": "4712", "secret": "another-secret"}, 201)
    error = client.ask("POST", f"/api/v1/config/plans/{made['plan_id']}/apply", {"note": "x"}, status=412)["error"]
    assert "the newest revision is" in error["message"]
    client.ask("DELETE", "/api/v1/endpoints/4712", status=204)


def test_drift_needs_asterisk(client):
    client.ask("GET", "/api/v1/config/drift", status=(200, 502, 503))
