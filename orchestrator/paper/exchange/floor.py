"""What all writes share: rules, prices, accounts, and how a batch becomes a reply."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

from orchestrator.model.money import AccountId, InstrumentName, InstrumentSpec
from orchestrator.model.time import Instant
from orchestrator.model.venue import (
    Order,
    Trade,
    Transaction,
)
from orchestrator.paper.exchange import judge
from orchestrator.paper.exchange.batch import Batch
from orchestrator.paper.exchange.books import DEPENDENT_FIELDS, Books
from orchestrator.paper.exchange.charges import guaranteed_distance_of, premium_of
from orchestrator.paper.exchange.depth import DEEP, Depth
from orchestrator.paper.exchange.fields import (
    as_text,
    client_id_of,
    gtd_text,
    on_fill,
    on_grid,
    outcome_key,
    trade_of,
)
from orchestrator.paper.exchange.matching import Matching, cancel
from orchestrator.paper.exchange.quotes import Quotes
from orchestrator.paper.exchange.reasons import message_of
from orchestrator.paper.exchange.reply import Reply
from orchestrator.paper.exchange.requests import (
    OrderRequest,
)
from orchestrator.paper.exchange.restrictions import Restrictions
from orchestrator.paper.exchange.triggers import FILL_REASONS, hit

# Called after each batch: the books, its transactions, and the same encoded. A journal that
# listens first has written them before anyone is answered.
Listener = Callable[[Books, Sequence[Transaction], Sequence[bytes]], None]


class Floor:
    """Rules, prices and accounts; market time here never goes back."""

    def __init__(self, specs: dict[InstrumentName, InstrumentSpec], depth: Depth = DEEP) -> None:
        self.specs = specs
        self.quotes = Quotes()
        self.accounts: dict[AccountId, Books] = {}
        self.restrictions = Restrictions()
        self.matching = Matching(specs, self.quotes, depth, self.restrictions)
        self.listeners: list[Listener] = []
        self.now_ns: Instant = 0

    # --- batches -----------------------------------------------------------------------------

    def begin(self, now: Instant) -> None:
        """Market time is at least this."""
        self.now_ns = max(self.now_ns, now)

    def batch(self, books: Books, request_id: str, now: Instant) -> Batch:
        """A batch that a client asked for."""
        self.begin(now)
        return Batch(books, self.now_ns, request_id)

    def own_batch(self, books: Books, now: Instant) -> Batch:
        """A batch that no client asked for: triggers, expiry, financing, closeout."""
        self.begin(now)
        return Batch(books, self.now_ns)

    def finish(self, batch: Batch) -> None:
        """Tell the listeners, once the batch is whole."""
        if batch.made:
            for listener in self.listeners:
                listener(batch.books, batch.made, batch.encoded)

    # --- replies ------------------------------------------------------------------------------

    def done(
        self, batch: Batch, status: int, named: list[tuple[str, Transaction]], code: str = ""
    ) -> Reply:
        self.finish(batch)
        return Reply(
            status=status,
            named=tuple(named),
            made=tuple(batch.made),
            last_id=batch.books.last_id,
            error_code=code,
            error_message=message_of(code) if code else "",
        )

    def rejected(
        self, batch: Batch, kind: str, key: str, status: int, reason: str, fields: dict[str, Any]
    ) -> Reply:
        rejected = batch.add(f"{kind}_REJECT", **fields, reject_reason=reason)
        return self.done(batch, status, [(key, rejected)], reason)

    def modified(
        self, batch: Batch, kind: str, fields: dict[str, Any], objection: str | None
    ) -> Reply:
        key = "".join(word.capitalize() for word in kind.split("_"))
        key = key[0].lower() + key[1:]
        if objection is not None:
            status = 404 if objection.endswith("DOESNT_EXIST") else 400
            return self.rejected(batch, kind, f"{key}RejectTransaction", status, objection, fields)
        return self.done(batch, 200, [(f"{key}Transaction", batch.add(kind, **fields))])

    # --- new orders ---------------------------------------------------------------------------

    def fields(
        self,
        books: Books,
        request: OrderRequest,
        kind: str,
        reason: str,
        *,
        rejected: bool = False,
    ) -> dict[str, Any]:
        """The transaction's fields for a request, with OANDA's defaults filled in."""
        trade = trade_of(books, request) if kind in DEPENDENT_FIELDS else None
        name = trade.instrument if trade is not None else request.instrument
        spec = self.specs[name] if name is not None and not rejected else None
        tif = request.time_in_force or ("FOK" if kind == "MARKET" else "GTC")
        fields: dict[str, Any] = {
            "reason": reason,
            "price": on_grid(request.price, spec),
            "distance": on_grid(request.distance, spec),
            "time_in_force": tif,
            "gtd_time": gtd_text(request.gtd_time, tif, rejected=rejected),
            "client_extensions": request.client_extensions,
        }
        if kind != "MARKET":
            fields["trigger_condition"] = request.trigger_condition or "DEFAULT"
        if kind in DEPENDENT_FIELDS:
            return fields | {
                "price": self._dependent_price(trade, request, kind, spec),
                "trade_id": trade.id if trade else as_text(request.trade_id),
                "client_trade_id": client_id_of(trade) if trade else request.client_trade_id,
                "guaranteed_execution_premium": premium_of(spec)
                if kind == "GUARANTEED_STOP_LOSS" and spec is not None
                else None,
            }
        units = request.units
        return fields | {
            "distance": None,
            "instrument": request.instrument,
            "units": units.quantize(Decimal(1).scaleb(-spec.trade_units_precision))
            if units is not None and spec is not None
            else units,
            "price": None if kind == "MARKET" else fields["price"],
            "price_bound": None if kind == "LIMIT" else on_grid(request.price_bound, spec),
            "position_fill": request.position_fill or "DEFAULT",
            "take_profit_on_fill": on_fill(request.take_profit_on_fill, spec),
            "stop_loss_on_fill": on_fill(request.stop_loss_on_fill, spec),
            "trailing_stop_loss_on_fill": on_fill(request.trailing_stop_loss_on_fill, spec),
            "guaranteed_stop_loss_on_fill": on_fill(request.guaranteed_stop_loss_on_fill, spec),
            "trade_client_extensions": request.trade_client_extensions,
        }

    def guarantee_objection(
        self, books: Books, request: OrderRequest, kind: str, trade: Trade | None
    ) -> str | None:
        """Whether a guaranteed stop may be had, and so near to the market."""
        if kind != "GUARANTEED_STOP_LOSS" or trade is None:
            return None
        if not judge.may_guarantee(books):
            return f"{kind}_ORDER_NOT_ALLOWED"
        spec, tick = self.specs[trade.instrument], self.quotes.get(trade.instrument)
        price = self._dependent_price(trade, request, kind, spec)
        if tick is None or price is None or not tick.tradeable:
            return f"{kind}_ORDER_HALTED_CREATE_VIOLATION"
        away = tick.bid - price if trade.current_units > 0 else price - tick.ask
        near = away < guaranteed_distance_of(spec)
        return f"{kind}_ORDER_MINIMUM_DISTANCE_NOT_MET" if near else None

    def _dependent_price(
        self, trade: Trade | None, request: OrderRequest, kind: str, spec: InstrumentSpec | None
    ) -> Decimal | None:
        """A stop's own price, or its distance from the current price (section 9)."""
        if kind == "TRAILING_STOP_LOSS":
            return None
        if spec is None or trade is None:
            return request.price
        if request.price is not None or request.distance is None:
            return on_grid(request.price, spec)
        tick = self.quotes.get(trade.instrument)
        if tick is None:
            return None
        if trade.current_units > 0:
            return spec.round_price(tick.ask - request.distance)
        return spec.round_price(tick.bid + request.distance)

    def at_once(self, batch: Batch, order: Order) -> Transaction | None:
        """What happens to a new order in the same answer: a fill, a cancel, or nothing yet."""
        books = batch.books
        if order.type == "MARKET":
            return self.matching.execute(batch, order, "MARKET_ORDER")
        tick = self.quotes.get(books.instrument_of(order))
        order = books.note_creation(self.matching.start_trailing(books, order), tick)
        trade = books.trades.get(order.trade_id or "")
        if tick is not None and tick.tradeable and hit(order, trade, tick):
            return self.matching.execute(batch, order, FILL_REASONS[order.type])
        if order.time_in_force in {"FOK", "IOC"}:
            return cancel(batch, order, "TIME_IN_FORCE_EXPIRED")
        return None

    def close_order(
        self,
        batch: Batch,
        instrument: InstrumentName,
        units: Decimal,
        reason: str,
        fields: dict[str, Any],
        prefix: str,
    ) -> list[tuple[str, Transaction]]:
        spec = self.specs[instrument]
        made = batch.add(
            "MARKET_ORDER",
            instrument=instrument,
            units=units.quantize(Decimal(1).scaleb(-spec.trade_units_precision)),
            time_in_force="FOK",
            position_fill="REDUCE_ONLY",
            reason=reason,
            **fields,
        )
        order = batch.books.pending[made.id]
        outcome = self.matching.execute(batch, order, f"MARKET_ORDER_{reason}")
        assert outcome is not None  # a market order never waits
        return [
            (f"{prefix}CreateTransaction", made),
            (outcome_key(outcome, prefix), outcome),
        ]

    def market_close(
        self,
        batch: Batch,
        instrument: InstrumentName,
        units: Decimal,
        reason: str = "MARGIN_CLOSEOUT",
        **fields: Any,  # noqa: ANN401
    ) -> None:
        """A market order of the venue's own: margin closeout, delayed trade close."""
        self.close_order(batch, instrument, units, reason, fields, "order")
