"""Calls outside from real phones over real trunks: which trunk they take, who is refused and hears so, PINs, and what works while Tandem is down."""

import re
from contextlib import closing, contextmanager

import pytest

from lab.observe import wait_until
from lab.pbx import LabPbx
from lab.rtp import RtpSink
from lab.sipp import (
    AwaitBye,
    Caller,
    HangUp,
    Press,
    SippFailed,
    Wait,
    dial_from_phone,
    place_calls,
    register_phones,
    run_phone,
)
from tandem.cli.control import _UnixConnection
from tests.asterisk.test_agents import read_event
from tests.asterisk.test_api import Site

pytestmark = pytest.mark.asterisk

SECRET = "swordfish-of-the-lab"
PHONE_HOST, FIRST, SECOND, HELP, SHAPED, WATCHED = (
    "127.0.0.3",
    "127.0.0.11",
    "127.0.0.12",
    "127.0.0.13",
    "127.0.0.14",
    "127.0.0.15",
)
PORT = 6000
BRIEFLY = (Wait(0.3), HangUp())
DOCUMENT = f"""
general: {{country: DE, outbound_trunk: second, toll_guard: {{denied_prefixes: ["+4930666*"]}}}}
trunks:
  - {{name: first, hosts: ["{FIRST}:{PORT}"]}}
  - {{name: second, hosts: ["{SECOND}:{PORT}"]}}
  - {{name: help, hosts: ["{HELP}:{PORT}"]}}
  - {{name: shaped, hosts: ["{SHAPED}:{PORT}"], numbers_out: national, prefix_out: "9", caller_id_rule: allowed, caller_ids: ["+4930999"],
     max_calls: 5}}
  - {{name: watched, hosts: ["{WATCHED}:{PORT}"], qualify_s: 2}}
  - {{name: double, hosts: ["{WATCHED}:{PORT}", "{SECOND}:{PORT}"], match: ["127.0.0.99"], qualify_s: 2}}
  - {{name: paced, hosts: ["{FIRST}:{PORT}"], match: ["127.0.0.98"], max_cps: 0.1}}
  - {{name: narrow, hosts: ["{FIRST}:{PORT}"], match: ["127.0.0.97"], max_calls: 1}}
  - {{name: secure, hosts: ["192.0.2.9:5061"], transport: tls, media_encryption: sdes, outbound_proxy: "192.0.2.8:5061", qualify_s: 0}}
outbound_routes:
  - {{name: special, patterns: ["+4932*", "+4420*", "0900*", "118*"], trunks: [shaped], static: yes, permission: national}}
  - {{name: mobile, patterns: ["+491[5-7]*"], trunks: [first], permission: international, position: 10}}
  - {{name: national, patterns: ["+4930*", "_9X."], strip: 1, prepend: "+49", trunks: [first, second], static: yes}}
  - {{name: neighbours, countries: [FR, CH], trunks: [second]}}
  - {{name: shut, patterns: ["0800555*"], trunks: [first], schedule: never}}
  - {{name: secret, patterns: ["0700555*"], trunks: [first], pin: "4711"}}
  - {{name: silent, patterns: ["+4938*"], trunks: [watched, second]}}
  - {{name: doubled, patterns: ["+4939*"], trunks: [double]}}
  - {{name: hasty, patterns: ["+4936*"], trunks: [paced, second]}}
  - {{name: crowded, patterns: ["+4937*"], trunks: [narrow, second]}}
  - {{name: quick, patterns: ["_0119"], trunks: [watched, help], strip: 1, emergency: yes}}
  - {{name: rescue, patterns: ["_0110", "+4930110"], trunks: [help, first], strip: 1, emergency: yes}}
schedules: [{{name: never}}]
endpoints:
  - {{extension: "1001", secret: {SECRET}, permissions: [internal, national, international]}}
  - {{extension: "1002", secret: {SECRET}, permissions: [internal, national]}}
  - {{extension: "1003", secret: {SECRET}, permissions: [internal, national], outbound_routes: [neighbours]}}
  - {{extension: "1004", secret: {SECRET}, permissions: [internal, national], toll_guard: {{max_calls_per_minute: 2, daily_minutes: 60}}}}
  - {{extension: "1005", secret: {SECRET}, permissions: [internal, national], toll_guard: {{max_calls: 1}}}}
  - {{extension: "1006", secret: {SECRET}, permissions: [internal, national]}}
  - {{extension: "1007", secret: {SECRET}, permissions: [internal, national], voicemail: "1007", toll_guard: {{max_calls_per_minute: 1}}}}
  - {{extension: "1008", secret: {SECRET}, permissions: [internal, national],
     follow_me: [{{number: "+33155501", confirm: no}}, {{number: "0895550100", confirm: no}}]}}
  - {{extension: "1009", secret: {SECRET}, permissions: [internal, national], toll_guard: {{countries: [DE], denied_prefixes: ["+4932555002"]}}}}
  - {{extension: "1010", secret: {SECRET}, permissions: [internal, national], toll_guard: {{premium: yes, allowed_prefixes: ["+4930666*"]}}}}
voicemail_boxes: [{{mailbox: "1007", pin: "4711"}}]
queues:
  - {{name: away, extension: "500", outside_members: [{{number: "+4932555009"}}], ring_time_s: 5, max_wait_s: 5, join_when_empty: yes,
     leave_when_empty: no, fallback: {{hangup: normal}}}}
dids:
  - {{number: "+4930100", destination: {{external: "+33155501"}}}}
""".replace("+491[5-7]*", "_+491[5-7].")


@pytest.fixture(scope="module")
def pbx(asterisk_install):
    with LabPbx(asterisk_install, DOCUMENT) as pbx:
        pbx.serve()
        wait_until_ready(pbx)
        yield pbx


def wait_until_ready(pbx):
    site = Site(pbx)
    site.wait_for("/api/v1/config/plan", lambda plan: plan["live"] == plan["head"] and not plan["files"], 60)
    site.wait_for("/health", lambda health: health["ready"], 60)


@pytest.fixture
def running(pbx):
    """Tandem is there, whatever the test before did to it."""
    if pbx.process.poll() is not None:
        pbx.serve()
        wait_until_ready(pbx)
    return pbx


@contextmanager
def far_end(pbx, host, **options):
    """A carrier that answers, or refuses."""
    with run_phone(pbx.asterisk, host=host, port=PORT, **{"ring_s": 0.1, "steps": BRIEFLY, **options}) as run:
        yield run


def dial(pbx, number, extension="1001", steps=(), media_port=None):
    """A phone dials: its leg, and the Dial()s of Asterisk."""
    mark = len(pbx.asterisk.read_log())
    with dial_from_phone(pbx.asterisk, (extension, SECRET), number, steps=steps, media_port=media_port) as run:
        (leg,) = run.wait(timeout_s=90).legs
    wait_until(lambda: "0 active channels" in pbx.asterisk.cli("core show channels count"), "the end of the call")
    log = pbx.asterisk.read_log()[mark:]
    return leg, [found.partition(",")[0] for found in re.findall(r'Dial\("[^"]*", "PJSIP/([^"]*)"\)', log)]


class TestRoutes:
    def test_the_second_trunk_takes_what_the_first_cannot(self, running):
        with far_end(running, FIRST, refuse=503), far_end(running, SECOND):
            leg, dials = dial(running, "+4930555001")
        assert (leg.is_answered, dials) == (True, ["+494930555001@first", "+494930555001@second"])

    def test_a_first_trunk_that_was_heard_already_and_fails_leaves_the_call_to_the_second(self, running):
        """A carrier that plays its "all lines are busy" before it refuses: the caller's phone is in early media by then."""
        with far_end(running, FIRST, refuse=503, early_media=True, ring_s=1) as carrier, far_end(running, SECOND):
            leg, dials = dial(running, "+4930555001")
            assert [one.at_ms("refused") is not None for one in carrier.read_legs()] == [True]
        assert (leg.is_answered, dials) == (True, ["+494930555001@first", "+494930555001@second"])
        assert "progress" in {event.word for event in leg.events}

    def test_a_first_trunk_that_works_is_the_only_one(self, running):
        with far_end(running, FIRST), far_end(running, SECOND):
            leg, dials = dial(running, "930555002")
        assert (leg.is_answered, dials) == (True, ["+4930555002@first"])

    def test_a_trunk_that_has_had_its_calls_for_now_leaves_the_next_to_the_second(self, running):
        with far_end(running, FIRST), far_end(running, SECOND):
            calls = [dial(running, f"03655500{n}") for n in range(3)]
        assert [leg.is_answered for leg, _ in calls] == [True] * 3
        assert [trunk for _, (trunk,) in calls] == ["036555000@paced", "036555001@second", "036555002@second"]

    def test_a_trunk_that_is_full_leaves_the_next_call_to_the_second(self, running):
        with (
            far_end(running, FIRST, steps=[AwaitBye(30)]) as carrier,
            far_end(running, SECOND),
            dial_from_phone(running.asterisk, ("1002", SECRET), "037555001", steps=(Wait(3), HangUp())) as first,
        ):
            carrier.wait_for("answered")
            leg, dials = dial(running, "037555002")
            assert (leg.is_answered, dials) == (True, ["037555002@second"])
            assert first.wait(timeout_s=30).legs[0].is_answered

    def test_a_carrier_that_has_gone_silent_delays_no_call_and_no_cry_for_help(self, running):
        def know(contact, state):
            pattern = rf"{contact}\S+ +\w+ +{state}"
            wait_until(lambda: re.search(pattern, running.asterisk.cli("pjsip show contacts")), f"{contact} {state}")

        # Each contact is asked by itself: the trunk of two hosts knows of its first one in its own time.
        for contact in ("watched/", "double/"):
            know(contact, "Unavail")
        with far_end(running, SECOND), far_end(running, HELP):
            know(r"double\.2/", "Avail")
            for number, dials in (
                ("038555001", ["038555001@watched", "038555001@second"]),
                ("039555001", ["039555001@double"]),  # its second host
                ("0119", ["119@watched", "119@help"]),
            ):
                leg, dialled = dial(running, number)
                assert (leg.is_answered, dialled) == (True, dials)
                assert leg.at_ms("answered") < 3000

    @pytest.mark.parametrize("refuse", [486, 404])
    def test_a_busy_or_unknown_number_is_no_reason_for_another_trunk(self, running, refuse):
        with far_end(running, FIRST, refuse=refuse), far_end(running, SECOND):
            leg, dials = dial(running, "930555003")
        assert (leg.is_answered, len(dials)) == (False, 1)

    def test_a_country_has_its_route_however_it_is_dialled(self, running):
        with far_end(running, SECOND):
            assert [dial(running, number)[1] for number in ("0033155501", "+41445550100")] == [
                ["0033155501@second"],
                ["+41445550100@second"],
            ]

    def test_what_no_route_has_goes_over_the_outbound_trunk(self, running):
        with far_end(running, SECOND):
            leg, dials = dial(running, "0895550100", "1002")
        assert (leg.is_answered, dials) == (True, ["0895550100@second"])

    def test_a_did_that_leads_outside_takes_the_route(self, running):
        mark = len(running.asterisk.read_log())
        with far_end(running, SECOND), place_calls(running.asterisk, [Caller("+4930100")], host=FIRST) as run:
            (leg,) = run.wait().legs
        assert leg.is_answered
        assert "+33155501@second" in running.asterisk.read_log()[mark:]


class TestRefusals:
    @pytest.mark.parametrize(
        ("number", "extension"),
        [
            ("015155501", "1002"),  # mobile needs the permission international
            ("0895550100", "1003"),  # none of its routes
            ("0800555100", "1001"),  # closed
        ],
    )
    def test_a_forbidden_call_is_refused_with_a_word(self, running, number, extension):
        with far_end(running, FIRST), far_end(running, SECOND), RtpSink(running.asterisk, PHONE_HOST) as sink:
            leg, dials = dial(running, number, extension, media_port=sink.port)
            assert sum(sink.count_packets().values()) > 25
        assert (leg.refusal, dials) == (403, [])


class TestPins:
    def test_the_right_pin_lets_the_call_out(self, running):
        with far_end(running, FIRST):
            leg, dials = dial(running, "0700555100", steps=(Wait(1), Press("4711")))
        assert (leg.is_answered, dials) == (True, ["0700555100@first"])

    def test_a_wrong_pin_does_not_and_the_second_try_may(self, running):
        with far_end(running, FIRST):
            _, dials = dial(running, "0700555100", steps=(Wait(1), Press("1234"), Wait(1.5), Press("4711")))
            assert dials == ["0700555100@first"]
            wrong = (Wait(1), Press("1234"), Wait(1.5), Press("1111"), Wait(1.5), Press("2222"))
            leg, dials = dial(running, "0700555100", steps=wrong)
        assert (leg.ended_by, dials) == ("them", [])
        (log,) = re.findall(r"CALL outbound .*the PIN is wrong.*", running.read_log())[-1:]
        assert "4711" not in log
        assert "1111" not in log


class TestExplain:
    def test_it_says_what_a_call_does(self, running):
        found = running.ask("route", "explain", "930555001", "--endpoint", "1001")
        assert found["destination"] == "+4930555001 over first, then +4930555001 over second"
        refused = running.tandem("route", "explain", "0033155501", "--endpoint", "1002", check=False)
        assert (refused.returncode, "needs the permission international" in refused.stdout) == (1, True)
        shown = Site(running).ask("GET", "/api/v1/routes/explain?did=0110&endpoint=1003")
        assert shown["destination"] == "0110 over help, then first, then second"


def test_a_trunk_gets_numbers_and_callers_as_it_wants_them(running):
    mark = len(running.asterisk.read_log())
    with far_end(running, SHAPED):
        assert [dial(running, number, "1002")[1] for number in ("032555001", "+4420555001")] == [
            ["9032555001@shaped"],
            ["9004420555001@shaped"],
        ]
    assert "CALLERID(num)=+4930999" in running.asterisk.read_log()[mark:]


def test_a_trunk_over_tls_is_there_with_its_proxy_and_srtp(running):
    shown = running.asterisk.cli("pjsip show endpoint secure")
    assert re.search(r"media_encryption +: sdes", shown)
    assert re.search(r"outbound_proxy +: sip:192\.0\.2\.8:5061;lr;transport=tls", shown)
    assert "sip:192.0.2.9:5061;transport=tls" in running.asterisk.cli("pjsip show aor secure")


def test_a_wrong_password_registers_nobody(running):
    def register(secret):
        register_phones(running.asterisk, [("1003", secret)], host=PHONE_HOST, port=5074)

    with pytest.raises(SippFailed, match="0 of 1 phones"):
        register("not-swordfish")
    assert "1003/sip:" not in running.asterisk.cli("pjsip show contacts")
    register(SECRET)
    assert "1003/sip:" in running.asterisk.cli("pjsip show contacts")


class TestTollGuard:
    @pytest.mark.parametrize("number", ["09001234567", "030666123", "11833"])
    def test_premium_and_denied_numbers_stay_inside(self, running, number):
        with far_end(running, FIRST), far_end(running, SECOND):
            leg, dials = dial(running, number)
        assert (leg.refusal, dials) == (403, [])
        assert "toll guard: " in running.read_log()

    def test_who_calls_too_often_is_locked_until_a_person_unlocks_also_over_a_restart(self, running):
        with far_end(running, FIRST), far_end(running, SECOND):
            assert [len(dial(running, "030555001", "1004")[1]) for _ in range(3)] == [1, 1, 0]
            (locked,) = [row for row in running.ask("guard", "list") if row["locked_at"]]
            assert (locked["scope"], locked["calls"]) == ("endpoint/1004", 2)
            assert "within a minute" in locked["reason"]
            wait_until(
                lambda: "tandem-lock/endpoint/1004" in running.asterisk.cli("database show tandem-lock"),
                "the dialplan's lock",
            )
            running.kill()
            # Nobody asks Tandem now: the dialplan has the lock itself.
            assert dial(running, "030555001", "1004")[1] == []
            running.serve()
            wait_until_ready(running)
            assert dial(running, "030555001", "1004")[1] == []
            running.tandem("guard", "unlock", "endpoint/1004")
            wait_until(
                lambda: "endpoint/1004" not in running.asterisk.cli("database show tandem-lock"),
                "the dialplan to be open",
            )
            leg, dials = dial(running, "030555001", "1004")
        assert (leg.is_answered, len(dials)) == (True, 1)
        # An hour a day, of which hardly anything is used: the call would be ended then.
        assert re.findall(r"30555001@first,120,iL\(3[56]\d\d000\)", running.asterisk.read_log())
        (entry,) = Site(running).ask("GET", "/api/v1/audit?action=toll_guard/unlock")["items"]
        assert entry["target"] == "toll_guard/endpoint/1004"
        assert running.tandem("guard", "unlock", "endpoint/1004", check=False).returncode == 1

    def test_no_more_calls_at_once_than_allowed(self, running):
        account = ("1005", SECRET)
        with (
            far_end(running, FIRST, steps=[AwaitBye(30)]) as carrier,
            dial_from_phone(running.asterisk, account, "030555001", steps=(Wait(2), HangUp())) as first,
        ):
            carrier.wait_for("answered")
            with dial_from_phone(running.asterisk, account, "030555002") as second:
                (leg,) = second.wait(timeout_s=30).legs
            assert leg.refusal == 503
            assert first.wait(timeout_s=30).legs[0].is_answered


def forward(pbx, extension, number):
    """As the dialplan finds it, whoever has put it there."""
    pbx.asterisk.cli(f"database put tandem-forward {extension} 0,{number},,,")


class TestForwards:
    """Whoever forwards dials: never further than the phone itself."""

    @pytest.mark.parametrize(
        ("number", "rule"),
        [
            ("09001234567", "the toll guard refuses it: 09001234567 is a premium number"),
            ("030666123", "pbx must not dial"),
            ("0033155501", "route neighbours needs the permission international"),
            ("0700555100", "route secret needs a PIN"),
            ("0110", "must not be an emergency number"),
        ],
    )
    def test_what_the_phone_may_not_dial_cannot_be_set(self, running, number, rule):
        refused = Site(running).ask("PATCH", "/api/v1/features/1006", {"forward_busy": number}, 422)
        assert rule in refused["error"]["problems"][0]["rule"]

    def test_nor_by_a_code(self, running):
        leg, _ = dial(running, "*7209001234567", "1006")
        assert leg.is_answered
        assert Site(running).ask("GET", "/api/v1/features/1006")["forward_always"] == ""

    def test_a_forward_goes_by_its_route_with_prefix_and_caller(self, running):
        Site(running).ask("PATCH", "/api/v1/features/1006", {"forward_always": "032555001"})
        mark = len(running.asterisk.read_log())
        with far_end(running, SHAPED):
            leg, dials = dial(running, "1006")
        assert (leg.is_answered, dials) == (True, ["9032555001@shaped"])
        assert "CALLERID(num)=+4930999" in running.asterisk.read_log()[mark:]

    @pytest.mark.parametrize("number", ["09001234567", "0033155501", "0700555100"])
    def test_a_forward_that_is_there_all_the_same_leads_nowhere(self, running, number):
        forward(running, "1006", number)
        with far_end(running, FIRST), far_end(running, SECOND):
            leg, dials = dial(running, "1006")
        assert (leg.is_answered, dials) == (False, [])

    def test_a_locked_phone_forwards_to_its_voicemail_alone(self, running):
        Site(running).ask("PATCH", "/api/v1/features/1007", {"forward_always": "030555001"})
        with far_end(running, FIRST), far_end(running, SECOND):
            assert dial(running, "1007")[1] == ["+4930555001@first"]
            mark = len(running.asterisk.read_log())
            leg, dials = dial(running, "1007", steps=(Wait(0.5), HangUp()))
        assert (leg.is_answered, dials) == (True, [])
        assert 'VoiceMail("' in running.asterisk.read_log()[mark:]

    def test_follow_me_leaves_out_what_the_phone_may_not_dial(self, running):
        with far_end(running, SECOND):
            leg, dials = dial(running, "1008")
        assert (leg.is_answered, dials) == (True, ["1008", "0895550100@second"])

    def test_a_queue_calls_its_members_outside_by_their_route_unless_it_is_locked(self, running):
        with far_end(running, SHAPED):
            assert dial(running, "500")[1] == ["9032555009@shaped"]
            running.asterisk.cli("database put tandem-lock trunk/shaped 1")
            try:
                assert dial(running, "500")[1] == []
            finally:
                running.asterisk.cli("database del tandem-lock trunk/shaped")


class TestWithoutTandem:
    """Last: it is killed."""

    def test_a_forward_takes_static_routes_alone_and_keeps_locks(self, pbx):
        pbx.kill()
        with far_end(pbx, SHAPED), far_end(pbx, FIRST), far_end(pbx, SECOND):
            forward(pbx, "1006", "032555001")
            assert dial(pbx, "1006")[1] == ["9032555001@shaped"]
            for number in ("0895550100", "0700555100"):
                forward(pbx, "1006", number)
                leg, dials = dial(pbx, "1006")
                assert (leg.is_answered, dials) == (False, [])
            leg, dials = dial(pbx, "1007", steps=(Wait(0.5), HangUp()))
        assert (leg.is_answered, dials) == (True, [])

    def test_emergency_calls_work_for_everybody_and_over_every_trunk(self, pbx):
        pbx.kill()
        with far_end(pbx, HELP):
            leg, dials = dial(pbx, "0110", "1003")
        assert (leg.is_answered, dials) == (True, ["110@help"])
        with far_end(pbx, HELP, refuse=486), far_end(pbx, FIRST):
            leg, dials = dial(pbx, "0110", "1003")
        assert (leg.is_answered, dials) == (True, ["110@help", "110@first"])
        with far_end(pbx, SECOND):
            assert dial(pbx, "112", "1003")[0].is_answered

    def test_the_dialplan_writes_numbers_and_callers_as_tandem_does(self, pbx):
        pbx.kill()
        test_a_trunk_gets_numbers_and_callers_as_it_wants_them(pbx)

    def test_static_routes_work_with_their_second_trunk_and_their_permissions(self, pbx):
        pbx.kill()
        with far_end(pbx, FIRST, refuse=503), far_end(pbx, SECOND):
            leg, dials = dial(pbx, "930555002", "1002")
            assert (leg.is_answered, dials) == (True, ["+4930555002@first", "+4930555002@second"])
            assert dial(pbx, "030555003", "1002")[1][0] == "+4930555003@first"
            leg, dials = dial(pbx, "930555002", "1003")
            assert (leg.refusal, dials) == (403, [])

    @pytest.mark.parametrize(
        ("number", "extension"),
        [
            ("09001234567", "1002"),
            ("11833", "1002"),
            ("030666123", "1002"),
            ("+4420555001", "1009"),
            ("032555002", "1009"),
            ("030666123", "1010"),
        ],
    )
    def test_a_static_route_lets_out_nothing_that_the_toll_guard_would_not(self, pbx, number, extension):
        pbx.kill()
        with far_end(pbx, FIRST), far_end(pbx, SHAPED):
            leg, dials = dial(pbx, number, extension)
        assert (leg.refusal, dials) == (403, [])

    def test_what_it_allows_goes_out(self, pbx):
        pbx.kill()
        with far_end(pbx, SHAPED):
            assert dial(pbx, "09001234567", "1010")[1] == ["909001234567@shaped"]
            assert dial(pbx, "11833", "1010")[1] == ["911833@shaped"]
            assert dial(pbx, "032555003", "1009")[1] == ["9032555003@shaped"]

    @pytest.mark.parametrize("number", ["0700555100", "0895550100"])
    def test_all_else_stays_inside(self, pbx, number):
        pbx.kill()
        with far_end(pbx, FIRST), far_end(pbx, SECOND):
            leg, dials = dial(pbx, number)
        assert (leg.refusal, dials) == (403, [])


class TestTrunkHealth:
    """After all others: Asterisk is started anew."""

    def test_it_is_known_again_after_asterisk_and_after_tandem_came_back(self, running):
        site = Site(running)

        def wait_for(state):
            found = site.wait_for(
                "/api/v1/monitoring/trunks",
                lambda page: next(one for one in page["items"] if one["trunk"] == "watched")["state"] == state,
                60,
            )
            return next(one for one in found["items"] if one["trunk"] == "watched")

        def read_gauge():
            metrics = site.ask("GET", "/metrics").decode()
            return re.findall(r'^tandem_trunk_up{trunk="watched"} (\S+)$', metrics, re.MULTILINE)

        with closing(_UnixConnection(site.socket, 90)) as listener:
            with far_end(running, WATCHED):
                (host,) = wait_for("up")["hosts"]
                assert (host["reach"], host["rtt_ms"] > 0, read_gauge()) == ("reachable", True, ["1.0"])
                listener.request("GET", "/api/v1/events?kinds=trunk")
                events = listener.getresponse()
            running.asterisk.restart()
            assert wait_for("down")["hosts"][0]["reach"] == "unreachable"
            assert read_gauge() == ["0.0"]
            # Unknown at first, until it was asked.
            told = {}
            while told.get("watched") != "down":
                event = read_event(events)
                told[event["trunk"]] = event["state"]
        with far_end(running, WATCHED):
            wait_for("up")
            running.kill()
            running.serve()
            wait_for("up")
            assert read_gauge() == ["1.0"]
