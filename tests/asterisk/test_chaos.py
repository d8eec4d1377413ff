"""A campaign under SIGKILLs of both sides, with a fixed seed; `python -m lab.chaos` is the long form."""

import pytest

from lab.chaos import DOCUMENT, SETTINGS, run_chaos
from lab.pbx import LabPbx

pytestmark = [pytest.mark.asterisk, pytest.mark.timeout(900)]


def test_twenty_kills_during_a_campaign(asterisk_install):
    with LabPbx(asterisk_install, DOCUMENT, settings=SETTINGS) as pbx:
        pbx.serve()
        result = run_chaos(pbx, seed=20261126, kills=20, numbers=5000, calm=0.8, say=print)
    assert not result.faults, result
    assert result.legs >= 4800, result
