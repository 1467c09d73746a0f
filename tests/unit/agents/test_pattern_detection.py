"""Flow of our own that should not be there: seen at its limit, not before, and not all the time."""

from __future__ import annotations

import pytest

from orchestrator.agents.pattern_detection import PatternDetection
from orchestrator.model.facts import (
    IntentMoved,
    IntentWritten,
    SignalAccepted,
    TransactionApplied,
)
from orchestrator.model.market import Beat
from orchestrator.model.money import AccountId, InstrumentName, Side
from orchestrator.model.orders import Intent, IntentState, Reservation
from orchestrator.model.outcomes import PatternSeen, RiskAdvice
from orchestrator.model.safety import Severity
from orchestrator.model.signals import Proposal
from orchestrator.model.time import format_time
from orchestrator.model.venue import TradeReduce, Transaction
from tests.unit.agents.makers import A, B, D, at, opened, signal

C = AccountId("003")


def written(number: int, second: float, units: int = 0, **more: object) -> IntentWritten:
    """An intent of a size of its own, unless `units` is given."""
    account = more.pop("account_id", A)
    fields: dict[str, object] = {
        "signal_id": f"s-{number}",
        "account_id": account,
        "strategy": "trend",
        "regime": "trend_up",
        "instrument": InstrumentName("EUR_USD"),
        "side": Side.BUY,
        "units": D(units or 1000 + number),
        "reference_price": D("1.1"),
        "stop_price": D("1.098"),
        "target_price": None,
        "confidence": D("0.5"),
        "score": D("0.5"),
        "created_ns": at(second),
        "expires_ns": at(second + 10),
    }
    return IntentWritten(
        intent=Intent(
            intent_id=f"i-{number}-{account}",
            proposal=Proposal(**(fields | more)),
            body="{}",
            watermark=1,
            epoch=1,
            generation=1,
            checked_ns=at(second),
            expires_ns=at(second + 10),
            reservation=Reservation(risk=D(1), notional=D(1), margin=D(1)),
        )
    )


def kinds(agent: PatternDetection, *messages: object) -> list[tuple[str, Severity]]:
    said = [each for message in messages for each in agent.hear(message)]
    assert all(isinstance(each, (PatternSeen, RiskAdvice)) and each.text for each in said)
    return [(each.kind, each.severity) for each in said if isinstance(each, PatternSeen)]


RUNAWAY = ("runaway", Severity.CRITICAL)


def test_orders_of_an_account_run_away_at_the_limit_and_not_before() -> None:
    agent = PatternDetection()
    assert kinds(agent, *(written(i, i) for i in range(9))) == []
    assert kinds(agent, written(9, 9)) == [RUNAWAY]


def test_slow_orders_are_no_runaway() -> None:
    assert kinds(PatternDetection(), *(written(i, 1.2 * i) for i in range(25))) == []


def test_a_strategy_on_an_instrument_runs_away_by_distinct_signals() -> None:
    agent = PatternDetection()
    both = [written(i, 60 * i, account_id=a) for i in range(29) for a in (A, B)]
    assert kinds(agent, *both) == []
    assert kinds(agent, written(29, 60 * 29)) == [RUNAWAY]
    later = [written(i, 60 * i, strategy="mean") for i in range(30, 58)]
    assert kinds(agent, *later) == []


def test_the_same_intent_heard_again_is_not_another() -> None:
    agent = PatternDetection()
    assert kinds(agent, *(written(1, 1) for _ in range(50))) == []


def test_two_equal_orders_of_one_strategy_are_a_critical_duplicate() -> None:
    agent = PatternDetection()
    seen = kinds(agent, written(1, 0, 500), written(2, 9.9, 500))
    assert seen == [("duplicate", Severity.CRITICAL)]


@pytest.mark.parametrize(
    ("second", "more", "expected"),
    [
        (9, {"strategy": "mean"}, [("duplicate", Severity.WARNING)]),
        (10.1, {}, []),
        (9, {"account_id": B}, []),
        (9, {"side": Side.SELL}, []),
        (9, {"instrument": InstrumentName("GBP_USD")}, []),
    ],
)
def test_what_differs_is_no_exact_duplicate(second, more, expected) -> None:
    agent = PatternDetection()
    assert kinds(agent, written(1, 0, 500), written(2, second, 500, **more)) == expected


def test_a_pattern_is_said_again_only_after_its_cooldown() -> None:
    agent = PatternDetection(cooldown_s=100)
    said = [len(kinds(agent, written(i, i / 2))) for i in range(260)]
    # The account's at 4.5 and 104.5 s, the strategy's (30 signals) at 14.5 and 114.5 s.
    assert [i for i, count in enumerate(said) if count] == [9, 29, 209, 229]


def test_a_flood_of_signals_is_a_warning() -> None:
    agent = PatternDetection()
    facts = [
        SignalAccepted(signal=signal(signal_id=f"s-{i}", created_ns=at(i / 4)), accounts=(A,))
        for i in range(120)
    ]
    assert kinds(agent, *facts[:119], *facts[:119]) == []
    assert kinds(agent, facts[119]) == [("signal_flood", Severity.WARNING)]


def offered(*accounts: AccountId) -> SignalAccepted:
    return SignalAccepted(signal=signal(), accounts=accounts)


def test_most_accounts_entering_together_are_a_herd() -> None:
    agent = PatternDetection()
    agent.hear(offered(A, B, C))
    assert kinds(agent, opened("1")) == []
    assert kinds(agent, opened("2", account_id=B, opened_ns=at(30))) == [
        ("herding", Severity.WARNING)
    ]


@pytest.mark.parametrize(
    "other",
    [
        opened("2", account_id=A),
        opened("2", account_id=B, opened_ns=at(31)),
        opened("2", account_id=B, instrument=InstrumentName("GBP_USD")),
        opened("2", account_id=B, ours=False),
    ],
)
def test_what_is_alone_late_elsewhere_or_foreign_is_no_herd(other) -> None:
    agent = PatternDetection()
    agent.hear(offered(A, B, C))
    agent.hear(opened("1"))
    assert kinds(agent, other) == []


def test_one_account_alone_is_never_a_herd() -> None:
    assert kinds(PatternDetection(herd_part=0.0), opened("1")) == []


def test_half_of_the_accounts_are_no_herd() -> None:
    agent = PatternDetection()
    agent.hear(offered(A, B, C, AccountId("004")))
    agent.hear(opened("1"))
    assert kinds(agent, opened("2", account_id=B)) == []


def fill(number: int, second: float, pl: str, closed: str = "9") -> TransactionApplied:
    return TransactionApplied(
        account_id=A,
        transaction=Transaction(
            id=str(number),
            type="ORDER_FILL",
            time=format_time(at(second)),
            pl=D(pl),
            trades_closed=(TradeReduce(trade_id=closed, units=D(-1000)),),
        ),
        source="stream",
    )


def test_opposite_trades_of_two_accounts_offset_each_other() -> None:
    agent = PatternDetection()
    agent.hear(opened("1"))
    short = opened("2", -1000, account_id=B, opened_ns=at(100))
    assert kinds(agent, short) == [("offsetting", Severity.WARNING)]


def test_after_the_other_was_closed_nothing_offsets() -> None:
    agent = PatternDetection()
    agent.hear(opened("1"))
    agent.hear(fill(5, 50, "1", closed="1"))
    assert kinds(agent, opened("2", -1000, account_id=B, opened_ns=at(100))) == []


def test_losses_cluster_within_their_time() -> None:
    agent = PatternDetection()
    assert kinds(agent, *(fill(i, 60 * i, "-1") for i in range(1, 5))) == []
    assert kinds(agent, fill(4, 60 * 4, "-1")) == []  # heard again
    assert kinds(agent, fill(5, 60 * 5, "-1")) == [("loss_cluster", Severity.WARNING)]


def test_a_cluster_that_was_told_counts_anew() -> None:
    agent = PatternDetection(cooldown_s=0)
    said = [len(kinds(agent, fill(i, 60 * i, "-1"))) for i in range(1, 11)]
    assert said == [0, 0, 0, 0, 1, 0, 0, 0, 0, 1]


def test_a_cluster_of_losses_advises_half_the_risk_for_a_while() -> None:
    agent = PatternDetection(caution_s=600)
    said = [each for i in range(1, 6) for each in agent.hear(fill(i, 60 * i, "-1"))]
    (advice,) = [each for each in said if isinstance(each, RiskAdvice)]
    assert (advice.source, advice.account_id, advice.scale) == ("pattern_detection", A, D("0.5"))
    assert advice.until_ns == at(300 + 600)
    assert advice.text.startswith("loss_cluster: 5 losing closes")
    quiet = PatternDetection(caution_scale=1)
    told = [each for i in range(1, 6) for each in quiet.hear(fill(i, 60 * i, "-1"))]
    assert not any(isinstance(each, RiskAdvice) for each in told)


def test_slow_losses_and_gains_are_no_cluster() -> None:
    agent = PatternDetection()
    assert kinds(agent, *(fill(i, 460 * i, "-1") for i in range(1, 20))) == []
    assert kinds(agent, *(fill(i, 10_000 + i, "1") for i in range(20, 40))) == []


def ended(number: int, state: IntentState) -> IntentMoved:
    return IntentMoved(intent_id=f"i-{number}", signal_id=f"s-{number}", account_id=A, state=state)


def test_orders_that_seldom_fill_are_churn_and_rejects_are_told() -> None:
    agent = PatternDetection()
    agent.hear(Beat(now_ns=at(0)))
    filled = [ended(i, IntentState.FILLED) for i in range(9)]
    cancelled = [ended(i, IntentState.CANCELLED) for i in range(9, 13)]
    rejected = [ended(i, IntentState.REJECTED) for i in range(13, 20)]
    assert kinds(agent, *filled, *cancelled, *rejected[:-1]) == []
    assert kinds(agent, rejected[-1]) == [
        ("churn", Severity.WARNING),
        ("rejects", Severity.WARNING),
    ]


def test_steps_on_the_way_and_orders_never_sent_are_no_ends() -> None:
    agent = PatternDetection()
    moves = [
        ended(i, state)
        for i in range(40)
        for state in (IntentState.SENDING, IntentState.BLOCKED, IntentState.EXPIRED)
    ]
    assert kinds(agent, *moves) == []


def test_every_memory_is_bounded() -> None:
    agent = PatternDetection()
    for i in range(3_000):
        agent.hear(opened(str(i), account_id=AccountId(f"a{i}"), opened_ns=at(i * 100)))
    assert len(agent._accounts) == 2_000
    assert len(agent._held.get(InstrumentName("EUR_USD"))) == 1_000
