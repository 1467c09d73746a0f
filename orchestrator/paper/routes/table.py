"""Which path is answered by whom."""

from __future__ import annotations

from collections.abc import Callable

from orchestrator.paper.call import Answer, Call
from orchestrator.paper.routes import (
    accounts,
    books,
    candles,
    orders,
    positions,
    pricing,
    trades,
    transactions,
)

Route = Callable[[Call], Answer]

# Paths below /v3/accounts/{accountID}; a star stands for one part.
ACCOUNT: dict[tuple[str, ...], dict[str, Route]] = {
    (): {"GET": accounts.account},
    ("summary",): {"GET": accounts.summary},
    ("instruments",): {"GET": accounts.instruments},
    ("instruments", "*", "candles"): {"GET": candles.candles},
    ("candles", "latest"): {"GET": candles.latest},
    ("changes",): {"GET": accounts.changes},
    ("configuration",): {"PATCH": accounts.configure},
    ("orders",): {"GET": orders.list_orders, "POST": orders.create},
    ("pendingOrders",): {"GET": orders.pending},
    ("orders", "*"): {"GET": orders.get, "PUT": orders.replace},
    ("orders", "*", "cancel"): {"PUT": orders.cancel},
    ("orders", "*", "clientExtensions"): {"PUT": orders.extensions},
    ("trades",): {"GET": trades.list_trades},
    ("openTrades",): {"GET": trades.open_trades},
    ("trades", "*"): {"GET": trades.get},
    ("trades", "*", "close"): {"PUT": trades.close},
    ("trades", "*", "orders"): {"PUT": trades.orders},
    ("trades", "*", "clientExtensions"): {"PUT": trades.extensions},
    ("positions",): {"GET": positions.list_positions},
    ("openPositions",): {"GET": positions.open_positions},
    ("positions", "*"): {"GET": positions.get},
    ("positions", "*", "close"): {"PUT": positions.close},
    ("transactions",): {"GET": transactions.pages},
    ("transactions", "idrange"): {"GET": transactions.by_range},
    ("transactions", "sinceid"): {"GET": transactions.since},
    ("transactions", "*"): {"GET": transactions.get},
    ("pricing",): {"GET": pricing.prices},
}

# Paths below /v3/instruments.
INSTRUMENT: dict[str, dict[str, Route]] = {
    "candles": {"GET": candles.candles},
    "orderBook": {"GET": books.order_book},
    "positionBook": {"GET": books.position_book},
}

_STARRED: dict[int, list[tuple[str, ...]]] = {}
for _shape in ACCOUNT:
    if "*" in _shape:
        _STARRED.setdefault(len(_shape), []).append(_shape)


def find(parts: tuple[str, ...]) -> tuple[dict[str, Route], tuple[str, ...]] | None:
    """The methods of a path below an account, and the parts that stood for stars."""
    exact = ACCOUNT.get(parts)
    if exact is not None:
        return exact, ()
    for shape in _STARRED.get(len(parts), ()):
        if all(want in {"*", part} for want, part in zip(shape, parts, strict=True)):
            stars = tuple(p for want, p in zip(shape, parts, strict=True) if want == "*")
            return ACCOUNT[shape], stars
    return None
