"""Where calls meet, by real calls: conferences, parking, paging, the directory, voicemail, a queue's announcements."""

import re
from concurrent.futures import ThreadPoolExecutor

import pytest

from lab.observe import wait_until
from lab.rtp import RtpSink
from lab.sipp import (
    AwaitBye,
    HangUp,
    Press,
    Speak,
    Wait,
    dial_from_phone,
    run_transfer,
)
from tests.asterisk.phones.desk import HOST, PORTS, SECRET, Desk, rung
from tests.audio import write_tone

pytestmark = pytest.mark.asterisk


def count_members(pbx, room):
    """(members, moderators among them)."""
    lines = [line for line in pbx.asterisk.cli(f"confbridge list {room}").splitlines() if line.startswith("PJSIP/")]
    return len(lines), sum(" A" in line[len(line.split()[0]) :][:45] for line in lines)


@pytest.fixture(scope="module")
def gong(pbx, tmp_path_factory):
    """An uploaded sound that both conferences play."""
    tone = write_tone(tmp_path_factory.mktemp("gong") / "gong.wav", 0.5).read_bytes()
    Desk(pbx).ask("POST", "/api/v1/sounds?name=gong", tone, 201, Content_Type="audio/wav")
    return f"Playing '{pbx.asterisk.folder}/sounds/gong."


def test_callers_and_phones_meet_in_a_conference_with_its_own_sounds(desk, pbx, gong):
    """Who comes is greeted, and a sound that nobody has uploaded is passed over; the others hear who comes and leaves, in the PBX's language."""
    used = desk.ask("DELETE", "/api/v1/sounds/gong", status=409)
    assert [name in str(used) for name in ("conferences/open", "conferences/shut")] == [True, True]
    with ThreadPoolExecutor(2) as pool:
        one = pool.submit(desk.observer.call, "03010070", AwaitBye(60))
        wait_until(lambda: count_members(pbx, "open")[0] == 1, "one member")
        talk = [Wait(4), HangUp()]
        with dial_from_phone(pbx.asterisk, ("1003", SECRET), "640", steps=talk, host=HOST) as phone:
            wait_until(lambda: count_members(pbx, "open")[0] == 2, "two members")
            desk.wait_for_line("Playing 'auth-thankyou.", "PJSIP/carrier-")
            desk.wait_for_line("Playing 'auth-thankyou.", "PJSIP/1003-")
            desk.wait_for_line(gong, "CBAnn/open-", "(language 'de')")
            phone.wait(timeout_s=30)
            desk.wait_for_line("Playing 'vm-goodbye.", "CBAnn/open-", "(language 'de')")
            pbx.asterisk.cli("confbridge kick open all")
            assert one.result().leg.ended_by == "them"


def test_a_pin_keeps_strangers_out_and_tells_moderators(desk, pbx, gong):
    with ThreadPoolExecutor(3) as pool:
        wrong = pool.submit(
            desk.observer.call,
            "03010071/wrong",
            Wait(1),
            Press("1111#"),
            Wait(4),
            Press("2222#"),
            Wait(4),
            Press("3#"),
            AwaitBye(60),
        )
        guest = pool.submit(desk.observer.call, "03010071/guest", Wait(1), Press("4711#"), AwaitBye(60))
        moderator = pool.submit(desk.observer.call, "03010071/moderator", Wait(1), Press("0815#"), Wait(8), HangUp())
        wait_until(lambda: count_members(pbx, "shut")[0] == 2, "guest and moderator", timeout_s=30)
        assert moderator.result().leg.is_answered
        # The last moderator has left, so everybody has.
        assert guest.result().leg.ended_by == "them"
        assert wrong.result().leg.ended_by == "them"
    desk.wait_for_line("Playing 'conf-invalidpin", "PJSIP/carrier-")
    desk.wait_for_line(gong, "PJSIP/carrier-")
    assert not desk.count_lines("Playing 'conf-getpin")


def test_a_parked_call_is_fetched_from_another_phone(desk, pbx):
    # SIPp takes the OPTIONS by which a phone is seen for its one call: so it is seen before.
    with desk.phones(p1001={}):
        pass
    parking = {"is_attended": False, "host": HOST, "port": PORTS["1001"]}
    with ThreadPoolExecutor(1) as pool:
        with run_transfer(pbx.asterisk, ("1001", SECRET), "700", **parking) as parker:
            calling = pool.submit(desk.call, "03011001", AwaitBye(60))
            parker.wait_for("referred", timeout_s=20)
            seen = "TANDEM_PARKED_701=PJSIP/carrier-"
            wait_until(lambda: seen in pbx.asterisk.cli("dialplan show globals"), "a parked call")
        desk.dial("1002", "702")  # nobody there: told so
        talk = [Wait(3), HangUp()]
        with dial_from_phone(pbx.asterisk, ("1002", SECRET), "701", steps=talk, host=HOST) as fetcher:
            fetcher.wait_for("answered")
            wait_until(lambda: re.search(" 2 +basic", pbx.asterisk.cli("bridge show all")), "both in one bridge")
            assert fetcher.wait(timeout_s=30).legs[0].ended_by == "us"
            assert calling.result().leg.ended_by == "them"
        assert seen not in pbx.asterisk.cli("dialplan show globals")


def test_paged_phones_and_an_intercom_answer_by_themselves(desk, pbx):
    with desk.phones(p1002={}, p1003={}) as phones:
        desk.features("1003", {"do_not_disturb": True})
        desk.mark()
        with dial_from_phone(pbx.asterisk, ("1001", SECRET), "650", host=HOST):
            phones["1002"].wait_for("answered")
            assert rung(phones) == {"1002": 1, "1003": 0}
            desk.wait_for_line("Playing 'auth-thankyou.", "PJSIP/1002-")
            assert not desk.count_lines("Playing 'auth-thankyou.", "PJSIP/1001-")
            pbx.asterisk.cli("channel request hangup all")
            phones["1002"].wait_for("bye")
        with dial_from_phone(pbx.asterisk, ("1001", SECRET), "*601002", host=HOST):
            phones["1002"].wait_for("answered", count=2)
            pbx.asterisk.cli("channel request hangup all")
    assert pbx.asterisk.read_log().count("Alert-Info") >= 2


def test_the_echo_test_is_heard(desk, pbx):
    with (
        RtpSink(pbx.asterisk, HOST) as sink,
        dial_from_phone(pbx.asterisk, ("1001", SECRET), "*43", host=HOST, media_port=sink.port),
    ):
        wait_until(lambda: sum(sink.count_packets().values()) > 25, "the announcement")
        pbx.asterisk.cli("channel request hangup all")


def test_somebody_is_found_by_name(desk, pbx):
    with desk.phones(p1002={"steps": [Wait(0.5), HangUp()]}) as phones:
        assert desk.call(
            "03010072", Wait(2), Press("764"), Wait(6), Press("1"), AwaitBye(15), answer_timeout_s=60
        ).leg.is_answered
        assert rung(phones) == {"1002": 1}


def test_a_message_is_counted_and_0_leads_to_the_operator(desk, pbx):
    before = desk.ask("GET", "/api/v1/monitoring/voicemail/1005")
    desk.call("03010073", Wait(1), Press("#"), Wait(1.5), Speak(4), HangUp())
    path = "/api/v1/monitoring/voicemail/1005"
    desk.wait_for(path, lambda now: now["new"] == before["new"] + 1)
    desk.ask("GET", "/api/v1/monitoring/voicemail/4444", status=404)
    desk.call("03010073", Wait(1), Press("0"), Wait(4), HangUp())
    desk.wait_until_reached("207")
    box = "/api/v1/voicemail/1005/messages"
    message = desk.ask("GET", box)["items"][0]
    assert (message["folder"], message["duration_s"] >= 2) == ("INBOX", True)
    whole = desk.ask("GET", f"{box}/{message['id']}/audio")
    assert whole[:4] == b"RIFF"
    assert len(whole) == message["bytes"]
    assert desk.ask("GET", f"{box}/{message['id']}/download", status=206, Range="bytes=4-99") == whole[4:100]
    desk.ask("DELETE", f"{box}/{message['id']}", status=204)
    desk.ask("DELETE", f"{box}/{message['id']}", status=404)
    desk.wait_for(path, lambda now: now["new"] == before["new"])


def test_a_greeting_is_heard_from_the_upload_on_until_it_is_deleted(desk, tmp_path):
    path = "/api/v1/voicemail/1005/greetings"
    assert desk.ask("GET", path)["total"] == 0
    desk.ask("PUT", f"{path}/unavail", b"no audio", 422, Content_Type="audio/wav")
    tone = write_tone(tmp_path / "tone.wav", 1.0, rate=44100, channels=2).read_bytes()
    desk.ask("PUT", f"{path}/mine", tone, 404, Content_Type="audio/wav")
    greeting = desk.ask("PUT", f"{path}/unavail", tone, Content_Type="audio/wav")
    assert greeting["duration_s"] == pytest.approx(1.0, abs=0.05)
    assert desk.ask("GET", path)["items"] == [greeting]
    assert len(desk.ask("GET", f"{path}/unavail/audio")) == greeting["bytes"]
    desk.call("03010073", Wait(3), HangUp())
    desk.wait_for_line("Playing '", "/voicemail/tandem/1005/unavail.")
    assert desk.count_lines("Playing 'vm-theperson") == 0
    desk.ask("DELETE", f"{path}/unavail", status=204)
    desk.ask("DELETE", f"{path}/unavail", status=404)
    desk.call("03010073", Wait(3), HangUp())
    desk.wait_for_line("Playing 'vm-theperson")
    assert [one["target"] for one in desk.ask("GET", "/api/v1/audit?limit=2")["items"]] == [
        "voicemail/1005/greetings/unavail"
    ] * 2


def test_who_waits_hears_announcements_and_leaves_by_the_key_and_by_no_other(desk, pbx):
    """The member does not answer, so it pauses in all of its queues; the call is recorded from the first."""
    before = desk.count_recordings()
    with desk.phones(p1004={"ring_s": 30}) as phones:
        # app_queue hears of a phone's state later than `pjsip show contacts` shows it.
        shown = re.compile(r"PJSIP/1004\b.*\(Not in use\)")
        wait_until(lambda: shown.search(pbx.asterisk.cli("queue show shop")), "the queue's member is free")
        desk.call("03010074", Speak(7), Press("5"), Wait(1), Press("9"), Wait(1.5), HangUp())
        phones["1004"].wait_for("cancelled")
    desk.wait_until_reached("208")
    desk.wait_for_line("Playing 'beep.", "PJSIP/carrier-")
    desk.wait_for_line("Executing [9@tandem-queue-exit-9:1]")
    members = desk.ask("GET", "/api/v1/monitoring/agents")["items"]
    assert [(row["queue"], row["is_paused"]) for row in members] == [("shop", True)]
    desk.wait_for_recording(before)
