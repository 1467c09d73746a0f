"""Edges of the kernel's small parts: names, ties, rings, candles, boards."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest

from orchestrator.kernel.audit import Links
from orchestrator.kernel.ledger.adopt import adopt
from orchestrator.kernel.ledger.book import OpenTrade, PendingOrder
from orchestrator.kernel.ledger.ties import tie
from orchestrator.kernel.orders.identity import epoch_of, intent_id
from orchestrator.kernel.orders.reading import read_outcome
from orchestrator.kernel.safety.board import Board
from orchestrator.kernel.safety.breakers.m2_spread import SpreadRing
from orchestrator.kernel.safety.breakers.s5_storage import s5_storage
from orchestrator.kernel.safety.covariance import Covariance
from orchestrator.kernel.safety.headroom import Headroom, _Bound, _largest, headroom
from orchestrator.kernel.safety.overrides import made, moved
from orchestrator.model.facts import BreakerMoved, OverrideSet
from orchestrator.model.limits import AccountLimits, BreakerLimits
from orchestrator.model.market import Candle, History
from orchestrator.model.money import InstrumentSpec, Side
from orchestrator.model.safety import BreakerState, Scope
from orchestrator.model.time import HOUR_NS
from orchestrator.model.venue import Account, ClientExtensions, Order, Trade, Transaction
from tests.unit.kernel.ledger_makers import ACCOUNT, intent, nobody
from tests.unit.kernel.safety_makers import funds_of, view_of

D = Decimal
OURS = intent_id("s1", ACCOUNT, "1")


@pytest.mark.parametrize(
    ("names", "epoch"),
    [
        (None, 0),
        (ClientExtensions(), 0),
        (ClientExtensions(id="theirs", tag="e7"), 0),
        (ClientExtensions(id=OURS), 0),
        (ClientExtensions(id=OURS, tag="e7 "), 0),
        (ClientExtensions(id=OURS, tag="e" + "9" * 16), 0),
        (ClientExtensions(id=OURS, tag="e7"), 7),
    ],
)
def test_an_epoch_is_read_from_the_tags_of_our_own_orders_only(names, epoch):
    assert epoch_of(names) == epoch


def test_an_outcome_of_no_kind_is_an_error():
    with pytest.raises(AssertionError):
        read_outcome(intent(), "sent")


def test_a_chain_tells_its_last_good_hash():
    assert Links(b"first").head == b"first"


def stand(order_type):
    """A trade with an order of this type tied to it as it stands in the account."""
    trade = Trade(
        id="12", instrument="EUR_USD", price=D("1.1"), initial_units=D(5), current_units=D(5)
    )
    order = Order(id="13", type=order_type, trade_id="12", price=D("1.09"))
    account = Account(
        id=ACCOUNT, currency="USD", balance=D(100), last_transaction_id="13", trades=(trade,),
        orders=(order,), positions=(),
    )  # fmt: skip
    return adopt(account, nobody)


@pytest.mark.parametrize("order_type", ["MARKET_IF_TOUCHED", "A_NEW_KIND"])
def test_an_order_of_a_kind_that_stops_nothing_protects_nothing(order_type):
    book = stand(order_type)
    trade = book.trades["12"]
    assert not trade.protected
    assert (trade.stop_price, trade.target_price) == (None, None)
    order = PendingOrder(order_id="14", type=order_type, price=D("1.09"), trade_id="12")
    told = Transaction(id="14", account_id=ACCOUNT, type=order_type)
    assert tie(book, order, told) == ()
    assert isinstance(trade, OpenTrade)
    assert not trade.protected
    assert stand("STOP_LOSS").trades["12"].protected


def test_a_breaker_that_is_not_tripped_cannot_move():
    board = Board()
    board.move(BreakerMoved(
        breaker="A3", scope=Scope.ACCOUNT, subject=ACCOUNT, state=BreakerState.PROBING,
        until_ns=5, reason="x",
    ))  # fmt: skip
    assert board.trips == {}


def test_an_empty_ring_suspects_every_spread():
    ring = SpreadRing(cap=D("0.001"))
    ring._suspect()
    assert ring.suspect == 0
    ring.add(D("0.0004"), 1)
    assert ring.suspect == D("0.0004")


def test_storage_that_says_nothing_of_a_figure_is_not_judged_by_it():
    limits = BreakerLimits()
    assert s5_storage(None, None, limits) is None
    assert "disk" in s5_storage(None, limits.storage_free_mb_min - 1, limits)
    assert s5_storage(None, limits.storage_free_mb_min, limits) is None
    assert s5_storage(limits.storage_flush_ms_max + 1, None, limits) is not None
    assert s5_storage(limits.storage_flush_ms_max, None, limits) is None


# -- covariance ------------------------------------------------------------------------


def candle(hour, close, **fields):
    price = D(close)
    values = Candle(
        instrument="EUR_USD", granularity="H1", start_ns=hour * HOUR_NS, volume=1, complete=True,
        bid_o=price, bid_h=price, bid_l=price, bid_c=price, ask_o=price, ask_h=price, ask_l=price,
        ask_c=price,
    )  # fmt: skip
    return msgspec.structs.replace(values, **fields)


def points(*candles, granularity="H1"):
    known = Covariance(("EUR_USD",), "USD")
    known.teach([History(instrument="EUR_USD", granularity=granularity, candles=candles)])
    return known.points


def test_only_whole_hours_with_prices_teach():
    good = (candle(1, "1.10"), candle(2, "1.11"))
    assert points(*good) == 1
    assert points(*good, granularity="M5") == 0
    assert points(good[0], candle(2, "1.11", complete=False)) == 0
    assert points(good[0], candle(2, "1.11", bid_c=D(0))) == 0
    assert points(good[0], candle(2, "1.11", ask_c=D("1.10"))) == 0


def measured(instruments=("EUR_USD", "GBP_USD"), reporting="USD", moving=()):
    """Sixty hours in which the instruments of `moving` go up and down, the others not at all."""
    known = Covariance(instruments, reporting)
    for hour in range(61):
        for name in instruments:
            price = D("1.10") if name in moving and hour % 2 else D("1.09")
            known.hear(name, (price, price), (hour + 1) * HOUR_NS)
    assert known.points >= 50
    return known


def test_a_market_that_never_moved_leaves_books_compared_as_they_stand():
    known = measured()
    eur, gbp = {"EUR": 1.0, "USD": -1.0}, {"GBP": 1.0, "USD": -1.0}
    assert known.correlation(eur, eur) == pytest.approx(1.0)
    assert known.correlation(eur, gbp) == pytest.approx(0.5)


def test_books_too_small_for_a_float_have_no_correlation():
    tiny = {"EUR": 1e-200, "USD": -1e-200}
    assert measured().correlation(tiny, tiny) is None


def test_a_currency_without_an_amount_changes_nothing_and_rows_are_made_once():
    known = measured(moving=("EUR_USD",))
    eur, padded = {"EUR": 1.0, "USD": -1.0}, {"EUR": 1.0, "GBP": 0.0, "USD": -1.0}
    assert known.correlation(padded, eur) == known.correlation(eur, padded) == pytest.approx(1.0)
    rows = known._rows()
    assert known._rows() is rows


# -- headroom and overrides ------------------------------------------------------------


@pytest.mark.parametrize("missing", ["market", "factors", "funds", "totals"])
def test_without_a_figure_there_is_no_room(missing):
    view = view_of(**{missing: None})
    assert headroom(view, view.spec, Side.BUY, D("0.002")) == Headroom(D(0), "unknown")


def test_with_every_place_taken_there_is_no_room_and_with_one_left_there_is():
    places = AccountLimits().max_concurrent_trades
    for taken, binds in ((places, True), (places - 1, False)):
        view = view_of(funds=funds_of(open_count=taken))
        found = headroom(view, view.spec, Side.BUY, D("0.002"))
        assert (found == Headroom(D(0), "C11")) is binds


def test_the_venues_largest_position_bounds_the_room_together_with_what_is_held():
    spec = InstrumentSpec(name="EUR_USD", maximum_position_size=D(700))
    found = headroom(view_of(position_units=D(300)), spec, Side.BUY, D("0.002"))
    assert found == Headroom(D(400), "C09")


def test_a_room_a_hair_below_a_step_is_a_step_less():
    hair = _Bound("C10", D("2999.99999999999999999999999999999999"), lambda units: 3 * units)
    assert _largest(hair, InstrumentSpec(name="EUR_USD")) == 999
    whole = _Bound("C10", D(3_000), lambda units: 3 * units)
    assert _largest(whole, InstrumentSpec(name="EUR_USD")) == 1_000


def override(value):
    return made(OverrideSet(
        override_id=f"o{value}", limit="risk_per_trade", scope=Scope.ACCOUNT, subject="a",
        value=D(value), was=D("0.02"), loosens=True, actor="ann", role="admin", reason="r",
        until_ns=5, uses_max=1,
    ), 1)  # fmt: skip


def test_of_two_loosenings_the_looser_holds_whichever_came_first():
    wide, wider = override("0.03"), override("0.05")
    for each in ((wide, wider), (wider, wide)):
        assert moved(AccountLimits(), each).risk_per_trade == D("0.05")
