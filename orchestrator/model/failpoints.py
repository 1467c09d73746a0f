"""Named places before and after each durable write and each send, where a test strikes (K10).

A writer calls `before` and `after` with a name of `PLACES`. Nobody listens in ordinary life, and
the two calls then cost one comparison each. `listen` is for the service's start on the paper venue,
and for the simulator.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

Listener: TypeAlias = Callable[[str], None]

# place -> what is written or sent there. Each is struck as `PLACE.before` and as `PLACE.after`.
PLACES: Mapping[str, str] = {
    "journal.append": "the commit of facts, intents and watermarks",
    "journal.snapshot": "the commit of the kernel's state or of a new epoch",
    "journal.answer": "a COMMIT is on its way to the database, until its answer is read",
    "journal.epoch": "a new epoch at the database",
    "journal.migrate": "one step of a schema",
    "lease.take": "the commit that makes this node the leader",
    "lease.renew": "a renewal of the lease",
    "lease.release": "the lease is given back",
    "board.put": "a stop on the board that all nodes read",
    "board.end": "the end of a stop on that board",
    "audit.checkpoint": "a signed checkpoint, appended and flushed",
    "audit.turn": "a full file of checkpoints becomes the old one",
    "audit.export": "an exported segment is flushed and gets its name",
    "file.replace": "a small file (the signing key) gets its name",
    "market.write": "the commit of ticks, candles and outcomes",
    "latch.write": "the latch's content, flushed, under another name",
    "latch.rename": "the latch gets its name, and its folder is flushed",
    "latch.remove": "a resume removes the latch, and its folder is flushed",
    "token.write": "the API's token",
    "paper.record": "the record by which a running paper venue is found again",
    "send.read": "a question's bytes",
    "send.order": "an order's bytes, the gate's question between",
    "send.protect": "the bytes of a stop loss for an open trade",
    "send.cancel": "the bytes of a cancellation",
    "send.close_trade": "the bytes of a trade's close",
    "send.close_position": "the bytes of a position's close",
    "send.replace": "the bytes of an order that takes another's place",
    "send.order_extensions": "the bytes of an order's client extensions",
    "send.trade_extensions": "the bytes of a trade's client extensions",
    "send.configure": "the bytes of an account's configuration",
}


class _Ear:
    """Who listens; a class, so that nothing global is assigned."""

    listener: Listener | None = None


def listen(listener: Listener | None) -> None:
    """`listener` hears `PLACE.before` and `PLACE.after` in the thread that writes; None: nobody."""
    _Ear.listener = listener


def before(place: str) -> None:
    if _Ear.listener is not None:
        _Ear.listener(f"{place}.before")


def after(place: str) -> None:
    if _Ear.listener is not None:
        _Ear.listener(f"{place}.after")


def names() -> tuple[str, ...]:
    """Every name that a listener may hear."""
    return tuple(f"{place}.{when}" for place in PLACES for when in ("before", "after"))
