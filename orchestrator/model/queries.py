"""Reading what happened: the questions that people ask of the store, and the rows they get."""

from __future__ import annotations

from decimal import Decimal
from typing import Protocol

import msgspec

from orchestrator.model.facts import ChecksDecided, IntentMoved, SignalEnded, StageDecided
from orchestrator.model.journal import Record, RecordFilter
from orchestrator.model.money import ZERO, AccountId, Currency, InstrumentName, Price, Units
from orchestrator.model.orders import Intent, IntentState
from orchestrator.model.outcomes import TradeOutcome
from orchestrator.model.safety import Alert, Effect, Scope, Severity
from orchestrator.model.signals import Signal
from orchestrator.model.time import Instant
from orchestrator.model.venue import Transaction

PAGE_ROWS_MAX = 1_000  # SAFETY X4


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """Base of rows. `cursor` is the row's place: give it to `Page` to read on from there."""

    cursor: int


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """At most `limit` rows. Newest first, older than `before` if given; or, with `after`, the next
    newer ones, oldest first. ValueError when it is not 1 ... 1,000 rows, or both ends are given.
    """

    limit: int = 100
    before: int = 0
    after: int = 0

    def __post_init__(self) -> None:
        if not 1 <= self.limit <= PAGE_ROWS_MAX:
            raise ValueError(f"a page has 1 to {PAGE_ROWS_MAX} rows, not {self.limit}")
        if self.before < 0 or self.after < 0 or (self.before and self.after):
            raise ValueError("a page is read before one row or after one row")


FIRST_PAGE = Page()


class SignalFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Empty fields do not filter. `account_id` and `outcome` speak of the same outcome."""

    account_id: str = ""
    strategy: str = ""
    instrument: str = ""
    outcome: str = ""


ANY_SIGNAL = SignalFilter()
ANY_RECORD = RecordFilter()


class SignalOutcomeRow(Row, frozen=True, kw_only=True):
    """How a signal ended at one account: `ended` tells outcome, stage and reason."""

    at_ns: Instant
    ended: SignalEnded


class SignalRow(Row, frozen=True, kw_only=True):
    """A signal with its outcomes so far. `signal` is None for one that was refused unread."""

    at_ns: Instant
    signal_id: str
    signal: Signal | None
    accounts: tuple[AccountId, ...] = ()
    outcomes: tuple[SignalOutcomeRow, ...] = ()


class StageRow(Row, frozen=True, kw_only=True):
    """A stage's decision: question, answer, reason, latency."""

    at_ns: Instant
    decided: StageDecided


class ChecksRow(Row, frozen=True, kw_only=True):
    """The kernel's checks of one proposal."""

    at_ns: Instant
    decided: ChecksDecided


class MoveRow(Row, frozen=True, kw_only=True):
    """A step of an intent's life."""

    at_ns: Instant
    moved: IntentMoved


class IntentRow(Row, frozen=True, kw_only=True):
    """An intent and where it stands. `first_byte_ns` 0: nothing was sent (as far as is known)."""

    at_ns: Instant
    intent: Intent
    state: IntentState
    moved_ns: Instant
    reason: str = ""
    order_id: str = ""
    trade_id: str = ""
    first_byte_ns: Instant = 0
    latency_us: int = 0


class TransactionRow(Row, frozen=True, kw_only=True):
    """A venue transaction as it entered the ledger. `cursor` is its id within the account."""

    at_ns: Instant
    seq: int
    account_id: AccountId
    source: str
    transaction: Transaction


class TradeRow(Row, frozen=True, kw_only=True):
    """A trade, open or closed. Money in the account's home currency, summed over its closes.

    `units` as opened, `open_units` what is left, both signed. `close_price` is the last close's.
    """

    account_id: AccountId
    trade_id: str
    instrument: InstrumentName
    units: Units
    open_units: Units
    price: Price | None
    opened_ns: Instant
    ours: bool
    intent_id: str = ""
    signal_id: str = ""
    strategy: str = ""
    regime: str = ""
    stop_price: Price | None = None
    target_price: Price | None = None
    reference_price: Price | None = None
    half_spread_cost: Decimal = ZERO
    realized_pl: Decimal = ZERO
    financing: Decimal = ZERO
    close_price: Price | None = None
    close_reason: str = ""
    closed_ns: Instant = 0

    @property
    def is_open(self) -> bool:
        return self.open_units != 0


class OutcomeRow(Row, frozen=True, kw_only=True):
    """A finished trade as it is learnt from."""

    at_ns: Instant
    outcome: TradeOutcome


class AlertRow(Row, frozen=True, kw_only=True):
    alert: Alert


class BreakerRow(Row, frozen=True, kw_only=True):
    """The last move of a breaker; `tripped` false after its reset. `trips` counts for ever."""

    breaker: str
    scope: Scope
    subject: str
    tripped: bool
    latched: bool
    effect: Effect
    evidence: str
    since_ns: Instant
    until_ns: Instant | None
    trips: int
    actor: str
    reset_ns: Instant = 0
    reset_by: str = ""
    reset_reason: str = ""


class PerformanceRow(msgspec.Struct, frozen=True, kw_only=True):
    """Closed trades of ours, of one account; `strategy` "" sums all its strategies.

    Net = realised P/L + financing, home currency. A trade with net > 0 won. None: not defined
    (no trade; no loss for the profit factor; no outcome recorded for `mean_r`).
    """

    account_id: AccountId
    currency: Currency
    strategy: str
    trades: int
    wins: int
    losses: int
    net: Decimal
    gross_profit: Decimal
    gross_loss: Decimal  # >= 0
    win_rate: Decimal | None
    profit_factor: Decimal | None
    expectancy: Decimal | None  # mean net per trade
    mean_r: Decimal | None
    best: Decimal | None
    worst: Decimal | None


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """What a reference turned out to be: `kind` signal | intent | order | trade | transaction."""

    kind: str
    signal_id: str
    account_id: AccountId = AccountId("")


class Moment(msgspec.Struct, frozen=True, kw_only=True):
    """A line of a signal's story: when, by whom, what, in a sentence."""

    seq: int
    at_ns: Instant
    account_id: str
    what: str  # the record's type
    who: str
    text: str


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """All that is known of one signal: who decided what, why, when, how fast, and what came of it.

    `also` names other things that the same reference could mean (ids of accounts overlap).
    """

    ref: str
    found: Found
    signal: SignalRow
    stages: tuple[StageRow, ...] = ()
    checks: tuple[ChecksRow, ...] = ()
    intents: tuple[IntentRow, ...] = ()
    moves: tuple[MoveRow, ...] = ()
    transactions: tuple[TransactionRow, ...] = ()
    trades: tuple[TradeRow, ...] = ()
    outcomes: tuple[OutcomeRow, ...] = ()
    timeline: tuple[Moment, ...] = ()
    also: tuple[Found, ...] = ()


class Queries(Protocol):
    """Blocking reads of what is committed: call them in a thread. Every one may raise StoreError.

    Text arguments left "" do not filter.
    """

    def signals(
        self, wanted: SignalFilter = ANY_SIGNAL, page: Page = FIRST_PAGE
    ) -> tuple[SignalRow, ...]: ...

    def signal(self, signal_id: str) -> SignalRow | None: ...

    def find_signal(self, ref: str, account_id: str = "") -> tuple[Found, ...]:
        """Whose id this is: a signal, intent, order, trade or transaction. Newest first."""
        ...

    def intents(
        self, account_id: str = "", state: str = "", strategy: str = "", page: Page = FIRST_PAGE
    ) -> tuple[IntentRow, ...]: ...

    def trades(
        self,
        state: str = "",
        account_id: str = "",
        strategy: str = "",
        instrument: str = "",
        page: Page = FIRST_PAGE,
    ) -> tuple[TradeRow, ...]:
        """`state`: "open", "closed" or "" for both."""
        ...

    def transactions(self, account_id: str, page: Page = FIRST_PAGE) -> tuple[TransactionRow, ...]:
        """Of one account; the page's ends are transaction ids."""
        ...

    def outcomes(
        self, account_id: str = "", strategy: str = "", page: Page = FIRST_PAGE
    ) -> tuple[OutcomeRow, ...]: ...

    def alerts(
        self, severity: Severity | None = None, page: Page = FIRST_PAGE
    ) -> tuple[AlertRow, ...]: ...

    def breakers(self, *, tripped: bool | None = None) -> tuple[BreakerRow, ...]:
        """Every breaker that ever moved, the latest move first."""
        ...

    def records(self, wanted: RecordFilter = ANY_RECORD) -> list[Record]: ...

    def explain(self, ref: str, account_id: str = "") -> Explanation | None:
        """None when nothing bears this reference."""
        ...

    def performance(
        self, account_id: str = "", strategy: str = ""
    ) -> tuple[PerformanceRow, ...]: ...
