"""Whom a While1 client means: a user is a phone of ours, by its extension, its name or the e-mail address of its voicemail; decides nothing else."""

from api.compat.while1.speech import Denied
from tandem.domain.entities import Endpoint
from tandem.domain.snapshot import Snapshot


def find_user(snapshot: Snapshot, name: str) -> Endpoint | None:
    """The endpoint of this extension, or the only one of this name."""
    if name in snapshot.endpoints:
        return snapshot.endpoints[name]
    named = [one for one in snapshot.endpoints.values() if one.name and one.name.casefold() == name.casefold()]
    return named[0] if len(named) == 1 else None


def find_by_email(snapshot: Snapshot, email: str) -> Endpoint | None:
    """The only endpoint whose voicemail goes to this address."""
    boxes = {
        box.mailbox
        for box in snapshot.voicemail_boxes.values()
        if box.email and box.email.casefold() == email.casefold()
    }
    found = [one for one in snapshot.endpoints.values() if one.voicemail in boxes]
    return found[0] if len(found) == 1 else None


def need_user(snapshot: Snapshot, name: str, field: str) -> Endpoint:
    """The same; Denied where there is none, or more than one."""
    found = find_user(snapshot, name)
    if found is None:
        raise Denied(f"{field}: there is no user {name}")
    return found
