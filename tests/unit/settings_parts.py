"""What the tests of the settings share: loading from given variables, and the refusal's text."""

from pathlib import Path

import pytest

from orchestrator.settings import (
    Settings,
    SettingsError,
    load_settings,
)

ACCOUNT = "101-001-1000001-001"
SECRET = "7f3c-do-not-show"
SERVERS = ("DATABASE_URL", "TIMESCALE_URL", "MESSAGE_BROKER_URL")


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


VAULT = {"VAULT_ADDR": "https://vault:8200", "VAULT_ROLE_ID": "role", "VAULT_SECRET_ID": SECRET}


PRACTICE = {"OANDA_ENVIRONMENT": "practice", "OANDA_API_KEY": SECRET, "OANDA_ACCOUNT_IDS": ACCOUNT}
LIVE = {**PRACTICE, "OANDA_ENVIRONMENT": "live"}
