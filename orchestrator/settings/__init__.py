"""Environment, `.env` and one optional TOML file -> one frozen, validated `Settings`."""

from orchestrator.settings.kinds import ClassFile, PaperAccount
from orchestrator.settings.load import load_settings
from orchestrator.settings.settings import Settings
from orchestrator.settings.sources import SettingsError
from orchestrator.settings.tables import (
    AccountSettings,
    AgentSettings,
    BreakerSettings,
    LimitSettings,
    StrategySettings,
)
from orchestrator.settings.vault import VaultSettings, vault_settings

__all__ = [
    "AccountSettings",
    "AgentSettings",
    "BreakerSettings",
    "ClassFile",
    "LimitSettings",
    "PaperAccount",
    "Settings",
    "SettingsError",
    "StrategySettings",
    "VaultSettings",
    "load_settings",
    "vault_settings",
]
