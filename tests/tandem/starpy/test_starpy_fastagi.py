"""starpy's FastAGI names over the real protocol and wire: words, results, failures, hang-ups; the far end is AgiCaller."""

import time
from datetime import UTC, date, datetime

import pytest
from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure

from fastagi.testing import AgiCaller
from fastagi.wire import CommandRefused
from tandem import starpy
from tandem.starpy import error, fastagi

AT = datetime(2025, 11, 20, 17, 30, tzinfo=UTC)


def play(main, **caller):
    """One call through `main`; the call, and what `main` returned or raised."""
    factory = fastagi.FastAGIFactory(main)
    return AgiCaller(**caller).connect(factory.buildProtocol(None), factory.sessions)


def ask(use, **caller):
    """The call, and the result of one method, or the exception that it failed with."""
    seen = []

    def main(agi):
        use(agi).addBoth(lambda result: seen.append(result.value if isinstance(result, Failure) else result))
        agi.finish()

    call = play(main, **caller)
    assert call.finished
    return call, seen[0]


def test_one_changed_import() -> None:
    assert (starpy.fastagi, starpy.error) == (fastagi, error)
    assert fastagi.FastAGIFactory.protocol is fastagi.FastAGIProtocol
    assert fastagi.log.name == "FastAGI"


def test_variables_are_what_asterisk_said() -> None:
    seen = []

    def main(agi):
        seen.append(agi.variables)
        agi.finish()

    call = play(main, script="survey", callerid=None, args=("first", "second one"))
    (variables,) = seen
    assert call.finished
    assert call.commands == []
    assert (
        variables
        | {
            "agi_network": "yes",
            "agi_network_script": "survey",
            "agi_callerid": "unknown",
            "agi_extension": "4930123",
            "agi_enhanced": "0.0",
            "agi_arg_1": "first",
            "agi_arg_2": "second one",
        }
        == variables
    )
    assert all(isinstance(value, str) for value in variables.values())


@pytest.mark.parametrize(
    ("use", "words", "result"),
    [
        (lambda agi: agi.answer(), ("ANSWER",), 0),
        (lambda agi: agi.hangup(), ("HANGUP",), 1),
        (lambda agi: agi.hangup("PJSIP/1-1"), ("HANGUP", "PJSIP/1-1"), 1),
        (lambda agi: agi.channelStatus(), ("CHANNEL", "STATUS"), 6),
        (lambda agi: agi.channelStatus("PJSIP/1-1"), ("CHANNEL", "STATUS", "PJSIP/1-1"), 6),
        (lambda agi: agi.noop(), ("NOOP",), 0),
        (lambda agi: agi.noop("a b"), ("NOOP", "a b"), 0),
        (lambda agi: agi.verbose('say "hi"', 3), ("VERBOSE", 'say "hi"', "3"), 1),
        (lambda agi: agi.verbose("hi"), ("VERBOSE", "hi", "1"), 1),
        (lambda agi: agi.setAutoHangup(30), ("SET", "AUTOHANGUP", "30"), 0),
        (lambda agi: agi.setCallerID('"Ann Lee" <5550101>'), ("SET", "CALLERID", '"Ann Lee" <5550101>'), 1),
        (lambda agi: agi.setContext("sales team"), ("SET", "CONTEXT", "sales team"), 0),
        (lambda agi: agi.setExtension(100), ("SET", "EXTENSION", "100"), 0),
        (lambda agi: agi.setPriority(3), ("SET", "PRIORITY", "3"), 0),
        (lambda agi: agi.setMusic(), ("SET", "MUSIC", "on"), 0),
        (lambda agi: agi.setMusic(False, "quiet"), ("SET", "MUSIC", "off", "quiet"), 0),
        (lambda agi: agi.execute("Dial", "PJSIP/101", 20), ("EXEC", "Dial", "PJSIP/101,20"), "0"),
        (lambda agi: agi.execute("NoOp", comma_delimiter=True), ("EXEC", "NoOp", ""), "0"),
        (lambda agi: agi.playback("beep"), ("EXEC", "Playback", "beep"), 0),
        (lambda agi: agi.playback("beep", -1), ("EXEC", "Playback", "beep,skip"), 0),
        (lambda agi: agi.setVariable("X", 'a "b" \\c'), ("SET", "VARIABLE", "X", 'a "b" \\c'), 1),
        (lambda agi: agi.getVariable("COLOUR"), ("GET", "VARIABLE", "COLOUR"), "deep (blue)"),
        (lambda agi: agi.databaseGet("f", "k"), ("DATABASE", "GET", "f", "k"), "v (1)"),
        (lambda agi: agi.databasePut("f", "k", 7), ("DATABASE", "PUT", "f", "k", "7"), 1),
        (lambda agi: agi.databaseSet("f", "k", "7"), ("DATABASE", "PUT", "f", "k", "7"), 1),
        (lambda agi: agi.databaseDel("f", "k"), ("DATABASE", "DEL", "f", "k"), 1),
        (lambda agi: agi.databaseDeltree("f"), ("DATABASE", "DELTREE", "f"), 1),
        (lambda agi: agi.streamFile("beep", "12"), ("STREAM", "FILE", "beep", "12", "0"), (ord("2"), 8000)),
        (lambda agi: agi.streamFile("beep"), ("STREAM", "FILE", "beep", "", "0"), (0, 8000)),
        (lambda agi: agi.getOption("beep", "12", 1.5), ("GET", "OPTION", "beep", "12", "1500"), ("2", 8000)),
        (lambda agi: agi.getOption("beep", ""), ("GET", "OPTION", "beep", "", "5000"), ("", 8000)),
        (lambda agi: agi.getData("beep", maxDigits=1), ("GET", "DATA", "beep", "2000", "1"), ("2", False)),
        (lambda agi: agi.getData("beep", 0.25), ("GET", "DATA", "beep", "250", "1024"), ("24", True)),
        (lambda agi: agi.waitForDigit(3), ("WAIT", "FOR", "DIGIT", "3000"), ord("2")),
        (lambda agi: agi.waitForDigit(-1), ("WAIT", "FOR", "DIGIT", "-1"), ord("2")),
        (
            lambda agi: agi.controlStreamFile("beep", "2", 500),
            ("CONTROL", "STREAM", "FILE", "beep", "2", "500", "*", "#", "", "0"),
            (ord("2"), 8000),
        ),
        (
            lambda agi: agi.recordFile("/tmp/a b", "wav", "2", 10),
            ("RECORD", "FILE", "/tmp/a b", "wav", "2", "10000", "0", "BEEP"),
            (ord("2"), "dtmf", 8000),
        ),
        (
            lambda agi: agi.recordFile("x", "wav", "", beep=False, silence=2, offsetSamples=9),
            ("RECORD", "FILE", "x", "wav", "", "-1", "9", "s=2"),
            (0, "timeout", 8000),
        ),
        (lambda agi: agi.receiveChar(2), ("RECEIVE", "CHAR", "2000"), ("0", True)),
        (lambda agi: agi.receiveText(), ("RECEIVE", "TEXT", "0"), "0"),
        (lambda agi: agi.sendText("it's"), ("SEND", "TEXT", "it's"), 0),
        (lambda agi: agi.sendImage("logo"), ("SEND", "IMAGE", "logo"), 0),
        (lambda agi: agi.sayAlpha("a-b 1", "2"), ("SAY", "ALPHA", "ab1", "2"), ord("2")),
        (lambda agi: agi.sayDigits("5-5"), ("SAY", "DIGITS", "55", ""), 0),
        (lambda agi: agi.sayNumber(-5), ("SAY", "NUMBER", "-5", ""), 0),
        (lambda agi: agi.sayNumber("1,200"), ("SAY", "NUMBER", "1200", ""), 0),
        (lambda agi: agi.sayPhonetic("a b"), ("SAY", "PHONETIC", "ab", ""), 0),
        (lambda agi: agi.sayDate(AT), ("SAY", "DATE", str(int(AT.timestamp())), ""), 0),
        (lambda agi: agi.sayTime(AT.timestamp()), ("SAY", "TIME", str(int(AT.timestamp())), ""), 0),
        (
            lambda agi: agi.sayDateTime(AT, "", "A", "Europe/Berlin"),
            ("SAY", "DATETIME", str(int(AT.timestamp())), "", "A", "Europe/Berlin"),
            0,
        ),
        (lambda agi: agi.sayXXX("SAY DIGITS", 12, "2"), ("SAY", "DIGITS", "12", "2"), ord("2")),
        (lambda agi: agi.sendCommand('GET VARIABLE "COLOUR"\n'), ("GET", "VARIABLE", "COLOUR"), "1 (deep (blue))"),
    ],
)  # fmt: skip
def test_words_and_results(use, words, result) -> None:
    call, seen = ask(use, digits="24", variables={"COLOUR": "deep (blue)"}, database={("f", "k"): "v (1)"})
    assert call.commands == [words]
    assert seen == result


MIDNIGHT = datetime(2025, 11, 20)  # noqa: DTZ001 - local, as programs give it


@pytest.mark.parametrize("day", [date(2025, 11, 20), MIDNIGHT, time.strptime("2025-11-20", "%Y-%m-%d")])
def test_times_without_a_zone_are_local(day) -> None:
    call, _ = ask(lambda agi: agi.sayDate(day))
    assert call.commands == [("SAY", "DATE", str(int(MIDNIGHT.timestamp())), "")]


def test_tdd_mode_says_whether_there_is_one() -> None:
    assert ask(lambda agi: agi.tddMode(None), answers={"TDD": "200 result=1"})[0].commands == [("TDD", "MODE", "mate")]
    assert isinstance(ask(lambda agi: agi.tddMode())[1], error.AGICommandFailure)


@pytest.mark.parametrize(
    ("use", "caller", "code"),
    [
        (lambda agi: agi.sendCommand("NO SUCH"), {}, 510),
        (lambda agi: agi.answer(), {"answers": {"ANSWER": "520-Invalid\nUsage\n520 End of proper usage."}}, 520),
        (lambda agi: agi.answer(), {"answers": {"ANSWER": "503 result=-2 Memory allocation failure"}}, 503),
        (lambda agi: agi.answer(), {"answers": {"ANSWER": "511 Command Not Permitted on a dead channel"}}, 511),
        (lambda agi: agi.answer(), {"answers": {"ANSWER": "200 result=-1"}}, -1),
        (lambda agi: agi.getVariable("NONE"), {}, -1),
        (lambda agi: agi.databaseGet("f", "none"), {}, -1),
        (lambda agi: agi.databaseDeltree("none"), {}, -1),
        (lambda agi: agi.channelStatus("PJSIP/1-1"), {"answers": {"CHANNEL STATUS": "200 result=-1"}}, -1),
        (lambda agi: agi.hangup("PJSIP/1-1"), {"answers": {"HANGUP": "200 result=-1"}}, -1),
        (lambda agi: agi.execute("None"), {"answers": {"EXEC": "200 result=-2"}}, -1),
        (lambda agi: agi.playback("none"), {"answers": {"EXEC": "200 result=-1"}}, -1),
        (lambda agi: agi.streamFile("none"), {"missing_sounds": ["none"]}, -1),
        (lambda agi: agi.streamFile("short"), {"answers": {"STREAM": "200 result=0 endpos=0"}}, -1),
        (lambda agi: agi.getOption("none", "1"), {"missing_sounds": ["none"]}, -1),
        (lambda agi: agi.getData("none"), {"missing_sounds": ["none"]}, -1),
        (lambda agi: agi.receiveText(), {"answers": {"RECEIVE": "200 result=-1"}}, -1),
        (lambda agi: agi.sendText("x"), {"answers": {"SEND": "200 result=-1"}}, -1),
        (lambda agi: agi.sayXXX("SAY DIGITS", 1), {"answers": {"SAY": "200 result=-1"}}, -1),
        (lambda agi: agi.recordFile("x", "wav", "#"), {"answers": {"RECORD": "200 result=-1 (writefile)"}}, -1),
    ],
)  # fmt: skip
def test_failures_name_their_code(use, caller, code) -> None:
    _, seen = ask(use, **caller)
    assert type(seen) is error.AGICommandFailure
    assert seen.args[0] == code
    assert seen.args[1]


def test_a_failure_leaves_the_call_usable() -> None:
    seen = []

    async def main(agi):
        for attempt in (
            lambda: agi.sendCommand("NO SUCH"),
            lambda: agi.setVariable("X", "a\r\nEXEC System"),
            agi.answer,
        ):
            try:
                seen.append(await attempt())
            except (error.AGICommandFailure, ValueError) as failure:
                seen.append(type(failure))
        agi.finish()

    call = play(main)
    assert seen == [error.AGICommandFailure, CommandRefused, 0]
    assert call.commands == [("NO", "SUCH"), ("ANSWER",)]


@pytest.mark.parametrize("evil", ["a\nEXEC System rm", "a\rb", "a\x00b"])
@pytest.mark.parametrize(
    "use",
    [
        lambda agi, text: agi.setVariable("X", text),
        lambda agi, text: agi.setVariable(text, "x"),
        lambda agi, text: agi.execute("NoOp", text),
        lambda agi, text: agi.execute(text),
        lambda agi, text: agi.streamFile(text),
        lambda agi, text: agi.streamFile("beep", text),
        lambda agi, text: agi.setCallerID(text),
        lambda agi, text: agi.setContext(text),
        lambda agi, text: agi.databasePut("f", "k", text),
        lambda agi, text: agi.verbose(text),
        lambda agi, text: agi.sendText(text),
        lambda agi, text: agi.sayXXX("SAY DIGITS", text),
        lambda agi, text: agi.sendCommand(f'NOOP "{text}"'),
        lambda agi, text: agi.recordFile(text, "wav", "#"),
    ],
)
def test_a_line_break_never_becomes_a_second_command(use, evil) -> None:
    call, seen = ask(lambda agi: use(agi, evil))
    assert isinstance(seen, ValueError)
    assert "control character" in str(seen)
    assert call.commands == []


@pytest.mark.parametrize("how", ["result", "line", "lost"])
def test_a_hangup_half_way_ends_everything(how) -> None:
    seen, closed = [], []

    def main(agi):
        agi.onClose().addErrback(lambda failure: closed.append(failure.value))
        agi.answer().addBoth(seen.append)
        agi.waitForDigit(5).addBoth(seen.append)
        agi.getData("beep").addBoth(seen.append).addCallback(lambda _: agi.noop()).addBoth(seen.append)

    call = play(main, hangup_at=2, hangup_by=how)
    assert call.finished
    assert seen[0] == 0
    assert len(seen) == 4
    for failure in seen[1:]:
        assert failure.check(error.AGICommandFailure)
        assert failure.check(ConnectionDone)
        assert failure.check(error.AGIChannelGone)
    assert len(closed) == 1
    assert len(call.commands) == 2 + (how == "result" and call.commands[-1] == ("CHANNEL", "STATUS"))


def test_a_hangup_while_the_program_waits_for_itself() -> None:
    elsewhere: Deferred[str] = Deferred()
    seen = []

    async def main(agi):
        await elsewhere
        try:
            await agi.answer()
        except error.AGIChannelGone:
            seen.append("gone")

    call = play(main, hangup_at=0)
    assert call.finished
    elsewhere.callback("late")
    assert seen == ["gone"]


def test_a_recording_that_the_caller_ends_by_hanging_up() -> None:
    _, seen = ask(
        lambda agi: agi.recordFile("x", "wav", "#"),
        answers={"RECORD": "200 result=-1 (hangup) endpos=4000\nHANGUP"},
    )
    assert seen == (0, "hangup", 4000)


def test_commands_wait_for_each_other() -> None:
    """Asterisk hangs on three commands in one write: the second is sent when the first is answered."""
    in_flight = []

    def main(agi):
        for number in range(5):
            agi.setVariable(f"V{number}", number).addCallback(lambda _, number=number: in_flight.append(number))
        agi.finish()

    call = play(main)
    assert call.finished
    assert in_flight == [0, 1, 2, 3, 4]
    assert call.variables == {f"V{number}": str(number) for number in range(5)}


def test_a_cancelled_command_is_not_sent() -> None:
    def main(agi):
        agi.answer()
        cancelled = agi.hangup()
        cancelled.addErrback(lambda _: None)
        cancelled.cancel()
        agi.noop().addCallback(lambda _: agi.finish())

    assert play(main).commands == [("ANSWER",), ("NOOP",)]


def test_after_finish_nothing_is_sent() -> None:
    seen = []

    def main(agi):
        agi.finish()
        agi.finish()
        agi.answer().addErrback(lambda failure: seen.append(failure.check(error.AGIChannelGone)))

    call = play(main)
    assert (call.finished, call.commands, seen) == (True, [], [error.AGIChannelGone])


@pytest.mark.parametrize("kind", ["raises", "fails", "coroutine", "inlineCallbacks"])
def test_a_main_function_that_fails_gives_the_call_back(kind, caplog) -> None:
    def raises(_agi):
        raise KeyError("no such survey")

    def fails(agi):
        return agi.answer().addCallback(raises)

    async def coroutine(agi):
        await agi.answer()
        raises(agi)

    @inlineCallbacks
    def generator(agi):
        yield agi.answer()
        raises(agi)

    main = {"raises": raises, "fails": fails, "coroutine": coroutine, "inlineCallbacks": generator}[kind]
    call = play(main)
    assert call.finished
    assert "no such survey" in caplog.text


def test_a_main_function_that_returns_keeps_the_call() -> None:
    held = []
    call = play(held.append)
    assert not call.finished
    held[0].answer().addCallback(lambda _: held[0].finish())
    call.go_on()
    assert call.finished
    assert call.commands == [("ANSWER",)]


def test_a_forged_answer_closes_the_session() -> None:
    _, seen = ask(lambda agi: agi.getVariable("CALLERID(num)"), answers={"GET": "200 result=1 (5\n200 result=0"})
    assert isinstance(seen, error.AGIChannelGone)


def test_in_sequence_keeps_results_and_stops_at_a_failure() -> None:
    seen = []

    def main(agi):
        sequence = fastagi.InSequence()
        sequence.append(agi.answer)
        sequence.append(agi.setVariable, "X", value="1")
        sequence.append(agi.getVariable, "NONE")
        sequence.append(agi.noop)
        sequence().addErrback(lambda failure: seen.append((failure.value.args[0], failure.results))).addCallback(
            lambda _: agi.finish()
        )

    call = play(main)
    assert seen == [(-1, [0, 1])]
    assert call.commands[-1] == ("GET", "VARIABLE", "NONE")


def test_jump_on_error() -> None:
    def main(agi):
        agi.getVariable("NONE").addErrback(agi.jumpOnError, difference=50, forErrors=error.AGICommandFailure)

    call = play(main, priority=2)
    assert call.finished
    assert call.commands[1:] == [
        ("SET", "CONTEXT", "from-trunk"),
        ("SET", "EXTENSION", "4930123"),
        ("SET", "PRIORITY", "52"),
    ]


def test_jump_on_error_only_for_the_errors_named() -> None:
    def main(agi):
        return agi.getVariable("NONE").addErrback(agi.jumpOnError, forErrors=(error.MenuExit, error.MenuTimeout))

    call = play(main)
    assert call.finished  # by the failure of main
    assert call.commands == [("GET", "VARIABLE", "NONE")]


def test_wrong_arguments_are_told_at_once() -> None:
    def main(agi):
        with pytest.raises(TypeError, match="doAnswer"):
            agi.playback("beep", 2)
        with pytest.raises(TypeError, match="delimiter"):
            agi.execute("NoOp", delimiter="|")
        agi.sayDigits("none").addErrback(lambda failure: failure.trap(ValueError))
        agi.finish()

    call = play(main)
    assert (call.finished, call.commands) == (True, [])


def test_strangers_may_not_connect() -> None:
    factory = fastagi.FastAGIFactory(lambda agi: pytest.fail("served"), peers=("192.0.2.0/24",))
    call = AgiCaller().connect(factory.buildProtocol(None), factory.sessions)
    assert factory.sessions.counters.refused == 1
    assert call.commands == []


def test_a_factory_of_the_programs_own() -> None:
    class Own(fastagi.FastAGIProtocol):
        def greet(self):
            return self.streamFile("hello")

    factory = fastagi.FastAGIFactory(lambda agi: agi.greet().addCallback(lambda _: agi.finish()))
    factory.protocol = Own
    call = AgiCaller().connect(factory.buildProtocol(None), factory.sessions)
    assert call.played == ["hello"]


def test_what_starpy_has_no_name_for_goes_by_send_command() -> None:
    call, seen = ask(lambda agi: agi.sendCommand('GOSUB "sub" "s" "1"'))
    assert (call.commands, seen) == ([("GOSUB", "sub", "s", "1")], "0 Gosub complete")
