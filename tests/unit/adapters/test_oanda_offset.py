"""How far apart the clocks are: the least that is proven, and nothing before it is."""

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.adapters.oanda.offset import ClockOffset, date_of
from orchestrator.model.time import NS_PER_S
from tests.unit.adapters.oanda_server import (
    ACCOUNT,
    Script,
    answer,
    filled,
    market_ns,
    send,
    serving,
    venue_at,
)

MS = NS_PER_S // 1000


class Hand:
    def __init__(self):
        self.now = 5 * NS_PER_S

    def __call__(self):
        return self.now


def test_nothing_is_known_before_an_answer():
    offset = ClockOffset(Hand())
    assert offset.ns is None
    offset.heard(10 * NS_PER_S, 10 * NS_PER_S)  # tells one side only
    assert offset.ns is None


def test_a_date_that_fits_our_clock_is_no_offset():
    offset = ClockOffset(Hand())
    offset.answered(100 * NS_PER_S, 101 * NS_PER_S, 100 * NS_PER_S + 500 * MS, 101 * NS_PER_S)
    assert offset.ns == 0


@given(
    st.integers(-(10**13), 10**13),
    st.lists(st.tuples(st.integers(1, 2000), st.integers(0, 400), st.integers(0, 400)), min_size=1),
)
def test_the_true_offset_is_never_exceeded_and_soon_found(true, trips):
    """Each trip: a pause, the way there and the way back, in ms; the venue tells whole seconds."""
    mono, ours = Hand(), 10**18
    offset = ClockOffset(mono)
    for pause, there, back in trips:
        ours += pause * MS
        at_venue = ours + there * MS + true
        second = at_venue // NS_PER_S * NS_PER_S
        offset.answered(second, second + NS_PER_S, ours, ours + (there + back) * MS)
        ours += (there + back) * MS
    found = offset.ns
    assert found is not None
    assert abs(found) <= abs(true)
    assert abs(found - true) <= NS_PER_S + 400 * MS


def test_many_answers_tell_more_than_one():
    true, offset = 3300 * MS, ClockOffset(Hand())
    for at in range(0, 5000, 70):
        ours = 10**18 + at * MS
        second = (ours + true) // NS_PER_S * NS_PER_S
        offset.answered(second, second + NS_PER_S, ours, ours)
    assert offset.ns is not None
    assert true - 70 * MS <= offset.ns <= true


def test_a_line_from_the_future_raises_the_least_offset():
    offset = ClockOffset(Hand())
    offset.answered(100 * NS_PER_S, 101 * NS_PER_S, 99 * NS_PER_S, 100 * NS_PER_S)
    offset.heard(103 * NS_PER_S, 102 * NS_PER_S + 500 * MS)
    assert offset.ns == 500 * MS


def test_a_clock_that_was_set_is_believed_at_once():
    offset = ClockOffset(Hand())
    offset.answered(100 * NS_PER_S, 101 * NS_PER_S, 100 * NS_PER_S, 101 * NS_PER_S)
    offset.answered(102 * NS_PER_S, 103 * NS_PER_S, 202 * NS_PER_S, 202 * NS_PER_S)
    assert offset.ns == -99 * NS_PER_S


def test_old_proof_is_forgotten():
    mono = Hand()
    offset = ClockOffset(mono)
    offset.answered(100 * NS_PER_S, 101 * NS_PER_S, 100 * NS_PER_S, 101 * NS_PER_S)
    mono.now += 61 * NS_PER_S
    assert offset.ns == 0
    mono.now += 61 * NS_PER_S
    assert offset.ns is None


def test_dates_that_are_none_prove_nothing():
    assert date_of(b"Sun, 06 Nov 1994 08:49:37 GMT") == 784111777 * NS_PER_S
    assert date_of(b"Sun, 06 Nov 1994 08:49:37 -0000") == 784111777 * NS_PER_S
    for text in (b"", b"yesterday", b"\xff", b"Sun, 99 Nov 1994 08:49:37 GMT", b"0"):
        assert date_of(text) is None


async def test_the_date_of_an_answer_tells_the_venues_clock():
    """The scripted venue is a day behind (its test clock is of 2014, as ours here)."""

    async def say(peer, request):
        from email.utils import formatdate

        date = formatdate(market_ns() // NS_PER_S - 86_400, usegmt=True)
        await peer.say(answer(201, filled(request), f"Date: {date}\r\n"))

    script = Script()
    script.answer = say
    async with serving(script), venue_at(script.url) as venue:
        assert venue.clock_offset_ns is None
        await send(venue)
        assert venue.clock_offset_ns is not None
        assert -86_401 * NS_PER_S <= venue.clock_offset_ns <= -86_395 * NS_PER_S
    assert ACCOUNT in script.requests[0].path
