"""The largest size that the checks leave, and which of them binds: so that sizing can fit.

C09 to C15 bound a size; C16 does not (a larger order may be less alike than a smaller one).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal

import msgspec

from orchestrator.kernel.safety.checks.c10_risk import risk_allowed
from orchestrator.kernel.safety.checks.c15_exposure import room
from orchestrator.kernel.safety.view import Funds, Totals, View, notional_at, risk_at
from orchestrator.model.money import ONE, ZERO, InstrumentSpec, Side, Units, step_of


class Headroom(msgspec.Struct, frozen=True):
    """Unsigned units, and the check that allows no more; 0 where anything is unknown."""

    units: Units
    binds: str


class _Bound(msgspec.Struct, frozen=True):
    """`cost` of some units must not be above `room`."""

    check: str
    room: Decimal
    cost: Callable[[Decimal], Decimal]


def headroom(view: View, spec: InstrumentSpec, side: Side, distance: Decimal) -> Headroom:
    """For an order of this side whose stop is `distance` away from its price."""
    market, factors, funds, totals = view.market, view.factors, view.funds, view.totals
    if market is None or factors is None or funds is None or totals is None:
        return Headroom(Units(ZERO), "unknown")
    if _places(view, funds, totals) <= 0:
        return Headroom(Units(ZERO), "C11")

    def risk(units: Decimal) -> Decimal:
        return risk_at(units, distance, market, factors)

    def worth(units: Decimal) -> Decimal:
        return notional_at(units, side, market, factors)

    bounds = [
        *_sizes(view, spec, side),
        *_values(view, funds, worth),
        *_risks(view, funds, totals, risk),
        _Bound("C15", room(view, spec.name, side.sign), worth),
    ]
    found = min(
        (Headroom(_largest(bound, spec), bound.check) for bound in bounds),
        key=lambda each: each.units,
    )
    if found.units < spec.minimum_trade_size:
        return Headroom(Units(ZERO), found.binds)
    return found


def _places(view: View, funds: Funds, totals: Totals) -> int:
    """C11: how many more trades."""
    own = view.limits.max_concurrent_trades - funds.open_count
    every = totals.accounts * view.total_limits.max_concurrent_trades - totals.open_count
    return min(own, every)


def _itself(units: Decimal) -> Decimal:
    return units


def _sizes(view: View, spec: InstrumentSpec, side: Side) -> Iterator[_Bound]:
    """C09 in units: the venue's largest order and position, and what is usual."""
    yield _Bound("C09", spec.maximum_order_units, _itself)
    if spec.maximum_position_size:
        held = view.position_units * side.sign
        yield _Bound("C09", spec.maximum_position_size - held, _itself)
    if view.median_units is not None:
        yield _Bound("C09", view.checks.size_median_factor * view.median_units, _itself)


def _values(view: View, funds: Funds, worth: Callable[[Decimal], Decimal]) -> Iterator[_Bound]:
    """C09 and C14 in home money."""
    taken = funds.margin_used + funds.margin_reserved

    def margin(units: Decimal) -> Decimal:
        return worth(units) * view.margin_rate

    yield _Bound("C09", view.checks.notional_nav_max * funds.nav, worth)
    yield _Bound("C09", view.checks.order_notional_max, worth)
    yield _Bound("C14", view.checks.margin_used_max * funds.nav - taken, margin)
    yield _Bound("C14", funds.nav - taken, margin)


def _risks(
    view: View, funds: Funds, totals: Totals, risk: Callable[[Decimal], Decimal]
) -> Iterator[_Bound]:
    """C10, C12 and C13: of the account, and of all together."""
    limits, every = view.limits, view.total_limits

    def in_total(units: Decimal) -> Decimal:
        return risk(units) * totals.rate

    yield _Bound("C10", risk_allowed(funds, view), risk)
    lost = funds.day_loss + funds.open_risk
    yield _Bound("C12", limits.max_daily_loss * funds.equity_start - lost, risk)
    fallen = funds.fallen + funds.open_risk
    yield _Bound("C13", limits.max_drawdown * funds.peak - fallen, risk)
    lost = totals.day_loss + totals.open_risk
    yield _Bound("C12", every.max_daily_loss * totals.equity_start - lost, in_total)
    fallen = max(ZERO, totals.peak - totals.nav) + totals.open_risk
    yield _Bound("C13", every.max_drawdown * totals.peak - fallen, in_total)


def _largest(bound: _Bound, spec: InstrumentSpec) -> Units:
    """In whole steps of the instrument; a quotient that was rounded up is taken back."""
    unit = bound.cost(ONE)
    if bound.room <= 0 or unit <= 0:
        return Units(ZERO)
    units = spec.round_units_to_zero(min(bound.room / unit, spec.maximum_order_units))
    if bound.cost(units) > bound.room:
        units = Units(units - step_of(spec.trade_units_precision))
    return units
