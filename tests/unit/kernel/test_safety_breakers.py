"""Every breaker's judgement at, below and above its threshold; the board; the resume."""

from __future__ import annotations

from decimal import Decimal

import pytest

from orchestrator.kernel.safety.board import Board
from orchestrator.kernel.safety.breakers import TABLE
from orchestrator.kernel.safety.breakers.a1_daily_loss import a1_daily_loss
from orchestrator.kernel.safety.breakers.a2_drawdown import a2_drawdown
from orchestrator.kernel.safety.breakers.a4_repetition import a4_repetition
from orchestrator.kernel.safety.breakers.a7_unknown import Knowledge, a7_unknown
from orchestrator.kernel.safety.breakers.m1_stale import m1_stale
from orchestrator.kernel.safety.breakers.m2_spread import SpreadRing, m2_spread
from orchestrator.kernel.safety.breakers.m5_bad_ticks import BadTicks, defect
from orchestrator.kernel.safety.breakers.s1_total_daily_loss import s1_total_daily_loss
from orchestrator.kernel.safety.breakers.s2_total_drawdown import s2_total_drawdown
from orchestrator.kernel.safety.breakers.s5_storage import s5_healed
from orchestrator.kernel.safety.breakers.s9_agents import s9_agents
from orchestrator.kernel.safety.breakers.t1_session import session_of, t1_session
from orchestrator.kernel.safety.resuming import Standing, refusals
from orchestrator.model.facts import BreakerReset, BreakerTripped
from orchestrator.model.limits import AccountLimits, BreakerLimits
from orchestrator.model.market import Tick
from orchestrator.model.outcomes import PatternSeen
from orchestrator.model.safety import BreakerState, Effect, Scope, Severity
from orchestrator.model.signals import Role
from orchestrator.model.time import NS_PER_S, parse_time

D = Decimal
S = NS_PER_S
LIMITS, BREAKERS = AccountLimits(), BreakerLimits()


@pytest.mark.parametrize(
    ("judge", "limit"),
    [
        (lambda fallen: a1_daily_loss(D(100_000) - fallen, D(100_000), LIMITS, BREAKERS), "0.06"),
        (lambda fallen: a2_drawdown(D(100_000) - fallen, D(100_000), LIMITS, BREAKERS), "0.10"),
        (lambda fallen: s1_total_daily_loss(fallen, D(100_000), LIMITS, BREAKERS), "0.06"),
        (
            lambda fallen: s2_total_drawdown(D(100_000) - fallen, D(100_000), LIMITS, BREAKERS),
            "0.10",
        ),
    ],
)
def test_loss_breakers_scale_at_half_and_three_quarters_and_cross_at_the_limit(judge, limit):
    whole = D(100_000) * D(limit)
    cent = D("0.01")
    assert judge(whole / 2 - cent) is None
    assert judge(whole / 2).scale == D("0.5")
    assert judge(whole * 3 / 4 - cent).scale == D("0.5")
    assert judge(whole * 3 / 4).scale == D("0.25")
    assert judge(whole - cent).scale == D("0.25")
    assert judge(whole).crossed
    assert judge(whole + cent).crossed


def test_a_gain_is_no_loss_and_a_base_of_nothing_is_crossed():
    assert a1_daily_loss(D(200), D(100), LIMITS, BREAKERS) is None
    assert a2_drawdown(D(200), D(100), LIMITS, BREAKERS) is None
    assert a1_daily_loss(D(0), D(0), LIMITS, BREAKERS).crossed


def known(**changes):
    fields = {
        "reconciled": True, "differences": (), "unknown_since_ns": None, "heard_ns": 100 * S,
        "behind_ns": None, "valued": True,
    }  # fmt: skip
    return Knowledge(**{**fields, **changes})


def test_a7_nothing_is_unknown():
    assert a7_unknown(known(), 100 * S, BREAKERS) is None


def test_a7_thresholds():
    now = 100 * S
    assert a7_unknown(known(reconciled=False), now, BREAKERS)
    assert "balance" in a7_unknown(
        known(reconciled=False, differences=("balance is 1, 2 at the venue",)), now, BREAKERS
    )
    assert a7_unknown(known(unknown_since_ns=70 * S), now, BREAKERS) is None
    assert a7_unknown(known(unknown_since_ns=70 * S - 1), now, BREAKERS)
    assert a7_unknown(known(heard_ns=90 * S), now, BREAKERS) is None
    assert a7_unknown(known(heard_ns=90 * S - 1), now, BREAKERS)
    assert a7_unknown(known(behind_ns=90 * S), now, BREAKERS) is None
    assert a7_unknown(known(behind_ns=90 * S - 1), now, BREAKERS)
    assert a7_unknown(known(valued=False), now, BREAKERS)


def test_a4_only_critical_patterns_block():
    for severity in Severity:
        seen = PatternSeen(kind="runaway", severity=severity, text="x", at_ns=0)
        assert (a4_repetition(seen) is not None) is (severity is Severity.CRITICAL)


def test_s5_heals_after_ten_good_writes_and_10_s():
    assert not s5_healed(9, 0, 10 * S, BREAKERS)
    assert not s5_healed(10, 0, 10 * S - 1, BREAKERS)
    assert s5_healed(10, 0, 10 * S, BREAKERS)


def test_s9_names_the_missing_roles_and_ignores_those_no_signal_passes():
    assert s9_agents([]) is None
    assert s9_agents([Role.DATA_COLLECTION]) is None
    assert "learning_safety" in s9_agents([Role.LEARNING_SAFETY])


@pytest.mark.parametrize(
    ("at", "session"),
    [
        ("2026-11-18T21:44:59Z", "open"),  # 16:44:59 New York
        ("2026-11-18T21:45:00Z", "quiet"),
        ("2026-11-18T21:58:00Z", "closed"),
        ("2026-11-18T22:05:00Z", "quiet"),
        ("2026-11-18T22:15:00Z", "open"),
        ("2026-11-20T22:20:00Z", "closed"),  # Friday evening
        ("2026-11-21T12:00:00Z", "closed"),
        ("2026-11-22T22:04:59Z", "closed"),
        ("2026-11-22T22:15:00Z", "open"),  # Sunday 17:15
        ("2026-07-15T20:58:00Z", "closed"),  # summer time
    ],
)
def test_t1_keeps_new_yorks_hours(at, session):
    assert session_of("fx", parse_time(at)) == session
    assert session_of("always", parse_time(at)) == "open"
    assert (t1_session(session) is None) is (session == "open")


def test_m1_stale_stream_and_stale_tick():
    now = 100 * S
    assert m1_stale(now, now - 7 * S, now, BREAKERS) is None
    assert m1_stale(now, now - 7 * S - 1, now, BREAKERS)
    assert m1_stale(now - 60 * S, now, now, BREAKERS) is None
    assert m1_stale(now - 60 * S - 1, now, now, BREAKERS)
    assert m1_stale(None, now, now, BREAKERS)


def filled_ring(samples, spread="0.0001"):
    ring = SpreadRing()
    for number in range(samples):
        ring.add(D(spread), number * 10 * S)
    return ring


def test_m2_has_no_median_before_thirty_samples():
    assert filled_ring(29).median is None
    assert filled_ring(30).median == D("0.0001")


def test_m2_trips_above_four_medians():
    ring = filled_ring(30)
    assert m2_spread(D("0.0004"), ring, BREAKERS) is None
    assert m2_spread(D("0.00041"), ring, BREAKERS)


def test_m2_trips_early_only_far_above_the_smallest():
    ring = filled_ring(3)
    assert m2_spread(D("0.0010"), ring, BREAKERS) is None
    assert m2_spread(D("0.00101"), ring, BREAKERS)
    assert m2_spread(D("5"), SpreadRing(), BREAKERS) is None


def test_m2_keeps_an_hour_and_one_sample_in_ten_seconds():
    ring = filled_ring(30)
    for step in range(1000):
        ring.add(D(9), 300 * S + step)  # within ten seconds: one sample only
    assert ring.median == D("0.0001")
    for number in range(360):
        ring.add(D("0.0002"), (400 + number * 10) * S)
    assert ring.median == D("0.0002")


def tick(bid="1.1000", ask="1.1001", at=0, seen=None):
    return Tick(
        instrument="EUR_USD",
        bid=D(bid),
        ask=D(ask),
        venue_ns=at,
        seen_ns=at if seen is None else seen,
    )


@pytest.mark.parametrize(
    ("bid", "ask"),
    [
        ("NaN", "1.1"), ("1.1", "NaN"), ("Infinity", "Infinity"), ("0", "1"), ("-1", "1"),
        ("1.1", "1.1"), ("1.2", "1.1"), ("sNaN", "1"),
    ],
)  # fmt: skip
def test_m5_drops_what_is_no_price(bid, ask):
    assert defect(tick(bid, ask), None, BREAKERS)


def test_sides_that_are_far_apart_are_no_price_not_even_the_first():
    """The first tick of a life is compared with nothing, and would convert currencies."""
    assert "off bid" in (defect(tick("1.1000", "3.3000"), None, BREAKERS) or "")
    assert defect(tick("1.1000", "1.1550"), None, BREAKERS) is None


def test_m5_drops_what_is_older_or_five_percent_off():
    last = tick(at=100)
    assert defect(tick(at=100), last, BREAKERS) is None
    assert defect(tick(at=99), last, BREAKERS)
    assert defect(tick("1.1550", "1.1551", at=100), last, BREAKERS) is None
    assert defect(tick("1.15501", "1.1552", at=100), last, BREAKERS)
    assert defect(tick("1.0449", "1.0450", at=100), last, BREAKERS)


def test_m5_a_price_after_a_minute_of_nothing_may_have_moved():
    last = tick(at=0)
    assert defect(tick("2.0", "2.1", at=60 * S), last, BREAKERS)
    assert defect(tick("2.0", "2.1", at=60 * S + 1), last, BREAKERS) is None


def test_m5_counts_within_ten_seconds():
    bad = BadTicks()
    assert [bad.count(at * S, BREAKERS) for at in (0, 5, 10)] == [1, 2, 3]
    assert bad.count(16 * S, BREAKERS) == 2


# -- the board -------------------------------------------------------------------------


def tripped(breaker="M2", subject="EUR_USD", scope=Scope.INSTRUMENT, **fields):
    values = {"effect": Effect.BLOCK, "evidence": "because", **fields}
    return BreakerTripped(breaker=breaker, scope=scope, subject=subject, **values)


def test_a_trip_blocks_only_in_its_scope():
    board = Board()
    board.trip(tripped(), 5)
    assert board.blocks("a", "EUR_USD") == ("M2 spread: because",)
    assert board.blocks("a", "GBP_USD") == ()
    board.trip(tripped("A7", "a", Scope.ACCOUNT), 6)
    assert len(board.blocks("a", "EUR_USD")) == 2
    assert board.blocks("b", "GBP_USD") == ()
    board.trip(tripped("S5", "system", Scope.SYSTEM), 7)
    assert len(board.blocks("b", "GBP_USD")) == 1


def test_scales_multiply_and_do_not_block():
    board = Board()
    board.trip(tripped("A1", "a", Scope.ACCOUNT, effect=Effect.SCALE, scale=D("0.5")), 0)
    board.trip(tripped("A2", "a", Scope.ACCOUNT, effect=Effect.SCALE, scale=D("0.25")), 0)
    assert board.blocks("a", None) == ()
    assert board.scale("a", None) == D("0.125")
    assert board.scale("b", None) == D(1)


def test_reset_arms_again_and_views_show_armed_breakers_too():
    board = Board()
    board.trip(tripped(), 5)
    views = {(v.breaker, v.subject): v for v in board.views(("a", "b"), ("EUR_USD",))}
    per_scope = {Scope.SYSTEM: 1, Scope.ACCOUNT: 2, Scope.INSTRUMENT: 1}
    assert len(views) == sum(per_scope[row.scope] for row in TABLE.values())
    assert views["M2", "EUR_USD"].state is BreakerState.TRIPPED
    assert views["A1", "b"].state is BreakerState.ARMED
    board.reset(
        BreakerReset(
            breaker="M2", scope=Scope.INSTRUMENT, subject="EUR_USD", actor="kernel", reason="x"
        )
    )
    assert board.blocks("a", "EUR_USD") == ()


# -- resuming --------------------------------------------------------------------------


def standing(**changes):
    fields = {"stop_id": "x", "unreconciled": (), "unsettled": (), "open_trades": ()}
    return Standing(**{**fields, **changes})


def test_a_resume_needs_everything_at_once():
    assert refusals(standing(), "x", "ann", "checked", ()) == ()
    assert refusals(standing(stop_id=None), "x", "ann", "checked", ()) == ("nothing is stopped",)
    everything = standing(
        unreconciled=("a",), unsettled=("i",), open_trades=(("a", "7"), ("b", "7"))
    )
    assert len(refusals(everything, "y", " ", "", ())) == 7


def test_open_trades_may_be_listed_by_id_or_with_their_account():
    held = standing(open_trades=(("a", "7"), ("b", "8")))
    assert refusals(held, "x", "ann", "seen", ("7", "b/8")) == ()
    assert refusals(held, "x", "ann", "seen", ("a/7",)) == ("open trade b/8 is not listed",)
