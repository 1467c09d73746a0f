"""A service from its settings to its end: its token, its banner, its failure."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from decimal import Decimal
from types import SimpleNamespace

import pytest

from orchestrator.main import hosting
from orchestrator.main.hosting import api_token, app_of
from orchestrator.main.node import node_id
from orchestrator.main.optimised import refuse_optimised
from orchestrator.main.parts import kernel_plan, register_agents, strategy_makers
from orchestrator.main.summary import as_text, stages_of, write
from orchestrator.main.venue import Replay, paper_arguments
from orchestrator.model.signals import Role
from orchestrator.service.agent_manager import AgentManager, PluginError
from orchestrator.service.telemetry import Telemetry
from orchestrator.settings import load_settings
from tests.house import EUR_ACCOUNT, USD_ACCOUNT, House, in_virtual_time, new_market
from tests.unit.service.parts import HandClock


def _settings(**env: str):
    return load_settings(env=env, env_file=None)


# -- the token --------------------------------------------------------------------------------


def test_a_token_is_made_once_and_read_by_its_owner_only(tmp_path):
    folder = tmp_path / "deep" / "state"
    token, new = api_token(folder)
    assert new
    assert len(token) >= 32
    assert api_token(folder) == (token, False)
    assert (folder / "api-token").stat().st_mode & 0o077 == 0
    assert folder.stat().st_mode & 0o077 == 0


def test_a_given_token_is_kept_for_the_command_line_and_is_no_news(tmp_path):
    old, _ = api_token(tmp_path)
    assert api_token(tmp_path, "given") == ("given", False)
    assert api_token(tmp_path, "given") == ("given", False)
    assert api_token(tmp_path) == ("given", False)
    assert old != "given"
    assert (tmp_path / "api-token").stat().st_mode & 0o077 == 0


def test_an_empty_token_file_is_not_a_token(tmp_path):
    (tmp_path / "api-token").write_text("\n")
    token, new = api_token(tmp_path)
    assert new
    assert token


def test_tokens_are_compared_whole():
    service = SimpleNamespace(token="abc")
    assert hosting.Service.token_ok(service, "abc")
    for wrong in ("", "ab", "abcd", "abd", "äbc"):
        assert not hosting.Service.token_ok(service, wrong)


def test_the_optimised_interpreter_is_refused(monkeypatch):
    refuse_optimised()
    monkeypatch.setattr(sys, "flags", SimpleNamespace(optimize=1))
    with pytest.raises(SystemExit, match="assertions"):
        refuse_optimised()


# -- one of several nodes -----------------------------------------------------------------------


def test_a_node_of_several_is_no_service_on_a_file_of_its_own(tmp_path):
    """Started without its DATABASE_URL it would lead beside the leader, on the same accounts."""
    node_id(tmp_path)
    with pytest.raises(ValueError, match=r"DATABASE_URL.*remove the file node-id"):
        hosting.Service(_settings(STATE_DIR=str(tmp_path)), hosting.Wishes())
    assert not (tmp_path / "orchestrator.db").exists()


# -- the app's life ---------------------------------------------------------------------------


class FakeService:
    def __init__(self, trouble: BaseException | None = None) -> None:
        self.trouble = trouble
        self.failed: BaseException | None = None
        self.told: list[str] = []
        self._end = asyncio.Event()

    def desk(self):
        return None

    def token_ok(self, _: str) -> bool:
        return False

    async def live(self) -> None:
        if self.trouble is not None:
            raise self.trouble
        await self._end.wait()
        self.told.append("lived")

    def end(self) -> None:
        self.told.append("end")
        self._end.set()

    def close(self) -> None:
        self.told.append("close")


def _live_through(service: FakeService, monkeypatch) -> list[tuple[int, int]]:
    kills: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "kill", lambda pid, number: kills.append((pid, number)))

    async def main() -> None:
        app = app_of(lambda: service)
        async with app.router.lifespan_context(app):
            await asyncio.sleep(0.01)

    asyncio.run(main())
    return kills


def test_a_service_ends_before_its_store_is_closed(monkeypatch):
    service = FakeService()
    assert _live_through(service, monkeypatch) == []
    assert service.told == ["end", "lived", "close"]


@pytest.mark.parametrize(
    "trouble",
    [OSError("disk"), ExceptionGroup("g", [ExceptionGroup("h", [ValueError("x")])])],
)
def test_a_service_that_breaks_takes_its_process_down_and_says_so(monkeypatch, trouble):
    service = FakeService(trouble)
    assert _live_through(service, monkeypatch) == [(os.getpid(), signal.SIGTERM)]
    assert service.failed is not None
    assert service.told[-1] == "close"


# -- the parts --------------------------------------------------------------------------------


def test_every_number_of_the_settings_reaches_the_kernel():
    plan = kernel_plan(
        _settings(RISK_PER_TRADE="0.01", MAX_DAILY_LOSS="0.03", CIRCUIT_BREAKER_THRESHOLD="0.07",
                  MAX_CONCURRENT_TRADES="2", INSTRUMENTS="EUR_USD,USD_JPY", SEED="9"), "fx",
    )  # fmt: skip
    assert {a.account_id for a in plan.accounts} == {USD_ACCOUNT, EUR_ACCOUNT}
    for limits in (plan.total, *(a.limits for a in plan.accounts)):
        assert (
            limits.risk_per_trade, limits.max_daily_loss, limits.max_drawdown,
            limits.max_concurrent_trades,
        ) == (Decimal("0.01"), Decimal("0.03"), Decimal("0.07"), 2)  # fmt: skip
    assert (plan.calendar, plan.seed, plan.instruments) == ("fx", 9, ("EUR_USD", "USD_JPY"))
    assert (plan.live, plan.live_allowed) == (False, False)


@pytest.mark.parametrize("taste", ["", "demo", "replay"])
def test_all_eight_agents_are_seated(taste):
    manager = AgentManager(HandClock())
    register_agents(_settings(), manager, taste)
    assert {view.role for view in manager.views()} == set(Role) - {Role.EXECUTION_ENGINE}


def test_a_users_agent_that_cannot_be_loaded_names_its_setting(tmp_path):
    config = tmp_path / "o.toml"
    config.write_text('[agents.learning_safety]\npath = "none.py:Own"\n')
    with pytest.raises(Exception, match="learning_safety") as caught:
        register_agents(_settings(ORCHESTRATOR_CONFIG=str(config)), AgentManager(HandClock()), "")
    assert "none.py" in str(caught.value)


def test_a_strategy_that_is_switched_off_is_not_made_and_an_unknown_one_is_refused(tmp_path):
    all_makers = strategy_makers(_settings(), "")
    name = next(iter(all_makers))
    config = tmp_path / "o.toml"
    config.write_text(f"[strategies.{name}]\nenabled = false\n")
    assert name not in strategy_makers(_settings(ORCHESTRATOR_CONFIG=str(config)), "demo")
    config.write_text("[strategies.no_such_thing]\nenabled = true\n")
    with pytest.raises((PluginError, ValueError), match="no_such_thing"):
        strategy_makers(_settings(ORCHESTRATOR_CONFIG=str(config)), "")


def test_the_paper_venue_is_asked_for_the_settings_accounts_and_its_own_state(tmp_path):
    words = paper_arguments(_settings(SEED="5"), tmp_path, None)
    asked = [words[i + 1] for i, word in enumerate(words) if word == "--account"]
    assert [a.split(":")[0] for a in asked] == [USD_ACCOUNT, EUR_ACCOUNT]
    assert words[words.index("--seed") + 1] == "5"
    assert "--hold" not in words
    replay = paper_arguments(
        _settings(), tmp_path, Replay(files=(tmp_path / "a", tmp_path / "b"), speed=60.0)
    )
    assert replay[replay.index("--feed") + 1 : replay.index("--feed") + 3] == [
        f"replay:{tmp_path / 'a'}", str(tmp_path / "b"),
    ]  # fmt: skip
    assert replay[replay.index("--hours") + 1] == "fx"
    assert replay[replay.index("--speed") + 1] == "60"
    assert "--hold" in replay


# -- the summary ------------------------------------------------------------------------------


def test_a_run_sums_up_to_what_the_venue_has(tmp_path):
    from orchestrator.main.summary import summarise

    async def story():
        async with House(tmp_path / "s", new_market()) as house:
            await house.calm(15)
            await house.buy()
            await house.calm(3)
            began = {USD_ACCOUNT: Decimal(100_000), EUR_ACCOUNT: Decimal(50_000)}
            summary = summarise(
                house.system, started_ns=0, recorded=18, wall_ns=1_500_000_000, began=began,
                state=tmp_path, store=house.store,
            )  # fmt: skip
            open_trades = len(house.venue_trades())
        return summary, open_trades

    summary, open_trades = in_virtual_time(story)
    assert summary.fills == open_trades >= 1
    assert summary.orders >= summary.fills
    assert summary.signals == 1
    assert sum(a.open_trades for a in summary.accounts.values()) == open_trades
    assert sum(summary.outcomes.values()) == 2
    assert summary.wall_s == 1.5
    write(summary, tmp_path / "summary.json")
    import msgspec

    assert msgspec.json.decode((tmp_path / "summary.json").read_bytes())["fills"] == summary.fills
    text = as_text(summary)
    assert USD_ACCOUNT in text
    assert f"{summary.orders:,} orders" in text


def test_a_stage_that_nothing_reached_is_shown_with_zeros():
    stages = stages_of(Telemetry())
    assert next(iter(stages)) == "disagreement"
    assert list(stages)[-1] == "checks"
    assert all((s.passed, s.rejected, s.reasons) == (0, 0, {}) for s in stages.values())
