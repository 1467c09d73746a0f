"""Whatever the venue does, and however its log reaches us, our books are the venue's."""

from decimal import Decimal

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.kernel.ledger.adopt import adopt
from orchestrator.kernel.ledger.apply import apply_transaction, pass_hole
from orchestrator.kernel.ledger.book import Book
from orchestrator.kernel.ledger.door import Door
from orchestrator.kernel.orders.reconcile import differences
from tests.property.ledger_netting import NettingAccount

small = st.integers(1, 50)
move = st.integers(-300, 300)
pick = st.integers(0, 5)
name = st.sampled_from(["EUR_USD", "USD_JPY"])
kind = st.sampled_from(["STOP_LOSS", "TAKE_PROFIT", "TRAILING_STOP_LOSS"])
fixed = st.sampled_from(["STOP_LOSS", "TAKE_PROFIT"])
units = st.integers(-50, 50).filter(bool)
command = st.one_of(
    st.tuples(
        st.just("market"),
        name,
        units,
        move,
        st.sampled_from([None, "theirs"]),
        st.lists(kind, unique=True).map(tuple),
    ),
    st.tuples(st.just("market"), name, units, move),
    st.tuples(st.just("refused_market"), name, units),
    st.tuples(st.just("reject"), name),
    st.tuples(st.just("limit"), name, units, move),
    st.tuples(st.just("fill_limit"), pick),
    st.tuples(st.just("cancel_limit"), pick),
    st.tuples(st.just("close"), pick, st.integers(0, 30), move),
    st.tuples(st.just("trigger"), pick, fixed),
    st.tuples(st.just("replace"), pick, kind, move),
    st.tuples(st.just("drop"), pick, kind),
    st.tuples(st.just("financing"), move),
    st.tuples(st.just("transfer"), st.integers(-500, 500)),
)
stories = st.lists(command, min_size=1, max_size=25)


def nobody(_client_id):
    return None


def told(story):
    venue = NettingAccount()
    for what, *how in story:
        getattr(venue, what)(*how)
    return venue


def fresh():
    return adopt(NettingAccount().account(), nobody)


def follow(book, transactions):
    return [apply_transaction(book, tx, nobody) for tx in transactions]


@given(stories)
def test_the_books_equal_the_venues_to_the_last_digit(story):
    venue, book = told(story), fresh()
    changes = follow(book, venue.log)
    assert [problem for one in changes for problem in one.problems] == []
    assert differences(book, venue.account()) == ()


@given(stories)
def test_the_balance_is_the_sum_of_all_results_and_transfers(story):
    venue, book = told(story), fresh()
    start = book.balance
    changes = follow(book, venue.log)
    assert book.balance == start + sum(one.realized + one.transfer for one in changes)
    assert book.balance == venue.balance


@given(stories)
def test_the_open_units_are_the_sum_of_all_fills(story):
    venue, book = told(story), fresh()
    changes = follow(book, venue.log)
    for instrument in ("EUR_USD", "USD_JPY"):
        filled = sum(
            tx.units for tx in venue.log if tx.type == "ORDER_FILL" and tx.instrument == instrument
        )
        long, short = book.sides().get(instrument, (Decimal(0), Decimal(0)))
        assert long + short == filled
        opened = [one for c in changes for one in c.opened if one.instrument == instrument]
        closed = [one for c in changes for one in c.closed if one.instrument == instrument]
        assert sum(o.units for o in opened) - sum(c.units for c in closed) == filled


@given(stories)
def test_each_trade_knows_the_dependents_that_the_venue_holds_for_it(story):
    venue, book = told(story), fresh()
    follow(book, venue.log)
    for held in venue.held:
        ours = book.trades[str(held.id)]
        known = {
            "STOP_LOSS": ours.stop_order_id,
            "TAKE_PROFIT": ours.target_order_id,
            "TRAILING_STOP_LOSS": ours.trailing_order_id,
        }
        theirs = {kind: order_id for kind, (order_id, _) in held.dependents.items()}
        assert {kind: order_id for kind, order_id in known.items() if order_id} == theirs


@given(stories, stories)
def test_books_adopted_at_any_moment_follow_from_there(before, after):
    venue = told(before)
    book, seen = adopt(venue.account(), nobody), len(venue.log)
    for what, *how in after:
        getattr(venue, what)(*how)
    changes = follow(book, venue.log[seen:])
    assert [problem for one in changes for problem in one.problems] == []
    assert differences(book, venue.account()) == ()


@given(stories, st.integers(0, 100))
def test_a_snapshot_at_any_moment_leads_to_the_same_books(story, cut):
    venue, book = told(story), fresh()
    follow(book, venue.log)
    other = fresh()
    follow(other, venue.log[:cut])
    other = msgspec.json.decode(msgspec.json.encode(other), type=Book)
    follow(other, venue.log)  # the whole log again: what was applied is dropped
    assert msgspec.json.encode(other) == msgspec.json.encode(book)


@st.composite
def deliveries(draw):
    """A log with ids that never existed, and pieces of it in any order, repeated or lost."""
    venue = NettingAccount()
    for what, *how in draw(stories):
        if draw(st.integers(0, 9)) == 0:
            venue.skip_id()
        getattr(venue, what)(*how)
    if draw(st.booleans()):
        venue.skip_id()
    pieces = st.lists(st.sampled_from(venue.log), max_size=6) if venue.log else st.just([])
    return venue, draw(st.lists(st.tuples(pieces, st.booleans()), max_size=12))


def enter(door, book, transactions, complete_to=0):
    admission = door.admit(book.last_id, transactions, complete_to)
    for entry in admission.in_order:
        if isinstance(entry, int):
            pass_hole(book, entry)
        else:
            assert entry.number == book.last_id + 1, "out of order"
            apply_transaction(book, entry, nobody)
    return admission.missing


@settings(max_examples=150)
@given(deliveries())
def test_any_delivery_with_gaps_filled_in_the_end_gives_the_same_books(delivery):
    venue, pieces = delivery
    expected = fresh()
    follow(expected, venue.log)
    expected.last_id = venue.last_id

    door, book = Door(), fresh()
    for transactions, whole in pieces:
        enter(door, book, transactions)
        if whole:  # a read in between
            since = [tx for tx in venue.log if tx.number > book.last_id]
            enter(door, book, since, venue.last_id)
    for _ in range(2):
        since = [tx for tx in venue.log if tx.number > book.last_id]
        missing = enter(door, book, since, venue.last_id)
    assert not missing
    assert msgspec.json.encode(book) == msgspec.json.encode(expected)
    assert (door.held, door.absent) == ({}, {})
