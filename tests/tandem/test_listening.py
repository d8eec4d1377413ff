"""Who hears an agent's call: which phone is called, whose channels it hears, and who hears it."""

import pytest
from pydantic import TypeAdapter

from tandem.domain.entities import Pbx
from tandem.domain.listening import plan_listening
from tandem.domain.originate import CallRefused
from tandem.domain.snapshot import build_snapshot

PBX = {"endpoints": [{"extension": number, "secret": "swordfish1"} for number in ("1001", "10012", "1009")]}
SNAPSHOT = build_snapshot(1, TypeAdapter(Pbx).validate_python(PBX))


@pytest.mark.parametrize(("ear", "options"), [("listen", "qES"), ("whisper", "qESw"), ("barge", "qESB")])
def test_the_listeners_phone_is_called_and_hears_one_agent_alone(ear, options):
    order = plan_listening(SNAPSHOT, "1009", "1001", ear)
    assert (order.channel, order.context, order.exten) == ("PJSIP/1009", "tandem-listen", "s")
    assert dict(order.variables)["TANDEM_LISTEN_TO"] == "PJSIP/1001-"
    assert dict(order.variables)["TANDEM_LISTEN_OPTIONS"] == options


@pytest.mark.parametrize(
    ("listener", "agent", "field"),
    [("1009", "4711", "agent"), ("4711", "1001", "listener"), ("1001", "1001", "listener")],
)
def test_only_phones_of_ours_and_never_ones_own(listener, agent, field):
    with pytest.raises(CallRefused) as refused:
        plan_listening(SNAPSHOT, listener, agent, "listen")
    assert refused.value.field == field
