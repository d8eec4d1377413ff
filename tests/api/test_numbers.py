"""Numbers of campaigns over HTTP: one, many, files, lists not to be called, attempts, and why a number is not dialled."""

import csv
import io
import json
import time
from urllib.parse import quote

import pytest

from tests.api.test_campaigns import CAMPAIGN, PATH, campaign, one, problems

__all__ = ["campaign"]

CSV = {"Content-Type": "text/csv"}


def numbers(campaign, more=""):
    return one(campaign, f"/numbers{more}")


def counts(client, campaign):
    return client.ask("GET", one(campaign))["counts"]


def rules_of(answer):
    # How busy this machine is now is not what is tested.
    return [reason["rule"] for reason in answer["reasons"] if reason["rule"] != "pressure"]


def upload(client, campaign, text, status=202, **options):
    query = "&".join(f"{name}={quote(str(value))}" for name, value in ({"wait_s": 20} | options).items())
    raw = text if isinstance(text, bytes) else text.encode()
    return client.ask("POST", numbers(campaign, f"/import?{query}"), status=status, raw=raw, headers=CSV)


class TestOne:
    def test_added_read_listed_deleted(self, client, campaign):
        body = {"phone_number": "+493012", "data": {"name": "Ä"}, "not_before": "2100-01-01T01:00:00+01:00"}
        made = client.ask("POST", numbers(campaign), body, 201)
        assert client.headers["location"] == f"/api/v1/numbers/{made['number_id']}"
        assert made["due_at"] == "2100-01-01T00:00:00Z"
        assert made["hold"] == "not-before"
        assert client.ask("GET", f"/api/v1/numbers/{made['number_id']}") == made
        client.ask("POST", numbers(campaign, "?dedupe=true"), body, 409)
        client.ask("POST", numbers(campaign), body, 201)
        page = client.ask("GET", numbers(campaign, "?status=pending&limit=1"))
        assert page["items"] == [made]
        assert page["total"] == 2
        assert client.ask("GET", one(campaign, "/counts"))["waiting"] == {"not-before": 2}
        client.ask("DELETE", f"/api/v1/numbers/{made['number_id']}", status=204)
        client.ask("DELETE", f"/api/v1/numbers/{made['number_id']}", status=404)
        assert counts(client, campaign)["pending"] == 1

    def test_a_number_says_whose_it_is_and_by_which_clock(self, client, campaign):
        window = {"hours": [{"days": "mon-sun", "start": "00:00", "end": "24:00"}]}
        client.ask("PATCH", one(campaign), {"call_window": window})
        made = client.ask(
            "POST", numbers(campaign), {"phone_number": "+493012", "person": "anna", "utc_offset_min": -210}, 201
        )
        assert (made["person"], made["utc_offset_min"]) == ("anna", -210)
        path = f"/api/v1/numbers/{made['number_id']}"
        (local,) = client.ask("GET", f"{path}/why")["local_times"]
        assert local["time_zone"] == "UTC-03:30"
        assert local["at"].endswith("-03:30")
        # What a change does not name stays.
        assert client.ask("PATCH", path, {"data": {"a": 1}})["person"] == "anna"
        changed = client.ask("PATCH", path, {"person": "", "utc_offset_min": None})
        assert (changed["person"], changed["utc_offset_min"], changed["data"]) == ("", None, {"a": 1})
        for wrong in (
            {"person": "x" * 65},
            {"person": "a\nb"},
            {"person": " a"},
            {"utc_offset_min": 841},
            {"utc_offset_min": 1.5},
            {"person": None},
        ):
            client.ask("POST", numbers(campaign), {"phone_number": "1", **wrong}, 422)
        report = upload(client, campaign, "phone,who\n0301,anna\n0302,anna\n", columns='{"person": "who"}')
        assert report["added"] == 2
        assert [item["person"] for item in client.ask("GET", numbers(campaign))["items"]] == ["", "anna", "anna"]

    def test_closed_is_called_no_more_until_a_reset(self, client, campaign):
        made = client.ask("POST", numbers(campaign), {"phone_number": "+493012"}, 201)
        close = f"/api/v1/numbers/{made['number_id']}/close"
        for _ in range(2):
            closed = client.ask("POST", close)
            assert (closed["status"], closed["disposition"], closed["due_at"]) == ("completed", "closed", None)
        assert (counts(client, campaign)["pending"], counts(client, campaign)["completed"]) == (0, 1)
        client.ask("POST", "/api/v1/numbers/999999/close", status=404)

    @pytest.mark.parametrize(
        ("wrong", "field"),
        [
            ({"phone_number": "abc"}, "phone_number"),
            ({"phone_number": 49}, "phone_number"),
            ({"phone_number": "+" + "1" * 25}, "phone_number"),
            ({"not_before": 5}, "not_before"),
            ({"not_before": "2026-01-01T00:00:00"}, "not_before"),
            ({"not_before": "99999-01-01T00:00:00Z"}, "not_before"),
            ({"variables": {"A": "b\r\nc"}}, "variables"),
            ({"variables": {"A=B": "b"}}, "variables"),
            ({"data": "x" * 5000}, "data"),
            ({"status": "completed"}, "status"),
        ],
    )
    def test_whatever_is_wrong_is_named(self, client, campaign, wrong, field):
        answer = client.ask("POST", numbers(campaign), {"phone_number": "1"} | wrong, 422)
        assert any(name.startswith(field) for name in problems(answer)), answer

    def test_by_beginning_and_page_by_page(self, client, campaign):
        given = [f"+49{n:03}" for n in (5, 1, 4, 2, 3)] + ["030"]
        client.ask("POST", numbers(campaign, "/bulk"), {"numbers": [{"phone_number": each} for each in given]}, 201)
        found, after = [], 0
        while page := client.ask("GET", numbers(campaign, f"?limit=2&after_id={after}"))["items"]:
            found += [item["phone_number"] for item in page]
            after = page[-1]["number_id"]
        assert found == given
        assert [item["phone_number"] for item in client.ask("GET", numbers(campaign, "?offset=4"))["items"]] == given[
            4:
        ]
        found, after = [], 0
        while page := client.ask("GET", numbers(campaign, f"?limit=2&phone_number=%2B49&after_id={after}")):
            assert page["total"] == 5
            found += [item["phone_number"] for item in page["items"]]
            if not page["items"]:
                break
            after = page["items"][-1]["number_id"]
        assert found == sorted(given[:-1])
        client.ask("GET", numbers(campaign, "?phone_number=a%25"), status=422)
        client.ask("GET", f"{PATH}/999999/numbers", status=404)


class TestMany:
    def test_all_or_none_or_what_is_valid(self, client, campaign):
        items = [{"phone_number": "1"}, {"phone_number": "x"}, 3, {"phone_number": "1"}, {"phone_number": "2"}]
        answer = client.ask("POST", numbers(campaign, "/bulk"), {"numbers": items}, 422)
        assert set(problems(answer)) == {"numbers[1].phone_number", "numbers[2]"}
        assert counts(client, campaign)["pending"] == 0
        answer = client.ask("POST", numbers(campaign, "/bulk?skip_invalid=true&dedupe=true"), {"numbers": items}, 201)
        assert (answer["added"], answer["duplicates"], answer["invalid"]) == (2, 1, 2)
        assert [told["index"] for told in answer["not_added"]] == [1, 2, 3]
        again = client.ask("POST", numbers(campaign, "/bulk?dedupe=true"), {"numbers": items[3:]}, 201)
        assert (again["added"], again["first_id"]) == (0, None)
        assert counts(client, campaign)["pending"] == 2

    @pytest.mark.parametrize(
        "raw",
        [
            b"{", b"[]x", b'{"numbers": 1}', b'{"numbers": [1,]}', b'{"numbers": []', b'{"x": []}', b"{}", b'"a"', b"\xff", b"[NaN]",
            b'{"numbers": [], "numbers": []}', b"[" * 100_000, b'[{"phone_number": "1", "data": ' + b"[" * 100_000 + b"]",
        ],
    )  # fmt: skip
    def test_what_is_no_list_changes_nothing(self, client, campaign, raw):
        client.ask(
            "POST", numbers(campaign, "/bulk"), status=422, raw=raw, headers={"Content-Type": "application/json"}
        )
        assert counts(client, campaign)["pending"] == 0

    def test_a_repeat_with_its_key_adds_nothing(self, client, campaign):
        headers = {"Idempotency-Key": f"bulk-{campaign['campaign_id']}"}
        body = {"numbers": [{"phone_number": "1"}]}
        first = client.ask("POST", numbers(campaign, "/bulk"), body, 201, headers=headers)
        assert client.ask("POST", numbers(campaign, "/bulk"), body, 201, headers=headers) == first
        client.ask("POST", numbers(campaign, "/bulk"), {"numbers": []}, 409, headers=headers)
        assert counts(client, campaign)["pending"] == 1

    def test_a_hundred_thousand(self, client, campaign):
        body = {"numbers": [{"phone_number": f"+4930{n:07}", "data": {"name": f"n{n}"}} for n in range(100_000)]}
        answer = client.ask("POST", numbers(campaign, "/bulk"), body, 201)
        assert answer["added"] == 100_000
        assert answer["last_id"] - answer["first_id"] == 99_999
        assert counts(client, campaign)["pending"] == 100_000
        client.ask("GET", numbers(campaign, "?offset=99999&phone_number=%2B4930"))


HOSTILE = (
    b"\xef\xbb\xbfTelefon;Name;data.town;variables.NOTE;not_before;other\r\n"
    b"+49 (0)30 / 12-34;Anna;K\xc3\xb6ln;x;2100-01-01;?\r\n"  # 2: as people write it
    b"=HYPERLINK(1);Eve;;;;\r\n"  # 3: a formula
    b"030\x005;Nul;;;;\r\n"  # 4: a NUL
    b"0306;\"never closed;;;;\r\n"  # 5
    b"0307;\"=1+1\";;;;\r\n"  # 6: what is no number may look like one
     b"0308;" + b"x" * 10_000_000 + b";;;;\r\n"  # 7
    b"\xff0309;Latin;;;;\r\n"  # 8
    b"0310;a;b;c;2100-01-01T00:00:00Z;e;f;g\r\n"  # 9: more cells than columns
    b";nobody;;;;\r\n"  # 10
    b"0311;;;;tomorrow;\r\n"  # 11
    b"+493012 34;again;;;;\r\n"  # 12: another line of the second
    b";;;;;\r\n\r\n"  # 13, 14: nothing
    b"0312;last;;a\x01b;;\r\n"  # 15: a control character for Asterisk
    b"0313;\"two\r\nlines\";;;;\r\n"  # 16, 17
    b"0314;\"open at the end"  # 18
)  # fmt: skip


class TestFiles:
    def test_a_hostile_file(self, client, campaign):
        preview = upload(client, campaign, HOSTILE, preview="true")
        assert preview["state"] == "finished", preview
        assert counts(client, campaign)["pending"] == 0
        report = upload(client, campaign, HOSTILE)
        assert report["layout"]["delimiter"] == ";"
        assert report["layout"]["mapping"] == {
            "phone_number": "Telefon", "name": "Name", "data.town": "data.town", "variables.NOTE": "variables.NOTE",
            "not_before": "not_before",
        }  # fmt: skip
        assert report["layout"]["ignored"] == ["other"]
        assert [problem["line"] for problem in report["problems"]] == [3, 4, 5, 7, 8, 9, 10, 11, 15, 18]
        assert (report["rows"], report["added"], report["duplicates"], report["invalid"]) == (14, 3, 1, 10)
        assert {name: preview[name] for name in ("rows", "added", "duplicates", "invalid", "problems")} == {
            name: report[name] for name in ("rows", "added", "duplicates", "invalid", "problems")
        }
        found = client.ask("GET", numbers(campaign))["items"]
        assert [item["phone_number"] for item in found] == ["+49301234", "0307", "0313"]
        assert found[0]["data"] == {"name": "Anna", "town": "Köln"}
        assert found[0]["due_at"] == "2099-12-31T23:00:00Z"  # midnight by the PBX's clock
        assert found[1]["data"] == {"name": "=1+1"}
        again = upload(client, campaign, HOSTILE)
        assert (again["added"], again["duplicates"]) == (0, 4)
        assert client.ask("GET", one(campaign, f"/imports/{report['import_id']}")) == report
        assert [item["import_id"] for item in client.ask("GET", one(campaign, "/imports"))["items"]] == [
            again["import_id"],
            report["import_id"],
        ]
        client.ask("GET", one(campaign, "/imports/nothing"), status=404)
        client.ask("DELETE", one(campaign, f"/imports/{report['import_id']}"), status=409)

    @pytest.mark.parametrize(
        ("raw", "options", "rule"),
        [
            (b"\n\n", {}, "empty"),
            (b"a,b\n1,2\n", {}, "phone number"),
            (b"phone,phone\n1,2\n", {}, "two columns"),
            (b"\xff\xfep\0", {}, "UTF-16"),
            (b'"phone\n1\n', {}, "quote"),
            (b"p" * 70_000, {}, "longer"),
            (b"phone\n1\n", {"columns": '{"phone_number": "tel"}'}, "no column"),
            (b"phone\n1\n", {"columns": '{"colour": "phone"}'}, "nothing that a column can be"),
            (b"phone\n1\n", {"columns": "["}, "JSON"),
            (b"phone\n1\n", {"time_zone": "Mars"}, ""),
        ],
    )
    def test_refused_as_a_whole(self, client, campaign, raw, options, rule):
        answer = upload(client, campaign, raw, 422, **options)
        assert rule in answer["error"]["message"]
        assert client.ask("GET", one(campaign, "/imports"))["items"] == []

    def test_a_header_alone_adds_nothing_and_says_so(self, client, campaign):
        report = upload(client, campaign, "phone,name\r\n")
        assert report["state"] == "failed"
        assert "no row" in report["error"]

    def test_other_layouts(self, client, campaign):
        columns = json.dumps({"phone_number": "Durchwahl", "data.ort": "Straße"})
        text = "Durchwahl\tStraße\n030 1\tGasse\n".encode("cp1252")
        report = upload(client, campaign, text, columns=columns)
        assert report["layout"]["encoding"] == "windows-1252"
        assert report["added"] == 1
        assert upload(client, campaign, "0302\n0303\n")["added"] == 2
        assert upload(client, campaign, "1,0304\n", columns='{"phone_number": "2"}', header="false")["added"] == 1
        found = client.ask("GET", numbers(campaign))["items"]
        assert [item["phone_number"] for item in found] == ["0301", "0302", "0303", "0304"]
        assert found[0]["data"] == {"ort": "Gasse"}

    def test_what_is_exported_is_safe_to_open_and_comes_back_the_same(self, client, campaign):
        given = [
            {"phone_number": "+4930", "data": {"name": "=cmd|' /C calc'!A0"}},
            {"phone_number": "*21", "data": "@x"},
        ]
        given += [{"phone_number": f"{n}"} for n in range(2500)]
        client.ask("POST", numbers(campaign, "/bulk"), {"numbers": given}, 201)
        text = client.ask("GET", numbers(campaign, "/export")).decode()
        assert client.headers["content-type"].startswith("text/csv")
        rows = list(csv.DictReader(io.StringIO(text)))
        assert len(rows) == len(given)
        for row in rows:
            assert not any(cell.startswith(("=", "+", "-", "@", "\t", "\r")) for cell in row.values())
        other = client.ask("POST", PATH, CAMPAIGN, 201)
        assert upload(client, other, text, dedupe="false")["added"] == len(given)
        for mine, theirs in zip(given, client.ask("GET", numbers(other, "?limit=1000"))["items"], strict=False):
            assert theirs["phone_number"] == mine["phone_number"]
            assert theirs["data"] == mine.get("data")
        client.ask("DELETE", one(other), status=204)
        client.ask("GET", f"{PATH}/999999/numbers/export", status=404)


class TestLists:
    def test_lists_and_their_numbers(self, client, campaign):
        made = client.ask("POST", "/api/v1/dnc", {"name": "robinson"}, 201)
        assert made["numbers"] == 0
        client.ask("POST", "/api/v1/dnc", {"name": "robinson"}, 409)
        client.ask("POST", "/api/v1/dnc", {"name": "a b"}, 422)
        path = "/api/v1/dnc/robinson/numbers"
        answer = client.ask("POST", path, {"numbers": ["+493012", "00493012", "+4940"]})
        assert answer == {"changed": 2, "unchanged": 1}
        assert client.ask("GET", f"{path}/03012")["number"] == "493012"
        client.ask("GET", f"{path}/03013", status=404)
        report = client.ask("POST", f"{path}/import", raw=b"+4940\n+4950\n=1\n", headers=CSV)
        assert (report["added"], report["duplicates"], report["invalid"]) == (1, 1, 1)
        assert [item["number"] for item in client.ask("GET", f"{path}?after=4940")["items"]] == ["4950"]
        client.ask("DELETE", f"{path}/+4950", status=204)
        client.ask("DELETE", f"{path}/+4950", status=404)
        client.ask("PATCH", one(campaign), {"dnc_lists": ["robinson"]})
        answer = client.ask("DELETE", "/api/v1/dnc/robinson", status=409)
        assert str(campaign["campaign_id"]) in answer["error"]["message"]
        number = client.ask("POST", numbers(campaign), {"phone_number": "03012"}, 201)
        why = client.ask("GET", f"/api/v1/numbers/{number['number_id']}/why")
        assert rules_of(why) == ["campaign", "dnc", "refused", "asterisk"]
        client.ask("PATCH", one(campaign), {"dnc_lists": []})
        client.ask("DELETE", "/api/v1/dnc/robinson", status=204)
        client.ask("DELETE", "/api/v1/dnc/robinson", status=404)
        client.ask("DELETE", "/api/v1/dnc/global", status=409)
        for missing in (
            ("GET", "", None),
            ("POST", "", {"numbers": ["1"]}),
            ("GET", "/1", None),
            ("DELETE", "/1", None),
        ):
            client.ask(missing[0], f"/api/v1/dnc/nothing/numbers{missing[1]}", missing[2], 404)


class TestWhy:
    def test_in_the_order_of_the_rules_with_the_called_partys_time(self, client, campaign):
        window = {"hours": [{"days": "mon-sun", "start": "09:00", "end": "17:00"}]}
        client.ask("PATCH", one(campaign), {"call_window": window})
        body = {"phone_number": "+12125550100", "not_before": "2100-01-01T00:00:00Z"}
        made = client.ask("POST", numbers(campaign), body, 201)
        client.ask("POST", one(campaign, "/start"))
        why = client.ask("GET", f"/api/v1/numbers/{made['number_id']}/why")
        assert rules_of(why)[0] == "due"
        assert rules_of(why)[-1] == "asterisk"
        assert why["callable_at"] is None  # nobody knows when Asterisk is back
        assert why["local_times"][0]["time_zone"] == "America/New_York"
        client.ask("GET", "/api/v1/numbers/999999999/why", status=404)
        shown = client.ask("GET", one(campaign, "/counts"))
        assert shown["waiting"] == {"not-before": 1}
        assert rules_of(shown) == ["asterisk"]


def test_attempts_are_there_and_exported(client, campaign):
    assert client.ask("GET", one(campaign, "/attempts"))["items"] == []
    assert client.ask("GET", "/api/v1/attempts?disposition=busy&since=2026-01-01T00:00:00Z")["next_after_id"] is None
    assert client.ask("GET", "/api/v1/attempts/export").decode().startswith("attempt_id,call_id,")
    client.ask("GET", "/api/v1/attempts/1000000", status=404)
    client.ask("GET", "/api/v1/campaigns/999999/attempts", status=404)


def test_the_dialer_is_shown(client, campaign):
    client.ask("POST", one(campaign, "/start"))
    deadline = time.monotonic() + 5
    while campaign["campaign_id"] not in [
        item["campaign_id"] for item in client.ask("GET", "/api/v1/monitoring/campaigns")["campaigns"]
    ]:
        assert time.monotonic() < deadline
    text = client.ask("GET", "/metrics").decode()
    for name in ("tandem_campaign_calls_open", "tandem_dialer_speed", "tandem_trunks_dead", "tandem_campaigns_running"):
        assert f"\n{name} " in text


def test_people_are_saved_found_by_their_telephones_and_deleted(client):
    people = [
        {"person": "c-1", "name": "Anna", "phone_numbers": ["+493055512345"], "properties": {"town": "Köln"}},
        {"person": "c-2", "name": "Ben", "phone_numbers": ["03055512399", "0301"], "properties": {}},
    ]
    assert client.ask("PUT", "/api/v1/customers", {"customers": people})["items"] == people
    # By the last ten digits, whoever they are; page by page.
    found = "/api/v1/customers?phone_number=0049305551"
    assert client.ask("GET", f"{found}2345")["items"] == [people[0]]
    assert client.ask("GET", "/api/v1/customers?phone_number=3055512345")["items"] == [people[0]]
    assert client.ask("GET", "/api/v1/customers?phone_number=0301")["items"] == [people[1]]
    assert client.ask("GET", "/api/v1/customers?limit=1&after=c-1")["items"] == [people[1]]
    for wrong in (
        {"person": ""},
        {"person": "x", "phone_numbers": ["x"]},
        {"person": "x", "properties": {"": "v"}},
        {"person": "x", "colour": 1},
    ):
        client.ask("PUT", "/api/v1/customers", {"customers": [people[0] | {"name": "No"}, wrong]}, 422)
    assert client.ask("GET", "/api/v1/customers/c-1") == people[0]
    client.ask("DELETE", "/api/v1/customers/c-1", status=204)
    client.ask("DELETE", "/api/v1/customers/c-1", status=404)
    client.ask("DELETE", "/api/v1/customers/c-2", status=204)
