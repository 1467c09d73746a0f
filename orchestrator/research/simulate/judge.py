"""Watches the venue's own books and the journal, and names every invariant that does not hold."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from decimal import Decimal
from pathlib import Path

from orchestrator.kernel.orders.identity import epoch_of, is_ours
from orchestrator.model.facts import (
    AccountAdopted,
    BreakerTripped,
    DayStarted,
    Fact,
    IntentMoved,
    IntentWritten,
    SignalAccepted,
    SignalEnded,
    TransactionApplied,
    TransactionHole,
)
from orchestrator.model.journal import Record
from orchestrator.model.limits import KernelPlan
from orchestrator.model.money import AccountId
from orchestrator.model.orders import Intent, IntentState, WriteKind, WriteRequest
from orchestrator.model.signals import Outcome
from orchestrator.model.time import NS_PER_S, Instant
from orchestrator.model.venue import Trade, Transaction
from orchestrator.paper.exchange.books import Books
from orchestrator.paper.market import Market
from orchestrator.research.simulate.closing import ClosingJudge
from orchestrator.research.simulate.knowledge import Knowledge, QuotesThen
from orchestrator.research.simulate.losses import LossJudge, Views
from orchestrator.research.simulate.naked import NakedJudge
from orchestrator.research.simulate.overriding import OverrideJudge
from orchestrator.research.simulate.secret import told_in
from orchestrator.research.simulate.sending import SendingJudge
from orchestrator.research.simulate.standing import Standing
from orchestrator.research.simulate.worth import worth_of

_OUTCOME_AFTER_NS = 30 * NS_PER_S
_VIOLATIONS_MAX = 20
_TRACE_MAX = 20_000
# Prices may have moved a little since the day began.
_LOWER, _HIGHER = Decimal("0.97"), Decimal("1.03")
_ENTRY_ORDERS = frozenset(
    ("MARKET_ORDER", "LIMIT_ORDER", "STOP_ORDER", "MARKET_IF_TOUCHED_ORDER", "FIXED_PRICE_ORDER")
)


class Judge:
    """Hears every batch of the venue and every durable record; asked to look at each beat."""

    def __init__(self, market: Market, gate_word: Path, *, tracing: bool) -> None:
        self.violations: list[str] = []
        self.trace: list[str] = []
        self._market = market
        self._gate_word = gate_word
        self._tracing = tracing
        # What was promised to the operator: these accounts open nothing.
        self.halted: frozenset[AccountId] = frozenset()
        self.whole = False  # the whole system, and not only each of them
        self._liquidates = False
        # The venue's side.
        self.log: dict[AccountId, list[Transaction]] = {}
        self._orders: dict[tuple[AccountId, str], Transaction] = {}
        self.filled: dict[str, str] = {}  # client id -> trade
        self.orders = 0
        self.on_their_way: set[str] = set()  # orders that arrive when nobody waits any more
        self._late: set[str] = set()
        self.strangers = False  # somebody else trades here, too
        # The journal's side.
        self.standing = Standing(self.blame)
        self.known = Knowledge(market)
        self.sending = SendingJudge(self.standing, self.known, market.exchange.accounts, self.log)
        self.intents = self.sending.intents
        self.ends = self.sending.ends
        self.accepted: dict[str, tuple[AccountId, ...]] = {}
        self._deadlines: dict[tuple[str, AccountId], Instant] = {}  # of signals without an outcome
        self.ended: dict[tuple[str, AccountId], Outcome] = {}
        self._applied = self.sending.applied
        self._named = self.sending.at_venue
        self.bare = NakedJudge(self.blame)
        self.overrides = OverrideJudge(self.blame)
        self.sending.overrides = self.overrides
        self.closing = ClosingJudge(market, self._applied, self.blame)
        self.losses = LossJudge(
            self.standing, self.known, market.exchange.accounts, self._applied, self.blame
        )
        # An older copy of the store: intents that it has lost, and where their orders are.
        self._lost: set[str] = set()
        self._lost_at: set[AccountId] = set()
        self._tags: dict[AccountId, int] = {}  # the highest epoch at the venue when it was put back
        self._muted = False
        self._heard: list[tuple[Record, Fact]] = []
        market.exchange.listeners.append(self._on_batch)

    # -- what is said -----------------------------------------------------------------------------

    def blame(self, invariant: str, text: str) -> None:
        """A violation; once each, and not without end."""
        if self._muted:
            return
        line = f"{invariant}: {text}"
        if line not in self.violations and len(self.violations) < _VIOLATIONS_MAX:
            self.violations.append(line)
            self.tell(f"VIOLATION {line}")

    def tell(self, text: str) -> None:
        """Into the trace, with the market's time."""
        if self._tracing and len(self.trace) < _TRACE_MAX:
            at_s = (self._market.time.now() - self._market.time.start_ns) / 1e9
            self.trace.append(f"{at_s:9.3f} {text}")

    def begin_life(self, plan: KernelPlan, views: Views, durable: Callable[[], bool]) -> None:
        """A process starts with these limits; `views`: what it shows of its breakers."""
        self.known.begin()
        self.sending.plan = plan
        self.losses.begin(plan, views, durable)
        self.bare.begin()

    def promise(
        self, accounts: frozenset[AccountId], *, liquidate: bool, whole: bool = False
    ) -> None:
        """A stop of these accounts was promised durably; a repeated one only adds."""
        self.halted |= accounts
        self.whole = self.whole or whole
        self._liquidates = self._liquidates or liquidate

    def release(self) -> None:
        """A person resumed, or it is not known whether."""
        self.halted, self.whole, self._liquidates = frozenset(), False, False

    @property
    def flat(self) -> frozenset[AccountId]:
        """The accounts that must hold nothing once all has settled."""
        return self.halted if self._liquidates else frozenset()

    # -- orders leave -----------------------------------------------------------------------------

    def first_byte(self, request: WriteRequest) -> None:
        """An order's first byte leaves now (INV-01, INV-03)."""
        self.closing.first_byte(
            request, gate_closed=self.gate_closed, halted=request.account_id in self.halted
        )
        if request.kind is not WriteKind.ORDER:
            return
        name = request.client_request_id
        if self.gate_closed:
            self.blame("INV-01", f"{name} leaves for {request.account_id} with the gate closed")
        if request.account_id in self.halted:
            self.blame("INV-01", f"{name} leaves for {request.account_id}, which is stopped")
        if name not in self.intents:
            self.blame("INV-03", f"{name} leaves without a durable intent")
        intent = self.intents.get(name)
        if intent is not None and intent.epoch <= self._tags.get(request.account_id, -1):
            self.blame("R6", f"{name} leaves in epoch {intent.epoch}, which orders there bear")
        if request.account_id in self._lost_at:
            self.blame("R6", f"{name} leaves, and nobody was told of orders that were forgotten")
        for invariant, text in self.sending.judge(request, self._market.time.now()):
            self.blame(invariant, text)

    def late(self, name: str) -> None:
        """This order will come to the venue when its sender has long given up."""
        self.on_their_way.add(name)
        self._late.add(name)

    def arrived(self, name: str) -> None:
        self.on_their_way.discard(name)

    @property
    def gate_closed(self) -> bool:
        """By the word itself, and not by what the service makes of it."""
        try:
            return any(self._gate_word.read_bytes()[:2])
        except FileNotFoundError:
            return False

    # -- the venue's books ------------------------------------------------------------------------

    def _on_batch(
        self, books: Books, made: Sequence[Transaction], _encoded: Sequence[bytes]
    ) -> None:
        for tx in made:
            self.log.setdefault(books.account_id, []).append(tx)
            self.tell(f"venue {books.account_id[-3:]} {tx.id} {tx.type} {tx.reason or ''}")
            if tx.type in _ENTRY_ORDERS:
                self._on_order(books, tx)
            elif tx.type == "ORDER_FILL":
                self._on_fill(books, tx)

    def _on_order(self, books: Books, tx: Transaction) -> None:
        self._orders[books.account_id, tx.id] = tx
        if _closes(tx):
            return
        name = (tx.client_extensions.id if tx.client_extensions is not None else None) or ""
        if not name and self.strangers:
            return
        self.orders += 1
        if not is_ours(name):
            self.blame("INV-03", f"order {tx.id} at {books.account_id} has no name of ours")
            return
        if name in self._named:
            self.blame("INV-02", f"{name} has orders {self._named[name]} and {tx.id}")
        self._named[name] = tx.id
        intent = self.intents.get(name)
        if intent is None:
            if name not in self._lost:
                self.blame("INV-03", f"order {tx.id} of {name} came without a durable intent")
        elif intent.watermark >= tx.number:
            self.blame("INV-03", f"{name}: watermark {intent.watermark}, order {tx.id}")
        if tx.stop_loss_on_fill is None:
            self.blame("INV-09", f"order {tx.id} of {name} carries no stop loss")

    def _on_fill(self, books: Books, tx: Transaction) -> None:
        order = self._orders.get((books.account_id, tx.order_id or ""))
        if order is None:
            return  # a stop or target of a trade
        if _closes(order):
            if tx.trade_opened is not None:
                self.blame("INV-10", f"fill {tx.id} at {books.account_id} closes, and opens")
            return
        name = (order.client_extensions.id if order.client_extensions is not None else None) or ""
        if not is_ours(name):
            return
        self.filled[name] = tx.trade_opened.trade_id if tx.trade_opened is not None else ""

    def look_at_naked(self) -> None:
        """INV-09, of the trades in accounts where the journal has all that the venue has."""
        accounts = self._market.exchange.accounts
        level = {a for a, books in accounts.items() if books.last_id == self._applied.get(a)}
        self.bare.look([trade for trade in self.naked() if trade.partition("/")[0] in level])

    def naked(self) -> list[str]:
        """Trades that stand at the venue without a stop loss (INV-09)."""
        return [
            f"{account_id}/{trade.id}"
            for account_id, books in self._market.exchange.accounts.items()
            for trade in books.trades.values()
            if trade.stop_loss_order_id is None
            and is_ours(_name_of(trade))
            and _name_of(trade) not in self._lost
        ]

    def unwanted(self) -> list[str]:
        """Trades of orders that were thought absent and came late: they must be closed (O7)."""
        return [
            f"{intent.account_id}/{self.filled[name]}"
            for name in sorted((self._late & self.filled.keys()) - self._lost)
            if (intent := self.intents[name])
            and self.ended.get((intent.signal_id, intent.account_id)) is Outcome.FAILED
            and self.filled[name] in self._market.exchange.accounts[intent.account_id].trades
        ]

    # -- the journal ------------------------------------------------------------------------------

    def durable(self, records: Sequence[Record], facts: Sequence[Fact]) -> None:
        """These are written down now, in this order."""
        for text in told_in(records):
            self.blame("INV-18", f"{text} tells a secret")
        for record, fact in zip(records, facts, strict=True):
            self.tell(f"journal {record.seq} {record.type} {record.subject} {_short(fact)}")
            self._heard.append((record, fact))
            self._take(record, fact)

    def _take(self, record: Record, fact: Fact) -> None:
        self.standing.hear(record, fact)
        self.closing.hear(fact)
        self.overrides.hear(record, fact)
        self._hear(fact)

    def rewind(self, seq: int) -> None:
        """An older copy of the store was put back: what comes after record `seq` was never heard.

        The venue's side stays as it is: its books are still the judge (R6).
        """
        before = set(self.intents)
        self._muted = True
        self.standing.forget()
        self.sending.forget()
        self.closing.forget()
        self.overrides.forget()
        for each in (self.accepted, self.ended, self._deadlines):
            each.clear()
        self._heard = [(record, fact) for record, fact in self._heard if record.seq <= seq]
        for record, fact in self._heard:
            self._take(record, fact)
        self._muted = False
        self._lost |= before - set(self.intents)
        self._lost_at = {
            account_id
            for (account_id, _), tx in self._orders.items()
            if tx.client_extensions is not None and tx.client_extensions.id in self._lost
            and tx.number > self._applied.get(account_id, 0)
            and ("A8", account_id) not in self.standing.trips  # it stands already
        }  # fmt: skip
        for (account_id, _), tx in self._orders.items():
            epoch = epoch_of(tx.client_extensions)
            self._tags[account_id] = max(epoch, self._tags.get(account_id, 0))

    def _hear(self, fact: Fact) -> None:
        match fact:
            case AccountAdopted():
                self._on_adopted(fact.account.id, int(fact.account.last_transaction_id))
            case TransactionApplied():
                self._on_applied(fact.account_id, fact.transaction.number)
                self._judge_copy(fact)
            case TransactionHole():
                self.blame("INV-05", f"{fact.account_id}: {fact.transaction_id} is no hole")
            case IntentWritten():
                self._on_intent(fact.intent)
            case IntentMoved():
                self.ends[fact.intent_id] = fact.state
            case SignalAccepted():
                self._on_accepted(fact)
            case SignalEnded():
                self._on_ended(fact)
            case BreakerTripped(actor="kernel") if fact.breaker in ("S4", "A8"):
                self._on_latched(fact)
            case DayStarted():
                self._judge_day(fact)
            case _:
                pass

    def _judge_day(self, fact: DayStarted) -> None:
        """B4: E0 is what the account is worth, or its balance."""
        books = self._market.exchange.accounts[fact.account_id]
        if books.last_id != self._applied.get(fact.account_id):
            return  # what the service cannot know yet
        live = self._market.exchange.quotes
        quotes: QuotesThen = {
            name: (tick.bid, tick.ask)
            for name in self._market.feed.instruments
            if (tick := live.get(name)) is not None
        }
        worth = worth_of(books, quotes, list(books.trades.values()))
        if worth is None:
            return
        low, high = sorted((worth.nav, worth.balance))
        if not low * _LOWER <= fact.equity <= high * _HIGHER:
            self.blame("B4", f"{fact.account_id}: E0 {fact.equity}, worth {low} to {high}")

    def _on_latched(self, fact: BreakerTripped) -> None:
        """S4 has no excuse; A8 has one in a fault that brought about just this."""
        if fact.breaker == "A8" and self._lost:
            self._lost_at.discard(AccountId(fact.subject))
            return
        late = any(name in fact.evidence for name in self._late)
        naked = self.strangers and "had no stop" in fact.evidence
        if fact.breaker != "A8" or not (late or naked):
            self.blame(fact.breaker, f"tripped for {fact.subject}: {fact.evidence}")

    def _on_adopted(self, account_id: AccountId, last_id: int) -> None:
        if account_id in self._applied:
            self.blame("INV-05", f"{account_id} was adopted again, at {last_id}")
        self._applied[account_id] = last_id

    def _on_applied(self, account_id: AccountId, number: int) -> None:
        last = self._applied.get(account_id)
        if last is not None and number != last + 1:
            self.blame("INV-05", f"{account_id}: {number} was written down after {last}")
        self._applied[account_id] = number

    def _judge_copy(self, fact: TransactionApplied) -> None:
        number, log = fact.transaction.number, self.log.get(fact.account_id, [])
        if not (0 < number <= len(log)) or log[number - 1] != fact.transaction:
            self.blame("INV-05", f"{fact.account_id}: {number} is not what the venue has")

    def _on_intent(self, intent: Intent) -> None:
        if intent.intent_id in self.intents:
            self.blame("INV-02", f"{intent.intent_id} was written twice")
        self.sending.on_intent(intent)

    def _on_accepted(self, fact: SignalAccepted) -> None:
        if fact.signal.signal_id in self.accepted:
            self.blame("C04", f"signal {fact.signal.signal_id} was accepted twice")
        self.accepted[fact.signal.signal_id] = fact.accounts
        for account_id in fact.accounts:
            key = (fact.signal.signal_id, account_id)
            self._deadlines[key] = fact.signal.expires_ns + _OUTCOME_AFTER_NS

    def _on_ended(self, fact: SignalEnded) -> None:
        key = (fact.signal_id, fact.account_id)
        if key in self.ended and fact.signal_id in self.accepted:
            self.blame("INV-14", f"signal {fact.signal_id} ended twice at {fact.account_id}")
        self.ended[key] = fact.outcome
        self._deadlines.pop(key, None)

    def judge_deadlines(self, unsettled: Collection[tuple[str, AccountId]]) -> None:
        """INV-14: an outcome comes by TTL + 30 s, unless an order of the signal is unsettled."""
        now = self._market.time.now()
        for key, until_ns in self._deadlines.items():
            if now > until_ns and key not in unsettled:
                self.blame("INV-14", f"signal {key[0]} has no outcome at {key[1]} after TTL + 30 s")

    # -- when all has settled ---------------------------------------------------------------------

    def behind(self, account_id: AccountId) -> int:
        """How many of the venue's transactions the journal lacks."""
        return len(self.log.get(account_id, [])) - self._applied.get(account_id, 0)

    def final(self) -> None:
        """Every signal has its one outcome; what the venue filled is filled, and nothing else."""
        self.closing.final()
        for signal_id, accounts in self.accepted.items():
            for account_id in accounts:
                if (signal_id, account_id) not in self.ended:
                    self.blame("INV-14", f"signal {signal_id} has no outcome at {account_id}")
        for name, intent in self.intents.items():
            told, truly = self.ends.get(name), name in self.filled
            if (told is IntentState.FILLED) is not truly:
                self.blame(
                    "K3", f"{name} is {told} here, and {'' if truly else 'not '}filled there"
                )
            outcome = self.ended.get((intent.signal_id, intent.account_id))
            thought_absent = outcome is Outcome.FAILED and name in self._late
            if not thought_absent and (outcome is Outcome.FILLED) is not truly:
                self.blame("INV-14", f"{intent.signal_id} ended {outcome}, filled there: {truly}")


def _name_of(trade: Trade) -> str:
    return (trade.client_extensions.id if trade.client_extensions is not None else None) or ""


def _closes(order: Transaction) -> bool:
    """Whether an order only closes: of a trade, a position, or by the venue's own margin call."""
    return any((
        order.trade_close, order.long_position_closeout, order.short_position_closeout,
        order.margin_closeout,
    ))  # fmt: skip


def _short(fact: Fact) -> str:
    words = [str(getattr(fact, name, "")) for name in ("state", "outcome", "reason", "evidence")]
    return " ".join(word for word in words if word)[:160]
