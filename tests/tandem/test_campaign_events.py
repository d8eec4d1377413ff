"""What listeners are told of numbers: where they are after a batch of steps, and nothing of what a client keeps of people."""

import json
import shutil
import tempfile
from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import TestCase

from api.events import EventHub
from api.metrics import Metrics
from tandem.campaign_events import CampaignEvents
from tandem.domain.campaigns import CampaignView, NewNumber
from tandem.domain.open_calls import AttemptStep
from tandem.store.attempt_claims import claim_numbers
from tandem.store.campaigns import change_state, create_campaign
from tandem.store.database import open_store
from tandem.store.numbers import add_numbers
from tests.tandem.store.test_campaigns import CAMPAIGN, NOW, SNAPSHOT, plan_number


class Listener:
    """A client of the stream that keeps up."""

    def __init__(self):
        self.text = b""
        self.gone = Deferred()

    def registerProducer(self, _producer, _streaming):
        pass

    def notifyFinish(self):
        return self.gone

    def loseConnection(self):
        pass

    def write(self, chunk):
        self.text += chunk

    def events(self):
        lines = self.text.decode().splitlines()
        return [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: ")]


class Dialling:
    """Says how campaigns are."""

    views: tuple[CampaignView, ...] = ()

    def describe(self):
        return list(self.views)


class TestCampaignEvents(TestCase):
    async def test_numbers_in_batches_and_drained_once(self):
        folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, folder)
        store = open_store(Path(folder) / "tandem.db")
        self.addCleanup(store.stop)
        clock, listener, dialling = Clock(), Listener(), Dialling()
        hub = EventHub(clock)
        self.addCleanup(hub.close)
        events = CampaignEvents(store, dialling, hub, Metrics())
        campaign = await store.run(create_campaign, CAMPAIGN, author="t", permissions=(), at=NOW)
        one = campaign.campaign_id
        await store.run(change_state, one, "running", {"stopped"}, "no", NOW, ("national",))
        given = [NewNumber(phone_number=f"+49301{n}", data={"secret": "x"}) for n in range(2)]
        await store.run(add_numbers, one, given, NOW)
        claimed = await store.run(
            claim_numbers, {one: 2}, lambda saved, number: plan_number(SNAPSHOT, saved, number, NOW), str, NOW, "node"
        )
        events.take_step(AttemptStep("claimed", one, claimed.claims[0].call.call_id))
        await events.flush()
        clock.advance(1)
        assert listener.events() == [], "nobody listens yet"
        hub.attach(listener, frozenset({"campaign"}))
        for claim in claimed.claims:
            events.take_step(AttemptStep("claimed", one, claim.call.call_id))
        dialling.views = (CampaignView(one, 0, 0, 0, 0, True),)
        await events.flush()
        await events.flush()
        clock.advance(1)
        numbers, drained = listener.events()
        assert numbers["counts"]["calling"] == 2
        assert [number["status"] for number in numbers["numbers"]] == ["calling", "calling"]
        assert "secret" not in listener.text.decode()
        assert drained == {"event": "drained", "campaign_id": one}
