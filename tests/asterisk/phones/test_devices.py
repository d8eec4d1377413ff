"""What a phone is, by real calls: several devices, pickup, limits, caller ids, browsers and encryption."""

import re
from concurrent.futures import ThreadPoolExecutor

import pytest

from lab.browser import Browser
from lab.certificates import find_certificate
from lab.secure_media import PROFILE
from lab.sipp import (
    HangUp,
    Speak,
    Wait,
    dial_from_phone,
    register_phones,
    run_phone,
)
from tests.asterisk.phones.desk import CERTIFIED, HOST, SECRET, rung

pytestmark = pytest.mark.asterisk


@pytest.fixture
def two_devices(pbx):
    """Those of 1008: the second one answers."""
    for port in (5076, 5077):
        register_phones(pbx.asterisk, [("1008", SECRET)], host=HOST, port=port)
    with (
        run_phone(pbx.asterisk, host=HOST, port=5076, ring_s=30) as desk_phone,
        run_phone(pbx.asterisk, host=HOST, port=5077, ring_s=0.5) as mobile,
    ):
        yield desk_phone, mobile


# The phone itself, whom 1015 has follow her, and an agent.
@pytest.mark.parametrize("number", ["03011008", "03011015", "03011018"])
def test_all_devices_of_an_extension_ring(desk, two_devices, number):
    desk_phone, mobile = two_devices
    assert desk.call(number).leg.is_answered
    desk_phone.wait_for("cancelled")
    mobile.wait_for("bye")


def test_a_call_at_one_device_takes_the_limit_of_all(desk, two_devices):
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(desk.observer.call, "03011008", Wait(4), HangUp())
        two_devices[1].wait_for("answered")
        assert desk.observer.call("03011008/second", Wait(0.1), HangUp(), has_cdr=False).leg.refusal == 486
        # An agent who is busy is not rung, either: the call goes where the DID says.
        desk.mark()
        assert desk.observer.call("03011018", Wait(0.1), HangUp()).leg.is_answered
        desk.wait_until_reached("211")
        assert first.result().leg.is_answered
    assert [len(run.read_legs()) for run in two_devices] == [1, 1]


def test_a_phone_that_is_connected_over_the_api_pays_as_if_it_had_dialled(desk):
    def connect(number, status=202):
        wanted = {"origin": {"endpoint": "1014"}, "destination": {"external": number}}
        return desk.ask("POST", "/api/v1/calls", wanted, status)

    refused = connect("030666123", 422)
    assert "endpoint/1014 must not dial" in refused["error"]["problems"][0]["rule"]
    with desk.outside(steps=[Wait(0.3), HangUp()]) as outside, desk.phones(p1014={}) as phones:
        connect("03055501")
        outside.wait_for("answered")
        phones["1014"].wait_for("bye")
        desk.observer.wait_until_idle()
        connect("03055501")
        phones["1014"].wait_for("bye", count=2)
        assert rung({"outside": outside}) == {"outside": 1}
    (locked,) = [row for row in desk.ask("GET", "/api/v1/toll_guard")["items"] if row["locked_at"]]
    assert (locked["scope"], "within a minute" in locked["reason"]) == ("endpoint/1014", True)
    desk.ask("POST", "/api/v1/toll_guard/unlock", {"scope": "endpoint/1014"}, 204)


def test_a_ringing_call_is_picked_up_within_the_group_and_by_nobody_else(desk, pbx):
    # Asterisk itself takes *8 for the group's, unless its admin has told it another number (features.conf).
    for code in ("*8", "**1001"):
        with desk.phones(p1001={"ring_s": 30}) as phones, ThreadPoolExecutor(1) as pool:
            calling = pool.submit(desk.call, "03011001", Wait(1), HangUp())
            phones["1001"].wait_for("invited")
            desk.dial("1003", "**1001", heard=-1)  # of no group: told so
            desk.dial("1002", code, heard=-1)
            assert calling.result().leg.is_answered
            phones["1001"].wait_for("cancelled")


def test_a_phone_with_a_limit_is_busy_for_one_call_more_and_its_calls_are_recorded(desk, pbx):
    before = desk.count_recordings()
    with desk.phones(p1010={}) as phones, ThreadPoolExecutor(1) as pool:
        first = pool.submit(desk.observer.call, "03011010", Speak(3), HangUp())
        phones["1010"].wait_for("answered")
        assert desk.observer.call("03011010/second", Wait(0.1), HangUp(), has_cdr=False).leg.refusal == 486
        first.result()
        assert rung(phones) == {"1010": 1}
    desk.wait_for_recording(before)


def test_what_is_shown_outside_and_to_those_who_are_called_for_help(desk, pbx):
    with desk.outside(steps=[Wait(0.3), HangUp()]) as outside:
        for number in ("03055501", "112"):
            desk.dial("1013", number, heard=-1)
        told = [event.detail for leg in outside.read_legs() for event in leg.events if event.word == "invited"]
    # The name is for those inside, unless it stands beside its own extension.
    assert [re.search(r"^(.*)<sip:([^@]+)@", detail).groups() for detail in told] == [
        ("", "+493010099"),
        ('"Mo Stone" ', "+493010098"),
    ]


def test_a_browser_and_an_encrypted_phone_are_there_with_their_settings(pbx):
    def shown(extension):
        lines = pbx.asterisk.cli(f"pjsip show endpoint {extension}").splitlines()
        return {name.strip(): value.strip() for name, _, value in (line.partition(" : ") for line in lines)}

    browser = shown("1011")
    wanted = {
        "webrtc": "yes", "media_encryption": "dtls", "dtls_setup": "actpass", "dtls_verify": "Fingerprint", "ice_support": "true", "rtcp_mux": "true",
        "use_avpf": "true", "dtls_auto_generate_cert": "Yes", "allow": "(opus|alaw)", "moh_suggest": "quiet",
    }  # fmt: skip
    assert {name: browser[name] for name in wanted} == wanted
    encrypted = shown("1012")
    wanted = {
        "media_encryption": "sdes",
        "rtp_symmetric": "false",
        "force_rport": "false",
        "rewrite_contact": "false",
        "dtmf_mode": "info",
    }
    assert {name: encrypted[name] for name in wanted} == wanted
    assert shown("1001")["named_pickup_group"] == "office"
    assert shown("1010")["device_state_busy_at"] == "1"


def test_a_browser_calls_and_is_called_over_an_encrypted_line(desk, pbx):
    (told,) = (one for one in pbx.ask("check") if one["what"] == "browsers")
    assert told["found"] == "1 endpoints, wss://127.0.0.1:8089/ws takes them in"
    files = find_certificate(pbx.asterisk.etc, CERTIFIED)
    with Browser(pbx.asterisk, "1011", SECRET, name=files.name, port=8089, trust=files.make_trust()) as browser:
        assert browser.register() == 200
        call = browser.call("*43")  # says back what it hears
        call.await_loud(25)
        call.hang_up()
        with ThreadPoolExecutor(1) as pool:
            said = pool.submit(desk.call, "03011011", Wait(0.5), Speak(2.0), HangUp())
            call = browser.take_call()
            call.await_loud(25)
            call.await_bye()
            assert said.result().leg.is_answered
        assert call.media.profile == PROFILE


def test_a_phone_over_its_limit_by_its_own_calls_is_busy_too(desk, pbx):
    account = ("1010", SECRET)
    with desk.phones(p1010={}) as phones, ThreadPoolExecutor(1) as pool:
        first = pool.submit(desk.observer.call, "03011010", Wait(6), HangUp())
        phones["1010"].wait_for("answered")
        with dial_from_phone(pbx.asterisk, account, "*43", steps=(Wait(3), HangUp())) as own:
            own.wait_for("answered")
            assert len(re.findall(r"^PJSIP/1010-", pbx.asterisk.cli("core show channels"), re.MULTILINE)) == 2
            assert desk.observer.call("03011010/second", Wait(0.1), HangUp(), has_cdr=False).leg.refusal == 486
            own.wait()
        assert first.result().leg.is_answered
        assert rung(phones) == {"1010": 1}
