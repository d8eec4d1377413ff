"""Asterisks that read our rendered files, and what they say of them; for tests, never for a machine's own Asterisk."""

import re
from pathlib import Path

from confgen.generations import switch_link, write_generation
from confgen.render import GUEST_FILES, OWNER_FILES, RenderTarget, Transport, render
from tandem.domain.destinations import HangupDestination
from tandem.domain.entities import Endpoint, General, Pbx, Queue, QueueMember, Trunk, VoicemailBox
from tandem.domain.snapshot import build_snapshot

DIALPLAN = Path(__file__).parents[2] / "dialplan"
NOTHING = HangupDestination()
# Lines of the log that speak of trouble, without time and thread.
TROUBLE = re.compile(r"(?:WARNING|ERROR)\[\d+\](?:\[[^]]*\])? (.*)")

PBX = Pbx(
    general=General(country="DE", language="de", time_zone="Europe/Berlin", outbound_trunk="carrier"),
    trunks=(
        Trunk(name="carrier", description="Main line", hosts=("127.0.0.2:5070", "127.0.0.4")),
        Trunk(
            name="backup",
            authentication="registration",
            hosts=("127.0.0.5",),
            match=("127.0.0.6:5071", "127.0.1.0/24"),
            username="user;x@y z",
            secret="cheese;and[wine",
        ),
    ),
    endpoints=(
        Endpoint(extension="1001", name="Ann", secret="correct-horse", voicemail="1001", codecs=("alaw", "g722")),
        Endpoint(extension="1002", secret="battery-staple", permissions=("internal", "national", "international")),
    ),
    voicemail_boxes=(
        VoicemailBox(mailbox="1001", name="Ann", pin="4711", email="ann@example.net"),
        VoicemailBox(mailbox="2000", pin="0815", time_zone="America/New_York"),
    ),
    queues=(
        Queue(name="sales", members=(QueueMember(endpoint="1001"),), fallback=NOTHING, max_callers=7),
        Queue(name="support", strategy="ringall", weight=3, fallback=NOTHING),
    ),
)


class Ami:
    """A blocking AMI login."""

    def __init__(self, instance, user="tandem-config"):
        self.socket = instance.connect_ami()
        self.file = self.socket.makefile("rwb")
        self.file.readline()
        login = {"Action": "Login", "Username": user, "Secret": instance.ami_secrets[user], "Events": "off"}
        assert self.ask(**login)[0]["Response"] == "Success"

    def ask(self, until=None, **headers):
        """The messages that answer, until an event of that name; header -> value (the last one)."""
        self.file.write("".join(f"{name}: {value}\r\n" for name, value in headers.items()).encode() + b"\r\n")
        self.file.flush()
        messages = []
        while True:
            message = {}
            while line := self.file.readline().decode().rstrip("\r\n"):
                name, _, value = line.partition(": ")
                message[name] = value
            messages.append(message)
            if until is None or message.get("Event") == until or message.get("Response") == "Error":
                return messages

    def reload(self, module):
        assert self.ask(Action="Reload", Module=module)[0]["Response"] == "Success", module

    def close(self):
        self.file.close()
        self.socket.close()


def target_for(instance, mode, qualify_s=0, more_transports=()):
    return RenderTarget(
        mode=mode,
        agi_url="agi://127.0.0.1:4573",
        recordings_dir=str(instance.spool / "monitor"),
        dialplan_dir=str(DIALPLAN),
        transports=(Transport(name="udp", bind="127.0.0.1:5060"), *more_transports) if mode == "owner" else (),
        trunk_transport="udp",
        qualify_s=qualify_s,
    )


def including(mode):
    """The admin's files: in owner mode nothing but the #include, in guest mode something of his own before it."""
    names = OWNER_FILES if mode == "owner" else GUEST_FILES
    own = {
        "pjsip.conf": "[udp]\ntype = transport\nbind = 127.0.0.1:5060\n",
        "musiconhold.conf": "[default]\nmode = files\ndirectory = moh\n",
        "queues.conf": "[general]\nautofill = yes\n[ours]\nstrategy = ringall\n",
        "voicemail.conf": "[general]\nformat = wav\n[zonemessages]\nours = Europe/Paris|Q\n[default]\n77 => 1234,Admin\n",
        "extensions.conf": "[globals]\nOURS = 1\n[ours]\nexten => 1,1,NoOp()\n",
    }
    files = {
        name: (own.get(name, "") if mode == "guest" else "") + f"#tryinclude tandem/current/{name}\n" for name in names
    }
    if mode == "owner":
        files["pjsip.conf"] = f"#tryinclude tandem/current/{'pjsip_transport.conf'}\n" + files["pjsip.conf"]
        del files["pjsip_transport.conf"]
    return files


def start(factory, pbx, mode="owner", qualify_s=0):
    """An Asterisk that booted with these objects."""
    instance = factory(config=including(mode), shared=[DIALPLAN])
    instance.stop()
    (instance.log / "full").unlink()
    folder = instance.etc / "tandem"
    switch_link(
        folder,
        "current",
        write_generation(folder, 1, render(build_snapshot(1, pbx), target_for(instance, mode, qualify_s))),
    )
    instance.start()
    return instance


def troubles(instance):
    return {re.sub(r"0x[0-9a-f]+|\d{3,}", "N", found) for found in TROUBLE.findall(instance.read_log())}


def of_type(ami, kind, name):
    """The object's fields, as AMI tells them; PJSIPShowEndpoint tells all objects of an endpoint."""
    found = ami.ask(until="EndpointDetailComplete", Action="PJSIPShowEndpoint", Endpoint=name)
    return next(message for message in found if message.get("Event") == kind)
