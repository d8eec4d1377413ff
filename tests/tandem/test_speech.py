"""Engines that speak over HTTP: what they are asked, and what they may not do."""

import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
from twisted.internet import reactor
from twisted.trial.unittest import TestCase
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site

from tandem.speech import HttpEngine, Speech, SpeechFailed, digest_speech
from tests.audio import write_tone


class HttpSpeechCase(TestCase):
    """A server that speaks, well or badly."""

    def setUp(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.folder)
        self.asked: list[bytes] = []
        self.audio = write_tone(self.folder / "tone.wav").read_bytes()
        root = Resource()
        for name, render in (("good", self.answer), ("endless", self.answer_endless), ("silent", self.answer_nothing), ("wrong", self.answer_wrong), ("moved", self.answer_moved)):  # fmt: skip
            child = Resource()
            child.render_POST = render  # type: ignore[attr-defined]  # Twisted looks it up by its name
            root.putChild(name.encode(), child)
        port: Any = reactor.listenTCP(0, Site(root), interface="127.0.0.1")  # type: ignore[attr-defined]  # the reactor is a module to mypy
        self.addCleanup(port.stopListening)
        self.url = f"http://127.0.0.1:{port.getHost().port}"

    def answer(self, request: Any) -> bytes:
        self.asked.append(request.content.read())
        return self.audio

    def answer_endless(self, request: Any) -> int:
        def more() -> None:
            if not request.finished and request.channel is not None:
                request.write(b"x" * 1_000_000)
                reactor.callLater(0, more)  # type: ignore[attr-defined]  # the reactor is a module to mypy

        request.notifyFinish().addErrback(lambda _: None)
        more()
        return NOT_DONE_YET

    def answer_nothing(self, request: Any) -> int:
        request.notifyFinish().addErrback(lambda _: None)
        return NOT_DONE_YET

    def answer_wrong(self, request: Any) -> bytes:
        request.setResponseCode(500)
        return b"no"

    def answer_moved(self, request: Any) -> bytes:
        request.redirect(f"{self.url}/good".encode())
        return b""

    async def speak(self, path: str, timeout_s: float = 10.0) -> Path:
        engine = HttpEngine(reactor, f"{self.url}/{path}", timeout_s)
        target = self.folder / "out"
        await Speech(engine, self.folder / "cache", 1000).speak("hello", "en", "en", target)
        return target

    async def test_it_is_asked_and_answers(self) -> None:
        assert (await self.speak("good")).read_bytes() == self.audio
        assert self.asked == [b'{"text":"hello","voice":"en","language":"en"}']

    async def test_what_it_may_not_do(self) -> None:
        for path, rule in (
            ("wrong", "answered 500"),
            ("moved", "answered 302"),
            ("missing", "answered 404"),
            ("endless", "more than 33554432 bytes"),
        ):
            with pytest.raises(SpeechFailed, match=rule):
                await self.speak(path)
        with pytest.raises(SpeechFailed, match=r"took more than 0\.3 s"):
            await self.speak("silent", 0.3)
        self.url = "http://127.0.0.1:1"
        with pytest.raises(SpeechFailed, match="does not answer"):
            await self.speak("good")
        assert self.asked == []


def test_other_speech_has_another_name():
    base = (("command", "espeak"), "hello", "en", "en")
    names = {digest_speech(*base), digest_speech(("command", "other"), *base[1:]), digest_speech(base[0], "hallo", "en", "en"),
             digest_speech(base[0], "hello", "de", "en"), digest_speech(base[0], "hello", "en", "de")}  # fmt: skip
    assert len(names) == 5
