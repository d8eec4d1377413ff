"""That we read patterns as Asterisk does: which one wins, and that our regular expressions say the same in its REGEX()."""

import random
import re

import pytest

from tandem.domain.destinations import HangupDestination
from tandem.domain.entities import Did, Pbx
from tandem.domain.numbers import pattern_regex
from tandem.domain.snapshot import build_snapshot

pytestmark = pytest.mark.asterisk

PATTERNS = (
    "_4930", "_493[0-5]", "_493[1-2]", "_493[2-3]", "_49NX", "_49ZX", "_49XX", "_49N.", "_49N!", "_49X.", "_49X!", "_49.", "_49!",
    "_4X", "_4Z", "_4[19]", "_4XX", "_X", "_X.", "_NXXX", "_Z!", "_[13]X.", "_[1-35]5", "_5-5-X", "_0!",
)  # fmt: skip


@pytest.fixture(scope="module")
def asterisk(asterisk_factory):
    lines = "".join(f"exten => {pattern},1,NoOp()\n" for pattern in PATTERNS)
    return asterisk_factory(config={"extensions.conf": f"[patterns]\n{lines}"})


def numbers():
    chosen = random.Random(4)
    some = {"".join(chosen.choices("012345949494", k=chosen.randint(1, 6))) for _ in range(60)}
    return sorted(some | {"4930", "493", "4931", "4932", "49", "491", "490", "551", "0", "15", "25"})


@pytest.fixture(scope="module")
def index():
    hangup = HangupDestination()
    return build_snapshot(1, Pbx(dids=tuple(Did(number=pattern, destination=hangup) for pattern in PATTERNS))).dids


def shown_by(asterisk, what: str) -> list[str]:
    """`dialplan show` lists what matches in the order in which the PBX core tries it."""
    return re.findall(r"^\s+'(\S+)' =>", asterisk.cli(f"dialplan show {what}"), re.MULTILINE)


def test_patterns_are_tried_in_asterisks_order(asterisk, index):
    assert [did.number for _, did in index.patterns] == shown_by(asterisk, "patterns")


def test_the_pattern_that_asterisk_takes_is_found(asterisk, index):
    for number in numbers():
        found, shown = index.find(number), shown_by(asterisk, f"{number}@patterns")
        assert (found and found.number) == (shown[0] if shown else None), number


def test_regex_finds_what_the_pattern_does(asterisk):
    for pattern in PATTERNS[::3]:
        regex = pattern_regex(pattern)
        for number in numbers()[::6]:
            shown = asterisk.cli(rf'dialplan eval function "REGEX(\"{regex}\" {number})"')
            (result,) = re.findall(r"^Result: ([01])", shown, re.MULTILINE)
            assert bool(int(result)) == bool(re.match(regex, number)), (pattern, number, shown)
