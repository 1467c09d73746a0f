"""A small working desk over plain lists: enough of a service to talk to."""

from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx2
import msgspec

from orchestrator.model.errors import ListenerTooSlow, StoreError
from orchestrator.model.facts import SignalEnded
from orchestrator.model.journal import Record
from orchestrator.model.market import Candle, MarketSpan, Tick
from orchestrator.model.queries import ANY_RECORD, ANY_SIGNAL, FIRST_PAGE, Explanation
from orchestrator.model.reducing import ReductionState
from orchestrator.model.safety import (
    AccountReceipt,
    BreakerState,
    BreakerView,
    StopReceipt,
    StopState,
    SystemMode,
)
from orchestrator.service.api import create_api, examples
from orchestrator.service.views import (
    AccountLimitsView,
    AccountStatus,
    AgentView,
    Done,
    Health,
    OrderView,
    OverrideView,
    PositionView,
    ReductionView,
    Refused,
    SignalTaken,
)

TOKEN = "fake-token-of-the-tests"
AT = 1_399_535_999_123_456_000
EXPLANATION = examples.of(Explanation)
assert isinstance(EXPLANATION, Explanation)
ACCOUNT = EXPLANATION.trades[0].account_id
OTHER = "101-001-1000001-002"


def record(seq, kind="signal.ended", subject=ACCOUNT):
    fact = examples.of(Record)
    return msgspec.structs.replace(fact, seq=seq, type=kind, subject=subject, ts=AT + seq)


def ended():
    row = EXPLANATION.signal.outcomes[0].ended
    assert isinstance(row, SignalEnded)
    return row


def page_of(rows, page):
    newest_first = sorted(rows, key=lambda row: -row.cursor)
    older = [row for row in newest_first if not page.before or row.cursor < page.before]
    return tuple(older[: page.limit])


class FakeQueries:
    def __init__(self):
        self.broken = False
        self.all_records = [record(n) for n in range(1, 26)]
        row = EXPLANATION.trades[0]
        self.closed = [
            msgspec.structs.replace(row, cursor=n, trade_id=str(1000 + n)) for n in range(1, 8)
        ]
        self.asked = []

    def _check(self):
        if self.broken:
            raise StoreError("the store /secret/folder/journal.db cannot be read: disk I/O error")

    def signals(self, wanted=ANY_SIGNAL, page=FIRST_PAGE):
        self._check()
        self.asked.append(wanted)
        return page_of([EXPLANATION.signal], page)

    def signal(self, signal_id):
        self._check()
        return EXPLANATION.signal if signal_id == EXPLANATION.signal.signal_id else None

    def intents(self, account_id="", state="", strategy="", page=FIRST_PAGE):
        self.asked.append((account_id, state, strategy))
        rows = [msgspec.structs.replace(EXPLANATION.intents[0], cursor=n) for n in range(1, 4)]
        return page_of([r for r in rows if state in ("", r.state)], page)

    def trades(self, state="", account_id="", strategy="", instrument="", page=FIRST_PAGE):
        self._check()
        self.asked.append((state, strategy, instrument))
        rows = [r for r in self.closed if account_id in ("", r.account_id)]
        return page_of(rows, page)

    def records(self, wanted=ANY_RECORD):
        self._check()
        self.asked.append(wanted)
        found = [
            r
            for r in reversed(self.all_records)
            if (not wanted.types or r.type in wanted.types)
            and (not wanted.before_seq or r.seq < wanted.before_seq)
            and (not wanted.subject or r.subject == wanted.subject)
        ]
        return found[: wanted.limit]

    def explain(self, ref, account_id=""):
        self.asked.append((ref, account_id))
        return EXPLANATION if ref in {"6362", EXPLANATION.signal.signal_id} else None

    def performance(self, account_id="", strategy=""):
        self.asked.append((account_id, strategy))
        row = examples.of(examples.PerformanceRow)
        return (row, msgspec.structs.replace(row, strategy=""))


class FakeListener:
    """What the fake desk publishes; `cut` makes it end as the bus ends a slow one."""

    def __init__(self, desk):
        self.desk = desk
        self.waiting = deque()
        self.cut = False
        self.closed = False
        self.wake = desk.new_event()

    def __aiter__(self):
        return self

    async def __anext__(self):
        while not self.waiting:
            if self.cut:
                raise ListenerTooSlow(1000, 7)
            self.wake.clear()
            await self.wake.wait()
        return self.waiting.popleft()

    async def aclose(self):
        self.closed = True
        self.desk.listeners.remove(self)


class FakeMarket:
    """Ticks and candles by hand, oldest first."""

    def __init__(self) -> None:
        self.all_ticks: list[Tick] = []
        self.all_candles: list[Candle] = []
        self.names: list[str] = []

    def ticks(self, instrument, since_ns, until_ns, limit):
        found = [
            t
            for t in self.all_ticks
            if t.instrument == instrument and since_ns <= t.venue_ns < until_ns
        ]
        return found[:limit]

    def candles(self, instrument, granularity, since_ns, until_ns, limit):
        found = [
            c
            for c in self.all_candles
            if (c.instrument, c.granularity) == (instrument, granularity)
            and since_ns <= c.start_ns < until_ns
        ]
        return found[:limit]

    def spans(self):
        return [
            MarketSpan(instrument=name, minutes=2, first_ns=1, last_ns=2, ticks=3)
            for name in self.names
        ]


class FakeDesk:
    def __init__(self, new_event=None):
        self.new_event = new_event
        self.mode = SystemMode.RUNNING
        self.receipt = None
        self.calls = []
        self.store = FakeQueries()
        self.market_store = FakeMarket()
        self.refusal = None
        self.raises = None
        self.listeners = []
        self.reduced = ReductionState.DONE
        done = examples.of(Done)
        self.trades = list(done.open_trades)
        self.orders = list(done.pending_orders)

    def publish(self, one):
        for listener in self.listeners:
            listener.waiting.append((one, ended()))
            listener.wake.set()

    def cut_listeners(self):
        for listener in self.listeners:
            listener.cut = True
            listener.wake.set()

    def _answer(self, text, **more):
        if self.raises is not None:
            raise self.raises
        if self.refusal is not None:
            return self.refusal
        return Done(text=text, mode=self.mode, **more)

    async def health(self) -> Health:
        stop_id = self.receipt.stop_id if self.receipt else None
        return msgspec.structs.replace(examples.of(Health), mode=self.mode, stop_id=stop_id)

    def agents(self):
        one = examples.of(AgentView)
        return (one, msgspec.structs.replace(one, agent_id="odd-1", state="unhealthy"))

    async def check_agent(self, agent_id) -> AgentView | Refused:
        self.calls.append(("check_agent", agent_id))
        found = {a.agent_id: a for a in self.agents()}.get(agent_id)
        return found or self._no("agent", agent_id)

    async def restart_agent(self, agent_id, actor) -> AgentView | Refused:
        self.calls.append(("restart_agent", agent_id, actor))
        return await self.check_agent(agent_id)

    def _no(self, kind, name):
        return Refused(status=404, title=f"No such {kind}", detail=f"There is no {kind} {name!r}.")

    def accounts(self):
        one = examples.of(AccountStatus)
        return (one, msgspec.structs.replace(one, account_id=OTHER, nav=None, currency="EUR"))

    def account(self, account_id):
        found = {a.account_id: a for a in self.accounts()}.get(account_id)
        return found or self._no("account", account_id)

    def positions(self):
        return (examples.of(PositionView),)

    def open_trades(self):
        return tuple(self.trades)

    def pending_orders(self) -> tuple[OrderView, ...]:
        return tuple(self.orders)

    def breakers(self):
        one = examples.of(BreakerView)
        return (
            one,
            msgspec.structs.replace(one, breaker="A1", subject=ACCOUNT, state=BreakerState.ARMED),
            msgspec.structs.replace(one, breaker="A1", subject=OTHER, state=BreakerState.ARMED),
        )

    def stop_receipt(self):
        return self.receipt

    def queries(self):
        return self.store

    def market(self):
        return self.market_store

    def listen(self):
        listener = FakeListener(self)
        self.listeners.append(listener)
        return listener

    def metrics(self):
        return b"# HELP tso_running 1: trading is on\ntso_running 1.0\n"

    async def start(self, actor, reason=""):
        self.calls.append(("start", actor, reason))
        return self._answer("trading is on")

    async def stop(self, actor, reason="", *, close=False):
        self.calls.append(("stop", actor, reason, close))
        return self._answer(
            "stopped", open_trades=tuple(self.trades), pending_orders=tuple(self.orders)
        )

    async def emergency_stop(self, actor, reason, *, liquidate=True, accounts=()):
        self.calls.append(("emergency_stop", actor, reason, liquidate, accounts))
        if self.raises is not None:
            raise self.raises
        unknown = [a for a in accounts if a not in {ACCOUNT, OTHER}]
        if unknown:
            return self._no("account", unknown[0])
        self.receipt = StopReceipt(
            stop_id="stop-1", state=StopState.LIQUIDATING, actor=actor, reason=reason,
            gate_closed_at=AT, took_us=40, persisted=True, liquidate=liquidate,
            accounts=(AccountReceipt(account_id=ACCOUNT),),
        )  # fmt: skip
        self.mode = SystemMode.STOPPED
        return self.receipt

    async def resume(self, actor, stop_id, reason, open_trades=()):
        self.calls.append(("resume", actor, stop_id, reason, open_trades))
        return self._answer("resumed")

    async def enable(self, account_id, actor, reason="", *, enabled=True):
        self.calls.append(("enable", account_id, actor, reason, enabled))
        found = self.account(account_id)
        return found if isinstance(found, Refused) else self._answer("switched")

    async def trip_breaker(self, breaker, subject, actor, reason):
        self.calls.append(("trip", breaker, subject, actor, reason))
        return self._answer("tripped")

    async def reset_breaker(self, breaker, subject, actor, reason, *, rebase=False):
        told = ("rebase",) if rebase else ()
        self.calls.append(("reset", breaker, subject, actor, reason, *told))
        return self._answer("reset")

    def limits(self):
        one = examples.of(AccountLimitsView)
        return (one, msgspec.structs.replace(one, account_id=OTHER, tightened=()))

    def overrides(self):
        return (examples.of(OverrideView),)

    async def set_override(self, wish, actor, role):
        self.calls.append(("override", wish, actor, role))
        return self._answer("set")

    async def end_override(self, override_id, actor, role, reason):
        self.calls.append(("end", override_id, actor, role, reason))
        return self._answer("ended")

    async def reduce(self, wish, actor):
        self.calls.append(("reduce", wish, actor))
        if self.refusal is not None:
            return self.refusal
        found = self.account(wish.account_id)
        if isinstance(found, Refused):
            return found
        return msgspec.structs.replace(examples.of(ReductionView), state=self.reduced)

    def reductions(self):
        one = examples.of(ReductionView)
        return (one, msgspec.structs.replace(one, command_id="older", written_ns=AT - 1))

    async def submit_signal(self, wish, actor):
        self.calls.append(("signal", wish, actor))
        if self.refusal is not None:
            return self.refusal
        return SignalTaken(signal_id=wish.signal_id or "manual-1", accounts=(ACCOUNT,))

    async def verify_audit(self):
        return self._answer("the audit chain verifies")


class Ticking:
    """A monotonic clock that moves when it is told to."""

    def __init__(self):
        self.now_ns = 0

    def __call__(self):
        return self.now_ns

    def pass_s(self, seconds):
        self.now_ns += int(seconds * 1e9)


def token_ok(token):
    return token == TOKEN


def api_of(desk, clock=None, **more):
    return create_api(lambda: desk, token_ok, "1.2.3", clock_ns=clock or Ticking(), **more)


@asynccontextmanager
async def client_of(app, token=TOKEN) -> AsyncIterator[httpx2.AsyncClient]:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    transport = httpx2.ASGITransport(app=app)
    async with httpx2.AsyncClient(
        transport=transport, base_url="http://127.0.0.1:8000", headers=headers
    ) as client:
        yield client
