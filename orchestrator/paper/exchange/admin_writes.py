"""What only the venue does to an account: dividends, transfers of trades, resets, its end.

Source: fact sheet, section 6. No client can ask for any of it; /control can.
"""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal

from orchestrator.model.money import ZERO, InstrumentName, round_money
from orchestrator.model.time import Instant
from orchestrator.model.venue import BOOKED_MAX, TradeDividend
from orchestrator.paper.exchange.batch import Batch
from orchestrator.paper.exchange.books import Books
from orchestrator.paper.exchange.floor import Floor
from orchestrator.paper.exchange.quotes import FILL_DIGITS, rounded
from orchestrator.paper.exchange.reply import Reply
from orchestrator.paper.exchange.valuation import in_home

MIGRATION = "PLATFORM_ACCOUNT_MIGRATION"
TRADE_STATES = frozenset({"OPEN", "CLOSE_WHEN_TRADEABLE"})
_QUOTE = Decimal("0.00001")


class AdminWrites:
    """Each makes a batch of the venue's own (user 0, no request); ValueError says why it cannot."""

    def __init__(self, floor: Floor) -> None:
        self._floor = floor

    def reset_pl(self, books: Books, now: Instant) -> Reply:
        """RESET_RESETTABLE_PL: resettable results count from here."""
        return self._single(books, now, "RESET_RESETTABLE_PL")

    def close_account(self, books: Books, now: Instant) -> Reply:
        """CLOSE: until it is opened again every order is refused with ACCOUNT_NOT_ACTIVE."""
        if books.closed:
            raise ValueError("type")
        return self._single(books, now, "CLOSE")

    def reopen_account(self, books: Books, now: Instant) -> Reply:
        """REOPEN."""
        if not books.closed:
            raise ValueError("type")
        return self._single(books, now, "REOPEN")

    def _single(self, books: Books, now: Instant, kind: str) -> Reply:
        batch = self._floor.own_batch(books, now)
        return self._floor.done(batch, 200, [("transaction", batch.add(kind))])

    def dividend(
        self, books: Books, name: InstrumentName, per_unit: Decimal, now: Instant
    ) -> Reply:
        """DIVIDEND_ADJUSTMENT: a long is paid so much quote money a unit, a short pays it."""
        floor = self._floor
        spec = floor.specs[name]
        found = floor.quotes.factors(spec.quote, books.currency, books.config.conversion_charge)
        trades = tuple(books.trades_in.get(name, {}).values())
        if found is None or not trades:
            raise ValueError("instrument")
        used = rounded(found, FILL_DIGITS)
        parts = tuple(
            TradeDividend(
                trade_id=trade.id,
                dividend_adjustment=in_home(trade.current_units * per_unit, used),
                quote_dividend_adjustment=_quote(trade.current_units * per_unit),
            )
            for trade in trades
        )
        total = sum((part.dividend_adjustment for part in parts), ZERO)
        if abs(total) >= BOOKED_MAX or abs(books.balance + total) >= BOOKED_MAX:
            raise ValueError("perUnit")
        batch = floor.own_batch(books, now)
        made = batch.add(
            "DIVIDEND_ADJUSTMENT",
            instrument=name,
            dividend_adjustment=total,
            quote_dividend_adjustment=_quote(
                sum((part.quote_dividend_adjustment or ZERO for part in parts), ZERO)
            ),
            account_balance=round_money(books.balance + total),
            open_trade_dividend_adjustments=parts,
        )
        return floor.done(batch, 200, [("transaction", made)])

    def fixed_price(
        self,
        books: Books,
        name: InstrumentName,
        units: Decimal,
        price: Decimal,
        state: str,
        now: Instant,
    ) -> Reply:
        """FIXED_PRICE_ORDER: a trade moved in from elsewhere, at exactly its price."""
        spec, floor = self._floor.specs[name], self._floor
        batch = floor.own_batch(books, now)
        made = batch.add(
            "FIXED_PRICE_ORDER",
            instrument=name,
            units=units.quantize(Decimal(1).scaleb(-spec.trade_units_precision)),
            price=price.quantize(spec.tick),
            position_fill="DEFAULT",
            trade_state=state,
            reason=MIGRATION,
        )
        order = books.pending[made.id]
        outcome = floor.matching.execute(batch, order, f"FIXED_PRICE_ORDER_{MIGRATION}")
        assert outcome is not None  # it never waits
        if outcome.trade_opened is not None and state == "CLOSE_WHEN_TRADEABLE":
            self._delay(batch, "DELAYED_TRADE_CLOSE", (outcome.id,))
        return floor.done(batch, 200, [("transaction", made)])

    def delay_closure(
        self, books: Books, trade_ids: tuple[str, ...], reason: str, now: Instant
    ) -> Reply:
        """DELAYED_TRADE_CLOSURE: these trades are closed with the next price that can be traded."""
        if not trade_ids or any(i not in books.trades or i in books.delayed for i in trade_ids):
            raise ValueError("tradeIDs")
        batch = self._floor.own_batch(books, now)
        self._delay(batch, reason, trade_ids)
        return self._floor.done(batch, 200, [("transaction", batch.made[0])])

    def _delay(self, batch: Batch, reason: str, trade_ids: tuple[str, ...]) -> None:
        batch.add("DELAYED_TRADE_CLOSURE", reason=reason, trade_ids=",".join(trade_ids))


def _quote(amount: Decimal) -> Decimal:
    return amount.quantize(_QUOTE, rounding=ROUND_HALF_UP)
