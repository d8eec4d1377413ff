"""Route tests of a PBX: where calls come to, by opening hours, keys and lists, and what a failing one says."""

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings

from tandem.document import DocumentError, read_document, write_document
from tandem.domain.changes import ApplyRefused
from tandem.domain.route_tests import refuse_failing, run_route_tests
from tandem.domain.snapshot import build_snapshot
from tests.strategies import pbxes

PBX = """
general: {country: DE, time_zone: Europe/Berlin, blocked_callers: [+15550199*]}
trunks: [{name: carrier, hosts: [sip.carrier.example], numbers: national}]
endpoints: [{extension: 1000, secret: 0123456789}, {extension: 1001, secret: 0123456789, voicemail: 1001}]
voicemail_boxes: [{mailbox: 1001, pin: 2580}]
schedules: [{name: office, hours: [{days: mon-fri, start: 09:00, end: 17:00}], holidays: [2026-12-24]}]
announcements: [{name: closed, prompts: [vm-goodbye], then: {announcement: bye}}, {name: bye, prompts: [vm-goodbye], then: {voicemail: 1001}}]
menus:
  - name: main
    prompts: [hello]
    direct_dial: true
    options: {1: {queue: sales}, 2: {menu: second}, 3: {did: +49302}, 12: {endpoint: 1001}}
    timeout_retries: 1
    invalid_retries: 0
    invalid: {hangup: busy}
    timeout: {endpoint: 1000}
    fallback: {hangup: busy}
  - {name: second, prompts: [hello], options: {5: {announcement: closed}}, invalid: {menu: main}, timeout: {hangup: normal}, fallback: {hangup: busy}}
queues:
  - {name: sales, schedule: office, closed: {announcement: closed}, fallback: {voicemail: 1001}}
dids:
  - {number: +49301, destination: {schedule: office, open: {menu: main}, closed: {voicemail: 1001, instructions: no}}}
  - {number: +49302, destination: {queue: sales}}
  - {number: +49303, destination: {menu: main}}
  - {number: +49304, destination: {agent: 1000, unavailable: {voicemail: 1001}}}
  - {number: +49305, active: no, destination: {queue: sales}}
  - {number: +49306, destination: {external: +15550100, trunk: carrier}}
expect:
  - """
MONDAY, NIGHT = "2026-11-23T10:00", "2026-11-23T20:00"


def run(expectation):
    (test,) = run_route_tests(build_snapshot(1, read_document(PBX + expectation)))
    return test.problem


@pytest.mark.parametrize(
    "passing",
    [
        f"{{did: +49301, at: {MONDAY}, destination: {{menu: main}}}}",
        f"{{did: 0049301, trunk: carrier, at: {NIGHT}, destination: {{voicemail: 1001}}}}",
        "{did: +49301, at: 2026-12-24T10:00, destination: {voicemail: 1001}}",
        # 16:30 in Berlin; 22:30 in Kathmandu's time is 17:45 in Berlin.
        "{did: +49301, at: 2026-11-23T15:30Z, destination: {menu: main}}",
        "{did: +49301, at: '2026-11-23 22:30:00+05:45', destination: {voicemail: 1001}}",
        f"{{did: +49301, at: {MONDAY}, keys: 1, destination: {{queue: sales}}}}",
        f"{{did: +49303, at: {MONDAY}, keys: [3], destination: {{queue: sales}}}}",
        f"{{did: +49303, at: {NIGHT}, keys: [1], destination: {{announcement: closed}}}}",
        f"{{did: +49303, at: {NIGHT}, keys: [1], destination: {{voicemail: 1001}}}}",
        "{did: +49303, keys: [12], destination: {endpoint: 1001}}",
        "{did: +49303, keys: 1001, destination: {endpoint: 1001}}",
        "{did: +49303, keys: [2, 5], destination: {announcement: bye}}",
        # Typed ahead: 2 is complete at once, 5 is for the next menu.
        "{did: +49303, keys: 25, destination: {announcement: closed}}",
        "{did: +49303, keys: ['', 2], destination: {menu: second}}",
        "{did: +49303, keys: ['', ''], destination: {endpoint: 1000}}",
        "{did: +49303, keys: [9], destination: {hangup: busy}}",
        "{did: +49303, keys: [2, 7, 7, 7, 12], destination: {endpoint: 1001}}",
        "{did: +49304, destination: {agent: 1000, unavailable: {hangup: busy}}}",
        "{did: +49305, destination: {hangup: unallocated}}",
        "{did: +49309, destination: {hangup: unallocated}}",
        "{did: +49306, from: +15550100, destination: {external: +15550100, trunk: carrier}}",
        "{did: +49306, from: +15550199123, destination: {hangup: rejected}}",
    ],
)
def test_passes(passing):
    assert run(passing) == ""


@pytest.mark.parametrize(
    ("failing", "problem"),
    [
        (f"{{did: +49302, at: {MONDAY}, destination: {{queue: sales}}, keys: 1}}", "comes to queue sales, where nobody hears the keys 1"),
        (f"{{did: +49301, at: {MONDAY}, destination: {{queue: sales}}}}",
         "comes to menu main, not to queue sales: DID +49301; schedule office: open; menu main"),
        (f"{{did: +49302, at: {NIGHT}, destination: {{queue: sales}}}}",
         "comes to voicemail 1001, not to queue sales: DID +49302; queue sales; queue sales is closed, so announcement closed"),
        ("{did: +49301, destination: {menu: main}}", "depends on schedule office: say when, as in `at: 2026-12-24T10:30`"),
        ("{did: +49302, destination: {queue: sales}}", "depends on schedule office: say when, as in `at: 2026-12-24T10:30`"),
        ("{did: +49309, destination: {queue: sales}}", "comes to hang up (unallocated) (no DID matches), not to queue sales: no DID for 49309"),
        ("{did: +49303, keys: 12, destination: {queue: sales}}",
         "comes to endpoint 1001, not to queue sales: DID +49303; menu main; menu main: pressed 12; endpoint 1001"),
        # What a caller heard before the last key is not where the call came to.
        ("{did: +49303, keys: [2, 5], destination: {menu: second}}", "comes to voicemail 1001, not to menu second: DID +49303; "),
    ],
)  # fmt: skip
def test_fails_with_the_reason(failing, problem):
    assert run(failing).startswith(problem)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ("{did: +49301, destination: {did: +49302}}", "expect[0].destination: must be where the call comes to an end"),
        ("{did: +49301, destination: {queue: sale}}", "expect[0].destination.queue: there is no queue 'sale'; did you mean sales?"),
        ("{did: +49301, trunk: carier, destination: {menu: main}}", "expect[0].trunk: there is no trunk 'carier'; did you mean carrier?"),
        ("{did: +49301, at: monday, destination: {menu: main}}", "expect[0].at: 'monday' must be a time such as 2026-12-24T10:30"),
        ("{did: +49301, at: 2026-02-30T10:30, destination: {menu: main}}", "expect[0].at: '2026-02-30T10:30' day "),
        ("{did: +49301, keys: [a], destination: {menu: main}}", "expect[0].keys[0]: 'a' must be keys of a telephone"),
        ("{did: +49301, frm: 1, destination: {menu: main}}", "expect[0].frm: is not a known key"),
        ("{did: +49301, from: x, destination: {menu: main}}", "expect[0].from: 'x' must be 1 to 24 digits"),
        ("{did: +49303, destination: {menu: main}}\n  - {did: +49303, destination: {queue: sales}}", "expect[1]: asks the same as expect[0]"),
    ],
)  # fmt: skip
def test_a_wrong_one_is_refused_with_its_place(wrong, told):
    with pytest.raises(DocumentError) as error:
        read_document(PBX + wrong)
    assert told in str(error.value).splitlines()[0]


def test_it_is_written_as_it_was_read():
    pbx = read_document(
        PBX + "{did: +49301, from: +15550100, at: 2026-11-23 10:00, keys: ['', 2], destination: {menu: second}}"
    )
    written = write_document(pbx)
    assert read_document(written) == pbx
    assert 'from: "+15550100"' in written
    assert 'keys: ["", "2"]' in written
    (expectation,) = pbx.expect
    assert expectation.question == "+49301 from +15550100 at 2026-11-23 10:00, keys none, 2"


def test_all_that_fail_are_told_at_once():
    pbx = read_document(PBX + "{did: +49303, destination: {queue: sales}}\n  - {did: +49306, destination: {queue: sales}}\n"
                        "  - {did: +49303, keys: 2, destination: {menu: second}}")  # fmt: skip
    with pytest.raises(ApplyRefused) as refused:
        refuse_failing(build_snapshot(1, pbx))
    assert [it.object for it in refused.value.problems] == ["expect +49303", "expect +49306"]
    assert "calls would not go where the route tests expect them: expect +49303: comes to menu main" in str(
        refused.value
    )
    refuse_failing(build_snapshot(1, replace(pbx, expect=())))


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(pbxes())
def test_every_pbx_has_an_answer_for_every_test(pbx):
    """Whatever is asked, a call comes to its end and the answer is in words."""
    for test in run_route_tests(build_snapshot(1, pbx)):
        assert test.steps
        assert not test.problem or test.problem.startswith(("comes to", "depends on", "is still"))
