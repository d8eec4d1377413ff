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

BIN = Path(sys.executable).parent
# Streams without end, what other tests need, and what ends the token.
LEFT_OUT = (
    "listen_events|log_out|delete_token|apply_config|import_config|roll_back_config|adopt_hand_edits|discard_hand_edits"
)


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


CHECKS = ",".join(
    (
        *("not_a_server_error", "status_code_conformance", "content_type_conformance"),
        *("response_schema_conformance", "response_headers_conformance", "unsupported_method"),
    )
)
# Without Asterisk these answer 503, which is right.
NEED_ASTERISK = "list_channels|list_queue_states|list_agents|create_call"


@pytest.mark.parametrize(
    ("phase", "operations"),
    [
        ("fuzzing", "."),
        ("coverage", "_(did|dids|menu|user|users|token|cdrs|call|general|audit|history)$|explain|log_in|plan|health"),
    ],
)
def test_schemathesis_finds_nothing(server, client, tmp_path, phase, operations):
    done = subprocess.run(
        [
            *(str(BIN / "schemathesis"), "run", f"http://127.0.0.1:{server.port}/api/v1/openapi.json"),
            *("--header", f"Authorization: Bearer {server.token}", "--include-operation-id-regex", operations),
            *("--exclude-operation-id-regex", f"{LEFT_OUT}|{NEED_ASTERISK}", "--checks", CHECKS, "--phases", phase),
            *("--max-examples", "8", "--workers", "2", "--seed", "3", "--generation-deterministic", "--no-color"),
            *("--request-timeout", "20", "--suppress-health-check", "all"),
        ],
        capture_output=True, text=True, timeout=170, cwd=tmp_path, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    client.ask("GET", "/health")


def test_a_generated_client_works(server, api, client, tmp_path):
    (tmp_path / "openapi.json").write_text(json.dumps(api.document))
    done = subprocess.run(
        [str(BIN / "openapi-python-client"), "generate", "--path", "openapi.json", "--meta", "none", "--output-path",
         "made_client"],
        capture_output=True, text=True, timeout=120, cwd=tmp_path, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    # YAML and CSV are no bodies that the generator knows; everything else is there.
    skipped = re.findall(r"WARNING parsing (.*?) within", done.stdout + done.stderr)
    assert set(skipped) == {
        f"POST {route.path}"
        for route in ROUTES
        if route.body is not None and route.body.media_type != "application/json"
    }
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
