"""The Asterisk of these tests, one for each file."""

from datetime import UTC, datetime

import pytest
from pydantic import TypeAdapter

from tandem.domain.entities import Pbx
from tandem.domain.last_known import last_known_entries
from tandem.domain.snapshot import build_snapshot
from tests.asterisk.dialplan.bare import DIALPLAN, GLOBALS, OWN, PBX, PJSIP, QUEUES, VOICEMAIL, Pbx22


@pytest.fixture(scope="module")
def pbx(asterisk_factory) -> Pbx22:
    # No module state: the folder of the recordings is only known once the instance is there.
    asterisk = asterisk_factory(config={"pjsip.conf": PJSIP, "queues.conf": QUEUES, "voicemail.conf": VOICEMAIL})
    static = "".join((DIALPLAN / name).read_text() for name in sorted(path.name for path in DIALPLAN.glob("*.conf")))
    asterisk.write_config("extensions.conf", GLOBALS.format(folder=asterisk.folder) + static + OWN)
    assert "Dialplan reloaded" in asterisk.reload("dialplan")
    pbx = Pbx22(asterisk)
    snapshot = build_snapshot(1, TypeAdapter(Pbx).validate_python(PBX))
    for (family, key), value in last_known_entries(snapshot, datetime.now(UTC).date()).items():
        pbx.put(f"{family}/{key}", value)
    return pbx
