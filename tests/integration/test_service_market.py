"""A real service with its market data on a real server, which dies under it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.integration.processes import Service, eventually
from tests.servers.postgres import PostgresServer, execute


def _component(service: Service) -> dict[str, Any]:
    parts = {part["name"]: part for part in service.get("/health")["components"]}
    return parts["market_data"]


def _ticks(url: str) -> int:
    return execute(url, "SELECT count(*) FROM ticks")[0][0]


def _taken(service: Service) -> bool:
    """Not before the prices have warmed up (T4)."""
    answer = service.signal(f"s-{service.asked}", "EUR_USD", "buy")
    return answer is not None and answer.status == 202


def test_trading_begins_and_goes_on_without_market_data_and_nothing_of_it_is_lost(
    own_postgres: PostgresServer, tmp_path: Path
) -> None:
    """Goal: market data holds up nothing, recovery least of all. Method: the database is killed
    under a service, then the service too; it starts without the database, which then comes back."""
    url = own_postgres.create()
    with Service(tmp_path, TIMESCALE_URL=url) as service:
        service.start().wait_up()
        eventually("ticks are stored", lambda: _ticks(url) > 0, 60)
        assert _component(service) == {"name": "market_data", "ok": True, "text": "stored"}
        found = service.get("/ticks?instrument=EUR_USD&limit=5")["items"]
        assert {tick["instrument"] for tick in found} == {"EUR_USD"}
        assert service.get("/candles?instrument=EUR_USD&granularity=M1")["items"]
        own_postgres.kill()
        eventually("it is told", lambda: not _component(service)["ok"], 60)
        eventually("a signal is taken", lambda: _taken(service), 60)
        assert service.ask("GET", "/ticks?instrument=EUR_USD").status == 503
        service.kill()
        service.start().wait_up()
        assert service.mode() == "running"
        spool = service.state / "market.spool"
        eventually("prices wait on the disk", lambda: list(spool.glob("*.batch")), 60)
        eventually("it is said", lambda: "market_data.away" in service.output(), 60)
        own_postgres.start()
        eventually("it is back", lambda: _component(service)["ok"], 60)
        eventually("nothing waits", lambda: not list(spool.glob("*.batch")), 60)
        before = _ticks(url)
        eventually("ticks go on", lambda: _ticks(url) > before, 60)
        done = service.command("data", "info", "--json")
        assert done.returncode == 0, done.stderr
        assert "EUR_USD" in done.stdout
        eventually("that is said too", lambda: "market_data.back" in service.output(), 60)
