"""Who asks in the While1 Voice API, and whether the request is whole: legacy names and passwords, `api_hash`, our own signature; keeps no secret.

`api_hash` is their md5 with a key behind it, over all parameters as PHP's `http_build_query` writes them. It has neither time nor nonce, so
whoever reads a request can send it again; `X-Tandem-Signature: t=<seconds since 1970>,v1=<hex>` is HMAC-SHA256 of
`<t>.<METHOD>.<path?query>.<body>` with the same key, is good for five minutes, and takes the place of `api_hash`.
"""

import hashlib
import hmac
import re
from typing import Any, Final

from api.auth import Principal
from api.compat.passwords import Passwords
from api.compat.php_names import build_query
from api.compat.while1.speech import Denied
from api.exchange import Exchange, Services
from tandem.settings import While1Settings

USERNAME: Final = "api_username"
PASSWORD: Final = "api_password"  # noqa: S105 - the name of a parameter
HASH: Final = "api_hash"
SIGNATURE: Final = "x-tandem-signature"
SIGNATURE_S: Final = 300
_SIGNATURE: Final = re.compile(r"t=([0-9]{1,12}),v1=([0-9a-f]{64})")
_PASSWORDS: Final = Passwords()


async def identify(services: Services, exchange: Exchange) -> Principal | None:
    """Who `api_username` and `api_password` are; Denied for a wrong one, Refused 429 while there were too many."""
    name, password = (exchange.body.get(field) for field in (USERNAME, PASSWORD))
    if name is None:
        return None
    if not services.apis.while1.deprecated_credentials:
        raise Denied("API Username and Password are not accepted. Please use 'Authorization: Bearer $token' header")
    if not all(isinstance(text, str) and 0 < len(text) <= 256 and text.isprintable() for text in (name, password)):
        raise Denied("Username or password does not match")
    person = await _PASSWORDS.find(services, exchange, name, password)
    if person is None:
        raise Denied("Username or password does not match")
    user, who = person.user, f"user {person.user.name}"
    scope = f"user {user.user_id}"
    return Principal(who, scope, person.permissions, user=user.name, owner_id=user.user_id, group=person.group)


def check_integrity(settings: While1Settings, exchange: Exchange, now: float) -> None:
    """Denied unless the request has the hash or the signature that the key demands; without a key both are passed over."""
    if settings.api_key is None:
        return
    key = settings.api_key.get_secret_value()
    signature = exchange.request.getHeader(SIGNATURE)
    if signature is not None:
        if not is_signed(signature, key, read_message(exchange.request), now):
            raise Denied("Signature does not match")
        return
    given = exchange.body.get(HASH)
    wanted = hash_parameters(exchange.body, key)
    if not hmac.compare_digest((given if isinstance(given, str) else "").encode(), wanted.encode()):
        raise Denied("Hash does not match")


def hash_parameters(params: Any, key: str) -> str:
    """`api_hash` of parsed parameters: md5 of the rebuilt query and the key, lower-case hex."""
    query = build_query({name: value for name, value in params.items() if name != HASH})
    return hashlib.md5((query + key).encode(), usedforsecurity=False).hexdigest()


def sign(key: str, message: bytes, at: int) -> str:
    """The value of `X-Tandem-Signature`."""
    return f"t={at},v1={hmac.new(key.encode(), b'%d.' % at + message, 'sha256').hexdigest()}"


def is_signed(signature: str, key: str, message: bytes, now: float) -> bool:
    """Whether a signature is of this message, and young."""
    found = _SIGNATURE.fullmatch(signature)
    if found is None or abs(now - int(found[1])) > SIGNATURE_S:
        return False
    return hmac.compare_digest(sign(key, message, int(found[1])), signature)


def read_message(request: Any) -> bytes:
    """What is signed: method, address and body, as they came."""
    request.content.seek(0)
    return b".".join((request.method, request.uri, request.content.read()))
