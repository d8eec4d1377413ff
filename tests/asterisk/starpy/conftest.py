"""A real Asterisk that programs in starpy's style log in to, for each file of tests beside it."""

from collections.abc import Iterator

import pytest

from tandem.asterisk.instance import AsteriskInstance
from tests.asterisk.conftest import AsteriskFactory
from tests.asterisk.starpy.far import DIALPLAN, MANAGER


@pytest.fixture(scope="module")
def asterisk(asterisk_factory: AsteriskFactory) -> Iterator[AsteriskInstance]:
    config = {"extensions.conf": DIALPLAN, "pjsip.conf": "", "queues.conf": "[general]\n[sales]\nstrategy = ringall\n"}
    instance = asterisk_factory(config=config)
    # Beside the users that the instance itself logs in with.
    path = instance.etc / "manager.conf"
    path.write_text(path.read_text() + MANAGER.partition("127.0.0.1\n")[2])
    instance.cli("manager reload")
    yield instance
    instance.cli("channel request hangup all")
