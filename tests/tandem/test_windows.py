"""Call windows: in the called party's zone, across changes of clocks; the next opening is the first minute that is open."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from tandem.domain.campaigns import CallWindow
from tandem.domain.entities import Schedule
from tandem.domain.schedules import compile_schedule, is_open
from tandem.domain.windows import find_zones, next_open, opens_at

BUSINESS = TypeAdapter(CallWindow).validate_python({"hours": [{"days": "mon-fri", "start": "09:00", "end": "20:00"}]})


def at(text: str, zone: str = "UTC") -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)


def test_zones_of_numbers():
    assert find_zones("+493012345", None) == ("Europe/Berlin",)
    assert find_zones("03012345", "DE") == ("Europe/Berlin",)
    assert find_zones("+12125550123", "DE") == ("America/New_York",)
    # A toll-free number rings anywhere; what is no number has no place.
    assert find_zones("+18005550123", None) == ()
    assert find_zones("1001", None) == ()
    assert len(find_zones("+79161234567", None)) > 1


@pytest.mark.parametrize(
    ("number", "now", "expected"),
    [
        ("+493012345", at("2026-11-26 10:00", "Europe/Berlin"), at("2026-11-26 10:00", "Europe/Berlin")),
        ("+493012345", at("2026-11-26 20:00", "Europe/Berlin"), at("2026-11-27 09:00", "Europe/Berlin")),
        ("+493012345", at("2026-11-27 20:00", "Europe/Berlin"), at("2026-11-30 09:00", "Europe/Berlin")),
        ("+12125550123", at("2026-11-26 10:00", "Europe/Berlin"), at("2026-11-26 09:00", "America/New_York")),
        # Clocks change between the question and the opening: New York on 2026-11-01, Berlin on 2027-03-28.
        ("+12125550123", at("2026-10-30 21:00", "America/New_York"), at("2026-11-02 09:00", "America/New_York")),
        ("+493012345", at("2027-03-26 21:00", "Europe/Berlin"), at("2027-03-29 09:00", "Europe/Berlin")),
        # No zone in the number: the window's own or the PBX's.
        ("+18005550123", at("2026-11-26 21:00", "Asia/Tokyo"), at("2026-11-27 09:00", "Asia/Tokyo")),
    ],
)
def test_when_a_number_may_be_called(number, now, expected):
    assert opens_at(BUSINESS, number, None, "Asia/Tokyo", now) == expected


def test_all_zones_of_a_number_must_be_open():
    # Russia's mobiles may be anywhere from Kaliningrad to Kamchatka, ten hours apart: one hour of eleven is left.
    opening = opens_at(BUSINESS, "+79161234567", None, "UTC", at("2026-11-26 00:00"))
    assert opening is not None
    for zone in find_zones("+79161234567", None):
        local = opening.astimezone(ZoneInfo(zone))
        assert 9 <= local.hour < 20, (zone, local)
    narrow = TypeAdapter(CallWindow).validate_python({"hours": [{"days": "mon-fri", "start": "12:00", "end": "13:00"}]})
    assert opens_at(narrow, "+79161234567", None, "UTC", at("2026-11-26 00:00")) is None


def test_an_opening_in_the_hour_that_spring_skips_is_the_hour_s_end():
    early = Schedule(name="w", hours=({"days": "sun", "start": "02:30", "end": "05:00"},), time_zone="Europe/Berlin")
    compiled = compile_schedule(TypeAdapter(Schedule).validate_python(early), "UTC")
    found = next_open([compiled], at("2027-03-28 00:00", "Europe/Berlin"))
    assert found == at("2027-03-28 03:30", "Europe/Berlin") or found == at("2027-03-28 03:00", "Europe/Berlin")
    assert is_open(compiled, found)


SPAN = st.builds(
    lambda days, start, length: {"days": days, "start": f"{start // 60:02}:{start % 60:02}",
                                 "end": f"{(start + length) // 60:02}:{(start + length) % 60:02}"},
    st.lists(st.sampled_from(["mon", "tue", "wed", "thu", "fri", "sat", "sun"]), min_size=1, unique=True),
    st.integers(0, 1300),
    st.integers(5, 139),
)  # fmt: skip


@given(
    st.lists(SPAN, min_size=1, max_size=3),
    st.sampled_from(["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/St_Johns", "UTC"]),
    st.integers(1_767_225_600, 1_830_297_600),
)
def test_nothing_before_the_next_opening_is_open(spans, zone, when):
    schedule = TypeAdapter(Schedule).validate_python({"name": "w", "hours": spans, "time_zone": zone})
    compiled = compile_schedule(schedule, "UTC")
    now = datetime.fromtimestamp(when, UTC)
    found = next_open([compiled], now)
    assert found is not None
    assert is_open(compiled, found)
    step = max(timedelta(minutes=7), (found - now) / 200)
    moment = now
    while moment < found - timedelta(minutes=1):
        assert not is_open(compiled, moment)
        moment += step


@pytest.mark.parametrize(
    ("minutes", "opening"),
    [(0, "2026-11-26 09:00"), (330, "2026-11-26 03:30"), (-720, "2026-11-26 21:00"), (840, "2026-11-25 19:00")],
)
def test_an_offset_of_the_client_counts_alone(minutes, opening):
    """Whatever country the number is of, and with its minutes."""
    early = at("2026-11-25 18:00")
    nine_to_ten = CallWindow(
        hours=[{"days": ["mon", "tue", "wed", "thu", "fri", "sat", "sun"], "start": "09:00", "end": "10:00"}]
    )
    found = opens_at(
        nine_to_ten, "+4930123456", "DE", "Europe/Berlin", max(early, at(opening) - timedelta(hours=2)), minutes
    )
    assert found == at(opening)
    assert opens_at(nine_to_ten, "+4930123456", "DE", "Europe/Berlin", at(opening), minutes) == at(opening)
    shut = opens_at(nine_to_ten, "+4930123456", "DE", "Europe/Berlin", at(opening) + timedelta(hours=1), minutes)
    assert shut == at(opening) + timedelta(days=1)
