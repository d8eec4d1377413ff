"""A model of Asterisk's parser of .conf files (main/config.c, 22), byte by byte, and a small PBX to render."""

import pytest

from tandem.domain.destinations import EndpointDestination, HangupDestination, VoicemailDestination
from tandem.domain.entities import (
    Endpoint,
    General,
    MusicClass,
    Pbx,
    PenaltyChange,
    PenaltyRule,
    Queue,
    QueueMember,
    Trunk,
    VoicemailBox,
)

LINE_BUFFER = 8192


class Category:
    def __init__(self, name, is_template):
        self.name, self.is_template, self.variables = name, is_template, []

    def get(self, name):
        """The last value of that name, as sorcery and app_queue take it."""
        values = [value for key, value in self.variables if key == name]
        assert values, f"[{self.name}] has no {name}"
        return values[-1]


def strip_blanks(text: bytes) -> bytes:
    """ast_strip: everything below 33 goes, on both sides."""
    blanks = bytes(range(33))
    return text.strip(blanks)


def cut_comments(line: bytes, depth: int) -> tuple[bytes | None, int]:
    """The loop over `;` in config_text_file_load: what is left to process (None: nothing), and the nesting of ;-- --; after."""
    buffer, at = line, 0
    start = 0 if depth == 0 else None
    while (found := buffer.find(b";", at)) >= 0:
        if found > at and buffer[found - 1 : found] == b"\\":
            buffer = buffer[: found - 1] + buffer[found:]
            at = found
        elif buffer[found + 1 : found + 3] == b"--" and buffer[found + 3 : found + 4] != b"-":
            head, rest = buffer[:found], buffer[found + 3 :]
            buffer, at = head + b"\0" + rest, found + 1
            depth += 1
        elif found >= at + 2 and buffer[found - 2 : found] == b"--":
            depth -= 1
            at = found + 1
            if depth == 0:
                if start is None:
                    start = at
                else:
                    head = buffer[: buffer.find(b"\0", start)]
                    buffer, at = head + buffer[at:], len(head)
        elif depth == 0:
            buffer = buffer[:found]
            break
        else:
            at = found + 1
    if start is None:
        return None, depth
    return buffer[start:].partition(b"\0")[0], depth


def read_conf_text(text: str):
    """(categories in order, directives); raises AssertionError where Asterisk would refuse or warn."""
    categories, directives, depth = [], [], 0
    for line in text.encode().split(b"\n"):
        assert len(line) + 1 < LINE_BUFFER - 1, "line too long"
        rest, depth = cut_comments(line, depth)
        rest = strip_blanks(rest or b"").decode()
        if not rest:
            continue
        if rest.startswith("["):
            name, closing, options = rest[1:].partition("]")
            assert closing
            category = Category(name, False)
            if options.startswith("("):
                for option in options[1 : options.index(")")].split(","):
                    if option == "!":
                        category.is_template = True
                    elif option == "+":
                        category = next(known for known in categories if known.name == name)
                    else:
                        base = next(known for known in categories if known.name == option)
                        category.variables += base.variables
            if category not in categories:
                categories.append(category)
        elif rest.startswith("#"):
            directives.append(rest)
        else:
            assert not rest.startswith("\\")
            name, equals, value = rest.partition("=")
            assert equals, f"no = in {rest!r}"
            assert not name.endswith("+")
            value = value.removeprefix(">")
            categories[-1].variables.append((name.strip(), strip_blanks(value.encode()).decode()))
    assert depth == 0
    return categories, directives


@pytest.fixture(scope="session")
def read_conf():
    return read_conf_text


@pytest.fixture(scope="session")
def small_pbx():
    """A small company: what the golden files are made from."""
    return Pbx(
        general=General(
            country="DE",
            language="de",
            time_zone="Europe/Berlin",
            emergency_numbers=("112", "110"),
            outbound_trunk="carrier",
        ),
        trunks=(
            Trunk(
                name="carrier",
                description="Main line; two proxies",
                hosts=("192.0.2.10:5080", "192.0.2.11"),
                numbers="national",
            ),
            Trunk(
                name="backup",
                authentication="registration",
                hosts=("sip.example.net",),
                match=("198.51.100.0/24", "203.0.113.7:5060"),
                username="4930 555",
                secret="cheese;and-wine",
                from_user="4930555",
                from_domain="example.net",
                codecs=("alaw",),
            ),
        ),
        endpoints=(
            Endpoint(extension="1002", secret="correct-horse", permissions=("internal", "national"), language="en"),
            Endpoint(extension="1001", name='Ann "Reception"; ground floor', secret="battery=staple", voicemail="1001"),
        ),
        voicemail_boxes=(
            VoicemailBox(mailbox="1001", name="Ann; Reception", pin="4711", email="ann@example.net"),
            VoicemailBox(mailbox="2000", pin="0815", language="en", time_zone="Europe/London"),
        ),
        music_classes=(
            MusicClass(
                name="waltzes",
                description="For sales; loud",
                sounds=("tandem/waltz", "tandem/second-waltz"),
                order="random",
                announcement="beep",
            ),
        ),
        penalty_rules=(
            PenaltyRule(
                name="widen",
                description="Sales first",
                changes=(
                    PenaltyChange(after_s=0, max_penalty=0),
                    PenaltyChange(after_s=30, max_penalty=5),
                    PenaltyChange(after_s=60, min_penalty=2, raise_penalty=3),
                ),
            ),
        ),
        queues=(
            Queue(
                name="sales",
                description="Sales => everyone",
                members=(QueueMember(endpoint="1001"), QueueMember(endpoint="1002", penalty=1)),
                fallback=EndpointDestination(endpoint="1001"),
                announce_position=True,
                announce_every_s=45,
            ),
            Queue(
                name="Support",
                strategy="ringall",
                music="jazz",
                max_callers=10,
                join_when_empty=True,
                leave_when_empty=False,
                fallback=VoicemailDestination(voicemail="2000"),
                full=HangupDestination(hangup=17),
            ),
        ),
    )
