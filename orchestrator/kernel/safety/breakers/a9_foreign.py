"""A9: somebody else trades on the account."""

from __future__ import annotations

from collections.abc import Sequence


def a9_foreign(trades: Sequence[str], orders: Sequence[str]) -> str | None:
    """Ids of what is open there that no intent of ours explains: trades, and entry orders."""
    if not trades and not orders:
        return None
    return f"foreign trades {', '.join(trades[:5]) or '-'}, orders {', '.join(orders[:5]) or '-'}"
