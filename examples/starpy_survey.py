"""A menu and a survey by telephone, written as for starpy: one import is ours. Listens for Asterisk on loopback; the far end only ever gets questions.

    exten => 700,1,Answer()
     same => n,AGI(agi://127.0.0.1:4573/survey)
     same => n,Hangup()

1 in the menu starts the survey, 2 leads to extension `operator` of the same context. Answers are kept in AstDB, `survey/<uniqueid>/<question>`, each
as soon as it is given: a caller who hangs up half-way has answered what he has answered.
"""

import logging
import sys

from twisted.internet import reactor

from tandem.starpy import error, fastagi

MENU = "demo-instruct"
QUESTIONS = ("vm-press", "vm-num-i-have")
TRIES = 3

log = logging.getLogger("survey")


class Survey:
    """One call."""

    def __init__(self, agi):
        self.agi = agi
        self.answers = []
        self.tries = 0

    def start(self, _=None):
        """The menu, again and again until a key fits; three times at the most."""
        self.tries += 1
        if self.tries > TRIES:
            raise error.MenuTimeout("no key")
        return self.agi.getOption(MENU, "12", timeout=2).addCallback(self.choose)

    def choose(self, result):
        """A key of the menu, or none."""
        digit, _endpos = result
        if digit == "1":
            return self.ask()
        if digit == "2":
            return self.connect()
        return self.start()

    def connect(self):
        """The dialplan goes on at `operator`."""
        sequence = fastagi.InSequence()
        sequence.append(self.agi.setContext, self.agi.variables["agi_context"])
        sequence.append(self.agi.setExtension, "operator")
        sequence.append(self.agi.setPriority, 1)
        return sequence()

    def ask(self):
        """The next question, or thanks."""
        number = len(self.answers)
        if number == len(QUESTIONS):
            return self.agi.streamFile("auth-thankyou").addCallback(lambda _: self.agi.setVariable("SURVEY", "done"))
        return self.agi.getData(QUESTIONS[number], timeout=3, maxDigits=1).addCallback(self.keep)

    def keep(self, result):
        """An answer, or silence, which is one too."""
        digits, timed_out = result
        self.answers.append(digits or "-")
        family = f"survey/{self.agi.variables['agi_uniqueid']}"
        log.info("%s answered %s%s", family, self.answers, " (time is up)" if timed_out else "")
        return self.agi.databasePut(family, len(self.answers), self.answers[-1]).addCallback(lambda _: self.ask())


def main(agi):
    """One call: whatever happens, the dialplan goes on behind AGI()."""

    def give_up(reason):
        reason.trap(error.AGICommandFailure, error.MenuFinished)
        log.info("%s: %s", agi.variables["agi_channel"], reason.getErrorMessage())

    return Survey(agi).start().addErrback(give_up).addBoth(lambda _: agi.finish())


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 4573
    reactor.listenTCP(port, fastagi.FastAGIFactory(main), 50, "127.0.0.1")
    reactor.run()
