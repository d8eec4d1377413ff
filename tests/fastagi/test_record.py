"""The script that records a prompt, command by command: keys, silence, a hang-up at every step, what cannot be kept."""

from datetime import UTC, datetime

import pytest
from twisted.internet.defer import Deferred, fail, succeed

from fastagi.brain import Brain
from fastagi.routes import list_scripts
from fastagi.testing import AgiCaller
from tandem.document import read_document
from tandem.domain.agents import AgentsUnavailable
from tandem.domain.dictation import Dictation, DictationRefused, plan_dictation
from tandem.domain.snapshot import build_snapshot
from tandem.domain.sounds import SoundRefused

SNAPSHOT = build_snapshot(
    1,
    read_document("""
general: {language: de, record_prompt_code: "*77", record_prompt_phones: ["1001", "1003"]}
endpoints:
  - {extension: "1001", secret: not-a-secret-1}
  - {extension: "1002", secret: not-a-secret-2}
  - {extension: "1003", secret: not-a-secret-3, language: pt_BR}
"""),
)


class Phone:
    def __init__(self, keeping=None):
        self.decisions, self.kept, self.dropped = [], [], []
        self._keeping = keeping
        self._brain = Brain(
            snapshot=lambda: SNAPSHOT,
            now=lambda: datetime(2026, 11, 20, 12, tzinfo=UTC),
            record=self.decisions.append,
            locate_dictation="/spool/{}".format,
            keep_prompt=self._keep,
            drop_prompt=self.dropped.append,
            prompt_max_s=30.0,
        )

    def _keep(self, *wanted):
        self.kept.append(wanted[:2])
        return succeed(None) if self._keeping is None else self._keeping

    def dial(self, keys, digits="12", extension="1001", **options):
        options = {"args": ["record", digits], "channel": f"PJSIP/{extension}-00000001"} | options
        return AgiCaller(script="record", digits=keys, **options).run(list_scripts(self._brain)["record"])

    def heard(self, call):
        return call.executed[1].removeprefix("tandem-feature,").removesuffix(",1") if call.executed else None


@pytest.fixture
def phone():
    return Phone()


def test_what_is_heard_and_accepted_is_kept(phone):
    call = phone.dial("#.1")
    assert call.error is None
    assert phone.heard(call) == "kept"
    assert phone.kept == [("1001", Dictation("prompt-12", ""))]
    assert phone.dropped == []
    recorded = next(words for words in call.commands if words[:2] == ("RECORD", "FILE"))
    assert recorded[2].startswith("/spool/")
    assert recorded[3:] == ("wav16", "#*", "30000", "0", "BEEP")
    assert call.played[:2] == [recorded[2], "vm-review"]
    assert phone.decisions[0].reasons == ("tandem/prompt-12 is recorded",)


@pytest.mark.parametrize(("keys", "takes", "heard"), [("#3#21", 2, "kept"), ("#*", 1, "dropped"), ("#" + "." * 9, 1, "dropped"), ("#3" * 20, 20, "dropped")])  # fmt: skip
def test_it_is_spoken_and_heard_again_and_nothing_is_kept_without_the_key(phone, keys, takes, heard):
    call = phone.dial(keys)
    assert call.error is None
    assert phone.heard(call) == heard
    assert sum(words[:2] == ("RECORD", "FILE") for words in call.commands) == takes
    assert len(phone.kept) == (heard == "kept")
    assert len(phone.dropped) == (heard != "kept")


@pytest.mark.parametrize("by", ["result", "line", "lost"])
@pytest.mark.parametrize("at", range(1, 9))
def test_who_hangs_up_before_the_key_has_changed_nothing(phone, by, at):
    call = phone.dial("#..1", hangup_at=at, hangup_by=by)
    assert call.finished
    # Up to the key's own command nothing is kept; what was recorded goes.
    assert (len(phone.kept), len(phone.dropped)) in ((0, 0), (0, 1), (1, 0))
    if at < 7:
        assert phone.kept == []


@pytest.mark.parametrize(
    ("keeping", "heard"),
    [(fail(SoundRefused("file", "holds no audio")), "tooshort"), (fail(AgentsUnavailable("disk full")), None), (Deferred(), None)],
)  # fmt: skip
def test_what_cannot_be_kept_is_told(keeping, heard):
    phone = Phone(keeping)
    call = phone.dial("#1")
    assert call.error is None
    assert phone.heard(call) == heard  # without a jump the dialplan says that it did not work
    assert phone.decisions[0].outcome == ("fallback" if heard is None else "tandem-feature,tooshort,1")


def test_a_file_that_cannot_be_written_is_told(phone):
    call = phone.dial("", answers={"RECORD FILE": "200 result=-1 (writefile) endpos=0"})
    assert (call.error, phone.heard(call), phone.kept) == (None, None, [])


@pytest.mark.parametrize(("extension", "digits"), [("1002", "12"), ("9999", "12"), ("1001", ""), ("1001", "1a"), ("1001", "12345678901"), ("1001", "*"), ("1001", "../1")])  # fmt: skip
def test_others_and_other_numbers_are_refused(phone, extension, digits):
    call = phone.dial("#1", digits, extension)
    assert (phone.heard(call), phone.kept) == ("refused", [])
    assert not any(words[0] == "RECORD" for words in call.commands)


def test_a_star_is_for_the_phones_language():
    assert plan_dictation(SNAPSHOT, "1001", "7*") == Dictation("prompt-7", "de")
    assert plan_dictation(SNAPSHOT, "1003", "7*") == Dictation("prompt-7", "pt_BR")
    assert plan_dictation(SNAPSHOT, "1003", "7").prompt == "tandem/prompt-7"
    with pytest.raises(DictationRefused, match=r"none of general\.record_prompt_phones"):
        plan_dictation(SNAPSHOT, "1002", "7")
