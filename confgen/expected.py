"""What the live Asterisk must say of each object, from the text it was given, and how that is compared; pure.

The rendered text is the one source: an option there and a header of AMI's answer that has its name must have the same value. So no
field of a template is forgotten here, and a field that AMI does not show is compared with what Asterisk's own parser reads.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from confgen.plan import Touched
from confgen.render import MODULE_OF_FILE, body_of
from confgen.sections import Section, group_sections, read_sections, read_value, select_blocks
from tandem.domain.changes import MASK, Complaint
from tandem.domain.dialplan import VOICEMAIL_CONTEXT

MISSING: Final = "\0"


class Fields(Protocol):
    """What a header's value is asked of: a message of AMI, or a mapping."""

    def get(self, header: str, default: str, /) -> str:
        """The value."""


EVENT_OF_TYPE: Final[Mapping[str, str]] = {
    "endpoint": "EndpointDetail",
    "auth": "AuthDetail",
    "aor": "AorDetail",
    "identify": "IdentifyDetail",
    "registration": "OutboundRegistrationDetail",
}
# An option of a file -> the field of our object that it is made from, for messages.
FIELD_OF_OPTION: Final[Mapping[str, str]] = {
    "allow": "codecs",
    "callerid": "name",
    "password": "secret",
    "set_var": "permissions",
    "mailboxes": "voicemail",
    "contact": "hosts",
    "max_contacts": "devices",
    "device_state_busy_at": "call_limit",
    "named_call_group": "pickup_groups",
    "named_pickup_group": "pickup_groups",
    "moh_suggest": "music",
    "rtp_symmetric": "nat",
    "force_rport": "nat",
    "rewrite_contact": "nat",
    "server_uri": "hosts",
    "timeout": "ring_time_s",
    "retry": "retry_s",
    "wrapuptime": "wrap_up_s",
    "maxlen": "max_callers",
    "musicclass": "music",
    "servicelevel": "service_level_s",
    "announce-position": "announce_position",
    "announce-frequency": "announce_every_s",
    "joinempty": "join_when_empty",
    "leavewhenempty": "leave_when_empty",
    "announce-holdtime": "announce_hold_time",
    "periodic-announce": "periodic_prompts",
    "periodic-announce-frequency": "periodic_every_s",
    "reportholdtime": "report_hold_time",
    "memberdelay": "member_delay_s",
    "ringinuse": "ring_in_use",
    "penaltychange": "changes",
    "entry": "sounds",
    "defaultrule": "penalty_rule",
    "penaltymemberslimit": "penalty_members_limit",
    "timeoutrestart": "timeout_restart",
    "timeoutpriority": "wait_ends_ring",
    "min-announce-frequency": "announce_min_s",
    "announce-position-only-up": "announce_only_up",
    "announce-position-limit": "announce_position_limit",
    "announce-to-first-user": "announce_to_first",
    "announce-round-seconds": "announce_round_s",
    "periodic-announce-startdelay": "periodic_after_s",
    "random-periodic-announce": "periodic_random",
    "relative-periodic-announce": "periodic_from_end",
    "queue-callerannounce": "caller_prompt",
    "announce": "member_prompt",
    "autopausedelay": "autopause_delay_s",
    "autopausebusy": "autopause_busy",
    "autopauseunavail": "autopause_unavailable",
    "context": "exit_key",
}
_QUEUE_HEADERS: Final = {"maxlen": "Max", "strategy": "Strategy", "weight": "Weight", "servicelevel": "ServiceLevel"}
# Sections of extensions.conf.
_NO_CONTEXTS: Final = frozenset({"general", "globals"})
_SECRETS: Final = frozenset({"password", "pin"})
# Not single values: `disallow` only clears, `type` is what the event's name says.
_NOT_COMPARED: Final = frozenset({"type", "disallow"})
_BOOLEANS: Final = {"yes": "true", "no": "false"}
_is_address: Final = re.compile(r"[0-9a-fA-F.:]+(/[0-9.]+)?").fullmatch


@dataclass(frozen=True, slots=True)
class Mailbox:
    """A line of voicemail.conf."""

    number: str
    pin: str
    name: str
    email: str
    language: str
    time_zone: str


@dataclass(frozen=True, slots=True)
class Expectation:
    """What must be there (and, in the names of `gone_…`, must not). pjsip: name of endpoint or trunk -> its sections."""

    endpoints: Mapping[str, tuple[Section, ...]]
    trunks: Mapping[str, tuple[Section, ...]]
    queues: Mapping[str, Section]
    mailboxes: Mapping[str, Mailbox]
    global_variables: Mapping[str, str]
    contexts: frozenset[str]
    gone_endpoints: frozenset[str]
    gone_queues: frozenset[str]
    gone_mailboxes: frozenset[str]
    penalty_rules: Mapping[str, Section]
    gone_rules: frozenset[str]
    music_classes: Mapping[str, Section]
    gone_music: frozenset[str]

    @property
    def count(self) -> int:
        """How many objects Asterisk has to be asked about."""
        gone = (self.gone_endpoints, self.gone_queues, self.gone_mailboxes, self.gone_rules, self.gone_music)
        there = (self.endpoints, self.trunks, self.queues, self.mailboxes, self.penalty_rules, self.music_classes)
        return sum(map(len, (*gone, *there)))


def expect_files(files: Mapping[str, str], touched: Touched) -> Expectation:
    """What a live Asterisk must have of the touched objects, when it has read these files."""
    pjsip = body_of(files["pjsip.conf"])
    if not touched.everything:
        pjsip = select_blocks(pjsip, touched.endpoints | touched.trunks)
    of_name = group_sections(read_sections(pjsip))
    parts: dict[str, list[Section]] = {}
    for name, sections in of_name.items():
        parts.setdefault(name.partition(".")[0], []).extend(sections)
    queues = {it.name: it for it in read_sections(body_of(files["queues.conf"])) if it.name != "general"}
    # An older generation has no such file.
    rules = {it.name: it for it in read_sections(body_of(files.get("queuerules.conf", "")))}
    classes = {it.name: it for it in read_sections(body_of(files.get("musiconhold.conf", "")))}
    boxes = {box.number: box for box in read_mailboxes(body_of(files["voicemail.conf"]))}
    of_dialplan = [text for file, text in files.items() if file not in MODULE_OF_FILE or file == "extensions.conf"]
    dialplan = of_dialplan if touched.dialplan else []
    return Expectation(
        endpoints={name: tuple(parts[name]) for name in sorted(touched.endpoints & parts.keys())},
        trunks={name: tuple(parts[name]) for name in sorted(touched.trunks & parts.keys())},
        queues={name: queues[name] for name in sorted(touched.queues & queues.keys())},
        mailboxes={name: boxes[name] for name in sorted(touched.voicemail_boxes & boxes.keys())},
        global_variables=dict(_read_globals(files["extensions.conf"])) if touched.dialplan else {},
        contexts=frozenset(section.name for text in dialplan for section in read_sections(text)) - _NO_CONTEXTS,
        gone_endpoints=(touched.endpoints | touched.trunks) - parts.keys(),
        gone_queues=touched.queues - queues.keys(),
        gone_mailboxes=touched.voicemail_boxes - boxes.keys(),
        penalty_rules={name: rules[name] for name in sorted(touched.penalty_rules & rules.keys())},
        gone_rules=touched.penalty_rules - rules.keys(),
        # What a folder holds is the admin's.
        music_classes={
            name: classes[name]
            for name in sorted(touched.music_classes & classes.keys())
            if classes[name].get("mode") == "playlist"
        },
        gone_music=touched.music_classes - classes.keys(),
    )


def compare_pjsip(path: str, sections: Iterable[Section], found: Iterable[Fields]) -> Iterator[Complaint]:
    """An endpoint's or trunk's sections against the events that tell its objects (their `Event` and `ObjectName`)."""
    events = {(fields.get("Event", ""), fields.get("ObjectName", "")): fields for fields in found}
    for section in sections:
        fields = events.get((EVENT_OF_TYPE[section.type], section.name))
        if fields is None:
            yield Complaint(path, "", f"Asterisk has no {section.type} {section.name}")
            continue
        for option in dict.fromkeys(name for name, _ in section.options):
            if option in _NOT_COMPARED:
                continue
            yield from _compare_option(path, section, option, fields)


def compare_queue(path: str, section: Section, params: Fields, parsed: Fields) -> Iterator[Complaint]:
    """A queue's section against its `QueueParams`, and against what Asterisk's parser reads for it (option -> last value)."""
    for option, header in _QUEUE_HEADERS.items():
        yield from _differ(path, option, section.get(option) or "", params.get(header, ""))
    for option in dict.fromkeys(name for name, _ in section.options):
        if option not in _QUEUE_HEADERS:
            yield from _differ(path, option, section.get(option) or "", parsed.get(option, ""))


def compare_music(path: str, section: Section, found: Iterable[str]) -> Iterator[Complaint]:
    """A music class against the files that `moh show files` tells of it."""
    yield from _differ(path, "entry", " ".join(section.all("entry")), " ".join(found))


def compare_rule(path: str, section: Section, found: Iterable[str]) -> Iterator[Complaint]:
    """A penalty rule against what QueueRule says of it, which has no raised penalty; `+0` is no change."""
    wanted = [",".join(part or "+0" for part in value.split(",")[:3]) for value in section.all("penaltychange")]
    yield from _differ(path, "penaltychange", " ".join(wanted), " ".join(found))


def compare_mailbox(path: str, box: Mailbox, entry: Fields, pin: str) -> Iterator[Complaint]:
    """A mailbox against its `VoicemailUserEntry` and what VM_INFO says of its password."""
    yield from _differ(path, "name", box.name, entry.get("Fullname", ""))
    yield from _differ(path, "email", box.email, entry.get("Email", ""))
    yield from _differ(path, "language", box.language, entry.get("Language", ""))
    yield from _differ(path, "time_zone", box.time_zone, entry.get("TimeZone", ""))
    yield from _differ(path, "pin", box.pin, pin)


def _compare_option(path: str, section: Section, option: str, fields: Fields) -> Iterator[Complaint]:
    wanted = section.get(option) or ""
    match option:
        case "allow":
            found = fields.get("Allow", "").strip("()").replace("|", ",")
            yield from _differ(path, option, wanted, found)
        case "callerid":
            yield from _differ(path, option, _plain_caller(wanted), _plain_caller(fields.get("Callerid", "")))
        case "contact":
            has = fields.get("Contacts", "").split(",")
            if f"{section.name}/{wanted}" not in has:
                yield Complaint(path, "hosts", f"must be {wanted}, and Asterisk has {' '.join(has) or 'none'}")
        case "set_var":
            yield from _compare_variables(path, section.all(option), fields.get("SetVar", MISSING))
        case "named_call_group" | "named_pickup_group":
            header = "NamedCallGroup" if option == "named_call_group" else "NamedPickupGroup"
            groups = fields.get(header, "").replace(" ", "")
            if set(wanted.split(",")) != set(groups.split(",")):
                yield from _differ(path, option, wanted, groups)
        case "match":
            yield from _compare_match(path, section.all("match"), fields.get("Match", ""))
        case _:
            header = "".join(part.capitalize() for part in option.split("_"))
            if (found := fields.get(header, MISSING)) != MISSING:
                yield from _differ(path, option, wanted, found)


def _compare_variables(path: str, wanted: tuple[str, ...], found: str) -> Iterator[Complaint]:
    """All of an endpoint's are in one header, in an order of Asterisk's own."""
    if found == MISSING:
        return
    for entry in wanted:
        if f",{entry}," not in f",{found},":
            yield from _differ(path, "set_var", entry, found)


def _compare_match(path: str, wanted: tuple[str, ...], found: str) -> Iterator[Complaint]:
    """Host names are resolved by Asterisk, so only addresses can be compared; what there is too much of must come from a name."""
    has = {entry.strip() for entry in found.split(",") if entry.strip()}
    names = [entry for entry in wanted if not _is_address(entry)]
    addresses = {_long_mask(entry) for entry in wanted if _is_address(entry)}
    missing, extra = addresses - has, has - addresses
    if missing or (extra and not names) or (names and not extra and not addresses):
        yield Complaint(
            path, "match", f"must be {', '.join(wanted)}, and Asterisk has {', '.join(sorted(has)) or 'none'}"
        )


def _long_mask(entry: str) -> str:
    """`10.0.0.0/8` as AMI writes it: `10.0.0.0/255.0.0.0`. An IPv6 mask likewise."""
    address, slash, length = entry.partition("/")
    # An address with a port has one colon, an IPv6 address several.
    bits = 128 if address.count(":") > 1 else 32
    mask = (2**bits - 1) ^ (2 ** (bits - int(length if slash else bits)) - 1)
    if bits == 32:
        return f"{address}/{'.'.join(str(mask >> shift & 255) for shift in (24, 16, 8, 0))}"
    return f"{address}/{length if slash else '128'}"


def _plain_caller(text: str) -> str:
    """`"Ann" <1001>` without what quotes it; AMI prints a caller without a name as the number alone."""
    plain = re.sub(r"\\(.)", r"\1", text)
    return plain[1:-1] if plain.startswith("<") and plain.endswith(">") else plain


def _differ(path: str, option: str, wanted: str, found: str) -> Iterator[Complaint]:
    if _BOOLEANS.get(wanted, wanted) == _BOOLEANS.get(found.lower(), found.lower()) or wanted == found:
        return
    if option in _SECRETS:
        wanted = found = MASK
    field = FIELD_OF_OPTION.get(option, option)
    yield Complaint(path, field, f"must be {wanted or 'empty'}, and Asterisk has {found or 'nothing'}")


def read_mailboxes(text: str) -> Iterator[Mailbox]:
    """The mailboxes of our context."""
    in_context = False
    for line in text.split("\n"):
        if line.startswith("["):
            in_context = line == f"[{VOICEMAIL_CONTEXT}]"
        elif in_context and " => " in line:
            number, _, rest = line.partition(" => ")
            pin, name, email, _, options = (*read_value(rest).split(","), "", "", "", "")[:5]
            given = dict(option.partition("=")[::2] for option in options.split("|"))
            yield Mailbox(number, pin, name, email, given.get("language", ""), given.get("tz", ""))


def _read_globals(text: str) -> Iterator[tuple[str, str]]:
    for section in read_sections(body_of(text)):
        if section.name == "globals":
            yield from section.options
