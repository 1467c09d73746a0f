"""Agents in processes of their own: asked, heard, killed, hostile; each costs only its opinion."""

from __future__ import annotations

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
            ends = asked_of(service, f"crime-{number:02d}", crime)
            if crime in DEADLY:
                assert all(map(judged, ends.values())), (crime, ends)
            assert service.mode() == "running", crime
            others = [a for a in agents_of(service).values() if a["role"] != "strategy_analysis"]
            assert not any(each["errors"] for each in others), (crime, others)
            _recovers(service, number)
            eventually("both work", lambda: _both_work(service), 30, 0.1)
        told = service.command("explain", "crime-00-0").stdout
        assert "strategy_analysis-" in told, told
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
        ends = asked_of(service, "crime-00", "dies")
        assert {end["stage"] for end in ends.values()} == {"strategy_analysis"}, ends
        assert {end["outcome"] for end in ends.values()} == {"rejected"}, ends
        tripped = service.get("/events?type=breaker.tripped&limit=200")["items"]
        assert "S9" in {each["data"]["breaker"] for each in tripped}
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
        return all(map(judged, ends.values()))

    eventually("an honest signal passes", filled, 60, 0.5)


def judged(end: dict[str, Any]) -> bool:
    """Whether strategy_analysis has let it pass; what limits say of it later is their thing."""
    later = {"parameter_optimization", "learning_safety", "checks"}
    return end["outcome"] == "filled" or end["stage"] in later


def asked_of(service: Service, name: str, note: str) -> dict[str, dict[str, Any]]:
    """As `ends_of`, of a signal that came to be judged: a busy machine trips this or that."""
    tries = iter(range(1000))
    found: dict[str, dict[str, Any]] = {}

    def asked() -> bool:
        nonlocal found
        found = ends_of(service, f"{name}-{next(tries)}", note)
        return all(end["stage"] == "strategy_analysis" or judged(end) for end in found.values())

    eventually(f"{name} is asked about", asked, 60, 0.5)
    return found


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
