"""One connection: hostile and slow peers, hang-ups at every step, limits, counters, and nothing left behind."""

import logging
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionLost
from twisted.python.failure import Failure

from fastagi.protocol import WARNINGS_PER_S, AgiProtocol, Limits, SessionTable
from fastagi.session import ChannelGone, DecisionTooSlow, Session
from fastagi.testing import AgiCaller, MemoryTransport, environment_block
from fastagi.wire import MAX_ENVIRONMENT_BYTES, MAX_RESPONSE_BYTES

BLOCK = environment_block()


async def decide(session: Session) -> None:
    await session.exec("Gosub", "tandem-enter,queue,1(sales)")


class Line:
    """A table with a hand-moved clock, and connections to it."""

    def __init__(self, script: Any = decide, **options: Any) -> None:
        self.now = 0.0
        self.table = SessionTable({"did": script}, clock=lambda: self.now, **options)

    def connect(self, peer: str = "127.0.0.1") -> tuple[AgiProtocol, MemoryTransport]:
        protocol, transport = AgiProtocol(self.table), MemoryTransport(peer)
        protocol.makeConnection(transport)
        return protocol, transport

    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.table.sweep()


def lose(protocol: AgiProtocol) -> None:
    protocol.connectionLost(Failure(ConnectionLost()))


@given(st.lists(st.integers(0, len(BLOCK) + 13), max_size=30))
def test_a_session_in_arbitrary_chunks(cuts: list[int]) -> None:
    line = Line()
    protocol, transport = line.connect()
    answer = b"200 result=0\n"
    for data in (BLOCK, answer):
        edges = [0, *sorted(cut for cut in cuts if cut < len(data)), len(data)]
        for start, end in pairwise(edges):
            protocol.dataReceived(data[start:end])
    assert transport.written == b'EXEC "Gosub" "tandem-enter,queue,1(sales)"\n'
    assert transport.closing
    lose(protocol)
    assert (line.table.counters.started, line.table.counters.finished, line.table.open) == (1, 1, set())


@settings(max_examples=300)
@given(
    st.booleans(),
    st.lists(st.binary(max_size=60) | st.sampled_from([b"200 result=1\n", b"HANGUP\n", b"520-x\n"]), max_size=12),
)
def test_arbitrary_bytes_in_arbitrary_chunks_always_end(started: bool, chunks: list[bytes]) -> None:
    async def chatty(session: Session) -> None:
        for _ in range(3):
            await session.noop()

    line = Line(chatty)
    protocol, transport = line.connect()
    if started:
        protocol.dataReceived(BLOCK)
    for chunk in chunks:
        if not transport.closing:
            protocol.dataReceived(chunk)
    lose(protocol)
    counters = line.table.counters
    assert line.table.open == set()
    assert counters.started == started == counters.finished + counters.hung_up + counters.failed


@pytest.mark.parametrize(
    "data",
    [
        b"200 result=0\n200 result=0\n",
        b"200 result=1 (x)\n200 result=1 (forged))\n",
        b"200 result=0\nmore",
        b"200 result=1 (a\nb)\n",
        b"hello\n",
        b"\n",
        b"2" * (MAX_RESPONSE_BYTES + 1),
    ],
)
def test_what_res_agi_would_not_say_closes_the_session(data: bytes) -> None:
    steps: list[str] = []

    async def careful(session: Session) -> None:
        try:
            await session.get_variable("X")
            steps.append("went on")
        finally:
            steps.append("cleaned up")

    line = Line(careful)
    protocol, transport = line.connect()
    protocol.dataReceived(BLOCK)
    protocol.dataReceived(data)
    assert steps == ["cleaned up"]
    assert transport.closing
    assert line.table.counters.malformed == 1


def test_a_value_where_the_answer_has_none_closes_the_session() -> None:
    async def script(session: Session) -> None:
        await session.wait_for_digit()

    line = Line(script)
    protocol, transport = line.connect()
    protocol.dataReceived(BLOCK)
    protocol.dataReceived(b"200 result=x\n")
    assert transport.closing
    assert (line.table.counters.malformed, line.table.counters.failed) == (1, 1)
    lose(protocol)
    assert not line.table.open


@pytest.mark.parametrize(
    "data",
    [
        environment_block(callerid="1\nagi_network_script: outbound"),
        environment_block(callerid="1\n\n"),
        BLOCK + b"200 result=1\n\n",
        b"GET / HTTP/1.1\r\n\r\n\n\n",
        b"x" * (MAX_ENVIRONMENT_BYTES + 1),
    ],
)
def test_a_hostile_environment_starts_nothing(data: bytes, caplog: pytest.LogCaptureFixture) -> None:
    line = Line()
    protocol, transport = line.connect()
    protocol.dataReceived(data)
    assert transport.closing
    assert not transport.written
    assert (line.table.counters.started, line.table.counters.malformed) == (0, 1)
    assert "session closed" in caplog.text


def test_an_unknown_script_is_logged_and_closed(caplog: pytest.LogCaptureFixture) -> None:
    line = Line()
    protocol, transport = line.connect()
    protocol.dataReceived(environment_block(script="nosuch"))
    assert transport.closing
    assert line.table.counters.unknown_script == 1
    assert "no script 'nosuch'" in caplog.text


def test_arguments_in_the_url_are_not_part_of_the_scripts_name() -> None:
    assert AgiCaller(script="did?x=1").run(decide).executed == ("Gosub", "tandem-enter,queue,1(sales)")


@pytest.mark.parametrize("hangup_by", ["result", "line", "lost"])
@pytest.mark.parametrize("chunk_bytes", [1, 65_536])
def test_a_caller_hangs_up_at_every_step(hangup_by: Any, chunk_bytes: int) -> None:
    async def menu(session: Session) -> None:
        cleaned.append(False)
        try:
            await session.answer()
            await session.stream_file("welcome", "12")
            await session.get_option("again", "12")
            await session.get_data("number")
            await session.say_digits("12", "#")
            await session.record_file("message", "wav")
            await session.set_variable("X", "1")
            await session.wait_for_digit()
            await session.exec("Gosub", "tandem-enter,queue,1(sales)")
        finally:
            assert session.hung_up or hangup_by == "result" or step >= 9
            cleaned[-1] = True

    for step in range(11):
        cleaned: list[bool] = []
        caller = AgiCaller(hangup_at=step, hangup_by=hangup_by, chunk_bytes=chunk_bytes)
        call = caller.run(menu)
        assert call.finished
        assert call.error is None
        assert cleaned == [True]
        commands = [words for words in call.commands if words != ("CHANNEL", "STATUS")]  # asked after a -1
        assert len(commands) == (max(step, 1) if step < 10 else 9)
        assert caller.table is not None
        assert caller.table.open == set()
        # Hung up during the very last command its answer still counts: the decision was taken.
        assert caller.table.counters.hung_up == (step < 9 or (step == 9 and hangup_by == "lost"))


def test_nothing_is_sent_after_a_hang_up() -> None:
    async def stubborn(session: Session) -> None:
        for _ in range(3):
            try:
                await session.noop()
            except ChannelGone:
                continue

    call = AgiCaller(hangup_at=1, hangup_by="line").run(stubborn)
    assert call.commands == [("NOOP",)]
    assert call.finished


def test_a_dead_channel_still_takes_what_it_may(caplog: pytest.LogCaptureFixture) -> None:
    async def at_the_end(session: Session) -> None:
        try:
            await session.channel_status()
        except ChannelGone:
            await session.set_variable("X", "1")

    call = AgiCaller(answers={"CHANNEL": "511 Command Not Permitted on a dead channel"}).run(at_the_end)
    assert call.variables == {"X": "1"}


def test_a_failing_script_is_logged_once_with_its_channel_and_closed(caplog: pytest.LogCaptureFixture) -> None:
    async def broken(session: Session) -> None:
        await session.noop()
        raise ZeroDivisionError("oops")

    caller = AgiCaller(uniqueid="77.1")
    call = caller.run(broken)
    assert call.finished
    assert isinstance(call.error, ZeroDivisionError)
    assert caller.table is not None
    assert caller.table.counters.failed == 1
    assert [record.getMessage() for record in caplog.records] == [
        "FastAGI PJSIP/trunk-00000001 (77.1): its script failed"
    ]


def test_a_refused_argument_reaches_the_script_and_the_session_goes_on() -> None:
    async def script(session: Session) -> None:
        with pytest.raises(ValueError, match="control character"):
            await session.set_variable("X", "a\nHANGUP")
        await session.noop()

    call = AgiCaller().run(script)
    assert (call.commands, call.error) == ([("NOOP",)], None)


class TestDeferreds:
    def test_a_script_may_ask_somebody_else(self) -> None:
        asked: Deferred[str] = Deferred()

        async def script(session: Session) -> None:
            await session.set_variable("X", await asked)

        call = AgiCaller().run(script)
        assert not call.finished
        asked.callback("fact")
        call.go_on()
        assert (call.finished, call.variables) == (True, {"X": "fact"})

    def test_its_failure_is_raised_in_the_script(self) -> None:
        asked: Deferred[str] = Deferred()

        async def script(session: Session) -> None:
            with pytest.raises(KeyError):
                await asked
            await session.noop()

        call = AgiCaller().run(script)
        asked.errback(KeyError("x"))
        call.go_on()
        assert (call.finished, call.error, call.commands) == (True, None, [("NOOP",)])

    @pytest.mark.parametrize("how", ["line", "lost"])
    def test_a_hang_up_interrupts_it_and_its_late_result_harms_nobody(self, how: str) -> None:
        asked: Deferred[str] = Deferred()
        told: list[str] = []

        async def script(session: Session) -> None:
            try:
                await asked
            except ChannelGone as gone:
                told.append(str(gone))
                raise

        line = Line(script)
        protocol, transport = line.connect()
        protocol.dataReceived(BLOCK)
        if how == "line":
            protocol.dataReceived(b"HANGUP\n")
            assert transport.closing
        lose(protocol)
        asked.errback(RuntimeError("late"))
        assert told == ["hang-up" if how == "line" else "connection lost"]
        assert (line.table.counters.hung_up, line.table.open) == (1, set())

    def test_the_answer_a_hang_up_overtook_is_ignored(self) -> None:
        asked: Deferred[str] = Deferred()

        async def script(session: Session) -> None:
            try:
                await session.noop()
            finally:
                await asked

        line = Line(script)
        protocol, transport = line.connect()
        protocol.dataReceived(BLOCK)
        protocol.dataReceived(b"HANGUP\n")
        protocol.dataReceived(b"511 Command Not Permitted on a dead channel\nnoise\n")
        assert line.table.counters.malformed == 0
        asked.callback("x")
        assert transport.closing

    def test_a_decision_has_a_deadline_whatever_it_waits_for(self, caplog: pytest.LogCaptureFixture) -> None:
        first: Deferred[None] = Deferred()
        second: Deferred[None] = Deferred()

        async def script(session: Session) -> None:
            await first
            await second

        line = Line(script, limits=Limits(decision_s=1.0))
        protocol, transport = line.connect()
        protocol.dataReceived(BLOCK)
        line.wait(0.6)
        first.callback(None)
        assert not transport.closing
        line.wait(0.6)
        assert transport.closing
        assert line.table.counters.too_slow == 1
        assert "no decision within 1.0 s" in caplog.text
        second.callback(None)
        lose(protocol)
        assert not line.table.open

    def test_a_script_can_fail_open_at_its_deadline(self) -> None:
        async def script(session: Session) -> None:
            try:
                await Deferred()
            except DecisionTooSlow:
                await session.exec("Gosub", "open")

        line = Line(script)
        protocol, transport = line.connect()
        protocol.dataReceived(BLOCK)
        line.wait(1.1)
        assert transport.written == b'EXEC "Gosub" "open"\n'

    def test_the_callers_listening_time_is_not_the_decisions(self) -> None:
        async def script(session: Session) -> None:
            await session.stream_file("long", "1")
            await Deferred()

        line = Line(script)
        protocol, transport = line.connect()
        protocol.dataReceived(BLOCK)
        line.wait(60)
        protocol.dataReceived(b"200 result=49 endpos=8\n")
        line.wait(0.9)
        assert not transport.closing
        line.wait(0.2)
        assert transport.closing

    def test_anything_else_cannot_be_awaited(self) -> None:
        class Strange:
            def __await__(self) -> Any:
                yield self

        async def script(session: Session) -> None:
            await Strange()

        call = AgiCaller().run(script)
        assert isinstance(call.error, TypeError)
        assert call.finished


class TestLimits:
    def test_sessions(self) -> None:
        line = Line(limits=Limits(sessions=2))
        lines = [line.connect() for _ in range(3)]
        assert [transport.closing for _, transport in lines] == [False, False, True]
        lines[2][0].dataReceived(BLOCK)
        for protocol, _ in lines[1:]:
            lose(protocol)
        assert line.connect()[1].closing is False
        assert (line.table.counters.refused, line.table.counters.started) == (1, 0)

    def test_peers(self) -> None:
        line = Line(allows=lambda host: host == "127.0.0.1")
        protocol, transport = line.connect("192.0.2.7")
        protocol.dataReceived(BLOCK)
        assert transport.closing
        assert not transport.written
        assert line.connect()[1].closing is False

    def test_a_slow_sender(self) -> None:
        line = Line(limits=Limits(environment_s=5))
        protocol, transport = line.connect()
        for byte in BLOCK[:5]:
            protocol.dataReceived(bytes([byte]))
            line.wait(1)
        assert not transport.closing
        line.wait(0.1)
        assert transport.closing
        lose(protocol)
        assert (line.table.counters.timed_out, line.table.open) == (1, set())

    def test_an_asterisk_that_never_answers(self) -> None:
        line = Line(limits=Limits(idle_s=900))
        protocol, transport = line.connect()
        protocol.dataReceived(BLOCK)
        line.wait(899)
        assert not transport.closing
        line.wait(2)
        assert transport.closing
        assert (line.table.counters.timed_out, line.table.counters.hung_up) == (1, 1)

    def test_a_peer_that_does_not_let_go(self) -> None:
        aborted: list[bool] = []
        line = Line()
        protocol, transport = line.connect()
        protocol.dataReceived(BLOCK)
        protocol.dataReceived(b"200 result=0\n")
        transport.abortConnection = lambda: aborted.append(True)
        line.wait(4)
        assert not aborted
        line.wait(2)
        assert aborted

    def test_a_flood_of_refusals_is_logged_a_few_times_a_second(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.WARNING)
        line = Line(limits=Limits(sessions=0))
        for _ in range(500):
            lose(line.connect()[0])
        line.now += 1
        line.connect()
        messages = [record.getMessage() for record in caplog.records]
        assert len(messages) == WARNINGS_PER_S + 2
        assert f"{500 - WARNINGS_PER_S} more FastAGI warnings were left out" in messages

    def test_a_script_that_blocks_everybody_is_named(self, caplog: pytest.LogCaptureFixture) -> None:
        async def blocking(session: Session) -> None:
            line.now += 3

        line = Line(blocking)
        line.connect()[0].dataReceived(BLOCK)
        assert "blocked everybody for 3.00 s" in caplog.text
        assert line.table.counters.longest_step_s == 3
        assert line.table.counters.script_s == 3


def test_a_session_kept_beyond_its_script_is_useless() -> None:
    kept: list[Session] = []

    async def leaky(session: Session) -> None:
        kept.append(session)

    assert AgiCaller().run(leaky).finished
    with pytest.raises(RuntimeError, match="outside of its script"):
        kept[0].noop().send(None)


@pytest.mark.parametrize(
    "make", [lambda: AgiCaller(callerid="1\nagi_extension: 0"), lambda: AgiCaller(extension="5\n\n")]
)
def test_the_caller_of_a_forged_call_meets_the_fallback(make: Callable[[], AgiCaller]) -> None:
    call = make().run(decide)
    assert (call.commands, call.finished) == ([], True)
