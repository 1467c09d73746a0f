"""The lease's row as the database keeps it, without a database; and a lease that reads it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec

from orchestrator.model.errors import LeaseError
from orchestrator.model.leading import LeaseView, StopNotice

TTL_MS = 5_000
SILENCE_MAX_MS = 3_000


class Row:
    """One row for all nodes. `clock_ms` is the database's, which may step as it likes."""

    def __init__(self, clock_ms: Callable[[], int]) -> None:
        self._clock_ms = clock_ms
        self.epoch = 0
        self.node = ""
        self.holder = ""
        self.address = ""
        self._renewals = 0
        self._expires_ms = 0
        self._moved_ms = 0  # when the holder was heard; a silent one's session is ended

    def view(self) -> LeaseView:
        return LeaseView(
            node=self.node, holder=self.holder, address=self.address, renewal=str(self._renewals),
            left_ms=self._expires_ms - self._clock_ms(),
            lives=self._clock_ms() - self._moved_ms < SILENCE_MAX_MS,
        )  # fmt: skip

    def take(self, seen: LeaseView, node: str, holder: str) -> int | None:
        if (seen.holder, seen.renewal) != (self.holder, str(self._renewals)):
            return None
        self.node, self.holder = node, holder
        self.epoch += 1
        self._moved()
        return self.epoch

    def renew(self, holder: str) -> bool:
        if self.holder != holder:
            return False
        self._moved()
        return True

    def release(self, holder: str) -> None:
        if self.holder == holder:
            self.holder, self._expires_ms = "", self._clock_ms()

    def _moved(self) -> None:
        self._renewals += 1
        self._moved_ms = self._clock_ms()
        self._expires_ms = self._moved_ms + TTL_MS


class FakeLease:
    """Meets `ports.Lease`. `away` fails every question; `hangs` answers none."""

    def __init__(self, row: Row, node: str, life: int = 1) -> None:
        self._row = row
        self._node = node
        self._holder = f"{node}/{life}"
        self.away = False
        self.hangs = False

    async def _asked(self) -> None:
        if self.hangs:
            await asyncio.Event().wait()
        if self.away:
            raise LeaseError("the database does not answer")

    async def look(self) -> LeaseView:
        await self._asked()
        return self._row.view()

    async def take(self, seen: LeaseView) -> int | None:
        await self._asked()
        return self._row.take(seen, self._node, self._holder)

    async def renew(self) -> bool:
        await self._asked()
        return self._row.renew(self._holder)

    async def release(self) -> None:
        await self._asked()
        self._row.release(self._holder)

    async def close(self) -> None:
        """Nothing is open."""


class Board:
    """The stops that all nodes see."""

    def __init__(self) -> None:
        self.rows: dict[str, StopNotice] = {}
        self.hearing: list[Callable[[], None]] = []


class FakeBoard:
    """Meets `ports.StopBoard`, one for each node. `away` fails every question."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self.away = False

    async def _asked(self) -> dict[str, StopNotice]:
        await asyncio.sleep(0)
        if self.away:
            raise LeaseError("the database does not answer")
        return self._board.rows

    async def standing(self) -> tuple[StopNotice, ...]:
        return tuple(row for row in (await self._asked()).values() if not row.ended)

    async def find(self, stop_id: str) -> StopNotice | None:
        return (await self._asked()).get(stop_id)

    async def put(self, notice: StopNotice) -> None:
        rows = await self._asked()
        old = rows.get(notice.stop_id)
        if old is not None:
            wider = set(old.accounts) | set(notice.accounts)
            notice = msgspec.structs.replace(
                old, liquidate=old.liquidate or notice.liquidate,
                accounts=tuple(sorted(wider)) if old.accounts and notice.accounts else (),
                joined_to=notice.joined_to or old.joined_to,
            )  # fmt: skip
        rows[notice.stop_id] = notice
        self._tell()

    async def show(self, stop_id: str, receipt: str) -> None:
        rows = await self._asked()
        if stop_id in rows:
            rows[stop_id] = msgspec.structs.replace(rows[stop_id], receipt=receipt)

    async def end(self, stop_id: str, actor: str) -> None:
        rows = await self._asked()
        for row in tuple(rows.values()):
            if not row.ended and stop_id in (row.stop_id, row.joined_to):
                rows[row.stop_id] = msgspec.structs.replace(row, ended_by=actor)
        self._tell()

    def on_told(self, hear: Callable[[], None]) -> None:
        self._board.hearing.append(hear)

    def _tell(self) -> None:
        for hear in self._board.hearing:
            hear()
