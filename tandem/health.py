"""Whether Tandem is as it should be, and why not, in words; asks nothing and nobody, so that it answers whatever is down."""

from dataclasses import asdict, dataclass
from typing import Any

from fastagi.service import AgiService
from tandem.ami.client import AmiClient
from tandem.applying import Applying
from tandem.dialer.service import Dialer
from tandem.facts import Facts
from tandem.fallback import Fallback
from tandem.http import HttpService
from tandem.in_step import InStep
from tandem.lag import LagGauge
from tandem.ledger import Ledger
from tandem.live import Live


@dataclass(slots=True, kw_only=True)
class Health:
    """What is looked at. trust_problem: what is wrong with webhooks.ca_file, if anything."""

    live: Live
    amis: tuple[AmiClient, ...]
    applying: Applying
    in_step: InStep
    ledger: Ledger
    dialer: Dialer
    fallback: Fallback
    facts: Facts
    lag: LagGauge
    http: HttpService
    trust_problem: str | None
    agi: AgiService | None = None

    def read(self) -> dict[str, Any]:
        """Live (it answers), ready (calls are decided as they should be), and the reasons why not."""
        reasons = self._list_reasons()
        return {
            "live": True,
            "ready": not reasons,
            "reasons": reasons,
            "revision": self.live.current.revision,
            "dids": self.live.current.dids.count,
            "overview": self.facts.read_overview(),
            "reactor_lag_s": {"p99": self.lag.read_p99(), "max": self.lag.read_max()},
            "ami": all(ami.is_ready for ami in self.amis),
            "fastagi": asdict(self.agi.sessions.counters) if self.agi is not None else {},
        }

    def _list_reasons(self) -> list[str]:
        revision = self.live.current.revision
        reasons = (
            self.live.degraded and f"routing without database: {self.live.degraded}",
            self.live.unsaved,
            *map(_judge_login, self.amis),
            self.applying.problem,
            self.in_step.problem,
            None
            if self.in_step.has_applied or self.applying.problem or not revision
            else "Asterisk has not been brought in step since the start",
            self.ledger.problem,
            self.http.problem,
            self.trust_problem,
            self.dialer.problem,
            None if self.fallback.revision == revision else "the last-known routes in AstDB are not written yet",
        )
        return [reason for reason in reasons if reason]


def _judge_login(ami: AmiClient) -> str | None:
    if ami.is_ready:
        return None
    return f"no AMI login as {ami.username}{f': {ami.last_error}' if ami.last_error is not None else ''}"
