"""The tables of the optional TOML file: limits per account, strategies, agents, fine numbers.

The numbers of `[limits]` and `[breakers]` are those of SAFETY 4 and 6, under the names that the
kernel gives them in `model.limits`; the ranges here are how far a user may move them.
"""

from decimal import Decimal
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from orchestrator.settings.kinds import (
    ClassPath,
    DayFraction,
    DrawdownFraction,
    Frozen,
    InstrumentText,
    Params,
    RiskFraction,
    TradeCount,
)

D = Decimal


class AccountSettings(Frozen):
    """`[accounts."ID"]`: what differs from the general limits; unset = the general one."""

    enabled: bool = True
    exclusive: bool = False
    risk_per_trade: RiskFraction | None = None
    max_daily_loss: DayFraction | None = None
    max_drawdown: DrawdownFraction | None = None
    max_concurrent_trades: TradeCount | None = None
    profile: Annotated[str, Field(pattern="^[a-z][a-z0-9_]{0,39}$")] | None = None
    token_env: Annotated[str, Field(pattern="^[A-Za-z_][A-Za-z0-9_]*$")] | None = None


class StrategySettings(Frozen):
    """`[strategies.NAME]`: a shipped strategy, or with `path` one of the user's own."""

    enabled: bool = True
    path: ClassPath | None = None
    params: Params = Field(default_factory=dict)


class AgentSettings(Frozen):
    """`[agents.ROLE]`: parameters of the shipped agent, or with `path` the user's own instead.

    `where`: in the service's process, in processes of their own that the service starts, or
    wherever `orchestrator agent ROLE` is run; unset: a user's own "process", a shipped "service".
    """

    path: ClassPath | None = None
    params: Params = Field(default_factory=dict)
    where: Literal["service", "process", "remote"] | None = None
    instances: Annotated[int, Field(ge=1, le=16)] = 1
    memory_mb: Annotated[int, Field(ge=128, le=65_536)] = 1_024
    nice: Annotated[int, Field(ge=0, le=19)] | None = None

    @property
    def home(self) -> str:
        """Where it runs: service | process | remote."""
        return self.where or ("service" if self.path is None else "process")

    @model_validator(mode="after")
    def _one_in_the_service(self) -> Self:
        if self.instances > 1 and self.home == "service":
            raise ValueError(
                f'instances ({self.instances}): more than one only with where = "process", or with'
                ' "remote", where an exact replay waits for so many'
            )
        return self


class LimitSettings(Frozen):
    """`[limits]`: the numbers of the pre-trade checks (SAFETY 6)."""

    signal_ttl_ms_max: Annotated[int, Field(ge=100, le=30_000)] = 30_000
    duplicate_window_s: Annotated[int, Field(ge=0, le=3600)] = 10
    price_age_s_max: Annotated[int, Field(ge=1, le=5)] = 5
    price_age_alive_s_max: Annotated[int, Field(ge=1, le=60)] = 60
    spread_of_stop_max: Annotated[Decimal, Field(gt=0, le=1)] = D("0.25")
    collar: Annotated[Decimal, Field(gt=0, le=D("0.05"))] = D("0.01")
    bound_spreads: Annotated[Decimal, Field(ge=1, le=20)] = D(3)
    bound_fraction: Annotated[Decimal, Field(gt=0, le=D("0.01"))] = D("0.0005")
    stop_spreads_min: Annotated[Decimal, Field(ge=1, le=100)] = D(2)
    stop_distance_max: Annotated[Decimal, Field(gt=0, le=D("0.20"))] = D("0.05")
    notional_nav_max: Annotated[Decimal, Field(gt=0, le=50)] = D(10)
    size_median_factor: Annotated[Decimal, Field(ge=1, le=100)] = D(5)
    margin_used_max: Annotated[Decimal, Field(gt=0, le=D("0.90"))] = D("0.50")
    instrument_exposure_max: Annotated[Decimal, Field(gt=0, le=50)] = D(10)
    currency_exposure_max: Annotated[Decimal, Field(gt=0, le=50)] = D(12)
    gross_exposure_max: Annotated[Decimal, Field(gt=0, le=50)] = D(15)
    correlation_max: Annotated[Decimal, Field(ge=0, le=1)] = D("0.70")
    opposition_allowed: bool = False
    orders_per_s: Annotated[Decimal, Field(gt=0, le=100_000)] = D(2)
    orders_burst: Annotated[int, Field(ge=1, le=100_000)] = 5
    orders_per_min: Annotated[int, Field(ge=1, le=6_000_000)] = 60
    orders_per_min_total: Annotated[int, Field(ge=1, le=6_000_000)] = 120
    strategy_interval_s: Annotated[int, Field(ge=0, le=86_400)] = 5


class BreakerSettings(Frozen):
    """`[breakers]`: the numbers of SAFETY 4 that may be changed, and how far.

    Where looser would be unsafe only tighter is allowed; docs/breakers.md says what each is for.
    """

    scale_half_at: Annotated[Decimal, Field(gt=0, le=D("0.50"))] = D("0.50")
    scale_quarter_at: Annotated[Decimal, Field(gt=0, le=D("0.75"))] = D("0.75")
    stale_stream_s: Annotated[int, Field(ge=1, le=7)] = 7
    stale_tick_s: Annotated[int, Field(ge=1, le=60)] = 60
    stale_clear_s: Annotated[int, Field(ge=1, le=3600)] = 10
    spread_factor: Annotated[Decimal, Field(gt=1, le=20)] = D(4)
    spread_cooldown_s: Annotated[int, Field(ge=1, le=86_400)] = 60
    bad_ticks: Annotated[int, Field(ge=1, le=10)] = 3
    bad_ticks_window_s: Annotated[int, Field(ge=1, le=600)] = 10
    bad_tick_off: Annotated[Decimal, Field(gt=0, le=D("0.05"))] = D("0.05")
    bad_tick_cooldown_s: Annotated[int, Field(ge=1, le=86_400)] = 60
    spread_caps: dict[InstrumentText, Annotated[Decimal, Field(gt=0)]] = Field(default_factory=dict)
    # Accounts.
    losing_run: Annotated[int, Field(ge=1, le=100)] = 5
    stop_outs: Annotated[int, Field(ge=1, le=100)] = 3
    stop_outs_window_s: Annotated[int, Field(ge=60, le=86_400)] = 1_800
    losing_cooldown_s: Annotated[int, Field(ge=1, le=86_400)] = 3_600
    entries_per_h: Annotated[int, Field(ge=1, le=100_000_000)] = 20
    orders_in_10_s: Annotated[int, Field(ge=1, le=1_000_000)] = 10
    rejects: Annotated[int, Field(ge=1, le=1_000)] = 5
    rejects_cooldown_s: Annotated[int, Field(ge=1, le=86_400)] = 60
    margin_block: Annotated[Decimal, Field(gt=0, le=D("0.90"))] = D("0.50")
    margin_flatten: Annotated[Decimal, Field(gt=0, le=D("0.95"))] = D("0.80")
    # The system.
    gross_nav_max: Annotated[Decimal, Field(gt=0, le=50)] = D(15)
    returns_correlation_max: Annotated[Decimal, Field(ge=0, le=1)] = D("0.90")
    storage_free_mb_min: Annotated[int, Field(ge=10, le=1_000_000)] = 500
    loop_lag_ms_max: Annotated[int, Field(ge=10, le=2_000)] = 250  # from 2 s on the guard acts
    unclean_starts: Annotated[int, Field(ge=1, le=1_000)] = 3
    rss_mb_max: Annotated[int, Field(ge=200, le=100_000)] = 1_500
    # Time.
    weekend_from_s: Annotated[int, Field(ge=0, le=61_080)] = 57_600
    weekend_flat_from_s: Annotated[int, Field(ge=0, le=60_900)] = 59_400
    warm_more_s: Annotated[int, Field(ge=0, le=3_600)] = 30
    # The market.
    volatility_scale_at: Annotated[Decimal, Field(gt=1, le=100)] = D(4)
    volatility_block_at: Annotated[Decimal, Field(gt=1, le=100)] = D(8)
    volatility_cooldown_s: Annotated[int, Field(ge=1, le=86_400)] = 60
    gap_spreads: Annotated[Decimal, Field(ge=1, le=1_000)] = D(10)
    gap_fraction: Annotated[Decimal, Field(gt=0, le=D("0.05"))] = D("0.003")
    flash_fraction: Annotated[Decimal, Field(gt=0, le=D("0.05"))] = D("0.01")
    gap_cooldown_s: Annotated[int, Field(ge=1, le=86_400)] = 300

    @model_validator(mode="after")
    def _scales_in_order(self) -> Self:
        if self.scale_half_at > self.scale_quarter_at:
            raise ValueError(
                f"scale_half_at ({self.scale_half_at}) must not be above"
                f" scale_quarter_at ({self.scale_quarter_at})"
            )
        if self.volatility_scale_at > self.volatility_block_at:
            raise ValueError(
                f"volatility_scale_at ({self.volatility_scale_at}) must not be above"
                f" volatility_block_at ({self.volatility_block_at})"
            )
        return self
