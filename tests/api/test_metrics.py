"""What Prometheus is told: calls, decisions and their time, AMI, the reactor's lag, SQL, HTTP; and never a label that a stranger chose."""

import socket

import pytest
from prometheus_client.parser import text_string_to_metric_families

from api.metrics import Metrics
from api.v1.table import ROUTES
from fastagi.testing import environment_block


def read(text):
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_each_thing_that_happens_is_counted():
    metrics = Metrics(lambda: [("tandem_ready", "Ready", 1.0)])
    metrics.observe_decision("did", 0.0004)
    metrics.observe_decision("did", 0.2)
    metrics.count_call("busy")
    metrics.observe_sql("read", 0.003)
    metrics.observe_http("list_dids", 200, 0.001)
    found = read(metrics.encode().decode())
    assert found["tandem_decision_seconds_count", (("script", "did"),)] == 2
    assert found["tandem_decision_seconds_sum", (("script", "did"),)] == pytest.approx(0.2004)
    assert found["tandem_decision_seconds_bucket", (("le", "0.0005"), ("script", "did"))] == 1
    assert found["tandem_calls_total", (("disposition", "busy"),)] == 1
    assert found["tandem_sql_seconds_count", (("thread", "read"),)] == 1
    assert found["tandem_http_seconds_count", (("operation", "list_dids"), ("status", "200"))] == 1
    assert found["tandem_ready", ()] == 1


def test_a_live_tandem_tells_all_of_it(client, server):
    for path, status in (
        ("/api/v1/dids", 200),
        ("/nothing-of-this-name", 404),
        ("/api/v1/dids/nothing-of-this-name", 404),
    ):
        client.ask("GET", path, status=status)
    with socket.create_connection(("127.0.0.1", server.fastagi_port), timeout=20) as call:
        call.sendall(environment_block(extension="493023125000"))
        while call.recv(4096):
            call.sendall(b"200 result=0\n")
    story = client.ask("GET", "/api/v1/decisions?limit=1")["items"][0]
    assert (story["decisions"][0]["script"], story["decisions"][0]["called"]) == ("did", "493023125000")
    text = client.ask("GET", "/metrics").decode()
    found = read(text)
    names = {name for name, _ in found}
    assert found["tandem_decision_seconds_count", (("script", "did"),)] >= 1
    assert found["tandem_ami_connected", ()] == 0
    assert {"tandem_ready", "tandem_live_revision", "tandem_calls_open", "tandem_reactor_lag_p99_seconds"} <= names
    assert {
        "tandem_sql_seconds_count",
        "tandem_http_connections",
        "tandem_event_clients",
        "tandem_calls_total",
    } <= names
    assert found["tandem_http_seconds_count", (("operation", "list_dids"), ("status", "200"))] >= 1
    assert found["tandem_http_seconds_count", (("operation", "get_did"), ("status", "404"))] >= 1
    operations = {dict(labels).get("operation") for name, labels in found if name == "tandem_http_seconds_count"}
    assert operations <= {route.operation for route in ROUTES} | {""}
    assert "nothing-of-this-name" not in text
