"""Ids of signals too old for memory, asked of PostgreSQL with a bound."""

from __future__ import annotations

import pytest

from orchestrator.adapters.store import postgres_ids, postgres_writer
from orchestrator.adapters.store.signal_ids import SignalIds
from orchestrator.model.errors import StoreError
from orchestrator.model.facts import SignalAccepted
from tests.servers.postgres import PostgresServer
from tests.unit.adapters.store import samples
from tests.unit.adapters.store.postgres_stores import Make


def test_ids_too_many_for_memory_are_asked_for(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    store = make()
    for number in range(5):
        samples.append(store, SignalAccepted(signal=samples.signal(f"s{number}"), accounts=()))
    store.close()
    monkeypatch.setattr(postgres_writer, "IDS_MAX", 2)
    again = make()
    monkeypatch.setattr(postgres_ids, "ASK_S", 30.0)  # of a machine that is busy with other tests
    assert len(again._writer.ids) == 2
    assert [again.signal_seen(f"s{number}") for number in range(6)] == [True] * 5 + [False]


def test_a_server_that_lies_still_does_not_hold_up_who_asks_for_an_old_id(
    own_postgres: PostgresServer, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The event loop asks: it hears a StoreError soon, and then at once for a while."""
    url = own_postgres.create()
    store = make(url)
    for number in range(3):
        samples.append(store, SignalAccepted(signal=samples.signal(f"s{number}"), accounts=()))
    store.close()
    monkeypatch.setattr(postgres_writer, "IDS_MAX", 2)
    again = make(url)
    monkeypatch.setattr(postgres_ids, "ASK_S", 30.0)
    assert again.signal_seen("s0")
    monkeypatch.setattr(postgres_ids, "ASK_S", 0.2)
    monkeypatch.setattr(postgres_ids, "REST_S", 3_600.0)
    own_postgres.freeze()
    try:
        with pytest.raises(StoreError, match="did not answer within"):
            again.signal_seen("other")
        monkeypatch.setattr(postgres_ids, "ASK_S", 3_600.0)
        with pytest.raises(StoreError, match="too slow"):
            again.signal_seen("other")  # not asked at all
        assert again.signal_seen("s2")  # what is in memory is known
    finally:
        own_postgres.thaw()


def test_a_server_that_is_back_says_old_ids_again(
    own_postgres: PostgresServer, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_writer, "IDS_MAX", 0)
    monkeypatch.setattr(postgres_ids, "REST_S", 0.0)
    store = make(own_postgres.create())
    samples.append(store, SignalAccepted(signal=samples.signal("s0"), accounts=()))
    store._writer.ids = SignalIds(total=1)  # as an opening would find it
    monkeypatch.setattr(postgres_ids, "ASK_S", 30.0)
    assert [store.signal_seen(name) for name in ("s0", "s1")] == [True, False]
    own_postgres.kill()
    for _ in range(2):
        with pytest.raises(StoreError):
            store.signal_seen("s0")
    own_postgres.start()
    while True:
        try:
            assert store.signal_seen("s0")
        except StoreError:
            continue  # the last failure's pause
        break
