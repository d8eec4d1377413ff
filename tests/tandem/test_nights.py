"""Night modes: over the clock, refused to phones that may not, kept in the database, believed from AstDB without one; calls are in tests/asterisk/phones."""

import re
from datetime import UTC, date, datetime

import pytest
from twisted.internet.defer import Deferred, fail, succeed

from tandem.ami.errors import AmiRefused
from tandem.document import DocumentError, read_document, write_document
from tandem.domain.last_known import last_known_entries
from tandem.domain.nights import NightRefused, name_device, read_night_digits, read_night_kind, with_modes
from tandem.domain.route_tests import run_route_tests
from tandem.domain.routing import route_did
from tandem.domain.snapshot import build_snapshot
from tandem.nights import Nights
from tandem.store.errors import StoreError
from tandem.store.nights import load_nights

DOCUMENT = """
general: {country: DE}
endpoints: [{extension: 1001, secret: swordfish}, {extension: 1002, secret: swordfish}, {extension: 1003, secret: swordfish, permissions: []}]
schedules:
  - {name: office, hours: [{days: mon-fri, start: 09:00, end: 17:00}], night_code: "*28"}
  - {name: lab, night_code: "*29", night_phones: [1002]}
queues: [{name: sales, schedule: office, closed: {hangup: busy}, fallback: {hangup: normal}}]
dids:
  - {number: +49301, destination: {schedule: office, open: {endpoint: 1001}, closed: {endpoint: 1002}}}
  - {number: +49302, destination: {queue: sales}}
expect:
  - {did: +49301, at: 2026-11-23T10:00, destination: {endpoint: 1001}}
  - {did: +49301, night: office, destination: {endpoint: 1002}}
  - {did: +49302, night: [office], destination: {hangup: busy}}
"""
PBX = read_document(DOCUMENT, "test")
SNAPSHOT = build_snapshot(1, PBX)
MONDAY_AT_TEN = datetime(2026, 11, 23, 10, tzinfo=UTC)


def test_what_is_switched_is_over_the_clock_and_the_reasons_say_so():
    for modes, target, reason in (
        ({}, "1001", "schedule office: open"),
        ({"office": "night"}, "1002", "schedule office: closed (night mode)"),
        ({"office": "day"}, "1001", "schedule office: open (day mode)"),
    ):
        route = route_did(with_modes(SNAPSHOT, modes), "+49301", "", None, MONDAY_AT_TEN)
        assert route.destination.endpoint == target
        assert reason in route.reasons
    assert with_modes(SNAPSHOT, {"office": "auto", "gone": "night"}) is SNAPSHOT
    held = with_modes(SNAPSHOT, {"office": "night"})
    assert with_modes(held, {"office": "night"}) is held
    assert with_modes(held, {}).hours == SNAPSHOT.hours


def test_route_tests_go_by_their_own_words_whatever_is_switched_now():
    for modes in ({}, {"office": "night"}, {"office": "day"}):
        assert [test.problem for test in run_route_tests(with_modes(SNAPSHOT, modes))] == ["", "", ""]
    failing = read_document(
        DOCUMENT.replace(
            "night: office, destination: {endpoint: 1002}", "night: office, destination: {endpoint: 1001}"
        ),
        "test",
    )
    test = run_route_tests(build_snapshot(1, failing))[1]
    assert test.question == "+49301 in the night of office"
    assert "schedule office: closed (night mode)" in test.problem
    assert read_document(write_document(PBX)) == PBX


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ('"*28"', '"*7"', "general.do_not_disturb_code) begins with it"),
        ('"*28"', '"*78"', "number *78 is taken by"),
        ("[1002]", "[1009]", "there is no endpoint '1009'"),
        ("night: office,", "night: ofice,", "there is no schedule 'ofice'"),
    ],
)
def test_what_does_not_fit_is_told(old, new, problem):
    with pytest.raises(DocumentError, match=re.escape(problem)):
        read_document(DOCUMENT.replace(old, new, 1), "test")


def test_a_code_turns_night_mode_over_for_those_who_may():
    def dialled(digits, now, schedule="office", endpoint="1001"):
        return read_night_digits(SNAPSHOT, schedule, endpoint, digits, now)

    assert [dialled("", now) for now in ("auto", "day", "night")] == ["night", "night", "auto"]
    assert [dialled(digits, "auto") for digits in "012"] == ["auto", "day", "night"]
    assert dialled("2", "auto", "lab", "1002") == "night"
    for wrong in (("3", "auto"), ("", "auto", "lab"), ("", "auto", "office", "1003"), ("", "auto", "office", "9999")):
        with pytest.raises(NightRefused):
            dialled(*wrong)
    with pytest.raises(KeyError):
        dialled("", "auto", "gone")
    codes = last_known_entries(SNAPSHOT, date(2026, 1, 5))
    assert read_night_kind(codes["tandem-code", "*28"]) == "office"
    assert read_night_kind("dnd") is None
    assert name_device("*28") == "Custom:tandem*28"


class Asterisk:
    """AstDB and devices, as AMI has them."""

    def __init__(self):
        self.astdb, self.lamps = {}, {}

    def send(self, action):
        fields = dict(action.headers)
        if action.name == "DBPut":
            self.astdb[fields["Key"]] = fields["Val"]
        elif action.name == "DBDel":
            if self.astdb.pop(fields["Key"], None) is None:
                return fail(AmiRefused("DBDel", "Database entry not found"))
        else:
            _, _, device, state = fields["Command"].split()
            self.lamps[device] = state
        return succeed(None)

    def ask(self, _action):
        return succeed([{"Key": f"/tandem-night/{key}", "Val": value} for key, value in self.astdb.items()])


class Away:
    """A database that is gone."""

    def read(self, *_):
        return fail(StoreError("the database", "is gone", "mend it"))


class Direct:
    """A store whose work is done at once, in this thread."""

    def __init__(self, store):
        self._store = store

    def run(self, work, *args):
        return succeed(self._store.run_now(work, *args))

    read = run


def do(coroutine):
    results = []
    Deferred.fromCoroutine(coroutine).addBoth(results.append)
    assert results, "it waits"
    if hasattr(results[0], "raiseException"):
        results[0].raiseException()
    return results[0]


def start(store, asterisk):
    dressed = []
    nights = Nights(store, lambda: SNAPSHOT, asterisk.send, asterisk.ask, lambda: dressed.append(1), now=lambda: 5.0)
    nights.dressed = dressed
    return nights


def switch(nights, store, mode, schedule="office"):
    return do(nights.change(schedule, lambda *_: mode, by="anna", commit=store.run))


def test_it_is_kept_in_the_database_in_astdb_and_on_the_lamps(store):
    store, asterisk, told = Direct(store), Asterisk(), []
    nights = start(store, asterisk)
    do(nights.load())
    do(nights.follow())
    assert asterisk.lamps == {"Custom:tandem*28": "NOT_INUSE", "Custom:tandem*29": "NOT_INUSE"}
    nights.watch(told.append)
    night = switch(nights, store, "night")
    assert (night.mode, night.since, night.by, told, len(nights.dressed)) == ("night", 5.0, "anna", [night], 2)
    assert (asterisk.astdb, asterisk.lamps["Custom:tandem*28"]) == ({"office": "night"}, "INUSE")
    assert nights.dress(SNAPSHOT).hours["office"].mode == "night"
    with pytest.raises(KeyError):
        switch(nights, store, "night", "gone")

    # A restart, beside an Asterisk that lost everything and has what nobody switched.
    asterisk = Asterisk()
    asterisk.astdb = {"lab": "night"}
    again = start(store, asterisk)
    do(again.load())
    do(again.follow())
    assert (again.read("office"), asterisk.astdb) == (night, {"office": "night"})
    assert asterisk.lamps == {"Custom:tandem*28": "INUSE", "Custom:tandem*29": "NOT_INUSE"}
    switch(again, store, "auto")
    switch(again, store, "auto")
    assert (asterisk.astdb, asterisk.lamps["Custom:tandem*28"]) == ({}, "NOT_INUSE")
    assert store.run(load_nights).result == {}


def test_without_a_database_astdb_says_what_was_switched_last():
    asterisk = Asterisk()
    asterisk.astdb = {"office": "night", "lab": "rubbish"}
    nights = start(Away(), asterisk)
    do(nights.follow())
    assert (nights.read("office").mode, nights.read("lab").mode, len(nights.dressed)) == ("night", "auto", 1)
    with pytest.raises(StoreError):
        do(nights.change("office", lambda *_: "day", by="anna", commit=lambda _: None))
    assert asterisk.astdb == {"office": "night", "lab": "rubbish"}
