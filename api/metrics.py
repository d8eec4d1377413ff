"""What Prometheus is told; a registry of its own, never a label that a stranger chooses."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from tandem.domain.disposition import Disposition

_FAST = (0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)

# (name, what it is, its value), or for a value of each trunk of ours (name, what it is, {trunk: value}).
Gauges = Callable[[], Iterable[tuple[str, str, float | Mapping[str, float]]]]


class Metrics:
    """Counters that are told of what happens, and gauges that are read when somebody asks."""

    def __init__(self, gauges: Gauges = tuple) -> None:
        self.registry = CollectorRegistry()
        self._decisions = Histogram(
            "tandem_decision_seconds",
            "Our own time to decide a call",
            ["script"],
            buckets=_FAST,
            registry=self.registry,
        )
        self._calls = Counter("tandem_calls_total", "Calls that ended", ["disposition"], registry=self.registry)
        for disposition in Disposition:  # there from the start, so that the first of a kind is a step from 0
            self._calls.labels(disposition.value)
        self._attempts = Counter(
            "tandem_attempts_total", "Calls of campaigns that ended", ["disposition"], registry=self.registry
        )
        self._sql = Histogram(
            "tandem_sql_seconds", "Work in the database", ["thread"], buckets=_FAST, registry=self.registry
        )
        self._http = Histogram(
            "tandem_http_seconds",
            "Requests by route and status",
            ["operation", "status"],
            buckets=_FAST,
            registry=self.registry,
        )
        self.registry.register(_Gauges(gauges))

    def observe_decision(self, script: str, computing_s: float) -> None:
        """One decision of FastAGI; `script` is one of ours."""
        self._decisions.labels(script).observe(computing_s)

    def count_call(self, disposition: str) -> None:
        """A call that ended."""
        self._calls.labels(disposition).inc()

    def count_attempt(self, disposition: str) -> None:
        """A campaign's call that ended."""
        self._attempts.labels(disposition).inc()

    def observe_sql(self, thread: str, took_s: float) -> None:
        """One piece of work in the database's thread."""
        self._sql.labels(thread).observe(took_s)

    def observe_http(self, operation: str, status: int, took_s: float) -> None:
        """One request; `operation` is a declared one, or empty."""
        self._http.labels(operation, str(status)).observe(took_s)

    def encode(self) -> bytes:
        """The text format."""
        return generate_latest(self.registry)


class _Gauges(Collector):
    def __init__(self, gauges: Gauges) -> None:
        self._gauges = gauges

    def collect(self) -> Iterator[Any]:
        for name, what, value in self._gauges():
            if isinstance(value, Mapping):
                family = GaugeMetricFamily(name, what, labels=["trunk"])
                for trunk, one in value.items():
                    family.add_metric((trunk,), one)
            else:
                family = GaugeMetricFamily(name, what)
                family.add_metric((), value)
            yield family
