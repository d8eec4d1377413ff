"""The AMI wire: any bytes, any chunks, no forged header believed, no value sent that Asterisk would read otherwise."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tandem.ami import wire
from tandem.ami.errors import AmiForged, AmiProtocolError, AmiValueRefused
from tandem.ami.wire import AmiParser, Message, encode_action, read_event_name

GREETING = b"Asterisk Call Manager/11.0.0\r\n"

# Bytes that look like AMI more often than chance would have it.
pieces = st.one_of(
    st.binary(max_size=12),
    st.sampled_from(
        [
            b"\r\n",
            b"\r\n\r\n",
            b"\r",
            b"\n",
            b"Event: Hangup",
            b"Response: Success",
            b"ActionID: 1",
            b": ",
            GREETING,
            b"Asterisk Call",
        ]
    ),
)
streams = st.lists(pieces, max_size=30).map(b"".join)


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})
    return [data[start:end] for start, end in itertools.pairwise(edges)]


def parse(chunks: list[bytes], **options: bool) -> tuple[list[bytes], str]:
    """The frames, and the error that ended it all."""
    parser, frames = AmiParser(**options), []
    try:
        for chunk in chunks:
            frames += parser.feed(chunk)
    except AmiProtocolError as error:
        return frames, str(error)
    return frames, ""


@given(streams, st.lists(st.integers(min_value=0), max_size=12), st.booleans())
def test_any_bytes_in_any_chunks_give_what_the_whole_gives(data: bytes, places: list[int], greets: bool) -> None:
    data = GREETING + data if greets else data
    assert parse(cut(data, places)) == parse([data])
    assert parse([data[i : i + 1] for i in range(len(data))]) == parse([data])


@given(streams)
def test_any_frame_can_be_read(data: bytes) -> None:
    for frame in parse([data], expects_greeting=False)[0]:
        message = Message(frame)
        assert frame
        assert b"\r\n\r\n" not in frame
        assert repr(message)
        assert (message.kind == "Event") == bool(read_event_name(frame)) or message.name == ""
        for name, value in message.items():
            if name and f"\r\n{name}: ".encode() in b"\r\n" + frame:
                assert value in message.all(name)
                try:
                    assert message.get(name) == message.all(name)[0] or ": " not in name
                except AmiForged:
                    assert len(message.all(name)) > 1


@pytest.mark.parametrize(
    ("frame", "error"),
    [(b"Event: B\r\n" * 40, "message of more than 300 bytes"), (b"Event: " + b"x" * 90, "line of more than 80 bytes")],
)
@pytest.mark.parametrize("step", [1, 7, 1000])
def test_limits_give_the_good_frames_then_the_error(monkeypatch, frame: bytes, error: str, step: int) -> None:
    monkeypatch.setattr(wire, "MAX_FRAME_BYTES", 300)
    monkeypatch.setattr(wire, "MAX_LINE_READ_BYTES", 80)
    stream = GREETING + b"Event: A\r\n\r\n" + frame + b"\r\n\r\nEvent: B\r\n\r\n"
    chunks = [stream[i : i + step] for i in range(0, len(stream), step)]
    assert parse(chunks) == ([b"Event: A"], f"a {error}")


def test_a_frame_that_never_ends_is_refused_before_it_fills_the_memory(monkeypatch) -> None:
    monkeypatch.setattr(wire, "MAX_FRAME_BYTES", 1000)
    parser = AmiParser(expects_greeting=False)
    with pytest.raises(AmiProtocolError, match="more than 1000 bytes"):
        list(itertools.chain.from_iterable(parser.feed(b"x") for _ in range(2000)))


def test_the_longest_frame_passes(monkeypatch) -> None:
    monkeypatch.setattr(wire, "MAX_FRAME_BYTES", 1000)
    frame = b"Event: " + b"x" * 993
    assert parse([frame[:500], frame[500:] + b"\r", b"\n\r", b"\n"], expects_greeting=False) == ([frame], "")


@pytest.mark.parametrize(
    "greeting",
    [b"SSH-2.0-OpenSSH_9.2\r\n", b"Asterisk Call Manageress", b"\r\n", b"Asterisk Call Manager/" + b"1" * 300],
)
def test_another_service_on_the_port_is_refused(greeting: bytes) -> None:
    assert parse([greeting])[1]
    assert parse([bytes([byte]) for byte in greeting])[1]


def test_greeting_is_kept() -> None:
    parser = AmiParser()
    assert list(parser.feed(GREETING[:9])) == []
    assert parser.greeting is None
    assert list(parser.feed(GREETING[9:] + b"Event: A\r\n\r\n")) == [b"Event: A"]
    assert parser.greeting == "Asterisk Call Manager/11.0.0"


def test_an_empty_line_too_many_does_not_hide_the_next_message() -> None:
    # As after PJSIPShowContacts without contacts.
    stream = b"Response: Error\r\nMessage: No Contacts found\n\r\n\r\n\r\nEvent: A\r\n\r\n\r\n\r\n\r\n\r\n"
    assert parse([stream], expects_greeting=False)[0] == [
        b"Response: Error\r\nMessage: No Contacts found\n",
        b"Event: A",
    ]


def test_message_is_read_on_demand() -> None:
    message = Message(
        "Response: Success\r\nActionID: 7\r\nOutput: a: b\r\nOutput: \r\nOutput:  c\r\nEmpty: \r\nX: é\r\nno colon".encode()
    )
    assert (message.kind, message.name) == ("Response", "Success")
    assert message.get("Response") == "Success"
    assert message.get("ActionID") == "7"
    assert message.get("Empty") == ""
    assert message.get("Missing", "none") == "none"
    assert message.get("X") == "é"
    assert message.all("Output") == ("a: b", "", " c")
    assert message.items()[-1] == ("", "no colon")
    with pytest.raises(AmiForged, match="Output"):
        message.get("Output")
    assert Message(b"Event: \xff").name == "\ufffd"


def test_a_header_from_a_callers_number_is_not_believed() -> None:
    """The forged lines come before the true ones: neither first nor last would be safe."""
    number = b"555\r\nUniqueid: someone-elses-call\r\nContext: tandem-outbound"
    event = (
        b"Event: Newchannel\r\nChannel: PJSIP/x-1\r\nCallerIDNum: %b\r\nContext: from-trunk\r\nUniqueid: 1.1" % number
    )
    message = Message(event)
    assert message.get("Channel") == "PJSIP/x-1"
    for header in ("Uniqueid", "Context"):
        with pytest.raises(AmiForged, match=header):
            message.get(header)


def test_repr_tells_no_value() -> None:
    assert "s3cret" not in repr(Message(b"Event: A\r\nValue: s3cret"))


names = st.from_regex(r"[A-Z][A-Za-z0-9]{0,12}", fullmatch=True)
values = st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), max_size=60).filter(
    lambda value: not value.startswith(" ")
)


@given(names, st.lists(st.tuples(names, values), max_size=12, unique_by=lambda header: header[0].lower()))
def test_what_is_encoded_parses_back(name: str, headers: list[tuple[str, str]]) -> None:
    headers = [header for header in headers if header[0].lower() != "action"]
    (frame,), error = parse([encode_action(name, headers)], expects_greeting=False)
    assert not error
    assert Message(frame).items() == [("Action", name), *headers]
    assert all(Message(frame).get(header) == value for header, value in headers)


@given(
    st.text(max_size=20),
    st.sampled_from(["\r", "\n", "\0", "\t", "\x1b", "\x7f", "\x85", "\x9f", "\u2028", "\u2029", "\ud800"]),
    st.text(max_size=20),
)
def test_control_characters_are_refused_everywhere(before: str, control: str, after: str) -> None:
    hostile = before + control + after
    for name, headers, variables in (
        (hostile, [], []),
        ("A", [("B", hostile)], []),
        ("A", [(hostile, "b")], []),
        ("A", [], [("V", hostile)]),
        ("A", [], [(hostile, "v")]),
    ):
        with pytest.raises(AmiValueRefused):
            encode_action(name, headers, variables)


@given(st.text(max_size=80), st.text(max_size=80), st.text(max_size=80))
def test_no_text_becomes_a_second_header_or_action(name: str, header: str, value: str) -> None:
    try:
        data = encode_action(name, [("ActionID", "1"), (header, value)], [("V", value)])
    except AmiValueRefused:
        return
    assert data.count(b"\r\n") == 5
    assert data.count(b"\r") == data.count(b"\n") == 5
    (frame,), _ = parse([data], expects_greeting=False)
    assert [pair[0] for pair in Message(frame).items()] == ["Action", "ActionID", header, "Variable"]


@pytest.mark.parametrize(
    ("name", "headers", "variables", "rule"),
    [
        ("A", [("B", " b")], [], "begins with a blank"),
        ("A", [("B C", "b")], [], "not a header name"),
        ("A", [("B:", "b")], [], "not a header name"),
        ("A", [("", "b")], [], "not a header name"),
        ("A", [("B", "1"), ("b", "2")], [], "given twice"),
        ("A", [("b", "1"), ("B", "2")], [], "given twice"),
        ("A", [("action", "Originate")], [], "given twice"),
        ("A", [("Variable", "x")], [("V", "1")], "given twice"),
        ("A", [("B", "b" * 1020)], [], "line of 1023 bytes"),
        ("A", [("B", "é" * 510)], [], "line of 1023 bytes"),
        ("A", [], [(f"V{n}", "") for n in range(128)], "129 lines"),
        ("A", [], [("SHELL(id)", "")], "not a variable name"),
        ("A", [], [("A,B", "")], "not a variable name"),
        ("A", [], [("A=B", "")], "not a variable name"),
        ("A", [], [("", "")], "not a variable name"),
    ],
)
def test_refusals_name_the_rule(name, headers, variables, rule) -> None:
    with pytest.raises(AmiValueRefused, match=rule):
        encode_action(name, headers, variables)


def test_refusals_never_show_the_value() -> None:
    with pytest.raises(AmiValueRefused) as refusal:
        encode_action("Login", [("Secret", "hunter2\r\nAction: Originate")])
    assert "hunter2" not in str(refusal.value)
    assert "Secret" in str(refusal.value)


def test_longest_line_and_most_lines_pass() -> None:
    assert encode_action("A", [("B", "b" * 1019)], [(f"V{n}", "") for n in range(126)]).count(b"\r\n") == 129


def separate(text: str) -> list[str]:
    """Arguments as Asterisk's `ast_app_separate_args(…, ',', remove_chars=1)` splits them: written from its C source's rules, not from ours."""
    arguments, current, depth, quoted, index = [], "", {"(": 0, "[": 0}, False, 0
    while index < len(text):
        char = text[index]
        if char == "\\":
            index += 1
            current += text[index : index + 1]
        elif char == '"':
            quoted = not quoted
        elif char == "," and not quoted and not any(depth.values()):
            arguments.append(current)
            current = ""
        else:
            if char in depth:
                depth[char] += 1
            elif char in ")]":
                opening = "(" if char == ")" else "["
                depth[opening] = max(0, depth[opening] - 1)
            current += char
        index += 1
    return [*arguments, current]


@settings(max_examples=300)
@given(st.text(st.sampled_from('ab,="\\()[]; ${}'), max_size=20) | values)
def test_a_variable_is_one_variable_with_its_value(value: str) -> None:
    data = encode_action("Originate", [], [("__TANDEM_A", value)])
    line = data.split(b"\r\n")[1].decode().removeprefix("Variable: ")
    assert separate(line) == [f"__TANDEM_A={value}"]
