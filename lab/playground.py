"""A small hand-written PBX, for `python -m lab shell` and the lab's own tests: one carrier, three phones, a few extensions."""

from __future__ import annotations

_PHONE = """
[{user}]
type = endpoint
context = lab
disallow = all
allow = alaw,ulaw
direct_media = no
dtmf_mode = auto_info
aors = {user}
auth = {user}

[{user}]
type = aor
max_contacts = 1
remove_existing = yes

[{user}]
type = auth
username = {user}
password = lab-{user}
"""

PLAYGROUND = {
    "pjsip.conf": """[udp]
type = transport
protocol = udp
bind = 127.0.0.1:5060

[carrier]
type = endpoint
context = lab
disallow = all
allow = alaw,ulaw
direct_media = no
dtmf_mode = auto_info
aors = carrier

[carrier]
type = aor
contact = sip:127.0.0.2:5060

[carrier]
type = identify
endpoint = carrier
match = 127.0.0.2
"""
    + "".join(_PHONE.format(user=user) for user in ("101", "102", "103")),
    "extensions.conf": """[lab]
; 100 answers, reads two keys and hangs up; 10X rings a phone; 110 plays music; 120 is busy.
exten => 100,1,Answer(,i)
 same => n,Read(KEYS,,2,,,5)
 same => n,Verbose(1,keys ${KEYS} from ${CALLERID(num)})
 same => n,Hangup()
exten => _10[1-3],1,Dial(PJSIP/${EXTEN},20)
 same => n,Hangup()
exten => 110,1,Answer(,i)
 same => n,MusicOnHold()
exten => 120,1,Hangup(17)
""",
}
