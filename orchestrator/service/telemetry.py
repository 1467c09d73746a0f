"""What the service measures of itself: latencies per stage, counts, and Prometheus metrics."""

from __future__ import annotations

from collections import Counter, deque

import prometheus_client as prom

from orchestrator.model.facts import (
    ChecksDecided,
    Fact,
    IntentWritten,
    SignalEnded,
    StageDecided,
)
from orchestrator.model.signals import Allocation, Outcome

_BUCKETS = (0.00005, 0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1, 5)


class Latencies:
    """The last 100,000 durations of one kind, microseconds."""

    def __init__(self) -> None:
        self._values: deque[float] = deque(maxlen=100_000)

    def add(self, us: float) -> None:
        self._values.append(us)

    def __len__(self) -> int:
        return len(self._values)

    def quantile(self, q: float) -> float:
        """0 when nothing was measured."""
        if not self._values:
            return 0.0
        ordered = sorted(self._values)
        return ordered[min(len(ordered) - 1, int(q * len(ordered)))]

    def summary(self) -> dict[str, float | int]:
        """n, p50, p99, max in microseconds."""
        if not self._values:
            return {"n": 0}
        return {
            "n": len(self._values),
            "p50_us": round(self.quantile(0.5), 1),
            "p99_us": round(self.quantile(0.99), 1),
            "max_us": round(max(self._values), 1),
        }


class Telemetry:
    """One per service; children of metrics are kept, since labels() is what costs."""

    def __init__(self) -> None:
        self.registry = prom.CollectorRegistry()
        self.latency: dict[str, Latencies] = {}
        self.counts: Counter[str] = Counter()
        self.rejections: Counter[tuple[str, str]] = Counter()
        self.passed: Counter[str] = Counter()
        self.outcomes: Counter[str] = Counter()
        self._stage_seconds = prom.Histogram(
            "tso_stage_seconds", "Time that a stage of a signal's path took", ["stage"],
            registry=self.registry, buckets=_BUCKETS,
        )  # fmt: skip
        self._facts = prom.Counter(
            "tso_facts", "Facts written to the journal", ["type"], registry=self.registry
        )
        self._outcomes = prom.Counter(
            "tso_signal_outcomes", "How signals ended, per account", ["outcome", "stage"],
            registry=self.registry,
        )  # fmt: skip
        self._ticks = prom.Counter("tso_ticks", "Prices heard", registry=self.registry)
        self.ticks_heard = 0
        self.loop_lag = prom.Gauge(
            "tso_event_loop_lag_seconds", "Latest event loop lag", registry=self.registry
        )
        self._children: dict[tuple[object, ...], object] = {}

    def gauge(self, name: str, text: str, labels: tuple[str, ...] = ()) -> prom.Gauge:
        """A gauge on this service's registry."""
        return prom.Gauge(name, text, labels, registry=self.registry)

    def tick(self, us: float) -> None:
        """A price was heard; the kernel's work on it took `us` microseconds."""
        self.ticks_heard += 1
        self._ticks.inc()
        self.took("kernel_tick", us)

    def took(self, stage: str, us: float) -> None:
        """Record a duration of a stage, microseconds."""
        kept = self.latency.get(stage)
        if kept is None:
            kept = self.latency[stage] = Latencies()
        kept.add(us)
        self._stage_child(stage).observe(us / 1e6)

    def _stage_child(self, stage: str) -> prom.Histogram:
        child = self._children.get(("stage", stage))
        if not isinstance(child, prom.Histogram):
            child = self._stage_seconds.labels(stage)
            self._children["stage", stage] = child
        return child

    def _count(self, metric: prom.Counter, *labels: str) -> None:
        child = self._children.get((metric, *labels))
        if not isinstance(child, prom.Counter):
            child = metric.labels(*labels)
            self._children[metric, *labels] = child
        child.inc()

    def saw(self, fact: Fact) -> None:
        """Count what was written down."""
        kind = str(type(fact).__struct_config__.tag)
        self.counts[kind] += 1
        self._count(self._facts, kind)
        self._saw(fact)

    def _saw(self, fact: Fact) -> None:
        match fact:
            case StageDecided():
                self.passed[fact.stage.value] += _passed(fact)
            case ChecksDecided(passed=True):
                self.passed["checks"] += 1
            case SignalEnded():
                self.outcomes[fact.outcome.value] += 1
                self._count(self._outcomes, fact.outcome.value, fact.stage)
                if fact.outcome is not Outcome.FILLED:
                    self.rejections[fact.stage or "venue", _short(fact.reason)] += 1
            case IntentWritten():
                self.counts["orders"] += 1
            case _:
                pass


def _passed(fact: StageDecided) -> int:
    """For how many accounts a stage let its signal pass."""
    if not fact.passed:
        return 0
    answer = fact.answer
    return sum(s.weight > 0 for s in answer.shares) if isinstance(answer, Allocation) else 1


def _short(reason: str) -> str:
    """A reason without its numbers, so that like reasons are counted together."""
    words = [word for word in reason.split() if not any(c.isdigit() for c in word[1:])]
    return " ".join(words[:10]) or reason[:60]
