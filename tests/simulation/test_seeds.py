"""The house stands in a storm: seeds of the everyday suite, kept regressions, and repeatability."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.research.simulate import EVERY, KINDS, Verdict, kinds_of, simulate

_REGRESSIONS = Path(__file__).with_name("regressions.txt")
_HEADS = (14, 23)
_ROOT = Path(__file__).resolve().parents[2]


def _kept() -> list[tuple[int, tuple[str, ...]]]:
    """A line with the seed and its faults, and below it, indented, why it failed."""
    lines = _REGRESSIONS.read_text("utf-8").splitlines()
    words = [line.split() for line in lines if line[:1].isdigit()]
    return [(int(seed), tuple(kinds.split(","))) for seed, kinds in words]


def _told(verdict: Verdict) -> str:
    return "\n".join((*verdict.violations, f"repeat: {verdict.repeat} --trace"))


@pytest.mark.parametrize("seed", range(1, 21))
def test_every_invariant_holds_in_the_storm_of_seed(seed):
    verdict = simulate(seed)
    assert verdict.good, _told(verdict)
    assert verdict.head


@pytest.mark.parametrize("seed", range(1, 6))
def test_every_invariant_holds_over_a_store_that_commits_beside_the_loop(seed):
    verdict = simulate(seed, kinds=kinds_of(seed, "soon"))
    assert verdict.good, _told(verdict)
    assert verdict.head


@pytest.mark.parametrize("seed", range(1, 11))
def test_every_invariant_holds_whatever_people_do_by_hand(seed):
    verdict = simulate(seed, kinds=kinds_of(seed, "wide"))
    assert verdict.good, _told(verdict)


@pytest.mark.parametrize("swarm", ["soon", "wide"])
def test_a_later_family_of_faults_leaves_a_seeds_own_swarm_as_it_was(swarm):
    for seed in range(50):
        own, more = kinds_of(seed), kinds_of(seed, swarm)
        assert more[: len(own)] == own
        assert set(more[len(own) :]) <= set(EVERY) - set(KINDS)
        assert "commit_soon" in more or swarm == "wide"


@pytest.mark.parametrize(("seed", "kinds"), _kept())
def test_a_seed_that_once_failed_holds(seed, kinds):
    verdict = simulate(seed, kinds=kinds)
    assert verdict.good, _told(verdict)


def test_the_everyday_seeds_are_not_idle():
    """A simulator in which nothing happens finds nothing."""
    verdicts = [simulate(seed) for seed in (3, 4, 11, 14)]
    assert sum(each.fills for each in verdicts) >= 8
    assert sum(each.lives for each in verdicts) > len(verdicts)
    assert sum(each.stops for each in verdicts) >= 2
    assert len({kind for each in verdicts for kind in each.struck}) >= 12


def test_without_faults_every_order_fills_in_one_life():
    verdict = simulate(1, kinds=())
    assert verdict.good, _told(verdict)
    assert verdict.lives == 1
    assert verdict.orders == verdict.fills > 0
    assert verdict.struck == {}


def test_the_swarm_of_some_seed_holds_each_kind():
    assert {kind for seed in range(200) for kind in kinds_of(seed)} == set(KINDS)
    later = (kinds_of(seed, swarm) for seed in range(200) for swarm in ("soon", "wide"))
    assert {kind for kinds in later for kind in kinds} == set(EVERY)


def test_the_same_seed_gives_the_same_story():
    first, second = (simulate(11, tracing=True) for _ in range(2))
    assert first.trace == second.trace
    assert first.head == second.head


@pytest.mark.parametrize(
    "surroundings",
    [
        {"PYTHONHASHSEED": "1", "TZ": "Asia/Tokyo", "LC_ALL": "C"},
        {"PYTHONHASHSEED": "77", "TZ": "Pacific/Apia", "LC_ALL": "tr_TR.UTF-8"},
    ],
    ids=["tokyo", "apia"],
)
def test_the_audit_head_depends_on_no_hash_seed_time_zone_or_locale(surroundings):
    """INV-20, in real processes."""
    words = (
        "from orchestrator.research.simulate import simulate; "
        f"print([simulate(seed).head for seed in {_HEADS}])"
    )
    done = subprocess.run(
        [sys.executable, "-c", words], cwd=_ROOT, env=os.environ | surroundings,
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.strip() == str([simulate(seed).head for seed in _HEADS])
