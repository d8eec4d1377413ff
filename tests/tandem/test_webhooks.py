"""Webhooks against a real HTTP receiver: signed, sent again, given up, sent on at the next start; and where nothing is ever sent."""

import ipaddress
import json
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, get_args

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook as Verifier
from twisted.internet import reactor
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, succeed
from twisted.internet.ssl import DefaultOpenSSLContextFactory
from twisted.internet.task import Clock, deferLater
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import TestCase
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site

from tandem.domain.webhooks import (
    FIRST_DELAY_S,
    MAX_ATTEMPTS,
    MAX_DELAY_S,
    NEEDED,
    TEST_KIND,
    Delivery,
    EventKind,
    Keys,
    TargetRefused,
    check_addresses,
    new_secret,
    plan_retry,
    read_url,
    sign,
)
from tandem.lease import BEAT_EVERY_S, LEASE_S, Lease
from tandem.posting import PASS_OVER_S, TIMEOUT_S, Poster, read_trust
from tandem.store.database import Store, open_store
from tandem.store.outbox import Event, load_deliveries, load_listeners, queue_events, replay_deliveries
from tandem.store.place import PostgresPlace
from tandem.store.webhooks import OVERLAP_S, create_webhook, load_webhook, rotate_secret
from tandem.webhooks import LOOK_EVERY_S, SLOTS, Webhooks

DAY = timedelta(days=1)
# In which everything else has its turn many times.
LATE_S = 0.2

# ------------------------------------------------------------------------------------------------------------ values


@given(st.text(max_size=200))
def test_another_implementation_verifies_what_we_sign(text: str) -> None:
    secret, body = new_secret(), json.dumps({"text": text}).encode()
    at = int(time.time())
    headers = {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(at),
        "webhook-signature": sign(Keys((secret,)), "msg_1", at, body),
    }
    assert Verifier(secret).verify(body, headers) == {"text": text}
    with pytest.raises(Exception, match="matching signature"):
        Verifier(new_secret()).verify(body, headers)


def test_every_kind_takes_a_permission_and_the_test_takes_none() -> None:
    kinds = get_args(EventKind)
    assert {kind.partition(".")[0] for kind in kinds} == set(NEEDED)
    assert TEST_KIND not in kinds


@given(st.floats(0, 1))
def test_tries_come_later_each_time_and_end(luck: float) -> None:
    delays = [plan_retry(attempts, luck) for attempts in range(1, MAX_ATTEMPTS + 1)]
    assert delays[-1] is None
    first = [delay for delay in delays if delay is not None]
    assert len(first) == MAX_ATTEMPTS - 1
    assert first == sorted(first)
    assert FIRST_DELAY_S * 0.79 < first[0] < FIRST_DELAY_S * 1.21
    assert MAX_DELAY_S * 0.79 < first[-1] < MAX_DELAY_S * 1.21


@pytest.mark.parametrize(
    ("url", "rule"),
    [
        ("ftp://example.com/", "http or https"),
        ("x", "http or https"),
        ("https://user:pass@example.com/", "user name"),
        ("https://example.com/#x", "fragment"),
        ("http://example.com/", "must be https"),
        ("http://8.8.8.8/", "must be https"),
        ("https://" + "a" * 2100 + ".de/", "longer"),
        ("https://10.0.0.1/", "private"),
        ("https://192.168.1.1/", "private"),
        ("https://100.64.0.1/", "private"),
        ("https://[fd00::1]/", "private"),
        ("https://169.254.169.254/latest/meta-data", "never"),
        ("https://0xA9FEA9FE/", "never"),
        ("https://2852039166/", "never"),
        ("https://[::ffff:169.254.169.254]/", "never"),
        ("https://[64:ff9b::a9fe:a9fe]/", "never"),
        ("https://[::ffff:127.0.0.1]/", "never"),
        ("https://[2002:7f00:1::]/", "never"),
        ("https://[fe80::1]/", "never"),
        ("https://[fd00:ec2::254]/", "never"),
        ("https://0.0.0.0/", "never"),
        ("https://224.0.0.1/", "never"),
    ],
)
def test_urls_that_are_refused_at_once(url: str, rule: str) -> None:
    with pytest.raises(TargetRefused, match=rule):
        read_url(url, allow_private=False)
    if rule != "private" and "example.com/" not in url.partition("//")[2][:12]:
        with pytest.raises(TargetRefused):
            read_url(url, allow_private=True)


def test_urls_that_are_taken_in_their_normal_form() -> None:
    for url in ("https://example.com/a?b=c", "http://localhost:8000/x", "http://127.0.0.1:8000/", "http://[::1]:9/"):
        assert read_url(url, allow_private=False) == url
    assert read_url("HTTP://0x7f.1:80", allow_private=False) == "http://127.0.0.1/"
    assert read_url("http://crm.lan/", allow_private=True) == "http://crm.lan/"
    assert read_url("https://10.0.0.1/", allow_private=True) == "https://10.0.0.1/"


def test_a_name_with_one_bad_address_is_refused_whole() -> None:
    good, bad = ipaddress.ip_address("8.8.8.8"), ipaddress.ip_address("127.0.0.1")
    assert check_addresses("example.com", [good], is_secure=True, allow_private=False) == good
    for addresses in ([good, bad], [bad], []):
        for allow_private in (False, True):
            with pytest.raises(TargetRefused):
                check_addresses("example.com", addresses, is_secure=True, allow_private=allow_private)
    assert check_addresses("localhost", [bad], is_secure=False, allow_private=False) == bad
    with pytest.raises(TargetRefused, match="https"):
        check_addresses("example.com", [good], is_secure=False, allow_private=True)


# ---------------------------------------------------------------------------------------------------------- sending


class Receiver(Resource):
    """Answers with what `script` says of each request's number: a status, or `hang`, `late` (204, after a while), `endless` (an answer without an end), `huge`, `away`."""

    isLeaf = True  # noqa: N815 - Twisted's name

    def __init__(self, script: Callable[[int], Any] = lambda _: 204) -> None:
        super().__init__()
        self.script = script
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.paths: list[bytes] = []
        self.open = self.peak = 0

    def render_POST(self, request: Any) -> Any:
        headers = {
            key.decode().lower(): values[0].decode() for key, values in request.requestHeaders.getAllRawHeaders()
        }
        self.got.append((headers, request.content.read()))
        self.paths.append(request.path)
        step = self.script(len(self.got))
        if step == "hang":
            self.open += 1
            self.peak = max(self.peak, self.open)
            request.notifyFinish().addErrback(lambda _: setattr(self, "open", self.open - 1))
            return NOT_DONE_YET
        if step == "late":
            gone: list[object] = []
            request.notifyFinish().addErrback(gone.append)
            request.setResponseCode(204)
            reactor.callLater(LATE_S, lambda: None if gone else request.finish())  # type: ignore[attr-defined]
            return NOT_DONE_YET
        if step in ("endless", "huge"):
            request.write(b"x" * (1_000_000 if step == "huge" else 10))
            request.notifyFinish().addErrback(lambda _: None)
            if step == "endless":
                return NOT_DONE_YET
            return b""
        if step == "away":
            request.setResponseCode(302)
            request.setHeader("location", "/elsewhere")
            return b""
        if isinstance(step, tuple):
            step, wait = step
            request.setHeader("retry-after", str(wait))
        request.setResponseCode(step)
        return b"whatever" if step != 204 else b""


class QuietSite(Site):
    """The receiver's own log is not ours."""

    def log(self, request: Any) -> None:
        pass


def make_authority(path: Path) -> Path:
    """`path.pem` and `path.key`."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "authority of the tests")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now - DAY, now + DAY)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    _write_pair(path, made, key)
    return path


def make_certificate(ca: Path, path: Path, host: str, days: int) -> tuple[Path, Path]:
    """Of that authority for a host, valid until so many days from now; its file and its key's."""
    issuer = x509.load_pem_x509_certificate(ca.with_suffix(".pem").read_bytes())
    signer: Any = serialization.load_pem_private_key(ca.with_suffix(".key").read_bytes(), None)
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, host)])
    until = datetime.now(UTC) + days * DAY
    made = (
        x509.CertificateBuilder(
            issuer.subject, name, key.public_key(), x509.random_serial_number(), until - 9 * DAY, until
        )
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .sign(signer, hashes.SHA256())
    )
    _write_pair(path, made, key)
    return path.with_suffix(".pem"), path.with_suffix(".key")


def _write_pair(path: Path, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
    path.with_suffix(".pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.with_suffix(".key").write_bytes(key.private_bytes(*form))


class SendingCase(TestCase):
    """A receiver, a webhook and a sender, the database in its threads, and a clock that a test moves."""

    store: Store

    def setUp(self) -> None:
        self.addCleanup(self.store.stop)
        self.clock = Clock()
        self.began = float(int(time.time()))
        self.poster = self.make_poster()

    def make_poster(self, **options: Any) -> Poster:
        return Poster(reactor, self.clock, allow_private=options.pop("allow_private", False), **options)

    def now(self) -> float:
        return self.began + self.clock.seconds()

    def listen(self, script: Callable[[int], Any] = lambda _: 204) -> tuple[Receiver, str]:
        receiver = Receiver(script)
        port: Any = reactor.listenTCP(0, QuietSite(receiver), interface="127.0.0.1")  # type: ignore[attr-defined]
        self.addCleanup(port.stopListening)
        return receiver, f"http://127.0.0.1:{port.getHost().port}/hook"

    async def add(self, url: str, *kinds: str) -> tuple[int, str]:
        made, secret = await self.store.run(
            create_webhook,
            url=url,
            events=kinds or ("call.ended",),
            description="",
            active=True,
            author="anna",
            at=self.now(),
        )
        return made.id, secret

    async def queue(self, amount: int = 1, kind: str = "call.ended") -> None:
        def work(db: Any) -> None:
            queue_events(db, load_listeners(db), [Event(kind, self.now(), {"n": n}) for n in range(amount)])

        await self.store.run(work)

    def start(self, poster: Poster | None = None, **options: Any) -> Webhooks:
        service = Webhooks(self.store, poster or self.poster, self.clock, now=self.now, luck=lambda: 0.5, **options)
        service.startService()
        self.addCleanup(lambda: Deferred.fromCoroutine(service.stopService()) if service.running else None)
        return service

    async def until(self, is_so: Callable[[], Any]) -> None:
        """The network and the database's thread are real; the clock moves by what one look takes, and no more."""
        for _ in range(1000):
            found = is_so()
            if isinstance(found, Deferred) or hasattr(found, "__await__"):
                found = await found
            if found:
                return
            await deferLater(reactor, 0.005)  # type: ignore[arg-type]
        raise AssertionError("it never is so")

    async def look(self) -> None:
        self.clock.advance(LOOK_EVERY_S)

    async def deliveries(self, webhook_id: int) -> list[Delivery]:
        found = await self.store.read(load_deliveries, webhook_id, None, None, 1000)
        return list(reversed(found))

    async def settled(self, webhook_id: int, attempts: int) -> Delivery:
        """The first delivery after so many tries, when nothing goes on but waiting: a clock that is moved meanwhile moves for nobody."""

        async def is_so() -> bool:
            waits = [call.getTime() - self.clock.seconds() for call in self.clock.getDelayedCalls()]
            is_waiting = any(wait <= LOOK_EVERY_S for wait in waits)
            return is_waiting and (await self.deliveries(webhook_id))[0].attempts == attempts

        await self.until(is_so)
        return (await self.deliveries(webhook_id))[0]


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
        for loop in (*(loop for loop, _ in one._loops), one._lease._loop):
            loop.stop()
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
