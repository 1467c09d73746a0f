"""What became of a trade: excursions, slippage, R, parts, and what must not teach."""

from __future__ import annotations

import pytest

from orchestrator.agents.data_collection import DataCollection
from orchestrator.model.facts import SignalAccepted
from orchestrator.model.money import InstrumentName, Side
from orchestrator.model.outcomes import AnomalySeen, TradeClosed, TradeOpened, TradeOutcome
from orchestrator.model.signals import Feature
from tests.unit.agents.makers import A, B, D, at, closed, opened, signal, tick


def only(said: tuple[object, ...]) -> TradeOutcome:
    (outcome,) = said
    assert isinstance(outcome, TradeOutcome)
    return outcome


def finish(first: TradeOpened, last: TradeClosed, *between: object) -> TradeOutcome:
    agent = DataCollection()
    assert agent.hear(first) == ()
    for message in between:
        assert agent.hear(message) == ()
    return only(agent.hear(last))


def test_a_stopped_trade_lost_one_r() -> None:
    said = finish(opened(), closed("1.09810", "-2.0000"))
    assert said.r_multiple == D(-1)
    assert said.exit_price == D("1.09810")
    assert (said.side, said.units, said.strategy) == (Side.BUY, 1000, "trend")
    assert said.exit_reason == "STOP_LOSS_ORDER"
    assert not said.quarantined


def test_a_short_trade_gains_when_the_price_falls() -> None:
    said = finish(opened(units=-1000), closed("1.09710", "3", units=-1000))
    assert said.r_multiple == D("1.5")
    assert said.side is Side.SELL


def test_financing_enters_r_at_the_rate_of_the_result() -> None:
    """-1.60 EUR for -2 USD: 0.8 EUR a dollar; financing of -0.16 EUR is a tenth of the risk."""
    said = finish(opened(), closed("1.09810", "-1.60", financing=D("-0.16")))
    assert said.r_multiple == D("-1.1")


def test_a_result_too_small_to_tell_the_rate_leaves_financing_out() -> None:
    said = finish(opened(units=1), closed("1.10011", "0.0000", units=1, financing=D(-5)))
    assert said.r_multiple == D("0.005")


def test_excursions_are_measured_on_the_closing_side() -> None:
    said = finish(
        opened(),
        closed("1.10050", "0.4"),
        tick(1, "1.09900", "1.09920"),
        tick(2, "1.10300", "1.10320"),
    )
    assert (said.mae, said.mfe) == (D("0.00110"), D("0.00290"))
    short = finish(
        opened(units=-1000),
        closed("1.10050", "-0.4", units=-1000),
        tick(1, "1.09900", "1.09920"),
        tick(2, "1.10300", "1.10320"),
    )
    assert (short.mae, short.mfe) == (D("0.00310"), D("0.00090"))


def test_the_exit_itself_is_an_excursion() -> None:
    said = finish(opened(), closed("1.09810", "-2"))
    assert (said.mae, said.mfe) == (D("0.00200"), 0)


def test_bad_ticks_and_other_instruments_are_no_excursion() -> None:
    said = finish(
        opened(),
        closed("1.10010", "0"),
        tick(1, "1.10000", "1.10020"),
        tick(2, "NaN", "1.1"),
        tick(3, "9.0", "9.1"),
        tick(4, "1.3", "1.2"),
        tick(5, "1.5", "1.6", "GBP_USD"),
    )
    assert (said.mae, said.mfe) == (D("0.00010"), 0)


def test_slippage_is_positive_when_the_fill_is_worse() -> None:
    assert finish(opened(), closed("1.1", "0")).slippage == D("0.00005")
    short = finish(opened(units=-1000), closed("1.1", "0", units=-1000))
    assert short.slippage == D("-0.00005")


def test_a_trade_closed_in_parts_has_one_outcome_at_the_end() -> None:
    agent = DataCollection()
    agent.hear(opened())
    assert agent.hear(closed("1.10210", "0.5", units=250, left=750, closed_ns=at(10))) == ()
    said = only(agent.hear(closed("1.09910", "-0.75", units=750, closed_ns=at(20))))
    assert said.realized_pl == D("-0.25")
    assert said.r_multiple == D("-0.125")  # (250 x 20 - 750 x 10) / (1000 x 20) points
    assert said.exit_price == D("1.09985")
    assert said.closed_ns == at(20)


def test_a_close_heard_twice_counts_once() -> None:
    agent = DataCollection()
    agent.hear(opened())
    part = closed("1.10210", "0.5", units=250, left=750)
    agent.hear(part)
    assert agent.hear(part) == ()
    last = closed("1.09910", "-0.75", units=750)
    assert only(agent.hear(last)).realized_pl == D("-0.25")
    assert agent.hear(last) == ()
    assert agent.hear(opened()) == ()
    assert agent.hear(last) == ()
    assert agent.quality().repeats == 4
    assert agent.quality().orphans == 0


def test_a_close_of_a_trade_that_was_never_seen_is_counted() -> None:
    agent = DataCollection()
    assert agent.hear(closed("1.1", "0")) == ()
    assert agent.quality().orphans == 1


def test_the_same_trade_id_in_two_accounts_is_two_trades() -> None:
    agent = DataCollection()
    agent.hear(opened())
    agent.hear(opened(account_id=B))
    assert only(agent.hear(closed("1.1", "0", account_id=B))).account_id == B
    assert only(agent.hear(closed("1.1", "0"))).account_id == A


def test_trades_of_others_have_no_outcome() -> None:
    agent = DataCollection()
    agent.hear(opened(ours=False))
    assert agent.hear(closed("1.1", "0", ours=False)) == ()


def test_features_come_from_the_signal() -> None:
    features = (Feature(name="atr", value=D("0.001")),)
    accepted = SignalAccepted(signal=signal(features=features), accounts=(A,))
    assert finish(opened(), closed("1.1", "0"), accepted).features == features


def test_without_a_stop_there_is_no_r_and_nothing_is_taught() -> None:
    said = finish(opened(stop_price=None), closed("1.2", "100"))
    assert said.r_multiple == 0
    assert said.quarantined


def anomaly(kind: str, start: float, end: float, instrument: str = "EUR_USD") -> AnomalySeen:
    return AnomalySeen(
        instrument=InstrumentName(instrument),
        kind=kind,
        text="",
        at_ns=at(start),
        until_ns=at(end),
    )


@pytest.mark.parametrize(
    ("seen", "quarantined"),
    [
        (anomaly("spread", -10, 50), True),  # opened within it
        (anomaly("spread", 590, 650), True),  # closed within it
        (anomaly("spread", 100, 160), False),  # came and went while open
        (anomaly("gap", 100, 400), True),
        (anomaly("flash", 100, 400), True),
        (anomaly("gap", 100, 400, "GBP_USD"), False),
        (anomaly("gap", -600, -300), False),
    ],
)
def test_anomalous_periods_are_quarantined(seen: AnomalySeen, quarantined: bool) -> None:
    assert finish(opened(), closed("1.1", "0"), seen).quarantined is quarantined


def test_memory_of_open_trades_is_bounded_and_the_oldest_is_forgotten() -> None:
    agent = DataCollection(open_trades_max=3)
    for number in range(10):
        agent.hear(opened(str(number)))
    assert agent.quality().forgotten == 7
    assert agent.hear(closed("1.1", "0", "0")) == ()
    assert only(agent.hear(closed("1.1", "0", "9"))).trade_id == "9"
    agent.hear(tick(1, "1.0", "1.1"))


def test_quality_counts_ticks_and_bad_ones() -> None:
    agent = DataCollection()
    agent.hear(tick(1, "1.1", "1.2"))
    agent.hear(tick(2, "1.2", "1.1"))
    assert (agent.quality().ticks, agent.quality().bad_ticks) == (2, 1)
