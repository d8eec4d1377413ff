"""The AGI wire: hostile environments, the quoting and its round trip, responses in arbitrary chunks."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastagi.testing import environment_block, split_words
from fastagi.wire import (
    HANGUP,
    MAX_COMMAND_BYTES,
    MAX_RESPONSE_BYTES,
    CommandRefused,
    Response,
    ResponseReader,
    WireError,
    encode_command,
    parse_environment,
    parse_response,
)

PRINTABLE = st.text(st.characters(exclude_categories=["Cs"], exclude_characters=[chr(c) for c in [*range(32), 127]]))
LINES = environment_block(args=("a", "b: c")).decode().split("\n")


class TestEnvironment:
    def test_every_value(self) -> None:
        block = environment_block(
            script="did?x=1",
            extension="+49301",
            callerid="4930999",
            calleridname='Ünal, "M" <1>',
            context="c",
            args=("one", "", "a: b"),
        )
        environment = parse_environment(block)
        assert environment.network_script == "did?x=1"
        assert environment.request == "agi://127.0.0.1:4573/did?x=1"
        assert (environment.channel, environment.type) == ("PJSIP/trunk-00000001", "PJSIP")
        assert (environment.callerid, environment.calleridname) == ("4930999", 'Ünal, "M" <1>')
        assert (environment.dnid, environment.rdnis, environment.extension) == ("+49301", None, "+49301")
        assert (environment.context, environment.priority, environment.enhanced) == ("c", 1, False)
        assert environment.args == ("one", "", "a: b")

    def test_unknown_is_none_and_only_the_whole_word(self) -> None:
        assert parse_environment(environment_block(callerid=None)).callerid is None
        assert parse_environment(environment_block(callerid="unknown5")).callerid == "unknown5"

    def test_no_script_in_the_url(self) -> None:
        block = environment_block().replace(b"agi_network_script: did\n", b"")
        assert parse_environment(block).network_script == ""

    def test_latin1_name_does_not_lose_the_call(self) -> None:
        block = environment_block(calleridname="X").replace(b"name: X", b"name: M\xfcller")
        assert parse_environment(block).calleridname == "M\ufffdller"

    @pytest.mark.parametrize(
        "callerid",
        [
            "555\nagi_network_script: outbound",
            "555\nagi_extension: 00900",
            "555\nagi_arg_1: x",
            "555\nagi_callingpres: 0",
            "555\nX-Other: 1",
            "555\nno colon",
            "555\n\n",
            "555\r",
            "555\0",
            "555\x1b[2J",
            "555\x7f",
            "5" * 129,
        ],
    )
    def test_what_a_stranger_can_put_into_the_caller_id(self, callerid: str) -> None:
        with pytest.raises(WireError, match="agi_callerid"):
            parse_environment(environment_block(callerid=callerid))

    def test_an_argument_out_of_sequence(self) -> None:
        with pytest.raises(WireError, match="agi_arg_2 was expected"):
            parse_environment(environment_block(args=("x\nagi_arg_1: y",)))

    @pytest.mark.parametrize("number", range(len(LINES) - 2))
    def test_each_line_missing_or_twice(self, number: int) -> None:
        once = LINES[:number] + LINES[number + 1 :]
        twice = LINES[: number + 1] + LINES[number:]
        for lines in (
            (twice,) if number in (1, len(LINES) - 3) else (once, twice)
        ):  # script and last argument may be missing
            with pytest.raises(WireError):
                parse_environment("\n".join(lines).encode())

    def test_the_error_names_line_and_rule(self) -> None:
        with pytest.raises(WireError, match="agi_priority: must be a whole number, got 'agi_priority: x'"):
            parse_environment(environment_block().replace(b"priority: 1", b"priority: x"))
        with pytest.raises(WireError, match="line 24 should be agi_arg_N"):
            parse_environment(environment_block(args=("a", "x" * 2_000)))
        with pytest.raises(WireError, match="more than 64 arguments"):
            parse_environment(environment_block(args=["a"] * 65))

    @given(st.binary(max_size=300))
    def test_arbitrary_bytes(self, data: bytes) -> None:
        with pytest.raises(WireError):
            parse_environment(data)

    @given(st.integers(0, len(environment_block())), st.binary(max_size=40))
    def test_arbitrary_bytes_put_in_anywhere_never_move_a_value(self, position: int, data: bytes) -> None:
        block = environment_block()
        try:
            environment = parse_environment(block[:position] + data + block[position:])
        except WireError:
            return
        assert all(ord(char) >= 32 for value in environment if isinstance(value, str) for char in value)
        clean = parse_environment(block)
        assert sum(a != b for a, b in zip(environment, clean, strict=True)) <= 1  # only the value it landed in


class TestCommand:
    @given(st.lists(PRINTABLE, max_size=8).filter(lambda words: sum(len(word.encode()) for word in words) < 900))
    def test_quoting_round_trips_through_res_agis_parser(self, words: list[str]) -> None:
        line = encode_command("EXEC", *words)
        assert line.endswith(b"\n")
        assert line.count(b"\n") == 1
        assert split_words(line[:-1].decode()) == ("EXEC", *words)

    @pytest.mark.parametrize(
        ("line", "words"),
        [
            ("a  b\tc ", ("a", "b", "c")),
            ('a "" b', ("a", "", "b")),
            (r'"a\"b\\" c', ('a"b\\', "c")),
            (r"a\ b", ("a b",)),
            ('a"b c"d', ("ab cd",)),
            ('"open', ("open",)),
            ("", ()),
        ],
    )
    def test_the_model_of_parse_args(self, line: str, words: tuple[str, ...]) -> None:
        assert split_words(line) == words

    @pytest.mark.parametrize("char", [chr(code) for code in [*range(32), 127]])
    def test_control_characters_are_refused(self, char: str) -> None:
        with pytest.raises(CommandRefused, match="SET VARIABLE: a control character"):
            encode_command("SET VARIABLE", "X", f"a{char}b")

    def test_lone_surrogates_are_refused(self) -> None:
        with pytest.raises(CommandRefused, match="surrogate"):
            encode_command("NOOP", "\ud800")

    def test_a_line_that_asterisk_would_cut_is_refused(self) -> None:
        room = MAX_COMMAND_BYTES - len('NOOP ""\n')
        assert len(encode_command("NOOP", "x" * room)) == MAX_COMMAND_BYTES
        with pytest.raises(CommandRefused, match="2048 bytes, Asterisk reads at most 2047"):
            encode_command("NOOP", "x" * (room + 1))
        with pytest.raises(CommandRefused, match="words"):
            encode_command("NOOP", *["x"] * 200)


class TestResponse:
    @pytest.mark.parametrize(
        ("line", "response"),
        [
            ("200 result=1", Response(200, "1", "")),
            ("200 result=1 (a) b)", Response(200, "1", "(a) b)")),
            ("200 result=1 ()", Response(200, "1", "()")),
            ("200 result= (timeout)", Response(200, "", "(timeout)")),
            ("200 result=", Response(200, "", "")),
            ("200 result=50 endpos=8000", Response(200, "50", "endpos=8000")),
            ("200 result=-1 (hangup) endpos=12", Response(200, "-1", "(hangup) endpos=12")),
            ("510 Invalid or unknown command", Response(510, "", "Invalid or unknown command")),
            (
                "511 Command Not Permitted on a dead channel",
                Response(511, "", "Command Not Permitted on a dead channel"),
            ),
            ("HANGUP", HANGUP),
        ],
    )
    def test_lines(self, line: str, response: Response) -> None:
        assert parse_response(line) == response

    @pytest.mark.parametrize(
        "line", ["", "200", "20", "2000 result=1", "hello", "200result=1", "200 result=1 (a", "HANGUP "]
    )
    def test_others(self, line: str) -> None:
        if line == "200":
            assert parse_response(line) == Response(200, "", "")
        else:
            with pytest.raises(WireError):
                parse_response(line)

    TALK = (
        b"200 result=1\n100 result=0 Trying...\n200 result=0 Gosub complete\n"
        b"520-Invalid command syntax.  Proper usage follows:\nUsage: ANSWER\n200 result=7 is not a response here\n520 End of proper usage.\n"
        b"520 Invalid command syntax.  Proper usage not available.\n200 result=1 (caf\xc3\xa9)\nHANGUP\n511 Command Not Permitted\n"
    )

    @given(st.lists(st.integers(0, len(TALK)), max_size=20))
    def test_a_conversation_in_arbitrary_chunks(self, cuts: list[int]) -> None:
        reader, responses = ResponseReader(), []
        edges = [0, *sorted(cuts), len(self.TALK)]
        for start, end in pairwise(edges):
            responses += reader.feed(self.TALK[start:end])
        assert [response.code for response in responses] == [200, 200, 520, 520, 200, 0, 511]
        assert "200 result=7" in responses[2].text
        assert responses[4].text == "(café)"
        assert reader.at_boundary()

    @given(st.lists(st.binary(max_size=30), max_size=10))
    def test_arbitrary_bytes_are_responses_or_refused(self, chunks: list[bytes]) -> None:
        reader = ResponseReader()
        try:
            for chunk in chunks:
                for response in reader.feed(chunk):
                    assert response is HANGUP or 100 < response.code < 600
        except WireError:
            pass

    @pytest.mark.parametrize(
        "data", [b"2" * (MAX_RESPONSE_BYTES + 1), b"200 result=1 (" + b"x" * MAX_RESPONSE_BYTES + b")\n"]
    )
    def test_a_flood_without_newline_is_refused(self, data: bytes) -> None:
        with pytest.raises(WireError, match="longer"):
            ResponseReader().feed(data)

    def test_usage_without_end_is_refused(self) -> None:
        reader = ResponseReader()
        reader.feed(b"520-Invalid\n" + (b"x" * 1_000 + b"\n") * 64)
        with pytest.raises(WireError, match="usage"):
            reader.feed((b"x" * 1_000 + b"\n") * 2)
