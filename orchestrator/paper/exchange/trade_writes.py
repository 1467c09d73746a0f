"""Trades as clients write them: close, dependent orders, client extensions."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec

from orchestrator.model.time import Instant
from orchestrator.model.venue import (
    Trade,
    TradeClose,
    Transaction,
)
from orchestrator.paper.exchange import judge
from orchestrator.paper.exchange.batch import Batch
from orchestrator.paper.exchange.books import DEPENDENT_FIELDS, Books
from orchestrator.paper.exchange.fields import (
    client_id_of,
    dependent_request,
    holder_of,
    not_finite,
    plain_id,
    units_of,
)
from orchestrator.paper.exchange.floor import Floor
from orchestrator.paper.exchange.matching import cancel
from orchestrator.paper.exchange.reasons import message_of
from orchestrator.paper.exchange.reply import Reply, refusal
from orchestrator.paper.exchange.requests import (
    CloseTradeBody,
    ExtensionsBody,
    OnFillRequest,
    OrderRequest,
    TradeOrdersBody,
)

_KINDS = (
    ("TAKE_PROFIT", "takeProfit", "take_profit"),
    ("STOP_LOSS", "stopLoss", "stop_loss"),
    ("TRAILING_STOP_LOSS", "trailingStopLoss", "trailing_stop_loss"),
    ("GUARANTEED_STOP_LOSS", "guaranteedStopLoss", "guaranteed_stop_loss"),
)


class TradeWrites:
    """PUT trades/{spec}/close, .../orders and .../clientExtensions."""

    def __init__(self, floor: Floor) -> None:
        self._floor = floor

    def close(
        self, books: Books, specifier: str, body: CloseTradeBody, request_id: str, now: Instant
    ) -> Reply:
        """PUT trades/{spec}/close: a market order that acts on exactly that trade."""
        batch = self._floor.batch(books, request_id, now)
        trade = books.trade(specifier)
        units = units_of(body.units if body.units is not None else "ALL")
        if isinstance(units, str):
            return refusal(400, "Invalid value specified for 'units'", last_id=books.last_id)
        wanted = TradeClose(
            trade_id=trade.id if trade else plain_id(specifier),
            client_trade_id=client_id_of(trade, specifier),
            units="ALL" if units is None else str(units),
        )
        objection = self._close_objection(trade, units) or self._floor.restrictions.order_creation(
            books, "MARKET"
        )
        if objection is not None or trade is None:
            reason = objection or "TRADE_DOESNT_EXIST"
            status = 404 if trade is None else 400
            return self._floor.rejected(
                batch, "MARKET_ORDER", "orderRejectTransaction", status, reason,
                {"trade_close": wanted, "reason": "TRADE_CLOSE"},
            )  # fmt: skip
        amount = abs(trade.current_units) if units is None else units
        signed = -amount if trade.current_units > 0 else amount
        named = self._floor.close_order(
            batch, trade.instrument, signed, "TRADE_CLOSE", {"trade_close": wanted}, "order"
        )
        return self._floor.done(batch, 200, named)

    def _close_objection(self, trade: Trade | None, units: Decimal | None) -> str | None:
        if trade is None:
            return "TRADE_DOESNT_EXIST"
        if units is None:
            return None
        objection = judge.units_objection(units, self._floor.specs[trade.instrument])
        if objection is not None or units < 0:
            return objection or "UNITS_INVALID"
        too_many = units > abs(trade.current_units)
        return "CLOSE_TRADE_UNITS_EXCEED_TRADE_SIZE" if too_many else None

    def orders(
        self, books: Books, specifier: str, body: TradeOrdersBody, request_id: str, now: Instant
    ) -> Reply:
        """PUT trades/{spec}/orders: absent leaves, null cancels, an object creates or replaces."""
        batch = self._floor.batch(books, request_id, now)
        trade = books.trade(specifier)
        wishes = [
            (kind, key, wish)
            for kind, key, field in _KINDS
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
            outcome = self._floor.at_once(batch, order) if order is not None else None
            if outcome is not None:
                filled = outcome.type == "ORDER_FILL"
                suffix = "OrderFillTransaction" if filled else "OrderCreatedCancelTransaction"
                named.append((key + suffix, outcome))
        return self._floor.done(batch, 200, named)

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
                named += self._cancel_refused(batch, trade, kind, key)
                first = first or (named[-1][1].reject_reason or "" if named else "")
                continue
            request = dependent_request(wish, trade.id if trade else plain_id(specifier))
            bad = not_finite(request)
            if bad:
                return refusal(400, f"Invalid value specified for '{key}.{bad}'")
            objection = self._dependent_objection(batch, request, kind, trade)
            if objection is None:
                continue
            first = first or objection
            fields = self._floor.fields(batch.books, request, kind, "CLIENT_ORDER", rejected=True)
            rejected = batch.add(f"{kind}_ORDER_REJECT", **fields, reject_reason=objection)
            named.append((f"{key}OrderRejectTransaction", rejected))
        if trade is None and not named:
            return refusal(
                404, message_of("TRADE_DOESNT_EXIST"), "TRADE_DOESNT_EXIST", batch.books.last_id
            )
        if not named:
            return None
        status = 404 if trade is None else 400
        return self._floor.done(batch, status, named, first)

    def _cancel_refused(
        self, batch: Batch, trade: Trade | None, kind: str, key: str
    ) -> list[tuple[str, Transaction]]:
        """A dependent order that may not be cancelled now: its reject, under OANDA's key."""
        standing: str | None = getattr(trade, DEPENDENT_FIELDS[kind]) if trade else None
        locked = self._floor.restrictions.order_cancel(batch.books)
        if standing is None or locked is None:
            return []
        rejected = batch.add("ORDER_CANCEL_REJECT", order_id=standing, reject_reason=locked)
        return [(f"{key}OrderCancelRejectTransaction", rejected)]

    def _dependent_objection(
        self, batch: Batch, request: OrderRequest, kind: str, trade: Trade | None
    ) -> str | None:
        spec = self._floor.specs[trade.instrument] if trade is not None else None
        standing: str | None = getattr(trade, DEPENDENT_FIELDS[kind]) if trade else None
        forbidden = self._floor.restrictions.order_creation(
            batch.books, kind, replaces=standing is not None
        )
        if trade is not None and forbidden is not None:
            return forbidden
        return judge.dependent_objection(
            batch.books, request, kind, trade, spec, batch.now_ns, standing
        ) or self._floor.guarantee_objection(batch.books, request, kind, trade)

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
        made = batch.add(
            f"{kind}_ORDER", **self._floor.fields(books, request, kind, reason), **extra
        )
        named.append((f"{key}OrderTransaction", made))
        self._floor.matching.start_trailing(books, books.pending[made.id])
        return [(key, made.id)]

    def extensions(
        self, books: Books, specifier: str, body: ExtensionsBody, request_id: str, now: Instant
    ) -> Reply:
        """PUT trades/{spec}/clientExtensions."""
        batch = self._floor.batch(books, request_id, now)
        trade = books.trade(specifier)
        fields: dict[str, Any] = {
            "trade_id": trade.id if trade else plain_id(specifier),
            "client_trade_id": client_id_of(trade, specifier),
            "trade_client_extensions_modify": body.client_extensions,
        }
        holder = holder_of(books.trade_by_client_id, body.client_extensions)
        objection = (
            "TRADE_DOESNT_EXIST"
            if trade is None
            else judge.extensions_objection(body.client_extensions, "CLIENT_TRADE")
            or ("CLIENT_TRADE_ID_ALREADY_EXISTS" if holder not in {None, trade.id} else None)
        )
        return self._floor.modified(batch, "TRADE_CLIENT_EXTENSIONS_MODIFY", fields, objection)
