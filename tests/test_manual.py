"""The manual as a site: it builds without a dead link, every object is in it, and its documents are right."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tandem.document import parse_document
from tandem.documents import read_pbx_files
from tandem.domain.destinations import DESTINATION_CLASSES
from tandem.domain.entities import COLLECTIONS, Queue
from tandem.domain.route_tests import refuse_failing
from tandem.domain.snapshot import build_snapshot
from tandem.manual import on_page_markdown, tabulate_fields
from tandem.settings import Settings, load_settings

CHECKOUT = Path(__file__).parents[1]
DOCS = CHECKOUT / "docs"
# What one of our pages says of another file, and how a block of YAML looks.
LINK = re.compile(r"(?<!`)\[[^\]`]+\]\((?!https?:|#)([^)#]+)")
YAML = re.compile(r"^```yaml\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", folder],
        cwd=CHECKOUT,
        env={"PATH": "/usr/bin:/bin", "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder


def test_each_page_is_in_the_site_and_none_asks_another_machine(site):
    assert {path.stem for path in DOCS.glob("*.md")} <= {path.stem for path in site.glob("*.html")}
    for page in site.glob("*.html"):
        text = page.read_text()
        assert "<!-- fields" not in text
        assert not re.findall(r'<(?:script|link|img)[^>]+(?:src|href)="(?!https://squidfunk)https?://[^"]+"', text), (
            page
        )


@pytest.mark.parametrize(
    "broken", ["[there](nowhere.md)", "[there](concepts.md#no-such-heading)", "<!-- fields: nothing -->"]
)
def test_a_dead_link_fails_the_build(tmp_path, broken):
    for name in ("mkdocs.yml", "README.md"):
        shutil.copy(CHECKOUT / name, tmp_path)
    shutil.copytree(DOCS, tmp_path / "docs")
    (tmp_path / "tandem").mkdir()
    shutil.copy(CHECKOUT / "tandem" / "manual.py", tmp_path / "tandem")
    with (tmp_path / "docs" / "index.md").open("a") as page:
        page.write(f"\n{broken}\n")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode


def test_links_between_files_of_the_checkout():
    for path in (CHECKOUT / "README.md", CHECKOUT / "CHANGELOG.md", *DOCS.glob("*.md")):
        for link in LINK.findall(path.read_text()):
            assert (path.parent / link).exists(), f"{path.name}: {link}"


def test_the_objects_page_has_every_object_field_and_destination(tmp_path):
    text = (DOCS / "objects.md").read_text()
    for name, block in enumerate(YAML.findall(text)):
        (tmp_path / f"{name:02}.yaml").write_text(block)
    pbx = read_pbx_files([tmp_path], {}).pbx
    assert [name for name in COLLECTIONS if not getattr(pbx, name)] == []
    assert [name for name in COLLECTIONS if f"<!-- fields: {name} -->" not in text] == []
    snapshot = build_snapshot(1, pbx)
    refuse_failing(snapshot)
    whole = on_page_markdown(text)
    for kind in DESTINATION_CLASSES:
        assert f"| `{kind}` |" in whole


# What the examples of other pages speak of.
AROUND = """
general: {country: DE, outbound_trunk: carrier}
trunks: [{name: carrier, hosts: [192.0.2.1]}, {name: backup, hosts: [192.0.2.2]}, {name: emergency-line, hosts: [192.0.2.3]}]
schedules: [{name: office, hours: [{days: mon-fri, start: "09:00", end: "17:00"}]}]
endpoints: [{extension: "1001", secret: at-least-8}, {extension: "1002", secret: at-least-8}, {extension: "1003", secret: at-least-8}]
voicemail_boxes: [{mailbox: "1001", pin: "4711"}]
queues: [{name: sales, fallback: {hangup: normal}}]
"""
EXAMPLES = [
    pytest.param(block, id=f"{page.stem}-{place}")
    for page in sorted(DOCS.glob("*.md"))
    if page.stem != "objects"
    for place, block in enumerate(YAML.findall(page.read_text()), 1)
]


def put_over(around, block):
    """The objects of `block` in place of those of the same name, and beside the others."""
    whole = dict(around)
    for section, value in block.items():
        key = COLLECTIONS[section][1] if section in COLLECTIONS else ""
        if isinstance(value, list) and key in value[0]:
            names = {item[key] for item in value}
            whole[section] = [item for item in around.get(section, ()) if item[key] not in names] + value
        else:
            whole[section] = around.get(section, {}) | value if isinstance(value, dict) else value
    return whole


@pytest.mark.parametrize("block", EXAMPLES)
def test_each_example_of_each_page_is_right(tmp_path, block):
    value = parse_document(block, "example").value
    path = tmp_path / "example.yaml"
    if set(value) <= set(Settings.model_fields):
        for name in re.findall(r"_file: /etc/tandem/([a-z.]+)", block):
            (tmp_path / name).write_text("a secret\n")
            (tmp_path / name).chmod(0o600)
        path.write_text(block.replace("/etc/tandem/", f"{tmp_path}/"))
        load_settings(path, {})
    else:
        path.write_text(yaml.safe_dump(put_over(parse_document(AROUND, "around").value, value)))
        read_pbx_files([path], {})


def test_a_field_s_row_says_what_it_may_hold_and_why():
    table = tabulate_fields(Queue)
    assert "| `fallback` | a destination | *must be given* | Where callers go whom the queue does not serve;" in table
    assert "| `max_wait_s` | a whole number from 5 to 86400 | `300` |" in table
    assert "| `open_login` | yes or no | no |" in table
