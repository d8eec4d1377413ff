"""Webhooks against a real HTTP receiver: signed, sent again, given up, sent on at the next start; and where nothing is ever sent."""

import ipaddress
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks import Webhook as Verifier
from twisted.internet import reactor
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import deferLater
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import globalLogPublisher
from twisted.web.server import Site

from tandem.domain.webhooks import (
    FIRST_DELAY_S,
    MAX_ATTEMPTS,
    MAX_DELAY_S,
    TargetRefused,
)
from tandem.posting import PASS_OVER_S, TIMEOUT_S, Poster
from tandem.store.database import open_store
from tandem.store.outbox import replay_deliveries
from tandem.store.webhooks import OVERLAP_S, load_webhook, rotate_secret
from tandem.webhooks import SLOTS
from tests.tandem.webhook_receiver import Receiver, SendingCase


class SendingTests(SendingCase):
    @pytest.fixture(autouse=True)
    def _take(self, tmp_path: Path) -> None:
        self.store = open_store(tmp_path / "tandem.db")

    async def test_what_is_sent_verifies_and_is_sent_once(self) -> None:
        receiver, url = self.listen()
        webhook_id, secret = await self.add(url)
        await self.queue(3)
        await self.queue(1, "call.answered")  # nobody listens to it
        self.start()
        await self.until(lambda: len(receiver.got) == 3)
        await self.settled(webhook_id, 1)
        for headers, body in receiver.got:
            told = Verifier(secret).verify(body, headers)
            assert told["id"] == headers["webhook-id"]
            assert told["kind"] == "call.ended"
            assert datetime.fromisoformat(told["at"]) == datetime.fromtimestamp(self.began, UTC)
            assert headers["content-type"] == "application/json"
        assert sorted(json.loads(body)["data"]["n"] for _, body in receiver.got) == [0, 1, 2]
        for _ in range(5):
            await self.look()
            await self.store.read(lambda db: None)
        assert len(receiver.got) == 3

        async def all_written() -> bool:
            found = await self.deliveries(webhook_id)
            return {(one.state, one.last_status, one.last_error) for one in found} == {("delivered", 204, "")}

        await self.until(all_written)

    async def test_many_go_over_few_connections(self) -> None:
        receiver, url = self.listen()
        webhook_id, _ = await self.add(url)
        await self.queue(350)
        self.start()
        # More than one look takes: it goes on by itself when its hands are empty.
        await self.until(lambda: len(receiver.got) == 350)

        async def all_written() -> bool:
            return all(one.state == "delivered" for one in await self.deliveries(webhook_id))

        await self.until(all_written)
        assert len({headers["webhook-id"] for headers, _ in receiver.got}) == 350

    async def test_failures_come_again_later_until_it_works(self) -> None:
        receiver, url = self.listen(lambda n: 500 if n < 3 else 200)
        webhook_id, secret = await self.add(url)
        await self.queue()
        self.start()
        failed = await self.settled(webhook_id, 1)
        assert (failed.state, failed.last_status, failed.last_error) == ("pending", 500, "answered 500")
        assert failed.next_at == self.now() + FIRST_DELAY_S
        self.clock.advance(FIRST_DELAY_S - 1)
        await self.store.read(lambda db: None)
        assert len(receiver.got) == 1
        self.clock.advance(1)
        assert (await self.settled(webhook_id, 2)).next_at == self.now() + 3 * FIRST_DELAY_S
        self.clock.advance(3 * FIRST_DELAY_S)
        done = await self.settled(webhook_id, 3)
        assert (done.state, done.last_error) == ("delivered", "")
        assert done.delivered_at == self.now()
        assert len({(headers["webhook-id"], body) for headers, body in receiver.got}) == 1
        for headers, body in receiver.got:  # each with the time of its own try
            at = datetime.fromtimestamp(int(headers["webhook-timestamp"]), UTC)
            assert headers["webhook-signature"] == Verifier(secret).sign(headers["webhook-id"], at, body.decode())
        assert len({headers["webhook-timestamp"] for headers, _ in receiver.got}) == 3

    async def test_a_jump_of_the_wall_clock_delays_nothing(self) -> None:
        receiver, url = self.listen(lambda n: 500 if n == 1 else 200)
        webhook_id, _ = await self.add(url)
        await self.queue()
        self.start()
        await self.settled(webhook_id, 1)
        self.began -= 3600
        self.clock.advance(FIRST_DELAY_S)
        await self.settled(webhook_id, 2)
        assert len(receiver.got) == 2

    async def test_dead_letters_and_their_replay(self) -> None:
        receiver, url = self.listen(lambda n: 503 if n <= MAX_ATTEMPTS else 200)
        webhook_id, _ = await self.add(url)
        await self.queue()
        self.start()
        for attempts in range(1, MAX_ATTEMPTS + 1):
            one = await self.settled(webhook_id, attempts)
            self.clock.advance(2 * MAX_DELAY_S)
        assert (one.state, one.last_status) == ("dead", 503)
        await self.store.read(lambda db: None)
        assert len(receiver.got) == MAX_ATTEMPTS
        since = self.now()
        assert await self.store.run(replay_deliveries, webhook_id, since, ("dead",), since) == 0
        assert await self.store.run(replay_deliveries, webhook_id, self.began, ("dead",), since) == 1
        await self.look()
        assert (await self.settled(webhook_id, 1)).state == "delivered"
        assert len(receiver.got) == MAX_ATTEMPTS + 1

    async def test_no_answer_and_nobody_there(self) -> None:
        receiver, url = self.listen(lambda _: "hang")
        webhook_id, _ = await self.add(url)
        await self.queue()
        self.start()
        await self.until(lambda: receiver.open == 1)
        self.clock.advance(TIMEOUT_S)
        assert (await self.settled(webhook_id, 1)).last_error == "no answer within 10 s"
        await self.until(lambda: receiver.open == 0)  # the connection is not kept
        port: Any = reactor.listenTCP(0, Site(Receiver()), interface="127.0.0.1")  # type: ignore[attr-defined]
        number = port.getHost().port
        await port.stopListening()
        other_id, _ = await self.add(f"http://127.0.0.1:{number}/", "call.answered")
        await self.queue(1, "call.answered")
        await self.look()
        refused = await self.settled(other_id, 1)
        assert (refused.state, refused.last_status) == ("pending", 0)
        assert refused.last_error == "not connected: ConnectionRefusedError"

    async def test_answers_that_are_odd(self) -> None:
        receiver, url = self.listen(lambda n: {1: "away", 2: (429, 100), 3: "endless"}.get(n, "huge"))
        webhook_id, _ = await self.add(url)
        await self.queue()
        self.start()
        assert (await self.settled(webhook_id, 1)).last_error == "answered 302"
        assert receiver.paths == [b"/hook"]  # nobody went elsewhere
        self.clock.advance(FIRST_DELAY_S)
        # Who says when to come again is heard.
        assert (await self.settled(webhook_id, 2)).next_at == self.now() + 100
        self.clock.advance(100)
        await self.until(lambda: len(receiver.got) == 3)
        for _ in range(20):
            await deferLater(reactor, 0.005)  # type: ignore[arg-type]
        self.clock.advance(PASS_OVER_S)
        # A status is an answer, however long its body goes on.
        assert (await self.settled(webhook_id, 3)).state == "delivered"
        await self.queue()
        await self.look()

        async def both() -> bool:
            return [one.state for one in await self.deliveries(webhook_id)] == ["delivered", "delivered"]

        await self.until(both)

    async def test_who_is_gone_is_told_no_more(self) -> None:
        receiver, url = self.listen(lambda _: 410)
        webhook_id, _ = await self.add(url)
        await self.queue()
        self.start()
        assert (await self.settled(webhook_id, 1)).state == "dead"
        webhook = await self.store.read(load_webhook, webhook_id)
        assert (webhook.active, webhook.problem) == (False, "it answered 410 Gone")
        await self.queue()
        await self.look()
        assert len(await self.deliveries(webhook_id)) == 1
        assert len(receiver.got) == 1

    async def test_a_slow_one_holds_up_nobody(self) -> None:
        slow, slow_url = self.listen(lambda _: "hang")
        quick, quick_url = self.listen()
        slow_id, _ = await self.add(slow_url)
        await self.add(quick_url)
        await self.queue(50)
        self.start()
        await self.until(lambda: len(quick.got) == 50)
        await self.until(lambda: slow.open == SLOTS)
        self.clock.advance(TIMEOUT_S)
        # After it has failed one at a time is enough to see whether it is back.
        await self.until(lambda: len(slow.got) == SLOTS + 1)
        assert slow.peak == SLOTS
        await self.queue(50)
        await self.look()
        await self.until(lambda: len(quick.got) == 100)
        assert sum(one.attempts for one in await self.deliveries(slow_id)) == SLOTS

    async def test_what_was_on_its_way_when_it_stopped_is_sent_at_the_next_start(self) -> None:
        receiver, url = self.listen(lambda n: "hang" if n == 1 else 204)
        webhook_id, _ = await self.add(url)
        await self.queue()
        service = self.start()
        await self.until(lambda: receiver.open == 1)
        await service.stopService()
        assert [(one.state, one.attempts) for one in await self.deliveries(webhook_id)] == [("pending", 0)]
        self.start(self.make_poster())
        assert (await self.settled(webhook_id, 1)).state == "delivered"
        first, second = receiver.got
        assert first[0]["webhook-id"] == second[0]["webhook-id"]

    async def test_after_a_rotation_both_secrets_verify_for_a_day(self) -> None:
        receiver, url = self.listen()
        webhook_id, old = await self.add(url)
        _, new = await self.store.run(rotate_secret, webhook_id, self.now())
        assert new != old
        await self.queue()
        self.start()
        await self.until(lambda: len(receiver.got) == 1)
        headers, body = receiver.got[0]
        assert Verifier(old).verify(body, headers)
        assert Verifier(new).verify(body, headers)
        # Its answer may still be on the way, and a day is longer than anyone waits for one.
        assert (await self.settled(webhook_id, 1)).state == "delivered"
        self.clock.advance(OVERLAP_S)
        await self.queue()
        await self.look()
        await self.until(lambda: len(receiver.got) == 2)
        assert " " not in receiver.got[1][0]["webhook-signature"]

    async def test_one_with_too_much_waiting_is_made_inactive(self) -> None:
        _, url = self.listen(lambda _: 500)
        webhook_id, _ = await self.add(url)
        await self.queue(30)
        self.start(max_pending=20)
        await self.settled(webhook_id, 1)

        async def is_off() -> bool:
            self.clock.advance(60)
            return not (await self.store.read(load_webhook, webhook_id)).active

        await self.until(is_off)
        assert "more than 20" in (await self.store.read(load_webhook, webhook_id)).problem

    async def test_no_secret_and_no_url_in_the_log(self) -> None:
        lines: list[str] = []

        def observe(event: Any) -> None:
            lines.append(repr({**event, "log_failure": str(event.get("log_failure"))}))

        globalLogPublisher.addObserver(observe)
        self.addCleanup(globalLogPublisher.removeObserver, observe)
        _, url = self.listen(lambda _: 410)
        webhook_id, secret = await self.add(f"{url}?token=hidden-token")
        await self.queue()
        self.start()
        await self.settled(webhook_id, 1)
        assert any("given up" in line for line in lines)
        for line in lines:
            assert secret not in line
            assert secret.removeprefix("whsec_") not in line
            assert "hidden-token" not in line

    # ------------------------------------------------------------------------------------------------- addresses

    async def test_names_that_lead_inside_are_refused_when_it_connects(self) -> None:
        receiver, url = self.listen()
        port = url.rpartition(":")[2].partition("/")[0]
        for address, allowed, rule in (
            ("127.0.0.1", False, "this machine"),
            ("127.0.0.1", True, "this machine"),
            ("10.1.2.3", False, "private"),
            ("169.254.169.254", False, "never"),
            ("169.254.169.254", True, "never"),
            ("::ffff:127.0.0.1", True, "never"),
        ):
            poster = self.make_poster(
                allow_private=allowed, resolve=lambda _, one=address: succeed([ipaddress.ip_address(one)])
            )
            for scheme in ("https", "http"):
                with pytest.raises(TargetRefused, match=rule):
                    await poster.post(f"{scheme}://evil.example:{port}/", {}, b"")
        assert receiver.got == []
        # A name of ours, where the settings allow it, is reached.
        poster = self.make_poster(resolve=lambda _: succeed([ipaddress.ip_address("127.0.0.1")]))
        assert (await poster.post(f"http://localhost:{port}/", {}, b"{}")).status == 204
        await poster.stop()

    async def test_the_address_that_was_checked_is_the_one_that_is_connected_to(self) -> None:
        asked: list[str] = []

        def rebind(host: str) -> Deferred[list[Any]]:
            asked.append(host)
            return succeed([ipaddress.ip_address("93.184.216.34" if len(asked) == 1 else "127.0.0.1")])

        memory = MemoryReactorClock()
        poster = Poster(memory, self.clock, allow_private=False, resolve=rebind)
        first = Deferred.fromCoroutine(poster.post("https://evil.example/", {}, b""))
        assert asked == ["evil.example"]
        assert [(client[0], client[1]) for client in memory.tcpClients] == [("93.184.216.34", 443)]
        assert isinstance(memory.connectors[0].getDestination(), IPv4Address)
        with pytest.raises(TargetRefused):
            await poster.post("https://evil.example/", {}, b"")
        assert len(memory.tcpClients) == 1
        first.addErrback(lambda _: None)
        first.cancel()

    async def test_a_refused_address_is_a_failure_like_another(self) -> None:
        poster = self.make_poster(resolve=lambda _: succeed([ipaddress.ip_address("169.254.169.254")]))
        webhook_id, _ = await self.add("https://evil.example/")
        await self.queue()
        self.start(poster)
        failed = await self.settled(webhook_id, 1)
        assert (failed.state, failed.last_error) == ("pending", "leads to an address that is never reached")
