"""Live prices: told as the source says them, never made up, not tradeable while it is silent."""

import asyncio
from decimal import Decimal

import msgspec
import pytest

from orchestrator.model.errors import FeedError, VenueRefused, VenueUnreachable
from orchestrator.model.market import Candle, StreamBeat, StreamDown, StreamUp, Tick
from orchestrator.model.ports import VenueClock
from orchestrator.model.time import HOUR_NS, MINUTE_NS, NS_PER_S
from orchestrator.paper.clock import VenueTime
from orchestrator.paper.exchange.config import AccountConfig
from orchestrator.paper.feeds.live import LiveFeed, Source, open_live
from orchestrator.paper.instruments import SPECS
from orchestrator.paper.main import open_accounts
from orchestrator.paper.market import Market

D = Decimal
NOON = 1_715_169_600 * NS_PER_S
ACCOUNT = "101-001-1000001-001"


def tick(bid, ask="", at_ns=NOON, name="EUR_USD", *, tradeable=True):
    return Tick(
        instrument=name, bid=D(bid), ask=D(ask) if ask else D(bid) + D("0.0001"),
        venue_ns=at_ns, seen_ns=at_ns, tradeable=tradeable,
    )  # fmt: skip


def beat(at_ns=NOON):
    return StreamBeat(stream="prices", account_id=ACCOUNT, venue_ns=at_ns, seen_ns=at_ns)


class FakeSource:
    """A venue that is read: `trouble` is raised by every read."""

    def __init__(self, names=("EUR_USD", "GBP_USD", "USD_JPY"), trouble=None, accounts=(ACCOUNT,)):
        self.names = names
        self.trouble = trouble
        self.accounts = accounts
        self.closed = 0
        self.told = None
        self.bars = {"M1": (), "H1": ()}

    async def account_ids(self):
        return self._or(self.accounts)

    async def instruments(self, account_id):
        assert account_id == ACCOUNT
        return self._or(tuple(SPECS[name] for name in self.names))

    async def candles(self, instrument, granularity, count):
        kept = self.bars[granularity][-count:]
        return self._or(tuple(msgspec.structs.replace(c, instrument=instrument) for c in kept))

    async def clock(self):
        return self._or(self.told)

    async def close(self):
        self.closed += 1

    def _or(self, answer):
        if self.trouble is not None:
            raise self.trouble
        return answer


def candle(start_ns, granularity, price="1.1"):
    low, high = D(price), D(price) + D("0.0001")
    return Candle(
        instrument="EUR_USD", granularity=granularity, start_ns=start_ns, volume=5, complete=True,
        bid_o=low, bid_h=low, bid_l=low, bid_c=low, ask_o=high, ask_h=high, ask_l=high, ask_c=high,
    )  # fmt: skip


class Machine:
    """Its two clocks, and what was said to a person."""

    def __init__(self):
        self.mono_ns = 0
        self.said = []

    def wall(self):
        return NOON + self.mono_ns


def opened(source, machine=None, *, wanted=("EUR_USD",), currencies=("USD",), named=True):
    machine = machine or Machine()
    return asyncio.run(open_live(
        lambda _: source, Source(where="practice", token="t0ken"), wanted, currencies, named=named,
        wall_ns=machine.wall, mono=lambda: machine.mono_ns, say=machine.said.append,
    ))  # fmt: skip


class Desk:
    """A market on live prices, driven by hand."""

    def __init__(self, *names):
        self.machine = Machine()
        feed = opened(FakeSource(names or ("EUR_USD",)), self.machine, wanted=())
        assert isinstance(feed, LiveFeed)
        self.feed = feed
        time = VenueTime(feed.start_ns, 1.0, lambda: self.machine.mono_ns)
        self.market = Market(feed, time, calendar="always", specs=feed.specs)
        config = AccountConfig(account_id=ACCOUNT, currency="USD", balance=D(1000))
        open_accounts(self.market, [config], None)
        feed.tell(self.market.publish, self.market.time.now)

    def hear(self, *items):
        self.feed._on_items(items)

    def wait(self, seconds):
        self.machine.mono_ns += round(seconds * NS_PER_S)
        self.market._advance(self.market.time.now(), self.feed.next_ns())

    def quote(self, name="EUR_USD"):
        return self.market.exchange.quotes.get(name)


def test_a_price_is_there_as_soon_as_the_source_says_it():
    desk = Desk()
    assert desk.quote() is None
    desk.machine.mono_ns += NS_PER_S
    desk.hear(tick("1.10000"))
    assert (desk.quote().bid, desk.quote().ask) == (D("1.10000"), D("1.10010"))
    assert desk.quote().venue_ns == NOON
    assert desk.feed.state().ticks == 1


def test_ten_seconds_without_a_word_and_nobody_can_trade():
    desk = Desk("EUR_USD", "GBP_USD")
    desk.hear(StreamUp(stream="prices", account_id=ACCOUNT, seen_ns=0))
    desk.hear(tick("1.1"), tick("1.3", name="GBP_USD"))
    desk.wait(9)
    assert desk.quote().tradeable
    desk.hear(StreamDown(stream="prices", account_id=ACCOUNT, seen_ns=0, reason="cut"))
    desk.wait(2)
    assert not desk.quote("EUR_USD").tradeable
    assert not desk.quote("GBP_USD").tradeable
    assert desk.quote().bid == D("1.1")
    state = desk.feed.state()
    assert (state.silent, state.connected, state.reason, state.silent_s) == (True, False, "cut", 11)
    told = desk.market.ticks
    desk.wait(60)
    assert desk.market.ticks == told
    assert any("silent" in line for line in desk.machine.said)


def test_only_instruments_that_speak_again_can_be_traded_again():
    desk = Desk("EUR_USD", "GBP_USD")
    desk.hear(tick("1.1"), tick("1.3", name="GBP_USD"))
    desk.wait(11)
    desk.hear(tick("1.2", at_ns=NOON + 11 * NS_PER_S))
    assert (desk.quote().bid, desk.quote().tradeable) == (D("1.2"), True)
    assert not desk.quote("GBP_USD").tradeable
    assert not desk.feed.state().silent


def test_a_line_that_only_stalled_gives_its_prices_back_with_its_first_heartbeat():
    desk = Desk()
    desk.hear(tick("1.1"))
    desk.wait(11)
    assert not desk.quote().tradeable
    desk.hear(beat(NOON + 11 * NS_PER_S))
    assert desk.quote().tradeable


def test_a_new_connection_gives_nothing_back_before_its_prices_come():
    desk = Desk()
    desk.hear(tick("1.1"))
    desk.hear(StreamDown(stream="prices", account_id=ACCOUNT, seen_ns=0, reason="cut"))
    desk.wait(11)
    desk.hear(StreamUp(stream="prices", account_id=ACCOUNT, seen_ns=0), beat())
    assert not desk.quote().tradeable
    desk.hear(tick("1.2"))
    assert (desk.quote().bid, desk.quote().tradeable) == (D("1.2"), True)


def test_heartbeats_alone_keep_prices_alive():
    desk = Desk()
    desk.hear(tick("1.1"))
    for _ in range(12):
        desk.wait(5)
        desk.hear(beat())
    assert desk.quote().tradeable


def test_what_the_source_cannot_trade_nobody_can():
    desk = Desk()
    desk.hear(tick("1.1", tradeable=False))
    assert not desk.quote().tradeable


@pytest.mark.parametrize(
    ("bid", "ask"),
    [("NaN", "1.1"), ("1.1", "Infinity"), ("-1", "1.1"), ("0", "1.1"), ("1.2", "1.1")],
)
def test_a_senseless_price_is_counted_and_not_told(bid, ask):
    desk = Desk()
    desk.hear(tick("1.1"))
    desk.hear(tick(bid, ask), tick("7", name="XAU_USD"))
    assert desk.quote().bid == D("1.1")
    assert desk.feed.state().bad == 2


def test_a_source_that_is_ahead_or_behind_never_moves_our_time_back():
    desk = Desk()
    desk.hear(tick("1.1", at_ns=NOON + 99 * NS_PER_S))
    assert desk.quote().venue_ns == NOON
    desk.machine.mono_ns += 5 * NS_PER_S
    desk.hear(tick("1.3", at_ns=NOON + 3 * NS_PER_S), tick("1.2", at_ns=NOON + 2 * NS_PER_S))
    assert (desk.quote().bid, desk.quote().venue_ns) == (D("1.3"), NOON + 3 * NS_PER_S)
    desk.hear(tick("1.4", at_ns=NOON - HOUR_NS))
    assert desk.quote().venue_ns == NOON + 3 * NS_PER_S


def test_a_price_by_hand_stays_put_through_prices_silence_and_return():
    desk = Desk()
    desk.hear(tick("1.1"))
    desk.market.put_price("EUR_USD", D("1.5"), D("1.6"))
    desk.hear(tick("1.2"))
    desk.wait(11)
    assert (desk.quote().bid, desk.quote().tradeable) == (D("1.5"), True)
    desk.hear(beat())
    assert (desk.quote().bid, desk.quote().tradeable) == (D("1.5"), True)
    desk.market.let_go("EUR_USD")
    assert (desk.quote().bid, desk.quote().tradeable) == (D("1.2"), True)


def test_a_price_by_hand_that_is_released_while_the_source_is_silent_cannot_be_traded():
    desk = Desk()
    desk.hear(tick("1.1"))
    desk.market.put_price("EUR_USD", D("1.5"), D("1.6"))
    desk.wait(11)
    desk.market.let_go("EUR_USD")
    assert (desk.quote().bid, desk.quote().tradeable) == (D("1.1"), False)


def test_history_is_hours_and_then_minutes_from_a_whole_hour():
    source = FakeSource(("EUR_USD",))
    begins = NOON - 150 * MINUTE_NS
    source.bars = {
        "M1": tuple(candle(begins + i * MINUTE_NS, "M1", "1.2") for i in range(150)),
        "H1": tuple(candle(NOON - i * HOUR_NS, "H1") for i in range(9, 0, -1)),
    }
    [(_, hour, hours), (_, minute, minutes)] = opened(source).history()
    assert (hour, minute) == (HOUR_NS, MINUTE_NS)
    assert minutes[0].start_ns == NOON - 2 * HOUR_NS
    assert [b.start_ns for b in hours] == [NOON - i * HOUR_NS for i in range(9, 2, -1)]
    assert minutes[-1].mid[3] == D("1.20005")


def test_pairs_that_convert_are_asked_for_too():
    source = FakeSource(("EUR_USD", "USD_JPY", "EUR_JPY", "GBP_USD"))
    feed = opened(source, wanted=("EUR_JPY",), currencies=("EUR", "USD"))
    assert set(feed.instruments) == {"EUR_JPY", "USD_JPY", "EUR_USD"}


def test_all_means_all_of_the_source_and_usual_what_it_has_of_them():
    assert opened(FakeSource(), wanted=()).instruments == ("EUR_USD", "GBP_USD", "USD_JPY")
    some = opened(FakeSource(), wanted=("EUR_USD", "XAU_USD"), named=False)
    assert some.instruments == ("EUR_USD",)


@pytest.mark.parametrize(
    ("source", "wanted", "why"),
    [
        (FakeSource(trouble=VenueRefused(401, "", "no")), ("EUR_USD",), "refuses the token"),
        (FakeSource(trouble=VenueRefused(403, "", "no")), ("EUR_USD",), "refuses account"),
        (FakeSource(trouble=VenueUnreachable("x: gone")), ("EUR_USD",), "cannot be read: x: gone"),
        (FakeSource(accounts=()), ("EUR_USD",), "no account"),
        (FakeSource(), ("EUR_SEK", "EUR_USD"), "--instruments: the source has no EUR_SEK"),
        (FakeSource(names=("EUR_GBP",)), ("EUR_GBP",), "no price that converts GBP"),
    ],
)
def test_what_the_source_refuses_or_lacks_is_told_plainly(source, wanted, why):
    with pytest.raises(FeedError, match=why) as caught:
        opened(source, wanted=wanted)
    assert "t0ken" not in str(caught.value)
    assert source.closed


def test_another_paper_venue_gives_its_calendar_and_its_time():
    source = FakeSource()
    source.told = VenueClock(
        now_ns=NOON + HOUR_NS, speed=1.0, calendar="always", finished=False, ticks=0
    )
    feed = opened(source)
    assert (feed.start_ns, feed.calendar) == (NOON + HOUR_NS, "always")
    source.told = msgspec.structs.replace(source.told, speed=60.0)
    with pytest.raises(FeedError, match="pace"):
        opened(source)
