"""A service with a real Redis: its records are there, and without it the service trades on."""

from __future__ import annotations

import json
from pathlib import Path

from orchestrator.model.facts import AlertRaised
from orchestrator.model.journal import from_line
from tests.integration.processes import ROOT, Service, clean_environment, eventually, run_program
from tests.servers.redis import RedisServer, free_port


def _history(server: RedisServer) -> list[int]:
    return [from_line(fields[1]).seq for _, fields in server.ask("XRANGE", "tso:history", "-", "+")]


def _taken(service: Service) -> bool:
    """Not before the prices have warmed up (T4)."""
    answer = service.signal(f"s-{service.asked}", "EUR_USD", "buy")
    return answer is not None and answer.status == 202


def _spoken(service: Service) -> bool:
    """Something to write down, whatever its answer: else the house may be silent for a minute."""
    service.signal(f"s-{service.asked}", "EUR_USD", "buy")
    return True


def test_records_are_in_the_history_and_a_broker_that_dies_and_is_flushed_costs_nothing(
    tmp_path: Path,
):
    """Goal: the broker is beside the path. Method: kill it, restart it empty, flush it, each while
    the service runs: it stays up, and its later records are there."""
    with (
        RedisServer(tmp_path / "redis") as server,
        Service(tmp_path / "s", MESSAGE_BROKER_URL=server.url) as service,
    ):
        service.start().wait_up()
        eventually("records are there", lambda: len(_history(server)) > 5, 20)
        assert _history(server)[0] == 1
        server.kill()
        eventually("signals are taken", lambda: _taken(service), 60, 0.5)
        server.start()
        eventually("they go on", lambda: _spoken(service) and _history(server), 60, 0.5)
        server.flush()
        eventually("and on", lambda: _spoken(service) and _history(server), 60, 0.5)
        with service.store() as store:
            titles = [f.alert.title for _, f in store.facts() if isinstance(f, AlertRaised)]
        assert "The broker has lost its data" in titles
        assert service.mode() == "running"


def test_a_stop_that_another_node_calls_out_stops_this_one_and_its_own_is_called_out(
    tmp_path: Path,
):
    """Goal: SAFETY 5.2 over the broker. Method: another node's call by hand, a forged one first."""
    stop = {
        "stop_id": "stop-elsewhere",
        "actor": "someone",
        "reason": "a drill",
        "closed_ns": 1,
        "liquidate": True,
        "accounts": [],
    }
    with (
        RedisServer(tmp_path / "redis") as server,
        Service(tmp_path / "s", MESSAGE_BROKER_URL=server.url) as service,
    ):
        service.start().wait_up()
        eventually("it hears", lambda: server.ask("PUBSUB", "NUMSUB", "tso:stop")[1], 20)
        server.ask("PUBLISH", "tso:stop", "other\n" + json.dumps({"resume": "stop-elsewhere"}))
        server.ask("PUBLISH", "tso:stop", "other\n" + json.dumps(stop))
        eventually("it is stopped", lambda: service.mode() == "stopped", 20, 0.01)
        assert service.get("/health")["stop_id"] == "stop-elsewhere"
        with service.store() as store:
            titles = [f.alert.title for _, f in store.facts() if isinstance(f, AlertRaised)]
        assert "A message on tso:stop is not ours" in titles


def test_a_broker_that_is_away_at_the_start_is_named_with_its_variable(tmp_path: Path):
    port = free_port()
    with Service(tmp_path, MESSAGE_BROKER_URL=f"redis://:pass-w0rd@127.0.0.1:{port}") as service:
        service.start()
        assert service.wait(60) == 1
        said = service.output()
    assert f"MESSAGE_BROKER_URL: no Redis answers at 127.0.0.1:{port}: connection refused" in said
    assert "pass-w0rd" not in said


def test_doctor_looks_at_the_broker(tmp_path: Path):
    with RedisServer(tmp_path / "redis", password="right") as server:
        for url, good in ((server.url, True), (f"redis://:wrong@127.0.0.1:{server.port}", False)):
            service = Service(tmp_path / "s", MESSAGE_BROKER_URL=url)
            done = service.command("doctor", "--json")
            found = {row["name"]: row for row in json.loads(done.stdout)["checks"]}
            assert found["broker"]["ok"] is good
            assert ("refuses this user or password" in found["broker"]["text"]) is not good


def test_the_driver_is_not_loaded_where_no_setting_asks_for_it():
    """A plain start pays in time and memory for nothing that it does not use."""
    code = (
        "import sys, orchestrator.main.hosting;"
        "print([n for n in ('hiredis', 'redis', 'asyncpg', 'hvac') if n in sys.modules])"
    )
    done = run_program("-c", code, environment=clean_environment({}), folder=ROOT)
    assert done.stdout.strip() == "[]", done.stderr
