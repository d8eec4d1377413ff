"""Surveys over HTTP: made, changed and deleted as every other resource, their texts spoken; answers as a table, as CSV and counted."""

import csv
import io
import sqlite3
from contextlib import closing

import pytest

from tandem.domain.surveys import SurveyAnswer, SurveyVisit
from tandem.store.surveys import record_visits

PATH = "/api/v1/surveys"
BODY = {
    "name": "After the delivery",
    "language": "en",
    "questions": [
        {"id": "happy", "text": "Happy, <name>?", "options": {"1": {"value": "yes"}, "2": {"value": "no"}}, "next": "why"},
        {"id": "why", "text": "Why?", "options": {"1": {"action": "record"}}},
    ],
}  # fmt: skip


class Db:
    """What `record_visits` takes: plain SQL."""

    def __init__(self, connection):
        self.connection = connection

    def execute_sql(self, sql, given=()):
        return self.connection.execute(sql, given)


def answer_one(server, survey_id, calls=1):
    """As calls do it, in one transaction beside the running process."""
    with closing(sqlite3.connect(server.folder / "db" / "tandem.db", timeout=20)) as connection, connection:
        for call in range(calls):
            visit = {"visit_id": f"v{survey_id}-{call}", "survey_id": survey_id, "call_id": f"c{survey_id}-{call}", "campaign_id": 7, "number_id": call, "phone_number": "03055512"}  # fmt: skip
            answers = [
                SurveyAnswer(
                    **visit,
                    position=at,
                    question=question,
                    key="1",
                    value=value,
                    label="",
                    recording="",
                    answered_at=1e9 + call,
                )
                for at, (question, value) in enumerate((("happy", "=cmd" if call else "yes"), ("why", "1")))
            ]
            done = SurveyVisit(**visit, started_at=1e9, ended_at=1e9 + 5, outcome="hung-up" if call else "completed")
            record_visits(Db(connection), [done], answers)
            # The same again: each is kept once.
            record_visits(Db(connection), [done], answers)


@pytest.fixture
def made(client):
    return client.ask("POST", PATH, BODY, 201)


def test_made_read_replaced_changed_and_deleted(client):
    made = client.ask("POST", PATH, BODY, 201, headers={"Idempotency-Key": "survey-1"})
    again = client.ask("POST", PATH, BODY, 201, headers={"Idempotency-Key": "survey-1"})
    assert (again, client.headers["idempotency-replayed"]) == (made, "true")
    client.ask("POST", PATH, {**BODY, "name": "other"}, 409, headers={"Idempotency-Key": "survey-1"})
    one, tag = (
        f"{PATH}/{made['survey_id']}",
        client.ask("GET", f"{PATH}/{made['survey_id']}") and client.headers["etag"],
    )
    assert client.ask("GET", one) == made
    client.ask("GET", one, status=304, headers={"If-None-Match": tag})
    assert made["questions"][0]["timeout_s"] == 5
    client.ask("PUT", one, {**BODY, "name": "x"}, 412, headers={"If-Match": '"other"'})
    replaced = client.ask("PUT", one, {**BODY, "name": "Second"}, 200, headers={"If-Match": tag})
    assert (replaced["name"], replaced["version"]) == ("Second", 2)
    changed = client.ask("PATCH", one, {"max_plays": 5})
    assert (changed["max_plays"], changed["name"], changed["version"]) == (5, "Second", 3)
    assert made["survey_id"] in [item["survey_id"] for item in client.ask("GET", f"{PATH}?limit=1000")["items"]]
    client.ask("DELETE", one, status=412, headers={"If-Match": tag})
    client.ask("DELETE", one, status=204)
    for method, path in (
        ("GET", one),
        ("DELETE", one),
        ("GET", f"{one}/answers"),
        ("GET", f"{one}/counts"),
        ("GET", f"{PATH}/x"),
    ):
        client.ask(method, path, status=404)
    audited = [
        entry["action"]
        for entry in client.ask("GET", "/api/v1/audit")["items"]
        if entry["target"] == one.removeprefix("/api/v1/")
    ]
    assert sorted(audited) == ["surveys/create", "surveys/delete", "surveys/update", "surveys/update"]


def test_texts_are_spoken_when_it_is_made(client, server, made):
    folder = server.folder / "sounds" / "spoken"
    spoken = {path.name for path in folder.iterdir() if path.suffix == ".wav16"}
    assert len(spoken) >= 2
    client.ask("POST", PATH, {**BODY, "name": "Same words"}, 201)
    assert {path.name for path in folder.iterdir() if path.suffix == ".wav16"} == spoken
    problems = client.ask("POST", PATH, {**BODY, "voice": "nobody"}, 422)["error"]["problems"]
    assert problems[0]["field"] == "questions[0].text"
    assert "cannot be spoken" in problems[0]["rule"]
    assert not [path for path in folder.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"questions": []}, "questions"),
        ({"questions": [{"id": "a"}]}, "questions[0].text"),
        ({"questions": [{"id": "a", "text": "x", "next": "b"}]}, "questions[0].next"),
        ({"questions": [{"id": "a", "text": "x", "options": {"x;": {}}}]}, None),
        ({"questions": [{"id": "a", "sound": "tandem/none"}]}, "questions[0].sound"),
        ({"questions": [{"id": "a", "text": "x", "options": {"1": {"action": "transfer", "destination": {"queue": "none"}}}}]},
         "questions[0].options.1.destination.queue"),
        ({"then": {"endpoint": "9999"}}, "then.endpoint"),
        ({"nonsense": 1}, "nonsense"),
        ({"name": "a\0b"}, None),
        ({"name": 1}, "name"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_and_nothing_is_written(client, change, field):
    before = client.ask("GET", f"{PATH}?limit=1000")["total"]
    problems = client.ask("POST", PATH, {**BODY, **change}, 422)["error"]["problems"]
    assert field is None or field in {one["field"] for one in problems}, problems
    assert client.ask("GET", f"{PATH}?limit=1000")["total"] == before


def test_a_campaign_leads_to_it_and_keeps_it(client, made):
    survey = made["survey_id"]
    body = {"name": "s", "dial_string": "PJSIP/${EXTEN}@carrier", "destination": {"survey": survey}}
    trunk = client.ask("GET", "/api/v1/trunks")["items"][0]["name"]
    body["dial_string"] = f"PJSIP/${{EXTEN}}@{trunk}"
    error = client.ask("POST", "/api/v1/campaigns", {**body, "destination": {"survey": 10**9}}, 422)["error"]
    assert error["problems"][0] == {"field": "destination.survey", "rule": f"there is no survey {10**9}"}
    campaign = client.ask("POST", "/api/v1/campaigns", body, 201)
    assert campaign["destination"] == {"survey": survey}
    refused = client.ask("DELETE", f"{PATH}/{survey}", status=409)["error"]
    assert f"campaign {campaign['campaign_id']}" in refused["message"]
    client.ask("DELETE", f"/api/v1/campaigns/{campaign['campaign_id']}", status=204)
    client.ask("DELETE", f"{PATH}/{survey}", status=204)


def test_a_did_leads_to_it(client, made):
    did = {"number": "+493055577", "destination": {"survey": made["survey_id"]}}
    assert client.ask("POST", "/api/v1/dids", did, 201)["destination"] == did["destination"]
    client.ask("DELETE", "/api/v1/dids/+493055577", status=204)


def test_answers_as_a_table_as_csv_and_counted(client, server, made):
    one = f"{PATH}/{made['survey_id']}"
    assert client.ask("GET", f"{one}/answers") == {"items": [], "limit": 100, "next_after_id": None}
    answer_one(server, made["survey_id"], 3)
    first = client.ask("GET", f"{one}/answers?limit=4")
    rest = client.ask("GET", f"{one}/answers?limit=4&after_id={first['next_after_id']}")
    found = first["items"] + rest["items"]
    assert (len(found), rest["next_after_id"]) == (6, None)
    assert {"question": "happy", "key": "1", "value": "yes", "phone_number": "03055512"}.items() <= found[0].items()
    assert found[0]["answered_at"].startswith("2001-09-09T01:46:40")
    assert len(client.ask("GET", f"{one}/answers?call_id=c{made['survey_id']}-1")["items"]) == 2
    assert len(client.ask("GET", f"{one}/answers?since=2001-09-09T01:46:42Z")["items"]) == 2
    assert client.ask("GET", f"{one}/answers?campaign_id=8")["items"] == []
    assert client.ask("GET", f"{one}/counts") == {
        "outcomes": {"completed": 1, "hung-up": 2},
        "answers": [
            {"question": "happy", "value": "=cmd", "amount": 2},
            {"question": "happy", "value": "yes", "amount": 1},
            {"question": "why", "value": "1", "amount": 3},
        ],
    }
    rows = list(csv.DictReader(io.StringIO(client.ask("GET", f"{one}/answers/export").decode())))
    assert [row["value"] for row in rows][:2] == ["yes", "1"]
    # No cell is a formula.
    assert rows[2]["value"] == "'=cmd"
    for wrong in ("limit=0", "after_id=x", "since=x", "nonsense=1"):
        client.ask("GET", f"{one}/answers?{wrong}", status=422)


def test_each_takes_its_permission(client, made):
    one = f"{PATH}/{made['survey_id']}"
    reader, nobody = client.with_token("surveys/read"), client.with_token("dids/read")
    for path in (PATH, one, f"{one}/answers", f"{one}/counts", f"{one}/answers/export"):
        reader.ask("GET", path)
        nobody.ask("GET", path, status=403)
        client.ask("GET", path, status=401, token=None)
    for method, path, body in (("POST", PATH, BODY), ("PUT", one, BODY), ("PATCH", one, {}), ("DELETE", one, None)):
        reader.ask(method, path, body, 403)


def test_the_command_line_lists_and_simulates_it(server, client, made):
    assert f"{made['survey_id']}  After the delivery  2 questions" in server.run("survey", "list")
    told = server.run("survey", "simulate", str(made["survey_id"]), "--keys", "2,1", "--know", "name=Anna")
    assert "happy: Happy, Anna?" in told
    assert "completed" in told
    answer_one(server, made["survey_id"])
    assert "1  happy: yes" in server.run("survey", "results", str(made["survey_id"]))
