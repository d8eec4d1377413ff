"""DIDs of goInbound: every route, every error text in its order, and what is stored, as the native API shows it."""

import secrets
from urllib.parse import urlencode

import pytest

from api.compat.goapi.inbound_dids import ROUTES, UNAVAILABLE
from tests.api.conftest import SOURCES
from tests.api.goapi_site import FORM, share_site

BAD_ACTION = (
    "Error: Default value for user_unavailable_action is IN_GROUP','EXTEN','VOICEMAIL','PHONE', or 'VMAIL_NO_INST'."
)
BAD_ACTIVE = "Error: Default value for active is Y or N only."
BAD_ROUTE = "Error: Default value for did_route are EXTEN, VOICEMAIL, AGENT, PHONE, IN_GROUP, or CALLMENU only."
BAD_RECORDING = "Error: Default value for Record Call are Y, N and Y_QUEUESTOP only."
TARGETS = {
    "AGENT": {"user": "1001", "user_unavailable_action": "VOICEMAIL"},
    "EXTEN": {"extension": "100", "exten_context": "lobby"},
    "VOICEMAIL": {"voicemail_ext": "8500"},
    "VMAIL_NO_INST": {"voicemail_ext": "8500"},
    "PHONE": {"phone": "1001", "server_ip": "10.0.0.1"},
    "IN_GROUP": {"group_id": "support"},
    "CALLMENU": {"menu_id": "mainmenu"},
}
DESTINATIONS = {
    "AGENT": {"agent": "1001", "unavailable": {"voicemail": "8500", "instructions": True}},
    "EXTEN": {"dialplan": "lobby,100"},
    "VOICEMAIL": {"voicemail": "8500", "instructions": True},
    "VMAIL_NO_INST": {"voicemail": "8500", "instructions": False},
    "PHONE": {"endpoint": "1001"},
    "IN_GROUP": {"queue": "support"},
    "CALLMENU": {"menu": "mainmenu"},
}


site, native, go = share_site()


def number():
    return f"1555{secrets.randbelow(10**7):07}"


def did(**more):
    return {"did_pattern": number(), "did_description": "Test", "did_route": "IN_GROUP", "group_id": "support", **more}


def add(go, **more):
    """(its number, its did_id)."""
    given = did(**more)
    made = go.do("goInbound", "goAddDID", **given)
    assert isinstance(made["did_id"], int)
    return given["did_pattern"], made["did_id"]


def test_the_targets_are_of_every_route():
    assert TARGETS.keys() == DESTINATIONS.keys() == set(ROUTES)


class TestAdd:
    @pytest.mark.parametrize("route", ROUTES)
    def test_every_route_is_stored_as_it_was_meant(self, go, native, route):
        given = {"did_route": route.lower(), "did_active": "n", "record_call": "y_queuestop", "user_group": "ADMIN"}
        pattern, did_id = add(go, **{"group_id": ""} | given | TARGETS[route])
        found = native.ask("GET", f"/api/v1/dids/{pattern}")
        assert found["destination"] == DESTINATIONS[route]
        assert (found["active"], found["recording"], found["description"]) == (False, "until-queue", "Test")
        row = go.do("goInbound", "goGetDIDInfo", did_id=did_id)["data"]
        expected = TARGETS[route] | ({"server_ip": "127.0.0.1"} if route == "PHONE" else {})
        assert {name: row[name] for name in expected} == expected
        assert (row["did_route"], row["did_active"], row["record_call"], row["user_group"]) == (route, "N", "Y_QUEUESTOP", "ADMIN")  # fmt: skip

    @pytest.mark.parametrize("action", UNAVAILABLE)
    def test_an_agent_with_each_way_out(self, go, native, action):
        given = {"did_route": "AGENT", "user": "1002", "user_unavailable_action": action}
        pattern, _ = add(go, **{"group_id": ""} | given | TARGETS[action])
        found = native.ask("GET", f"/api/v1/dids/{pattern}")["destination"]
        assert found == {"agent": "1002", "unavailable": DESTINATIONS[action]}

    def test_the_checks_in_their_order(self, go, native):
        before = native.ask("GET", "/api/v1/dids")["total"]
        given = {
            "did_pattern": "0", "did_description": "", "did_active": "X", "did_route": "X", "record_call": "X", "user_unavailable_action": "X",
        }  # fmt: skip
        steps = (
            ("Error: Set a value for DID pattern.", {"did_pattern": "1#5"}),
            ("Error: Set a value for did_description.", {"did_description": "a,b"}),
            ("Error: Special characters found in did_pattern", {"did_pattern": "15550177"}),
            ("Error: Special characters found in did_description", {"did_description": "Sales"}),
            (BAD_ACTION, {"user_unavailable_action": "PHONE"}),
            (BAD_ACTIVE, {"did_active": "Y"}),
            (BAD_ROUTE, {"did_route": ""}),
            (BAD_ROUTE, {"did_route": "AGENT"}),
            (BAD_RECORDING, {"record_call": "N"}),
            ("Error: Set Value for user", {"user": "no'one", "user_unavailable_action": ""}),
            ("Error: Set Value for user_unavailable_action", {"user_unavailable_action": "PHONE"}),
            ("Error: Special characters found in user", {"user": "1009", "group_id": "a'b", "phone": "1'", "server_ip": "1'", "menu_id": "1'", "voicemail_ext": "1'", "extension": "1'", "exten_context": "1'"}),
            ("Error: Special characters found in group_id", {"group_id": ""}),
            ("Error: Special characters found in phone", {"phone": ""}),
            ("Error: Special characters found in server_ip", {"server_ip": ""}),
            ("Error: Special characters found in menu_id", {"menu_id": ""}),
            ("Error: Special characters found in voicemail_ext", {"voicemail_ext": ""}),
            ("Error: Special characters found in extension", {"extension": ""}),
            ("Error: Special characters found in exten_context", {"exten_context": ""}),
            ("Error: user 1009 doesn't exist.", {"user": "1001"}),
            ("Error: Set Value for phone", {"phone": "1009"}),
            ("Error: Set Value for server_ip", {"server_ip": "10.0.0.1"}),
            ("Error: phone 1009 doesn't exist.", {"phone": "1002", "user_group": "NOBODY"}),
            ("Error: Invalid User Group", {"user_group": "---ALL---", "did_pattern": "15550100"}),
            ("DID NOT ADDED - DID already exist.", {"did_pattern": "15550177"}),
        )  # fmt: skip
        for text, cure in steps:
            go.deny(text, "goInbound", "goAddDID", **given)
            assert native.ask("GET", "/api/v1/dids")["total"] == before
            given |= cure
        go.do("goInbound", "goAddDID", **given)
        assert native.ask("GET", "/api/v1/dids")["total"] == before + 1

    @pytest.mark.parametrize(
        ("route", "names"),
        [
            ("IN_GROUP", ["group_id"]), ("PHONE", ["phone", "server_ip"]), ("CALLMENU", ["menu_id"]), ("VOICEMAIL", ["voicemail_ext"]),
            ("VMAIL_NO_INST", ["voicemail_ext"]), ("EXTEN", ["extension", "exten_context"]), ("AGENT", ["user", "user_unavailable_action"]),
        ],
    )  # fmt: skip
    def test_what_each_route_needs_and_that_it_is_there(self, go, route, names):
        for place, name in enumerate(names):
            given = did(did_route=route, group_id="") | {known: TARGETS[route][known] for known in names[:place]}
            go.deny(f"Error: Set Value for {name}", "goInbound", "goAddDID", **given)
        unknown = TARGETS[route] | {names[0]: "9876"}
        if route == "EXTEN":
            unknown["exten_context"] = "default"
        given = did(did_route=route, group_id="") | unknown
        go.deny(f"Error: {names[0]} 9876 doesn't exist.", "goInbound", "goAddDID", **given)

    def test_contexts_that_calls_may_not_enter(self, go):
        given = did(did_route="EXTEN", extension="100", exten_context="tandem-enter")
        text = "Error: context tandem-enter is not one that calls may go to (general.allowed_contexts)"
        go.deny(text, "goInbound", "goAddDID", **given)

    def test_a_number_inside_and_the_default_did(self, go, native):
        pattern, _ = add(go, did_pattern="default", did_route="EXTEN", extension="600", exten_context="default")
        assert native.ask("GET", f"/api/v1/dids/{pattern}")["destination"] == {"queue": "support"}
        go.deny("DID NOT ADDED - DID already exist.", "goInbound", "goAddDID", **did(did_pattern="default"))

    def test_what_is_no_number(self, go):
        found = go.call("goInbound", "goAddDID", **did(did_pattern="not a number"))
        assert found["result"].startswith("Error: did_pattern 'not a number' must be a number")

    def test_is_in_the_audit_log_as_by_the_native_api(self, go, native):
        pattern, _ = add(go)
        entry = next(one for one in native.ask("GET", "/api/v1/audit")["items"] if one["target"] == f"dids/{pattern}")
        assert (entry["who"], entry["action"]) == ("user admin", "dids/create")
        assert entry["revision"] is not None


class TestEdit:
    def test_the_checks_in_their_order(self, go):
        pattern, did_id = add(go)
        other, _ = add(go)
        given = {
            "did_pattern": other, "did_description": "a,b", "user_unavailable_action": "X", "did_active": "X", "did_route": "X",
            "record_call": "X", "group_id": "a'b", "phone": "1'", "server_ip": "1'", "menu_id": "1'", "voicemail_ext": "1'",
            "extension": "1'", "exten_context": "1'",
        }  # fmt: skip
        steps = (
            ("Error: Set a value for DID ID.", {"did_id": "999999"}),
            ("DID not found.", {"did_id": "x"}),
            ("DID not found.", {"did_id": did_id}),
            ("Duplicate did_pattern, It must be unique!", {"did_pattern": "1-2"}),
            ("Error: Special characters found in did_pattern", {"did_pattern": pattern}),
            ("Error: Special characters found in did_description", {"did_description": "Other"}),
            (BAD_ACTION, {"user_unavailable_action": ""}),
            (BAD_ACTIVE, {"did_active": ""}),
            (BAD_ROUTE, {"did_route": "CALLMENU"}),
            (BAD_RECORDING, {"record_call": ""}),
            ("Error: Special characters found in group_id", {"group_id": ""}),
            ("Error: Special characters found in phone", {"phone": ""}),
            ("Error: Special characters found in server_ip", {"server_ip": ""}),
            ("Error: Special characters found in menu_id", {"menu_id": ""}),
            ("Error: Special characters found in voicemail_ext", {"voicemail_ext": ""}),
            ("Error: Special characters found in extension", {"extension": ""}),
            ("Error: Special characters found in exten_context", {"exten_context": ""}),
            ("Error: Set Value for menu_id", {"menu_id": "mainmenu"}),
        )  # fmt: skip
        for text, cure in steps:
            go.deny(text, "goInbound", "goEditDIDAPI", **given)
            assert go.do("goInbound", "goGetDIDInfo", did_pattern=pattern)["data"]["did_description"] == "Test"
            given |= cure
        assert go.do("goInbound", "goEditDIDAPI", **given)["did_id"] == did_id

    def test_changes_what_is_given_and_keeps_the_rest(self, go, native):
        pattern, did_id = add(go, record_call="Y")
        path = f"/api/v1/dids/{pattern}"
        native.ask(
            "PATCH",
            path,
            {
                "priority": 7,
                "blocked_callers": ["1900*"],
                "allowed_callers": ["1555*"],
                "anonymous": {"hangup": "busy"},
                "caller_routes": [{"callers": ["15550177*"], "destination": {"hangup": "busy"}}],
            },
        )
        before = native.ask("GET", path)
        assert go.do("goInbound", "goEditDID", did_id=did_id)["did_id"] == did_id
        assert native.ask("GET", path) == before
        go.do(
            "goInbound", "goEditDID", did_id=did_id, did_active="N", filter_clean_cid_number="R10 L1", record_call="N"
        )
        changed = {"active": False, "caller_id_cleanup": "R10 L1", "recording": "no"}
        assert native.ask("GET", path) == before | changed
        go.do("goInbound", "goEditDID", did_id=did_id, did_route="PHONE", phone="1002", server_ip="10.0.0.1")
        assert native.ask("GET", path) == before | changed | {"destination": {"endpoint": "1002"}}

    def test_an_agents_way_out_can_be_changed_alone(self, go, native):
        pattern, did_id = add(go, did_route="AGENT", **TARGETS["AGENT"])
        go.do("goInbound", "goEditDID", did_id=did_id, user_unavailable_action="IN_GROUP", group_id="support")
        found = native.ask("GET", f"/api/v1/dids/{pattern}")["destination"]
        assert found == {"agent": "1001", "unavailable": {"queue": "support"}}

    def test_another_number_is_the_same_did(self, go, native):
        pattern, did_id = add(go)
        new = number()
        assert go.do("goInbound", "goEditDID", did_id=did_id, did_pattern=new)["did_id"] == did_id
        assert go.do("goInbound", "goGetDIDInfo", did_id=did_id)["data"]["did_pattern"] == new
        native.ask("GET", f"/api/v1/dids/{pattern}", status=404)
        go.deny("Error: DID doesn't exist.", "goInbound", "goGetDIDInfo", did_pattern=pattern)

    def test_a_route_that_goapi_has_no_word_for_is_kept(self, go, native):
        did_id = go.do("goInbound", "goGetDIDInfo", did_pattern="15550100")["data"]["did_id"]
        before = native.ask("GET", "/api/v1/dids/15550100")
        go.do("goInbound", "goEditDID", did_id=did_id, did_description="Head office")
        assert native.ask("GET", "/api/v1/dids/15550100") == before | {"description": "Head office"}
        go.deny(BAD_ROUTE, "goInbound", "goEditDID", did_id=did_id, group_id="support")


class TestReadAndDelete:
    def test_a_list_has_parallel_arrays_by_number(self, go):
        pattern, did_id = add(go)
        found = go.do("goInbound", "goGetDIDsList")
        assert len({len(found[name]) for name in found if name != "result"}) == 1
        assert found["did_pattern"] == sorted(found["did_pattern"])
        assert found["did_id"][found["did_pattern"].index(pattern)] == did_id
        assert found["active"] == found["did_active"]
        for alias in ("goGetAllDID", "getAllDIDs", "goGetAllDIDs"):
            assert go.do("goInbound", alias) == found
        assert len(go.do("goInbound", "goGetAllDID", limit="1")["did_id"]) == 1

    def test_one_by_either_key_with_arrays_besides(self, go):
        pattern, did_id = add(go)
        found = go.do("goInbound", "goGetDIDInfo", did_pattern=pattern)
        assert found == go.do("goInbound", "goGetDIDInfo", did_id=did_id)
        assert (found["did_pattern"], found["active"], found["did_route"]) == ([pattern], ["Y"], ["IN_GROUP"])
        go.deny("Error: Set a value for did_pattern.", "goInbound", "goGetDIDInfo")
        for odd in ("x", "0", "9" * 30, "-1"):
            go.deny("Error: DID doesn't exist." if odd != "0" else "Error: Set a value for did_pattern.", "goInbound", "goGetDIDInfo", did_id=odd)  # fmt: skip

    def test_check_says_whether_a_number_is_free(self, go):
        pattern, _ = add(go)
        go.deny("DID NOT ADDED - DID already exist.", "goInbound", "goCheckDID", did_pattern=pattern)
        go.do("goInbound", "goCheckDID", did_pattern=number())

    def test_what_is_in_the_address_and_in_the_body_is_not_twice_as_much(self, go, native):
        (kept, kept_id), (gone, gone_id) = add(go), add(go)
        fields = urlencode(go.fields("goDeleteDID", {"did_id": gone_id}))
        go.send("POST", f"/goAPI/goInbound/goAPI.php?did_id={kept_id}", fields, {"Content-Type": FORM})
        assert go.read()["result"] == "success"
        native.ask("GET", f"/api/v1/dids/{kept}")
        native.ask("GET", f"/api/v1/dids/{gone}", status=404)

    def test_delete_one_and_several_but_never_half(self, go, native):
        pattern, did_id = add(go)
        go.deny("Error: Set a value for did id.", "goInbound", "goDeleteDID")
        go.deny("Error: DID doesn't exist.", "goInbound", "goDeleteDID", did_id=f"{did_id},999999")
        native.ask("GET", f"/api/v1/dids/{pattern}")
        assert go.do("goInbound", "goDeleteDID", did_id=did_id)["did_id"] == did_id
        native.ask("GET", f"/api/v1/dids/{pattern}", status=404)
        go.deny("Error: DID doesn't exist.", "goInbound", "goDeleteDID", did_id=did_id)
        several = [add(go)[1], add(go)[1]]
        assert go.do("goInbound", "goDeleteDID", **{"did_id[]": several})["did_id"] == several


class TestGroups:
    def test_others_see_and_change_what_is_everybodys(self, go, native):
        admins, _ = add(go, user_group="ADMIN")
        ours, _ = add(go)
        name = f"u{secrets.token_hex(4)}"
        native.ask("POST", "/api/v1/users", {"name": name, "password": "password of a user", "role": "user"}, 201)
        user = go.with_credentials(name, "password of a user", next(SOURCES))
        found = user.do("goInbound", "goGetDIDsList", session_user="admin")
        assert ours in found["did_pattern"]
        assert admins not in found["did_pattern"]
        user.deny("Error: DID doesn't exist.", "goInbound", "goGetDIDInfo", did_pattern=admins)

    def test_a_group_has_its_own_and_nobody_elses(self, go, native):
        names = [f"G{secrets.token_hex(4)}" for _ in range(2)]
        people = []
        for name in names:
            native.ask("POST", "/api/v1/user-groups", {"name": name, "title": name}, 201)
            user = f"u{name}"
            given = {"name": user, "password": "password of a user", "role": "admin", "user_group": name}
            native.ask("POST", "/api/v1/users", given, 201)
            people.append(go.with_credentials(user, "password of a user", next(SOURCES)))
        pattern, did_id = add(people[0])
        assert people[0].do("goInbound", "goGetDIDInfo", did_id=did_id)["data"]["user_group"] == names[0]
        assert pattern not in people[1].do("goInbound", "goGetDIDsList", session_user="admin")["did_pattern"]
        people[1].deny("DID not found.", "goInbound", "goEditDID", did_id=did_id, did_active="N")
        people[1].deny("Error: DID doesn't exist.", "goInbound", "goDeleteDID", did_id=did_id)
        people[1].deny("Error: Invalid User Group", "goInbound", "goAddDID", **did(user_group=names[0]))
        people[1].deny("DID NOT ADDED - DID already exist.", "goInbound", "goAddDID", **did(did_pattern=pattern))
        people[0].do("goInbound", "goDeleteDID", did_id=did_id)

    def test_nobody_leads_calls_to_what_is_another_groups(self, go, native):
        people = []
        for place in ("here", "there"):
            name = f"{place}{secrets.token_hex(3)}"
            native.ask("POST", "/api/v1/user-groups", {"name": name, "title": name}, 201)
            given = {"name": f"u{name}", "password": "password of a user", "role": "admin", "user_group": name}
            native.ask("POST", "/api/v1/users", given, 201)
            people.append(go.with_credentials(f"u{name}", "password of a user", next(SOURCES)))
        here, there = people
        number = str(secrets.randbelow(10**5) + 10**6)[:6]
        there.do("goInbound", "goAddIngroup", group_id="theirs", group_name="Theirs", group_color="#fff000")
        there.do("goInbound", "goAddIVR", menu_id="theirmenu", menu_name="Theirs", menu_prompt="vm-goodbye")
        there.do("goVoicemails", "goAddVoicemail", voicemail_id=number, fullname="Theirs", **{"pass": "4711"})
        for given in (
            {"did_route": "IN_GROUP", "group_id": "theirs"},
            {"did_route": "CALLMENU", "menu_id": "theirmenu"},
            {"did_route": "VOICEMAIL", "voicemail_ext": number},
        ):
            answer = here.call("goInbound", "goAddDID", **did(**given))
            assert answer["result"].endswith("doesn't exist."), answer
            _, did_id = add(there, **given)
            there.do("goInbound", "goDeleteDID", did_id=did_id)
        for action, given in (
            ("goAddIngroup", {"group_id": "mine", "group_name": "Mine", "group_color": "#fff000", "drop_action": "IN_GROUP", "drop_inbound_group": "theirs"}),
            ("goAddIVR", {"menu_id": "mymenu", "menu_name": "Mine", "menu_prompt": "vm-goodbye", "items": "1+x+CALLMENU+theirmenu+"}),
        ):  # fmt: skip
            answer = here.call("goInbound", action, **given)
            assert answer["result"].endswith("doesn't exist."), answer
        campaign = {"campaign_id": "mine0001", "campaign_name": "Mine", "campaign_type": "OUTBOUND", "active": "N"}
        assert here.call("goCampaigns", "goAddCampaign", closer_campaigns="theirs", **campaign)["code"] == "41004"
        # Admins lead anything anywhere.
        _, did_id = add(go, did_route="IN_GROUP", group_id="theirs")
        go.do("goInbound", "goDeleteDID", did_id=did_id)
