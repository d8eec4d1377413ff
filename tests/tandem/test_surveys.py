"""Surveys on paper: what each key does, that every visit ends, what does not fit, what is spoken."""

import json

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from tandem.cli.main import main
from tandem.domain.surveys import (
    MAX_STEPS,
    Action,
    Answer,
    End,
    Question,
    Survey,
    Visit,
    begin,
    check_survey,
    collect,
    fill,
    has_placeholders,
    phrase,
    step,
)

ADAPTER = TypeAdapter(Survey)
MENU = {
    "name": "All actions", "max_plays": 3, "then": {"queue": "sales"},
    "questions": [
        {"id": "start", "text": "Hello <name>.", "timeout_s": 4, "next": "more", "options": {
            "1": {"value": "yes", "label": "Order"}, "12": {"value": "twelve"}, "2": {"action": "play", "text": "Thanks."},
            "3": {"action": "transfer", "destination": {"endpoint": "1001"}, "value": "agent"}, "4": {"action": "next"},
            "5": {"action": "restart", "next": "start"}, "*": {"next": "start"}}},
        {"id": "more", "sound": "custom/more", "on_timeout": "say", "options": {"1": {"next": "say"}}},
        {"id": "say", "default_key": "1", "options": {"1": {"action": "record", "record_s": 20, "text": "Speak.", "label": "Why"}}, "next": "sure"},
        {"id": "sure", "text": "You said", "read_back": True, "on_timeout": "start", "options": {"1": {"action": "next"}}},
    ],
}  # fmt: skip


def read(value) -> Survey:
    return ADAPTER.validate_json(json.dumps(value), strict=True)


SURVEY = read(MENU)


def press(keys: str, visit: Visit | None = None):
    return step(SURVEY, visit or begin(SURVEY), keys)


@pytest.mark.parametrize(
    ("keys", "answer", "following"),
    [
        ("1", Answer("start", "1", "yes", "Order"), "more"),
        ("12", Answer("start", "12", "twelve"), "more"),
        ("2", Answer("start", "2", "2"), "more"),
        ("4", None, "more"),
        ("5", Answer("start", "5", "5"), "start"),
        ("*", Answer("start", "*", "*"), "start"),
        ("9", None, "start"),
        ("", None, "start"),
    ],
)
def test_what_each_key_stores_and_where_it_leads(keys, answer, following):
    taken = press(keys)
    assert (taken.answer, taken.following.question) == (answer, following)


def test_play_is_heard_transfer_leaves_and_record_records():
    assert press("2").text == "Thanks."
    left = press("3")
    assert left.answer == Answer("start", "3", "agent")
    assert (left.following.outcome, left.following.destination.endpoint) == ("transferred", "1001")
    # A question that asks nothing does what its default key does, whatever is pressed.
    spoken = press("", Visit("say"))
    assert (spoken.record_s, spoken.text, spoken.answer) == (20, "Speak.", Answer("say", "1", "", "Why"))
    assert spoken.following.question == "sure"


def test_silence_goes_on_where_it_says_so_and_else_asks_again_three_times():
    assert press("", Visit("more")).following.question == "say"
    visit = begin(SURVEY)
    for _ in range(2):
        visit = press("", visit).following
    end = press("", visit).following
    assert isinstance(end, End)
    assert (end.outcome, end.reason) == ("gave-up", "question start was asked 3 times")


def test_restart_forgets_how_often_questions_were_asked():
    visit = begin(SURVEY)
    for _ in range(20):
        visit = press("5", visit).following
        assert visit.question == "start"
    end = press("", press("", press("", visit).following).following)
    assert end.following.outcome == "gave-up"


def test_the_end_is_the_surveys_own_destination():
    end = press("1", Visit("sure", labelled=(("Order", "yes"),))).following
    assert (end.outcome, end.destination.queue) == ("completed", "sales")


def test_what_was_labelled_is_read_back_and_without_any_there_is_nothing_to_confirm():
    visit = press("1").following
    assert visit.labelled == (("Order", "yes"),)
    assert phrase(SURVEY.find("sure"), visit) == "You said. Order: yes"
    assert press("1", Visit("sure")).following.question == "start"


def test_keys_are_complete_when_none_can_make_another_option():
    start = SURVEY.find("start")
    assert [collect(start, keys) for keys in ("", "1", "12", "2", "9")] == [4.0, 2.0, None, None, None]


@given(st.lists(st.sampled_from(["", "1", "12", "2", "4", "5", "9", "*", "#"]), max_size=40), st.data())
def test_whatever_is_pressed_a_visit_ends(keys, data):
    visit, taken = begin(SURVEY), 0
    pressed = iter(keys)
    last = data.draw(st.sampled_from(["", "9", "5"]))
    while True:
        following = step(SURVEY, visit, next(pressed, last)).following
        taken += 1
        assert taken <= MAX_STEPS
        if isinstance(following, End):
            break
        visit = following


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"questions": [{"id": "a", "text": "x"}, {"id": "a", "text": "y"}]}, ("questions[1].id", "a is there twice")),
        ({"questions": [{"id": "a", "text": "x", "next": "b"}]}, ("questions[0].next", "there is no question b")),
        ({"questions": [{"id": "a", "text": "x", "on_timeout": "b"}]}, ("questions[0].on_timeout", "there is no question b")),
        ({"questions": [{"id": "a", "text": "x", "options": {"1": {"next": "b"}}}]}, ("questions[0].options.1.next", "there is no question b")),
        ({"questions": [{"id": "a", "text": "x", "default_key": "1"}]}, ("questions[0].default_key", "there is no option 1")),
        ({"questions": [{"id": "a"}]}, ("questions[0].text", "must be given, or a sound, or the default_key that counts as pressed")),
        ({"questions": [{"id": "a", "text": "x", "options": {"1": {"action": "play"}}}]},
         ("questions[0].options.1.text", "must be given, or a sound: it is what is played")),
        ({"questions": [{"id": "a", "text": "x", "options": {"1": {"action": "transfer"}}}]},
         ("questions[0].options.1.destination", "goes with the action transfer, and only with that")),
        ({"questions": [{"id": "a", "text": "x", "options": {"1": {"destination": {"queue": "q"}}}}]},
         ("questions[0].options.1.destination", "goes with the action transfer, and only with that")),
        ({"questions": [{"id": "a", "default_key": "1", "options": {"1": {"next": "a"}}}]}, ("questions", "hold a circle in which nothing is asked")),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named(change, problem):
    assert problem in check_survey(read({"name": "x", **change}))


@pytest.mark.parametrize(
    "wrong",
    [
        {"questions": []}, {"questions": [{"id": "a b", "text": "x"}]}, {"questions": [{"id": "a", "text": "x\0"}]},
        {"questions": [{"id": "a", "text": "x" * 2001}]}, {"questions": [{"id": "a", "text": "x", "timeout_s": 0}]},
        {"questions": [{"id": "a", "text": "x", "options": {"1;x": {}}}]}, {"questions": [{"id": "a", "text": "x", "options": {"1": {"action": "exec"}}}]},
        {"questions": [{"id": "a", "sound": "../x"}]}, {"questions": [{"id": "a", "text": "x"}], "max_plays": 0},
        {"questions": [{"id": "a", "text": "x", "options": {"1": {"record_s": 0}}}]}, {"questions": [{"id": "a", "text": "x"}], "voice": "a b"},
        {"questions": [{"id": "a", "text": "x"}], "nonsense": 1}, {"questions": [{"id": str(n), "text": "x"} for n in range(201)]},
    ],
)  # fmt: skip
def test_limits(wrong):
    with pytest.raises(ValidationError):
        read({"name": "x", **wrong})


def test_texts_are_filled_with_what_is_known():
    text = "Hello <Name>, order <order> is <state> <nothing>."
    assert has_placeholders(text)
    assert fill(text, {"name": "Anna", "ORDER": "4711", "state": "ready"}) == "Hello Anna, order 4 7 1 1 is ready ."
    assert not has_placeholders("a < b > c")
    assert fill("Заказ на <Сумма>, <9>", {"Сумма": "100"}) == "Заказ на 1 0 0, <9>"
    assert fill("<name>", {"name": "<order>", "order": "x"}) == "<order>"


@given(st.text(max_size=200), st.dictionaries(st.text(max_size=10), st.text(max_size=50), max_size=3))
def test_a_filled_text_is_always_speakable(text, known):
    filled = fill(f"<a> {text}", {**known, "a": "x"})
    assert len(filled) <= 2000
    assert all(sign.isprintable() or sign in "\n\t" for sign in filled)


def test_simulated_on_the_command_line(tmp_path):
    path = tmp_path / "survey.json"
    path.write_text(json.dumps(MENU))
    command = ["survey", "simulate", str(path), "--keys", "1,-,1", "--know", "name=Anna"]
    told = CliRunner().invoke(main, command)
    assert told.exit_code == 0, told.output
    assert "start: Hello Anna." in told.output
    assert "stored: yes" in told.output
    assert "say: (nothing is asked)" in told.output
    assert "sure: You said. Order: yes" in told.output
    assert "completed: all was asked" in told.output
    shown = json.loads(CliRunner().invoke(main, [*command, "--json"]).output)
    assert [one["question"] for one in shown["steps"]] == ["start", "more", "say", "sure"]
    assert shown["outcome"] == "completed"


def test_a_survey_that_is_none_is_refused_on_the_command_line(tmp_path):
    path = tmp_path / "survey.json"
    for content, said in (
        ('{"name": "x"}', "questions"),
        ('{"name": "x", "questions": [{"id": "a"}]}', "questions[0].text"),
    ):
        path.write_text(content)
        told = CliRunner().invoke(main, ["survey", "simulate", str(path)])
        assert (told.exit_code, said in told.output) == (2, True), told.output
    assert CliRunner().invoke(main, ["survey", "simulate", str(tmp_path / "none")]).exit_code == 2


def test_every_kind_of_action_and_question_is_here():
    assert Action().action == "answer"
    assert Question(id="a", text="x").timeout_s == 5
