"""The numbers of SAFETY.md that decide; frozen, made from the settings once at start."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from orchestrator.model.money import AccountId, InstrumentName
from orchestrator.model.profiles import PLAIN, Profile

D = Decimal


class AccountLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Limits of one account; fractions of its money (0.02 = 2 %)."""

    risk_per_trade: Decimal = D("0.02")
    max_daily_loss: Decimal = D("0.06")
    max_drawdown: Decimal = D("0.10")
    max_concurrent_trades: int = 3


class CheckLimits(msgspec.Struct, frozen=True, kw_only=True):
    """The numbers of SAFETY 6."""

    signal_ttl_ms_max: int = 30_000
    future_ms_max: int = 1_000
    duplicate_window_s: int = 10
    price_age_s_max: int = 5
    price_age_alive_s_max: int = 60
    stream_silence_s_max: int = 7
    venue_clock_s_max: int = 5
    account_age_s_max: int = 15
    spread_of_stop_max: Decimal = D("0.25")
    collar: Decimal = D("0.01")
    bound_spreads: Decimal = D(3)
    bound_fraction: Decimal = D("0.0005")
    stop_spreads_min: Decimal = D(2)
    stop_distance_max: Decimal = D("0.05")
    notional_nav_max: Decimal = D(10)
    order_notional_max: Decimal = D(1_000_000)  # home currency
    size_median_factor: Decimal = D(5)
    margin_used_max: Decimal = D("0.50")
    instrument_exposure_max: Decimal = D(10)  # x NAV, as the next two
    currency_exposure_max: Decimal = D(12)
    gross_exposure_max: Decimal = D(15)  # also of all accounts together
    correlation_max: Decimal = D("0.70")
    opposition_allowed: bool = False
    orders_per_s: Decimal = D(2)
    orders_burst: int = 5
    orders_per_min: int = 60
    orders_per_min_total: int = 120
    strategy_interval_s: int = 5
    recheck_ms: int = 500
    no_stop_risk: Decimal = D("0.05")  # of notional, for a trade without a stop


class BreakerLimits(msgspec.Struct, frozen=True, kw_only=True):
    """The numbers of SAFETY 4."""

    scale_half_at: Decimal = D("0.50")
    scale_quarter_at: Decimal = D("0.75")
    unknown_s_max: int = 30
    transactions_silence_s_max: int = 10
    stale_stream_s: int = 7
    stale_tick_s: int = 60
    stale_clear_s: int = 10
    spread_factor: Decimal = D(4)
    spread_cooldown_s: int = 60
    bad_ticks: int = 3
    bad_ticks_window_s: int = 10
    bad_tick_off: Decimal = D("0.05")
    bad_tick_cooldown_s: int = 60
    storage_good_writes: int = 10
    storage_clear_s: int = 10


class AccountPlan(msgspec.Struct, frozen=True, kw_only=True):
    """A configured account."""

    account_id: AccountId
    enabled: bool = True
    limits: AccountLimits = AccountLimits()
    profile: Profile = PLAIN


class KernelPlan(msgspec.Struct, frozen=True, kw_only=True):
    """All that the kernel must know before the first event.

    `calendar`: "fx" (SAFETY T1 in force) or "always" (the synthetic market that never closes).
    `live`: OANDA_ENVIRONMENT is live; `live_allowed`: ALLOW_LIVE_TRADING.
    """

    accounts: tuple[AccountPlan, ...]
    instruments: tuple[InstrumentName, ...]
    checks: CheckLimits = CheckLimits()
    breakers: BreakerLimits = BreakerLimits()
    total: AccountLimits = AccountLimits()
    reporting_currency: str = "USD"
    calendar: str = "fx"
    stage_deadline_ms: int = 2_000
    live: bool = False
    live_allowed: bool = False
    seed: int = 0
