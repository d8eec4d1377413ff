"""SURVEY campaigns: everybody hears a sound, and those who press a key go on to somebody; a native survey, made and taken away with its campaign. Never asks itself.

BROADCAST plays the sound and hangs up. PRESS1 waits for one of survey_dtmf_digits, which does what survey_method says.
"""

from collections.abc import Mapping
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from api.compat.goapi.actions import Call
from api.compat.goapi.campaign_routes import choose_queue
from api.compat.goapi.campaign_whole import Whole
from api.compat.goapi.destinations import lead_to_extension, lead_to_mailbox, lead_to_menu
from api.compat.goapi.dialling import Known, read_choice, refuse_rule
from api.compat.goapi.parameters import check_special
from api.compat.goapi.speech import fail_code
from api.compat.goapi.voicefiles import convert_sound
from tandem.domain.destinations import Destination, QueueDestination
from tandem.domain.problems import describe_errors
from tandem.domain.surveys import Survey

_SURVEY: Final[TypeAdapter[Survey]] = TypeAdapter(Survey)
TYPES: Final = frozenset({"BROADCAST", "PRESS1"})
METHODS: Final = frozenset({"AGENT_XFER", "HANGUP", "EXTENSION", "VOICEMAIL", "CALLMENU"})
SILENCE: Final = frozenset({"OPTIN", "OPTOUT", "DROP"})
_SOUNDS: Final = ("survey_first_audio_file", "survey_opt_in_audio_file", "survey_ni_audio_file")
_DIGITS: Final = ("survey_dtmf_digits", "survey_ni_digit")
_TARGETS: Final = ("survey_xfer_exten", "survey_menu_id", "voicemail_ext")
PARAMETERS: Final = (
    "survey_type", *_SOUNDS, "uploaded_wav", *_DIGITS, "survey_method", *_TARGETS, "survey_no_response_action", "survey_wait_sec",
)  # fmt: skip
# How long a key is waited for.
_WAIT_S: Final = 10


def is_given(call: Call) -> bool:
    """Whether anything is said of the survey."""
    return any(call.given.text(name) for name in PARAMETERS) or bool(call.given.files.get("uploaded_wav"))


def read_words(call: Call, before: Mapping[str, Any]) -> dict[str, str]:
    """What is said of the survey, with what was said before; everything is checked by itself."""
    for name, choices in (
        ("survey_type", TYPES),
        ("survey_method", METHODS),
        ("survey_no_response_action", SILENCE),
    ):
        read_choice(call, name, choices)
    for name in (*_SOUNDS, *_TARGETS):
        check_special(name, call.given.text(name), is_id=True)
    for name in _DIGITS:
        value = call.given.line(name)
        if not set(value) <= set("0123456789*#") or len(value) > 12:
            raise fail_code("41004", name)
    wait = call.given.line("survey_wait_sec")
    if wait and not (wait.isascii() and wait.isdecimal() and len(wait) < 3 and 1 <= int(wait) <= 60):
        raise fail_code("41002", "survey_wait_sec")
    known = {name: str(before[name]) for name in (*PARAMETERS, "closer_campaigns") if before.get(name)}
    return {
        **known,
        **{name: value for name in PARAMETERS if name != "uploaded_wav" and (value := call.given.line(name))},
    }


async def take_sound(call: Call, whole: Whole, words: dict[str, str]) -> None:
    """Takes a file that came with the request, and names it; Said where nothing is to be heard at all."""
    content = call.given.files.get("uploaded_wav")
    if content:
        whole.sound = await convert_sound(call, "uploaded_wav", call.given.file_names["uploaded_wav"], content)
        words["survey_first_audio_file"] = whole.sound.prompt
    if not words.get("survey_first_audio_file"):
        raise fail_code("40001", "uploaded_wav")


def _lead(call: Call, whole: Whole, words: dict[str, str]) -> Destination:
    """Where a key leads. The in-group of AGENT_XFER is kept among the words, so that it is the same after the next change."""
    snapshot, method = whole.view(call), words.get("survey_method", "AGENT_XFER").upper()
    targets = {"EXTENSION": "survey_xfer_exten", "VOICEMAIL": "voicemail_ext", "CALLMENU": "survey_menu_id"}
    if method == "AGENT_XFER":
        if words.get("closer_campaigns") not in snapshot.queues:
            words["closer_campaigns"] = choose_queue(call, whole)
        return QueueDestination(queue=words["closer_campaigns"])
    field = targets[method]
    if not (target := words.get(field, "")):
        raise fail_code("40001", field)
    match method:
        case "EXTENSION":
            return lead_to_extension(snapshot, target, "default", field)
        case "VOICEMAIL":
            return lead_to_mailbox(snapshot, target, field)
    return lead_to_menu(snapshot, target, field)


def compose(call: Call, whole: Whole, words: dict[str, str], name: str) -> Survey:
    """The native survey that the words describe, `take_sound` among them."""
    sound = words["survey_first_audio_file"]
    if call.given.text("closer_campaigns"):
        words["closer_campaigns"] = choose_queue(call, whole)
    end = {"id": "end", "default_key": "1", "options": {"1": {"action": "next"}}}
    if words.get("survey_type", "BROADCAST").upper() == "BROADCAST":
        heard = {"action": "play", "sound": sound, "value": "played"}
        return _make({"name": name, "questions": [{"id": "message", "default_key": "1", "options": {"1": heard}}]})
    if words.get("survey_method", "").upper() == "HANGUP":
        wanted: dict[str, Any] = {"action": "answer"}
    else:
        destination = _lead(call, whole, words)
        wanted = {"action": "transfer", "destination": destination}
    if opt_in := words.get("survey_opt_in_audio_file"):
        wanted["sound"] = opt_in
    options: dict[str, Any] = {key: {**wanted, "value": key} for key in words.get("survey_dtmf_digits") or "1"}
    if not_interested := words.get("survey_ni_digit"):
        options |= {key: {"action": "answer", "value": "NI", "sound": words.get("survey_ni_audio_file")} for key in not_interested}  # fmt: skip
    # Silence takes the same way as the first of the keys, or none.
    silent = {**end, "id": "silence", "options": {"1": {**wanted, "value": "silence"}}}
    is_opt_in = words.get("survey_no_response_action", "OPTOUT").upper() == "OPTIN"
    question = {
        "id": "press", "sound": sound, "timeout_s": float(words.get("survey_wait_sec") or _WAIT_S), "options": options,
        "on_timeout": "silence" if is_opt_in else "end",
    }  # fmt: skip
    return _make({"name": name, "questions": [question, silent if is_opt_in else end]})


def _make(values: Mapping[str, Any]) -> Survey:
    try:
        return _SURVEY.validate_python(values)
    except ValidationError as error:
        problem = describe_errors(error, root=Survey)[0]
        raise refuse_rule("survey", f"{problem.path} {problem.message}") from None


def survey_of(known: Known) -> int | None:
    """The survey that a campaign leads to."""
    found: int | None = getattr(known.saved.campaign.destination, "survey", None)
    return found
