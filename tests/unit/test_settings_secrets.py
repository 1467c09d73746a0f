"""Settings: Vault, certificates, and secrets in files of their own."""

from decimal import Decimal
from pathlib import Path

import pytest

from orchestrator.settings import (
    SettingsError,
    load_settings,
    vault_settings,
)
from tests.unit.settings_parts import ACCOUNT, PRACTICE, SECRET, VAULT, load, refusal, toml


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a `.env` nor an `orchestrator.toml` of the checkout may reach these tests."""
    monkeypatch.chdir(tmp_path)


# --- Vault ---------------------------------------------------------------------------------------


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
