"""AgiCaller itself: presses, answers, AstDB. Its likeness to the real thing is checked in tests/asterisk/test_agi.py."""

from typing import Any

import pytest

from fastagi.session import Digits, Session
from fastagi.testing import AgiCaller


def play(caller: AgiCaller, *uses: Any) -> list[Any]:
    got: list[Any] = []

    async def script(session: Session) -> None:
        got.extend([await use(session) for use in uses])

    call = caller.run(script)
    assert (call.error, call.finished) == (None, True)
    return got


def test_presses_go_to_whoever_listens() -> None:
    caller = AgiCaller(digits="19.2#")
    assert play(
        caller,
        lambda s: s.stream_file("not listening"),
        lambda s: s.stream_file("f", "123"),
        lambda s: s.get_option("f", "123"),  # the 9 is lost
        lambda s: s.wait_for_digit(1),
        lambda s: s.say_digits("5", "2"),
        lambda s: s.wait_for_digit(),
        lambda s: s.wait_for_digit(),
    ) == [(None, 8000), ("1", 8000), (None, 8000), None, "2", "#", None]


@pytest.mark.parametrize(
    ("digits", "wanted"),
    [
        ("12#3", Digits("12", False)),
        ("123", Digits("123", False)),
        ("1234", Digits("123", False)),
        ("1.2", Digits("1", True)),
        ("1", Digits("1", True)),
        ("", Digits("", True)),
        ("#", Digits("", False)),
    ],
)
def test_collected_digits(digits: str, wanted: Digits) -> None:
    assert play(AgiCaller(digits=digits), lambda s: s.get_data("f", 1000, 3)) == [wanted]


def test_the_longest_matching_answer_wins_and_may_be_computed() -> None:
    answers = {
        "GET VARIABLE": "200 result=1 (any)",
        "GET VARIABLE CALLERID": lambda words: f"200 result=1 ({words[2]})",
        "RECORD FILE": "200 result=0 (timeout) endpos=5",
    }
    assert play(
        AgiCaller(answers=answers),
        lambda s: s.get_variable("X"),
        lambda s: s.get_variable("CALLERID(num)"),
        lambda s: s.record_file("f", "wav"),
    ) == ["any", "CALLERID(num)", (None, 5, "timeout")]


def test_astdb_and_variables_last_for_the_call_only() -> None:
    caller = AgiCaller(database={("f", "k"): "1"}, variables={"X": "x"})
    for _ in range(2):
        assert play(
            caller,
            lambda s: s.database_get("f", "k"),
            lambda s: s.database_del("f", "k"),
            lambda s: s.database_put("f", "t/a", "2"),
            lambda s: s.database_deltree("f", "t"),
            lambda s: s.database_deltree("f"),
            lambda s: s.database_get("f", "k"),
            lambda s: s.get_variable("X"),
            lambda s: s.record_file("f", "wav", "#"),
            lambda s: s.channel_status(),
        ) == ["1", True, True, True, False, None, "x", (None, 8000, "timeout"), 6]


def test_what_happened_can_be_read() -> None:
    async def script(session: Session) -> None:
        await session.stream_file("hello")
        await session.exec("Playback", "x")
        await session.exec("Gosub", "a,b,1")

    call = AgiCaller().run(script)
    assert call.played == ["hello"]
    assert call.executions == [("Playback", "x"), ("Gosub", "a,b,1")]
    assert call.executed == ("Gosub", "a,b,1")
    assert AgiCaller(hangup_at=0).run(script).executed is None
