"""An order's life is a table; its risk is counted until it is settled and booked."""

import itertools

import pytest

from orchestrator.kernel.orders.life import (
    MOVES,
    TERMINAL,
    holds_reservation,
    is_terminal,
    may_move,
)
from orchestrator.model.orders import IntentState as S

ALLOWED = {
    (S.WRITTEN, S.SENDING), (S.WRITTEN, S.PENDING), (S.WRITTEN, S.FILLED),
    (S.WRITTEN, S.CANCELLED), (S.WRITTEN, S.REJECTED), (S.WRITTEN, S.UNKNOWN),
    (S.WRITTEN, S.BLOCKED), (S.WRITTEN, S.EXPIRED),
    (S.SENDING, S.PENDING), (S.SENDING, S.FILLED), (S.SENDING, S.CANCELLED),
    (S.SENDING, S.REJECTED), (S.SENDING, S.UNKNOWN), (S.SENDING, S.BLOCKED),
    (S.SENDING, S.EXPIRED),
    (S.PENDING, S.FILLED), (S.PENDING, S.CANCELLED),
    (S.UNKNOWN, S.PENDING), (S.UNKNOWN, S.FILLED), (S.UNKNOWN, S.CANCELLED),
    (S.UNKNOWN, S.REJECTED), (S.UNKNOWN, S.ABSENT),
    (S.ABSENT, S.PENDING), (S.ABSENT, S.FILLED), (S.ABSENT, S.CANCELLED), (S.ABSENT, S.REJECTED),
}  # fmt: skip


@pytest.mark.parametrize("step", list(itertools.product(S, S)), ids=lambda s: f"{s[0]}-{s[1]}")
def test_a_step_is_allowed_if_and_only_if_the_table_says_so(step):
    assert may_move(*step) is (step in ALLOWED)


def test_every_state_has_a_row():
    assert set(MOVES) == set(S)


def test_what_is_final_stays_except_what_seemed_absent():
    ends = {state for state, moves in MOVES.items() if not moves}
    assert ends | {S.ABSENT} == TERMINAL
    assert all(is_terminal(state) is (state in TERMINAL) for state in S)


@pytest.mark.parametrize("state", [S.WRITTEN, S.SENDING, S.PENDING, S.UNKNOWN])
def test_an_open_order_holds_its_reservation(state):
    assert holds_reservation(state)


@pytest.mark.parametrize("state", sorted(TERMINAL))
def test_a_settled_order_frees_it_once_the_books_have_what_settled_it(state):
    assert not holds_reservation(state)
    assert holds_reservation(state, settled_by=13, last_id=12)
    assert not holds_reservation(state, settled_by=13, last_id=13)
