"""A PBX of phones for each file of tests; each test has its desk, and leaves nothing on the line."""

import pytest

from lab.browser import open_media_address
from lab.pbx import LabPbx
from lab.sipp import (
    register_phones,
)
from tests.asterisk.phones.desk import ADMIN_DIALPLAN, DOCUMENT, HOST, PORTS, SECRET, Desk, open_door_of_browsers


@pytest.fixture(scope="module")
def pbx(asterisk_install):
    with LabPbx(asterisk_install, DOCUMENT, {"recordings.format": "wav"}, admin_dialplan=ADMIN_DIALPLAN) as pbx:
        open_media_address(pbx.asterisk)
        open_door_of_browsers(pbx.asterisk)
        pbx.serve()
        for extension, port in PORTS.items():
            register_phones(pbx.asterisk, [(extension, SECRET)], host=HOST, port=port)
        yield pbx


@pytest.fixture
def desk(pbx):
    desk = Desk(pbx)
    yield desk
    desk.reset()
    # What a failed test left on the line.
    pbx.asterisk.cli("channel request hangup all")
