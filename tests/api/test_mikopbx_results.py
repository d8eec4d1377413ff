"""What the MikoPBX auto dialer is told and tells: results, signals, clients, spreadsheets."""

import base64
import io
import sqlite3
import zipfile
from contextlib import closing

import pytest
from openpyxl import Workbook

from api.compat.mikopbx.results import CHANGED, tell_result
from tandem.domain.surveys import SurveyVisit
from tandem.store.attempts import Attempt
from tests.api.mikopbx_site import make_task, rows_of, share_site

server, miko, native, poll = share_site()


# --------------------------------------------------------------------------------------------------------- results


def test_results_are_passed_by_a_cursor_and_by_time(miko, poll, server):
    task = make_task(miko, poll, numbers=[f"0305552{number:04}" for number in range(30)])
    with closing(sqlite3.connect(server.folder / "db" / "tandem.db", timeout=20)) as db, db:
        db.execute(
            "UPDATE numbers SET status = 'failed', disposition = 'busy', updated_at = 4000000000.0071588 WHERE campaign_id = ?",
            (task["id"],),
        )
    page = miko.data("GET", "results/4000000000")
    rows = page["results"]
    assert len(rows) == 30
    assert {(row["result"], row["cause"], row["taskId"]) for row in rows} == {("FAIL", "busy", task["id"])}
    # By time alone the same again, since it is inclusive, also as PHP prints it; by the cursor what is behind.
    for since in (rows[-1]["changeTime"], "4000000000.0072"):
        assert len(miko.data("GET", f"results/{since}")["results"]) == 30
    assert miko.data("GET", f"results/{page['next']}")["results"] == []
    middle = f"{rows[9]['changeTime']}:{rows[9]['id']}"
    assert [row["id"] for row in miko.data("GET", f"results/{middle}")["results"]] == [row["id"] for row in rows[10:]]
    for wrong in ("x", "-1", "1e9", "1:2:3", "%00", "9" * 40):
        assert miko.refused("GET", f"results/{wrong}")
        assert miko.refused("GET", f"polling-results/{wrong}")
    assert miko.data("GET", "polling-results/0") == {"results": [], "next": ""}


def attempt(**fields):
    """One that is over, to an employee."""
    made = {
        "attempt_id": 1, "call_id": "c", "campaign_id": 1, "number_id": 1, "dial": 1, "epoch": 0, "node": "", "phone_number": "0301", "caller_number": "",
        "trunk": "far", "destination": "endpoint 1001", "agent": "", "started_at": 1.0, "answered_at": 2.0, "connected_at": None, "abandoned_at": None,
        "ended_at": 9.0, "disposition": "answered", "cause": 16, "tech_cause": 0, "recording_file": None, "recording_leg1": None, "recording_leg2": None,
    }  # fmt: skip
    return Attempt(**(made | fields))


ABANDONED = {"abandoned_at": 9.0}


@pytest.mark.parametrize(
    ("result", "fields", "is_callback"),
    [
        ("SUCCESS", {"destination": "menu main", "connected_at": 2.0}, False),
        ("SUCCESS_CLIENT_H", {"connected_at": 3.0, "is_far_hangup": True}, False),
        ("SUCCESS_USER_H", {"connected_at": 3.0}, False),
        ("SUCCESS_USER_H", {"destination": "queue sales", "connected_at": 3.0}, False),
        ("FAIL_USER_NO_ANSWER", {**ABANDONED, "cause": 19}, False),
        ("FAIL_USER_BUSY", {**ABANDONED, "cause": 17}, False),
        # Told that nobody is free, and hung up while it was said.
        ("FAIL_USER_BUSY", {"abandoned_at": 2.5, "is_far_hangup": True}, False),
        ("FAIL_CLIENT_H_BEFORE_ANSWER", {**ABANDONED, "is_far_hangup": True}, False),
        ("FAIL_PROVIDER", {"disposition": "trunk-dead"}, False),
        ("FAIL", {"disposition": "busy", "cause": 17, "is_far_hangup": True}, False),
        ("FAIL", {"disposition": "no-answer"}, False),
        ("SUCCESS_CLIENT_H", {"connected_at": 3.0}, True),
        ("SUCCESS_USER_H", {"connected_at": 3.0, "is_far_hangup": True}, True),
        ("FAIL", {"disposition": "busy", "cause": 17}, True),
        ("FAIL_USER_BUSY", {"disposition": "cancelled", "cause": 26}, True),
        ("FAIL_USER_BUSY", {"disposition": "cancelled", "cause": 17, "is_far_hangup": True}, True),
        ("FAIL_USER_NO_ANSWER", {"disposition": "cancelled", "cause": 0}, True),
        ("FAIL_USER_H_BEFORE_CLIENT_ANSWER", {"disposition": "cancelled", "cause": 16, "is_far_hangup": True}, True),
    ],
)  # fmt: skip
def test_every_documented_result(result, fields, is_callback):
    assert tell_result(attempt(**fields), None, "", is_callback=is_callback) == result


@pytest.mark.parametrize(
    ("result", "disposition", "outcome"),
    [
        ("SUCCESS_EXTERNAL_SIGNAL", "closed", "completed"), ("SUCCESS_ANOTHER_PHONE", "reached-elsewhere", None), ("SUCCESS_POLLING", "answered", "completed"),
        ("SUCCESS_POLLING", "answered", "transferred"), ("FAIL_POLLING", "answered", "hung-up"), ("FAIL_POLLING", "answered", "gave-up"),
        ("FAIL_ROUTE", "trunk: there is no trunk far", None), ("FAIL", "dnc global", None),
    ],
)  # fmt: skip
def test_every_documented_result_of_polls_and_of_numbers_that_were_not_called(result, disposition, outcome):
    visit = SurveyVisit(
        visit_id="v", survey_id=1, call_id="c", campaign_id=1, number_id=1, phone_number="0301", started_at=1.0, ended_at=2.0, outcome=outcome or "",
    )  # fmt: skip
    made = attempt(destination="survey 1") if outcome else None
    assert tell_result(made, visit if outcome else None, disposition) == result


def test_a_page_of_results_is_read_by_an_index_alone(server):
    with closing(sqlite3.connect(server.folder / "db" / "tandem.db", timeout=20)) as db:
        sql = f"SELECT number_id FROM numbers WHERE {CHANGED} >= 1 AND ({CHANGED} > 1 OR number_id > 1) ORDER BY {CHANGED}, number_id LIMIT 9"
        plan = [row[3] for row in db.execute(f"EXPLAIN QUERY PLAN {sql}")]
    assert len(plan) == 1
    assert "INDEX numbers_changed" in plan[0]


def test_a_signal_closes_the_open_rows_of_a_number_and_of_its_client(miko, native, poll):
    anna = {"clientId": 'A"%7'}
    numbers = [
        {"number": "+4930555420 01", **anna}, {"number": "030555420 02", **anna}, {"number": "03055542003", "clientId": 'a"%7'}, "03055542004",
    ]  # fmt: skip
    task, other = (make_task(miko, poll, numbers=numbers) for _ in range(2))
    signal = {"phone": "8 (493) 055-54-2001"[1:], "taskId": int(task["id"])}
    assert miko.data("POST", "task-signal-close", signal) == signal
    closed = "SUCCESS_EXTERNAL_SIGNAL"
    assert rows_of(miko, task) == {
        "+493055542001": closed, "03055542002": closed, "03055542003": "", "03055542004": "",
    }  # fmt: skip
    assert set(rows_of(miko, other).values()) == {""}
    assert miko.data("POST", "task-signal-close", {"phone": "03055542004"})
    assert rows_of(miko, task)["03055542004"] == rows_of(miko, other)["03055542004"] == closed
    (row,) = [one for one in miko.data("GET", f"task/{task['id']}")["results"] if one["phone"] == "03055542004"]
    assert (row["state"], row["cause"], row["closeTime"]) == ("endCall", "closed", row["changeTime"])
    # Again, and of whom nobody knows: nothing to close, as there.
    for again in (signal, {"phone": "1"}):
        assert miko.data("POST", "task-signal-close", again) == again
    assert native.ask("GET", "/api/v1/audit?limit=1")["items"][0]["action"] == "numbers/update"


def test_a_signal_without_a_number_or_for_no_task_is_refused(miko):
    for body in ({}, {"phone": ""}, {"phone": "x"}, {"phone": ["1"]}, {"phone": "+"}, {"phone": "1" * 41}):
        assert miko.refused("POST", "task-signal-close", body), body
    answer = miko.ask("POST", "task-signal-close", {"phone": "0301", "taskId": "nowhere"})
    assert (answer["result"], answer["data"]) == (False, {"error": "TaskNotFound"})


# --------------------------------------------------------------------------------------------------------- clients


def test_a_client_is_a_contact_and_is_found_by_any_of_their_telephones(miko, native):
    clients = [
        {"crmId": 71, "name": "Anna", "phones": ["+49 30 55571001", "030/55571002"], "properties": [{"key": "ORDER", "value": 4711}, {"key": "City", "value": "Köln"}]},
        {"crmId": "b", "name": "Ben", "phones": [], "properties": None},
    ]  # fmt: skip
    saved = miko.data("POST", "client", clients)
    assert [(one["crmId"], one["name"], [row["phone"] for row in one["phones"]]) for one in saved] == [
        ("71", "Anna", ["+493055571001", "03055571002"]), ("b", "Ben", []),
    ]  # fmt: skip
    assert saved[0]["properties"] == [
        {"clientId": "71", "key": "ORDER", "value": "4711"},
        {"clientId": "71", "key": "City", "value": "Köln"},
    ]
    expected = [{"key": "NAME", "value": "Anna"}, {"key": "ORDER", "value": "4711"}, {"key": "City", "value": "Köln"}]
    for phone in ("3055571001", "+493055571001", "0049305-557-1001", "03055571002"):
        assert miko.data("GET", f"client-by-phone/{phone}") == expected
    assert miko.data("GET", "client-by-phone/030999") == []
    assert miko.refused("GET", "client-by-phone/x")
    native_one = native.ask("GET", "/api/v1/customers/71")
    assert native_one == {
        "person": "71",
        "name": "Anna",
        "phone_numbers": ["+493055571001", "03055571002"],
        "properties": {"ORDER": "4711", "City": "Köln"},
    }
    miko.data("POST", "client", [{**clients[0], "name": "Anna B.", "phones": ["0301"], "properties": []}])
    assert miko.data("GET", "client-by-phone/03055571002") == []
    assert miko.data("GET", "client-by-phone/0301") == [{"key": "NAME", "value": "Anna B."}]
    assert native.ask("GET", "/api/v1/audit?limit=1")["items"][0]["target"] == "customers/71"
    assert miko.data("DELETE", "client/71") == miko.data("DELETE", "client/71") == []
    native.ask("GET", "/api/v1/customers/71", status=404)
    assert [one["person"] for one in native.ask("GET", "/api/v1/customers")["items"]] == ["b"]


@pytest.mark.parametrize(
    "body",
    [{}, "x", [1], [{}], [{"crmId": ""}], [{"crmId": "c", "phones": "x"}], [{"crmId": "c", "phones": ["x"]}], [{"crmId": "c", "properties": [1]}],
     [{"crmId": "c", "properties": [{"value": "no key"}]}], [{"crmId": "c", "name": "a\r\nb"}], [{"crmId": "c\0"}], [{"crmId": "c" * 65}],
     [{"crmId": "ok"}, {"crmId": "c", "phones": ["1" * 41]}], [{"crmId": "c", "phones": ["1"] * 51}]],
)  # fmt: skip
def test_clients_that_cannot_be_are_refused_all_of_them(miko, native, body):
    assert miko.refused("POST", "client", body)
    native.ask("GET", "/api/v1/customers/ok", status=404)
    native.ask("GET", "/api/v1/customers/c", status=404)


# ---------------------------------------------------------------------------------------------------- spreadsheets


def write_sheet(*rows):
    book = Workbook()
    for row in rows:
        book.active.append(row)
    file = io.BytesIO()
    book.save(file)
    return file.getvalue()


def send_sheet(miko, content):
    head = b'--b\r\nContent-Disposition: form-data; name="x"; filename="1.xlsx"\r\n\r\n'
    return miko.ask(
        "POST",
        "upload-xls",
        head + content + b"\r\n--b--\r\n",
        headers={"Content-Type": "multipart/form-data; boundary=b"},
    )


def test_a_row_of_a_spreadsheet_is_one_client(miko, poll):
    sheet = write_sheet(
        ("Name", "Telephone", "Another"), ("Anna", 79522233446, "+7 (952) 223-34-16"), (), ("Ben 2", "030.555/420 01", "03055542001"),
        ("Carl", True, 12.5), ("Dora", 3055542002.0, "=1+1"), ("Emil", "12", "1" * 25),
    )  # fmt: skip
    expected = [
        {"number": "79522233446", "clientId": 2}, {"number": "+79522233416", "clientId": 2}, {"number": "03055542001", "clientId": 4},
        {"number": "3055542002", "clientId": 6},
    ]  # fmt: skip
    encoded = base64.encodebytes(sheet)
    for content in (sheet, encoded, b"data:application/vnd.ms-excel;base64," + encoded):
        assert send_sheet(miko, content) == expected
    task = make_task(miko, poll, numbers=expected)
    rows = miko.data("GET", f"task/{task['id']}")["results"]
    assert [(row["phone"], row["clientId"]) for row in rows] == [
        (one["number"], str(one["clientId"])) for one in expected
    ]


def test_what_is_no_spreadsheet_is_refused(miko):
    sheet = write_sheet(("0301",))
    far = rewrite(sheet, "xl/worksheets/sheet1.xml", lambda xml: xml.replace(b'r="1"', b'r="99999999"'))
    bomb = rewrite(sheet, "xl/styles.xml", lambda _: b" " * (33 * 1024 * 1024))
    entity = b'<!DOCTYPE x [<!ENTITY a "0301">]>'
    entities = rewrite(sheet, "xl/worksheets/sheet1.xml", lambda xml: entity + xml)
    cut, damaged = sheet[: len(sheet) // 2], sheet.replace(b"xl/workbook.xml", b"xl/workbook.xm_")
    old = base64.b64decode("0M8R4KGxGuE=") + b"x" * 1000
    answers = [
        send_sheet(miko, content)
        for content in (b"", b"PK", b"PK\3\4" + b"x" * 99, old, cut, damaged, entities, far, bomb)
    ]
    assert all(answer["result"] is False for answer in answers), answers
    assert "rows" in answers[-2]["messages"][0]
    assert "32 MiB" in answers[-1]["messages"][0]
    assert miko.refused("POST", "upload-xls", b"{}") == ["error upload file: file is empty"]


def rewrite(sheet, name, change):
    """The file with one part changed."""
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(sheet)) as before, zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as after:
        for part in before.namelist():
            content = before.read(part)
            after.writestr(part, change(content) if part == name else content)
    return made.getvalue()
