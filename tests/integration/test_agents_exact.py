"""An exact replay with agents elsewhere: its orders are the embedded run's, row by row."""

from __future__ import annotations

import signal
from pathlib import Path

from orchestrator.model.signals import STAGES
from tests.integration.agent_programs import Programs
from tests.integration.flow import BUSY, BUSY_TOML, replay_words, write_ticks
from tests.integration.journals import first_difference
from tests.integration.processes import Service, alive, eventually
from tests.integration.test_agents_elsewhere import children_of
from tests.servers.redis import RedisServer

_BUSY = BUSY_TOML[BUSY_TOML.index("[agents.pattern_detection]") :]
STEADY = Path(__file__).with_name("steady.py")
UP = "market time begins"


def _files(folder: Path, hours: float) -> list[Path]:
    return [
        write_ticks(folder, name, mid=mid, hours=hours, seed=9, every_ms=2000)
        for name, mid in (("EUR_USD", 1.39), ("NZD_USD", 0.87))
    ]


def _service(
    folder: Path, files: list[Path], where: str, *words: str, **environment: str
) -> Service:
    """A replay in a folder of its own; the four roles live `where`, two instances each."""
    roles = "" if where == "service" else "".join(
        f'[agents.{role.value}]\nwhere = "{where}"\ninstances = 2\n\n' for role in STAGES
    )  # fmt: skip
    home = "process" if where == "process" else "service"
    roles += f'[agents.market_analysis]\npath = "{STEADY}:Steady"\nwhere = "{home}"\n\n'
    service = Service(
        folder, *replay_words(files, words[0]), *words[1:], "--exit-at-end",
        "--state", str(folder / "st"), toml=roles + _BUSY,
        **{**BUSY, "AGENT_STARTUP_TIMEOUT": "300", **environment},
    )  # fmt: skip
    service.state = folder / "st"
    return service


def _embedded(folder: Path, files: list[Path]) -> Service:
    with _service(folder / "embedded", files, "service", "max") as service:
        service.start()
        assert service.wait(300) == 0, service.output()
        return service


def _equal(service: Service, embedded: Service, orders: int) -> None:
    assert first_difference(service.state, embedded.state) == ""
    with service.store() as store:
        assert store.broken() is None
        written = store.rows("SELECT seq FROM journal WHERE type = 'intent.written'")
        assert len(written) >= orders, f"the test must see orders, not {len(written)}"


def test_over_redis_at_a_finite_speed_with_an_instance_and_the_broker_killed(tmp_path: Path):
    """Goal: four roles with two instances each over Redis under `--speed 60 --exact`: the orders
    of the embedded run, although `kill -9` takes an instance, and then the broker, in the middle.
    """
    files = _files(tmp_path, 0.07)
    embedded = _embedded(tmp_path, files)
    with (
        RedisServer(tmp_path / "redis") as redis,
        _service(
            tmp_path / "redis-run", files, "remote", "60", "--exact", MESSAGE_BROKER_URL=redis.url
        ) as service,
        Programs(tmp_path, service.environment) as programs,
    ):
        for role in STAGES:
            for instance in (1, 2):
                programs.agent(role.value, instance)
        service.start()
        eventually("all have come", lambda: UP in service.output(), 300, 0.2)
        programs.kill("parameter_optimization-1")
        programs.agent("parameter_optimization", 1)
        redis.restart(empty=True)
        assert service.wait(300) == 0, service.output()
        _equal(service, embedded, 6)


def test_in_processes_at_full_speed_and_the_children_end_with_it(tmp_path: Path):
    """Goal: `--speed max` is exact with agents in processes of their own, market analysis too."""
    files = _files(tmp_path, 0.1)
    embedded = _embedded(tmp_path, files)
    with _service(tmp_path / "p", files, "process", "max") as service:
        service.start()
        eventually("all have come", lambda: UP in service.output(), 300, 0.05)
        children = children_of(service)
        assert service.wait(300) == 0, service.output()
        assert len(children) == 9
        eventually("its children have ended", lambda: not any(map(alive, children)), 10)
        _equal(service, embedded, 10)


def test_ctrl_c_ends_a_paced_replay_in_order(tmp_path: Path):
    """Goal: at a pace that would take half an hour, Ctrl-C ends it now, with its summary."""
    files = _files(tmp_path, 0.5)
    with _service(tmp_path / "s", files, "service", "1", "--exact") as service:
        service.start()
        eventually("it has begun", (service.state / "orchestrator.db").exists, 60)
        assert service.process is not None
        eventually("it runs", lambda: _started(service), 60)
        service.process.send_signal(signal.SIGINT)
        assert service.wait(30) == 130, service.output()
        assert "ticks recorded" in service.output()
        with service.store() as store:
            assert store.broken() is None
            assert store.rows("SELECT type FROM journal ORDER BY seq DESC LIMIT 1") == [
                ("service.stopped",)
            ]


def _started(service: Service) -> bool:
    with service.store() as store:
        return bool(store.rows("SELECT seq FROM journal WHERE type = 'mode.changed' LIMIT 1"))


def test_a_replay_whose_agents_never_come_ends_with_who_is_missing(tmp_path: Path):
    files = _files(tmp_path, 0.05)
    with _service(
        tmp_path / "s", files, "remote", "60", "--exact", AGENT_STARTUP_TIMEOUT="1"
    ) as service:
        service.start()
        assert service.wait(120) == 1
        assert "AGENT_STARTUP_TIMEOUT: within 1 s these agents did not come up" in service.output()
        assert "disagreement (0 of 2)" in service.output()
