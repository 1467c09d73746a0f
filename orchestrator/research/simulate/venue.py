"""The paper venue behind a bad line: writes, reads and streams go through the fates."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from decimal import Decimal
from typing import Any, TypeVar

import msgspec

from orchestrator.model.errors import (
    VenueError,
    VenueNonsense,
    VenueRefused,
    VenueSilent,
    VenueUnreachable,
)
from orchestrator.model.market import StreamDown, StreamUp, Tick
from orchestrator.model.money import AccountId, InstrumentName, Price
from orchestrator.model.orders import (
    Answered,
    GateQuestion,
    NotSent,
    Rejected,
    Unknown,
    WriteKind,
    WriteOutcome,
    WriteRequest,
)
from orchestrator.model.ports import StreamItem, StreamSink, WriteDone
from orchestrator.model.time import NS_PER_S, Instant
from orchestrator.model.venue import Account, Transaction
from orchestrator.research.simulate.closing import is_by_hand
from orchestrator.research.simulate.death import Death
from orchestrator.research.simulate.fates import dice_of
from orchestrator.research.simulate.refusals import as_answer, refusal, reject
from orchestrator.research.simulate.secret import echoed, error_echoed
from orchestrator.research.simulate.world import World
from orchestrator.research.standin import ReadingStandIn, no_gate

T = TypeVar("T")

_ANSWER_S = 5.0  # the client's own time-out
_LINE_S = (0.003, 0.04)  # one way, on a good day
_SLOW_ANSWER_S = 4.4
_SLOW_SENDING_S = 3.0
_SLOW_READ_S = 4.0
_LATE_FRAME_S = (0.3, 6.0)
_LATE_S = (5.5, 50.0)
_LAG_MAX = 6  # transactions


class FaultyVenue(ReadingStandIn):
    """Meets `model.ports.Venue` for one life; what is on the wire outlives it."""

    def __init__(self, world: World, death: Death) -> None:
        super().__init__(world.venue)
        self._world = world
        self._death = death
        self._fates = world.fates
        self._line = dice_of(world.seed, f"line {world.lives}")
        self._old: dict[AccountId, Account] = {}

    def _hop_s(self) -> float:
        return self._line.uniform(*_LINE_S)

    def _later(self, seconds: float, call: Callable[[], None]) -> None:
        self._world.loop.call_later(seconds, call)

    # -- writing ----------------------------------------------------------------------------------

    def submit(self, request: WriteRequest, gate: GateQuestion, done: WriteDone) -> None:
        """Limiter, socket, gate, first byte; then the line, the venue, and the line back."""
        self._death.check()
        self._world.judge.bare.wrote(request)
        if self._fates.strikes("crash_at_send"):
            self._death.strike("killed before a write was handed over")
        wait_s = 0.0005
        if self._fates.strikes("slow_sending"):
            wait_s = self._fates.dice("slow_sending").uniform(0.1, _SLOW_SENDING_S)
        self._later(wait_s, lambda: self._send(request, gate, done))

    def _send(self, request: WriteRequest, gate: GateQuestion, done: WriteDone) -> None:
        if self._death.dead:
            return
        if self._world.inside("venue_away"):
            self._answer(done, NotSent(reason="connection refused"), 0)
            return
        refused = gate()
        if refused is not None:
            self._answer(done, NotSent(reason=refused, by_gate=True), 0)
            return
        self._world.judge.first_byte(request)
        first_byte_ns = self._world.market.time.now()
        self._cross(request, lambda outcome: self._hear(request, done, outcome, first_byte_ns))
        if request.kind is WriteKind.ORDER and self._fates.strikes("crash_at_send"):
            self._death.strike("killed after a write's first byte")

    def _cross(self, request: WriteRequest, answer: Callable[[WriteOutcome], None]) -> None:
        """The way to the venue."""
        fates, no = self._fates, refusal(self._world)
        if no is not None:
            self._later(self._hop_s(), lambda: answer(as_answer(no)))
        elif fates.strikes("request_lost"):
            lost_s = fates.dice("request_lost").choice((0.0, _ANSWER_S))
            self._later(lost_s, lambda: answer(Unknown(reason="reset, or no answer within 5 s")))
        elif request.kind is WriteKind.ORDER and fates.strikes("late_arrival"):
            self._later(_ANSWER_S, lambda: answer(Unknown(reason="no answer within 5 s")))
            self._world.judge.late(request.client_request_id)
            self._later(
                fates.dice("late_arrival").uniform(*_LATE_S), lambda: self._arrive_late(request)
            )
        elif is_by_hand(request) and fates.strikes("close_late"):
            self._later(_ANSWER_S, lambda: answer(Unknown(reason="no answer within 5 s")))
            self._world.judge.closing.comes_late(request.client_request_id)
            self._later(
                fates.dice("close_late").uniform(*_LATE_S), lambda: self._arrive_late(request)
            )
        elif fates.strikes("http_429"):
            self._later(self._hop_s(), lambda: answer(NotSent(reason="HTTP 429")))
        elif fates.strikes("refused"):
            said = Rejected(status=400, code="SIMULATED", message="refused without a transaction")
            self._later(self._hop_s(), lambda: answer(said))
        elif fates.strikes("http_5xx") and fates.dice("http_5xx").random() < 0.5:  # noqa: PLR2004 -- half
            self._later(self._hop_s(), lambda: answer(Unknown(reason="HTTP 503")))
        else:
            self._later(self._hop_s(), lambda: self._arrive(request, answer))

    def _arrive(self, request: WriteRequest, answer: Callable[[WriteOutcome], None]) -> None:
        fates = self._fates
        if self._world.inside("venue_away"):
            self._later(_ANSWER_S, lambda: answer(Unknown(reason="no answer within 5 s")))
            return

        def heard(outcome: WriteOutcome, _: Instant) -> None:
            self._world.judge.closing.arrived(request, outcome)
            self._return(outcome, answer)

        if request.kind is WriteKind.ORDER and fates.strikes("rejects"):
            reject(self._world, request, lambda spoilt: self._inner.submit(spoilt, no_gate, heard))
        else:
            self._inner.submit(request, no_gate, heard)

    def _arrive_late(self, request: WriteRequest) -> None:
        def heard(outcome: WriteOutcome, _first_byte_ns: Instant) -> None:
            self._world.judge.arrived(request.client_request_id)
            self._world.judge.closing.arrived(request, outcome)

        self._inner.submit(request, no_gate, heard)

    def _return(self, outcome: WriteOutcome, answer: Callable[[WriteOutcome], None]) -> None:
        """The way back."""
        fates = self._fates
        if self._world.inside("venue_away"):
            self._later(_ANSWER_S, lambda: answer(Unknown(reason="no answer within 5 s")))
        elif fates.strikes("answer_lost"):
            lost_s = fates.dice("answer_lost").choice((0.0, _ANSWER_S))
            self._later(lost_s, lambda: answer(Unknown(reason="reset, or no answer within 5 s")))
        elif fates.strikes("http_5xx"):
            self._later(self._hop_s(), lambda: answer(Unknown(reason="HTTP 502")))
        elif fates.strikes("slow_answers"):
            slow_s = fates.dice("slow_answers").uniform(0.2, _SLOW_ANSWER_S)
            self._later(slow_s, lambda: answer(outcome))
        else:
            self._later(self._hop_s(), lambda: answer(outcome))

    def _hear(
        self, request: WriteRequest, done: WriteDone, outcome: WriteOutcome, first_byte_ns: Instant
    ) -> None:
        if not self._death.dead and isinstance(outcome, (Answered, Rejected)):
            self._world.judge.known.account(request.account_id)
        self._answer(done, outcome, first_byte_ns)

    def _answer(self, done: WriteDone, outcome: WriteOutcome, first_byte_ns: Instant) -> None:
        if not self._death.dead:
            self._world.tell(f"answer {type(outcome).__name__} {getattr(outcome, 'reason', '')}")
            if self._fates.strikes("echoes"):
                outcome = echoed(outcome)
            done(outcome, first_byte_ns)

    # -- reading ----------------------------------------------------------------------------------

    async def _read(self, read: Callable[[], Awaitable[T]]) -> T:
        try:
            return await self._read_through(read)
        except VenueError as exc:
            if self._fates.strikes("echoes"):
                raise error_echoed(exc) from None
            raise

    async def _read_through(self, read: Callable[[], Awaitable[T]]) -> T:
        await asyncio.sleep(self._hop_s())
        await self._maybe_fail()
        found = await read()
        slow_s = 0.0
        if self._fates.strikes("reads_slow"):
            slow_s = self._fates.dice("reads_slow").uniform(0.1, _SLOW_READ_S)
        await asyncio.sleep(slow_s + self._hop_s())
        if self._world.inside("venue_away"):
            raise VenueSilent("the answer broke off")
        return found

    async def _maybe_fail(self) -> None:
        self._death.check()
        if self._world.inside("venue_away"):
            raise VenueUnreachable("connection refused")
        no = refusal(self._world)
        if no is not None:
            raise no
        if not self._fates.strikes("reads_fail"):
            return
        match self._fates.dice("reads_fail").randrange(4):
            case 0:
                await asyncio.sleep(_ANSWER_S)
                raise VenueSilent("no answer within 5 s")
            case 1:
                raise VenueRefused(503, "", "Service Unavailable")
            case 2:
                raise VenueNonsense("an answer that is no JSON")
            case _:
                raise VenueUnreachable("connection refused")

    async def account(self, account_id: AccountId) -> Account:
        found = await super().account(account_id)
        self._world.judge.known.account(account_id)
        old = self._old.get(account_id)
        if old is not None and self._fates.strikes("reads_stale"):
            return old
        self._old[account_id] = found
        return found

    async def transactions_since(
        self, account_id: AccountId, since: int
    ) -> tuple[tuple[Transaction, ...], int]:
        found, last = await super().transactions_since(account_id, since)
        self._world.judge.known.account(account_id)
        if not self._fates.strikes("reads_stale"):
            return found, last
        known = last - self._fates.dice("reads_stale").randint(1, _LAG_MAX)
        if known < since:
            raise VenueRefused(416, "", "The transaction ID is beyond the account's history")
        return tuple(tx for tx in found if tx.number <= known), known

    # -- streams ----------------------------------------------------------------------------------

    async def stream_prices(
        self, account_id: AccountId, instruments: Sequence[InstrumentName], sink: StreamSink
    ) -> None:
        stream = _Stream(self._world, self._death, "prices", account_id, sink)

        def filtered(items: tuple[StreamItem, ...]) -> None:
            if stream.is_up("prices_gap", "gap"):
                stream.say(tuple(self._spoilt(item) for item in items))

        await stream.run(self._inner.stream_prices(account_id, instruments, filtered))

    def _spoilt(self, item: StreamItem) -> StreamItem:
        if not isinstance(item, Tick) or not self._fates.strikes("bad_ticks"):
            return item
        rolls = self._fates.dice("bad_ticks")
        wrong = rolls.choice((
            {"bid": Price(Decimal("NaN"))}, {"bid": item.ask, "ask": item.bid},
            {"bid": Price(Decimal(0))}, {"ask": Price(item.ask * 3)},
            {"venue_ns": item.venue_ns - 30 * NS_PER_S},
        ))  # fmt: skip
        return msgspec.structs.replace(item, **wrong)

    async def stream_transactions(self, account_id: AccountId, sink: StreamSink) -> None:
        stream = _Stream(self._world, self._death, "transactions", account_id, sink)

        def filtered(items: tuple[StreamItem, ...]) -> None:
            if not stream.is_up("log_silent"):
                return
            if not isinstance(items[0], Transaction):
                stream.say(items)
            elif not self._fates.strikes("log_drop"):
                self._frame(stream, items)

        await stream.run(self._inner.stream_transactions(account_id, filtered))

    def _frame(self, stream: _Stream, items: tuple[StreamItem, ...]) -> None:
        times = 2 if self._fates.strikes("log_double") else 1
        for _ in range(times):
            late_s = 0.02
            if self._fates.strikes("log_late"):
                late_s = self._fates.dice("log_late").uniform(*_LATE_FRAME_S)
            self._later(late_s, lambda: stream.say(items))


class _Stream:
    """One stream of one life: up, or down and said so."""

    def __init__(
        self, world: World, death: Death, name: str, account_id: AccountId, sink: StreamSink
    ) -> None:
        self._world = world
        self._death = death
        self._name = name
        self._account_id = account_id
        self._sink = sink
        self._up = True
        self._waiting: asyncio.Queue[tuple[StreamItem, ...]] = asyncio.Queue()

    async def run(self, source: Coroutine[Any, Any, None]) -> None:
        """Items are given from a task of the service's own, as a socket's reader would."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(source, name=f"{self._name} of {self._account_id}")
            while True:
                items = await self._waiting.get()
                self._death.check()
                judge = self._world.judge
                ticks = judge.known.stream(self._account_id, self._name, items)
                self._sink(items)
                judge.losses.after(ticks, self._world.market.time.now())

    def is_up(self, *windows: str) -> bool:
        """Looked at with each item; the change of state is said before the item."""
        away = [self._world.inside(window) for window in (*windows, "venue_away")]
        up = not any(away) and refusal(self._world) is None
        if up is not self._up:
            self._up = up
            now = self._world.market.time.now()
            said = (
                StreamUp(stream=self._name, account_id=self._account_id, seen_ns=now)
                if up
                else StreamDown(
                    stream=self._name, account_id=self._account_id, seen_ns=now, reason="reset"
                )
            )
            self.say((said,))
        return up

    def say(self, items: tuple[StreamItem, ...]) -> None:
        self._waiting.put_nowait(items)
