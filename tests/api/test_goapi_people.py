"""goAPI's users, groups, agents and figures: what a client sends and is told, and what the native API has of it."""

import json

import pytest

from tests.api.conftest import SOURCES
from tests.api.goapi_site import share_campaign, share_site

PASSWORD = "the password of an agent"

site, client, go = share_site(PASSWORD)
campaign, leads = share_campaign()


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

    def test_a_name_that_is_the_id_of_another_deletes_only_whom_it_means(self, go):
        def add(name):
            go.do("goUsers", "goAddUser", user=name, **{"pass": PASSWORD}, full_name="Ann Lee", user_group="---ALL---")
            return str(go.do("goUsers", "goGetUserInfo", user=name)["data"]["user_id"])

        first = add("firstone")
        second = add(first)
        assert go.do("goUsers", "goGetUserInfo", user_id=first)["data"]["user"] == "firstone"
        assert go.do("goUsers", "goGetUserInfo", user=first)["data"]["user_id"] == int(second)
        go.do("goUsers", "goDeleteUser", **{"user_id[]": first})
        assert go.do("goUsers", "goGetUserInfo", user_id=second)["data"]["user"] == first
        go.do("goUsers", "goDeleteUser", **{"user_id[]": second})

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
