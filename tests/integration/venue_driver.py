"""A small trader over the OANDA client that keeps to SAFETY 7, and what must hold of it.

It drives one account: writes once, settles what is unknown by the log (O5, O6), repeats only what
may be repeated (O9), takes transactions in by the kernel's own door and ledger (O8). The venue's
books are the judge.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from decimal import Decimal

import msgspec

from orchestrator.adapters.oanda.bodies import ALL, Bodies, Dependents, Names, Resting
from orchestrator.adapters.oanda.client import OandaVenue
from orchestrator.kernel.ledger.adopt import adopt
from orchestrator.kernel.ledger.apply import apply_transaction, pass_hole
from orchestrator.kernel.ledger.book import Book
from orchestrator.kernel.ledger.door import Door
from orchestrator.kernel.orders.reconcile import differences
from orchestrator.model.errors import VenueError
from orchestrator.model.market import StreamBeat, StreamUp
from orchestrator.model.money import AccountId, InstrumentName
from orchestrator.model.orders import (
    Answered,
    NotSent,
    Rejected,
    Unknown,
    WriteOutcome,
    WriteRequest,
)
from orchestrator.model.ports import StreamItem
from orchestrator.model.venue import Account, Transaction
from orchestrator.paper.instruments import SPECS

EUR_USD = InstrumentName("EUR_USD")
POLLS_S = (0.25, 0.5, 1.0, 2.0, 4.0)
ABSENT_AFTER_S = 10.0
COUNTING_READS = 3
BETWEEN_READS_S = 2.0
REPEATS = 40  # of what may be repeated: far more than any fault here lasts


class Fate(msgspec.Struct):
    """What we know of one order of ours."""

    state: str = "sent"  # sent | done | refused | unsent | unknown | absent
    tries: int = 0
    seen: bool = False  # in the log


class Driver:
    """One account's trader. `run` beside it, `settled` when everything is known again."""

    def __init__(self, venue: OandaVenue, account: AccountId) -> None:
        self.venue = venue
        self.account = account
        self.bodies = Bodies(account, SPECS[EUR_USD])
        self.book: Book
        self.log: list[Transaction] = []
        self.fates: dict[str, Fate] = {}
        self.problems: list[str] = []
        self.outcomes: Counter[str] = Counter()
        self._door = Door()
        self._known_to = 0
        self._names = 0
        self._reading = asyncio.Lock()
        self._changed = asyncio.Event()

    async def begin(self) -> None:
        self.book = adopt(await self._told(), lambda _: None)

    async def _told(self) -> Account:
        """The venue's own view; on a busy machine quick time may run out once or twice."""
        for _ in range(REPEATS):
            try:
                return await self.venue.account(self.account)
            except VenueError:
                await asyncio.sleep(1.0)
        raise AssertionError(f"{self.account} cannot be read")

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.venue.stream_transactions(self.account, self._hear))
            tasks.create_task(self._keep_up())

    # the log

    def _hear(self, items: tuple[StreamItem, ...]) -> None:
        self.take([one for one in items if isinstance(one, Transaction)])
        for one in items:
            if isinstance(one, StreamUp):
                self._changed.set()
            elif isinstance(one, StreamBeat) and one.last_transaction_id is not None:
                self._known_to = int(one.last_transaction_id)
                self._changed.set()

    def take(self, transactions: list[Transaction], complete_to: int = 0) -> bool:
        """In by the one door; whether something is missing."""
        admission = self._door.admit(self.book.last_id, transactions, complete_to)
        for entry in admission.in_order:
            if isinstance(entry, int):
                pass_hole(self.book, entry)
                self.problems.append(f"a hole at {entry}")
                continue
            self.log.append(entry)
            self.problems += apply_transaction(self.book, entry, lambda _: None).problems
            for name in _names_in(entry):
                if name in self.fates:
                    self.fates[name].seen = True
        if admission.missing:
            self._changed.set()
        return admission.missing

    async def read(self) -> bool:
        """One read of the log from where we are; whether it counts (O5)."""
        async with self._reading:
            since = self.book.last_id
            try:
                found, last = await self.venue.transactions_since(self.account, since)
            except VenueError:
                return False
        self.take(list(found), last)
        return last >= self.book.last_id

    async def _keep_up(self) -> None:
        """Reads after each reconnect, and where a heartbeat or a gap shows that we are behind."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            if not await self.read() or self._door.held or self._known_to > self.book.last_id:
                await asyncio.sleep(1.0)
                self._changed.set()
                self._known_to = min(self._known_to, self.book.last_id + 1)

    # writing

    async def write(self, request: WriteRequest) -> WriteOutcome:
        """Submitted once; what the answer carries goes through the door."""
        ended: asyncio.Future[WriteOutcome] = asyncio.get_running_loop().create_future()
        self.venue.submit(request, lambda: None, lambda outcome, _: ended.set_result(outcome))
        outcome = await ended
        self.outcomes[type(outcome).__name__] += 1
        if isinstance(outcome, Answered | Rejected):
            self.take(list(outcome.transactions))
        return outcome

    def name(self) -> Names:
        self._names += 1
        return Names(id=f"{self.account[-3:]}-{self._names}")

    async def order(self, request: WriteRequest) -> Fate:
        """An order, or one that replaces another: posted once, settled by the log.

        Only proof that it was not accepted allows another try (O3).
        """
        fate = self.fates[request.client_request_id] = Fate()
        while True:
            fate.tries += 1
            match await self.write(request):
                case Answered():
                    fate.state = "done"
                case Rejected():
                    fate.state = "refused"
                case NotSent():
                    fate.state = "unsent"
                    if fate.tries < REPEATS:
                        await asyncio.sleep(1.0)
                        continue
                case Unknown():
                    fate.state = "unknown"
                    await self._settle(fate)
            return fate

    async def _settle(self, fate: Fate) -> None:
        loop = asyncio.get_running_loop()
        ended, counted, last = loop.time(), 0, float("-inf")
        polls = iter(POLLS_S)
        while not fate.seen:
            await asyncio.sleep(next(polls, 5.0))
            counts = await self.read()
            if counts and loop.time() - last >= BETWEEN_READS_S:
                counted, last = counted + 1, loop.time()
            if counted >= COUNTING_READS and loop.time() - ended >= ABSENT_AFTER_S:
                fate.state = "absent"
                return
        fate.state = "done"

    async def repeat(self, make: Callable[[], WriteRequest | None]) -> None:
        """A cancel, a protection or a close of all: again after reading again, until it is so.

        `make` looks at the books: None when there is nothing to do any more.
        """
        for _ in range(REPEATS):
            request = make()
            if request is None:
                return
            await self.write(request)
            await self.read()
            if make() is not None:
                await asyncio.sleep(1.0)
        raise AssertionError(f"{self.account}: never done: {make()}")

    # acts

    async def buy(self, units: int, *, stop: Decimal | None = None) -> Fate:
        hangs = Dependents() if stop is None else Dependents(stop_loss=Resting(price=stop))
        return await self.order(
            self.bodies.market(Decimal(units), with_it=hangs, names=self.name())
        )

    async def rest(self, units: int, price: Decimal) -> Fate:
        return await self.order(self.bodies.limit(Decimal(units), price, names=self.name()))

    def entries(self) -> list[str]:
        return [o.order_id for o in self.book.orders.values() if o.trade_id is None]

    async def cancel(self, order_id: str) -> None:
        await self.repeat(
            lambda: self.bodies.cancel(order_id) if order_id in self.book.orders else None
        )

    async def replace(self, order_id: str, price: Decimal) -> None:
        if order_id in self.book.orders:
            fresh = self.bodies.limit(Decimal(10), price, names=self.name())
            await self.order(self.bodies.replace(order_id, fresh))

    async def protect(self, trade_id: str, stop: Decimal) -> None:
        def make() -> WriteRequest | None:
            trade = self.book.trades.get(trade_id)
            if trade is None or trade.stop_price == stop:
                return None
            return self.bodies.protect(trade_id, Dependents(stop_loss=Resting(price=stop)))

        await self.repeat(make)

    async def close(self, trade_id: str) -> None:
        await self.repeat(
            lambda: self.bodies.close_trade(trade_id) if trade_id in self.book.trades else None
        )

    async def flatten(self) -> None:
        def make() -> WriteRequest | None:
            long, short = self.book.sides().get(EUR_USD, (Decimal(0), Decimal(0)))
            if long:
                return self.bodies.close_position(long=ALL)
            return self.bodies.close_position(short=ALL) if short else None

        await self.repeat(make)

    # the end

    async def settled(self) -> None:
        """Until the books are where the venue is, and two reads found nothing more."""
        quiet = 0
        while quiet < 2:
            before = self.book.last_id
            counts = await self.read()
            still = counts and self.book.last_id == before and not self._door.held
            quiet = quiet + 1 if still else 0
            await asyncio.sleep(0.5)

    async def judged(self, received: Counter[str], history: list[Transaction]) -> list[str]:
        """Everything that does not hold, as sentences. `history`: the venue's own, from its file;
        `received`: how often an order with this name reached the venue's door."""
        said = list(self.problems)
        first = history[-1].number - len(self.log) + 1 if history else 1
        theirs = [one for one in history if one.number >= first]
        if self.log != theirs:
            pairs = zip(self.log, theirs, strict=True)
            wrong = next(((a, b) for a, b in pairs if a != b), None)
            said.append(f"our log is not the venue's: {wrong}")
        said += differences(self.book, await self._told())
        created = Counter(
            one.client_extensions.id
            for one in history
            if one.type.endswith("_ORDER") and one.reason in {"CLIENT_ORDER", "REPLACEMENT"}
            and one.client_extensions is not None
        )  # fmt: skip
        for name, fate in self.fates.items():
            said += _contradictions(name, fate, created[name], received[name])
        return [f"{self.account}: {one}" for one in said]


def _contradictions(name: str, fate: Fate, created: int, received: int) -> list[str]:
    said: list[str] = []
    if created > 1 or received > fate.tries:
        said.append(f"order {name} was made {created} times, posted {received}, tries {fate.tries}")
    if fate.state == "unsent" and created:
        said.append(f"order {name} is said not to be sent, and was made")
    if fate.state == "done" and not created:
        said.append(f"order {name} is said to be done, and was not made")
    if fate.seen is not bool(created) and fate.state != "refused":
        said.append(f"order {name}: made {created} times, in our log: {fate.seen}")
    if fate.state in {"sent", "unknown"}:
        said.append(f"order {name} is not settled")
    return said


def _names_in(tx: Transaction) -> set[str]:
    names = {tx.client_order_id or ""}
    if tx.client_extensions is not None:
        names.add(tx.client_extensions.id or "")
    return names - {""} if not tx.type.endswith("_REJECT") else set()
