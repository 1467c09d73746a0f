"""A small netting account that behaves as OANDA's, with books of its own to judge ours by.

Source: fact sheet, 6, 8, 9, 10 and 12: one counter for all ids, orders of opening, one fill an
order, dependents created after the fill and cancelled after the close.
"""

from dataclasses import dataclass, field
from decimal import ROUND_HALF_UP, Decimal

from orchestrator.model.venue import (
    Account,
    ClientExtensions,
    Order,
    Position,
    PositionSide,
    Trade,
    TradeOpen,
    TradeReduce,
    Transaction,
)

ACCOUNT = "101-001-1000001-001"
PRICES = {"EUR_USD": Decimal("1.10000"), "USD_JPY": Decimal("150.000")}
FACTOR = {"EUR_USD": Decimal(1), "USD_JPY": Decimal(1) / Decimal("150.05")}


def money(amount):
    return amount.quantize(Decimal("0.0001"), rounding=ROUND_HALF_UP)


@dataclass
class Held:
    """A trade in the venue's books."""

    id: int
    instrument: str
    units: int
    first: int
    price: Decimal
    client_id: str | None
    dependents: dict = field(default_factory=dict)  # kind -> (order id, price)


@dataclass
class NettingAccount:
    """The venue's side: does what it is told, and writes each step into its log."""

    balance: Decimal = Decimal("10000.0000")
    last_id: int = 3
    log: list = field(default_factory=list)
    held: list = field(default_factory=list)
    resting: dict = field(default_factory=dict)  # id -> Order

    def write(self, kind, **fields):
        self.last_id += 1
        tx = Transaction(id=str(self.last_id), type=kind, account_id=ACCOUNT, **fields)
        self.log.append(tx)
        return tx

    def skip_id(self):
        """An id that will never exist."""
        self.last_id += 1

    def price_of(self, instrument, move):
        step = Decimal("0.00001") if instrument == "EUR_USD" else Decimal("0.001")
        return PRICES[instrument] + move * step

    def market(self, instrument, units, move, name=None, dependents=()):
        order = self.write(
            "MARKET_ORDER",
            instrument=instrument,
            units=Decimal(units),
            reason="CLIENT_ORDER",
            client_extensions=ClientExtensions(id=name) if name else None,
        )
        price = self.price_of(instrument, move)
        self.fill(order.id, instrument, units, price, "MARKET_ORDER", name, dependents)

    def refused_market(self, instrument, units):
        order = self.write(
            "MARKET_ORDER", instrument=instrument, units=Decimal(units), reason="CLIENT_ORDER"
        )
        self.write("ORDER_CANCEL", order_id=order.id, reason="INSUFFICIENT_MARGIN")

    def reject(self, instrument):
        self.write(
            "MARKET_ORDER_REJECT",
            instrument=instrument,
            units=Decimal("1e30"),
            reject_reason="UNITS_LIMIT_EXCEEDED",
        )

    def limit(self, instrument, units, move):
        tx = self.write(
            "LIMIT_ORDER",
            instrument=instrument,
            units=Decimal(units),
            price=self.price_of(instrument, move),
            reason="CLIENT_ORDER",
        )
        self.resting[tx.id] = Order(
            id=tx.id, type="LIMIT", instrument=instrument, units=tx.units, price=tx.price
        )

    def fill_limit(self, pick):
        if self.resting:
            order = self.resting.pop(sorted(self.resting)[pick % len(self.resting)])
            self.fill(order.id, order.instrument, int(order.units), order.price, "LIMIT_ORDER")

    def cancel_limit(self, pick):
        if self.resting:
            order_id = sorted(self.resting)[pick % len(self.resting)]
            del self.resting[order_id]
            self.write("ORDER_CANCEL", order_id=order_id, reason="CLIENT_REQUEST")

    def close(self, pick, units, move):
        """All of a trade, or a part of it."""
        if not self.held:
            return
        trade = self.held[pick % len(self.held)]
        taken = min(units or abs(trade.units), abs(trade.units))
        signed = -taken if trade.units > 0 else taken
        order = self.write(
            "MARKET_ORDER", instrument=trade.instrument, units=Decimal(signed), reason="TRADE_CLOSE"
        )
        price = self.price_of(trade.instrument, move)
        reason = "MARKET_ORDER_TRADE_CLOSE"
        self.fill(order.id, trade.instrument, signed, price, reason, only=trade)

    def trigger(self, pick, kind):
        """A dependent order of a trade fires."""
        able = [trade for trade in self.held if kind in trade.dependents]
        if able:
            trade = able[pick % len(able)]
            order_id, price = trade.dependents.pop(kind)
            self.fill(order_id, trade.instrument, -trade.units, price, f"{kind}_ORDER", only=trade)

    def replace(self, pick, kind, move):
        """A trade's dependent order: cancelled where there is one, and placed anew."""
        if self.held:
            trade = self.held[pick % len(self.held)]
            if kind in trade.dependents:
                old = trade.dependents.pop(kind)[0]
                self.write("ORDER_CANCEL", order_id=old, reason="CLIENT_REQUEST_REPLACED")
            self.depend(trade, kind, move, "REPLACEMENT")

    def drop(self, pick, kind):
        able = [trade for trade in self.held if kind in trade.dependents]
        if able:
            order_id, _ = able[pick % len(able)].dependents.pop(kind)
            self.write("ORDER_CANCEL", order_id=order_id, reason="CLIENT_REQUEST")

    def financing(self, cents):
        amount = Decimal(cents) / 10_000
        self.balance += amount
        self.write("DAILY_FINANCING", financing=amount, account_balance=self.balance)

    def transfer(self, amount):
        self.balance += amount
        self.write("TRANSFER_FUNDS", amount=Decimal(amount), account_balance=self.balance)

    def depend(self, trade, kind, move, reason):
        price = None if kind == "TRAILING_STOP_LOSS" else self.price_of(trade.instrument, move)
        distance = Decimal("0.01") if price is None else None
        tx = self.write(
            f"{kind}_ORDER", trade_id=str(trade.id), price=price, distance=distance, reason=reason
        )
        trade.dependents[kind] = (tx.id, price)

    def fill(self, order_id, instrument, units, price, reason, name=None, dependents=(), only=None):
        left, closed, reduced, gone = units, [], None, []
        for trade in [only] if only else list(self.held):
            if trade.instrument != instrument or trade.units * left >= 0:
                continue
            taken = min(abs(left), abs(trade.units)) * (1 if left > 0 else -1)
            part = TradeReduce(
                trade_id=str(trade.id),
                units=Decimal(taken),
                price=price,
                realized_pl=money((price - trade.price) * -taken * FACTOR[instrument]),
                financing=Decimal("-0.0001"),
            )
            trade.units += taken
            left -= taken
            if trade.units:
                reduced = part
            else:
                closed.append(part)
                gone.append(trade)
                self.held.remove(trade)
        self.fill_written(order_id, instrument, units, price, reason, closed, reduced, left, name)
        for trade in gone:
            for old, _ in trade.dependents.values():
                self.write("ORDER_CANCEL", order_id=old, reason="LINKED_TRADE_CLOSED")
        if left:
            for kind in dependents:
                self.depend(self.held[-1], kind, 100, "ON_FILL")

    def fill_written(self, order_id, instrument, units, price, reason, closed, reduced, left, name):
        parts = [*closed, *([reduced] if reduced else [])]
        pl = sum((part.realized_pl for part in parts), Decimal(0))
        paid = sum((part.financing for part in parts), Decimal(0))
        fee = Decimal("0.0100")
        self.balance += pl + paid - fee
        opened = None
        if left:
            opened = TradeOpen(trade_id=str(self.last_id + 1), units=Decimal(left), price=price)
            self.held.append(Held(self.last_id + 1, instrument, left, left, price, name))
        self.write(
            "ORDER_FILL",
            order_id=order_id,
            client_order_id=name,
            instrument=instrument,
            units=Decimal(units),
            price=price,
            reason=reason,
            pl=pl,
            financing=paid,
            commission=fee,
            account_balance=self.balance,
            trades_closed=tuple(closed) or None,
            trade_reduced=reduced,
            trade_opened=opened,
        )

    def account(self):
        """What GET account would answer now."""
        orders = list(self.resting.values())
        for trade in self.held:
            for kind, (order_id, price) in trade.dependents.items():
                orders.append(Order(id=order_id, type=kind, trade_id=str(trade.id), price=price))
        return Account(
            id=ACCOUNT,
            currency="USD",
            balance=self.balance,
            last_transaction_id=str(self.last_id),
            trades=tuple(self._trade(trade) for trade in self.held),
            orders=tuple(orders),
            positions=tuple(self._position(name) for name in PRICES),
        )

    def _trade(self, trade):
        return Trade(
            id=str(trade.id),
            instrument=trade.instrument,
            price=trade.price,
            initial_units=Decimal(trade.first),
            current_units=Decimal(trade.units),
            client_extensions=ClientExtensions(id=trade.client_id) if trade.client_id else None,
        )

    def _position(self, name):
        units = [trade.units for trade in self.held if trade.instrument == name]
        return Position(
            instrument=name,
            long=PositionSide(units=Decimal(sum(n for n in units if n > 0))),
            short=PositionSide(units=Decimal(sum(n for n in units if n < 0))),
        )
