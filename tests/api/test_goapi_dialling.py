"""goAPI's campaigns and codes: what a client sends and is told, and what the native API has of it; and values that would break an action."""

import pytest

from api.compat.goapi.table import MODULES
from tests.api.goapi_site import CAMPAIGN, native, share_campaign, share_site

PASSWORD = "the password of an agent"

site, client, go = share_site(PASSWORD)
campaign, _ = share_campaign()


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
        told = go.do("goCampaigns", "goGetCampaignInfo", campaign_id="IN000001")["data"]
        go.do(
            "goCampaigns", "goEditCampaign", campaign_id="IN000001", dial_method=told["dial_method"], campaign_desc="x"
        )
        now = native(client, "IN000001")
        assert (now["dial_mode"], now["trunk"], now["description"]) == ("inbound", None, "x")
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
        go.do("goCampaigns", "goEditCampaign", campaign_id=campaign, dial_statuses=" NEW NA -")
        changed = client.ask("GET", f"/api/v1/campaigns/{found}")
        assert (changed["retry_rules"]["busy"]["times"], changed["retry_rules"]["no-answer"]["times"]) == (0, 1)
        assert changed["recycle_rules"] == {}
        go.do("goCampaigns", "goUpdateCampaignDialStatus", campaign_id=campaign, dial_statuses=" -")
        changed = client.ask("GET", f"/api/v1/campaigns/{found}")
        assert {rule["times"] for rule in changed["retry_rules"].values()} == {0}

    def test_a_call_time_is_when_people_may_be_called(self, go, client, campaign):
        found = native(client, campaign)["campaign_id"]
        go.do("goCampaigns", "goEditCampaign", campaign_id=campaign, local_call_time="office")
        office = client.ask("GET", "/api/v1/schedules/office")["hours"]
        assert client.ask("GET", f"/api/v1/campaigns/{found}")["call_window"]["hours"] == office
        assert go.do("goCampaigns", "goGetCampaignInfo", campaign_id=campaign)["data"]["local_call_time"] == "office"
        answer = go.call("goCampaigns", "goEditCampaign", campaign_id=campaign, local_call_time="nowhere")
        assert answer["code"] == "41004"
        go.do("goCampaigns", "goEditCampaign", campaign_id=campaign, local_call_time="24hours")
        assert client.ask("GET", f"/api/v1/campaigns/{found}")["call_window"] is None
        assert go.do("goCampaigns", "goGetCampaignInfo", campaign_id=campaign)["data"]["local_call_time"] == "24hours"

    def test_whether_an_id_or_a_status_is_free(self, go, campaign):
        taken = {"result": "fail", "status": "Campaign already exist."}
        assert go.call("goCampaigns", "goCheckCampaign", campaign_id=campaign) == taken
        assert go.do("goCampaigns", "goCheckCampaign", campaign_id="00000009")
        assert go.do("goCampaigns", "goCheckCampaign", campaign_id=campaign, status="HOT")
        go.do("goDispositions", "goAddDisposition", campaign_id=campaign, status="HOT", status_name="Hot lead")
        assert go.call("goCampaigns", "goCheckCampaign", campaign_id=campaign, status="HOT") == taken

    def test_a_campaign_of_the_native_api_has_its_number_for_an_id(self, go, client):
        body = {"name": "ours", "trunk": "carrier", "destination": {"queue": "support"}}
        made = str(client.ask("POST", "/api/v1/campaigns", body, 201)["campaign_id"])
        assert go.do("goCampaigns", "goGetCampaignInfo", campaign_id=made)["data"]["campaign_name"] == "ours"
        go.do("goCampaigns", "goDeleteCampaign", campaign_id=made)


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
