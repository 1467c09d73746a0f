"""Packed candles are the candles that were put in: the last of them, in order, to the digit."""

from collections import deque
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.paper.shelf import Bar, Shelf

D = Decimal
PRICES = st.decimals("0.00001", "900000000", places=5) | st.decimals("0.1", "99", places=1)


@st.composite
def bars(draw):
    lows = draw(st.lists(PRICES, min_size=4, max_size=4))
    highs = [low + draw(st.sampled_from((D("0.00001"), D("0.1"), D(0)))) for low in lows]
    mids = [(low + high) / 2 for low, high in zip(lows, highs, strict=True)]
    return draw(st.integers(1, 10**6)), lows, highs, mids


def shown(bar):
    return bar.start_ns, bar.volume, bar.bid, bar.ask, bar.mid


@given(some=st.lists(bars(), max_size=9), most=st.integers(1, 5), skip=st.integers(0, 6))
def test_a_shelf_is_a_bounded_list_of_bars(some, most, skip):
    shelf, model = Shelf(most), deque(maxlen=most)
    for number, (volume, bid, ask, mid) in enumerate(some):
        bar = Bar(number * 10, volume, bid, ask, mid)
        shelf.append(bar)
        model.append(shown(bar))
    assert len(shelf) == len(model)
    assert [shown(bar) for bar in shelf.bars(skip)] == list(model)[skip:]
    for start_ns in (0, 15, 20, 85, 1000):
        assert shelf.place_of(start_ns) == sum(bar[0] < start_ns for bar in model)


def test_a_bar_that_is_taken_out_can_be_changed_without_harm():
    shelf = Shelf(3)
    shelf.append(Bar(0, 1, [D("1.1")] * 4, [D("1.2")] * 4, [D("1.15")] * 4))
    for bar in shelf.bars():
        bar.add(D(9), D(9), D(9))
    assert [bar.bid[1] for bar in shelf.bars()] == [D("1.1")]
