"""The command: its exit codes, what it names, and the parts of the System that it builds."""

import shlex

import pytest

from orchestrator.main.parts import kernel_plan
from orchestrator.research.simulate import kinds_of, simulate
from orchestrator.research.simulate.__main__ import main
from orchestrator.research.simulate.parts import EIGHT, PLAN
from orchestrator.research.simulate.store import SimGate
from orchestrator.settings import load_settings
from tests.house import House, in_virtual_time, new_market


def test_good_seeds_end_with_0_and_tell_their_pace(capsys):
    assert main(["--seeds", "3", "--first-seed", "3"]) == 0
    said = capsys.readouterr().out
    assert "3 seeds in " in said
    assert "seeds/s" in said
    assert "0 failed" in said


def test_two_processes_find_the_same(capsys):
    assert main(["--seeds", "4", "--jobs", "2"]) == 0
    assert "4 seeds in " in capsys.readouterr().out


def test_one_seed_with_its_trace_tells_the_story_and_its_head(capsys):
    assert main(["--seed", "3", "--trace"]) == 0
    said = capsys.readouterr().out
    assert "life 1 begins" in said
    assert "journal 1 service.started" in said
    assert f"audit head: {simulate(3).head}" in said


def test_a_failing_seed_is_named_shrunk_and_can_be_repeated(capsys, monkeypatch):
    monkeypatch.setattr(SimGate, "close", lambda *_: None)
    few = [s for s in range(1, 300) if "op_emergency" in kinds_of(s) and len(kinds_of(s)) < 12]
    seed = next(s for s in few if not simulate(s).good)
    assert main(["--seeds", "1", "--first-seed", str(seed)]) == 1
    said = capsys.readouterr().out
    assert f"failed seeds: {seed}" in said
    (line,) = [each for each in said.splitlines() if "repeat:" in each]
    words = shlex.split(line.partition("repeat:")[2])
    assert words[:2] == ["orchestrator", "simulate"]
    assert main(words[2:]) == 1
    assert "VIOLATED" in capsys.readouterr().out
    kinds = words[words.index("--kinds") + 1]
    assert len(kinds.split(",")) < len(kinds_of(seed))


@pytest.mark.parametrize(
    "words",
    [["--kinds", "earthquake", "--seed", "1"], ["--seeds", "0"], ["--seed", "x"], ["--jobs", "-1"]],
)
def test_bad_words_end_with_2(words, capsys):
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2
    assert capsys.readouterr().err


def test_the_simulated_system_has_the_parts_of_the_real_one(tmp_path):
    """Two parts lists: this one notices when only one of them grows."""

    async def story():
        async with House(tmp_path / "state", new_market()) as house:
            return {(view.role, view.name, view.version) for view in house.desk.agents()}

    real = in_virtual_time(story)
    simulated = {(m().role, m().name, m().version) for m in EIGHT}
    assert simulated == real
    settings = load_settings(
        env={
            "INSTRUMENTS": ",".join(PLAN.instruments),
            "RISK_PER_TRADE": str(PLAN.accounts[0].limits.risk_per_trade),
        },
        env_file=None,
    )
    plan = kernel_plan(settings, "always")
    assert plan.checks == PLAN.checks
    assert plan.breakers == PLAN.breakers
    assert plan.accounts[0].limits == PLAN.accounts[0].limits
