"""starpy's menus and its UtilApplication: choices, digits, passwords, recordings, calls by extension; the far end is AgiCaller."""

import pytest
from twisted.internet.defer import TimeoutError as WaitedTooLong
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from fastagi.testing import AgiCaller
from tandem.starpy import error, fastagi, menu, utilapplication


def ask(interaction, *args, **caller):
    """(the call, what the interaction came to or failed with)."""
    seen = []

    def main(agi):
        def end(result):
            seen.append(result.value if isinstance(result, Failure) else result)
            agi.finish()

        interaction(agi, *args).addBoth(end)

    factory = fastagi.FastAGIFactory(main)
    call = AgiCaller(**caller).connect(factory.buildProtocol(None), factory.sessions)
    assert call.finished
    return call, seen[0]


def played(call):
    return [words[2] for words in call.commands if tuple(words[:2]) == ("GET", "OPTION")]


SALES, STAFF = menu.Option(option="1"), menu.Option(option="23")


def test_a_choice() -> None:
    chosen = menu.Menu(prompt=["welcome", 5, menu.DigitsPrompt("42")], options=[SALES, STAFF])
    assert ask(chosen, digits="3")[1] == [(STAFF, "3")]


def test_whoever_chooses_nothing_is_asked_so_often_and_no_more() -> None:
    call, result = ask(menu.Menu(prompt=["welcome"], options=[SALES], maxRepetitions=3))
    assert isinstance(result, error.MenuTimeout)
    assert played(call) == ["welcome"] * 3


def test_a_key_that_is_no_option_is_told_so_and_is_a_try() -> None:
    call, result = ask(menu.Menu(prompt=["welcome"], options=[SALES]), digits="9" * 20)
    assert isinstance(result, error.MenuTimeout)
    assert "pm-invalid-option" in played(call)
    call, result = ask(menu.Menu(prompt=["welcome"], options=[SALES], tellInvalid=False, maxRepetitions=1), digits="9")
    assert isinstance(result, error.MenuTimeout)  # a key that ends no prompt is none


def test_menus_in_menus() -> None:
    inner = menu.Menu(prompt=["inner"], options=[STAFF, menu.ExitOn(option="#")])
    sub = menu.SubMenu(option="2", menu=inner)
    outer = menu.Menu(prompt=["outer"], options=[SALES, sub])
    assert ask(outer, digits="22")[1] == [(sub, "2"), (STAFF, "2")]
    call, result = ask(outer, digits="2#1")
    assert result == [(SALES, "1")]
    assert played(call) == ["outer", "inner", "outer"]
    assert isinstance(ask(inner, digits="#")[1], error.MenuExit)


def test_what_follows_on_a_choice_and_at_the_end() -> None:
    seen = []
    option = menu.Option(option="1", onSuccess=lambda key, runner: [(runner.model, key * 2)])
    chosen = menu.Menu(
        prompt=["x"], options=[option], onSuccess=lambda result, runner: seen.append(runner) or result[0][1]
    )
    assert ask(chosen, digits="1")[1] == "11"
    assert isinstance(seen[0], menu.MenuRunner)
    failed = menu.Menu(prompt=["x"], options=[], maxRepetitions=1, onFailure=lambda failure, runner: failure.type)
    assert ask(failed)[1] is error.MenuTimeout


def test_digits_and_passwords() -> None:
    digits = menu.CollectDigits(soundFile="enter", minDigits=3, maxDigits=4, maxRepetitions=2, readBack=True)
    call, result = ask(digits, digits="1234")
    assert [(type(one), text) for one, text in result] == [(menu.CollectDigitsRunner, "1234")]
    assert ("SAY", "DIGITS", "1234", "") in call.commands
    assert isinstance(ask(digits, digits="12")[1], error.MenuTimeout)
    assert isinstance(ask(digits, digits="#")[1], error.MenuExit)
    password = menu.CollectPassword(maxRepetitions=1)
    assert ask(password, "4711", digits="4711#")[1][0][1] == "4711"
    assert isinstance(ask(password, "4711", digits="4712#")[1], error.MenuTimeout)
    assert isinstance(ask(menu.CollectPassword(escapeDigits="*"), "4711", digits="47*#")[1], error.MenuExit)


def test_a_recording(tmp_path) -> None:
    record = menu.CollectAudio(prompt=["speak"], filename=str(tmp_path / "said"), temporaryFile=str(tmp_path / "new"))
    (tmp_path / "new.wav").write_bytes(b"sound")
    _, (runner, result) = ask(record, answers={"RECORD FILE": "200 result=0 (timeout) endpos=8000"})
    assert (type(runner), result) == (menu.CollectAudioRunner, (0, "timeout", 8000))
    assert (tmp_path / "said.wav").read_bytes() == b"sound"
    (tmp_path / "new.wav").write_bytes(b"sound")
    _, result = ask(record, answers={"RECORD FILE": "200 result=35 (dtmf) endpos=800"})
    assert isinstance(result, error.MenuExit)
    assert not (tmp_path / "new.wav").exists()
    assert isinstance(ask(record, digits="#")[1], error.MenuExit)  # while it is told what to do


def test_what_fits_nowhere_is_said_at_once() -> None:
    with pytest.raises(TypeError, match="Menu has no field promt"):
        menu.Menu(promt=["x"])
    _, result = ask(menu.Menu(prompt=[1.5], options=[SALES]))
    assert isinstance(result, TypeError)


class Program(utilapplication.UtilApplication):
    configFiles = ("one.conf", "two.conf")  # noqa: N815 - starpy's name


@pytest.fixture
def program(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "one.conf").write_text(
        "[AMI]\nusername = dialer\npassword = 50% off\nport = 5039\n[FastAGI]\nport = 4580\n"
    )
    (tmp_path / "two.conf").write_text("[FastAGI]\nport = 4581\ncontext = ours\n")
    made = Program()
    made.clock = Clock()
    return made


def test_files_say_where_to_log_in_and_where_to_listen(program, tmp_path) -> None:
    ami, agi = program.amiSpecifier, program.agiSpecifier
    assert (ami.username, ami.secret, ami.password, ami.server, ami.port, ami.timeout) == (
        "dialer", "50% off", "50% off", "127.0.0.1", 5039, 5.0,
    )  # fmt: skip
    assert (agi.port, agi.interface, agi.context) == (4581, "127.0.0.1", "ours")
    (tmp_path / "two.conf").write_text("[FastAGI]\nport = many\n")
    with pytest.raises(ValueError, match=r"\[FastAGI\] port = 'many' is no number"):
        Program()


def dispatch(program, extension):
    factory = fastagi.FastAGIFactory(program.dispatchIncomingCall)
    call = AgiCaller(extension=extension).connect(factory.buildProtocol(None), factory.sessions)
    assert call.finished


def test_a_waiter_comes_before_a_handler_and_is_served_once(program) -> None:
    seen = []

    def tell(name):
        return lambda agi: (seen.append((name, agi.variables["agi_extension"])), agi.finish())

    program.handleCallsFor(700, tell("handler"))
    program.handleCallsFor(None, tell("others"))
    program.waitForCallOn(700).addCallback(tell("waiter"))
    for extension in ("700", "700", "701"):
        dispatch(program, extension)
    assert seen == [("waiter", "700"), ("handler", "700"), ("others", "701")]
    assert program.clock.getDelayedCalls() == []


def test_who_waits_too_long_is_told_and_forgotten(program) -> None:
    failures = []
    program.waitForCallOn("700", timeout=5).addErrback(failures.append)
    program.waitForCallOn("700", timeout=5).addErrback(failures.append)
    program.clock.advance(5)
    assert [failure.type for failure in failures] == [WaitedTooLong] * 2
    program.waitForCallOn("700").addErrback(failures.append).cancel()
    assert program.extensionWaiters == {}
    assert program.clock.getDelayedCalls() == []
    dispatch(program, "700")  # nobody: the AGI ends, and the dialplan goes on
