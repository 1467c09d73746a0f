"""What a signal is thought to be worth, by its strategy's record and its costs."""

from __future__ import annotations

import pytest

from orchestrator.agents.strategy_analysis import StrategyAnalysis
from orchestrator.model.money import InstrumentName, InstrumentSpec
from orchestrator.model.signals import AskScore, Score
from tests.unit.agents.makers import B, D, ask_score, at, outcome, signal


def judge(ask: AskScore, agent: StrategyAnalysis | None = None) -> Score:
    (said,) = (agent or StrategyAnalysis()).hear(ask)
    assert isinstance(said, Score)
    return said


def taught(results: list[str], **more: object) -> StrategyAnalysis:
    agent = StrategyAnalysis()
    for number, r in enumerate(results, 1):
        agent.hear(outcome(r, number, **more))
    return agent


def after(count: int) -> AskScore:
    """A question a second after the `count`-th outcome."""
    return ask_score(signal=signal(created_ns=at(60 * count + 1)))


def test_without_a_record_the_signals_own_confidence_decides() -> None:
    """0.55 x 1.5 - 0.45 = 0.375 R, less the spread of 0.025 R."""
    said = judge(ask_score())
    assert said.approved
    assert said.win_rate == D("0.55")
    assert said.expected_r == D("0.35")
    assert said.samples == 0


def test_costs_decide_at_the_margin() -> None:
    """0.41 x 1.5 - 0.59 = 0.025 R: exactly what a spread of 0.00005 costs at this stop."""
    poor = ask_score(confidence=D("0.4099"))
    good = ask_score(confidence=D("0.4101"))
    assert not judge(poor).approved
    assert judge(good).approved


def test_a_wide_spread_rejects_with_numbers() -> None:
    said = judge(ask_score(ask=D("1.10100")))
    assert not said.approved
    assert said.expected_r == D("-0.125")
    assert "spread 0.500" in " ".join(said.reasons)


def test_a_lowered_confidence_counts_and_not_the_signals() -> None:
    assert judge(ask_score(confidence=D("0.30"))).win_rate == D("0.30")


def test_reward_to_risk_below_one_is_refused_and_one_is_not() -> None:
    low = signal(target_distance=D("0.00199"), confidence=D("0.9"))
    said = judge(ask_score(signal=low, confidence=D("0.9")))
    assert not said.approved
    assert "reward to risk" in said.reasons[0]
    one = signal(target_distance=D("0.00200"), confidence=D("0.9"))
    assert judge(ask_score(signal=one, confidence=D("0.9"))).approved


def test_the_win_rate_is_the_beta_posteriors_mean() -> None:
    """Ten wins after a prior of 0.55 worth 20: (11 + 10) / 30, but for a little fading."""
    said = judge(after(10), taught(["1.5"] * 10))
    assert said.win_rate == pytest.approx(D(21) / 30, abs=D("0.01"))
    assert said.samples == 10


def test_a_losing_record_turns_a_good_signal_down() -> None:
    agent = taught(["-1", "-1", "1.5", "-1"] * 10)
    said = judge(after(40), agent)
    assert not said.approved
    assert said.win_rate < D("0.42")
    assert said.expected_r < 0


def test_a_winning_record_lifts_a_poor_claim() -> None:
    agent = taught(["1.5", "1.5", "-1"] * 15)
    ask = ask_score(signal=signal(created_ns=at(60 * 46)), confidence=D("0.35"))
    assert not judge(ask).approved
    assert judge(ask, agent).approved


def test_another_regimes_record_counts_less_than_its_own() -> None:
    own = judge(after(20), taught(["-1"] * 18 + ["1.5"] * 2))
    other = judge(after(20), taught(["-1"] * 18 + ["1.5"] * 2, regime="range"))
    none = judge(after(20))
    assert own.win_rate < other.win_rate < none.win_rate
    assert other.samples == 0


def test_another_strategys_record_does_not_count() -> None:
    assert judge(after(20), taught(["-1"] * 20, strategy="other")).expected_r == D("0.35")


def test_a_run_of_losses_lowers_at_once_and_is_forgiven_with_time() -> None:
    mixed = judge(after(8), taught(["-1", "-1", "-1", "-1", "-1", "1", "1", "1"]))
    run = judge(after(8), taught(["1", "1", "1", "-1", "-1", "-1", "-1", "-1"]))
    assert float(mixed.expected_r - run.expected_r) > 0.10
    assert "5 losses in a row" in " ".join(run.reasons)
    later = ask_score(signal=signal(created_ns=at(24 * 3600)))
    forgiven = judge(later, taught(["1", "1", "1", "-1", "-1", "-1", "-1", "-1"]))
    assert forgiven.expected_r > run.expected_r + D("0.1")


def test_old_evidence_fades_with_market_time() -> None:
    agent = taught(["-1", "1.5", "-1", "-1"] * 5)
    soon = judge(after(20), agent)
    late = judge(ask_score(signal=signal(created_ns=at(300 * 86400))), agent)
    assert soon.expected_r < late.expected_r
    assert late.win_rate == pytest.approx(D("0.55"), abs=D("0.001"))


def test_old_evidence_fades_with_newer_trades() -> None:
    """A hundred losses and then a hundred gains are not half and half."""
    said = judge(after(200), taught(["-1"] * 100 + ["1.5"] * 100))
    assert said.win_rate > D("0.65")


def test_quarantined_outcomes_teach_nothing() -> None:
    assert judge(after(30), taught(["-1"] * 30, quarantined=True)).samples == 0


def test_an_outcome_that_is_heard_twice_counts_once() -> None:
    agent = StrategyAnalysis()
    for _ in range(10):
        agent.hear(outcome("-1"))
    agent.hear(outcome("-1", account_id=B))
    assert judge(after(1), agent).samples == 2


def test_learned_slippage_is_a_cost() -> None:
    agent = taught(["0"] * 5, slippage=D("0.00020"), strategy="other")
    plain = judge(ask_score())
    assert judge(ask_score(), agent).expected_r == plain.expected_r - D("0.1")


def test_financing_against_us_is_a_cost_and_for_us_is_not_counted() -> None:
    name = InstrumentName("EUR_USD")
    pays = InstrumentSpec(name=name, financing_long_rate=D("-0.10"))
    earns = InstrumentSpec(name=name, financing_long_rate=D("0.10"))
    plain = judge(ask_score()).expected_r
    cost = plain - judge(ask_score(spec=pays)).expected_r
    # 10 % a year over 4 h is 0.0046 % of 1.10005: 0.0251 of the stop.
    assert cost == pytest.approx(D("0.02512"), abs=D("0.0001"))
    assert judge(ask_score(spec=earns)).expected_r == plain


def test_a_spread_wider_than_usual_costs_a_proven_strategy_too() -> None:
    agent = taught(["1.5", "-1", "1.5"] * 40)
    for _ in range(20):
        judge(after(120), agent)
    usual = judge(after(120), agent)
    wide = ask_score(signal=signal(created_ns=at(60 * 120 + 1)), ask=D("1.10055"))
    assert float(usual.expected_r - judge(wide, agent).expected_r) > 0.2


def test_one_absurd_result_does_not_decide() -> None:
    agent = taught(["-1"] * 30 + ["999"])
    assert not judge(after(31), agent).approved


@pytest.mark.parametrize(
    "ask",
    [
        ask_score(bid=D("NaN")),
        ask_score(ask=D("Infinity")),
        ask_score(bid=D("1.1"), ask=D("1.1")),
        ask_score(confidence=D("NaN")),
        ask_score(confidence=D(0)),
        ask_score(confidence=D("1.01")),
        ask_score(signal=signal(stop_distance=D(0))),
        ask_score(signal=signal(stop_distance=D("NaN"))),
        ask_score(signal=signal(target_distance=D("-1"))),
    ],
)
def test_nonsense_is_rejected_with_a_reason(ask: AskScore) -> None:
    said = judge(ask)
    assert not said.approved
    assert said.reasons[0].startswith("unusable")


def test_the_score_is_the_probability_of_a_positive_value() -> None:
    assert judge(ask_score()).score > D("0.9")
    assert judge(ask_score(confidence=D("0.41"))).score == D("0.5")
    assert judge(ask_score(confidence=D("0.2"))).score < D("0.1")
