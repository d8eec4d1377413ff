"""`tandem survey`: lists surveys, shows their results, and walks through one on paper; never places a call and never opens the database."""

from pathlib import Path
from typing import Any

import click
import orjson
from pydantic import TypeAdapter, ValidationError

from tandem.cli import exits
from tandem.cli.main import Screen, json_option
from tandem.domain.printable import escape_unprintable
from tandem.domain.surveys import End, Survey, begin, check_survey, fill, phrase, step

_PATH = "/api/v1/surveys"
_SURVEY: TypeAdapter[Survey] = TypeAdapter(Survey)
_FIELDS = frozenset(Survey.__dataclass_fields__)
SILENCE = "-"


@click.group()
def survey() -> None:
    """Surveys: list, results, simulate."""


@survey.command("list")
@json_option
@click.pass_obj
def list_(screen: Screen, as_json: bool) -> None:
    """All surveys."""
    found = screen.ask("GET", f"{_PATH}?limit=1000")["items"]
    if as_json:
        screen.write_json(found)
        return
    screen.say(
        *(escape_unprintable(f"{one['survey_id']}  {one['name']}  {len(one['questions'])} questions") for one in found)
    )
    if not found:
        screen.say("No surveys.")


@survey.command()
@click.argument("survey_id", type=int)
@json_option
@click.pass_obj
def results(screen: Screen, survey_id: int, as_json: bool) -> None:
    """How the calls of a survey ended, and how often each question was answered how."""
    found = screen.ask("GET", f"{_PATH}/{survey_id}/counts")
    if as_json:
        screen.write_json(found)
        return
    screen.say(*(f"{amount:8,}  {outcome}" for outcome, amount in found["outcomes"].items()))
    for one in found["answers"]:
        screen.say(escape_unprintable(f"{one['amount']:8,}  {one['question']}: {one['value']}"))


@survey.command()
@click.argument("survey", metavar="NUMBER|FILE")
@click.option(
    "--keys",
    default="",
    metavar="KEYS,…",
    help=f"What is pressed at each question, {SILENCE} for nothing; then nothing.",
)
@click.option("--know", multiple=True, metavar="NAME=VALUE", help="What is known of the person: <NAME> in a text.")
@json_option
@click.pass_obj
def simulate(screen: Screen, survey: str, keys: str, know: tuple[str, ...], as_json: bool) -> None:
    """Walk through a survey: one of the running Tandem by its number, or a JSON file as POST /surveys takes it."""
    chosen = _read(screen, survey)
    known = dict(pair.partition("=")[::2] for pair in know)
    pressed = [("" if one == SILENCE else one) for one in keys.split(",")] if keys else []
    walked = walk(chosen, pressed, known)
    if as_json:
        screen.write_json(walked)
        return
    for one in walked["steps"]:
        screen.say(escape_unprintable(f"{one['question']}: {one['heard'] or '(nothing is asked)'}"))
        screen.say(escape_unprintable(f"  {one['reason']}"))
        if one["answer"]:
            screen.say(escape_unprintable(f"  stored: {one['answer']}"))
        if one["then_heard"]:
            screen.say(escape_unprintable(f"  heard then: {one['then_heard']}"))
    screen.say(escape_unprintable(f"{walked['outcome']}: {walked['reason']}"))


def walk(chosen: Survey, pressed: list[str], known: dict[str, str]) -> dict[str, Any]:
    """What a person would hear and what would be stored."""
    visit, steps, keys = begin(chosen), [], iter(pressed)
    while True:
        question = chosen.find(visit.question)
        is_asked = not question.is_silent or question.read_back
        taken = step(chosen, visit, next(keys, "") if is_asked else "")
        steps.append(
            {
                "question": question.id,
                "heard": question.sound or fill(phrase(question, visit), known),
                "reason": taken.reason,
                "answer": (taken.answer.value or "(what is said)") if taken.answer is not None else "",
                "then_heard": taken.sound or fill(taken.text, known),
            }
        )
        if isinstance(taken.following, End):
            return {"steps": steps, "outcome": taken.following.outcome, "reason": taken.following.reason}
        visit = taken.following


def _read(screen: Screen, given: str) -> Survey:
    if given.isdecimal():
        found = screen.ask("GET", f"{_PATH}/{given}")
        content = orjson.dumps({name: value for name, value in found.items() if name in _FIELDS})
    else:
        try:
            content = Path(given).read_bytes()
        except OSError as error:
            screen.fail(exits.USAGE, f"{given}: {error.strerror}")
    try:
        chosen = _SURVEY.validate_json(content)
    except ValidationError as error:
        screen.fail(exits.USAGE, *(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()))
    if problems := check_survey(chosen):
        screen.fail(exits.USAGE, *(f"{where}: {rule}" for where, rule in problems))
    return chosen
