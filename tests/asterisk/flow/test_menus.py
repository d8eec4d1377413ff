"""Menus by real calls: keys, numbers of phones, recordings, and callers who hang up at any time."""

from typing import Any

import pytest

from lab.observe import Observer
from lab.sipp import HangUp, Press, SippRun, Wait
from tests.asterisk.flow.house import list_steps, read_sound, wait_for_recording

pytestmark = pytest.mark.asterisk


def test_keys_in_a_menu(observer: Observer) -> None:
    """All callers at the same time. Each key cuts a prompt of half a minute short, or none of them would get there."""

    def press(*keys: str) -> tuple[Any, ...]:
        return (*(step for key in keys for step in (Wait(1), Press(key))), Wait(2.2), HangUp())

    wanted = {
        "03010013/one": (press("1"), "211", "pressed 1"),
        "03010013/two": (press("12"), "212", "pressed 12"),
        "03010013/star": (press("*"), "213", "pressed *"),
        "03010013/hash": (press("#"), "214", "pressed #"),
        "03010013/wrong": (press("7", "9"), "215", "pressed 9, which is no option (2 of 2)"),
        "03010013/wrong, then right": (press("7", "*"), "213", "pressed *"),
        # No barge-in: Asterisk drops a key that comes during a prompt. One of the prompts is missing.
        "03010014/patient": ((Wait(0.1), Press("9"), Wait(1.3), Press("1"), Wait(2), HangUp()), "221", "pressed 1"),
        "03010014/silent": ((Wait(8), HangUp()), "223", "nothing pressed (2 of 2)"),
    }
    lived = observer.call_all({called: steps for called, (steps, _, _) in wanted.items()})
    assert {called: one.reached for called, one in lived.items()} == {
        called: exten for called, (_, exten, _) in wanted.items()
    }
    for called, (_, _, reason) in wanted.items():
        assert reason in lived[called].reasons
        assert lived[called].leg.ended_by == "us"
    assert "prompt no/such/sound cannot be played" in lived["03010014/silent"].reasons
    assert {language for _, language in lived["03010014/silent"].sounds} == {"de"}
    assert [sound for sound, _ in lived["03010014/silent"].sounds] == [
        "beep",
        "vm-press",
        "beeperr",
        "beep",
        "vm-press",
    ]
    assert ("beeperr", "en") in lived["03010013/wrong"].sounds


def test_a_menu_takes_the_number_of_a_phone(observer: Observer, phone: SippRun) -> None:
    before = len(phone.read_legs())
    lived = observer.call("03010013", Wait(1), Press("1001"), Wait(1.5), HangUp())
    phone.wait_for("bye", count=before + 1)
    assert "dialled 1001" in lived.reasons
    assert lived.data("Dial")


def test_a_recording_begins_before_the_menu_is_heard(observer: Observer) -> None:
    lived = observer.call("03010014", Wait(1.5), HangUp())
    steps = list_steps(lived, observer.pbx)
    begins = next(index for index, line in enumerate(steps) if "MixMonitor(" in line)
    first = next(index for index, line in enumerate(steps) if "Playing" in line)
    assert begins < first
    length_s, loudest = read_sound(wait_for_recording(observer.pbx, lived))
    assert length_s > 1
    assert loudest > 1000  # the prompt
    assert lived.outcomes[0].startswith("caller hung up")


def test_a_recording_until_the_queue_ends_there(observer: Observer, phone: SippRun) -> None:
    before = len(phone.read_legs())
    lived = observer.call("03010015", Wait(1.5), Press("2"), Wait(4), HangUp())
    phone.wait_for("bye", count=before + 1)
    length_s, loudest = read_sound(wait_for_recording(observer.pbx, lived))
    assert 1 < length_s < 3.5
    assert loudest > 1000
    assert "1?StopMixMonitor()" in lived.data("ExecIf")
    assert lived.leg.talk_s is not None
    assert lived.leg.talk_s > 5


def test_a_caller_who_hangs_up_at_any_time_in_a_menu_leaves_nothing_behind(observer: Observer) -> None:
    """While the first prompt starts, in the middle of one, after a key, between two digits, during a wait, in the second menu."""
    cases = {
        "03010013/at once": (HangUp(),),
        "03010013/in a prompt": (Wait(0.8), HangUp()),
        "03010013/after a key": (Wait(0.5), Press("7"), HangUp()),
        "03010013/between digits": (Wait(0.5), Press("1"), Wait(0.3), HangUp()),
        "03010013/second menu": (Wait(0.5), Press("3"), Wait(0.4), HangUp()),
        "03010014/waiting": (Wait(2.6), HangUp()),
    }
    lived = observer.call_all(cases)
    assert all(one.outcomes == ["caller hung up (cut short)"] for one in lived.values()), lived
    assert not any(one.reached for one in lived.values())
    observer.wait_until_idle()
    assert "error" not in observer.pbx.read_log().lower()
