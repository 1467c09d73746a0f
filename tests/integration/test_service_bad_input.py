"""What cannot work is refused at once, by name, with a right example, and without a secret."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from tests.integration.processes import (
    Service,
    alive,
    clean_environment,
    end_all_on,
    now_s,
    run_program,
    venues_on,
)

SECRET = "5f0c1d2e3b4a59687766554433221100-aabbccddeeff00112233445566778899"
PRACTICE = {"OANDA_ENVIRONMENT": "practice", "OANDA_API_KEY": SECRET,
            "OANDA_ACCOUNT_IDS": "101-001-1000001-001"}  # fmt: skip

# A sample of each kind; tests/unit/test_settings.py has them all.
# The settings, the variable to be named, and a part of the right example (or of what to do).
WRONG_SETTINGS = [
    ({"OANDA_ENVIRONMENT": "demo"}, "OANDA_ENVIRONMENT", "paper"),
    ({"OANDA_ENVIRONMENT": "practice", "OANDA_ACCOUNT_IDS": "101-001-1000001-001"}, "OANDA_API_KEY",
     "your-token"),
    ({"OANDA_ENVIRONMENT": "practice", "OANDA_API_KEY": SECRET}, "OANDA_ACCOUNT_IDS",
     "101-001-1000001-001"),
    ({**PRACTICE, "OANDA_ENVIRONMENT": "live"}, "ALLOW_LIVE_TRADING", "true"),
    ({**PRACTICE, "OANDA_ACCOUNT_IDS": "mine"}, "OANDA_ACCOUNT_IDS", "101-001-1000001-001"),
    ({**PRACTICE, "OANDA_BASE_URL": "http://example.com"}, "OANDA_BASE_URL", "https://"),
    ({**PRACTICE, "MAX_DAILY_LOSS": "6"}, "MAX_DAILY_LOSS", "0.06"),
    ({"RISK_PER_TRADE": "nan"}, "RISK_PER_TRADE", "0.02"),
    ({"CIRCUIT_BREAKER_THRESHOLD": "0.05"}, "MAX_DAILY_LOSS", "0.06"),
    ({"MAX_CONCURRENT_TRADES": "0"}, "MAX_CONCURRENT_TRADES", "3"),
    ({"AGENT_DISCOVERY_PORT": "80000"}, "AGENT_DISCOVERY_PORT", "8000"),
    ({"AGENT_HEALTH_CHECK_INTERVAL": "soon"}, "AGENT_HEALTH_CHECK_INTERVAL", "30"),
    ({"INSTRUMENTS": "EUR_USD,AAA_BBB"}, "INSTRUMENTS", "AAA_BBB"),
    ({"MESSAGE_BROKER_URL": f"redis://u:{SECRET}@example.com:6379"}, "MESSAGE_BROKER_URL",
     "rediss://"),
    ({"DATABASE_URL": f"postgresql://u:{SECRET}@example.com/trading_system?sslmode=prefer"},
     "DATABASE_URL", "verify-full"),
    ({"PAPER_ACCOUNTS": "101-001-1000001-001:USD"}, "PAPER_ACCOUNTS", "101-001-1000001-001:USD:"),
    ({"STATE_DIR": "/proc/nowhere"}, "STATE_DIR", "/proc/nowhere"),
    ({"ORCHESTRATOR_CONFIG": "missing.toml"}, "ORCHESTRATOR_CONFIG", "missing.toml"),
]  # fmt: skip


def _refusal(folder: Path, *words: str, within_s: float = 60.0, **settings: str) -> str:
    """What `orchestrator run WORDS` says when it refuses; it must, and leave nothing behind."""
    state = folder / "state"
    defaults = {"STATE_DIR": str(state), "AGENT_DISCOVERY_PORT": "0"}
    environment = clean_environment({**defaults, **settings})
    began = now_s()
    try:
        done = run_program("-m", "orchestrator", "run", *words, environment=environment,
                           folder=folder, within_s=within_s)  # fmt: skip
        left = venues_on(folder)
    finally:
        end_all_on(folder)
    said = done.stdout + done.stderr
    assert done.returncode not in {0, -9, -15}, said
    assert now_s() - began < within_s
    assert "Traceback" not in said, said
    assert SECRET not in said, "a secret was shown"
    assert left == [], "it has left a venue running"
    return said


@pytest.mark.parametrize(
    ("settings", "name", "example"), WRONG_SETTINGS,
    ids=[f"{name}={settings.get(name, '')[:20]}" for settings, name, _ in WRONG_SETTINGS],
)  # fmt: skip
def test_a_wrong_setting_is_named_with_a_right_example(
    tmp_path: Path, settings: dict[str, str], name: str, example: str
):
    said = _refusal(tmp_path, **settings)
    assert name in said
    assert example in said, said


TICKS = "43200000,1.39100,1.39110\n43200500,1.39101,1.39111\n"
UNREADABLE = [
    ("EUR_USD_20140507.csv", TICKS + "43201000,abc,1.39\n", "line 3"),
    ("EUR_USD_20140507.csv", TICKS + "43201000,1.39100\n", "line 3"),
    ("EUR_USD_20140507.csv", TICKS + "43201000,1.39120,1.39110\n", "line 3"),
    ("EUR_USD_20140507.csv", TICKS + "43201000,NaN,NaN\n", "line 3"),
    ("EUR_USD_20140507.csv", TICKS + "1,1.39100,1.39110\n", "line 3"),
    ("EUR_USD_20140507.csv", "", "holds no tick"),
    ("EUR_USD_20140507.csv.gz", "this is no gzip", "cannot be read"),
    ("EUR_USD_20141399.csv", TICKS, "not a date"),
    ("quotes.csv", TICKS, "INSTRUMENT_YYYYMMDD"),
]


@pytest.mark.parametrize(
    ("speed", "case"),
    # A service of its own each: at a finite speed a sample is enough, both read by the same feed.
    [("max", i) for i in (0, 2, 4, 5, 6, 8)] + [("60", i) for i in (1, 3, 7)],
)
def test_an_unreadable_recording_is_told_by_file_line_and_reason(
    tmp_path: Path, speed: str, case: int
):
    name, content, where = UNREADABLE[case]
    (tmp_path / name).write_text(content)
    said = _refusal(tmp_path, "--replay", name, "--speed", speed)
    assert name in said
    assert where in said


def test_a_recording_that_does_not_exist_is_told(tmp_path: Path):
    said = _refusal(tmp_path, "--replay", "EUR_USD_20140507.csv")
    assert "EUR_USD_20140507.csv" in said


def test_a_port_in_use_is_told_with_the_setting_that_changes_it(tmp_path: Path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        said = _refusal(tmp_path, AGENT_DISCOVERY_PORT=str(port))
    assert str(port) in said
    assert "AGENT_DISCOVERY_PORT" in said


def test_a_second_service_on_the_same_folder_names_the_first(tmp_path: Path):
    with Service(tmp_path) as service:
        service.start().wait_up()
        url = (service.state / "service.url").read_text()
        done = service.command("run")
        said = done.stdout + done.stderr
        assert done.returncode != 0
        assert str(service.pid) in said
        assert str(service.state) in said
        assert "Traceback" not in said
        # The refused one has taken nothing from the first.
        assert (service.state / "service.url").read_text() == url
        assert alive(service.venue_pid)
        assert service.get("/health")["status"] == "ok"


BAD_AGENTS = [
    (None, "gone.py", "there is no file"),
    ("raise RuntimeError('boom at import')\n", "mine.py", "boom at import"),
    ("def broken(:\n", "mine.py", "SyntaxError"),
    ("x = 1\n", "mine.py", "Mine"),
    ("class Mine: pass\n", "mine.py", "Mine"),
    ("import sys\nsys.exit(0)\n", "mine.py", "mine.py"),
]


@pytest.mark.parametrize("case", range(len(BAD_AGENTS)))
def test_an_agent_file_that_cannot_be_used_is_told_by_setting_file_and_reason(
    tmp_path: Path, case: int
):
    code, name, why = BAD_AGENTS[case]
    if code is not None:
        (tmp_path / name).write_text(code)
    toml = tmp_path / "orchestrator.toml"
    toml.write_text(f'[agents.strategy_analysis]\npath = "{name}:Mine"\n')
    said = _refusal(tmp_path, ORCHESTRATOR_CONFIG=str(toml))
    assert "agents.strategy_analysis" in said, said
    assert name in said
    assert why.lower() in said.lower() or case == 0, said


def test_assertions_cannot_be_switched_off(tmp_path: Path):
    environment = clean_environment({"STATE_DIR": str(tmp_path / "state")})
    for words in (("-O", "-m", "orchestrator", "run"),
                  ("-O", "-m", "uvicorn", "app.main:app", "--port", "0")):  # fmt: skip
        done = run_program(*words, environment=environment, folder=tmp_path)
        assert done.returncode != 0
        assert "-O" in done.stdout + done.stderr
    assert not (tmp_path / "state").exists()


def test_the_state_folder_and_all_in_it_are_its_owners_only(tmp_path: Path):
    """Goal: SAFETY X9, with the loosest umask."""
    before = os.umask(0)
    try:
        with Service(tmp_path) as service:
            service.start().wait_up()
            loose = [p.name for p in service.state.iterdir() if p.stat().st_mode & 0o077]
            assert loose == []
            assert service.state.stat().st_mode & 0o077 == 0
    finally:
        os.umask(before)
