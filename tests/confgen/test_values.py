"""The conf escaping, against a model of Asterisk's parser: a value comes back as it is, or is refused."""

import re
from pathlib import Path

import jinja2
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from confgen import values
from confgen.values import ValueUnrepresentable, escape_value, make_environment

TEMPLATES = Path(values.__file__).parent / "templates"
# Made of what the parsers read, so that the interesting sequences come up often.
SHARDS = st.sampled_from(
    [
        "\\;",
        ";--",
        "--;",
        "=>",
        "(!)",
        "#include ",
        "#exec ",
        "${A}",
        "$[1]",
        "%0a",
        *";\\=>[]\"',| aZ0é☎+!<\n\r\t\0\x7f\x85\u2028\xa0",
    ]
)
HOSTILE = st.one_of(st.lists(SHARDS, max_size=12).map("".join), st.text(max_size=30))


def attempt(escape, value):
    try:
        return escape(value)
    except ValueUnrepresentable as error:
        message = str(error)
    assert value not in message or len(value) < 8  # a secret never gets into a message
    return None


def is_representable(value):
    """By the parser's own rules, told apart from the code: one printable line without blanks around it."""
    return value.isprintable() and value == value.strip(" ")


def unquote(text):
    """ast_unescape_quoted."""
    return re.sub(r"\\(.)", r"\1", text)


class TestEveryPosition:
    @given(HOSTILE)
    @example("a\\;b")
    @example(";--x")
    @example("x--;y")
    @example("\\")
    def test_value(self, read_conf, value):
        for form in ("name = {}", "name => {}"):
            escaped = attempt(escape_value, value)
            if escaped is None:
                assert not is_representable(value)
                continue
            (category,), directives = read_conf(f"[x]\nbefore = 1\n{form.format(escaped)}\nafter = 2\n")
            assert directives == []
            assert category.variables == [("before", "1"), ("name", value), ("after", "2")]

    @given(HOSTILE)
    def test_comment(self, read_conf, value):
        escaped = attempt(values.escape_comment, value)
        if escaped is None:
            assert not value.isprintable()
        else:
            (category,), directives = read_conf(f"[x]\n; {escaped}\nafter = 2\n")
            assert (category.variables, directives) == ([("after", "2")], [])

    @given(HOSTILE)
    def test_section(self, read_conf, value):
        escaped = attempt(values.escape_section, value)
        if escaped is not None:
            (category,), _ = read_conf(f"[{escaped}]\n")
            assert category.name == value

    @given(HOSTILE)
    def test_caller_name(self, read_conf, value):
        escaped = attempt(values.escape_caller_name, value)
        if escaped is None:
            assert not value.isprintable() or len(value.encode()) > 79
        else:
            (category,), _ = read_conf(f'[x]\ncallerid = "{escaped}" <1001>\n')
            inside = re.fullmatch(r'"((?:[^"\\]|\\.)*)" <1001>', category.get("callerid"))
            assert unquote(inside[1]) == value

    @given(HOSTILE)
    def test_mailbox_line(self, read_conf, value):
        escaped, option = attempt(values.escape_mailbox_name, value), attempt(values.escape_mailbox_option, value)
        if escaped is None:
            assert not is_representable(value) or "," in value or len(value.encode()) > 79
        else:
            (category,), _ = read_conf(f"[tandem]\n1001 => 1234,{escaped},a@b.de,,x=1\n")
            assert category.get("1001").split(",", 4) == ["1234", value, "a@b.de", "", "x=1"]
        if option is not None:
            (category,), _ = read_conf(f"[tandem]\n1001 => 1234,,,,tz={option}|a=b\n")
            assert category.get("1001").split(",")[4].split("|") == [f"tz={value}", "a=b"]

    @given(HOSTILE)
    def test_set_var(self, read_conf, value):
        escaped = attempt(values.escape_set_var, value)
        if escaped is None:
            assert not is_representable(value) or len(value.encode()) > 250
        else:
            (category,), _ = read_conf(f"[x]\nset_var = NAME={escaped}\n")
            assert unquote(category.get("set_var").removeprefix("NAME=")) == value

    @given(HOSTILE)
    def test_global(self, read_conf, value):
        escaped = attempt(values.escape_global, value)
        if escaped is None:
            assert not is_representable(value) or "$" in value or len(value.encode()) > 250
        else:
            (category,), _ = read_conf(f"[globals]\nNAME = {escaped}\n")
            assert category.get("NAME") == value

    @given(HOSTILE)
    def test_sip_user(self, value):
        escaped = attempt(values.escape_sip_user, value)
        assert escaped is None or re.fullmatch(r"[A-Za-z0-9_.!~*'()+%-]*", escaped)

    @pytest.mark.parametrize("path", ["relative", "/a/../b", '/a"b', "/a;b", "/a*b", "/a\nb", "/a<b"])
    def test_include_refuses(self, path):
        with pytest.raises(ValueUnrepresentable):
            values.escape_include(path)

    def test_too_long(self):
        with pytest.raises(ValueUnrepresentable, match="4000 bytes"):
            escape_value("x" * 4001)
        assert escape_value("x" * 4000) == "x" * 4000

    @pytest.mark.parametrize("name", ["general", "GENERAL", "globals", "zonemessages", "", "a]b", "a b", "-a"])
    def test_section_refuses(self, name):
        with pytest.raises(ValueUnrepresentable):
            values.escape_section(name)


class TestEnvironment:
    def test_escapes_without_being_asked(self):
        assert make_environment().from_string("a = {{ x }}").render(x="b;c") == "a = b\\;c"

    def test_refuses_without_being_asked(self):
        with pytest.raises(ValueUnrepresentable):
            make_environment().from_string("a = {{ x }}").render(x="b\n[c]")

    def test_a_safe_string_of_jinja_is_no_way_around(self):
        with pytest.raises(TypeError):
            make_environment().from_string("a = {{ x | safe }}").render(x="b\n[c]")

    @pytest.mark.parametrize("value", [True, 1.5, ("a",), object(), b"x"])
    def test_only_text_and_numbers(self, value):
        with pytest.raises(TypeError):
            make_environment().from_string("{{ x }}").render(x=value)

    def test_missing(self):
        with pytest.raises(jinja2.UndefinedError):
            make_environment().from_string("{{ x }}").render()
        with pytest.raises(ValueUnrepresentable):
            make_environment().from_string("{{ x }}").render(x=None)


class TestTemplates:
    """Each `{{ }}` stands where its filter belongs; what cannot be seen by the environment is checked by reading the templates."""

    @pytest.mark.parametrize("path", sorted(TEMPLATES.glob("*.j2")), ids=lambda path: path.name)
    def test_positions(self, path):
        for line in path.read_text().splitlines():
            expressions = re.findall(r"{{ (.*?) }}", line)
            position = re.match(r'\[|; |#include "|callerid = "|\w+ => |set_var|', line)[0]
            if position == "[":
                assert all(expression.endswith("| section") for expression in expressions), line
            elif position == "; ":
                assert all(
                    expression.endswith("| comment") or expression == "revision" for expression in expressions
                ), line
            elif position == '#include "':
                assert all(expression.endswith("| include_path") for expression in expressions), line
            elif position == 'callerid = "':
                assert expressions[0].endswith("| caller_name"), line
        mailboxes = re.findall(r"^{{ box\.mailbox }} => (.*)$", path.read_text(), re.MULTILINE)
        for line in mailboxes:
            assert all("| mailbox_" in expression for expression in re.findall(r"{{ (.*?) }}", line)[1:]), line
