"""The dialplan and the manager user of the tests beside it; decides nothing."""

from pathlib import Path

from tandem.asterisk.instance import AsteriskInstance

EXAMPLES = Path(__file__).parents[3] / "examples"
SECRET = "of the starpy tests"
DIALPLAN = """
[starpy]
exten => survey,1,Answer()
 same => n,AGI(agi://127.0.0.1:4574/survey)
 same => n,Set(DB(test/after)=${SURVEY}.)
 same => n,Hangup()
exten => operator,1,Set(DB(test/after)=operator)
 same => n,Wait(30)
exten => run,1,Answer()
 same => n,AGI(agi://127.0.0.1:4575/run,first,second one)
 same => n,Set(DB(test/after)=${X}${EXTEN})
 same => n,Wait(5)
exten => run,104,Set(DB(test/after)=jumped)
exten => bad,1,Answer()
 same => n,Hangup(17)
exten => forged,1,Set(CALLERID(num)=${URIDECODE(555%0d%0aUniqueid: victim)})
 same => n,Answer()
 same => n,Set(CALLERID(num)=)
 same => n,UserEvent(Over)
exten => hold,1,Answer()
 same => n,Wait(60)

[dead]
exten => run,1,Hangup()
exten => h,1,AGI(agi://127.0.0.1:4575/dead)

[far]
exten => waiter,1,Wait(40)
exten => surveyed,1,Wait(1)
 same => n,SendDTMF(9,200)
 same => n,Wait(1)
 same => n,SendDTMF(1,200)
 same => n,Wait(1)
 same => n,SendDTMF(5,200)
 same => n,Wait(1)
 same => n,SendDTMF(3,200)
 same => n,Wait(20)
exten => leaver,1,Wait(1)
 same => n,SendDTMF(1,200)
 same => n,Wait(1)
 same => n,SendDTMF(5,200)
 same => n,Wait(1)
 same => n,Hangup()
exten => chooser,1,Wait(1)
 same => n,SendDTMF(2,200)
 same => n,Wait(20)
exten => presser,1,Wait(0.7)
 same => n,SendDTMF(2*01#,200)
 same => n,Wait(40)
"""
MANAGER = f"""[general]
enabled = yes
port = 5038
bindaddr = 127.0.0.1
[starpy]
secret = {SECRET}
read = all
write = all
"""


def stored(asterisk: AsteriskInstance, family: str, key: str) -> str | None:
    line = asterisk.cli(f"database get {family} {key}").strip()
    return line.removeprefix("Value: ") if line.startswith("Value: ") else None
