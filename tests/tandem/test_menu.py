import pytest
from hypothesis import given
from hypothesis import strategies as st

from tandem.domain.destinations import EndpointDestination, HangupDestination, QueueDestination
from tandem.domain.entities import Endpoint, Menu, Pbx
from tandem.domain.menu import Again, GiveUp, Goto, Tries, collect, step
from tandem.domain.snapshot import build_snapshot

KEYS = "0123456789*#"
SNAPSHOT = build_snapshot(
    1,
    Pbx(
        endpoints=tuple(
            Endpoint(extension=extension, secret="long enough") for extension in ("200", "2001", "31", "1000")
        )
    ),
)


def menu(*options: str, **fields) -> Menu:
    return Menu(
        name="main",
        prompts=("hello", "choose"),
        options={keys: QueueDestination(queue=f"q{index}") for index, keys in enumerate(options)},
        invalid=HangupDestination(hangup=17),
        timeout=HangupDestination(hangup=19),
        fallback=HangupDestination(hangup=16),
        **{"timeout_prompts": ("still-there",), "invalid_prompts": ("sorry",), **fields},
    )


def chosen(asked: Menu, digits: str) -> str:
    outcome = step(asked, Tries(), digits, SNAPSHOT)
    return outcome.reason if isinstance(outcome, Goto) else "no"


@pytest.mark.parametrize(
    ("digits", "waits"),
    [
        ("", 5.0),
        ("1", 2.0),
        ("12", None),
        ("13", None),
        ("2", None),
        ("*", 2.0),
        ("*9", None),
        ("#", None),
        ("9", None),
    ],
)
def test_the_longest_match_waits_for_the_next_digit(digits, waits):
    assert collect(menu("1", "12", "2", "*9", "#"), digits, SNAPSHOT) == waits


@pytest.mark.parametrize(
    ("digits", "waits"), [("2", 2.0), ("20", 2.0), ("200", 2.0), ("2001", None), ("3", 2.0), ("31", None), ("4", None)]
)
def test_direct_dial_waits_as_long_as_a_number_may_follow(digits, waits):
    assert collect(menu("2", direct_dial=True), digits, SNAPSHOT) == waits
    assert collect(menu("2"), digits, SNAPSHOT) is None


def test_every_key_can_be_an_option():
    asked = menu(*KEYS)
    for index, key in enumerate(KEYS):
        assert step(asked, Tries(), key, SNAPSHOT) == Goto(QueueDestination(queue=f"q{index}"), f"pressed {key}")


def test_options_win_over_numbers_inside():
    asked = menu("200", "1", direct_dial=True)
    assert chosen(asked, "200") == "pressed 200"
    assert chosen(asked, "31") == "dialled 31"
    assert step(asked, Tries(), "31", SNAPSHOT).destination == EndpointDestination(endpoint="31")
    assert chosen(asked, "32") == "no"
    assert chosen(menu("1"), "31") == "no"


def test_hash_ends_digits_unless_it_means_something():
    asked = menu("1", "12", "12#", direct_dial=True)
    assert chosen(asked, "1#") == "pressed 1"
    assert chosen(asked, "12#") == "pressed 12#"
    assert chosen(asked, "200#") == "dialled 200"
    assert collect(asked, "200#", SNAPSHOT) is None
    assert collect(asked, "12", SNAPSHOT) == 2.0
    assert chosen(asked, "#") == "no"


def test_wrong_keys_and_silence_are_counted_apart():
    asked = menu("1", invalid_retries=1, timeout_retries=1)
    first = step(asked, Tries(), "7", SNAPSHOT)
    assert first == Again(("sorry", "hello", "choose"), Tries(1, 0), "pressed 7, which is no option (1 of 2)")
    second = step(asked, first.tries, "", SNAPSHOT)
    assert second == Again(("still-there", "hello", "choose"), Tries(1, 1), "nothing pressed (1 of 2)")
    assert step(asked, second.tries, "8", SNAPSHOT).destination == asked.invalid
    assert step(asked, second.tries, "", SNAPSHOT).destination == asked.timeout
    assert isinstance(step(asked, second.tries, "1", SNAPSHOT), Goto)


def test_no_retries_at_all():
    asked = menu("1", invalid_retries=0, timeout_retries=0)
    assert isinstance(step(asked, Tries(), "7", SNAPSHOT), GiveUp)
    assert isinstance(step(asked, Tries(), "", SNAPSHOT), GiveUp)


keys = st.text(KEYS, min_size=1, max_size=4)
menus = st.builds(
    lambda options, **fields: menu(*options, **fields),
    st.lists(keys, max_size=6, unique=True),
    direct_dial=st.booleans(),
    invalid_retries=st.integers(0, 9),
    timeout_retries=st.integers(0, 9),
)


@given(menus, st.lists(st.text(KEYS + "ABCD", max_size=12), min_size=25, max_size=25))
def test_a_menu_ends_whatever_is_pressed(asked, pressed):
    """Plays the caller who presses these keys, round by round, with no more patience than the menu has."""
    tries = Tries()
    rounds = 0
    for wanted in pressed:
        rounds += 1
        digits = ""
        for key in wanted:
            if collect(asked, digits, SNAPSHOT) is None:
                break
            digits += key
        assert len(digits) <= 5
        outcome = step(asked, tries, digits, SNAPSHOT)
        if not isinstance(outcome, Again):
            break
        assert outcome.tries != tries
        tries = outcome.tries
    assert not isinstance(outcome, Again)
    assert rounds <= asked.invalid_retries + asked.timeout_retries + 1


@given(menus, keys)
def test_what_can_be_chosen_is_chosen_when_its_keys_are_pressed(asked, wanted):
    """Digits are never cut short of an option or a number that they could still become."""
    digits = ""
    for key in wanted:
        if collect(asked, digits, SNAPSHOT) is None:
            break
        digits += key
    possible = set(asked.options) | (set(SNAPSHOT.numbers) if asked.direct_dial else set())
    if wanted in possible:
        assert digits == wanted
        assert isinstance(step(asked, Tries(), digits, SNAPSHOT), Goto)
