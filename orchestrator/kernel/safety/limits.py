"""The limits that have a name: which check uses them, which way is looser, how far they may go."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from orchestrator.model.limits import AccountLimits, CheckLimits
from orchestrator.model.money import ONE, ZERO

D = Decimal


class Named(msgspec.Struct, frozen=True):
    """`loosest`: as far as the settings may go, and therefore any override."""

    check: str
    loosest: Decimal
    higher_is_looser: bool = True
    whole: bool = False
    overridable: bool = True

    def looser(self, a: Decimal, b: Decimal) -> bool:
        """Whether `a` allows more than `b`."""
        return a > b if self.higher_is_looser else a < b


# Of `AccountLimits`, then of `CheckLimits`; ranges as in the settings.
LIMITS: dict[str, Named] = {
    "risk_per_trade": Named("C10", D("0.10")),
    "max_daily_loss": Named("C12", D("0.50"), overridable=False),  # it is A1's, too
    "max_drawdown": Named("C13", D("0.90")),
    "max_concurrent_trades": Named("C11", D(100_000), whole=True),
    "spread_of_stop_max": Named("C06", ONE),
    "collar": Named("C07", D("0.05")),
    "stop_spreads_min": Named("C08", ONE, higher_is_looser=False),
    "stop_distance_max": Named("C08", D("0.20")),
    "notional_nav_max": Named("C09", D(50)),
    "order_notional_max": Named("C09", D(10) ** 12),
    "size_median_factor": Named("C09", D(100)),
    "margin_used_max": Named("C14", D("0.90")),
    "instrument_exposure_max": Named("C15", D(50)),
    "currency_exposure_max": Named("C15", D(50)),
    "gross_exposure_max": Named("C15", D(50)),
    "correlation_max": Named("C16", ONE),
    "orders_per_min": Named("C17", D(6_000_000), whole=True),
    "orders_per_min_total": Named("C17", D(6_000_000), whole=True),
    "strategy_interval_s": Named("C17", ZERO, higher_is_looser=False, whole=True),
}
OF_ACCOUNT = frozenset(AccountLimits.__struct_fields__) & LIMITS.keys()
OF_CHECKS = frozenset(CheckLimits.__struct_fields__) & LIMITS.keys()

# SAFETY B5: no person and no override moves these.
NEVER = ("A1", "A7", "S4", "S5", "S12")
NEVER_CHECKS = {"C02": "sanity checks", "C04": "duplicate checks"}


def value_of(limits: AccountLimits, checks: CheckLimits, name: str) -> Decimal:
    """The number in force under a name of LIMITS."""
    return Decimal(getattr(limits if name in OF_ACCOUNT else checks, name))
