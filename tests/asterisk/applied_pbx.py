"""A PBX whose configuration is changed, on a whole Tandem beside a real Asterisk; objects that no rule lets through; what an admin looks at."""

import dataclasses
import json

import pytest

from confgen.render import RenderTarget, Transport
from lab.pbx import ADMIN_FILES, LabPbx
from tandem.document import write_document
from tandem.domain.destinations import EndpointDestination, HangupDestination
from tandem.domain.entities import (
    Did,
    Endpoint,
    General,
    Menu,
    MusicClass,
    Pbx,
    Queue,
    QueueMember,
    Trunk,
    VoicemailBox,
)

NOTHING = HangupDestination()
PBX = Pbx(
    general=General(country="DE", language="de", time_zone="Europe/Berlin", outbound_trunk="carrier", allowed_contexts=("from-admin",)),
    trunks=(
        Trunk(name="carrier", hosts=("127.0.0.2:5060",), match=("127.0.0.2",)),
        Trunk(
            name="backup",
            authentication="registration",
            hosts=("127.0.0.5", "127.0.0.6"),
            match=("198.51.100.0/24", "203.0.113.7:5061"),
            username="4930;x",
            secret="cheese;and-wine",
            from_user="4930",
            from_domain="example.net",
        ),
    ),
    endpoints=(
        Endpoint(extension="1001", name='Ann "R"; x', secret="correct-horse", voicemail="1001"),
        Endpoint(extension="1002", secret="battery-staple", permissions=("internal", "national")),
    ),
    voicemail_boxes=(VoicemailBox(mailbox="1001", name="Ann", pin="4711", email="ann@example.net"),),
    queues=(
        Queue(name="sales", members=(QueueMember(endpoint="1001"),), fallback=NOTHING),
        Queue(name="support", strategy="ringall", announce_position=True, fallback=NOTHING),
    ),
    music_classes=(MusicClass(name="waltzes", sounds=("tandem/waltz", "tandem/second"), announcement="beep"),),
    menus=(Menu(name="main", prompts=("demo-congrats",), options={}, invalid=NOTHING, timeout=NOTHING, fallback=NOTHING),),
    dids=(Did(number="+4930100", destination=EndpointDestination(endpoint="1001")),),
)  # fmt: skip


def target(mode="guest"):
    transports = (Transport(name="udp", bind="203.0.113.99:5060"),) if mode == "owner" else ()
    return RenderTarget(
        mode=mode,
        agi_url="agi://127.0.0.1:4573",
        recordings_dir="/r",
        dialplan_dir="/d",
        transports=transports,
        trunk_transport="udp" if mode == "owner" else "",
    )


def plant(pbx, collection, index, **fields):
    """An object that no entity would let through: what a mistake of ours in a rule, or a newer Asterisk, would make of it."""
    entities = list(getattr(pbx, collection))
    entity = object.__new__(type(entities[index]))
    for field in dataclasses.fields(entity):
        object.__setattr__(entity, field.name, fields.get(field.name, getattr(entities[index], field.name)))
    entities[index] = entity
    return replace_unchecked(pbx, collection, tuple(entities))


def replace_unchecked(pbx, collection, entities):
    planted = object.__new__(Pbx)
    for field in dataclasses.fields(pbx):
        object.__setattr__(planted, field.name, entities if field.name == collection else getattr(pbx, field.name))
    return planted


# Of a mailbox that is there twice, app_voicemail takes the first; of an option, everything else takes the last.
OWN_INCLUDES = {
    name: text + f"#tryinclude tandem/own/{ours}\n#tryinclude later/{ours}\n"
    for name, text in ADMIN_FILES.items()
    # Phones and trunks, and what is added to them, are read from the file of their kinds.
    if (ours := name.removeprefix("tandem-")) and (name != "pjsip.conf")
} | {"voicemail.conf": "#tryinclude later/voicemail.conf\n" + ADMIN_FILES["voicemail.conf"]}


def share_pbx():
    """Two fixtures of a module: a whole Tandem beside a real Asterisk; before each test PBX is live there and nothing of the admin's in the way."""

    @pytest.fixture(scope="module")
    def pbx(asterisk_install):
        with LabPbx(
            asterisk_install, write_document(PBX), settings={"asterisk.check": "required", "asterisk.qualify_s": "60"}
        ) as lab:
            for name, text in OWN_INCLUDES.items():
                lab.asterisk.write_config(name, text)
            lab.serve()
            yield lab

    @pytest.fixture(autouse=True)
    def _start_from_the_same(pbx):
        left = [path for folder in ("later", "tandem/own") for path in (pbx.asterisk.etc / folder).glob("*")]
        for path in left:
            path.unlink()
        pbx.tandem("config", "discard")
        change(pbx, PBX)
        if left:
            pbx.asterisk.reload()

    return pbx, _start_from_the_same


def change(lab, pbx, check=True):
    path = lab.folder / "next.yaml"
    path.write_text(write_document(pbx))
    return lab.tandem("import", str(path), "--json", check=check)


def apply(lab, pbx):
    return json.loads(change(lab, pbx).stdout)["applied"]


def live_revision(lab):
    return next(it["number"] for it in lab.ask("config", "history") if it["is_live"])


def look(folder):
    """Everything about every file: ctime cannot be turned back."""
    return {
        str(path): (found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_mode)
        for path in (folder, *folder.rglob("*"))
        for found in [path.lstat()]
    }


def callerid(lab, extension):
    shown = lab.asterisk.cli(f"pjsip show endpoint {extension}")
    return next(line.partition(":")[2].strip() for line in shown.splitlines() if line.startswith(" callerid "))
