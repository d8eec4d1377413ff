"""Answers of surveys on their way to somebody's address, and what that says: read whatever it is, and asked over a real connection."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import TestCase
from twisted.web.resource import Resource
from twisted.web.server import Site

from tandem.domain.surveys import SurveyAnswer, SurveyVisit, read_said, write_answers
from tandem.posting import Poster
from tandem.surveying import Surveys

VISIT = SurveyVisit(
    visit_id="v", survey_id=8, call_id="call-1", campaign_id=3, number_id=4, phone_number="0301", started_at=1.0
)
ANSWER = SurveyAnswer(
    visit_id="v", survey_id=8, call_id="call-1", campaign_id=3, number_id=4, phone_number="0301", position=0, question="n", key="12", value="12",
    label="No", recording="", answered_at=2.0,
)  # fmt: skip


@pytest.mark.parametrize(
    ("body", "said"),
    [(b"It is sent.", "It is sent."), (b'{"result": "Sent\\n"}', "Sent"), (b'\xef\xbb\xbf{"result": 4711}', "4711"), (b'{"result": true}', ""),
     (b'{"result": ["x"]}', ""), (b"{}", ""), (b"{", ""), (b"\xff", ""), (b"", ""), (b"a\0b\x1b", "ab"), (b"x" * 600, "x" * 500)],
)  # fmt: skip
def test_what_an_address_says_is_plain_text_or_a_result(body: bytes, said: str) -> None:
    assert read_said(body) == said


@given(st.binary(max_size=300))
def test_whatever_it_says_is_printable_and_short(body: bytes) -> None:
    said = read_said(body)
    assert len(said) <= 500
    assert all(sign.isprintable() for sign in said)


class CustomerServer(Resource):
    """Somebody's address; `status` is what it answers with."""

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.got: list[Any] = []
        self.status = 200

    def render_POST(self, request: Any) -> bytes:
        self.got.append(json.loads(request.content.read()))
        request.setResponseCode(self.status)
        return b'{"result": "4711"}' if self.status == 200 else b"no"


class QuietSite(Site):
    """The far end's own log is not ours."""

    def log(self, request: Any) -> None:
        pass


class SendingTest(TestCase):
    def setUp(self) -> None:
        self.server = CustomerServer()
        self.port: Any = reactor.listenTCP(0, QuietSite(self.server), interface="127.0.0.1")  # type: ignore[attr-defined]
        self.addCleanup(self.port.stopListening)

    async def send(self, *, host: str = "127.0.0.1", port: int = 0) -> str:
        clock = Clock()
        poster = Poster(reactor, clock, allow_private=False)
        nothing: Any = None
        surveys = Surveys(nothing, nothing, lambda: nothing, clock, exchange=poster.exchange)
        try:
            said: str = await surveys.send_answers(
                f"http://{host}:{port or self.port.getHost().port}/x", VISIT, (ANSWER,)
            )
        finally:
            await poster.stop()
        return said

    async def _go(self) -> None:
        assert await self.send() == "4711"
        assert self.server.got == [json.loads(write_answers(VISIT, (ANSWER,)))]
        assert self.server.got[0]["answers"] == [
            {"question": "n", "key": "12", "value": "12", "label": "No", "recording": "", "answered_at": 2.0}
        ]
        self.server.status = 500
        assert await self.send() == ""
        # Addresses are checked, and one that nobody listens at says nothing.
        assert await self.send(host="192.168.255.1") == ""
        assert len(self.server.got) == 2
        assert await self.send(port=1) == ""

    def test_it_is_told_and_what_it_says_is_heard(self) -> "Deferred[None]":
        return Deferred.fromCoroutine(self._go())
