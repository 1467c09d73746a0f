"""The examples that the documents show work as they stand."""

import importlib.util
from decimal import Decimal
from pathlib import Path

from orchestrator.agents.market_analysis import MarketAnalysis, maker_of
from orchestrator.model.market import Tick
from orchestrator.model.money import (
    AccountId,
    Currency,
    InstrumentName,
    InstrumentSpec,
    Price,
    Side,
    Units,
)
from orchestrator.model.signals import AccountView, AskScore, Signal
from orchestrator.model.time import NS_PER_S, parse_time

EXAMPLES = Path(__file__).parents[3] / "examples"
EUR_USD = InstrumentName("EUR_USD")
NOON = parse_time("2014-05-08T12:00:00Z")


def example(name):
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_example_strategy_signals_a_row_of_bars():
    kind = example("my_strategy").MyStrategy
    made = {"my_strategy": maker_of("my_strategy", kind, {"timeframe": "M1", "row": 4})}
    agent, sides = MarketAnalysis(instruments=(EUR_USD,), strategies=made), []
    for second in range(0, 3600 * 2, 20):
        bid = Decimal(139_000 + (second // 300 % 2 or -1) * (second % 300)) * Decimal("0.00001")
        at_ns = NOON + second * NS_PER_S
        said = agent.hear(
            Tick(instrument=EUR_USD, bid=Price(bid), ask=Price(bid + Decimal("0.0001")),
                 venue_ns=at_ns, seen_ns=at_ns)
        )  # fmt: skip
        sides += [message.side for message in said if isinstance(message, Signal)]
    assert set(sides) == {Side.BUY, Side.SELL}


def ask(confidence):
    signal = Signal(
        signal_id="s", strategy="x", instrument=EUR_USD, side=Side.BUY,
        reference_price=Price(Decimal("1.3901")), stop_distance=Price(Decimal("0.001")),
        target_distance=Price(Decimal("0.0015")), confidence=confidence, created_ns=NOON,
    )  # fmt: skip
    account = AccountView(
        account_id=AccountId("a"), currency=Currency("USD"), balance=Decimal(1), nav=Decimal(1),
        margin_used=Decimal(0), margin_available=Decimal(1), risk_per_trade=Decimal("0.01"),
        open_risk=Decimal(0), headroom_units=Units(Decimal(1)),
    )  # fmt: skip
    return AskScore(
        signal=signal, account=account, spec=InstrumentSpec(name=EUR_USD),
        bid=Price(Decimal("1.39")), ask=Price(Decimal("1.3901")), weight=Decimal(1),
        confidence=confidence,
    )  # fmt: skip


def test_the_example_agent_weighs_the_odds_after_costs():
    agent = example("my_agent").MyAgent(least_r=0.05)
    (good,) = agent.hear(ask(Decimal("0.6")))
    (bad,) = agent.hear(ask(Decimal("0.45")))
    assert (good.approved, good.expected_r) == (True, Decimal("0.4"))
    assert (bad.approved, bad.expected_r) == (False, Decimal("0.025"))
