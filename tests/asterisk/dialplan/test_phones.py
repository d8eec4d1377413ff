"""What our phones may dial: emergency numbers always, outside and inside as far as they are allowed, also when they transfer."""

import re
from concurrent.futures import ThreadPoolExecutor

import phonenumbers
import pytest
from phonenumbers import PhoneNumberType

from lab.sipp import Caller, HangUp, Wait, place_calls, run_phone
from tandem.domain.dialling import find_region
from tandem.domain.regions import REGIONS_BY_CODE
from tests.asterisk.dialplan.bare import EMERGENCY, OUTSIDE, PHONE_1001, PHONE_1003, Pbx22, frozen_agi, wait_until


@pytest.mark.asterisk
def test_emergency_calls_pass_a_frozen_tandem_and_have_a_second_trunk(pbx: Pbx22) -> None:
    with frozen_agi(pbx):
        with run_phone(pbx.asterisk, host=EMERGENCY, port=5060) as desk:
            leg, story = pbx.call_one("112", host=PHONE_1003)  # a phone without any permission
            desk.wait_for("answered")
        assert leg.is_answered
        assert story.data("AGI") == []
        assert story.data("ExecIf")[0] == "1?Dial(PJSIP/112@emergency,,i)"
        assert leg.at_ms("answered") < 2000
        with (
            run_phone(pbx.asterisk, host=EMERGENCY, port=5060, refuse=503),
            run_phone(pbx.asterisk, host=OUTSIDE, port=5060) as second,
        ):
            leg, _ = pbx.call_one("*110", host=PHONE_1003)
            second.wait_for("answered")
        assert leg.is_answered


@pytest.mark.asterisk
def test_what_a_phone_may_dial_outside(pbx: Pbx22) -> None:
    numbers = ("0301", "+49301", "0049301")
    with run_phone(pbx.asterisk, host=OUTSIDE, port=5060) as outside:
        legs, stories = pbx.call(*numbers, host=PHONE_1001, steps=(Wait(0.5), HangUp()))
        assert len(outside.wait_for("bye", count=3)) == 3
    assert sorted(dial for story in stories for dial in story.data("Dial")) == sorted(
        f"PJSIP/{number}@outside,120,i" for number in numbers
    )
    assert all(leg.is_answered for leg in legs)


@pytest.mark.asterisk
def test_what_a_phone_may_not_dial(pbx: Pbx22) -> None:
    # A phone without any permission at the same time: the prompts take their time.
    with place_calls(pbx.asterisk, [Caller("0301"), Caller("1001"), Caller("4000")], host=PHONE_1003) as without:
        legs, stories = pbx.call("+44301", "0044301", "*71", "0301%0d%0ax", host=PHONE_1001)
        assert sorted(leg.refusal for leg in legs) == [403, 403, 404, 404]
        assert [leg.refusal for leg in without.wait().legs] == [403, 403, 403]
    assert len(stories) == 7
    assert not [dial for story in stories for dial in story.data("Dial")]


@pytest.mark.asterisk
@pytest.mark.parametrize(
    ("called", "outcome"),
    [("4000", ""), ("1002", "VoiceMail"), ("*97", "VoiceMailMain")],
)
def test_what_a_phone_dials_inside(pbx: Pbx22, called: str, outcome: str) -> None:
    leg, story = pbx.call_one(called, host=PHONE_1001, steps=(Wait(1), HangUp()))
    assert leg.is_answered
    assert story.data(outcome) if outcome else story.reached == "502"


@pytest.mark.asterisk
def test_premium_numbers_stay_inside_without_tandem(pbx: Pbx22) -> None:
    numbers = ("09001234567", "0137912345678", "+4909001234567", "00499001234567", "11833")
    legs, stories = pbx.call(*numbers, host=PHONE_1001)
    assert [leg.refusal for leg in legs] == [403] * len(numbers)
    assert not [dial for story in stories for dial in story.data("Dial")]


@pytest.mark.asterisk
def test_asterisk_reads_the_tables_of_countries_as_we_do(pbx: Pbx22) -> None:
    """The longest expressions of all, and every country that shares its calling code."""
    shared = [region for known in REGIONS_BY_CODE.values() if len(known) > 1 for region in known]
    examples = [phonenumbers.example_number_for_type(region, PhoneNumberType.FIXED_LINE) for region in shared]
    examples += [
        phonenumbers.example_number_for_type(region, PhoneNumberType.PREMIUM_RATE)
        for region in ("DE", "GB", "US", "IT", "FR")
    ]
    numbers = [f"{found.country_code}{phonenumbers.national_significant_number(found)}" for found in examples if found]
    mark = len(pbx.asterisk.read_log())
    for number in numbers:
        pbx.asterisk.cli(f"channel originate Local/R{number}@own/n application NoOp")

    def read() -> dict[str, str]:
        return dict(re.findall(r'NoOp\("[^"]*", "(\d+) is (.*)\."\)', pbx.asterisk.read_log()[mark:]))

    wait_until(lambda: len(read()) == len(set(numbers)))
    regions = {number: find_region(f"+{number}", None) for number in numbers}
    assert read() == {number: f"{it.country}/{'premium' if it.is_premium else ''}" for number, it in regions.items()}


# ---------------------------------------------------------------------------------------------- both sides


@pytest.mark.asterisk
@pytest.mark.parametrize(
    ("called", "step"),
    [
        ("4000", ("Gosub", "tandem-enter,menu,1(main,0,,,,)")),
        ("08005551", ("Dial", "PJSIP/08005551@outside,120,i")),
        ("0014155550100", ("GotoIf", "0?external:refused")),  # where 1001 may not dial, it may send nobody
    ],
)
def test_a_phone_hands_a_caller_on_as_far_as_it_may_dial_itself(pbx: Pbx22, called: str, step: tuple[str, str]) -> None:
    """A blind transfer runs on the caller's channel, which has no permissions of its own."""
    with run_phone(pbx.asterisk, host=PHONE_1001, port=5060) as phone, ThreadPoolExecutor(1) as pool:
        calling = pool.submit(pbx.call_one, "03010001", steps=(Wait(3), HangUp()))
        phone.wait_for("answered")
        (channel,) = re.findall(r"(?m)^PJSIP/1001-[0-9a-f]+", pbx.asterisk.cli("core show channels concise"))
        assert "Response: Success" in pbx.ask_ami(
            "BlindTransfer", Channel=channel, Context="tandem-from-endpoint", Exten=called
        )
        _, story = calling.result()
    where = story.places.index(f"{called}@tandem-from-endpoint")
    assert step in [(name, data) for _, name, data in story.steps[where:]]
