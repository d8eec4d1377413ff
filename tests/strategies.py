"""Hypothesis strategies for valid PBXes and hostile texts, for every room's property tests."""

from datetime import UTC, datetime
from typing import get_args

from hypothesis import strategies as st

from tandem.domain import destinations as d
from tandem.domain import entities as e
from tandem.domain import fields as f
from tandem.domain import phones as p
from tandem.domain.dialling import find_region
from tandem.domain.hangup_causes import HANGUP_CAUSE_BY_NAME
from tandem.domain.references import RESERVED_NAMES

LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
DIGITS = "0123456789"
COUNTRIES = ("DE", "US", "IT")
WIDEN = e.PenaltyRule(name="widen", changes=(e.PenaltyChange(after_s=30, max_penalty=5),))
# Everything that means something to .conf files, AGI, AMI, the dialplan, YAML, SQL or a shell.
HOSTILE = [
    ";", "[", "]", "#include", "=>", "${EXTEN}", "$[1+1]", "\\", "\\n", '"', "'", ",", "|", "&", "<", ">", "(", ")", "{", "}",
    "%", "`", ":", " ", "  ", "- ", "!", "*", "@", "?", "~", "no", "null", "017", "1e3", "0x1F", "12:30", "é", "漢", "😀", "ß", "\u0301",
]  # fmt: skip

names = st.builds(str.__add__, st.sampled_from(LETTERS), st.text(LETTERS + DIGITS + "_-", max_size=12)).filter(
    lambda name: all(name.lower() not in reserved for reserved in RESERVED_NAMES.values())
)
# Valid in a Text field and as nasty as that allows.
hostile_texts = (
    st.lists(st.one_of(st.sampled_from(HOSTILE), st.characters(codec="utf-8").filter(str.isprintable)), max_size=8)
    .map("".join)
    .map(lambda text: text.encode()[:79].decode(errors="ignore").strip())
)
# Never valid: an end of line or another control character somewhere.
control_texts = st.tuples(
    st.text("ab;[]", max_size=5), st.sampled_from("\r\n\0\t\x1b\x7f\x85\u2028\u2029"), st.text("ab:= ", max_size=5)
).map("".join)
secrets = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=8, max_size=20)
prompts = st.lists(st.sampled_from(["vm-press", "digits/1", "custom/welcome", "x_1.2"]), min_size=1, max_size=3).map(
    tuple
)
phone_numbers = st.builds(str.__add__, st.sampled_from(["", "+"]), st.text(DIGITS, min_size=5, max_size=15))
# None that the toll guard refuses, in no country of `pbxes`.
outside_numbers = phone_numbers.filter(
    lambda number: number not in {"112", "911"} and not any(find_region(number, it).is_premium for it in COUNTRIES)
)
caller_patterns = st.builds(str.__add__, phone_numbers, st.sampled_from(["", "*"]))
languages = st.sampled_from(["en", "de", "pt_BR", "no"])
zones = st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Asia/Kathmandu"])
codecs = st.lists(st.sampled_from(get_args(f.Codec)), min_size=1, max_size=3, unique=True).map(tuple)
times_of_day = st.integers(0, 24 * 60 - 1).map(lambda minute: f"{minute // 60:02}:{minute % 60:02}")
instants = st.datetimes(datetime(2024, 1, 1), datetime(2030, 12, 31)).map(lambda at: at.replace(tzinfo=UTC))  # noqa: DTZ001

open_hours = st.builds(
    e.OpenHours,
    days=st.lists(st.sampled_from(f.WEEKDAYS), min_size=1, max_size=9).map(tuple),
    start=times_of_day,
    end=st.one_of(times_of_day, st.just("24:00")),
)


@st.composite
def schedules(draw, name="office"):
    country = draw(st.sampled_from([None, ("DE", None), ("DE", "BE"), ("US", "NY")]))
    return e.Schedule(
        name=name,
        description=draw(hostile_texts),
        time_zone=draw(st.none() | zones),
        hours=tuple(draw(st.lists(open_hours, max_size=4))),
        holidays=tuple(draw(st.lists(st.sampled_from(["12-24", "02-29", "2026-06-01"]), max_size=2))),
        holiday_country=country and country[0],
        holiday_subdivision=country and country[1],
    )


def unique_names(max_size=3):
    return st.lists(names, max_size=max_size, unique_by=str.lower)


# DID numbers as documents have them, of all four kinds.
exact_dids = phone_numbers | st.sampled_from(["support", "+x25"])
did_patterns = st.lists(
    st.sampled_from([*DIGITS, "X", "Z", "N", "[2-5]", "[19]", "-"]), min_size=1, max_size=6
).flatmap(lambda parts: st.sampled_from(["", ".", "!"]).map(lambda end: "_1" + "".join(parts) + end))
did_numbers = st.one_of(exact_dids, phone_numbers.map(lambda number: number + "*"), did_patterns, st.just("default"))


# A quarter of the objects has what may be left out.
seldom = st.sampled_from([False, False, False, True])


@st.composite
def pbxes(draw):
    """A PBX that `check_pbx` accepts: each object leads only to objects made before it."""
    numbers = iter(
        draw(
            st.lists(st.text(DIGITS, min_size=2, max_size=8), min_size=18, max_size=18, unique=True).filter(
                lambda found: not {"112", "911"} & set(found)
            )
        )
    )

    def number_or_none():
        return next(numbers) if draw(seldom) else None

    trunk_names, box_numbers = (
        draw(unique_names(2)),
        draw(st.lists(st.text(DIGITS, min_size=2, max_size=6), max_size=2, unique=True)),
    )
    schedule_names = draw(unique_names(2))
    general = e.General(
        country=draw(st.sampled_from(COUNTRIES)),
        language=draw(languages),
        time_zone=draw(zones),
        outbound_trunk=draw(st.sampled_from([None, *trunk_names])),
        emergency_trunk=draw(st.sampled_from([None, *trunk_names])),
        allowed_contexts=("lobby", "from-internal"),
        speed_dials=draw(st.dictionaries(st.text(DIGITS, min_size=1, max_size=4), phone_numbers, max_size=2)),
        blocked_callers=tuple(draw(st.lists(caller_patterns, max_size=2))),
    )
    trunks = tuple(draw(trunk(name)) for name in trunk_names)
    boxes = tuple(draw(voicemail_box(mailbox)) for mailbox in box_numbers)
    endpoints = tuple(draw(endpoint(next(numbers), box_numbers)) for _ in range(draw(st.integers(0, 3))))
    leads = [d.HangupDestination(hangup=draw(st.sampled_from(sorted(HANGUP_CAUSE_BY_NAME.values()))))]
    leads.append(d.DialplanDestination(dialplan="lobby,100"))
    leads += [d.EndpointDestination(endpoint=endpoint.extension) for endpoint in endpoints]
    leads += [d.VoicemailDestination(voicemail=box, instructions=told) for box in box_numbers for told in (True, False)]
    leads += [d.ExternalDestination(external=draw(phone_numbers), trunk=name) for name in trunk_names]

    def lead():
        found = draw(st.sampled_from(leads))
        if endpoints and draw(seldom):
            found = d.AgentDestination(agent=draw(st.sampled_from(endpoints)).extension, unavailable=found)
        if schedule_names and draw(seldom):
            name = draw(st.sampled_from(schedule_names))
            return d.ScheduleDestination(schedule=name, open=found, closed=draw(st.sampled_from(leads)))
        return found

    def lead_or_none():
        return lead() if draw(seldom) else None

    announcements = []
    for name in draw(unique_names(2)):
        text, number = draw(hostile_texts), number_or_none()
        announcements.append(
            e.Announcement(name=name, description=text, extension=number, prompts=draw(prompts), then=lead())
        )
        leads.append(d.AnnouncementDestination(announcement=name))
    groups = []
    for name in draw(unique_names(2)) if endpoints else ():
        members = draw(st.lists(st.sampled_from(endpoints), min_size=1, max_size=2, unique=True))
        groups.append(
            e.RingGroup(
                name=name,
                description=draw(hostile_texts),
                extension=number_or_none(),
                strategy=draw(st.sampled_from(get_args(p.GroupStrategy))),
                members=(
                    *(p.GroupMember(endpoint=member.extension) for member in members),
                    *(
                        p.GroupMember(external=number, trunk=draw(st.sampled_from([None, *trunk_names])))
                        for number in draw(st.lists(outside_numbers, max_size=2, unique=True))
                    ),
                ),
                follow_forwards=draw(st.booleans()),
                caller_prefix=draw(hostile_texts),
                music=draw(st.none() | names),
                fallback=lead(),
            )
        )
        leads.append(d.RingGroupDestination(ring_group=name))
    conferences = []
    for name in draw(unique_names(2)):
        conferences.append(
            e.Conference(
                name=name,
                description=draw(hostile_texts),
                extension=number_or_none(),
                pin=draw(st.none() | st.text(DIGITS, min_size=4, max_size=6)),
                moderator_pin=draw(st.sampled_from([None, "0123456789"])),
                max_members=draw(st.integers(0, 500)),
                recording=draw(st.booleans()),
                announce_joins=True,
                prompts=draw(st.sampled_from([(), ("beep", "tandem/welcome")])),
                join_prompt=draw(st.sampled_from([None, "tandem/gong"])),
            )
        )
        leads.append(d.ConferenceDestination(conference=name))
    leads.append(d.DirectoryDestination(directory="last"))
    queues = []
    foreign = st.lists(st.from_regex(r"\A\+49[1-9]{3,9}\Z"), max_size=2, unique=True)
    outside_members = foreign.map(lambda found: tuple(e.OutsideMember(number=number) for number in found))
    for name in draw(unique_names(2)):
        members = draw(st.lists(st.sampled_from(endpoints), max_size=2, unique=True)) if endpoints else []
        queues.append(
            e.Queue(
                name=name,
                description=draw(hostile_texts),
                extension=number_or_none(),
                strategy=draw(st.sampled_from(get_args(f.QueueStrategy))),
                members=tuple(
                    e.QueueMember(endpoint=member.extension, penalty=draw(st.integers(0, 9))) for member in members
                ),
                outside_members=draw(outside_members) if general.outbound_trunk else (),
                penalty_rule=draw(st.sampled_from([None, WIDEN.name])),
                absent_when=tuple(draw(st.sets(st.sampled_from(get_args(f.AbsentWhen)), min_size=1))),
                max_wait_s=draw(st.integers(5, 86400)),
                max_callers=draw(st.integers(0, 50)),
                announce_position=draw(st.booleans()),
                periodic_prompts=draw(st.just(()) | prompts),
                autopause=draw(st.sampled_from(["no", "yes", "all"])),
                callback=draw(
                    st.none()
                    | st.builds(
                        e.QueueCallback,
                        key=st.sampled_from("0123456789*#"),
                        number=st.sampled_from(["caller", "confirm", "enter"]),
                        prompts=st.just(()) | prompts,
                        schedule=st.sampled_from([None, *schedule_names]),
                    )
                ),
                recording=draw(st.booleans()),
                priority=draw(st.integers(0, 99)),
                join_when_empty=draw(st.booleans()),
                leave_when_empty=draw(st.booleans()),
                schedule=draw(st.sampled_from([None, *schedule_names])),
                fallback=lead(),
                closed=lead_or_none(),
                timeout=lead_or_none(),
                full=lead_or_none(),
                join_empty=lead_or_none(),
                leave_empty=lead_or_none(),
            )
        )
        leads.append(d.QueueDestination(queue=name))
    menus = []
    for name in draw(unique_names(2)):
        keys = draw(st.lists(st.text(DIGITS + "*#", min_size=1, max_size=3), max_size=4, unique=True))
        menus.append(
            e.Menu(
                name=name,
                description=draw(hostile_texts),
                extension=number_or_none(),
                prompts=draw(prompts),
                options={key: lead() for key in keys},
                barge_in=draw(st.booleans()),
                direct_dial=draw(st.booleans()),
                timeout_s=draw(st.sampled_from([1.0, 2.5, 60.0])),
                inter_digit_timeout_s=draw(st.sampled_from([0.5, 3.0, 1.1])),
                invalid_retries=draw(st.integers(0, 9)),
                invalid=lead(),
                timeout_retries=draw(st.integers(0, 9)),
                timeout=lead(),
                fallback=lead(),
            )
        )
        leads.append(d.MenuDestination(menu=name))
    dids = []
    for number in draw(st.lists(did_numbers, max_size=4, unique_by=_did_identity)):
        dids.append(
            e.Did(
                number=number,
                description=draw(hostile_texts),
                destination=lead(),
                active=draw(st.booleans()),
                language=draw(st.none() | languages),
                recording=draw(st.sampled_from(get_args(f.Recording))),
                caller_id_cleanup=draw(st.sampled_from(["", "R10", "L1", "R10 L1", "R3L0"])),
                blocked_callers=tuple(draw(st.lists(caller_patterns, max_size=2))),
                priority=draw(st.integers(0, 99)),
            )
        )
        leads.append(d.DidDestination(did=number))
    return e.Pbx(
        general=general,
        trunks=trunks,
        endpoints=endpoints,
        voicemail_boxes=boxes,
        schedules=tuple(draw(schedules(name=name)) for name in schedule_names),
        announcements=tuple(announcements),
        ring_groups=tuple(groups),
        conferences=tuple(conferences),
        page_groups=tuple(
            e.PageGroup(name="floor", extension=next(numbers), members=(endpoint.extension,), prompt="tandem/gong")
            for endpoint in endpoints[:1]
        ),
        menus=tuple(menus),
        music_classes=(e.MusicClass(name="waltzes", sounds=("tandem/waltz", "tandem/second-waltz"), order="random"),),
        penalty_rules=(WIDEN,),
        queues=tuple(queues),
        dids=tuple(dids),
        expect=tuple(draw(expectation(trunk_names, lead)) for _ in range(draw(st.integers(0, 1)))),
    )


@st.composite
def expectation(draw, trunk_names, lead):
    """A route test, whether it passes or not."""
    destination = lead()
    if isinstance(destination, d.ScheduleDestination | d.DidDestination):
        destination = d.HangupDestination()
    return e.Expectation(
        did=draw(phone_numbers),
        caller=draw(st.none() | phone_numbers),
        trunk=draw(st.sampled_from([None, *trunk_names])),
        at=draw(st.none() | st.sampled_from(["2026-12-24T10:30", "2026-12-24 10:30:15", "2026-07-01T00:00+02:00"])),
        keys=tuple(draw(st.lists(st.text(DIGITS + "*#", max_size=3), max_size=2))),
        destination=destination,
    )


def _did_identity(number):
    return number.removeprefix("_").replace("+", "").replace("-", "") if number.startswith("_") else number.lstrip("+")


@st.composite
def trunk(draw, name):
    registers = draw(st.booleans())
    return e.Trunk(
        name=name,
        description=draw(hostile_texts),
        authentication="registration" if registers else "ip",
        hosts=tuple(
            draw(st.lists(st.sampled_from(["sip.carrier.example", "192.0.2.10:5070"]), min_size=1, max_size=2))
        ),
        match=draw(st.sampled_from([(), ("192.0.2.0/24",), ("2001:db8::1",)])),
        username=draw(hostile_texts.filter(bool)) if registers else None,
        secret=draw(secrets) if registers else None,
        from_user=draw(st.sampled_from([None, "+493023125000"])),
        from_domain=draw(st.sampled_from([None, "carrier.example"])),
        codecs=draw(codecs),
        numbers=draw(st.sampled_from(["as-sent", "national"])),
        country=draw(st.sampled_from([None, "DE", "AU"])),
    )


@st.composite
def endpoint(draw, extension, box_numbers):
    elsewhere = outside_numbers.filter(lambda number: number != extension)
    return e.Endpoint(
        extension=extension,
        name=draw(hostile_texts),
        secret=draw(secrets),
        codecs=draw(codecs),
        voicemail=draw(st.sampled_from([None, *box_numbers])),
        voicemail_on=draw(st.sampled_from([("busy", "no-answer", "unavailable"), ("no-answer",), ()])),
        ring_time_s=draw(st.integers(5, 300)),
        do_not_disturb=draw(seldom),
        forward_always=draw(st.none() | elsewhere),
        forward_busy=draw(st.none() | elsewhere),
        follow_me=tuple(
            p.FollowMeStep(number=number, confirm=draw(seldom)) for number in draw(st.lists(elsewhere, max_size=2))
        ),
        language=draw(st.none() | languages),
        permissions=tuple(draw(st.lists(st.sampled_from(get_args(f.Permission)), max_size=3, unique=True))),
    )


@st.composite
def voicemail_box(draw, mailbox):
    return e.VoicemailBox(
        mailbox=mailbox,
        name=draw(hostile_texts.map(lambda text: text.replace(",", "").replace("|", "").strip())),
        pin=draw(st.text(DIGITS, min_size=4, max_size=6)),
        email=draw(st.sampled_from([None, "desk@workshop.example", "a'b`c@x.example"])),
        language=draw(st.none() | languages),
        time_zone=draw(st.none() | zones),
    )
