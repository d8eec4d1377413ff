"""Rendered files: readable (golden), deterministic, and whatever an object holds comes back or is refused by name."""

import os
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from confgen.render import GUEST_FILES, MODULE_OF_FILE, RenderTarget, Transport, body_of, render
from confgen.values import ValueUnrepresentable
from tandem.domain.destinations import HangupDestination
from tandem.domain.entities import Endpoint, General, OutsideMember, Pbx, Queue, Trunk, VoicemailBox
from tandem.domain.snapshot import build_snapshot, name_of

ROOT = Path(__file__).parents[2]
GOLDEN = Path(__file__).parent / "golden"
OWNER = RenderTarget(
    mode="owner",
    agi_url="agi://127.0.0.1:4573",
    recordings_dir="/var/spool/asterisk/monitor",
    sounds_dir="/var/lib/tandem-sounds",
    dialplan_dir="/usr/share/tandem/dialplan",
    transports=(
        Transport(name="udp", external_address="203.0.113.1", local_networks=("10.0.0.0/8",)),
        Transport(name="tcp", protocol="tcp"),
        Transport(
            name="wss",
            protocol="wss",
            bind="0.0.0.0:8089",
            certificate="/etc/asterisk/pbx.crt",
            key="/etc/asterisk/pbx.key",
            max_sessions=100,
        ),
    ),
    trunk_transport="udp",
)
GUEST = RenderTarget(
    agi_url="agi://127.0.0.1:4573",
    recordings_dir="/var/spool/asterisk/monitor",
    sounds_dir="/var/lib/tandem-sounds",
    dialplan_dir="/usr/share/tandem/dialplan",
)
NOTHING = HangupDestination()


class TestGolden:
    """After a wanted change: TANDEM_WRITE_GOLDEN=1 pytest tests/confgen, then read the diff."""

    @pytest.mark.parametrize(("folder", "target"), [("owner", OWNER), ("guest", GUEST)])
    def test_golden(self, small_pbx, folder, target):
        rendered = render(build_snapshot(7, small_pbx), target)
        if os.environ.get("TANDEM_WRITE_GOLDEN"):
            (GOLDEN / folder).mkdir(parents=True, exist_ok=True)
            for name, text in rendered.items():
                (GOLDEN / folder / name).write_text(text)
        expected = {path.name: path.read_text() for path in (GOLDEN / folder).glob("*.conf")}
        assert rendered == expected

    def test_music_that_is_an_object_is_no_folder(self, small_pbx):
        (first, *others) = small_pbx.queues
        pbx = replace(
            small_pbx, queues=(replace(first, music="Waltzes"), *(replace(one, music="jazz") for one in others))
        )
        text = render(build_snapshot(1, pbx), OWNER)["musiconhold.conf"]
        assert [line for line in text.splitlines() if line.startswith("[")] == ["[waltzes]", "[default]", "[jazz]"]

    def test_files_of_modes(self, small_pbx):
        assert set(render(build_snapshot(1, small_pbx), OWNER)) == set(MODULE_OF_FILE)
        assert set(render(build_snapshot(1, small_pbx), GUEST)) == set(GUEST_FILES)

    def test_the_door_of_browsers_is_open_for_browsers_alone(self, small_pbx):
        def read(pbx, target=OWNER):
            return [line for line in render(build_snapshot(1, pbx), target)["http.conf"].splitlines() if "tls" in line]

        browser = Endpoint(extension="1003", secret="correct-horse", webrtc=True)
        with_browser = replace(small_pbx, endpoints=(*small_pbx.endpoints, browser))
        assert read(small_pbx) == []
        assert read(with_browser, replace(OWNER, transports=OWNER.transports[:1])) == []
        assert read(with_browser) == [
            "tlsenable = yes",
            "tlsbindaddr = 0.0.0.0:8089",
            "tlscertfile = /etc/asterisk/pbx.crt",
            "tlsprivatekey = /etc/asterisk/pbx.key",
            "tlsdisablev1 = yes",
            "tlsdisablev11 = yes",
        ]

    def test_guest_owns_no_general_section(self, small_pbx):
        for text in render(build_snapshot(1, small_pbx), GUEST).values():
            assert "[general]" not in text
            assert "type = transport" not in text

    def test_order_of_the_document_does_not_matter(self, small_pbx):
        turned = replace(
            small_pbx,
            endpoints=small_pbx.endpoints[::-1],
            trunks=small_pbx.trunks[::-1],
            queues=small_pbx.queues[::-1],
            voicemail_boxes=small_pbx.voicemail_boxes[::-1],
        )
        assert render(build_snapshot(7, turned), OWNER) == render(build_snapshot(7, small_pbx), OWNER)

    def test_only_the_header_names_the_revision(self, small_pbx):
        old, new = (render(build_snapshot(revision, small_pbx), OWNER) for revision in (7, 8))
        assert old != new
        assert {name: body_of(text) for name, text in old.items()} == {
            name: body_of(text) for name, text in new.items()
        }
        assert all(body_of(text) for text in old.values())


def section(categories, name, kind=None):
    """The section of that name (and PJSIP type)."""
    return next(
        found
        for found in categories
        if found.name == name and not found.is_template and (kind is None or found.get("type") == kind)
    )


class TestMeaning:
    """What the files say, read by the model of Asterisk's parser."""

    def read(self, read_conf, pbx, file, target=OWNER):
        return read_conf(render(build_snapshot(1, pbx), target)[file])[0]

    def test_endpoint(self, read_conf, small_pbx):
        pjsip = self.read(read_conf, small_pbx, "pjsip.conf")
        endpoint = section(pjsip, "1001", "endpoint")
        assert endpoint.get("context") == "tandem-from-endpoint"
        assert endpoint.get("identify_by") == "username"
        assert endpoint.get("callerid") == r'"Ann \"Reception\"; ground floor" <1001>'
        assert endpoint.get("set_var") == "TANDEM_PERMISSIONS=internal"
        assert endpoint.get("language") == "de"
        assert section(pjsip, "1001", "auth").get("password") == "battery=staple"
        assert section(pjsip, "1001", "aor").get("mailboxes") == "1001@tandem"
        assert section(pjsip, "1002", "endpoint").get("callerid") == "<1002>"
        assert section(pjsip, "1002", "endpoint").get("language") == "en"
        assert section(pjsip, "1002", "endpoint").get("set_var") == "TANDEM_PERMISSIONS=internal-national"

    def test_trunk_by_address(self, read_conf, small_pbx):
        pjsip = self.read(read_conf, small_pbx, "pjsip.conf")
        trunk = section(pjsip, "carrier", "endpoint")
        assert trunk.get("context") == "tandem-from-trunk"
        assert trunk.get("identify_by") == "ip"
        # An AOR for each host, in order: that is the order in which they are tried.
        assert trunk.get("aors") == "carrier,carrier.2"
        assert section(pjsip, "carrier", "aor").get("contact") == "sip:192.0.2.10:5080"
        assert section(pjsip, "carrier.2", "aor").get("contact") == "sip:192.0.2.11"
        matches = [value for key, value in section(pjsip, "carrier", "identify").variables if key == "match"]
        assert matches == ["192.0.2.10", "192.0.2.11"]
        assert not [found for found in pjsip if found.name == "carrier" and ("type", "registration") in found.variables]

    def test_trunk_that_registers(self, read_conf, small_pbx):
        pjsip = self.read(read_conf, small_pbx, "pjsip.conf")
        registration = section(pjsip, "backup", "registration")
        assert registration.get("client_uri") == "sip:4930%20555@sip.example.net"
        assert registration.get("outbound_auth") == "backup"
        assert registration.get("transport") == "udp"
        assert section(pjsip, "backup", "auth").get("username") == "4930 555"
        assert section(pjsip, "backup", "auth").get("password") == "cheese;and-wine"
        matches = [value for key, value in section(pjsip, "backup", "identify").variables if key == "match"]
        assert matches == ["198.51.100.0/24", "203.0.113.7:5060"]

    def test_transport_is_left_to_pjsip_without_a_name(self, small_pbx):
        assert "transport" not in render(build_snapshot(1, small_pbx), GUEST)["pjsip.conf"]

    def test_nobody_is_anonymous(self, small_pbx):
        for target in (OWNER, GUEST):
            for name, text in render(build_snapshot(1, small_pbx), target).items():
                assert "[anonymous]" not in text, name
        assert (
            "endpoint_identifier_order = ip,username\n"
            in render(build_snapshot(1, small_pbx), OWNER)["pjsip_transport.conf"]
        )

    def test_queue(self, read_conf, small_pbx):
        queues = self.read(read_conf, small_pbx, "queues.conf")
        sales, support = section(queues, "sales"), section(queues, "Support")
        for name in ("setqueuevar", "setqueueentryvar", "setinterfacevar", "autofill"):
            assert sales.get(name) == "yes"
        assert (sales.get("joinempty"), sales.get("leavewhenempty")) == ("strict", "strict")
        assert (support.get("joinempty"), support.get("leavewhenempty")) == ("yes", "no")
        assert (sales.get("announce-position"), sales.get("announce-frequency")) == ("yes", "45")
        assert (support.get("strategy"), support.get("maxlen"), support.get("musicclass")) == ("ringall", "10", "jazz")
        assert section(queues, "general").get("persistentmembers") == "yes"
        assert not [key for queue in (sales, support) for key, _ in queue.variables if key == "member"]

    def test_each_option_of_a_queue(self, read_conf, small_pbx):
        whole = replace(
            small_pbx.queues[0], penalty_rule="widen", penalty_members_limit=3, timeout_restart=True, wait_ends_ring=True,
            announce_min_s=20, announce_only_up=True, announce_position_limit=5, announce_beyond_limit=True, announce_to_first=True,
            announce_hold_time="once", announce_round_s=30, periodic_prompts=("a", "tandem/b"), periodic_after_s=7, periodic_random=True,
            periodic_from_end=True, caller_prompt="c", member_prompt="tandem/d", autopause="all", autopause_delay_s=9, autopause_busy=True,
            autopause_unavailable=True, absent_when=("unavailable", "in-use", "wrap-up", "penalty"),
        )  # fmt: skip
        some = replace(small_pbx.queues[1], announce_position=True, announce_position_limit=5, absent_when=("penalty",))
        conf = self.read(read_conf, replace(small_pbx, queues=(whole, some)), "queues.conf")
        found = {key: value for key, value in section(conf, "sales").variables}  # noqa: C416 - the last one counts
        assert found.items() >= {
            "defaultrule": "widen", "penaltymemberslimit": "3", "timeoutrestart": "yes", "timeoutpriority": "app", "min-announce-frequency": "20",
            "announce-position-only-up": "yes", "announce-position": "more", "announce-position-limit": "5", "announce-to-first-user": "yes",
            "announce-round-seconds": "30", "periodic-announce-startdelay": "7", "random-periodic-announce": "yes",
            "relative-periodic-announce": "yes", "queue-callerannounce": "c", "announce": "/var/lib/tandem-sounds/d", "autopause": "all",
            "autopausedelay": "9", "autopausebusy": "yes", "autopauseunavail": "yes",
            "joinempty": "inuse,unavailable,wrapup", "leavewhenempty": "inuse,unavailable,wrapup",
        }.items()  # fmt: skip
        found = section(conf, "Support")
        assert (found.get("announce-position"), found.get("joinempty")) == ("limit", "yes")

    def test_numbers_outside_are_static_members_of_a_queue(self, read_conf, small_pbx):
        members = (OutsideMember(number="+49305550", penalty=3), OutsideMember(number="0305551"))
        queues = tuple(replace(queue, outside_members=members) for queue in small_pbx.queues)
        conf = self.read(read_conf, replace(small_pbx, queues=queues), "queues.conf")
        assert [value for key, value in section(conf, "sales").variables if key == "member"] == [
            "Local/+49305550@tandem-outside-member/n,3,+49305550",
            "Local/0305551@tandem-outside-member/n,0,0305551",
        ]

    def test_voicemail(self, read_conf, small_pbx):
        voicemail = self.read(read_conf, small_pbx, "voicemail.conf")
        boxes, zones = section(voicemail, "tandem"), section(voicemail, "zonemessages")
        options = "language=de|tz=tandem-Europe/Berlin"
        assert boxes.get("1001") == f"4711,Ann; Reception,ann@example.net,,{options}"
        assert boxes.get("2000") == "0815,,,,language=en|tz=tandem-Europe/London"
        assert zones.get("tandem-Europe/London").startswith("Europe/London|")

    def test_globals(self, read_conf, small_pbx):
        text = render(build_snapshot(1, small_pbx), OWNER)["extensions.conf"]
        categories, directives = read_conf(text)
        found = section(categories, "globals")
        assert found.get("TANDEM_AGI") == "agi://127.0.0.1:4573"
        assert found.get("TANDEM_EMERGENCY") == "112|110"
        assert found.get("TANDEM_EMERGENCY_TRUNK") == "carrier"
        assert (found.get("TANDEM_COUNTRY_CODE"), found.get("TANDEM_INTERNATIONAL_PREFIX")) == ("49", "00")
        assert directives == ['#include "/usr/share/tandem/dialplan/tandem-*.conf"']

    def test_globals_of_a_pbx_that_says_nothing(self, read_conf):
        found = section(self.read(read_conf, Pbx(), "extensions.conf"), "globals")
        assert found.get("TANDEM_COUNTRY_CODE") == ""
        assert found.get("TANDEM_OUTBOUND_TRUNK") == ""

    def test_signs_in_emergency_numbers_are_no_regular_expression(self, read_conf):
        found = section(
            self.read(read_conf, Pbx(general=General(emergency_numbers=("+1*2",))), "extensions.conf"), "globals"
        )
        assert found.get("TANDEM_EMERGENCY") == "[+]1[*]2"


TEXT = st.text(st.sampled_from(list(";\\=>[]#${}\"', |a1éB(!)-\n\t")) | st.characters(), max_size=40)


@st.composite
def hostile_pbx(draw):
    """A PBX with hostile text wherever an object takes text; what the entities refuse is not drawn."""
    secret = draw(st.text(st.sampled_from(list(";\\=>[]#${}\"', |a1é-")), min_size=8, max_size=40))
    name, description, box_name, username = draw(TEXT), draw(TEXT), draw(TEXT), draw(TEXT.filter(bool))
    try:
        return Pbx(
            endpoints=(Endpoint(extension="1001", name=name, secret=secret),),
            trunks=(
                Trunk(
                    name="t",
                    description=description,
                    authentication="registration",
                    hosts=("h.example",),
                    username=username,
                    secret=secret,
                ),
            ),
            voicemail_boxes=(VoicemailBox(mailbox="1001", name=box_name, pin="1234"),),
            queues=(Queue(name="q", description=description, fallback=NOTHING),),
        )
    except ValidationError:
        return None


PHONE = Endpoint(extension="1001", secret="12345678")
BOX = VoicemailBox(mailbox="10", pin="1234")


def forced(entity, **values):
    """A copy of an entity with values that its own class would refuse."""
    copy = replace(entity)
    for name, value in values.items():
        object.__setattr__(copy, name, value)
    return copy


class TestHostile:
    @given(pbx=hostile_pbx())
    def test_comes_back_or_is_refused(self, read_conf, pbx):
        if pbx is None:
            return
        try:
            rendered = render(build_snapshot(1, pbx), OWNER)
        except ValueUnrepresentable as error:
            refused = error
        else:
            refused = None
        if refused is not None:
            # Two fields of one object with the same value are both named.
            assert set(refused.path.split(" or ")) & {
                "endpoints.1001.name",
                "endpoints.1001.secret",
                "trunks.t.username",
                "trunks.t.secret",
                "voicemail_boxes.1001.name",
            }
            return
        plain = render(build_snapshot(1, PLAIN), OWNER)
        read = {name: read_conf(text) for name, text in rendered.items()}
        for name, text in plain.items():
            categories, directives = read[name]
            expected, expected_directives = read_conf(text)
            # Nothing of a hostile value became a section, a key or a directive.
            assert [found.name for found in categories] == [found.name for found in expected]
            assert [[key for key, _ in found.variables] for found in categories] == [
                [key for key, _ in found.variables] for found in expected
            ]
            assert directives == expected_directives
        pjsip = read["pjsip.conf"][0]
        assert section(pjsip, "1001", "auth").get("password") == pbx.endpoints[0].secret
        assert section(pjsip, "t", "auth").get("password") == pbx.trunks[0].secret
        assert section(pjsip, "t", "auth").get("username") == pbx.trunks[0].username
        assert section(read["voicemail.conf"][0], "tandem").get("1001").split(",")[1] == pbx.voicemail_boxes[0].name

    @pytest.mark.parametrize(
        ("change", "path"),
        [
            ({"endpoints": (forced(PHONE, secret=" blanks around "),)}, "endpoints.1001.secret"),
            ({"endpoints": (forced(PHONE, name="é" * 40),)}, "endpoints.1001.name"),
            ({"voicemail_boxes": (forced(BOX, name="a,b"),)}, "voicemail_boxes.10.name"),
            ({"queues": (Queue(name="General", fallback=NOTHING),)}, "queues.General.name"),
            ({"queues": (Queue(name="a", fallback=NOTHING), Queue(name="A", fallback=NOTHING))}, "queues.a.name"),
        ],
    )
    def test_refusal_names_object_and_field(self, change, path):
        """The entities refuse most of this already; a row from elsewhere must not get through either."""
        snapshot = replace(
            build_snapshot(1, Pbx()),
            **{name: {name_of(entity): entity for entity in found} for name, found in change.items()},
        )
        with pytest.raises(ValueUnrepresentable) as caught:
            render(snapshot, OWNER)
        assert caught.value.path == path
        assert str(caught.value).startswith(f"{path}: must")

    @pytest.mark.parametrize(
        ("change", "path"),
        [
            ({"recordings_dir": "/a/${SHELL(id)}"}, "target.recordings_dir"),
            ({"dialplan_dir": '/a"'}, "target.dialplan_dir"),
        ],
    )
    def test_settings_too(self, change, path):
        with pytest.raises(ValueUnrepresentable) as caught:
            render(build_snapshot(1, Pbx()), replace(OWNER, **change))
        assert caught.value.path == path

    def test_what_is_missing_is_named(self):
        trunk = Trunk(name="t", authentication="registration", hosts=("h.example",))
        with pytest.raises(ValueUnrepresentable) as caught:
            render(build_snapshot(1, Pbx(trunks=(trunk,))), OWNER)
        assert caught.value.path.startswith("trunks.t")


PLAIN = Pbx(
    endpoints=(Endpoint(extension="1001", name="x", secret="12345678"),),
    trunks=(
        Trunk(
            name="t",
            authentication="registration",
            hosts=("h.example",),
            username="u",
            secret="12345678",
            description="x",
        ),
    ),
    voicemail_boxes=(VoicemailBox(mailbox="1001", pin="1234"),),
    queues=(Queue(name="q", fallback=NOTHING, description="x"),),
)
