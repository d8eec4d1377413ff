import dataclasses

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from tandem.domain.entities import Pbx
from tandem.domain.references import check_pbx
from tests.strategies import pbxes

BYE = {"hangup": "normal"}
MENU = {"prompts": ["a"], "options": {}, "invalid": BYE, "timeout": BYE, "fallback": BYE}
PHONE = {"secret": "long enough"}
TRUNK = {"hosts": ["192.0.2.1"]}
OUT = {"general": {"outbound_trunk": "out"}, "trunks": [{"name": "out", **TRUNK}]}


def problems(**collections) -> list[str]:
    return [str(problem) for problem in check_pbx(TypeAdapter(Pbx).validate_python(collections))]


def menu(name, **fields):
    return {"name": name, **MENU, **fields}


def queue(name, **fields):
    return {"name": name, "fallback": BYE, **fields}


def rule(*changes):
    return {"name": "widen", "changes": changes or [{"after_s": 30, "max_penalty": 5}]}


def announcement(name, then):
    return {"name": name, "prompts": ["a"], "then": then}


def did(number, destination=None, **fields):
    return {"number": number, "destination": destination or BYE, **fields}


def schedule(name="day", **fields):
    return {"name": name, **fields}


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ([{"after_s": 9}], "the change after 9 s must set max_penalty, min_penalty or raise_penalty"),
        ([{"after_s": 9, "max_penalty": 1}, {"after_s": 9, "max_penalty": 2}], "the change after 9 s must be later"),
        ([{"after_s": 0, "max_penalty": 1}, {"after_s": 9, "min_penalty": 2}], "leaves nobody to ring: min_penalty 2 is above max_penalty 1"),
    ],
)  # fmt: skip
def test_a_penalty_rule_that_cannot_be_kept_is_refused(changes, told):
    with pytest.raises(ValidationError, match=told):
        TypeAdapter(Pbx).validate_python({"penalty_rules": [rule(*changes)]})


@pytest.mark.parametrize(
    ("destination", "told"),
    [
        ({"endpoint": "10"}, "endpoint: there is no endpoint '10'"),
        ({"queue": "x"}, "queue: there is no queue 'x'"),
        ({"menu": "x"}, "menu: there is no menu 'x'"),
        ({"voicemail": "10"}, "voicemail: there is no voicemail box '10'"),
        ({"announcement": "x"}, "announcement: there is no announcement 'x'"),
        ({"did": "+1"}, "did: there is no DID '+1'"),
        ({"did": "_1.1"}, "did: pattern '1.1': nothing may follow '.'"),
        ({"external": "+49301"}, "external: needs a trunk, here or as general.outbound_trunk, or an outbound route"),
        ({"external": "+49301", "trunk": "x"}, "trunk: there is no trunk 'x'"),
        ({"dialplan": "lobby,1"}, "dialplan: context 'lobby' is not in general.allowed_contexts"),
        ({"schedule": "x", "open": BYE, "closed": BYE}, "schedule: there is no schedule 'x'"),
    ],
)
def test_unknown_targets_everywhere(destination, told):
    field, _, rest = told.partition(": ")
    places = {
        "announcements[0].then": {"announcements": [announcement("a", destination)]},
        "menus[0].options.*1": {"menus": [menu("m", options={"*1": destination})]},
        "menus[0].invalid": {"menus": [menu("m", invalid=destination)]},
        "menus[0].timeout": {"menus": [menu("m", timeout=destination)]},
        "menus[0].fallback": {"menus": [menu("m", fallback=destination)]},
        **{
            f"queues[0].{place}": {"queues": [queue("q", **{place: destination})]}
            for place in ("fallback", "closed", "timeout", "full", "join_empty", "leave_empty")
        },
        "dids[1].destination": {"dids": [did("2"), did("3", destination)]},
        "dids[0].destination.open.closed": {
            "schedules": [schedule()],
            "dids": [did("2", {"schedule": "day", "open": {"schedule": "day", "open": BYE, "closed": destination}, "closed": BYE})],
        },
    }  # fmt: skip
    for path, collections in places.items():
        assert problems(**collections) == [f"{path}.{field}: {rest}"]


def test_near_names_are_suggested():
    (told,) = problems(queues=[queue("sales")], dids=[did("1", {"queue": "sails"})])
    assert told.endswith("did you mean sales?")


@pytest.mark.parametrize(
    ("collections", "told"),
    [
        ({"general": {"outbound_trunk": "x"}}, "general.outbound_trunk: there is no trunk 'x'"),
        ({"general": {"emergency_trunk": "x"}}, "general.emergency_trunk: there is no trunk 'x'"),
        ({"general": {"country": "QQ"}}, "general.country: 'QQ' is no country"),
        ({"general": {"time_zone": "Europe/Atlantis"}}, "general.time_zone: 'Europe/Atlantis' is no time zone"),
        ({"general": {"allowed_contexts": ["lobby", "tandem-enter"]}}, "general.allowed_contexts[1]: 'tandem-enter' is reserved"),
        ({"general": {"allowed_contexts": ["globals"]}}, "general.allowed_contexts[0]: 'globals' is reserved"),
        ({"trunks": [{"name": "a", **TRUNK, "authentication": "registration", "secret": "long enough"}]}, "trunks[0].username: is missing"),
        ({"trunks": [{"name": "a", **TRUNK, "authentication": "registration", "username": "u"}]}, "trunks[0].secret: is missing"),
        ({"trunks": [{"name": "a", **TRUNK, "numbers": "national"}]}, "trunks[0].numbers: national numbers need a country"),
        ({"trunks": [{"name": "a", **TRUNK, "country": "QQ"}]}, "trunks[0].country: 'QQ' is no country"),
        ({"trunks": [{"name": "a", **TRUNK}, {"name": "A", **TRUNK}]}, "trunks[1].name: 'A' is taken by trunks[0]"),
        ({"trunks": [{"name": "System", **TRUNK}]}, "trunks[0].name: 'System' is reserved by Asterisk"),
        ({"music_classes": [{"name": "Default", "sounds": ["tandem/x"]}]}, "music_classes[0].name: 'Default' is reserved by Asterisk"),
        ({"trunks": [{"name": "anonymous", **TRUNK}]}, "trunks[0].name: 'anonymous' is reserved by Asterisk"),
        ({"queues": [queue("General")]}, "queues[0].name: 'General' is reserved by Asterisk"),
        ({"menus": [menu("a"), menu("b"), menu("A")]}, "menus[2].name: 'A' is taken by menus[0]"),
        ({"voicemail_boxes": [{"mailbox": "10", "pin": "1234"}] * 2}, "voicemail_boxes[1].mailbox: '10' is taken by voicemail_boxes[0]"),
        ({"voicemail_boxes": [{"mailbox": "10", "pin": "1234", "time_zone": "No/Where"}]}, "voicemail_boxes[0].time_zone"),
        ({"schedules": [schedule(time_zone="No/Where")]}, "schedules[0].time_zone: 'No/Where' is no time zone"),
        ({"schedules": [schedule(holiday_country="QQ")]}, "schedules[0].holiday_country: no public holidays are known for QQ"),
        ({"schedules": [schedule(holiday_country="DE", holiday_subdivision="XX")]}, "schedules[0].holiday_subdivision: no public holidays"),
        ({"schedules": [schedule(holiday_subdivision="BE")]}, "schedules[0].holiday_subdivision: needs a holiday_country"),
        ({"endpoints": [{"extension": "10", **PHONE}] * 2}, "endpoints[1].extension: number 10 is taken by endpoints[0].extension"),
        ({"endpoints": [{"extension": "112", **PHONE}]}, "endpoints[0].extension: number 112 is taken by general.emergency_numbers[0]"),
        ({"general": {"voicemail_number": "20"}, "queues": [queue("a", extension="20")]}, "queues[0].extension: number 20 is taken by general.voicemail_number"),
        ({"menus": [menu("a", extension="20")], "queues": [queue("a", extension="20")]}, "queues[0].extension: number 20 is taken by menus[0].extension"),
        ({"endpoints": [{"extension": "10", **PHONE, "voicemail": "11"}]}, "endpoints[0].voicemail: there is no voicemail box '11'"),
        ({"conferences": [{"name": "a", "wait_for_moderator": True}]}, "conferences[0].moderator_pin: is missing"),
        ({"conferences": [{"name": "a", "pin": "4711", "moderator_pin": "4711"}]}, "conferences[0].moderator_pin: must be another one"),
        ({"conferences": [{"name": "a", "pin_prompt": "tandem/pin"}]}, "conferences[0].pin_prompt: needs a pin or a moderator_pin"),
        ({"conferences": [{"name": "a", "join_prompt": "beep"}]}, "conferences[0].join_prompt: needs announce_joins"),
        ({"conferences": [{"name": "a", "leave_prompt": "beep"}]}, "conferences[0].leave_prompt: needs announce_joins"),
        ({"queues": [queue("a", outside_members=[{"number": "+49301"}])]}, "queues[0].outside_members: needs general.outbound_trunk"),
        ({**OUT, "queues": [queue("a", outside_members=[{"number": "112"}])]}, "queues[0].outside_members[0].number: must not be an emergency number"),
        ({**OUT, "queues": [queue("a", outside_members=[{"number": "*9#"}])]}, "queues[0].outside_members[0].number: must be 2 to 24 digits, with or without a leading +"),
        ({**OUT, "queues": [queue("a", outside_members=[{"number": "+49301"}] * 2)]}, "queues[0].outside_members[1].number: number +49301 is a member already"),
        ({"queues": [queue("a", members=[{"endpoint": "10"}])]}, "queues[0].members[0].endpoint: there is no endpoint '10'"),
        ({"endpoints": [{"extension": "10", **PHONE}], "queues": [queue("a", members=[{"endpoint": "10"}] * 2)]}, "queues[0].members[1].endpoint: endpoint 10 is a member already"),
        ({"queues": [queue("a", penalty_rule="x")]}, "queues[0].penalty_rule: there is no penalty rule 'x'"),
        ({"penalty_rules": [rule(), {**rule(), "name": "Widen"}]}, "penalty_rules[1].name: 'Widen' is taken by penalty_rules[0]"),
        ({"queues": [queue("a", announce_position_limit=5)]}, "queues[0].announce_position_limit: does nothing without announce_position"),
        ({"queues": [queue("a", announce_position=True, announce_beyond_limit=True)]}, "queues[0].announce_beyond_limit: does nothing without announce_position_limit"),
        ({"queues": [queue("a", announce_to_first=True)]}, "queues[0].announce_to_first: does nothing without announce_every_s or periodic_prompts"),
        ({"queues": [queue("a", announce_round_s=10)]}, "queues[0].announce_round_s: does nothing without announce_hold_time"),
        ({"queues": [queue("a", periodic_random=True)]}, "queues[0].periodic_random: does nothing without periodic_prompts"),
        ({"queues": [queue("a", periodic_prompts=["a"], periodic_every_s=0, periodic_after_s=5)]}, "queues[0].periodic_after_s: does nothing without periodic_prompts"),
        ({"queues": [queue("a", autopause_delay_s=5)]}, "queues[0].autopause_delay_s: does nothing without autopause"),
        ({"queues": [queue("a", schedule="x")]}, "queues[0].schedule: there is no schedule 'x'"),
        ({"dids": [did("+4930"), did("4930")]}, "dids[1].number: 4930 is the same number as +4930 (dids[0])"),
        ({"dids": [did("+4930*"), did("4930*")]}, "dids[1].number: 4930* is the same number"),
        ({"dids": [did("_49XX"), did("_+4[9]X-X")]}, "dids[1].number: _+4[9]X-X is the same number"),
        ({"dids": [did("default"), did("default")]}, "dids[1].number: default is the same number"),
        ({"dids": [did("_4[9")]}, "dids[0].number: pattern '4[9': '[' at position 2"),
    ],
)  # fmt: skip
def test_what_is_wrong_between_objects(collections, told):
    found = problems(**collections)
    assert len(found) == 1
    assert found[0].startswith(told)


def test_what_is_right():
    assert problems(dids=[did("4930"), did("4930*"), did("_493X"), did("default"), did("1", {"did": "+4930"})]) == []
    assert problems(general={"country": "DE"}, trunks=[{"name": "a", **TRUNK, "numbers": "national"}]) == []
    # Waiting on after a time-out, and keys that lead back, are what people want.
    assert problems(
        announcements=[announcement("busy", {"queue": "q"})], queues=[queue("q", timeout={"announcement": "busy"})]
    ) == []  # fmt: skip
    assert problems(menus=[menu("a", options={"*": {"menu": "a"}, "1": {"menu": "b"}}), menu("b", options={"*": {"menu": "a"}})]) == []  # fmt: skip


@pytest.mark.parametrize(
    ("collections", "told"),
    [
        ({"menus": [menu("a", timeout={"menu": "a"})]}, "menus[0]: leads back to itself without an exit: menu a -> menu a"),
        ({"menus": [menu("a", invalid={"menu": "b"}), menu("b", timeout={"menu": "a"})]}, "menu a -> menu b -> menu a"),
        (
            {"announcements": [announcement("x", {"menu": "a"})], "menus": [menu("a", timeout={"announcement": "x"})]},
            "announcements[0]: leads back to itself without an exit: announcement x -> menu a -> announcement x",
        ),
        ({"announcements": [announcement("x", {"announcement": "x"})]}, "announcement x -> announcement x"),
        ({"queues": [queue("q", fallback={"queue": "q"})]}, "queue q -> queue q"),
        ({"queues": [queue("q", full={"queue": "r"}), queue("r", join_empty={"queue": "q"})]}, "queue q -> queue r -> queue q"),
        ({"dids": [did("+1", {"did": "1"})]}, "dids[0]: leads back to itself without an exit: DID 1 -> DID 1"),
        (
            {
                "schedules": [schedule()],
                "dids": [did("1", {"schedule": "day", "open": BYE, "closed": {"did": "default"}}), did("default", {"did": "1"})],
            },
            "DID 1 -> DID default -> DID 1",
        ),
        ({"menus": [menu("a", fallback={"menu": "a"})]}, "menus[0].fallback: leads back to itself while FastAGI is gone: menu a -> menu a"),
        (
            {
                "menus": [menu("a", fallback={"announcement": "x"})],
                "announcements": [announcement("x", {"did": "1"})],
                "dids": [did("1", {"menu": "a"})],
            },
            "menus[0].fallback: leads back to itself while FastAGI is gone",
        ),
    ],
)  # fmt: skip
def test_circles_without_an_exit(collections, told):
    found = problems(**collections)
    assert len(found) == 1
    assert told in found[0]


def test_chains_have_a_limit():
    chain = [did(str(number), {"did": str(number + 1)}) for number in range(100, 120)]
    assert problems(dids=[*chain, did("120")]) == []
    (told,) = problems(dids=[*chain, did("120", {"did": "121"}), did("121")])
    assert told == "dids[0].destination: follows more than 20 DIDs and schedules, one after the other"


def test_a_very_long_chain_is_refused_without_a_recursion_error():
    chain = [did(str(number), {"did": str(number + 1)}) for number in range(10_000, 13_000)]
    found = problems(dids=[*chain, did("13000", {"did": "10000"})])
    assert len(found) == 1
    assert "leads back to itself" in found[0]


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(pbxes(), st.data())
def test_taking_out_something_that_is_used_is_noticed(pbx, data):
    """A valid PBX stays valid without one object, or a problem names the place that missed it; nothing else happens."""
    assert check_pbx(pbx) == ()
    collection = data.draw(
        st.sampled_from(["endpoints", "queues", "menus", "voicemail_boxes", "schedules", "penalty_rules", "dids"])
    )
    kept = getattr(pbx, collection)[1:]
    found = check_pbx(dataclasses.replace(pbx, **{collection: kept}))
    assert all("there is no" in problem.message for problem in found)
