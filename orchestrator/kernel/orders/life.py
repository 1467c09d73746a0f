"""An order's life as a table: which step may follow which (SAFETY 7)."""

from __future__ import annotations

from orchestrator.model.orders import IntentState

S = IntentState

_SETTLED = frozenset({S.PENDING, S.FILLED, S.CANCELLED, S.REJECTED})
_NOT_SENT = frozenset({S.BLOCKED, S.EXPIRED})

MOVES: dict[IntentState, frozenset[IntentState]] = {
    # The log may tell of a fill before the answer does, so that `sending` may never be recorded.
    S.WRITTEN: _SETTLED | _NOT_SENT | {S.SENDING, S.UNKNOWN},
    S.SENDING: _SETTLED | _NOT_SENT | {S.UNKNOWN},
    S.PENDING: frozenset({S.FILLED, S.CANCELLED}),
    S.UNKNOWN: _SETTLED | {S.ABSENT},
    # O7: an order that turns up late is adopted; nothing else comes back.
    S.ABSENT: _SETTLED,
    S.FILLED: frozenset(),
    S.CANCELLED: frozenset(),
    S.REJECTED: frozenset(),
    S.BLOCKED: frozenset(),
    S.EXPIRED: frozenset(),
}

TERMINAL = frozenset({S.FILLED, S.CANCELLED, S.REJECTED, S.ABSENT, S.BLOCKED, S.EXPIRED})


def may_move(frm: IntentState, to: IntentState) -> bool:
    """Any other step is a violation of an invariant (S4)."""
    return to in MOVES[frm]


def is_terminal(state: IntentState) -> bool:
    return state in TERMINAL


def holds_reservation(state: IntentState, settled_by: int = 0, last_id: int = 0) -> bool:
    """Whether an intent's risk is still counted; UNKNOWN counts in full (K5).

    `settled_by`: the transaction that settled it (`Reading.transaction_id`); `last_id`: the
    books'. A fill that the answer told before the door let it in is in no book yet, so that its
    reservation is held until it is: risk is never uncounted for a moment.
    """
    return state not in TERMINAL or settled_by > last_id
