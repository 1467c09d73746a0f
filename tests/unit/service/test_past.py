"""What agents that begin anew must know, without asking a store that may be away."""

from __future__ import annotations

from decimal import Decimal

import pytest

from orchestrator.main.parts import past_of
from orchestrator.model.errors import StoreError
from orchestrator.model.facts import OperatorActed, SignalAccepted
from orchestrator.model.money import Price, Units
from orchestrator.model.outcomes import TradeOpened
from orchestrator.service import past as past_module
from orchestrator.service.past import Past
from tests.house import House, in_virtual_time, new_market
from tests.unit.service.parts import EUR_USD, START_NS, A, signal


def opened(trade_id: str, signal_id: str = "") -> TradeOpened:
    return TradeOpened(
        account_id=A, trade_id=trade_id, instrument=EUR_USD, units=Units(Decimal(1)),
        price=Price(Decimal("1.1")), opened_ns=START_NS, ours=True, signal_id=signal_id,
    )  # fmt: skip


def accepted(signal_id: str) -> SignalAccepted:
    return SignalAccepted(signal=signal(signal_id), accounts=(A,))


def test_it_tells_what_the_store_would_have_told(tmp_path):
    async def story() -> None:
        market = new_market()
        async with House(tmp_path, market) as house:
            kernel = house.kernel
            past = Past(
                lambda: past_of(house.store, kernel),
                lambda: ((a, t) for a, book in kernel.books.items() for t in book.trades),
            )
            assert past() == ()
            house.system.engine.hooks.durable = past.heard
            near = {"stop_distance": Decimal("0.00100"), "target_distance": Decimal("0.00200")}
            await house.calm(3)
            await house.buy(signal_id="closed", **near)
            await house.calm(2)
            for price in ("1.39180", "1.39250", "1.39320"):  # the target is reached
                await house.calm(4, price, str(Decimal(price) + Decimal("0.00010")))
            await house.buy(signal_id="open", **near)
            await house.calm(2, "1.39320", "1.39330")
            assert len(house.venue_trades()) >= 1
            assert past() == tuple(past_of(house.store, kernel))
            assert {type(each).__name__ for each in past()} >= {
                "TradeOutcome", "SignalAccepted", "TradeOpened",
            }  # fmt: skip

    in_virtual_time(story)


def test_a_store_that_is_away_is_only_missed_at_the_first_time():
    told = [accepted("s1"), opened("7", "s1")]
    away: list[StoreError] = [StoreError("away")]

    def read():
        if away:
            raise away.pop()
        return told

    past = Past(read, lambda: [(A, "7")])
    past.heard(opened("8"))  # the store will tell it
    with pytest.raises(StoreError):
        past()
    assert past() == tuple(told)
    away.append(StoreError("away again"))
    assert past() == tuple(told)


def test_what_is_closed_or_of_no_interest_is_not_told():
    past = Past(list, lambda: [(A, "2")])
    past()
    for each in (accepted("s2"), opened("1"), opened("2", "s2"), opened("3")):
        past.heard(each)
    past.heard(OperatorActed(actor="a", action="b", text="c"))
    assert past() == (accepted("s2"), opened("2", "s2"))


def test_it_stays_bounded_and_keeps_what_is_open(monkeypatch):
    monkeypatch.setattr(past_module, "_SIGNALS_MAX", 5)
    monkeypatch.setattr(past_module, "REMEMBERED", 5)
    past = Past(list, lambda: [(A, "first")])
    past()
    past.heard(accepted("s-first"))
    past.heard(opened("first", "s-first"))
    for number in range(100):
        past.heard(accepted(f"s{number}"))
        past.heard(opened(str(number), f"s{number}"))
    assert past() == (accepted("s-first"), opened("first", "s-first"))
    assert len(past._signals) <= 20
    assert len(past._opened) <= 6
