"""C16: the owner's accounts do not all hold the same bet."""

from __future__ import annotations

from orchestrator.kernel.safety.covariance import Book
from orchestrator.kernel.safety.view import View, notional_of
from orchestrator.model.money import Currency
from orchestrator.model.signals import Proposal


def c16_correlation(order: Proposal, view: View) -> str | None:
    """For each other account: correlation after the order <= 0.70, or lower than before."""
    if view.neighbours is None or view.currency_book is None:
        return "C16 exposures of the account, or of another of its owner, are unknown"
    if not any(any(other.exposures.values()) for other in view.neighbours):
        return None
    if view.market is None or view.factors is None or view.covariance is None:
        return "C16 the order's worth in home currency is unknown"
    value = float(notional_of(order, view.market, view.factors)) * order.side.sign
    after_book = _with_order(view.currency_book, order, value)
    limit = float(view.checks.correlation_max)
    for other in view.neighbours:
        after = view.covariance.correlation(after_book, other.exposures)
        if after is None or after <= limit:
            continue
        before = view.covariance.correlation(view.currency_book, other.exposures)
        if before is None or after >= before:
            return (
                f"C16 correlation with account {other.account_id} would be {after:.2f}, "
                f"limit {limit:.2f}"
            )
    return None


def _with_order(book: Book, order: Proposal, value: float) -> Book:
    base, _, quote = order.instrument.partition("_")
    after = dict(book)
    after[Currency(base)] = after.get(Currency(base), 0.0) + value
    after[Currency(quote)] = after.get(Currency(quote), 0.0) - value
    return after
