"""Templates of the site's: which one wins, what they can reach, and what is said of one that fails."""

from dataclasses import replace

import pytest

from confgen.render import RenderTarget, render
from confgen.values import ValueUnrepresentable
from tandem.domain.changes import ApplyRefused
from tandem.domain.entities import Pbx, Queue
from tandem.domain.snapshot import build_snapshot
from tandem.target import read_templates

TARGET = RenderTarget(agi_url="agi://127.0.0.1:4573", recordings_dir="/r", dialplan_dir="/d")
SNAPSHOT = build_snapshot(7, Pbx(queues=(Queue(name="sales", fallback={"hangup": 16}, description="[x]; y"),)))


def render_with(**texts):
    templates = tuple((f"{name}.conf.j2", text) for name, text in texts.items())
    return render(SNAPSHOT, replace(TARGET, templates=templates))


def refused(**texts):
    with pytest.raises(ApplyRefused) as error:
        render_with(**texts)
    assert error.value.stage == "render"
    return str(error.value)


def test_ours_are_used_where_the_site_has_none():
    assert render_with() == render(SNAPSHOT, TARGET)
    changed = render_with(queues="; mine\n")
    assert changed["queues.conf"] == "; mine\n"
    assert {name: text for name, text in changed.items() if name != "queues.conf"} == {
        name: text for name, text in render(SNAPSHOT, TARGET).items() if name != "queues.conf"
    }


def test_one_can_have_ours_and_add_to_it():
    added = render_with(queues='{% include "shipped/queues.conf.j2" %}\n[extra](tandem.queue)\n')["queues.conf"]
    assert added == render(SNAPSHOT, TARGET)["queues.conf"] + "[extra](tandem.queue)\n"


def test_values_are_escaped_there_as_well():
    text = "{% for queue in queues %}[{{ queue.name | section }}]\na = {{ queue.description }}\n{% endfor %}"
    assert render_with(queues=text)["queues.conf"] == "[sales]\na = [x]\\; y\n"
    with pytest.raises(ValueUnrepresentable):
        render_with(queues="{% for queue in queues %}[{{ queue.description | section }}]{% endfor %}")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a\n{% for %}", "template queues.conf.j2.line 2: Expected an expression"),
        ("a\nb\n{{ nothing }}", "template queues.conf.j2.line 3: 'nothing' is undefined"),
        ("{% for queue in queues %}\n{{ queue.colour }}{% endfor %}", "template queues.conf.j2.line 2: "),
        ("{{ 1 // 0 }}", "template queues.conf.j2.line 1: "),
        ("{% include 'gone.j2' %}", "gone.j2"),
        ("{{ true }}", "a template must print text or whole numbers, not bool"),
    ],
)
def test_one_that_fails_is_refused_by_name_and_line(text, told):
    assert told in refused(queues=text)


def test_one_for_no_file_of_ours_is_refused():
    assert "template queue.conf.j2: is for no file that Tandem writes; did you mean queues.conf.j2?" in refused(
        queue="x"
    )


def test_they_are_read_from_their_folder(tmp_path):
    assert read_templates(tmp_path / "gone") == ()
    (tmp_path / "queues.conf.j2").write_text("; mine\n")
    (tmp_path / "README").write_text("no template")
    assert read_templates(tmp_path) == (("queues.conf.j2", "; mine\n"),)
