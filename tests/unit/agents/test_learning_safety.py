"""Unusual markets, breakers and drift: refused or halved, never loosened."""

from __future__ import annotations

import msgspec
import pytest

from orchestrator.agents.learning_safety import LearningSafety
from orchestrator.model.facts import BreakerMoved, BreakerReset, BreakerTripped
from orchestrator.model.market import Beat
from orchestrator.model.outcomes import AnomalySeen
from orchestrator.model.safety import BreakerState, Effect, Scope
from orchestrator.model.signals import AskVerdict, Verdict
from tests.unit.agents.makers import (
    D,
    account,
    ask_verdict,
    at,
    history,
    outcome,
    quiet_tick,
    signal,
    tick,
)

QUIET_S = 300


def watched(**settings: float) -> LearningSafety:
    """An agent that saw five quiet minutes, a tick each second, ending at `QUIET_S`."""
    agent = LearningSafety(**settings)
    for second in range(QUIET_S + 1):
        assert agent.hear(quiet_tick(second, 1.1 + 0.00001 * (second % 3))) == ()
    return agent


def verdict(agent: LearningSafety, ask: AskVerdict | None = None) -> Verdict:
    (said,) = agent.hear(ask or ask_verdict())
    assert isinstance(said, Verdict)
    return said


def only(said: tuple[object, ...]) -> AnomalySeen:
    (anomaly,) = said
    assert isinstance(anomaly, AnomalySeen)
    return anomaly


def test_a_quiet_market_is_approved_whole() -> None:
    said = verdict(watched())
    assert said.approved
    assert said.scale == 1


def test_no_price_at_all_is_refused() -> None:
    assert not verdict(LearningSafety()).approved


def test_a_spread_just_below_the_limit_passes_and_just_above_it_is_an_anomaly() -> None:
    agent = watched()
    assert agent.hear(tick(301, "1.09980", "1.10019")) == ()  # 3.9 times
    seen = only(agent.hear(tick(302, "1.09980", "1.10021")))  # 4.1 times
    assert seen.kind == "spread"
    assert seen.until_ns == at(362)
    assert not verdict(agent).approved


def test_an_anomaly_refuses_until_its_time_is_over() -> None:
    agent = watched()
    agent.hear(tick(301, "1.09950", "1.10050"))
    agent.hear(quiet_tick(360))
    assert not verdict(agent).approved
    agent.hear(quiet_tick(361))
    assert verdict(agent).approved


def test_an_anomaly_that_lasts_is_said_again_only_at_half_time() -> None:
    agent = watched()
    said = [agent.hear(tick(301 + s, "1.09950", "1.10050")) for s in range(70)]
    assert sum(len(each) for each in said) == 3  # at 0, 30 and 60 s


def test_a_wide_spread_in_the_question_itself_is_refused() -> None:
    said = verdict(watched(), ask_verdict(ask=D("1.10055")))
    assert not said.approved
    assert "spread" in said.reasons[0]


def test_a_jump_between_two_ticks_is_a_gap() -> None:
    seen = only(watched().hear(quiet_tick(301, 1.1025)))
    assert seen.kind == "gap"
    assert seen.until_ns == at(601)


def test_a_move_below_the_floor_is_no_gap() -> None:
    assert watched().hear(quiet_tick(301, 1.1009)) == ()


def test_a_volatile_market_may_move_more_between_ticks() -> None:
    agent = LearningSafety()
    agent.hear(history([1.1 * (1.002 if i % 2 else 1) for i in range(120)]))
    agent.hear(quiet_tick(0, 1.1))
    assert agent.hear(quiet_tick(1, 1.1025)) == ()


def test_a_weekend_is_no_excuse_for_a_gap() -> None:
    seen = only(watched().hear(quiet_tick(QUIET_S + 48 * 3600, 1.112)))
    assert seen.kind == "gap"


def test_a_fast_slide_is_a_flash_move_though_each_step_is_small() -> None:
    agent = watched(gap_min=0.01)
    said: list[object] = []
    for second in range(1, 41):
        said += agent.hear(quiet_tick(QUIET_S + second, 1.1 * (1 - 0.00025 * second)))
    assert [each.kind for each in said] == ["flash"]
    assert not verdict(agent).approved


def test_three_bad_ticks_within_ten_seconds_are_an_anomaly_and_two_are_not() -> None:
    agent = watched()
    assert agent.hear(tick(301, "NaN", "1.1")) == ()
    assert agent.hear(tick(302, "1.2", "1.1")) == ()
    assert agent.hear(tick(320, "0", "1.1")) == ()
    assert agent.hear(tick(321, "-1", "1.1")) == ()
    assert only(agent.hear(tick(322, "2.2", "2.2001"))).kind == "bad_tick"


def test_bad_ticks_are_never_learned_from() -> None:
    agent = watched()
    agent.hear(tick(301, "2.2", "2.2001"))
    agent.hear(tick(302, "1.1", "1.2", venue_ns=at(0)))
    assert agent.hear(quiet_tick(303)) == ()
    assert verdict(agent).approved


def test_a_far_price_that_repeats_is_the_market_and_a_gap() -> None:
    agent = watched()
    assert agent.hear(quiet_tick(301, 1.2)) == ()
    assert only(agent.hear(quiet_tick(302, 1.2001))).kind == "gap"
    later = [each for s in range(303, 320) for each in agent.hear(quiet_tick(s, 1.2001))]
    assert [each.kind for each in later] == ["flash"]


def test_a_tick_from_the_future_does_not_make_later_ones_old() -> None:
    agent = watched()
    agent.hear(tick(301, "1.09995", "1.10005", venue_ns=at(9999)))
    for second in range(302, 310):
        assert agent.hear(quiet_tick(second)) == ()


def test_silence_is_said_once_and_refused_until_a_price_comes() -> None:
    agent = watched()
    assert agent.hear(Beat(now_ns=at(QUIET_S + 60))) == ()
    assert only(agent.hear(Beat(now_ns=at(QUIET_S + 61)))).kind == "stale"
    assert agent.hear(Beat(now_ns=at(QUIET_S + 62))) == ()
    agent.hear(Beat(now_ns=at(QUIET_S + 200)))
    assert not verdict(agent).approved
    agent.hear(quiet_tick(QUIET_S + 201))
    assert verdict(agent).approved


def test_ten_seconds_after_a_silence_all_is_well_again() -> None:
    agent = watched()
    agent.hear(Beat(now_ns=at(QUIET_S + 61)))
    agent.hear(quiet_tick(QUIET_S + 62))
    assert not verdict(agent).approved
    agent.hear(quiet_tick(QUIET_S + 71))
    assert verdict(agent).approved


def test_three_unusual_instruments_stop_all() -> None:
    agent = watched()
    for name in ("GBP_USD", "NZD_USD"):
        for second in range(QUIET_S + 1, QUIET_S + 120):
            agent.hear(quiet_tick(second, instrument=name))
        agent.hear(tick(QUIET_S + 120, "1.0", "1.1", name))
    agent.hear(quiet_tick(QUIET_S + 120))
    assert verdict(agent).approved
    for second in range(QUIET_S + 1, QUIET_S + 120):
        agent.hear(quiet_tick(second, 1.3, "EUR_GBP"))
    agent.hear(tick(QUIET_S + 121, "1.25", "1.35", "EUR_GBP"))
    said = verdict(agent)
    assert not said.approved
    assert "whole market" in said.reasons[0]


def tripped(subject: str, effect: Effect = Effect.BLOCK) -> BreakerTripped:
    return BreakerTripped(
        breaker="M2",
        scope=Scope.SYSTEM,
        subject=subject,
        effect=effect,
        evidence="spread 5 times its median",
    )


@pytest.mark.parametrize("subject", ["system", "001", "EUR_USD"])
def test_a_breaker_in_scope_refuses_and_its_reset_halves_for_a_while(subject: str) -> None:
    agent = watched()
    agent.hear(tripped(subject))
    assert "M2" in verdict(agent).reasons[0]
    agent.hear(
        BreakerReset(breaker="M2", scope=Scope.SYSTEM, subject=subject, actor="x", reason="")
    )
    assert verdict(agent).scale == D("0.5")
    for second in range(QUIET_S + 1, QUIET_S + 302):
        agent.hear(quiet_tick(second))
    assert verdict(agent).scale == 1


@pytest.mark.parametrize(("subject", "effect"), [("002", Effect.BLOCK), ("system", Effect.SCALE)])
def test_a_breaker_elsewhere_or_one_that_scales_does_not_refuse(
    subject: str, effect: Effect
) -> None:
    agent = watched()
    agent.hear(tripped(subject, effect))
    assert verdict(agent).approved


def test_a_breaker_that_probes_lets_its_small_orders_through_and_calms_nothing_after() -> None:
    agent = watched()
    agent.hear(tripped("001"))
    assert not verdict(agent).approved
    agent.hear(
        BreakerMoved(
            breaker="M2", scope=Scope.SYSTEM, subject="001", state=BreakerState.PROBING,
            until_ns=at(QUIET_S + 300), reason="cooled down",
        )
    )  # fmt: skip
    assert verdict(agent).approved
    agent.hear(BreakerReset(breaker="M2", scope=Scope.SYSTEM, subject="001", actor="x", reason=""))
    assert verdict(agent).scale == 1


def test_the_end_of_a_warm_up_halves_nothing() -> None:
    agent = watched()
    agent.hear(msgspec.structs.replace(tripped("EUR_USD"), breaker="T4"))
    assert not verdict(agent).approved
    agent.hear(
        BreakerReset(breaker="T4", scope=Scope.SYSTEM, subject="EUR_USD", actor="x", reason="")
    )
    assert verdict(agent).scale == 1


def test_what_blocks_the_account_refuses() -> None:
    said = verdict(watched(), ask_verdict(account=account(blocked_by=("A1",))))
    assert said.reasons == ("blocked by A1",)


def test_drift_halves_and_then_refuses_and_starts_anew_after_a_rest() -> None:
    agent = watched()
    for number in range(1, 31):
        agent.hear(outcome("1.5" if number % 2 else "-1", number))
    assert verdict(agent).scale == 1
    number = 30
    scales: list[str] = []
    while len(scales) < 20:
        number += 1
        agent.hear(outcome("-1", number))
        said = verdict(agent)
        scales.append(str(said.scale) if said.approved else "no")
    assert scales == sorted(scales, key=["1", "0.5", "no"].index)
    assert set(scales) == {"1", "0.5", "no"}
    agent.hear(Beat(now_ns=at(60 * number + 25 * 3600)))
    agent.hear(quiet_tick(60 * number + 25 * 3600 + 61))
    assert verdict(agent).scale == D("0.5")
    assert verdict(agent, ask_verdict(signal=signal(strategy="other"))).scale == 1
    for more in range(1, 9):
        assert verdict(agent).scale == D("0.5")
        late = at(60 * number + 25 * 3600 + more)
        agent.hear(outcome("1", number + more, closed_ns=late))
    assert verdict(agent).scale == 1


def test_quarantined_losses_are_no_drift() -> None:
    agent = watched()
    for number in range(1, 60):
        agent.hear(outcome("-1" if number > 20 else "1", number, quarantined=True))
    assert verdict(agent).scale == 1


def test_an_empty_or_unreadable_size_is_refused() -> None:
    agent = watched()
    sizing = ask_verdict().sizing
    for units in (D(0), D("NaN"), D(-5)):
        changed = type(sizing)(
            **{f: getattr(sizing, f) for f in sizing.__struct_fields__} | {"units": units}
        )
        assert not verdict(agent, ask_verdict(sizing=changed)).approved
    assert not verdict(agent, ask_verdict(bid=D("NaN"))).approved
