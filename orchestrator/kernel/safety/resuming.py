"""What stands against reopening after an emergency stop (SAFETY E3)."""

from __future__ import annotations

from collections.abc import Collection

import msgspec


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """What a resume is judged by."""

    stop_id: str | None
    unreconciled: tuple[str, ...]
    unsettled: tuple[str, ...]  # intents whose outcome is unknown, or still to come
    open_trades: tuple[tuple[str, str], ...]  # (account, trade id)


def refusals(
    standing: Standing, stop_id: str, actor: str, reason: str, listed: Collection[str]
) -> tuple[str, ...]:
    """Every reason why not; empty: it may be lifted. Trades are listed by id, or ACCOUNT/ID."""
    if standing.stop_id is None:
        return ("nothing is stopped",)
    found: list[str] = []
    if stop_id != standing.stop_id:
        found.append(f"stop_id {stop_id!r} is not the standing one")
    if not actor.strip():
        found.append("no actor is named")
    if not reason.strip():
        found.append("no reason is given")
    found.extend(f"account {name} is not reconciled" for name in standing.unreconciled)
    found.extend(f"order {name} has an unknown outcome" for name in standing.unsettled)
    found.extend(
        f"open trade {account}/{trade} is not listed"
        for account, trade in standing.open_trades
        if trade not in listed and f"{account}/{trade}" not in listed
    )
    return tuple(found)
