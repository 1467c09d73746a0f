"""Agents over a real Redis: registered, asked, killed, drained; and Redis itself killed."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.agent_programs import Programs
from tests.integration.flow import BUSY, BUSY_TOML
from tests.integration.processes import Service, eventually
from tests.integration.test_agents_elsewhere import agents_of, asked_of, ends_of, judged, warm
from tests.servers.redis import RedisServer, ask

TOML = BUSY_TOML.replace('where = "service"', 'where = "remote"')
ROLES = ("disagreement", "strategy_analysis")


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    with RedisServer(tmp_path / "redis") as server:
        yield server


def test_agents_over_redis_share_the_work_and_survive_each_other(
    tmp_path: Path, redis: RedisServer
):
    """Goal: two instances of two roles; one is killed, one drained, one comes back; then Redis."""
    service = Service(tmp_path / "s", toml=TOML, MESSAGE_BROKER_URL=redis.url, **BUSY)
    with service, Programs(tmp_path, service.environment) as programs:
        service.start().wait_up(60)
        for role in ROLES:
            for instance in (1, 2):
                programs.agent(role, instance)
        eventually("all have come", lambda: _healthy(service) == 4, 60, 0.1)
        warm(service)
        _all_filled(service, "first")
        for number in range(8):
            if number == 2:
                programs.kill("strategy_analysis-1")
            if number == 5:
                programs.send("disagreement-2", signal.SIGTERM)
            ends = asked_of(service, f"redis-{number:02d}", "")
            assert all(map(judged, ends.values())), ends
        assert programs.wait("disagreement-2") == 0, programs.output("disagreement-2")
        eventually("who is gone is removed", lambda: _healthy(service) == 2, 30, 0.1)
        assert set(agents_of(service)) >= {"disagreement-1", "strategy_analysis-2"}
        _forge(redis, service)
        programs.agent("strategy_analysis", 1)
        eventually("it comes back", lambda: _healthy(service) == 3, 60, 0.1)
        redis.kill()
        eventually("nobody is left", lambda: _healthy(service) == 0, 30, 0.1)
        assert service.mode() == "running"
        redis.restart(empty=True)
        eventually("they come back", lambda: _healthy(service) == 3, 60, 0.1)
        _all_filled(service, "again")


def _forge(redis: RedisServer, service: Service) -> None:
    """X8: words in another's name are dropped with an alert, and so are wild calls."""
    frame = '{"type":"agent.goodbye","id":"1","source":"agent/strategy_analysis/2"}'
    ask(redis.port, "XADD", "tso:from:strategy_analysis:2", "*", "id", "1", "src",
        "learning_safety:1", "d", frame)  # fmt: skip
    ask(redis.port, "PUBLISH", "tso:hello:king:1", "1-1")

    def told() -> bool:
        alerts = str(service.get("/events?type=alert.raised&limit=200")["items"])
        return "in another's name" in alerts and "call was dropped" in alerts

    eventually("it is alerted", told, 30, 0.2)
    assert agents_of(service)["strategy_analysis-2"]["state"] == "healthy"


def _all_filled(service: Service, name: str) -> None:
    """As soon as no breaker stands in the way."""
    tries = iter(range(100))

    def filled() -> bool:
        ends = ends_of(service, f"{name}-{next(tries):02d}", "")
        return all(map(judged, ends.values()))

    eventually("a signal passes", filled, 60, 0.5)


def _healthy(service: Service) -> int:
    """How many of those over Redis work."""
    return sum(
        a["state"] in {"healthy", "degraded"}
        for a in agents_of(service).values()
        if a["where"] == "remote"
    )
