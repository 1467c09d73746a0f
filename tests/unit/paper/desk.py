"""An exchange at hand for tests: prices, orders and time are one call each."""

from __future__ import annotations

import json
from decimal import Decimal

from orchestrator.model.market import Tick
from orchestrator.model.money import AccountId, Currency, InstrumentName, Price
from orchestrator.model.time import NS_PER_S, parse_time
from orchestrator.paper.exchange.clockwork import Clockwork
from orchestrator.paper.exchange.config import AccountConfig
from orchestrator.paper.exchange.depth import DEEP
from orchestrator.paper.exchange.exchange import Exchange
from orchestrator.paper.exchange.reply import Reply
from orchestrator.paper.exchange.requests import (
    ClosePositionBody,
    CloseTradeBody,
    ConfigureBody,
    ExtensionsBody,
    OrderBody,
    TradeOrdersBody,
    read_body,
)
from orchestrator.paper.instruments import SPECS

ACCOUNT = AccountId("101-001-1000001-001")
NOON = parse_time("2024-03-12T12:00:00Z")  # a Tuesday


class Desk:
    """One exchange with one account."""

    def __init__(
        self,
        currency: str = "USD",
        balance: str = "100000",
        *,
        hedging: bool = False,
        charge: str = "0",
        specs=None,
        start: int = NOON,
        depth=DEEP,
        **terms,
    ) -> None:
        self.now = start
        self.config = AccountConfig(
            account_id=ACCOUNT,
            currency=Currency(currency),
            balance=Decimal(balance),
            hedging=hedging,
            conversion_charge=Decimal(charge),
            **terms,
        )
        self.exchange = Exchange(dict(SPECS) | (specs or {}), depth)
        self.clockwork = Clockwork(self.exchange, start)
        self.batches: list[list[bytes]] = []
        self.exchange.listeners.append(lambda _b, _m, encoded: self.batches.append([*encoded]))
        self.books = self.exchange.open_account(self.config, start)

    def later(self, seconds: float = 1) -> int:
        self.now += round(seconds * NS_PER_S)
        return self.now

    def price(self, name: str, bid: str, ask: str, *, tradeable: bool = True) -> None:
        self.clockwork.on_tick(
            Tick(
                instrument=InstrumentName(name),
                bid=Price(Decimal(bid)),
                ask=Price(Decimal(ask)),
                venue_ns=self.later(),
                seen_ns=self.now,
                tradeable=tradeable,
            )
        )

    def order(self, units: object = "10000", instrument: str = "EUR_USD", **fields) -> Reply:
        wish = {"type": "MARKET", "instrument": instrument, "units": units} | fields
        body = read_body(json.dumps({"order": wish}), OrderBody)
        return self.exchange.create_order(self.books, body.order, "r", self.later())

    def dependent(self, kind: str, trade_id: str, **fields) -> Reply:
        wish = {"type": kind, "tradeID": trade_id} | fields
        body = read_body(json.dumps({"order": wish}), OrderBody)
        return self.exchange.create_order(self.books, body.order, "r", self.later())

    def replace(self, specifier: str, **fields) -> Reply:
        body = read_body(json.dumps({"order": fields}), OrderBody)
        return self.exchange.replace_order(self.books, specifier, body.order, "r", self.later())

    def cancel(self, specifier: str) -> Reply:
        return self.exchange.cancel_order(self.books, specifier, "r", self.later())

    def close_trade(self, specifier: str, **fields) -> Reply:
        body = read_body(json.dumps(fields), CloseTradeBody)
        return self.exchange.close_trade(self.books, specifier, body, "r", self.later())

    def trade_orders(self, specifier: str, **fields) -> Reply:
        body = read_body(json.dumps(fields), TradeOrdersBody)
        return self.exchange.trade_orders(self.books, specifier, body, "r", self.later())

    def close_position(self, instrument: str = "EUR_USD", **fields) -> Reply:
        body = read_body(json.dumps(fields), ClosePositionBody)
        name = InstrumentName(instrument)
        return self.exchange.close_position(self.books, name, body, "r", self.later())

    def rename_trade(self, specifier: str, extensions: dict) -> Reply:
        body = read_body(json.dumps({"clientExtensions": extensions}), ExtensionsBody)
        return self.exchange.trade_extensions(self.books, specifier, body, "r", self.later())

    def rename_order(self, specifier: str, extensions: dict) -> Reply:
        body = read_body(json.dumps({"clientExtensions": extensions}), ExtensionsBody)
        return self.exchange.order_extensions(self.books, specifier, body, "r", self.later())

    def configure(self, **fields) -> Reply:
        body = read_body(json.dumps(fields), ConfigureBody)
        return self.exchange.configure(self.books, body, "r", self.later())

    @property
    def log(self) -> list[dict]:
        return [json.loads(line) for line in self.books.history]

    def last(self, kind: str) -> dict:
        return next(t for t in reversed(self.log) if t["type"] == kind)


def made(reply: Reply) -> list[str]:
    """Types of the transactions of a reply, in order."""
    return [transaction.type for transaction in reply.made]


def named(reply: Reply, key: str):
    """A transaction of the reply by OANDA's key."""
    return dict(reply.named)[key]
