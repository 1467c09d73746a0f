"""Dissent lowers confidence; accounts' books stay diverse; nobody is always second."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.agents.disagreement import Disagreement
from orchestrator.agents.disagreement.returns import AccountReturns
from orchestrator.agents.disagreement.risk import CurrencyRisk
from orchestrator.model.money import AccountId, InstrumentName, Side
from orchestrator.model.signals import Allocation, AskAllocation, Share
from tests.unit.agents.makers import (
    A,
    B,
    D,
    account,
    ask_allocation,
    at,
    exposures,
    held,
    history,
    outcome,
    quiet_tick,
    signal,
)


def answer(ask: AskAllocation, agent: Disagreement | None = None) -> Allocation:
    (said,) = (agent or Disagreement()).hear(ask)
    assert isinstance(said, Allocation)
    assert [share.account_id for share in said.shares] == [v.account_id for v in ask.accounts]
    return said


def shares(ask: AskAllocation, agent: Disagreement | None = None) -> dict[AccountId, Share]:
    return {share.account_id: share for share in answer(ask, agent).shares}


def wish(strategy: str, side: Side, **more: object) -> object:
    return signal(signal_id=f"w-{strategy}", strategy=strategy, side=side, **more)


# --- dissent


def test_nobody_else_leaves_the_confidence_as_it_is() -> None:
    assert answer(ask_allocation(account())).confidence == D("0.55")


def test_an_equal_opposite_wish_halves_the_confidence() -> None:
    agent = Disagreement()
    agent.hear(wish("mean", Side.SELL))
    said = answer(ask_allocation(account()), agent)
    assert said.confidence == D("0.275")
    assert "mean" in said.reason


def test_after_a_half_life_it_counts_half_and_after_long_nothing() -> None:
    agent = Disagreement()
    agent.hear(wish("mean", Side.SELL))
    later = answer(ask_allocation(account(), created_ns=at(300)), agent).confidence
    assert later == pytest.approx(D("0.55") / D("1.5"), abs=D("0.000001"))
    assert answer(ask_allocation(account(), created_ns=at(3600)), agent).confidence == D("0.55")


def test_agreement_defends_against_dissent_but_never_raises() -> None:
    agent = Disagreement()
    agent.hear(wish("breakout", Side.BUY, confidence=D("0.9")))
    assert answer(ask_allocation(account()), agent).confidence == D("0.55")
    agent.hear(wish("mean", Side.SELL))
    later = answer(ask_allocation(account(), signal_id="s-2"), agent)
    assert D("0.275") < later.confidence < D("0.55")


def test_a_strategy_has_one_vote_however_often_it_speaks() -> None:
    agent = Disagreement()
    for _ in range(50):
        agent.hear(wish("mean", Side.SELL))
    assert answer(ask_allocation(account()), agent).confidence == D("0.275")


def test_ones_own_change_of_mind_and_other_instruments_are_no_dissent() -> None:
    agent = Disagreement()
    agent.hear(wish("trend", Side.SELL))
    agent.hear(wish("mean", Side.SELL, instrument=InstrumentName("GBP_USD")))
    assert answer(ask_allocation(account()), agent).confidence == D("0.55")


def test_a_strategy_that_loses_has_less_say() -> None:
    agent = Disagreement()
    for number in range(1, 20):
        agent.hear(outcome("-1", number, strategy="mean"))
    agent.hear(wish("mean", Side.SELL))
    assert answer(ask_allocation(account()), agent).confidence > D("0.4")


def test_a_wish_without_a_usable_confidence_is_not_heard() -> None:
    agent = Disagreement()
    for bad in (D("NaN"), D("Infinity"), D(0), D(5)):
        agent.hear(wish("mean", Side.SELL, confidence=bad))
    assert answer(ask_allocation(account()), agent).confidence == D("0.55")


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["a", "b", "c"]),
            st.sampled_from(Side),
            st.decimals("0.000001", "1", places=6),
            st.integers(-1000, 1000),
        ),
        max_size=8,
    ),
    st.decimals("0.000001", "1", places=6),
)
def test_dissent_never_raises_and_never_reaches_zero(wishes, confidence) -> None:
    agent = Disagreement()
    for strategy, side, conviction, second in wishes:
        agent.hear(wish(strategy, side, confidence=conviction, created_ns=at(second)))
    said = answer(ask_allocation(account(), confidence=confidence), agent)
    assert 0 < said.confidence <= confidence


# --- who takes it


def test_of_two_empty_accounts_one_takes_it_whole_and_the_other_skips_and_says_why() -> None:
    said = shares(ask_allocation(account("001"), account("002")))
    weights = sorted(share.weight for share in said.values())
    assert weights == [0, 1]
    (skipped,) = [share for share in said.values() if share.weight == 0]
    assert "correlation with account" in skipped.reason
    assert "1.00, limit 0.70" in skipped.reason


def test_the_same_seed_gives_the_same_choice_and_seeds_differ() -> None:
    def taker(seed: int) -> AccountId:
        said = shares(ask_allocation(account("001"), account("002"), seed=seed))
        return max(said.values(), key=lambda share: share.weight).account_id

    assert [taker(s) for s in range(20)] == [taker(s) for s in range(20)]
    assert {taker(s) for s in range(20)} == {A, B}


def test_over_many_signals_empty_accounts_take_equal_parts() -> None:
    agent = Disagreement()
    views = [account("001"), account("002"), account("003")]
    taken = dict.fromkeys((view.account_id for view in views), 0.0)
    for number in range(300):
        ask = ask_allocation(*views, seed=number, signal_id=f"s-{number}")
        for share in answer(ask, agent).shares:
            taken[share.account_id] += float(share.weight)
    assert sum(taken.values()) == 300
    assert max(taken.values()) - min(taken.values()) <= 1


def test_a_question_that_comes_twice_has_the_same_answer_and_is_charged_once() -> None:
    agent = Disagreement()
    ask = ask_allocation(account("001"), account("002"), seed=3)
    first = answer(ask, agent)
    assert [answer(ask, agent) for _ in range(3)] == [first] * 3
    other = answer(ask_allocation(account("001"), account("002"), signal_id="s-2"), agent)
    taker = max(first.shares, key=lambda share: share.weight).account_id
    assert max(other.shares, key=lambda share: share.weight).account_id != taker
    assert "fairness +0.50" in "".join(share.reason for share in other.shares)


def test_what_an_account_holds_of_the_orders_risk_counts_against_it() -> None:
    """It holds EUR 5 times its NAV, the order adds 1.1 times."""
    full = account("001", exposures=exposures(EUR=50_000, USD=-50_000), headroom_units=D(10_000))
    said = shares(ask_allocation(full, account("002", blocked_by=("x",))))
    assert "holds 4.55 times" in said[A].reason


def test_fairness_outweighs_a_small_difference_of_risk() -> None:
    """An NZD book is unlike each order; the account that took the last signals makes room."""
    agent = Disagreement()
    views = (
        account("001", exposures=exposures(NZD=1_000, JPY=-1_000)),
        account("002", exposures=exposures(JPY=1_000, NZD=-1_000)),
    )
    takers = []
    for number in range(6):
        said = shares(ask_allocation(*views, seed=number, signal_id=f"s-{number}"), agent)
        takers.append(max(said.values(), key=lambda share: share.weight).account_id)
    assert sorted(takers) == [A, A, A, B, B, B]


def test_an_order_that_would_make_two_books_alike_is_skipped_at_the_limit() -> None:
    """The taker's book becomes the order's direction: cosine with GBP against USD is one half."""
    other = account("002", exposures=exposures(GBP=10_000, USD=-10_000), blocked_by=("x",))
    half = shares(ask_allocation(account("001"), other))
    assert 0 < half[A].weight < 1
    assert "0.50 with account 002" in half[A].reason
    strict = Disagreement(pair_correlation_max=0.49)
    assert shares(ask_allocation(account("001"), other), strict)[A].weight == 0


def test_a_book_that_becomes_less_alike_passes_above_the_limit() -> None:
    """Both hold the same GBP against JPY; a little EUR against USD makes them differ."""
    same = exposures(GBP=50_000, JPY=-50_000)
    one = account("001", exposures=same, headroom_units=D(5_000))
    two = account("002", exposures=same, blocked_by=("disabled",))
    said = shares(ask_allocation(one, two))[A]
    assert said.weight > 0
    assert "correlation 0.99 with account 002" in said.reason


def test_opposite_positions_of_another_account_skip() -> None:
    holder = account("002", open_trades=(held(-500),))
    said = shares(ask_allocation(account("001"), holder))
    assert said[A].weight == said[B].weight == 0
    assert "account 002 holds the opposite" in said[A].reason
    assert "this account holds the opposite" in said[B].reason
    assert shares(ask_allocation(account("001"), holder, side=Side.SELL))[A].weight > 0


def test_a_currencys_total_exposure_cuts_the_weight_and_then_skips() -> None:
    """The whole risk is a size of 11 times NAV; the account is half of all money, so 5.5."""
    views = (account("001"), account("002", blocked_by=("x",)))
    whole = shares(ask_allocation(*views), Disagreement(currency_exposure_max=6))[A]
    cut = shares(ask_allocation(*views), Disagreement(currency_exposure_max=2))[A]
    none = shares(ask_allocation(*views), Disagreement(currency_exposure_max=0.1))[A]
    assert (whole.weight, cut.weight, none.weight) == (1, D("0.36"), 0)
    assert "limit 2.00" in cut.reason


def test_headroom_below_the_risks_size_is_what_a_cut_starts_from() -> None:
    """Risk would be 11 times NAV, headroom leaves 5.5: a limit of 2.76 is a quarter."""
    view = account("001", headroom_units=D(50_000))
    for limit, weight in ((5.51, 1), (2.76, D("0.25"))):
        agent = Disagreement(currency_exposure_max=limit)
        assert shares(ask_allocation(view), agent)[A].weight == weight


def test_a_weight_below_one_may_still_be_the_whole_headroom() -> None:
    """A weight of 0.68 (likeness 0.5) of 11 times NAV is more than the headroom of 5.5: the total
    of USD would be 0.5 + 2.75 of all NAV, 2.7 leave 2.2, a fifth of 11 in half of the money."""
    one = account("001", headroom_units=D(50_000))
    two = account("002", exposures=exposures(GBP=10_000, USD=-10_000), blocked_by=("x",))
    agent = Disagreement(currency_exposure_max=2.7)
    assert shares(ask_allocation(one, two), agent)[A].weight == D("0.39")


def test_money_in_other_currencies_is_compared_at_live_rates() -> None:
    """10,000 USD beside 1,000,000 JPY at 100: equal parts."""
    agent = Disagreement(currency_exposure_max=2)
    agent.hear(quiet_tick(0, 100.0, "USD_JPY"))
    views = (
        account("001"),
        account("002", currency="JPY", nav=D(1_000_000), blocked_by=("x",)),
    )
    assert shares(ask_allocation(*views), agent)[A].weight == pytest.approx(
        D("0.36"), abs=D("0.01")
    )


@pytest.mark.parametrize(
    ("view", "why"),
    [
        (account(blocked_by=("A1", "S5")), "blocked by A1, S5"),
        (account(headroom_units=D(0)), "no room"),
        (account(headroom_units=D("NaN")), "unusable"),
        (account(nav=D(0)), "unusable"),
        (account(nav=D("-Infinity")), "unusable"),
        (account(nav=D(-5)), "unusable"),
        (account(risk_per_trade=D(0)), "no room"),
        (account(exposures=exposures(EUR="NaN")), "unusable"),
    ],
)
def test_an_account_that_cannot_trade_skips_with_the_reason(view, why) -> None:
    said = shares(ask_allocation(view, account("002")))
    assert said[A].weight == 0
    assert why in said[A].reason
    assert said[B].weight >= D("0.9")


def test_a_signal_for_named_accounts_goes_to_no_other() -> None:
    said = shares(ask_allocation(account("001"), account("002"), accounts=(B,)))
    assert (said[A].weight, said[B].weight) == (0, 1)


def test_unusable_distances_skip_everybody() -> None:
    for bad in (D("NaN"), D(0), D("-1")):
        said = shares(ask_allocation(account("001"), account("002"), stop_distance=bad))
        assert {share.weight for share in said.values()} == {D(0)}


def test_no_account_is_asked_about_and_none_is_given() -> None:
    assert answer(ask_allocation()).shares == ()


def test_accounts_whose_returns_moved_together_share_less() -> None:
    agent = Disagreement()
    dice = np.random.default_rng(1)
    nav = 10_000.0
    for step in range(60):
        nav *= 1 + dice.normal(0, 0.001)
        views = [account(a, nav=D(f"{nav:.2f}"), blocked_by=("x",)) for a in ("001", "002")]
        answer(ask_allocation(*views, created_ns=at(300 * step)), agent)
    moved = account("002", exposures=exposures(NZD=1_000, JPY=-1_000), blocked_by=("x",))
    said = shares(ask_allocation(account("001"), moved), agent)[A]
    assert said.weight == D("0.5")
    assert "returns move with account 002" in said.reason


def test_questions_close_together_are_one_sample_of_returns() -> None:
    returns = AccountReturns(step_s=300, half_life=100, shrink=0.0, points_min=2)
    for second in range(0, 1500, 10):
        nav = D(10_000 + second)
        returns.sample(at(second), [account("001", nav=nav), account("002", nav=nav)])
    assert returns._products.get((A, B)).count == 4
    assert returns.correlation(B, A) == pytest.approx(1.0)
    assert returns.correlation(A, AccountId("none")) is None


# --- covariance


def walk(agent: Disagreement | CurrencyRisk, names: dict[str, list[float]]) -> None:
    for name, prices in names.items():
        made = history(prices, name)
        if isinstance(agent, CurrencyRisk):
            agent.history(made)
        else:
            agent.hear(made)
    tick = quiet_tick(0, 1.0, "AUD_CAD")
    if isinstance(agent, CurrencyRisk):
        agent.tick(tick)
    else:
        agent.hear(tick)


def paths(correlation: float, count: int = 3000) -> dict[str, list[float]]:
    """EUR_USD and GBP_USD whose one-minute returns correlate so much."""
    dice = np.random.default_rng(7)
    first = dice.normal(0, 0.0003, count)
    second = correlation * first + np.sqrt(1 - correlation**2) * dice.normal(0, 0.0003, count)
    return {
        "EUR_USD": [float(p) for p in 1.1 * np.exp(np.cumsum(first))],
        "GBP_USD": [float(p) for p in 1.5 * np.exp(np.cumsum(second))],
    }


EUR = {"EUR": 1.0, "USD": -1.0}
GBP = {"GBP": 2.0, "USD": -2.0}


@pytest.mark.parametrize("correlation", [0.0, 0.5, 0.95])
def test_books_correlate_as_their_instruments_do(correlation: float) -> None:
    """Unshrunk, the books' correlation is that of the instruments' five-minute returns."""
    risk = CurrencyRisk(shrink=0.0, keep_per_hour=1.0)
    walk(risk, paths(correlation))
    assert risk.points > 500
    found = risk.correlation(EUR, GBP)
    assert found == pytest.approx(correlation, abs=0.12)
    assert risk.correlation(EUR, {"GBP": -1.0, "USD": 1.0}) == pytest.approx(-found)
    assert risk.correlation(EUR, EUR) == pytest.approx(1.0)


def test_until_enough_is_known_exposures_are_compared_by_cosine() -> None:
    risk = CurrencyRisk()
    walk(risk, paths(0.95, count=100))
    assert 0 < risk.points < 50
    assert risk.correlation(EUR, GBP) == pytest.approx(0.5)
    assert risk.correlation(EUR, {}) is None


def test_a_currency_without_prices_falls_back_to_the_cosine() -> None:
    risk = CurrencyRisk()
    walk(risk, paths(0.95))
    assert risk.correlation(EUR, {"ZAR": 1.0, "USD": -1.0}) == pytest.approx(0.5)
    assert risk.multiple(EUR, {"ZAR": 1.0, "USD": -1.0}) == pytest.approx(0.5)


def test_ticks_teach_what_history_would_have_taught() -> None:
    prices = paths(0.5, 600)
    by_history, by_ticks = CurrencyRisk(), CurrencyRisk()
    walk(by_history, prices)
    for i in range(600):
        for name in ("EUR_USD", "GBP_USD"):
            by_ticks.tick(quiet_tick(60 * (i - 600) + 30, prices[name][i], name))
    by_ticks.tick(quiet_tick(0, 1.0, "AUD_CAD"))
    assert by_ticks.points > 50
    assert by_ticks.correlation(EUR, GBP) == pytest.approx(
        by_history.correlation(EUR, GBP), abs=0.02
    )


def test_prices_that_cannot_be_are_not_learned() -> None:
    risk = CurrencyRisk()
    walk(risk, paths(0.5))
    before, points = risk.correlation(EUR, GBP), risk.points
    for i in range(1, 50):
        risk.tick(quiet_tick(300 * i, 2.2 if i % 2 else 1.1))
    assert risk.points == points
    assert risk.correlation(EUR, GBP) == before


def test_instruments_that_move_together_are_kept_apart_by_the_covariance() -> None:
    agent = Disagreement()
    walk(agent, paths(0.97))
    other = account("002", exposures=exposures(GBP=10_000, USD=-10_000), blocked_by=("x",))
    said = shares(ask_allocation(account("001"), other), agent)[A]
    assert said.weight == 0
    assert "limit 0.70" in said.reason


@given(
    st.lists(st.tuples(*[st.integers(-100_000, 100_000)] * 3), min_size=1, max_size=4),
    st.integers(),
)
def test_every_account_gets_a_sane_weight_and_a_reason(books, seed) -> None:
    views = [
        account(f"{i:03}", exposures=exposures(EUR=e, GBP=g, USD=u))
        for i, (e, g, u) in enumerate(books)
    ]
    for share in shares(ask_allocation(*views, seed=seed)).values():
        assert 0 <= share.weight <= 1
        assert share.reason
