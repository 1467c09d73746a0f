"""What the checks of a person's close, cancel or tighter stop may see (SAFETY 3, 6)."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

import msgspec

from orchestrator.kernel.safety.view import Market
from orchestrator.model.money import ZERO, InstrumentSpec, Price, Side, Units
from orchestrator.model.reducing import ReduceKind, Reduction
from orchestrator.model.time import Instant


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """The trade that is meant, as our books have it.

    `has_stop`: a stop loss stands at the venue, at `stop` (None: not known where). `trails`: a
    trailing stop does, beside which a stop loss only ever tightens.
    """

    units: Units
    ours: bool
    has_stop: bool
    stop: Price | None
    trails: bool
    guaranteed: bool


class Reducible(msgspec.Struct, frozen=True, kw_only=True):
    """One account and instrument, at one instant. `halts`: why only the liquidator may act.

    `long` and `short`: units held of each side, both above or at 0. `flying`: what was asked
    before and is not settled. `like_ns`: the last like one of this account.
    """

    now: Instant
    configured: bool
    known: bool
    halts: tuple[str, ...]
    session: str
    spec: InstrumentSpec | None
    market: Market | None
    long: Decimal
    short: Decimal
    trade: Held | None
    order_type: str | None
    entry: bool
    flying: tuple[Reduction, ...]
    like_ns: Instant | None
    like_window_s: int

    def held(self, side: Side | None) -> Decimal:
        """Units of a side; of both for None."""
        if side is None:
            return self.long + self.short
        return self.long if side is Side.BUY else self.short

    def closing(self, side: Side | None) -> Decimal:
        """Units of a side that closes on their way may take, at most."""
        return sum((each.most for each in self._closes(side)), ZERO)

    def closing_trade(self, trade_id: str) -> Decimal:
        """As `closing`, of one trade."""
        return sum((r.most for r in self._closes(None) if r.target == trade_id), ZERO)

    def _closes(self, side: Side | None) -> Iterator[Reduction]:
        for each in self.flying:
            if each.kind.closes and (side is None or each.side in (None, side)):
                yield each

    def tightening(self, trade_id: str) -> bool:
        """Whether a change of this trade's stop is on its way."""
        return any(
            each.kind is ReduceKind.TIGHTEN_STOP and each.target == trade_id for each in self.flying
        )
