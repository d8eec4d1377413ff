"""A PBX with every kind of destination for each file of tests beside it."""

from collections.abc import Iterator
from typing import Any

import pytest

from lab.observe import Observer
from lab.pbx import LabPbx
from lab.sipp import SippRun, register_phones, run_phone
from tests.asterisk.flow.house import ADMIN_DIALPLAN, DOCUMENT, PHONE_PORT, SECRET


@pytest.fixture(scope="module")
def pbx(asterisk_install: Any) -> Iterator[LabPbx]:
    with LabPbx(asterisk_install, DOCUMENT, {"recordings.format": "wav"}, admin_dialplan=ADMIN_DIALPLAN) as pbx:
        pbx.serve()
        yield pbx


@pytest.fixture(scope="module")
def observer(pbx: LabPbx) -> Observer:
    return Observer(pbx)


@pytest.fixture(scope="module")
def phone(pbx: LabPbx) -> Iterator[SippRun]:
    """1001 and 1002, who answer."""
    register_phones(pbx.asterisk, [("1001", SECRET), ("1002", SECRET)], port=PHONE_PORT)
    with run_phone(pbx.asterisk, port=PHONE_PORT) as phone:
        yield phone
