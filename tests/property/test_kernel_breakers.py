"""Breakers under any interleaving: what blocks blocks, what probes probes alone, all of it replays.

Goal: whatever the house, the market, the venue and people do to the breakers, no intent is written
under one that blocks, one that probes lets one small order through at a time, every signal still
ends once, and the run replays: events to the same facts and acts, facts to the same state.
Method: the storm of test_kernel_engine.py with more weather; a person may also cheat and restart.
"""

from __future__ import annotations

import random
from collections import Counter
from decimal import Decimal

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.kernel.engine import Kernel
from orchestrator.model.events import (
    AuditTrouble,
    BusSeen,
    ClockSeen,
    CredentialsSeen,
    EmergencyStop,
    LoopSeen,
    MemorySeen,
    ResetBreaker,
    Resume,
    RoleHealth,
    StartTrading,
    StorageSeen,
    StorageTrouble,
    TripBreaker,
)
from orchestrator.model.facts import (
    BreakerMoved,
    BreakerTripped,
    IntentWritten,
    SignalAccepted,
    SignalEnded,
)
from orchestrator.model.market import StreamUp
from orchestrator.model.signals import Role
from tests.property.test_kernel_engine import ALL, LIMITS, PLAN, Storm
from tests.unit.kernel.engine_bench import A, B

NAMES = ("EUR_USD", "GBP_USD", "USD_JPY")
BY_HAND = (("A3", A), ("A8", B), ("M4", "EUR_USD"), ("S10", "system"), ("S12", "system"))


class Gale(Storm):
    """A storm in which the house, the market and people trip breakers."""

    alone = 0  # orders written while something probed

    def play(self, step: tuple[int, int]) -> None:
        kind, number = step
        before = len(self.bench.facts)
        if kind < 15:
            super().play(step)
        else:
            (self.house, self.people, self.wild, self.rest, self.probe)[kind - 15](number)
            self.collect()
        for fact, at in self.bench.facts[before:]:
            if isinstance(fact, IntentWritten):
                self.judge_breakers(fact.intent, at)

    def house(self, number: int) -> None:
        """Something of the house's own condition: a trouble, or that it is over."""
        bad = number % 4 == 0
        events = (
            LoopSeen(lag_ms=300 if bad else 1),
            MemorySeen(rss_mb=2_000 if bad else 100),
            ClockSeen(stepped_ms=-900 if bad else 0),
            BusSeen(silent_ms=9_000 if bad else 0),
            StorageSeen(free_mb=1 if bad else 9_000),
            StorageTrouble(ok=not bad, reason="full"),
            CredentialsSeen(account_id=(A, B)[number % 2], ok=not bad, reason="401"),
            RoleHealth(role=Role.LEARNING_SAFETY, healthy=not bad, reason="crash"),
            AuditTrouble(ok=number != 60, reason="a hole"),
        )
        self.bench.feed(events[number // 4 % len(events)])

    def people(self, number: int) -> None:
        """Somebody trips or resets a breaker, or stops everything and resumes."""
        if number % 8 == 7:
            self.bench.feed(EmergencyStop(stop_id="s", actor="ann", reason="x", liquidate=False))
            trades = tuple(t for name in ALL for t in self.bench.kernel.books[name].trades)
            self.bench.feed(
                Resume(stop_id="s", actor="ann", reason="y", open_trades=trades, epoch=99)
            )
            self.bench.feed(StartTrading(actor="ann"))
            return
        breaker, subject = BY_HAND[number % len(BY_HAND)]
        kind = TripBreaker if number % 16 == 0 else ResetBreaker
        self.bench.feed(kind(breaker=breaker, subject=subject, actor="ann", reason="why not"))

    def wild(self, number: int) -> None:
        """Prices that trip M2, M4, M5 or M6, or a stream that begins anew."""
        name, bench = NAMES[number % 3], self.bench
        price = bench.prices[name]
        bench.now += 50_000_000
        match number % 5:
            case 0:
                for _ in range(3):
                    bench.tick(name, price * 9)
            case 1:
                bench.tick(name, price, tradeable=False)
            case 2:
                bench.tick(name, price, price + price / 500)
            case 3:
                bench.tick(name, price * Decimal("1.006"))
            case _:
                bench.feed(StreamUp(stream="prices", account_id=A, seen_ns=bench.now))
        bench.tick(name, price)

    def rest(self, number: int) -> None:
        """Time for calms and cool-downs; sometimes for long ones."""
        self.bench.rest(60 * (1 + number % 6))
        self.bench.serve_reads()

    def probe(self, number: int) -> None:
        """An instrument cools down, and several signals meet it when it probes."""
        name = NAMES[number % 3]
        for _ in range(3):
            self.bench.tick(name, self.bench.prices[name] * 9)
        self.rest(1)
        for turn in range(3):
            self.rush(number)
            self.bench.wait(6)
            if turn == number % 2:
                self.fill(-1)

    def judge_breakers(self, intent, at: int) -> None:
        """No intent is written under a breaker that blocks; where one probes it is alone (B2)."""
        bench = self.bench
        flying = [each for some in self.open_intents().values() for each in some]
        for trip in bench.kernel._world.state.board.in_scope(intent.account_id, intent.instrument):
            # What came in the same step as the order, or after it, could not keep it back.
            assert not trip.blocks or trip.since_ns >= at, trip
            if not trip.probing:
                continue
            inside = [
                each.intent_id
                for each in flying
                if trip.subject in ("system", each.account_id, each.instrument)
            ]
            assert len(inside) <= 1, trip
            self.alone += 1
            allowed = LIMITS.risk_per_trade * bench.kernel.day_values(intent.account_id).nav / 4
            assert intent.reservation.risk <= allowed + 1


SCRIPTS = st.lists(st.tuples(st.integers(0, 19), st.integers(0, 63)), min_size=5, max_size=60)
STORMY = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow], database=None
)


@given(SCRIPTS)
@STORMY
def test_what_blocks_blocks_and_what_probes_probes_alone(script):
    gale = Gale()
    for step in script:
        gale.play(step)
    gale.finish()
    bench = gale.bench
    ends = Counter((f.signal_id, f.account_id) for f in bench.said(SignalEnded))
    assert all(count == 1 for count in ends.values()), ends
    for accepted in bench.said(SignalAccepted):
        for account in accepted.accounts:
            assert (accepted.signal.signal_id, account) in ends


@given(SCRIPTS, st.integers(0, 1_000))
@STORMY
def test_a_run_full_of_breakers_replays_to_the_same_facts_acts_and_state(script, cut):
    gale = Gale()
    said: list[tuple] = []
    feed = gale.bench.feed

    def recording(event):
        step = feed(event)
        said.append((event, gale.bench.now, step))
        return step

    gale.bench.feed = recording
    begun = len(gale.bench.facts)
    for kind, number in script:
        if kind != 11:  # one life: a crash is another law's matter
            gale.play((kind, number))
    fresh = Gale().bench
    for event, now, step in said:
        assert fresh.kernel.step(event, now) == step
    assert fresh.kernel.snapshot() == gale.bench.kernel.snapshot()
    facts = gale.bench.facts
    middle = begun + cut % max(1, len(facts) - begun)
    replayed, resumed = Kernel(PLAN), Kernel(PLAN)
    for fact, at in facts[:middle]:
        replayed.apply(fact, at)
    resumed.restore(replayed.snapshot())
    for fact, at in facts[middle:]:
        resumed.apply(fact, at)
    assert resumed.snapshot() == gale.bench.kernel.snapshot()


def test_the_gale_really_reaches_the_breakers():
    """Guards the laws above against scripts that trip nothing, or everything for good."""
    dice, tripped, probes, written, alone = random.Random(2), Counter(), 0, 0, 0
    for _ in range(40):
        gale = Gale()
        for _ in range(60):
            gale.play((dice.randrange(20), dice.randrange(64)))
        tripped.update(f.breaker for f in gale.bench.said(BreakerTripped))
        probes += sum(f.state == "probing" for f in gale.bench.said(BreakerMoved))
        written += len(gale.bench.said(IntentWritten))
        alone += gale.alone
    wanted = {"A3", "A7", "A10", "E3", "M2", "M4", "M5", "M6", "S5", "S6", "S7", "S8"}
    assert wanted | {"S9", "S10", "S11", "T4"} <= set(tripped)
    assert probes > 50
    assert written > 50
    assert alone > 10
