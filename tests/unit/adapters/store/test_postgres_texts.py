"""Texts and ids on their way to PostgreSQL and back."""

from __future__ import annotations

from orchestrator.model.facts import SignalAccepted
from tests.unit.adapters.store import samples
from tests.unit.adapters.store.postgres_stores import (
    Make,
)


def test_signs_that_the_database_does_not_know_come_back(make: Make) -> None:
    store = make()
    strange = "nul \0, escape \x1b, both \x1b0\0 and \U0001f4b6"
    fact = SignalAccepted(signal=samples.signal(strange, strategy=strange), accounts=())
    (record,) = samples.append(store, fact)
    store.close()
    again = make()
    assert again.last_record() == record
    assert next(iter(again.facts_after(0)))[1] == fact
    assert again.queries.signal(strange).signal_id == strange
    assert again.signal_seen(strange)
    assert not again.signal_seen("nul ")
