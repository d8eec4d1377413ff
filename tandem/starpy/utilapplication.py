"""starpy's UtilApplication: where to log in and where to listen, read from a file, and calls handed to whoever waits for their extension; knows no menu.

    [AMI]
    username = dialer
    secret = of the dialer

    [FastAGI]
    port = 4574

in `starpy.conf` of the current folder, then in `~/.starpy.conf`, which wins. It needs no basicproperty.
"""

import logging
from collections.abc import Callable
from configparser import ConfigParser
from pathlib import Path
from typing import Any, ClassVar, cast

from twisted.internet import defer
from twisted.internet.defer import Deferred

from tandem.starpy.fastagi import FastAGIFactory, FastAGIProtocol
from tandem.starpy.manager import AMIFactory, AMIProtocol

__all__ = ["AGISpecifier", "AMISpecifier", "UtilApplication"]

log = logging.getLogger("app")

Handler = Callable[[FastAGIProtocol], object]


class _Specifier:
    """Attributes that a section of the file may set, each of the kind of its default."""

    section: ClassVar[str]

    def read(self, parser: ConfigParser) -> None:
        """Takes what the file says; ValueError naming section and option for what is not of its kind."""
        for name, default in vars(type(self)).items():
            if name == "section" or not isinstance(default, str | int | float) or name.startswith("_"):
                continue
            if parser.has_option(self.section, name):
                text = parser.get(self.section, name)
                try:
                    setattr(self, name, type(default)(text))
                except ValueError:
                    raise ValueError(f"[{self.section}] {name} = {text!r} is no number") from None


class AMISpecifier(_Specifier):
    """Asterisk's manager interface, and who logs in there. timeout: of connecting, in seconds."""

    section = "AMI"
    username = ""
    secret = ""
    server = "127.0.0.1"
    port = 5038
    timeout = 5.0

    @property
    def password(self) -> str:
        """Another name for the secret."""
        return self.secret

    @password.setter
    def password(self, value: str) -> None:
        self.secret = value

    def read(self, parser: ConfigParser) -> None:
        """As of every section; `password` is `secret`."""
        super().read(parser)
        if parser.has_option(self.section, "password"):
            self.secret = parser.get(self.section, "password")

    def login(self, on_reconnect: Callable[[Deferred[AMIProtocol]], object] | None = None) -> Deferred[AMIProtocol]:
        """Connects and logs in, as AMIFactory does."""
        factory = AMIFactory(self.username, self.secret, on_reconnect=on_reconnect)
        return factory.login(self.server, self.port, timeout=self.timeout)


class AGISpecifier(_Specifier):
    """Where FastAGI listens, and the dialplan's context that calls come from."""

    section = "FastAGI"
    port = 4573
    interface = "127.0.0.1"
    context = "survey"

    def run(self, mainFunction: Handler) -> Any:
        """Listens; the port (IListeningPort)."""
        from twisted.internet import reactor  # noqa: PLC0415 - importing it installs it

        return cast("Any", reactor).listenTCP(self.port, FastAGIFactory(mainFunction), 50, self.interface)


class UtilApplication:
    """A program: `agiSpecifier.run(app.dispatchIncomingCall)`, and handlers for the extensions that calls come in on. clock: for tests."""

    configFiles: tuple[str, ...] = ("starpy.conf", "~/.starpy.conf")
    clock: Any = None

    def __init__(self) -> None:
        self.amiSpecifier, self.agiSpecifier = AMISpecifier(), AGISpecifier()
        self.extensionWaiters: dict[str, Deferred[FastAGIProtocol]] = {}
        self.extensionHandlers: dict[str | None, Handler] = {}
        self.loadConfigurations()

    def loadConfigurations(self) -> ConfigParser:
        """Reads `configFiles`, later ones over earlier ones; those that are not there are passed over."""
        # A percent sign in a secret is one.
        parser = ConfigParser(interpolation=None)
        parser.read([Path(name).expanduser() for name in self.configFiles], encoding="utf-8")
        for specifier in (self.amiSpecifier, self.agiSpecifier):
            specifier.read(parser)
        return parser

    def dispatchIncomingCall(self, agi: FastAGIProtocol) -> object:
        """The main function of a FastAGIFactory: a waiter is served once and first, then the extension's handler, then that of None. Nobody: the AGI ends."""
        extension = agi.variables["agi_extension"]
        waiter = self.extensionWaiters.pop(extension, None)
        if waiter is not None:
            waiter.callback(agi)
            return None
        handler = self.extensionHandlers.get(extension) or self.extensionHandlers.get(None)
        if handler is None:
            log.warning("nobody waits for calls on %r", extension)
            agi.finish()
            return None
        return handler(agi)

    def waitForCallOn(self, extension: object, timeout: float = 15) -> Deferred[FastAGIProtocol]:
        """Fires with the next call on that extension; fails with Twisted's TimeoutError after so many seconds. A second one takes the place of the first."""
        name = str(extension)
        if (before := self.extensionWaiters.pop(name, None)) is not None:
            before.errback(defer.TimeoutError(f"another one waits for calls on {name!r} now"))
        waiter: Deferred[FastAGIProtocol] = Deferred(lambda _: self._forget(name, waiter))
        self.extensionWaiters[name] = waiter
        timer = self._read_clock().callLater(timeout, self._end, name, waiter)

        def stop(outcome: Any) -> Any:
            if timer.active():
                timer.cancel()
            return outcome

        return waiter.addBoth(stop)

    def handleCallsFor(self, extension: object, callback: Handler) -> None:
        """Calls on that extension go there from now on; None: those of all others."""
        self.extensionHandlers[None if extension is None else str(extension)] = callback

    def _read_clock(self) -> Any:
        if self.clock is not None:
            return self.clock
        from twisted.internet import reactor  # noqa: PLC0415 - importing it installs it

        return reactor

    def _end(self, name: str, waiter: Deferred[FastAGIProtocol]) -> None:
        self._forget(name, waiter)
        waiter.errback(defer.TimeoutError(f"no call on {name!r} in time"))

    def _forget(self, name: str, waiter: Deferred[FastAGIProtocol]) -> None:
        if self.extensionWaiters.get(name) is waiter:
            del self.extensionWaiters[name]
