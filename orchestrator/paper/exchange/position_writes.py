"""Positions as clients close them: a side, or both."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from orchestrator.model.money import ZERO, InstrumentName
from orchestrator.model.time import Instant
from orchestrator.model.venue import (
    ClientExtensions,
    PositionCloseout,
    Transaction,
)
from orchestrator.paper.exchange import judge
from orchestrator.paper.exchange.batch import Batch
from orchestrator.paper.exchange.books import Books
from orchestrator.paper.exchange.fields import (
    sides_asked,
)
from orchestrator.paper.exchange.floor import Floor
from orchestrator.paper.exchange.reply import MISSING, Reply, refusal
from orchestrator.paper.exchange.requests import (
    ClosePositionBody,
)


class PositionWrites:
    """PUT positions/{i}/close."""

    def __init__(self, floor: Floor) -> None:
        self._floor = floor

    def close(
        self,
        books: Books,
        instrument: InstrumentName,
        body: ClosePositionBody,
        request_id: str,
        now: Instant,
    ) -> Reply:
        """PUT positions/{i}/close: each side that is asked for, or none of them (section 3)."""
        batch = self._floor.batch(books, request_id, now)
        held = self._held(books, instrument)
        asked = sides_asked(body, held)
        if asked is None:
            return refusal(400, "Invalid value specified for 'units'", last_id=books.last_id)
        if not asked:
            return refusal(400, MISSING, "CLOSEOUT_POSITION_INCOMPLETE_SPECIFICATION",
                           books.last_id)  # fmt: skip
        forbidden = self._floor.restrictions.order_creation(books, "MARKET")
        objections = {
            side: self._side_objection(instrument, held[side], units) or forbidden
            for side, units, _ in asked
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
            named += self._floor.close_order(
                batch, instrument, signed, "POSITION_CLOSEOUT", fields, f"{side}Order"
            )
        return self._floor.done(batch, 200, named)

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
        objection = judge.units_objection(units, self._floor.specs[instrument])
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
        for side, units, extensions in asked:
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
                client_extensions=extensions,
                **{f"{side}_position_closeout": closeout},
            )
            named.append((f"{side}OrderRejectTransaction", rejected))
        status = 400 if any(held.values()) else 404
        first = next(o for o in objections.values() if o is not None)
        return self._floor.done(batch, status, named, first)
