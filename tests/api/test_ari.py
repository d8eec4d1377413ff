"""The rules of the ARI Dialer's API on a live server: its messages and codes, verbs, permissions, words, filters; nothing of a stranger's is ever executed."""

import json
import subprocess
import sys
from pathlib import Path

import openapi_spec_validator
import pytest

from api.compat.ari.table import ROUTES
from tests.api.ari_site import CAMPAIGN, path_of
from tests.api.conftest import Client


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
    from tests.api.conftest import Server

    server = Server(tmp_path, **{"apis.ari_dialer.serve": "off"})
    server.start()
    try:
        client = Client(server.port, server.token)
        for path in ("/adial/api/campaigns", "/api/campaigns", "/adial/api/openapi.json"):
            assert client.ask("GET", path, status=404)["error"]["status"] == 404
        client.ask("GET", "/api/v1/campaigns")
    finally:
        server.stop()
