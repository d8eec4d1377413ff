"""What a menu costs and allows, command by command: the guard's timer, keys during a prompt, the caller's time and ours."""

import time
from datetime import UTC, datetime, timedelta

import pytest

from fastagi.brain import Brain
from fastagi.dispatch import MAX_HOPS
from fastagi.routes import list_scripts
from fastagi.testing import AgiCall, AgiCaller
from tandem.document import read_document
from tandem.domain.decisions import Decision
from tandem.domain.snapshot import build_snapshot

KEYS = "0123456789*#"
SNAPSHOT = build_snapshot(
    7,
    read_document("""
general: {time_zone: UTC}
schedules: [{name: morning, hours: [{days: mon-sun, start: "08:00", end: "12:00"}]}]
queues: [{name: sales, fallback: {hangup: busy}}]
menus:
  - name: main
    prompts: [welcome, choices]
    options: {1: {queue: sales}, 12: {queue: sales}, 2: {menu: strict}, 3: {schedule: morning, open: {queue: sales}, closed: {hangup: busy}}, 4: {menu: main}}
    timeout_s: 8
    invalid: {queue: sales}
    timeout: {queue: sales}
    fallback: {queue: sales}
  - name: strict
    prompts: [patience]
    barge_in: no
    options: {1: {queue: sales}}
    invalid: {queue: sales}
    timeout: {queue: sales}
    fallback: {queue: sales}
dids:
  - {number: default, destination: {menu: main}}
  - {number: "30", destination: {menu: main}, language: de, recording: until-queue}
"""),
)
NOON = datetime(2026, 11, 16, 11, 59, tzinfo=UTC)


class Line:
    """A menu that is called, again and again."""

    def __init__(self) -> None:
        self.now = NOON
        self.decisions: list[Decision] = []
        self.brain = Brain(snapshot=lambda: SNAPSHOT, now=lambda: self.now, record=self.decisions.append)

    def call(self, digits: str, **options: object) -> AgiCall:
        options = {"script": "did", "extension": "1", "channel": "PJSIP/x-00000001"} | options
        caller = AgiCaller(digits=digits, **options)
        return caller.run(list_scripts(self.brain)["did"])


@pytest.fixture
def line() -> Line:
    return Line()


def waits_of(call: AgiCall) -> list[tuple[str, int]]:
    """(what is waited for, the guard's seconds for it)."""
    return [
        (words[2] if words[0] == "STREAM" else f"key within {words[3]} ms", guard_of(call.commands[at - 1]))
        for at, words in enumerate(call.commands)
        if words[:2] in {("STREAM", "FILE"), ("WAIT", "FOR")}
    ]


def guard_of(words: tuple[str, ...]) -> int:
    assert words[:2] == ("SET", "AUTOHANGUP")
    return int(words[2])


def test_the_guard_covers_each_wait_and_a_bit_more(line: Line) -> None:
    """So long, and no longer, can a frozen Tandem hold a caller; each is the wait, a second for rounding, and 4 s."""
    assert waits_of(line.call("..1.")) == [
        ("welcome", 125),  # never heard before: nobody knows its length
        ("choices", 125),
        ("key within 8000 ms", 13),
        ("key within 2000 ms", 7),
    ]
    again = dict(waits_of(line.call("..1.")))
    assert again["welcome"] < 10, "its length was learned when it came to its end"


def test_keys_cut_a_prompt_only_where_the_menu_says_so(line: Line) -> None:
    call = line.call("2")
    prompts = [words[2:4] for words in call.commands if words[0] == "STREAM"]
    assert prompts[:2] == [("welcome", KEYS), ("patience", "")]


def test_the_time_that_a_caller_listens_is_not_our_computing(line: Line) -> None:
    def listen(_: tuple[str, ...]) -> str:
        time.sleep(0.2)
        return "200 result=49 endpos=800"

    line.call("", answers={"STREAM FILE": listen})
    (decision,) = line.decisions
    assert decision.computing_s < 0.1


def test_opening_hours_count_when_the_key_is_pressed_and_not_when_the_call_came(line: Line) -> None:
    def press(_: tuple[str, ...]) -> str:
        line.now = NOON + timedelta(minutes=2)
        return f"200 result={ord('3')} endpos=800"

    call = line.call("", answers={"STREAM FILE": press})
    assert call.executed == ("Gosub", "tandem-enter,hangup,1(17,0,,no,,)")


def test_a_caller_who_goes_round_for_ever_is_let_go(line: Line) -> None:
    call = line.call("4" * 1000)
    assert call.finished
    assert call.executed is None or call.executed[0] != "Gosub"
    assert line.decisions[0].outcome == f"{MAX_HOPS} steps and no end: fallback"


def test_prompts_are_learned_in_the_language_that_is_heard(line: Line) -> None:
    line.call("..1.", language="de")
    assert dict(waits_of(line.call("..1.", language="en")))["welcome"] == 125


def test_a_recording_begins_before_the_menu_is_heard(line: Line) -> None:
    call = line.call("1.", extension="30")
    verbs = [words[0] for words in call.commands]
    assert ("GOSUB", "tandem-record", "s", "1", "until-queue") in call.commands
    assert verbs.index("GOSUB") < verbs.index("STREAM")
    assert call.variables["CHANNEL(language)"] == "de"
    assert call.executed == ("Gosub", "tandem-enter,queue,1(sales,0,de,until-queue,,)")
    assert "GOSUB" not in {words[0] for words in line.call("1.").commands}


def test_what_cannot_be_recorded_or_played_does_not_cost_the_call(line: Line) -> None:
    failed = {"GOSUB": "200 result=-1 Gosub failed"}
    call = line.call(".1.", extension="30", answers=failed, missing_sounds=["welcome"])
    assert call.executed == ("Gosub", "tandem-enter,queue,1(sales,0,de,until-queue,,)")
    reasons = line.decisions[0].reasons
    assert "prompt welcome cannot be played" in reasons
    assert any(reason.startswith("not recorded in menu main") for reason in reasons)
