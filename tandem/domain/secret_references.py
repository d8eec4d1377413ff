"""Where a document says that a secret is to be found: in the environment or in a file; never looks there itself."""

from dataclasses import dataclass
from typing import Final, Literal

KINDS: Final = ("env", "file")


@dataclass(frozen=True, slots=True)
class SecretReference:
    """`{env: NAME}` or `{file: name}`; name: as the document has it."""

    kind: Literal["env", "file"]
    name: str


# Collection, key of the object, field -> where the document had it from.
References = dict[tuple[str, str, str], SecretReference]
