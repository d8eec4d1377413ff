"""goPhones, goCarriers, goVoicemails, goCalltimes, goVoiceFiles and goMusicOnHold on the real objects."""

import io
import secrets
import wave

import pytest

from tests.api.conftest import SOURCES
from tests.api.goapi_site import share_site

SECRET = "a secret that nobody reads"


site, native, go = share_site(SECRET)


def digits(count):
    return f"{secrets.randbelow(9 * 10 ** (count - 1)) + 10 ** (count - 1)}"


def name():
    return f"N{secrets.token_hex(6)}"


class TestPhones:
    def add(self, go, **more):
        extension = digits(7)
        go.do("goPhones", "goAddPhones", **{"extension": extension, "pass": SECRET, "fullname": "Carla", "protocol": "SIP"} | more)  # fmt: skip
        return extension

    def test_added_it_is_an_endpoint_and_its_secret_stays_with_us(self, go, native):
        extension = self.add(go, voicemail_id="8500", server_ip="10.0.0.1", status="ACTIVE", active="Y")
        found = native.ask("GET", f"/api/v1/endpoints/{extension}")
        assert (found["name"], found["voicemail"]) == ("Carla", "8500")
        shown = go.do("goPhones", "goGetPhoneInfo", extension=extension)
        assert (shown["fullname"], shown["voicemail_id"], shown["active"]) == ("Carla", "8500", "Y")
        assert SECRET.encode() not in go.body
        found = go.do("goPhones", "goGetAllPhones")
        assert extension in found["extension"]
        assert SECRET.encode() not in go.body
        assert found == go.do("goPhones", "goGetPhonesList")

    def test_what_is_wrong_with_it(self, go, native):
        before = native.ask("GET", "/api/v1/endpoints")["total"]
        given = {}
        for text, cure in (
            ("Error: Missing required parameters in extension", {"extension": "1001"}),
            ("Error: Missing required parameters in pass", {"pass": "short", "voicemail_id": "9999"}),
            ("Error: voicemail_id 9999 doesn't exist.", {"voicemail_id": "", "protocol": "Zap"}),
            ("Error: Default value for protocol are SIP, PJSIP, EXTERNAL only.", {"protocol": "SIP", "active": "N"}),
            (
                "Error: a phone that is not active is not served: delete it, or change its pass.",
                {"active": "Y", "user_group": "NONE"},
            ),
            ("Error: Invalid User Group", {"user_group": ""}),
            ("Error: Phone already exists", {"extension": "1777"}),
        ):
            assert go.call("goPhones", "goAddPhones", **given)["result"] == text
            given |= cure
        assert go.call("goPhones", "goAddPhones", **given)["result"].startswith("Error: pass ")
        assert native.ask("GET", "/api/v1/endpoints")["total"] == before

    def test_edit_check_and_delete(self, go, native):
        extension, other = self.add(go), self.add(go)
        before = native.ask("GET", f"/api/v1/endpoints/{extension}")
        go.do("goPhones", "goEditPhone", extension=extension, fullname="Dora")
        assert native.ask("GET", f"/api/v1/endpoints/{extension}") == before | {"name": "Dora"}
        assert go.call("goPhones", "goCheckPhoneLogin", phone_login=extension)["result"] == "fail"
        go.do("goPhones", "goCheckPhoneLogin", phone_login="1778")
        go.deny("Error: Phone doesn't exist.", "goPhones", "goDeletePhone", **{"extension[]": [extension, "1778"]})
        go.do("goPhones", "goDeletePhone", action="delete_selected", **{"extension[]": [extension, other]})
        for gone in (extension, other):
            native.ask("GET", f"/api/v1/endpoints/{gone}", status=404)
            go.deny("Error: Phone doesn't exist.", "goPhones", "goEditPhone", extension=gone)


class TestCarriers:
    def test_one_that_registers_and_one_by_address(self, go, native):
        registers, by_address = name(), name()
        given = {
            "carrier_name": "Carrier One", "protocol": "SIP", "authentication": "auth_reg", "reg_host": "sip-1.carrier.example", "reg_port": "5070",
            "username": "me", "password": SECRET, "codecs[]": ["ALAW", "ULAW"], "active": "Y", "dtmf": "rfc2833",
        }  # fmt: skip
        go.do("goCarriers", "goAddCarrier", carrier_id=registers, **given)
        found = native.ask("GET", f"/api/v1/trunks/{registers}")
        assert (found["authentication"], found["hosts"], found["username"]) == (
            "registration",
            ["sip-1.carrier.example:5070"],
            "me",
        )
        assert (found["codecs"], found["description"]) == (["alaw", "ulaw"], "Carrier One")
        # What of the registration is not given stays as it is.
        go.do("goCarriers", "goEditCarrier", carrier_id=registers, username="other")
        go.do(
            "goCarriers",
            "goEditCarrier",
            carrier_id=registers,
            reg_port="5080",
            password="another secret that nobody reads",
        )
        found = native.ask("GET", f"/api/v1/trunks/{registers}")
        assert (found["hosts"], found["username"]) == (["sip-1.carrier.example:5080"], "other")
        go.do("goCarriers", "goAddCarrier", carrier_id=by_address, carrier_name="Two", authentication="auth_ip", sip_server_ip="192.0.2.7")  # fmt: skip
        assert native.ask("GET", f"/api/v1/trunks/{by_address}")["hosts"] == ["192.0.2.7"]
        shown = go.do("goCarriers", "goGetAllCarriers")
        assert {registers, by_address} <= set(shown["carrier_id"])
        go.do("goCarriers", "goGetCarrierInfo", carrier_id=registers)
        assert SECRET.encode() not in go.body
        copied = name()
        go.do(
            "goCarriers",
            "goAddCarrier",
            carrier_id=copied,
            carrier_name="Copy",
            carrier_type="copy",
            source_carrier=by_address,
        )
        assert native.ask("GET", f"/api/v1/trunks/{copied}")["hosts"] == ["192.0.2.7"]
        go.do("goCarriers", "goEditCarrier", carrier_id=copied, sip_server_ip="192.0.2.8", carrier_name="Other")
        assert native.ask("GET", f"/api/v1/trunks/{copied}")["hosts"] == ["192.0.2.8"]
        go.do("goCarriers", "goDeleteCarrier", **{"carrier_id[]": [copied, by_address]})
        native.ask("GET", f"/api/v1/trunks/{copied}", status=404)

    @pytest.mark.parametrize(
        ("text", "given"),
        [
            ("Error: Missing required parameters in carrier_id", {"carrier_id": ""}),
            ("Error: Missing required parameters in authentication", {}),
            ("Error: Duplicate carrier ID found.", {"carrier_id": "CARRIER", "authentication": "auth_ip", "sip_server_ip": "192.0.2.9"}),
            ("Error: Special characters found in sip_server_ip", {"authentication": "auth_ip", "sip_server_ip": "a\"b"}),
            ("Error: protocol CUSTOM is not served: nobody writes Asterisk's files from outside.", {"protocol": "CUSTOM"}),
            ("Error: protocol CUSTOM is not served: nobody writes Asterisk's files from outside.", {"account_entry": "[x]\ntype=friend"}),
            ("Error: Missing required parameters in password", {"authentication": "auth_reg", "reg_host": "a.example", "username": "u"}),
            ("Error: Default value for codecs are GSM, ULAW, ALAW, G722, OPUS only.", {"codecs[]": ["G729"]}),
            ("Error: Carrier doesn't exist.", {"carrier_type": "copy", "source_carrier": "nowhere"}),
        ],
    )  # fmt: skip
    def test_what_is_wrong_with_one(self, go, native, text, given):
        before = native.ask("GET", "/api/v1/trunks")["total"]
        found = go.call("goCarriers", "goAddCarrier", **{"carrier_id": "fresh", "carrier_name": "Fresh"} | given)
        assert found["result"] == text
        assert native.ask("GET", "/api/v1/trunks")["total"] == before


class TestVoicemails:
    def test_from_its_first_day_to_its_last(self, go, native):
        box = digits(8)
        given = {"voicemail_id": box, "pass": "998877", "fullname": "Carla", "email": "carla@example.com"}
        go.do("goVoicemails", "goAddVoicemail", active="Y", **given)
        found = native.ask("GET", f"/api/v1/voicemail/{box}")
        assert (found["name"], found["email"]) == ("Carla", "carla@example.com")
        go.deny("Error: Add failed, Duplicate voicemail ID found!", "goVoicemails", "goAddVoicemail", **given)
        assert go.call("goVoicemails", "goCheckVoicemail", voicemail_id=box)["result"] == "fail"
        go.do("goVoicemails", "goEditVoicemail", voicemail_id=box, fullname="Dora")
        assert native.ask("GET", f"/api/v1/voicemail/{box}") == found | {"name": "Dora"}
        assert go.do("goVoicemails", "goGetVoicemailInfo", voicemail_id=box)["data"]["fullname"] == "Dora"
        assert b"998877" not in go.body
        assert box in go.do("goVoicemails", "getAllVoicemails")["voicemail_id"]
        go.do("goVoicemails", "goDeleteVoicemail", voicemail_id=box)
        for action in ("goDeleteVoicemail", "goEditVoicemail", "goGetVoicemailInfo"):
            go.deny("Error: Voicemail doesn't exist.", "goVoicemails", action, voicemail_id=box)

    @pytest.mark.parametrize(
        ("text", "given"),
        [
            ("Error: Set a value for Voicemail ID.", {"voicemail_id": "0"}),
            ("Error: Voicemail ID must be at least 3 digits.", {"voicemail_id": "12"}),
            ("Error: Set a value for Password.", {"pass": ""}),
            ("Error: email 'nobody' must be an e-mail address", {"email": "nobody"}),
            ("Error: delete_vm_after_email Y is not served.", {"delete_vm_after_email": "Y"}),
        ],
    )
    def test_what_is_wrong_with_one(self, go, text, given):
        go.deny(
            text, "goVoicemails", "goAddVoicemail", **{"voicemail_id": "8999", "pass": "1234", "fullname": "X"} | given
        )

    def test_one_that_is_used_stays(self, go):
        found = go.call("goVoicemails", "goDeleteVoicemail", voicemail_id="8500")
        assert found["result"].startswith("Error: voicemail_boxes/8500 is still used by")


class TestCalltimes:
    def test_hours_are_those_of_a_schedule(self, go, native):
        key = name()
        given = {
            "call_time_id": key, "call_time_name": "Shop", "ct_default_start": "900", "ct_default_stop": "1730", "ct_saturday_start": "1000",
            "ct_saturday_stop": "1400", "ct_sunday_start": "2400", "ct_sunday_stop": "2400",
        }  # fmt: skip
        go.do("goCalltimes", "goAddCalltime", **given)
        found = native.ask("GET", f"/api/v1/schedules/{key}")
        hours = {one["days"][0]: (one["start"], one["end"]) for one in found["hours"]}
        week = dict.fromkeys(("mon", "tue", "wed", "thu", "fri"), ("09:00", "17:30"))
        assert hours == week | {"sat": ("10:00", "14:00")}
        go.do("goCalltimes", "goEditCalltime", call_time_id=key, ct_sunday_start="0", ct_sunday_stop="2400")
        shown = go.do("goCalltimes", "goGetCalltimesInfo", call_time_id=key)
        # Of the days that say nothing the default tells.
        assert (shown["ct_default_start"], shown["ct_default_stop"], shown["ct_monday_start"]) == (900, 1730, 0)
        assert shown["ct_saturday_stop"] == 1400
        assert (shown["ct_sunday_start"], shown["ct_sunday_stop"]) == (0, 2400)
        assert key in go.do("goCalltimes", "getAllCalltimes")["call_time_id"]
        assert go.call("goCalltimes", "goCheckCalltimes", call_time_id=key)["result"] == "fail"
        # A change of the default is one of the days that follow it, and of no other.
        go.do("goCalltimes", "goEditCalltime", call_time_id=key, ct_default_stop="2600")
        found = native.ask("GET", f"/api/v1/schedules/{key}")
        hours = {one["days"][0]: (one["start"], one["end"]) for one in found["hours"]}
        night = dict.fromkeys(week, ("09:00", "02:00"))
        assert hours == night | {"sat": ("10:00", "14:00"), "sun": ("00:00", "24:00")}
        # A day with two openings keeps both while nothing is said of it.
        twice = [
            {"days": ["mon"], "start": "08:00", "end": "12:00"},
            {"days": ["mon"], "start": "13:00", "end": "17:00"},
        ]
        native.ask("PATCH", f"/api/v1/schedules/{key}", {"hours": twice})
        go.do("goCalltimes", "goEditCalltime", call_time_id=key, ct_tuesday_start="900", ct_tuesday_stop="1000")
        hours = native.ask("GET", f"/api/v1/schedules/{key}")["hours"]
        assert hours == [*twice, {"days": ["tue"], "start": "09:00", "end": "10:00"}]
        go.do("goCalltimes", "goDeleteCalltime", call_time_id=key)
        go.deny("Error: Calltime doesn't exist.", "goCalltimes", "goDeleteCalltime", call_time_id=key)

    @pytest.mark.parametrize(
        ("text", "given"),
        [
            ("Error: Set a value for Call Time ID.", {"call_time_id": ""}),
            ("Error: Call Time ID must be at least 3 characters.", {"call_time_id": "ab"}),
            ("Error: ct_monday_start must be a number or combination of number", {"ct_monday_start": "9:00"}),
            ("Error: ct_monday_start must be a time such as 900 or 1730", {"ct_monday_start": "975"}),
            ("Error: Add failed, Call Time already already exist!", {"call_time_id": "OFFICE"}),
        ],
    )
    def test_what_is_wrong_with_one(self, go, text, given):
        go.deny(text, "goCalltimes", "goAddCalltime", **{"call_time_id": "fresh", "call_time_name": "Fresh"} | given)


def make_wav():
    content = io.BytesIO()
    with wave.open(content, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8000)
        sound.writeframes(b"\x00\x10" * 8000)
    return content.getvalue()


class TestVoiceFiles:
    def upload(self, go, filename, content, **fields):
        boundary = "x" * 20
        parts = [
            f'--{boundary}\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n'.encode()
            for key, value in go.fields("goUploadVoiceFiles", fields).items()
        ]
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="files"; filename="{filename}"\r\n\r\n'.encode()
        body = b"".join(parts) + head + content + f"\r\n--{boundary}--\r\n".encode()
        go.send(
            "POST",
            "/goAPIv2/goVoiceFiles/goAPI.php",
            body,
            {"Content-Type": f"multipart/form-data; boundary={boundary}"},
        )
        return go.read()

    def test_a_sound_can_be_used_by_the_name_that_it_gets(self, go, native):
        found = self.upload(go, "my welcome.wav", make_wav())
        assert found == {"result": "success", "file_name": "tandem/my_welcome"}
        assert self.upload(go, "my welcome.wav", make_wav()) == found
        assert native.ask("GET", "/api/v1/sounds/my_welcome")["duration_s"] == pytest.approx(1.0)
        assert "tandem/my_welcome" in go.do("goVoiceFiles", "goGetAllVoiceFiles")["file_name"]
        go.do("goInbound", "goAddIVR", menu_id="spoken", menu_name="Spoken", menu_prompt=found["file_name"])
        said = go.call("goVoiceFiles", "goDeleteVoiceFile", file_name="my_welcome")["result"]
        assert said.startswith("Error: sounds/my_welcome is still used by")
        go.do("goInbound", "goDeleteIVR", menu_id="spoken")
        go.do("goVoiceFiles", "goDeleteVoiceFile", file_name="tandem/my_welcome")
        go.deny("Error: Voice file doesn't exist.", "goVoiceFiles", "goDeleteVoiceFile", file_name="my_welcome")

    def test_what_is_no_sound(self, go, native):
        before = native.ask("GET", "/api/v1/sounds")["total"]
        assert self.upload(go, "x.wav", b"no sound at all")["code"] == "10008"
        assert go.call("goVoiceFiles", "goUploadVoiceFiles")["code"] == "10006"
        assert self.upload(go, "../../etc/x.wav", make_wav())["result"].startswith("Error: files_name must be")
        assert native.ask("GET", "/api/v1/sounds")["total"] == before


def test_music_is_what_queues_name(go):
    go.do("goInbound", "goAddIngroup", group_id="jazzy", group_name="Jazzy", group_color="#00f", moh_context="jazz")
    assert go.do("goMusicOnHold", "goGetAllMusicOnHold")["moh_id"] == ["default", "jazz"]
    assert go.do("goMusicOnHold", "goGetMOHInfo", moh_id="jazz")["data"]["active"] == "Y"
    go.deny("Error: Music On Hold doesn't exist.", "goMusicOnHold", "goGetMOHInfo", moh_id="rock")


# module, what to add, which parameter names it, and the actions that list, tell, change and delete it.
OWNED = [
    ("goPhones", "goAddPhones", {"pass": SECRET}, "extension", ("goGetAllPhones", "goGetPhoneInfo", "goEditPhone", "goDeletePhone"), "fullname"),
    ("goCarriers", "goAddCarrier", {"carrier_name": "C", "authentication": "auth_ip", "sip_server_ip": "192.0.2.9"}, "carrier_id",
     ("goGetAllCarriers", "goGetCarrierInfo", "goEditCarrier", "goDeleteCarrier"), "carrier_name"),
    ("goVoicemails", "goAddVoicemail", {"pass": "471147", "fullname": "V"}, "voicemail_id",
     ("goGetAllVoicemails", "goGetVoicemailInfo", "goEditVoicemail", "goDeleteVoicemail"), "fullname"),
    ("goCalltimes", "goAddCalltime", {"call_time_name": "T", "ct_default_start": "900", "ct_default_stop": "1700"}, "call_time_id",
     ("goGetAllCalltimes", "goGetCalltimesInfo", "goEditCalltime", "goDeleteCalltime"), "call_time_name"),
    ("goInbound", "goAddIngroup", {"group_name": "Group", "group_color": "#ff0000"}, "group_id",
     ("goGetAllIngroup", "goGetIngroupInfo", "goEditIngroup", "goDeleteIngroup"), "group_name"),
    ("goInbound", "goAddIVR", {"menu_name": "Menu", "menu_prompt": "vm-press", "menu_timeout": "5", "menu_repeat": "1", "tracking_group": "x"}, "menu_id",
     ("goGetAllIVR", "goGetIVRInfo", "goEditIVR", "goDeleteIVR"), "menu_name"),
]  # fmt: skip


@pytest.fixture(scope="module")
def people(go, native):
    found = []
    for _ in range(2):
        group, user = name(), name()
        native.ask("POST", "/api/v1/user-groups", {"name": group, "title": group}, 201)
        body = {"name": user, "password": "password of a user", "role": "admin", "user_group": group}
        native.ask("POST", "/api/v1/users", body, 201)
        found.append(go.with_credentials(user, "password of a user", next(SOURCES)))
    return found


class TestGroups:
    @pytest.mark.parametrize(
        ("module", "add", "given", "key", "actions", "field"), OWNED, ids=[one[1] for one in OWNED]
    )
    def test_what_is_a_groups_own_is_nobody_elses(self, go, people, module, add, given, key, actions, field):
        ours, theirs = people
        one, nothing = (digits(7), "7777777") if key in ("extension", "voicemail_id") else (name(), "Nothing")
        ours.do(module, add, **given | {key: one})
        listing, info, edit, delete = actions
        listed = lambda who: one in map(str, who.do(module, listing, session_user="admin")[key])  # noqa: E731
        assert (listed(ours), listed(theirs), listed(go)) == (True, False, True)
        told = ours.do(module, info, **{key: one})
        for action, more in ((info, {}), (edit, {field: "Mine"}), (delete, {})):
            answer = theirs.call(module, action, **more | {key: one})
            assert answer["result"] != "success", (action, answer)
            # As if it were not there.
            assert answer == theirs.call(module, action, **more | {key: nothing}), action
        assert ours.do(module, info, **{key: one}) == told
        ours.do(module, edit, **{key: one, field: "Ours"})
        ours.do(module, delete, **{key: one})
        assert not listed(go)
