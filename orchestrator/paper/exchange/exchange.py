"""The exchange: accounts, the latest prices, and every write that a client or a price can cause."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

import msgspec

from orchestrator.model.money import ZERO, AccountId, InstrumentName, InstrumentSpec, round_money
from orchestrator.model.time import Instant, parse_time, trading_day
from orchestrator.model.venue import (
    ClientExtensions,
    Order,
    PositionCloseout,
    Trade,
    TradeClose,
    Transaction,
)
from orchestrator.paper.exchange import judge
from orchestrator.paper.exchange.batch import Batch
from orchestrator.paper.exchange.books import DEPENDENT_FIELDS, Books
from orchestrator.paper.exchange.config import AccountConfig
from orchestrator.paper.exchange.fields import (
    account_numbers,
    as_text,
    dependent_request,
    gtd_text,
    holder_of,
    not_finite,
    on_fill,
    on_grid,
    outcome_key,
    plain_id,
    sides_asked,
    trade_of,
    units_of,
)
from orchestrator.paper.exchange.matching import Matching, cancel
from orchestrator.paper.exchange.quotes import Quotes
from orchestrator.paper.exchange.reasons import message_of
from orchestrator.paper.exchange.reply import Reply, refusal
from orchestrator.paper.exchange.requests import (
    ClosePositionBody,
    CloseTradeBody,
    ConfigureBody,
    ExtensionsBody,
    OnFillRequest,
    OrderRequest,
    TradeOrdersBody,
)
from orchestrator.paper.exchange.triggers import FILL_REASONS, hit

# Called after each batch: the books, its transactions, and the same encoded. A journal that
# listens first has written them before anyone is answered.
Listener = Callable[[Books, Sequence[Transaction], Sequence[bytes]], None]

_MISSING = "The request was missing required data"
_ON_FILL_KEYS = (
    ("TAKE_PROFIT", "takeProfit", "take_profit"),
    ("STOP_LOSS", "stopLoss", "stop_loss"),
    ("TRAILING_STOP_LOSS", "trailingStopLoss", "trailing_stop_loss"),
)


class Exchange:
    """Writes come in with their market time and leave as transactions; nothing here waits."""

    def __init__(self, specs: dict[InstrumentName, InstrumentSpec]) -> None:
        self.specs = specs
        self.quotes = Quotes()
        self.accounts: dict[AccountId, Books] = {}
        self.matching = Matching(specs, self.quotes)
        self.listeners: list[Listener] = []
        self.now_ns: Instant = 0

    # --- accounts ----------------------------------------------------------------------------

    def open_account(self, config: AccountConfig, now: Instant) -> Books:
        """A new account: CREATE, CLIENT_CONFIGURE, TRANSFER_FUNDS (fact sheet, section 12)."""
        books = Books(config)
        self.accounts[config.account_id] = books
        site, division, user, number = account_numbers(config.account_id)
        self._begin(now)
        for kind, fields in (
            (
                "CREATE",
                {
                    "home_currency": config.currency,
                    "site_id": site,
                    "division_id": division,
                    "account_user_id": user,
                    "account_number": number,
                },
            ),
            ("CLIENT_CONFIGURE", {"margin_rate": config.margin_rate}),
            (
                "TRANSFER_FUNDS",
                {
                    "amount": round_money(config.balance),
                    "funding_reason": "CLIENT_FUNDING",
                    "account_balance": round_money(config.balance),
                },
            ),
        ):
            batch = Batch(books, self.now_ns)
            batch.add(kind, **fields)
            self._finish(batch)
        return books

    def restore(self, config: AccountConfig, transactions: Sequence[Transaction]) -> Books:
        """An account rebuilt from its history. ValueError when the history has a hole."""
        books = Books(config)
        for transaction in transactions:
            if transaction.number != books.last_id + 1:
                raise ValueError(f"transaction {transaction.id} follows {books.last_id}")
            books.apply(transaction)
            self.now_ns = max(self.now_ns, parse_time(transaction.time))
        self.accounts[config.account_id] = books
        return books

    # --- orders ------------------------------------------------------------------------------

    def create_order(
        self, books: Books, request: OrderRequest, request_id: str, now: Instant
    ) -> Reply:
        """POST orders: 201 even when the order is cancelled at once (section 4, the trap)."""
        batch = self._batch(books, request_id, now)
        refused = self._refused(batch, request, "orderRejectTransaction")
        if refused is not None:
            return refused
        kind = request.type or ""
        made = batch.add(f"{kind}_ORDER", **self._fields(books, request, kind, "CLIENT_ORDER"))
        named = [("orderCreateTransaction", made)]
        outcome = self._at_once(batch, books.pending[made.id])
        if outcome is not None:
            named.append((outcome_key(outcome, "order"), outcome))
        return self._done(batch, 201, named)

    def replace_order(
        self, books: Books, specifier: str, request: OrderRequest, request_id: str, now: Instant
    ) -> Reply:
        """PUT orders/{spec}: cancel and create in one batch; a rejected one leaves the old."""
        batch = self._batch(books, request_id, now)
        old = books.pending_order(specifier)
        if old is None:
            return self._cancel_rejected(batch, specifier)
        if request.client_extensions is None:
            request = msgspec.structs.replace(request, client_extensions=old.client_extensions)
        refused = self._refused(batch, request, "orderRejectTransaction", old)
        if refused is not None:
            return refused
        kind = request.type or ""
        fields = self._fields(books, request, kind, "REPLACEMENT")
        cancelled = cancel(batch, old, "CLIENT_REQUEST_REPLACED", str(books.last_id + 2))
        made = batch.add(
            f"{kind}_ORDER", **fields, replaces_order_id=old.id,
            cancelling_transaction_id=cancelled.id,
        )  # fmt: skip
        named = [("orderCancelTransaction", cancelled), ("orderCreateTransaction", made)]
        outcome = self._at_once(batch, books.pending[made.id])
        if outcome is not None:
            filled = outcome.type == "ORDER_FILL"
            key = "orderFillTransaction" if filled else "replacingOrderCancelTransaction"
            named.append((key, outcome))
        return self._done(batch, 201, named)

    def cancel_order(self, books: Books, specifier: str, request_id: str, now: Instant) -> Reply:
        """PUT orders/{spec}/cancel."""
        batch = self._batch(books, request_id, now)
        order = books.pending_order(specifier)
        if order is None:
            return self._cancel_rejected(batch, specifier)
        cancelled = cancel(batch, order, "CLIENT_REQUEST")
        return self._done(batch, 200, [("orderCancelTransaction", cancelled)])

    def order_extensions(
        self, books: Books, specifier: str, body: ExtensionsBody, request_id: str, now: Instant
    ) -> Reply:
        """PUT orders/{spec}/clientExtensions."""
        batch = self._batch(books, request_id, now)
        order = books.pending_order(specifier)
        fields: dict[str, Any] = {
            "order_id": order.id if order else plain_id(specifier),
            "client_order_id": specifier[1:] if specifier.startswith("@") else None,
            "client_extensions_modify": body.client_extensions,
            "trade_client_extensions_modify": body.trade_client_extensions,
        }
        holder = holder_of(books.order_by_client_id, body.client_extensions)
        objection = (
            "ORDER_DOESNT_EXIST"
            if order is None
            else judge.extensions_objection(body.client_extensions, "CLIENT_ORDER")
            or ("CLIENT_ORDER_ID_ALREADY_EXISTS" if holder not in {None, order.id} else None)
        )
        return self._modified(batch, "ORDER_CLIENT_EXTENSIONS_MODIFY", fields, objection)

    # --- trades ------------------------------------------------------------------------------

    def close_trade(
        self, books: Books, specifier: str, body: CloseTradeBody, request_id: str, now: Instant
    ) -> Reply:
        """PUT trades/{spec}/close: a market order that acts on exactly that trade."""
        batch = self._batch(books, request_id, now)
        trade = books.trade(specifier)
        units = units_of(body.units if body.units is not None else "ALL")
        if isinstance(units, str):
            return refusal(400, "Invalid value specified for 'units'", last_id=books.last_id)
        wanted = TradeClose(
            trade_id=trade.id if trade else plain_id(specifier),
            client_trade_id=specifier[1:] if specifier.startswith("@") else None,
            units="ALL" if units is None else str(units),
        )
        objection = self._close_objection(trade, units)
        if objection is not None or trade is None:
            reason = objection or "TRADE_DOESNT_EXIST"
            status = 404 if trade is None else 400
            return self._rejected(
                batch, "MARKET_ORDER", "orderRejectTransaction", status, reason,
                {"trade_close": wanted, "reason": "TRADE_CLOSE"},
            )  # fmt: skip
        amount = abs(trade.current_units) if units is None else units
        signed = -amount if trade.current_units > 0 else amount
        return self._close(
            batch, trade.instrument, signed, "TRADE_CLOSE", {"trade_close": wanted}, "order"
        )

    def _close_objection(self, trade: Trade | None, units: Decimal | None) -> str | None:
        if trade is None:
            return "TRADE_DOESNT_EXIST"
        if units is None:
            return None
        objection = judge.units_objection(units, self.specs[trade.instrument])
        if objection is not None or units < 0:
            return objection or "UNITS_INVALID"
        too_many = units > abs(trade.current_units)
        return "CLOSE_TRADE_UNITS_EXCEED_TRADE_SIZE" if too_many else None

    def trade_orders(
        self, books: Books, specifier: str, body: TradeOrdersBody, request_id: str, now: Instant
    ) -> Reply:
        """PUT trades/{spec}/orders: absent leaves, null cancels, an object creates or replaces."""
        batch = self._batch(books, request_id, now)
        trade = books.trade(specifier)
        wishes = [
            (kind, key, wish)
            for kind, key, field in _ON_FILL_KEYS
            if (wish := getattr(body, field)) is not msgspec.UNSET
        ]
        try:
            refused = self._wishes_refused(batch, trade, specifier, wishes)
        except ValueError:
            return refusal(400, "Invalid value specified for 'gtdTime'", last_id=books.last_id)
        if refused is not None or trade is None:
            return refused or refusal(404, message_of("TRADE_DOESNT_EXIST"), "TRADE_DOESNT_EXIST")
        named: list[tuple[str, Transaction]] = []
        made: list[tuple[str, str]] = []
        for kind, key, wish in wishes:
            made += self._put_dependent(batch, books.trades[trade.id], kind, key, wish, named)
        for key, order_id in made:
            order = books.pending.get(order_id)
            outcome = self._at_once(batch, order) if order is not None else None
            if outcome is not None:
                filled = outcome.type == "ORDER_FILL"
                suffix = "OrderFillTransaction" if filled else "OrderCreatedCancelTransaction"
                named.append((key + suffix, outcome))
        return self._done(batch, 200, named)

    def _wishes_refused(
        self,
        batch: Batch,
        trade: Trade | None,
        specifier: str,
        wishes: list[tuple[str, str, OnFillRequest | None]],
    ) -> Reply | None:
        named: list[tuple[str, Transaction]] = []
        first = ""
        for kind, key, wish in wishes:
            if wish is None:
                continue
            request = dependent_request(wish, trade.id if trade else plain_id(specifier))
            bad = not_finite(request)
            if bad:
                return refusal(400, f"Invalid value specified for '{key}.{bad}'")
            objection = self._dependent_objection(batch, request, kind, trade)
            if objection is None:
                continue
            first = first or objection
            fields = self._fields(batch.books, request, kind, "CLIENT_ORDER", rejected=True)
            rejected = batch.add(f"{kind}_ORDER_REJECT", **fields, reject_reason=objection)
            named.append((f"{key}OrderRejectTransaction", rejected))
        if trade is None and not named:
            return refusal(
                404, message_of("TRADE_DOESNT_EXIST"), "TRADE_DOESNT_EXIST", batch.books.last_id
            )
        if not named:
            return None
        status = 404 if trade is None else 400
        return self._done(batch, status, named, first)

    def _dependent_objection(
        self, batch: Batch, request: OrderRequest, kind: str, trade: Trade | None
    ) -> str | None:
        spec = self.specs[trade.instrument] if trade is not None else None
        standing: str | None = getattr(trade, DEPENDENT_FIELDS[kind]) if trade else None
        return judge.dependent_objection(
            batch.books, request, kind, trade, spec, batch.now_ns, standing
        )

    def _put_dependent(
        self,
        batch: Batch,
        trade: Trade,
        kind: str,
        key: str,
        wish: OnFillRequest | None,
        named: list[tuple[str, Transaction]],
    ) -> list[tuple[str, str]]:
        books = batch.books
        standing = books.pending.get(getattr(trade, DEPENDENT_FIELDS[kind]) or "")
        extra: dict[str, Any] = {}
        if standing is not None:
            replaced_by = str(books.last_id + 2) if wish is not None else None
            reason = "CLIENT_REQUEST_REPLACED" if wish is not None else "CLIENT_REQUEST"
            cancelled = cancel(batch, standing, reason, replaced_by)
            named.append((f"{key}OrderCancelTransaction", cancelled))
            extra = {
                "replaces_order_id": standing.id, "cancelling_transaction_id": cancelled.id,
            }  # fmt: skip
        if wish is None:
            return []
        request = dependent_request(wish, trade.id)
        if standing is not None and request.client_extensions is None:
            request = msgspec.structs.replace(request, client_extensions=standing.client_extensions)
        reason = "REPLACEMENT" if standing is not None else "CLIENT_ORDER"
        made = batch.add(f"{kind}_ORDER", **self._fields(books, request, kind, reason), **extra)
        named.append((f"{key}OrderTransaction", made))
        self.matching.start_trailing(books, books.pending[made.id])
        return [(key, made.id)]

    def trade_extensions(
        self, books: Books, specifier: str, body: ExtensionsBody, request_id: str, now: Instant
    ) -> Reply:
        """PUT trades/{spec}/clientExtensions."""
        batch = self._batch(books, request_id, now)
        trade = books.trade(specifier)
        fields: dict[str, Any] = {
            "trade_id": trade.id if trade else plain_id(specifier),
            "client_trade_id": specifier[1:] if specifier.startswith("@") else None,
            "trade_client_extensions_modify": body.client_extensions,
        }
        holder = holder_of(books.trade_by_client_id, body.client_extensions)
        objection = (
            "TRADE_DOESNT_EXIST"
            if trade is None
            else judge.extensions_objection(body.client_extensions, "CLIENT_TRADE")
            or ("CLIENT_TRADE_ID_ALREADY_EXISTS" if holder not in {None, trade.id} else None)
        )
        return self._modified(batch, "TRADE_CLIENT_EXTENSIONS_MODIFY", fields, objection)

    # --- positions ---------------------------------------------------------------------------

    def close_position(
        self,
        books: Books,
        instrument: InstrumentName,
        body: ClosePositionBody,
        request_id: str,
        now: Instant,
    ) -> Reply:
        """PUT positions/{i}/close: each side that is asked for, or none of them (section 3)."""
        batch = self._batch(books, request_id, now)
        held = self._held(books, instrument)
        asked = sides_asked(body, held)
        if asked is None:
            return refusal(400, "Invalid value specified for 'units'", last_id=books.last_id)
        if not asked:
            return refusal(400, _MISSING, "CLOSEOUT_POSITION_INCOMPLETE_SPECIFICATION",
                           books.last_id)  # fmt: skip
        objections = {
            side: self._side_objection(instrument, held[side], units) for side, units, _ in asked
        }
        if any(objections.values()):
            return self._sides_rejected(batch, instrument, asked, objections, held)
        named: list[tuple[str, Transaction]] = []
        for side, units, extensions in asked:
            amount = abs(held[side]) if units is None else units
            text = "ALL" if units is None else str(units)
            fields: dict[str, Any] = {
                f"{side}_position_closeout": PositionCloseout(instrument=instrument, units=text),
                "client_extensions": extensions,
            }
            signed = -amount if side == "long" else amount
            named += self._close_order(
                batch, instrument, signed, "POSITION_CLOSEOUT", fields, f"{side}Order"
            )
        return self._done(batch, 200, named)

    def _held(self, books: Books, instrument: InstrumentName) -> dict[str, Decimal]:
        units = [t.current_units for t in books.trades_in.get(instrument, {}).values()]
        return {
            "long": sum((u for u in units if u > 0), ZERO),
            "short": sum((u for u in units if u < 0), ZERO),
        }

    def _side_objection(
        self, instrument: InstrumentName, held: Decimal, units: Decimal | None
    ) -> str | None:
        if not held:
            return "CLOSEOUT_POSITION_DOESNT_EXIST"
        if units is None:
            return None
        objection = judge.units_objection(units, self.specs[instrument])
        if objection is not None or units < 0:
            return objection or "UNITS_INVALID"
        return "CLOSEOUT_POSITION_UNITS_EXCEED_POSITION_SIZE" if units > abs(held) else None

    def _sides_rejected(
        self,
        batch: Batch,
        instrument: InstrumentName,
        asked: list[tuple[str, Decimal | None, ClientExtensions | None]],
        objections: dict[str, str | None],
        held: dict[str, Decimal],
    ) -> Reply:
        named: list[tuple[str, Transaction]] = []
        for side, units, _ in asked:
            closeout = PositionCloseout(
                instrument=instrument, units="ALL" if units is None else str(units)
            )
            rejected = batch.add(
                "MARKET_ORDER_REJECT",
                instrument=instrument,
                time_in_force="FOK",
                position_fill="REDUCE_ONLY",
                reason="POSITION_CLOSEOUT",
                reject_reason=objections[side] or "CLOSEOUT_POSITION_REJECT",
                **{f"{side}_position_closeout": closeout},
            )
            named.append((f"{side}OrderRejectTransaction", rejected))
        status = 400 if any(held.values()) else 404
        first = next(o for o in objections.values() if o is not None)
        return self._done(batch, status, named, first)

    # --- account configuration and funds -----------------------------------------------------

    def configure(self, books: Books, body: ConfigureBody, request_id: str, now: Instant) -> Reply:
        """PATCH configuration."""
        batch = self._batch(books, request_id, now)
        rate = body.margin_rate
        objection = None
        if body.alias is None and rate is None:
            objection = "CLIENT_CONFIGURE_DATA_MISSING"
        elif rate is not None and not (rate.is_finite() and ZERO < rate <= 1):
            objection = "MARGIN_RATE_INVALID"
        fields = {"alias": body.alias, "margin_rate": rate if objection is None else None}
        if objection is not None:
            return self._rejected(
                batch, "CLIENT_CONFIGURE", "clientConfigureRejectTransaction", 400, objection,
                fields,
            )  # fmt: skip
        made = batch.add("CLIENT_CONFIGURE", **fields)
        return self._done(batch, 200, [("clientConfigureTransaction", made)])

    # --- shared by the writes ----------------------------------------------------------------

    def _begin(self, now: Instant) -> None:
        self.now_ns = max(self.now_ns, now)

    def _batch(self, books: Books, request_id: str, now: Instant) -> Batch:
        self._begin(now)
        return Batch(books, self.now_ns, request_id)

    def _finish(self, batch: Batch) -> None:
        if batch.made:
            for listener in self.listeners:
                listener(batch.books, batch.made, batch.encoded)

    def _done(
        self, batch: Batch, status: int, named: list[tuple[str, Transaction]], code: str = ""
    ) -> Reply:
        self._finish(batch)
        return Reply(
            status=status,
            named=tuple(named),
            made=tuple(batch.made),
            last_id=batch.books.last_id,
            error_code=code,
            error_message=message_of(code) if code else "",
        )

    def _rejected(
        self, batch: Batch, kind: str, key: str, status: int, reason: str, fields: dict[str, Any]
    ) -> Reply:
        rejected = batch.add(f"{kind}_REJECT", **fields, reject_reason=reason)
        return self._done(batch, status, [(key, rejected)], reason)

    def _cancel_rejected(self, batch: Batch, specifier: str) -> Reply:
        fields = {
            "order_id": plain_id(specifier),
            "client_order_id": specifier[1:] if specifier.startswith("@") else None,
        }
        return self._rejected(
            batch, "ORDER_CANCEL", "orderCancelRejectTransaction", 404, "ORDER_DOESNT_EXIST",
            fields,
        )  # fmt: skip

    def _modified(
        self, batch: Batch, kind: str, fields: dict[str, Any], objection: str | None
    ) -> Reply:
        key = "".join(word.capitalize() for word in kind.split("_"))
        key = key[0].lower() + key[1:]
        if objection is not None:
            status = 404 if objection.endswith("DOESNT_EXIST") else 400
            return self._rejected(batch, kind, f"{key}RejectTransaction", status, objection, fields)
        return self._done(batch, 200, [(f"{key}Transaction", batch.add(kind, **fields))])

    def _refused(
        self, batch: Batch, request: OrderRequest, key: str, replaced: Order | None = None
    ) -> Reply | None:
        """A refusal without a transaction, or a reject, or None when the order may be made."""
        kind, last = request.type, batch.books.last_id
        if kind is None:
            return refusal(400, _MISSING, last_id=last)
        bad = "type" if kind not in judge.TIMES_IN_FORCE else not_finite(request)
        if request.instrument is not None and request.instrument not in self.specs:
            bad = "instrument"
        if bad:
            return refusal(400, f"Invalid value specified for 'order.{bad}'", last_id=last)
        try:
            objection = self._order_objection(batch, request, kind, replaced)
        except (ValueError, ArithmeticError):
            return refusal(400, "Invalid value specified for 'order.gtdTime'", last_id=last)
        if objection is None:
            return None
        fields = self._fields(batch.books, request, kind, "CLIENT_ORDER", rejected=True)
        if replaced is not None:
            fields["intended_replaces_order_id"] = replaced.id
        status = 404 if objection in {"TRADE_DOESNT_EXIST", "ORDER_DOESNT_EXIST"} else 400
        return self._rejected(batch, f"{kind}_ORDER", key, status, objection, fields)

    def _order_objection(
        self, batch: Batch, request: OrderRequest, kind: str, replaced: Order | None
    ) -> str | None:
        books, old = batch.books, replaced.id if replaced else None
        if replaced is not None and replaced.type != kind:
            return "REPLACING_ORDER_INVALID"
        if kind in DEPENDENT_FIELDS:
            trade = trade_of(books, request)
            if replaced is not None and (trade is None or trade.id != replaced.trade_id):
                return "REPLACING_TRADE_ID_INVALID"
            spec = self.specs[trade.instrument] if trade is not None else None
            return judge.dependent_objection(books, request, kind, trade, spec, batch.now_ns, old)
        if request.instrument is None:
            return "INSTRUMENT_MISSING"
        spec = self.specs[request.instrument]
        return judge.entry_objection(books, request, kind, spec, batch.now_ns, old)

    def _fields(
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
                "client_trade_id": request.client_trade_id,
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
            "trade_client_extensions": request.trade_client_extensions,
        }

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

    def _at_once(self, batch: Batch, order: Order) -> Transaction | None:
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

    def _close(
        self,
        batch: Batch,
        instrument: InstrumentName,
        units: Decimal,
        reason: str,
        fields: dict[str, Any],
        prefix: str,
    ) -> Reply:
        named = self._close_order(batch, instrument, units, reason, fields, prefix)
        return self._done(batch, 200, named)

    def _close_order(
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
        return [
            (f"{prefix}CreateTransaction", made),
            (outcome_key(outcome, prefix), outcome),
        ]

    def market_close(
        self,
        batch: Batch,
        instrument: InstrumentName,
        units: Decimal,
        **fields: Any,  # noqa: ANN401
    ) -> None:
        """A market order of the venue's own: margin closeout."""
        self._close_order(batch, instrument, units, "MARGIN_CLOSEOUT", fields, "order")

    def finish(self, batch: Batch) -> None:
        """Tell the listeners of a batch that no client asked for."""
        self._finish(batch)

    def own_batch(self, books: Books, now: Instant) -> Batch:
        """A batch that no client asked for: triggers, expiry, financing, closeout."""
        self._begin(now)
        return Batch(books, self.now_ns)


def next_roll(now: Instant) -> Instant:
    """The next 17:00 in New York."""
    return trading_day(now)[2]
