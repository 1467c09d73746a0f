"""The paper venue is the judge: whatever is traded there, our books and values equal its own.

The requests are the ones that we send, so that their words are judged too.
"""

from decimal import Decimal

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.kernel.ledger.adopt import adopt
from orchestrator.kernel.ledger.apply import apply_transaction
from orchestrator.kernel.ledger.quotes import Quotes
from orchestrator.kernel.ledger.valuation import margin_used, nav
from orchestrator.kernel.orders import body
from orchestrator.kernel.orders.identity import intent_id
from orchestrator.kernel.orders.reading import settle
from orchestrator.kernel.orders.reconcile import differences
from orchestrator.model.market import Tick
from orchestrator.model.money import Side
from orchestrator.model.orders import IntentState
from orchestrator.model.signals import Proposal
from orchestrator.model.time import HOUR_NS, NS_PER_S, parse_time
from orchestrator.paper.exchange.clockwork import Clockwork
from orchestrator.paper.exchange.config import AccountConfig
from orchestrator.paper.exchange.exchange import Exchange
from orchestrator.paper.exchange.requests import (
    ClosePositionBody,
    CloseTradeBody,
    OrderBody,
    TradeOrdersBody,
    read_body,
)
from orchestrator.paper.exchange.views import account_of
from orchestrator.paper.instruments import SPECS

START_NS = parse_time("2026-01-06T12:00:00Z")
MIDS = {"EUR_USD": Decimal("1.10000"), "USD_JPY": Decimal("150.000"), "EUR_GBP": Decimal("0.86")}
CONVERSIONS = {"GBP_USD": Decimal("1.28")}
CONFIGS = (
    AccountConfig(account_id="101-001-1000001-001", currency="USD", balance=Decimal(20_000)),
    AccountConfig(
        account_id="101-001-1000001-002", currency="EUR", balance=Decimal(20_000), hedging=True
    ),
)


class Pair:
    """The venue with two accounts, and our books that follow their logs."""

    def __init__(self):
        self.now_ns = START_NS
        self.exchange = Exchange(dict(SPECS))
        self.clockwork = Clockwork(self.exchange, START_NS)
        self.exchange.listeners.append(self.hear)
        self.books, self.problems, self.count = {}, [], 0
        self.quotes = Quotes()
        for config in CONFIGS:
            opened = self.exchange.open_account(config, START_NS)
            self.books[config.account_id] = adopt(
                account_of(self.exchange, opened, full=True), lambda _name: None
            )
        for name in (*MIDS, *CONVERSIONS):
            self.tick(name, 0)

    def hear(self, venue_books, transactions, _encoded):
        ours = self.books.get(venue_books.account_id)
        for tx in transactions if ours is not None else ():
            self.problems += apply_transaction(ours, tx, lambda _name: None).problems

    def later(self, seconds=1):
        self.now_ns += seconds * NS_PER_S

    def tick(self, name, move):
        spec = SPECS[name]
        mid = (MIDS | CONVERSIONS)[name] + move * spec.pip
        tick = Tick(
            instrument=name, bid=mid - spec.pip, ask=mid + spec.pip,
            venue_ns=self.now_ns, seen_ns=self.now_ns,
        )  # fmt: skip
        self.quotes.put(tick)
        self.clockwork.on_tick(tick)

    def order(self, which, name, units, stop, target):
        """Our own market order, with its stop and its target."""
        self.count += 1
        spec, account_id = SPECS[name], CONFIGS[which].account_id
        bid, ask = self.quotes.bid_ask(name)
        sign = 1 if units > 0 else -1
        entry = ask if units > 0 else bid
        proposal = Proposal(
            signal_id=f"s{self.count}", account_id=account_id, strategy="trend", regime="range",
            instrument=name, side=Side.BUY if units > 0 else Side.SELL, units=Decimal(units),
            reference_price=entry, stop_price=entry - sign * stop * spec.pip,
            target_price=None if target is None else entry + sign * target * spec.pip,
            confidence=Decimal(1), score=Decimal(1), created_ns=1, expires_ns=2,
        )  # fmt: skip
        own = intent_id(proposal.signal_id, account_id, "1")
        bound = entry + sign * 3 * spec.pip
        request = body.order_request(proposal, own, 1, spec, bound)
        wish = read_body(request.body, OrderBody).order
        reply = self.exchange.create_order(self.venue(which), wish, "r", self.now_ns)
        assert reply.status == 201, reply.error_message
        reading = settle(own, reply.made)
        assert reading.state in {IntentState.FILLED, IntentState.CANCELLED}
        assert (reading.state is IntentState.FILLED) is (reply.named[-1][1].type == "ORDER_FILL")

    def rest(self, which, text):
        """Somebody else's order, in OANDA's own words."""
        wish = read_body(text, OrderBody).order
        self.exchange.create_order(self.venue(which), wish, "r", self.now_ns)

    def protect(self, which, pick, stop, target):
        trade = self.pick(which, pick)
        if trade is not None:
            spec = SPECS[trade.instrument]
            sign = 1 if trade.units > 0 else -1
            request = body.protect(
                CONFIGS[which].account_id, trade.trade_id, spec,
                trade.price - sign * stop * spec.pip,
                target_price=trade.price + sign * target * spec.pip,
            )  # fmt: skip
            wishes = read_body(request.body, TradeOrdersBody)
            self.exchange.trade_orders(self.venue(which), request.target, wishes, "r", self.now_ns)

    def close(self, which, pick, units):
        trade = self.pick(which, pick)
        if trade is not None:
            request = body.close_trade(CONFIGS[which].account_id, trade.trade_id)
            told = msgspec.json.decode(request.body)
            wish = CloseTradeBody(units=told["units"] if units is None else str(units))
            venue = self.venue(which)
            self.exchange.close_trade(venue, request.target, wish, "r", self.now_ns)

    def flatten(self, which, name, side):
        request = body.close_position(CONFIGS[which].account_id, name, side)
        told = msgspec.json.decode(request.body)
        wish = ClosePositionBody(
            long_units=told.get("longUnits"), short_units=told.get("shortUnits")
        )
        self.exchange.close_position(self.venue(which), request.target, wish, "r", self.now_ns)

    def cancel(self, which, pick):
        orders = sorted(self.books[CONFIGS[which].account_id].orders)
        if orders:
            request = body.cancel(CONFIGS[which].account_id, orders[pick % len(orders)])
            self.exchange.cancel_order(self.venue(which), request.target, "r", self.now_ns)

    def roll(self, hours):
        """Time goes on, over 17:00 in New York if long enough: financing is paid."""
        self.now_ns += hours * HOUR_NS
        self.clockwork.on_time(self.now_ns)

    def venue(self, which):
        return self.exchange.accounts[CONFIGS[which].account_id]

    def pick(self, which, pick):
        trades = list(self.books[CONFIGS[which].account_id].trades.values())
        return trades[pick % len(trades)] if trades else None


which = st.integers(0, 1)
name = st.sampled_from(sorted(MIDS))
pick = st.integers(0, 9)
units = st.integers(-20_000, 20_000).filter(bool)
pips = st.integers(5, 60)


def resting(kind, instrument, amount, move):
    order = {
        "type": kind,
        "instrument": instrument,
        "units": str(amount),
        "price": str(MIDS[instrument] + move * SPECS[instrument].pip),
        "trailingStopLossOnFill": {"distance": str(20 * SPECS[instrument].pip)},
    }
    return msgspec.json.encode({"order": order})


command = st.one_of(
    st.tuples(st.just("order"), which, name, units, pips, st.none() | pips),
    st.tuples(st.just("tick"), name, st.integers(-60, 60)),
    st.tuples(st.just("tick"), st.sampled_from(sorted(CONVERSIONS)), st.integers(-60, 60)),
    st.tuples(
        st.just("rest"),
        which,
        st.builds(resting, st.sampled_from(["LIMIT", "STOP"]), name, units, st.integers(-40, 40)),
    ),
    st.tuples(st.just("protect"), which, pick, pips, pips),
    st.tuples(st.just("close"), which, pick, st.none() | st.integers(1, 20_000)),
    st.tuples(st.just("flatten"), which, name, st.sampled_from(Side)),
    st.tuples(st.just("cancel"), which, pick),
    st.tuples(st.just("roll"), st.integers(1, 30)),
)


@settings(max_examples=60)
@given(st.lists(command, min_size=5, max_size=30))
def test_our_books_and_values_are_the_venues(story):
    pair = Pair()
    for what, *how in story:
        pair.later()
        getattr(pair, what)(*how)
        for account_id, venue_books in pair.exchange.accounts.items():
            ours = pair.books[account_id]
            told = account_of(pair.exchange, venue_books, full=True)
            assert differences(ours, told) == ()
            assert pair.problems == []
            # The venue converts with twelve decimals, we with all of them.
            near = Decimal("0.0002") * (1 + len(ours.trades))
            assert abs(nav(ours, pair.quotes) - told.nav) <= near
            assert abs(margin_used(ours, pair.quotes, SPECS) - told.margin_used) <= near
