"""The kernel's host: one mailbox; facts durable first, then the acts; the gate before each byte."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence

import structlog

from orchestrator.kernel.audit import AuditChain
from orchestrator.kernel.engine import Kernel
from orchestrator.model.acts import (
    Act,
    AskStage,
    CloseGate,
    FetchAccount,
    FetchTransactions,
    Liquidate,
    SendAlert,
    SendOrder,
    Write,
)
from orchestrator.model.base import Message
from orchestrator.model.errors import StoreError, StoreFenced
from orchestrator.model.events import (
    Event,
    SendFinished,
    SignalSeen,
    StageAnswered,
    StorageTrouble,
)
from orchestrator.model.facts import Fact
from orchestrator.model.market import Beat, History, Tick
from orchestrator.model.money import AccountId
from orchestrator.model.orders import WriteOutcome
from orchestrator.model.ports import Bus, Clock, SoonStore, Store, VenueReader, VenueWriter
from orchestrator.model.time import Instant
from orchestrator.service.agent_manager import AgentManager
from orchestrator.service.agent_news import AgentNews
from orchestrator.service.conversation import Conversation
from orchestrator.service.engine_hooks import Hooks
from orchestrator.service.gate import Gate
from orchestrator.service.held import Held, Waiting
from orchestrator.service.journal import Journal, Written
from orchestrator.service.narrator import narrate
from orchestrator.service.nest import Nest
from orchestrator.service.promises import Promises
from orchestrator.service.reads import Reads
from orchestrator.service.seams import mono_ns
from orchestrator.service.seats import Seat
from orchestrator.service.sender import UNWRITTEN, Sender
from orchestrator.service.telemetry import Telemetry

log = structlog.get_logger()

# A turn is closed, committed and acted on after so many facts, however much is still waiting.
_FACTS_A_TURN = 256
# What only reduces risk, reads or tells, waits no longer than this for a store that is slow.
_PATIENCE_MS = 200
# With a write out for so long the store is not taken for one that writes.
_STUCK_MS = 1_000


class ExecutionEngine:
    """Feeds the kernel, one event at a time, in the event loop's thread; never re-entered.

    `handle` is synchronous down to the order's first byte: between the tick that is heard and the
    order that leaves there is no task switch, only the commit. Where the store commits beside the
    loop (`SoonStore`) the kernel hears on meanwhile; only what follows from facts waits for them.
    `epoch`, `node` stand in records. `threads` false: a virtual-time loop, where nothing waits.
    """

    def __init__(
        self, kernel: Kernel, chain: AuditChain, store: Store, bus: Bus, writer: VenueWriter,
        reader: VenueReader, agents: AgentManager, gate: Gate, clock: Clock, telemetry: Telemetry,
        *, node: str, threads: bool = True,
    ) -> None:  # fmt: skip
        self.kernel = kernel
        self.hooks = Hooks()
        self._journal = Journal(chain, store, kernel, telemetry, self._returned, node=node)
        self._sender = Sender(
            kernel, self._journal, writer, gate, clock, telemetry, self.handle
        )  # fmt: skip
        self._held = Waiting()
        self._promises = Promises()
        self._abandoned = False
        self._store = store
        self._threads = threads
        self._bus = bus
        self._reads = Reads(reader, clock, self.handle)
        self._agents = agents
        self._gate = gate
        self._clock = clock
        self._telemetry = telemetry
        self._inbox: deque[Event] = deque()
        self._busy = False
        self._talk = Conversation(agents, self._inbox, self.note, self.hooks)
        self._news = AgentNews(agents, self.note, self.handle, self.hooks, clock)
        self._now: Instant = 0
        self._watched: Event | None = None
        self._watched_facts: tuple[Fact, ...] = ()
        agents.report_to(self._news.changed)

    # -- the mailbox ----------------------------------------------------------------------------

    def handle(self, *events: Event) -> None:
        """Everything that happens comes in here. Returns when the kernel has heard it, and, where
        the store is waited for, when facts are durable and acts begun; else see `settled`.

        Called from within itself (by an agent's say, a callback) it only queues.
        """
        if self._abandoned:
            return
        self._inbox.extend(events)
        if self._busy:
            return
        self._busy = True
        self._talk.begin()
        try:
            self._drain()
            self._lose_patience()
            self._drain()
        except Exception:
            # The kernel has taken over facts that the journal lacks: no order may follow (S4).
            self._close_for_good()
            raise
        finally:
            self._busy = False

    def command(self, event: Event) -> tuple[Fact, ...]:
        """As `handle`, for a command from outside: what the kernel's step for it said."""
        self._watched, self._watched_facts = event, ()
        self.handle(event)
        self._watched = None
        return self._watched_facts

    def _turn(self) -> None:
        # One instant for the whole turn: what is decided and what is recorded agree.
        self._now = self._clock.now()
        facts: list[Fact] = []
        acts: list[Act] = []
        while self._inbox and len(facts) < _FACTS_A_TURN:
            self._hear(self._inbox.popleft(), facts, acts)
        self._commit(facts, acts)
        self._announce()

    def _hear(self, event: Event, facts: list[Fact], acts: list[Act]) -> None:
        if type(event) is SignalSeen:
            if self._seen_before(event.signal.signal_id):
                return
            self._talk.tell(event.signal)
        began = mono_ns()
        step = self.kernel.step(event, self._now)
        facts.extend(step.facts)
        if event is self._watched:
            self._watched_facts = step.facts
        if type(event) is StageAnswered and event.answer is not None:
            self._talk.judge_answer(step.facts)
        self._take(step.acts, acts)
        if type(event) is Tick:
            self._telemetry.tick((mono_ns() - began) / 1000)
            if self.kernel.quotes.tick(event.instrument) is event:
                self._talk.tell_price(event)
        elif type(event) is Beat:
            self._talk.tell(event)

    def _take(self, wanted: Sequence[Act], acts: list[Act]) -> None:
        asks: list[AskStage] = []
        for act in wanted:
            if type(act) is AskStage:
                asks.append(act)
                continue
            if type(act) is CloseGate:
                self._gate.close()  # first of all: not even the commit stands before it (G3)
            acts.append(act)
        if asks:
            self._talk.ask(asks)

    def heard_from(self, seat: Seat, said: Message) -> None:
        """An agent elsewhere has said something, of its own accord."""
        if not self._busy:
            self._talk.begin()
            self._now = self._clock.now()
        self._talk.hear(seat, said)
        self.handle()

    def _seen_before(self, signal_id: str) -> bool:
        """C04 for ever: the kernel remembers a day, the store never forgets."""
        try:
            if self._store.signal_seen(signal_id):
                return True
        except StoreError as exc:
            # Unreadable is unknown, and unknown blocks (K1): no signal passes, and S5 stands.
            self._inbox.appendleft(StorageTrouble(ok=False, reason=str(exc)))
            return True
        self._sender.begin(signal_id)
        return False

    # -- durability -----------------------------------------------------------------------------

    def _commit(self, facts: Sequence[Fact], acts: list[Act]) -> None:
        """Facts first; what follows from them comes after. On failure the facts wait, in order."""
        written = self._journal.write(facts, self._now)
        self._hear_troubles()
        if written is not Written.LATER:
            self._follow(facts, acts, durable=written is Written.DURABLE)
        elif facts or acts:
            self._held.put(Held(self._journal.said, acts, facts, self._talk.left))

    def _follow(self, facts: Sequence[Fact], acts: list[Act], *, durable: bool) -> None:
        for act in acts:
            self._perform(act, durable=durable)
        self._talk.publish(facts)

    def _returned(self) -> None:
        """The store has come back with what it was given, in a turn of the loop's own."""
        if self._abandoned:
            return
        assert not self._busy, "a store answers from the loop, never inside a call"
        self._busy = True
        self._now = self._clock.now()
        try:
            self._hear_troubles()
            if isinstance(self._journal.broken, StoreFenced):
                self._end_if_broken()  # before what follows
            self._release()
            self._announce()
            self._end_if_broken()
        except Exception as exc:  # noqa: BLE001 -- nobody but the hook would hear of it
            self._close_for_good()
            self.hooks.broken(exc)
        finally:
            self._busy = False
            self._promises.wake()

    def _release(self) -> None:
        """What waited follows, in order: all of it, when its facts could not be written down."""
        while (held := self._next_held()) is not None:
            self._talk.left = held.said_left
            self._follow(held.facts, held.acts, durable=held.said <= self._journal.saved)
            self._drain()
        self._talk.begin()
        self._drain()

    def _next_held(self) -> Held | None:
        journal = self._journal
        return self._held.next() if journal.failing else self._held.next_by(journal.saved)

    def _drain(self) -> None:
        while self._inbox:
            self._turn()

    def _lose_patience(self) -> None:
        """A slow store delays orders; it must not delay a close, a read or an alert (K1)."""
        if not self._held or self._journal.out_ms < _PATIENCE_MS:
            return
        for act in self._held.take_urgent():
            self._perform(act, durable=False)

    def _end_if_broken(self) -> None:
        cause = self._journal.broken
        if cause is None or self._sender.retired:
            return
        self.retire(str(cause))
        if isinstance(cause, StoreFenced):
            self.hooks.fenced(cause)
        else:
            self._gate.close()
            self.hooks.broken(cause)

    def _close_for_good(self) -> None:
        """By the word, which outlives this process and means a stop, for every node.

        Not where this engine is retired: its own parts end around it, which is no bug's trace, and
        whoever leads now must not be stopped by it.
        """
        if not self._sender.retired:
            self._gate.close()

    def retire(self, reason: str) -> None:
        """Nothing leaves this engine any more: another node leads, or this life is at its end.

        In memory only: the gate's word says what a person has stopped, and outlives this process.
        """
        self._sender.retired = reason

    def abandon(self, reason: str) -> None:
        """Another node leads, and hears all of it: this one hears, says and sends nothing more.

        What its neighbours still bring while they end must not close the gate's word, either: that
        would be a stop, and stop every node.
        """
        self.retire(reason)
        self._abandoned = True
        self.close()

    async def settled(self, bound_s: float) -> bool:
        """Whether everything said until now is durable, as soon as that is known; false, when the
        store fails, or has not answered by then. Without a pause where nothing is to be waited for.
        """
        said = self._journal.said

        def known() -> bool:
            return self._journal.saved >= said or self._journal.failing

        await self._promises.until(known, bound_s)
        return self._journal.saved >= said

    async def put_away(self, bound_s: float) -> bool:
        """Whether the store has nothing of ours in hand any more, or has failed, by then."""
        return await self._promises.until(lambda: self._journal.idle, bound_s)

    def _hear_troubles(self) -> None:
        self._inbox.extend(self._journal.troubles)
        self._journal.troubles.clear()

    def retry_commit(self) -> None:
        """On each beat: saves what waits, and probes a store that has failed by a real write."""
        if self._busy or self._abandoned or not self._journal.wants_retry():
            return
        self._busy = True
        self._now = self._clock.now()
        try:
            self._journal.retry()
            self._hear_troubles()
            self._announce()
        finally:
            self._busy = False
        self.handle()

    def look_at_store(self) -> None:
        """Once a second: asks a store that nothing is written to whether it is there (S5)."""
        if self._busy or self._abandoned:
            return
        self._journal.look()
        self._hear_troubles()
        self.handle()

    async def new_epoch(self, above: int = 0) -> int:
        """As `Store.next_epoch`; the loop does not wait for a store that works beside it."""
        if self._threads and isinstance(self._store, SoonStore):
            return await asyncio.to_thread(self._store.next_epoch, above)
        return self._store.next_epoch(above)

    def maybe_snapshot(self, *, force: bool = False) -> None:
        """Save the kernel's state when it is time to, or `force`."""
        self._journal.snapshot(force=force)

    def recovered(self, seq: int) -> None:
        """Where the journal ends after recovery."""
        self._journal.recovered(seq)

    # -- telling ---------------------------------------------------------------------------------

    def _announce(self) -> None:
        """What has become durable is counted, broadcast and told to the log; after the acts."""
        for record, fact in self._journal.take_fresh():
            self._telemetry.saw(fact)
            if self.hooks.durable is not None:
                self.hooks.durable(fact)
            self._bus.publish(record, fact)
            narrate(fact)

    def hold_prices(self) -> None:
        """From now on agents hear no price until `release_prices`; the kernel hears all."""
        self._talk.hold_prices()

    def release_prices(self, past: Sequence[History] = ()) -> None:
        """Agents hear what they missed, then the prices that were held, then go on."""
        held = self._talk.release_prices()
        assert not self._busy, "prices are released from a task of their own"
        self._busy, self._now = True, self._clock.now()
        self._talk.begin(more=len(held))
        try:
            self._publish_past(past, held)
        finally:
            self._busy = False
        self.handle()

    def _publish_past(self, past: Sequence[History], held: Sequence[Tick]) -> None:
        for message in (*past, *held):
            self._talk.tell(message)
        self._commit((), [])
        self._announce()

    def note(self, fact: Fact) -> None:
        """Write down a fact that changes no state of the kernel, and tell those who hear it."""
        if self._busy or self._abandoned:
            self._loose(fact)
            return
        self._busy = True
        self._now = self._clock.now()
        try:
            self._commit([fact], [])
            self._announce()
        finally:
            self._busy = False
        self.handle()

    def _loose(self, fact: Fact) -> None:
        self._journal.keep(fact, self._now)
        self._talk.tell(fact)

    # -- acts -----------------------------------------------------------------------------------

    def _perform(self, act: Act, *, durable: bool) -> None:
        match act:
            case SendOrder():
                self._send_order(act, durable=durable)
            case Write():
                self._sender.reduce(act.request)
            case FetchTransactions():
                self.fetch(act)
            case FetchAccount():
                self._reads.account(act.account_id)
            case Liquidate():
                self.hooks.liquidate(act)
            case CloseGate():
                self.hooks.stop(act)
            case SendAlert():
                self.hooks.alert(act.alert)
            case AskStage():
                raise AssertionError("stages are asked in the turn that wants them")

    def _send_order(self, act: SendOrder, *, durable: bool) -> None:
        if durable or act.repeatable:
            self._sender.send(act)
        else:
            self._inbox.append(SendFinished(intent_id=act.intent_id, outcome=UNWRITTEN))

    def flush_ms(self) -> int | None:
        """As `Journal.flush_ms`."""
        return self._journal.flush_ms()

    @property
    def durable(self) -> bool:
        """Whether everything that was said so far is written down (K4)."""
        return self._journal.durable

    @property
    def storing(self) -> bool:
        """Whether the store writes, as far as is known: no failure stands, and none is near."""
        return not (self._journal.failing or self.stuck or self._abandoned)

    @property
    def stuck(self) -> bool:
        """Whether the store has been working on one write for so long that nobody waits for it."""
        return self._journal.out_ms >= _STUCK_MS

    @property
    def last_first_byte_at(self) -> Instant | None:
        """UTC of the last order's first byte in this life; None when none left."""
        return self._sender.last_first_byte_at

    @property
    def writes_open(self) -> int:
        """Orders whose outcome has not come back, those that wait for their intent included."""
        return self._sender.open + self._held.orders

    def may_reduce(self) -> str | None:
        """As `Sender.may_reduce`."""
        return self._sender.may_reduce()

    def venue_said(self, account_id: AccountId, outcome: WriteOutcome) -> None:
        """As `Sender.venue_said`."""
        self._sender.venue_said(account_id, outcome)

    # -- reads ----------------------------------------------------------------------------------

    def attach(self, tasks: Nest) -> None:
        """The group whose tasks do the reads that the kernel asks for."""
        self._reads.attach(tasks)

    def fetch(self, act: FetchTransactions) -> None:
        """Read an account's transactions from `act.since` on, in the background."""
        self._reads.transactions(act)

    def close(self) -> None:
        """The end of this life: no more reads are begun, no more health is told."""
        self._news.closed = True
        self._reads.close()
