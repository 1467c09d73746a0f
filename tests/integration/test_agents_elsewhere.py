"""Agents in processes of their own: asked, heard, killed, hostile; each costs only its opinion."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

from orchestrator.research.crash_sweep.busy import AGENTS
from tests.integration.flow import BUSY, BUSY_TOML
from tests.integration.processes import ACCOUNTS, Service, alive, eventually

TWO_EACH = BUSY_TOML.replace('where = "service"', "instances = 2")
DEADLY = ("crashes", "loops", "says a long line")
CRIMES = (
    "crashes", "says garbage", "says a long line", "takes memory", "speaks as another", "exits",
    "answers all", "floods", "loops",
)  # fmt: skip


def test_a_killed_instance_costs_no_signal_and_comes_back(tmp_path: Path):
    """Goal: two instances of each role in processes of their own; one is killed under signals."""
    with Service(tmp_path, toml=TWO_EACH, **BUSY) as service:
        warm(service.start().wait_up())
        first = agents_of(service)
        pids = children_of(service)
        assert len(pids) == 4, "two roles with two instances each"
        for number in range(12):
            if number in {4, 8}:
                os.kill(children_of(service)[number % 3], signal.SIGKILL)
            ends = ends_of(service, f"two-{number:02d}", "")
            assert {end["outcome"] for end in ends.values()} == {"filled"}, ends
        told = service.command("explain", "two-00").stdout
        assert "strategy_analysis-" in told, told

        def all_back() -> bool:
            now = agents_of(service)
            return len(children_of(service)) == 4 and all(
                a["state"] == "healthy" for a in now.values()
            )

        eventually("the killed ones work again", all_back, 30, 0.2)
        assert set(agents_of(service)) == set(first)
        assert sum(a["restarts"] for a in agents_of(service).values()) >= 2
        service.send(signal.SIGTERM)
        assert service.wait() == 0
        eventually("no child is left", lambda: not any(map(alive, pids)), 10)


def _outlaw(folder: Path, instances: int) -> str:
    folder.mkdir()
    return (
        TWO_EACH.replace(f"{AGENTS}:Yes", f"{Path(__file__).with_name('outlaw.py')}:Outlaw")
        .replace("instances = 2", f"instances = {instances}")
        .replace(
            'Outlaw"\n', f'Outlaw"\nmemory_mb = 400\nparams = {{ folder = "{folder}" }}\n'
        )
    )  # fmt: skip


def test_whatever_an_instance_does_another_one_answers(tmp_path: Path):
    """Goal: SAFETY 12, agent rows. What kills or hangs an instance is taken over in time, once."""
    toml = _outlaw(tmp_path / "crimes", 2)
    assert toml.count("memory_mb = 400") == 1
    with Service(tmp_path / "s", toml=toml, **BUSY) as service:
        warm(service.start().wait_up())
        for number, crime in enumerate(CRIMES):
            ends = ends_of(service, f"crime-{number:02d}", crime)
            if crime in DEADLY:
                assert {end["outcome"] for end in ends.values()} == {"filled"}, (crime, ends)
            assert service.mode() == "running", crime
            others = [a for a in agents_of(service).values() if a["role"] != "strategy_analysis"]
            assert not any(each["errors"] for each in others), (crime, others)
            _recovers(service, number)
            eventually("both work", lambda: _both_work(service), 30, 0.1)
        stopped = service.ask("POST", "/emergency-stop", {"reason": "enough"})
        assert stopped.status == 200
        assert "Traceback" not in service.output(), service.output()[-3000:]
        with service.store() as store:
            assert store.broken() is None


def test_a_lone_instance_that_dies_rejects_its_signal_and_holds_trading_until_it_is_back(
    tmp_path: Path,
):
    """Goal: fail closed (S9). Then the service is killed while its agent hangs: none is left."""
    with Service(tmp_path / "s", toml=_outlaw(tmp_path / "crimes", 1), **BUSY) as service:
        warm(service.start().wait_up())
        ends = ends_of(service, "crime-00", "dies")
        assert {end["stage"] for end in ends.values()} == {"strategy_analysis"}, ends
        assert {end["outcome"] for end in ends.values()} == {"rejected"}, ends
        tripped = [b["breaker"] for b in service.get("/breakers?tripped=true&limit=1000")["items"]]
        assert "S9" in tripped
        _recovers(service, 0)
        agent_id = "strategy_analysis-1"
        answer = service.ask("POST", f"/agents/{agent_id}/restart", {"reason": "to see it"})
        assert answer.status == 200
        eventually("it is back", lambda: agents_of(service)[agent_id]["state"] == "healthy", 20)
        pids = children_of(service)
        service.signal("hang", "EUR_USD", "buy", note="loops")
        service.kill()
        eventually("no child is left", lambda: not any(map(alive, pids)), 10)


def agents_of(service: Service) -> dict[str, dict[str, Any]]:
    return {each["agent_id"]: each for each in service.get("/agents?limit=100")["items"]}


def children_of(service: Service) -> list[int]:
    """Process ids of the service's agents."""
    found: list[int] = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes()
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        if (
            parent == service.pid
            and b"orchestrator.main.agent" in words
            and alive(int(folder.name))
        ):
            found.append(int(folder.name))
    return sorted(found)


def warm(service: Service) -> None:
    """Every instrument has shown fresh prices (T4): a signal is refused at the door before."""

    def warm() -> bool:
        tripped = service.get("/breakers?tripped=true&limit=1000")["items"]
        return not any(
            each["breaker"] == "T4" and each["subject"] in {"EUR_USD", "GBP_USD"}
            for each in tripped
        )

    eventually("prices are warm", warm, 60, 0.2)


def _both_work(service: Service) -> bool:
    states = [a["state"] for a in agents_of(service).values() if a["role"] == "strategy_analysis"]
    return sorted(states) in (["healthy"] * 2, ["degraded", "healthy"], ["degraded"] * 2)


def _recovers(service: Service, number: int) -> None:
    tries = iter(range(100))

    def filled() -> bool:
        ends = ends_of(service, f"honest-{number:02d}-{next(tries):02d}", "")
        return all(end["outcome"] == "filled" for end in ends.values())

    eventually("an honest signal is filled", filled, 30, 0.3)


def ends_of(service: Service, name: str, note: str) -> dict[str, dict[str, Any]]:
    """How a signal ended, by account."""
    instrument = ("EUR_USD", "GBP_USD")[service.asked % 2]
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
