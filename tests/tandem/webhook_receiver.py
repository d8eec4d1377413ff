"""Receivers of webhooks for tests: a real HTTP server that answers by a script, certificates of an authority of our own, and a sender whose clock a test moves."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock, deferLater
from twisted.trial.unittest import TestCase
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site

from tandem.domain.webhooks import (
    Delivery,
)
from tandem.posting import Poster
from tandem.store.database import Store
from tandem.store.outbox import Event, load_deliveries, load_listeners, queue_events
from tandem.store.webhooks import create_webhook
from tandem.webhooks import LOOK_EVERY_S, Webhooks

DAY = timedelta(days=1)
# In which everything else has its turn many times.
LATE_S = 0.2


class Receiver(Resource):
    """Answers with what `script` says of each request's number: a status, or `hang`, `late` (204, after a while), `endless` (an answer without an end), `huge`, `away`."""

    isLeaf = True

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
