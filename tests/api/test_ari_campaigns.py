"""The ARI Dialer's campaigns on a live server: its words, defaults, messages and states."""

from datetime import datetime, timedelta

import pytest

from tests.api.ari_site import CAMPAIGN, NASTY, ZONE
from tests.api.conftest import Client


class TestCampaigns:
    def test_defaults(self, ari):
        required = ("name", "trunk_type", "trunk_value", "agent_dest_type", "agent_dest_value")
        made = ari.data("POST", "/campaigns", {name: CAMPAIGN[name] for name in required}, 201)
        assert made["description"] == ""
        assert made["callerid"] is made["updated_at"] is None
        wanted = {"record_calls": 0, "concurrent_calls": 1, "retry_times": 0, "retry_delay": 300, "dial_timeout": 30}
        assert {name: made[name] for name in wanted} == wanted
        assert abs(datetime.now(ZONE).replace(tzinfo=None) - datetime.fromisoformat(made["created_at"])) < timedelta(
            minutes=1
        )
        for name in required:
            found = ari.deny("Missing required fields", "POST", "/campaigns", CAMPAIGN | {name: None})
            assert found["errors"] == {"missing_fields": [name]}
        found = ari.deny("Missing required fields", "POST", "/campaigns", raw=b"")
        assert found["errors"] == {"missing_fields": list(required)}

    @pytest.mark.parametrize(
        ("field", "wrong"),
        [
            ("trunk_type", {"trunk_type": "iax"}),
            ("agent_dest_type", {"agent_dest_type": "person"}),
            ("trunk_value", {"trunk_value": "nowhere"}),
            ("trunk_value", {"trunk_value": "my_trunk\r\nVariable: a=b"}),
            ("trunk_value", {"trunk_type": "custom", "trunk_value": "Local/${EXTEN}@default"}),
            ("trunk_value", {"trunk_type": "custom", "trunk_value": "Local/${EXTEN}@to-carrier,s,1"}),
            ("trunk_value", {"trunk_type": "custom", "trunk_value": "SIP/x/${EXTEN}"}),
            ("agent_dest_value", {"agent_dest_value": "999"}),
            ("agent_dest_value", {"agent_dest_value": "PJSIP/999"}),
            ("agent_dest_value", {"agent_dest_value": "Local/100@internal"}),
            ("agent_dest_value", {"agent_dest_type": "custom", "agent_dest_value": "System(id)"}),
            ("agent_dest_value", {"agent_dest_type": "queue", "agent_dest_value": "nobody"}),
            ("agent_dest_value", {"agent_dest_type": "ivr", "agent_dest_value": "99"}),
            ("callerid", {"callerid": "Bob"}),
            ("callerid", {"callerid": '"a\r\nb" <1>'}),
            ("callerid", {"callerid": "1" * 30}),
            ("name", {"name": "a\nb"}),
            ("name", {"name": "x" * 256}),
            ("record_calls", {"record_calls": 2}),
            ("concurrent_calls", {"concurrent_calls": 0}),
            ("concurrent_calls", {"concurrent_calls": 1001}),
            ("concurrent_calls", {"concurrent_calls": "many"}),
            ("concurrent_calls", {"concurrent_calls": 1.5}),
            ("retry_times", {"retry_times": -3}),
            ("retry_delay", {"retry_delay": 0}),
            ("dial_timeout", {"dial_timeout": 4}),
            ("call_timeout", {"call_timeout": -1}),
        ],
    )  # fmt: skip
    def test_whatever_is_wrong_is_named(self, ari, field, wrong):
        made = ari.make()
        for method, path, body in (
            ("POST", "/campaigns", CAMPAIGN | wrong),
            ("PUT", f"/campaigns/{made['id']}", wrong),
        ):
            found = ari.ask(method, path, body, 400)
            assert list(found["errors"]) == [field], found
            assert field in found["message"]
        assert ari.data("GET", f"/campaigns/{made['id']}")["updated_at"] is None

    def test_documented_texts(self, ari):
        ari.deny(
            "Invalid trunk_type. Must be: custom, pjsip, or sip", "POST", "/campaigns", CAMPAIGN | {"trunk_type": "x"}
        )
        wrong = CAMPAIGN | {"agent_dest_type": "x"}
        ari.deny("Invalid agent_dest_type. Must be: custom, exten, ivr, or queue", "POST", "/campaigns", wrong)
        for method, path in (
            *(("GET", "/campaigns/9999"), ("DELETE", "/campaigns/9999"), ("POST", "/campaigns/9999/start")),
            *(("POST", "/campaigns/9999/stop"), ("GET", "/campaigns/9999/stats")),
        ):
            ari.deny("Campaign not found", method, path, None, 404)

    @pytest.mark.parametrize(
        ("said", "meant"),
        [
            ({"trunk_type": "pjsip", "trunk_value": "my_trunk"}, {"trunk": "my_trunk"}),
            ({"trunk_type": "sip", "trunk_value": "trunk1"}, {"trunk": "trunk1"}),
            (
                {"trunk_type": "custom", "trunk_value": "Local/${EXTEN}@to-carrier"},
                {"trunk": None, "dial_string": "Local/${EXTEN}@to-carrier"},
            ),
            ({"trunk_type": "custom", "trunk_value": "PJSIP/${EXTEN}@trunk1"}, {"dial_string": "PJSIP/${EXTEN}@trunk1"}),
            ({"agent_dest_value": "PJSIP/100"}, {"destination": {"endpoint": "100"}}),
            ({"agent_dest_value": "SIP/101"}, {"destination": {"endpoint": "101"}}),
            ({"agent_dest_value": "Local/100@from-internal"}, {"destination": {"endpoint": "100"}}),
            ({"agent_dest_value": "Local/7@lobby"}, {"destination": {"dialplan": "lobby,7"}}),
            ({"agent_dest_value": "600"}, {"destination": {"queue": "sales"}}),
            ({"agent_dest_type": "custom", "agent_dest_value": "PJSIP/100"}, {"destination": {"endpoint": "100"}}),
            ({"agent_dest_type": "queue", "agent_dest_value": "sales"}, {"destination": {"queue": "sales"}}),
            ({"agent_dest_type": "queue", "agent_dest_value": "600"}, {"destination": {"queue": "sales"}}),
            ({"callerid": '"Bob B" <+49301>'}, {"caller_name": "Bob B", "caller_number": "+49301"}),
            ({"callerid": "Bob <100>"}, {"caller_name": "Bob", "caller_number": "100"}),
            ({"callerid": "<100>"}, {"caller_name": "", "caller_number": "100"}),
            ({"callerid": ""}, {"caller_name": "", "caller_number": ""}),
            ({"concurrent_calls": "7"}, {"concurrent_calls": 7}),
            ({"record_calls": "0"}, {"recording": False}),
            ({"record_calls": True}, {"recording": True}),
            ({"name": NASTY, "description": NASTY}, {"name": NASTY, "description": NASTY}),
        ],
    )  # fmt: skip
    def test_words_are_kept_and_mean_ours(self, ari, site, said, meant):
        native = Client(site.port, site.token)
        made = ari.make(**said)
        shown = {name: str(value) for name, value in made.items() if name in said and name != "record_calls"}
        assert shown == {name: value for name, value in said.items() if name in shown}
        ours = native.ask("GET", f"/api/v1/campaigns/{made['id']}")
        for name, value in meant.items():
            assert ours[name] == value or {key: ours[name][key] for key in value} == value
        other = ari.make()
        changed = ari.data("PUT", f"/campaigns/{other['id']}", said)
        assert {name: changed[name] for name in shown} == {name: made[name] for name in shown}

    def test_words_that_mean_something_else_by_now_are_not_shown(self, ari, site):
        native = Client(site.port, site.token)
        made = ari.make(trunk_type="sip", callerid="Bob <100>", agent_dest_value="PJSIP/100")
        path = f"/api/v1/campaigns/{made['id']}"
        native.ask("PATCH", path, {"name": "Other"})
        shown = ari.data("GET", f"/campaigns/{made['id']}")
        assert (shown["trunk_type"], shown["callerid"], shown["agent_dest_value"]) == ("sip", "Bob <100>", "PJSIP/100")
        native.ask("PATCH", path, {"trunk": "trunk1", "caller_name": "", "destination": {"queue": "sales"}})
        shown = ari.data("GET", f"/campaigns/{made['id']}")
        assert (shown["trunk_type"], shown["trunk_value"], shown["callerid"]) == ("pjsip", "trunk1", "100")
        assert (shown["agent_dest_type"], shown["agent_dest_value"]) == ("queue", "sales")
        for destination, told in (
            ({"menu": "main"}, "ivr"),
            ({"endpoint": "100"}, "exten"),
            ({"dialplan": "lobby,9"}, "custom"),
            ({"announcement": "thanks"}, "custom"),
        ):
            native.ask("PATCH", path, {"destination": destination})
            assert ari.data("GET", f"/campaigns/{made['id']}")["agent_dest_type"] == told

    def test_an_update_changes_what_it_names_alone(self, ari, site):
        made = ari.make(agent_dest_value="PJSIP/100", callerid="Bob <100>")
        one = f"/campaigns/{made['id']}"
        ari.deny("No valid fields to update", "PUT", one, {})
        ari.deny("No valid fields to update", "PUT", one, {"status": "running", "name": None})
        # A value without its type means the type that there is.
        changed = ari.data("PUT", one, {"trunk_value": "trunk1", "agent_dest_value": "101", "name": None})
        expected = made | {"trunk_value": "trunk1", "agent_dest_value": "101", "updated_at": changed["updated_at"]}
        assert changed == expected
        assert changed["updated_at"] is not None
        native = Client(site.port, site.token)
        native.ask("PATCH", f"/api/v1{one}", {"priority": 9, "retry_rules": {"busy": {"times": 3, "delay_s": 60}}})
        assert ari.data("PUT", one, {"dial_timeout": 20, "call_timeout": 600})["call_timeout"] == 600
        ours = native.ask("GET", f"/api/v1{one}")
        assert (ours["priority"], ours["dial_timeout_s"]) == (9, 20)
        assert ours["retry_rules"] == {"busy": {"times": 3, "delay_s": 60}}

    def test_states(self, ari):
        made = ari.make()
        one = f"/campaigns/{made['id']}"

        def act(name, status):
            found = ari.ask("POST", f"{one}/{name}")
            assert found["data"] == {"campaign_id": made["id"], "status": status}
            assert ari.data("GET", one)["status"] == status
            return found["message"]

        ari.deny("Can only pause a running campaign", "POST", f"{one}/pause")
        ari.deny("Can only resume a paused campaign", "POST", f"{one}/resume")
        ari.deny("Campaign is already stopped", "POST", f"{one}/stop")
        assert act("start", "running") == "Campaign started successfully"
        ari.deny("Campaign is already running", "POST", f"{one}/start")
        ari.deny("Cannot update running campaign. Stop it first.", "PUT", one, {"name": "x"})
        ari.deny("Cannot delete running campaign. Stop it first.", "DELETE", one)
        assert [row["id"] for row in ari.get("/campaigns?status=running")["data"]] == [made["id"]]
        assert made["id"] in [row["id"] for row in ari.get("/monitoring/realtime")["data"]["campaigns"]]
        assert act("pause", "paused") == "Campaign paused successfully"
        assert ari.data("PUT", one, {"name": "while paused"})["name"] == "while paused"
        assert act("resume", "running") == "Campaign resumed successfully"
        act("pause", "paused")
        act("start", "running")
        assert act("stop", "stopped") == "Campaign stopped successfully"
        ari.ask("DELETE", one)
        ari.deny("Campaign not found", "GET", one, None, 404)
        assert ari.get("/campaigns?status=nonsense")["data"] == []

    def test_newest_first_and_duplicate_names(self, ari):
        made = [ari.make(name="twin")["id"] for _ in range(2)]
        assert [row["id"] for row in ari.get("/campaigns")["data"]][:2] == made[::-1]
