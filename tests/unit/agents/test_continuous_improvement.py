"""Proposals rest on evidence, are made once for it, and survive luck's best of many."""

from __future__ import annotations

import pytest

from orchestrator.agents.continuous_improvement import ContinuousImprovement
from orchestrator.model.market import Beat
from orchestrator.model.outcomes import ChangeProposed
from tests.unit.agents.makers import B, D, at, outcome


def taught(agent: ContinuousImprovement, results: list[str], first: int = 1, **more: object):
    for number, r in enumerate(results, first):
        assert agent.hear(outcome(r, number, **more)) == ()
    return agent


def look(agent: ContinuousImprovement, minute: float) -> list[ChangeProposed]:
    return list(agent.hear(Beat(now_ns=at(60 * minute))))


BAD = ["-1", "-1", "0.5", "-1"]
GOOD = ["1.5", "-1", "1.5", "1.5"]


def test_nineteen_trades_prove_nothing_and_twenty_do() -> None:
    agent = taught(ContinuousImprovement(pause_r=1), (BAD * 5)[:19])
    assert look(agent, 1) == []
    taught(agent, ["-1"], 20)
    (change,) = look(agent, 2)
    assert (change.proposal, change.sample, change.strategy) == ("lower", 20, "trend")
    assert change.mean_r == D("-0.625")
    assert "20 trades, 5 won" in change.evidence


def test_much_evidence_or_a_great_loss_pauses() -> None:
    (change,) = look(taught(ContinuousImprovement(pause_r=1), BAD * 10), 1)
    assert change.proposal == "pause"
    (change,) = look(taught(ContinuousImprovement(), BAD * 5), 1)
    assert change.proposal == "pause"


def test_a_loss_that_may_be_chance_is_no_proof() -> None:
    assert look(taught(ContinuousImprovement(), ["-1", "0.9"] * 15), 1) == []


def test_a_proven_gain_raises() -> None:
    (change,) = look(taught(ContinuousImprovement(), GOOD * 10), 1)
    assert change.proposal == "raise"
    assert change.deflated_sharpe is not None
    assert change.deflated_sharpe > D("0.95")


def test_a_gain_of_few_trades_does_not_raise() -> None:
    assert look(taught(ContinuousImprovement(), (GOOD * 8)[:29]), 1) == []


def test_the_same_gain_as_the_best_of_many_trials_does_not_raise() -> None:
    """Forty strategies of no worth were tried beside it: their scatter is what luck gives."""
    agent = ContinuousImprovement()
    for trial in range(40):
        wins = 4 + trial % 9
        taught(
            agent, ["1"] * wins + ["-1"] * (16 - wins), 100 * (trial + 1), strategy=f"try-{trial}"
        )
    taught(agent, GOOD * 10, 1)
    assert [c for c in look(agent, 1) if c.proposal == "raise"] == []


def test_trials_thrown_away_elsewhere_count_too() -> None:
    def raised(elsewhere: int) -> list[str]:
        agent = ContinuousImprovement(trials_elsewhere=elsewhere)
        for name, good in (("a", GOOD), ("b", GOOD), ("c", ["1", "-1"])):
            taught(agent, good * 10 if good is GOOD else good * 20, strategy=name, account_id=name)
        return sorted(c.strategy for c in look(agent, 1) if c.proposal == "raise")

    assert raised(0) == ["a", "b"]
    assert raised(10_000) == []


def test_a_proposal_is_not_repeated_without_new_evidence() -> None:
    agent = taught(ContinuousImprovement(), BAD * 10)
    assert len(look(agent, 1)) == 1
    assert look(agent, 10) == []
    taught(agent, BAD * 4, 41)
    assert look(agent, 20) == []  # 16 more
    taught(agent, BAD, 57)
    assert len(look(agent, 30)) == 1  # 20 more


def test_a_beat_too_soon_looks_at_nothing_and_loses_nothing() -> None:
    agent = taught(ContinuousImprovement(), BAD[:2])
    look(agent, 1)
    taught(agent, BAD * 10, 3)
    assert look(agent, 1.9) == []
    assert len(look(agent, 2)) == 1


def test_a_proposal_of_an_earlier_life_is_not_made_again() -> None:
    (change,) = look(taught(ContinuousImprovement(), BAD * 10), 1)
    again = taught(ContinuousImprovement(), BAD * 10)
    again.hear(change)
    assert look(again, 1) == []


def test_regimes_are_judged_apart() -> None:
    agent = taught(ContinuousImprovement(), BAD * 10)
    taught(agent, GOOD * 10, 101, regime="range")
    assert [(c.regime, c.proposal) for c in look(agent, 1)] == [("trend_up", "pause")]
    assert {row.regime: row.mean_r for row in agent.report()} == {
        "trend_up": D("-0.625"),
        "range": D("0.875"),
    }


def test_repeats_and_quarantined_outcomes_do_not_count() -> None:
    agent = ContinuousImprovement()
    for _ in range(50):
        agent.hear(outcome("-1"))
    taught(agent, ["-1"] * 50, 100, quarantined=True)
    agent.hear(outcome("-1", account_id=B))
    (row,) = agent.report()
    assert row.trades == 2


def test_the_report_tells_all_best_first() -> None:
    agent = taught(ContinuousImprovement(), BAD * 10)
    taught(agent, GOOD * 10, 101, regime="range")
    taught(agent, ["1"], 201, strategy="new")
    look(agent, 1)
    rows = agent.report()
    assert [row.strategy for row in rows] == ["new", "trend", "trend"]
    assert rows[0].deflated_sharpe is None
    assert (rows[1].regime, rows[1].wins, rows[1].proposal) == ("range", 30, "")
    assert rows[1].mean_r == D("0.875")
    assert rows[1].sharpe == pytest.approx(D("0.798"), abs=D("0.001"))
    assert rows[1].lower_bound_r < rows[1].mean_r < rows[1].upper_bound_r
    assert rows[2].proposal == "pause"


def test_equal_results_have_no_sharpe_ratio_and_break_nothing() -> None:
    agent = taught(ContinuousImprovement(), ["-1"] * 40)
    (change,) = look(agent, 1)
    assert change.proposal == "pause"
    assert agent.report()[0].sharpe == 0


def test_a_beat_without_outcomes_says_nothing() -> None:
    assert look(ContinuousImprovement(), 5) == []
