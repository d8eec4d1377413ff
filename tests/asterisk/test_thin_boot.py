"""An Asterisk without the prose of its documentation is the same Asterisk: modules, applications, and what it complains of."""

import re
import secrets
from pathlib import Path

import pytest

from tandem.asterisk import instance
from tandem.asterisk.instance import AsteriskFailed
from tandem.asterisk.trial import Candidate, boot_candidate

pytestmark = pytest.mark.asterisk

CONFIG = {"pjsip.conf": "[1001]\ntype = endpoint\nallow = nonsense\n\n[1002]\ntype = aor\nmax_contacts = many\n"}


def read_facts(asterisk):
    complaints = [
        re.sub(r"^\[[^]]*\]|\[\d+\]|0x[0-9a-f]+", "", line)
        for line in asterisk.read_log().splitlines()
        if "WARNING" in line or "ERROR" in line
    ]
    names = [
        sorted(set(re.findall(r"^ *([\w.]+)", asterisk.cli(command), re.MULTILINE)))
        for command in ("module show", "core show applications", "core show functions", "manager show commands")
    ]
    return complaints, names


def test_it_loads_and_complains_as_with_all_of_it(asterisk_factory):
    whole, thin = (read_facts(asterisk_factory(config=CONFIG, verbosity=0, documented=it)) for it in (True, False))
    assert any("nonsense" in line for line in whole[0])
    assert thin[0] == whole[0]
    for of_whole, of_thin in zip(whole[1], thin[1], strict=True):
        assert len(of_whole) > 50
        assert of_thin == of_whole


def test_it_is_not_the_whole_documentation(asterisk_factory):
    assert "Attempt" not in asterisk_factory(verbosity=0, documented=False).cli("core show application Dial")


def strip_documentation(installed, folder):
    """A release whose documentation has what it needs elsewhere than we know of."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in installed.iterdir():
        if path.is_file():
            (folder / path.name).write_bytes(b"<docs></docs>\n" if path.suffix == ".xml" else path.read_bytes())
    return True


@pytest.fixture
def folder():
    path = Path(f"/tmp/tandem-check-{secrets.token_hex(4)}")
    yield path
    assert not path.exists()


def test_where_the_thin_one_does_not_boot_the_whole_one_decides(monkeypatch, asterisk_factory, folder):
    monkeypatch.setattr(instance, "copy_thinned", strip_documentation)
    with pytest.raises(AsteriskFailed):
        asterisk_factory(verbosity=0, documented=False)
    trial = boot_candidate(Candidate(str(folder), CONFIG, commands=("core show application Dial",)))
    assert "Attempt" in trial.answers[0]
    assert any("nonsense" in line for line in trial.log)


def test_what_neither_boots_on_is_refused(folder):
    files = {"modules.conf": "[modules]\nautoload = no\nrequire = no_such_module.so\n"}
    with pytest.raises(AsteriskFailed, match="no_such_module"):
        boot_candidate(Candidate(str(folder), files))
