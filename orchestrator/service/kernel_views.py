"""What people see of a kernel: accounts, positions, trades, orders, breakers, limits.

Of the one that decides, and of a standby's, which only follows the journal.
"""

from __future__ import annotations

from decimal import Decimal

import msgspec

from orchestrator.kernel.engine import Kernel
from orchestrator.kernel.ledger import valuation
from orchestrator.model.money import AccountId, Price, Units
from orchestrator.model.ports import Clock
from orchestrator.service.limits_desk import limits_of, overrides_of
from orchestrator.service.views import (
    AccountLimitsView,
    AccountStatus,
    BreakerView,
    OpenTradeView,
    OrderView,
    OverrideView,
    PositionView,
    Refused,
)


class KernelViews:
    """Views of one kernel, made when they are asked for."""

    def __init__(self, kernel: Kernel, clock: Clock) -> None:
        self._kernel = kernel
        self._clock = clock

    def accounts(self) -> tuple[AccountStatus, ...]:
        return tuple(self._status(account_id) for account_id in self._kernel.account_ids)

    def account(self, account_id: AccountId) -> AccountStatus | Refused:
        if account_id not in self._kernel.account_ids:
            return not_found("account", account_id)
        return self._status(account_id)

    def _status(self, account_id: AccountId) -> AccountStatus:
        now = self._clock.now()
        book = self._kernel.books.get(account_id)
        values = self._kernel.day_values(account_id)
        limits = self._kernel.limits_of(account_id)
        balance = book.balance if book else Decimal(0)
        nav = self._kernel.nav(account_id)
        return AccountStatus(
            account_id=account_id, currency=book.currency if book else "",
            enabled=self._kernel.enabled(account_id),
            mode=self._kernel.account_mode(account_id, now),
            reconciled=self._kernel.reconciled(account_id), balance=balance, nav=nav,
            unrealized_pl=None if nav is None else nav - balance,
            margin_used=self._kernel.margin_used(account_id),
            open_trades=len(book.trades) if book else 0,
            pending_orders=len(book.orders) if book else 0,
            day_pl=None if nav is None or values is None else nav - values.equity_start,
            day_loss_fraction=None if values is None else values.day_loss_fraction,
            drawdown_fraction=None if values is None else values.drawdown_fraction,
            equity_start=None if values is None else values.equity_start,
            peak=None if values is None else values.peak,
            last_transaction_id=book.last_id if book else 0,
            blocked_by=self._kernel.account_blocks(account_id, now),
            limits={k: str(v) for k, v in msgspec.structs.asdict(limits).items()},
            exposures=self._kernel.exposures(account_id),
            positions=tuple(p for p in self.positions() if p.account_id == account_id),
        )  # fmt: skip

    def positions(self) -> tuple[PositionView, ...]:
        found: dict[tuple[AccountId, str], list[OpenTradeView]] = {}
        for trade in self.open_trades():
            found.setdefault((trade.account_id, trade.instrument), []).append(trade)
        return tuple(self._position(trades) for trades in found.values())

    def _position(self, trades: list[OpenTradeView]) -> PositionView:
        first = trades[0]
        units = sum((t.units for t in trades), Decimal(0))
        values = [t.unrealized_pl for t in trades if t.unrealized_pl is not None]
        gross = sum((abs(t.units) for t in trades), Decimal(0))
        paid = sum((t.price * abs(t.units) for t in trades), Decimal(0))
        return PositionView(
            account_id=first.account_id, instrument=first.instrument, units=Units(units),
            average_price=Price(paid / gross) if gross else None,
            unrealized_pl=sum(values, Decimal(0)) if len(values) == len(trades) else None,
            trades=len(trades), currency=self._kernel.books[first.account_id].currency,
        )  # fmt: skip

    def open_trades(self) -> tuple[OpenTradeView, ...]:
        quotes = self._kernel.quotes
        return tuple(
            OpenTradeView(
                account_id=account_id, trade_id=t.trade_id, instrument=t.instrument,
                units=t.units, price=t.price, stop_price=t.worst_exit, target_price=t.target_price,
                unrealized_pl=valuation.unrealized(t, quotes, book.currency), ours=t.ours,
                opened_ns=t.opened_ns, intent_id=t.intent_id, signal_id=t.signal_id,
                strategy=t.strategy,
            )
            for account_id, book in self._kernel.books.items()
            for t in book.trades.values()
        )  # fmt: skip

    def pending_orders(self) -> tuple[OrderView, ...]:
        return tuple(
            OrderView(
                account_id=account_id, order_id=o.order_id, type=o.type,
                instrument=o.instrument or "", units=o.units, price=o.price,
                trade_id=o.trade_id or "", client_id=o.client_id,
            )
            for account_id, book in self._kernel.books.items()
            for o in book.orders.values()
        )  # fmt: skip

    def breakers(self) -> tuple[BreakerView, ...]:
        return self._kernel.breakers(self._clock.now())

    def limits(self) -> tuple[AccountLimitsView, ...]:
        now = self._clock.now()
        return tuple(limits_of(self._kernel, name, now) for name in self._kernel.account_ids)

    def overrides(self) -> tuple[OverrideView, ...]:
        return overrides_of(self._kernel)


def not_found(kind: str, name: str) -> Refused:
    return Refused(status=404, title=f"No such {kind}", detail=f"There is no {kind} {name!r}.")
