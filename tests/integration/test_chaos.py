"""A short campaign over real servers: whatever dies, the books agree and each signal ends once."""

from __future__ import annotations

from itertools import pairwise

from orchestrator.research.chaos.__main__ import main
from orchestrator.research.chaos.deeds import plan
from orchestrator.research.chaos.house import Cast
from orchestrator.research.chaos.run import campaign

NAMES = ("venue", "redis", "node-1")


def test_a_node_its_venue_and_its_broker_die_at_random_and_nothing_is_lost_or_doubled():
    cast = Cast(redis=True, postgres=False, nodes=1, agents="service")
    told: list[str] = []
    outcome = campaign(1, 6.0, cast, 1.2, told.append)
    assert outcome.wrong == [], "\n".join([*told, *outcome.wrong, outcome.words])
    assert outcome.deeds >= 3
    assert outcome.filled > 0


def test_the_same_seed_makes_the_same_plan_and_nobody_is_struck_lying_down():
    deeds = plan(5, 600.0, NAMES, 2.0)
    assert deeds == plan(5, 600.0, NAMES, 2.0)
    assert deeds != plan(6, 600.0, NAMES, 2.0)
    assert {deed.kind for deed in deeds} == {"kill", "freeze", "flush"}
    assert {deed.who for deed in deeds} == set(NAMES)
    for who in NAMES:
        own = [deed for deed in deeds if deed.who == who]
        for one, next_one in pairwise(own):
            assert next_one.at_s >= one.at_s + one.for_s
    assert all(deed.who == "redis" for deed in deeds if deed.kind == "flush")


def test_a_missing_program_is_named(monkeypatch, capsys):
    monkeypatch.setattr("shutil.which", lambda _: None)
    monkeypatch.setattr(
        "importlib.import_module", lambda name: (_ for _ in ()).throw(ImportError(name))
    )
    assert main(["--no-postgres", "--minutes", "0.1"]) == 2
    assert "install redis-server" in capsys.readouterr().out
