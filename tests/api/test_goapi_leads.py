"""goAPI's lists and leads: what a client sends and is told, and what the native API has of it."""

import json

import pytest

from tests.api.goapi_site import native, share_campaign, share_site, upload

PASSWORD = "the password of an agent"

site, client, go = share_site(PASSWORD)
campaign, leads = share_campaign()


class TestListsAndLeads:
    def test_a_list_feeds_its_campaign(self, go, client, campaign, leads):
        assert (leads["phone_number"], leads["status"], leads["last_name"]) == (
            ["0301231", "0301232"],
            ["NEW", "NEW"],
            ["Lee", "O'Hara"],
        )
        found = native(client, campaign)
        assert found["total_numbers"] == 2
        listed = go.do("goLists", "goGetAllLists")
        assert (listed["list_id"], listed["tally"], listed["campaign_id"], listed["active"]) == (
            [1001],
            [2],
            [campaign],
            ["Y"],
        )
        assert listed["next_listID"] == 1002
        assert go.do("goLists", "goGetAllListsCampaign", campaign_id=campaign)["list_name"] == ["Fair"]
        go.do("goLists", "goEditList", list_id="1001", active="N", list_name="Autumn fair")
        data = go.do("goLists", "goGetListInfo", list_id="1001")["data"]
        assert (data["active"], data["list_name"], data["tally"]) == ("N", "Autumn fair", 2)
        why = client.ask("GET", f"/api/v1/numbers/{leads['lead_id'][0]}/why")
        assert "list" in [reason["rule"] for reason in why["reasons"]]
        assert go.do("goLists", "goGetAllLeadsOnHopper", campaign_id=campaign)["phone_number"] == ["0301231", "0301232"]
        assert (
            go.call("goLists", "goEditList", list_id="1001", reset_list="Y", list_name="Spring fair")["result"]
            != "success"
        )
        assert go.do("goLists", "goGetListInfo", list_id="1001")["data"]["list_name"] == "Autumn fair"
        answer = go.call("goLists", "goAddList", list_id="1001", list_name="x", campaign_id=campaign)
        assert answer["result"] == "Error: there is already a LIST ID in the system with this ID."
        for given, code in (({}, "10107"), ({"list_id": "x"}, "41002"), ({"list_id": "77"}, "40001"), ({"list_id": "77", "list_name": "x", "campaign_id": "none"}, "41004")):  # fmt: skip
            assert go.call("goLists", "goAddList", **given)["code"] == code
        assert go.call("goLists", "goDeleteList", list_id="1001,77")["code"] == "41004"
        go.do("goLists", "goDeleteList", **{"list_id[]": "1001"})
        assert go.do("goGetLeads", "goGetLeads", campaign_id=campaign)["lead_id"] == []

    def test_leads_are_found_told_changed_and_deleted(self, go, client, campaign, leads):
        def find(**given):
            return go.do("goGetLeads", "goGetLeads", **given)["phone_number"]

        assert find(search="o'hara") == ["0301232"]
        assert find(search="0301231") == ["0301231"]
        assert find(city_filter="ulm") == ["0301232"]
        assert find(disposition_filter="NEW", goVarLimit="1") == ["0301231"]
        assert find(disposition_filter="SALE") == []
        # Nobody was called yet, and nobody is a customer.
        assert find(start_date="2026-01-01") == find(search_customers="1") == []
        assert go.call("goGetLeads", "goGetLeads", start_date="soon")["code"] == "41004"
        lead = str(leads["lead_id"][0])
        info = go.do("goGetLeads", "goGetLeadsInfo", lead_id=lead)
        assert (info["data"]["first_name"], info["custom_fields"]["custom_one"], info["calls"]) == ("Ann", "x", [])
        go.do("goGetLeads", "goEditLeads", lead_id=lead, city="Köln", last_name="", phone_number="0301239")
        number = client.ask("GET", f"/api/v1/numbers/{lead}")
        assert (number["phone_number"], number["data"]) == (
            "0301239",
            {"first_name": "Ann", "city": "Köln", "custom_one": "x"},
        )
        assert go.call("goGetLeads", "goEditLeads", lead_id=lead, phone_number="none")["result"].startswith(
            "Error: phone_number"
        )
        assert "was not called yet" in go.call("goGetLeads", "goEditLeads", lead_id=lead, status="SALE")["result"]
        for wrong, code in (("", "40001"), ("x", "41002"), ("99999", "41004")):
            assert go.call("goGetLeads", "goGetLeadsInfo", lead_id=wrong)["code"] == code
        go.do("goGetLeads", "goDeleteLead", lead_id=lead)
        client.ask("GET", f"/api/v1/numbers/{lead}", status=404)
        go.do("goLists", "goDeleteList", list_id="1001")

    def test_what_a_list_says_of_its_leads(self, go, client, campaign, leads):
        listed = go.do("goUploadLeads", "goGetLeadsOfList", list_id="1001")
        assert (listed["phone_number"], listed["lead_id"]) == (leads["phone_number"], leads["lead_id"])
        exported = go.do("goLists", "goListExport", list_id="1001")
        assert exported["csv"].splitlines()[0] == ",".join(exported["header"])
        assert [row[1:3] for row in exported["rows"]] == [["0301231", "NEW"], ["0301232", "NEW"]]
        assert "O'Hara" in exported["csv"]
        assert exported["is_cut"] is False
        assert go.do("goLists", "goListExportCountRows", list_id="1001")["data"] == 2
        counted = go.do("goLists", "goGetStatusesWithCountCalledNCalled", list_id="1001")
        assert (counted["status"], counted["called"], counted["not_called"]) == (["NEW"], [0], [2])
        client.ask(
            "POST", f"/api/v1/campaigns/{native(client, campaign)['campaign_id']}/numbers",
            {"phone_number": "0301233", "list_id": 1001, "utc_offset_min": 345}, 201,
        )  # fmt: skip
        zones = go.do("goLists", "goGetTZonesWithCountCalledNCalled", list_id="1001")
        assert (zones["gmt_offset"][-1], zones["not_called"], len(zones["called"])) == (5.75, [2, 1], 2)
        for action in ("goListExport", "goListExportCountRows", "goGetStatusesWithCountCalledNCalled"):
            assert go.call("goLists", action, list_id="4711")["code"] == "41004"
        go.do("goLists", "goDeleteList", list_id="1001")

    @pytest.mark.parametrize(
        ("fields", "places", "said"),
        [
            ("phone_number,first_name", "2,0", ""),
            ("phone_number,first_name", "telephone,Who", ""),
            ("phone_number", "2,0", "must be as many names"),
            ("first_name", "0", "must have phone_number"),
            ("phone_number", "3", "the file has no column 3"),
            ("phone_number,city", "2,2", "is there twice"),
            ("phone_number,phone_number", "2,0", "must be as many names"),
        ],
    )
    def test_columns_are_what_the_client_says_they_are(self, go, campaign, fields, places, said):
        go.do("goLists", "goAddList", list_id="1002", list_name="Mapped", campaign_id=campaign)
        given = {"goListId": "1002", "lead_mapping": "1", "lead_mapping_fields": fields, "lead_mapping_data": places}
        answer = upload(go, given, "Who,City,Telephone\nAnn,Ulm,0301240\n")
        if said:
            assert said in answer["message"], answer
        else:
            assert answer["result"] == "success", answer
            (row,) = go.do("goUploadLeads", "goGetLeadsOfList", list_id="1002")["data"]
            assert (row["phone_number"], row["first_name"], row["city"]) == ("0301240", "Ann", "")
        go.do("goLists", "goDeleteList", list_id="1002")

    def test_leads_as_json(self, go, client, campaign, leads):
        def lead(phone, name):
            values = {"phone_number": phone, "first_name": name}
            return {
                "fields": [
                    {"FieldName": key, "FieldValue": value, "FieldType": "text"} for key, value in values.items()
                ]
            }

        body = {
            **go.fields("goUploadMeJSON", {"goDupcheck": "DUPSYS"}),
            "list_id": 1001,
            "leads": [lead("0301240", "Cy"), lead("0301231", "Ann")],
        }
        go.send("POST", "/goAPIv2/goUploadLeads/goAPI.php", json.dumps(body), {"Content-Type": "application/json"})
        assert go.read()["message"] == "Total Uploaded Leads: 1, 1 duplicates"
        for wrong in ("{", "[]", '[{"fields": 1}]', "[1]"):
            assert go.call("goUploadLeads", "goUploadMeJSON", list_id="1001", leads=wrong)["code"] == "10011"
        assert go.call("goUploadLeads", "goUploadMe", goListId="1001")["result"] == "error"
        go.do("goLists", "goDeleteList", list_id="1001")

    def test_numbers_not_to_be_called(self, go, client, campaign):
        go.do("goLists", "goActionDNC", stage="ADD", campaign_id="INTERNAL", phone_numbers="2125550101\r\n2125550102")
        go.do("goLists", "goActionDNC", stage="ADD", campaign_id=campaign, phone_numbers="2125550103")
        assert (
            go.call("goLists", "goActionDNC", stage="ADD", campaign_id="INTERNAL", phone_numbers="2125550101")["code"]
            == "10116"
        )
        assert (
            go.call("goLists", "goActionDNC", stage="DELETE", campaign_id="INTERNAL", phone_numbers="2125550109")[
                "code"
            ]
            == "10117"
        )
        assert go.call("goLists", "goActionDNC", stage="ADD", phone_numbers="'; DROP")["code"] == "10117"
        found = go.do("goLists", "goGetAllDNC", search="55501")
        assert dict(zip(found["phone_number"], found["campaign"], strict=True)) == {
            "2125550101": "", "2125550102": "", "2125550103": campaign,
        }  # fmt: skip
        (own,) = native(client, campaign)["dnc_lists"]
        assert client.ask("GET", f"/api/v1/dnc/{own}/numbers")["items"][0]["number"] == "2125550103"
        go.do(
            "goLists", "goActionDNC", stage="DELETE", campaign_id="INTERNAL", phone_numbers="2125550101\r\n2125550102"
        )
