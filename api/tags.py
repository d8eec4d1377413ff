"""ETags: made from what an object is, so that they hold over restarts; keyed, because they cover secrets that no answer shows."""

import hashlib
import hmac
import logging
import os
import secrets
from pathlib import Path
from typing import Final

log = logging.getLogger(__name__)

KEY_BYTES: Final = 32


def make_tag(key: bytes, representation: bytes) -> str:
    """A strong ETag of an object with all its fields. Without the key nobody can try out which PIN gives it."""
    return f'"{hmac.new(key, representation, hashlib.sha256).hexdigest()[:24]}"'


def load_tag_key(path: Path) -> bytes:
    """The key of this Tandem, made the first time. Where the file cannot be had, one for this process: its ETags then end with it."""
    try:
        key = path.read_bytes()
        if len(key) == KEY_BYTES:
            return key
        log.warning(
            "%s does not hold %d bytes: a new key is made, and ETags from before no longer match", path, KEY_BYTES
        )
    except FileNotFoundError:
        pass
    except OSError as error:
        log.warning("ETags end with this process: %s", error)
        return secrets.token_bytes(KEY_BYTES)
    return _make_key(path)


def _make_key(path: Path) -> bytes:
    key = secrets.token_bytes(KEY_BYTES)
    draft = path.with_name(f"{path.name}.new")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft.unlink(missing_ok=True)
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "wb") as stream:
            stream.write(key)
            stream.flush()
            os.fsync(stream.fileno())
        draft.replace(path)
    except OSError as error:
        log.warning("ETags end with this process: %s", error)
    return key
