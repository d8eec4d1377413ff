"""The survey script, command by command: keys, silence, recordings, hang-ups at every step, texts of one's own."""

from datetime import UTC, datetime

import pytest
from pydantic import TypeAdapter
from twisted.internet.defer import Deferred, succeed

from fastagi.brain import Brain
from fastagi.routes import list_scripts
from fastagi.testing import AgiCaller
from tandem.document import read_document
from tandem.domain.snapshot import build_snapshot
from tandem.domain.surveys import SavedSurvey, Survey, SurveyAnswer, Surveyed

SNAPSHOT = build_snapshot(1, read_document("queues: [{name: sales, fallback: {hangup: busy}}]\n"))
SURVEY = TypeAdapter(Survey).validate_python(
    {
        "name": "x", "language": "de", "then": {"queue": "sales"},
        "questions": [
            {"id": "happy", "text": "Happy?", "options": {"1": {"value": "yes"}, "2": {"value": "no", "next": "why"}, "3": {"action": "transfer", "destination": {"queue": "sales"}}}, "next": "bye"},
            {"id": "why", "text": "Why?", "options": {"1": {"action": "record", "text": "Speak.", "record_s": 7}}, "next": "bye"},
            {"id": "bye", "sound": "tandem/bye", "options": {"1": {"action": "play", "text": "Thanks."}}},
        ],
    }
)  # fmt: skip


class Line:
    def __init__(self, **brain):
        self.visits, self.answers, self.decisions = [], [], []
        self.known = None
        self.brain = Brain(
            **{
                "snapshot": lambda: SNAPSHOT,
                "now": lambda: datetime(2026, 11, 20, 12, tzinfo=UTC),
                "record": self.decisions.append,
                "sounds_dir": "/sounds",
                "recordings_dir": "/spool",
                "find_survey": {8: SavedSurvey(survey_id=8, survey=SURVEY, author="a", created_at=0.0, updated_at=None, version=1)}.get,
                "find_surveyed": {"call-1": Surveyed(3, 4, "0301", {"name": "Anna"})}.get,
                "speak_survey": self.speak,
                "note_visit": self.visits.append,
                "note_answer": self.answers.append,
                **brain,
            }
        )  # fmt: skip

    def speak(self, _survey, text, known):
        self.known = known
        return f"/spoken/{text}", None

    def call(self, digits="", **options):
        options = {"script": "survey", "args": ["8"], "uniqueid": "call-1"} | options
        return AgiCaller(digits=digits, **options).run(list_scripts(self.brain)["survey"])

    def told(self):
        return [(one.question, one.key, one.value, one.recording) for one in self.answers]


SENT = TypeAdapter(Survey).validate_python(
    {"name": "s", "questions": [
        {"id": "n", "text": "Number?", "options": {"12": {"label": "No"}}, "next": "go"},
        {"id": "go", "text": "Send?", "options": {"1": {"action": "send", "url": "https://crm.example/x", "text": "Your order: <result>"}}, "next": "n"},
    ]}
)  # fmt: skip


def send_line(said, **brain):
    sent = []

    def send(url, visit, answers):
        sent.append((url, visit.call_id, [(one.question, one.key) for one in answers]))
        return said

    saved = SavedSurvey(survey_id=8, survey=SENT, author="a", created_at=0.0, updated_at=None, version=1)
    line = Line(find_survey={8: saved}.get, send_answers=send, **brain)
    line.sent = sent
    return line


def test_answers_are_sent_and_what_their_address_says_is_heard_and_then_the_end():
    line = send_line(succeed("4711"))
    call = line.call("121")
    assert call.error is None
    assert line.sent == [("https://crm.example/x", "call-1", [("n", "12"), ("go", "1")])]
    assert call.played == ["/spoken/Number?", "/spoken/Send?", "/spoken/Your order: <result>"]
    assert line.known["result"] == "4711"
    assert line.visits[-1].outcome == "completed"


@pytest.mark.parametrize("said", [succeed(""), Deferred()])
def test_an_address_that_says_nothing_or_too_late_costs_nobody_their_call(said):
    line = send_line(said, send_wait_s=1.0)
    # A key that is pressed while it is waited for changes nothing.
    call = line.call("121.5")
    assert call.error is None
    assert call.played == ["/spoken/Number?", "/spoken/Send?"]
    assert line.visits[-1].outcome == "completed"
    assert "the address of the answers says nothing" in line.decisions[0].reasons


@pytest.fixture
def line():
    return Line()


def test_an_answer_is_noted_and_the_end_is_a_jump(line):
    call = line.call("11")
    assert call.error is None
    assert call.played == ["/spoken/Happy?", "/sounds/bye", "/spoken/Thanks."]
    assert line.told() == [("happy", "1", "yes", ""), ("bye", "1", "1", "")]
    assert call.executed == ("Gosub", "tandem-enter,queue,1(sales,0,,,,)")
    begun, ended = line.visits
    assert (begun.outcome, ended.outcome, ended.campaign_id, ended.number_id, ended.phone_number) == (
        "",
        "completed",
        3,
        4,
        "0301",
    )
    assert [one.position for one in line.answers] == [0, 1]
    assert line.known == {"name": "Anna"}
    (decision,) = line.decisions
    assert "question happy: pressed 1 (answer)" in decision.reasons


def test_an_inbound_caller_is_known_by_their_number(line):
    line.call("11", uniqueid="1763600000.1", callerid="030999")
    assert (line.visits[0].campaign_id, line.visits[0].phone_number) == (None, "030999")


def test_what_is_said_is_recorded_and_named(line):
    call = line.call("21.1")
    (recorded,) = [words for words in call.commands if words[:2] == ("RECORD", "FILE")]
    name = "call-1-20261120T120000Z-answer2"
    assert recorded[2:] == (f"/spool/{name}", "wav", "0123456789*#", "7000", "0", "BEEP", "s=4")
    assert line.told() == [("happy", "2", "no", ""), ("why", "1", "", name), ("bye", "1", "1", "")]


def test_a_recording_that_cannot_be_made_costs_nobody_their_call(line):
    call = line.call("21.1", answers={"RECORD FILE": "200 result=-1 (writefile)"})
    assert call.error is None
    assert line.told()[1] == ("why", "1", "", "")
    assert line.visits[-1].outcome == "completed"


def test_silence_ends_after_three_times_with_a_hangup(line):
    call = line.call("")
    assert call.played == ["/spoken/Happy?"] * 3
    assert (line.answers, line.visits[-1].outcome) == ([], "gave-up")
    assert call.executed[1].startswith("tandem-enter,hangup,1(16")


def test_transfer_leaves_at_once(line):
    assert line.call("3").executed[1].startswith("tandem-enter,queue,1(sales")
    assert (line.told(), line.visits[-1].outcome) == ([("happy", "3", "3", "")], "transferred")


@pytest.mark.parametrize("how", ["result", "line", "lost"])
def test_whoever_hangs_up_at_any_step_keeps_what_was_answered(how):
    whole = Line()
    steps = len(whole.call("21.1").commands)
    seen = 0
    for at in range(steps + 1):
        line = Line()
        line.call("21.1", hangup_at=at, hangup_by=how)
        assert line.visits[-1].ended_at is not None
        assert len(line.visits) == 2
        assert len(line.answers) >= seen
        assert line.told() == whole.told()[: len(line.answers)]
        assert line.visits[-1].outcome in ("hung-up", "completed")
        seen = len(line.answers)
    assert seen == 3


def test_hanging_up_while_speaking_keeps_the_recording(line):
    line.call("2", answers={"RECORD FILE": "200 result=-1 (hangup) endpos=8000"})
    line = Line()
    line.call("21", answers={"RECORD FILE": "200 result=-1 (hangup) endpos=8000"})
    assert line.told()[-1] == ("why", "1", "", "call-1-20261120T120000Z-answer2")
    assert line.visits[-1].outcome == "hung-up"


@pytest.mark.parametrize("name", ["9", "", "x", "-1", "8" * 30, "\uff18"])
def test_a_survey_that_is_not_there_is_left_to_the_dialplan(line, name):
    call = line.call("1", args=[name])
    assert (call.commands, line.visits) == ([], [])
    assert line.decisions[0].outcome == "fallback"


def test_the_guard_covers_each_wait(line):
    call = line.call("21")
    for at, words in enumerate(call.commands):
        if words[:2] in {("STREAM", "FILE"), ("WAIT", "FOR"), ("RECORD", "FILE")}:
            assert call.commands[at - 1][:2] == ("SET", "AUTOHANGUP")
    (recorded,) = [at for at, words in enumerate(call.commands) if words[:2] == ("RECORD", "FILE")]
    assert int(call.commands[recorded - 1][2]) >= 7 + 4


def test_a_text_of_ones_own_is_waited_for_a_while_and_no_longer():
    ready = Line(speak_survey=lambda *_: ("/spoken/plain", succeed("/spoken/mine")))
    assert ready.call("11").played[0] == "/spoken/mine"
    late = Line(speak_survey=lambda *_: ("/spoken/plain", Deferred()), speak_wait_s=1.0)
    assert late.call("....11").played[0] == "/spoken/plain"
    early = Line(speak_survey=lambda *_: ("/spoken/plain", Deferred()))
    early.call("1")
    assert early.told()[0] == ("happy", "1", "yes", "")
    nothing = Line(speak_survey=lambda *_: ("", None))
    assert nothing.call("11").error is None


def test_a_missing_sound_still_takes_keys(line):
    call = line.call("11", missing_sounds=["/sounds/bye"])
    assert line.told()[-1] == ("bye", "1", "1", "")
    assert call.error is None


def test_each_answer_has_its_place():
    line = Line()
    line.call("11")
    assert all(isinstance(one, SurveyAnswer) and one.survey_id == 8 and one.call_id == "call-1" for one in line.answers)
