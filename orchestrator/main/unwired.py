"""Settings that are right, but ask for what nothing here answers to yet.

Whoever wires one of them takes its line away.
"""

from orchestrator.settings import Settings, SettingsError
from orchestrator.settings.urls import is_postgres


def refuse_unwired(settings: Settings) -> None:
    """SettingsError rather than a service that would quietly use something else."""
    wrong: list[str] = []
    if is_postgres(settings.database_url):
        wrong.append("DATABASE_URL: this version cannot store its journal in PostgreSQL yet")
    if wrong:
        lines = "\n".join(f"  {text}; leave it unset" for text in wrong)
        raise SettingsError(f"not to be had:\n{lines}")
