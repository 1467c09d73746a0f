"""A price set by hand stays put, whatever the feed says, and goes back to it when released."""

from decimal import Decimal

import pytest

from orchestrator.model.time import DAY_NS, HOUR_NS, NS_PER_S, parse_time
from orchestrator.paper.clock import VenueTime
from orchestrator.paper.exchange.config import AccountConfig
from orchestrator.paper.feeds.manual import ManualFeed
from orchestrator.paper.feeds.replay import ReplayFeed
from orchestrator.paper.feeds.synthetic import SyntheticFeed
from orchestrator.paper.main import open_accounts
from orchestrator.paper.market import Market

D = Decimal
THURSDAY = parse_time("2014-05-08T12:00:00Z")
EUR_USD = "EUR_USD"


def replayed(folder):
    path = folder / "EUR_USD_20140508.csv"
    noon_ms = 12 * 3_600_000
    path.write_text(
        "".join(f"{noon_ms + i * 500},1.{39000 + i},1.{39010 + i}\n" for i in range(90))
    )
    return ReplayFeed([path])


FEEDS = {
    "manual": lambda _: ManualFeed(THURSDAY, (EUR_USD,)),
    "synthetic": lambda _: SyntheticFeed(THURSDAY, 1, history_ns=HOUR_NS),
    "synthetic fx": lambda _: SyntheticFeed(THURSDAY, 1, hours="fx", history_ns=HOUR_NS),
    "replay": replayed,
}


class Desk:
    """A market whose machine's clock is ours."""

    def __init__(self, feed, calendar):
        self.mono_ns = 0
        time = VenueTime(feed.start_ns, 1.0, lambda: self.mono_ns)
        self.market = Market(feed, time, calendar=calendar)
        config = AccountConfig(account_id="101-001-1000001-001", currency="USD", balance=D(1000))
        open_accounts(self.market, [config], None)

    def wait(self, seconds):
        for _ in range(seconds):
            self.mono_ns += NS_PER_S
            self.market._advance(self.market.time.now(), self.market.feed.next_ns())

    @property
    def quote(self):
        return self.market.exchange.quotes.get(EUR_USD)


@pytest.fixture(params=FEEDS)
def desk(request, tmp_path):
    calendar = "fx" if request.param in {"synthetic fx", "replay"} else "always"
    desk = Desk(FEEDS[request.param](tmp_path), calendar)
    desk.wait(5)
    return desk


def test_it_stays_put_until_it_is_released(desk):
    desk.market.put_price(EUR_USD, D("1.5"), D("1.6"))
    desk.wait(60)
    assert (desk.quote.bid, desk.quote.ask, desk.quote.tradeable) == (D("1.5"), D("1.6"), True)
    desk.market.let_go(EUR_USD)
    desk.wait(40)
    speaks = not isinstance(desk.market.feed, ManualFeed)
    assert (desk.quote.bid < D("1.45")) == speaks


def test_a_second_price_by_hand_takes_the_place_of_the_first(desk):
    desk.market.put_price(EUR_USD, D("1.5"), D("1.6"))
    desk.market.put_price(EUR_USD, D("1.7"), D("1.8"), tradeable=False)
    desk.wait(30)
    assert (desk.quote.bid, desk.quote.tradeable) == (D("1.7"), False)


def test_it_stays_put_over_a_halt_and_a_jump_of_the_clock(desk):
    desk.market.put_price(EUR_USD, D("1.5"), D("1.6"))
    desk.market.set_tradeable(EUR_USD, tradeable=False)
    assert (desk.quote.bid, desk.quote.tradeable) == (D("1.5"), False)
    desk.market.set_tradeable(EUR_USD, tradeable=True)
    desk.market.jump(DAY_NS // 2)
    desk.wait(5)
    assert (desk.quote.bid, desk.quote.tradeable) == (D("1.5"), True)


def test_what_the_feed_said_last_holds_at_once_when_it_is_released(tmp_path):
    desk = Desk(replayed(tmp_path), "fx")
    desk.wait(5)
    desk.market.put_price(EUR_USD, D("1.5"), D("1.6"))
    desk.wait(10)
    desk.market.let_go(EUR_USD)
    assert desk.quote.bid == D("1.39030")
    assert desk.quote.venue_ns == desk.market.time.now()


def test_released_on_a_weekend_it_gives_way_to_a_price_that_nobody_can_trade(tmp_path):
    desk = Desk(replayed(tmp_path), "fx")
    desk.wait(5)
    desk.market.put_price(EUR_USD, D("1.5"), D("1.6"))
    desk.wait(60)
    desk.market.jump(2 * DAY_NS)
    assert (desk.quote.bid, desk.quote.tradeable) == (D("1.5"), True)
    desk.market.let_go(EUR_USD)
    assert (desk.quote.bid, desk.quote.tradeable) == (D("1.39089"), False)


def test_it_can_be_set_after_a_replay_has_ended(tmp_path):
    desk = Desk(replayed(tmp_path), "fx")
    desk.wait(100)
    assert desk.market.feed.next_ns() is None
    desk.market.put_price(EUR_USD, D("1.5"), D("1.6"))
    desk.wait(5)
    assert desk.quote.bid == D("1.5")
