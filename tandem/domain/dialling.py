"""Numbers that are dialled outside: their international form, the patterns that find them, how far away they are; never guesses.

Everything but the country of a number is plain string work, because the static dialplan does the same while FastAGI is gone.
"""

import re
from functools import lru_cache
from typing import Final, NamedTuple

import phonenumbers

from tandem.domain.entities import General, Trunk
from tandem.domain.fields import Permission
from tandem.domain.numbers import NumberPlan, number_plan, pattern_rank, pattern_regex
from tandem.domain.regions import find_premium_codes

# What may leave the house: the dialplan has the same rule.
OUTSIDE: Final = re.compile(r"\+?[0-9]{2,24}")
# After every pattern: a country says least about a number.
COUNTRY_RANK: Final = (0x40000,)
_NANP: Final = re.compile("[2-9][0-9]{9}")


class DialRule(NamedTuple):
    """A pattern of dialled numbers, read. regex: for the number as dialled and, where it begins with a plus, in international form."""

    regex: str
    rank: tuple[int, ...]


def read_dial_pattern(text: str) -> DialRule:
    """Reads `110`, `0049*`, `_0[1-9]X.`, `+49*`, `_+491[5-7].`; ValueError for a pattern that Asterisk could not match."""
    body = text.removeprefix("_")
    plus = "[+]" if body.startswith("+") else ""
    body = body.removeprefix("+")
    if not text.startswith("_"):
        body = f"{body[:-1]}!" if body.endswith("*") else body
    return DialRule(f"^{plus}{pattern_regex(body).removeprefix('^')}", pattern_rank(body))


@lru_cache(maxsize=300)
def plan_of(country: str | None) -> NumberPlan | None:
    """The number plan of a country; None without one."""
    return number_plan(country) if country else None


def write_e164(dialled: str, plan: NumberPlan | None) -> str:
    """`+49301234` of what was dialled (digits, perhaps a plus); '' where nobody can tell. The dialplan (tandem-e164) has this rule."""
    if dialled.startswith("+"):
        return dialled
    if plan is None:
        return ""
    if plan.international_prefix and dialled.startswith(plan.international_prefix):
        return "+" + dialled[len(plan.international_prefix) :]
    if plan.country_code == "1" and _NANP.fullmatch(dialled):
        return "+1" + dialled
    if not plan.national_prefix:
        # Such countries have no short way of dialling a subscriber; special numbers are shorter than any of theirs.
        return f"+{plan.country_code}{dialled}" if len(dialled) > 6 else ""
    if dialled.startswith(plan.national_prefix):
        return f"+{plan.country_code}{dialled[len(plan.national_prefix) :]}"
    return ""


def classify_number(number: str, general: General) -> Permission:
    """How far a number is, as the dialplan tells them apart for phones: without a known country everything is international."""
    plan = plan_of(general.country)
    if plan is None or not plan.international_prefix:
        return "international"
    if number.startswith("+"):
        abroad = number[1:]
    elif number.startswith(plan.international_prefix):
        abroad = number[len(plan.international_prefix) :]
    else:
        return "national"
    return "national" if abroad.startswith(plan.country_code) else "international"


class Region(NamedTuple):
    """Where a number belongs. country: ISO 3166-1, '' where unknown; is_premium: whoever dials it pays a provider besides the carrier."""

    country: str
    is_premium: bool


@lru_cache(maxsize=8192)
def find_region(dialled: str, country: str | None) -> Region:
    """Of a number as it was dialled in `country`, by phonenumbers' tables: 0.1 ms the first time."""
    is_code = is_premium_code(dialled, country)
    try:
        number = phonenumbers.parse(dialled, country)
    except phonenumbers.NumberParseException:
        return Region("", is_premium=is_code)
    # A carrier ignores what is dialled after a whole number, so it must not hide what that number is.
    phonenumbers.truncate_too_long_number(number)
    code = number.country_code or 0
    region = phonenumbers.region_code_for_number(number)
    if region is None:
        # Not a whole number of anybody's: the main country of its code.
        region = phonenumbers.region_code_for_country_code(code)
    is_premium = is_code or phonenumbers.number_type(number) == phonenumbers.PhoneNumberType.PREMIUM_RATE
    return Region("" if region == "ZZ" else region, is_premium=is_premium)


def is_premium_code(dialled: str, country: str | None) -> bool:
    """Whether that is a short code of the country that costs more than the call. The dialplan (tandem-toll, short) has this rule.

    What follows a whole code hides it from nobody's bill, so it does not count; only within country code 1 could that be a subscriber's number.
    """
    plan = plan_of(country)
    codes = find_premium_codes(country) if country else ""
    if not codes or plan is None:
        return False
    e164, own = write_e164(dialled, plan), f"+{plan.country_code}"
    national = e164.removeprefix(own) if e164.startswith(own) else ""
    if any(re.fullmatch(codes, number) for number in (dialled, national)):
        return True
    return not e164 and plan.country_code != "1" and re.match(codes, dialled) is not None


def write_for_trunk(dialled: str, trunk: Trunk, general: General) -> str:
    """The number as a trunk wants it; what has no international form goes as it was dialled. The dialplan (tandem-outward) has this rule."""
    e164 = write_e164(dialled, plan_of(general.country))
    number = dialled
    if e164 and trunk.numbers_out != "as-dialled":
        plan = plan_of(trunk.country or general.country)
        number = e164 if trunk.numbers_out == "plus" else e164[1:]
        if trunk.numbers_out == "national" and plan is not None:
            is_abroad = not number.startswith(plan.country_code)
            number = (
                plan.international_prefix + number
                if is_abroad
                else plan.national_prefix + number.removeprefix(plan.country_code)
            )
    return trunk.prefix_out + number


def present_caller(trunk: Trunk, caller: str) -> str:
    """The number that a trunk shows instead of the caller's; '' where it shows the caller's own."""
    if trunk.caller_id_rule == "passthrough" or not trunk.caller_ids:
        return ""
    if trunk.caller_id_rule == "allowed" and caller in trunk.caller_ids:
        return ""
    return trunk.caller_ids[0]
