"""An agent of goAPI beside a real Asterisk: logs in, dials by hand, is listened to, hangs up and says what became of it; the counters know."""

import contextlib
import json
import sqlite3
from contextlib import ExitStack
from urllib.parse import urlencode

import pytest

from lab.observe import wait_until
from lab.pbx import LabPbx
from lab.rtp import RtpSink
from lab.sipp import PHONE_HOST, AwaitBye, HangUp, Press, Quiet, Speak, Wait, register_phones, run_phone
from tests.asterisk.test_api import Site, _UnixConnection

pytestmark = pytest.mark.asterisk

FAR, FAR_PORT, PHONE_PORT = "127.0.0.5", 5060, 5070
SECRET = "swordfish-of-the-lab"
PASSWORD = "the password of an agent"
DOCUMENT = f"""
general: {{country: DE, outbound_trunk: far}}
trunks: [{{name: far, hosts: ["{FAR}:{FAR_PORT}"], match: ["{FAR}"]}}]
endpoints:
  - {{extension: "1001", secret: {SECRET}}}
  - {{extension: "1009", secret: {SECRET}}}
queues:
  - {{name: sales, open_login: true, join_when_empty: true, leave_when_empty: false, fallback: {{hangup: normal}}}}
"""


class Door(Site):
    """goAPI, as a user of Tandem's calls it."""

    def __init__(self, pbx, user):
        super().__init__(pbx)
        self.user = user

    def call(self, module, action, /, **given):
        login = {"goUser": self.user, "goPass": PASSWORD, "goAction": action, "responsetype": "json"}
        connection = _UnixConnection(self.socket, 60)
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        connection.request("POST", f"/goAPIv2/{module}/goAPI.php", urlencode(login | given).encode(), headers)
        answer = json.loads(connection.getresponse().read())
        connection.close()
        return answer

    def do(self, module, action, /, **given):
        answer = self.call(module, action, **given)
        assert answer["result"] == "success", (module, action, answer)
        return answer

    def add_lead(self, campaign, list_id, phone_number, **more):
        """A list of the campaign with one lead."""
        self.do("goLists", "goAddList", list_id=list_id, list_name="Fair", campaign_id=campaign)
        given = {"phone_number": phone_number, **more}
        fields = [{"FieldName": name, "FieldValue": value} for name, value in given.items()]
        self.do("goUploadLeads", "goUploadMeJSON", list_id=list_id, leads=json.dumps([{"fields": fields}]))

    def lead(self, list_id):
        """(its number, its status)."""
        found = self.do("goGetLeads", "goGetLeads", list_filter=list_id)
        return found["phone_number"][0], found["status"][0]


@pytest.fixture(scope="module")
def pbx(asterisk_install):
    with LabPbx(asterisk_install, DOCUMENT) as pbx:
        pbx.serve()
        Site(pbx).wait_for("/api/v1/config/plan", lambda plan: plan["live"] == plan["head"] and not plan["files"], 60)
        register_phones(pbx.asterisk, [("1001", SECRET)], port=PHONE_PORT)
        register_phones(pbx.asterisk, [("1009", SECRET)], port=PHONE_PORT + 10)
        site = Site(pbx)
        for name, role, extension in (("boss", "admin", "1009"), ("ann", "user", "1001")):
            body = {"name": name, "password": PASSWORD, "role": role, "extension": extension}
            site.ask("POST", "/api/v1/users", body, 201)
        for name, group in (("nora", "north"), ("sue", "south")):
            site.ask("POST", "/api/v1/user-groups", {"name": group, "title": group}, 201)
            body = {"name": name, "password": PASSWORD, "role": "admin", "extension": "1009", "user_group": group}
            site.ask("POST", "/api/v1/users", body, 201)
        # As goAddPhones leaves a phone that is a group's own.
        with contextlib.closing(sqlite3.connect(pbx.folder / "tandem.db", timeout=20)) as db, db:
            db.execute("INSERT INTO object_groups (collection, name, user_group) VALUES ('endpoints', '1001', 'south')")
        yield pbx


def test_a_day_of_an_agent(pbx):
    boss, ann = Door(pbx, "boss"), Door(pbx, "ann")
    boss.do(
        "goCampaigns", "goAddCampaign", campaign_id="DAY00001", campaign_name="A day", campaign_type="OUTBOUND",
        dial_method="MANUAL", closer_campaigns="sales", active="Y",
    )  # fmt: skip
    boss.do("goPauseCodes", "goAddPauseCode", campaign_id="DAY00001", pause_code="LUNCH", pause_code_name="Lunch")
    boss.add_lead("DAY00001", "1001", "03012345", first_name="Cy")

    assert ann.do("goAgent", "goLoginUser", goCampaign="DAY00001")["data"]["ingroups"] == ["sales"]
    assert boss.do("goDashboard", "goGetTotalAgentsWaitCalls")["data"] == 1
    assert ann.call("goAgent", "goPauseCodeSubmit", goCampaign="DAY00001", goPauseCode="NOPE")["result"] == "error"
    ann.do("goAgent", "goPauseCodeSubmit", goCampaign="DAY00001", goPauseCode="LUNCH")
    (row,) = boss.do("goDashboard", "goGetRealtimeAgentsMonitoring")["data"]
    assert (row["vla_user"], row["vla_status"], row["vla_pausecode"]) == ("ann", "PAUSED", "LUNCH")
    ann.do("goAgent", "goAutodialResumePause", goTask="READY")

    with (
        RtpSink(pbx.asterisk, PHONE_HOST) as ear,
        run_phone(pbx.asterisk, host=FAR, port=FAR_PORT, ring_s=0.2, steps=[Speak(30), AwaitBye(60)]) as customer,
        run_phone(pbx.asterisk, port=PHONE_PORT, ring_s=0.2, steps=[AwaitBye(60)]) as agent,
        run_phone(
            pbx.asterisk, port=PHONE_PORT + 10, ring_s=0.2, steps=[AwaitBye(60)], media_port=ear.port
        ) as supervisor,
    ):
        answer = boss.call("goBarging", "goMonitorAgent", goUserAgent="ann")
        assert answer["result"] == "Error: agent 1001 is in no call"
        dialled = ann.do("goAgent", "goManualDialNext", goCampaign="DAY00001")["data"]
        assert (dialled["phone_number"], dialled["first_name"]) == ("03012345", "Cy")
        look = lambda: [one["status"] for one in ann.do("goAgent", "goManualDialLookCall")["data"]["calls"]]  # noqa: E731
        wait_until(lambda: look() == ["INCALL"], "the agent to talk with the customer", timeout_s=30)
        assert boss.do("goBarging", "goGetAgentsOnCall")["user"] == ["ann"]
        assert boss.do("goDashboard", "goGetLiveOutbound")["data"] == 1
        assert ann.call("goBarging", "goMonitorAgent", goUserAgent="ann")["code"] == "10001"  # an agent may not
        # People of a group see and hear the agents of their own group, and nobody else's.
        nora, sue = Door(pbx, "nora"), Door(pbx, "sue")
        assert nora.call("goBarging", "goMonitorAgent", goUserAgent="ann")["code"] == "41004"
        for boss_of, count in ((nora, 0), (sue, 1)):
            assert len(boss_of.do("goBarging", "goGetAgentsOnCall")["user"]) == count
            assert len(boss_of.do("goDashboard", "goGetRealtimeAgentsMonitoring")["data"]) == count
            assert boss_of.do("goDashboard", "goGetTotalAgentsWaitCalls")["data"] == count

        placed = boss.do("goBarging", "goMonitorAgent", goUserAgent="ann")["data"]
        assert placed["phone_login"] == "1009"
        supervisor.wait_for("answered", timeout_s=30)
        wait_until(lambda: sum(ear.count_packets().values()) > 50, "the supervisor to hear the call", timeout_s=30)
        boss.ask("DELETE", f"/api/v1/calls/{placed['uniqueid']}", status=204)
        boss.do("goBarging", "goBarge", goUserAgent="1001", phone_login="1009", stage="WHISPER")
        supervisor.wait_for("answered", count=2, timeout_s=30)
        assert look() == ["INCALL"]  # neither has ended the call

        ann.do("goAgent", "goHangupCall")
        wait_until(lambda: look() == [], "the call to be over", timeout_s=30)
        # Whoever listened is let go with the call.
        wait_until(
            lambda: all(leg.ended_by for leg in supervisor.read_legs()), "the supervisor to be free", timeout_s=30
        )
        (leg,) = customer.read_legs()
        assert leg.is_answered

        # The customer is called again, and sent on to the supervisor: the agent is free.
        assert (
            ann.call("goAgent", "goXFERSendRedirect", goExtension="1009")["message"] == "there is no call to transfer"
        )
        again = ann.do("goAgent", "goManualDialOnly", goCampaign="DAY00001", goPhoneNumber="03012345")["data"]
        assert again["lead_id"] == dialled["lead_id"]  # the campaign has this number
        wait_until(lambda: look() == ["INCALL"], "the agent to talk with the customer again", timeout_s=30)
        assert ann.call("goAgent", "goXFERSendRedirect", goExtension="4711x")["result"] == "error"
        assert ann.call("goAgent", "goXFERSendRedirect", goGroupID="nobody")["result"] == "error"
        ann.do("goAgent", "goXFERSendRedirect", goExtension="1009")
        supervisor.wait_for("answered", count=3, timeout_s=30)
        wait_until(lambda: agent.read_legs()[-1].ended_by, "the agent to be free", timeout_s=30)
        assert customer.read_legs()[-1].ended_by is None
        boss.ask("DELETE", f"/api/v1/calls/{again['uniqueid']}", status=204)
        wait_until(lambda: look() == [], "the call to be over", timeout_s=30)

    answer = ann.call("goAgent", "goUpdateDispo", goLeadID=str(dialled["lead_id"]), goDispoChoice="NOPE")
    assert answer["result"] == "error"
    ann.do("goAgent", "goUpdateDispo", goLeadID=str(dialled["lead_id"]), goDispoChoice="SALE")
    assert boss.do("goDashboard", "goGetTotalSales")["data"] == 1
    assert boss.do("goDashboard", "goGetTotalDroppedCalls")["data"] == 0
    report = boss.do("goReports", "goExportCallReport", campaign_id="DAY00001")
    assert [row[1:4] for row in report["rows"]] == [["03012345", "answered", "1001"], ["03012345", "SALE", "1001"]]
    assert report["csv"].startswith("call_date,phone_number,status,user,")
    said = boss.do("goReports", "goGetDispoStats")
    assert (said["status"], said["count"], said["user"]) == (["SALE"], [1], ["1001"])
    assert boss.do("goGetLeads", "goGetLeadsInfo", lead_id=str(dialled["lead_id"]))["calls"][0]["status"] == "SALE"
    ann.do("goAgent", "goLogoutUser")
    assert boss.do("goDashboard", "goGetRealtimeAgentsMonitoring")["data"] == []
    heard = [one for one in boss.ask("GET", "/api/v1/audit?limit=100")["items"] if one["action"] == "agents/listen"]
    assert {one["target"] for one in heard} == {"agents/1001/listen/1009", "agents/1001/whisper/1009"}


# Who hears a supervisor who speaks: by stage, the customer and the agent.
HEARS = {"LISTEN": (False, False), "WHISPER": (False, True), "BARGE": (True, True)}


@pytest.mark.parametrize("ear", ["customer", "agent"])
def test_who_hears_a_supervisor(pbx, ear):
    """One side of the call is silent on its line, the other one hears: RTP goes back to whoever sends some, so nobody can do both."""
    boss, ann = Door(pbx, "boss"), Door(pbx, "ann")
    code, list_id = f"EAR{ear[:1]}0001".upper().ljust(8, "0"), {"customer": "1002", "agent": "1003"}[ear]
    boss.do(
        "goCampaigns", "goAddCampaign", campaign_id=code, campaign_name="Ears", campaign_type="OUTBOUND", dial_method="MANUAL",
        closer_campaigns="sales", active="Y",
    )  # fmt: skip
    boss.add_lead(code, list_id, "03012346")
    ann.do("goAgent", "goLoginUser", goCampaign=code)
    silent = {"steps": [Quiet(120), AwaitBye(60)]}
    with ExitStack() as stack:
        sink = stack.enter_context(RtpSink(pbx.asterisk, FAR if ear == "customer" else PHONE_HOST))
        hears = {"steps": [AwaitBye(180)], "media_port": sink.port}
        far, phone = (hears, silent) if ear == "customer" else (silent, hears)
        stack.enter_context(run_phone(pbx.asterisk, host=FAR, port=FAR_PORT, ring_s=0.2, **far))
        stack.enter_context(run_phone(pbx.asterisk, port=PHONE_PORT, ring_s=0.2, **phone))
        supervisor = stack.enter_context(
            run_phone(pbx.asterisk, port=PHONE_PORT + 10, ring_s=0.2, steps=[Speak(60), AwaitBye(60)])
        )
        ann.do("goAgent", "goManualDialNext", goCampaign=code)
        look = lambda: [one["status"] for one in ann.do("goAgent", "goManualDialLookCall")["data"]["calls"]]  # noqa: E731
        wait_until(lambda: look() == ["INCALL"], "the agent to talk with the customer", timeout_s=30)
        for count, (stage, heard) in enumerate(HEARS.items(), 1):
            placed = boss.do("goBarging", "goBarge", goUserAgent="ann", stage=stage)["data"]
            supervisor.wait_for("answered", count=count, timeout_s=30)
            wait_until(lambda: "ChanSpy" in pbx.asterisk.cli("core show channels"), "the supervisor to be on the call")
            before, packets = sink.count_loud(), sum(sink.count_packets().values())
            if heard[0 if ear == "customer" else 1]:
                wait_until(lambda: sink.count_loud() > before + 25, f"{ear} to hear {stage}", timeout_s=20)  # noqa: B023
            else:
                wait_until(lambda: sum(sink.count_packets().values()) > packets + 75, "a second and a half of the line")  # noqa: B023
                assert sink.count_loud() - before < 5, stage
            boss.ask("DELETE", f"/api/v1/calls/{placed['uniqueid']}", status=204)
            wait_until(lambda: "ChanSpy" not in pbx.asterisk.cli("core show channels"), "the supervisor to be gone")
        assert look() == ["INCALL"]
        ann.do("goAgent", "goHangupCall")
        wait_until(lambda: look() == [], "the call to be over", timeout_s=30)
    heard = {one["target"] for one in boss.ask("GET", "/api/v1/audit?limit=100")["items"]}
    assert {f"agents/1001/{stage.lower()}/1009" for stage in HEARS} <= heard
    ann.do("goAgent", "goLogoutUser")
    boss.do("goCampaigns", "goDeleteCampaign", campaign_id=code)


def test_a_survey_campaign_brings_whoever_presses_a_key_to_an_agent_of_its_own_in_group(pbx):
    boss, ann = Door(pbx, "boss"), Door(pbx, "ann")
    # No in-group is named: the campaign gets one, which every agent may log in to.
    boss.do(
        "goCampaigns", "goAddCampaign", campaign_id="PRESS001", campaign_name="Press one", campaign_type="SURVEY", survey_type="PRESS1",
        survey_first_audio_file="hello-world", no_channels="1",
    )  # fmt: skip
    boss.add_lead("PRESS001", "1004", "03012347")
    assert ann.do("goAgent", "goLoginUser", goCampaign="PRESS001")["data"]["ingroups"] == ["CPRESS001"]
    with (
        run_phone(
            pbx.asterisk, host=FAR, port=FAR_PORT, ring_s=0.2, steps=[Wait(1), Press("1", "info"), AwaitBye(60)]
        ) as people,
        run_phone(pbx.asterisk, port=PHONE_PORT, ring_s=0.2, steps=[Wait(1), HangUp()]) as agent,
    ):
        boss.do("goCampaigns", "goEditCampaign", campaign_id="PRESS001", active="Y")
        agent.wait_for("answered", timeout_s=60)
        people.wait_for("bye", timeout_s=60)
    survey_id = boss.do("goCampaigns", "goGetCampaignInfo", campaign_id="PRESS001")["data"]["survey_id"]
    site = Site(pbx)
    page = site.wait_for(f"/api/v1/surveys/{survey_id}/answers", lambda page: page["items"])
    assert [(one["question"], one["value"], one["phone_number"]) for one in page["items"]] == [
        ("press", "1", "03012347"),
    ]  # fmt: skip
    assert site.wait_for(f"/api/v1/surveys/{survey_id}/counts", lambda counts: counts["outcomes"].get("transferred"))
    ann.do("goAgent", "goLogoutUser")
    wait_until(lambda: boss.lead("1004")[1] != "INCALL", "the call to be over", timeout_s=30)
    boss.do("goCampaigns", "goDeleteCampaign", campaign_id="PRESS001")
    site.ask("GET", f"/api/v1/surveys/{survey_id}", status=404)


def test_a_prefix_is_dialled_and_a_machine_is_told_so(pbx):
    boss = Door(pbx, "boss")
    boss.do(
        "goCampaigns", "goAddCampaign", campaign_id="AMD00001", campaign_name="Machines", campaign_type="OUTBOUND", dial_method="RATIO",
        auto_dial_level="1", closer_campaigns="sales", answering_machine_detection="8369", dial_prefix="CUSTOM", custom_prefix="9",
        active="N",
    )  # fmt: skip
    boss.add_lead("AMD00001", "1005", "03012348")
    ann = Door(pbx, "ann")
    ann.do("goAgent", "goLoginUser", goCampaign="AMD00001")
    with (
        run_phone(pbx.asterisk, port=PHONE_PORT, ring_s=0.2, steps=[AwaitBye(60)]) as agent,
        run_phone(
            pbx.asterisk, host=FAR, port=FAR_PORT, ring_s=0.2, steps=[Speak(3), Quiet(20), AwaitBye(60)]
        ) as machine,
    ):
        boss.do("goCampaigns", "goEditCampaign", campaign_id="AMD00001", active="Y")
        (leg,) = machine.wait_for("bye", timeout_s=60)
        assert leg.called == "903012348"
        wait_until(lambda: boss.lead("1005") == ("03012348", "AA"), "the machine to be noted", timeout_s=30)
        assert agent.read_legs() == ()
    counts = boss.do("goCampaigns", "goGetCampaignInfo", campaign_id="AMD00001")["counts"]
    assert (counts["machine_calls"], counts["abandoned_calls"], counts["connected_calls"]) == (1, 0, 0)
    ann.do("goAgent", "goLogoutUser")
