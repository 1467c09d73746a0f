"""The numbers of SAFETY.md that decide; frozen, made from the settings once at start."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from orchestrator.model.money import AccountId, InstrumentName
from orchestrator.model.profiles import PLAIN, Profile, Span

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
    spread_caps: dict[InstrumentName, Decimal] = {}  # M2: an instrument's widest spread, in price
    storage_good_writes: int = 10
    storage_clear_s: int = 10
    storage_flush_ms_max: int = 500
    storage_free_mb_min: int = 500
    # Accounts.
    losing_run: int = 5
    stop_outs: int = 3
    stop_outs_window_s: int = 1_800
    losing_cooldown_s: int = 3_600
    entries_per_h: int = 20
    orders_in_10_s: int = 10
    rejects: int = 5
    rejects_window_s: int = 60
    rejects_cooldown_s: int = 60
    margin_block: Decimal = D("0.50")
    margin_flatten: Decimal = D("0.80")  # of the venue's margin-closeout percent
    margin_clear_s: int = 60
    # The system.
    gross_nav_max: Decimal = D(15)
    returns_correlation_max: Decimal = D("0.90")
    returns_points_min: int = 100
    exposure_clear_s: int = 60
    bus_silent_ms_max: int = 2_000
    bus_clear_s: int = 5
    clock_step_ms_max: int = 250
    clock_venue_ms_max: int = 2_000
    clock_clear_s: int = 60
    loop_lag_ms_max: int = 250
    loop_clear_s: int = 5
    roles_clear_s: int = 5
    unclean_starts: int = 3
    unclean_window_s: int = 600
    rss_mb_max: int = 1_500
    files_fraction_max: Decimal = D("0.80")
    memory_clear_s: int = 60
    # Time.
    weekend_from_s: int = 57_600  # Friday 16:00 New York, seconds of the day
    weekend_flat_from_s: int = 59_400  # 16:30
    warm_ticks: int = 2
    warm_outage_s: int = 60
    warm_more_s: int = 30
    # The market.
    volatility_scale_at: Decimal = D(4)
    volatility_block_at: Decimal = D(8)
    volatility_scale: Decimal = D("0.5")
    volatility_cooldown_s: int = 60
    gap_spreads: Decimal = D(10)
    gap_fraction: Decimal = D("0.003")
    flash_fraction: Decimal = D("0.01")
    gap_cooldown_s: int = 300
    market_wide: int = 3
    market_wide_clear_s: int = 60
    # Probing (B2).
    probe_scale: Decimal = D("0.25")
    probe_orders: int = 3
    probe_s: int = 300
    cooldown_s_max: int = 1_800


class AccountPlan(msgspec.Struct, frozen=True, kw_only=True):
    """A configured account. `exclusive`: nobody else may trade on it (A9)."""

    account_id: AccountId
    enabled: bool = True
    exclusive: bool = False
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
    windows: tuple[Span, ...] = ()  # news and holidays of all accounts (T3)
    stage_deadline_ms: int = 2_000
    live: bool = False
    live_allowed: bool = False
    seed: int = 0
