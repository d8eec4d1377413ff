"""What the While1 Voice API reads: queues, DIDs, hours, calls by every filter, reports; and what it keeps of a call."""

import re
import sqlite3
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from tests.api.while1_site import share_site

server, native, voice = share_site()


@pytest.mark.parametrize("how", ["get", "form", "json"])
def test_queues_are_read(voice, native, how):
    names = [queue["name"] for queue in native.ask("GET", "/api/v1/queues")["items"]]
    answer = voice.get("queues", {"action": "read", "data": {"get_info": 0}}, how=how)
    assert sorted(answer["results"]) == sorted(names)
    assert "pagination" not in answer
    one = voice.get("queues", {"filters": {"queues": ["sales"]}}, how=how)["results"]
    assert list(one) == ["sales"]
    assert set(one["sales"]["members"]["1002"]) == {"type", "name", "penalty", "order", "is_active"}


def test_what_the_vendor_calls_by_name(voice):
    voice.deny("No Queues found", "queues", {"filters": {"queues": ["nothing"]}})
    voice.deny("Invalid type: sipx", "users-status", {"type": "sipx"})
    voice.deny("Invalid report ID 999", "reports", {"data": {"type": "custom", "id": 999}})
    # One of the vendor's printed examples has it with `info`.
    wrong = {"action": "info", "filters": {"date_between": ["a", "b"]}}
    voice.deny("date_between: must be two times, YYYY-MM-DD HH:MM:SS", "queues", wrong)
    assert voice.get("queues", {"filters": {"project_id": 7}})["results"] == voice.get("queues")["results"]
    assert (
        voice.get("inbound-routes", {"filters": {"project_id": 7}})["results"] == voice.get("inbound-routes")["results"]
    )
    voice.deny("Invalid filter: xxx", "inbound-routes", {"filters": {"xxx": 1}})
    voice.deny("Invalid schedule type: xxx", "schedule", {"data": {"type": "xxx"}})
    voice.deny("Invalid action nothing", "queues", {"action": "nothing"})
    answer = voice.get("users-status", {"type": "iax"})
    assert answer["results"] == []
    pause = {"action": "pause", "data": [{"agent_name": "nobody", "reason": "x", "paused": 1}]}
    answer = voice.ask("queues", pause)
    assert answer["messages"] == ["Queue pause error for row 1: No interfaces could be matched"]
    assert list(answer) == ["has_error", "messages", "pagination", "results"]
    assert answer["pagination"] == []


def test_dids_and_hours(voice, native):
    dids = native.ask("GET", "/api/v1/dids")["items"]
    answer = voice.get("inbound-routes")
    assert answer["pagination"] == {"row_count": len(dids), "page_size": 100, "current_page": 1, "max_page": 1}
    assert {row["dnid"] for row in answer["results"]} == {did["number"] for did in dids}
    wanted = dids[0]["number"]
    assert [row["dnid"] for row in voice.get("inbound-routes", {"filters": {"search": wanted}})["results"]] == [wanted]
    assert voice.get("inbound-routes", {"page": 2})["results"] == []
    hours = voice.get("schedule", {"data": {"type": "weekdays"}})["results"]
    assert {"schedule", "weekday", "start", "end"} == set(hours[0])
    assert all(
        {"schedule", "date", "is_closed"} == set(row)
        for row in voice.get("schedule", {"data": {"type": "custom"}})["results"]
    )


def add_calls(server):
    """150 calls of three days; those that are there stay."""
    database = sqlite3.connect(server.folder / "db" / "tandem.db", timeout=20)
    with database:
        for number in range(150):
            row = {
                "call_id": f"c{number:03}", "direction": "inbound" if number % 2 else "outbound", "is_placed": 1, "caller": f"0305550{number:03}",
                "called": "1002", "trunk": "", "endpoint": "1002", "queue": "", "route": "", "account": "",
                "started_at": f"2024-03-0{1 + number % 3}T10:00:{number % 60:02}.000000+00:00", "answered_at": None,
                "ended_at": None, "ring_s": 1, "hold_s": 0, "talk_s": 0, "duration_s": 1, "disposition": ("answered", "busy", "cancelled")[number % 3],
                "cause": 16, "project": str(number % 2), "external_id": f"e{number}",
            }  # fmt: skip
            marks = ",".join("?" * len(row))
            database.execute(f"INSERT OR IGNORE INTO cdrs ({','.join(row)}) VALUES ({marks})", tuple(row.values()))
    database.close()


def test_calls_are_found_by_every_filter(voice, server, native):
    add_calls(server)

    def count(**filters):
        return voice.get("cdr", {"filters": filters}, how="form")["pagination"]["row_count"]

    first = voice.get("cdr", {"page": 1})
    assert first["pagination"] == {"row_count": 150, "page_size": 100, "current_page": 1, "max_page": 2}
    second = voice.get("cdr", {"page": 2})
    assert (len(first["results"]), len(second["results"])) == (100, 50)
    assert len({row["id"] for row in first["results"] + second["results"]}) == 150
    assert (count(project_id=1), count(external_id="e7"), count(external_id="e7", project_id=0)) == (75, 1, 0)
    assert (count(direction="IN"), count(direction="OUT"), count(user_id="1002"), count(user_id="1003")) == (
        75,
        75,
        150,
        0,
    )
    assert (count(call_status="ANSWERED"), count(call_status=["BUSY", "NO ANSWER"]), count(call_status="FAILED")) == (
        50,
        100,
        0,
    )
    assert (
        count(telephone="0305550007"),
        count(telephone="030555"),
        count(telephone_like="50007"),
        count(telephone_like="%"),
    ) == (1, 0, 1, 0)
    assert (count(source="0305550007"), count(destination="1002"), count(uniqueid="c004"), count(linkedid="c004")) == (
        1,
        150,
        1,
        1,
    )
    # What is kept of a call, the DID that it came in by, and the time of day.
    database = sqlite3.connect(server.folder / "db" / "tandem.db", timeout=20)
    with database:
        for name, kind in (("c100", "mixed"), ("leg101", "leg1"), ("c102", "answer")):
            row = (f"{name}-{kind}", name, kind, "x", "2024-03-01T10:00:00.000000+00:00", 1.0, 1, "wav")
            database.execute(
                "INSERT INTO recordings (name, call_id, kind, path, started_at, duration_s, bytes, format) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                row,
            )
        leg = {
            "uniqueid": "leg101", "call_id": "c101", "channel": "", "caller": "", "exten": "", "account": "", "application": "",
            "cause": 0, "is_far_hangup": 0, "is_lost": 1,
        }  # fmt: skip
        database.execute(f"INSERT INTO legs ({','.join(leg)}) VALUES ({','.join('?' * len(leg))})", tuple(leg.values()))
        for name, route in (
            ("c001", "DID 030, queue sales"),
            ("c003", "DID 030"),
            ("c005", "DID 0301, queue sales"),
            ("c006", "DID 030, x"),
        ):
            database.execute("UPDATE cdrs SET route = ? WHERE call_id = ?", (route, name))
    database.close()
    assert (count(has_monitor_file=1), count(has_monitor_file=0), count(has_recording_file=1)) == (2, 148, 1)
    assert (count(has_recording_file=0), count(has_monitor_file=1, uniqueid="c101")) == (149, 1)
    voice.get("cdr", {"action": "save", "data": [{"id": "c120", "transcriptions": [SAID]}]})
    written = count(has_transcription=1)
    assert (count(has_transcription=1, uniqueid="c120"), count(has_transcription=0)) == (1, 150 - written)
    assert (count(inbound_route_id="030"), count(inbound_route_id=["030", "0301"]), count(inbound_route_id="03")) == (
        2,
        3,
        0,
    )
    assert count(inbound_route_id="1002") == 75  # by the number that was dialled
    zone = ZoneInfo(native.ask("GET", "/api/v1/general")["time_zone"])
    hour = datetime(2024, 3, 1, 10, tzinfo=UTC).astimezone(zone).hour
    assert (
        count(hour_between=[hour, hour]),
        count(hour_between=[hour - 2, hour - 1]),
        count(hour_between=[hour + 1, hour - 1]),
    ) == (150, 0, 0)
    assert (count(hour_between=[f"{hour:02}:00:10", f"{hour:02}:00:19"]), count(hour_between=["0", "23"])) == (30, 150)
    assert count(hour_between=[f"{hour:02}:00", f"{hour:02}:00"]) == 3
    assert count(hour_between=[hour, hour], date_between=["2024-03-01 00:00:00", "2024-03-01 23:59:59"]) == 50
    assert count(hour_between=[hour, hour], date_between=["2020-03-01 00:00:00", "2020-03-01 23:59:59"]) == 0
    assert [one["call_id"] for one in native.ask("GET", "/api/v1/cdrs?did=0301")["items"]] == ["c005"]
    assert native.ask("GET", "/api/v1/cdrs?is_recorded=true")["total"] == 2
    assert native.ask("GET", "/api/v1/cdrs?has_transcription=true")["total"] == written
    for name, wrong in (
        ("hour_between", "9"), ("hour_between", ["9"]), ("hour_between", ["9", "24"]), ("hour_between", ["9", "9:60"]), ("hour_between", ["9", "10", "11"]),
        ("hour_between", ["9", {"a": "b"}]), ("has_monitor_file", "yes"), ("has_transcription", ["1"]), ("inbound_route_id", [{"a": "b"}]),
        ("inbound_route_id", ["1"] * 101),
    ):  # fmt: skip
        answer = voice.ask("cdr", {"filters": {name: wrong}})
        assert answer["has_error"], (name, wrong)
        assert answer["messages"][0].startswith(f"{name}: ")
    zone_safe = ["2024-03-01 00:00:00", "2024-03-01 23:59:59"]
    assert count(date_between=zone_safe) == 50
    after = voice.get("cdr", {"filters": {"from_id": first["results"][0]["id"]}})["results"]
    assert after == []
    oldest = voice.get("cdr", {"filters": {"from_id": "c000"}})["results"]
    assert "c000" not in [row["id"] for row in oldest]
    (row,) = voice.get("cdr", {"filters": {"external_id": "e3"}})["results"]
    assert (row["project_id"], row["direction"], row["call_status"]) == ("1", "IN", "ANSWERED")
    assert re.fullmatch(r"2024-03-01 [0-9]{2}:00:03", row["start"])
    report = voice.get("reports", {"data": {"type": "standard", "id": "cdr_api"}, "page": 1})
    assert report["pagination"]["row_count"] == 150
    # The native filter too.
    assert [one["call_id"] for one in native.ask("GET", "/api/v1/cdrs?external_id=e3")["items"]] == ["c003"]
    assert native.ask("GET", "/api/v1/cdrs?external_id=e3&project=0")["items"] == []
    for name, value in (
        ("direction", "UP"),
        ("call_status", "x"),
        ("date_between", "x"),
        ("date_between", ["x", "y"]),
        ("source", ["a"]),
    ):
        assert voice.ask("cdr", {"filters": {name: value}})["has_error"]


def test_calls_without_a_project_are_the_pbxs_own(voice, server):
    """As its events say."""
    add_calls(server)
    one_of_it = {"project_id": "1", "uniqueid": "c003"}
    all_users = {"data": {"type": "standard", "id": "users"}, "filters": {"project_id": "1"}}
    users = voice.get("reports", all_users)["results"]
    for project, shown in (("", "1"), ("1", "1")):
        change(server, "UPDATE cdrs SET project = ? WHERE call_id = 'c003'", project)
        (row,) = voice.get("cdr", {"filters": one_of_it})["results"]
        assert row["project_id"] == shown
        assert voice.get("cdr", {"filters": {"uniqueid": "c003", "project_id": "0"}})["results"] == []
        assert voice.get("reports", all_users)["results"] == users


def test_from_id_goes_on_in_the_order_in_which_calls_ended(voice, server):
    add_calls(server)

    def read(after, page=1, **filters):
        answer = voice.get("cdr", {"filters": {"from_id": after, **filters}, "page": page}, how="form")
        return [row["id"] for row in answer["results"]], answer["pagination"]

    # It began before all others but a few, and ended after them.
    change(server, "UPDATE cdrs SET ended_at = ? WHERE call_id = 'c000'", "2024-03-09T10:00:00.000000+00:00")
    for nothing in (0, "0"):
        (first, told), (second, _) = read(nothing), read(nothing, 2)
        assert told == {"row_count": 150, "page_size": 100, "current_page": 1, "max_page": 2}
        assert (len(set(first + second)), second[-1]) == (150, "c000")
    ids, told = read(first[-1])
    assert (ids, told["row_count"], told["max_page"]) == (second, 50, 1)
    assert read(second[-2])[0] == ["c000"]
    assert read("c000") == ([], {"row_count": 0, "page_size": 100, "current_page": 0, "max_page": 0})
    ids, told = read(first[9], direction="IN")
    assert told["row_count"] == len([one for one in (first + second)[10:] if int(one[1:]) % 2])
    assert read(first[9], 2)[0] == (first + second)[110:]
    wrong = "from_id: there is no such call, or none that is over and kept; 0 is from the beginning"
    voice.deny(wrong, "cdr", {"filters": {"from_id": "gone"}})
    change(server, "UPDATE cdrs SET ended_at = NULL WHERE call_id = 'c000'")


def change(server, sql, *given):
    database = sqlite3.connect(server.folder / "db" / "tandem.db", timeout=20)
    with database:
        database.execute(sql, given)
    database.close()


def put_into_queue(server, name):
    """All of these calls waited there."""
    database = sqlite3.connect(server.folder / "db" / "tandem.db", timeout=20)
    with database:
        database.execute("UPDATE cdrs SET queue = ?", (name,))
    database.close()


def test_calls_are_counted_in_reports(voice, server, native):
    add_calls(server)

    def count(name, **filters):
        return voice.get("reports", {"data": {"type": "standard", "id": name}, "filters": filters}, how="form")

    by_user = count("users")
    assert by_user["pagination"] == {"row_count": 1, "page_size": 100, "current_page": 1, "max_page": 1}
    assert by_user["results"] == [
        {
            "user_id": "1002",
            "calls": 150,
            "answered": 50,
            "talked": 0,
            "duration": 150,
            "billsec": 0,
            "ring": 150,
            "hold": 0,
        }
    ]
    # The same of each queue, beside its members.
    put_into_queue(server, "sales")
    read = {
        "data": {"get_db_reports": 1},
        "filters": {"date_between": ["2024-03-01 00:00:00", " 2024-03-03 23:59:59 "]},
    }
    shown = voice.get("queues", read)["results"]
    assert {name: one["db_reports"]["calls"] for name, one in shown.items()} == dict.fromkeys(shown, 0) | {"sales": 150}
    today = voice.get("queues", {"data": {"get_db_reports": 1}})["results"]
    assert today["sales"]["db_reports"]["calls"] == 0
    put_into_queue(server, "")
    wrong = read | {"filters": {"date_between": ["a", "b"]}}
    voice.deny("date_between: must be two times, YYYY-MM-DD HH:MM:SS", "queues", wrong)
    # Where nothing is counted it is passed over: their clients send it with every `read`.
    assert voice.get("queues", {"filters": read["filters"]})["results"] == voice.get("queues")["results"]
    assert count("users", project_id="0")["results"][0]["calls"] == 75
    assert count("users", date_between=["2024-03-01 00:00:00", "2024-03-01 23:59:59"])["results"][0]["calls"] == 50
    assert count("inbound_routes")["results"][0]["calls"] == 75
    words = {row["disposition"]: row["calls"] for row in count("call_status")["results"]}
    assert words == {"answered": 50, "busy": 50, "cancelled": 50}
    # Calls without one are in no row.
    for name in ("queues", "trunks"):
        assert count(name)["pagination"] == {"row_count": 0, "page_size": 100, "current_page": 0, "max_page": 0}
    found = native.ask("GET", "/api/v1/cdrs/count?by=disposition&limit=1&offset=1")
    assert (found["total"], [row["key"] for row in found["items"]]) == (3, ["busy"])
    native.ask("GET", "/api/v1/cdrs/count?by=call_id", status=422)
    for wrong in (
        {"type": "custom", "id": "queues"},
        {"type": "standard", "id": 7},
        {"type": "standard", "id": "queue"},
    ):
        voice.deny(f"Invalid report ID {wrong['id']}", "reports", {"data": wrong})
    voice.deny("Invalid report type own", "reports", {"data": {"type": "own", "id": "queues"}})
    voice.deny(
        "Invalid filter: user_id", "reports", {"data": {"type": "standard", "id": "queues"}, "filters": {"user_id": 1}}
    )


SAID = {
    "type": "monitor", "filename": "a.wav", "provider": "example", "remote_id": "77", "text": "Good morning.\nGood bye.", "metadata": {"words": {"n": "2"}},
}  # fmt: skip


def read_row(voice, name):
    (row,) = voice.get("cdr", {"filters": {"uniqueid": name}})["results"]
    return row


@pytest.mark.parametrize(("how", "call_id"), [("form", "c010"), ("json", "c011")])
def test_what_is_saved_of_a_call_is_shown_again(voice, server, native, how, call_id):
    add_calls(server)
    assert (read_row(voice, call_id)["comments"], read_row(voice, call_id)["transcriptions"]) == (None, [])
    row = {"id": call_id, "comments": "one\ntwo", "accounting_code": 4711, "transcriptions": [SAID]}
    answer = voice.get("cdr", {"action": "save", "data": [row]}, how=how)
    assert answer["results"] == [{"id": call_id, "result": 1}]
    shown = read_row(voice, call_id)
    assert {name: shown[name] for name in row} == {**row, "accounting_code": "4711"}
    # What is not named stays.
    voice.get("cdr", {"action": "save", "data": [{"id": call_id, "comments": ""}]}, how=how)
    shown = read_row(voice, call_id)
    assert (shown["comments"], shown["accounting_code"], shown["transcriptions"]) == (None, "4711", [SAID])
    # Natively the same, and in the audit log.
    path = f"/api/v1/cdrs/{call_id}/notes"
    said = {"kind" if name == "type" else name: value for name, value in SAID.items()}
    notes = native.ask("GET", path)
    assert notes == {"comments": "", "accounting_code": "4711", "transcriptions": [said]}
    assert native.ask("PATCH", path, {"comments": "three"}) == {**notes, "comments": "three"}
    entries = native.ask("GET", "/api/v1/audit?limit=2")["items"]
    assert {(one["action"], one["target"]) for one in entries} == {("cdrs/update", f"cdrs/{call_id}")}
    native.ask("PATCH", path, {"accounting_code": "x" * 81}, 422)
    native.ask("PATCH", path, {"transcriptions": [{**said, "filename": f"{number}"} for number in range(10)]}, 422)
    native.ask("PATCH", "/api/v1/cdrs/none/notes", {}, 404)
    native.ask("GET", "/api/v1/cdrs/none/notes", status=404)
    assert native.ask("GET", path) == {**notes, "comments": "three"}


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"id": None}, "row 2: id: is missing"), ({"id": "none"}, "row 2: id: there is no call none that is over"),
        ({"comments": 5}, "row 2: comments: "), ({"comments": "a\0"}, "row 2: comments: "), ({"comments": "x" * 4001}, "row 2: comments: "),
        ({"comments": ["x"]}, "row 2: comments: "), ({"accounting_code": "a\nb"}, "row 2: accounting_code: "), ({"accounting_code": {"a": 1}}, "row 2: accounting_code: "),
        ({"other": "x"}, "row 2: other: "), ({"transcriptions": "x"}, "row 2: transcriptions: "), ({"transcriptions": [1]}, "row 2: transcriptions: "),
        ({"transcriptions": [SAID] * 11}, "row 2: transcriptions: "), ({"transcriptions": [{**SAID, "type": "video"}]}, "row 2: transcriptions[0].type: "),
        ({"transcriptions": [{**SAID, "type": None}]}, "row 2: transcriptions[0].type: "), ({"transcriptions": [{**SAID, "kind": "monitor"}]}, "row 2: transcriptions: kind: "),
        ({"transcriptions": [{**SAID, "text": ""}]}, "row 2: transcriptions[0].text: "), ({"transcriptions": [{**SAID, "text": "x" * 100_001}]}, "row 2: transcriptions[0].text: "),
        ({"transcriptions": [{**SAID, "text": "\x1b[2J"}]}, "row 2: transcriptions[0].text: "), ({"transcriptions": [{**SAID, "filename": "x" * 201}]}, "row 2: filename: "),
        ({"transcriptions": [{**SAID, "metadata": "x"}]}, "row 2: transcriptions[0].metadata: "), ({"transcriptions": [{**SAID, "metadata": {"a": "x" * 10_000}}]}, "row 2: transcriptions[0].metadata: "),
        ({"transcriptions": [{**SAID, "other": "x"}]}, "row 2: transcriptions[0].other: "),
    ],
)  # fmt: skip
def test_of_rows_with_one_that_is_wrong_none_is_saved(voice, server, native, row, message):
    add_calls(server)
    before = native.ask("GET", "/api/v1/cdrs/c020/notes"), native.ask("GET", "/api/v1/audit?limit=1")["total"]
    rows = [{"id": "c020", "comments": "good"}, {"id": "c021", **row}]
    answer = voice.ask("cdr", {"action": "save", "data": rows})
    assert (answer["has_error"], answer["results"]) == (True, [])
    assert answer["messages"][0].startswith(message)
    assert (native.ask("GET", "/api/v1/cdrs/c020/notes"), native.ask("GET", "/api/v1/audit?limit=1")["total"]) == before
