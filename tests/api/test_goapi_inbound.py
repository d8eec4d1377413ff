"""In-groups and call menus of goInbound, as the native API shows the queues and menus that they are."""

import secrets

from tests.api.goapi_site import share_site

LOST = "Error: In-group doesn't exist."


site, native, go = share_site()


def name():
    return f"N{secrets.token_hex(6)}"


class TestInGroups:
    def add(self, go, **more):
        group = name()
        go.do(
            "goInbound", "goAddIngroup", **{"group_id": group, "group_name": "Sales", "group_color": "#ff0000"} | more
        )
        return group

    def test_added_it_is_a_queue_that_agents_may_log_in_to(self, go, native):
        group = self.add(
            go, active="N", next_agent_call="ring_all", queue_priority=7, drop_call_seconds=60, drop_action="VOICEMAIL", voicemail_ext="8500",
            call_time_id="office", after_hours_action="CALLMENU", after_hours_callmenu="mainmenu", no_agent_no_queue="Y",
            no_agent_action="EXTENSION", no_agent_action_value="100,lobby", fronter_display="Y", get_call_launch="NONE",
        )  # fmt: skip
        found = native.ask("GET", f"/api/v1/queues/{group}")
        expected = {
            "description": "Sales", "active": False, "strategy": "ringall", "weight": 7, "max_wait_s": 60, "open_login": True,
            "timeout": {"voicemail": "8500", "instructions": True}, "schedule": "office", "closed": {"menu": "mainmenu"},
            "join_when_empty": False, "join_empty": {"dialplan": "lobby,100"}, "leave_empty": {"dialplan": "lobby,100"},
        }  # fmt: skip
        assert {field: found[field] for field in expected} == expected
        row = go.do("goInbound", "goGetIngroupInfo", group_id=group)["data"]
        told = {
            "group_id": group, "group_name": "Sales", "active": "N", "next_agent_call": "ring_all", "queue_priority": 7, "drop_action": "VOICEMAIL",
            "voicemail_ext": "8500", "call_time_id": "office", "after_hours_action": "CALLMENU", "after_hours_callmenu": "mainmenu",
            "no_agent_action": "EXTENSION", "no_agent_action_value": "100,lobby", "drop_call_seconds": 60, "user_group": "---ALL---",
        }  # fmt: skip
        assert {field: row[field] for field in told} == told

    def test_a_row_that_is_sent_back_changes_nothing(self, go, native):
        """Also of destinations that goAPI has no word for, and of announcements."""
        group = self.add(go)
        path = f"/api/v1/queues/{group}"
        native.ask("PATCH", path, {
            "closed": {"announcement": "closed"}, "timeout": {"endpoint": "1002"}, "join_empty": {"external": "+493055501"}, "schedule": "office",
        })  # fmt: skip
        before = native.ask("GET", path)
        row = go.do("goInbound", "goGetIngroupInfo", group_id=group)["data"]
        assert (row["after_hours_action"], row["after_hours_message_filename"]) == ("MESSAGE", "vm-goodbye")
        go.do("goInbound", "goEditIngroup", **{name: value for name, value in row.items() if name != "user_group"})
        assert native.ask("GET", path) == before

    def test_a_message_becomes_an_announcement_once(self, go, native):
        group = self.add(go, after_hours_action="MESSAGE", after_hours_message_filename="custom/shut|custom/bye")
        (closed,) = native.ask("GET", f"/api/v1/queues/{group}")["closed"].values()
        made = native.ask("GET", f"/api/v1/announcements/{closed}")
        assert (made["prompts"], made["then"]) == (["custom/shut", "custom/bye"], {"hangup": 16})
        go.do(
            "goInbound",
            "goEditIngroup",
            group_id=group,
            no_agent_action="MESSAGE",
            no_agent_action_value="custom/shut|custom/bye",
        )
        assert native.ask("GET", f"/api/v1/queues/{group}")["join_empty"] == {"announcement": closed}

    def test_what_is_wrong_with_it(self, go, native):
        before = native.ask("GET", "/api/v1/queues")["total"]
        given = {}
        for text, cure in (
            ("Error: Set a value for Group ID.", {"group_id": "x"}),
            ("Error: Set a value for Group Name.", {"group_name": "x"}),
            ("Error: Set a value for Group Color.", {"group_color": "#f00"}),
            ("Error: Group ID must be 2 to 20 characters.", {"group_id": "a b"}),
            ("Error: Special characters found in group_id", {"group_id": "a+b"}),
            ("Error: Special characters found in group_id", {"group_id": "support", "active": "X"}),
            ("Error: group_name must be at least 2 characters.", {"group_name": "Sales"}),
            ("Error: Default value for active is Y or N only.", {"active": "Y", "next_agent_call": "x"}),
            (None, {"next_agent_call": "", "queue_priority": "x"}),
            ("Error: queue_priority must be a number from 0 to 99.", {"queue_priority": "-5"}),
            ("Error: queue_priority must be a number from 0 to 99.", {"queue_priority": "", "call_time_id": "never"}),
            ("Error: call_time_id never doesn't exist.", {"call_time_id": "24hours", "drop_action": "IN_GROUP"}),
            ("Error: Set Value for drop_inbound_group", {"drop_inbound_group": "nowhere"}),
            ("Error: drop_inbound_group nowhere doesn't exist.", {"drop_action": "", "user_group": "NOBODY"}),
            ("Error: Invalid User Group", {"user_group": ""}),
            ("GROUP NOT ADDED - there is already a Inbound in the system with this ID", {"group_id": "SUPPORT"}),
            ("GROUP NOT ADDED - there is already a Inbound in the system with this ID", {"group_id": "1group"}),
        ):
            found = go.call("goInbound", "goAddIngroup", **given)
            assert found["result"] == text or text is None, found
            given |= cure
        assert go.call("goInbound", "goAddIngroup", **given)["result"].startswith(
            "Error: group_id '1group' must be a letter"
        )
        assert native.ask("GET", "/api/v1/queues")["total"] == before

    def test_edit_changes_what_is_given(self, go, native):
        group = self.add(go, drop_call_seconds=60)
        before = native.ask("GET", f"/api/v1/queues/{group}")
        go.do("goInbound", "goEditIngroup", group_id=group)
        assert native.ask("GET", f"/api/v1/queues/{group}") == before
        go.do("goInbound", "goEditInbound", group_id=group, group_name="Other", active="N")
        assert native.ask("GET", f"/api/v1/queues/{group}") == before | {"description": "Other", "active": False}
        go.deny(LOST, "goInbound", "goEditIngroup", group_id="nowhere")
        go.deny("Error: Set a value for Group ID.", "goInbound", "goEditIngroup")

    def test_list_check_and_delete(self, go, native):
        group = self.add(go)
        found = go.do("goInbound", "goGetAllIngroup")
        assert found == go.do("goInbound", "goGetAllInboundList")
        at = found["group_id"].index(group)
        assert [found[key][at] for key in ("group_name", "queue_priority", "active", "call_time_id")] == ["Sales", 0, "Y", "24hours"]  # fmt: skip
        assert go.call("goInbound", "goCheckIngroup", group_id=group)["result"] == "fail"
        go.do("goInbound", "goCheckIngroup", group_id=name())
        go.do("goInbound", "goDeleteIngroup", group_id=group)
        native.ask("GET", f"/api/v1/queues/{group}", status=404)
        go.deny(LOST, "goInbound", "goDeleteIngroup", group_id=group)
        go.deny(LOST, "goInbound", "goGetIngroupInfo", group_id=group)

    def test_one_that_is_used_stays(self, go, native):
        found = go.call("goInbound", "goDeleteInbound", inbound_id="support", type="ingroup")
        assert found["result"].startswith("Error: queues/support is still used by")
        native.ask("GET", "/api/v1/queues/support")

    def test_delete_of_all_three_kinds(self, go, native):
        group = self.add(go)
        go.deny("Error: Inbound ID Not Defined.", "goInbound", "goDeleteInbound", type="ingroup")
        go.deny(
            "Error: Default value for type are ingroup, ivr and did only.",
            "goInbound",
            "goDeleteInbound",
            inbound_id=group,
        )
        go.do("goInbound", "goDeleteInbound", inbound_id=group, type="ingroup")
        lost = "Error: Call DID doesn't exist or insufficient rights."
        go.deny(lost, "goInbound", "goDeleteInbound", inbound_id="999999", type="did")
        given = {"did_pattern": "15550188", "did_description": "Test", "did_route": "IN_GROUP", "group_id": "support"}
        did_id = go.do("goInbound", "goAddDID", **given)["did_id"]
        go.do("goInbound", "goDeleteInbound", inbound_id=did_id, type="did")
        native.ask("GET", "/api/v1/dids/15550188", status=404)


class TestCallMenus:
    def add(self, go, **more):
        menu = name()
        go.do(
            "goInbound",
            "goAddIVR",
            **{"menu_id": menu, "menu_name": "Welcome", "menu_prompt": "custom/one|custom/two"} | more,
        )
        return menu

    def test_added_it_is_a_menu(self, go, native):
        items = "1+Sales+INGROUP+support+|2+Ben+PHONE+1002+127.0.0.1|#+Box+VOICEMAIL+8500+|A1+x+CALLMENU+mainmenu+|TIMEOUT+t+HANGUP+vm-goodbye+|INVALID+i+EXTENSION+100+lobby".replace("|A1+x+CALLMENU+mainmenu+", "|B+x+CALLMENU+mainmenu+")  # fmt: skip
        menu = self.add(go, items=items, menu_timeout=7, menu_repeat=1, menu_timeout_prompt="NONE", menu_invalid_prompt="custom/wrong", tracking_group="CALLMENU")  # fmt: skip
        found = native.ask("GET", f"/api/v1/menus/{menu}")
        expected = {
            "description": "Welcome", "prompts": ["custom/one", "custom/two"], "timeout_s": 7.0, "timeout_retries": 1, "invalid_retries": 1,
            "timeout_prompts": [], "invalid_prompts": ["custom/wrong"], "timeout": {"hangup": 16}, "invalid": {"dialplan": "lobby,100"},
            "options": {
                "1": {"queue": "support"}, "2": {"endpoint": "1002"}, "#": {"voicemail": "8500", "instructions": True}, "*": {"menu": "mainmenu"},
            },
        }  # fmt: skip
        assert {field: found[field] for field in expected} == expected
        told = go.do("goInbound", "goGetIVROptions", menu_id=menu)
        rows = dict(
            zip(told["option_value"], zip(told["option_route"], told["option_route_value"], strict=True), strict=True)
        )
        assert rows == {
            "1": ("INGROUP", "support"), "2": ("PHONE", "1002"), "#": ("VOICEMAIL", "8500"), "*": ("CALLMENU", "mainmenu"),
            "TIMEOUT": ("HANGUP", ""), "INVALID": ("EXTENSION", "100"),
        }  # fmt: skip
        assert set(told["menu_id"]) == {menu}

    def test_edit_takes_five_arrays(self, go, native):
        menu = self.add(go, items="1+x+INGROUP+support+")
        before = native.ask("GET", f"/api/v1/menus/{menu}")
        go.do("goInbound", "goEditIVR", menu_id=menu, menu_name="Other")
        assert native.ask("GET", f"/api/v1/menus/{menu}") == before | {"description": "Other"}
        arrays = {
            "route_option[]": ["A", "5", "D"], "route_desc[]": ["", "", ""], "route_menu[]": ["PHONE", "EXTENSION", "HANGUP"],
            "option_route_value[]": ["1001", "100", "custom/bye"], "option_route_context[]": ["", "lobby", ""],
        }  # fmt: skip
        go.do("goInbound", "goEditIVR", menu_id=menu, **arrays)
        found = native.ask("GET", f"/api/v1/menus/{menu}")
        assert found["options"] == {"#": {"endpoint": "1001"}, "5": {"dialplan": "lobby,100"}}
        said = native.ask("GET", f"/api/v1/announcements/{found['timeout']['announcement']}")
        assert (said["prompts"], said["then"]) == (["custom/bye"], {"hangup": 16})

    def test_a_key_may_lead_to_the_menu_itself(self, go, native):
        menu = name()
        items = f"9+again+CALLMENU+{menu}+|1+x+INGROUP+support+"
        go.do("goInbound", "goAddIVR", menu_id=menu, menu_name="Loop", menu_prompt="custom/one", items=items)
        found = native.ask("GET", f"/api/v1/menus/{menu}")
        assert found["options"] == {"9": {"menu": menu}, "1": {"queue": "support"}}

    def test_of_one_that_is_refused_nothing_is_left_and_of_others_there_is_an_audit_entry(self, go, native):
        given = {"menu_id": name(), "menu_name": "Half", "menu_prompt": "custom/one"}
        announcements = native.ask("GET", "/api/v1/announcements")["total"]
        go.call("goInbound", "goAddIVR", items="1+x+HANGUP+half-way+|Q+x+INGROUP+support+", **given)
        native.ask("GET", f"/api/v1/menus/{given['menu_id']}", status=404)
        assert native.ask("GET", "/api/v1/announcements")["total"] == announcements
        go.do("goInbound", "goAddIVR", items="1+x+HANGUP+half-way+", **given)
        targets = [one["target"] for one in native.ask("GET", "/api/v1/audit?limit=4")["items"]]
        assert f"menus/{given['menu_id']}" in targets
        assert any(target.startswith("announcements/hangup-") for target in targets)

    def test_what_is_wrong_with_it(self, go, native):
        before = native.ask("GET", "/api/v1/menus")["total"]
        given = {}
        for text, cure in (
            ("Error: Set a value for Menu ID.", {"menu_id": "abc"}),
            ("Error: Set a value for Menu Name.", {"menu_name": "Main"}),
            ("Error: Set a value for Menu Prompt.", {"menu_prompt": "../../etc/passwd"}),
            ("Error: Menu ID must be at least 4 characters.", {"menu_id": "mainmenu", "menu_timeout": "90"}),
            ("Error: menu_timeout must be a number from 1 to 60.", {"menu_timeout": "10", "menu_time_check": "1"}),
            ("Error: menu_time_check is not served: lead the DID over opening hours instead.", {"menu_time_check": "0", "custom_dialplan_entry": "exten => 1,1,System(id)"}),
            ("Error: custom_dialplan_entry is not served: nobody writes dialplan from outside.", {"custom_dialplan_entry": "", "user_group": "NOBODY"}),
            ("Error: Invalid User Group", {"user_group": ""}),
            ("Error: Call menu ID already exists.", {"menu_id": "other-menu", "items": "1+x+INGROUP+nowhere+"}),
            ("Error: option_route_value nowhere doesn't exist.", {"items": "1+x+AGI+agi://x+"}),
            ("Error: route AGI is not served", {"items": "1+x+HANGUP+a|1+x+HANGUP+b"}),
            ("Error: option 1 is there twice", {"items": "C+x+INGROUP+support+"}),
            ("Error: option TIMECHECK is not served: lead the DID over opening hours instead.", {"items": "1+x+EXTENSION+1+tandem-enter"}),
            ("Error: context tandem-enter is not one that calls may go to (general.allowed_contexts)", {"items": "Z+x+INGROUP+support+"}),
        ):  # fmt: skip
            go.deny(text, "goInbound", "goAddIVR", **given)
            given |= cure
        assert go.call("goInbound", "goAddIVR", **given)["result"].startswith("Error: ")
        assert native.ask("GET", "/api/v1/menus")["total"] == before

    def test_list_info_check_and_delete(self, go, native):
        menu = self.add(go, items="1+x+INGROUP+support+")
        found = go.do("goInbound", "goGetAllIVR")
        assert found == go.do("goInbound", "goGetIVRMenusList")
        at = found["menu_id"].index(menu)
        assert (found["menu_name"][at], found["menu_prompt"][at]) == ("Welcome", "custom/one|custom/two")
        assert go.do("goInbound", "goGetIVRInfo", menu_id=menu)["data"]["menu_name"] == "Welcome"
        assert go.call("goInbound", "goCheckIVR", menu_id=menu)["result"] == "fail"
        go.do("goInbound", "goCheckIVR", menu_id="free-menu")
        go.do("goInbound", "goDeleteIVR", menu_id=menu)
        native.ask("GET", f"/api/v1/menus/{menu}", status=404)
        for action in ("goDeleteIVR", "goGetIVRInfo", "goGetIVROptions", "goEditIVR"):
            go.deny("Error: Call menu doesn't exist.", "goInbound", action, menu_id=menu)
