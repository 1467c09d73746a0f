"""Small working parts for the tests of the service: a clock by hand, agents that obey."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from decimal import Decimal
from typing import ClassVar

from orchestrator.agents.base import NOTHING, Agent, Message, Says, hears
from orchestrator.model.market import Beat, Tick
from orchestrator.model.money import AccountId, InstrumentName, InstrumentSpec, Price, Side, Units
from orchestrator.model.signals import AccountView, AskScore, Role, Score, Signal
from orchestrator.model.time import NS_PER_S, parse_time

A = AccountId("101-001-1-001")
B = AccountId("101-001-1-002")
EUR_USD = InstrumentName("EUR_USD")
START_NS = parse_time("2026-11-18T14:00:00Z")
D = Decimal


async def until(true: Callable[[], bool]) -> None:
    """Wait, in steps of five milliseconds, until something is true; the test sets the limit."""
    while not true():  # noqa: ASYNC110 -- what is waited for has no event of its own
        await asyncio.sleep(0.005)


class HandClock:
    """Both clocks move only when told."""

    speed = 1.0

    def __init__(self) -> None:
        self.mono = 1_000 * NS_PER_S

    def now(self) -> int:
        return START_NS + self.mono

    def mono_ns(self) -> int:
        return self.mono

    def on(self, seconds: float) -> None:
        self.mono += round(seconds * NS_PER_S)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        self.on(seconds)


def tick(bid: str = "1.10000", ask: str = "1.10010") -> Tick:
    return Tick(
        instrument=EUR_USD, bid=Price(D(bid)), ask=Price(D(ask)), venue_ns=START_NS,
        seen_ns=START_NS,
    )  # fmt: skip


def signal(signal_id: str = "s1") -> Signal:
    return Signal(
        signal_id=signal_id, strategy="trend", instrument=EUR_USD, side=Side.BUY,
        reference_price=Price(D("1.1")), stop_distance=Price(D("0.002")), confidence=D("0.6"),
        created_ns=START_NS,
    )  # fmt: skip


def ask_score(signal_id: str = "s1", account_id: AccountId = A) -> AskScore:
    view = AccountView(
        account_id=account_id, currency="USD", balance=D(1000), nav=D(1000), margin_used=D(0),
        margin_available=D(1000), risk_per_trade=D("0.02"), open_risk=D(0),
        headroom_units=Units(D(1000)),
    )  # fmt: skip
    return AskScore(
        signal=signal(signal_id), account=view, spec=InstrumentSpec(name=EUR_USD),
        bid=Price(D("1.1")), ask=Price(D("1.1001")), weight=D(1), confidence=D("0.6"),
    )  # fmt: skip


def score(signal_id: str = "s1", account_id: AccountId = A) -> Score:
    return Score(
        signal_id=signal_id, account_id=account_id, approved=True, score=D("0.7"),
        expected_r=D("0.2"), win_rate=D("0.5"), samples=10, reasons=(),
    )  # fmt: skip


Answering = Callable[[Message], Says]


class Scorer(Agent):
    """Answers by a function that the test gives it, anew for each instance."""

    role = Role.STRATEGY_ANALYSIS
    name = "scorer"
    version = "7"
    says = (Score, Signal)
    made: ClassVar[int] = 0

    def __init__(self, answer: Answering = lambda _: NOTHING) -> None:
        self.answer = answer
        self.heard_messages: list[Message] = []

    def _on(self, message: Message) -> Says:
        self.heard_messages.append(message)
        return self.answer(message)

    @hears(AskScore)
    def on_ask(self, ask: AskScore) -> Says:
        return self._on(ask)

    @hears(Tick)
    def on_tick(self, message: Tick) -> Says:
        return self._on(message)

    @hears(Beat)
    def on_beat(self, message: Beat) -> Says:
        return self._on(message)


class Watcher(Agent):
    """Another role, which says nothing."""

    role = Role.DATA_COLLECTION
    name = "watcher"

    @hears(Tick)
    def on_tick(self, _: Tick) -> Says:
        return NOTHING
