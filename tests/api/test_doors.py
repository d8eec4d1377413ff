"""Doors: who is let in, and that behind a closed one there is nothing; two APIs with one path; routes that read who asks from the request."""

from http import HTTPStatus

import pytest
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.testing import StringTransport
from twisted.web.http_headers import Headers

from api.auth import Principal
from api.compat.parameters import parameters_body
from api.compat.table import DOORS
from api.declare import Reply, Route, Shown
from api.dialect import ERROR_SCHEMA, NATIVE, Asked, Dialect, find_dialect
from api.doors import Door, is_near, open_doors
from api.errors import Refused
from api.exchange import Services
from api.metrics import Metrics
from api.site import Api
from tandem.settings import ApiSettings
from tests.api.conftest import Client, Server


class Peer:
    def __init__(self, address, **headers):
        self.address = address
        self.requestHeaders = Headers({name.replace("_", "-"): [value] for name, value in headers.items()})

    def getClientAddress(self):
        return self.address


@pytest.mark.parametrize(
    ("host", "near"), [("127.0.0.1", True), ("127.9.9.9", True), ("192.0.2.1", False), ("0.0.0.0", False)]
)
def test_who_is_near(host, near):
    assert is_near(Peer(IPv4Address("TCP", host, 9)), trusted=False) is near
    assert is_near(Peer(IPv4Address("TCP", host, 9)), trusted=True)


@pytest.mark.parametrize(("host", "near"), [("::1", True), ("::ffff:127.0.0.1", True), ("2001:db8::1", False)])
def test_who_is_near_by_ipv6(host, near):
    assert is_near(Peer(IPv6Address("TCP", host, 9)), trusted=False) is near


@pytest.mark.parametrize("header", ["x_forwarded_for", "forwarded", "x_real_ip", "via"])
def test_whoever_comes_through_a_proxy_is_not_near(header):
    assert not is_near(Peer(IPv4Address("TCP", "127.0.0.1", 9), **{header: "192.0.2.1"}), trusted=False)


def test_what_is_neither_a_socket_nor_loopback_is_far():
    assert not is_near(Peer(object()), trusted=False)


ARI = [door for door in DOORS if door.name == "ari_dialer"]


def settings(serve):
    return ApiSettings.model_validate({"ari_dialer": {"serve": serve}})


def test_a_door_is_open_as_its_section_says():
    assert [door.name for door in open_doors(ARI, settings("off"))] == []
    (near,), (wide,) = (open_doors(ARI, settings(serve)) for serve in ("loopback", "everywhere"))
    assert (near.is_near_only, wide.is_near_only) == (True, False)


def test_every_door_has_its_section_and_is_near_by_default():
    for door in DOORS:
        assert getattr(ApiSettings(), door.name).serve == "loopback"
    assert len({door.name for door in DOORS}) == len(DOORS)


# ------------------------------------------------------------------------------------------------------ two dialects


def make_dialect(name, prefixes, claims=lambda _: True):
    return Dialect(
        title=name, description="", prefixes=prefixes, error_schema=ERROR_SCHEMA, claims=claims, is_lenient=True,
        encode=lambda refused: f"{name} {int(refused.status)} {refused.message}".encode(), media_type="text/plain",
    )  # fmt: skip


FIRST = make_dialect("first", ("/api",), claims=lambda asked: asked.speaks() == "first")
SECOND = make_dialect("second", ("/api", "/deep/api"))


@pytest.mark.parametrize(
    ("path", "speaks", "found"),
    [
        ("/api/x", "first", FIRST), ("/api/x", "", SECOND), ("/api/x", None, SECOND), ("/api", "first", FIRST),
        ("/api/v1/x", "first", NATIVE), ("/apis", "first", NATIVE), ("/deep/api/x", "first", SECOND), ("/", None, NATIVE),
    ],
)  # fmt: skip
def test_the_longest_prefix_decides_and_then_who_claims_it(path, speaks, found):
    assert find_dialect((FIRST, SECOND), Asked("GET", path, b"", speaks is not None, lambda: speaks)) is found


async def _hello(_, exchange):
    return Reply(f"{exchange.route.operation} {exchange.is_near}".encode(), media_type="text/plain")


async def _act(_, exchange):
    who = exchange.require("queues/update")
    return Reply(f"{who.name} {exchange.action} {dict(exchange.body)}".encode(), media_type="text/plain")


async def _identify(_, exchange):
    name = exchange.body.get("user")
    if name == "wrong":
        raise Refused(HTTPStatus.UNAUTHORIZED, "who is that")
    return Principal(name, "test", ("queues/update",) if name == "ann" else ()) if name else None


def make_route(method, path, operation, handler=_hello, **more):
    return Route(
        method=method, path=path, permission=None, summary="", handler=handler, tag="", operation=operation,
        answer=Shown(str, media_type="text/plain"), **more,
    )  # fmt: skip


class Authority:
    def find_speech(self, header):
        return {b"Bearer first": "first", b"Bearer other": ""}.get(header)

    def identify(self, header):
        return Principal(header.decode(), "test", ())


@pytest.fixture
def ask():
    from twisted.internet.task import Clock

    services = Services(
        store=None, live=None, head=None, authority=Authority(), logins=None, events=None, metrics=Metrics(lambda: iter(())),
        now=lambda: None, read_health=dict, list_decisions=list, applying=None, monitor=None,
    )  # fmt: skip
    body = {"body": parameters_body(), "identify": _identify, "max_body": 2000}
    doors = open_doors(
        (
            Door("while1", lambda _: FIRST, (make_route("GET", "/api/x", "first_x"),)),
            Door("ari_dialer", lambda _: SECOND, (make_route("GET", "/api/x", "second_x"),
                make_route("POST", "/api/act", "act", _act, **body))),
        ),
        ApiSettings.model_validate({"ari_dialer": {"serve": "everywhere"}}),
    )  # fmt: skip
    api = Api(services, (make_route("GET", "/x", "native_x"),), doors)

    def perform(method, path, host="127.0.0.1", content=b"", **headers):
        site = api.make_site(Clock())
        transport = StringTransport(peerAddress=IPv4Address("TCP", host, 9))
        protocol = site.buildProtocol(transport.getPeer())
        protocol.makeConnection(transport)
        given = {"Host": "x", "Content-Length": str(len(content)), **headers}
        lines = [f"{method} {path} HTTP/1.1", *(f"{key.replace('_', '-')}: {value}" for key, value in given.items())]
        protocol.dataReceived("\r\n".join(lines).encode() + b"\r\n\r\n" + content)
        head, _, answer = transport.value().partition(b"\r\n\r\n")
        return int(head.split()[1]), answer.decode()

    return perform


def test_two_apis_may_have_one_path(ask):
    assert ask("GET", "/api/x", Authorization="Bearer first") == (200, "first_x True")
    assert ask("GET", "/api/x", Authorization="Bearer other") == (200, "second_x True")
    assert ask("GET", "/api/x") == (200, "second_x True")
    assert ask("GET", "/x") == (200, "native_x True")
    # Each has its own paths and its own words.
    assert ask("POST", "/api/act", Authorization="Bearer first")[1].startswith("first 404")
    assert ask("DELETE", "/api/x", Authorization="Bearer first")[1].startswith("first 405")
    assert ask("DELETE", "/api/x")[1].startswith("second 405")


def test_behind_a_door_that_is_for_this_machine_is_nothing_for_others(ask):
    far = "192.0.2.1"
    assert ask("GET", "/api/x", far, Authorization="Bearer first") == (200, "second_x False")
    assert ask("GET", "/api/x", far)[0] == 200
    relayed = {"Authorization": "Bearer first", "X_Forwarded_For": far}
    assert ask("GET", "/api/x", **relayed) == (200, "second_x False")


def test_who_asks_may_be_in_the_request_itself(ask):
    form = {"Content_Type": "text/xml"}
    assert ask("POST", "/api/act?q=1", content=b"user=ann&a[b]=2", **form) == (
        200,
        "ann queues/update {'q': '1', 'user': 'ann', 'a': {'b': '2'}}",
    )
    assert ask("POST", "/api/act", content=b"user=bob", **form) == (
        403,
        "second 403 this takes the permission queues/update",
    )
    assert ask("POST", "/api/act", content=b"user=wrong", **form) == (401, "second 401 who is that")
    assert ask("POST", "/api/act", content=b"", **form)[0] == 401
    assert ask("POST", "/api/act", content=b"user=%ff")[0] == 400
    assert ask("POST", "/api/act", content=b"x" * 2001)[0] == 413
    assert ask("POST", "/api/act?a=%00%zz%0a", content=b"user=ann")[1].endswith("'user': 'ann'}")


def test_a_door_for_this_machine_is_shut_for_the_network(tmp_path):
    """On the real server: through a proxy there is nothing, in nobody's words but ours."""
    server = Server(tmp_path)
    server.start()
    try:
        client = Client(server.port, server.token)
        client.ask("GET", "/adial/api/campaigns")
        relayed = {"X-Forwarded-For": "192.0.2.1"}
        assert client.ask("GET", "/adial/api/campaigns", status=404, headers=relayed)["error"]["status"] == 404
        assert client.ask("GET", "/api/v1/campaigns", headers=relayed)["items"] == []
        made = client.ask("POST", "/api/v1/tokens", {"name": "w", "permissions": ["*"], "dialect": "while1"}, 201)
        assert made["dialect"] == "while1"
        client.ask("POST", "/api/v1/tokens", {"name": "w", "permissions": ["*"], "dialect": "klingon"}, 422)
        tokens = client.ask("GET", "/api/v1/tokens")["items"]
        assert [token["dialect"] for token in tokens] == ["", "while1"]
    finally:
        server.stop()
