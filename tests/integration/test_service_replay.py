"""Replays: at full speed the same to the byte, at a finite speed to their end, both summed up."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from orchestrator.research.crash_sweep.busy import AGENTS
from tests.integration.flow import BUSY, BUSY_TOML, replay_words, write_ticks
from tests.integration.processes import (
    ACCOUNTS,
    Service,
    venues_on,
)

METRONOME = BUSY_TOML.replace("[strategies.still]", "[strategies.metronome]").replace(
    f"{AGENTS}:Still", f"{Path(__file__).with_name('metronome.py')}:Metronome"
)
STAGES = (
    "disagreement", "strategy_analysis", "parameter_optimization", "learning_safety", "checks",
)  # fmt: skip
JOURNAL = "SELECT seq, ts, epoch, type, subject, corr, actor, data FROM journal ORDER BY seq"
ORDERS = "SELECT data FROM journal WHERE type = 'intent.written' ORDER BY seq"


def _files(folder: Path, hours: float) -> list[Path]:
    return [
        write_ticks(folder, "EUR_USD", mid=1.39, hours=hours, seed=9, every_ms=2000),
        write_ticks(folder, "NZD_USD", mid=0.87, hours=hours, seed=9, every_ms=2000),
    ]


def _full_speed(
    folder: Path, files: list[Path], seed: int, toml: str = METRONOME, **environment: str
) -> tuple[Service, dict[str, Any]]:
    """A run to its end, with its summary."""
    words = (*replay_words(files, "max"), "--exit-at-end", "--seed", str(seed),
             "--summary", str(folder / "summary.json"))  # fmt: skip
    folder.mkdir()
    limits = BUSY if toml else {}
    with Service(folder, *words, toml=toml, **limits, **environment) as service:
        # The state folder is the settings'; a replay makes its own below it.
        service.start()
        assert service.wait(170) == 0, service.output()
        summary = json.loads((folder / "summary.json").read_text())
        service.state = Path(summary["state_dir"])
        assert venues_on(service.state) == []
    return service, summary


def _journal(service: Service) -> tuple[list[tuple[Any, ...]], list[tuple[Any, ...]]]:
    with service.store() as store:
        assert store.broken() is None
        return store.rows(JOURNAL), store.rows(ORDERS)


def test_two_replays_at_full_speed_are_the_same_to_the_byte(tmp_path: Path):
    """Goal: same files and seed, same journal (INV-20), whatever the machine's hash seed and zone.
    Another seed may decide otherwise, and is told apart."""
    files = _files(tmp_path, hours=1.2)
    first, one = _full_speed(tmp_path / "a", files, 4, PYTHONHASHSEED="1", TZ="UTC")
    second, two = _full_speed(tmp_path / "b", files, 4, PYTHONHASHSEED="2", TZ="Asia/Tokyo")
    other, three = _full_speed(tmp_path / "c", files, 5)

    journal, orders = _journal(first)
    assert len(orders) > 10, f"the test must see orders, not {len(orders)}"
    assert _journal(second) == (journal, orders)
    assert one["audit_head"] == two["audit_head"] != three["audit_head"]
    assert _journal(other)[0] != journal
    _is_whole(one, recorded=sum(len(f.read_text().splitlines()) for f in files))
    machine = ("wall_s", "latency", "state_dir")
    assert {k: v for k, v in one.items() if k not in machine} == {
        k: v for k, v in two.items() if k not in machine
    }


def _is_whole(summary: dict[str, Any], recorded: int) -> None:
    """All that the summary must name, and that it adds up."""
    assert summary["ticks_recorded"] == recorded
    assert 0 < summary["ticks_heard"] <= recorded
    assert summary["signals"] > 0
    assert set(summary["stages"]) == set(STAGES)
    for stage in summary["stages"].values():
        assert stage["rejected"] == sum(stage["reasons"].values())
    assert sum(summary["outcomes"].values()) == len(ACCOUNTS) * summary["signals"]
    assert summary["orders"] >= summary["fills"] == summary["outcomes"].get("filled", 0)
    assert set(summary["accounts"]) == set(ACCOUNTS)
    for account in summary["accounts"].values():
        assert {"currency", "balance", "nav", "realized_pl", "open_trades"} <= set(account)
    for stage in ("disagreement", "strategy_analysis", "parameter_optimization",
                  "learning_safety"):  # fmt: skip
        figures = next(v for k, v in summary["latency"].items() if stage in k)
        assert {"n", "p50_us", "p99_us"} <= set(figures)
    assert len(summary["audit_head"]) == 64


def test_a_replay_at_a_finite_speed_ends_by_itself_with_a_summary(tmp_path: Path):
    """Goal: `--speed 600 --exit-at-end` is no different to whoever reads the summary."""
    files = _files(tmp_path, hours=0.6)
    words = (*replay_words(files, "600"), "--exit-at-end", "--summary", str(tmp_path / "sum.json"))
    with Service(tmp_path / "s", *words, toml=METRONOME, **BUSY) as service:
        service.start()
        assert service.wait(60) == 0, service.output()
        summary = json.loads((tmp_path / "sum.json").read_text())
        assert summary["ticks_recorded"] == sum(len(f.read_text().splitlines()) for f in files)
        assert set(summary["accounts"]) == set(ACCOUNTS)
        assert venues_on(Path(summary["state_dir"])) == []
        assert "ticks recorded" in service.output()


@pytest.mark.quotes
def test_the_day_of_the_press_conference_is_played_whole(tmp_path: Path, quotes_dir: Path):
    """Goal: over 100,000 real ticks through the whole path, with the shipped agents."""
    files = [quotes_dir / "tick" / f"{name}_20140508.csv.gz" for name in ("EUR_USD", "NZD_USD")]
    recorded = sum(len(gzip.decompress(file.read_bytes()).splitlines()) for file in files)
    assert recorded > 100_000
    service, summary = _full_speed(tmp_path / "day", files, 1, toml="")
    _is_whole(summary, recorded)
    assert summary["orders"] > 0
    with service.store() as store:
        assert store.broken() is None
