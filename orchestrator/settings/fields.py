"""All that a user may set: the fixed names of SPEC 8 and ours, each with its default and range."""

import re
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, SecretStr

from orchestrator.model.limits import AccountLimits
from orchestrator.model.profiles import PLAIN, Profile
from orchestrator.model.signals import Role
from orchestrator.settings.hours import HoursSettings
from orchestrator.settings.kinds import (
    AccountIds,
    DayFraction,
    DrawdownFraction,
    Instruments,
    PaperAccount,
    PaperAccounts,
    RiskFraction,
    TradeCount,
)
from orchestrator.settings.profiles import ProfileSettings
from orchestrator.settings.tables import (
    AccountSettings,
    AgentSettings,
    BreakerSettings,
    LimitSettings,
    StrategySettings,
)
from orchestrator.settings.urls import (
    BrokerUrl,
    NodeUrl,
    SecretUrl,
    StoreUrl,
    VenueUrl,
    path_of_store,
)
from orchestrator.settings.vault import ExistingFile, VaultSettings

D = Decimal
TABLES = ("accounts", "profiles", "strategies", "agents", "limits", "breakers", "hours")

API_HOSTS = {
    "practice": "https://api-fxpractice.oanda.com",
    "live": "https://api-fxtrade.oanda.com",
}
STREAM_HOSTS = {
    "practice": "https://stream-fxpractice.oanda.com",
    "live": "https://stream-fxtrade.oanda.com",
}


def _agents_only(agents: dict[Role, AgentSettings]) -> dict[Role, AgentSettings]:
    if Role.EXECUTION_ENGINE in agents:
        raise ValueError("the execution engine is no agent and cannot be replaced")
    return agents


def _two_days(days: int) -> int:
    """TimescaleDB looks back a day for late ticks; what it looks at must still be there."""
    if days == 1:
        raise ValueError("must be 0 (for ever), or at least 2")
    return days


def _long_token(secret: SecretStr | None) -> SecretStr | None:
    """One that can be guessed would open everything."""
    if secret is not None and not re.fullmatch(
        r"[A-Za-z0-9_.~+/=-]{32,200}", secret.get_secret_value()
    ):
        raise ValueError("must be 32 to 200 letters and digits of chance")
    return secret


Password = Annotated[SecretStr | None, Field(examples=["the-password"])]
URLS = ("database_url", "timescale_url", "message_broker_url")


class Fields(VaultSettings):
    """The settings, each one right in itself, and what follows from them."""

    # The venue.
    oanda_environment: Literal["paper", "practice", "live"] = "paper"
    oanda_api_key: Annotated[SecretStr | None, Field(examples=["your-token"])] = None
    oanda_account_ids: Annotated[
        AccountIds, Field(examples=["101-001-1000001-001,101-001-1000001-002"])
    ] = ()
    oanda_base_url: Annotated[
        VenueUrl | None, Field(examples=["https://api-fxpractice.oanda.com"])
    ] = None
    oanda_stream_url: Annotated[
        VenueUrl | None, Field(examples=["https://stream-fxpractice.oanda.com"])
    ] = None
    oanda_cacert: Annotated[ExistingFile | None, Field(examples=["venue-ca.pem"])] = None
    allow_live_trading: bool = False
    instruments: Instruments = (
        "EUR_USD",
        "USD_JPY",
        "GBP_USD",
        "NZD_USD",
        "EUR_GBP",
        "XAU_USD",
    )

    # The limits.
    max_concurrent_trades: TradeCount = 3
    risk_per_trade: RiskFraction = D("0.02")
    max_daily_loss: DayFraction = D("0.06")
    circuit_breaker_threshold: DrawdownFraction = D("0.10")
    max_order_notional: Annotated[Decimal, Field(gt=0, le=D(10) ** 12)] = D(1_000_000)

    # The service.
    api_host: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.:-]{1,253}$")] = "127.0.0.1"
    api_tls_cert: Annotated[ExistingFile | None, Field(examples=["certs/server.pem"])] = None
    api_tls_key: Annotated[ExistingFile | None, Field(examples=["certs/server.key"])] = None
    api_behind_proxy: bool = False
    node_name: Annotated[
        str | None, Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$", examples=["node-a"])
    ] = None
    node_address: Annotated[NodeUrl | None, Field(examples=["http://127.0.0.1:8000"])] = None
    api_token: Annotated[
        SecretStr | None, AfterValidator(_long_token), Field(examples=["openssl rand -hex 32"])
    ] = None
    agent_discovery_port: Annotated[int, Field(ge=0, le=65_535)] = 8000
    agent_health_check_interval: Annotated[float, Field(ge=0.1, le=3600)] = 30
    agent_startup_timeout: Annotated[float, Field(ge=1, le=600)] = 60
    auto_start: Annotated[bool | None, Field(examples=["true"])] = None
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0

    # What is kept, and where.
    state_dir: Path = Path("state")
    store_sync: Literal["full", "normal"] = "full"
    database_url: Annotated[
        StoreUrl | None,
        Field(examples=["postgresql://user:password@localhost/trading_system"]),
    ] = None
    database_password: Password = None
    timescale_url: Annotated[
        StoreUrl | None, Field(examples=["postgresql://user:password@localhost/market_data"])
    ] = None
    timescale_password: Password = None
    tick_retention_days: Annotated[int, Field(ge=0, le=36_500), AfterValidator(_two_days)] = 30
    message_broker_url: Annotated[BrokerUrl | None, Field(examples=["redis://localhost:6379"])] = (
        None
    )
    message_broker_password: Password = None
    message_broker_namespace: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,32}$")] = "tso"
    event_retention_hours: Annotated[int, Field(ge=1, le=87_600)] = 24
    orchestrator_config: Annotated[Path | None, Field(examples=["orchestrator.toml"])] = None

    # The paper venue.
    paper_port: Annotated[int, Field(ge=0, le=65_535)] = 0
    paper_market_hours: Literal["always", "fx"] = "always"
    paper_feed: Literal["synthetic", "live"] = "synthetic"
    paper_source: Literal["practice", "live"] = "practice"
    paper_source_account: Annotated[
        str | None,
        Field(pattern=r"^\d{1,9}-\d{1,9}-\d{1,12}-\d{1,9}$", examples=["101-001-1000001-001"]),
    ] = None
    paper_accounts: PaperAccounts = (
        PaperAccount(account_id="101-001-1000001-001", currency="USD", balance=D(100_000)),
        PaperAccount(account_id="101-001-1000001-002", currency="EUR", balance=D(50_000)),
    )

    # The tables of the TOML file.
    accounts: dict[str, AccountSettings] = Field(default_factory=dict)
    profiles: dict[Annotated[str, Field(pattern="^[a-z][a-z0-9_]{0,39}$")], ProfileSettings] = (
        Field(default_factory=dict)
    )
    strategies: dict[Annotated[str, Field(pattern="^[a-z][a-z0-9_]{0,39}$")], StrategySettings] = (
        Field(default_factory=dict)
    )
    agents: Annotated[dict[Role, AgentSettings], AfterValidator(_agents_only)] = Field(
        default_factory=dict
    )
    limits: LimitSettings = LimitSettings()
    breakers: BreakerSettings = BreakerSettings()
    hours: HoursSettings = HoursSettings()

    # The tokens that `token_env` of an account names; filled by load_settings.
    account_tokens: Annotated[dict[str, SecretStr], Field(repr=False)] = Field(default_factory=dict)

    @property
    def on_paper(self) -> bool:
        return self.oanda_environment == "paper"

    @property
    def account_ids(self) -> tuple[str, ...]:
        """The accounts that we trade; on paper all of PAPER_ACCOUNTS unless some are named."""
        if self.oanda_account_ids or not self.on_paper:
            return self.oanda_account_ids
        return tuple(account.account_id for account in self.paper_accounts)

    @property
    def base_url(self) -> str | None:
        """Where the venue's REST API is; None on paper: the paper venue says it when it is up."""
        return self.oanda_base_url or API_HOSTS.get(self.oanda_environment)

    @property
    def stream_url(self) -> str | None:
        """Where the venue's streams are; OANDA has a host of its own for them."""
        if self.oanda_stream_url:
            return self.oanda_stream_url
        if self.base_url == API_HOSTS.get(self.oanda_environment):
            return STREAM_HOSTS.get(self.oanda_environment)
        return self.base_url

    @property
    def starts_by_itself(self) -> bool:
        """AUTO_START; unset, it is true on paper only."""
        return self.on_paper if self.auto_start is None else self.auto_start

    @property
    def database_path(self) -> Path:
        """The SQLite file of journal and state; ValueError where they are in PostgreSQL."""
        if self.database_url:
            return path_of_store(self.database_url)
        return self.state_dir / "orchestrator.db"

    @property
    def market_data_path(self) -> Path:
        """The SQLite file of ticks and candles; ValueError where they are in PostgreSQL."""
        return (
            path_of_store(self.timescale_url)
            if self.timescale_url
            else self.state_dir / "market.db"
        )

    def address_of(self, field: str) -> str | None:
        """The whole URL of one of URLS, with its password: for who connects, and for nobody else.

        None: unset. Ask again for each new connection: the password may have been changed.
        """
        url: SecretUrl | None = getattr(self, field)
        if url is None:
            return None
        password: SecretStr | None = getattr(self, field.replace("_url", "_password"))
        if password is None:
            return url.get_secret_value()
        return url.with_password(password.get_secret_value())

    def token_of(self, account_id: str) -> SecretStr | None:
        """The account's own token, else the general one; None only on paper."""
        return self.account_tokens.get(account_id, self.oanda_api_key)

    def account_limits(self, account_id: str | None = None) -> AccountLimits:
        """The account's limits, general ones where it has none of its own; None = all together.

        Its profile's are counted in: `contradictions` has seen to it that they are no looser.
        """
        own = self.accounts.get(account_id or "", AccountSettings())
        rules = self.profiles.get(own.profile or "", ProfileSettings())
        return AccountLimits(
            risk_per_trade=rules.risk_per_trade or own.risk_per_trade or self.risk_per_trade,
            max_daily_loss=rules.max_daily_loss or own.max_daily_loss or self.max_daily_loss,
            max_drawdown=(rules.max_drawdown or own.max_drawdown or self.circuit_breaker_threshold),
            max_concurrent_trades=(
                rules.max_concurrent_trades
                or own.max_concurrent_trades
                or self.max_concurrent_trades
            ),
        )

    def profile_of(self, account_id: str) -> Profile:
        """The rules of the account's profile; without one there are none."""
        name = self.accounts.get(account_id, AccountSettings()).profile
        return PLAIN if name is None else self.profiles[name].profile(name)
