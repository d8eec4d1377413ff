"""The document: valid, complete, true to the live server (schemathesis), and good enough for a generated client."""

import importlib
import json
import re
import subprocess
import sys
from pathlib import Path

import openapi_spec_validator
import pytest

from api.v1.table import ROUTES
from tests.api.conftest import Client, Server
from tests.api.schemathesis import ENDLESS, NEED_ASTERISK, command

BIN = Path(sys.executable).parent


def test_it_is_valid_and_has_every_route(api):
    openapi_spec_validator.validate(api.document)
    found = {(method.upper(), path) for path, methods in api.document["paths"].items() for method in methods}
    assert {(route.method, route.path) for route in ROUTES if not route.operation.startswith("read_docs")} == found
    operations = [method["operationId"] for path in api.document["paths"].values() for method in path.values()]
    assert len(operations) == len(set(operations))
    for path in api.document["paths"].values():
        for method in path.values():
            permission = re.search(r"permission `([a-z/_-]+)`", method["description"])
            assert permission or "no token" in method["description"]


def test_it_leaves_no_parameter_and_no_error_without_words(api):
    for path, methods in api.document["paths"].items():
        for method, operation in methods.items():
            for parameter in operation["parameters"]:
                assert parameter.get("description"), (path, method, parameter["name"])
            for status, response in operation["responses"].items():
                if int(status) >= 400:
                    assert " " in response["description"], (path, method, status)


def test_its_examples_are_taken():
    bodies = {
        route.operation: route.body for route in ROUTES if route.body is not None and route.body.example is not None
    }
    assert len(bodies) >= 10
    for body in bodies.values():
        body.read(body.example)


def test_no_schema_shows_a_secret(api):
    for name, schema in api.document["components"]["schemas"].items():
        if name.endswith(("Shown", "Page")):
            assert {"secret", "pin", "password"}.isdisjoint(schema.get("properties", {})), name


def test_the_page_loads_nothing_from_elsewhere(client):
    page = client.ask("GET", "/api/v1/docs", token=None).decode()
    assert "default-src 'self'" in client.headers["content-security-policy"]
    parts = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert len(parts) == 4
    for part in parts:
        assert part.startswith("/api/v1/docs/")
        assert len(client.ask("GET", part, token=None)) > 50
    client.ask("GET", "/api/v1/docs/..%2f..%2fconf.py", status=404, token=None)
    client.ask("GET", "/api/v1/docs/other.js", status=404, token=None)


def test_what_is_left_out_here_exists():
    operations = {route.operation for route in ROUTES}
    assert {*ENDLESS, *NEED_ASTERISK} <= operations


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory):
    """A server of its own: a fuzzer deletes what others look for."""
    server = Server(tmp_path_factory.mktemp("fuzzed"))
    server.start()
    yield server
    server.stop()
    assert "Traceback" not in (server.folder / "log").read_text()


@pytest.mark.timeout(660)  # what it asks grows with the routes, and other tests run beside it
@pytest.mark.parametrize(
    ("phase", "operations"),
    [
        ("fuzzing", "."),
        (
            "coverage",
            "_(did|dids|sound|sounds|recording|recordings|webhook|webhooks)$",
        ),
        (
            "coverage",
            "_(user|users|token|cdrs|call|general|audit|history|password)$|explain|log_|plan|health",
        ),
    ],
)
def test_schemathesis_finds_nothing(fuzzed, tmp_path, phase, operations):
    done = subprocess.run(
        command(f"http://127.0.0.1:{fuzzed.port}", fuzzed.token, phase, only=operations, without=NEED_ASTERISK),
        capture_output=True, text=True, timeout=600, cwd=tmp_path, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    Client(fuzzed.port, fuzzed.token).ask("GET", "/api/v1/dids")  # it did not delete its own token on the way


def test_a_generated_client_works(server, api, client, tmp_path):
    (tmp_path / "openapi.json").write_text(json.dumps(api.document))
    done = subprocess.run(
        [str(BIN / "openapi-python-client"), "generate", "--path", "openapi.json", "--meta", "none", "--output-path",
         "made_client"],
        capture_output=True, text=True, timeout=120, cwd=tmp_path, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    # YAML and CSV are no bodies, and audio no answer, that the generator knows; everything else is there.
    skipped = set(re.findall(r"WARNING parsing (.*?) within", done.stdout + done.stderr))
    odd = [route for route in ROUTES if route.body is not None and route.body.media_type != "application/json"]
    odd += [route for route in ROUTES if route.answer is not None and route.answer.kind is bytes]
    assert skipped == {f"{route.method} {route.path}" for route in odd}
    sys.path.insert(0, str(tmp_path))
    try:
        made = importlib.import_module("made_client")
        models = importlib.import_module("made_client.models")
        dids = {
            name: importlib.import_module(f"made_client.api.dids.{name}")
            for name in ("create_did", "get_did", "list_dids", "change_did", "delete_did")
        }
        ours = made.AuthenticatedClient(base_url=f"http://127.0.0.1:{server.port}", token=server.token)
        did = models.Did(number="+4930720", destination=models.QueueDestination(queue="sales"))
        shown = dids["create_did"].sync(client=ours, body=did)
        assert (shown.number, shown.destination.queue) == ("+4930720", "sales")
        change = models.DidChange(priority=9)
        assert dids["change_did"].sync("+4930720", client=ours, body=change).priority == 9
        assert dids["get_did"].sync("+4930720", client=ours).priority == 9
        assert "+4930720" in [one.number for one in dids["list_dids"].sync(client=ours).items]
        refused = dids["create_did"].sync(client=ours, body=did)
        assert refused.error.status == 409
        assert dids["delete_did"].sync_detailed("+4930720", client=ours).status_code == 204
    finally:
        sys.path.remove(str(tmp_path))
