"""Callers looked up at a real HTTP server: answered, kept, late, dead, and never waited for longer than the deadline."""

import json
from typing import Any
from urllib.parse import parse_qs

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock, deferLater
from twisted.trial.unittest import TestCase
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from tandem.domain.contacts import NOBODY, Contact
from tandem.lookups import FAILURES, LEFT_ALONE_S, MAX_ASKING, MAX_KEPT, CallerLookup
from tandem.posting import MAX_ANSWER, TIMEOUT_S, Poster
from tests.tandem.webhook_receiver import QuietSite


class Crm(Resource):
    """Knows one person; `does` says what it does with a question."""

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.does: Any = "answer"
        self.asked: list[dict[str, list[str]]] = []
        self.held: list[Any] = []

    def render_GET(self, request: Any) -> Any:
        self.asked.append(parse_qs(request.uri.decode().partition("?")[2], keep_blank_values=True))
        match self.does:
            case "answer":
                return json.dumps({"id": 7, "name": "Jane"}).encode()
            case "hold":
                self.held.append(request)
                request.notifyFinish().addErrback(lambda _: None)
                return NOT_DONE_YET
            case "cut":
                request.transport.abortConnection()
                return NOT_DONE_YET
            case "huge":
                return b" " * (MAX_ANSWER + 1) + b"{}"
            case "endless":
                request.write(b"{")
                request.notifyFinish().addErrback(lambda _: None)
                return NOT_DONE_YET
            case bytes() as body:
                return body
            case status:
                request.setResponseCode(status)
                request.setHeader("location", "/elsewhere")
                return b'{"id": 8}'

    def release(self) -> None:
        for request in self.held:
            request.write(b'{"id": 9}')
            request.finish()
        self.held.clear()


class LookupTests(TestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.crm = Crm()
        port: Any = reactor.listenTCP(0, QuietSite(self.crm), interface="127.0.0.1")  # type: ignore[attr-defined]
        self.addCleanup(port.stopListening)
        self.poster = Poster(reactor, self.clock, allow_private=False)
        self.addCleanup(self.poster.stop)
        self.url = f"http://127.0.0.1:{port.getHost().port}/who"

    def make(self, url: str = "", **options: Any) -> CallerLookup:
        given = {"url": url or self.url, "token": "a token", "deadline_s": 0.5, "keep_s": 60.0, **options}
        return CallerLookup(self.poster, self.clock, **given)

    async def until(self, is_so: Any) -> None:
        for _ in range(2000):
            if is_so():
                return
            await deferLater(reactor, 0.005)  # type: ignore[arg-type]
        raise AssertionError("it never is so")

    async def test_an_answer_is_told_and_kept(self) -> None:
        lookup = self.make(f"{self.url}?x=1")
        assert await lookup.find("+49 30", "a&b") == Contact(contact_id="7", name="Jane")
        assert self.crm.asked == [{"x": ["1"], "telephone": ["+49 30"], "dnid": ["a&b"], "token": ["a token"]}]
        # Now it is there at once, for the same caller and number alone.
        assert lookup.find("+49 30", "a&b") == Contact(contact_id="7", name="Jane")
        await lookup.find("+49 30", "other")
        self.clock.advance(61)
        await lookup.find("+49 30", "a&b")
        assert len(self.crm.asked) == 3

    async def test_whoever_is_not_known_is_kept_too(self) -> None:
        self.crm.does = b'{"id": null, "name": null}'
        lookup = self.make()
        assert await lookup.find("1", "2") == NOBODY
        assert lookup.find("1", "2") == NOBODY

    async def test_nobody_waits_longer_than_the_deadline_and_the_late_answer_is_the_next_calls(self) -> None:
        self.crm.does = "hold"
        lookup = self.make()
        one, other = lookup.find("1", "2"), lookup.find("1", "2")
        assert isinstance(one, Deferred)
        await self.until(lambda: self.crm.held)
        self.clock.advance(0.49)
        assert not one.called
        self.clock.advance(0.02)
        assert self.successResultOf(one) is None
        assert self.successResultOf(other) is None
        assert len(self.crm.asked) == 1  # once for both
        self.crm.release()
        await self.until(lambda: isinstance(lookup.find("1", "2"), Contact))
        assert len(self.crm.asked) == 1

    async def test_what_is_wrong_with_it_is_no_answer(self) -> None:
        for number, does in enumerate(["cut", 500, 404, 302, b"[]", b"<html>", "huge"]):
            self.crm.does = does
            assert await self.make().find("1", str(number)) is None, does
        self.crm.does = "endless"
        endless = self.make().find("1", "2")
        await self.until(lambda: len(self.crm.asked) == 8)
        self.clock.advance(0.6)
        assert self.successResultOf(endless) is None
        await deferLater(reactor, 0.05)  # type: ignore[arg-type]
        self.clock.advance(TIMEOUT_S)

    async def test_a_server_that_fails_is_left_alone_for_a_while(self) -> None:
        self.crm.does = 500
        lookup = self.make()
        for number in range(FAILURES):
            assert await lookup.find("1", str(number)) is None
        asked = len(self.crm.asked)
        assert lookup.find("1", "x") is None  # at once
        assert len(self.crm.asked) == asked
        self.crm.does = "answer"
        self.clock.advance(LEFT_ALONE_S)
        assert await lookup.find("1", "x") == Contact(contact_id="7", name="Jane")
        assert await lookup.find("1", "y") is not None

    async def test_nobody_there_and_nowhere_to_ask(self) -> None:
        port: Any = reactor.listenTCP(0, QuietSite(self.crm), interface="127.0.0.1")  # type: ignore[attr-defined]
        number = port.getHost().port
        await port.stopListening()
        assert await self.make(f"http://127.0.0.1:{number}/").find("1", "2") is None
        for url in ("http://10.0.0.1/", "http://169.254.169.254/latest"):
            assert await self.make(url).find("1", "2") is None

    async def test_only_so_many_are_asked_about_together(self) -> None:
        self.crm.does = "hold"
        lookup = self.make()
        waiting = [lookup.find("1", str(number)) for number in range(MAX_ASKING)]
        assert lookup.find("1", "more") is None
        await self.until(lambda: len(self.crm.held) == MAX_ASKING)
        self.crm.release()
        for one in waiting:
            assert (await one).contact_id == "9"

    async def test_what_is_kept_does_not_grow(self) -> None:
        lookup = self.make(keep_s=0.0)
        await lookup.find("1", "2")
        await lookup.find("1", "2")
        assert len(self.crm.asked) == 2
        many = self.make()
        for number in range(MAX_KEPT + 5):
            many._keep(("1", str(number)), NOBODY)
        assert len(many._kept) == MAX_KEPT
