"""Hostile numbers and names reach Tandem clean and change no route; special extensions cannot be called."""

import re

import pytest

from lab.sipp import Caller, HangUp
from tests.asterisk.dialplan.bare import Pbx22, agi

HOSTILE = [
    "%0d%0aagi_network_script%3a%20outbound",
    "%0d%0a%0d%0aEvent%3a%20OriginateResponse%0d%0aActionID%3a%201",
    "%22%5d%24%5b1%2f0%5d",
    "%24%7bSHELL(touch%20/tmp/pwned)%7d",
    "%24%7bGLOBAL(TANDEM_AGI)%7d",
    "%22%20%3d%20%22%22%20%7c%20%221",
    "%2c1)%26PJSIP%2f1001",
    "9" * 200,
]


@pytest.mark.asterisk
@pytest.mark.parametrize("where", ["called", "caller", "diversion"])
def test_hostile_numbers_reach_tandem_clean_and_change_no_route(pbx: Pbx22, where: str) -> None:
    called = [f"0302009{hostile}" if where == "called" else "0302009" for hostile in HOSTILE]
    callers = [f"555{hostile}" if where == "caller" else "+49301" for hostile in HOSTILE]
    diversion = "Diversion: <sip:5[field3]@127.0.0.2>;reason=unconditional"
    with agi(pbx) as server:
        for number, caller, hostile in zip(called, callers, HOSTILE, strict=True):
            headers = [diversion.replace("[field3]", hostile)] if where == "diversion" else []
            leg, story = pbx.call_one(Caller(number, caller), headers=headers, steps=(HangUp(),))
            assert (story.reached, leg.is_answered) == ("520", True), hostile
    assert len(server.environments) == len(HOSTILE)
    for environment in server.environments:
        keys = [line.partition(": ")[0] for line in environment]
        assert len(keys) == len(set(keys))
        assert all(re.fullmatch("agi_[a-z_0-9]+", key) for key in keys)
        values = dict(line.partition(": ")[::2] for line in environment)
        assert values["agi_network_script"] == "did"
        for key in ("agi_extension", "agi_callerid", "agi_dnid", "agi_rdnis"):
            assert re.fullmatch(r"[0-9A-Za-z+*#@._-]{1,40}", values[key])


@pytest.mark.asterisk
def test_hostile_names_reach_tandem_clean(pbx: Pbx22) -> None:
    with agi(pbx) as server:
        _, story = pbx.call_one(Caller("0302009", "+49301", name="${SHELL(x)} $[1/0] é"))
    assert "agi_calleridname: ${SHELL(x)} $[1/0] é" in server.environments[0]
    assert story.reached == "520"


@pytest.mark.asterisk
@pytest.mark.parametrize("called", ["h", "i", "t", "e", "T", "o", "a", "*55", "%23", "%0d%0a"])
def test_special_extensions_cannot_be_called(pbx: Pbx22, called: str) -> None:
    legs, stories = pbx.call(called, answer_timeout_s=2)
    assert not legs[0].is_answered
    assert not [story.reached for story in stories if story.reached]
