"""What people set at their phones: over what is configured, refused where the phone may not, kept in the database, read by the dialplan."""

from datetime import date

import pytest
from pydantic import TypeAdapter

from confgen.render import RenderTarget, render
from confgen.sections import read_sections
from tandem.domain.entities import Pbx
from tandem.domain.features import (
    FeatureRefused,
    Features,
    FeatureWish,
    decide_features,
    features_in_force,
    is_on,
    read_feature_code,
)
from tandem.domain.last_known import last_known_entries
from tandem.domain.references import check_pbx
from tandem.domain.snapshot import build_snapshot

SECRET = "swordfish"
OUT = {"name": "out", "hosts": ["192.0.2.1"]}
TWO = [{"extension": "1001", "secret": SECRET}, {"extension": "1002", "secret": SECRET}]


def pbx(**objects):
    return TypeAdapter(Pbx).validate_python({"endpoints": TWO, **objects})


def problems(**objects):
    return [(problem.path, problem.message) for problem in check_pbx(pbx(**objects))]


def entries(found=None, **objects):
    known = {found.extension: found} if found else {}
    return last_known_entries(build_snapshot(1, pbx(**objects)), date(2026, 1, 5), known.get)


def wish(**values):
    return FeatureWish(values=values)


def test_what_is_set_is_over_what_is_configured_and_off_is_off():
    (endpoint, _) = pbx(endpoints=[{**TWO[0], "forward_busy": "1002", "do_not_disturb": True}, TWO[1]]).endpoints
    assert features_in_force(endpoint, None).encode() == "1,,1002,,"
    own = Features(extension="1001", busy="", always="1002", do_not_disturb=False)
    assert features_in_force(endpoint, own).encode() == "0,1002,,,"
    assert features_in_force(endpoint, Features(extension="1001")).busy == "1002"


def test_a_toggle_turns_over_what_holds_and_a_code_without_digits_turns_off():
    snapshot = build_snapshot(1, pbx(endpoints=[{**TWO[0], "do_not_disturb": True, "forward_always": "1002"}, TWO[1]]))
    features = decide_features(snapshot, None, "1001", read_feature_code("dnd", ""), 5.0, "phone 1001")
    assert (features.do_not_disturb, features.since, features.by) == (False, 5.0, "phone 1001")
    assert not is_on(snapshot.endpoints["1001"], features, "dnd")
    features = decide_features(snapshot, features, "1001", read_feature_code("forward-always", ""), 6.0, "x")
    assert (features.always, is_on(snapshot.endpoints["1001"], features, "forward-always")) == ("", False)
    assert decide_features(snapshot, features, "1001", wish(always=""), 7.0, "y") is features
    with pytest.raises(KeyError):
        read_feature_code("forward-everything", "1")
    with pytest.raises(KeyError):
        decide_features(snapshot, None, "4444", wish(), 1.0, "x")


@pytest.mark.parametrize(
    ("number", "rule"),
    [
        ("1001", "own"),
        ("112", "emergency"),
        ("*45", "digits"),
        ("12", "too short"),
        ("03055501", "national"),
        ("0014155550100", "international"),
    ],
)
def test_nobody_forwards_where_the_phone_may_not_dial(number, rule):
    snapshot = build_snapshot(1, pbx(general={"country": "DE", "outbound_trunk": "out"}, trunks=[OUT]))
    with pytest.raises(FeatureRefused, match=rule) as refused:
        decide_features(snapshot, None, "1001", wish(no_answer=number), 1.0, "x")
    assert refused.value.field == "forward_no_answer"


GUARDED = {
    "general": {"country": "DE", "outbound_trunk": "out", "toll_guard": {"denied_prefixes": ["+49666*"]}},
    "trunks": [OUT, {"name": "far", "hosts": ["192.0.2.2"], "toll_guard": {"countries": ["DE", "CH"]}}],
    "outbound_routes": [
        {"name": "pin", "patterns": ["0700*"], "trunks": ["out"], "pin": "4711"},
        {"name": "help", "patterns": ["0110"], "trunks": ["out"], "emergency": True},
        {"name": "shut", "patterns": ["0800*"], "trunks": ["out"], "schedule": "never"},
        {"name": "near", "countries": ["FR", "CH"], "trunks": ["far"]},
        {"name": "boss", "patterns": ["0305*"], "trunks": ["out"], "permission": "international"},
    ],
    "schedules": [{"name": "never"}],
    "endpoints": [
        {**TWO[0], "permissions": ["national"]},
        {**TWO[1], "permissions": ["international"], "toll_guard": {"allowed_prefixes": ["+49900*"]}},
        {"extension": "1003", "secret": SECRET, "permissions": ["international"], "outbound_routes": ["near"]},
    ],
}


@pytest.mark.parametrize(
    ("extension", "number", "rule"),
    [
        ("1001", "09001234567", "toll guard refuses it: 09001234567 is a premium number"),
        ("1002", "09001234567", ""),
        ("1002", "0666123", "pbx must not dial"),
        ("1002", "0033155501234", "trunk/far must not dial to FR"),
        ("1002", "0041445550100", ""),
        ("1001", "0041445550100", "route near needs the permission international"),
        ("1001", "030555", "route boss needs the permission international"),
        ("1002", "030555", ""),
        ("1003", "030555", "route boss is not for this endpoint"),
        ("1003", "089555", "no outbound route of this endpoint"),
        ("1002", "0700555", "route pin needs a PIN"),
        ("1002", "0110", "must not be an emergency number"),
        ("1001", "0800555", ""),
    ],
)
def test_a_forward_is_judged_as_if_the_phone_dialled_it_at_any_time(extension, number, rule):
    snapshot = build_snapshot(1, pbx(**GUARDED))
    if not rule:
        assert decide_features(snapshot, None, extension, wish(busy=number), 1.0, "x").busy == number
        return
    with pytest.raises(FeatureRefused, match=rule):
        decide_features(snapshot, None, extension, wish(busy=number), 1.0, "x")


def test_configured_numbers_have_to_pass_the_toll_guard():
    premium, allowed = "09001234567", {"premium": True}
    endpoint = {**TWO[0], "forward_busy": premium, "follow_me": [{"number": premium}, {"number": "0301234"}]}
    member = {"name": "shop", "members": [{"external": premium}], "fallback": {"hangup": "busy"}}
    queue = {"name": "sales", "outside_members": [{"number": premium}], "fallback": {"hangup": "busy"}}
    rest = {"general": {"country": "DE", "outbound_trunk": "out"}, "trunks": [OUT]}
    rule = "the toll guard refuses it: 09001234567 is a premium number"
    found = problems(endpoints=[endpoint], ring_groups=[member], queues=[queue], **rest)
    assert sorted(found) == [
        ("endpoints[0].follow_me[0].number", rule),
        ("endpoints[0].forward_busy", rule),
        ("queues[0].outside_members[0].number", rule),
        ("ring_groups[0].members[0].external", rule),
    ]
    assert problems(endpoints=[{**endpoint, "toll_guard": allowed}], **rest) == []
    # One of the trunks lets it out: the call finds out which it takes.
    second = {"name": "far", "hosts": ["192.0.2.2"], "toll_guard": {"allowed_prefixes": ["+49900*"]}}
    rest["trunks"] = [OUT, second]
    assert problems(endpoints=[endpoint], queues=[queue], **rest) == []
    member["members"] = [{"external": premium, "trunk": "out"}]
    assert problems(ring_groups=[member], **rest) == [("ring_groups[0].members[0].external", rule)]


def test_astdb_has_what_holds_and_nothing_of_phones_that_simply_ring():
    configured = {**TWO[0], "voicemail_on": ["busy"], "follow_me": [{"number": "03055501", "ring_time_s": 9}]}
    found = entries(Features(extension="1002", unavailable="1001"), endpoints=[configured, TWO[1]])
    assert found["tandem-endpoint", "1001"] == "25,,internal,b"
    assert found["tandem-endpoint", "1002"] == "25,,internal"
    assert ("tandem-forward", "1001") not in found
    assert found["tandem-forward", "1002"] == "0,,,,1001"
    assert (found["tandem-follow", "1001"], found["tandem-follow", "1001/1"]) == ("1", "03055501,9,1")


def test_astdb_has_codes_speed_dials_and_groups():
    group = {
        "name": "shop", "strategy": "memory-hunt", "caller_prefix": "Shop:", "members": [{"endpoint": "1001"}, {"external": "03055501", "confirm": False}],
        "fallback": {"hangup": "busy"},
    }  # fmt: skip
    found = entries(ring_groups=[group], general={"speed_dials": {"7": "1002"}, "forward_busy_code": ""})
    assert (found["tandem-code", "*78"], found["tandem-code", "lengths"]) == ("dnd", "3&2")
    assert ("tandem-code", "*90") not in found
    assert found["tandem-speed", "7"] == "1002"
    assert found["tandem-group", "shop"] == "memoryhunt,20,2,1,"
    assert found["tandem-group", "shop/prefix"] == "Shop:"
    assert (found["tandem-group", "shop/1"], found["tandem-group", "shop/2"]) == (
        "endpoint,1001",
        "external,03055501,,0",
    )
    assert found["tandem-group", "shop/then"] == "tandem-enter,hangup,1(17,0,,,,)"


@pytest.mark.parametrize(
    ("objects", "path"),
    [
        ({"endpoints": [{**TWO[0], "forward_always": "1001"}]}, "endpoints[0].forward_always"),
        ({"endpoints": [{**TWO[0], "forward_busy": "112"}]}, "endpoints[0].forward_busy"),
        ({"endpoints": [{**TWO[0], "forward_busy": "*45"}]}, "endpoints[0].forward_busy"),
        ({"endpoints": [{**TWO[0], "follow_me": [{"number": "911"}]}]}, "endpoints[0].follow_me[0].number"),
        ({"general": {"speed_dials": {"1": "*45"}}}, "general.speed_dials.1"),
        ({"general": {"forward_always_code": "*4"}}, "general.forward_always_code"),
        ({"ring_groups": [{"name": "g", "members": [{}], "fallback": {"hangup": 16}}]}, "ring_groups[0].members[0]"),
        ({"ring_groups": [{"name": "g", "members": [{"endpoint": "9"* 4}], "fallback": {"hangup": 16}}]}, "ring_groups[0].members[0].endpoint"),
        ({"ring_groups": [{"name": "g", "members": [{"endpoint": "1001"}] * 2, "fallback": {"hangup": 16}}]}, "ring_groups[0].members[1]"),
        ({"ring_groups": [{"name": "g", "members": [{"external": "0305", "trunk": "x"}], "fallback": {"hangup": 16}}]}, "ring_groups[0].members[0].trunk"),
        ({"ring_groups": [{"name": "g", "members": [{"endpoint": "1001"}], "fallback": {"ring_group": "g"}}]}, "ring_groups[0]"),
    ],
)  # fmt: skip
def test_what_does_not_fit_together_is_named(objects, path):
    assert path in [found for found, _ in problems(**objects)]


def test_queues_leave_by_one_key_and_their_texts_have_only_what_is_set():
    plain = {"name": "plain", "fallback": {"hangup": 16}}
    full = {
        **plain, "name": "full", "announce_hold_time": "once", "periodic_prompts": ["beep", "tandem/welcome"], "periodic_every_s": 30, "autopause": "all",
        "ring_in_use": True, "report_hold_time": True, "member_delay_s": 2, "recording": True, "exit_key": "*", "exit": {"endpoint": "1001"},
    }  # fmt: skip
    whole = pbx(queues=[plain, full])
    assert not check_pbx(whole)
    target = RenderTarget(agi_url="agi://127.0.0.1:4573", recordings_dir="/r", dialplan_dir="/d", sounds_dir="/s")
    sections = {
        it.name: dict(it.options) for it in read_sections(render(build_snapshot(1, whole), target)["queues.conf"])
    }
    assert {"context", "autopause", "periodic-announce", "memberdelay"}.isdisjoint(sections["plain"])
    wanted = {
        "announce-holdtime": "once", "periodic-announce": "beep,/s/welcome", "periodic-announce-frequency": "30", "autopause": "all", "ringinuse": "yes",
        "reportholdtime": "yes", "memberdelay": "2", "context": "tandem-queue-exit-star",
    }  # fmt: skip
    assert {name: sections["full"][name] for name in wanted} == wanted
    found = entries(queues=[plain, full])
    assert found["tandem-queue", "full/exit"] == "tandem-enter,endpoint,1(1001,0,,,,)"
    assert found["tandem-queue", "full/recording"] == "yes"
    assert [path for path, _ in problems(queues=[{**plain, "exit_key": "1"}])] == ["queues[0].exit"]
