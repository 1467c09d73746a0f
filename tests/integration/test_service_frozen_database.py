"""A service whose database lies still: what must not wait for it does not, and nothing is lost."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.kernel.audit import verify
from orchestrator.model.facts import Stopped
from orchestrator.research.crash_sweep.journals import journal_on_server
from tests.integration.flow import BUSY, BUSY_TOML, Trader
from tests.integration.processes import Service, eventually
from tests.servers.postgres import PostgresServer


@pytest.fixture
def database(own_postgres: PostgresServer) -> str:
    return own_postgres.create()


@pytest.fixture
def service(tmp_path: Path, database: str) -> Iterator[Service]:
    """It trades; leaving ends it before the server is put right."""
    with Service(
        tmp_path, toml=BUSY_TOML, DATABASE_URL=database, PAPER_MARKET_HOURS="always",
        INSTRUMENTS="EUR_USD,NZD_USD", **BUSY,
    ) as service:  # fmt: skip
        yield service.start().wait_up()


def test_while_the_database_lies_still_s5_blocks_and_a_stop_over_http_waits_for_nothing(
    service: Service, own_postgres: PostgresServer, database: str
):
    """Goal: S5 trips though nothing is traded, and lets go by itself; and SAFETY 5 happens while
    nothing can be committed, and stands in the journal once that is possible again."""
    eventually("S5 is armed", lambda: _storage(service) == "armed", 60)
    own_postgres.freeze()
    eventually("S5 blocks", lambda: _storage(service) == "tripped", 60)
    own_postgres.thaw()
    eventually("S5 lets go", lambda: _storage(service) == "armed", 60)

    with Trader(service, random.Random(5)):
        eventually("trades are open", lambda: len(service.open_trades()) >= 2, 60)
        own_postgres.freeze()
        stop = service.ask("POST", "/emergency-stop", {"reason": "frozen"})
        assert stop.status == 200, stop
        assert stop.took_ms < 5_000  # the bound of a commit is longer
        assert stop.body["persisted"]  # the latch beside the store
        assert not stop.body["shared"]
        assert (service.state / "gate").read_bytes()[0]
        eventually("all is closed", lambda: not service.open_trades(), 60)
        at_stop = len(service.orders_heard())
        eventually("signals are refused", lambda: _refused(service), 60)
    assert len(service.orders_heard()) == at_stop
    receipt = service.get("/emergency-stop")
    assert receipt["stop_id"] == stop.body["stop_id"]

    own_postgres.thaw()
    eventually("flat", lambda: service.get("/emergency-stop")["state"] == "stopped_flat", 60)
    eventually("it is recorded", lambda: stop.body["stop_id"] in _stops(database), 60, 0.3)
    records, installation = journal_on_server(database)
    assert verify((record for record, _ in records), installation) is None
    assert len(service.orders_heard()) == at_stop

    service.kill()
    service.start().wait_up()
    assert service.mode() == "stopped"
    assert service.get("/emergency-stop")["stop_id"] == stop.body["stop_id"]


def _refused(service: Service) -> bool:
    answer = service.signal("after-the-stop", "EUR_USD", "buy")
    return answer is not None and answer.status >= 400


def _stops(database: str) -> set[str]:
    records, _ = journal_on_server(database)
    return {fact.stop_id for _, fact in records if isinstance(fact, Stopped)}


def _storage(service: Service) -> str:
    rows = service.get("/breakers")["items"]
    return next((row["state"] for row in rows if row["breaker"] == "S5"), "armed")
