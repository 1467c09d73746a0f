"""A8: the venue's books and ours do not agree, or an order was not what we took it for."""

from __future__ import annotations

from collections.abc import Sequence


def a8_differs(differences: Sequence[str]) -> str | None:
    """After three tries our state is not the venue's."""
    return f"differs from the venue: {'; '.join(differences[:5])}" if differences else None


def a8_late(intent_id: str, trade_id: str) -> str:
    """O7: what was thought absent turned up."""
    return f"late order {intent_id}, trade {trade_id or '-'}"


def a8_naked(trade_id: str) -> str:
    """O10: a trade of ours stood without a stop for more than 5 s."""
    return f"trade {trade_id} had no stop for 5 s"


def a8_nameless(client_id: str) -> str:
    """R6: an order in our own form that no intent of ours explains."""
    return f"order {client_id} is in our form, and no intent of ours explains it"
