"""docs/starpy.md: every name in it is there, every public name is in it, and its program for tests runs."""

import re
from pathlib import Path

from fastagi.protocol import AgiProtocol
from fastagi.testing import AgiCaller
from tandem.ami.connection import AmiConnection
from tandem.starpy import error, fastagi, manager, menu, utilapplication

PAGE = (Path(__file__).parents[3] / "docs" / "starpy.md").read_text(encoding="utf-8")
OURS = {"carry_out", "find_script", "connectionMade", "connectionLost", "lostConnectionDeferred"} | {
    "send_action", "take_event", "eventTypeCallbacks", "actionIDCallbacks", "is_logged_in", "is_leaving",
}  # fmt: skip


def read_row(title: str) -> set[str]:
    """The names that the page's table lists in the row of that title."""
    (row,) = re.findall(rf"^\| `{title}` \| (.*) \|$", PAGE, re.MULTILINE)
    return set(re.findall(r"\w+", " ".join(re.findall(r"`([^`]+)`", row))))


def list_public(cls: type, base: type) -> set[str]:
    return {name for name in dir(cls) if not name.startswith("_")} - set(dir(base)) - OURS


def test_the_table_has_every_method_and_no_other() -> None:
    assert read_row("FastAGIProtocol") == list_public(fastagi.FastAGIProtocol, AgiProtocol) | {"variables"}
    dahdi = {name for name in dir(manager.AMIProtocol) if name.startswith("dahdi")}
    listed = read_row("AMIProtocol") - {"dahdi"}
    assert listed == list_public(manager.AMIProtocol, AmiConnection) - dahdi | {"id", "count", "hostName"}
    assert all(hasattr(error, name) for name in read_row("error") - {"ours"})
    assert set(menu.__all__) >= read_row("menu")
    program = {*vars(utilapplication.UtilApplication), "amiSpecifier", "agiSpecifier"}
    assert read_row("utilapplication") - {"login", "run", "starpy", "conf"} <= program | set(utilapplication.__all__)


def test_the_program_for_tests() -> None:
    def main(agi):
        def keep(result):
            digits, _timed_out = result
            return agi.databasePut(f"survey/{agi.variables['agi_uniqueid']}", "1", digits)

        agi.answer()
        agi.getData("beep", maxDigits=1)
        agi.getData("beep", maxDigits=1).addCallback(keep).addErrback(lambda _: None).addBoth(lambda _: agi.finish())

    factory = fastagi.FastAGIFactory(main)
    call = AgiCaller(digits="15", hangup_at=5).connect(factory.buildProtocol(None), factory.sessions)
    assert call.database == {("survey/1763600000.1", "1"): "5"}
