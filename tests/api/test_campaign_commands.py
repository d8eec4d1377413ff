"""`tandem campaigns` and `tandem numbers` against a live process, and what event listeners hear of it."""

import json
import subprocess
from http.client import HTTPConnection

from tests.api.test_campaigns import campaign, one

__all__ = ["campaign"]


def fail(server, *arguments):
    done = subprocess.run(server.command(*arguments), capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode != 0, done.stdout
    return done.returncode, done.stderr


def test_states(server, client, campaign):
    number = str(campaign["campaign_id"])
    assert "Winter" in server.run("campaigns", "list")
    assert "running" in server.run("campaigns", "start", number)
    assert "paused" in server.run("campaigns", "pause", number)
    assert "running" in server.run("campaigns", "resume", number)
    shown = json.loads(server.run("campaigns", "show", number, "--json"))
    assert shown["state"] == "running"
    assert shown["now"]["counts"] == shown["counts"]
    assert "stopped" in server.run("campaigns", "stop", number)
    assert "0 numbers" in server.run("campaigns", "reset", number)
    code, told = fail(server, "campaigns", "stop", number)
    assert (code, "already stopped" in told) == (1, True)
    assert fail(server, "campaigns", "show", "999999")[0] == 1
    assert "No campaigns." in server.run("campaigns", "list", "--state", "paused")


def test_import_and_why(server, client, campaign, tmp_path):
    file = tmp_path / "numbers.csv"
    file.write_text("Rufnummer;Ort;x\n030 1;K\u00f6ln;1\n=1;;\n")
    arguments = ("numbers", "import", str(file), "--campaign", str(campaign["campaign_id"]), "--map", "data.ort=Ort")
    told = server.run(*arguments, "--preview")
    assert "2 rows: 1 would be added, 0 duplicates, 1 refused" in told
    assert "line 3: phone_number" in told
    assert "ignored columns: x" in told
    assert "1 added" in server.run(*arguments)
    report = json.loads(server.run(*arguments, "--json"))
    assert (report["added"], report["duplicates"], report["invalid"]) == (0, 1, 1)
    found = client.ask("GET", one(campaign, "/numbers"))["items"]
    assert [(item["phone_number"], item["data"]) for item in found] == [("0301", {"ort": "K\u00f6ln"})]
    told = server.run("numbers", "why", str(found[0]["number_id"]))
    assert "campaign: the campaign is stopped" in told
    assert fail(server, *arguments, "--map", "x")[0] == 2
    assert fail(server, *arguments, "--map", "phone=Nummer")[0] == 1


def test_listeners_hear_of_it(server, client, campaign):
    connection = HTTPConnection("127.0.0.1", server.port, timeout=20)
    connection.request("GET", "/api/v1/events?kinds=campaign", headers={"Authorization": f"Bearer {server.token}"})
    stream = connection.getresponse()
    client.ask("POST", one(campaign, "/numbers"), {"phone_number": "0301"}, 201)
    client.ask("POST", one(campaign, "/start"))
    client.ask("POST", one(campaign, "/stop"))
    heard = []
    while "stopped" not in heard:
        line = stream.readline().decode()
        assert line, "the stream ended"
        if line.startswith("data: "):
            event = json.loads(line.removeprefix("data: "))
            assert event["campaign_id"] == campaign["campaign_id"]
            heard.append(event["event"])
    connection.close()
    assert heard == ["numbers-added", "started", "stopped"]
