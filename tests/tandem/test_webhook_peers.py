"""Webhooks among others: receivers with certificates that are right and wrong, and two Tandem that share the sending."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.ssl import DefaultOpenSSLContextFactory

from tandem.domain.webhooks import (
    Delivery,
)
from tandem.lease import BEAT_EVERY_S, LEASE_S, Lease
from tandem.posting import Poster, read_trust
from tandem.store.database import open_store
from tandem.store.place import PostgresPlace
from tandem.webhooks import LOOK_EVERY_S, SLOTS, Webhooks
from tests.tandem.webhook_receiver import QuietSite, Receiver, SendingCase, make_authority, make_certificate


class TlsTests(SendingCase):
    """Receivers with certificates of an authority that only a file of ours knows."""

    @pytest.fixture(autouse=True)
    def _take(self, tmp_path: Path) -> None:
        self.store, self.folder = open_store(tmp_path / "tandem.db"), tmp_path
        self.ca = make_authority(tmp_path / "ca")

    def listen_tls(self, host: str, days: int = 2) -> tuple[Receiver, str]:
        receiver = Receiver(lambda _: 204)
        certificate, key = make_certificate(self.ca, self.folder / host, host, days)
        context = DefaultOpenSSLContextFactory(str(key), str(certificate))
        port: Any = reactor.listenSSL(0, QuietSite(receiver), context, interface="127.0.0.1")  # type: ignore[attr-defined]
        self.addCleanup(port.stopListening)
        return receiver, f"https://localhost:{port.getHost().port}/hook"

    async def try_once(self, url: str, trust: Any) -> Delivery:
        webhook_id, _ = await self.add(url)
        await self.queue()
        poster = self.make_poster(trust=trust)
        self.start(poster)

        async def is_tried() -> bool:
            return bool((await self.deliveries(webhook_id))[0].attempts)

        await self.until(is_tried)
        return (await self.deliveries(webhook_id))[0]

    async def test_a_receiver_whose_authority_is_in_the_file(self) -> None:
        receiver, url = self.listen_tls("localhost")
        assert (await self.try_once(url, read_trust(self.ca.with_suffix(".pem")))).state == "delivered"
        assert len(receiver.got) == 1

    async def test_one_whose_authority_nobody_knows_gets_nothing(self) -> None:
        receiver, url = self.listen_tls("localhost")
        refused = await self.try_once(url, None)
        assert (refused.state, refused.last_status) == ("pending", 0)
        assert refused.last_error.startswith("its certificate is signed by nobody who is believed")
        assert not receiver.got

    async def test_another_hosts_certificate_gets_nothing(self) -> None:
        receiver, url = self.listen_tls("other.example")
        refused = await self.try_once(url, read_trust(self.ca.with_suffix(".pem")))
        assert (refused.state, refused.last_error) == ("pending", "its certificate is another host's")
        assert not receiver.got

    async def test_an_old_certificate_gets_nothing(self) -> None:
        receiver, url = self.listen_tls("localhost", -1)
        refused = await self.try_once(url, read_trust(self.ca.with_suffix(".pem")))
        assert "not valid now" in refused.last_error
        assert not receiver.got

    def test_a_file_without_certificates_is_named(self) -> None:
        path = self.folder / "empty.pem"
        path.write_text("nothing")
        with pytest.raises(ValueError, match=r"empty\.pem: there is no certificate"):
            read_trust(path)
        with pytest.raises(ValueError, match=r"gone\.pem: No such file"):
            read_trust(self.folder / "gone.pem")


class NodesTests(SendingCase):
    """Two Tandem on one PostgreSQL."""

    @pytest.fixture(autouse=True)
    def _take(self, postgres_place: PostgresPlace) -> None:
        self.store, self.other = open_store(postgres_place), open_store(postgres_place)

    def setUp(self) -> None:
        super().setUp()
        self.addCleanup(self.other.stop)

    async def start_both(self) -> tuple[Webhooks, Webhooks]:
        leases = [Lease(store, node, self.clock) for store, node in ((self.store, "one"), (self.other, "two"))]
        for lease in leases:
            lease.startService()
            self.addCleanup(lambda lease=lease: lease.stopService() if lease.running else None)
        await self.until(lambda: all(lease.is_held for lease in leases))
        self.counts = [0, 0]
        services = []
        for number, lease in enumerate(leases):
            service = Webhooks(
                lease._store, self.counting(number), self.clock, now=self.now, luck=lambda: 0.5, lease=lease
            )
            self.addCleanup(lambda service=service: Deferred.fromCoroutine(service.stopService()))
            services.append(service)
        return services[0], services[1]

    async def pass_time(self, service: Webhooks, seconds: float) -> None:
        """When nothing of a service's is on its way: an answer that is late in our time must not be too late by its clock."""
        await self.until(lambda: not service._posting and not service._is_looking)
        self.clock.advance(seconds)

    def counting(self, number: int) -> Poster:
        poster = self.make_poster()
        post = poster.post

        async def count(*arguments: Any) -> Any:
            self.counts[number] += 1
            return await post(*arguments)

        poster.post = count  # type: ignore[method-assign]
        return poster

    async def test_two_nodes_send_each_delivery_once(self) -> None:
        receiver, url = self.listen()
        webhook_id, _ = await self.add(url)
        services = await self.start_both()
        await self.queue(350)
        for service in services:
            service.startService()
        await self.until(lambda: len(receiver.got) >= 350)

        async def all_written() -> bool:
            return all(one.state == "delivered" for one in await self.deliveries(webhook_id))

        await self.until(all_written)
        assert len({headers["webhook-id"] for headers, _ in receiver.got}) == len(receiver.got) == 350
        assert min(self.counts) > 0
        assert sum(self.counts) == 350

    async def test_what_a_dead_node_had_taken_is_sent_by_the_other_after_its_lease(self) -> None:
        receiver, url = self.listen(lambda n: "hang" if n <= SLOTS else "late")
        webhook_id, _ = await self.add(url)
        one, two = await self.start_both()
        await self.queue(20)
        one.startService()
        await self.until(lambda: len(receiver.got) == SLOTS)
        # It dies with four on their way and the rest in its hands.
        one.stop_rounds()
        one._lease.stop_rounds()
        one.running = 0
        two.startService()
        for _ in range(4):
            await self.look()
            await self.store.read(lambda db: None)
        assert len(receiver.got) == SLOTS
        for _ in range(int(LEASE_S / BEAT_EVERY_S) + 3):
            before = two._lease._looked_at
            await self.pass_time(two, BEAT_EVERY_S)
            await self.until(lambda before=before: two._lease._looked_at > before and not two._lease._is_beating)

        async def all_written() -> bool:
            await self.pass_time(two, LOOK_EVERY_S)
            return all(found.state == "delivered" for found in await self.deliveries(webhook_id))

        await self.until(all_written)
        times = Counter(headers["webhook-id"] for headers, _ in receiver.got)
        # At least once: of those four nobody knows whether they arrived.
        assert sorted(times.values()) == [1] * 16 + [2] * SLOTS
