"""Fixtures for tests against the real Asterisk. Where there is none and none can be made, they fail; they never skip."""

from collections.abc import Callable, Iterator

import pytest

from tandem.asterisk.install import AsteriskInstall, find_asterisk
from tandem.asterisk.instance import AsteriskInstance

AsteriskFactory = Callable[..., AsteriskInstance]


@pytest.fixture(scope="session")
def asterisk_install() -> AsteriskInstall:
    return find_asterisk(print)


@pytest.fixture(scope="module")
def asterisk_factory(asterisk_install: AsteriskInstall) -> Iterator[AsteriskFactory]:
    """Call it with the arguments of `AsteriskInstance` (config=…) for a booted one; all are closed after the module."""
    started: list[AsteriskInstance] = []

    def start(**arguments: object) -> AsteriskInstance:
        instance = AsteriskInstance(asterisk_install, **{"documented": False, **arguments})
        started.append(instance)
        instance.start()
        return instance

    yield start
    for instance in started:
        instance.close()
