"""Whatever happens to an account: its transactions alone rebuild it, and they add up."""

from decimal import Decimal

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.model.venue import Transaction
from orchestrator.paper.exchange.exchange import Exchange
from orchestrator.paper.exchange.views import account_of
from orchestrator.paper.instruments import SPECS
from tests.unit.paper.desk import Desk

D = Decimal

PAIRS = {"EUR_USD": D("1.10000"), "USD_JPY": D("150.000"), "EUR_GBP": D("0.85000")}

prices = st.tuples(
    st.just("price"), st.sampled_from(sorted(PAIRS)), st.integers(-1500, 1500), st.integers(1, 40)
)
orders = st.tuples(
    st.just("order"),
    st.sampled_from(sorted(PAIRS)),
    st.sampled_from(["MARKET", "LIMIT", "STOP", "MARKET_IF_TOUCHED"]),
    st.integers(-60_000, 60_000),
    st.integers(-800, 800),
    st.sampled_from(["DEFAULT", "REDUCE_ONLY", "REDUCE_FIRST", "OPEN_ONLY"]),
    st.sampled_from([None, "stop", "both", "trailing"]),
)
others = st.sampled_from(
    [("close",), ("part",), ("position",), ("cancel",), ("night",), ("protect",), ("replace",)]
)
acts = st.lists(st.one_of(prices, orders, others), min_size=1, max_size=30)


def away(name: str, steps: int) -> D:
    return PAIRS[name] + steps * SPECS[name].tick


def order(desk: Desk, name: str, kind: str, units: int, steps: int, rest: tuple) -> None:
    fill, protect = rest
    step = SPECS[name].tick
    wish = {"type": kind, "positionFill": fill}
    if kind != "MARKET":
        wish["price"] = str(away(name, steps))
    if protect in {"stop", "both"}:
        wish["stopLossOnFill"] = {"distance": str(400 * step)}
    if protect == "both":
        target = away(name, steps) + (900 if units > 0 else -900) * step
        wish["takeProfitOnFill"] = {"price": str(target)}
    if protect == "trailing":
        wish["trailingStopLossOnFill"] = {"distance": str(500 * step)}
    desk.order(str(units), name, **wish)


def play(desk: Desk, act: tuple) -> None:
    trades, pending = list(desk.books.trades), list(desk.books.pending.values())
    entries = [o for o in pending if o.trade_id is None]
    match act:
        case ("price", name, steps, width):
            desk.price(name, str(away(name, steps)), str(away(name, steps + width)))
        case ("order", name, kind, units, steps, *rest):
            order(desk, name, kind, units, steps, tuple(rest))
        case ("close",) if trades:
            desk.close_trade(trades[0])
        case ("part",) if trades:
            desk.close_trade(trades[-1], units="1")
        case ("position",):
            desk.close_position("EUR_USD")
        case ("cancel",) if entries:
            desk.cancel(entries[0].id)
        case ("protect",) if trades:
            desk.trade_orders(trades[0], stopLoss={"distance": "0.01000"}, takeProfit=None)
        case ("replace",) if entries:
            old = entries[0]
            desk.replace(
                old.id, type=old.type, instrument=old.instrument, units="5", price=str(old.price)
            )
        case ("night",):
            desk.later(13 * 3600)
            desk.clockwork.on_time(desk.now)
        case _:
            pass


def known(desk_exchange, books) -> object:
    """The whole account, without what no transaction carries: trailing and initial prices."""
    account = account_of(desk_exchange, books, full=True)
    bare = [
        msgspec.structs.replace(o, trailing_stop_value=None, initial_market_price=None)
        for o in books.pending.values()
    ]
    return (
        msgspec.structs.replace(account, orders=None), bare, books.closed_trades,
        books.order_by_client_id, books.trade_by_client_id, books.expiries,
        sorted(books.orders_in), sorted(books.trades_in), books.history,
    )  # fmt: skip


@given(
    acts,
    st.sampled_from([("USD", False), ("EUR", False), ("JPY", True)]),
    st.sampled_from(["2000", "100000"]),
)
@settings(max_examples=120)
def test_replaying_the_transactions_rebuilds_the_account(played, kind, balance):
    currency, hedging = kind
    desk = Desk(currency, balance, hedging=hedging)
    for name, price in PAIRS.items():
        desk.price(name, str(price), str(price + 10 * SPECS[name].tick))
    desk.price("GBP_USD", "1.27000", "1.27010")
    for act in played:
        play(desk, act)

    log = desk.log
    assert [t["id"] for t in log] == [str(n) for n in range(1, len(log) + 1)]
    assert b"".join(line for batch in desk.batches for line in batch) == b"".join(
        desk.books.history
    )
    total = D(0)
    for t in log:
        total += D(t.get("amount", 0)) + D(t.get("pl", 0)) + D(t.get("financing", 0))
        if "accountBalance" in t:
            assert D(t["accountBalance"]) == total
    assert desk.books.balance == total
    sides = [side for p in desk.books.positions.values() for side in (p.long, p.short)]
    assert sum(side.pl for side in sides) == desk.books.pl
    assert sum(side.financing for side in sides) == desk.books.financing
    if not hedging:
        for trades in desk.books.trades_in.values():
            assert len({t.current_units > 0 for t in trades.values()}) == 1

    again = Exchange(desk.exchange.specs)
    again.quotes = desk.exchange.quotes
    decoded = [msgspec.json.decode(line, type=Transaction) for line in desk.books.history]
    rebuilt = again.restore(desk.config, decoded)
    assert known(again, rebuilt) == known(desk.exchange, desk.books)
