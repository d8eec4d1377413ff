"""Opens the database for commands that need no running process; never migrates one unless the command says so."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tandem.cli import exits
from tandem.cli.main import Screen

if TYPE_CHECKING:
    from tandem.domain.snapshot import Snapshot
    from tandem.settings import Settings
    from tandem.store.database import Store


@contextmanager
def open_database(screen: Screen) -> "Iterator[Store]":
    """The store of the settings; its errors end the command with their remedy."""
    from tandem.store.database import Store
    from tandem.store.errors import StoreBusy, StoreError
    from tandem.store.place import place_of

    try:
        yield Store(place_of(screen.load_settings()))
    except StoreBusy as error:
        screen.fail(exits.BUSY, str(error))
    except StoreError as error:
        screen.fail(exits.UNREACHABLE, str(error))


def read_database(settings: "Settings") -> tuple[str, str]:
    """(what was found, remedy); the remedy is empty when all is well."""
    from tandem.store.database import Store
    from tandem.store.errors import StoreError
    from tandem.store.place import place_of
    from tandem.store.revisions import load_head, load_live

    store = Store(place_of(settings))
    try:
        head, live = store.run_now(load_head), store.run_now(load_live)
    except StoreError as error:
        return str(error), error.remedy
    found = f"{store.place}, head revision {head}, live {live.revision if live is not None else 'none'}"
    return found, "" if head else "nothing is in it yet: `tandem import FILE`"


def read_live_snapshot(screen: Screen) -> "Snapshot":
    """What calls are routed by: the live revision, else (before the first apply) the head; in its night modes."""
    from tandem.domain.nights import with_modes
    from tandem.domain.snapshot import build_snapshot
    from tandem.store.nights import load_nights
    from tandem.store.objects import load_pbx
    from tandem.store.revisions import load_head, load_live

    with open_database(screen) as store:
        live = store.run_now(load_live)
        revision = live.revision if live is not None else store.run_now(load_head)
        nights = store.run_now(load_nights)
        snapshot = build_snapshot(revision, store.run_now(load_pbx, revision))
        return with_modes(snapshot, {name: night.mode for name, night in nights.items()})
