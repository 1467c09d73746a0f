"""What people ask of the store, on connections that cannot write and block nobody."""

from __future__ import annotations

import heapq
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Protocol

from orchestrator.adapters.store import rows
from orchestrator.adapters.store.codec import DbRow, record_of
from orchestrator.adapters.store.explaining import Story, explanation, trades_opened
from orchestrator.adapters.store.performance import performance_rows
from orchestrator.adapters.store.projections import links
from orchestrator.adapters.store.statements import directed, statements
from orchestrator.model.money import AccountId
from orchestrator.model.queries import (
    ANY_RECORD,
    ANY_SIGNAL,
    FIRST_PAGE,
    PAGE_ROWS_MAX,
    AlertRow,
    BreakerRow,
    Explanation,
    Found,
    IntentRow,
    OutcomeRow,
    Page,
    PerformanceRow,
    SignalFilter,
    SignalRow,
    TradeRow,
    TransactionRow,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from orchestrator.model.journal import Record, RecordFilter
    from orchestrator.model.safety import Severity

# Larger than any id of the venue's or any number of a row: both databases' integers end there.
_INTEGER_MAX = 2**63 - 1

# As the partial index journal_rare_type says it, word for word: else it is not used.
COMMON_TYPES = (
    "signal.accepted",
    "stage.decided",
    "checks.decided",
    "intent.written",
    "intent.moved",
    "signal.ended",
    "transaction.applied",
)
_RARE = " AND ".join(f"type <> '{kind}'" for kind in COMMON_TYPES)


class Cursor(Protocol):
    """The rows of an answer; as sqlite3 gives them."""

    def fetchone(self) -> Any: ...  # noqa: ANN401 -- a row: what a column holds, its query says

    def fetchall(self) -> list[Any]: ...

    def __iter__(self) -> Iterator[Any]: ...


class Database(Protocol):
    """What answers statements in SQLite's spelling, `?` and `:name`; as sqlite3 does."""

    def execute(
        self, sql: str, parameters: Sequence[Any] | Mapping[str, Any] = (), /
    ) -> Cursor: ...


class Source(Protocol):
    """Where the answers come from."""

    def snapshot(self) -> AbstractContextManager[Database]:
        """One consistent view for all statements inside; errors become StoreError."""
        ...

    def close(self) -> None: ...


class StoreQueries:
    """Meets `queries.Queries`; may be called from any thread.

    Needs a store that has been opened once; connects with the first question.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self._snapshot = source.snapshot
        self._sql = statements("queries")

    def close(self) -> None:
        """Idempotent; a later question connects again."""
        self._source.close()

    # -- lists -------------------------------------------------------------------------------------

    def signals(
        self, wanted: SignalFilter = ANY_SIGNAL, page: Page = FIRST_PAGE
    ) -> tuple[SignalRow, ...]:
        with self._snapshot() as db:
            found = self._page(
                db, "signals", page, account=wanted.account_id, strategy=wanted.strategy,
                instrument=wanted.instrument, outcome=wanted.outcome,
            )  # fmt: skip
            return tuple(self._signal_row(db, row) for row in found)

    def signal(self, signal_id: str) -> SignalRow | None:
        with self._snapshot() as db:
            return self._signal(db, signal_id)

    def intents(
        self, account_id: str = "", state: str = "", strategy: str = "", page: Page = FIRST_PAGE
    ) -> tuple[IntentRow, ...]:
        with self._snapshot() as db:
            found = self._page(
                db, "intents", page, account=account_id, state=state, strategy=strategy
            )
            return tuple(map(rows.intent_row, found))

    def trades(
        self,
        state: str = "",
        account_id: str = "",
        strategy: str = "",
        instrument: str = "",
        page: Page = FIRST_PAGE,
    ) -> tuple[TradeRow, ...]:
        with self._snapshot() as db:
            found = self._page(
                db, "trades", page, state=state, account=account_id, strategy=strategy,
                instrument=instrument,
            )  # fmt: skip
            return tuple(map(rows.trade_row, found))

    def transactions(self, account_id: str, page: Page = FIRST_PAGE) -> tuple[TransactionRow, ...]:
        with self._snapshot() as db:
            found = self._page(db, "transactions", page, account=account_id)
            return tuple(map(rows.transaction_row, found))

    def outcomes(
        self, account_id: str = "", strategy: str = "", page: Page = FIRST_PAGE
    ) -> tuple[OutcomeRow, ...]:
        with self._snapshot() as db:
            found = self._page(db, "outcomes", page, account=account_id, strategy=strategy)
            return tuple(map(rows.outcome_row, found))

    def alerts(
        self, severity: Severity | None = None, page: Page = FIRST_PAGE
    ) -> tuple[AlertRow, ...]:
        with self._snapshot() as db:
            wanted = "" if severity is None else severity.value
            return tuple(map(rows.alert_row, self._page(db, "alerts", page, severity=wanted)))

    def breakers(self, *, tripped: bool | None = None) -> tuple[BreakerRow, ...]:
        wanted = -1 if tripped is None else int(tripped)
        with self._snapshot() as db:
            found = db.execute(self._sql["breakers"], {"tripped": wanted}).fetchall()
            return tuple(map(rows.breaker_row, found))

    def records(self, wanted: RecordFilter = ANY_RECORD) -> list[Record]:
        with self._snapshot() as db:
            return select_records(db, wanted)

    def performance(self, account_id: str = "", strategy: str = "") -> tuple[PerformanceRow, ...]:
        with self._snapshot() as db:
            asked = {"account": account_id, "strategy": strategy}
            closed = db.execute(self._sql["closed_trades"], asked)
            return performance_rows(closed, totals=not strategy)

    # -- one signal's story ------------------------------------------------------------------------

    def find_signal(self, ref: str, account_id: str = "") -> tuple[Found, ...]:
        with self._snapshot() as db:
            return self._find(db, ref, account_id)

    def explain(self, ref: str, account_id: str = "") -> Explanation | None:
        with self._snapshot() as db:
            found = self._find(db, ref, account_id)
            signal = self._signal(db, found[0].signal_id) if found else None
            if signal is None:
                return None
            return explanation(ref, found, self._story(db, signal))

    def _find(self, db: Database, ref: str, account_id: str) -> tuple[Found, ...]:
        if db.execute(self._sql["find_signal_id"], (ref,)).fetchone() is not None:
            return (Found(kind="signal", signal_id=ref, account_id=AccountId(account_id)),)
        by_intent = self._found(db, "intent", "find_intent", ref)
        if by_intent or not (ref.isascii() and ref.isdigit() and int(ref) <= _INTEGER_MAX):
            return tuple(by_intent)
        found: dict[tuple[str, str], Found] = {}
        for (account,) in db.execute(self._sql["accounts"], {"account": account_id}):
            for one in self._of_number(db, account, ref):
                found.setdefault((one.signal_id, one.account_id), one)
        return tuple(found.values())

    def _of_number(self, db: Database, account: str, ref: str) -> Iterator[Found]:
        """What the venue's number is at one account: by itself, then by what it speaks of."""
        row = db.execute(self._sql["transaction"], (account, int(ref))).fetchone()
        if row is not None:
            transaction = rows.transaction_row(row).transaction
            kind = "order" if transaction.type.endswith("_ORDER") else "transaction"
            linked = [(kind, *link) for link in sorted(links(transaction))]
        else:
            linked = [("order", "order", ref)]
        for kind, link, number in [("trade", "trade", ref), *linked]:
            yield from self._of_link(db, account, kind, link, number)

    def _of_link(
        self, db: Database, account: str, kind: str, link: str, ref: str
    ) -> Iterator[Found]:
        if link == "client":
            yield from self._found(db, kind, "find_intent", ref)
        elif link == "trade":
            for row in map(rows.trade_row, db.execute(self._sql["trade"], (account, ref))):
                if row.signal_id:
                    yield Found(kind=kind, signal_id=row.signal_id, account_id=row.account_id)
        elif row := db.execute(self._sql["transaction"], (account, int(ref))).fetchone():
            for further, number in sorted(links(rows.transaction_row(row).transaction)):
                if further == "client":
                    yield from self._found(db, kind, "find_intent", number)

    def _found(self, db: Database, kind: str, query: str, ref: str) -> list[Found]:
        return [
            Found(kind=kind, signal_id=signal_id, account_id=account)
            for signal_id, account in db.execute(self._sql[query], (ref,))
        ]

    def _story(self, db: Database, signal: SignalRow) -> Story:
        key = (signal.signal_id,)
        records = [record_of(row) for row in db.execute(self._sql["story"], key)]
        intents = tuple(map(rows.intent_row, db.execute(self._sql["intents_of_signal"], key)))
        opened = trades_opened(records)
        trades = tuple(
            rows.trade_row(row) for trade in opened for row in db.execute(self._sql["trade"], trade)
        )
        return Story(
            signal=signal,
            records=records,
            intents=intents,
            trades=trades,
            transactions=self._transactions_of(db, intents, opened),
            outcomes=tuple(
                rows.outcome_row(row)
                for trade in opened
                for row in db.execute(self._sql["outcome_of_trade"], trade)
            ),
        )

    def _transactions_of(
        self,
        db: Database,
        intents: tuple[IntentRow, ...],
        trades: tuple[tuple[str, str], ...],
    ) -> tuple[TransactionRow, ...]:
        found: dict[tuple[str, int], TransactionRow] = {}

        def add(query: str, asked: tuple[str | int, ...]) -> list[TransactionRow]:
            new = [rows.transaction_row(row) for row in db.execute(self._sql[query], asked)]
            found.update({(row.account_id, row.cursor): row for row in new})
            return new

        for row in intents:
            account = row.intent.account_id
            for order in add("linked_transactions", (account, "client", row.intent.intent_id)):
                add("linked_transactions", (account, "order", order.transaction.id))
            if row.order_id.isascii() and row.order_id.isdigit():
                add("transaction", (account, min(int(row.order_id), _INTEGER_MAX)))
                add("linked_transactions", (account, "order", row.order_id))
        for account, trade in trades:
            add("linked_transactions", (account, "trade", trade))
        return tuple(found[key] for key in sorted(found))

    # -- plumbing ----------------------------------------------------------------------------------

    def _signal(self, db: Database, signal_id: str) -> SignalRow | None:
        row = db.execute(self._sql["signal"], (signal_id,)).fetchone()
        return None if row is None else self._signal_row(db, row)

    def _signal_row(self, db: Database, row: DbRow) -> SignalRow:
        ended = db.execute(self._sql["signal_outcomes"], (row[2],)).fetchall()
        return rows.signal_row(row, ended)

    def _page(self, db: Database, name: str, page: Page, **asked: str) -> list[DbRow]:
        sql = directed(self._sql[name], ascending=bool(page.after))
        bounds = {
            "limit": page.limit,
            "before": min(page.before, _INTEGER_MAX),
            "after": min(page.after, _INTEGER_MAX),
        }
        return db.execute(sql, {**asked, **bounds}).fetchall()


def select_records(db: Database, wanted: RecordFilter) -> list[Record]:
    """Several types are read one by one, each along its index, and merged."""
    limit = max(0, min(wanted.limit, PAGE_ROWS_MAX))
    parts = [_select(db, wanted, kind, limit) for kind in dict.fromkeys(wanted.types or ("",))]
    merged = heapq.merge(*parts, key=attrgetter("seq"), reverse=not wanted.ascending)
    return [record for record, _ in zip(merged, range(limit), strict=False)]


def _select(db: Database, wanted: RecordFilter, kind: str, limit: int) -> list[Record]:
    if wanted.subject and not wanted.corr:
        # Facts of no signal have an index by subject, those of signals are met walking backwards.
        parts = [
            _run(db, wanted, kind, limit, ("corr = ''",)),
            _run(db, wanted, kind, limit, ("corr <> ''",)),
        ]
        return list(heapq.merge(*parts, key=attrgetter("seq"), reverse=not wanted.ascending))
    return _run(db, wanted, kind, limit, ())


def _run(
    db: Database,
    wanted: RecordFilter,
    kind: str,
    limit: int,
    extra: tuple[str, ...],
) -> list[Record]:
    conditions = [
        *extra,
        *((_RARE,) if kind and kind not in COMMON_TYPES else ()),
        *(
            text
            for text, given in (
                ("type = :type", kind),
                ("subject = :subject", wanted.subject),
                ("corr = :corr AND corr <> ''", wanted.corr),
                ("seq > :after", wanted.after_seq),
                ("seq < :before", wanted.before_seq),
                ("ts >= :since", wanted.since_ns),
                ("ts < :until", wanted.until_ns),
            )
            if given
        ),
    ]
    sql = statements("journal")["records"].replace(
        "{conditions}", " AND ".join(conditions) or "1 = 1"
    )
    asked = {
        "type": kind, "subject": wanted.subject, "corr": wanted.corr, "after": wanted.after_seq,
        "before": wanted.before_seq, "since": wanted.since_ns, "until": wanted.until_ns,
        "limit": limit,
    }  # fmt: skip
    return [record_of(row) for row in db.execute(directed(sql, ascending=wanted.ascending), asked)]
