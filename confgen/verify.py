"""Whether a configuration is good: loaded by a throw-away Asterisk before, and asked of the live one after; never changes either.

The throw-away one is told the files as they would be installed, below an `etc` of its own and without any file of the admin's; what it
complains of is compared with a run that has no object at all. The live one is asked over AMI, object by object, field by field.
"""

import re
import secrets
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal, Protocol, TypeVar

from twisted.internet.defer import Deferred, FirstError, gatherResults
from twisted.internet.threads import deferToThread
from twisted.python.failure import Failure

from confgen.complaints import object_of, read_complaints
from confgen.expected import (
    Expectation,
    Fields,
    compare_mailbox,
    compare_music,
    compare_pjsip,
    compare_queue,
    compare_rule,
)
from confgen.pjsip_objects import OBJECTS_FILE, SORCERY_FILE, list_mappings
from confgen.plan import Touched, narrow_snapshot
from confgen.render import OWNER_FILES, RenderTarget, render
from tandem.ami import actions
from tandem.ami.actions import Action
from tandem.ami.errors import AmiRefused
from tandem.ami.wire import Message
from tandem.asterisk.trial import HOME_PREFIX, Candidate, Trial, TrialFailed, TrialUnavailable, run_trial
from tandem.domain.changes import ApplyRefused, Complaint
from tandem.domain.dialplan import VOICEMAIL_CONTEXT
from tandem.domain.snapshot import Snapshot

T = TypeVar("T")

CheckMode = Literal["required", "if-possible", "off"]

PASSED: Final = "passed"
NOTHING: Final = "nothing to check"
LIST_TIMEOUT_S: Final = 60.0
# So many objects are asked about before the answers are compared: bounds what is in memory, and lets calls in between.
_BATCH: Final = 250
# Listing more objects than this in the throw-away Asterisk costs more than it tells: the live one is asked about each anyway.
_MAX_LISTED: Final = 1000
# More queues than this are read from one answer with the whole file.
_MANY: Final = 20

# What the files of the throw-away Asterisk begin with, in guest mode; the admin's own have more.
_GUEST_FILES: Final = {
    "pjsip.conf": "{transport}",
    "extensions.conf": "[globals]\n#include tandem/current/extensions.conf\n",
    "musiconhold.conf": "[default]\nmode = files\ndirectory = moh\n#include tandem/current/musiconhold.conf\n",
    "queuerules.conf": "#include tandem/current/queuerules.conf\n",
    "queues.conf": "[general]\n#include tandem/current/queues.conf\n",
    "voicemail.conf": "[general]\nformat = wav\n[zonemessages]\n#include tandem/current/voicemail.conf\n",
}
_COMMANDS: Final = ("pjsip list endpoints", "queue show", "voicemail show users")


class Ami(Protocol):
    """What is needed of `tandem.ami.client.AmiClient`."""

    def send(self, action: Action, *, timeout_s: float | None = None) -> Deferred[Message]:
        """One action."""

    def send_list(self, action: Action, *, timeout_s: float | None = None) -> Deferred[list[Message]]:
        """One list action."""


@dataclass(slots=True)
class Check:
    """The throw-away Asterisk's verdict. It runs the baseline once, beside the first candidate."""

    mode: CheckMode
    run: Callable[[Candidate], Trial] = run_trial
    _baseline: tuple[str, ...] | None = None

    async def check(
        self, snapshot: Snapshot, target: RenderTarget, static_files: Mapping[str, str], touched: Touched
    ) -> str:
        """`passed`, or `skipped: ` and why. ApplyRefused names every object that Asterisk complains of."""
        if self.mode == "off":
            return "skipped: asterisk.check is off"
        folder = Path(tempfile.gettempdir()) / f"{HOME_PREFIX}{secrets.token_hex(6)}"
        narrow = narrow_snapshot(snapshot, touched)
        inside = replace(target, dialplan_dir=f"{folder}/etc/tandem/current")
        candidate = await deferToThread(compose_candidate, narrow, inside, static_files, folder)
        try:
            trial, baseline = await self._run(candidate, target)
        except TrialUnavailable as error:
            if self.mode == "required":
                problem = Complaint("asterisk.check", "", f"is `required`, and no throw-away Asterisk can run: {error}")
                raise ApplyRefused("check", (problem,)) from error
            return f"skipped: no throw-away Asterisk can run here: {error}"
        except TrialFailed as error:
            raise ApplyRefused("check", (Complaint("Asterisk", "", f"did not boot: {error}"),)) from error
        _refuse_complaints(narrow, candidate, trial, baseline)
        return PASSED

    async def _run(self, candidate: Candidate, target: RenderTarget) -> tuple[Trial, tuple[str, ...]]:
        trials = [deferToThread(self.run, candidate)]
        if self._baseline is None:
            folder = f"{candidate.folder}-baseline"
            empty = Candidate(folder, {**_top_files(target), **_empty_files(target)})
            trials.append(deferToThread(self.run, empty))
        results = await _gather(trials)
        if len(results) > 1:
            self._baseline = results[1].log
        return results[0], self._baseline or ()


def try_whole(snapshot: Snapshot, target: RenderTarget, static_files: Mapping[str, str], folder: Path) -> str:
    """Everything at once, in this thread, for commands without a reactor: `passed`, or `skipped: ` and why. ApplyRefused."""
    candidate = compose_candidate(snapshot, target, static_files, folder)
    try:
        trial = run_trial(candidate)
        baseline = run_trial(Candidate(f"{folder}-baseline", {**_top_files(target), **_empty_files(target)}))
    except TrialUnavailable as error:
        return f"skipped: no throw-away Asterisk can run here: {error}"
    except TrialFailed as error:
        raise ApplyRefused("check", (Complaint("Asterisk", "", f"did not boot: {error}"),)) from error
    _refuse_complaints(snapshot, candidate, trial, baseline.log)
    return PASSED


def _refuse_complaints(snapshot: Snapshot, candidate: Candidate, trial: Trial, baseline: tuple[str, ...]) -> None:
    """ApplyRefused names every object that Asterisk complained of, or does not have."""
    files = {name.rpartition("/")[2]: text for name, text in candidate.files.items() if "/" in name}
    complaints = read_complaints(trial.log, baseline, files, f"{candidate.folder}/etc")
    if not complaints and trial.answers:
        complaints = tuple(_list_missing(snapshot, trial.answers))
    if complaints:
        raise ApplyRefused("check", complaints)


def compose_candidate(
    snapshot: Snapshot, target: RenderTarget, static_files: Mapping[str, str], folder: Path
) -> Candidate:
    """The files of a throw-away Asterisk with these objects. Carriers' host names are made known to it: it has no DNS."""
    rendered = {**static_files, **render(snapshot, _without_certificates(target))}
    names = {
        host.partition(":")[0].partition("/")[0]
        for trunk in snapshot.trunks.values()
        for host in (*trunk.hosts, *trunk.match)
    }
    return Candidate(
        str(folder),
        {**_top_files(target), **{f"tandem/current/{name}": text for name, text in rendered.items()}},
        tuple(sorted(name for name in names if re.search("[A-Za-z]", name) and ":" not in name)),
        _COMMANDS if len(snapshot.endpoints) + len(snapshot.queues) <= _MAX_LISTED else (),
    )


def _without_certificates(target: RenderTarget) -> RenderTarget:
    """A key is for the real Asterisk alone to read, and its absence here is no mistake of an object's."""
    kept = (replace(it, certificate="", key="") for it in target.transports if it.protocol != "wss")
    return replace(target, transports=tuple(kept))


def _top_files(target: RenderTarget) -> dict[str, str]:
    """What Asterisk itself reads: in guest mode a stand-in for the admin's files, in owner mode only the #include of ours."""
    objects = {
        SORCERY_FILE: "\n".join(list_mappings()) + "\n",
        OBJECTS_FILE: "#tryinclude tandem/current/pjsip.conf\n",
    }
    if target.mode == "owner":
        files = {name: f"#tryinclude tandem/current/{name}\n" for name in OWNER_FILES if name != "pjsip_transport.conf"}
        return files | objects | {"pjsip.conf": "#tryinclude tandem/current/pjsip_transport.conf\n"}
    name = target.trunk_transport or "udp"
    transport = f"[{name}]\ntype = transport\nprotocol = udp\nbind = 0.0.0.0:5060\n\n"
    return objects | {file: text.replace("{transport}", transport) for file, text in _GUEST_FILES.items()}


def _empty_files(target: RenderTarget) -> dict[str, str]:
    return {f"tandem/current/{name}": "; nothing\n" for name in _GUEST_FILES} if target.mode == "guest" else {}


def _gather(asked: Iterable[Deferred[T]]) -> Deferred[list[T]]:
    """All results; or the first error itself, instead of gatherResults' own around it."""

    def raise_first(failure: Failure) -> list[T]:
        assert isinstance(failure.value, FirstError)
        failure.value.subFailure.raiseException()

    return gatherResults(asked, consumeErrors=True).addErrback(raise_first)


def _list_missing(snapshot: Snapshot, answers: tuple[str, ...]) -> Iterable[Complaint]:
    """What Asterisk passed over without a word."""
    endpoints, queues, mailboxes = answers
    names = set(re.findall(r"^ Endpoint:  ([^/\s]+)", endpoints, re.MULTILINE))
    for name in (*snapshot.trunks, *snapshot.endpoints):
        if name not in names:
            yield Complaint(object_of(name), "", "Asterisk reads it without a word and does not have it")
    names = set(re.findall(r"^(\S+) has \d+ calls", queues, re.MULTILINE))
    for name in snapshot.queues:
        if name not in names:
            yield Complaint(f"queues.{name}", "", "Asterisk reads it without a word and does not have it")
    names = set(re.findall(rf"^{VOICEMAIL_CONTEXT} +(\d+) ", mailboxes, re.MULTILINE))
    for name in snapshot.voicemail_boxes:
        if name not in names:
            yield Complaint(f"voicemail_boxes.{name}", "", "Asterisk reads it without a word and does not have it")


# --------------------------------------------------------------------------------------------------- the live one


async def verify_live(expected: Expectation, ami: Ami) -> tuple[Complaint, ...]:
    """Everything in which the live Asterisk differs; empty when it has what it should. AmiError when it cannot be asked."""
    return (
        *await _verify_pjsip(expected, ami),
        *await _verify_queues(expected, ami),
        *await _verify_rules(expected, ami),
        *await _verify_music(expected, ami),
        *await _verify_mailboxes(expected, ami),
        *await _verify_dialplan(expected, ami),
    )


async def _verify_pjsip(expected: Expectation, ami: Ami) -> list[Complaint]:
    registrations: list[Message] = []
    if any(section.type == "registration" for sections in expected.trunks.values() for section in sections):
        registrations = await ami.send_list(actions.pjsip_show_registrations_outbound(), timeout_s=LIST_TIMEOUT_S)
    wanted = [
        *((f"endpoints.{name}", name, sections) for name, sections in expected.endpoints.items()),
        *((f"trunks.{name}", name, sections) for name, sections in expected.trunks.items()),
        *((object_of(name), name, None) for name in sorted(expected.gone_endpoints)),
    ]
    complaints: list[Complaint] = []
    batches = [wanted[start : start + _BATCH] for start in range(0, len(wanted), _BATCH)]
    asked = [_ask_endpoints(ami, batch) for batch in batches[:1]]
    for number, batch in enumerate(batches):
        # Asterisk works on the next batch while this one is compared.
        asked += [_ask_endpoints(ami, following) for following in batches[number + 1 : number + 2]]
        try:
            answers = await asked.pop(0)
        except BaseException:
            for left in asked:
                left.addErrback(lambda _: None)  # one error is told, not two
            raise
        for (path, _, sections), found in zip(batch, answers, strict=True):
            if sections is None:
                complaints += [Complaint(path, "", "must be gone, and Asterisk still has it")] if found else []
            else:
                complaints += compare_pjsip(path, sections, (*found, *registrations))
    return complaints


def _ask_endpoints(ami: Ami, batch: Iterable[tuple[str, str, object]]) -> Deferred[list[list[Message]]]:
    return _gather(_ask_endpoint(ami, name) for _, name, _ in batch)


def _ask_endpoint(ami: Ami, name: str) -> Deferred[list[Message]]:
    """Everything that belongs to an endpoint; nothing where there is none."""
    asked = ami.send_list(Action("PJSIPShowEndpoint", (("Endpoint", name),)), timeout_s=LIST_TIMEOUT_S)

    def refused(failure: Failure) -> list[Message]:
        failure.trap(AmiRefused)
        return []

    return asked.addErrback(refused)


async def _verify_queues(expected: Expectation, ami: Ami) -> list[Complaint]:
    if not expected.queues and not expected.gone_queues:
        return []
    rows = await ami.send_list(actions.queue_status(), timeout_s=LIST_TIMEOUT_S)
    params = {row.get("Queue"): row for row in rows if row.name == "QueueParams"}
    parsed = await _read_queues(tuple(expected.queues), ami)
    complaints = [
        Complaint(f"queues.{name}", "", "must be gone, and Asterisk still has it")
        for name in sorted(expected.gone_queues & params.keys())
    ]
    for name, section in expected.queues.items():
        if name in params:
            complaints += compare_queue(f"queues.{name}", section, params[name], parsed.get(name, {}))
        else:
            complaints.append(Complaint(f"queues.{name}", "", "Asterisk does not have it"))
    return complaints


async def _read_queues(names: tuple[str, ...], ami: Ami) -> dict[str, dict[str, str]]:
    """Queue -> option -> last value, as Asterisk's own parser reads queues.conf now with all that it includes."""
    wanted = [(("Category", name),) for name in names] if len(names) <= _MANY else [()]
    parsed: dict[str, dict[str, str]] = {}
    for category in wanted:
        action = Action("GetConfig", (("Filename", "queues.conf"), *category))
        try:
            answer = await ami.send(action, timeout_s=LIST_TIMEOUT_S)
        except AmiRefused:
            continue  # no such category: what is missing is told field by field
        of_number: dict[str, dict[str, str]] = {}
        for header, value in answer.items():
            kind, _, rest = header.partition("-")
            number = rest.partition("-")[0]
            if kind == "Category":
                of_number[number] = parsed.setdefault(value, {})
            elif kind == "Line" and number in of_number:
                option, _, text = value.partition("=")
                of_number[number][option] = text
    return parsed


async def _verify_rules(expected: Expectation, ami: Ami) -> list[Complaint]:
    complaints: list[Complaint] = []
    for name in sorted({*expected.penalty_rules, *expected.gone_rules}):
        path, section = f"penalty_rules.{name}", expected.penalty_rules.get(name)
        answer = await ami.send(actions.queue_rule(name), timeout_s=LIST_TIMEOUT_S)
        is_there = bool(answer.all("RuleList"))
        if section is not None and is_there:
            complaints += compare_rule(path, section, answer.all("Rule"))
        elif section is not None:
            complaints.append(Complaint(path, "", "Asterisk does not have it: does its queuerules.conf include ours?"))
        elif is_there:
            complaints.append(Complaint(path, "", "must be gone, and Asterisk still has it"))
    return complaints


async def _verify_music(expected: Expectation, ami: Ami) -> list[Complaint]:
    if not expected.music_classes and not expected.gone_music:
        return []
    answer = await ami.send(actions.command("moh show files"), timeout_s=LIST_TIMEOUT_S)
    found: dict[str, list[str]] = {}
    of_class: list[str] = []
    for line in answer.all("Output"):
        what, _, value = line.strip().partition(": ")
        if what == "Class":
            of_class = found.setdefault(value, [])
        elif what == "File":
            of_class.append(value)
    complaints = [
        Complaint(f"music_classes.{name}", "", "must be gone, and Asterisk still has it")
        for name in sorted(expected.gone_music & found.keys())
    ]
    for name, section in expected.music_classes.items():
        path = f"music_classes.{name}"
        if name in found:
            complaints += compare_music(path, section, found[name])
        else:
            missing = "Asterisk does not have it: does its musiconhold.conf include ours?"
            complaints.append(Complaint(path, "", missing))
    return complaints


async def _verify_mailboxes(expected: Expectation, ami: Ami) -> list[Complaint]:
    if not expected.mailboxes and not expected.gone_mailboxes:
        return []
    action = Action("VoicemailUsersList", nothing="There are no voicemail users currently defined.")
    rows = await ami.send_list(action, timeout_s=LIST_TIMEOUT_S)
    entries: dict[str, Fields] = {
        row.get("VoiceMailbox"): row for row in rows if row.get("VMContext") == VOICEMAIL_CONTEXT
    }
    complaints = [
        Complaint(f"voicemail_boxes.{name}", "", "must be gone, and Asterisk still has it")
        for name in sorted(expected.gone_mailboxes & entries.keys())
    ]
    names = list(expected.mailboxes)
    for start in range(0, len(names), _BATCH):
        batch = names[start : start + _BATCH]
        asked = [
            ami.send(actions.getvar("", f"VM_INFO({name}@{VOICEMAIL_CONTEXT},password)"), timeout_s=LIST_TIMEOUT_S)
            for name in batch
        ]
        pins = await _gather(asked)
        for name, pin in zip(batch, pins, strict=True):
            path = f"voicemail_boxes.{name}"
            if name in entries:
                complaints += compare_mailbox(path, expected.mailboxes[name], entries[name], pin.get("Value"))
            else:
                complaints.append(Complaint(path, "", "Asterisk does not have it"))
    return complaints


async def _verify_dialplan(expected: Expectation, ami: Ami) -> list[Complaint]:
    complaints: list[Complaint] = []
    for name, value in expected.global_variables.items():
        found = (await ami.send(actions.getvar("", name))).get("Value")
        if found != value:
            reason = f"must be {value or 'empty'}, and Asterisk has {found or 'nothing'}"
            complaints.append(Complaint("general", name, reason))
    for context in sorted(expected.contexts):
        try:
            await ami.send_list(Action("ShowDialPlan", (("Context", context),)), timeout_s=LIST_TIMEOUT_S)
        except AmiRefused:
            complaints.append(Complaint("dialplan", context, "Asterisk does not have this context"))
    return complaints
