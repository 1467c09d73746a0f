"""A node's life on fakes: what it refuses, when it leads, what follows when it leads no more."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path

import msgspec
import pytest

from orchestrator.main.node import Asked, Keep, Node, node_id, stops_that_ended
from orchestrator.model.errors import OrchestratorError, StoreFenced, StoreLocked
from orchestrator.model.facts import Fact, Resumed, Stopped
from orchestrator.model.journal import Record, RecordFilter
from orchestrator.service.gate import Gate
from orchestrator.settings import load_settings
from tests.leases import Board, FakeBoard, FakeLease, Row

ELSEWHERE = {"OANDA_BASE_URL": "http://127.0.0.1:1", "OANDA_API_KEY": "k",
             "OANDA_ACCOUNT_IDS": "101-001-1000001-001"}  # fmt: skip


class Shared(FakeLease, FakeBoard):
    """Both of what nodes tell each other."""

    def __init__(self, row: Row, node: str) -> None:
        FakeBoard.__init__(self, Board())
        FakeLease.__init__(self, row, node)

    async def _asked(self):
        await FakeLease._asked(self)
        return self._board.rows


class Store:
    """Empty; remembers whether it was told to lead, and may refuse it."""

    queries = None

    def __init__(self, refuses: bool) -> None:
        self.epochs: list[int] = []
        self.closed = False
        self._refuses = refuses

    def lead(self, epoch: int) -> None:
        if self._refuses:
            raise StoreFenced("another node leads")
        self.epochs.append(epoch)

    def load_snapshot(self) -> None:
        return None

    def facts_after(self, _: int) -> Iterator[tuple[Record, Fact]]:
        return iter(())

    def close(self) -> None:
        self.closed = True


class Scene:
    """One node and the row that all nodes share."""

    def __init__(self, folder: Path, *, until_flat: bool = False, **environment: str) -> None:
        loop = asyncio.get_running_loop()
        self.row = Row(lambda: round(loop.time() * 1_000))
        self.lease = Shared(self.row, "me")
        self.gate = Gate(folder)
        self.stores: list[Store] = []
        self.refusing = 0
        self.led = asyncio.Event()
        self.leading = 0
        settings = load_settings(env={"STATE_DIR": str(folder), **environment}, env_file=None)
        self.node = Node(
            settings, Asked(node="me", name="me", until_flat=until_flat),
            Keep(self._open, self.lease, self.gate, None), self._lead,
        )  # fmt: skip

    def _open(self) -> Store:
        self.refusing -= 1
        self.stores.append(Store(self.refusing >= 0))
        return self.stores[-1]

    async def _lead(self) -> None:
        self.leading += 1
        self.led.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.leading -= 1
            self.led.clear()

    def another_takes(self) -> None:
        self.row.take(self.row.view(), "other", "other/1")


def run(tmp_path: Path, story: Callable[[Scene], Awaitable[None]], **more: str) -> None:
    async def main() -> None:
        async with asyncio.timeout(60):
            await story(Scene(tmp_path, **{**ELSEWHERE, **more}))

    asyncio.run(main())


def test_a_vacant_lease_is_taken_at_once_and_given_back_in_order(tmp_path):
    async def story(scene: Scene) -> None:
        async with asyncio.TaskGroup() as tasks:
            living = tasks.create_task(scene.node.live())
            await scene.led.wait()
            assert scene.node.standby is None
            assert scene.stores[0].epochs == [1]
            assert not scene.gate.closed
            living.cancel()
        assert scene.leading == 0

    run(tmp_path, story)


def test_a_node_whose_lease_is_taken_is_cut_off_and_stands_by_with_a_store_opened_anew(tmp_path):
    async def story(scene: Scene) -> None:
        async with asyncio.TaskGroup() as tasks:
            living = tasks.create_task(scene.node.live())
            await scene.led.wait()
            scene.another_takes()
            for _ in range(1_000):
                if not scene.leading and scene.node.standby is not None:
                    break
                await asyncio.sleep(0.02)
            assert scene.node.standby is not None
            assert scene.gate.closed
            assert "another node" in scene.gate.why
            assert not scene.gate.stopped
            assert scene.stores[0].closed
            assert scene.stores[1].epochs == []
            health = await scene.node.standby.health()
            assert health.role == "standby"
            scene.node.end()
            await living

    run(tmp_path, story)


def test_a_store_that_will_not_be_led_is_no_leadership(tmp_path):
    async def story(scene: Scene) -> None:
        scene.stores[0]._refuses = True
        async with asyncio.TaskGroup() as tasks:
            living = tasks.create_task(scene.node.live())
            await scene.led.wait()
            assert scene.stores[0].epochs == []
            assert scene.stores[0].closed
            assert scene.stores[1].epochs == [2]
            living.cancel()

    run(tmp_path, story)


def test_a_rescue_leaves_the_closing_to_the_node_that_leads(tmp_path):
    async def story(_: Scene) -> None:
        scene = Scene(tmp_path, until_flat=True, **ELSEWHERE)
        scene.another_takes()
        with pytest.raises(StoreLocked, match="another node leads"):
            await scene.node.live()

    run(tmp_path, story)


def test_a_node_with_a_paper_venue_of_its_own_refuses_another_nodes_books(tmp_path):
    async def story(_: Scene) -> None:
        scene = Scene(tmp_path)
        scene.another_takes()
        with pytest.raises(OrchestratorError, match="OANDA_BASE_URL"):
            await scene.node.live()

    run(tmp_path, story)


def test_a_node_is_its_folder_on_its_machine_and_no_copy_of_it(tmp_path):
    first, copy = tmp_path / "a", tmp_path / "b"
    first.mkdir()
    copy.mkdir()
    mine = node_id(first)
    assert node_id(first) == mine
    (copy / "node-id").write_bytes((first / "node-id").read_bytes())
    assert node_id(copy) != mine


class Records:
    """Answers `records`, newest first, as a store does."""

    def __init__(self, facts: Sequence[Stopped | Resumed]) -> None:
        self._facts = facts

    def records(self, wanted: RecordFilter) -> list[Record]:
        assert set(wanted.types) == {"stop.raised", "stop.resumed"}
        return [
            Record(
                seq=seq, ts=seq, node="n", epoch=1, subject="", corr="", actor="", prev=b"",
                hash=b"", data=msgspec.json.encode(fact),
                type="stop.raised" if isinstance(fact, Stopped) else "stop.resumed",
            )
            for seq, fact in reversed(list(enumerate(self._facts, 1)))
        ]  # fmt: skip


def test_a_stop_has_ended_when_its_last_word_is_a_resume():
    def raised(stop_id: str) -> Stopped:
        return Stopped(
            stop_id=stop_id, actor="a", reason="r", liquidate=True, accounts=(), gate_closed_ns=1
        )

    def resumed(stop_id: str) -> Resumed:
        return Resumed(stop_id=stop_id, actor="a", reason="r", epoch=1)

    story = (raised("s1"), resumed("s1"), raised("s2"), resumed("s2"), raised("s2"), raised("s3"))
    assert list(stops_that_ended(Records(story))) == ["s1"]
