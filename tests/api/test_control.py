"""The control socket's routes, through a real Site and client in memory."""

import orjson
from treq.testing import StubTreq
from twisted.trial.unittest import SynchronousTestCase

from api.control import Control, UseCases
from api.errors import Refused


class ControlTest(SynchronousTestCase):
    def setUp(self):
        self.imported = []
        self.apply_result = {"revision": 3}
        use_cases = UseCases(
            read_health=lambda: {"ready": True},
            list_calls=lambda limit: [{"limit": limit}],
            apply_head=self.apply_head,
            import_document=self.import_document,
        )
        self.treq = StubTreq(Control(use_cases).resource())

    async def apply_head(self):
        if isinstance(self.apply_result, Exception):
            raise self.apply_result
        return self.apply_result

    async def import_document(self, text, note):
        self.imported.append((text, note))
        return {"saved": {}}

    def ask(self, method, path, status=200, **options):
        response = self.successResultOf(self.treq.request(method, f"http://localhost{path}", **options))
        body = self.successResultOf(self.treq.content(response))
        assert response.code == status, body
        assert response.headers.getRawHeaders("content-type") == ["application/json"]
        self.headers = response.headers
        return orjson.loads(body)

    def test_answers(self):
        assert self.ask("GET", "/health") == {"ready": True}
        assert self.ask("GET", "/calls") == [{"limit": 20}]
        assert self.ask("GET", "/calls?limit=5") == [{"limit": 5}]
        assert self.ask("GET", "/calls?limit=99999") == [{"limit": 1000}]
        assert self.ask("GET", "/calls?limit=%C2%B2") == [{"limit": 20}]
        assert self.ask("POST", "/apply") == {"revision": 3}

    def test_import_takes_text_and_note(self):
        self.ask("POST", "/import?note=why%20not", data="dids: []\nö".encode())
        assert self.imported == [("dids: []\nö", "why not")]
        error = self.ask("POST", "/import", 400, data=b"\xff")["error"]
        assert "UTF-8" in error["message"]

    def test_errors_are_json(self):
        assert self.ask("GET", "/nothing", 404)["error"]["message"] == "Not Found"
        assert self.ask("DELETE", "/apply", 405)["error"]["status"] == 405
        assert "POST" in self.headers.getRawHeaders("allow")[0]

    def test_what_goes_wrong_inside_says_nothing_of_its_insides(self):
        self.apply_result = RuntimeError("secret-in-a-traceback")
        assert "secret" not in str(self.ask("POST", "/apply", 500))

    def test_a_refusal_keeps_its_words(self):
        from http import HTTPStatus

        self.apply_result = Refused(
            HTTPStatus.CONFLICT, "the newest revision is not live: x", ({"field": "y", "rule": "z"},)
        )
        error = self.ask("POST", "/apply", 409)["error"]
        assert error == {
            "status": 409,
            "message": "the newest revision is not live: x",
            "problems": [{"field": "y", "rule": "z"}],
        }
