"""Whose turn it is to connect: the venue allows few new connections a second, so rank decides."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from enum import IntEnum
from itertools import count

import msgspec

from orchestrator.adapters.oanda.limiter import TokenBucket
from orchestrator.model.time import NS_PER_S


class ConnectRank(IntEnum):
    """Who connects first: what waits to reduce risk, then orders, reads, streams, spare lanes."""

    URGENT = 0
    ORDER = 1
    READ = 2
    STREAM = 3
    WARM = 4


class _Waiter(msgspec.Struct, eq=False):
    owner: object
    rank: ConnectRank
    number: int
    turn: asyncio.Future[None]


class ConnectTurns:
    """One for each address of ours: all connections to the venue, REST and streams, pass here."""

    def __init__(self, bucket: TokenBucket, mono: Callable[[], int]) -> None:
        self._bucket = bucket
        self._mono = mono
        self._waiting: list[_Waiter] = []
        self._numbers = count()
        self._alarm: asyncio.TimerHandle | None = None

    async def wait(self, owner: object, rank: ConnectRank) -> None:
        """Returns when `owner` may connect once."""
        if not self._waiting and not self._bucket.take(self._mono()):
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiter = _Waiter(owner, rank, next(self._numbers), turn)
        self._waiting.append(waiter)
        self._serve()
        try:
            await turn
        finally:
            if waiter in self._waiting:
                self._waiting.remove(waiter)

    def hurry(self, owner: object, rank: ConnectRank) -> None:
        """Somebody needs what `owner` is about to connect: it waits with this rank at least."""
        for waiter in self._waiting:
            if waiter.owner is owner:
                waiter.rank = min(waiter.rank, rank)

    def _serve(self) -> None:
        if self._alarm is not None:
            return
        while self._waiting:
            wait_ns = self._bucket.take(self._mono())
            if wait_ns:
                loop = asyncio.get_running_loop()
                self._alarm = loop.call_later(wait_ns / NS_PER_S, self._woken)
                return
            first = min(self._waiting, key=lambda one: (one.rank, one.number))
            self._waiting.remove(first)
            if first.turn.done():
                self._bucket.put_back()  # cancelled: nobody connects
            else:
                first.turn.set_result(None)

    def _woken(self) -> None:
        self._alarm = None
        self._serve()
