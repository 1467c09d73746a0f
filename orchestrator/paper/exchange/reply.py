"""What a write came to: a status, the transactions under OANDA's keys, the last id."""

from __future__ import annotations

import msgspec

from orchestrator.model.venue import Transaction

MISSING = "The request was missing required data"


class Reply(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """`named`: answer keys in order, with their transactions; `made`: all of them, ascending."""

    status: int
    named: tuple[tuple[str, Transaction], ...] = ()
    made: tuple[Transaction, ...] = ()
    last_id: int = 0
    error_code: str = ""
    error_message: str = ""

    @property
    def created_id(self) -> str:
        """The new order's id, for the Location header; empty when none was made."""
        for key, transaction in self.named:
            if key == "orderCreateTransaction":
                return transaction.id
        return ""


def refusal(status: int, message: str, code: str = "", last_id: int = 0) -> Reply:
    """An error that made no transaction."""
    return Reply(status=status, error_message=message, error_code=code, last_id=last_id)
