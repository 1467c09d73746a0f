"""One emergency stop for all nodes: raised anywhere, it stands everywhere until a resume."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
import pytest

from orchestrator.model.errors import LeaseError
from orchestrator.model.leading import StopNotice
from orchestrator.model.money import AccountId
from orchestrator.model.safety import StopState
from orchestrator.service import stops
from orchestrator.service.gate import Gate, Latch
from orchestrator.service.stops import LeaderStops, NodeStops
from tests.house import USD_ACCOUNT, House, in_virtual_time, new_market
from tests.leases import Board, FakeBoard

ALL: tuple[AccountId, ...] = ()
LATCH = Latch(stop_id="stop-1", actor="anna", reason="a drill", liquidate=True, closed_ns=5)
NOTICE = StopNotice(
    stop_id="stop-9", node="b", actor="ben", reason="by another node", liquidate=True, closed_ns=7
)


class Standby:
    """A node that stands by, in a folder of its own."""

    def __init__(self, folder: Path, board: Board) -> None:
        self.gate = Gate(folder)
        self.board = FakeBoard(board)
        self.leads = True
        self.stops = NodeStops(self.gate, self.board, folder.name, lambda: self.leads)


@pytest.fixture
def board() -> Board:
    return Board()


@pytest.fixture
def node(tmp_path: Path, board: Board) -> Standby:
    return Standby(tmp_path / "a", board)


# -- standing by ----------------------------------------------------------------------------------


def test_a_stop_of_the_board_closes_the_gate_of_a_node_that_stands_by(node, board):
    board.rows["stop-9"] = NOTICE
    asyncio.run(node.stops.step())
    assert node.gate.stopped
    latch = node.gate.read_latch()
    assert latch is not None
    assert (latch.stop_id, latch.actor) == ("stop-9", "ben")


def test_a_stop_raised_here_is_told_to_all_within_the_answer(node, board, monkeypatch):
    # It comes as soon as all is told, however busy the machine is.
    monkeypatch.setattr("orchestrator.service.stops._ANSWER_S", 10.0)

    async def story() -> None:
        async with asyncio.TaskGroup() as tasks:
            keeping = tasks.create_task(node.stops.keep())
            await asyncio.sleep(0.05)
            receipt = await node.stops.emergency_stop("anna", "drill", liquidate=True, accounts=ALL)
            keeping.cancel()
        assert node.gate.stopped
        assert receipt.persisted
        assert receipt.shared
        assert receipt.state is StopState.LIQUIDATING
        assert not receipt.already_stopped
        assert board.rows[receipt.stop_id].actor == "anna"

    asyncio.run(story())


def test_a_stop_is_answered_while_the_board_hangs_and_told_when_it_is_back(
    node, board, monkeypatch
):
    monkeypatch.setattr("orchestrator.service.stops._ANSWER_S", 1.0)

    async def story() -> None:
        node.board.away = True
        node.leads = False
        async with asyncio.TaskGroup() as tasks:
            keeping = tasks.create_task(node.stops.keep())
            receipt = await node.stops.emergency_stop("anna", "drill", liquidate=True, accounts=ALL)
            assert node.gate.stopped
            assert receipt.persisted
            assert receipt.shared is False
            assert receipt.state is StopState.NOT_FLAT
            node.board.away = False
            for _ in range(1_000):
                if receipt.stop_id in board.rows:
                    break
                await asyncio.sleep(0.02)
            keeping.cancel()
        assert receipt.stop_id in board.rows

    asyncio.run(story())


def test_a_repeated_stop_keeps_its_id_and_only_adds(node, board):
    async def story() -> None:
        first = await node.stops.emergency_stop(
            "anna", "one", liquidate=False, accounts=(AccountId("001"),)
        )
        assert not node.gate.stopped
        await node.stops.step()
        second = await node.stops.emergency_stop("ben", "two", liquidate=True, accounts=ALL)
        assert second.already_stopped
        assert second.stop_id == first.stop_id
        await node.stops.step()
        told = board.rows[first.stop_id]
        assert (told.actor, told.liquidate, told.accounts) == ("anna", True, ())
        assert node.gate.stopped

    asyncio.run(story())


def test_a_local_stop_on_a_standbys_machine_stops_all_nodes(node, board):
    node.gate.close()
    node.gate.latch(LATCH)
    asyncio.run(node.stops.step())
    assert board.rows["stop-1"].reason == "a drill"


def test_a_word_that_was_closed_without_a_latch_is_a_stop_of_everything(node, board):
    node.gate.close()
    asyncio.run(node.stops.step())
    told = next(iter(board.rows.values()))
    assert (told.actor, told.liquidate, told.accounts) == ("unknown", True, ())
    assert node.gate.read_latch() is not None


def test_a_recorded_resume_opens_the_gate_of_who_stands_by(node, board):
    async def story() -> None:
        board.rows["stop-9"] = NOTICE
        await node.stops.step()
        await node.board.end("stop-9", "resumed")
        await node.stops.step()
        assert not node.gate.stopped
        assert node.gate.read_latch() is None
        assert node.stops.receipt() is None

    asyncio.run(story())


def test_a_node_that_slept_through_a_resume_learns_of_it_at_its_start(tmp_path, board):
    Gate(tmp_path / "a").latch(LATCH)
    Gate(tmp_path / "a").close()
    board.rows["stop-1"] = msgspec.structs.replace(NOTICE, stop_id="stop-1", ended_by="resumed")
    node = Standby(tmp_path / "a", board)
    asyncio.run(node.stops.step())
    assert not node.gate.stopped


def test_a_stop_of_which_the_board_knows_nothing_stands_and_is_told(tmp_path, board):
    Gate(tmp_path / "a").latch(LATCH)
    node = Standby(tmp_path / "a", board)
    asyncio.run(node.stops.step())
    assert node.gate.read_latch() == LATCH
    assert "stop-1" in board.rows


def test_while_one_of_two_stops_stands_the_gate_is_closed(node, board):
    async def story() -> None:
        board.rows["stop-8"] = msgspec.structs.replace(NOTICE, stop_id="stop-8")
        board.rows["stop-9"] = NOTICE
        await node.stops.step()
        await node.board.end("stop-8", "resumed")
        await node.stops.step()
        assert node.gate.stopped
        await node.stops.step()
        latch = node.gate.read_latch()
        assert latch is not None
        assert latch.stop_id == "stop-9"

    asyncio.run(story())


def test_a_board_that_cannot_be_read_changes_nothing(node, board):
    board.rows["stop-9"] = NOTICE
    asyncio.run(node.stops.step())
    node.board.away = True
    with pytest.raises(LeaseError):
        asyncio.run(node.stops.step())
    assert node.gate.stopped


def test_a_latch_that_cannot_be_written_is_told_and_tried_again(node, monkeypatch):
    def refuse(_: Latch) -> None:
        raise OSError("no space left on device")

    async def story() -> None:
        with monkeypatch.context() as full:
            full.setattr(node.gate, "latch", refuse)
            receipt = await node.stops.emergency_stop("anna", "drill", liquidate=True, accounts=ALL)
            assert not receipt.persisted
            assert node.gate.stopped
        await node.stops.step()
        found = node.gate.read_latch()
        assert found is not None
        assert found.stop_id == receipt.stop_id

    asyncio.run(story())


def test_the_leaders_receipt_is_every_nodes(node):
    async def story() -> None:
        first = await node.stops.emergency_stop("anna", "drill", liquidate=True, accounts=ALL)
        await node.stops.step()
        flat = msgspec.structs.replace(first, state=StopState.FLAT, node="")
        await node.board.show(first.stop_id, msgspec.json.encode(flat).decode())
        await node.stops.step()
        told = node.stops.receipt()
        assert told is not None
        assert told.state is StopState.FLAT
        assert told.node == "a"
        await node.board.show(first.stop_id, "garbage")
        await node.stops.step()
        told = node.stops.receipt()
        assert told is not None
        assert told.state is StopState.LIQUIDATING

    asyncio.run(story())


def test_how_long_its_loop_has_turned_well_is_known_and_begins_anew_after_a_gap(node, monkeypatch):
    now = [10_000_000_000]
    monkeypatch.setattr(stops, "mono_ns", lambda: now[0])
    one = NodeStops(node.gate, node.board, "a", lambda: True)
    for _ in range(6):
        now[0] += 900_000_000
        assert one.well_s == pytest.approx((now[0] - 10_000_000_000) / 1e9)
    now[0] += 1_100_000_000
    assert one.well_s == 0


# -- leading --------------------------------------------------------------------------------------


class Leader:
    """A real house that leads."""

    def __init__(self, house: House, board: Board, resumed: tuple[str, ...] = ()) -> None:
        self.house = house
        self.safety = house.system.safety
        self.stops = LeaderStops(self.safety, FakeBoard(board), "a", resumed)


def led(tmp_path: Path, story, board: Board, resumed: tuple[str, ...] = ()) -> None:
    async def main() -> None:
        market = new_market()
        async with House(tmp_path, market) as house:
            await story(Leader(house, board, resumed))

    in_virtual_time(main)


def test_the_leader_carries_out_a_stop_of_the_board_under_its_id(tmp_path, board):
    async def story(leader: Leader) -> None:
        board.rows["stop-9"] = NOTICE
        await leader.stops.step()
        assert leader.house.gate.stopped
        assert leader.house.kernel.stop_id == "stop-9"
        await leader.stops.step()
        assert '"stop_id":"stop-9"' in board.rows["stop-9"].receipt
        assert len(board.rows) == 1

    led(tmp_path, story, board)


def test_a_stop_of_the_leaders_is_put_on_the_board(tmp_path, board):
    async def story(leader: Leader) -> None:
        receipt = await leader.safety.emergency_stop("anna", "drill", liquidate=False)
        await leader.stops.step()
        told = board.rows[receipt.stop_id]
        assert (told.actor, told.liquidate, told.node) == ("anna", False, "a")

    led(tmp_path, story, board)


def test_a_second_stop_is_joined_to_the_one_that_stands_and_ends_with_it(tmp_path, board):
    async def story(leader: Leader) -> None:
        first = await leader.safety.emergency_stop(
            "anna", "one account", liquidate=False, accounts=(USD_ACCOUNT,)
        )
        await leader.stops.step()
        board.rows["stop-9"] = NOTICE
        await leader.stops.step()
        assert board.rows["stop-9"].joined_to == first.stop_id
        latch = leader.safety.latch
        assert latch is not None
        assert (latch.stop_id, latch.accounts, latch.liquidate) == (first.stop_id, (), True)
        raised = leader.safety.raised
        await leader.stops.step()
        assert leader.safety.raised == raised
        assert leader.safety.reopened()
        await leader.stops.step()
        assert all(row.ended for row in board.rows.values())
        assert leader.safety.latch is None

    led(tmp_path, story, board)


def test_a_stop_that_the_journal_says_was_resumed_is_ended_and_not_raised_again(tmp_path, board):
    """The leader died between the recorded resume and telling the board."""

    async def story(leader: Leader) -> None:
        board.rows["stop-9"] = NOTICE
        await leader.stops.step()
        assert not leader.house.gate.stopped
        assert board.rows["stop-9"].ended

    led(tmp_path, story, board, resumed=("stop-9",))


def test_a_stop_raised_elsewhere_during_a_resume_stands(tmp_path, board):
    async def story(leader: Leader) -> None:
        first = await leader.safety.emergency_stop("anna", "drill", liquidate=False)
        await leader.stops.step()
        assert leader.safety.reopened()
        board.rows["stop-9"] = NOTICE
        await leader.stops.step()
        assert board.rows[first.stop_id].ended
        assert not board.rows["stop-9"].ended
        assert leader.house.gate.stopped

    led(tmp_path, story, board)


def test_a_board_that_is_away_does_not_end_the_leaders_watch(tmp_path, board):
    async def story(leader: Leader) -> None:
        away = FakeBoard(board)
        away.away = True
        stops = LeaderStops(leader.safety, away, "a", ())
        async with asyncio.TaskGroup() as tasks:
            keeping = tasks.create_task(stops.keep())
            await asyncio.sleep(3)
            away.away = False
            board.rows["stop-9"] = NOTICE
            await asyncio.sleep(1)
            keeping.cancel()
        assert leader.house.gate.stopped

    led(tmp_path, story, board)
