"""A sample of the crash sweep; `orchestrator crash-sweep` is the whole of it."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from orchestrator.model.failpoints import PLACES
from orchestrator.research.crash_sweep.run import kills, server_kills, sweep
from orchestrator.research.crash_sweep.scenes import POSTGRES_SCENES, SCENES
from orchestrator.research.crash_sweep.stages import OnServer
from tests.servers.postgres import GivenServer, PostgresServer

SAMPLE = (
    "order/send.order.after:1",
    "stop/latch.write.before:1",
    "liquidation/send.close_position.after:1",
    "recovery/journal.append.before:2",
)


@pytest.mark.timeout(600)  # seconds on a quiet machine; four services at once on a busy one
def test_killed_at_a_sample_of_its_failpoints_the_service_loses_and_doubles_nothing():
    """Goal: R5 with real SIGKILLs at exact lines, each in the recovery again where that passes it.
    Side by side, since most of it is waiting."""
    chosen = [kill for kill in kills() if kill.name in SAMPLE]
    assert len(chosen) == len(SAMPLE)
    for result in sweep(chosen, jobs=len(chosen)):
        assert result.wrong == (), f"{result.kill.name}\n{result.words}"
        assert result.deaths >= 1, f"{result.kill.name} was not passed: it proves nothing"


@pytest.mark.timeout(600)
def test_killed_with_its_journal_on_postgresql_or_with_the_server_it_loses_nothing(
    tmp_path: Path, postgres: PostgresServer | GivenServer
) -> None:
    """The same with a commit beside the loop (ADR 11): its answer is never read; and the server
    dies at that place instead, and comes back.
    """
    place = "order/journal.answer.before:1"
    chosen = [kill for kill in kills(scenes=POSTGRES_SCENES) if kill.name == place]
    chosen += [kill for kill in server_kills() if kill.name == f"{place}/server"]
    assert len(chosen) == 2
    with closing(OnServer(postgres.url(), tmp_path)) as stage:
        for result in sweep(chosen, 2, stage):
            assert result.wrong == (), f"{result.kill.name}\n{result.words}"
            assert result.deaths >= 1, f"{result.kill.name} was not passed: it proves nothing"


def test_every_place_that_the_service_passes_by_itself_is_in_the_sweep():
    """Left out is what a service does not do in any scene, each with its reason."""
    elsewhere = {
        "audit.turn": "once a month",
        "audit.export": "a command's",
        "send.protect": "the venue has placed the stop with the fill",
        "send.close_trade": "a late order's",
        "send.replace": "no strategy replaces orders",
        "send.order_extensions": "no strategy names orders",
        "send.trade_extensions": "no strategy names trades",
        "send.configure": "nobody configures an account",
    }
    swept = {place for scene in SCENES.values() for place in scene.places}
    of_postgres = {place for scene in POSTGRES_SCENES.values() for place in scene.places}
    assert of_postgres | set(elsewhere) == set(PLACES)
    assert swept < of_postgres
    assert not of_postgres & set(elsewhere)
