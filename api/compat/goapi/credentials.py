"""Who calls goAPI: goUser with a password (`api.compat.passwords`) or a token of ours; keeps no secret."""

import hmac
from http import HTTPStatus
from typing import Final

from api.auth import MAX_PASSWORD, Principal
from api.compat.goapi.speech import Said, fail_login
from api.compat.passwords import Passwords
from api.errors import Refused
from api.exchange import Exchange, Services
from tandem.store.tokens import split_secret

_MAX_NAME: Final = 200


class Credentials:
    """Verifies; one for each door."""

    def __init__(self) -> None:
        self._passwords = Passwords()

    async def identify(self, services: Services, exchange: Exchange, name: str, secret: str) -> Principal:
        """Who this is. Said for a wrong name or secret (which of them is not told), 429 while there were too many wrong ones."""
        if not name or not secret or len(name) > _MAX_NAME or len(secret) > MAX_PASSWORD or "\0" in name + secret:
            raise fail_login()
        if split_secret(secret) is not None:
            return self._identify_token(services, name, secret)
        try:
            person = await self._passwords.find(services, exchange, name, secret)
        except Refused as refused:
            if refused.status != HTTPStatus.TOO_MANY_REQUESTS:
                raise
            told = {"result": "error", "message": "Too many login attempts, try again later"}
            raise Said(told, refused.status, refused.headers) from None
        if person is None:
            raise fail_login()
        user, who = person.user, f"user {person.user.name}"
        return Principal(who, who, person.permissions, user=user.name, owner_id=user.user_id, group=person.group)

    def _identify_token(self, services: Services, name: str, secret: str) -> Principal:
        """A token is somebody's: goUser must be its owner. One that is nobody's stands for itself."""
        try:
            principal = services.authority.identify(b"Bearer " + secret.encode())
        except Refused as refused:
            if refused.status != HTTPStatus.UNAUTHORIZED:
                raise
            raise fail_login() from None
        owner = principal.user
        if owner is None and principal.owner_id is not None:
            owner = principal.owner or ""
        if owner is not None and not hmac.compare_digest(owner.encode(), name.encode()):
            raise fail_login()
        return principal
