"""goInbound: the actions of DIDs, in-groups and call menus together; declares none itself."""

from typing import Final

from api.compat.goapi import inbound_dids, inbound_menus, inbound_queues

ACTIONS: Final = (*inbound_dids.ACTIONS, *inbound_queues.ACTIONS, *inbound_menus.ACTIONS)
