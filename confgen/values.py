"""The ONE escaping of Asterisk's .conf files, by position, and the Jinja environment that applies it; never lets a value through unread.

What an Asterisk reads back is the value, or the value is refused: there is no escape for a line's end, and blanks around a
value are dropped. The rules are those of main/config.c and of the module that reads the line, named at each function.
"""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final
from urllib.parse import quote

from jinja2 import ChoiceLoader, DictLoader, Environment, FileSystemLoader, PrefixLoader, StrictUndefined

LONGEST_VALUE: Final = 4000
"""Bytes; main/config.c skips a line of 8,191 and more."""
LONGEST_CALLER_NAME: Final = 79
"""Bytes; res_pjsip's caller_id_handler copies into char[80]."""
LONGEST_MAILBOX_NAME: Final = 79
"""Bytes; struct ast_vm_user has char fullname[80]."""
LONGEST_MAILBOX_OPTION: Final = 70
"""Bytes; its char zonetag[80], of which `tandem-` is ours."""
LONGEST_GLOBAL: Final = 250
"""Bytes; pbx_config substitutes into char[256]."""
LONGEST_SET_VAR: Final = 250
"""Bytes; res_pjsip_session decodes into char[512], and every byte may have been doubled."""
RESERVED_SECTIONS: Final = frozenset({"general", "globals", "zonemessages"})
"""Sections that mean something to a module itself (compared without case, as they do)."""

_is_plain: Final = re.compile(
    r"[A-Za-z0-9_+*/:.,@!=&(-]([A-Za-z0-9_ +*/:.,@!=&()-]{0,198}[A-Za-z0-9_+*/:.,@!=&)-])?"
).fullmatch
_is_section: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,78}").fullmatch
_is_path: Final = re.compile(r"/[A-Za-z0-9_./ +@-]{0,200}").fullmatch


class ValueUnrepresentable(ValueError):
    """A value that no Asterisk would read back as it is.

    `rule` says what it must not be; `path` names object and field, such as `voicemail_boxes.1001.name`. The message leaves the
    value itself out: it may be a secret.
    """

    def __init__(self, value: str, rule: str, path: str = "") -> None:
        super().__init__(f"{path or 'value'}: {rule}")
        self.value, self.rule, self.path = value, rule, path


class ConfText(str):
    """Text of a .conf file: escaped already."""

    __slots__ = ()


def _refuse_unprintable(value: str) -> None:
    if not value.isprintable():
        raise ValueUnrepresentable(
            value, "must not hold control characters or line breaks: a .conf file cannot hold them"
        )


def _refuse_longer(value: str, limit: int) -> None:
    if len(value.encode()) > limit:
        raise ValueUnrepresentable(value, f"must not be longer than {limit} bytes: Asterisk would cut it")


def escape_value(value: str) -> str:
    r"""`value` after `name = ` or `name => `.

    `;` starts a comment and `\;` does not; one backslash before it is taken, whatever stands before (config_text_file_load).
    """
    if _is_plain(value):
        return value
    _refuse_unprintable(value)
    if value != value.strip(" "):
        raise ValueUnrepresentable(value, "must not begin or end with a space: Asterisk would drop it")
    _refuse_longer(value, LONGEST_VALUE)
    return value.replace(";", "\\;")


def escape_comment(value: str) -> ConfText:
    """`value` after `; `. Nothing in it can end the comment but the line's end."""
    _refuse_unprintable(value)
    _refuse_longer(value, LONGEST_VALUE)
    return ConfText(value)


def escape_section(value: str) -> ConfText:
    """`value` between `[` and `]`. There is no escape for `]`, so only what every module takes for a name is let through."""
    if not _is_section(value):
        raise ValueUnrepresentable(value, "must be letters, digits, `_`, `.` and `-`, at most 79, to name a section")
    if value.lower() in RESERVED_SECTIONS:
        raise ValueUnrepresentable(value, "must not be a name that Asterisk's files keep for themselves")
    return ConfText(value)


def escape_caller_name(value: str) -> ConfText:
    r"""`value` between the quotes of `callerid = "value" <number>`, where a backslash quotes (ast_unescape_quoted)."""
    _refuse_unprintable(value)
    _refuse_longer(value, LONGEST_CALLER_NAME)
    return ConfText(value.replace("\\", "\\\\").replace('"', '\\"').replace(";", "\\;"))


def escape_mailbox_field(value: str) -> ConfText:
    """`value` between the commas of `mailbox => pin,name,email,pager,options` (app_voicemail, append_mailbox)."""
    if "," in value:
        raise ValueUnrepresentable(value, "must not hold a comma: voicemail.conf has no escape for it")
    return ConfText(escape_value(value))


def escape_mailbox_name(value: str) -> ConfText:
    """The name in such a line."""
    _refuse_longer(value, LONGEST_MAILBOX_NAME)
    return escape_mailbox_field(value)


def escape_mailbox_option(value: str) -> ConfText:
    """`value` of one of a mailbox's options, `name=value|name=value` (app_voicemail, apply_options)."""
    if "|" in value or "=" in value:
        raise ValueUnrepresentable(value, "must hold neither `|` nor `=`: voicemail.conf has no escape for them")
    _refuse_longer(value, LONGEST_MAILBOX_OPTION)
    return escape_mailbox_field(value)


def escape_set_var(value: str) -> ConfText:
    """`value` of `set_var = NAME=value`; the session decodes backslashes before it sets it (ast_get_encoded_str)."""
    _refuse_longer(value, LONGEST_SET_VAR)
    return ConfText(escape_value(value.replace("\\", "\\\\")))


def escape_global(value: str) -> ConfText:
    """`value` of a line in extensions.conf's `[globals]`, where `${}` and `$[]` would be evaluated (pbx_config)."""
    if "$" in value:
        raise ValueUnrepresentable(value, "must not hold `$`: the dialplan would evaluate it")
    _refuse_longer(value, LONGEST_GLOBAL)
    return ConfText(escape_value(value))


def escape_include(value: str) -> ConfText:
    """`value` of `#include "value"`: a path without anything that glob(3) would read."""
    if not _is_path(value) or ".." in value:
        raise ValueUnrepresentable(value, "must be an absolute path of letters, digits, blanks and `_ . / + @ -`")
    return ConfText(value)


def escape_sip_user(value: str) -> ConfText:
    """`value` as the user part of a SIP URI (RFC 3261, 25.1: user; the rest as %XX)."""
    _refuse_unprintable(value)
    return ConfText(quote(value, safe="-_.!~*'()+"))


def finalize(value: object) -> object:
    """What Jinja calls for every `{{ }}`: escapes a plain str as a value, lets escaped text and whole numbers through."""
    if type(value) is str:
        return value if _is_plain(value) else escape_value(value)
    if type(value) is ConfText or type(value) is int:  # exactly int: a bool would print Python's True
        return value
    if value is None:
        raise ValueUnrepresentable("", "must not be missing here")
    if isinstance(value, StrictUndefined):
        str(value)  # raises, naming the variable
    raise TypeError(f"a template must print text or whole numbers, not {type(value).__name__}")


def only_text(escape: Callable[[str], ConfText]) -> Callable[[object], ConfText]:
    """The filter that escapes a str and refuses anything else as `finalize` does."""

    def escape_text(value: object) -> ConfText:
        if isinstance(value, str):
            return escape(value)
        finalize(value)
        raise TypeError(f"a template must filter text, not {type(value).__name__}")

    return escape_text


FILTERS: Final[dict[str, Callable[[str], ConfText]]] = {
    "comment": escape_comment,
    "section": escape_section,
    "caller_name": escape_caller_name,
    "mailbox_name": escape_mailbox_name,
    "mailbox_field": escape_mailbox_field,
    "mailbox_option": escape_mailbox_option,
    "set_var": escape_set_var,
    "global_value": escape_global,
    "include_path": escape_include,
    "sip_user": escape_sip_user,
}


def make_environment(own: Mapping[str, str] = MappingProxyType({})) -> Environment:
    """The environment of `confgen/templates`, whose every `{{ }}` passes `finalize`.

    own: name -> text of templates that come before ours of the same name; they can still have ours, as `shipped/NAME`.
    """
    shipped = FileSystemLoader(Path(__file__).parent / "templates")
    environment = Environment(
        loader=ChoiceLoader([DictLoader(own), shipped, PrefixLoader({"shipped": shipped})]),
        undefined=StrictUndefined,
        finalize=finalize,
        autoescape=False,  # noqa: S701 - these are .conf files: finalize escapes
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        auto_reload=False,
    )
    environment.filters.update({name: only_text(escape) for name, escape in FILTERS.items()})
    environment.filters["given"] = lambda value: "" if value is None else value
    environment.filters["yes_no"] = lambda flag: "yes" if flag else "no"
    return environment
