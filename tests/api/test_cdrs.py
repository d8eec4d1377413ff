"""CDRs over HTTP: what Asterisk wrote becomes a call with its legs, told in events and metrics, found by every filter."""

import csv
import io
import time
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

BEGAN = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)


def event(kind, number, after_s=0.0, cause=16, caller=""):
    row = {
        "eventtype": kind, "eventtime": f"{(BEGAN + timedelta(seconds=number + after_s)).timestamp():.3f}", "num": caller or f"0309{number}",
        "exten": "4930777", "channame": f"PJSIP/1001-{number}", "uniqueid": f"9.{number}", "linkedid": f"9.{number}",
        "eventextra": f'{{\\"hangupcause\\":{cause},\\"hangupsource\\":\\"\\"}}' if kind == "HANGUP" else "",
    }  # fmt: skip
    return "{" + ",".join(f'"{key}":"{value}"' for key, value in row.items()) + "}\n"


def test_from_asterisks_record_to_the_answer(client, server):
    answered = event("CHAN_START", 1) + event("ANSWER", 1, 2) + event("HANGUP", 1, 5)
    busy = event("CHAN_START", 2) + event("HANGUP", 2, 1, cause=17)
    with (server.cel / "cel.json").open("a") as file:
        file.write(answered + busy)
    deadline = time.monotonic() + 60
    while client.ask("GET", "/api/v1/cdrs?caller=0309")["total"] < 2:
        assert time.monotonic() < deadline, "no CDR came"
        time.sleep(0.2)
    cdr = client.ask("GET", "/api/v1/cdrs/9.1")
    assert (cdr["caller"], cdr["called"], cdr["disposition"], cdr["ring_s"], cdr["duration_s"]) == (
        *("03091", "4930777", "answered"), 2.0, 5.0,
    )  # fmt: skip
    (leg,) = cdr["legs"]
    assert (
        datetime.fromisoformat(leg["started_at"])
        == datetime.fromisoformat(cdr["started_at"])
        == BEGAN + timedelta(seconds=1)
    )
    assert (leg["uniqueid"], leg["cause"]) == ("9.1", 16)

    def found(query):
        return [one["call_id"] for one in client.ask("GET", f"/api/v1/cdrs?caller=0309&{query}")["items"]]

    assert found("") == ["9.2", "9.1"]
    assert found("newest_first=false") == ["9.1", "9.2"]
    assert found("limit=1&after_id=9.2") == ["9.1"]
    assert found("disposition=busy") == ["9.2"]
    assert found("direction=outbound") == []
    assert found("called=4930777") == ["9.2", "9.1"]
    assert found(f"since={quote((BEGAN + timedelta(seconds=2)).isoformat())}") == ["9.2"]
    assert found(f"until={quote((BEGAN + timedelta(seconds=2)).isoformat())}") == ["9.1"]
    client.ask("GET", "/api/v1/cdrs/nothing", status=404)
    for wrong in ("disposition=x", "since=x", "limit=0", "direction=x", "nothing=1"):
        client.ask("GET", f"/api/v1/cdrs?{wrong}", status=422)
    metrics = client.ask("GET", "/metrics").decode()
    assert 'tandem_calls_total{disposition="busy"} 1.0' in metrics


def test_exported_as_csv_that_no_spreadsheet_carries_out(client, server):
    count = 1003  # more than a page
    with (server.cel / "cel.json").open("a") as file:
        for number in range(100, 100 + count):
            caller = "=1+1" if number == 100 else "+49308"
            file.write(event("CHAN_START", number, caller=caller) + event("HANGUP", number, 1, cause=17, caller=caller))
    deadline = time.monotonic() + 60
    since = quote((BEGAN + timedelta(seconds=100)).isoformat())
    while client.ask("GET", f"/api/v1/cdrs?since={since}&limit=1")["total"] < count:
        assert time.monotonic() < deadline, "not every CDR came"
        time.sleep(0.2)
    text = client.ask("GET", f"/api/v1/cdrs/export?since={since}&newest_first=false").decode()
    assert client.headers["content-type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [row["call_id"] for row in rows] == [f"9.{number}" for number in range(100, 100 + count)]
    assert [row["caller"] for row in rows[:2]] == ["'=1+1", "'+49308"]
    assert (rows[0]["disposition"], rows[0]["cause"], rows[0]["answered_at"]) == ("busy", "17", "")
    assert datetime.fromisoformat(rows[0]["started_at"]) == BEGAN + timedelta(seconds=100)
    assert client.ask("GET", "/api/v1/cdrs/export?disposition=invalid-number&caller=0308").decode().count("\r\n") == 1
    for wrong in ("limit=1", "after_id=9.1", "since=x"):
        client.ask("GET", f"/api/v1/cdrs/export?{wrong}", status=422)
