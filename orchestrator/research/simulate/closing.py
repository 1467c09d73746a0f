"""What must hold for closes, cancels and tighter stops by hand, by the venue's books (INV-10)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import msgspec

from orchestrator.model.facts import Fact, ReductionMoved, ReductionWritten
from orchestrator.model.money import ZERO, AccountId
from orchestrator.model.orders import Answered, Rejected, WriteKind, WriteOutcome, WriteRequest
from orchestrator.model.reducing import Reduction, ReductionState
from orchestrator.model.time import Session, fx_session
from orchestrator.model.venue import Trade
from orchestrator.paper.exchange.books import Books
from orchestrator.paper.market import Market

S = ReductionState
_FORM = "tsc-"
_CLOSES = frozenset((WriteKind.CLOSE_TRADE, WriteKind.CLOSE_POSITION))
# Of the transactions of an answer: something was done.
_DONE = frozenset(("ORDER_FILL", "STOP_LOSS_ORDER"))
OPEN = frozenset((S.WRITTEN, S.UNKNOWN))


def is_by_hand(request: WriteRequest) -> bool:
    """Whether a person asked for this write: it bears the name of a reduction."""
    return request.client_request_id.startswith(_FORM)


class ClosingJudge:
    """Hears what becomes durable, what leaves, and what the venue made of it."""

    def __init__(self, market: Market, applied: dict[AccountId, int],
                 blame: Callable[[str, str], None]) -> None:  # fmt: skip
        self._market = market
        self._applied = applied
        self._blame = blame
        self.written: dict[str, Reduction] = {}
        self.states: dict[str, ReductionState] = {}
        self._left: Counter[str] = Counter()  # first bytes, over all lives
        self._done: Counter[str] = Counter()  # how often the venue has carried it out
        self.late: set[str] = set()
        self.on_their_way: set[str] = set()  # they arrive when nobody waits any more

    def forget(self) -> None:
        """As before the first record; what the venue has done is done."""
        self.written.clear()
        self.states.clear()

    # -- the journal ------------------------------------------------------------------------------

    def hear(self, fact: Fact) -> None:
        match fact:
            case ReductionWritten():
                wish = fact.reduction
                if wish.reduction_id in self.written:
                    self._blame("INV-02", f"{wish.reduction_id} was written twice")
                if not wish.actor:
                    self._blame("INV-19", f"{wish.reduction_id} has no actor")
                self.written[wish.reduction_id] = wish
                self.states[wish.reduction_id] = S.WRITTEN
            case ReductionMoved():
                self.states[fact.reduction_id] = fact.state
            case _:
                pass

    # -- leaving ----------------------------------------------------------------------------------

    def first_byte(self, request: WriteRequest, *, gate_closed: bool, halted: bool) -> None:
        """A write by hand leaves now."""
        if not is_by_hand(request):
            return
        name, what = request.client_request_id, f"{request.kind} of {request.target}"
        if gate_closed or halted:
            self._blame("INV-01", f"{what} by hand leaves for {request.account_id}, stopped")
        self._left[name] += 1
        if self._left[name] > 1:
            self._blame("INV-02", f"{what} by hand, {name}, leaves {self._left[name]} times")
        part = _part(request)
        if part is not None and name not in self.written:
            self._blame("INV-03", f"{what} by hand, {name}, leaves without a durable word")
        now = self._market.time.now()
        closed = self._market.calendar == "fx" and fx_session(now) == Session.CLOSED
        if closed and request.kind in _CLOSES:
            self._blame("T1", f"{what} by hand leaves for a market that is closed")
        books = self._market.exchange.accounts[request.account_id]
        if books.last_id == self._applied.get(request.account_id):
            self._judge_size(request, books, part)

    def comes_late(self, name: str) -> None:
        """This one will come to the venue when its sender has long given up."""
        self.late.add(name)
        self.on_their_way.add(name)

    def _judge_size(self, request: WriteRequest, books: Books, part: Decimal | None) -> None:
        """Where the journal has all that the venue has: never more than there is, never looser."""
        name, what = request.client_request_id, f"{request.kind} of {request.target}"
        if request.kind is WriteKind.PROTECT:
            self._judge_stop(request, books)
        elif part is not None and part > self._free(request, books):
            self._blame("INV-10", f"{what} by hand, {name}: {part} units are more than there are")
        elif request.kind is WriteKind.CANCEL:
            order = books.pending.get(request.target)
            if order is not None and order.trade_id is not None:
                self._blame("INV-10", f"{what} by hand takes a trade's own order away")

    def _judge_stop(self, request: WriteRequest, books: Books) -> None:
        trade = books.trades.get(request.target)
        stop = books.pending.get((trade and trade.stop_loss_order_id) or "")
        if trade is None or stop is None or stop.price is None:
            return
        price = Decimal(msgspec.json.decode(request.body)["stopLoss"]["price"])
        if (price - stop.price) * (1 if trade.current_units > 0 else -1) <= 0:
            self._blame("INV-10", f"the stop of {request.target} goes from {stop.price} to {price}")

    def _free(self, request: WriteRequest, books: Books) -> Decimal:
        """Units that may be closed, less the parts on their way that nobody knows the end of."""
        if request.kind is WriteKind.CLOSE_TRADE:
            trade = books.trades.get(request.target)
            held = ZERO if trade is None else abs(trade.current_units)
        else:
            held = _held(books, request)
        flying = sum((
            wish.units
            for name, wish in self.written.items()
            if wish.units is not None and name != request.client_request_id
            and self._flies(name, wish, request)
        ), ZERO)  # fmt: skip
        return held - flying

    def _flies(self, name: str, wish: Reduction, request: WriteRequest) -> bool:
        same = wish.account_id == request.account_id and wish.target == request.target
        return same and self.states[name] in OPEN and not self._done[name]

    # -- arriving ---------------------------------------------------------------------------------

    def arrived(self, request: WriteRequest, outcome: WriteOutcome) -> None:
        """The venue has made this of it, whoever hears of it."""
        self.on_their_way.discard(request.client_request_id)
        if not is_by_hand(request) or not isinstance(outcome, (Answered, Rejected)):
            return
        name = request.client_request_id
        types = {tx.type for tx in outcome.transactions}
        cancelled = request.kind is WriteKind.CANCEL and "ORDER_CANCEL" in types
        if not (types & _DONE or cancelled):
            return
        self._done[name] += 1
        if self._done[name] > 1:
            self._blame("INV-02", f"{name} was carried out {self._done[name]} times")
        if any(tx.trade_opened is not None for tx in outcome.transactions):
            self._blame("INV-10", f"{name} has opened a trade")

    # -- when all has settled ---------------------------------------------------------------------

    def final(self) -> None:
        """Told done exactly where the venue has done it."""
        for name, wish in self.written.items():
            told, done = self.states[name], bool(self._done[name])
            if told in OPEN:
                self._blame("settling", f"{name} is {told} at the end")
            elif (told is S.DONE) is done or self._excused(wish):
                continue
            elif done or not wish.repeatable:  # else another hand, or a stop, was quicker
                self._blame("K3", f"{name} is {told} here, carried out there: {done}")

    def _excused(self, wish: Reduction) -> bool:
        """One that came late has no name of its own at the venue: it may be taken for another."""
        late = [self.written[name] for name in self.late if name in self.written]
        return any((each.account_id, each.target) == (wish.account_id, wish.target)
                   for each in late)  # fmt: skip


def _part(request: WriteRequest) -> Decimal | None:
    """How many units a close takes; None for all of them, and for what is no close."""
    if request.kind not in _CLOSES:
        return None
    body: dict[str, Any] = msgspec.json.decode(request.body)
    told = [body[key] for key in ("units", "longUnits", "shortUnits") if key in body]
    return None if "ALL" in told else sum((Decimal(text) for text in told), ZERO)


def _held(books: Books, request: WriteRequest) -> Decimal:
    long = "longUnits" in msgspec.json.decode(request.body)
    found: list[Trade] = [t for t in books.trades.values() if t.instrument == request.target]
    return sum((
        abs(t.current_units) for t in found if (t.current_units > 0) is long
    ), ZERO)  # fmt: skip
