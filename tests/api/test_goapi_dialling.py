"""goAPI's campaigns, lists, leads, people and codes: what a client sends and is told, and what the native API has of it."""

import json

import pytest

from api.compat.goapi.table import MODULES
from tests.api.conftest import SOURCES
from tests.api.goapi_site import share_site
from tests.api.test_goapi_door import multipart

PASSWORD = "the password of an agent"


site, client, go = share_site(PASSWORD)


CAMPAIGN = {
    "campaign_id": "12345678", "campaign_name": "Winter", "campaign_type": "OUTBOUND", "closer_campaigns": "support", "active": "N",
}  # fmt: skip


@pytest.fixture
def campaign(go):
    go.do("goCampaigns", "goAddCampaign", **CAMPAIGN)
    yield CAMPAIGN["campaign_id"]
    go.call(
        "goCampaigns", "goDeleteCampaign", **{"campaign_id[]": CAMPAIGN["campaign_id"], "action": "delete_selected"}
    )


def native(client, code):
    """The native campaign that goAPI calls so: the newest."""
    return client.ask("GET", "/api/v1/campaigns?limit=1")["items"][0]


class TestCampaigns:
    def test_added_told_edited_deleted(self, go, client, campaign):
        found = native(client, campaign)
        assert (found["name"], found["dial_mode"], found["trunk"], found["destination"]) == (
            "Winter", "manual", "carrier", {"queue": "support"},
        )  # fmt: skip
        info = go.do("goCampaigns", "goGetCampaignInfo", campaign_id=campaign)
        assert info["campaign_type"] == "OUTBOUND"
        assert (info["data"]["campaign_id"], info["data"]["active"], info["data"]["dial_method"]) == (
            campaign,
            "N",
            "MANUAL",
        )
        listed = go.do("goCampaigns", "getAllCampaigns")
        assert listed["campaign_id"][listed["campaign_name"].index("Winter")] == campaign
        go.do(
            "goCampaigns", "goEditCampaign", campaign_id=campaign, dial_method="RATIO", auto_dial_level="HIGH", campaign_cid="15550100",
            dial_prefix="CUSTOM", custom_prefix="9", campaign_recording="ALLFORCE", dial_timeout="25", answering_machine_detection="8369",
        )  # fmt: skip
        changed = client.ask("GET", f"/api/v1/campaigns/{found['campaign_id']}")
        assert (changed["dial_mode"], changed["lines_per_agent"], changed["caller_number"], changed["dial_prefix"]) == (
            "ratio", 4.0, "15550100", "9",
        )  # fmt: skip
        assert (changed["recording"], changed["dial_timeout_s"], changed["name"]) == (True, 25, "Winter")
        # What is not given stays, and X takes the prefix away.
        go.do("goCampaigns", "goUpdateCampaign", campaign_id=campaign, dial_prefix="X")
        data = go.do("goCampaigns", "goGetCampaignInfo", campaign_id=campaign)["data"]
        assert (data["dial_method"], data["auto_dial_level"], data["dial_prefix"]) == ("RATIO", 4.0, "")
        assert data["answering_machine_detection"] == "8369"
        for method, mode in (
            ("ADAPT_TAPERED", "predictive"),
            ("INBOUND_MAN", "manual"),
            ("ADAPT_HARD_LIMIT", "predictive"),
        ):
            go.do(
                "goCampaigns",
                "goEditCampaign",
                campaign_id=campaign,
                dial_method=method,
                adaptive_dropped_percentage="3",
            )
            assert client.ask("GET", f"/api/v1/campaigns/{found['campaign_id']}")["dial_mode"] == mode
            assert go.do("goCampaigns", "goGetCampaignInfo", campaign_id=campaign)["data"]["dial_method"] == method
        go.do("goCampaigns", "goEditCampaign", campaign_id=campaign, dial_method="RATIO", auto_dial_level="0")
        assert client.ask("GET", f"/api/v1/campaigns/{found['campaign_id']}")["dial_mode"] == "manual"
        assert go.call("goCampaigns", "goCheckCampaign", campaign_id=campaign) == {
            "result": "fail", "status": "Campaign already exist.",
        }  # fmt: skip
        go.do("goCampaigns", "goCheckCampaign", campaign_id="87654321")
        audit = {one["action"] for one in client.ask("GET", "/api/v1/audit?limit=20")["items"]}
        assert "campaigns/update" in audit

    def test_active_is_running_and_a_running_one_is_edited(self, go, client, campaign):
        found = native(client, campaign)["campaign_id"]
        go.do("goCampaigns", "goEditCampaign", campaign_id=campaign, active="Y")
        assert client.ask("GET", f"/api/v1/campaigns/{found}")["state"] == "running"
        go.do("goCampaigns", "goEditCampaign", campaign_id=campaign, campaign_name="Spring")
        changed = client.ask("GET", f"/api/v1/campaigns/{found}")
        assert (changed["state"], changed["name"]) == ("running", "Spring")
        # A refused change leaves it running, too.
        assert (
            "dial_timeout"
            in go.call("goCampaigns", "goEditCampaign", campaign_id=campaign, dial_timeout="9999")["result"]
        )
        assert client.ask("GET", f"/api/v1/campaigns/{found}")["state"] == "running"
        go.do("goCampaigns", "goEditCampaign", campaign_id=campaign, active="N")
        assert client.ask("GET", f"/api/v1/campaigns/{found}")["state"] == "paused"

    @pytest.mark.parametrize(
        ("given", "said"),
        [
            ({"campaign_id": ""}, "40001"),
            ({"campaign_name": ""}, "40001"),
            ({"campaign_type": ""}, "40001"),
            ({"campaign_type": "FAX"}, "10003"),
            ({"campaign_id": "1234567"}, "41006"),
            ({"campaign_id": "123456789"}, "41006"),
            ({"campaign_id": "12345678"}, "10109"),
            ({"dial_method": "GUESS"}, "41006"),
            ({"auto_dial_level": "eleven"}, "41006"),
            ({"dial_method": "RATIO", "auto_dial_level": "11"}, "41006"),
            ({"dial_method": "RATIO", "auto_dial_level": "nan"}, "41006"),
            ({"adaptive_dropped_percentage": "11"}, "41006"),
            ({"closer_campaigns": "nobody"}, "41004"),
            ({"dial_timeout": "x"}, "41002"),
        ],
    )
    def test_what_does_not_fit_is_refused_and_nothing_is_kept(self, go, campaign, given, said):
        before = go.do("goCampaigns", "goGetAllCampaigns")
        answer = go.call("goCampaigns", "goAddCampaign", **{**CAMPAIGN, "campaign_id": "00000009", **given})
        assert answer["code"] == said, answer
        assert go.do("goCampaigns", "goGetAllCampaigns") == before

    @pytest.mark.parametrize("text", ["'\"", "a\r\nb", "a;b", "[x]", "a\0b", "x" * 100_000, "${EXTEN}", "💥"])
    @pytest.mark.parametrize("name", ["campaign_name", "campaign_cid", "dial_prefix", "carrier_id", "closer_campaigns"])
    def test_hostile_values_are_refused_or_kept_as_text(self, go, campaign, name, text):
        answer = go.call("goCampaigns", "goEditCampaign", campaign_id=campaign, **{name: text})
        if answer["result"] == "success":
            assert name == "campaign_name"
            assert (
                go.do("goCampaigns", "goGetCampaignInfo", campaign_id=campaign)["data"]["campaign_name"] == text.strip()
            )

    def test_inbound_blended_and_copies(self, go, client, campaign):
        inbound = {**CAMPAIGN, "campaign_id": "IN000001", "campaign_type": "INBOUND", "campaign_name": "In"}
        go.do("goCampaigns", "goAddCampaign", **inbound)
        found = native(client, "IN000001")
        assert (found["dial_mode"], found["trunk"], found["recording"]) == ("inbound", None, True)
        blended = {
            **CAMPAIGN,
            "campaign_id": "BL000001",
            "campaign_type": "BLENDED",
            "call_route": "INGROUP",
            "call_route_text": "support",
        }
        go.do("goCampaigns", "goAddCampaign", **{**blended, "closer_campaigns": ""})
        assert native(client, "BL000001")["dial_mode"] == "ratio"
        copy = {
            "campaign_id": "CO000001",
            "campaign_type": "COPY",
            "campaign_name": "Twin",
            "copy_from_campaign": "IN000001",
            "active": "N",
        }
        go.do("goCampaigns", "goAddCampaign", **copy)
        twin = native(client, "CO000001")
        assert (twin["name"], twin["dial_mode"], twin["destination"]) == ("Twin", "inbound", {"queue": "support"})
        go.do("goCampaigns", "goDeleteCampaign", campaign_id="IN000001,BL000001,CO000001", action="delete_selected")
        assert go.call("goCampaigns", "goDeleteCampaign", campaign_id="IN000001") == {
            "code": "10109", "result": "Error: Campaign doesn't exist.",
        }  # fmt: skip

    def test_dial_statuses_say_who_is_called_again(self, go, client, campaign):
        found = native(client, campaign)["campaign_id"]
        go.do("goCampaigns", "goUpdateCampaignDialStatus", campaign_id=campaign, dial_statuses=" NEW B NP -")
        changed = client.ask("GET", f"/api/v1/campaigns/{found}")
        assert changed["recycle_rules"] == {"NP": {"times": 1, "delay_s": 300}}
        assert (changed["retry_rules"]["busy"]["times"], changed["retry_rules"]["no-answer"]["times"]) == (1, 0)
        assert go.do("goCampaigns", "goGetCampaignInfo", campaign_id=campaign)["data"]["dial_statuses"] == " NEW B NP -"

    def test_a_campaign_of_the_native_api_has_its_number_for_an_id(self, go, client):
        body = {"name": "ours", "trunk": "carrier", "destination": {"queue": "support"}}
        made = str(client.ask("POST", "/api/v1/campaigns", body, 201)["campaign_id"])
        assert go.do("goCampaigns", "goGetCampaignInfo", campaign_id=made)["data"]["campaign_name"] == "ours"
        go.do("goCampaigns", "goDeleteCampaign", campaign_id=made)


def upload(go, given, text):
    """The answer to a file of leads."""
    body, headers = multipart([*go.fields("goUploadMe", given).items(), ("goFileMe", text)])
    body = body.replace(b'name="goFileMe"', b'name="goFileMe"; filename="leads.csv"')
    go.send("POST", "/goAPIv2/goUploadLeads/goAPI.php", body, headers)
    return go.read()


@pytest.fixture
def leads(go, campaign):
    """A list of three leads, read from a file."""
    go.do("goLists", "goAddList", list_id="1001", list_name="Fair", campaign_id=campaign, active="Y")
    text = "phone,first_name,last_name,city,custom one\r\n030 123-1,Ann,Lee,Bonn,x\r\n0301232,Ben,O'Hara,Ulm,\r\nnone,Bad,Row,,\r\n0301231,Ann,Again,,\r\n"
    answer = upload(go, {"goListId": "1001", "goDupcheck": "DUPLIST"}, text)
    assert answer == {"result": "success", "message": "Total Uploaded Leads: 2, 1 invalid, 1 duplicates"}
    return go.do("goGetLeads", "goGetLeads", list_filter="1001")


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


class TestCodes:
    def test_dispositions_pause_codes_and_recycling_while_it_runs(self, go, client, campaign):
        found = native(client, campaign)["campaign_id"]
        go.do("goCampaigns", "goEditCampaign", campaign_id=campaign, active="Y")
        go.do(
            "goDispositions",
            "goAddDisposition",
            campaign_id=campaign,
            status="hot",
            status_name="Hot lead",
            sale="Y",
            human_answered="Y",
        )
        go.do("goDispositions", "goEditDisposition", campaign_id=campaign, status="HOT", status_name="Very hot")
        now = client.ask("GET", f"/api/v1/campaigns/{found}")
        assert (now["state"], now["statuses"]["HOT"]["name"], now["statuses"]["HOT"]["is_sale"]) == (
            "running",
            "Very hot",
            True,
        )
        listed = go.do("goDispositions", "goGetAllDispositions", campaign_id=campaign)
        assert {"HOT", "SALE", "DNC", "NI"} <= set(listed["status"])
        assert (
            go.call("goDispositions", "goAddDisposition", campaign_id=campaign, status="HOT", status_name="x")["code"]
            == "10110"
        )
        assert (
            go.call("goDispositions", "goAddDisposition", campaign_id=campaign, status="H2", status_name="Very hot")[
                "code"
            ]
            == "10111"
        )
        assert (
            "sale"
            in go.call(
                "goDispositions", "goAddDisposition", campaign_id=campaign, status="H3", status_name="x", sale="maybe"
            )["result"]
        )
        assert go.call(
            "goDispositions", "goAddDisposition", campaign_id=campaign, status="not a code", status_name="x"
        )["result"].startswith("Error: statuses")
        go.do(
            "goLeadRecycling",
            "goAddLeadRecycling",
            campaign_id=campaign,
            status="HOT",
            attempt_delay="600",
            attempt_maximum="3",
        )
        go.do(
            "goLeadRecycling",
            "goAddLeadRecycling",
            campaign_id=campaign,
            status="B",
            attempt_delay="120",
            attempt_maximum="2",
        )
        now = client.ask("GET", f"/api/v1/campaigns/{found}")
        assert now["recycle_rules"] == {"HOT": {"times": 3, "delay_s": 600}}
        assert now["retry_rules"]["busy"] == {"times": 2, "delay_s": 120}
        assert go.do("goLeadRecycling", "goGetAllLeadRecycling", campaign_id=campaign)["status"] == ["B", "HOT"]
        go.do("goLeadRecycling", "goEditLeadRecycling", campaign_id=campaign, status="HOT", attempt_maximum="5")
        for given, code in (({"status": "HOT"}, "10110"), ({"status": "COLD"}, "41004"), ({"status": "NI", "attempt_delay": "5"}, "41006"), ({"status": "NI", "attempt_maximum": "99"}, "41006")):  # fmt: skip
            assert go.call("goLeadRecycling", "goAddLeadRecycling", campaign_id=campaign, **given)["code"] == code
        go.do("goLeadRecycling", "goDeleteLeadRecycling", campaign_id=campaign, status="B")
        go.do(
            "goPauseCodes",
            "goAddPauseCode",
            campaign_id=campaign,
            pause_code="LUNCH",
            pause_code_name="Lunch",
            billable="HALF",
        )
        go.do("goPauseCodes", "goEditPauseCode", campaign_id=campaign, pause_code="LUNCH", pause_code_name="Long lunch")
        assert (
            go.do("goPauseCodes", "goGetPauseCodeInfo", campaign_id=campaign, pause_code="LUNCH")["data"]["billable"]
            == "HALF"
        )
        assert go.do("goPauseCodes", "goGetAllPauseCodes", campaign_id=campaign)["pause_code_name"] == ["Long lunch"]
        assert (
            go.call("goPauseCodes", "goAddPauseCode", campaign_id=campaign, pause_code="LUNCH", pause_code_name="x")[
                "code"
            ]
            == "10110"
        )
        assert (
            go.call(
                "goPauseCodes",
                "goAddPauseCode",
                campaign_id=campaign,
                pause_code="X",
                pause_code_name="x",
                billable="?",
            )["code"]
            == "41006"
        )
        go.do("goPauseCodes", "goDeletePauseCode", campaign_id=campaign, pause_code="LUNCH")
        # Its rule goes with a status.
        go.do("goDispositions", "goDeleteDisposition", campaign_id=campaign, statuses="HOT")
        now = client.ask("GET", f"/api/v1/campaigns/{found}")
        assert (now["statuses"], now["recycle_rules"], now["pause_codes"], now["state"]) == ({}, {}, {}, "running")


class TestPeople:
    def test_users_and_groups_and_what_a_group_shows(self, go, client, campaign):
        body = {"name": "theirs", "trunk": "carrier", "destination": {"queue": "support"}}
        theirs = str(client.ask("POST", "/api/v1/campaigns", body, 201)["campaign_id"])
        go.do(
            "goUserGroups", "goAddUserGroup", user_group="north", group_name="North", allowed_campaigns=f" {campaign} -"
        )
        go.do(
            "goUsers", "goAddUser", user="ann", **{"pass": PASSWORD}, full_name="Ann Lee", user_group="north", phone_login="1001",
            email="ann@example.com",
        )  # fmt: skip
        info = go.do("goUsers", "goGetUserInfo", user="ann")["data"]
        assert (info["user_group"], info["phone_login"], info["user_level"], info["active"]) == (
            "north",
            "1001",
            1,
            "Y",
        )
        assert "pass" not in info
        ann = go.with_credentials("ann", PASSWORD, next(SOURCES))
        assert ann.do("goCampaigns", "goGetAllCampaigns")["campaign_id"] == [campaign]
        assert ann.call("goCampaigns", "goGetCampaignInfo", campaign_id=theirs)["code"] == "41004"
        assert ann.call("goCampaigns", "goEditCampaign", campaign_id=theirs, campaign_name="mine")["code"] == "41004"
        # session_user is a claim: it opens nothing.
        assert ann.do("goCampaigns", "goGetAllCampaigns", session_user="admin")["campaign_id"] == [campaign]
        assert ann.call("goUsers", "goGetAllUsers")["code"] == "10001"
        go.do("goLists", "goAddList", list_id="2001", list_name="x", campaign_id=theirs)
        assert ann.call("goLists", "goEditList", list_id="2001", active="N")["code"] in ("10001", "41004")
        assert ann.do("goLists", "goGetAllLists")["list_id"] == []
        assert ann.call("goLists", "goGetAllDNC")["result"] == "success"
        # A group that somebody is in stays; who has left it sees all again.
        assert "ann" in go.call("goUserGroups", "goDeleteUserGroup", user_group="north")["result"]
        go.do(
            "goUserGroups",
            "goEditUserGroup",
            user_group="north",
            permissions='["campaigns/read"]',
            allowed_campaigns="ALL-CAMPAIGNS",
        )
        assert theirs in ann.do("goCampaigns", "goGetAllCampaigns")["campaign_id"]
        assert ann.call("goLists", "goGetAllLists")["code"] == "10001"
        assert go.do("goUserGroups", "goGetUserGroupInfo", user_group="north")["data"]["group_name"] == "North"
        assert "north" in go.do("goUserGroups", "goGetAllUserGroups")["user_group"]
        go.do("goUsers", "goEditUser", user="ann", user_group="---ALL---", full_name="Ann Best", active="N")
        assert go.do("goUsers", "goGetUserInfo", user="ann")["data"]["active"] == "N"
        assert ann.call("goCampaigns", "goGetAllCampaigns") == {
            "result": "error",
            "message": "Invalid Username/Password",
        }
        user_id = go.do("goUsers", "goGetUserInfo", user="ann")["data"]["user_id"]
        go.do("goUsers", "goDeleteUser", **{"user_id[]": str(user_id), "action": "delete_selected"})
        go.do("goUserGroups", "goDeleteUserGroup", user_group="north")
        go.do("goCampaigns", "goDeleteCampaign", campaign_id=theirs)

    @pytest.mark.parametrize(
        ("given", "said"),
        [
            ({"user": ""}, "40001"), ({"pass": ""}, "40001"), ({"full_name": ""}, "40001"), ({"user_group": ""}, "40001"),
            ({"user": "a b"}, "41004"), ({"user_group": "nobodys"}, "41004"), ({"active": "maybe"}, "41006"), ({"user": "admin"}, "10113"),
            ({"email": "none"}, "41003"), ({"user_level": "10"}, "41002"), ({"phone_login": "4711"}, "41004"),
        ],
    )  # fmt: skip
    def test_users_that_do_not_fit(self, go, given, said):
        new = {"user": "bob", "pass": PASSWORD, "full_name": "Bob", "user_group": "---ALL---"}
        assert go.call("goUsers", "goAddUser", **{**new, **given})["code"] == said
        go.do("goUsers", "goCheckUser", user="bob")

    def test_more_of_users_and_groups(self, go):
        assert (
            "pass must be"
            in go.call("goUsers", "goAddUser", user="bob", **{"pass": "short"}, full_name="Bob", user_group="ADMIN")[
                "result"
            ]
        )
        assert go.call("goUsers", "goDeleteUser", user_id="4711")["code"] == "10010"
        assert go.call("goUsers", "goEditUser", user="nobody", full_name="x")["code"] == "41004"
        assert go.deny("Error: User already exist.", "goUsers", "goCheckUser", user="ADMIN")
        login = go.do("goUsers", "goUserLogin", user_name="admin", user_pass=go.secret)
        assert login["data"]["user_level"] == 9
        assert go.secret not in json.dumps(login)
        go.deny(
            "Invalid login credentials please try again.",
            "goUsers",
            "goUserLogin",
            user_name="admin",
            user_pass="wrong",
        )
        for given, code in (
            ({"user_group": "ab", "group_name": "x"}, "41006"), ({"user_group": "abc", "group_name": ""}, "41004"),
            ({"user_group": "a b c", "group_name": "x"}, "41006"), ({"user_group": "ADMIN", "group_name": "x"}, "41006"),
            ({"user_group": "abc", "group_name": "x", "allowed_campaigns": "none"}, "41004"),
            ({"user_group": "abc", "group_name": "x", "permissions": "{"}, "10011"),
        ):  # fmt: skip
            assert go.call("goUserGroups", "goAddUserGroup", **given)["code"] == code
        go.do("goUserGroups", "goCheckUserGroups", user_group="abc")
        go.do("goUserGroups", "goAddUserGroup", user_group="abc", group_name="x")
        assert go.call("goUserGroups", "goAddUserGroup", user_group="ABC", group_name="x")["code"] == "41004"
        go.do("goUserGroups", "goDeleteUserGroup", user_group="abc")


class TestAgentsAndFigures:
    def test_an_agent_acts_at_their_own_phone_and_only_there(self, go, client, campaign):
        deny = {"result": "error", "message": "this user has no phone: set phone_login with goEditUser"}
        assert go.call("goAgent", "goLoginUser", goCampaign=campaign) == deny
        go.do("goUsers", "goEditUser", user="admin", phone_login="1002")
        # A change ends logins, not the password.
        info = go.do("goAgent", "goGetLoginInfo")
        assert info["data"] == {"user": "admin", "full_name": "", "user_group": "", "phone_login": "1002"}
        assert go.call("goAgent", "goLoginUser")["message"] == "Please select a campaign"
        for action, given, said in (
            ("goLoginUser", {"goCampaign": "none"}, "Invalid value in goCampaign"),
            ("goAutodialResumePause", {"goTask": "SLEEP"}, "goTask must be PAUSE, or READY"),
            ("goPauseCodeSubmit", {"goCampaign": campaign, "goPauseCode": "LUNCH"}, "goPauseCode must be one of the campaign's: "),
            ("goManualDialOnly", {"goCampaign": campaign, "goPhoneNumber": "none"}, "goPhoneNumber 'none' must be"),
            ("goHangupCall", {}, "there is no call to hang up"),
            ("goUpdateDispo", {"goLeadID": "99999", "goDispoChoice": "SALE"}, "Invalid value in lead_id"),
            ("goUpdateDispo", {"goDispoChoice": "SALE"}, "Error: Missing required parameters in lead_id"),
        ):  # fmt: skip
            answer = go.call("goAgent", action, **given)
            assert answer["result"] == "error"
            assert answer["message"].startswith(said), answer
        assert go.call("goAgent", "goVDADCheckIncoming")["message"] == "Command Not Found"
        assert go.do("goAgent", "goManualDialLookCall")["data"] == {"calls": []}
        assert campaign not in go.do("goAgent", "goGetAllowedCampaigns")["data"]["allowed_campaigns"]
        assert "SALE" in go.do("goAgent", "goGetStatuses", goCampaign=campaign)["data"]["statuses"]
        # There is no Asterisk here: it is said, and nothing is changed.
        answer = go.call("goAgent", "goManualDialNext", goCampaign=campaign, http=503)
        assert answer["result"].startswith("Error: Asterisk cannot be asked now")

    def test_counters_of_a_day_without_calls(self, go, campaign, leads):
        for action in (
            "goGetTotalCalls", "goGetTotalAnsweredCalls", "goGetTotalDroppedCalls", "goGetDroppedPercentage", "goGetTotalSales",
            "goGetRingingCalls", "goGetLiveOutbound", "goGetTotalDialableLeads", "goGetRealtimeCallsMonitoring",
        ):  # fmt: skip
            assert go.do("goDashboard", action)["data"] == 0, action
        assert go.do("goDashboard", "goGetTotalCalls", type="inbound")["data"] == 0
        assert go.call("goDashboard", "goGetTotalCalls", type="sideways")["code"] == "41006"
        go.do("goCampaigns", "goEditCampaign", campaign_id=campaign, active="Y")
        assert go.do("goDashboard", "goGetTotalDialableLeads")["data"] == 2
        assert go.do("goDashboard", "goGetLeadsinHopper")["data"] == 2
        go.do("goLists", "goDeleteList", list_id="1001")

    def test_reports_and_recordings_of_nothing(self, go, campaign):
        report = go.do("goReports", "goExportCallReport", fromDate="2026-01-01", toDate="2026-01-31")
        assert (report["rows"], report["is_cut"]) == ([], False)
        assert report["csv"].startswith("call_date,phone_number,status,")
        assert go.do("goReports", "goExportCountRows", campaign_id=campaign)["data"] == 0
        assert go.call("goReports", "goExportCallReport", campaign_id="none")["code"] == "41004"
        for wrong, code in (
            ({"fromDate": "soon"}, "41004"),
            ({"fromDate": "2026-02-01", "toDate": "2026-01-01"}, "41006"),
        ):
            assert go.call("goReports", "goExportCallReport", **wrong)["code"] == code
        assert go.do("goReports", "goGetDispoStats")["status"] == []
        assert go.do("goCallRecordings", "goGetCallRecordingList")["cnt"] == 0


OURS = (
    "goCampaigns", "goLists", "goGetLeads", "goUploadLeads", "goUsers", "goUserGroups", "goDispositions", "goPauseCodes",
    "goLeadRecycling", "goAgent", "goBarging", "goDashboard", "goReports", "goCallRecordings",
)  # fmt: skip
HOSTILE = (
    "'; DROP TABLE users; --",
    "a\r\nAction: Command",
    "[x]\n;",
    "a\0b",
    "9" * 40,
    "²",
    "[1,2",
    "${SHELL(id)}",
    "x" * 20_000,
)


@pytest.mark.parametrize("module", OURS)
def test_no_value_of_any_parameter_breaks_an_action(go, client, campaign, module):
    """A refusal in goAPI's words or a success, never an error of ours; and nobody is made an admin by it."""
    known = {"campaign_id": campaign, "goCampaign": campaign, "list_id": "31337", "user": "mallory"}
    (found,) = [one for one in MODULES if one.name == module]
    for action in found.actions:
        for name in action.parameters:
            for text in HOSTILE:
                given = {key: value for key, value in known.items() if key in action.parameters} | {name: text}
                answer = go.call(module, action.name, http=(200, 503), **given)
                assert isinstance(answer["result"], str)
                assert "something went wrong" not in answer["result"], (action.name, name, text, answer)
            nested = {f"{name}[a][b][]": "x"}
            assert go.call(module, action.name, http=(200, 503), **nested)["result"]
    names = [one["name"] for one in client.ask("GET", "/api/v1/users")["items"]]
    assert names == ["admin"]
