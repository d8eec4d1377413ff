"""goAPI's campaigns beyond dialling for agents: SURVEY, answering machines, dial prefixes, DIDs of their own; what the native API has of each."""

import json
import wave
from io import BytesIO

import pytest

from api.compat.goapi.campaigns import ACTIONS
from tests.api.goapi_site import multipart, share_site

site, native, go = share_site()
SURVEY = {
    "campaign_id": "SURVEY01", "campaign_name": "Winter poll", "campaign_type": "SURVEY", "survey_type": "PRESS1",
    "survey_first_audio_file": "hello-world", "closer_campaigns": "support",
}  # fmt: skip
OUTBOUND = {
    "campaign_id": "DIAL0001", "campaign_name": "Dial", "campaign_type": "OUTBOUND", "closer_campaigns": "support", "active": "N",
}  # fmt: skip


@pytest.fixture(autouse=True)
def nothing_is_left(go):
    yield
    for code in go.do("goCampaigns", "goGetAllCampaigns")["campaign_id"]:
        remove(go, code)


def add(go, native, given):
    """The native campaign that is made of it."""
    go.do("goCampaigns", "goAddCampaign", **given)
    return newest(native)


def newest(native):
    return native.ask("GET", "/api/v1/campaigns?limit=1&sort=-campaign_id")["items"][0]


def remove(go, *codes):
    go.do("goCampaigns", "goDeleteCampaign", **{"campaign_id[]": ",".join(codes), "action": "delete_selected"})


def surveys(native):
    return native.ask("GET", "/api/v1/surveys")["items"]


def tone():
    made = BytesIO()
    with wave.open(made, "wb") as sound:
        sound.setparams((1, 2, 8000, 0, "NONE", "not compressed"))
        sound.writeframes(b"\0\x10" * 800)
    return made.getvalue()


def add_with_file(go, given, file_name="made.wav"):
    """The answer to a campaign whose sound comes with it."""
    fields = go.fields("goAddCampaign", given | {"survey_first_audio_file": None})
    body, headers = multipart([(name, value) for name, value in fields.items() if value])
    boundary = headers["Content-Type"].partition("boundary=")[2]
    head = f'Content-Disposition: form-data; name="uploaded_wav"; filename="{file_name}"'
    part = f"--{boundary}\r\n{head}\r\n\r\n".encode() + tone() + b"\r\n"
    end = f"--{boundary}--".encode()
    go.send("POST", "/goAPIv2/goCampaigns/goAPI.php", body.replace(end, part + end), headers)
    return go.read()


class TestSurveys:
    def test_press1_is_a_native_survey_that_comes_and_goes_with_its_campaign(self, go, native):
        found = add(go, native, SURVEY | {"no_channels": "10", "survey_ni_digit": "9"})
        (survey,) = surveys(native)
        assert (found["destination"], found["dial_mode"], found["concurrent_calls"], found["trunk"], found["state"]) == (
            {"survey": survey["survey_id"]}, "fixed", 10, "carrier", "stopped",
        )  # fmt: skip
        press, end = survey["questions"]
        assert (press["sound"], press["timeout_s"], press["on_timeout"], end["id"]) == ("hello-world", 10, "end", "end")
        assert {key: (one["action"], one["destination"], one["value"]) for key, one in press["options"].items()} == {
            "1": ("transfer", {"queue": "support"}, "1"), "9": ("answer", None, "NI"),
        }  # fmt: skip
        info = go.do("goCampaigns", "goGetCampaignInfo", campaign_id="SURVEY01")
        assert (info["campaign_type"], info["number_of_lines"], info["data"]["survey_id"]) == (
            "SURVEY", 10, survey["survey_id"],
        )  # fmt: skip
        assert (info["data"]["survey_type"], info["data"]["dial_method"], info["data"]["closer_campaigns"]) == (
            "PRESS1", "RATIO", " support -",
        )  # fmt: skip
        remove(go, "SURVEY01")
        assert surveys(native) == []

    @pytest.mark.parametrize(
        ("given", "destination"),
        [
            ({"survey_method": "VOICEMAIL", "voicemail_ext": "8500"}, {"voicemail": "8500", "instructions": True}),
            ({"survey_method": "CALLMENU", "survey_menu_id": "mainmenu"}, {"menu": "mainmenu"}),
            ({"survey_method": "EXTENSION", "survey_xfer_exten": "1002"}, {"endpoint": "1002"}),
            ({"survey_method": "HANGUP"}, None),
        ],
    )
    def test_where_a_key_leads(self, go, native, given, destination):
        add(go, native, SURVEY | given | {"survey_dtmf_digits": "12", "survey_opt_in_audio_file": "vm-goodbye"})
        options = surveys(native)[0]["questions"][0]["options"]
        assert set(options) == {"1", "2"}
        assert {(one["sound"], one["value"]) for one in options.values()} == {("vm-goodbye", "1"), ("vm-goodbye", "2")}
        for option in options.values():
            assert option["action"] == ("transfer" if destination else "answer")
            assert (option["destination"] or {}).items() >= (destination or {}).items()

    def test_a_broadcast_of_a_file_that_comes_with_it(self, go, native):
        given = SURVEY | {"survey_type": "BROADCAST", "survey_first_audio_file": None}
        assert add_with_file(go, given, "Winter offer.wav") == {"result": "success"}
        (survey,) = surveys(native)
        (question,) = survey["questions"]
        assert (question["options"]["1"]["action"], question["options"]["1"]["sound"]) == (
            "play",
            "tandem/Winter_offer",
        )
        assert [one["name"] for one in native.ask("GET", "/api/v1/sounds")["items"]] == ["Winter_offer"]
        data = go.do("goCampaigns", "goGetCampaignInfo", campaign_id="SURVEY01")["data"]
        assert data["survey_first_audio_file"] == "tandem/Winter_offer"
        # What is given is changed, and all else stays: also which file is heard.
        go.do("goCampaigns", "goEditCampaign", campaign_id="SURVEY01", survey_type="PRESS1", survey_dtmf_digits="5")
        press = surveys(native)[0]["questions"][0]
        assert (press["sound"], list(press["options"])) == ("tandem/Winter_offer", ["5"])
        assert press["options"]["5"]["destination"] == {"queue": "support"}
        assert surveys(native)[0]["survey_id"] == survey["survey_id"]
        go.do(
            "goCampaigns", "goEditCampaign", campaign_id="SURVEY01", survey_no_response_action="OPTIN", no_channels="7"
        )
        press, silence = surveys(native)[0]["questions"]
        assert (press["on_timeout"], silence["options"]["1"]["action"]) == ("silence", "transfer")
        assert newest(native)["concurrent_calls"] == 7

    def test_a_copy_has_a_survey_of_its_own(self, go, native):
        add(go, native, SURVEY)
        copy = {
            "campaign_id": "SURVEY02",
            "campaign_type": "COPY",
            "campaign_name": "Twin",
            "copy_from_campaign": "SURVEY01",
        }
        twin = add(go, native, copy)
        one, other = surveys(native)
        assert (twin["destination"], other["questions"], other["name"]) == (
            {"survey": other["survey_id"]}, one["questions"], "Twin",
        )  # fmt: skip
        remove(go, "SURVEY01")
        assert [found["survey_id"] for found in surveys(native)] == [other["survey_id"]]
        remove(go, "SURVEY02")

    @pytest.mark.parametrize(
        ("given", "said"),
        [
            ({"survey_type": ""}, "Error: Missing required parameters in survey_type"),
            ({"survey_type": "FAX"}, "survey_type"),
            ({"survey_first_audio_file": ""}, "Error: Missing required parameters in uploaded_wav"),
            ({"survey_first_audio_file": "a&b"}, "Error: Special characters found in survey_first_audio_file"),
            ({"survey_first_audio_file": "tandem/nothing"}, "there is no sound nothing"),
            ({"survey_method": "AGI"}, "survey_method"),
            ({"survey_method": "VOICEMAIL"}, "Error: Missing required parameters in voicemail_ext"),
            ({"survey_method": "CALLMENU", "survey_menu_id": "nowhere"}, "survey_menu_id nowhere doesn't exist"),
            ({"survey_dtmf_digits": "1a"}, "survey_dtmf_digits"),
            ({"survey_wait_sec": "61"}, "survey_wait_sec"),
            ({"survey_no_response_action": "RING"}, "survey_no_response_action"),
            ({"closer_campaigns": "nobody"}, "closer_campaigns"),
            ({"no_channels": "many"}, "no_channels"),
            ({"no_channels": "9999"}, "no_channels"),
        ],
    )
    def test_what_does_not_fit_is_refused_and_nothing_is_kept(self, go, native, given, said):
        answer = go.call("goCampaigns", "goAddCampaign", **SURVEY | given)
        assert said in answer["result"], answer
        assert surveys(native) == []
        assert go.do("goCampaigns", "goGetAllCampaigns")["campaign_id"] == []


class TestMachines:
    @pytest.mark.parametrize(
        ("given", "on_machine"),
        [
            ({}, "connect"),
            ({"answering_machine_detection": "8369"}, "hang-up"),
            ({"campaign_vdad_exten": "8373"}, "hang-up"),
            ({"answering_machine_detection": "8368"}, "connect"),
            ({"answering_machine_detection": "Y", "amd_send_to_vmx": "N"}, "hang-up"),
        ],
    )
    def test_who_is_listened_to(self, go, native, given, on_machine):
        assert add(go, native, OUTBOUND | given)["on_machine"] == on_machine
        told = go.do("goCampaigns", "goGetCampaignInfo", campaign_id="DIAL0001")["data"]
        expected = "8368" if on_machine == "connect" else "8369"
        assert (told["answering_machine_detection"], told["campaign_vdad_exten"]) == (expected, expected)
        # Another change leaves it as it is.
        go.do("goCampaigns", "goEditCampaign", campaign_id="DIAL0001", campaign_name="Dial again")
        assert newest(native)["on_machine"] == on_machine

    def test_a_message_is_an_announcement(self, go, native):
        given = OUTBOUND | {"answering_machine_detection": "8369", "amd_send_to_vmx": "Y", "am_message_exten": "closed"}
        found = add(go, native, given)
        assert (found["on_machine"], found["machine_announcement"]) == ("message", "closed")
        go.do("goCampaigns", "goEditCampaign", campaign_id="DIAL0001", amd_send_to_vmx="N")
        found = newest(native)
        assert (found["on_machine"], found["machine_announcement"]) == ("hang-up", None)
        go.do(
            "goCampaigns",
            "goEditCampaign",
            campaign_id="DIAL0001",
            campaign_vdad_exten="8368",
            answering_machine_detection="8368",
        )
        assert newest(native)["on_machine"] == "connect"

    @pytest.mark.parametrize(
        ("given", "said"),
        [
            ({"answering_machine_detection": "8370"}, "answering_machine_detection"),
            ({"campaign_vdad_exten": "maybe"}, "campaign_vdad_exten"),
            ({"amd_send_to_vmx": "X"}, "amd_send_to_vmx"),
            (
                {"answering_machine_detection": "8369", "amd_send_to_vmx": "Y"},
                "Error: Missing required parameters in am_message_exten",
            ),
            ({"am_message_exten": "a;b"}, "Error: Special characters found in am_message_exten"),
        ],
    )
    def test_what_does_not_fit(self, go, given, said):
        assert said in go.call("goCampaigns", "goAddCampaign", **OUTBOUND | given)["result"]
        assert go.do("goCampaigns", "goGetAllCampaigns")["campaign_id"] == []

    def test_machines_are_dialled_again_where_a_status_says_so(self, go, native):
        add(go, native, OUTBOUND)
        go.do("goCampaigns", "goUpdateCampaignDialStatus", campaign_id="DIAL0001", dial_statuses=" NEW AA -")
        rules = newest(native)["retry_rules"]
        assert {name: rule["times"] for name, rule in rules.items()} == {"busy": 0, "no-answer": 0, "machine": 1}
        go.do(
            "goLeadRecycling",
            "goEditLeadRecycling",
            campaign_id="DIAL0001",
            status="AA",
            attempt_delay="120",
            attempt_maximum="3",
        )
        assert newest(native)["retry_rules"]["machine"] == {"times": 3, "delay_s": 120}


class TestPacing:
    @pytest.mark.parametrize(
        ("given", "mode", "lines"),
        [
            ({"dial_method": "MANUAL"}, "manual", None),
            ({"dial_method": "INBOUND_MAN"}, "manual", None),
            ({"dial_method": "RATIO", "auto_dial_level": "OFF"}, "manual", None),
            ({"dial_method": "RATIO", "auto_dial_level": "SLOW"}, "ratio", 1.0),
            ({"dial_method": "RATIO", "auto_dial_level": "NORMAL"}, "ratio", 2.0),
            ({"dial_method": "RATIO", "auto_dial_level": "HIGH"}, "ratio", 4.0),
            ({"dial_method": "RATIO", "auto_dial_level": "MAX"}, "ratio", 6.0),
            ({"dial_method": "RATIO", "auto_dial_level": "MAX_PREDICTIVE"}, "ratio", 10.0),
            ({"dial_method": "RATIO", "auto_dial_level": "ADVANCE", "auto_dial_level_adv": "2.5"}, "ratio", 2.5),
            ({"dial_method": "ADAPT_HARD_LIMIT"}, "predictive", None),
            ({"dial_method": "ADAPT_TAPERED"}, "predictive", None),
            ({"dial_method": "ADAPT_AVERAGE", "adaptive_dropped_percentage": "2.5%"}, "predictive", None),
        ],
    )
    def test_a_dial_method_is_how_we_pace(self, go, native, given, mode, lines):
        found = add(go, native, OUTBOUND | given)
        assert found["dial_mode"] == mode
        assert lines is None or found["lines_per_agent"] == lines
        if "adaptive_dropped_percentage" in given:
            assert found["abandon_cap"] == 0.025

    @pytest.mark.parametrize(
        ("kind", "said", "is_recorded"),
        [
            ("OUTBOUND", "NEVER", False), ("OUTBOUND", "ONDEMAND", False), ("OUTBOUND", "ALLCALLS", True), ("OUTBOUND", "ALLFORCE", True),
            ("OUTBOUND", "", False), ("BLENDED", "", True), ("INBOUND", "", True), ("SURVEY", "ALLFORCE", True),
        ],
    )  # fmt: skip
    def test_what_is_recorded(self, go, native, kind, said, is_recorded):
        given = SURVEY if kind == "SURVEY" else OUTBOUND | {"campaign_type": kind}
        assert add(go, native, given | {"campaign_recording": said})["recording"] is is_recorded


def test_who_may_not_start_adds_none_that_runs(go, native):
    token = native.with_token("campaigns/create", "campaigns/read").token
    answer = go.call("goCampaigns", "goAddCampaign", goPass=token, **OUTBOUND | {"active": "Y"})
    assert answer["code"] == "10001"
    assert go.do("goCampaigns", "goGetAllCampaigns")["campaign_id"] == []
    assert go.call("goCampaigns", "goAddCampaign", goPass=token, **OUTBOUND | {"active": None})["result"] == "success"
    assert newest(native)["state"] == "stopped"


class TestPrefixes:
    @pytest.mark.parametrize(
        ("given", "prefix"),
        [
            ({"dial_prefix": "9"}, "9"),
            ({"dial_prefix": "CUSTOM", "custom_dial_prefix": "77*"}, "77*"),
            ({"dial_prefix": "custom", "custom_prefix": "88#"}, "88#"),
            ({"dial_prefix": "CUSTOM"}, ""),
            ({"dial_prefix": "X"}, ""),
            ({}, ""),
        ],
    )
    def test_what_is_dialled_before_each_number(self, go, native, given, prefix):
        assert add(go, native, OUTBOUND | given)["dial_prefix"] == prefix
        assert go.do("goCampaigns", "goGetCampaignInfo", campaign_id="DIAL0001")["data"]["dial_prefix"] == prefix

    @pytest.mark.parametrize("prefix", ["9a", "1" * 11, "${EXTEN}", "9;1"])
    def test_what_is_no_prefix(self, go, prefix):
        assert "dial_prefix" in go.call("goCampaigns", "goAddCampaign", **OUTBOUND | {"dial_prefix": prefix})["result"]


class TestDids:
    def test_what_pages_ask_of_dids(self, go):
        found = go.do("goCampaigns", "goGetSuggestedDIDs", keyword="1555")
        assert "15550100" in json.loads(found["data"])
        assert go.do("goCampaigns", "goGetSuggestedDIDs", keyword="999")["data"] == "[]"
        data = go.do("goCampaigns", "getDIDSettings", did="15550100")["data"]
        assert (data["did_pattern"], data["did_id"] > 0) == ("15550100", True)
        go.deny("Error: DID doesn't exist.", "goCampaigns", "goGetDIDSettings", did="15559999")
        assert go.call("goCampaigns", "goGetDIDSettings")["code"] == "40001"

    @pytest.mark.parametrize(
        ("given", "destination"),
        [
            ({}, {"queue": "support"}),
            ({"call_route": "INGROUP", "call_route_text": "support", "closer_campaigns": ""}, {"queue": "support"}),
            ({"call_route": "IVR", "call_route_text": "mainmenu"}, {"menu": "mainmenu"}),
            ({"call_route": "VOICEMAIL", "call_route_text": "8500"}, {"voicemail": "8500"}),
            (
                {"call_route": "AGENT", "call_route_text": "1001"},
                {"agent": "1001", "unavailable": {"queue": "support"}},
            ),
        ],
    )
    @pytest.mark.parametrize("kind", ["INBOUND", "BLENDED"])
    def test_a_campaign_brings_its_did(self, go, native, kind, given, destination):
        campaign = OUTBOUND | {"campaign_type": kind, "did_tfn_extension": "15550188"} | given
        # There is no Asterisk here: the DID is kept for the next apply, and that is told.
        answer = go.do("goCampaigns", "goAddCampaign", **campaign)
        assert set(answer) <= {"result", "rebuild_conf_status"}
        found = native.ask("GET", "/api/v1/dids/15550188")["destination"]
        assert {name: found[name] for name in destination} == destination
        assert go.do("goInbound", "goGetDIDInfo", did_pattern="15550188")["data"]["did_id"] > 0
        remove(go, "DIAL0001")
        # Another campaign takes the same DID over.
        go.do("goCampaigns", "goAddCampaign", **OUTBOUND | {"campaign_type": kind, "did_tfn_extension": "15550188"})
        assert native.ask("GET", "/api/v1/dids/15550188")["destination"]["queue"] == "support"
        did_id = go.do("goInbound", "goGetDIDInfo", did_pattern="15550188")["data"]["did_id"]
        go.do("goInbound", "goDeleteDID", did_id=did_id)

    @pytest.mark.parametrize(
        ("given", "said"),
        [
            ({"call_route": "MOON"}, "Error: Mismatch of given parameters and accepted parameters in call_route"),
            ({"call_route": "IVR", "call_route_text": "nowhere"}, "call_route_text nowhere doesn't exist"),
            ({"call_route": "AGENT", "call_route_text": ""}, "call_route_text"),
            ({"did_tfn_extension": "+1;2"}, "Error: Special characters found in did_tfn_extension"),
            ({"did_tfn_extension": "not a number"}, "did_tfn_extension"),
        ],
    )
    def test_what_does_not_fit(self, go, native, given, said):
        before = native.ask("GET", "/api/v1/dids")["items"]
        campaign = OUTBOUND | {"campaign_type": "INBOUND", "did_tfn_extension": "15550189"} | given
        assert said in go.call("goCampaigns", "goAddCampaign", **campaign)["result"]
        assert native.ask("GET", "/api/v1/dids")["items"] == before
        assert go.do("goCampaigns", "goGetAllCampaigns")["campaign_id"] == []
        # And none of it makes another in-group.
        assert [one["name"] for one in native.ask("GET", "/api/v1/queues")["items"]] == ["support"]


def read_everything(native):
    """All that adding or changing a campaign could leave behind, and what the audit log says of it."""
    paths = ("campaigns", "surveys", "sounds", "queues", "announcements", "dids", "audit")
    return {path: native.ask("GET", f"/api/v1/{path}?limit=1000")["items"] for path in paths}


# An in-group, a message for machines and a DID of its own.
WITH_ALL = {
    "closer_campaigns": "", "did_tfn_extension": "15550190", "answering_machine_detection": "8369",
    "amd_send_to_vmx": "Y", "am_message_exten": "vm-goodbye",
}  # fmt: skip
NO_CARRIER = {"carrier_id": "nowhere"}


class TestAllOrNothing:
    """The campaign is written last: a carrier that is not there is only found once everything else of it is written."""

    @pytest.mark.parametrize(
        ("kind", "given", "said"),
        [
            ("BLENDED", NO_CARRIER, "there is no trunk"), ("SURVEY", NO_CARRIER, "there is no trunk"),
            ("INBOUND", {}, "Asterisk cannot be asked now"), ("SURVEY", {}, "Asterisk cannot be asked now"),
        ],
    )  # fmt: skip
    def test_of_a_campaign_that_fails_half_way_nothing_is_left(self, go, native, kind, given, said):
        before = read_everything(native)
        if kind == "SURVEY":
            answer = add_with_file(go, SURVEY | WITH_ALL | given)
        else:
            answer = go.call("goCampaigns", "goAddCampaign", **OUTBOUND | WITH_ALL | {"campaign_type": kind} | given)
        assert said in answer["result"], answer
        after = read_everything(native)
        if not given:
            # This was written, and is taken back; the audit log has both.
            assert len(after.pop("audit")) > len(before.pop("audit"))
        assert after == before

    def test_what_was_written_together_has_an_audit_entry_each(self, go, native):
        campaign = OUTBOUND | {"campaign_type": "BLENDED", "did_tfn_extension": "15550191"}
        go.do("goCampaigns", "goAddCampaign", **campaign)
        entries = native.ask("GET", "/api/v1/audit?limit=2")["items"]
        assert {entry["target"] for entry in entries} == {"campaigns/DIAL0001", "dids/15550191"}
        assert len({(entry["at"], entry["action"]) for entry in entries}) == 1
        revisions = {entry["target"]: entry["revision"] for entry in entries}
        assert revisions["campaigns/DIAL0001"] is None
        assert revisions["dids/15550191"] > 0
        go.do("goInbound", "goDeleteDID", did_id=go.do("goInbound", "goGetDIDInfo", did_pattern="15550191")["data"]["did_id"])  # fmt: skip

    def test_of_a_change_that_fails_half_way_nothing_is_left(self, go, native):
        add(go, native, SURVEY | {"active": "Y"})
        before, told = read_everything(native), go.do("goCampaigns", "goGetCampaignInfo", campaign_id="SURVEY01")
        message = {"answering_machine_detection": "8369", "amd_send_to_vmx": "Y", "am_message_exten": "vm-goodbye"}
        for given in (NO_CARRIER, message | {"active": "N"}):
            answer = go.call(
                "goCampaigns", "goEditCampaign", campaign_id="SURVEY01", survey_dtmf_digits="57", campaign_name="Other", **given
            )  # fmt: skip
            assert answer["result"].startswith("Error: "), answer
            after = read_everything(native)
            for found in (before, after):
                found.pop("audit", None)
                for row in (*found["campaigns"], *found["surveys"]):
                    for name in ("updated_at", "version"):
                        row.pop(name, None)
            assert after == before
            assert go.do("goCampaigns", "goGetCampaignInfo", campaign_id="SURVEY01") == told

    def test_several_are_deleted_or_none(self, go, native):
        before = native.ask("GET", "/api/v1/endpoints")["items"]
        extension = "1790"
        go.do("goPhones", "goAddPhones", extension=extension, **{"pass": "secret of a phone"})
        # Nothing leads to the first of them; the second is what a queue rings.
        answer = go.call("goPhones", "goDeletePhone", **{"extension[]": [extension, "1001"]})
        assert "1001" in answer["result"], answer
        native.ask("GET", f"/api/v1/endpoints/{extension}")
        go.do("goPhones", "goDeletePhone", extension=extension)
        assert native.ask("GET", "/api/v1/endpoints")["items"] == before

    def test_a_list_not_to_be_called_comes_with_its_first_number(self, go, native):
        add(go, native, OUTBOUND)
        lists = native.ask("GET", "/api/v1/dnc")["items"]
        answer = go.call("goLists", "goActionDNC", stage="DELETE", campaign_id="DIAL0001", phone_numbers="2125550103")
        assert answer["code"] == "10117"
        assert native.ask("GET", "/api/v1/dnc")["items"] == lists
        assert newest(native)["dnc_lists"] == []

    def test_a_lead_is_changed_whole(self, go, native):
        add(go, native, OUTBOUND)
        go.do("goLists", "goAddList", list_id="1900", list_name="x", campaign_id="DIAL0001")
        lead = {"fields": [{"FieldName": "phone_number", "FieldValue": "2125550104"}]}
        go.do("goUploadLeads", "goUploadMeJSON", list_id="1900", leads=json.dumps([lead]))
        (lead_id,) = go.do("goGetLeads", "goGetLeads", list_filter="1900")["lead_id"]
        before = native.ask("GET", f"/api/v1/numbers/{lead_id}")
        answer = go.call(
            "goGetLeads", "goEditLeads", lead_id=lead_id, phone_number="2125550105", city="Ulm", status="SALE"
        )
        assert "was not called yet" in answer["result"]
        assert native.ask("GET", f"/api/v1/numbers/{lead_id}") == before


HOSTILE = (
    "'; DROP TABLE users; --",
    "a\r\nAction: Command",
    "[x];",
    "a\0b",
    "9" * 40,
    "²",
    "${SHELL(id)}",
    "../../x",
    "x" * 20_000,
)
ADD, EDIT = (next(one for one in ACTIONS if one.name == name) for name in ("goAddCampaign", "goEditCampaign"))


@pytest.mark.parametrize("given", [SURVEY, OUTBOUND | {"campaign_type": "BLENDED", "did_tfn_extension": "15550187"}])
def test_no_value_of_any_parameter_breaks_a_campaign(go, native, given):
    """All else is right, so that each value is looked at; whatever is taken is harmless wherever it goes."""
    go.do("goCampaigns", "goAddCampaign", **given | {"campaign_id": "EDIT0001"})
    for number, name in enumerate(sorted({*ADD.parameters, "campaign_type"} - {"active"})):
        for place, value in enumerate(HOSTILE):
            code = f"H{number:03}{place:04}"
            answer = go.call("goCampaigns", "goAddCampaign", **given | {"campaign_id": code, name: value})
            assert "something went wrong" not in answer["result"], (name, value[:40], answer)
            if name != "campaign_id" and name in EDIT.parameters:
                answer = go.call("goCampaigns", "goEditCampaign", campaign_id="EDIT0001", **{name: value})
                assert "something went wrong" not in answer["result"], (name, value[:40], answer)
            if go.call("goCampaigns", "goCheckCampaign", campaign_id=code)["result"] == "fail":
                remove(go, code)
        answer = go.call(
            "goCampaigns", "goAddCampaign", **given | {"campaign_id": f"N{number:07}", f"{name}[a][b]": "x"}
        )
        assert isinstance(answer["result"], str)
    paths = ("surveys", "queues", "announcements", "dids", "sounds")
    kept = json.dumps([native.ask("GET", f"/api/v1/{path}?limit=1000")["items"] for path in paths])
    for sign in ("DROP TABLE", "Action: Command", "[x];", "SHELL", "\\u0000"):
        assert sign not in kept, sign
