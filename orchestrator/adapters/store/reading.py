"""What people ask of the store, on a connection that cannot write and blocks nobody."""

from __future__ import annotations

import heapq
import sqlite3
import threading
from contextlib import contextmanager, suppress
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.adapters.store import rows
from orchestrator.adapters.store.codec import DbRow, record_of
from orchestrator.adapters.store.connections import connect_reader
from orchestrator.adapters.store.explaining import Story, explanation
from orchestrator.adapters.store.performance import performance_rows
from orchestrator.adapters.store.statements import directed, statements
from orchestrator.model.errors import StoreError
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
    from collections.abc import Generator

    from orchestrator.model.journal import Record, RecordFilter
    from orchestrator.model.safety import Severity

# Larger than any id of the venue's or any number of a row: SQLite's integers end there.
_INTEGER_MAX = 2**63 - 1


class SqliteQueries:
    """Meets `queries.Queries`; may be called from any thread, one read at a time.

    Needs a store that has been opened once; opens its connection with the first question.
    """

    def __init__(self, path: Path | str) -> None:
        self._path = Path(path)
        self._sql = statements("queries")
        self._mutex = threading.Lock()
        self._connection: sqlite3.Connection | None = None

    def close(self) -> None:
        """Idempotent; a later question opens it again."""
        with self._mutex:
            self._drop()

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

    def _find(self, db: sqlite3.Connection, ref: str, account_id: str) -> tuple[Found, ...]:
        if db.execute(self._sql["find_signal_id"], (ref,)).fetchone() is not None:
            return (Found(kind="signal", signal_id=ref, account_id=AccountId(account_id)),)
        for signal_id, account in db.execute(self._sql["find_intent"], (ref,)):
            return (Found(kind="intent", signal_id=signal_id, account_id=account),)
        if not (ref.isascii() and ref.isdigit() and int(ref) <= _INTEGER_MAX):
            return ()
        asked = {"ref": ref, "number": int(ref), "account": account_id}
        found = [
            Found(kind=kind, signal_id=signal_id, account_id=account)
            for kind, query in (
                ("order", "find_order"),
                ("trade", "find_trade"),
                ("transaction", "find_transaction"),
                ("transaction", "find_transaction_of_intent"),
            )
            for signal_id, account in db.execute(self._sql[query], asked)
        ]
        # An order is a transaction too: each signal and account is named once, by its first kind.
        first: dict[tuple[str, str], Found] = {}
        for one in found:
            first.setdefault((one.signal_id, one.account_id), one)
        return tuple(first.values())

    def _story(self, db: sqlite3.Connection, signal: SignalRow) -> Story:
        key = (signal.signal_id,)
        intents = tuple(map(rows.intent_row, db.execute(self._sql["intents_of_signal"], key)))
        trades = tuple(map(rows.trade_row, db.execute(self._sql["trades_of_signal"], key)))
        return Story(
            signal=signal,
            records=[record_of(row) for row in db.execute(self._sql["story"], key)],
            intents=intents,
            trades=trades,
            transactions=self._transactions_of(db, intents, trades),
            outcomes=tuple(
                rows.outcome_row(row)
                for trade in trades
                for row in db.execute(
                    self._sql["outcome_of_trade"], (trade.account_id, trade.trade_id)
                )
            ),
        )

    def _transactions_of(
        self, db: sqlite3.Connection, intents: tuple[IntentRow, ...], trades: tuple[TradeRow, ...]
    ) -> tuple[TransactionRow, ...]:
        wanted = {
            (row.intent.account_id, kind, ref)
            for row in intents
            for kind, ref in (("client", row.intent.intent_id), ("order", row.order_id))
            if ref
        }
        wanted |= {(trade.account_id, "trade", trade.trade_id) for trade in trades}
        found: dict[tuple[str, int], TransactionRow] = {}
        for link in wanted:
            for row in db.execute(self._sql["linked_transactions"], link):
                found[row[3], row[0]] = rows.transaction_row(row)
        return tuple(found[key] for key in sorted(found))

    # -- plumbing ----------------------------------------------------------------------------------

    def _signal(self, db: sqlite3.Connection, signal_id: str) -> SignalRow | None:
        row = db.execute(self._sql["signal"], (signal_id,)).fetchone()
        return None if row is None else self._signal_row(db, row)

    def _signal_row(self, db: sqlite3.Connection, row: DbRow) -> SignalRow:
        ended = db.execute(self._sql["signal_outcomes"], (row[2],)).fetchall()
        return rows.signal_row(row, ended)

    def _page(self, db: sqlite3.Connection, name: str, page: Page, **asked: str) -> list[DbRow]:
        sql = directed(self._sql[name], ascending=bool(page.after))
        bounds = {
            "limit": page.limit,
            "before": min(page.before, _INTEGER_MAX),
            "after": min(page.after, _INTEGER_MAX),
        }
        return db.execute(sql, {**asked, **bounds}).fetchall()

    @contextmanager
    def _snapshot(self) -> Generator[sqlite3.Connection]:
        """One consistent view for all statements inside; errors become StoreError."""
        with self._mutex:
            try:
                db = self._connection = self._connection or connect_reader(self._path)
                db.execute("BEGIN")
                try:
                    yield db
                finally:
                    db.execute("ROLLBACK")
            except sqlite3.Error as exc:
                self._drop()
                raise StoreError(f"the store {self._path} cannot be read: {exc}") from exc

    def _drop(self) -> None:
        db, self._connection = self._connection, None
        if db is not None:
            with suppress(sqlite3.Error):
                db.close()


def select_records(db: sqlite3.Connection, wanted: RecordFilter) -> list[Record]:
    """Several types are read one by one, each along its index, and merged. sqlite3.Error passes."""
    limit = max(0, min(wanted.limit, PAGE_ROWS_MAX))
    parts = [_select(db, wanted, kind, limit) for kind in dict.fromkeys(wanted.types or ("",))]
    merged = heapq.merge(*parts, key=attrgetter("seq"), reverse=not wanted.ascending)
    return [record for record, _ in zip(merged, range(limit), strict=False)]


def _select(db: sqlite3.Connection, wanted: RecordFilter, kind: str, limit: int) -> list[Record]:
    conditions = [
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
    ]
    sql = statements("journal")["records"].replace("{conditions}", " AND ".join(conditions) or "1")
    asked = {
        "type": kind, "subject": wanted.subject, "corr": wanted.corr, "after": wanted.after_seq,
        "before": wanted.before_seq, "since": wanted.since_ns, "until": wanted.until_ns,
        "limit": limit,
    }  # fmt: skip
    return [record_of(row) for row in db.execute(directed(sql, ascending=wanted.ascending), asked)]
