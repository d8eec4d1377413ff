"""Third parties have one door each, and pure modules stay pure (import-linter has no allow-list for third parties)."""

import re
import sys
import tomllib
from pathlib import Path

import grimp
import pytest

ROOMS = ("fastagi", "confgen", "api", "tandem", "lab")
# Package -> the only modules (or packages) that may import it.
DOORS = {
    "peewee": ("tandem.store",),
    "playhouse": ("tandem.store",),
    "psycopg": ("tandem.store",),
    "jinja2": ("confgen",),
    "klein": ("api",),
    "argon2": ("api.auth",),
    "prometheus_client": ("api.metrics",),
    "yaml": ("tandem.document", "tandem.settings"),
    "uvloop": ("tandem.reactor", "fastagi.service"),
    "phonenumbers": ("tandem.domain",),
    "holidays": ("tandem.domain",),
    "openpyxl": ("tandem.spreadsheets",),
    "click": ("tandem.cli", "lab"),
    "rich": ("tandem.cli", "lab"),
}
NEVER_TWISTED = ("tandem.domain", "tandem.document", "tandem.settings", "fastagi.wire", "tandem.ami.wire",
                 "confgen.render", "confgen.plan", "confgen.values")  # fmt: skip


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    return grimp.build_graph(*ROOMS, include_external_packages=True)


def is_within(module: str, rooms: tuple[str, ...]) -> bool:
    return any(module == room or module.startswith(f"{room}.") for room in rooms)


@pytest.mark.parametrize(("package", "doors"), DOORS.items())
def test_third_parties_have_one_door(graph: grimp.ImportGraph, package: str, doors: tuple[str, ...]) -> None:
    importers = graph.find_modules_that_directly_import(package) if package in graph.modules else set()
    assert [module for module in sorted(importers) if not is_within(module, doors)] == []


def test_pure_modules_do_not_know_the_reactor(graph: grimp.ImportGraph) -> None:
    importers = graph.find_modules_that_directly_import("twisted") if "twisted" in graph.modules else set()
    assert [module for module in sorted(importers) if is_within(module, NEVER_TWISTED)] == []


def test_domain_imports_only_what_the_plan_allows(graph: grimp.ImportGraph) -> None:
    allowed = {"pydantic", "phonenumbers", "holidays", "annotated_types", "pydantic_core"}
    for module in sorted(graph.modules):
        if not is_within(module, ("tandem.domain",)):
            continue
        for imported in graph.find_modules_directly_imported_by(module):
            top = imported.split(".")[0]
            assert top in allowed or top in sys.stdlib_module_names or is_within(imported, ("tandem.domain",)), (
                module,
                imported,
            )


def test_every_module_has_its_layer() -> None:
    pyproject = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text())
    layers = next(c["layers"] for c in pyproject["tool"]["importlinter"]["contracts"] if c["type"] == "layers")
    rooms = tuple(room for layer in layers for room in layer.split(" | "))
    modules = grimp.build_graph("fastagi", "confgen", "api", "tandem").modules
    assert [module for module in sorted(modules) if not is_within(module, (*rooms, "tandem.__main__"))] == ["tandem"]


def test_plan_of_the_house_names_each_room_and_none_that_is_gone() -> None:
    root = Path(__file__).parents[1]
    plan = (root / "docs/architecture.md").read_text()
    rooms = plan.partition("## Rooms")[2].partition("## Who may import whom")[0]
    named = set(re.findall(r"[\w*]+(?:\.py\b|/)", rooms))
    found = {
        entry.name if entry.is_file() else f"{entry.name}/"
        for room in ("fastagi", "confgen", "api", "tandem")
        for entry in (root / room).iterdir()
        if entry.suffix == ".py" or (entry / "__init__.py").exists()
    }
    assert found - {"__init__.py", "__main__.py"} <= named
    files = {path.name for room in (*ROOMS, "tests", "bench") for path in (root / room).rglob("*.py")} | {"setup.py"}
    assert {name for name in named if name.endswith(".py")} <= files
