"""Polls are surveys: translated both ways; never asks a question itself."""

from glob import escape
from pathlib import PurePosixPath
from typing import Any, Final

from pydantic import TypeAdapter

from api.compat.mikopbx.speech import BASE, Failed, declare, path_id, read_int, read_list, read_object, read_text
from api.declare import Reply, validate
from api.exchange import Commit, Exchange, Services
from tandem.domain.snapshot import Snapshot
from tandem.domain.surveys import MAX_QUESTIONS, SavedSurvey, Survey
from tandem.store.campaigns import load_campaigns
from tandem.store.surveys import load_survey_words, load_surveys

WORDS: Final = "mikopbx"
_SURVEY: Final[TypeAdapter[Survey]] = TypeAdapter(Survey)
_ACTIONS: Final = {
    "": "next", "answer": "answer", "playback": "play", "dial": "transfer", "playback_record": "record", "restart": "restart",
    "send_crm": "send",
}  # fmt: skip
_MAX_KEYS: Final = 50


def read_poll(services: Services, body: dict[str, Any]) -> tuple[Survey, dict[str, Any]]:
    """(the survey, the vendor's own words for it) of a poll; Failed, Refused."""
    snapshot = services.live.current
    name = read_text(body.get("name"), "name")
    questions = read_list(body.get("questions"), "questions", MAX_QUESTIONS)
    if not questions or not all(isinstance(question, dict) for question in questions):
        raise Failed("questions must be a list of objects")
    read = [_Question(services, snapshot, index, question) for index, question in enumerate(questions)]
    ids = {one.id for one in read}
    value: dict[str, Any] = {"name": name or "Poll", "questions": [one.write(ids) for one in read]}
    languages = {one.language: index for index, one in reversed(tuple(enumerate(read))) if one.language}
    if len(languages) > 1:
        raise Failed(f"questions[{max(languages.values())}].lang must be that of the others: a poll has one language")
    if languages:
        (value["language"],) = languages
    return validate(_SURVEY, Survey, value), {"questions": questions}


class _Question:
    """One question of a poll."""

    def __init__(self, services: Services, snapshot: Snapshot, index: int, given: dict[str, Any]) -> None:
        self._services, self._snapshot, self._given = services, snapshot, given
        self._at = f"questions[{index}]"
        self.id = self._text("questionId", 64) or str(index)
        # `ru-RU`: an engine's voices are named by the language alone.
        self.language = self._text("lang", 20).partition("-")[0].lower()

    def _text(self, name: str, most: int = 2000) -> str:
        return read_text(self._given.get(name), f"{self._at}.{name}", most)

    def write(self, ids: set[str]) -> dict[str, Any]:
        """As a survey has it. A file that is there wins over the text."""
        text, sound = self._text("questionText"), _find_sound(self._services, self._text("questionFile"))
        if self._text("questionFile") and sound is None and not text:
            raise Failed(f"{self._at}.questionFile is no file of GET /audio")
        default, following = self._text("defPress", 64), self._text("nextQuestion", 64)
        options = dict(self._press(f"{self._at}.press[{place}]", one) for place, one in enumerate(self._presses()))
        value: dict[str, Any] = {
            "id": self.id, "text": text, "sound": sound, "options": options, "next": following or None,
            "timeout_s": read_int(self._given.get("timeout"), f"{self._at}.timeout", 5, 1, 60),
        }  # fmt: skip
        if self._text("type", 20) == "confirmation":
            value |= {"read_back": True, "timeout_s": max(10, value["timeout_s"])}
        if default and not text and sound is None:
            value["default_key"] = default
        elif default:
            if default not in ids:
                raise Failed(f"{self._at}.defPress: there is no question {default[:64]}")
            value["on_timeout"] = default
        return value

    def _presses(self) -> list[Any]:
        return read_list(self._given.get("press") or [], f"{self._at}.press", _MAX_KEYS)

    def _press(self, at: str, given: Any) -> tuple[str, dict[str, Any]]:
        if not isinstance(given, dict):
            raise Failed(f"{at} must be an object")
        read = {
            name: read_text(given.get(name), f"{at}.{name}", 2000)
            for name in ("key", "action", "value", "valueOptions", "nextQuestion", "recognizeLabel")
        }
        if read["action"] not in _ACTIONS:
            raise Failed(f"{at}.action must be one of {', '.join(filter(None, _ACTIONS))}, or empty")
        action: dict[str, Any] = {
            "action": _ACTIONS[read["action"]], "next": read["nextQuestion"] or None, "label": read["recognizeLabel"][:500],
        }  # fmt: skip
        match action["action"]:
            case "answer" | "restart":
                action["value"] = read["value"][:500]
            case "play" if read["valueOptions"] == "text":
                action["text"] = read["value"]
            case "play":
                action["sound"] = _find_sound(self._services, read["value"])
                if action["sound"] is None:
                    raise Failed(f"{at}.value is no file of GET /audio")
            case "record":
                action |= {
                    "text": read["value"],
                    "record_s": read_int(read["valueOptions"], f"{at}.valueOptions", 30, 1, 300),
                }
            case "send":
                url = self._services.apis.mikopbx.crm_url
                if not url:
                    raise Failed(f"{at}.action: send_crm has nowhere to send to, apis.mikopbx.crm_url is not set")
                template = read_text(given.get("crmResponseTemplate"), f"{at}.crmResponseTemplate", 2000)
                # Whoever has sent has come to the end, as there.
                action |= {"url": url, "text": template, "next": None}
            case "transfer":
                destination = self._snapshot.numbers.get(read["value"])
                if destination is None:
                    raise Failed(f"{at}.value: there is no number {read['value'][:20]} inside")
                action |= {
                    "value": read["value"],
                    "destination": TypeAdapter(Any).dump_python(destination, mode="json"),
                }
        return read["key"], action


def _find_sound(services: Services, path: str) -> str | None:
    """The sound of a file's path as `GET /audio` names it; None where it is none of those."""
    place = PurePosixPath(path)
    if not path or place.parent != PurePosixPath(str(services.sounds.folder)):
        return None
    # A text is spoken where the file is gone.
    return f"tandem/{place.stem}" if any(services.sounds.folder.glob(f"{escape(place.stem)}.*")) else None


def crm_id_of(words: dict[str, Any], number: int) -> str:
    """The id that the client has given, else ours."""
    return str(words.get(WORDS, {}).get("crmId") or number)


def find_poll(found: list[SavedSurvey], words: dict[int, dict[str, Any]], crm_id: str) -> SavedSurvey | None:
    """The poll with that id of the client's."""
    return next((one for one in found if crm_id_of(words[one.survey_id], one.survey_id) == crm_id), None)


async def _load_seen(services: Services, exchange: Exchange) -> tuple[list[SavedSurvey], dict[int, dict[str, Any]]]:
    """The polls that who asks sees, with the vendor's words: who is limited to some campaigns sees theirs, and those that they made."""
    who = exchange.who

    def read(db: Any) -> tuple[list[SavedSurvey], dict[int, dict[str, Any]]]:
        found, words = load_surveys(db), load_survey_words(db)
        if who.campaigns is None:
            return found, words
        campaigns = load_campaigns(db, campaign_ids=who.campaigns)
        led_to = {getattr(saved.campaign.destination, "survey", None) for saved in campaigns}
        return [one for one in found if one.author == who.name or one.survey_id in led_to], words

    seen: tuple[list[SavedSurvey], dict[int, dict[str, Any]]] = await services.store.read(read)
    return seen


def _ignore(_db: Any, _result: object) -> Reply:
    return Reply(b"")


async def _save(services: Services, exchange: Exchange) -> Any:
    body = read_object(exchange)
    crm_id = read_text(body.get("crmId"), "crmId", 64)
    survey, words = read_poll(services, body)
    found, known = await _load_seen(services, exchange)
    before = find_poll(found, known, crm_id) if crm_id else None
    commit: Commit[SavedSurvey] = Commit(exchange, lambda saved: f"surveys/{saved.survey_id}", _ignore)
    kept = {WORDS: {**words, **({"crmId": crm_id} if crm_id else {})}}
    if before is None:
        saved = await services.surveys.create(survey, author=exchange.who.name, commit=commit, words=kept)
    else:
        saved = await services.surveys.replace(before.survey_id, survey, commit=commit, words=kept)
    return {"id": str(saved.survey_id), "crmId": crm_id or saved.survey_id, "name": saved.survey.name}


async def _list(services: Services, exchange: Exchange) -> Any:
    found, words = await _load_seen(services, exchange)
    return {
        "results": [
            {"id": str(one.survey_id), "crmId": crm_id_of(words[one.survey_id], one.survey_id), "name": one.survey.name}
            for one in found
        ]
    }


async def _find(services: Services, exchange: Exchange) -> tuple[SavedSurvey, dict[str, Any]] | None:
    wanted = path_id(exchange)
    found, words = await _load_seen(services, exchange)
    one = next((one for one in found if str(one.survey_id) == wanted), None) or find_poll(found, words, wanted)
    return None if one is None else (one, words[one.survey_id])


async def _get(services: Services, exchange: Exchange) -> Any:
    found = await _find(services, exchange)
    if found is None:
        raise Failed
    saved, words = found
    questions = words.get(WORDS, {}).get("questions")
    if questions is None:
        questions = [
            {"questionId": one.id, "questionText": one.text, "questionFile": one.sound or "", "press": []}
            for one in saved.survey.questions
        ]
    shown = [{"id": str(place + 1), **question} for place, question in enumerate(questions)]
    return {
        "id": str(saved.survey_id),
        "crmId": crm_id_of(words, saved.survey_id),
        "name": saved.survey.name,
        "questions": shown,
    }


async def _delete(services: Services, exchange: Exchange) -> Any:
    found = await _find(services, exchange)
    if found is not None:
        survey_id = found[0].survey_id
        commit: Commit[None] = Commit(exchange, f"surveys/{survey_id}", _ignore)
        await services.surveys.delete(survey_id, commit=commit)
    return []


async def find_survey(services: Services, exchange: Exchange, wanted: str) -> int | None:
    """The survey of a task's innerNum: a poll's id, ours or the client's; None also for one that who asks does not see."""
    found, words = await _load_seen(services, exchange)
    one = next((one for one in found if str(one.survey_id) == wanted), None) or find_poll(found, words, wanted)
    return None if one is None else one.survey_id


_ONE: Final = f"{BASE}/polling/{{id}}"
ROUTES: Final = (
    declare("POST", f"{BASE}/polling", "surveys/create", _save, "Make or replace a poll."),
    declare("GET", f"{BASE}/polling", "surveys/read", _list, "List polls."),
    declare("GET", _ONE, "surveys/read", _get, "Read a poll."),
    declare("DELETE", _ONE, "surveys/delete", _delete, "Delete a poll."),
)
