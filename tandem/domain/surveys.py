"""The ONE definition of a survey, and what it does with the keys of a person, as a pure state machine; never plays, records or stores anything.

A visit: ask a question, collect its keys, hand them to `step`, do what that says, go on. Whatever a person presses, a visit ends: a
question is asked `max_plays` times at most, and a visit has MAX_STEPS steps at most.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field, replace
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, StringConstraints
from pydantic.dataclasses import dataclass

from tandem.domain.campaigns import CampaignName, Description, SavedNumber
from tandem.domain.customers import Customer
from tandem.domain.destinations import Destination, HangupDestination, SurveyDestination
from tandem.domain.fields import Keys, Language, Prompt, matches

_STRICT: Final = ConfigDict(extra="forbid")

# next: nothing is stored; answer: the value is; play: the key is, and something is heard; transfer: the value is, and the person goes to
# a destination; record: what they say is; restart: the value is, and questions may be heard as often as at the beginning; send: the key is,
# the answers go to an address, and what that says is heard.
ActionKind = Literal["next", "answer", "play", "transfer", "record", "restart", "send"]
Outcome = Literal["completed", "gave-up", "transferred", "hung-up"]
# Of a survey that came to an end of its own.
DONE: Final = frozenset({"completed", "transferred"})
_TOLD: Final = ("question", "key", "value", "label", "recording", "answered_at")
MAX_QUESTIONS: Final = 200
MAX_STEPS: Final = 1000
# Nobody is kept for longer who has not answered anything.
SILENT_S: Final = 120.0
_PLACEHOLDER: Final = re.compile(r"<([^\W\d][\w -]{0,39})>")


def _check_spoken(value: str) -> str:
    if not all(sign.isprintable() or sign in "\n\t" for sign in value):
        raise ValueError("must not hold control characters")
    return value


def _to_tuple(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


QuestionId = Annotated[
    str, matches("[A-Za-z0-9_.:{}-]{1,64}", "must be 1 to 64 letters, digits or the signs _ . : { } -")
]
SpokenText = Annotated[str, StringConstraints(max_length=2000), AfterValidator(_check_spoken)]
AnswerUrl = Annotated[str, matches(r"https?://[\x21-\x7e]{1,1990}", "must be a URL with http or https, in ASCII")]
AnswerValue = Annotated[str, StringConstraints(max_length=500), AfterValidator(_check_spoken)]


@dataclass(frozen=True, slots=True, kw_only=True, config=_STRICT)
class Action:
    """What a key does.

    value: what is stored; the key itself where it is empty. text or sound: heard before the next question (play), or before the
    recording (record); of send the text alone, where `<result>` is what `url` has answered. url: where the answers so far are sent. destination: of a transfer. record_s: how long may be spoken. label: a short name of the answer. next: the
    question that follows; without one the question's own, and without that the survey is over.
    """

    action: ActionKind = "answer"
    value: AnswerValue = ""
    text: SpokenText = ""
    sound: Prompt | None = None
    destination: Destination | None = None
    url: AnswerUrl | None = None
    record_s: Annotated[int, Field(ge=1, le=300)] = 30
    label: AnswerValue = ""
    next: QuestionId | None = None


@dataclass(frozen=True, slots=True, kw_only=True, config=_STRICT)
class Question:
    """Something that is asked: by text, which is spoken, or by a sound, which wins.

    options: keys -> what they do. default_key: without text and sound, the key that counts as pressed, at once. timeout_s: how long
    to wait for a key. on_timeout: the question that follows on silence; without it this one is asked again. next: for options that
    have none. read_back: the labelled answers so far are read out behind the text; where there are none, `on_timeout` follows at once.
    """

    id: QuestionId
    text: SpokenText = ""
    sound: Prompt | None = None
    timeout_s: Annotated[float, Field(ge=1, le=60, allow_inf_nan=False)] = 5.0
    options: dict[Keys, Action] = field(default_factory=dict)
    default_key: Keys | None = None
    on_timeout: QuestionId | None = None
    next: QuestionId | None = None
    read_back: bool = False

    @property
    def is_silent(self) -> bool:
        """Whether nothing is asked: its default key counts as pressed."""
        return not self.text and self.sound is None


@dataclass(frozen=True, slots=True, kw_only=True, config=_STRICT)
class Survey:
    """Questions, from the first one on.

    voice: what speaks the texts, '' for the language's own; language: of texts and sounds, None for the PBX's. max_plays: how often one question is asked at most, in the whole call. then: where people go
    who have come to the end; those who have not are hung up on.
    """

    name: CampaignName
    description: Description = ""
    language: Language | None = None
    voice: Annotated[
        str, matches("([A-Za-z0-9][A-Za-z0-9_+.-]{0,39})?", "must be up to 40 letters, digits or _ + . -")
    ] = ""
    questions: Annotated[
        tuple[Question, ...], BeforeValidator(_to_tuple), Field(min_length=1, max_length=MAX_QUESTIONS)
    ]
    max_plays: Annotated[int, Field(ge=1, le=20)] = 3
    then: Destination = field(default_factory=HangupDestination)

    def find(self, question_id: str) -> Question:
        """A question by its id; KeyError."""
        for question in self.questions:
            if question.id == question_id:
                return question
        raise KeyError(question_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedSurvey:
    """A survey as it is stored. version: counts changes; times are seconds since 1970."""

    survey_id: int
    survey: Survey
    author: str
    created_at: float
    updated_at: float | None
    version: int


# ---------------------------------------------------------------------------------------------------------- checks


def check_survey(survey: Survey) -> tuple[tuple[str, str], ...]:
    """What does not fit within a survey: (path of the field, rule)."""
    return tuple(_find_problems(survey))


def _find_problems(survey: Survey) -> Iterator[tuple[str, str]]:
    known: set[str] = set()
    ids = {question.id for question in survey.questions}
    for index, question in enumerate(survey.questions):
        at = f"questions[{index}]"
        if question.id in known:
            yield f"{at}.id", f"{question.id} is there twice"
        known.add(question.id)
        for name in ("on_timeout", "next"):
            if (named := getattr(question, name)) is not None and named not in ids:
                yield f"{at}.{name}", f"there is no question {named}"
        if question.default_key is not None and question.default_key not in question.options:
            yield f"{at}.default_key", f"there is no option {question.default_key}"
        if question.is_silent and not question.read_back and question.default_key is None:
            yield f"{at}.text", "must be given, or a sound, or the default_key that counts as pressed"
        for keys, action in question.options.items():
            yield from _check_action(f"{at}.options.{keys}", action, ids)
    if not any(_is_circle(survey, question) for question in survey.questions):
        return
    yield "questions", "hold a circle in which nothing is asked"


def _check_action(at: str, action: Action, ids: set[str]) -> Iterator[tuple[str, str]]:
    if action.next is not None and action.next not in ids:
        yield f"{at}.next", f"there is no question {action.next}"
    if action.action == "play" and not action.text and action.sound is None:
        yield f"{at}.text", "must be given, or a sound: it is what is played"
    if (action.action == "transfer") != (action.destination is not None):
        yield f"{at}.destination", "goes with the action transfer, and only with that"
    if (action.action == "send") != (action.url is not None):
        yield f"{at}.url", "goes with the action send, and only with that"


def _is_circle(survey: Survey, start: Question) -> bool:
    """Whether questions that ask nothing lead back to themselves."""
    seen: set[str] = set()
    question: Question | None = start
    while question is not None and question.is_silent and question.default_key in question.options:
        if question.id in seen:
            return True
        seen.add(question.id)
        action = question.options[question.default_key]
        following = action.next or question.next
        if action.action == "transfer" or following is None or not any(q.id == following for q in survey.questions):
            return False
        question = survey.find(following)
    return False


# ------------------------------------------------------------------------------------------------------- stepping


@dataclass(frozen=True, slots=True)
class Visit:
    """Where a person is. question: the one that is to be asked; plays: question -> how often it was asked; labelled: (label, value)."""

    question: str
    plays: Mapping[str, int] = field(default_factory=dict)
    steps: int = 0
    labelled: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class End:
    """The visit is over. destination: where to go then."""

    outcome: Outcome
    destination: Any
    reason: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What is stored of a key. The value of a recording is told by whoever made it."""

    question: str
    key: str
    value: str
    label: str = ""


@dataclass(frozen=True, slots=True)
class Step:
    """What follows on the keys of one question, in this order: text or sound is heard, record_s is recorded, the answer is stored; then `following`."""

    following: Visit | End
    reason: str
    answer: Answer | None = None
    text: str = ""
    sound: str | None = None
    record_s: int = 0
    url: str = ""


_HANGUP: Final = HangupDestination()


def begin(survey: Survey) -> Visit:
    """The beginning of a visit."""
    return Visit(survey.questions[0].id)


def collect(question: Question, keys: str) -> float | None:
    """How many seconds to wait for one more key, or None when they are complete, or can no longer become right."""
    if not keys:
        return question.timeout_s
    longer = any(len(option) > len(keys) and option.startswith(keys) for option in question.options)
    return min(question.timeout_s, 2.0) if longer else None


def step(survey: Survey, visit: Visit, keys: str) -> Step:
    """What follows from the keys that were pressed at the visit's question; '' is silence."""
    question = survey.find(visit.question)
    if question.is_silent and question.default_key is not None and not question.read_back:
        keys = question.default_key
    heard = replace(
        visit, steps=visit.steps + 1, plays={**visit.plays, question.id: visit.plays.get(question.id, 0) + 1}
    )
    if heard.steps >= MAX_STEPS:
        return Step(End("gave-up", _HANGUP, "too many steps"), f"question {question.id}: too many steps")
    if question.read_back and not visit.labelled and question.on_timeout is not None:
        return Step(replace(heard, question=question.on_timeout), f"question {question.id}: nothing to read back")
    action = question.options.get(keys)
    if action is not None:
        return _act(survey, question, heard, keys, action)
    if not keys and question.on_timeout is not None:
        return Step(_follow(survey, heard, question.on_timeout), f"question {question.id}: silence")
    said = f"question {question.id}: " + (f"pressed {keys}, which is no option" if keys else "silence")
    return Step(_follow(survey, heard, question.id), said)


def _act(survey: Survey, question: Question, heard: Visit, keys: str, action: Action) -> Step:
    value = action.value or keys
    labelled = heard.labelled
    if action.label and action.action != "next":
        labelled = (*labelled, (action.label, value))
    after = replace(heard, labelled=labelled, plays={} if action.action == "restart" else heard.plays)
    # Whoever sends has come to the end, unless the key itself says otherwise.
    following = action.next or (question.next if action.action != "send" else None)
    then: Visit | End = (
        End("completed", survey.then, "all was asked") if following is None else _follow(survey, after, following)
    )
    if action.action == "transfer":
        then = End("transferred", action.destination, f"pressed {keys}")
    stored = None if action.action == "next" else Answer(question.id, keys, value, action.label)
    if stored is not None and action.action in ("play", "record"):
        stored = replace(stored, value=action.value if action.action == "record" else value)
    return Step(
        then,
        f"question {question.id}: pressed {keys} ({action.action})",
        stored,
        text=action.text,
        sound=action.sound,
        record_s=action.record_s if action.action == "record" else 0,
        url=action.url or "",
    )


def _follow(survey: Survey, heard: Visit, question: str) -> Visit | End:
    if heard.plays.get(question, 0) >= survey.max_plays:
        return End("gave-up", _HANGUP, f"question {question} was asked {survey.max_plays} times")
    return replace(heard, question=question)


# -------------------------------------------------------------------------------------------------------- speaking


def phrase(question: Question, visit: Visit) -> str:
    """The text of a question, with what is read back."""
    if not question.read_back:
        return question.text
    return ". ".join(filter(None, (question.text, *(f"{label}: {value}" for label, value in visit.labelled))))


def write_answers(visit: "SurveyVisit", answers: "Sequence[SurveyAnswer]") -> bytes:
    """What an address is told of a call: whose it is, and what was answered so far, in order."""
    told = {
        "call_id": visit.call_id, "survey_id": visit.survey_id, "campaign_id": visit.campaign_id, "number_id": visit.number_id,
        "phone_number": visit.phone_number,
        "answers": [{name: getattr(answer, name) for name in _TOLD} for answer in answers],
    }  # fmt: skip
    return json.dumps(told).encode()


def read_said(body: bytes) -> str:
    """What an address wants to be heard: plain text, or the `result` of a JSON object; '' for anything else."""
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError:
        return ""
    if text.lstrip().startswith("{"):
        try:
            given = json.loads(text).get("result")
        except (ValueError, RecursionError):
            return ""
        if isinstance(given, bool) or not isinstance(given, str | int | float):
            return ""
        text = str(given)
    return " ".join("".join(sign for sign in text if sign.isprintable() or sign.isspace()).split())[:500]


def has_placeholders(text: str) -> bool:
    """Whether a text is another for each person."""
    return _PLACEHOLDER.search(text) is not None


def fill(text: str, known: Mapping[str, str]) -> str:
    """A text with `<name>` replaced by what is known, whatever its capitals; a name that is not known is left out.

    What is all digits is spoken digit by digit: an order's number is no amount.
    """
    lowered = {name.lower(): value for name, value in known.items()}

    def put(found: re.Match[str]) -> str:
        value = lowered.get(found[1].lower(), "")
        return " ".join(value) if value.isdecimal() else value

    filled = _PLACEHOLDER.sub(put, text)
    return re.sub(r"[ \t]{2,}", " ", "".join(sign for sign in filled if sign.isprintable() or sign in "\n\t")).strip()[
        :2000
    ]


def list_texts(survey: Survey) -> Iterator[tuple[str, str]]:
    """(path of the field, text) of everything that is spoken."""
    for index, question in enumerate(survey.questions):
        if question.text and question.sound is None:
            yield f"questions[{index}].text", question.text
        for keys, action in question.options.items():
            if action.text and action.sound is None and action.action in ("play", "record", "send"):
                yield f"questions[{index}].options.{keys}.text", action.text


def list_sounds(survey: Survey) -> Iterator[tuple[str, str]]:
    """(path of the field, sound) of everything that is played."""
    for index, question in enumerate(survey.questions):
        if question.sound is not None:
            yield f"questions[{index}].sound", question.sound
        for keys, action in question.options.items():
            if action.sound is not None:
                yield f"questions[{index}].options.{keys}.sound", action.sound


def list_destinations(survey: Survey) -> Iterator[tuple[str, Destination]]:
    """(path of the field, destination) of everywhere that it sends people."""
    yield "then", survey.then
    for index, question in enumerate(survey.questions):
        for keys, action in question.options.items():
            if action.destination is not None:
                yield f"questions[{index}].options.{keys}.destination", action.destination


# --------------------------------------------------------------------------------------------------------- results


@dataclass(frozen=True, slots=True)
class Surveyed:
    """Whom a campaign has called. known: what a text may say of them; survey_id: where the campaign leads, None for elsewhere."""

    campaign_id: int
    number_id: int | None
    phone_number: str
    known: Mapping[str, str]
    survey_id: int | None = None


def describe_surveyed(number: SavedNumber, destination: Destination, customer: Customer | None = None) -> Surveyed:
    """Somebody on a campaign's list: what is known of their person, its number, its variables, and what is plain among its data."""
    of_person = {} if customer is None else {**customer.properties, "name": customer.name}
    known = {**of_person, "number": number.phone_number, **number.variables}
    if isinstance(number.data, dict):
        known |= {str(name): str(value) for name, value in number.data.items() if isinstance(value, str | int | float)}
    survey_id = destination.survey if isinstance(destination, SurveyDestination) else None
    return Surveyed(number.campaign_id, number.number_id, number.phone_number, known, survey_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class SurveyVisit:
    """One call in a survey. visit_id: 32 hex digits; campaign_id and number_id: None where no campaign called; outcome: '' while it is up."""

    visit_id: str
    survey_id: int
    call_id: str
    campaign_id: int | None
    number_id: int | None
    phone_number: str
    started_at: float
    ended_at: float | None = None
    outcome: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SurveyAnswer:
    """One answer. recording: the name of the file with what was said, '' for none. answer_id: 0 before it is stored."""

    answer_id: int = 0
    visit_id: str
    survey_id: int
    call_id: str
    campaign_id: int | None
    number_id: int | None
    phone_number: str
    position: int
    question: str
    key: str
    value: str
    label: str
    recording: str
    answered_at: float
