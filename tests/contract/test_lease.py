"""One suite for the lease and the board of stops: on PostgreSQL, and the fakes of the tests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from importlib.resources import files

import msgspec
import pytest

from orchestrator.adapters.store.postgres_lease import PostgresLease
from orchestrator.model.errors import LeaseError
from orchestrator.model.leading import StopNotice
from orchestrator.model.ports import Lease, StopBoard
from tests.leases import Board, FakeBoard, FakeLease, Row
from tests.servers.postgres import PostgresServer, execute

META = "CREATE TABLE meta (key text PRIMARY KEY, value text NOT NULL)"
EPOCH = "INSERT INTO meta VALUES ('epoch', '7')"
STOP = StopNotice(
    stop_id="stop-1", node="b", actor="anna", reason="a drill", liquidate=False, closed_ns=5,
    accounts=("001", "002"),
)  # fmt: skip


def schema() -> str:
    folder = files("orchestrator.adapters.store").joinpath("migrations", "postgres")
    return folder.joinpath("0002_leader_lease_and_stops.sql").read_text("utf-8")


class Nodes:
    """Leases and boards of several nodes on one place."""

    def __init__(self, kind: str, postgres: PostgresServer) -> None:
        self.url = ""
        self._row = Row(lambda: 0)
        self._row.epoch = 7
        self._board = Board()
        self._open: list[PostgresLease] = []
        if kind == "postgres":
            self.url = postgres.create()
            execute(self.url, META, EPOCH)
            execute(self.url, *filter(str.strip, schema().split(";\n")))

    def lease(self, node: str, life: int = 1) -> Lease:
        return self._on_postgres(node, life) if self.url else FakeLease(self._row, node, life)

    def board(self, node: str) -> StopBoard:
        return self._on_postgres(node, 1) if self.url else FakeBoard(self._board)

    def _on_postgres(self, node: str, life: int) -> PostgresLease:
        url = self.url
        made = PostgresLease(
            lambda: url, node=node, holder=f"{node}/{life}", address=f"http://{node}:8000"
        )
        self._open.append(made)
        return made

    @asynccontextmanager
    async def living(self) -> AsyncGenerator[Nodes]:
        try:
            yield self
        finally:
            for each in self._open:
                await each.close()


@pytest.fixture(params=("fake", "postgres"))
def nodes(request: pytest.FixtureRequest) -> Nodes:
    server = request.getfixturevalue("postgres") if request.param == "postgres" else None
    return Nodes(request.param, server)


def run(nodes: Nodes, story: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        async with nodes.living():
            await story()

    asyncio.run(main())


def test_a_new_lease_is_vacant_and_taken_once_with_a_new_epoch(nodes: Nodes):
    async def story() -> None:
        a, b = nodes.lease("a"), nodes.lease("b")
        seen = await b.look()
        assert seen.vacant
        assert seen.left_ms <= 0
        assert await a.take(await a.look()) == 8
        assert await b.take(seen) is None
        now = await b.look()
        assert (now.node, now.holder) == ("a", "a/1")
        assert 4_000 < now.left_ms <= 5_000

    run(nodes, story)


def test_two_that_take_at_once_are_not_both_leaders(nodes: Nodes):
    async def story() -> None:
        leases = [nodes.lease(name) for name in "abcd"]
        seen = [await each.look() for each in leases]
        async with asyncio.TaskGroup() as tasks:
            taking = [
                tasks.create_task(each.take(view)) for each, view in zip(leases, seen, strict=True)
            ]
        assert sorted(str(each.result()) for each in taking) == ["8", "None", "None", "None"]

    run(nodes, story)


def test_a_renewal_between_the_look_and_the_taking_refuses_the_taking(nodes: Nodes):
    async def story() -> None:
        a, b = nodes.lease("a"), nodes.lease("b")
        await a.take(await a.look())
        seen = await b.look()
        assert await a.renew()
        assert await b.take(seen) is None
        assert await b.take(await b.look()) == 9
        assert not await a.renew()
        assert await b.renew()

    run(nodes, story)


def test_a_lease_that_was_given_back_is_vacant_and_cannot_be_renewed(nodes: Nodes):
    async def story() -> None:
        a, b = nodes.lease("a"), nodes.lease("b")
        await a.take(await a.look())
        await b.release()  # not his
        assert not (await b.look()).vacant
        await a.release()
        assert (await b.look()).vacant
        assert not await a.renew()

    run(nodes, story)


def test_a_later_life_of_a_node_takes_its_lease_from_its_dead_one(nodes: Nodes):
    async def story() -> None:
        first, second = nodes.lease("a"), nodes.lease("a", life=2)
        assert await first.take(await first.look()) == 8
        assert await second.take(await second.look()) == 9
        assert not await first.renew()

    run(nodes, story)


def test_a_stop_is_read_by_every_node_until_it_is_ended(nodes: Nodes):
    async def story() -> None:
        a, b = nodes.board("a"), nodes.board("b")
        assert await a.standing() == ()
        assert await a.find("stop-1") is None
        await b.put(STOP)
        assert await a.standing() == (STOP,)
        await a.show("stop-1", '{"state": "liquidating"}')
        told = await b.find("stop-1")
        assert told is not None
        assert told.receipt == '{"state": "liquidating"}'
        await a.end("stop-1", "anna")
        assert await b.standing() == ()
        told = await b.find("stop-1")
        assert told is not None
        assert told.ended
        assert told.ended_by == "anna"

    run(nodes, story)


def test_a_stop_that_is_put_again_is_widened_and_never_narrowed(nodes: Nodes):
    async def story() -> None:
        board = nodes.board("a")
        await board.put(STOP)
        wider = msgspec.structs.replace(STOP, liquidate=True, accounts=("003",), joined_to="stop-0")
        await board.put(wider)
        told = (await board.standing())[0]
        assert (told.liquidate, sorted(told.accounts)) == (True, ["001", "002", "003"])
        assert told.joined_to == "stop-0"
        await board.put(msgspec.structs.replace(STOP, accounts=()))
        await board.put(STOP)
        told = (await board.standing())[0]
        assert (told.liquidate, told.accounts, told.joined_to) == (True, (), "stop-0")

    run(nodes, story)


def test_a_stop_that_was_ended_is_not_revived_by_who_did_not_hear_of_it(nodes: Nodes):
    async def story() -> None:
        board = nodes.board("a")
        await board.put(STOP)
        await board.end("stop-1", "anna")
        await board.put(STOP)
        assert await board.standing() == ()

    run(nodes, story)


def test_what_was_joined_to_a_stop_ends_with_it(nodes: Nodes):
    async def story() -> None:
        board = nodes.board("a")
        await board.put(STOP)
        await board.put(msgspec.structs.replace(STOP, stop_id="stop-2", joined_to="stop-1"))
        await board.put(msgspec.structs.replace(STOP, stop_id="stop-3"))
        await board.end("stop-1", "anna")
        assert [each.stop_id for each in await board.standing()] == ["stop-3"]

    run(nodes, story)


def test_who_listens_hears_of_a_stop_and_of_its_end(nodes: Nodes):
    async def story() -> None:
        a, b = nodes.board("a"), nodes.board("b")
        heard = asyncio.Event()
        a.on_told(heard.set)
        await a.standing()
        heard.clear()
        for act in (b.put(STOP), b.end("stop-1", "anna")):
            await act
            async with asyncio.timeout(20):
                await heard.wait()
            heard.clear()

    run(nodes, story)


def test_whether_the_leaders_session_lives_is_seen_at_once(postgres: PostgresServer):
    nodes = Nodes("postgres", postgres)

    async def story() -> None:
        a, b = nodes.lease("a"), nodes.lease("b")
        assert not (await b.look()).lives
        await a.take(await a.look())
        assert (await b.look()).lives
        await a.close()  # as its death does
        for _ in range(1_000):
            if not (await b.look()).lives:
                break
            await asyncio.sleep(0.02)
        assert not (await b.look()).lives
        assert await a.renew()  # it was only a cut, and a new session tells that it lives
        assert (await b.look()).lives
        await b.take(await b.look())
        assert not await a.renew()
        assert (await b.look()).lives

    run(nodes, story)


def test_a_leader_that_is_silent_has_its_session_ended_and_comes_back_with_another(
    postgres: PostgresServer,
):
    """As a frozen or cut-off one is: nothing of its own ends its session."""
    nodes = Nodes("postgres", postgres)

    async def story() -> None:
        a, b = nodes.lease("a"), nodes.lease("b")
        await a.take(await a.look())
        for _ in range(1_000):
            if not (await b.look()).lives:
                break
            await asyncio.sleep(0.02)
        assert not (await b.look()).lives
        assert await a.renew()  # nobody has taken it, and its first question finds a new session
        assert (await b.look()).lives

    run(nodes, story)


def test_a_server_that_dies_is_an_error_of_ours_and_its_return_is_found(
    own_postgres: PostgresServer,
):
    nodes = Nodes("postgres", own_postgres)

    async def story() -> None:
        a = nodes.lease("a")
        await a.take(await a.look())
        own_postgres.kill()
        with pytest.raises(LeaseError):
            await a.renew()
        with pytest.raises(LeaseError, match="DATABASE_URL"):
            await a.renew()
        own_postgres.start()
        assert await a.renew()

    run(nodes, story)


def test_a_server_that_is_frozen_holds_nobody_up_for_long(own_postgres: PostgresServer):
    nodes = Nodes("postgres", own_postgres)

    async def story() -> None:
        a = nodes.lease("a")
        await a.take(await a.look())
        own_postgres.freeze()
        try:
            async with asyncio.timeout(15):
                for _ in range(2):  # within a session, and at the making of one
                    with pytest.raises(LeaseError):
                        await a.renew()
        finally:
            own_postgres.thaw()
        assert await a.renew()

    run(nodes, story)


def test_a_taking_waits_for_an_append_that_runs_and_never_for_a_leader_that_hangs(
    own_postgres: PostgresServer,
):
    """A frozen leader may hold the epoch's row: the taking fails, and is tried again."""
    nodes = Nodes("postgres", own_postgres)

    async def story() -> None:
        import asyncpg

        a = nodes.lease("a")
        leader = await asyncpg.connect(nodes.url, ssl=False)
        await leader.execute("BEGIN; SELECT FROM meta WHERE key = 'epoch' FOR SHARE")
        try:
            with pytest.raises(LeaseError):
                await a.take(await a.look())
            assert (await a.look()).vacant
            await leader.execute("COMMIT")
        finally:
            await leader.close()
        assert await a.take(await a.look()) == 8

    run(nodes, story)
