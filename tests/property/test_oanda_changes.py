"""The client's own snapshot and changes make the venue's new snapshot, to the last digit."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.adapters.oanda.changes import ChangesAnswer, applied
from orchestrator.adapters.oanda.wire import AccountAnswer, read
from orchestrator.model.venue import Account
from orchestrator.paper.call import encode
from orchestrator.paper.exchange.changes import changes_of, state_of
from orchestrator.paper.exchange.views import account_of
from orchestrator.paper.instruments import SPECS
from orchestrator.paper.state import read_transactions
from tests.unit.paper.acts import PAIRS, TERMS, acts, play
from tests.unit.paper.desk import Desk


def opened(**terms) -> Desk:
    desk = Desk(**terms)
    for name, price in PAIRS.items():
        desk.price(name, str(price), str(price + 10 * SPECS[name].tick))
    desk.price("GBP_USD", "1.27000", "1.27010")
    return desk


def snapshot(desk: Desk) -> Account:
    body = {"account": account_of(desk.exchange, desk.books, full=True), "lastTransactionID": "0"}
    return read(encode(body), AccountAnswer).account


def changes(desk: Desk, since: int) -> ChangesAnswer:
    made = read_transactions(desk.books.history[since:])
    body = {
        "changes": changes_of(desk.exchange, desk.books, made),
        "state": state_of(desk.exchange, desk.books),
        "lastTransactionID": str(desk.books.last_id),
    }
    return read(encode(body), ChangesAnswer)


def sorted_lists(account: Account) -> Account:
    """Their order means nothing."""
    return msgspec.structs.replace(
        account,
        orders=tuple(sorted(account.orders, key=lambda o: int(o.id))),
        trades=tuple(sorted(account.trades, key=lambda t: int(t.id))),
        positions=tuple(sorted(account.positions, key=lambda p: p.instrument)),
    )


@given(
    acts,
    st.lists(st.integers(0, 29), min_size=1, max_size=4),
    st.sampled_from(TERMS),
    st.sampled_from(["2000", "100000"]),
)
@settings(max_examples=120)
def test_snapshot_and_changes_make_the_new_snapshot(played, cuts, terms, balance):
    """However often the client catches up on the way."""
    desk = opened(balance=balance, **terms)
    known = snapshot(desk)
    for number, act in enumerate(played):
        if number in cuts:
            known = applied(known, changes(desk, int(known.last_transaction_id)))
        play(desk, act)
    known = applied(known, changes(desk, int(known.last_transaction_id)))
    assert sorted_lists(known) == sorted_lists(snapshot(desk))


def traded() -> tuple[Account, ChangesAnswer]:
    desk = opened()
    known = snapshot(desk)
    desk.order("100", "EUR_USD", stopLossOnFill={"price": "1.09000"})
    return known, changes(desk, int(known.last_transaction_id))


def test_changes_that_do_not_follow_are_refused():
    """A hole, a lagging read, another account's transaction: then a snapshot is needed."""
    known, answer = traded()
    made = answer.changes.transactions
    stranger = msgspec.structs.replace(made[0], account_id="101-001-1-001")
    for wrong in (
        {"transactions": made[1:]},
        {"transactions": made[:-1]},
        {"transactions": (made[0], *made)},
        {"transactions": (stranger, *made[1:])},
    ):
        bad = msgspec.structs.replace(
            answer, changes=msgspec.structs.replace(answer.changes, **wrong)
        )
        with pytest.raises(ValueError, match=r"changes after|belongs to another"):
            applied(known, bad)
    old = msgspec.structs.replace(answer, last_transaction_id="1")
    with pytest.raises(ValueError, match="changes after"):
        applied(known, old)


@pytest.mark.parametrize(
    "state",
    [
        b'{"trades":[{"id":"999","unrealizedPL":"1"}]}',
        b'{"orders":[{"id":"999","trailingStopValue":"1"}]}',
        b'{"positions":[{"instrument":"USD_JPY","netUnrealizedPL":"1"}]}',
        b'{"balance":"NaN"}',
        b'{"balance":{}}',
        b'{"orders":7}',
        b"[]",
    ],
)
def test_a_state_that_nobody_can_place_is_refused(state):
    known, answer = traded()
    with pytest.raises(ValueError, match=r"\S"):
        applied(known, msgspec.structs.replace(answer, state=msgspec.Raw(state)))


def test_a_summary_cannot_be_brought_up_to_date():
    known, answer = traded()
    with pytest.raises(ValueError, match="summary"):
        applied(msgspec.structs.replace(known, trades=None), answer)
