"""goInbound: the actions of DIDs, in-groups and call menus together; declares none itself."""

from typing import Final

from api.compat.goapi import inbound_dids

ACTIONS: Final = (*inbound_dids.ACTIONS,)
