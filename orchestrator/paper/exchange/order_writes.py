"""Orders as clients write them: create, replace, cancel, client extensions."""

from __future__ import annotations

from typing import Any

import msgspec

from orchestrator.model.time import Instant
from orchestrator.model.venue import (
    Order,
)
from orchestrator.paper.exchange import judge
from orchestrator.paper.exchange.batch import Batch
from orchestrator.paper.exchange.books import DEPENDENT_FIELDS, Books
from orchestrator.paper.exchange.fields import (
    client_id_of,
    holder_of,
    not_finite,
    outcome_key,
    plain_id,
    trade_of,
)
from orchestrator.paper.exchange.floor import Floor
from orchestrator.paper.exchange.matching import cancel
from orchestrator.paper.exchange.reply import MISSING, Reply, refusal
from orchestrator.paper.exchange.requests import (
    ExtensionsBody,
    OrderRequest,
)


class OrderWrites:
    """POST orders, PUT orders/{spec}, .../cancel and .../clientExtensions."""

    def __init__(self, floor: Floor) -> None:
        self._floor = floor

    def create(self, books: Books, request: OrderRequest, request_id: str, now: Instant) -> Reply:
        """POST orders: 201 even when the order is cancelled at once (section 4, the trap)."""
        batch = self._floor.batch(books, request_id, now)
        refused = self._refused(batch, request, "orderRejectTransaction")
        if refused is not None:
            return refused
        kind = request.type or ""
        made = batch.add(
            f"{kind}_ORDER", **self._floor.fields(books, request, kind, "CLIENT_ORDER")
        )
        named = [("orderCreateTransaction", made)]
        outcome = self._floor.at_once(batch, books.pending[made.id])
        if outcome is not None:
            named.append((outcome_key(outcome, "order"), outcome))
        return self._floor.done(batch, 201, named)

    def replace(
        self, books: Books, specifier: str, request: OrderRequest, request_id: str, now: Instant
    ) -> Reply:
        """PUT orders/{spec}: cancel and create in one batch; a rejected one leaves the old."""
        batch = self._floor.batch(books, request_id, now)
        old = books.pending_order(specifier)
        locked = self._floor.restrictions.order_cancel(books)
        if old is None or locked is not None:
            return self._cancel_rejected(batch, specifier, old, locked)
        if request.client_extensions is None:
            request = msgspec.structs.replace(request, client_extensions=old.client_extensions)
        refused = self._refused(batch, request, "orderRejectTransaction", old)
        if refused is not None:
            return refused
        kind = request.type or ""
        fields = self._floor.fields(books, request, kind, "REPLACEMENT")
        cancelled = cancel(batch, old, "CLIENT_REQUEST_REPLACED", str(books.last_id + 2))
        made = batch.add(
            f"{kind}_ORDER", **fields, replaces_order_id=old.id,
            cancelling_transaction_id=cancelled.id,
        )  # fmt: skip
        named = [("orderCancelTransaction", cancelled), ("orderCreateTransaction", made)]
        outcome = self._floor.at_once(batch, books.pending[made.id])
        if outcome is not None:
            filled = outcome.type == "ORDER_FILL"
            key = "orderFillTransaction" if filled else "replacingOrderCancelTransaction"
            named.append((key, outcome))
        return self._floor.done(batch, 201, named)

    def cancel(self, books: Books, specifier: str, request_id: str, now: Instant) -> Reply:
        """PUT orders/{spec}/cancel."""
        batch = self._floor.batch(books, request_id, now)
        order = books.pending_order(specifier)
        locked = self._floor.restrictions.order_cancel(books)
        if order is None or locked is not None:
            return self._cancel_rejected(batch, specifier, order, locked)
        cancelled = cancel(batch, order, "CLIENT_REQUEST")
        return self._floor.done(batch, 200, [("orderCancelTransaction", cancelled)])

    def extensions(
        self, books: Books, specifier: str, body: ExtensionsBody, request_id: str, now: Instant
    ) -> Reply:
        """PUT orders/{spec}/clientExtensions."""
        batch = self._floor.batch(books, request_id, now)
        order = books.pending_order(specifier)
        fields: dict[str, Any] = {
            "order_id": order.id if order else plain_id(specifier),
            "client_order_id": client_id_of(order, specifier),
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
        return self._floor.modified(batch, "ORDER_CLIENT_EXTENSIONS_MODIFY", fields, objection)

    def _cancel_rejected(
        self, batch: Batch, specifier: str, order: Order | None, locked: str | None
    ) -> Reply:
        fields = {
            "order_id": order.id if order is not None else plain_id(specifier),
            "client_order_id": client_id_of(order, specifier),
        }
        status, reason = (404, "ORDER_DOESNT_EXIST") if order is None else (400, locked or "")
        key = "orderCancelRejectTransaction"
        return self._floor.rejected(batch, "ORDER_CANCEL", key, status, reason, fields)

    def _refused(
        self, batch: Batch, request: OrderRequest, key: str, replaced: Order | None = None
    ) -> Reply | None:
        """A refusal without a transaction, or a reject, or None when the order may be made."""
        kind, last = request.type, batch.books.last_id
        if kind is None:
            return refusal(400, MISSING, last_id=last)
        bad = "type" if kind not in judge.TIMES_IN_FORCE else not_finite(request)
        if request.instrument is not None and request.instrument not in self._floor.specs:
            bad = "instrument"
        if bad:
            return refusal(400, f"Invalid value specified for 'order.{bad}'", last_id=last)
        try:
            objection = self._order_objection(batch, request, kind, replaced)
        except (ValueError, ArithmeticError):
            return refusal(400, "Invalid value specified for 'order.gtdTime'", last_id=last)
        if objection is None:
            return None
        fields = self._floor.fields(batch.books, request, kind, "CLIENT_ORDER", rejected=True)
        if replaced is not None:
            fields["intended_replaces_order_id"] = replaced.id
        status = 404 if objection in {"TRADE_DOESNT_EXIST", "ORDER_DOESNT_EXIST"} else 400
        return self._floor.rejected(batch, f"{kind}_ORDER", key, status, objection, fields)

    def _order_objection(
        self, batch: Batch, request: OrderRequest, kind: str, replaced: Order | None
    ) -> str | None:
        books, old = batch.books, replaced.id if replaced else None
        if replaced is not None and replaced.type != kind:
            return "REPLACING_ORDER_INVALID"
        forbidden = self._floor.restrictions.order_creation(
            books, kind, replaces=replaced is not None
        )
        if forbidden is not None:
            return forbidden
        if kind in DEPENDENT_FIELDS:
            trade = trade_of(books, request)
            if replaced is not None and (trade is None or trade.id != replaced.trade_id):
                return "REPLACING_TRADE_ID_INVALID"
            spec = self._floor.specs[trade.instrument] if trade is not None else None
            return judge.dependent_objection(
                books, request, kind, trade, spec, batch.now_ns, old
            ) or self._floor.guarantee_objection(books, request, kind, trade)
        if request.instrument is None:
            return "INSTRUMENT_MISSING"
        spec = self._floor.specs[request.instrument]
        return judge.entry_objection(books, request, kind, spec, batch.now_ns, old)
