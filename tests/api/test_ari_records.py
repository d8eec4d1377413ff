"""The ARI Dialer's CDRs, monitoring and menus on a live server."""

from datetime import datetime

import pytest

from tests.api.ari_site import ZONE, add_attempts
from tests.api.conftest import Client


@pytest.fixture(scope="module")
def calls(ari, site):
    """Five calls of one campaign around midnight in Berlin, one that is under way, and one of a campaign that is gone."""
    campaign = ari.make()["id"]
    midnight = datetime(2024, 12, 9, tzinfo=ZONE).timestamp()
    rows = [
        (-1, "answered", {"answered_at": midnight + 4, "ended_at": midnight + 9, "agent": "Anna_100%"}),
        (0, "busy", {"phone_number": "0987654321"}),
        (3600, "no-answer", {"caller_number": "555"}),
        (86399, "cancelled", {}),
        (86400, "congestion", {}),
    ]
    rows = [
        {"campaign_id": campaign, "started_at": midnight + at, "ended_at": midnight + at + 10, "disposition": how}
        | more
        for at, how, more in rows
    ]
    rows.append({"campaign_id": campaign, "started_at": midnight, "ended_at": None, "disposition": None})
    rows.append(
        {"campaign_id": None, "started_at": midnight + 5, "ended_at": midnight + 6, "disposition": "trunk-dead"}
    )
    add_attempts(site, rows)
    return campaign


class TestCdr:
    def found(self, ari, query):
        page = ari.get(f"/cdr?{query}&per_page=100")
        assert page["pagination"]["total"] == len(page["data"])
        return [row["disposition"] for row in page["data"]]

    def test_filters(self, ari, calls):
        mine = f"campaign_id={calls}"
        assert self.found(ari, mine) == ["failed", "cancelled", "no_answer", "busy", "answered"]
        assert self.found(ari, f"{mine}&disposition=failed") == ["failed"]
        assert self.found(ari, f"{mine}&disposition=no_answer") == ["no_answer"]
        assert self.found(ari, f"{mine}&disposition=nonsense") == []
        # The whole day counts, by the clock in Berlin.
        assert self.found(ari, f"{mine}&start_date=2024-12-09&end_date=2024-12-09") == [
            "cancelled",
            "no_answer",
            "busy",
        ]
        assert self.found(ari, f"{mine}&end_date=2024-12-08") == ["answered"]
        assert self.found(ari, f"{mine}&start_date=2024-12-10") == ["failed"]
        assert self.found(ari, f"{mine}&start_date=2024-12-09%2001:00:00&end_date=2024-12-09T23:59:59") == [
            "cancelled",
            "no_answer",
        ]
        assert self.found(ari, f"{mine}&end_date=2024-12-09%2023:59:58") == ["no_answer", "busy", "answered"]
        assert self.found(ari, f"{mine}&search=0987") == ["busy"]
        assert self.found(ari, f"{mine}&search=555") == ["no_answer"]
        assert self.found(ari, f"{mine}&search=anna_100%25") == ["answered"]
        assert self.found(ari, f"{mine}&search=%25") == ["answered"]
        assert self.found(ari, f"{mine}&search=_") == ["answered"]
        assert self.found(ari, f"{mine}&search='%20OR%201=1%20--") == []
        assert self.found(ari, "campaign_id=999999") == []
        assert "failed" in self.found(ari, "start_date=2024-12-09&end_date=2024-12-09&disposition=failed")

    @pytest.mark.parametrize(
        "wrong", ["2024-13-01", "2024-02-30", "yesterday", "09.12.2024", "2024-12-09 25:00:00", "1"]
    )
    def test_bad_dates(self, ari, wrong):
        for path in ("/cdr", "/cdr/stats"):
            for name in ("start_date", "end_date"):
                found = ari.ask("GET", f"{path}?{name}={wrong.replace(' ', '%20')}", None, 400)
                assert found["message"] == f"Invalid {name}. Use YYYY-MM-DD or YYYY-MM-DD HH:MM:SS"

    @pytest.mark.parametrize("edge", ["0001-01-01", "9999-12-31"])
    def test_dates_at_the_edge(self, ari, edge):
        for name in ("start_date", "end_date"):
            ari.ask("GET", f"/cdr?{name}={edge}", None, (200, 400))

    def test_a_row(self, ari, calls):
        row = ari.get(f"/cdr?campaign_id={calls}&disposition=answered")["data"][0]
        assert row["start_time"] == "2024-12-08 23:59:59"
        assert (row["answer_time"], row["end_time"]) == ("2024-12-09 00:00:04", "2024-12-09 00:00:09")
        assert (row["duration"], row["billsec"], row["agent"]) == (10, 5, "Anna_100%")
        assert ari.data("GET", f"/cdr/{row['id']}") == row
        missed = ari.get(f"/cdr?campaign_id={calls}&disposition=busy")["data"][0]
        assert missed["agent"] is missed["answer_time"] is missed["recording_file"] is None
        assert missed["billsec"] == 0
        assert missed["uniqueid"] == missed["channel_id"]

    def test_stats(self, ari, calls):
        found = ari.data("GET", f"/cdr/stats?campaign_id={calls}")
        assert found == {
            "total_calls": 5, "answered": 1, "no_answer": 1, "busy": 1, "failed": 1, "cancelled": 1, "avg_duration": 10.0,
            "avg_billsec": 1.0, "total_duration": 50, "total_billsec": 5,
        }  # fmt: skip
        nothing = ari.data("GET", "/cdr/stats?campaign_id=999999")
        assert set(nothing.values()) == {0}
        assert (
            ari.data("GET", f"/cdr/stats?campaign_id={calls}&start_date=2024-12-09&end_date=2024-12-09")["total_calls"]
            == 3
        )

    def test_a_call_outlives_its_campaign(self, ari, site):
        campaign = ari.make()["id"]
        add_attempts(site, [{"campaign_id": campaign, "call_id": "outlives"}])
        row = ari.get(f"/cdr?campaign_id={campaign}")["data"][0]
        ari.ask("DELETE", f"/campaigns/{campaign}")
        assert ari.data("GET", f"/cdr/{row['id']}") == row | {"campaign_id": None}


class TestMonitoring:
    def test_without_asterisk(self, ari):
        status = ari.data("GET", "/monitoring/status")
        assert (status["asterisk"], status["database"], status["active_channels"]) == (False, True, 0)
        found = ari.ask("GET", "/monitoring/channels", None, 503)
        assert found["message"].startswith("Failed to get channels: ")
        realtime = ari.data("GET", "/monitoring/realtime")
        assert (realtime["channels"], realtime["channel_count"]) == ([], 0)

    def test_today_is_the_day_in_berlin(self, ari, site):
        midnight = datetime.now(ZONE).replace(hour=0, minute=0, second=0, microsecond=0).timestamp()
        before = ari.data("GET", "/monitoring/realtime")["today_stats"]
        add_attempts(
            site, [{"campaign_id": None, "started_at": midnight + at, "disposition": "busy"} for at in (-1, 0, 1)]
        )
        after = ari.data("GET", "/monitoring/realtime")["today_stats"]
        assert after == before | {"total_calls": before["total_calls"] + 2, "busy": before["busy"] + 2}


class TestMenus:
    def menu(self, ari, name):
        return next(menu for menu in ari.get("/ivr")["data"] if menu["name"] == name)

    def test_listed_and_read(self, ari):
        menus = ari.get("/ivr")["data"]
        assert [menu["id"] for menu in menus] == sorted((menu["id"] for menu in menus), reverse=True)
        main, second = self.menu(ari, "main"), self.menu(ari, "second")
        assert (main["audio_file"], main["timeout"], main["max_digits"]) == ("custom/main-menu.wav", 10, 2)
        assert second["audio_file"] == "custom/one.wav&custom/two.wav"
        found = ari.data("GET", f"/ivr/{main['id']}")
        actions = found.pop("actions")
        assert found == main
        assert [(it["dtmf_digit"], it["action_type"], it["action_value"]) for it in actions] == [
            ("*", "goto_ivr", str(second["id"])),
            ("0", "hangup", ""),
            ("1", "exten", "100"),
            ("2", "queue", "sales"),
            ("3", "playback", "thanks"),
            ("42", "exten", "Local/100@lobby"),
            ("i", "hangup", ""),
            ("t", "queue", "sales"),
        ]
        assert len({action["id"] for action in actions}) == len(actions)
        assert {action["ivr_menu_id"] for action in actions} == {main["id"]}
        assert ari.data("GET", f"/ivr/{main['id']}")["actions"] == actions
        ari.deny("IVR menu not found", "GET", "/ivr/9999", None, 404)

    def test_numbers_stay_when_menus_come_and_go(self, ari, site):
        native = Client(site.port, site.token)
        before = {menu["name"]: menu["id"] for menu in ari.get("/ivr")["data"]}
        body = {"prompts": ["custom/x"], "options": {}, "invalid": {"hangup": 16}, "timeout": {"hangup": 16}}
        body |= {"fallback": {"hangup": 16}, "name": "aaa"}
        native.ask("POST", "/api/v1/menus", body, 201)
        made = self.menu(ari, "aaa")
        assert made["id"] > max(before.values())
        native.ask("DELETE", "/api/v1/menus/aaa", status=204)
        assert {menu["name"]: menu["id"] for menu in ari.get("/ivr")["data"]} == before
        native.ask("POST", "/api/v1/menus", body | {"name": "bbb"}, 201)
        assert self.menu(ari, "bbb")["id"] > made["id"]
        native.ask("PATCH", "/api/v1/menus/bbb", {"timeout_s": 3.5})
        changed = self.menu(ari, "bbb")
        assert changed["timeout"] == 3
        assert changed["updated_at"] is not None
        native.ask("DELETE", "/api/v1/menus/bbb", status=204)

    def test_campaigns_and_what_leads_to_a_menu(self, ari):
        menu = self.menu(ari, "lonely")
        assert menu["campaign_id"] is None
        campaign = ari.make(name="Needs it", agent_dest_type="ivr", agent_dest_value=str(menu["id"]))
        assert (campaign["agent_dest_type"], campaign["agent_dest_value"]) == ("ivr", str(menu["id"]))
        assert [row["name"] for row in ari.get(f"/ivr?campaign_id={campaign['id']}")["data"]] == ["lonely"]
        assert self.menu(ari, "lonely")["campaign_id"] == campaign["id"]
        assert ari.get("/ivr?campaign_id=9999")["data"] == []
        found = ari.ask("DELETE", f"/ivr/{menu['id']}", None, 400)
        assert found["message"] == f"IVR menu lonely is still used by campaign {campaign['id']} (Needs it)"
        found = ari.ask("DELETE", f"/ivr/{self.menu(ari, 'second')['id']}", None, 400)
        assert found["message"] == "IVR menu second is still used by menus/main"
        assert found["errors"] == {"used_by": ["menus/main"]}
        ari.ask("DELETE", f"/campaigns/{campaign['id']}")

    def test_what_cannot_be_applied_is_not_deleted(self, ari, site):
        """There is no Asterisk here: the menu is there afterwards as before, in the newest revision, too."""
        menu = self.menu(ari, "lonely")
        assert ari.ask("DELETE", f"/ivr/{menu['id']}", None, 503)["message"]
        assert self.menu(ari, "lonely")["id"] == menu["id"]
        assert Client(site.port, site.token).ask("GET", "/api/v1/menus/lonely")["prompts"] == ["custom/lonely"]
