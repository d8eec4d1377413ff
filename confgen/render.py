"""A snapshot as Asterisk's .conf files; pure, the same snapshot and target always give the same text, and it never writes one."""

import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any, Final, Literal, TypeVar

from jinja2 import Environment

from confgen.values import ValueUnrepresentable, make_environment
from tandem.domain.changes import ApplyRefused, Complaint
from tandem.domain.dialplan import (
    CONTEXT_FROM_ENDPOINT,
    CONTEXT_FROM_TRUNK,
    CONTEXT_QUEUE_CALLBACK,
    CONTEXT_QUEUE_EXIT,
    GLOBAL_AGENT_LOGIN,
    GLOBAL_AGENT_PAUSE,
    GLOBAL_AGI,
    GLOBAL_COUNTRY,
    GLOBAL_COUNTRY_CODE,
    GLOBAL_EMERGENCY,
    GLOBAL_EMERGENCY_ROUTE,
    GLOBAL_EMERGENCY_TRUNK,
    GLOBAL_INTERNATIONAL_PREFIX,
    GLOBAL_LANGUAGE,
    GLOBAL_NATIONAL_PREFIX,
    GLOBAL_OUTBOUND_TRUNK,
    GLOBAL_RECORDINGS,
    GLOBAL_SOUNDS,
    GLOBAL_STATIC_ROUTES,
    GLOBAL_VOICEMAIL,
    VARIABLE_CALLER_ID,
    VARIABLE_EMERGENCY_CALLER_ID,
    VARIABLE_PERMISSIONS,
    VARIABLE_RECORDING,
    VOICEMAIL_CONTEXT,
)
from tandem.domain.entities import Queue, Trunk
from tandem.domain.numbers import NumberPlan, number_plan
from tandem.domain.problems import suggest
from tandem.domain.queues import ABSENT
from tandem.domain.records import CDR_FIELDS, CEL_EVENTS, CEL_FIELDS
from tandem.domain.snapshot import Snapshot
from tandem.domain.sounds import HAVE_MUSIC, locate_prompt

Item = TypeVar("Item")

# What has to read a file again when it changed. All of PJSIP's objects are read by res_pjsip.
MODULE_OF_FILE: Final[Mapping[str, str]] = {
    "pjsip_transport.conf": "res_pjsip.so",
    "pjsip.conf": "res_pjsip.so",
    "http.conf": "http",
    "voicemail.conf": "app_voicemail.so",
    "musiconhold.conf": "res_musiconhold.so",
    "extensions.conf": "pbx_config.so",
    "queuerules.conf": "app_queue.so",
    # After the dialplan: a member whose context is not there when the queue is read is never called.
    "queues.conf": "app_queue.so",
    "cdr.conf": "cdr",
    "cdr_custom.conf": "cdr_custom.so",
    "cdr_manager.conf": "cdr_manager.so",
    "cel.conf": "cel",
    "cel_custom.conf": "cel_custom.so",
}
GUEST_FILES: Final = (
    "pjsip.conf",
    "musiconhold.conf",
    "queuerules.conf",
    "queues.conf",
    "voicemail.conf",
    "extensions.conf",
)
OWNER_FILES: Final = tuple(MODULE_OF_FILE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Transport:
    """Where PJSIP listens. `bind` is address:port; the next two are for an Asterisk behind NAT; certificate and key (PEM files, as Asterisk sees them) for tls and wss.

    Of wss, Asterisk's HTTP server is what listens, for `max_sessions` at the same time.
    """

    name: str
    protocol: Literal["udp", "tcp", "tls", "wss"] = "udp"
    bind: str = "0.0.0.0:5060"
    external_address: str = ""
    local_networks: tuple[str, ...] = ()
    certificate: str = ""
    key: str = ""
    max_sessions: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderTarget:
    """The Asterisk that is to read the files.

    mode: `guest`, files for an admin's own Asterisk: no general section, no transport, no music class that is no object is ours, and the including
        files must have the sections `[globals]` (extensions.conf) and `[zonemessages]` (voicemail.conf), which ours add to; `owner`: whole files, and those for CDR and CEL.
    agi_url: of our FastAGI, such as agi://127.0.0.1:4573. recordings_dir, sounds_dir, dialplan_dir: absolute, as Asterisk sees them.
    trunk_transport: name of the transport for trunks; empty lets PJSIP choose. transports, identify_order: owner mode only;
        `("username", "ip")` is for a machine where carrier and phones share an address (loopback).
    qualify_s: how often contacts are asked whether they live; 0 never.
    templates: name -> text of templates of the site's, which come before ours of the same name (`queues.conf.j2`).
    """

    mode: Literal["guest", "owner"] = "guest"
    agi_url: str
    recordings_dir: str
    dialplan_dir: str
    sounds_dir: str = ""
    trunk_transport: str = ""
    transports: tuple[Transport, ...] = ()
    identify_order: tuple[Literal["ip", "username"], ...] = ("ip", "username")
    qualify_s: int = 60
    templates: tuple[tuple[str, str], ...] = ()


def render(snapshot: Snapshot, target: RenderTarget) -> dict[str, str]:
    """File name -> text, for every file of the target's mode.

    ValueUnrepresentable, naming object and field, for a value that Asterisk would not read back as it is; ApplyRefused for a
    template of the site's that cannot be rendered.
    """
    _refuse_same_queues(snapshot)
    _refuse_unknown_templates(target)
    _refuse_missing_transports(snapshot, target)
    return {
        name: _render_file(name, snapshot, target) for name in (GUEST_FILES if target.mode == "guest" else OWNER_FILES)
    }


def body_of(text: str) -> str:
    """A file's text without the header of `header.j2`: what counts when two are compared, since the header names a revision."""
    head, _, body = text.partition("\n\n")
    return body if ": written by Tandem from its database;" in head.partition("\n")[0] else text


def _render_file(name: str, snapshot: Snapshot, target: RenderTarget) -> str:
    walk = _Walk()
    general = snapshot.general
    try:
        return (
            _make_environment(target.templates)
            .get_template(f"{name}.j2")
            .render(
                file_name=name,
                revision=snapshot.revision,
                target=target,
                owner=target.mode == "owner",
                browser_door=_find_browser_door(snapshot, target),
                general=general,
                trunks=walk.through("trunks", snapshot.trunks),
                endpoints=walk.through("endpoints", snapshot.endpoints),
                queues=walk.through("queues", snapshot.queues),
                penalty_rules=walk.through("penalty_rules", snapshot.penalty_rules),
                voicemail_boxes=walk.through("voicemail_boxes", snapshot.voicemail_boxes),
                queue_keys=_list_key_contexts(snapshot),
                dialplan_globals=_dialplan_globals(snapshot, target),
                time_zones=sorted({box.time_zone or general.time_zone for box in snapshot.voicemail_boxes.values()}),
                music_classes=walk.through("music_classes", snapshot.music_classes),
                music_folders=_list_music(snapshot),
                context_from_trunk=CONTEXT_FROM_TRUNK,
                context_from_endpoint=CONTEXT_FROM_ENDPOINT,
                variable_permissions=VARIABLE_PERMISSIONS,
                variable_caller_id=VARIABLE_CALLER_ID,
                variable_emergency_caller_id=VARIABLE_EMERGENCY_CALLER_ID,
                variable_recording=VARIABLE_RECORDING,
                voicemail_context=VOICEMAIL_CONTEXT,
                cel_events=",".join(CEL_EVENTS),
                cel_fields=CEL_FIELDS,
                cdr_fields=CDR_FIELDS,
            )
        )
    except ValueUnrepresentable as error:
        path, entity = walk.at or _holder(error.value, {"general": general, "target": target})
        raise ValueUnrepresentable(error.value, error.rule, _name_field(path, entity, error.value)) from None
    except Exception as error:
        # Ours are tested; what an admin writes can fail in every way.
        if not target.templates:
            raise
        raise _refuse_template(name, error) from error


class _Walk:
    """Goes through collections in the order of names, and remembers where it is, so that an error can say so."""

    __slots__ = ("at",)

    def __init__(self) -> None:
        self.at: tuple[str, object] | None = None

    def through(self, collection: str, entities: Mapping[str, Item]) -> Iterator[Item]:
        for name in sorted(entities):
            entity = entities[name]
            self.at = (f"{collection}.{name}", entity)
            yield entity
        self.at = None


def _holder(value: str, settings: Mapping[str, Any]) -> tuple[str, object]:
    """Which of the settings holds a value that no collection's object holds."""
    for path, holder in settings.items():
        if _name_field(path, holder, value) != path:
            return path, holder
    return "value", None


def _name_field(path: str, entity: Any, value: str) -> str:
    """`path` and the entity's field with this value; `path` alone where the value was made from several fields.

    Two fields with the same value are both named: which one the template had come to is not known.
    """
    held = {field.name: getattr(entity, field.name) for field in fields(entity)} if entity is not None else {}
    names = [name for name, it in held.items() if it == value or (isinstance(it, tuple) and value in it)]
    return " or ".join(f"{path}.{name}" for name in names) or path


def _refuse_same_queues(snapshot: Snapshot) -> None:
    """app_queue compares names without case."""
    seen: dict[str, str] = {}
    for name in sorted(snapshot.queues):
        other = seen.setdefault(name.lower(), name)
        if other != name:
            raise ValueUnrepresentable(name, f"must differ from queue {other} in more than case", f"queues.{name}.name")


def _refuse_missing_transports(snapshot: Snapshot, target: RenderTarget) -> None:
    """Where the transports are ours, a trunk's must be one of them: its calls would fail, each by itself."""
    protocols = {transport.protocol for transport in target.transports} - {"wss"}
    for name, trunk in sorted(snapshot.trunks.items()):
        if protocols and trunk.transport not in protocols:
            needs = "asterisk.sip_tls_certificate and sip_tls_key" if trunk.transport == "tls" else "asterisk.sip_tcp"
            rule = f"must be {' or '.join(sorted(protocols))}: there is no {trunk.transport} without {needs}"
            raise ValueUnrepresentable(trunk.transport, rule, f"trunks.{name}.transport")


def _find_browser_door(snapshot: Snapshot, target: RenderTarget) -> Transport | None:
    """Where browsers come in; None while no endpoint is one of a browser: what nobody needs does not listen."""
    doors = (transport for transport in target.transports if transport.protocol == "wss")
    return next(doors, None) if any(endpoint.webrtc for endpoint in snapshot.endpoints.values()) else None


def _dialplan_globals(snapshot: Snapshot, target: RenderTarget) -> tuple[tuple[str, str], ...]:
    general = snapshot.general
    plan = number_plan(general.country) if general.country else NumberPlan("", "", "")
    emergency = tuple(
        (rule.pattern.removeprefix("^").removesuffix("$"), rule.route) for rule in snapshot.outbound.emergency
    )
    return (
        (GLOBAL_AGI, target.agi_url),
        (GLOBAL_RECORDINGS, target.recordings_dir),
        (GLOBAL_SOUNDS, target.sounds_dir),
        (GLOBAL_LANGUAGE, general.language),
        (GLOBAL_EMERGENCY, "|".join((*map(_literal, general.emergency_numbers), *(rule for rule, _ in emergency)))),
        (GLOBAL_EMERGENCY_TRUNK, general.emergency_trunk or general.outbound_trunk or ""),
        (GLOBAL_OUTBOUND_TRUNK, general.outbound_trunk or ""),
        (GLOBAL_INTERNATIONAL_PREFIX, plan.international_prefix),
        (GLOBAL_NATIONAL_PREFIX, plan.national_prefix),
        (GLOBAL_COUNTRY_CODE, plan.country_code),
        (GLOBAL_COUNTRY, general.country or ""),
        (GLOBAL_STATIC_ROUTES, "yes" if snapshot.outbound_routes else ""),
        (GLOBAL_VOICEMAIL, general.voicemail_number),
        (GLOBAL_AGENT_LOGIN, general.agent_login_code),
        (GLOBAL_AGENT_PAUSE, general.agent_pause_code),
        *(
            (f"{GLOBAL_EMERGENCY_ROUTE}{index}", f"{rule}/{route.strip}/{route.prepend}/{'&'.join(route.trunks)}")
            for index, (rule, route) in enumerate(emergency, 1)
        ),
    )


def _literal(number: str) -> str:
    """A number as a regular expression: in brackets, `+` and `*` stand for themselves, and no backslash has to survive a parser."""
    return number.replace("+", "[+]").replace("*", "[*]")


def _nth(name: str, number: int) -> str:
    """The name of a trunk's n-th AOR or registration; no entity's name can hold a dot."""
    return name if number == 1 else f"{name}.{number}"


def _matches(trunk: Trunk) -> tuple[str, ...]:
    """Where a trunk's calls come from: what the admin says, or its hosts from any port."""
    return trunk.match or tuple(dict.fromkeys(host.partition(":")[0] for host in trunk.hosts))


def _prompt(prompt: str, target: RenderTarget) -> str:
    """What Asterisk is given to play it."""
    return locate_prompt(prompt, target.sounds_dir)


# Of keys that no context's name holds.
_KEY_NAMES: Final = {"*": "star", "#": "hash"}


def _list_keys(queue: Queue) -> tuple[tuple[str, str], ...]:
    """Each key that takes a caller out of a queue, and the context of the static dialplan that has them then."""
    keys = (
        (queue.exit_key, CONTEXT_QUEUE_EXIT),
        (queue.callback.key if queue.callback is not None else None, CONTEXT_QUEUE_CALLBACK),
    )
    return tuple((key, context) for key, context in keys if key is not None)


def _keys_context(queue: Queue) -> str:
    """The context that has a queue's keys, and no others: `tandem-queue-exit-9-callback-star`."""
    parts = (
        f"{context.removeprefix('tandem-queue-')}-{_KEY_NAMES.get(key, key)}" for key, context in _list_keys(queue)
    )
    return "-".join(("tandem-queue", *parts))


def _list_key_contexts(snapshot: Snapshot) -> list[tuple[str, tuple[tuple[str, str], ...]]]:
    """Every such context that a queue has, once."""
    return sorted({(_keys_context(queue), keys) for queue in snapshot.queues.values() if (keys := _list_keys(queue))})


def _list_absent(queue: Queue) -> str:
    """When a member is nobody, in app_queue's words; whom a penalty rule keeps out so far is somebody."""
    words = {when.replace("-", "") for when in queue.absent_when} - ({"penalty"} if queue.penalty_rule else set())
    return "strict" if words == set(ABSENT) else ",".join(sorted(words)) or "no"


def _list_music(snapshot: Snapshot) -> list[str]:
    """Every music class that somebody is to hear and that is no object: a folder of that name."""
    named = {entity.music for collection in HAVE_MUSIC for entity in getattr(snapshot, collection).values()}
    # res_musiconhold.c does not tell capitals apart.
    ours = {name.casefold() for name in snapshot.music_classes}
    return sorted(name for name in {"default", *named} if name is not None and name.casefold() not in ours)


@lru_cache(maxsize=4)
def _make_environment(own: tuple[tuple[str, str], ...]) -> Environment:
    environment = make_environment(dict(own))
    environment.filters.update(
        nth=_nth,
        matches=_matches,
        prompt=_prompt,
        keys_context=_keys_context,
        absent=_list_absent,
        sip_transport=_sip_transport,
    )
    return environment


def _refuse_unknown_templates(target: RenderTarget) -> None:
    """A template that is for no file of ours would be passed over without a word."""
    known = {f"{name}.j2" for name in MODULE_OF_FILE}
    unknown = [name for name, _ in target.templates if name.endswith(".conf.j2") and name not in known]
    if unknown:
        raise ApplyRefused(
            "render",
            tuple(
                Complaint(f"template {name}", "", f"is for no file that Tandem writes{suggest(name, known)}")
                for name in unknown
            ),
        )


def _refuse_template(name: str, error: Exception) -> ApplyRefused:
    """What is wrong with a template of the site's, with its line where that is known."""
    line = getattr(error, "lineno", None)
    for frame in traceback.extract_tb(error.__traceback__):
        if frame.filename == "<template>" or frame.filename.endswith(".j2"):
            line = frame.lineno
    at = getattr(error, "name", None) or f"{name}.j2"
    return ApplyRefused(
        "render", (Complaint(f"template {at}", f"line {line}" if line else "", str(error) or type(error).__name__),)
    )


def _sip_transport(trunk: Trunk) -> str:
    """The parameter of a URI that picks Asterisk's transport of that kind."""
    return "" if trunk.transport == "udp" else f";transport={trunk.transport}"
