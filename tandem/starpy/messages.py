"""starpy's messages <-> ours, pure: dicts with lower-case keys <-> AMI actions and messages; escapes nothing (tandem.ami.wire does)."""

from collections.abc import Iterable, Mapping, Sequence

from tandem.ami.actions import Action
from tandem.ami.errors import AmiForged, AmiValueRefused
from tandem.ami.wire import Message

Reply = dict[str, str]
# A dict, or pairs where a header is repeated, as Originate's Variable.
Request = Mapping[str, object] | Sequence[Sequence[object]]


def read_message(message: Message) -> Reply:
    """The headers by their names in lower case. Those that Asterisk repeats (`Output`, `ChanVariable`) are joined by newlines.

    AmiForged when another is there twice: a stranger wrote part of it (tandem.ami.wire).
    """
    reply: Reply = {}
    for name, value in message.items():
        key = name.lower().strip()
        if not key:
            continue
        if key not in reply:
            reply[key] = value.strip()
        elif key == "output" or "chanvariable" in key:
            reply[key] += f"\n{value.strip()}"
        else:
            raise AmiForged(f"{message.name[:40]!r}: header {name[:40]} is there twice")
    return reply


def build_action(request: Request) -> tuple[Action, str]:
    """The action of a request, and its ActionID ('' where it has none). A header whose value is None is left out.

    AmiValueRefused without an action. `variable` given more than once becomes Originate's variables, each value then taken literally.
    """
    pairs = _list_pairs(request)
    headers = [(name, value) for name, value in pairs if name.lower() not in {"action", "actionid"}]
    found = {name.lower(): value for name, value in pairs}
    if not found.get("action"):
        raise AmiValueRefused("a message: must have an action")
    variables = [value for name, value in headers if name.lower() == "variable"]
    if len(variables) > 1:
        headers = [(name, value) for name, value in headers if name.lower() != "variable"]
        return Action(found["action"], tuple(headers), split_variables(variables)), found.get("actionid", "")
    return Action(found["action"], tuple(headers)), found.get("actionid", "")


def split_variables(variables: Iterable[str]) -> tuple[tuple[str, str], ...]:
    """`name=value` texts as pairs. AmiValueRefused for one without `=`."""
    pairs = []
    for text in variables:
        name, equals, value = text.partition("=")
        if not equals:
            raise AmiValueRefused("variable: must be name=value")
        pairs.append((name, value))
    return tuple(pairs)


def _list_pairs(request: Request) -> list[tuple[str, str]]:
    items: Iterable[Sequence[object]] = request.items() if isinstance(request, Mapping) else request
    return [(str(pair[0]), str(pair[1])) for pair in items if pair[1] is not None]
