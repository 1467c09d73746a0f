"""Whatever happens to an account: its transactions alone rebuild it, and they add up."""

import re
from decimal import Decimal

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.model.venue import Transaction
from orchestrator.paper.call import encode
from orchestrator.paper.exchange.exchange import Exchange
from orchestrator.paper.exchange.views import account_of
from orchestrator.paper.instruments import SPECS
from tests.unit.paper.acts import PAIRS, TERMS, acts, play
from tests.unit.paper.desk import Desk

D = Decimal


def known(desk_exchange, books) -> object:
    """The whole account, without what no transaction carries: trailing and initial prices."""
    account = account_of(desk_exchange, books, full=True)
    bare = [
        msgspec.structs.replace(o, trailing_stop_value=None, initial_market_price=None)
        for o in books.pending.values()
    ]
    return (
        msgspec.structs.replace(account, orders=None), bare, books.closed_trades,
        books.order_by_client_id, books.trade_by_client_id, books.expiries, books.financed_ns,
        books.delayed, books.closed,
        sorted(books.orders_in), sorted(books.trades_in), books.history,
    )  # fmt: skip


MONEY = re.compile(
    rb'"(pl|financing|accountBalance|halfSpreadCost|realizedPL|unrealizedPL|marginUsed|NAV|balance|'
    rb"commission|guaranteedExecutionFee|amount|initialMarginRequired|dividendAdjustment|"
    rb'resettablePL|homeConversionCost|positionValue|marginAvailable|withdrawalLimit)":"([^"]*)"'
)
DECIMAL = re.compile(rb'"(-0(?:\.0+)?|-?[0-9.]+E[^"]*)"')


def check_print(text: bytes) -> None:
    """Money has four decimals; no number has an exponent, and nothing is minus nothing."""
    wrong = {m.group() for m in MONEY.finditer(text) if not re.fullmatch(rb"-?\d+\.\d{4}", m[2])}
    assert wrong | {m.group() for m in DECIMAL.finditer(text)} == set()


def check_links(books) -> None:
    """Dependent orders belong to open trades, both ways; client ids name what stands now."""

    def by_client_id(things) -> dict[str, str]:
        named = [t for t in things if t.client_extensions and t.client_extensions.id]
        return {t.client_extensions.id: t.id for t in named}

    assert books.order_by_client_id == by_client_id(books.pending.values())
    assert books.trade_by_client_id == by_client_id(books.trades.values())
    of_trades = [o for t in books.trades.values() for o in books.dependents(t)]
    assert {o.id for o in of_trades} == {o.id for o in books.pending.values() if o.trade_id}
    assert not books.pending.keys() & books.finished_orders.keys()


@given(
    acts,
    st.sampled_from(TERMS),
    st.sampled_from(["2000", "100000"]),
)
@settings(max_examples=120)
def test_replaying_the_transactions_rebuilds_the_account(played, terms, balance):
    desk = Desk(balance=balance, **terms)
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
        total += D(t.get("dividendAdjustment", 0))
        total -= D(t.get("commission", 0)) + D(t.get("guaranteedExecutionFee", 0))
        if "accountBalance" in t:
            assert D(t["accountBalance"]) == total
    assert desk.books.balance == total
    sides = [side for p in desk.books.positions.values() for side in (p.long, p.short)]
    assert sum(side.pl for side in sides) == desk.books.pl
    assert sum(side.financing for side in sides) == desk.books.financing
    assert sum(side.dividends for side in sides) == desk.books.dividends
    assert sum(side.guaranteed_fees for side in sides) == desk.books.guaranteed_fees
    paid = sum(p.commission for p in desk.books.positions.values())
    assert paid == desk.books.commission
    if not terms.get("hedging"):
        for trades in desk.books.trades_in.values():
            assert len({t.current_units > 0 for t in trades.values()}) == 1

    check_links(desk.books)
    shown = encode(account_of(desk.exchange, desk.books, full=True))
    closed = encode(list(desk.books.closed_trades.values()))
    check_print(b"\n".join([*desk.books.history, shown, closed]))

    again = Exchange(desk.exchange.specs)
    again.quotes = desk.exchange.quotes
    decoded = [msgspec.json.decode(line, type=Transaction) for line in desk.books.history]
    rebuilt = again.restore(desk.config, decoded)
    assert known(again, rebuilt) == known(desk.exchange, desk.books)
