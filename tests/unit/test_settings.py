"""Settings: defaults, sources, every refusal by name."""

import re
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from orchestrator.model.limits import AccountLimits, BreakerLimits, CheckLimits
from orchestrator.settings import (
    SettingsError,
    load_settings,
)
from orchestrator.settings.load import VARIABLES, example_of
from tests.unit.settings_parts import ACCOUNT, SERVERS, load, refusal


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a `.env` nor an `orchestrator.toml` of the checkout may reach these tests."""
    monkeypatch.chdir(tmp_path)


# --- Defaults ------------------------------------------------------------------------------------


def test_without_anything_set_the_fixed_defaults_of_the_specification_are_in_force():
    settings = load()
    assert settings.oanda_environment == "paper"
    assert settings.agent_discovery_port == 8000
    assert settings.agent_health_check_interval == 30
    assert settings.agent_startup_timeout == 60
    assert settings.max_concurrent_trades == 3
    assert settings.risk_per_trade == Decimal("0.02")
    assert settings.max_daily_loss == Decimal("0.06")
    assert settings.circuit_breaker_threshold == Decimal("0.10")
    assert settings.event_retention_hours == 24
    assert settings.message_broker_url is None
    assert settings.allow_live_trading is False
    assert settings.api_host == "127.0.0.1"
    assert settings.store_sync == "full"
    assert settings.max_order_notional == 1_000_000
    assert settings.state_dir == Path("state")
    assert settings.database_path == Path("state/orchestrator.db")
    assert settings.market_data_path == Path("state/market.db")
    assert settings.instruments[0] == "EUR_USD"
    assert settings.account_ids == (ACCOUNT, "101-001-1000001-002")
    assert settings.starts_by_itself
    assert settings.warnings() == ()


def test_the_default_numbers_are_those_of_the_kernel():
    settings = load()
    assert settings.check_limits() == CheckLimits()
    assert settings.breaker_limits() == BreakerLimits()
    assert settings.account_limits() == AccountLimits()


def test_settings_and_their_parts_cannot_be_changed():
    settings = load()
    with pytest.raises(ValidationError):
        settings.seed = 3
    with pytest.raises(ValidationError):
        settings.limits.collar = Decimal("0.5")


# --- Where values come from ----------------------------------------------------------------------


def test_the_environment_goes_before_the_env_file_and_that_before_the_default(tmp_path: Path):
    (tmp_path / ".env").write_text("SEED=1\nLOG_LEVEL=debug\nOANDA_API_KEY=a$b#c\n")
    settings = load(SEED="2")
    assert settings.seed == 2
    assert settings.log_level == "debug"
    assert settings.oanda_api_key is not None
    assert settings.oanda_api_key.get_secret_value() == "a$b#c"
    sources = {row.name: row.source for row in settings.describe()}
    assert sources["SEED"] == "environment"
    assert sources["LOG_LEVEL"] == ".env"
    assert sources["API_HOST"] == "default"


def test_an_empty_variable_counts_as_unset_and_hides_nothing(tmp_path: Path):
    (tmp_path / ".env").write_text("SEED=5\nMAX_DAILY_LOSS=\n")
    settings = load(SEED="  ", OANDA_API_KEY="")
    assert settings.seed == 5
    assert settings.max_daily_loss == Decimal("0.06")
    assert settings.oanda_api_key is None


def test_variables_that_are_not_ours_are_ignored(tmp_path: Path):
    (tmp_path / ".env").write_text("SOMETHING_ELSE=1\n")
    assert load(PATH="/bin", limits="x", accounts="y") == load()


@pytest.mark.parametrize("text", ["INFO", "Info", "info"])
def test_choices_are_read_in_any_case(text: str):
    assert load(LOG_LEVEL=text).log_level == "info"


def test_a_toml_file_in_the_working_folder_is_found(tmp_path: Path):
    (tmp_path / "orchestrator.toml").write_text("[limits]\ncollar = 0.005\n")
    settings = load()
    assert settings.limits.collar == Decimal("0.005")
    assert {row.source for row in settings.describe() if row.name.startswith("limits.")} == {
        "orchestrator.toml"
    }


def test_a_toml_file_that_is_named_must_exist():
    assert "ORCHESTRATOR_CONFIG: there is no file gone.toml" in refusal(
        ORCHESTRATOR_CONFIG="gone.toml"
    )


def test_an_env_file_that_is_no_text_is_refused(tmp_path: Path):
    (tmp_path / ".env").write_bytes(b"SEED=\xff\xfe")
    assert refusal() == ".env cannot be read: UnicodeDecodeError"


# --- Refusals ------------------------------------------------------------------------------------

BAD = {
    "OANDA_ENVIRONMENT": ["production", "LIVE!"],
    "OANDA_ACCOUNT_IDS": ["me", f"{ACCOUNT},{ACCOUNT}"],
    "OANDA_BASE_URL": [
        "http://api-fxpractice.oanda.com",
        "ftp://x",
        "https://",
        "https://u:p@h",
        "https://h:x",
    ],
    "OANDA_STREAM_URL": ["stream", "http://10.0.0.1/"],
    "ALLOW_LIVE_TRADING": ["maybe"],
    "INSTRUMENTS": ["EURUSD", "EUR/USD", "EUR_USD,EUR_USD", ","],
    "MAX_CONCURRENT_TRADES": ["0", "-1", "2.5", "many"],
    "RISK_PER_TRADE": ["0", "-0.01", "2", "0.11", "nan", "inf", "two"],
    "MAX_DAILY_LOSS": ["6", "0.51", "1", "6%"],
    "CIRCUIT_BREAKER_THRESHOLD": ["10", "0.91", "-1"],
    "MAX_ORDER_NOTIONAL": ["0", "nan"],
    "API_HOST": ["a b", "http://x", "0.0.0.0", "::", "192.168.1.4", "orchestrator.example.com"],
    "API_TLS_CERT": ["/no/such/file"],
    "API_TLS_KEY": ["/no/such/file"],
    "API_BEHIND_PROXY": ["nginx"],
    "NODE_NAME": ["a b", "a/b", "x" * 65],
    "NODE_ADDRESS": ["node-a:8000", "ftp://node-a", "http://user:secret@node-a", "http://"],
    "API_TOKEN": ["short", "with a space in it and long enough to be one"],
    "OANDA_CACERT": ["/no/such/file"],
    "AGENT_DISCOVERY_PORT": ["-1", "65536", "http"],
    "AGENT_HEALTH_CHECK_INTERVAL": ["0", "-5", "nan", "often"],
    "AGENT_STARTUP_TIMEOUT": ["0", "601"],
    "AUTO_START": ["perhaps"],
    "LOG_LEVEL": ["loud"],
    "SEED": ["-1", "1.5", "x"],
    "STORE_SYNC": ["off"],
    "DATABASE_URL": [
        "mysql://x/y",
        "sqlite://",
        "sqlite://host/f",
        "db",
        "postgresql://",
        "postgresql:///db",
        "postgresql://localhost",
        "postgresql://localhost/",
        "postgresql://localhost:0/db",
        "postgresql://localhost:x/db",
        "postgresql://local host/db",
        "postgresql://[::1/db",
        "postgresql://u:12/3@localhost/db",
        "postgresql://u:12#3@localhost/db",
        "postgresql://u:12?3@localhost/db",
        "postgresql://u@localhost/db?password=x",
        "postgresql://u@localhost/db?ssl_mode=verify-full",
        "postgresql://u@localhost/db?sslmode=verify",
        "postgresql://u@localhost/db?sslmode=verify-full&sslmode=disable",
        "postgresql://u@localhost/db?sslrootcert=/no/such/file",
        # Unencrypted beyond this machine, or not verified.
        "postgresql://db.example.com/db?sslmode=disable",
        "postgresql://db.example.com/db?sslmode=prefer",
        "postgresql://10.0.0.1/db?sslmode=require",
        "postgresql://10.0.0.1/db?sslmode=verify-ca",
        "postgresql://localhost,db.example.com/db?sslmode=disable",
        "postgresql://u@/db?host=db.example.com&sslmode=disable",
        "postgresql://u@localhost/db?host=db.example.com&sslmode=disable",
    ],
    "TIMESCALE_URL": ["postgresql://db.example.com/market_data?sslmode=allow", "sqlite:///"],
    "MESSAGE_BROKER_URL": [
        "amqp://x",
        "redis://",
        "redis://h:port",
        "redis://h:port",
        "redis://localhost/one",
        "redis://localhost/1/2",
        "redis://localhost,127.0.0.1",
        "redis://u:12/3@localhost",
        "redis://u:12#3@localhost",
        "redis://localhost?password=x",
        "unix://host/run/redis.sock",
        "unix://",
        "unix:/run/redis.sock?ssl_ca_certs=x",
        "redis+sentinel://localhost",
        "redis+sentinel:///name",
        # Unencrypted beyond this machine, or not verified.
        "redis://redis:6379",
        "redis://10.0.0.1:6379",
        "redis+sentinel://localhost,10.0.0.1/main",
        "rediss://redis:6379?ssl_cert_reqs=none",
        "rediss://redis:6379?ssl_check_hostname=false",
        "rediss://redis:6379?ssl_ca_certs=/no/such/file",
    ],
    "MESSAGE_BROKER_NAMESPACE": ["a:b", "a b", "x" * 33],
    "EVENT_RETENTION_HOURS": ["0", "1.5"],
    "VAULT_ADDR": ["vault", "http://vault.example.com:8200", "https://u:p@vault"],
    "VAULT_PATH": ["orchestrator", "/secret/x", "secret/../x y", "secret//x"],
    "VAULT_CACERT": ["/no/such/file"],
    "TICK_RETENTION_DAYS": ["-1", "1", "40000", "x"],
    "PAPER_PORT": ["70000"],
    "PAPER_MARKET_HOURS": ["never"],
    "PAPER_FEED": ["manual"],
    "PAPER_SOURCE": ["paper"],
    "PAPER_SOURCE_ACCOUNT": ["7", "101-001-1000001-001; x"],
    "PAPER_ACCOUNTS": [
        ACCOUNT,
        f"{ACCOUNT}:USD:-1",
        f"{ACCOUNT}:usd:1",
        f"{ACCOUNT}:USD:NaN",
        f"{ACCOUNT}:USD:1,{ACCOUNT}:EUR:1",
    ],
}


@pytest.mark.parametrize(("name", "text"), [(name, text) for name in BAD for text in BAD[name]])
def test_a_bad_value_is_refused_by_its_name_with_a_right_example(name: str, text: str):
    said = refusal(**{name: text})
    assert re.search(rf"^  {name}: .+\(for example {name}=", said, re.MULTILINE), said


def test_every_variable_has_a_bad_value_in_these_tests():
    free_form = {"OANDA_API_KEY", "STATE_DIR", "ORCHESTRATOR_CONFIG"}
    free_form |= {"VAULT_ROLE_ID", "VAULT_SECRET_ID", "VAULT_SECRET_ID_WRAPPED"}
    free_form |= {name.replace("_URL", "_PASSWORD") for name in SERVERS}
    assert {field.upper() for field in VARIABLES} == set(BAD) | free_form


@pytest.mark.parametrize(
    "field",
    sorted(
        set(VARIABLES)
        - {"orchestrator_config", "vault_role_id", "vault_cacert", "api_tls_cert", "api_tls_key"}
        - {"api_token", "oanda_cacert"}
        - {name.replace("_URL", "_PASSWORD").lower() for name in SERVERS}
    ),
)
def test_the_example_of_each_variable_is_a_right_one(field: str):
    needed = {
        "OANDA_BASE_URL": "https://api-fxpractice.oanda.com",
        "OANDA_ENVIRONMENT": "practice",
        "OANDA_API_KEY": "x",
        "OANDA_ACCOUNT_IDS": ACCOUNT,
    }
    load(
        **(
            needed | {field.upper(): example_of(field)}
            if field != "oanda_environment"
            else {field.upper(): example_of(field)}
        )
    )


@pytest.mark.parametrize(
    ("name", "text", "hint"),
    [
        ("MAX_DAILY_LOSS", "6", "did you mean 0.06?"),
        ("RISK_PER_TRADE", "2", "did you mean 0.02?"),
        ("CIRCUIT_BREAKER_THRESHOLD", "10", "did you mean 0.1?"),
        ("RISK_PER_TRADE", "0.5", "0.5 is 50 %"),
    ],
)
def test_a_percentage_for_a_fraction_is_refused_with_a_hint(name: str, text: str, hint: str):
    assert hint in refusal(**{name: text})


def test_all_errors_are_told_at_once_contradictions_included():
    said = refusal(SEED="x", LOG_LEVEL="loud", OANDA_ENVIRONMENT="live", MAX_DAILY_LOSS="0.2")
    for name in ("SEED", "LOG_LEVEL", "ALLOW_LIVE_TRADING", "OANDA_API_KEY", "MAX_DAILY_LOSS"):
        assert f"\n  {name}: " in said
    assert said.startswith("6 settings are wrong:")


def test_live_prices_on_paper_need_a_token():
    assert "OANDA_API_KEY: needed with PAPER_FEED=live" in refusal(PAPER_FEED="live")
    assert load(PAPER_FEED="live", OANDA_API_KEY="x").paper_source == "practice"


def test_a_value_that_is_wrong_alone_brings_no_contradiction_of_its_default():
    said = refusal(OANDA_ENVIRONMENT="lve", OANDA_ACCOUNT_IDS="001-001-1-001")
    assert said.count("\n") == 1
    assert "OANDA_ENVIRONMENT" in said


@pytest.mark.parametrize(
    ("env", "blamed"),
    [
        ({"RISK_PER_TRADE": "0.07"}, "RISK_PER_TRADE"),
        ({"MAX_DAILY_LOSS": "0.11"}, "MAX_DAILY_LOSS"),
    ],
)
def test_limits_must_be_in_order(env: dict[str, str], blamed: str):
    assert f"  {blamed}: one " in refusal(**env)


@given(
    risk=st.decimals("0.0001", "0.0999", places=4),
    day=st.decimals("0.0001", "0.4999", places=4),
    drawdown=st.decimals("0.0001", "0.8999", places=4),
)
def test_limits_are_taken_exactly_when_in_order(risk: Decimal, day: Decimal, drawdown: Decimal):
    env = {
        "RISK_PER_TRADE": str(risk),
        "MAX_DAILY_LOSS": str(day),
        "CIRCUIT_BREAKER_THRESHOLD": str(drawdown),
    }
    try:
        limits = load_settings(env, env_file=None).account_limits()
    except SettingsError:
        assert not risk <= day <= drawdown
    else:
        assert risk <= day <= drawdown
        assert (limits.risk_per_trade, limits.max_daily_loss) == (risk, day)
        assert limits.max_drawdown == drawdown
