"""The dialplan's table of countries and premium numbers: it is phonenumbers', and says of any number what Tandem says."""

import re
from pathlib import Path

from hypothesis import assume, given, settings
from hypothesis import strategies as st
from phonenumbers import is_emergency_number

from tandem.domain import regions
from tandem.domain.dialling import find_region, is_premium_code

FILE = Path(__file__).parents[2] / "dialplan" / "tandem-regions.conf"
TEXT = FILE.read_text()
PLACES = [
    (code, region, kind)
    for code, known in regions.REGIONS_BY_CODE.items()
    for region in known
    for kind in regions._KINDS
    if regions._pattern(regions._load(code, region), kind)
]


def read_region(number):
    """What the context returns, read line by line as Asterisk does."""
    for length in (3, 2, 1):
        if found := re.search(rf"^exten => _{number[:length]}!,1,(.*(?:\n same => .*)*)", TEXT, re.MULTILINE):
            break
    else:
        return "", False
    national, country = number[length:], ""
    for line in found[1].splitlines():
        if chosen := re.search(r"Set\((?:LOCAL\()?country\)?=(\w+)\)", line):
            country = chosen[1]
        elif (asked := re.search(r'GotoIf\(\$\{REGEX\("(.*)" ', line)) and re.search(asked[1], national):
            break
    premium = re.search(r'Return.*REGEX\("(.*)" ', found[1])
    return country, premium is not None and bool(re.search(premium[1], national))


def test_the_file_is_of_todays_tables():
    assert regions.write_regions() == TEXT, (
        "write it anew: python -m tandem.domain.regions dialplan/tandem-regions.conf"
    )


def test_no_line_is_longer_than_asterisk_substitutes():
    assert max(map(len, TEXT.splitlines())) < 4000


@settings(max_examples=400)
@given(st.data(), st.sampled_from(PLACES), st.sampled_from(["", "7", "77"]))
def test_it_says_what_tandem_says(data, place, more):
    code, region, kind = place
    pattern = regions._pattern(regions._load(code, region), kind)
    national = data.draw(st.from_regex(pattern, fullmatch=True)) + more
    assume(national.isascii())
    country, is_premium = find_region(f"+{code}{national}", None)
    found = read_region(f"{code}{national}")
    # More is refused than must be, where another number goes on as a premium one begins; never less.
    assert found[1] or not is_premium
    if kind in ("fixed_line", "mobile", "premium_rate"):
        assert found[0] == country


def test_what_it_says_of_some_numbers():
    known = (
        "499001234567",
        "4909001234567",
        "49301234567",
        "18765550100",
        "14165550100",
        "12125550100",
        "979123456789",
        "3581812345",
        "999",
    )
    assert [read_region(number) for number in known] == [
        ("DE", True), ("DE", True), ("DE", False), ("JM", False), ("CA", False), ("US", False), ("001", True), ("AX", False), ("", False),
    ]  # fmt: skip


def test_no_number_for_help_is_a_premium_code():
    """Not even one with more behind it."""
    countries = [country for country in regions.SUPPORTED_SHORT_REGIONS if regions.find_premium_codes(country)]
    assert {"AT", "CH", "DE", "FR", "GB", "US"} <= set(countries)
    for country in countries:
        for number in map("{:03}".format, range(1000)):
            if is_emergency_number(number, country):
                assert not is_premium_code(number, country), (country, number)


def test_premium_codes_are_those_of_the_pbxs_own_country():
    found = {
        (number, country): is_premium_code(number, country)
        for number, country in (
            ("3201", "FR"), ("+333201", "FR"), ("3201", "DE"), ("118118", "GB"), ("01181181234", "GB"), ("118", "CH"), ("1811", "CH"),
            ("24280", "US"), ("2428012", "US"), ("411", "US"), ("018", "NZ"), ("11833", None),
        )
    }  # fmt: skip
    assert [key for key, is_premium in found.items() if is_premium] == [
        ("3201", "FR"), ("+333201", "FR"), ("118118", "GB"), ("1811", "CH"), ("24280", "US"), ("018", "NZ"),
    ]  # fmt: skip
