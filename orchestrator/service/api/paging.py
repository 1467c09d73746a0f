"""Pages: of what lives in memory, of what the store holds, and of one continued by the other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

import msgspec

from orchestrator.model.queries import PAGE_ROWS_MAX, Page, Row
from orchestrator.service.api.problems import Problem
from orchestrator.service.api.shapes import Listed

S = TypeVar("S", bound=msgspec.Struct)
R = TypeVar("R", bound=Row)

HISTORY = "history"  # the cursor that stands between the living and the store's newest row
CURSOR_PATTERN = r"^[A-Za-z0-9_.:~-]{1,200}$"


def live_page(items: Iterable[S], key: Callable[[S], str], cursor: str, limit: int) -> Listed:
    """Cursor = the key of the last item given. Problem 422 for an item that is there no more."""
    wanted, more = _after(tuple(items), key, cursor, limit)
    return Listed(items=wanted, next=key(wanted[-1]) if more else None)


def _after(
    items: tuple[S, ...], key: Callable[[S], str], cursor: str, limit: int
) -> tuple[tuple[S, ...], bool]:
    start = 0
    if cursor:
        places = [place for place, item in enumerate(items) if key(item) == cursor]
        if not places:
            raise stale_cursor()
        start = places[0] + 1
    return items[start : start + limit], len(items) > start + limit


def stale_cursor() -> Problem:
    return Problem(
        422,
        "Unknown cursor",
        "What this cursor pointed at is not there (any more): read the list from its start again.",
    )


def number_of(cursor: str) -> int:
    """The store's place behind a cursor; 0 for the start."""
    if not cursor or cursor == HISTORY:
        return 0
    if cursor.isascii() and cursor.isdigit() and len(cursor) <= 18:  # noqa: PLR2004 -- fits 63 bits
        return int(cursor)
    raise stale_cursor()


def stored_page(read: Callable[[Page], Sequence[R]], cursor: str, limit: int) -> Listed:
    """Newest first, on from `cursor`."""
    rows, more = stored_rows(read, cursor, limit)
    return Listed(items=tuple(rows), next=str(rows[-1].cursor) if more else None)


def stored_rows(
    read: Callable[[Page], Sequence[R]], cursor: str, limit: int
) -> tuple[Sequence[R], bool]:
    """At most `limit` rows, and whether there are (or may be) more."""
    asked = min(limit + 1, PAGE_ROWS_MAX)
    rows = read(Page(limit=asked, before=number_of(cursor)))
    return rows[:limit], len(rows) > limit or len(rows) == PAGE_ROWS_MAX


def continued(
    living: Iterable[S],
    key: Callable[[S], str],
    read: Callable[[Page], Sequence[R]],
    as_item: Callable[[R], S],
    cursor: str,
    limit: int,
) -> Listed:
    """First the living, then the store's rows, without those that are given as living."""
    living = tuple(living)
    first: tuple[S, ...] = ()
    if not cursor or cursor[0] not in "0123456789h":
        first, more = _after(living, key, cursor, limit)
        if more:
            return Listed(items=first, next=key(first[-1]))
        if len(first) == limit:
            return Listed(items=first, next=HISTORY)
        cursor = ""
    rows, more = stored_rows(read, cursor, limit - len(first))
    seen = {key(item) for item in living}
    items = tuple(item for item in map(as_item, rows) if key(item) not in seen)
    return Listed(items=(*first, *items), next=str(rows[-1].cursor) if more else None)
