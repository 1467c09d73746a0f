"""The rate limiter and the fair queue, on a clock of our own."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.adapters.oanda.limiter import FairQueue, TokenBucket
from orchestrator.adapters.oanda.pool import Backoff
from orchestrator.model.time import NS_PER_S


@given(
    st.lists(st.tuples(st.integers(0, 30_000_000), st.booleans()), max_size=400),
    st.sampled_from([(100.0, 10.0, 10.0), (2.0, 3.0, 0.0), (1.0, 1.0, 5.0)]),
)
def test_no_second_ever_has_more_takes_than_rate_burst_and_debt(steps, shape):
    rate, burst, debt = shape
    bucket = TokenBucket(rate, burst, debt)
    now = 0
    taken: list[int] = []
    for step, urgent in steps:
        now += step
        if bucket.take(now, urgent=urgent) == 0:
            taken.append(now)
    for start in taken:
        within = sum(1 for at in taken if start <= at < start + NS_PER_S)
        assert within <= rate + burst + debt + 1e-6


def test_the_wait_that_it_names_is_enough():
    bucket = TokenBucket(3.0, 1.0)
    assert bucket.take(0) == 0
    wait = bucket.take(0)
    assert bucket.take(wait) == 0


def test_urgent_takes_borrow_and_others_wait_for_it():
    bucket = TokenBucket(10.0, 1.0, 2.0)
    assert bucket.take(0) == 0
    assert bucket.take(0) > 0
    assert [bucket.take(0, urgent=True) for _ in range(2)] == [0, 0]
    assert bucket.take(0, urgent=True) > 0
    assert bucket.take(200_000_000) > 0
    assert bucket.take(300_000_000) == 0


def test_a_clock_that_goes_back_gives_nothing():
    bucket = TokenBucket(1.0, 1.0)
    assert bucket.take(5 * NS_PER_S) == 0
    assert bucket.take(0) > 0
    assert bucket.take(5 * NS_PER_S) > 0


def test_shut_holds_for_everybody_until_its_end():
    bucket = TokenBucket(0.0, 0.0)
    bucket.shut(100, 50)
    bucket.shut(10, 10)
    assert bucket.take(20) == 80
    assert bucket.take(60, urgent=True) == 0
    assert bucket.take(100) == 0


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers()), max_size=60), st.data())
def test_a_fair_queue_loses_and_doubles_nothing_and_takes_turns(items, data):
    queue: FairQueue[tuple] = FairQueue()
    for owner, number in items:
        queue.add(owner, (owner, number, object()))
    out = []
    while len(queue):
        heads = queue.heads()
        assert len({head[0] for head in heads}) == len(heads)
        head = data.draw(st.sampled_from(heads))
        assert queue.remove(head[0], head)
        assert not queue.remove(head[0], head)
        out.append(head)
        if len(queue.heads()) > 1:
            assert queue.heads()[0][0] != head[0]
    for owner in "abc":
        assert [n for o, n, _ in out if o == owner] == [n for o, n in items if o == owner]


def test_backoff_doubles_to_its_bound_and_starts_anew():
    backoff = Backoff(lambda: 1.0, 0.25, 30.0)
    assert [backoff.next_s() for _ in range(9)] == [0.25, 0.5, 1, 2, 4, 8, 16, 30, 30]
    backoff.reset()
    assert backoff.next_s() == 0.25
    assert Backoff(lambda: 0.0, 0.25, 30.0).next_s() == 0.125
