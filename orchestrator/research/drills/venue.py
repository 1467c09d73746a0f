"""The paper venue on a bad day: away, slow, or refusing, as the story says."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, TypeVar

from orchestrator.model.errors import VenueSilent, VenueUnreachable
from orchestrator.model.market import StreamDown, StreamUp
from orchestrator.model.money import AccountId, InstrumentName
from orchestrator.model.orders import (
    GateQuestion,
    NotSent,
    Unknown,
    WriteOutcome,
    WriteRequest,
)
from orchestrator.model.ports import StreamItem, StreamSink, WriteDone
from orchestrator.model.time import Instant
from orchestrator.paper.in_process import InProcessVenue
from orchestrator.research.drills.witness import Witness
from orchestrator.research.standin import ReadingStandIn, no_gate

T = TypeVar("T")

_LINE_S = 0.02
_ANSWER_S = 5.0  # the client's own time-out
_STREAM_LOOK_S = 0.5


class DrillVenue(ReadingStandIn):
    """Meets `model.ports.Venue`. `away` and `slow_s` are set by the story, at any moment."""

    def __init__(self, inner: InProcessVenue, witness: Witness) -> None:
        super().__init__(inner)
        self._witness = witness
        self.away = False
        self.slow_s = 0.0  # one answer takes so long; from 5 s on nobody waits for it

    # -- writing ----------------------------------------------------------------------------------

    def submit(self, request: WriteRequest, gate: GateQuestion, done: WriteDone) -> None:
        """Limiter and socket take a moment; then the gate; then the first byte."""
        self._later(0.001, lambda: self._send(request, gate, done))

    def _send(self, request: WriteRequest, gate: GateQuestion, done: WriteDone) -> None:
        if self.away:
            done(NotSent(reason="connection refused"), 0)
            return
        refused = gate() if request.makes_order else None
        if refused is not None:
            done(NotSent(reason=refused, by_gate=True), 0)
            return
        first_byte_ns = self._witness.first_byte(request)

        def answer(outcome: WriteOutcome) -> None:
            done(outcome, first_byte_ns)

        self._later(_LINE_S + self.slow_s / 2, lambda: self._arrive(request, answer))

    def _arrive(self, request: WriteRequest, answer: Callable[[WriteOutcome], None]) -> None:
        if self.away:
            self._later(_ANSWER_S, lambda: answer(Unknown(reason="no answer within 5 s")))
            return

        def heard(outcome: WriteOutcome, _: Instant) -> None:
            if self.away or self.slow_s >= _ANSWER_S:
                outcome = Unknown(reason="no answer within 5 s")
            self._later(_LINE_S + min(self.slow_s / 2, _ANSWER_S), lambda: answer(outcome))

        self._inner.submit(request, no_gate, heard)

    def _later(self, seconds: float, call: Callable[[], None]) -> None:
        asyncio.get_running_loop().call_later(seconds, call)

    # -- reading ----------------------------------------------------------------------------------

    async def _read(self, read: Callable[[], Awaitable[T]]) -> T:
        await asyncio.sleep(_LINE_S + min(self.slow_s, _ANSWER_S))
        if self.away:
            raise VenueUnreachable("connection refused")
        if self.slow_s >= _ANSWER_S:
            raise VenueSilent("no answer within 5 s")
        return await read()

    # -- streams ----------------------------------------------------------------------------------

    async def stream_prices(
        self, account_id: AccountId, instruments: Sequence[InstrumentName], sink: StreamSink
    ) -> None:
        line = _Line(self, "prices", account_id, sink)
        await line.run(self._inner.stream_prices(account_id, instruments, line.carry))

    async def stream_transactions(self, account_id: AccountId, sink: StreamSink) -> None:
        line = _Line(self, "transactions", account_id, sink)
        await line.run(self._inner.stream_transactions(account_id, line.carry))


class _Line:
    """A stream that goes down with the venue, comes up again with it, and says so."""

    def __init__(
        self, venue: DrillVenue, name: str, account_id: AccountId, sink: StreamSink
    ) -> None:
        self._venue = venue
        self._name = name
        self._account_id = account_id
        self._sink = sink
        self._up = True
        self._waiting: asyncio.Queue[tuple[StreamItem, ...]] = asyncio.Queue()

    def carry(self, items: tuple[StreamItem, ...]) -> None:
        """From the venue; lost while it is away."""
        if not self._venue.away:
            self._waiting.put_nowait(items)

    async def run(self, source: Coroutine[Any, Any, None]) -> None:
        """Runs until cancelled; items are given from a task of the service's own."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(source, name=f"{self._name} of {self._account_id}")
            tasks.create_task(self._watch(), name=f"line {self._name}")
            while True:
                self._sink(await self._waiting.get())

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(_STREAM_LOOK_S)
            if self._up is self._venue.away:
                self._up = not self._venue.away
                self._waiting.put_nowait((self._change(),))

    def _change(self) -> StreamItem:
        now = self._venue.now
        if self._up:
            return StreamUp(stream=self._name, account_id=self._account_id, seen_ns=now)
        return StreamDown(
            stream=self._name, account_id=self._account_id, seen_ns=now, reason="reset"
        )
