"""`orchestrator agent`: what it says when it cannot do what it is asked."""

from __future__ import annotations

import msgspec
import pytest

from orchestrator.agents.base import Agent
from orchestrator.main.agent import run
from orchestrator.main.agents import ROLES, AgentSpec, factory_of
from orchestrator.main.elsewhere import agent_spec, homes
from orchestrator.model.signals import Role
from orchestrator.service.agent_manager import PluginError
from orchestrator.settings import load_settings

ROLE = "strategy_analysis"


@pytest.fixture(autouse=True)
def _clean(monkeypatch, tmp_path):
    """No settings but a test's own, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("orchestrator.main.agent.set_up_logs", lambda _: None)
    for name in ("MESSAGE_BROKER_URL", "ORCHESTRATOR_CONFIG", "STATE_DIR"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("words", "environment", "told"),
    [
        ([ROLE], {}, "no service listens at state/agents.sock"),
        ([ROLE, "--socket", "/nowhere/a.sock"], {}, "no service listens at /nowhere/a.sock"),
        ([ROLE], {"MESSAGE_BROKER_URL": "redis://127.0.0.1:1"}, "MESSAGE_BROKER_URL: no Redis"),
        ([ROLE], {"MESSAGE_BROKER_URL": "amqp://x"}, "MESSAGE_BROKER_URL: must be"),
        ([], {}, "which role?"),
    ],
)
def test_what_stands_in_its_way_is_one_plain_line(monkeypatch, capsys, words, environment, told):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert run(words) in {1, 2}
    said = capsys.readouterr().err
    assert told in said
    assert "Traceback" not in said


@pytest.mark.parametrize("words", [["king"], [ROLE, "--instance", "65"], [ROLE, "--instance", "x"]])
def test_wrong_words_are_wrong_usage(words):
    with pytest.raises(SystemExit) as ended:
        run(words)
    assert ended.value.code == 2


def test_every_shipped_agent_is_made_of_what_a_child_is_told():
    settings = load_settings(env={}, env_file=None)
    for role in ROLES:
        spec = agent_spec(settings, role, "demo")
        again = msgspec.json.decode(msgspec.json.encode(spec), type=AgentSpec)
        assert again == spec
        made = factory_of(again)()
        assert isinstance(made, Agent)
        assert made.role is role


def test_a_class_of_another_role_is_refused_by_the_name_of_its_setting(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(
        "from orchestrator.agents.base import Agent, Role\n"
        "class Mine(Agent):\n    role = Role.LEARNING_SAFETY\n    name = 'mine'\n"
    )
    spec = AgentSpec(role=Role.DISAGREEMENT, path=f"{path}:Mine")
    with pytest.raises(PluginError, match=r"agents\.disagreement.*role = Role\.DISAGREEMENT"):
        factory_of(spec)


@pytest.mark.parametrize(
    ("lines", "home"),
    [
        ("params = {}", "service"),
        ('path = "{0}:Mine"', "process"),
        ('path = "{0}:Mine"\nwhere = "service"', "service"),
        ('where = "process"\ninstances = 3', "process"),
        ('where = "remote"', "remote"),
    ],
)
def test_a_users_own_agent_lives_in_a_process_of_its_own_unless_told_otherwise(
    tmp_path, lines, home
):
    (tmp_path / "mine.py").write_text("")
    config = tmp_path / "o.toml"
    config.write_text("[agents.disagreement]\n" + lines.replace("{0}", str(tmp_path / "mine.py")))
    settings = load_settings(env={}, env_file=None, config=config)
    assert homes(settings)[Role.DISAGREEMENT] == home
    assert homes(settings)[Role.LEARNING_SAFETY] == "service"


@pytest.mark.parametrize(
    "lines",
    ["instances = 2", 'where = "service"\ninstances = 2', 'where = "process"\ninstances = 17',
     'where = "moon"', 'where = "process"\nmemory_mb = 1', "nice = 20"],
)  # fmt: skip
def test_wrong_numbers_and_places_are_refused_by_name(tmp_path, lines):
    config = tmp_path / "o.toml"
    config.write_text(f"[agents.disagreement]\n{lines}\n")
    with pytest.raises(Exception, match=r"agents\.disagreement"):
        load_settings(env={}, env_file=None, config=config)
