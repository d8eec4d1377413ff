"""What a throw-away Asterisk complained of, as object, field and reason; pure.

A complaint counts when a run without any object (the baseline) did not have it, numbers and addresses aside.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from confgen.expected import FIELD_OF_OPTION
from confgen.render import body_of
from confgen.sections import read_sections
from tandem.domain.changes import MASK, Complaint

_read_line: Final = re.compile(r"\[[^]]*\] (?:WARNING|ERROR)\[\d+\](?:\[[^]]*\])? ([\w./-]+): (.*)").match
_find_object: Final = re.compile(r"object of type '(\w+)' with id '([^']*)'").search
_find_identify: Final = re.compile(r"Identify '([^']*)'").search
_find_option: Final = re.compile(r"Error parsing ([\w-]+)=(.*?) at line \d+ of").search
_find_queue: Final = re.compile(r"queue '([^']*)'").search
_find_music: Final = re.compile(r"Error opening directory - \S*/moh/([\w-]+):").search
_find_keyword: Final = re.compile(r"valid (\w+) for queue|in queue '[^']*': ([\w-]+)").search
_find_place: Final = re.compile(r"line (\d+) of (\S+)").search
_NUMBERS: Final = re.compile(r"0x[0-9a-f]+|\d+")
_SECRET: Final = re.compile(r"(password|secret)=(.*?)(?= at line \d+ of|$)")
# Said by modules that began their work, which they cannot do without a network; about no value of ours.
HARMLESS: Final = (
    re.compile(r"^res_pjsip_outbound_registration\.c: .*No response received"),
    re.compile(r"^taskprocessor\.c: "),
    re.compile(r"Network is unreachable|No route to host"),
    re.compile(r"^res_pjsip/pjsip_(resolver|options)\.c: "),
    # By chance, when modules are slow to load beside each other.
    re.compile(
        r'Module "[\w ./-]+" registered during operation\. Enable PJSIP_SAFE_MODULE to prevent race condition\.$'
    ),
)
_SECTION: Final = re.compile(r"\[([^]]+)\]").match


def list_troubles(log: Iterable[str]) -> list[tuple[str, str]]:
    """(source file, message) of every warning and error."""
    found = (_read_line(line) for line in log)
    return [(match[1], match[2]) for match in found if match]


def normalise(source: str, message: str) -> str:
    """A message as it is compared with another run's."""
    return f"{source}: {_NUMBERS.sub('N', message)}"


def read_complaints(
    log: Iterable[str], baseline: Iterable[str], files: Mapping[str, str], folder: str
) -> tuple[Complaint, ...]:
    """What is new against the baseline's log, each once. files: name -> text, to find the object at a line."""
    known = {normalise(*trouble) for trouble in list_troubles(baseline)}
    troubles = [
        (source, message.replace(f"{folder}/", ""))
        for source, message in list_troubles(log)
        if normalise(source, message) not in known
        and not any(pattern.search(f"{source}: {message}") for pattern in HARMLESS)
    ]
    return tuple(dict.fromkeys(_attribute(troubles, files)))


def object_of(section: str) -> str:
    """`endpoints.1001`, `trunks.carrier` of carrier.2: whose a section of pjsip.conf is."""
    name = section.partition(".")[0]
    return f"{'endpoints' if name.isdigit() else 'trunks'}.{name}"


def _attribute(troubles: Iterable[tuple[str, str]], files: Mapping[str, str]) -> Iterator[Complaint]:
    """PJSIP says what is wrong first, and then of which object: what has no object waits for the next that has one."""
    waiting: list[str] = []
    field = ""
    for _, message in troubles:
        text = _SECRET.sub(rf"\1={MASK}", message)
        if option := _find_option(message):
            field = FIELD_OF_OPTION.get(option[1], option[1])
        if _find_identify(message):
            field = "match"
        if found := _find_object(message):
            field = field or {"identify": "match", "registration": "hosts"}.get(found[1], "")
            yield Complaint(object_of(found[2]), field, "; ".join(waiting) or text)
            waiting, field = [], ""
        elif found := _find_queue(message):
            keyword = _find_keyword(message)
            option_name = (keyword[1] or keyword[2]) if keyword else ""
            yield Complaint(f"queues.{found[1]}", FIELD_OF_OPTION.get(option_name, option_name), text)
        elif (music := _find_music(message)) and (queues := _list_listeners(music[1], files.get("queues.conf", ""))):
            yield from (Complaint(f"queues.{name}", "music", text) for name in queues)
        elif not option and (place := _find_place(message)) and place[2].rpartition("/")[2] in files:
            file = place[2].rpartition("/")[2]
            yield Complaint(_object_at(file, files[file], int(place[1])), "", text)
        else:
            waiting.append(text)
    yield from (Complaint("Asterisk", field, text) for text in waiting)


def _list_listeners(music: str, queues: str) -> list[str]:
    """The queues whose callers hear this music."""
    return [section.name for section in read_sections(body_of(queues)) if section.get("musicclass") == music]


def _object_at(file: str, text: str, number: int) -> str:
    """The object whose section the line is in; the file where there is none."""
    lines = text.split("\n")[:number]
    if file == "voicemail.conf" and lines and (found := re.match(r"([0-9]+) =", lines[-1])):
        return f"voicemail_boxes.{found[1]}"
    name = next((found[1] for line in reversed(lines) if (found := _SECTION(line))), "")
    if not name and lines:  # a header that Asterisk could not read either
        name = lines[-1].strip("[")
    if file == "pjsip.conf" and name:
        return object_of(name)
    return f"queues.{name}" if file == "queues.conf" and name else file
