"""An Asterisk without the prose of its documentation is the same Asterisk: modules, applications, and what it complains of."""

import re

import pytest

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
