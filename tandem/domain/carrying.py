"""What importers of other systems have in common: objects made one by one, each refused by its own rules and by those of the whole.

Whatever does not fit is left out and told with its place; what comes out is always a valid PBX. A secret that our rules do not take
is replaced by a random one, and that is told, too.
"""

import re
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from tandem.domain.conf_text import Lost
from tandem.domain.entities import COLLECTIONS, General, Pbx
from tandem.domain.problems import describe_errors
from tandem.domain.references import check_pbx

_ADAPTERS: Final = {name: TypeAdapter(kind) for name, (kind, _) in COLLECTIONS.items()}
_MIN_SECRET: Final = 8


@dataclass(frozen=True, slots=True)
class Carried:
    """A valid PBX, and what is not in it."""

    pbx: Pbx
    lost: tuple[Lost, ...]


@dataclass(slots=True)
class Carrier:
    """Takes objects and what was lost on the way."""

    general: dict[str, Any] = field(default_factory=dict)
    lost: list[Lost] = field(default_factory=list)
    _objects: dict[str, list[tuple[str, Any]]] = field(default_factory=dict)

    def lose(self, place: str, reason: str) -> None:
        """Something that is not carried over."""
        self.lost.append(Lost(place, reason))

    def add(self, collection: str, place: str, values: Mapping[str, Any]) -> bool:
        """An object as a document would have it; what is None or empty is left to the default. Whether it was taken."""
        kind = COLLECTIONS[collection][0]
        given = {name: value for name, value in values.items() if value not in (None, "", ())}
        try:
            entity = _ADAPTERS[collection].validate_python(given)
        except ValidationError as error:
            for problem in describe_errors(error, kind):
                self.lose(place, f"no {kind.__name__} can be made of it: {problem}")
            return False
        self._objects.setdefault(collection, []).append((place, entity))
        return True

    def take_secret(self, place: str, secret: str) -> str:
        """The secret, or a random one where ours must be longer or of other signs."""
        if len(secret) >= _MIN_SECRET and secret.isprintable() and secret == secret.strip() and len(secret) <= 79:
            return secret
        self.lose(place, "its secret is none that Tandem takes (8 to 79 printable signs): it has a new, random one")
        return secrets.token_urlsafe(18)

    def take_pin(self, place: str, pin: str) -> str:
        """The same for a voicemail PIN."""
        if re.fullmatch("[0-9]{4,12}", pin):
            return pin
        self.lose(place, "its PIN is none that Tandem takes (4 to 12 digits): it has a new, random one")
        return str(secrets.randbelow(10**6)).zfill(6)

    def finish(self) -> Carried:
        """The PBX. What does not fit the rest goes, and what led to it goes with it, until all fits."""
        while True:
            parts = {name: tuple(entity for _, entity in found) for name, found in self._objects.items()}
            pbx = Pbx(general=TypeAdapter(General).validate_python(self.general), **parts)
            problems = check_pbx(pbx)
            if not problems:
                return Carried(pbx, tuple(self.lost))
            gone: set[tuple[str, int]] = set()
            for problem in problems:
                collection, *rest = problem.location
                if collection == "general":
                    dropped = self.general.pop(str(rest[0]), None)
                    self.lose(
                        "general", f"{problem.path}: {problem.message}" + ("" if dropped is None else "; left out")
                    )
                    if dropped is None:
                        raise ValueError(f"a default does not fit: {problem}")
                elif rest and isinstance(rest[0], int):
                    place, entity = self._objects[str(collection)][rest[0]]
                    name = getattr(entity, COLLECTIONS[str(collection)][1])
                    self.lose(place, f"{collection} {name} is left out: {problem.message}")
                    gone.add((str(collection), rest[0]))
            for collection in self._objects:
                kept = [it for index, it in enumerate(self._objects[collection]) if (collection, index) not in gone]
                self._objects[collection] = kept


def name_freely(text: str, taken: set[str], prefix: str = "x") -> str:
    """A name of ours, made of any text; another for each."""
    base = re.sub("[^A-Za-z0-9_-]+", "-", text).strip("-")[:36] or prefix
    base = base if base[0].isalpha() else f"{prefix}-{base}"[:36]
    name, number = base, 2
    while name.lower() in taken:
        name, number = f"{base}-{number}", number + 1
    taken.add(name.lower())
    return name


def cut_text(text: str) -> str:
    """As much of a text as one of our fields holds."""
    printable = "".join(sign for sign in text if sign.isprintable())
    return printable.encode()[:79].decode(errors="ignore").strip()


def list_codecs(allowed: str) -> Iterator[str]:
    """Ours of a list such as `!all,alaw,ulaw`."""
    seen: set[str] = set()
    for name in re.split("[,&|]", allowed.lower()):
        if name.strip() in {"alaw", "ulaw", "g722", "gsm", "opus"} and name.strip() not in seen:
            seen.add(name.strip())
            yield name.strip()
