"""The ARI Dialer's numbers on a live server: what is stored as it was said, and what never is."""

import json

import pytest

from tests.api.ari_site import NASTY, write


class TestNumbers:
    @pytest.fixture
    def campaign(self, ari):
        return ari.make()["id"]

    def add(self, ari, campaign, phone_number, **more):
        return ari.data("POST", f"/campaigns/{campaign}/numbers", {"phone_number": phone_number, **more}, 201)

    @pytest.mark.parametrize(
        ("data", "shown"),
        [
            ({"name": "John Doe"}, '{"name": "John Doe"}'), (None, None), ({}, None), ("", None), (0, None), ([], None),
            ("str", '"str"'), ([1], "[1]"), ({"n": NASTY}, json.dumps({"n": NASTY}, ensure_ascii=False)),
        ],
    )  # fmt: skip
    def test_data_is_json_as_text(self, ari, campaign, data, shown):
        added = self.add(ari, campaign, "+49301", data=data)
        assert (added["campaign_id"], added["phone_number"]) == (campaign, "+49301")
        row = ari.data("GET", f"/numbers/{added['id']}")
        assert row["data"] == shown
        assert row["last_attempt"] is row["updated_at"] is None
        assert (row["status"], row["attempts"]) == ("pending", 0)

    @pytest.mark.parametrize(
        "wrong",
        [
            "\r\nEvil: x",
            "1\n2",
            "123 456",
            "x@from-internal",
            "1,TRUNK=x",
            "${EXTEN}",
            "1" * 26,
            True,
            1.5,
            [],
            {},
            "١٢٣",
        ],
    )
    def test_what_is_no_number_is_refused_and_never_stored(self, ari, campaign, wrong):
        path = f"/campaigns/{campaign}/numbers"
        found = ari.ask("POST", path, {"phone_number": wrong}, 400)
        assert list(found["errors"]) == ["phone_number"]
        ari.ask("POST", f"{path}/bulk", {"numbers": [{"phone_number": wrong}]}, 400)
        assert ari.get(path)["pagination"]["total"] == 0

    def test_missing_and_numbers_as_numbers(self, ari, campaign):
        path = f"/campaigns/{campaign}/numbers"
        for given in ({}, {"phone_number": ""}, {"phone_number": None}):
            assert ari.deny("Missing required fields", "POST", path, given)["errors"] == {
                "missing_fields": ["phone_number"]
            }
        assert self.add(ari, campaign, 1234567890)["phone_number"] == "1234567890"
        ari.deny("Campaign not found", "POST", "/campaigns/9999/numbers", {"phone_number": "1"}, 404)
        ari.deny("Campaign not found", "GET", "/campaigns/9999/numbers", None, 404)
        ari.ask("POST", path, {"phone_number": "1", "data": "x" * 5000}, 400)

    def test_bulk(self, ari, campaign):
        path = f"/campaigns/{campaign}/numbers/bulk"
        message = 'Invalid input. Expected "numbers" array'
        for given in ({}, {"numbers": "1"}, {"numbers": {"a": 1}}, {"numbers": None}):
            ari.deny(message, "POST", path, given)
        for given in ([], [{}], [1], [{"phone_number": ""}], [{"phone_number": "x"}]):
            ari.deny("No valid numbers provided", "POST", path, {"numbers": given})
        ari.deny("Campaign not found", "POST", "/campaigns/9999/numbers/bulk", {"numbers": []}, 404)
        numbers = [
            {"phone_number": "1"},
            {"data": 1},
            {"phone_number": 2},
            {"phone_number": "a"},
            {"phone_number": "1"},
        ]
        found = ari.ask("POST", path, {"numbers": numbers}, 201)
        assert found["message"] == "3 numbers added successfully"
        errors = found["data"].pop("errors")
        assert found["data"] == {"campaign_id": campaign, "count": 3, "skipped": 2, "duplicates": 0}
        assert [error["index"] for error in errors] == [1, 3]
        found = ari.data("POST", path, {"numbers": [*numbers, {"phone_number": "9"}], "skip_duplicates": True}, 201)
        assert (found["count"], found["duplicates"]) == (1, 3)
        rows = ari.get(f"/campaigns/{campaign}/numbers")["data"]
        assert [row["phone_number"] for row in rows] == ["1", "2", "1", "9"]
        ari.ask("POST", path, {"numbers": [{"phone_number": "1"}] * 100_001}, 400)

    def test_a_hundred_thousand_at_once(self, ari, campaign):
        numbers = [{"phone_number": f"030{index:07}", "data": {"name": "Jane"}} for index in range(100_000)]
        found = ari.data("POST", f"/campaigns/{campaign}/numbers/bulk", {"numbers": numbers}, 201)
        assert found["count"] == 100_000
        page = ari.get(f"/campaigns/{campaign}/numbers?page=1000&per_page=100")
        assert page["data"][-1]["phone_number"] == "0300099999"
        ari.ask("DELETE", f"/campaigns/{campaign}")

    def test_listed_by_status_and_deleted_unless_it_is_being_called(self, ari, site, campaign):
        ids = [self.add(ari, campaign, str(number))["id"] for number in range(1, 4)]
        write(
            site,
            ("UPDATE numbers SET status = 'calling', call_id = 'x' WHERE number_id = ?", (ids[0],)),
            ("UPDATE campaign_counts SET amount = 2 WHERE campaign_id = ? AND kind = 'pending'", (campaign,)),
            ("INSERT INTO campaign_counts VALUES (?, 'calling', 1)", (campaign,)),
        )
        path = f"/campaigns/{campaign}/numbers"
        assert [row["id"] for row in ari.get(f"{path}?status=calling")["data"]] == ids[:1]
        assert ari.get(f"{path}?status=pending")["pagination"]["total"] == 2
        assert ari.get(f"{path}?status=nonsense")["data"] == []
        ari.deny('Cannot delete number with status "calling"', "DELETE", f"/numbers/{ids[0]}")
        ari.ask("DELETE", f"/numbers/{ids[1]}")
        ari.deny("Number not found", "DELETE", f"/numbers/{ids[1]}", None, 404)
        assert ari.data("GET", f"/campaigns/{campaign}/stats")["total"] == 2

    def test_pages(self, ari, campaign):
        for number in range(1, 6):
            self.add(ari, campaign, str(number))
        path = f"/campaigns/{campaign}/numbers"

        def page(query):
            found = ari.get(f"{path}?{query}")
            return [row["phone_number"] for row in found["data"]], found["pagination"]

        everything = {"total": 5, "per_page": 20, "current_page": 1, "total_pages": 1, "from": 1, "to": 5}
        assert page("") == (["1", "2", "3", "4", "5"], everything)
        for odd in ("page=0", "page=-3", "page=abc", "page=", "per_page=", "page=1abc"):
            assert page(odd) == (["1", "2", "3", "4", "5"], everything), odd
        assert page("per_page=2&page=3") == (
            ["5"],
            {"total": 5, "per_page": 2, "current_page": 3, "total_pages": 3, "from": 5, "to": 5},
        )
        assert page("per_page=0")[1] == everything | {"per_page": 1, "total_pages": 5, "to": 1}
        assert page("per_page=1000")[1] == everything | {"per_page": 100}
        assert page("page=99")[1] == everything | {"current_page": 99, "from": 0, "to": 0}
        assert page("page=" + "9" * 40)[0] == []
