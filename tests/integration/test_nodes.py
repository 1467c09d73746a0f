"""Several nodes on one database: what becomes of it when the leader is struck, by the books."""

from __future__ import annotations

import random
import signal
from pathlib import Path

from orchestrator.model.facts import ServiceStarted
from orchestrator.service.seams import new_id
from tests.integration.flow import Trader
from tests.integration.nodes import Nodes, NodeService
from tests.integration.processes import USD, eventually
from tests.servers.postgres import PostgresServer
from tests.servers.redis import RedisServer

TAKEOVER_S = 30.0  # SAFETY 13: must; how long it takes is benchmarks.takeover's to say


def _freeze(node: NodeService) -> None:
    node.send(signal.SIGSTOP)


def _cut(node: NodeService) -> None:
    node.wire.cut()


def _back(node: NodeService) -> None:
    """Whatever was done to it: it is a node again."""
    node.wire.mend()
    if node.process is None or node.process.poll() is not None:
        node.start()
    else:
        node.send(signal.SIGCONT)


def test_whoever_leads_is_frozen_or_cut_off_and_the_other_takes_over(
    tmp_path: Path, own_postgres: PostgresServer
):
    """Orders flow at the leader when it is struck; it comes back, stands by, and sends nothing."""
    with Nodes(tmp_path, own_postgres.create()) as nodes:
        old, new = nodes.start()
        for strike in (_freeze, _cut):
            heard = len(nodes.orders_heard())
            with Trader(old, random.Random(1)):
                eventually("orders flow", lambda n=heard: len(nodes.orders_heard()) >= n + 4, 60)
                strike(old)
                eventually("the other node leads", new.leads, TAKEOVER_S, 0.02)
                _back(old)
                eventually("the old leader stands by", lambda o=old: o.role() == "standby", 60)
            old, new = new, old
        eventually("the last leader trades", lambda: _trades(old), 60, 0.2)
        eventually("all is settled", lambda: nodes.judge() == [], 60, 0.5)
        starts = [r.epoch for r, fact in nodes.facts() if isinstance(fact, ServiceStarted)]
        assert len(starts) == 3
        assert starts == sorted(set(starts))


def _trades(node: NodeService) -> bool:
    answer = node.trade(new_id("after"))
    return answer is not None and answer.status == 202


def test_a_stop_and_a_latched_breaker_outlive_the_leader_and_are_everywhere(
    tmp_path: Path, own_postgres: PostgresServer
):
    """A stop raised at the standby while nobody leads; carried out by who takes over; ended by one
    resume for all. The database is killed and comes back in the midst of it."""
    with Nodes(tmp_path, own_postgres.create()) as nodes:
        first, second = nodes.start()
        eventually("the leader trades", lambda: _trades(first), 60, 0.2)
        tripped = first.ask("POST", "/breakers/A4/trip", {"subject": USD, "reason": "a drill"})
        assert tripped.status == 200, tripped
        epoch = _epoch(nodes)

        own_postgres.kill()
        own_postgres.start()
        eventually("the leader goes on", lambda: _well(first), 60, 0.2)
        assert _epoch(nodes) == epoch

        first.kill()
        stop = second.ask("POST", "/emergency-stop", {"reason": "a drill"})
        assert stop.status == 200, stop
        assert stop.body["persisted"]
        assert stop.body["node"] == second.name
        eventually("the stop is carried out", lambda: _stop(second)[1] == "stopped_flat", 60)
        assert _stop(second)[0] == stop.body["stop_id"]
        assert nodes.nodes[0].open_trades() == []
        latched = [
            b["breaker"] for b in second.get("/breakers")["items"] if b["state"] == "latched"
        ]
        assert "A4" in latched

        first.start()
        eventually("the stop stands there, too", lambda: _stop(first) == _stop(second), 60)
        assert first.ask("POST", "/resume", _resume(stop.body["stop_id"])).status == 503
        done = second.ask("POST", "/resume", _resume(stop.body["stop_id"]))
        assert done.status == 200, done
        eventually("it has ended everywhere", lambda: _stop(first) == ("", ""), 60)
        assert not (first.state / "stop.latch").exists()
        assert nodes.judge() == []


def test_a_stop_goes_to_the_other_node_by_redis_while_the_database_hangs(
    tmp_path: Path, own_postgres: PostgresServer
):
    """Raised at the standby, and the leader's gate closes, though neither board nor LISTEN can say
    a word. When the database is back there is one stop, carried out."""
    with (
        RedisServer(tmp_path / "redis") as redis,
        Nodes(tmp_path, own_postgres.create(), MESSAGE_BROKER_URL=redis.url) as nodes,
    ):
        leader, standby = nodes.start()
        own_postgres.freeze()
        stop = standby.ask("POST", "/emergency-stop", {"reason": "a drill"})
        assert stop.status == 200, stop
        assert not stop.body["shared"]
        eventually("the leader's gate is closed", lambda: _stop(leader)[0], 60, 0.02)
        assert _stop(leader)[0] == stop.body["stop_id"]
        own_postgres.thaw()
        eventually("it is carried out", lambda: _stop(leader)[1] == "stopped_flat", 60)
        eventually("by the standby's words, too", lambda: _stop(standby) == _stop(leader), 60)
        assert nodes.judge() == []


def _epoch(nodes: Nodes) -> int:
    return nodes.facts()[-1][0].epoch


def _well(node: NodeService) -> bool:
    """Leads, and its store works again (S5 has let go)."""
    parts = node.health().get("components", ())
    return node.leads() and all(part["ok"] for part in parts if part["name"] == "store")


def _stop(node: NodeService) -> tuple[str, str]:
    answer = node.try_ask("GET", "/emergency-stop")
    if answer is None or answer.status != 200:
        return "", ""
    return answer.body["stop_id"], answer.body["state"]


def _resume(stop_id: str) -> dict[str, object]:
    return {"stop_id": stop_id, "reason": "the drill is over"}
