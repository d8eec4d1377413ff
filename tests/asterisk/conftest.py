"""Fixtures for tests against the real Asterisk. Where there is none and none can be made, they fail; they never skip."""

from collections.abc import Callable, Generator, Iterator

import pytest

from tandem.asterisk.install import AsteriskInstall, find_asterisk
from tandem.asterisk.instance import AsteriskInstance
from tests.asterisk.rendered import troubles

AsteriskFactory = Callable[..., AsteriskInstance]
TOLD_LINES = 150  # what a call of a test usually takes, and a person reads


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failed test tells the end of its Asterisk's log: what went wrong on a loaded machine is seldom seen twice."""
    report = yield
    if report.failed and report.when == "call":
        for name, value in getattr(item, "funcargs", {}).items():
            asterisk = getattr(value, "asterisk", value)
            if isinstance(asterisk, AsteriskInstance):
                lines = asterisk.read_log().splitlines()[-TOLD_LINES:]
                report.sections.append((f"the end of Asterisk's log ({name})", "\n".join(lines)))
                break
    return report


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


@pytest.fixture(scope="module")
def baseline(asterisk_factory: AsteriskFactory) -> set[str]:
    """What Asterisk complains of without any file of ours."""
    return troubles(asterisk_factory())
