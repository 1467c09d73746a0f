"""A user's agent that misbehaves costs its own opinion: that signal, and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from orchestrator.research.crash_sweep.busy import AGENTS
from tests.integration.flow import BUSY, BUSY_TOML
from tests.integration.processes import (
    ACCOUNTS,
    Service,
    eventually,
)

ROGUE_TOML = BUSY_TOML.replace(f"{AGENTS}:Yes", f"{Path(__file__).with_name('rogue.py')}:Rogue")
CRIMES = (
    "raises", "exits", "is silent", "is late", "says NaN", "speaks of another", "says nonsense",
)  # fmt: skip


def test_a_rogue_agent_rejects_its_signal_by_name_and_the_rest_goes_on(tmp_path: Path):
    """Goal: fail closed, and stay up (SAFETY 12). Each crime is followed by an honest signal."""
    assert "rogue.py:Rogue" in ROGUE_TOML
    with Service(tmp_path, toml=ROGUE_TOML, **BUSY) as service:
        _warm(service.start().wait_up())
        for number, crime in enumerate(CRIMES):
            ends = _ends(service, f"crime-{number:02d}", crime)
            for account_id, end in ends.items():
                assert end["outcome"] == "rejected", (crime, account_id, end)
                assert end["stage"] == "strategy_analysis", (crime, end)
                assert end["reason"], crime
            _recovers(service, number)
        events = service.get("/events?type=agent.changed&limit=200")["items"]
        assert any("rogue" in str(event) for event in events)
        told = service.command("explain", "crime-00")
        assert "rogue says no" in told.stdout, told.stdout
        with service.store() as store:
            assert store.broken() is None


def test_an_agent_that_raises_an_interrupt_does_not_end_the_service(tmp_path: Path):
    """Goal: also BaseException costs an agent's own opinion only (SAFETY 12). A real Ctrl-C never
    arrives as an exception within an agent: the server has its own signal handlers."""
    with Service(tmp_path, toml=ROGUE_TOML, **BUSY) as service:
        _warm(service.start().wait_up())
        for end in _ends(service, "crime-90", "interrupts").values():
            assert end["outcome"] == "rejected"
        _recovers(service, 90)


def _warm(service: Service) -> None:
    """Every instrument has shown fresh prices (T4): a signal is refused at the door before."""

    def warm() -> bool:
        tripped = service.get("/breakers?tripped=true&limit=1000")["items"]
        return not any(each["breaker"] == "T4" for each in tripped)

    eventually("prices are warm", warm, 60, 0.2)


def _recovers(service: Service, number: int) -> None:
    """Its agent is there again, if it was taken out, and honest signals are filled."""
    tries = iter(range(100))

    def filled() -> bool:
        ends = _ends(service, f"honest-{number:02d}-{next(tries):02d}", "")
        return all(end["outcome"] == "filled" for end in ends.values())

    eventually("an honest signal is filled", filled, 20, 0.3)


def _ends(service: Service, name: str, note: str) -> dict[str, dict[str, Any]]:
    """How a signal ended, by account; {} when it was refused at the door."""
    # Each time another instrument and strategy: the same again would look like a duplicate.
    instrument = ("EUR_USD", "GBP_USD", "NZD_USD", "EUR_GBP")[service.asked % 4]
    strategy = f"hand-{service.asked}"
    answer = service.signal(name, instrument, "buy", note=note, strategy=strategy)
    assert answer is not None
    if answer.status == 409:
        return {"door": {"outcome": "refused", "stage": "", "reason": str(answer.body)}}
    assert answer.status == 202, answer

    def ended() -> dict[str, dict[str, Any]] | None:
        row = service.get(f"/signals/{name}")
        ends = {o["ended"]["account_id"]: o["ended"] for o in row["outcomes"]}
        return ends if len(ends) == len(ACCOUNTS) else None

    return eventually(f"{name} ends", ended, 30)
