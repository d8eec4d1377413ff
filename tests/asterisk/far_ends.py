"""An Asterisk with trunks, each of whose far ends does what it is told, and how our side in this process gets to its manager; starts nothing by itself."""

import contextlib
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IStreamClientEndpoint
from zope.interface import implementer

from confgen.render import RenderTarget, render
from lab.sipp import SippRun, register_phones, run_phone
from tandem.asterisk.instance import AsteriskInstance
from tandem.domain.snapshot import Snapshot
from tests.asterisk.conftest import AsteriskFactory

DIALPLAN = Path(__file__).parents[2] / "dialplan"
FAR_HOST, PHONE_HOST, PHONE_PORT = "127.0.0.4", "127.0.0.3", 5070


def list_trunks(names: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Trunks of those names for a PBX document, each with a far end of its own."""
    return [
        {"name": name, "hosts": [f"{FAR_HOST}:{_port(number)}"], "match": [f"127.1.0.{number + 1}"]}
        for number, name in enumerate(names)
    ]


def _port(number: int) -> int:
    return 6000 + 10 * number


@contextlib.contextmanager
def running_asterisk(
    asterisk_factory: AsteriskFactory,
    snapshot: Snapshot,
    far_ends: Mapping[str, Mapping[str, Any] | None],
    *,
    dialplan: str,
    phones: Mapping[str, str],
    queues: str = "",
) -> Iterator[tuple[AsteriskInstance, dict[str, SippRun]]]:
    """It, and its far ends by their names. far_ends: trunk -> what `run_phone` takes, None: nobody is there. dialplan, queues: the admin's own. phones: extension -> secret; they answer."""
    target = RenderTarget(
        agi_url="agi://127.0.0.1:4573", recordings_dir="/nowhere", dialplan_dir=str(DIALPLAN), qualify_s=0
    )
    files = render(snapshot, target)
    transport = "[udp]\ntype = transport\nprotocol = udp\nbind = 127.0.0.1:5060\n"
    static = "".join(path.read_text() for path in sorted(DIALPLAN.glob("*.conf")))
    instance = asterisk_factory(
        config={
            "pjsip.conf": transport + files["pjsip.conf"],
            "extensions.conf": "[globals]\n" + files["extensions.conf"].partition("#include")[0] + static + dialplan,
            "queues.conf": "[general]\n" + files["queues.conf"] + queues,
        }
    )
    register_phones(instance, list(phones.items()), port=PHONE_PORT, host=PHONE_HOST)
    with contextlib.ExitStack() as ends:
        runs = {
            name: ends.enter_context(
                run_phone(instance, host=FAR_HOST, port=_port(number), **{"ring_s": 0.1, **options})
            )
            for number, (name, options) in enumerate(far_ends.items())
            if options is not None
        }
        ends.enter_context(run_phone(instance, host=PHONE_HOST, port=PHONE_PORT, ring_s=0.1))
        yield instance, runs


@implementer(IStreamClientEndpoint)
class InstanceEndpoint:
    """Connects into the network of a private Asterisk."""

    def __init__(self, asterisk: AsteriskInstance) -> None:
        self.asterisk = asterisk

    def connect(self, factory: Any) -> "Deferred[Any]":
        async def connect() -> Any:
            link = self.asterisk.connect_ami()
            link.setblocking(False)
            transport = reactor.adoptStreamConnection(link.fileno(), socket.AF_INET, factory)  # type: ignore[attr-defined]
            link.close()
            return transport.protocol

        return Deferred.fromCoroutine(connect())
