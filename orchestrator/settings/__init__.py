"""Environment, `.env` and one optional TOML file -> one frozen, validated `Settings`."""

from orchestrator.settings.kinds import ClassFile, PaperAccount
from orchestrator.settings.load import SettingsError, load_settings
from orchestrator.settings.settings import Settings
from orchestrator.settings.tables import (
    AccountSettings,
    AgentSettings,
    BreakerSettings,
    LimitSettings,
    StrategySettings,
)

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
    "load_settings",
]
