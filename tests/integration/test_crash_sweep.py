"""A sample of the crash sweep; `orchestrator crash-sweep` is the whole of it."""

from __future__ import annotations

import pytest

from orchestrator.model.failpoints import PLACES
from orchestrator.research.crash_sweep.run import kills, sweep
from orchestrator.research.crash_sweep.scenes import SCENES

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
    assert swept | set(elsewhere) == set(PLACES)
    assert not swept & set(elsewhere)
