"""What the command line asks of its machine: the local stop, folders, addresses, refusals."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from orchestrator.main import backend as room
from orchestrator.main.backend import Backend, current_folder
from orchestrator.service.cli.backend import RunOptions
from orchestrator.service.gate import Gate, Latch
from orchestrator.settings import load_settings


@pytest.fixture(autouse=True)
def _logs_as_they_are(monkeypatch) -> None:
    """A run sets up logs for good: not in the process of the tests."""
    for name in ("hosting", "replay"):
        monkeypatch.setattr(f"orchestrator.main.{name}.set_up_logs", lambda _: None)


@pytest.fixture
def state(tmp_path, monkeypatch) -> Path:
    """A state folder in which a service has worked, and nothing else in the environment."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "state"
    monkeypatch.setenv("STATE_DIR", str(folder))
    Gate(folder)
    (folder / "orchestrator.db").touch()
    return folder


# -- the local stop ---------------------------------------------------------------------------


def test_a_local_stop_closes_the_gate_and_leaves_a_latch_that_says_who(state):
    stop = Backend().local_stop("storm", liquidate=False, state=None)
    assert Gate(state).closed
    latch = Gate(state).read_latch()
    assert latch is not None
    assert (latch.stop_id, latch.reason, latch.liquidate) == (stop.stop_id, "storm", False)
    assert str(os.getuid()) in latch.actor
    assert (stop.persisted, stop.already_stopped, stop.state_dir) == (True, False, state)


def test_a_second_local_stop_names_the_first(state):
    first = Backend().local_stop("one", liquidate=True, state=None)
    again = Backend().local_stop("two", liquidate=True, state=None)
    assert (again.stop_id, again.already_stopped) == (first.stop_id, True)
    assert Gate(state).read_latch().reason == "one"


def test_a_second_local_stop_may_add_liquidation(state):
    Backend().local_stop("one", liquidate=False, state=None)
    Backend().local_stop("two", liquidate=True, state=None)
    assert Gate(state).read_latch().liquidate


def test_a_local_stop_widens_one_of_a_single_account(state):
    gate = Gate(state)
    gate.latch(
        Latch(stop_id="s", actor="a", reason="r", liquidate=True, closed_ns=1, accounts=("x",))
    )
    Backend().local_stop("all", liquidate=True, state=None)
    assert gate.closed
    assert gate.read_latch().accounts == ()


def test_the_gate_is_closed_and_the_answer_honest_when_the_latch_cannot_be_written(
    state, monkeypatch
):
    def full(*_: object) -> None:
        raise OSError(28, "no space left on device")

    monkeypatch.setattr(Gate, "latch", full)
    stop = Backend().local_stop("storm", liquidate=True, state=None)
    assert not stop.persisted
    assert Gate(state).closed


@pytest.mark.usefixtures("state")
def test_the_gate_is_closed_before_the_latch_is_looked_at(monkeypatch):
    seen: list[bool] = []

    def look(self: Gate) -> None:
        seen.append(self.closed)

    monkeypatch.setattr(Gate, "read_latch", look)
    Backend().local_stop("storm", liquidate=True, state=None)
    assert seen[0] is True


def test_a_local_stop_needs_no_valid_settings(state, monkeypatch):
    monkeypatch.setenv("MAX_DAILY_LOSS", "6 percent")
    Backend().local_stop("storm", liquidate=True, state=None)
    assert Gate(state).closed


def test_a_local_stop_where_no_service_ever_worked_does_not_claim_to_have_stopped_one(tmp_path):
    """As with a relative STATE_DIR in the wrong directory: it must not say "stopped" of nothing."""
    with pytest.raises(OSError, match="nowhere"):
        Backend().local_stop("storm", liquidate=True, state=tmp_path / "nowhere")
    assert not (tmp_path / "nowhere").exists()


# -- folders ----------------------------------------------------------------------------------


def test_a_replays_own_folder_is_found_while_it_stands(tmp_path):
    own = tmp_path / "replay-1"
    assert current_folder(tmp_path) == tmp_path
    (tmp_path / "current").write_text(str(own))
    assert current_folder(tmp_path) == tmp_path
    own.mkdir()
    assert current_folder(tmp_path) == own


def test_a_local_stop_reaches_the_replay_that_runs(state):
    own = state / "replay-1"
    Gate(own)
    (own / "orchestrator.db").touch()
    (state / "current").write_text(str(own))
    Backend().local_stop("storm", liquidate=True, state=None)
    assert Gate(own).closed
    assert not Gate(state).closed


def test_a_replay_keeps_its_state_apart_unless_a_folder_was_named(tmp_path):
    settings = load_settings(env={"STATE_DIR": str(tmp_path / "s")}, env_file=None)
    own = room._own_folder(settings, RunOptions())
    assert own.state_dir.parent == (tmp_path / "s").resolve()
    assert own.state_dir.stat().st_mode & 0o077 == 0
    named = room._own_folder(settings, RunOptions(state=tmp_path / "x"))
    assert named.state_dir == settings.state_dir


def test_two_replays_begun_in_one_second_do_not_share_a_folder(tmp_path):
    settings = load_settings(env={"STATE_DIR": str(tmp_path / "s")}, env_file=None)
    folders = {room._own_folder(settings, RunOptions()).state_dir for _ in range(2)}
    assert len(folders) == 2


# -- settings ---------------------------------------------------------------------------------


def test_options_win_over_the_environment_and_a_replay_is_always_paper(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AGENT_DISCOVERY_PORT", "9001")
    monkeypatch.setenv("OANDA_ENVIRONMENT", "practice")
    secrets = room._secrets_of(
        RunOptions(
            replay=(Path("EUR_USD_20140508.csv.gz"), Path("NZD_USD_20140508.csv"),
                    Path("EUR_USD_20140509.csv")),
            port=9002, host="127.0.0.1", seed=7, state=tmp_path / "x", log_level="error",
        )
    )  # fmt: skip
    settings = secrets.settings
    assert settings.oanda_environment == "paper"
    assert tuple(settings.instruments) == ("EUR_USD", "NZD_USD")
    assert (settings.agent_discovery_port, settings.seed) == (9002, 7)
    assert settings.state_dir == tmp_path / "x"


def test_what_is_wrong_with_the_settings_is_one_plain_line_and_not_a_zero(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MAX_DAILY_LOSS", "6")
    assert Backend().run(RunOptions(state=tmp_path / "s")) == 1
    said = capsys.readouterr().err
    assert "MAX_DAILY_LOSS" in said
    assert "Traceback" not in said


def test_a_port_in_use_is_said_with_the_setting_that_changes_it(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        code = Backend().run(RunOptions(state=tmp_path / "s", port=port, host="127.0.0.1"))
    assert code == 1
    said = capsys.readouterr().err
    assert str(port) in said
    assert "AGENT_DISCOVERY_PORT" in said


def test_the_service_is_where_it_says_it_is_with_the_token_it_keeps(state):
    assert Backend().service(None).url == "http://127.0.0.1:8000"
    assert Backend().service(None).token is None
    (state / "service.url").write_text("http://127.0.0.1:4444\n")
    (state / "api-token").write_text("abc\n")
    found = Backend().service(None)
    assert (found.url, found.token, found.state_dir) == ("http://127.0.0.1:4444", "abc", state)


def test_a_full_speed_replay_does_not_mix_with_an_earlier_run(state, tmp_path, capsys):
    file = tmp_path / "EUR_USD_20140508.csv"
    file.write_text("")
    code = Backend().run(RunOptions(replay=(file,), speed="max", state=state))
    assert code == 1
    assert "earlier run" in capsys.readouterr().err
