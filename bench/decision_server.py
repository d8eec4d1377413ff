"""The whole of `tandem serve` on a database of many DIDs, for the load generator; never talks to an Asterisk.

`make_pbx_folder` writes the database: two revisions, with not one DID in common. The process is `tandem.app`'s own composition, with the
reactor and the logging of `tandem serve`; only its AMI has nobody to talk to. At SIGUSR1 it loads the other revision, as an apply would,
and appends a line of JSON to `swaps.jsonl`: how late a timer of 1 ms was meanwhile, and the resident memory with both revisions.

    python -m bench.decision_server FOLDER PORT
"""

import json
import os
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path

QUEUES = 50
AREAS = ("30", "40")
"""Numbers of the first revision begin with +4930, of the second with +4940; seven digits follow."""
NOBODY = 9


def make_pbx_folder(folder: Path, dids: int) -> Path:
    """A database with `dids` exact numbers and a default DID in each revision; they lead to queues. Returns the folder."""
    from tandem.domain.destinations import HangupDestination, QueueDestination
    from tandem.domain.entities import Did, Pbx, Queue
    from tandem.store.database import open_store
    from tandem.store.objects import save_pbx

    folder.mkdir(mode=0o700)
    store = open_store(folder / "tandem.db", owner="bench")
    queues = tuple(Queue(name=f"q{n}", fallback=HangupDestination()) for n in range(QUEUES))
    for area in AREAS:
        # Spread over the whole range, so that the load generator's random digits hit as many as there are; and one for all others.
        numbers = [*(f"+49{area}{n * (10**7 // dids):07}" for n in range(dids)), "default"]
        places = [QueueDestination(queue=f"q{n % QUEUES}") for n in range(len(numbers))]
        listed = tuple(Did(number=number, destination=place) for number, place in zip(numbers, places, strict=True))
        pbx = Pbx(queues=queues, dids=listed)
        store.run_now(save_pbx, pbx, author="bench", note=area, at=datetime.now(UTC))
    store.lock.release()
    return folder


def pick_extension(dids: int, area: str = AREAS[0]) -> str:
    """The load generator's pattern of the numbers of one revision: `#` becomes any digit. `dids` is a power of ten up to 10^7."""
    digits = len(str(dids)) - 1
    return f"49{area}{'#' * digits}{'0' * (7 - digits)}"


def serve(folder: Path, port: int) -> None:
    """Serves the first revision until it is terminated."""
    from tandem.reactor import install_reactor

    install_reactor()
    from twisted.internet import reactor
    from twisted.internet.defer import ensureDeferred

    from bench.live_build import Lag, read_rss_mb
    from tandem.app import Tandem
    from tandem.cli.serve import start_logging
    from tandem.settings import AmiSettings, DatabaseSettings, FastagiSettings, Settings

    settings = Settings(
        state_dir=folder,
        run_dir=folder / "run",
        database=DatabaseSettings(path=folder / "tandem.db"),
        fastagi=FastagiSettings(port=port),
        ami=AmiSettings(port=NOBODY),
    )
    start_logging(settings.log.level)
    tandem = Tandem(settings)

    async def start() -> None:
        await tandem.live.load(1)
        tandem.startService()
        await tandem.live.stop()
        (folder / "ready").write_text(f"{read_rss_mb():.1f}")

    async def swap() -> None:
        held, lag = tandem.live.current, Lag(reactor)
        lag.start()
        await tandem.live.load(2 if held.revision == 1 else 1)
        figures = lag.stop("lag") | {"rss_mb": read_rss_mb(), "dids": held.dids.count}
        del held
        lag.start()
        await tandem.live.stop()
        figures |= lag.stop("file_lag")
        with (folder / "swaps.jsonl").open("a", encoding="ascii") as file:
            print(json.dumps(figures), file=file)

    async def stop() -> None:
        await tandem.stopService()
        await tandem.live.stop()
        await tandem.store.stop()

    def fail(failure: object) -> None:
        print(failure, file=sys.stderr)
        os._exit(1)

    signal.signal(signal.SIGUSR1, lambda *_: reactor.callFromThread(lambda: ensureDeferred(swap()).addErrback(fail)))
    reactor.callWhenRunning(lambda: ensureDeferred(start()).addErrback(fail))
    reactor.addSystemEventTrigger("before", "shutdown", lambda: ensureDeferred(stop()))
    reactor.run()


if __name__ == "__main__":
    serve(Path(sys.argv[1]), int(sys.argv[2]))
