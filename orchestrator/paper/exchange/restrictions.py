"""What the venue forbids for a while: locked accounts, halted sides of instruments, limits.

Set by /control alone; no transaction tells of them, and a restart forgets them. Reasons: OANDA's
TransactionRejectReason and OrderCancelReason.
"""

from __future__ import annotations

from decimal import Decimal

from orchestrator.model.money import AccountId, InstrumentName
from orchestrator.paper.exchange.books import Books

LOCKS = frozenset(
    {
        "account", "orderCreation", "orderCancel", "orderFill", "newPositions",
        "configuration", "deposit", "withdrawal",
    }
)  # fmt: skip
SIDES = frozenset({"open", "reduceOnly", "halted"})
OPEN_TRADES_MAX = 1000
PENDING_ORDERS_MAX = 1000


class Restrictions:
    """Nothing is restricted but the number of trades and orders, until somebody says so."""

    def __init__(self) -> None:
        self._locks: dict[AccountId, frozenset[str]] = {}
        self._sides: dict[tuple[InstrumentName, str], str] = {}

    def lock(self, account: AccountId, locks: frozenset[str]) -> None:
        """From now on these, and no others."""
        self._locks[account] = locks

    def locks_of(self, account: AccountId) -> frozenset[str]:
        return self._locks.get(account, frozenset())

    def set_side(self, instrument: InstrumentName, side: str, state: str) -> None:
        """`side` is bid (where sells fill) or ask (where buys do), `state` one of SIDES."""
        self._sides[instrument, side] = state

    # --- each returns OANDA's reason, or None ------------------------------------------------

    def order_creation(self, books: Books, kind: str, *, replaces: bool = False) -> str | None:
        """Whether an order of this kind may be made; market orders never rest."""
        reason = self._of_account(books, "orderCreation", "ACCOUNT_ORDER_CREATION_LOCKED")
        one_more = kind != "MARKET" and not replaces
        if reason is None and one_more and len(books.pending) >= PENDING_ORDERS_MAX:
            return "PENDING_ORDERS_ALLOWED_EXCEEDED"
        return reason

    def order_cancel(self, books: Books) -> str | None:
        return self._of_account(books, "orderCancel", "ACCOUNT_ORDER_CANCEL_LOCKED")

    def configuration(self, books: Books) -> str | None:
        return self._of_account(books, "configuration", "ACCOUNT_CONFIGURATION_LOCKED")

    def funding(self, books: Books, amount: Decimal) -> str | None:
        lock = "deposit" if amount > 0 else "withdrawal"
        return self._of_account(books, lock, f"ACCOUNT_{lock.upper()}_LOCKED")

    def _of_account(self, books: Books, lock: str, reason: str) -> str | None:
        locks = self.locks_of(books.account_id)
        if books.closed:
            return "ACCOUNT_NOT_ACTIVE"
        if "account" in locks:
            return "ACCOUNT_LOCKED"
        return reason if lock in locks else None

    def fill(self, books: Books, name: InstrumentName, *, buying: bool, opens: bool) -> str | None:
        """Whether an order may be filled; what the venue itself closes is not asked about."""
        locks = self.locks_of(books.account_id)
        reasons = (
            (bool(locks & {"account"}), "ACCOUNT_LOCKED"),
            (bool(locks & {"orderFill"}), "ACCOUNT_ORDER_FILL_LOCKED"),
            (opens and bool(locks & {"newPositions"}), "ACCOUNT_NEW_POSITIONS_LOCKED"),
            (opens and len(books.trades) >= OPEN_TRADES_MAX, "OPEN_TRADES_ALLOWED_EXCEEDED"),
        )
        found = next((reason for forbidden, reason in reasons if forbidden), None)
        return found or self._of_side(name, buying=buying, opens=opens)

    def _of_side(self, name: InstrumentName, *, buying: bool, opens: bool) -> str | None:
        side = "ask" if buying else "bid"
        match self._sides.get((name, side)):
            case "halted":
                return f"INSTRUMENT_{side.upper()}_HALTED"
            case "reduceOnly" if opens:
                return f"INSTRUMENT_{side.upper()}_REDUCE_ONLY"
            case _:
                return None
