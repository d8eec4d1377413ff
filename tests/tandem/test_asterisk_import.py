"""An existing Asterisk's own files as a PBX, and what of them is not in it, by place."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tandem.document import read_document, write_document
from tandem.domain.asterisk_import import import_asterisk
from tandem.domain.conf_text import read_conf

PJSIP = r"""
[global]
type=global
[phone](!)            ; what all have
type = endpoint
disallow = all
allow = alaw,g722,g729
context = from-phones
[1001](phone)
auth = 1001
aors = 1001
callerid = "Ann \; Lee" <1001>
mailboxes = 1001@default
call_group = 1
[1001]
type = auth
auth_type = userpass
username = 1001
password = correct-horse
[1001]
type = aor
max_contacts = 3
[1002](phone)
auth = 1002-auth
[1002-auth]
type = auth
username = bob
password = short
;--
[1003]
type = endpoint
--;
[My Carrier]
type = endpoint
context = from-carrier
aors = My Carrier
outbound_auth = carrier-auth
from_user = 4930
allow = !all,ulaw
[My Carrier]
type = aor
contact = sip:4930@sip.carrier.example:5070\;transport=udp
[carrier-auth]
type = auth
username = account
password = of-the-carrier
[carrier-reg]
type = registration
outbound_auth = carrier-auth
server_uri = sip:reg.carrier.example
[carrier-id]
type = identify
endpoint = My Carrier
match = 192.0.2.0/24
[anonymous]
type = endpoint
[acl]
type = acl
permit = 0.0.0.0/0
"""
VOICEMAIL = """
[general]
format = wav49
maxmsg = 50
[default]
1001 => 4711,Ann Lee,ann@example.net,,tz=central|attach=yes
1002 => 12,Bob
"""
QUEUES = """
[general]
persistentmembers = yes
[sales]
strategy = roundrobin
timeout = 15
wrapuptime = 5
member => PJSIP/1001,2,Ann
member => SIP/1002
member => Local/300@agents/n
joinempty = yes
periodic-announce = hello
[1 support]
strategy = rrmemory
defaultrule = Widen
announce-position = more
announce-position-limit = 3
announce-position-only-up = yes
announce-to-first-user = yes
autopause = all
autopausedelay = 60
[third]
strategy = rrordered
defaultrule = nothing
announce-position-only-up = yes
autopausebusy = yes
"""
RULES = """
[general]
realtime_rules = yes
[widen]
penaltychange => 60,,2
penaltychange => 30,5
penaltychange => 90,+3
[relative]
penaltychange => 10,-1
"""
EXTENSIONS = """
[globals]
A = 1
[from-carrier]
exten => 493012340,1,Answer()
 same => n,Dial(PJSIP/1001,30)
 same => n,Hangup()
exten => 493012341,1,Queue(sales,t)
exten => 493012342,1,VoiceMail(1001@default,u)
exten => 493012343,1,Goto(lobby,100,1)
exten => 493012344,1,Busy()
exten => 493012345,1,GotoIf($[1]?lobby,100,1)
exten => _49301235X,1,Queue(1 support)
exten => _X.,1,Hangup(1)
exten => h,1,NoOp()
include => later
[from-phones]
exten => _X.,1,Dial(PJSIP/${EXTEN})
#include more.conf
"""


def carry(**texts):
    files = {f"{name}.conf": text for name, text in texts.items()}
    more = {"more.conf": "exten => 100,1,NoOp()\n"}
    return import_asterisk(files, lambda name: {name: more[name]} if name in more else {})


CARRIED = carry(pjsip=PJSIP, voicemail=VOICEMAIL, queues=QUEUES, queuerules=RULES, extensions=EXTENSIONS)
LOST = [str(lost) for lost in CARRIED.lost]


def test_phones_boxes_and_trunks():
    ann, bob = CARRIED.pbx.endpoints
    assert (ann.extension, ann.name, ann.secret, ann.codecs, ann.voicemail) == (
        "1001",
        "Ann ; Lee",
        "correct-horse",
        ("alaw", "g722"),
        "1001",
    )
    assert len(bob.secret) >= 20
    first, second = CARRIED.pbx.voicemail_boxes
    assert (first.pin, first.name, first.email) == ("4711", "Ann Lee", "ann@example.net")
    assert (len(second.pin), second.name) == (6, "Bob")
    (trunk,) = CARRIED.pbx.trunks
    assert (trunk.name, trunk.authentication, trunk.username, trunk.secret) == (
        "My-Carrier",
        "registration",
        "account",
        "of-the-carrier",
    )
    assert (trunk.hosts, trunk.match) == (("sip.carrier.example:5070", "reg.carrier.example"), ("192.0.2.0/24",))
    assert (trunk.from_user, trunk.codecs) == ("4930", ("ulaw",))


def test_queues_and_dids():
    sales, support, third = CARRIED.pbx.queues
    assert (sales.name, sales.strategy, sales.ring_time_s, sales.wrap_up_s) == ("sales", "ringall", 15, 5)
    assert [(it.endpoint, it.penalty) for it in sales.members] == [("1001", 2), ("1002", 0)]
    (rule,) = CARRIED.pbx.penalty_rules
    assert [(it.after_s, it.max_penalty, it.min_penalty) for it in rule.changes] == [(30, 5, None), (60, None, 2)]
    assert (support.penalty_rule, support.announce_position_limit, support.announce_beyond_limit) == ("widen", 3, True)
    assert (support.announce_only_up, support.announce_to_first, support.autopause_delay_s) == (True, False, 60)
    assert (third.strategy, third.penalty_rule, third.announce_only_up, third.autopause_busy) == (
        "rrordered",
        None,
        False,
        False,
    )
    assert (sales.join_when_empty, support.name, support.strategy) == (True, "queue-1-support", "rrmemory")
    where = {did.number: did.destination for did in CARRIED.pbx.dids}
    written = write_document(CARRIED.pbx)
    assert list(where) == [
        "493012340",
        "493012341",
        "493012342",
        "493012343",
        "493012344",
        "493012345",
        "_49301235X",
        "default",
    ]
    for number, destination in (("493012340", 'endpoint: "1001"'), ("493012341", "queue: sales"), ("493012342", 'voicemail: "1001"'),
                                ("493012343", 'dialplan: "lobby,100"'), ("493012344", "hangup: busy"), ("493012345", 'dialplan: "from-carrier,493012345"'),
                                ("_49301235X", "queue: queue-1-support"), ("default", "hangup: normal")):  # fmt: skip
        assert (
            f"destination: {{{destination}}}"
            in written.partition(f'number: "{number}"' if number[0] != "d" else "number: default")[2].partition(
                "- number"
            )[0]
        )
    assert CARRIED.pbx.general.allowed_contexts == ("lobby", "from-carrier")
    assert read_document(written) == CARRIED.pbx


@pytest.mark.parametrize(
    "told",
    [
        "pjsip.conf:14: call_group = 1 is not carried over",
        "pjsip.conf:23 [1002]: its secret is none that Tandem takes",
        "pjsip.conf:25: phone 1002 logs in as bob: it must be 1002 now",
        "pjsip.conf:55: an endpoint for anybody is never made",
        "pjsip.conf:57: [acl] of type acl is not carried over",
        "voicemail.conf:4: maxmsg = 50 is not carried over",
        "voicemail.conf:6 (1001@default): pager and options of the box are not carried over",
        "voicemail.conf:7 (1002@default): its PIN is none that Tandem takes",
        "queues.conf:4 [sales]: strategy roundrobin is ringall now",
        "queues.conf:10: member Local/300@agents/n is no phone of ours",
        "queues.conf:12: periodic-announce = hello is not carried over",
        "queuerules.conf:3: realtime_rules = yes is not carried over",
        "queuerules.conf:7: penaltychange = 90,+3 is not carried over: only plain numbers are",
        "queuerules.conf:8 [relative]: no PenaltyRule can be made of it",
        "queues.conf:22 [third]: defaultrule = nothing is none that is carried over",
        "queues.conf:4 [sales]: callers whom the queue does not serve are hung up",
        "extensions.conf:2: 1 global variables are not carried over",
        "extensions.conf:12 (from-carrier,493012345): what it does stays in your own dialplan: GotoIf($[1]?lobby,100,1)",
        "extensions.conf:15 (from-carrier,h): special extensions are not carried over",
        "extensions.conf:16: include => later is not carried over",
        "extensions.conf:17: context from-phones stays in your own dialplan: 2 extensions",
    ],
)
def test_what_is_not_carried_over_is_told_with_its_place(told):
    assert any(line.startswith(told) for line in LOST), LOST


def test_no_secret_is_told():
    assert not any(word in line for line in LOST for word in ("correct-horse", "of-the-carrier", "4711"))


def test_what_does_not_fit_the_rest_goes_with_what_leads_to_it():
    """A phone that cannot be made takes the DID with it that leads to it."""
    carried = carry(pjsip="[1001]\ntype=endpoint\nlanguage=no language\nauth=a\n[a]\ntype=auth\npassword=correct-horse\n"
                    "[t]\ntype=endpoint\ncontext=in\naors=t\n[t]\ntype=aor\ncontact=sip:a.example\n",
                    extensions="[in]\nexten => 1,1,Dial(PJSIP/1001)\n")  # fmt: skip
    assert (carried.pbx.endpoints, carried.pbx.dids) == ((), ())
    assert any("no Endpoint can be made of it" in str(lost) for lost in carried.lost)
    assert any("dids 1 is left out: there is no endpoint '1001'" in str(lost) for lost in carried.lost)


def test_templates_additions_and_includes():
    text = "[t](!)\na = 1\n[x](t)\nb = 2\n[x](+)\nc => 3\n[y](gone)\n#include nothing\nodd\n"
    sections, lost = read_conf("f.conf", "before = any\n" + text)
    assert [(it.name, [(option.name, option.value) for option in it.options]) for it in sections] == [
        ("x", [("a", "1"), ("b", "2"), ("c", "3")]), ("y", [])]  # fmt: skip
    assert [str(it) for it in lost] == [
        "f.conf:1: stands before any section", "f.conf:8: there is no template gone", "f.conf:9: nothing cannot be read",
        "f.conf:10: is no option: odd",
    ]  # fmt: skip


lines = st.lists(
    st.sampled_from(
        ["[1001]", "[t](!)", "[carrier](t)", "[x](+)", "type=endpoint", "type = auth", "password = a;b", "aors=1001", "context=in",
         "member => PJSIP/1001,x", "exten => 1,1,Dial(PJSIP/1001)", "exten => _X[,1,Queue(", "same => n,Goto(a,b", "[in]", ";--", "--;",
         "#include x", "1001 => 1,2,3", "contact=sip:@", "=", "[", "]", "allow=all", "timeout = -5", "callerid = <", "strategy=linear"]
    )
    | st.text(max_size=20),
    max_size=25,
).map("\n".join)  # fmt: skip


@settings(deadline=None, max_examples=200)
@given(lines, lines, lines, lines)
def test_whatever_the_files_hold_what_comes_out_is_a_valid_pbx(pjsip, voicemail, queues, extensions):
    carried = carry(pjsip=pjsip, voicemail=voicemail, queues=queues, extensions=extensions)
    assert read_document(write_document(carried.pbx)) == carried.pbx


def test_music_of_files_is_told_of_and_not_carried():
    carried = carry(musiconhold="[general]\n[default]\nmode=files\n[jazz]\nmode=playlist\nentry=/srv/jazz/one\n")
    assert carried.pbx.music_classes == ()
    assert [str(lost) for lost in carried.lost] == [
        "musiconhold.conf:4 [jazz]: music is not carried over: upload its sounds, and make a music class of them"
    ]


CARRIER_IN = "[carrier]\ntype=endpoint\ncontext=in\naors=carrier\n[carrier]\ntype=aor\ncontact=sip:a.example\n"


def test_what_no_trunk_is_made_of_opens_no_context_to_outside_callers():
    pjsip = (
        "[anna]\ntype=endpoint\ncontext=internal\nauth=anna\naors=anna\n[anna]\ntype=auth\nusername=anna\n"
        "password=correct-horse\n[anna]\ntype=aor\nmax_contacts=1\n[nobody]\ntype=endpoint\ncontext=internal\n"
    )
    extensions = "[internal]\nexten => 500,1,VoiceMailMain()\nexten => _9XXXXXXX,1,Dial(PJSIP/${EXTEN:1}@carrier)\n"
    carried = carry(pjsip=pjsip + CARRIER_IN, extensions=extensions + "[in]\nexten => 30,1,Hangup()\n")
    assert [it.number for it in carried.pbx.dids] == ["30"]
    assert carried.pbx.general.allowed_contexts == ()
    assert [it.name for it in carried.pbx.trunks] == ["carrier"]
    lost = [str(it) for it in carried.lost]
    assert "pjsip.conf:1 [anna]: is left out: it looks like a phone, whose name must be 2 to 8 digits" in lost
    assert any("context internal stays in your own dialplan: 2 extensions" in it for it in lost)


def test_a_context_that_stands_twice_is_one():
    extensions = "[in]\nexten => 30,1,Busy()\n[other]\nexten => 1,1,Hangup()\n[in]\nexten => 31,1,Hangup()\n"
    assert [it.number for it in carry(pjsip=CARRIER_IN, extensions=extensions).pbx.dids] == ["30", "31"]


def test_a_box_of_another_context_is_another_persons():
    carried = carry(
        pjsip=CARRIER_IN + "".join(
            f"[{number}]\ntype=endpoint\nauth={number}\nmailboxes={box}\n[{number}]\ntype=auth\npassword=correct-horse\n"
            for number, box in ((1001, "1001@sales"), (1002, "1001"), (1003, "1001@sales,1003@sales"), (1004, "99@no"))
        ),
        voicemail="[default]\n1001 => 4711,Ann\n[sales]\n1001 => 4712,Bob\n1003 => 4713,Cy\n",
        extensions="[in]\nexten => 30,1,VoiceMail(1001@sales,u)\nexten => 31,1,VoiceMail(1001)\nexten => 32,1,VoiceMail(1003@sales&1001,u)\n"
        "exten => 33,1,VoiceMail(1003@sales)\n",
    )  # fmt: skip
    assert [(it.mailbox, it.name) for it in carried.pbx.voicemail_boxes] == [("1001", "Ann"), ("1003", "Cy")]
    phones = [(it.extension, it.voicemail) for it in carried.pbx.endpoints]
    assert phones == [("1001", None), ("1002", "1001"), ("1003", "1003"), ("1004", None)]
    written = write_document(carried.pbx)
    for number, leads in (("30", 'dialplan: "in,30"'), ("31", 'voicemail: "1001"'), ("32", 'dialplan: "in,32"'), ("33", 'voicemail: "1003"')):  # fmt: skip
        assert f"destination: {{{leads}}}" in written.partition(f'- number: "{number}"')[2].partition("- number")[0]
    lost = [str(it) for it in carried.lost]
    assert "voicemail.conf:4 (1001@sales): is left out: box 1001@default has its number" in lost
    assert [it.partition(": ")[2].partition(" is not the phone's")[0] for it in lost if "the phone's" in it] == [
        "mailbox 1001@sales", "mailbox 1001@sales", "mailbox 99@no"]  # fmt: skip


def test_a_pattern_that_stays_in_the_dialplan_is_no_did():
    carried = carry(pjsip=CARRIER_IN, extensions="[in]\nexten => _4930XX,1,AGI(x)\nexten => 4930_1,1,AGI(x)\n")
    assert "_4930XX" not in write_document(carried.pbx)
    assert any(
        str(it) == "extensions.conf:2 (in,_4930XX): no destination can be made of it: AGI(x)" for it in carried.lost
    )


def test_callers_wait_in_a_queue_as_long_as_before():
    carried = carry(
        queues="[one]\n[two]\n[three]\n[four]\n[five]\n",
        extensions="[in]\nexten => 1,1,Queue(one,t,,,60)\nexten => 2,1,Queue(two,t)\nexten => 3,1,Queue(three,,,,60)\n"
        "same => n,Queue(three,t,,,90)\nexten => 5,1,Queue(five,,,,1)\n",
    )
    assert {it.name: it.max_wait_s for it in carried.pbx.queues} == {
        "one": 60, "two": 86400, "three": 90, "four": 86400, "five": 5}  # fmt: skip
    assert [str(it).partition(" ")[2] for it in carried.lost if "callers waited" in str(it)] == [
        "[two]: callers waited without a limit: it is 86400 s now",
        "[three]: callers waited 60 s and 90 s: it is 90 s now",
        "[four]: callers waited without a limit: it is 86400 s now",
        "[five]: callers waited 1 s: it is 5 s now",
    ]


def test_a_contact_that_no_host_can_be_made_of_is_told():
    pjsip = "[t]\ntype=endpoint\ncontext=in\naors=t\n[t]\ntype=aor\ncontact=sip:[2001:db8::1]:5060\n"
    carried = carry(pjsip=pjsip + "contact=sip:a.example:5070;lr\n")
    assert [it.hosts for it in carried.pbx.trunks] == [("a.example:5070",)]
    assert [str(it) for it in carried.lost] == [
        "pjsip.conf:7: contact = sip:[2001:db8::1]:5060 is no host name or IPv4 address"
    ]
    assert carry(pjsip=pjsip).pbx.trunks == ()
