"""The AMI client against a real Asterisk, and FakeAsterisk compared with it, answer by answer."""

import pytest
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import Clock, deferLater
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from lab.freezing import freeze, thaw
from lab.playground import PLAYGROUND
from lab.sipp import Caller, place_calls
from tandem.ami import actions, events
from tandem.ami.boot import Boot
from tandem.ami.client import AmiClient, AmiLimits, new_action_id
from tandem.ami.connection import AmiConnection
from tandem.ami.errors import (
    AmiConnectionLost,
    AmiForged,
    AmiLoginRefused,
    AmiRefused,
    AmiUnanswered,
)
from tandem.ami.testing import FakeAsterisk
from tests.asterisk.far_ends import InstanceEndpoint

pytestmark = pytest.mark.asterisk

CONFIG = PLAYGROUND | {
    "queues.conf": "[general]\n[sales]\nstrategy=ringall\nmember=>PJSIP/101,2,Ann Lee\n[night]\n",
    "extensions.conf": PLAYGROUND["extensions.conf"] + "[ami]\nexten => hold,1,Answer(1)\n same => n,Wait(60)\n",
}
HOSTILE = [
    "plain",
    'a,b="c',
    "p(q,C=no",
    "[x,y]z",
    "back\\slash\\",
    "${EXTEN}$[1+1]",
    ";#=>|&'`",
    "é€😀",
    " lead and trail ",
    "",
    '"quoted"',
    "((",
    "))",
]


@pytest.fixture(scope="module")
def asterisk(asterisk_factory):
    return asterisk_factory(config=CONFIG)


class AmiTests(TestCase):
    timeout = 60

    @pytest.fixture(autouse=True)
    def _take_asterisk(self, asterisk) -> None:
        self.asterisk = asterisk

    async def log_in(self, user: str = "tandem-config", **limits: float) -> AmiClient:
        client = AmiClient(
            InstanceEndpoint(self.asterisk), user, self.asterisk.ami_secrets[user], limits=AmiLimits(**limits)
        )
        client.startService()
        self.addCleanup(client.stopService)
        await client.when_ready()
        return client

    # -- state

    async def test_a_login_is_told_that_the_boot_is_over(self) -> None:
        """The dialer's, on a clock that stands: it is not its patience that ends."""
        user = "tandem-dialer"
        client = AmiClient(InstanceEndpoint(self.asterisk), user, self.asterisk.ami_secrets[user])
        boot = Boot(client, Clock())
        client.startService()
        self.addCleanup(client.stopService)
        await client.when_ready()
        await client.send(actions.ping())  # what Asterisk says at the login is before the answer
        assert boot.is_over

    async def test_lists_and_views(self) -> None:
        client = await self.log_in()
        queues = await client.send_list(actions.queue_status())
        assert {events.QueueParams.read(item).queue for item in queues if item.name == "QueueParams"} == {
            "sales",
            "night",
        }
        (member,) = [events.QueueMember.read(item) for item in queues if item.name == "QueueMember"]
        assert (member.queue, member.name, member.interface, member.penalty) == ("sales", "Ann Lee", "PJSIP/101", 2)
        endpoints = [events.Endpoint.read(item) for item in await client.send_list(actions.pjsip_show_endpoints())]
        assert {endpoint.name for endpoint in endpoints} == {"carrier", "101", "102", "103"}
        devices = [events.DeviceStateChange.read(item) for item in await client.send_list(actions.device_state_list())]
        assert "PJSIP/101" in {device.device for device in devices}
        assert await client.send_list(actions.core_show_channels()) == []
        assert await client.send_list(actions.pjsip_show_registrations_outbound()) == []
        assert (await client.send(actions.core_settings())).get("AsteriskVersion").startswith("2")
        output = (await client.send(actions.command("core show version"))).all("Output")
        assert "Asterisk" in output[0]

    async def test_queue_members_come_and_go(self) -> None:
        client = await self.log_in()
        heard: list[str] = []
        client.on("QueueMemberPause", lambda message: heard.append(events.QueueMember.read(message).paused_reason))
        await client.send(actions.queue_add("night", "PJSIP/102", member_name="Bob", penalty=3))
        await client.send(actions.queue_pause("PJSIP/102", paused=True, queue="night", reason="lunch"))
        items = await client.send_list(actions.queue_status("night"))
        (member,) = [events.QueueMember.read(item) for item in items if item.name == "QueueMember"]
        assert (member.name, member.membership, member.penalty, member.paused) == ("Bob", "dynamic", 3, True)
        await client.send(actions.queue_remove("night", "PJSIP/102"))
        with pytest.raises(AmiRefused):
            await client.send(actions.queue_remove("night", "PJSIP/102"))
        assert heard == ["lunch"]

    async def test_ten_thousand_db_puts(self) -> None:
        client = await self.log_in()
        start = reactor.seconds()
        await gatherResults(
            [client.send(actions.db_put("bulk", f"+40{number:08}", f"queue,{number}")) for number in range(10_000)]
        )
        took_s = reactor.seconds() - start
        tree = await client.send_list(actions.db_get_tree("bulk"), timeout_s=20)
        assert {item.get("Key"): item.get("Val") for item in tree} == {
            f"/bulk/+40{number:08}": f"queue,{number}" for number in range(10000)
        }
        await client.send(actions.db_del_tree("bulk"), timeout_s=20)
        assert took_s < 10

    # -- values

    async def test_astdb_values_come_back_as_they_were(self) -> None:
        client = await self.log_in()
        for number, value in enumerate(HOSTILE):
            if not value.startswith(" "):
                await client.send(actions.db_put("hostile", str(number), value))
                (item,) = await client.send_list(actions.db_get("hostile", str(number)))
                assert item.get("Val") == value
        await client.send(actions.db_del_tree("hostile"))

    async def test_variables_arrive_as_they_were_and_only_they(self) -> None:
        client = await self.log_in("tandem-dialer")
        originated: Deferred[events.OriginateResponse] = Deferred()
        action_id, channel_id = new_action_id(), new_action_id()

        def answered(message) -> None:
            response = events.OriginateResponse.read(message)
            if response.action_id == action_id:
                originated.callback(response)

        client.on("OriginateResponse", answered)
        ended: Deferred[events.Hangup] = Deferred()
        client.on(
            "Hangup",
            lambda message: message.get("Uniqueid") == channel_id and ended.callback(events.Hangup.read(message)),
        )
        variables = {f"V{number}": value for number, value in enumerate(HOSTILE)}
        call = actions.originate(
            "Local/hold@ami/n",
            channel_id=channel_id,
            context="ami",
            exten="hold",
            caller_name="Ann Lee",
            caller_number="+4930",
            variables=variables,
        )
        await client.send(call, action_id=action_id)
        response = await originated
        assert (response.succeeded, response.reason, response.uniqueid) == (True, 4, channel_id)
        for name, value in variables.items():
            assert (await client.send(actions.getvar(response.channel, name))).get("Value") == value, name
        for stray in ("C", "b", "y]z"):
            assert (await client.send(actions.getvar(response.channel, stray))).get("Value") == ""
        channels = [events.Newchannel.read(item) for item in await client.send_list(actions.core_show_channels())]
        assert {channel.uniqueid for channel in channels} == {channel_id, f"{channel_id};2"}
        await client.send(actions.setvar(response.channel, "Q", 'a,b="c'))
        assert (await client.send(actions.getvar(response.channel, "Q"))).get("Value") == 'a,b="c'
        await client.send(actions.hangup(response.channel))
        assert (await ended).uniqueid == channel_id

    async def test_the_longest_line_and_the_most_lines(self) -> None:
        client, dialer = await self.log_in(), await self.log_in("tandem-dialer")
        value = "v" * (1022 - len("Val: "))
        await client.send(actions.db_put("long", "k", value))
        (item,) = await client.send_list(actions.db_get("long", "k"))
        assert item.get("Val") == value
        await client.send(actions.db_del_tree("long"))
        call = actions.originate("Local/hold@ami", channel_id=new_action_id(), context="ami", exten="nowhere")
        most = actions.Action(
            call.name, call.headers, tuple((f"V{number}", "1") for number in range(128 - 2 - len(call.headers)))
        )
        with pytest.raises(AmiRefused) as refused:
            await dialer.send(most)
        assert "Extension does not exist" in str(refused.value)

    async def test_fake_asterisk_answers_as_the_real_one(self) -> None:
        """Same actions, same answers, header by header: texts, order and lists."""
        asked = [
            actions.db_put("fake", "k", "v"),
            actions.db_put("fake", "k2", "w"),
            actions.db_put("fake", "k/a", ""),
            actions.db_get("fake", "k"),
            actions.db_get("fake", "none"),
            actions.db_get_tree("fake"),
            actions.db_get_tree("fake", "k"),
            actions.db_get_tree("none"),
            actions.db_del("fake", "k"),
            actions.db_del("fake", "k"),
            actions.db_del_tree("fake", "k"),
            actions.db_del_tree("fake"),
            actions.db_del_tree("fake"),
            actions.queue_status("none"),
            actions.queue_summary("none"),
            actions.core_show_channels(),
            actions.pjsip_show_registrations_outbound(),
            actions.queue_add("night", "PJSIP/103"),
            actions.queue_pause("PJSIP/103", paused=True, queue="night"),
            actions.queue_remove("night", "PJSIP/103"),
            actions.setvar("", "FAKE", "1"),
            actions.module_reload("app_queue.so"),
            actions.Action("Nonsense"),
            actions.filter_events(["Hangup"]),
            actions.events("on"),
            actions.events("off"),
        ]
        fake = FakeAsterisk(username="tandem-config", secret=self.asterisk.ami_secrets["tandem-config"])
        answers = []
        for endpoint in (fake.endpoint, InstanceEndpoint(self.asterisk)):
            heard: list[bytes] = []
            connection = await self.record(endpoint, heard)
            for action in asked:
                answer = connection.send(action, 10.0)
                fake.flush()
                try:
                    await answer
                except AmiRefused:
                    pass
                # A list goes on after its response: the next answer shows that it has ended.
                answer = connection.send(actions.ping(), 10.0)
                fake.flush()
                await answer
            answers.append(self.split(b"".join(heard)))
            lost = connection.when_lost()
            connection.abort()
            fake.flush()
            await lost
        for ours, theirs in zip(*answers, strict=True):
            assert ours == theirs

    async def record(self, endpoint, heard: list[bytes]) -> AmiConnection:
        """Log in, and events off; from then on, `heard` gets every byte."""
        from twisted.internet.protocol import Factory

        connection = await endpoint.connect(Factory.forProtocol(lambda: AmiConnection(reactor, {}, AmiLimits())))
        login = Deferred.fromCoroutine(connection.log_in("tandem-config", self.asterisk.ami_secrets["tandem-config"]))
        if isinstance(endpoint, InstanceEndpoint):
            await login
        else:
            endpoint._asterisk.flush()
            self.successResultOf(login)
        quiet = connection.send(actions.events("off"), 10.0)  # the class of FullyBooted is on since the login
        if not isinstance(endpoint, InstanceEndpoint):
            endpoint._asterisk.flush()
        await quiet
        receive = connection.dataReceived
        connection.dataReceived = lambda data: (heard.append(data), receive(data))
        return connection

    def split(self, stream: bytes) -> list[list[str]]:
        frames = [frame.strip("\r\n") for frame in stream.decode().split("\r\n\r\n") if frame.strip()]
        return [
            [
                line
                for line in frame.split("\r\n")
                if not line.startswith(("ActionID: ", "Timestamp: ", "Registered: ", "NotRegistered: "))
            ]
            for frame in frames
        ]

    # -- logins

    async def test_a_wrong_secret_is_refused(self) -> None:
        client = AmiClient(InstanceEndpoint(self.asterisk), "tandem-config", "wrong")
        client.startService()
        self.addCleanup(client.stopService)
        with pytest.raises(AmiLoginRefused):
            await client.when_ready()

    async def test_the_dialers_login_cannot_filter_and_still_works(self) -> None:
        client = await self.log_in("tandem-dialer")
        ended: Deferred[str] = Deferred()
        channel_id = new_action_id()
        client.on("Hangup", lambda message: message.get("Uniqueid") == channel_id and ended.callback(message.name))
        with pytest.raises(AmiRefused):
            await client.send(actions.db_put("did", "1", "x"))
        await client.send(actions.originate("Local/nowhere@ami", channel_id=channel_id, context="ami", exten="hold"))
        assert await ended == "Hangup"

    # -- trouble

    async def test_frozen_and_killed(self) -> None:
        client = await self.log_in(
            ping_every_s=0.3, ping_timeout_s=0.5, reconnect_first_s=0.1, reconnect_max_s=0.2, login_timeout_s=1.0
        )
        told: list[str] = []
        client.on_ready(lambda: told.append("ready"))
        client.on_lost(lambda: told.append("lost"))
        # No ping of its own is on its way when Asterisk stops.
        await client.send(actions.ping())
        # In this turn of the reactor, so that none leaves before ours, which nothing answers.
        freeze(self.asterisk.process)
        try:
            answer = client.send(actions.ping(), timeout_s=30)
            await deferLater(reactor, 2)
            # An action with a long deadline of its own is waited for; nothing else is.
            assert client.is_ready
            assert not answer.called
            answer.cancel()
            answer.addErrback(lambda _: None)
            while client.is_ready:
                await deferLater(reactor, 0.05)
            with pytest.raises(AmiUnanswered):
                await client.send(actions.ping())
        finally:
            thaw(self.asterisk.process)
        await client.when_ready()
        self.asterisk.kill()
        while client.is_ready:
            await deferLater(reactor, 0.05)
        with pytest.raises(AmiConnectionLost):
            await client.send(actions.ping())
        await deferToThread(self.asterisk.start)
        await client.when_ready()
        assert told[:3] == ["lost", "ready", "lost"]
        assert (await client.send(actions.ping())).get("Ping") == "Pong"

    async def test_a_forged_caller_number_is_not_believed(self) -> None:
        client = await self.log_in(ping_every_s=60)
        believed: list[events.Newchannel] = []
        doubted: list[AmiForged] = []
        forged: list[str] = []

        def read(message) -> None:
            try:
                believed.append(events.Newchannel.read(message))
            except AmiForged as error:
                doubted.append(error)

        client.on("Newchannel", read)
        client.on("OriginateResponse", lambda message: forged.append(message.get("ActionID")))
        waiting = client.send_list(actions.queue_status())
        header = "555%0d%0aUniqueid%3a%20victim"
        event = "555%0d%0a%0d%0aEvent%3a%20OriginateResponse%0d%0aActionID%3a%20x"
        closed = "555%0d%0a%0d%0aEvent%3a%20OriginateResponse%0d%0a%0d%0a"
        calls = [Caller("120", number) for number in (header, event, closed)]
        await deferToThread(place_calls(self.asterisk, calls).wait)
        while not doubted or not client._connection.debris:
            await deferLater(reactor, 0.05)
        assert "Uniqueid" in str(doubted[0])
        assert "victim" not in {channel.uniqueid for channel in believed}
        assert set(forged) == {"x", ""}, "they arrive, and name no action of ours"
        await waiting
        assert client.is_ready
