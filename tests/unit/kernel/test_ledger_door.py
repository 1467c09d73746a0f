"""Transactions enter once, in id order; what is missing is asked for, a hole is passed."""

import msgspec

from orchestrator.kernel.ledger.door import ABSENT_MAX, HELD_MAX, Admission, Door
from tests.unit.kernel.ledger_makers import tx


def some(*numbers):
    return [tx(number, "ANY") for number in numbers]


def ids(admission):
    return [one if isinstance(one, int) else one.number for one in admission.in_order]


def test_what_follows_the_books_passes():
    assert Door().admit(10, some(11, 12)) == Admission(in_order=tuple(some(11, 12)))


def test_a_batch_is_put_in_order():
    assert ids(Door().admit(8, some(10, 9, 11))) == [9, 10, 11]


def test_what_was_applied_is_dropped():
    door = Door()
    admission = door.admit(10, some(9, 10))
    assert admission == Admission()
    assert door.held == {}


def test_the_same_transaction_twice_passes_once():
    assert ids(Door().admit(10, some(11, 11, 12, 11))) == [11, 12]


def test_a_gap_holds_what_comes_after_it():
    door = Door()
    admission = door.admit(10, some(12, 13))
    assert (ids(admission), admission.missing) == ([], True)
    admission = door.admit(10, some(11))
    assert (ids(admission), admission.missing) == ([11, 12, 13], False)
    assert door.held == {}


def test_a_heartbeat_ahead_of_us_means_that_something_is_missing():
    assert Door().admit(10, (), known_to=11).missing
    assert not Door().admit(10, (), known_to=10).missing
    assert not Door().admit(10, some(11), known_to=11).missing
    assert Door().admit(10, some(11), known_to=12).missing


def test_one_read_proves_no_hole():
    door = Door()
    admission = door.admit(10, some(12), complete_to=12)
    assert (ids(admission), admission.missing) == ([], True)


def test_two_whole_reads_prove_a_hole_and_what_follows_passes():
    door = Door()
    door.admit(10, some(12), complete_to=12)
    admission = door.admit(10, some(12), complete_to=12)
    assert ids(admission) == [11, 12]
    assert admission.holes == (11,)
    assert admission.ready == tuple(some(12))
    assert not admission.missing


def test_a_hole_at_the_end_is_passed_too():
    door = Door()
    assert ids(door.admit(10, some(11), complete_to=12)) == [11]
    assert ids(door.admit(11, (), complete_to=12)) == [12]


def test_a_read_that_ends_before_an_id_says_nothing_of_it():
    door = Door()
    for _ in range(5):
        assert ids(door.admit(10, some(13), complete_to=11)) in ([], [11])
    assert door.absent.get(12, 0) == 0


def test_what_turns_up_between_the_reads_is_no_hole():
    door = Door()
    door.admit(10, some(12), complete_to=12)
    assert ids(door.admit(10, some(11))) == [11, 12]


def test_a_stream_that_brings_nothing_counts_as_no_read():
    door = Door()
    for _ in range(5):
        assert ids(door.admit(10, some(12))) == []


def test_what_is_held_is_bounded_and_asked_for_again():
    door = Door()
    late = some(*range(12, 12 + HELD_MAX + 1))
    admission = door.admit(10, late)
    assert admission.missing
    assert door.held == {}
    again = door.admit(10, some(11, *range(12, 12 + HELD_MAX + 1)))
    assert len(again.ready) == HELD_MAX + 2


def test_a_long_history_without_a_gap_is_never_dropped():
    admission = Door().admit(0, some(*range(1, HELD_MAX + 500)))
    assert len(admission.ready) == HELD_MAX + 499
    assert not admission.missing


def test_a_hole_is_found_even_where_too_much_would_be_held():
    door = Door()
    late = some(*range(12, 13 + HELD_MAX))
    assert ids(door.admit(10, late, complete_to=12 + HELD_MAX)) == []
    assert len(door.admit(10, late, complete_to=12 + HELD_MAX).in_order) == HELD_MAX + 2


def test_a_read_that_claims_a_desert_is_not_believed():
    door = Door()
    for _ in range(3):
        admission = door.admit(10, (), complete_to=10**15)
        assert (ids(admission), admission.missing) == ([], True)
    assert door.absent == {}


def test_the_watch_for_holes_is_bounded():
    door = Door()
    door.admit(10, (), complete_to=10 + ABSENT_MAX)
    assert len(door.absent) == ABSENT_MAX
    door.admit(10, (), complete_to=11 + ABSENT_MAX)
    assert len(door.absent) == ABSENT_MAX


def test_the_door_forgets_what_the_books_have_passed():
    door = Door()
    door.admit(10, some(13), complete_to=13)
    assert door.absent
    assert ids(door.admit(20, ())) == []
    assert (door.held, door.absent) == ({}, {})


def test_a_door_survives_a_snapshot():
    door = Door()
    door.admit(10, some(13), complete_to=12)
    assert msgspec.json.decode(msgspec.json.encode(door), type=Door) == door


def test_an_empty_read_at_the_books_own_end_watches_nothing():
    door = Door()
    assert door.admit(10, (), complete_to=10) == Admission()
    assert door.absent == {}


def test_exactly_as_many_as_may_be_held_are_held():
    door = Door()
    door.admit(0, some(*range(2, HELD_MAX + 2)))
    assert len(door.held) == HELD_MAX
    door.admit(0, some(HELD_MAX + 2))
    assert door.held == {}


def test_what_is_held_at_the_end_of_a_read_is_no_gap():
    door = Door()
    door.admit(10, some(12), complete_to=12)
    assert door.absent == {11: 1}
