"""Settings: defaults, sources, every refusal by name, and never a secret."""

import re
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from orchestrator.kernel.safety.limits import LIMITS
from orchestrator.model.limits import AccountLimits, BreakerLimits, CheckLimits
from orchestrator.model.profiles import PLAIN
from orchestrator.model.signals import Role
from orchestrator.settings import (
    LimitSettings,
    Settings,
    SettingsError,
    load_settings,
    vault_settings,
)
from orchestrator.settings.load import VARIABLES, example_of
from orchestrator.settings.profiles import ProfileSettings

ACCOUNT = "101-001-1000001-001"
SECRET = "7f3c-do-not-show"
SERVERS = ("DATABASE_URL", "TIMESCALE_URL", "MESSAGE_BROKER_URL")


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a `.env` nor an `orchestrator.toml` of the checkout may reach these tests."""
    monkeypatch.chdir(tmp_path)


def load(config: Path | None = None, **env: str) -> Settings:
    return load_settings(env=env, config=config)


def refusal(config: Path | None = None, **env: str) -> str:
    with pytest.raises(SettingsError) as caught:
        load(config, **env)
    return str(caught.value)


def toml(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    return path


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


# --- Practice and live ---------------------------------------------------------------------------

PRACTICE = {"OANDA_ENVIRONMENT": "practice", "OANDA_API_KEY": SECRET, "OANDA_ACCOUNT_IDS": ACCOUNT}
LIVE = {**PRACTICE, "OANDA_ENVIRONMENT": "live"}


def test_practice_needs_a_token_and_accounts():
    said = refusal(OANDA_ENVIRONMENT="practice")
    assert "OANDA_API_KEY: needed with OANDA_ENVIRONMENT=practice" in said
    assert "OANDA_ACCOUNT_IDS: needed with OANDA_ENVIRONMENT=practice" in said


def test_practice_uses_oandas_hosts_and_waits_to_be_started():
    settings = load(**PRACTICE)
    assert settings.base_url == "https://api-fxpractice.oanda.com"
    assert settings.stream_url == "https://stream-fxpractice.oanda.com"
    assert not settings.starts_by_itself
    assert load(**PRACTICE, AUTO_START="true").starts_by_itself


def test_live_needs_one_more_yes_and_says_so_loudly():
    assert "ALLOW_LIVE_TRADING: " in refusal(**LIVE)
    settings = load(**LIVE, ALLOW_LIVE_TRADING="true")
    assert settings.base_url == "https://api-fxtrade.oanda.com"
    assert "real money" in settings.warnings()[0]


@pytest.mark.parametrize(
    ("environment", "host"),
    [
        ("practice", "https://api-fxtrade.oanda.com"),
        ("live", "https://api-fxpractice.oanda.com"),
        ("paper", "https://api-fxtrade.oanda.com"),
    ],
)
def test_a_host_of_the_other_environment_is_refused(environment: str, host: str):
    env = {**PRACTICE, "OANDA_ENVIRONMENT": environment, "ALLOW_LIVE_TRADING": "true"}
    assert "OANDA_BASE_URL: is OANDA's" in refusal(**env, OANDA_BASE_URL=host)


@pytest.mark.parametrize("host", ["127.0.0.1:9", "localhost:9", "[::1]:9"])
def test_plain_http_is_allowed_to_this_machine_only(host: str):
    settings = load(OANDA_BASE_URL=f"http://{host}/")
    assert settings.base_url == settings.stream_url == f"http://{host}"


def test_an_unknown_account_on_paper_is_refused():
    assert "is not among PAPER_ACCOUNTS" in refusal(OANDA_ACCOUNT_IDS="001-001-7-001")
    assert load(OANDA_ACCOUNT_IDS=f" {ACCOUNT} ,").account_ids == (ACCOUNT,)


# --- Secrets -------------------------------------------------------------------------------------


def test_a_secret_is_never_shown():
    settings = load(**PRACTICE)
    shown = [str(settings), repr(settings), str(settings.describe()), settings.model_dump_json()]
    assert all(SECRET not in each for each in shown)
    assert ("OANDA_API_KEY", "***", "environment") in settings.describe()


def test_a_refusal_shows_no_secret():
    said = refusal(
        **{**PRACTICE, "SEED": "x"},
        DATABASE_URL=f"postgresql://u:{SECRET}@h/db?sslmode=disable",
        TIMESCALE_URL=f"mysql://u:{SECRET}@h/db",
        MESSAGE_BROKER_URL=f"redis://u:{SECRET}@h:6379",
        OANDA_BASE_URL=f"https://u:{SECRET}@h",
    )
    assert said.startswith("5 settings")
    assert SECRET not in said


def test_a_token_in_the_wrong_place_is_not_repeated():
    token = "a" * 32 + "-" + "b" * 32
    assert token not in refusal(OANDA_ACCOUNT_IDS=token, INSTRUMENTS=token)


def test_the_fingerprint_moves_with_a_value_and_not_with_a_secret():
    one = load(**PRACTICE).fingerprint()
    assert re.fullmatch("[0-9a-f]{64}", one)
    assert load(**{**PRACTICE, "OANDA_API_KEY": "another"}).fingerprint() == one
    assert load(**PRACTICE, RISK_PER_TRADE="0.020").fingerprint() == one
    assert load(**PRACTICE, RISK_PER_TRADE="0.01").fingerprint() != one
    assert load(**PRACTICE, SEED="1").fingerprint() != one


# --- What is stored where ------------------------------------------------------------------------


def test_sqlite_addresses_name_their_file():
    settings = load(DATABASE_URL="sqlite:///a/b.db", TIMESCALE_URL="sqlite:////var/m.db")
    assert settings.database_path == Path("a/b.db")
    assert settings.market_data_path == Path("/var/m.db")


GOOD = {
    "DATABASE_URL": [
        "postgresql://user:pass@localhost/trading_system",
        "postgres://user:pass@[::1]:5433/trading_system",
        "postgresql://localhost/db?sslmode=disable",
        "postgresql://u@/db?host=/var/run/postgresql",
        "postgresql://u@%2Fvar%2Frun%2Fpostgresql/db?sslmode=disable",
        "postgresql://u:p@db.example.com:5432/db",
        "postgresql://u:p@a.example.com,b.example.com:5433/db?target_session_attrs=read-write",
        "postgresql://u:p%40%2F%23@db.example.com/db?sslmode=verify-full",
    ],
    "MESSAGE_BROKER_URL": [
        "redis://localhost:6379",
        "redis://127.0.0.1/3",
        "redis://:pass@localhost:6379/",
        "rediss://user:pass@redis.example.com:6380/1",
        "unix:///run/redis/redis.sock",
        "unix://user:pass@/run/redis/redis.sock?db=2",
        "redis+sentinel://localhost:26379,127.0.0.1:26380/main",
        "rediss+sentinel://u:p@a.example.com,b.example.com/main/2",
    ],
}


@pytest.mark.parametrize(("name", "url"), [(name, url) for name in GOOD for url in GOOD[name]])
def test_addresses_of_servers_are_taken_as_they_are(name: str, url: str):
    assert load(**{name: url}).address_of(name.lower()) == url


def test_certificates_that_an_address_names_must_be_there(tmp_path: Path):
    (tmp_path / "ca.pem").write_text("x")
    load(MESSAGE_BROKER_URL="rediss://h?ssl_ca_certs=ca.pem")
    load(DATABASE_URL=f"postgresql://h/db?sslrootcert={tmp_path}/ca.pem")


MISPLACED = [
    "{}", "redis:{}", "postgresql:{}", "{}://h/db", "postgresql://u:{}#x@h/db",
    "postgresql://u:1{}@h:x/db", "postgresql://u:1/{}@h/db", "postgresql://u:1?{}@h/db",
    "postgresql://h/db?{}", "postgresql://h/db?{}=1", "postgresql://h/db?password={}",
    "postgresql://h/db?sslmode={}", "postgresql://h/db?sslrootcert={}", "postgresql://h:{}/db",
    "postgresql://{}", "redis://h?{}=1", "redis://h/{}", "redis://{}:1", "redis://{}",
    "redis://u:{}@10.0.0.1", "rediss+sentinel://{}",
]  # fmt: skip


@pytest.mark.parametrize("template", MISPLACED)
@pytest.mark.parametrize("name", SERVERS)
def test_no_part_of_a_refused_address_is_repeated(name: str, template: str):
    assert SECRET not in refusal(**{name: template.format(SECRET)})


@given(st.text(max_size=40))
def test_any_text_is_an_address_or_refused_in_plain_words(text: str):
    for name in SERVERS:
        try:
            settings = load_settings({name: text}, env_file=None)
        except SettingsError as exc:
            refused = str(exc)
        else:
            refused = f"  {name}: "
            assert not text.strip() or settings.address_of(name.lower()) == text.strip()
        assert f"  {name}: " in refused


@pytest.mark.parametrize(
    ("name", "url", "shown"),
    [
        ("DATABASE_URL", f"postgresql://u:{SECRET}@h/db", "postgresql://u:***@h/db"),
        ("DATABASE_URL", "sqlite:///a.db", "sqlite:///a.db"),
        ("MESSAGE_BROKER_URL", f"rediss://{SECRET}@h/1", "rediss://***@h/1"),
        ("MESSAGE_BROKER_URL", f"unix://:{SECRET}@/s", "unix://:***@/s"),
        ("MESSAGE_BROKER_URL", "unix:///s", "unix:///s"),
    ],
)
def test_an_address_is_shown_without_its_password(name: str, url: str, shown: str):
    settings = load(**{name: url})
    assert (name, shown, "environment") in settings.describe()
    seen = f"{settings} {settings!r} {settings.model_dump_json()} {settings.decisive()}"
    assert SECRET not in seen


def test_where_a_server_stands_is_no_part_of_the_fingerprint():
    there = load(
        **VAULT,
        DATABASE_URL="postgresql://h/db",
        DATABASE_PASSWORD="x",
        MESSAGE_BROKER_URL="rediss://h",
    )
    assert there.fingerprint() == load().fingerprint()


def test_a_password_may_stand_apart_from_its_address():
    settings = load(DATABASE_URL="postgresql://u@h/db", DATABASE_PASSWORD="p/@#%")
    assert settings.address_of("database_url") == "postgresql://u:p%2F%40%23%25@h/db"
    assert settings.address_of("timescale_url") is None
    settings = load(MESSAGE_BROKER_URL="unix:///s?db=1", MESSAGE_BROKER_PASSWORD="x")
    assert settings.address_of("message_broker_url") == "unix://:x@/s?db=1"
    assert "x" not in {row.value for row in settings.describe()}
    twice = refusal(DATABASE_URL="postgresql://u:p@h/db", DATABASE_PASSWORD="p")
    assert "DATABASE_PASSWORD: DATABASE_URL holds a password already" in twice
    assert "DATABASE_PASSWORD: there is no server" in refusal(DATABASE_PASSWORD="p")
    assert "TIMESCALE_PASSWORD: there is no server" in refusal(
        TIMESCALE_URL="sqlite:///f", TIMESCALE_PASSWORD="p"
    )


def test_a_postgresql_address_is_not_taken_for_a_file():
    with pytest.raises(ValueError, match="not a SQLite file"):
        _ = load(DATABASE_URL="postgresql://h/db").database_path


# --- Vault ---------------------------------------------------------------------------------------

VAULT = {"VAULT_ADDR": "https://vault:8200", "VAULT_ROLE_ID": "role", "VAULT_SECRET_ID": SECRET}


def test_what_vault_holds_goes_before_the_environment():
    env = {**PRACTICE, **VAULT, "OANDA_API_KEY": "old"}
    settings = load_settings(env, secrets={"OANDA_API_KEY": "new", "DATABASE_URL": ""})
    token = settings.token_of(ACCOUNT)
    assert token is not None
    assert token.get_secret_value() == "new"
    assert ("OANDA_API_KEY", "***", "Vault") in settings.describe()


def test_a_token_of_an_account_may_be_in_vault(tmp_path: Path):
    config = toml(tmp_path, f'[accounts."{ACCOUNT}"]\ntoken_env = "MY_TOKEN"\n')
    settings = load_settings(VAULT, config=config, secrets={"MY_TOKEN": "new"})
    token = settings.token_of(ACCOUNT)
    assert token is not None
    assert token.get_secret_value() == "new"


def test_vault_decides_nothing_but_secrets():
    secrets = {"ALLOW_LIVE_TRADING": "true", "RISK_PER_TRADE": "0.1", "VAULT_ADDR": "http://x",
               "OANDA_API_KEY_FILE": "/etc/hostname"}  # fmt: skip
    settings = load_settings(VAULT, secrets=secrets)
    assert not settings.allow_live_trading
    assert settings.risk_per_trade == Decimal("0.02")
    assert settings.vault_addr == VAULT["VAULT_ADDR"]
    assert settings.oanda_api_key is None


def test_a_secret_is_missing_only_after_vault_was_asked(tmp_path: Path):
    config = toml(tmp_path, f'[accounts."{ACCOUNT}"]\ntoken_env = "MY_TOKEN"\n')
    env = {**VAULT, "OANDA_ENVIRONMENT": "practice", "OANDA_ACCOUNT_IDS": ACCOUNT}
    assert load_settings(env, config=config).token_of(ACCOUNT) is None
    with pytest.raises(SettingsError, match="MY_TOKEN: is unset"):
        load_settings(env, config=config, secrets={})
    with pytest.raises(SettingsError, match="OANDA_API_KEY: needed"):
        load_settings(env, secrets={})
    without = {name: text for name, text in env.items() if not name.startswith("VAULT")}
    with pytest.raises(SettingsError, match="OANDA_API_KEY: needed"):
        load_settings(without)


def test_half_a_login_is_refused():
    assert "VAULT_ADDR: needed with VAULT_ROLE_ID" in refusal(VAULT_ROLE_ID="x")
    assert "VAULT_SECRET_ID: needed with VAULT_ROLE_ID" in refusal(VAULT_ROLE_ID="x")
    assert not vault_settings({"VAULT_ROLE_ID": "x"}).asks_vault


def test_the_address_of_vault_alone_is_only_worth_a_word():
    """Others use that variable, too."""
    assert "Vault is not asked" in load(VAULT_ADDR=VAULT["VAULT_ADDR"]).warnings()[0]
    assert load(VAULT_ADDR=VAULT["VAULT_ADDR"]).fingerprint() == load().fingerprint()


def test_vault_is_known_before_the_rest_is_right(tmp_path: Path):
    (tmp_path / "id").write_text(SECRET)
    env = {**VAULT, "SEED": "x", "VAULT_SECRET_ID": "", "VAULT_SECRET_ID_FILE": "id"}
    found = vault_settings(env)
    assert found.asks_vault
    assert found.vault_secret_id is not None
    assert found.vault_secret_id.get_secret_value() == SECRET
    assert SECRET not in f"{found} {found!r}"
    assert not vault_settings(VAULT | {"VAULT_ADDR": "http://example.com"}).asks_vault
    assert not vault_settings(env | {"VAULT_SECRET_ID_FILE": "gone"}).asks_vault


# --- The API's own TLS ---------------------------------------------------------------------------


def test_beyond_this_machine_the_api_needs_a_certificate_or_a_proxy(tmp_path: Path):
    (tmp_path / "c.pem").touch()
    pair = {"API_TLS_CERT": "c.pem", "API_TLS_KEY": "c.pem"}
    said = refusal(API_HOST="0.0.0.0")
    assert "API_HOST: beyond this machine the API needs API_TLS_CERT and API_TLS_KEY" in said
    assert "beyond this machine." in load(API_HOST="0.0.0.0", **pair).warnings()[0]
    behind = load(API_HOST="0.0.0.0", API_BEHIND_PROXY="true").warnings()[0]
    assert "unencrypted but for the proxy" in behind
    assert load(API_HOST="::1", **pair).warnings() == ()


def test_a_certificate_without_its_key_is_refused(tmp_path: Path):
    (tmp_path / "c.pem").touch()
    assert "API_TLS_KEY: needed with API_TLS_CERT" in refusal(API_TLS_CERT="c.pem")
    assert "API_TLS_CERT: needed with API_TLS_KEY" in refusal(API_TLS_KEY="c.pem")


# --- Secrets in files ----------------------------------------------------------------------------


def test_a_secret_may_stand_in_a_file_of_its_own(tmp_path: Path):
    file = tmp_path / "token"
    file.write_text(f"{SECRET}\n")
    settings = load(OANDA_API_KEY_FILE=str(file))
    assert settings.oanda_api_key is not None
    assert settings.oanda_api_key.get_secret_value() == SECRET
    assert ("OANDA_API_KEY", "***", str(file)) in settings.describe()
    config = toml(tmp_path, f'[accounts."{ACCOUNT}"]\ntoken_env = "MY_TOKEN"\n')
    token = load(config, MY_TOKEN_FILE=str(file)).token_of(ACCOUNT)
    assert token is not None
    assert token.get_secret_value() == SECRET


def test_the_environments_file_goes_before_the_env_files_value(tmp_path: Path):
    (tmp_path / "token").write_text("new")
    (tmp_path / ".env").write_text("OANDA_API_KEY=old\n")
    settings = load(OANDA_API_KEY_FILE="token")
    assert settings.oanda_api_key is not None
    assert settings.oanda_api_key.get_secret_value() == "new"


@pytest.mark.parametrize(
    ("content", "why"),
    [(None, "No such file"), (b"", "is empty"), (b" \n", "is empty"), (b"\xff\xfe", "no text"),
     (b"x" * 70_000, "too long")],
)  # fmt: skip
def test_a_secrets_file_that_cannot_be_used_is_told(
    tmp_path: Path, content: bytes | None, why: str
):
    if content is not None:
        (tmp_path / "token").write_bytes(content)
    said = refusal(OANDA_API_KEY_FILE="token")
    assert "OANDA_API_KEY_FILE: token " in said
    assert why in said


def test_a_secret_that_stands_in_two_places_is_refused(tmp_path: Path):
    (tmp_path / "token").write_text(SECRET)
    said = refusal(OANDA_API_KEY="x", OANDA_API_KEY_FILE="token")
    assert "OANDA_API_KEY: stands in OANDA_API_KEY_FILE as well" in said
    assert SECRET not in said


# --- The TOML file -------------------------------------------------------------------------------


def test_limits_of_an_account_go_before_the_general_ones(tmp_path: Path):
    config = toml(
        tmp_path,
        f'[accounts."{ACCOUNT}"]\nrisk_per_trade = 0.005\nmax_concurrent_trades = 1\nenabled=false',
    )
    settings = load(config)
    assert settings.account_limits(ACCOUNT) == AccountLimits(
        risk_per_trade=Decimal("0.005"), max_concurrent_trades=1
    )
    assert settings.account_limits("101-001-1000001-002") == AccountLimits()
    assert not settings.accounts[ACCOUNT].enabled


def test_a_profile_tightens_the_limits_of_its_accounts_and_brings_its_rules(tmp_path: Path):
    config = toml(
        tmp_path,
        f'[accounts."{ACCOUNT}"]\nprofile = "firm"\nrisk_per_trade = 0.01\n'
        '[profiles.firm]\nmax_daily_loss = 0.05\ndrawdown = "static"\nprofit_target = 0.08\n'
        'hours = ["Sun-Thu 22:00-06:00 UTC"]\nregimes = {volatile = 0.5}\n'
        "news = [{start = 2026-12-04T13:15:00Z, end = 2026-12-04T14:00:00Z, "
        'currencies = ["USD"]}]\n'
        'schedule = [{hours = "Fri 12:00-16:00 New York", scale = 0.5}]\n',
    )
    settings = load(config)
    limits = settings.account_limits(ACCOUNT)
    assert (limits.risk_per_trade, limits.max_daily_loss) == (Decimal("0.01"), Decimal("0.05"))
    profile = settings.profile_of(ACCOUNT)
    assert (profile.name, profile.drawdown, profile.profit_target) == (
        "firm", "static", Decimal("0.08")
    )  # fmt: skip
    assert profile.hours[0].days == (6, 0, 1, 2, 3)
    assert (profile.hours[0].from_s, profile.hours[0].to_s) == (22 * 3600, 6 * 3600)
    assert profile.tides[0].scale == Decimal("0.5")
    assert profile.regimes == (("volatile", Decimal("0.5")),)
    assert profile.news[0].currencies == ("USD",)
    assert settings.profile_of("101-001-1000001-002") == PLAIN
    assert settings.fingerprint() != load().fingerprint()


def test_fine_numbers_reach_the_kernel_exactly(tmp_path: Path):
    config = toml(tmp_path, "[limits]\ncollar = 0.003\n[breakers]\nspread_factor = 3.5\n")
    settings = load(config, MAX_ORDER_NOTIONAL="5000")
    assert settings.check_limits().collar == Decimal("0.003")
    assert settings.check_limits().order_notional_max == 5000
    assert settings.breaker_limits().spread_factor == Decimal("3.5")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[limits]\ncolar = 0.1", "limits.colar: unknown key"),
        ("[limits]\ncollar = 0.9", "limits.collar: must be less than or equal to 0.05"),
        ("[limits]\nprice_age_s_max = 6", "limits.price_age_s_max: must be less"),
        ("[limits]\ncollar = nan", "limits.collar: must be a finite number"),
        ("[limit]\n", "limit: unknown table; known are accounts"),
        ("max_daily_loss = 0.05", "belongs into the environment or .env, as MAX_DAILY_LOSS=..."),
        (f'[accounts."{ACCOUNT}"]\nrisk = 1', f'accounts."{ACCOUNT}".risk: unknown key'),
        (f'[accounts."{ACCOUNT}"]\nmax_daily_loss = 3', "did you mean 0.03?"),
        (f'[accounts."{ACCOUNT}"]\nmax_drawdown = 0.05', "must be risk_per_trade"),
        ('[accounts."101-001-9-001"]\n', "this account is not configured"),
        ("accounts = 3", "accounts: "),
        ("[agents.broker]\n", "agents.broker: must be one of market_analysis, "),
        ("[agents.execution_engine]\n", "cannot be replaced"),
        ('[agents.disagreement]\npath = "x.py"', "'x.py' is not file.py:ClassName"),
        ('[agents.disagreement]\npath = "x.py:Mine"', "there is no file"),
        ("[strategies.trend]\nparams = {fast = nan}", "strategies.trend.params.fast: "),
        ('[strategies."Not a name"]\n', 'strategies."Not a name": has a form'),
        ("[breakers]\nscale_half_at=0.4\nscale_quarter_at=0.3", "scale_half_at (0.4) must not"),
        ("[limits\n", "is not readable TOML"),
        (f'[accounts."{ACCOUNT}"]\nprofile = "p"', "there is no profile p (profiles: none)"),
        ("[profiles.p]\nmax_daily_loss = 5", "did you mean 0.05?"),
        ("[profiles.p]\nprofit_target = 8", "did you mean 0.08?"),
        ('[profiles.p]\ndrawdown = "weekly"', "must be one of trailing, static or end_of_day"),
        ('[profiles.p]\nhours = ["always"]', 'must read as "Mon-Fri 08:00-17:00 New York"'),
        ('[profiles.p]\nhours = ["Xxx 08:00-17:00 UTC"]', "days are Mon, Tue"),
        ('[profiles.p]\nhours = ["Mon 08:00-08:00 UTC"]', "begins when it ends"),
        ('[profiles.p]\nhours = ["Mon 08:61-09:00 UTC"]', "08:61 is no time of a day"),
        ('[profiles.p]\nschedule = [{hours = "Mon 08:00-09:00 UTC", scale = 1.5}]', "scale"),
        ("[profiles.p]\nregimes = {volatile = 2}", "must be less than or equal to 1"),
        ("[profiles.p]\ndays_min = 5\ndays_max = 4", "days_min (5) must not be above days_max"),
        (
            "[profiles.p]\nnews = [{start = 2026-12-04T13:30:00, end = 2026-12-04T14:00:00Z}]",
            "must have a zone",
        ),
        (
            "[profiles.p]\nnews = [{start = 2026-12-04T14:30:00Z, end = 2026-12-04T14:00:00Z}]",
            "end must come after start",
        ),
        ("[limits]\ninstrument_exposure_max = 20", "which would always hide it"),
        ("[limits]\ncorrelation_max = 70", "must be less than or equal to 1"),
        (
            f'[accounts."{ACCOUNT}"]\nprofile = "p"\n[profiles.p]\nmax_daily_loss = 0.07',
            "profiles.p.max_daily_loss: 0.07 is looser than MAX_DAILY_LOSS (0.06)",
        ),
        (
            f"""[accounts."{ACCOUNT}"]
profile = "p"
max_concurrent_trades = 2
[profiles.p]
max_concurrent_trades = 3""",
            f'is looser than accounts."{ACCOUNT}".max_concurrent_trades (2)',
        ),
    ],
)
def test_a_mistake_in_the_toml_file_is_named_by_its_path(tmp_path: Path, text: str, said: str):
    config = toml(tmp_path, text)
    found = refusal(config)
    assert said in found
    assert str(config) in found


def test_classes_of_the_users_own_are_found_beside_the_toml_file(tmp_path: Path):
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "orchestrator.toml").write_text(
        '[strategies.mine]\npath = "mine.py:Mine"\n'
        'params = {fast = 5, slow = 20.5, name = "x", on = true, steps = [1, 2.5]}\n'
        '[agents.disagreement]\npath = "mine.py:Judge"\n'
    )
    (folder / "mine.py").write_text("")
    settings = load(ORCHESTRATOR_CONFIG="mine/orchestrator.toml")
    strategy = settings.strategies["mine"]
    assert strategy.path is not None
    assert (strategy.path.file, strategy.path.name) == (Path("mine/mine.py"), "Mine")
    assert strategy.params == {
        "fast": 5, "slow": 20.5, "name": "x", "on": True, "steps": (1, 2.5),
    }  # fmt: skip
    assert [type(value) for value in strategy.params.values()] == [int, float, str, bool, tuple]
    assert str(settings.agents[Role.DISAGREEMENT].path) == "mine/mine.py:Judge"
    assert ("strategies.mine.path", "mine/mine.py:Mine", "mine/orchestrator.toml") in (
        settings.describe()
    )


def test_an_account_may_have_a_token_of_its_own(tmp_path: Path):
    config = toml(tmp_path, f'[accounts."{ACCOUNT}"]\ntoken_env = "TOKEN_ONE"\n')
    env = {"OANDA_ENVIRONMENT": "practice", "OANDA_ACCOUNT_IDS": ACCOUNT}
    settings = load(config, **env, TOKEN_ONE=SECRET)
    token = settings.token_of(ACCOUNT)
    assert token is not None
    assert token.get_secret_value() == SECRET
    assert SECRET not in str(settings.describe()) + repr(settings)
    assert "TOKEN_ONE: is unset, but accounts" in refusal(config, **env)


EXAMPLES = Path(__file__).parents[2] / "examples" / "profiles"
DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize("name", ["plain", "static-drawdown", "trailing-drawdown", "evaluation"])
def test_the_shipped_profiles_load_and_tighten(name: str):
    settings = load(EXAMPLES / f"{name}.toml")
    profile = settings.profile_of(ACCOUNT)
    assert profile.name == name.replace("-", "_")
    limits, general = settings.account_limits(ACCOUNT), AccountLimits()
    assert limits != general
    for key in ("risk_per_trade", "max_daily_loss", "max_drawdown", "max_concurrent_trades"):
        assert getattr(limits, key) <= getattr(general, key)


def test_no_shipped_profile_is_left_untested():
    assert {path.stem for path in EXAMPLES.glob("*.toml")} == {
        "plain", "static-drawdown", "trailing-drawdown", "evaluation",
    }  # fmt: skip


def test_every_key_of_a_profile_is_documented():
    text = (DOCS / "profiles.md").read_text()
    missing = [key for key in ProfileSettings.model_fields if f"`{key}`" not in text]
    assert missing == []


def test_every_limit_that_can_be_named_is_documented_and_may_go_as_far_as_the_settings():
    text = (DOCS / "limits.md").read_text()
    assert [name for name in LIMITS if f"`{name}`" not in text] == []
    for name, rule in LIMITS.items():
        if name in LimitSettings.model_fields:
            edges = LimitSettings.model_fields[name].metadata
            bound = "le" if rule.higher_is_looser else "ge"
            found = [getattr(edge, bound) for edge in edges if hasattr(edge, bound)]
            assert found == [rule.loosest], name
