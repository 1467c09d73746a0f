"""A replay at full speed runs in virtual time, which waits for no database across a network."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.main.replay import run_replay
from orchestrator.model.errors import StoreError
from orchestrator.service.cli.backend import RunOptions
from orchestrator.settings import load_settings


def test_a_replay_at_full_speed_refuses_a_database_and_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A process is told once how it logs; here other tests come after, and look at log lines.
    monkeypatch.setattr("orchestrator.main.replay.set_up_logs", lambda _: None)
    settings = load_settings(
        env={
            "STATE_DIR": str(tmp_path / "state"),
            "DATABASE_URL": "postgresql://trader:secret@127.0.0.1/trading_system",
        },
        env_file=None,
    )
    with pytest.raises(StoreError, match="leave DATABASE_URL empty") as refused:
        run_replay(settings, RunOptions(replay=(tmp_path / "EUR_USD_20140508.csv",), speed="max"))
    assert "secret" not in str(refused.value)
    assert not (tmp_path / "state").exists()
