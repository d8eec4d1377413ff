"""starpy's AMI actions, one method each; says what each is called and what it carries, sends nothing itself and escapes nothing."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping

from twisted.internet.defer import Deferred

from tandem.ami.actions import Action
from tandem.starpy.error import AMICommandFailure
from tandem.starpy.messages import Reply, Request

_TRUE = (True, 1, "true", "yes", "on")
ANSWER_S = 10.0  # what an answer may take on top of the time that Asterisk was told to wait
A_DAY_S = 86_400.0  # where Asterisk was told to wait for ever
ORIGINATE_S = 30  # Asterisk's own, where an originate names no timeout


class ManagerActions(ABC):
    """Every method returns a Deferred. Unless it says otherwise it fires with Asterisk's answer, and fails with AMICommandFailure."""

    @abstractmethod
    def send_action(self, action: Action, *, action_id: str = "", answer_s: float | None = None) -> Deferred[Reply]:
        """Sends one action; fires with its answer, also with one whose response is Error."""

    @abstractmethod
    def sendMessage(self, message: Request, responseCallback: Callable[[Reply], object] | None = None) -> str:
        """Sends any action; its ActionID."""

    @abstractmethod
    def collectDeferred(self, message: Request, stopEvent: str) -> Deferred[list[Reply]]:
        """Sends a list action; fires with its response and its events."""

    def errorUnlessResponse(self, message: Reply, expected: str = "Success") -> Reply:
        """`message` again; raises AMICommandFailure(message) unless its response is `expected`."""
        if message["response"] != expected:
            raise AMICommandFailure(message)
        return message

    def _act(self, name: str, answer_s: float | None = None, /, **headers: object) -> Deferred[Reply]:
        given = tuple((header, str(value)) for header, value in headers.items() if value is not None)
        return self.send_action(Action(name, given), answer_s=answer_s).addCallback(self.errorUnlessResponse)

    def _list(self, name: str, end: str, **headers: object) -> Deferred[list[Reply]]:
        return self.collectDeferred({"Action": name, **headers}, end)

    # ---- the session

    def ping(self) -> Deferred[Reply]:
        """Asks whether Asterisk is alive."""
        return self._act("Ping")

    def events(self, eventmask: bool | int | str = False) -> Deferred[Reply]:
        """Which events come: on, off, or classes such as `call,agent`."""
        mask = eventmask if isinstance(eventmask, str) else "on" if eventmask else "off"
        return self._act("Events", EventMask=mask)

    def listCommands(self) -> Deferred[Reply]:
        """The actions that this login may use: name in lower case -> what it does."""

        def drop_action_id(reply: Reply) -> Reply:
            reply.pop("actionid", None)
            return reply

        return self._act("ListCommands").addCallback(drop_action_id)

    def command(self, command: str) -> Deferred[list[str]]:
        """Runs a CLI command; fires with the lines that it printed."""
        return self._act("Command", Command=command).addCallback(lambda reply: reply.get("output", "").split("\n"))

    def waitEvent(self, timeout: int) -> Deferred[list[Reply]]:
        """Fires with the answer, alone in a list, when the next event has come; events come to those that registered for them."""
        answer_s = timeout + ANSWER_S if timeout >= 0 else A_DAY_S
        return self._act("WaitEvent", answer_s, Timeout=timeout).addCallback(lambda reply: [reply])

    def getConfig(self, filename: str) -> Deferred[Reply]:
        """A configuration file, as `category-000000` and `line-000000-000000`."""
        return self._act("GetConfig", Filename=filename)

    def updateConfig(
        self, srcfile: str, dstfile: str, reload: bool | str, headers: Mapping[str, object] | None = None
    ) -> Deferred[Reply]:
        """Edits a configuration file; `headers` are Action-000000, Cat-000000, Var-000000, Value-000000, Match-000000."""
        wish = "yes" if reload in _TRUE else "no"
        action = {"SrcFilename": srcfile, "DstFilename": dstfile, "Reload": wish, **(headers or {})}
        return self._act("UpdateConfig", None, **action)

    # ---- calls

    def originate(
        self,
        channel: str,
        context: str | None = None,
        exten: str | None = None,
        priority: int | str | None = None,
        timeout: float | None = None,
        callerid: str | None = None,
        account: str | None = None,
        application: str | None = None,
        data: str | None = None,
        variable: Mapping[str, object] | Iterable[tuple[str, object]] | None = None,
        async_: bool = False,
        channelid: str | None = None,
        otherchannelid: str | None = None,
        **more: bool,
    ) -> Deferred[Reply]:
        """Calls `channel` and connects it to context/exten/priority, or to `application(data)`. `timeout` in seconds.

        Not async, the answer comes when the call was answered or failed, and nothing else is answered on this connection meanwhile. `async` became a
        word of the language: give it as `async_`, as `**{"async": True}`, or as the eleventh argument. `variable`: names -> values, taken literally.
        """
        is_async = more.pop("async", more.pop("run_async", async_))
        if more:
            raise TypeError(f"originate() got an unexpected keyword argument {next(iter(more))!r}")
        headers = {
            "Channel": channel,
            "Context": context,
            "Exten": exten,
            "Priority": priority,
            "Timeout": None if timeout is None else round(timeout * 1000),
            "CallerID": callerid,
            "Account": account,
            "Application": application,
            "Data": data,
            "Async": "true" if is_async else "false",
            "ChannelId": channelid,
            "OtherChannelId": otherchannelid,
        }
        pairs = variable.items() if isinstance(variable, Mapping) else variable or ()
        action = Action(
            "Originate",
            tuple((name, str(value)) for name, value in headers.items() if value is not None),
            tuple((str(name), str(value)) for name, value in pairs),
        )
        answer_s = None if is_async else (ORIGINATE_S if timeout is None else timeout) + ANSWER_S
        return self.send_action(action, answer_s=answer_s).addCallback(self.errorUnlessResponse)

    def hangup(self, channel: str) -> Deferred[Reply]:
        """Hangs up a channel."""
        return self._act("Hangup", Channel=channel)

    def redirect(
        self, channel: str, context: str, exten: str, priority: int | str, extraChannel: str | None = None
    ) -> Deferred[Reply]:
        """Sends one channel, or two, to another place in the dialplan."""
        target = {"Context": context, "Exten": exten, "Priority": priority}
        return self._act("Redirect", None, Channel=channel, ExtraChannel=extraChannel, **target)

    def status(self, channel: str | None = None) -> Deferred[list[Reply]]:
        """A Status event for each channel, or for one."""
        return self._list("Status", "StatusComplete", Channel=channel or None)

    def absoluteTimeout(self, channel: str, timeout: int) -> Deferred[Reply]:
        """Hangs a channel up in `timeout` seconds."""
        return self._act("AbsoluteTimeout", Channel=channel, Timeout=timeout)

    def playDTMF(self, channel: str, digit: str) -> Deferred[Reply]:
        """Plays one digit to a channel."""
        return self._act("PlayDTMF", Channel=channel, Digit=digit)

    def getVar(self, channel: str | None, variable: str) -> Deferred[str | None]:
        """A variable or function of a channel, a global one where `channel` is None; '' where it is not set."""

        def read(reply: Reply) -> str | None:
            return None if reply.get("value") == "(null)" else reply.get("value", "")

        return self._act("Getvar", Channel=channel or None, Variable=variable).addCallback(read)

    def setVar(self, channel: str | None, variable: str, value: object) -> Deferred[Reply]:
        """Sets a variable of a channel, a global one where `channel` is None."""
        return self._act("Setvar", Channel=channel or None, Variable=variable, Value=value)

    def setCDRUserField(self, channel: str, userField: str, append: bool = True) -> Deferred[Reply]:
        """Sets, or adds to, the user field of a channel's CDR; Asterisk has no action for it any more, so it goes by CDR(userfield)."""
        if append not in _TRUE:
            return self.setVar(channel, "CDR(userfield)", userField)
        return self.getVar(channel, "CDR(userfield)").addCallback(
            lambda had: self.setVar(channel, "CDR(userfield)", (had or "") + userField)
        )

    def userEvent(self, event: str, **headers: object) -> str:
        """Sends a UserEvent to everybody who listens; its ActionID."""
        return self.sendMessage({"Action": "UserEvent", "UserEvent": event, **headers})

    # ---- recording: Monitor is gone since Asterisk 21, MixMonitor records both sides into one file

    def monitor(self, channel: str, file: str, format: str, mix: object = True) -> Deferred[Reply]:  # noqa: ARG002 - starpy's signature; MixMonitor always mixes
        """Records a channel, both sides mixed, into `file`.`format`."""
        return self._act("MixMonitor", Channel=channel, File=f"{file}.{format}")

    def stopMonitor(self, channel: str) -> Deferred[Reply]:
        """Ends a recording."""
        return self._act("StopMixMonitor", Channel=channel)

    def pauseMonitor(self, channel: str) -> Deferred[Reply]:
        """Records silence."""
        return self._act("MixMonitorMute", Channel=channel, Direction="both", State=1)

    def unpauseMonitor(self, channel: str) -> Deferred[Reply]:
        """Records again."""
        return self._act("MixMonitorMute", Channel=channel, Direction="both", State=0)

    def changeMonitor(self, channel: str, filename: str) -> Deferred[Reply]:
        """Refused by Asterisk 21 and later."""
        return self._act("ChangeMonitor", Channel=channel, File=filename)

    # ---- parking

    def park(self, channel: str, channel2: str, timeout: int) -> Deferred[Reply]:
        """Parks `channel`; `channel2` is told where, and gets it back after `timeout` milliseconds."""
        return self._act("Park", Channel=channel, TimeoutChannel=channel2, AnnounceChannel=channel2, Timeout=timeout)

    def parkedCalls(self) -> Deferred[list[Reply]]:
        """A ParkedCall event for each parked call."""
        return self._list("ParkedCalls", "ParkedCallsComplete")

    def parkedCall(self) -> Deferred[Reply]:
        """Refused by Asterisk: it is the name of an event."""
        return self._act("ParkedCall")

    def unParkedCall(self) -> Deferred[Reply]:
        """Refused by Asterisk: it is the name of an event."""
        return self._act("UnParkedCall")

    # ---- AstDB

    def dbGet(self, family: str, key: str) -> Deferred[str]:
        """A value; fails when there is none."""

        def read(replies: list[Reply]) -> str:
            return replies[-1].get("val", "")

        return self._list("DBGet", "DBGetComplete", Family=family, Key=key).addCallback(read)

    def dbPut(self, family: str, key: str, value: object) -> Deferred[Reply]:
        """Stores a value."""
        return self._act("DBPut", Family=family, Key=key, Val=value)

    def dbDel(self, family: str, key: str) -> Deferred[Reply]:
        """Deletes a key."""
        return self._act("DBDel", Family=family, Key=key)

    def dbDelTree(self, family: str, key: str | None = None) -> Deferred[Reply]:
        """Deletes a family, or a tree in it."""
        return self._act("DBDelTree", Family=family, Key=key)

    # ---- queues and agents

    def queueAdd(
        self,
        queue: str,
        interface: str,
        penalty: int = 0,
        paused: bool | str = True,
        membername: str | None = None,
        stateinterface: str | None = None,
    ) -> Deferred[Reply]:
        """Adds a member, paused unless told otherwise."""
        more = {"MemberName": membername, "StateInterface": stateinterface}
        return self._act(
            "QueueAdd", None, Queue=queue, Interface=interface, Penalty=penalty, Paused=_boolean(paused), **more
        )

    def queueRemove(self, queue: str, interface: str) -> Deferred[Reply]:
        """Removes a member."""
        return self._act("QueueRemove", Queue=queue, Interface=interface)

    def queuePause(
        self, queue: str | None, interface: str, paused: bool | str = True, reason: str | None = None
    ) -> Deferred[Reply]:
        """Pauses a member, or lets it work again, in one queue or (None) in all."""
        return self._act("QueuePause", Queue=queue, Interface=interface, Paused=_boolean(paused), Reason=reason)

    def queuePenalty(self, interface: str, penalty: int, queue: str | None = None) -> Deferred[Reply]:
        """Sets a member's penalty in one queue or in all."""
        return self._act("QueuePenalty", Interface=interface, Penalty=penalty, Queue=queue)

    def queueLog(
        self, queue: str, event: str, uniqueid: str | None = None, interface: str | None = None, msg: str | None = None
    ) -> Deferred[Reply]:
        """Writes a line into queue_log."""
        return self._act("QueueLog", Queue=queue, Event=event, Uniqueid=uniqueid, Interface=interface, Message=msg)

    def queueStatus(self, queue: str | None = None, member: str | None = None) -> Deferred[list[Reply]]:
        """QueueParams, QueueMember and QueueEntry events."""
        return self._list("QueueStatus", "QueueStatusComplete", Queue=queue, Member=member)

    def queues(self) -> Deferred[list[str]]:
        """What the CLI says of all queues, as lines; Asterisk's own action of that name writes no AMI."""
        return self.command("queue show")

    def agents(self) -> Deferred[list[Reply]]:
        """An Agents event for each agent of app_agent_pool."""
        return self._list("Agents", "AgentsComplete")

    def agentLogoff(self, agent: str, soft: bool | str) -> Deferred[Reply]:
        """Logs an agent of app_agent_pool off."""
        return self._act("AgentLogoff", Agent=agent, Soft=_boolean(soft))

    # ---- states, mailboxes

    def extensionState(self, exten: str, context: str) -> Deferred[Reply]:
        """The state of an extension's hint, in `status` (-1: there is none)."""
        return self._act("ExtensionState", Exten=exten, Context=context)

    def mailboxCount(self, mailbox: str) -> Deferred[Reply]:
        """`newmessages` and `oldmessages` of a mailbox."""
        return self._act("MailboxCount", Mailbox=mailbox)

    def mailboxStatus(self, mailbox: str) -> Deferred[Reply]:
        """Whether something waits in a mailbox, in `waiting`."""
        return self._act("MailboxStatus", Mailbox=mailbox)

    # ---- what only an older Asterisk, or one with such a driver, has

    def meetmeMute(self, meetme: str, usernum: int) -> Deferred[Reply]:
        """MeetMe is gone since Asterisk 21; fires also with a refusal."""
        return self.send_action(Action("MeetMeMute", (("Meetme", meetme), ("Usernum", str(usernum)))))

    def meetmeUnmute(self, meetme: str, usernum: int) -> Deferred[Reply]:
        """MeetMe is gone since Asterisk 21; fires also with a refusal."""
        return self.send_action(Action("MeetMeUnmute", (("Meetme", meetme), ("Usernum", str(usernum)))))

    def sipPeers(self) -> Deferred[list[Reply]]:
        """chan_sip is gone since Asterisk 21; PJSIP: collectDeferred({"action": "PJSIPShowEndpoints"}, "EndpointListComplete")."""
        return self._list("SIPpeers", "PeerlistComplete")

    def sipShowPeers(self, peer: str) -> Deferred[Reply]:
        """chan_sip is gone since Asterisk 21."""
        return self._act("SIPshowpeer", Peer=peer)

    def dahdiDNDoff(self, channel: str) -> Deferred[Reply]:
        """Do not disturb off."""
        return self._act("DAHDIDNDoff", DAHDIChannel=channel)

    def dahdiDNDon(self, channel: str) -> Deferred[Reply]:
        """Do not disturb on."""
        return self._act("DAHDIDNDon", DAHDIChannel=channel)

    def dahdiDialOffhook(self, channel: str, number: str) -> Deferred[Reply]:
        """Dials while off hook."""
        return self._act("DAHDIDialOffhook", DAHDIChannel=channel, Number=number)

    def dahdiHangup(self, channel: str) -> Deferred[Reply]:
        """Hangs a channel up."""
        return self._act("DAHDIHangup", DAHDIChannel=channel)

    def dahdiRestart(self, channel: str | None = None) -> Deferred[Reply]:
        """Restarts all DAHDI channels: their calls end."""
        return self._act("DAHDIRestart", DAHDIChannel=channel)

    def dahdiShowChannels(self) -> Deferred[list[Reply]]:
        """A DAHDIShowChannels event for each channel."""
        return self._list("DAHDIShowChannels", "DAHDIShowChannelsComplete")

    def dahdiTransfer(self, channel: str) -> Deferred[Reply]:
        """Simulates a flash on a channel."""
        return self._act("DAHDITransfer", DAHDIChannel=channel)


def _boolean(value: object) -> str:
    return "true" if value in _TRUE else "false"
