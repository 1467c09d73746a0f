"""Two replays beside each other: opinions and agents are passed over, orders are not."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.adapters.store.sqlite import SqliteStore
from orchestrator.kernel.audit import AuditChain
from orchestrator.main.audit import Trail
from orchestrator.model.errors import StoreError
from orchestrator.model.facts import AgentChanged, Fact, SignalEnded
from orchestrator.model.money import AccountId
from orchestrator.model.signals import Outcome, Role


def _ended(signal_id: str, reason: str = "") -> Fact:
    return SignalEnded(
        signal_id=signal_id, account_id=AccountId("a"), outcome=Outcome.FILLED, stage="",
        reason=reason,
    )  # fmt: skip


def _changed(agent_id: str) -> Fact:
    return AgentChanged(
        agent_id=agent_id, role=Role.DISAGREEMENT, state="healthy", version="1", reason="started"
    )


def _run(folder: Path, *facts: Fact, at: int = 1) -> Path:
    folder.mkdir()
    store = SqliteStore(folder / "orchestrator.db", sync="normal", checkpoint_s=0)
    times = [at + number for number in range(len(facts))]
    chain = AuditChain(store.installation_id())
    store.append(chain.link(list(facts), ts=times, node="n", epoch=1), list(facts))
    store.close()
    return folder


def test_runs_with_other_agents_and_the_same_orders_are_equal(tmp_path: Path):
    one = _run(tmp_path / "one", _ended("s1"), _ended("s2"), _changed("disagreement-1"))
    other = _run(tmp_path / "other", _ended("s1"), _ended("s2"), _changed("another"))
    report = Trail().compare(one, other)
    assert (report.equal, report.text) == (True, "equal: 2 rows of orders")
    assert report.rows == {"signal.ended": 2}


def test_the_first_row_that_differs_is_shown_on_both_sides(tmp_path: Path):
    one = _run(tmp_path / "one", _ended("s1"), _ended("s2", "this"))
    other = _run(tmp_path / "other", _ended("s1"), _ended("s2", "that"))
    report = Trail().compare(one, other)
    assert not report.equal
    assert report.text.startswith("row 2 of orders differs:")
    assert '"reason":"this"' in report.text
    assert '"reason":"that"' in report.text


def test_a_run_that_ended_earlier_or_at_other_times_is_not_equal(tmp_path: Path):
    one = _run(tmp_path / "one", _ended("s1"), _ended("s2"))
    short = _run(tmp_path / "short", _ended("s1"))
    later = _run(tmp_path / "later", _ended("s1"), _ended("s2"), at=2)
    assert "has no more rows" in Trail().compare(one, short).text
    assert not Trail().compare(short, one).equal
    assert not Trail().compare(one, later).equal


def test_a_folder_without_a_journal_is_an_error_that_names_it(tmp_path: Path):
    one = _run(tmp_path / "one", _ended("s1"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(StoreError, match="empty"):
        Trail().compare(one, tmp_path / "empty")
