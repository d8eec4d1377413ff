"""Places one call over AMI and tells what happens to it, written as for starpy: one import is ours. Hangs nothing up but what it has called.

python starpy_call.py USERNAME Local/700@default default operator 1        # the secret on standard input
"""

import logging
import sys
import uuid

from twisted.internet import reactor

from tandem.starpy import error, manager


class Call:
    """From the login to the end of the call."""

    def __init__(self, ami, channel, context, exten, priority):
        self.ami = ami
        self.target = (channel, context, exten, int(priority))
        self.channel_id = str(uuid.uuid4())

    def start(self):
        """Listens first: the call may be over before its originate is answered."""
        self.ami.registerEvent(("Newchannel", "Newstate", "Hangup"), self.on_event)
        self.ami.registerEvent("OriginateResponse", self.on_outcome)
        return self.ami.originate(
            *self.target,
            timeout=20,
            callerid='"Survey" <5550100>',
            variable={"CAMPAIGN": "spring, first round"},
            async_=True,
            channelid=self.channel_id,
        )

    def on_event(self, ami, event):
        """Only events of our own channel."""
        if event.get("uniqueid") != self.channel_id:
            return
        print(event["event"], event.get("channelstatedesc", ""), event.get("cause-txt", ""), flush=True)
        if event["event"] == "Hangup":
            ami.deregisterEvent(("Newchannel", "Newstate", "Hangup"))
            ami.logoff().addBoth(lambda _: reactor.stop())

    def on_outcome(self, _ami, event):
        """Whether it was answered."""
        if event.get("uniqueid") == self.channel_id:
            print("OriginateResponse", event["response"], flush=True)


def fail(reason):
    """Login refused, nobody there, a channel that cannot be."""
    if reason.check(error.AMICommandFailure):
        print("Asterisk says", reason.value.args[-1]["message"], flush=True)
    else:
        print(reason.getErrorMessage(), flush=True)
    reactor.stop()


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    username, *target = sys.argv[1:]
    factory = manager.AMIFactory(username, sys.stdin.readline().strip())
    factory.login("127.0.0.1", 5038).addCallback(lambda ami: Call(ami, *target).start()).addErrback(fail)
    reactor.run()
