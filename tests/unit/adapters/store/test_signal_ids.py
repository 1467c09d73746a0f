"""The ids of signals in memory."""

from __future__ import annotations

import pytest

from orchestrator.adapters.store import signal_ids
from orchestrator.adapters.store.signal_ids import SignalIds, digest


def test_ids_in_memory_are_merged_and_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signal_ids, "_FRESH_MAX", 10)
    old = sorted(digest(f"old{number}") for number in range(100))
    ids = SignalIds(b"".join(number.to_bytes(8, "big") for number in old), total=100)
    for number in range(55):
        ids.add(f"new{number}")
    assert ids.complete
    assert len(ids) == 155
    assert all(ids.has(f"old{number}") for number in range(100))
    assert all(ids.has(f"new{number}") for number in range(55))
    assert not any(ids.has(f"other{number}") for number in range(1000))


def test_ids_beyond_what_memory_may_hold_are_let_go_and_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(signal_ids, "_FRESH_MAX", 10)
    monkeypatch.setattr(signal_ids, "IDS_MAX", 10)
    ids = SignalIds()
    for number in range(100):
        ids.add(f"new{number}")
    assert len(ids) <= 22
    assert not ids.complete
