"""The dialplan's text and Tandem know the same names, and every jump leads somewhere; needs no Asterisk."""

import re
from typing import get_args

from tandem.domain import dialplan as names
from tests.asterisk.dialplan.bare import DIALPLAN


def read_dialplan() -> str:
    return "\n".join(
        line for path in sorted(DIALPLAN.glob("*.conf")) for line in path.read_text().splitlines() if line[:1] != ";"
    )


def test_the_dialplan_and_tandem_know_the_same_names() -> None:
    text = read_dialplan()
    contexts = set(re.findall(r"^\[(.+)\]$", text, re.MULTILINE))
    families = set(re.findall(r"DB(?:_EXISTS)?\((tandem-[a-z]+)/", text))
    variables = set(re.findall(r"TANDEM_[A-Z_]+", text))
    set_here = set(re.findall(r"Set\((?:GLOBAL\(|__)?(TANDEM_[A-Z_]+)(?:=|\$)", text))
    set_here |= set(re.findall(r"[(,](TANDEM_[A-Z_]+)=", "".join(re.findall(r"MSet\(.+", text))))
    constants = {name: value for name, value in vars(names).items() if isinstance(value, str)}
    assert {value for name, value in constants.items() if name.startswith("CONTEXT_")} <= contexts
    assert families == {*names.FAMILIES, names.FAMILY_LOCK, names.FAMILY_NIGHT, names.FAMILY_CALLBACK}
    assert {value for name, value in constants.items() if name.startswith("VARIABLE_")} <= variables
    shared = {value for name, value in constants.items() if name.startswith("GLOBAL_")}
    assert shared <= variables
    # Set by confgen for an endpoint, and by Originate.
    from_outside = {names.VARIABLE_PERMISSIONS, names.VARIABLE_JUMP, names.VARIABLE_QUEUE_FIRST}
    from_outside |= {
        names.VARIABLE_SORRY,
        names.VARIABLE_RECORDING_LEGS,
        names.VARIABLE_QUEUE_WAIT,
        names.VARIABLE_CALLBACK,
    }
    from_outside |= {names.VARIABLE_RING, names.VARIABLE_LISTEN_TO, names.VARIABLE_LISTEN_OPTIONS}
    from_outside |= {names.VARIABLE_MACHINE, names.VARIABLE_MACHINE_PROMPTS}
    from_outside |= {names.VARIABLE_CALLER_ID, names.VARIABLE_EMERGENCY_CALLER_ID}
    assert variables - set_here == shared | from_outside


def test_every_kind_of_jump_has_its_extension() -> None:
    text = read_dialplan()
    enter = text[text.index("[tandem-enter]") : text.index("[tandem-record]")]
    do = text[text.index("[tandem-do]") : text.index("[tandem-unanswered]")]
    kinds = set(get_args(names.JumpKind))
    for part in (enter, do):
        assert set(re.findall(r"^exten => ([a-z]{2,}),1,", part, re.MULTILINE)) == kinds


def test_every_goto_in_the_dialplan_leads_somewhere() -> None:
    text = read_dialplan()
    extensions = set()
    context = ""
    for line in text.splitlines():
        if found := re.match(r"\[(.+)\]$", line):
            context = found[1]
        elif found := re.match(r"exten => ([^,]+),", line):
            extensions.add((context, found[1]))
    targets = set(re.findall(r"[(?:](tandem-[a-z-]+),([a-zA-Z]+),", text))
    assert len(targets) > 10
    for context, extension in targets:
        known = {name for place, name in extensions if place == context}
        assert known & {extension, "_[a-z].", "_[+0-9a-zA-Z]!"}, f"{context},{extension}"


def test_nobody_who_is_called_sends_the_caller_on() -> None:
    """A 302 is judged by nobody, and may name a trunk (`sip:PJSIP/0900…%40carrier@…`): option i of Dial, Queue and Page."""
    calls = re.findall(r"(?:Dial|Queue|Page)\([$PL].*", read_dialplan())
    options = {"Dial": r"Dial\(.+,(?:300|20|.*\})?,i", "Queue": r"Queue\([^,]+,i,", "Page": r"Page\([^,]+,.*sib\("}
    assert len(calls) >= 17
    assert [
        call for call in calls if not re.match(options[call.split("(")[0]], call) and "${OPTIONS}" not in call
    ] == []
    assert "Set(OPTIONS=i${TANDEM_DIAL_OPTIONS}" in read_dialplan()
