"""What the service tells of itself: metrics, log lines, and the ticks it keeps."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import msgspec
import prometheus_client as prom
import pytest
import structlog

from orchestrator.adapters.bus.in_process import InProcessBus
from orchestrator.model.facts import (
    AccountReconciled,
    BreakerTripped,
    ChecksDecided,
    IntentWritten,
    OperatorActed,
    SignalEnded,
    StageDecided,
    Stopped,
)
from orchestrator.model.journal import Record
from orchestrator.model.market import MarketCondition
from orchestrator.model.outcomes import TradeOutcome
from orchestrator.model.safety import Effect, Scope
from orchestrator.model.signals import Allocation, Outcome, Role, Share
from orchestrator.service.api import examples
from orchestrator.service.narrator import narrate
from orchestrator.service.recorder import Recorder
from orchestrator.service.seams import VirtualClock
from orchestrator.service.telemetry import Latencies, Telemetry
from orchestrator.service.virtual import run_virtual
from tests.unit.adapters.store import samples
from tests.unit.adapters.store.samples import intent, stage
from tests.unit.service.parts import START_NS, A, B, tick

# -- latencies --------------------------------------------------------------------------------


def test_quantiles_are_of_what_was_measured():
    kept = Latencies()
    assert kept.quantile(0.99) == 0.0
    assert kept.summary() == {"n": 0}
    for value in range(1, 101):
        kept.add(float(value))
    assert (kept.quantile(0.5), kept.quantile(0.99), kept.quantile(1.0)) == (51.0, 100.0, 100.0)
    assert kept.summary() == {"n": 100, "p50_us": 51.0, "p99_us": 100.0, "max_us": 100.0}


def test_only_the_last_hundred_thousand_are_kept():
    kept = Latencies()
    for _ in range(100_010):
        kept.add(1.0)
    assert len(kept) == 100_000


# -- counts -----------------------------------------------------------------------------------


def _ended(outcome: Outcome, at: str = "checks", reason: str = "") -> SignalEnded:
    return SignalEnded(signal_id="s", account_id=A, outcome=outcome, stage=at, reason=reason)


def test_facts_are_counted_once_each_and_shown_to_prometheus():
    telemetry = Telemetry()
    telemetry.saw(IntentWritten(intent=intent()))
    telemetry.saw(_ended(Outcome.FILLED, ""))
    telemetry.saw(_ended(Outcome.REJECTED))
    text = prom.generate_latest(telemetry.registry).decode()
    assert 'tso_facts_total{type="signal.ended"} 2.0' in text
    assert 'tso_signal_outcomes_total{outcome="filled",stage=""} 1.0' in text
    assert telemetry.counts["orders"] == 1
    assert telemetry.outcomes == {"filled": 1, "rejected": 1}


def test_a_stage_passes_for_as_many_accounts_as_got_a_share():
    telemetry = Telemetry()
    shares = (
        Share(account_id=A, weight=Decimal(1), reason=""),
        Share(account_id=B, weight=Decimal(0), reason="full"),
    )
    decided = stage()
    answer = Allocation(signal_id="s1", confidence=Decimal(1), shares=shares)
    telemetry.saw(_with(decided, answer=answer))
    telemetry.saw(_with(decided, passed=False))
    telemetry.saw(_with(decided, stage=Role.LEARNING_SAFETY, answer=None))
    telemetry.saw(_checks(passed=True))
    telemetry.saw(_checks(passed=False))
    assert telemetry.passed == {"disagreement": 1, "learning_safety": 1, "checks": 1}


def _with(decided: StageDecided, **changes: object) -> StageDecided:
    import msgspec

    return msgspec.structs.replace(decided, **changes)


def _checks(*, passed: bool) -> ChecksDecided:
    return ChecksDecided(signal_id="s", account_id=A, passed=passed, checks=("C01",), objections=())


def test_reasons_that_differ_only_in_their_numbers_are_counted_together():
    telemetry = Telemetry()
    for age in ("5.8", "6.1", "99"):
        telemetry.saw(_ended(Outcome.REJECTED, reason=f"C05 tick is {age} s old, limit 5 s"))
    ((where, reason),) = telemetry.rejections
    assert where == "checks"
    assert "tick is" in reason
    assert telemetry.rejections[where, reason] == 3


def test_no_reason_is_lost_for_being_all_numbers():
    telemetry = Telemetry()
    telemetry.saw(_ended(Outcome.FAILED, "", "HTTP503 504"))
    assert list(telemetry.rejections) == [("venue", "HTTP503 504")]


def test_ticks_and_stages_are_timed_in_seconds_for_prometheus():
    telemetry = Telemetry()
    telemetry.tick(20.0)
    telemetry.took("journal", 1_500.0)
    text = prom.generate_latest(telemetry.registry).decode()
    assert telemetry.ticks_heard == 1
    assert 'tso_stage_seconds_sum{stage="journal"} 0.0015' in text
    assert 'tso_stage_seconds_count{stage="kernel_tick"} 1.0' in text


# -- the log ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fact", "level", "event"),
    [
        (Stopped(stop_id="s", actor="anna", reason="r", liquidate=True, accounts=(),
                 gate_closed_ns=1), "error", "stop.raised"),
        (BreakerTripped(breaker="A1", scope=Scope.ACCOUNT, subject=A, effect=Effect.FLATTEN,
                        evidence="6 %"), "warning", "breaker.tripped"),
        (AccountReconciled(account_id=A, last_transaction_id=5, differences=("balance",)),
         "error", "account.differs"),
        (_ended(Outcome.FAILED, "", "crash"), "warning", "signal.failed"),
        (_ended(Outcome.REJECTED), "debug", "signal.ended"),
        (OperatorActed(actor="a", action="start", text="", refused="no"), "info", "operator.acted"),
    ],
)  # fmt: skip
def test_what_a_person_must_see_is_said_at_its_level(fact, level, event):
    with structlog.testing.capture_logs() as lines:
        narrate(fact)
    ((said),) = lines
    assert (said["log_level"], said["event"]) == (level, event)


def test_an_account_that_agrees_says_nothing():
    with structlog.testing.capture_logs() as lines:
        narrate(AccountReconciled(account_id=A, last_transaction_id=5))
        narrate(stage())
    assert lines == []


# -- ticks ------------------------------------------------------------------------------------


class MarketStore:
    def __init__(self) -> None:
        self.batches: list[int] = []
        self.seen = MarketCondition()
        self.outcomes: list[TradeOutcome] = []

    def condition(self) -> MarketCondition:
        return self.seen

    def write_outcomes(self, outcomes) -> None:
        self.outcomes += outcomes

    def write_ticks(self, ticks) -> None:
        self.batches.append(len(ticks))


def test_ticks_are_written_in_batches_and_at_the_latest_after_a_second():
    async def story() -> None:
        store = MarketStore()
        recorder = Recorder(store, VirtualClock(lambda: START_NS, asyncio.get_running_loop()))
        work = asyncio.get_running_loop().create_task(recorder.run())
        for _ in range(499):
            recorder.keep((tick(),))
        assert store.batches == []
        recorder.keep((tick(),))
        assert store.batches == [500]
        recorder.keep((tick(), tick()))
        await asyncio.sleep(1.1)
        assert store.batches == [500, 2]
        await asyncio.sleep(5)
        assert store.batches == [500, 2]
        assert recorder.kept == 502
        work.cancel()

    run_virtual(story())


def test_a_batch_that_was_handed_over_is_not_changed_afterwards():
    handed: list[list] = []
    store = MarketStore()
    store.write_ticks = handed.append
    recorder = Recorder(store, VirtualClock(lambda: START_NS, None))
    recorder.keep((tick(),))
    recorder.flush()
    recorder.keep((tick(),))
    assert len(handed[0]) == 1


def test_what_becomes_of_market_data_is_said_once():
    async def story() -> None:
        store = MarketStore()
        recorder = Recorder(store, VirtualClock(lambda: START_NS, asyncio.get_running_loop()))
        work = asyncio.get_running_loop().create_task(recorder.run())
        with structlog.testing.capture_logs() as lines:
            for seen in (
                MarketCondition(layout="days"),
                MarketCondition(layout="days", problem="gone", spooled=7),
                MarketCondition(layout="days", problem="gone", spooled=9, dropped=2),
                MarketCondition(layout="days", dropped=2),
            ):
                store.seen = seen
                await asyncio.sleep(3.5)
        work.cancel()
        assert [line["event"] for line in lines] == [
            "market_data.opened", "market_data.away", "market_data.lost", "market_data.back",
        ]  # fmt: skip
        assert (lines[1]["reason"], lines[2]["rows"]) == ("gone", 2)

    run_virtual(story())


async def test_what_trades_came_to_goes_into_the_market_store_until_the_bus_closes():
    store, bus = MarketStore(), InProcessBus()
    recorder = Recorder(store, VirtualClock(lambda: START_NS, None))
    outcome = samples.outcome(8, "-1")
    record = examples.of(Record)
    async with asyncio.timeout(30):
        work = asyncio.get_running_loop().create_task(recorder.follow(bus))
        await asyncio.sleep(0)
        bus.publish(msgspec.structs.replace(record, type="trade.outcome"), outcome)
        bus.publish(msgspec.structs.replace(record, type="alert"), outcome)
        while not store.outcomes:  # noqa: ASYNC110 -- nothing tells us
            await asyncio.sleep(0)
        bus.close()
        await work
    assert store.outcomes == [outcome]
