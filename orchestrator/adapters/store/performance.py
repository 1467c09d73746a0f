"""Win rate, profit factor and expectancy from closed trades, in decimals, per account."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from orchestrator.model.money import ZERO, AccountId, Currency
from orchestrator.model.queries import PerformanceRow

if TYPE_CHECKING:
    from collections.abc import Iterable

    from orchestrator.adapters.store.codec import DbRow

_RATIO = Decimal("0.000001")
_MONEY = Decimal("0.0001")


class _Tally:
    """The nets and the multiples of risk of one group of trades."""

    def __init__(self, currency: str) -> None:
        self.currency = currency
        self.nets: list[Decimal] = []
        self.multiples: list[Decimal] = []


def performance_rows(closed: Iterable[DbRow], *, totals: bool) -> tuple[PerformanceRow, ...]:
    """Per account and strategy; with `totals` also per account, under strategy "".

    Two accounts are never summed: their currencies may differ.
    """
    tallies: dict[tuple[str, str], _Tally] = {}
    for account, currency, strategy, realized_pl, financing, r_multiple in closed:
        net = Decimal(realized_pl) + Decimal(financing)
        for group in {strategy, ""} if totals else {strategy}:
            tally = tallies.setdefault((account, group), _Tally(currency))
            tally.nets.append(net)
            if r_multiple is not None:
                tally.multiples.append(Decimal(r_multiple))
    return tuple(_row(*key, tallies[key]) for key in sorted(tallies))


def _row(account: str, strategy: str, tally: _Tally) -> PerformanceRow:
    nets = tally.nets
    wins = [net for net in nets if net > 0]
    losses = [net for net in nets if net < 0]
    gain, loss = sum(wins, ZERO), -sum(losses, ZERO)
    return PerformanceRow(
        account_id=AccountId(account),
        currency=Currency(tally.currency),
        strategy=strategy,
        trades=len(nets),
        wins=len(wins),
        losses=len(losses),
        net=gain - loss,
        gross_profit=gain,
        gross_loss=loss,
        win_rate=_quotient(Decimal(len(wins)), len(nets), _RATIO),
        profit_factor=_quotient(gain, loss, _RATIO),
        expectancy=_quotient(gain - loss, len(nets), _MONEY),
        mean_r=_quotient(sum(tally.multiples, ZERO), len(tally.multiples), _RATIO),
        best=max(nets, default=None),
        worst=min(nets, default=None),
    )


def _quotient(value: Decimal, by: Decimal | int, step: Decimal) -> Decimal | None:
    return (value / by).quantize(step) if by else None
