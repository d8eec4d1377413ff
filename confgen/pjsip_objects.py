"""Where Asterisk looks for phones and trunks: a file that only their kinds read; never names an object of ours.

Every kind of PJSIP object (`type = …`, some twenty of them) reads its whole file on its own, and again at each reload when it changed: with
10,000 phones in pjsip.conf most of a reload is kinds that read them all and keep none. sorcery.conf (res_sorcery_config) gives ours a file
of their own; of several files for one kind Asterisk takes the first alone, so that this file includes the admin's as well.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

OBJECTS_FILE: Final = "tandem-pjsip.conf"
SORCERY_FILE: Final = "sorcery.conf"
# The kinds in pjsip.conf.j2, by the module that reads them.
OBJECT_TYPES: Final[Mapping[str, tuple[str, ...]]] = {
    "res_pjsip": ("endpoint", "auth", "aor"),
    "res_pjsip_endpoint_identifier_ip": ("identify",),
    "res_pjsip_outbound_registration": ("registration",),
}


def list_mappings(sections: Iterable[str] = ()) -> Iterator[str]:
    """The lines of sorcery.conf; `sections`: those that are there already."""
    present = frozenset(sections)
    for module, types in OBJECT_TYPES.items():
        yield f"[{module}](+)" if module in present else f"[{module}]"
        for kind in types:
            yield f"{kind} = config,{OBJECTS_FILE},criteria=type={kind}"


def is_mapped(sections: Mapping[str, Mapping[str, str]]) -> bool:
    """Whether these sections of a sorcery.conf say of one of the kinds where it is kept; a realtime database, say."""
    return any(
        option.partition("/")[0] in types
        for module, types in OBJECT_TYPES.items()
        for option in sections.get(module, ())
    )
