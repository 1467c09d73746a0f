"""Accounts: opened, rebuilt from their history, configured."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from orchestrator.model.money import ZERO, round_money
from orchestrator.model.time import Instant, parse_time
from orchestrator.model.venue import (
    Transaction,
)
from orchestrator.paper.exchange.batch import Batch
from orchestrator.paper.exchange.books import Books
from orchestrator.paper.exchange.config import AccountConfig
from orchestrator.paper.exchange.entries import apply
from orchestrator.paper.exchange.fields import (
    account_numbers,
)
from orchestrator.paper.exchange.floor import Floor
from orchestrator.paper.exchange.judge import too_precise
from orchestrator.paper.exchange.reply import Reply
from orchestrator.paper.exchange.requests import (
    ConfigureBody,
)
from orchestrator.paper.exchange.valuation import account_value

ALIAS_MAX = 128
MARGIN_RATE_MIN = Decimal("0.001")  # a leverage of 1000
BALANCE_MAX = Decimal(10) ** 14


class AccountWrites:
    """What is done to an account as a whole."""

    def __init__(self, floor: Floor) -> None:
        self._floor = floor

    def open(self, config: AccountConfig, now: Instant) -> Books:
        """A new account: CREATE, CLIENT_CONFIGURE, TRANSFER_FUNDS (fact sheet, section 12)."""
        books = Books(config)
        self._floor.accounts[config.account_id] = books
        site, division, user, number = account_numbers(config.account_id)
        self._floor.begin(now)
        for kind, fields in (
            (
                "CREATE",
                {
                    "home_currency": config.currency,
                    "site_id": site,
                    "division_id": division,
                    "account_user_id": user,
                    "account_number": number,
                },
            ),
            ("CLIENT_CONFIGURE", {"margin_rate": config.margin_rate}),
            (
                "TRANSFER_FUNDS",
                {
                    "amount": round_money(config.balance),
                    "funding_reason": "CLIENT_FUNDING",
                    "account_balance": round_money(config.balance),
                },
            ),
        ):
            batch = Batch(books, self._floor.now_ns)
            batch.add(kind, **fields)
            self._floor.finish(batch)
        return books

    def restore(self, config: AccountConfig, transactions: Sequence[Transaction]) -> Books:
        """An account rebuilt from its history. ValueError when the history has a hole."""
        books = Books(config)
        for transaction in transactions:
            if transaction.number != books.last_id + 1:
                raise ValueError(f"transaction {transaction.id} follows {books.last_id}")
            apply(books, transaction)
            self._floor.now_ns = max(self._floor.now_ns, parse_time(transaction.time))
        self._floor.accounts[config.account_id] = books
        return books

    def transfer(
        self, books: Books, amount: Decimal, comment: str | None, request_id: str, now: Instant
    ) -> Reply:
        """A deposit, or with a negative amount a withdrawal; TRANSFER_FUNDS or its reject."""
        batch = self._floor.batch(books, request_id, now)
        finite = amount.is_finite() and abs(amount) < BALANCE_MAX
        booked = round_money(amount) if finite else ZERO
        fields = {"amount": booked, "funding_reason": "CLIENT_FUNDING", "comment": comment}
        objection = self._floor.restrictions.funding(books, booked) or self._transfer_objection(
            books, booked
        )
        if objection is not None:
            return self._floor.rejected(
                batch, "TRANSFER_FUNDS", "transferFundsRejectTransaction", 400, objection, fields
            )
        after = round_money(books.balance + booked)
        made = batch.add("TRANSFER_FUNDS", **fields, account_balance=after)
        return self._floor.done(batch, 200, [("transferFundsTransaction", made)])

    def _transfer_objection(self, books: Books, amount: Decimal) -> str | None:
        if not amount or books.balance + amount >= BALANCE_MAX:
            return "AMOUNT_INVALID"
        value = account_value(books, self._floor.specs, self._floor.quotes)
        return "INSUFFICIENT_FUNDS" if -amount > value.withdrawal_limit else None

    def configure(self, books: Books, body: ConfigureBody, request_id: str, now: Instant) -> Reply:
        """PATCH configuration."""
        batch = self._floor.batch(books, request_id, now)
        rate = body.margin_rate
        locked = self._floor.restrictions.configuration(books)
        objection = locked or self._configure_objection(books, body)
        told = rate if rate is not None and rate.is_finite() else None
        fields = {"alias": body.alias, "margin_rate": told}
        if objection is not None:
            return self._floor.rejected(
                batch, "CLIENT_CONFIGURE", "clientConfigureRejectTransaction",
                403 if locked else 400, objection, fields,
            )  # fmt: skip
        made = batch.add("CLIENT_CONFIGURE", **fields)
        return self._floor.done(batch, 200, [("clientConfigureTransaction", made)])

    def _configure_objection(self, books: Books, body: ConfigureBody) -> str | None:
        rate = body.margin_rate
        if body.alias is None and rate is None:
            return "CLIENT_CONFIGURE_DATA_MISSING"
        if body.alias is not None and len(body.alias) > ALIAS_MAX:
            return "ALIAS_INVALID"
        if rate is None:
            return None
        if not rate.is_finite() or not MARGIN_RATE_MIN <= rate <= 1 or too_precise(rate, 5):
            return "MARGIN_RATE_INVALID"
        return self._rate_objection(books, rate)

    def _rate_objection(self, books: Books, rate: Decimal) -> str | None:
        """A rate that would end in a margin call at once is refused."""
        value = account_value(books, self._floor.specs, self._floor.quotes, rate)
        if value.closeout_percent >= 1:
            return "MARGIN_RATE_WOULD_TRIGGER_CLOSEOUT"
        calls = value.call_percent >= 1 and books.margin_call_time is None
        return "MARGIN_RATE_WOULD_TRIGGER_MARGIN_CALL" if calls else None
