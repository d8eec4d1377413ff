"""Channels of anybody's: hangs one up or sends it elsewhere in the dialplan, by the name that Asterisk lists; never one that it does not list."""

from collections.abc import Awaitable, Callable
from typing import Any

from tandem.ami import actions
from tandem.ami.actions import Action
from tandem.ami.errors import AmiRefused
from tandem.domain.entities import General
from tandem.domain.originate import CallRefused
from tandem.monitoring import ChannelNow, Monitor


class ChannelMissing(LookupError):
    """No channel has this name or uniqueid."""

    def __init__(self) -> None:
        super().__init__("there is no such channel")


class Channels:
    """The use-cases. They raise AmiError. general: of the live PBX."""

    def __init__(
        self, monitor: Monitor, send: Callable[[Action], Awaitable[Any]], general: Callable[[], General]
    ) -> None:
        self._monitor = monitor
        self._send = send
        self._general = general

    async def find(self, name: str) -> ChannelNow:
        """The channel of exactly this name or uniqueid. Raises ChannelMissing."""
        for channel in await self._monitor.list_channels():
            if name in (channel.channel, channel.uniqueid):
                return channel
        raise ChannelMissing

    async def hang_up(self, name: str) -> ChannelNow:
        """Ends one leg. Raises ChannelMissing."""
        channel = await self.find(name)
        await self._send(actions.hangup(channel.channel))
        return channel

    async def hang_up_all(self) -> list[ChannelNow]:
        """Ends every leg that there is now. One whose other end is gone first is none any more."""
        ended = []
        for channel in await self._monitor.list_channels():
            try:
                await self._send(actions.hangup(channel.channel))
            except AmiRefused:
                continue
            ended.append(channel)
        return ended

    async def redirect(self, name: str, place: str) -> ChannelNow:
        """Sends a channel to priority 1 of `context,exten`. Raises CallRefused where its context is not allowed, ChannelMissing."""
        context, _, exten = place.partition(",")
        if context not in self._general().allowed_contexts:
            raise CallRefused("dialplan", f"context {context} is not in general.allowed_contexts")
        channel = await self.find(name)
        await self._send(actions.redirect(channel.channel, context, exten))
        return channel
