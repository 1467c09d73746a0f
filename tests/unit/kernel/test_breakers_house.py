"""The house's own troubles: each breaker at, below and above its limit, its alert and its end."""

from __future__ import annotations

import pytest

from orchestrator.model.acts import SendAlert
from orchestrator.model.events import (
    AuditTrouble,
    BusSeen,
    ClockSeen,
    CredentialsSeen,
    LoopSeen,
    MemorySeen,
    RoleHealth,
    StorageSeen,
    StorageTrouble,
)
from orchestrator.model.facts import BreakerReset, BreakerTripped
from orchestrator.model.safety import AccountMode, Severity
from orchestrator.model.signals import Role
from tests.unit.kernel.engine_bench import A, B, Bench

CALM = {
    "S6": BusSeen(silent_ms=2_000, lag_ms=30_000),
    "S7": ClockSeen(stepped_ms=-250, venue_off_ms=2_000),
    "S8": LoopSeen(lag_ms=250),
    "S11": MemorySeen(rss_mb=1_500, files=80, files_max=100),
}
CLEAR_S = {"S6": 5, "S7": 60, "S8": 5, "S11": 60}
TROUBLES = [
    ("S5", StorageTrouble(ok=False, reason="disk full"), "disk full"),
    ("S5", StorageSeen(flush_ms=501), "501 ms"),
    ("S5", StorageSeen(free_mb=499), "499 MB"),
    ("S6", BusSeen(silent_ms=2_001), "2001 ms"),
    ("S6", BusSeen(silent_ms=0, lag_ms=30_001), "30001 ms"),
    ("S7", ClockSeen(stepped_ms=251), "251 ms"),
    ("S7", ClockSeen(stepped_ms=-251), "-251 ms"),
    ("S7", ClockSeen(stepped_ms=0, venue_off_ms=-2_001), "-2001 ms"),
    ("S8", LoopSeen(lag_ms=251), "251 ms"),
    ("S9", RoleHealth(role=Role.DISAGREEMENT, healthy=False, reason="crash"), "disagreement"),
    ("S11", MemorySeen(rss_mb=1_501), "1501 MB"),
    ("S11", MemorySeen(rss_mb=1, files=81, files_max=100), "81 file"),
    ("S12", AuditTrouble(ok=False, reason="record 7"), "record 7"),
]


def trips(bench, breaker):
    return [f for f in bench.said(BreakerTripped) if f.breaker == breaker]


@pytest.mark.parametrize(("breaker", "event", "words"), TROUBLES)
def test_a_trouble_blocks_every_account_at_once_with_evidence_and_an_alert(breaker, event, words):
    bench = Bench()
    generation = bench.kernel.generation
    step = bench.feed(event)
    (trip,) = trips(bench, breaker)
    assert words in trip.evidence
    assert trip in step.facts
    (alert,) = [act.alert for act in step.acts if isinstance(act, SendAlert)]
    assert alert.key == f"breaker:{breaker}:system"
    assert words in alert.text
    for account in (A, B):
        assert breaker in bench.kernel.account_blocks(account, bench.now)[0]
    assert bench.kernel.generation > generation


@pytest.mark.parametrize(("breaker", "event", "_words"), TROUBLES)
def test_a_trouble_that_goes_on_is_said_once(breaker, event, _words):
    bench = Bench()
    for _ in range(20):
        bench.feed(event)
    assert len(trips(bench, breaker)) == 1


@pytest.mark.parametrize("breaker", CALM)
def test_at_its_limit_nothing_trips_and_calm_for_long_enough_ends_it(breaker):
    bench = Bench()
    bench.feed(CALM[breaker])
    assert trips(bench, breaker) == []
    bench.feed(next(event for name, event, _ in TROUBLES if name == breaker))
    bench.feed(CALM[breaker])
    bench.wait(CLEAR_S[breaker] - 1)
    assert bench.kernel.account_blocks(A, bench.now)
    bench.wait(1)
    assert bench.kernel.account_blocks(A, bench.now) == ()


def test_a_trouble_that_comes_again_begins_the_calm_anew():
    bench = Bench()
    bench.feed(LoopSeen(lag_ms=300))
    bench.feed(LoopSeen(lag_ms=0))
    bench.wait(4)
    bench.feed(LoopSeen(lag_ms=300))
    bench.feed(LoopSeen(lag_ms=0))
    bench.wait(4)
    assert bench.kernel.account_blocks(A, bench.now)
    bench.wait(1)
    assert bench.kernel.account_blocks(A, bench.now) == ()


def test_silence_ends_nothing():
    bench = Bench()
    bench.feed(MemorySeen(rss_mb=2_000))
    bench.wait(300)
    assert bench.kernel.account_blocks(A, bench.now)


def test_a_slow_or_full_store_heals_only_by_good_writes_after_its_last_trouble():
    bench = Bench()
    bench.feed(StorageSeen(free_mb=10))
    for _ in range(9):
        bench.feed(StorageTrouble(ok=True))
    bench.feed(StorageSeen(free_mb=10))
    bench.now += 10_000_000_000
    for _ in range(9):
        bench.feed(StorageTrouble(ok=True))
    assert "S5" not in [f.breaker for f in bench.said(BreakerReset)]
    bench.feed(StorageTrouble(ok=True))
    assert bench.said(BreakerReset)[-1].breaker == "S5"


def test_refused_credentials_halt_their_account_alone_until_they_work_again():
    bench = Bench()
    step = bench.feed(CredentialsSeen(account_id=A, ok=False, reason="HTTP 401"))
    (alert,) = [act.alert for act in step.acts if isinstance(act, SendAlert)]
    assert alert.severity is Severity.CRITICAL
    assert bench.kernel.account_mode(A, bench.now) is AccountMode.HALT
    assert bench.kernel.account_mode(B, bench.now) is AccountMode.OPEN
    bench.wait(100)
    assert bench.kernel.account_mode(A, bench.now) is AccountMode.HALT
    bench.feed(CredentialsSeen(account_id=A, ok=True))
    assert bench.kernel.account_mode(A, bench.now) is AccountMode.OPEN
