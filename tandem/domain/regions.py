"""What the dialplan knows of countries and premium numbers: contexts made of phonenumbers' tables; pure, and never decides on a call.

`dialplan/tandem-regions.conf` is its text, so that premium numbers stay inside on the day nobody can ask Tandem; a test holds it to
the tables, and `python -m tandem.domain.regions FILE` writes it anew.
"""

import re
import sys
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Final

from phonenumbers import SUPPORTED_SHORT_REGIONS, PhoneMetadata
from phonenumbers.data import _COUNTRY_CODE_TO_REGION_CODE as REGIONS_BY_CODE

NO_COUNTRY: Final = "001"
_KINDS: Final = (
    "premium_rate",
    "toll_free",
    "shared_cost",
    "voip",
    "personal_number",
    "pager",
    "uan",
    "voicemail",
    "fixed_line",
    "mobile",
)
_HEAD: Final = """\
; Which country a number is of, and whether it is a premium one: the tables of phonenumbers in the dialplan's words.
; Made by `python -m tandem.domain.regions`: never edit it by hand.
;
; Gosub(tandem-region,NUMBER,1), the number in international form without its plus -> COUNTRY/, or COUNTRY/premium. What the expressions
; ask about is how a number begins, since a carrier ignores what is dialled after a whole one.
;
; step             when it fails                    the call
; region           a calling code that is nobody's  of no country, and no premium number

[tandem-region]
"""
_CODES_HEAD: Final = """
; Gosub(tandem-codes,COUNTRY,1) -> its premium short codes, as the alternatives of a regular expression; nothing where there are none.
[tandem-codes]
"""
# By their national numbering plans: 118xy and 1180xy, 118 with two or three digits more, 118xxx.
_ENQUIRIES: Final = {"DE": "118[1-9][0-9]|1180[0-9]{2}", "AT": "118[0-9]{2,3}", "GB": "118[0-9]{3}"}


def write_regions() -> str:
    """The whole file."""
    codes = [line for code in sorted(REGIONS_BY_CODE, key=str) for line in _write_code(code)]
    premium = [
        f"exten => {region},1,Return({found})"
        for region in sorted(SUPPORTED_SHORT_REGIONS)
        if (found := find_premium_codes(region))
    ]
    return "\n".join(
        (
            _HEAD.rstrip(),
            *codes,
            "exten => _X!,1,Return(/)",
            _CODES_HEAD.rstrip(),
            *premium,
            "exten => _[A-Z]!,1,Return()\n",
        )
    )


@lru_cache(maxsize=300)
def find_premium_codes(country: str) -> str:
    """Short codes that cost their caller more than the call: the alternatives of an extended regular expression, '' where a country has none.

    phonenumbers' short numbers (`premium_rate`), and directory enquiries where their providers set the price, which it knows nothing of.
    """
    found = PhoneMetadata.short_metadata_for_region(country)
    described = found.premium_rate if found is not None else None
    known = translate_pattern(described.national_number_pattern or "") if described is not None else ""
    return "|".join(filter(None, (known, _ENQUIRIES.get(country, ""))))


def _write_code(code: int) -> Iterator[str]:
    """The extension of one calling code: the first country that has the number, as phonenumbers asks them, else its main one."""
    regions = REGIONS_BY_CODE[code]
    known = {region: _load(code, region) for region in regions}
    national = f"${{EXTEN:{len(str(code))}}}"
    # A national prefix is dialled abroad by mistake, or to hide what follows.
    prefix = known[regions[0]].national_prefix or ""
    prefix = f"({prefix})?" if prefix.isdigit() else ""
    yield f"exten => _{code}!,1,Set(LOCAL(country)={regions[0]})"
    if len(regions) > 1:
        for region, found in known.items():
            if pattern := _pattern_of(found):
                yield f" same => n,Set(country={region})"
                yield f' same => n,GotoIf(${{REGEX("^{prefix}({pattern})" {national})}}?found)'
        yield f" same => n,Set(country={regions[0]})"
    last = "n(found)" if len(regions) > 1 else "n"
    premium = "|".join(dict.fromkeys(filter(None, (_pattern(found, "premium_rate") for found in known.values()))))
    if not premium:
        yield f" same => {last},Return(${{country}}/)"
        return
    yield f' same => {last},Return(${{country}}/${{IF(${{REGEX("^{prefix}({premium})" {national})}}?premium)}})'


def _load(code: int, region: str) -> PhoneMetadata:
    found = (
        PhoneMetadata.metadata_for_nongeo_region(code)
        if region == NO_COUNTRY
        else PhoneMetadata.metadata_for_region(region)
    )
    assert found is not None, region
    return found


def _pattern_of(found: PhoneMetadata) -> str:
    """What numbers of a country begin with that shares its calling code."""
    if found.leading_digits:
        return translate_pattern(found.leading_digits)
    return "|".join(dict.fromkeys(filter(None, (_pattern(found, kind) for kind in _KINDS))))


def _pattern(found: PhoneMetadata, kind: str) -> str:
    described = getattr(found, kind)
    return translate_pattern(described.national_number_pattern or "") if described is not None else ""


def translate_pattern(pattern: str) -> str:
    r"""A pattern of phonenumbers' in POSIX's extended form, which knows neither `(?:` nor `\d`."""
    plain = pattern.replace("(?:", "(").replace(r"\d", "[0-9]")
    plain = re.sub(r"\[([^\]]*)\[0-9\]([^\]]*)\]", r"[\g<1>0-9\2]", plain)
    assert not re.search(r"\\|\(\?|[$;\"]", plain), plain
    return plain


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(write_regions(), encoding="utf-8")
