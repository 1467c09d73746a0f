"""Settings: practice and live, and addresses of servers and files; never a secret shown."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.settings import (
    SettingsError,
    load_settings,
)
from tests.unit.settings_parts import ACCOUNT, LIVE, PRACTICE, SECRET, SERVERS, VAULT, load, refusal


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a `.env` nor an `orchestrator.toml` of the checkout may reach these tests."""
    monkeypatch.chdir(tmp_path)


# --- Practice and live ---------------------------------------------------------------------------


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
