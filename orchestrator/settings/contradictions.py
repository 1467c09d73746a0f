"""Settings that are right each alone, and wrong together."""

from collections.abc import Iterator
from typing import NamedTuple
from urllib.parse import urlsplit

from orchestrator.settings.fields import URLS, Fields
from orchestrator.settings.kinds import percent
from orchestrator.settings.urls import SecretUrl, is_loopback


class Contradiction(NamedTuple):
    """`fields`: all that it depends on, the one to blame first."""

    fields: tuple[str, ...]
    text: str
    example: str = ""

    def __str__(self) -> str:
        return f"{self.fields[0].upper()}: {self.text}"


def contradictions(settings: Fields, *, waiting: bool = False) -> tuple[Contradiction, ...]:
    """All of them; empty is good. `waiting` for Vault's answer: no token is missing yet."""
    needs_tokens = () if waiting else (_tokens, _live_prices)
    return tuple(
        problem
        for rule in (
            _profiles_known,
            _profiles_tighten,
            _limits_in_order,
            _account_limits_in_order,
            _exposures_in_order,
            _real_venue,
            *needs_tokens,
            _live,
            _hosts,
            _passwords,
            _vault,
            _api_tls,
            _known,
        )
        for problem in rule(settings)
    )


def _limits_in_order(settings: Fields) -> Iterator[Contradiction]:
    risk, day = settings.risk_per_trade, settings.max_daily_loss
    drawdown = settings.circuit_breaker_threshold
    if risk > day:
        yield Contradiction(
            ("risk_per_trade", "max_daily_loss"),
            f"one trade may risk {percent(risk)}, more than MAX_DAILY_LOSS ({percent(day)})",
            "0.02",
        )
    if day > drawdown:
        yield Contradiction(
            ("max_daily_loss", "circuit_breaker_threshold"),
            f"one day may lose {percent(day)}, more than CIRCUIT_BREAKER_THRESHOLD"
            f" ({percent(drawdown)})",
            "0.06",
        )


def _account_limits_in_order(settings: Fields) -> Iterator[Contradiction]:
    general = ("accounts", "risk_per_trade", "max_daily_loss", "circuit_breaker_threshold")
    for account_id in settings.accounts:
        limits = settings.account_limits(account_id)
        if not limits.risk_per_trade <= limits.max_daily_loss <= limits.max_drawdown:
            yield Contradiction(
                general,
                f'accounts."{account_id}": must be risk_per_trade ({limits.risk_per_trade})'
                f" <= max_daily_loss ({limits.max_daily_loss})"
                f" <= max_drawdown ({limits.max_drawdown})",
            )


# A profile's key, the account's own key, and the general variable.
_TIGHTENED = (
    ("risk_per_trade", "risk_per_trade", "RISK_PER_TRADE"),
    ("max_daily_loss", "max_daily_loss", "MAX_DAILY_LOSS"),
    ("max_drawdown", "max_drawdown", "CIRCUIT_BREAKER_THRESHOLD"),
    ("max_concurrent_trades", "max_concurrent_trades", "MAX_CONCURRENT_TRADES"),
)


def _profiles_known(settings: Fields) -> Iterator[Contradiction]:
    """A slip in the name would silently drop an account's rules."""
    known = ", ".join(settings.profiles) or "none"
    for account_id, account in settings.accounts.items():
        if account.profile is not None and account.profile not in settings.profiles:
            yield Contradiction(
                ("accounts", "profiles"),
                f'accounts."{account_id}".profile: there is no profile {account.profile}'
                f" (profiles: {known})",
            )


def _profiles_tighten(settings: Fields) -> Iterator[Contradiction]:
    """SAFETY B6: a profile that would loosen a limit is a mistake, and not a wish."""
    general = ("profiles", "accounts", *(name.lower() for _, _, name in _TIGHTENED))
    for account_id, account in settings.accounts.items():
        rules = settings.profiles.get(account.profile or "")
        for key, own, variable in _TIGHTENED if rules is not None else ():
            wanted = getattr(rules, key)
            mine = getattr(account, own)
            limit, named = getattr(settings, variable.lower()), variable
            if mine is not None:
                limit, named = mine, f'accounts."{account_id}".{own}'
            if wanted is not None and wanted > limit:
                yield Contradiction(
                    general,
                    f"profiles.{account.profile}.{key}: {wanted} is looser than {named} ({limit});"
                    " a profile can only tighten (SAFETY B6)",
                )


def _exposures_in_order(settings: Fields) -> Iterator[Contradiction]:
    """A limit that a stricter one hides is a mistake in one of the two."""
    limits = settings.limits
    if not limits.instrument_exposure_max <= limits.gross_exposure_max:
        yield Contradiction(
            ("limits",),
            f"limits.instrument_exposure_max: {limits.instrument_exposure_max} is above"
            f" limits.gross_exposure_max ({limits.gross_exposure_max}), which would always hide it",
        )


def _tokens(settings: Fields) -> Iterator[Contradiction]:
    if settings.on_paper:
        return
    where = f"needed with OANDA_ENVIRONMENT={settings.oanda_environment}"
    have_tokens = all(settings.token_of(each) for each in settings.oanda_account_ids)
    if not have_tokens or (not settings.oanda_account_ids and not settings.oanda_api_key):
        yield Contradiction(
            ("oanda_api_key", "oanda_environment", "oanda_account_ids", "accounts"),
            f"{where}: the token of your OANDA account",
            "your-token",
        )


def _real_venue(settings: Fields) -> Iterator[Contradiction]:
    if settings.on_paper:
        return
    where = f"needed with OANDA_ENVIRONMENT={settings.oanda_environment}"
    if not settings.oanda_account_ids:
        yield Contradiction(
            ("oanda_account_ids", "oanda_environment"),
            f"{where}: the accounts to trade",
            "101-001-1000001-001,101-001-1000001-002",
        )


def _live_prices(settings: Fields) -> Iterator[Contradiction]:
    embedded = settings.on_paper and not settings.oanda_base_url
    if embedded and settings.paper_feed == "live" and not settings.oanda_api_key:
        yield Contradiction(
            ("oanda_api_key", "oanda_environment", "oanda_base_url", "paper_feed"),
            "needed with PAPER_FEED=live: the token that OANDA's prices are read with",
            "your-token",
        )


def _live(settings: Fields) -> Iterator[Contradiction]:
    if settings.oanda_environment == "live" and not settings.allow_live_trading:
        yield Contradiction(
            ("allow_live_trading", "oanda_environment"),
            "OANDA_ENVIRONMENT=live moves real money and needs one more explicit yes",
            "true",
        )


def _hosts(settings: Fields) -> Iterator[Contradiction]:
    """An address of OANDA's other environment would trade where nobody looks."""
    environment = settings.oanda_environment
    for field in ("oanda_base_url", "oanda_stream_url"):
        host = urlsplit(getattr(settings, field) or "").hostname or ""
        meant = {"fxpractice": "practice", "fxtrade": "live"}
        theirs = [where for mark, where in meant.items() if f"{mark}.oanda.com" in host]
        if theirs and theirs[0] != environment:
            yield Contradiction(
                (field, "oanda_environment"),
                f"is OANDA's {theirs[0]} host, but OANDA_ENVIRONMENT={environment}",
            )
    if settings.oanda_stream_url and not settings.oanda_base_url and settings.on_paper:
        yield Contradiction(
            ("oanda_stream_url", "oanda_base_url", "oanda_environment"),
            "on paper it needs OANDA_BASE_URL as well, else the embedded venue is used",
        )


def _passwords(settings: Fields) -> Iterator[Contradiction]:
    """A password that stands apart must have a place to go, and be the only one."""
    for field in URLS:
        apart = field.replace("_url", "_password")
        if getattr(settings, apart) is None:
            continue
        url: SecretUrl | None = getattr(settings, field)
        if url is None or not url.is_server:
            text = f"there is no server in {field.upper()} that it could be for"
            yield Contradiction((apart, field), text)
        elif url.has_password:
            yield Contradiction((apart, field), f"{field.upper()} holds a password already")


def _vault(settings: Fields) -> Iterator[Contradiction]:
    """Half a login would be found out only by the first who needs a secret."""
    if not settings.asks_vault:
        return
    if settings.vault_addr is None:
        text = "needed with VAULT_ROLE_ID: where Vault is"
        example = "https://vault.example.com:8200"
        yield Contradiction(("vault_addr", "vault_role_id"), text, example)
    if settings.vault_secret_id is None and settings.vault_secret_id_wrapped is None:
        text = (
            "needed with VAULT_ROLE_ID; or VAULT_SECRET_ID_WRAPPED, which is used up by one start"
        )
        yield Contradiction(("vault_secret_id", "vault_role_id", "vault_secret_id_wrapped"), text)


def _api_tls(settings: Fields) -> Iterator[Contradiction]:
    """Tokens cross the API: beyond this machine they are encrypted (SAFETY X6)."""
    pair = {"api_tls_cert": settings.api_tls_cert, "api_tls_key": settings.api_tls_key}
    missing = [field for field, file in pair.items() if file is None]
    if len(missing) == 1:
        (there,) = pair.keys() - set(missing)
        yield Contradiction((missing[0], there), f"needed with {there.upper()}: both or none")
    if missing and not is_loopback(settings.api_host) and not settings.api_behind_proxy:
        yield Contradiction(
            ("api_host", "api_tls_cert", "api_tls_key", "api_behind_proxy"),
            "beyond this machine the API needs API_TLS_CERT and API_TLS_KEY, or"
            " API_BEHIND_PROXY=true where something before it encrypts",
            "127.0.0.1",
        )


def _known(settings: Fields) -> Iterator[Contradiction]:
    """An account that is named must exist: a slip would silently drop its limits."""
    names = ("oanda_environment", "oanda_account_ids", "paper_accounts")
    if settings.on_paper and not settings.oanda_base_url:
        known = [account.account_id for account in settings.paper_accounts]
        for account_id in settings.oanda_account_ids:
            if account_id not in known:
                yield Contradiction(
                    ("oanda_account_ids", "oanda_environment", "oanda_base_url", "paper_accounts"),
                    f"{account_id} is not among PAPER_ACCOUNTS ({', '.join(known)})",
                    ",".join(known),
                )
    for account_id in settings.accounts:
        if account_id not in settings.account_ids:
            yield Contradiction(
                ("accounts", *names),
                f'accounts."{account_id}": this account is not configured'
                f" (configured: {', '.join(settings.account_ids) or 'none'})",
            )
