"""A signal's story and performance as a store tells them, on each implementation."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from orchestrator.model.facts import (
    TransactionApplied,
)
from orchestrator.model.orders import IntentState
from orchestrator.model.venue import ClientExtensions, Transaction
from tests.contract.stores import ended
from tests.unit.adapters.store import samples

D = Decimal


@pytest.fixture
def told(store: Any) -> Any:
    stop = Transaction(
        id="9", type="STOP_LOSS_ORDER", trade_id="8", price=D("1.098"),
        client_extensions=ClientExtensions(id="stop"),
    )  # fmt: skip
    samples.append(store, samples.adopted(), *samples.path("s1"))
    samples.append(
        store, TransactionApplied(account_id=samples.ACCOUNT, transaction=stop, source="answer"),
        *samples.closing(8, "-2.1"), samples.outcome(8, "-1"), *samples.path("s2", 20),
    )  # fmt: skip
    return store.queries


@pytest.mark.parametrize(
    ("ref", "kind"),
    [
        ("s1", "signal"),
        (samples.intent().intent_id, "intent"),
        ("7", "order"),
        ("8", "trade"),
        ("9", "order"),
        ("108", "transaction"),
    ],
)
def test_any_number_of_an_order_leads_to_its_signal(told: Any, ref: str, kind: str) -> None:
    found = told.find_signal(ref)
    assert [(one.kind, one.signal_id) for one in found] == [(kind, "s1")]


@pytest.mark.parametrize(
    "ref", ["", "none", "999", "-7", "\u0667", "7 ", "9" * 40, "' OR 1=1 --", "%"]
)
def test_what_is_no_number_of_ours_finds_nothing(told: Any, ref: str) -> None:
    assert told.find_signal(ref) == ()
    assert told.explain(ref) is None


def test_an_explanation_tells_the_whole_story_in_order(told: Any) -> None:
    story = told.explain("7")
    assert story.signal.signal == samples.signal("s1")
    assert [row.decided.agent_id for row in story.stages] == ["disagreement-1"] * 4
    assert story.stages[0].decided.latency_us == 120
    assert story.checks[0].decided.passed
    assert [row.state for row in story.intents] == [IntentState.FILLED]
    assert [row.moved.state for row in story.moves] == [IntentState.FILLED]
    assert [row.transaction.id for row in story.transactions] == ["7", "8", "9", "108"]
    assert [row.realized_pl for row in story.trades] == [D("-2.1")]
    assert [row.outcome.r_multiple for row in story.outcomes] == [D(-1)]
    assert [moment.seq for moment in story.timeline] == sorted({m.seq for m in story.timeline})
    text = "\n".join(moment.text for moment in story.timeline)
    for words in (
        "trend wishes to buy EUR_USD", "disagreement passed in 120 µs: two accounts differ",
        "all 2 checks passed", "risk 2.1", "transaction 9 STOP_LOSS_ORDER",
        "is filled, order 7, trade 8", "closed by STOP_LOSS_ORDER at 1.09800: P/L -2.1",
        "-1 times its risk", "ended filled",
    ):  # fmt: skip
        assert words in text


def test_a_number_that_two_accounts_use_names_both(store: Any) -> None:
    samples.append(
        store, samples.adopted("a"), samples.adopted("b"),
        *samples.path("s1", 7, "a"), *samples.path("s2", 7, "b"),
    )  # fmt: skip
    story = store.queries.explain("7")
    named = {story.found.signal_id} | {one.signal_id for one in story.also}
    assert named == {"s1", "s2"}
    only = store.queries.explain("7", account_id="b")
    assert (only.found.signal_id, only.also) == ("s2", ())


def test_the_story_of_a_refused_signal_ends_at_the_refusal(store: Any) -> None:
    samples.append(store, ended("bad"))
    story = store.queries.explain("bad")
    assert [moment.text for moment in story.timeline] == ["ended rejected by checks: C05"]


def test_performance_is_told_per_account_and_strategy(store: Any) -> None:
    samples.append(store, samples.adopted("a", "EUR"), samples.adopted("b", "USD"))
    for number, (account, pl) in enumerate([("a", "3"), ("a", "-1"), ("a", "1"), ("b", "-2")]):
        trade = 1000 * (number + 1)
        samples.append(store, *samples.path(f"p{number}", trade - 1, account))
        samples.append(
            store, *samples.closing(trade, pl, account=account, signal_id=f"p{number}"),
            samples.outcome(trade, pl, account=account),
        )  # fmt: skip
    rows = {(row.account_id, row.strategy): row for row in store.queries.performance()}
    assert set(rows) == {("a", ""), ("a", "trend"), ("b", ""), ("b", "trend")}
    good = rows["a", "trend"]
    assert (good.currency, good.trades, good.wins, good.losses) == ("EUR", 3, 2, 1)
    assert (good.gross_profit, good.gross_loss, good.net) == (D("3.9998"), D("1.0001"), D("2.9997"))
    assert good.win_rate == D("0.666667")
    assert good.profit_factor == D("3.999400")
    assert good.expectancy == D("0.9999")
    assert good.mean_r == D(1)
    bad = rows["b", "trend"]
    assert (bad.win_rate, bad.profit_factor, bad.worst) == (D(0), D(0), D("-2.0001"))
    assert [row.account_id for row in store.queries.performance("b", "trend")] == ["b"]


def test_performance_without_a_loss_has_no_profit_factor(store: Any) -> None:
    samples.append(store, samples.adopted(), *samples.path(), *samples.closing(8, "4"))
    (row,) = store.queries.performance(strategy="trend")
    assert (row.profit_factor, row.mean_r, row.best) == (None, None, D("3.9999"))
