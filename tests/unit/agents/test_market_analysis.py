"""Market Analysis as a whole: prices in, signals out, and what strangers may do to it."""

import itertools
import re
from decimal import Decimal
from functools import partial

import pytest
from msgspec import structs

from orchestrator.agents.market_analysis import MarketAnalysis
from orchestrator.agents.market_analysis.strategies import (
    SHIPPED,
    Strategy,
    Wish,
    demo_makers,
    maker_of,
    shipped_makers,
)
from orchestrator.model.market import Candle, History, Tick
from orchestrator.model.money import AccountId, InstrumentName, Price, Side, Units
from orchestrator.model.outcomes import TradeOutcome
from orchestrator.model.safety import Alert
from orchestrator.model.signals import Feature, Signal
from orchestrator.model.time import MINUTE_NS, NS_PER_S, parse_time

EUR_USD = InstrumentName("EUR_USD")
NOON = parse_time("2014-05-08T12:00:00Z")
STEP = Decimal("0.00001")


class Always(Strategy):
    """Wishes the same on every bar."""

    def __init__(self, *, timeframe="M1", wish=None):
        self.timeframe = timeframe
        self.wish = wish
        self.bars = 0

    def on_bar(self, _bar, _context):
        self.bars += 1
        return self.wish


class Late(Always):
    """Wishes from the 61st bar on: the first live one."""

    def on_bar(self, _bar, _context):
        self.bars += 1
        return self.wish if self.bars > 60 else None


class Alternating(Always):
    """Wishes on odd bars only."""

    def on_bar(self, _bar, _context):
        self.bars += 1
        return self.wish if self.bars % 2 else None


def a_wish(**changes):
    given = {
        "side": Side.BUY,
        "stop_distance": 0.0012345,
        "target_distance": 0.0018,
        "confidence": 0.45,
        "note": "because",
        "features": (("depth", 1.5),),
    }
    return Wish(**{**given, **changes})


def tick(at_ns, bid=139_000, spread=12, *, seen_ns=None, tradeable=True, instrument=EUR_USD):
    return Tick(
        instrument=instrument,
        bid=Price(bid * STEP),
        ask=Price((bid + spread) * STEP),
        venue_ns=at_ns,
        seen_ns=at_ns + 20_000_000 if seen_ns is None else seen_ns,
        tradeable=tradeable,
    )


def history(minutes=60, end_ns=NOON, granularity="M1"):
    """Candles that wander up and down by a few steps, ending at `end_ns`."""

    def candle(index):
        bid = 139_000 + (index * 7) % 23
        o, h, low, c = bid, bid + 9, bid - 8, bid + 3
        b = [Price(x * STEP) for x in (o, h, low, c)]
        a = [Price((x + 12) * STEP) for x in (o, h, low, c)]
        return Candle(
            instrument=EUR_USD, granularity=granularity, volume=5, complete=True,
            start_ns=end_ns - (minutes - index) * MINUTE_NS,
            bid_o=b[0], bid_h=b[1], bid_l=b[2], bid_c=b[3],
            ask_o=a[0], ask_h=a[1], ask_l=a[2], ask_c=a[3],
        )  # fmt: skip

    return History(
        instrument=EUR_USD, granularity=granularity, candles=tuple(map(candle, range(minutes)))
    )


def agent_of(strategy, *, warm=True, **settings):
    agent = MarketAnalysis(
        instruments=(EUR_USD,), strategies={"mine": lambda: strategy}, **settings
    )
    if warm:
        assert agent.hear(history()) == ()
    return agent


def signals_of_minutes(agent, minutes, **changes):
    """One tick a minute, just after each minute's start."""
    said = [agent.hear(tick(NOON + i * MINUTE_NS + NS_PER_S, **changes)) for i in range(minutes)]
    return [message for group in said for message in group]


def test_a_wish_becomes_a_signal_on_the_tick_that_closes_its_bar():
    agent = agent_of(Late(wish=a_wish()))
    assert agent.hear(tick(NOON + NS_PER_S)) == ()
    at_ns = NOON + MINUTE_NS + NS_PER_S
    (signal,) = agent.hear(tick(at_ns, bid=139_010))
    assert isinstance(signal, Signal)
    assert signal.signal_id == f"mine-EUR_USD-{(NOON + MINUTE_NS) // NS_PER_S}-M1"
    assert signal.strategy == "mine"
    assert signal.side is Side.BUY
    assert signal.reference_price == Decimal("1.39022")
    assert signal.stop_distance == Decimal("0.001234")
    assert signal.target_distance == Decimal("0.0018")
    assert signal.confidence == Decimal("0.45")
    assert signal.created_ns == at_ns + 20_000_000
    assert signal.expires_ns == signal.created_ns + 10 * NS_PER_S
    assert signal.source == "market_analysis"
    assert signal.regime in {"range", "quiet", "trend_up", "trend_down", "volatile"}
    values = {feature.name: feature.value for feature in signal.features}
    assert values["claim"] == Decimal("0.45")
    assert values["depth"] == Decimal("1.5")
    assert values["spread"] == Decimal("0.00012")
    assert values["atr"] > 0


def test_a_sale_is_referred_to_the_bid():
    agent = agent_of(Late(wish=a_wish(side=Side.SELL)))
    (signal,) = signals_of_minutes(agent, 2)
    assert signal.reference_price == Decimal("1.39")


def test_a_setup_that_held_before_the_start_is_not_signalled():
    assert signals_of_minutes(agent_of(Always(wish=a_wish())), 10) == []


def test_a_setup_that_lasts_is_signalled_once():
    assert len(signals_of_minutes(agent_of(Late(wish=a_wish())), 30)) == 1


def test_after_a_signal_a_strategy_is_silent_for_the_cool_down():
    flicker = agent_of(Alternating(wish=a_wish()), cooldown_bars=5)
    ends = [int(s.signal_id.split("-")[2]) // 60 for s in signals_of_minutes(flicker, 30)]
    assert len(ends) > 2
    assert min(b - a for a, b in itertools.pairwise(ends)) >= 5


def test_the_same_bar_after_a_crash_makes_the_same_signal():
    first, again = agent_of(Late(wish=a_wish())), agent_of(Late(wish=a_wish()))
    assert signals_of_minutes(first, 3) == signals_of_minutes(again, 3) != []


@pytest.mark.parametrize("changes", [
    {"seen_ns": NOON + MINUTE_NS + 30 * NS_PER_S},  # the venue's stamp is 29 s old
    {"tradeable": False},
    {"spread": 40},  # a third of the stop
])  # fmt: skip
def test_no_signal_on_a_tick_that_could_not_be_traded(changes):
    agent = agent_of(Late(wish=a_wish()))
    agent.hear(tick(NOON + NS_PER_S))
    assert agent.hear(tick(NOON + MINUTE_NS + NS_PER_S, **changes)) == ()


def test_no_signal_when_the_bar_is_long_over():
    agent = agent_of(Late(wish=a_wish()))
    agent.hear(tick(NOON + NS_PER_S))
    assert agent.hear(tick(NOON + 2 * MINUTE_NS)) == ()


def test_no_signal_before_the_indicators_are_warm():
    agent = agent_of(Always(wish=a_wish()), warm=False)
    said = signals_of_minutes(agent, 25)
    assert said == []


def test_a_stop_of_nothing_before_the_atr_is_known_is_no_mistake():
    agent = agent_of(Always(wish=a_wish(stop_distance=0.0)), warm=False)
    assert signals_of_minutes(agent, 25) == []


def test_history_says_no_signals_and_other_granularities_do_not_count():
    agent = agent_of(Late(wish=a_wish()), warm=False)
    assert agent.hear(history(200)) == ()
    cold = agent_of(Late(wish=a_wish()), warm=False)
    cold.hear(history(granularity="H1"))
    assert signals_of_minutes(cold, 5) == []


def test_ticks_and_history_of_other_instruments_are_ignored():
    agent = agent_of(Late(wish=a_wish()))
    other = InstrumentName("GBP_USD")
    for minute in range(5):
        assert agent.hear(tick(NOON + minute * MINUTE_NS, instrument=other)) == ()
    assert agent.regimes(other) == ()
    assert [name for name, _ in agent.regimes(EUR_USD)] == ["M1", "M15", "M5"]


class Raising(Late):
    """Divides by zero on the first live bar."""

    def on_bar(self, _bar, _context):
        self.bars += 1
        return self.wish if self.bars <= 60 else 1 / 0


@pytest.mark.parametrize(("strategy", "text"), [
    (Raising(wish=None), "ZeroDivisionError"),
    (Late(wish=a_wish(stop_distance=float("nan"))), "not finite"),
    (Late(wish=a_wish(stop_distance=1e300)), "absurdly large"),
    (Late(wish=a_wish(features=(("x", float("inf")),))), "not finite"),
    (Late(wish=a_wish(stop_distance=0.0)), "above 0"),
    (Late(wish=a_wish(target_distance=-1.0)), "above 0"),
    (Late(wish=a_wish(confidence=1.0)), "between 0 and 1"),
    (Late(wish=a_wish(confidence=Decimal("0.5"))), "float"),
    (Late(wish=a_wish(side="long")), "long"),
    (Late(wish="buy!"), "object"),
])  # fmt: skip
def test_a_broken_strategy_is_an_alert_and_rests_while_the_others_go_on(strategy, text):
    agent = MarketAnalysis(
        instruments=(EUR_USD,),
        strategies={"bad": lambda: strategy, "good": lambda: Late(wish=a_wish())},
    )
    agent.hear(history())
    strategy.bars = 60
    alert, signal = signals_of_minutes(agent, 2)
    assert isinstance(alert, Alert)
    assert alert.subject == "bad"
    assert text in alert.text
    assert isinstance(signal, Signal)
    assert signal.strategy == "good"
    assert all(message.strategy == "good" for message in signals_of_minutes(agent, 9))


def test_a_strategy_that_breaks_in_history_is_an_alert_too():
    agent = agent_of(Always(wish=a_wish(stop_distance=-1.0)), warm=False)
    (alert,) = agent.hear(history())
    assert isinstance(alert, Alert)


def test_a_text_for_a_side_is_read_as_that_side():
    agent = agent_of(Late(wish=a_wish(side="sell")))
    (signal,) = signals_of_minutes(agent, 2)
    assert signal.side is Side.SELL


@pytest.mark.parametrize("bad", [
    {"bid": Decimal("NaN")}, {"bid": Decimal("sNaN")}, {"ask": Decimal("Infinity")},
    {"bid": Decimal(0)}, {"bid": Decimal(-1)}, {"bid": Decimal("1.40")}, {"ask": Decimal("1.39")},
    {"bid": Decimal("9.0"), "ask": Decimal("9.1")},
    {"venue_ns": NOON + 3600 * NS_PER_S},  # an hour ahead of our clock
    {"venue_ns": NOON - 3600 * NS_PER_S},  # older than the last
])  # fmt: skip
def test_a_bad_tick_changes_nothing(bad):
    good = [tick(NOON + i * MINUTE_NS + NS_PER_S) for i in range(6)]
    fields = {
        "instrument": EUR_USD, "bid": Price(Decimal("1.39")), "ask": Price(Decimal("1.3901")),
        "venue_ns": NOON + 30 * NS_PER_S, "seen_ns": NOON + 30 * NS_PER_S,
    }  # fmt: skip
    clean, troubled = agent_of(Late(wish=a_wish())), agent_of(Late(wish=a_wish()))
    expected = [clean.hear(one) for one in good]
    assert any(expected)
    heard = [troubled.hear(good[0])]
    assert troubled.hear(Tick(**{**fields, **bad})) == ()
    assert heard + [troubled.hear(one) for one in good[1:]] == expected


def test_a_price_that_really_moved_far_is_believed_after_five_ticks():
    agent = agent_of(Late(wish=a_wish(stop_distance=0.0022)))
    agent.hear(tick(NOON + NS_PER_S))
    said = [agent.hear(tick(NOON + (10 + i) * NS_PER_S + MINUTE_NS, bid=160_000)) for i in range(6)]
    assert [len(messages) for messages in said] == [0, 0, 0, 0, 1, 0]


def an_outcome(number, *, hit, claim=Decimal("0.5"), reason=None, quarantined=False):
    return TradeOutcome(
        account_id=AccountId("a"), trade_id=str(number), signal_id=f"s{number}", strategy="mine",
        regime="range", instrument=EUR_USD, side=Side.BUY, units=Units(Decimal(1)),
        entry_price=Price(Decimal(1)), exit_price=Price(Decimal(1)), opened_ns=NOON,
        closed_ns=NOON, realized_pl=Decimal(0), financing=Decimal(0), r_multiple=Decimal(0),
        mae=Price(Decimal(0)), mfe=Price(Decimal(0)), slippage=Price(Decimal(0)),
        exit_reason=reason or ("TAKE_PROFIT_ORDER" if hit else "STOP_LOSS_ORDER"),
        features=(Feature(name="claim", value=claim),), quarantined=quarantined,
    )  # fmt: skip


def confidence_after(outcomes):
    agent = agent_of(Late(wish=a_wish(confidence=0.5)))
    for outcome in outcomes:
        assert agent.hear(outcome) == ()
    (signal,) = signals_of_minutes(agent, 2)
    return signal.confidence


def test_losses_lower_the_confidence_and_wins_raise_it():
    assert confidence_after([]) == Decimal("0.5")
    assert confidence_after([an_outcome(i, hit=False) for i in range(60)]) < Decimal("0.2")
    assert confidence_after([an_outcome(i, hit=True) for i in range(60)]) > Decimal("0.8")


@pytest.mark.parametrize("changes", [
    {"quarantined": True},
    {"reason": "MARKET_ORDER_TRADE_CLOSE"},  # closed by hand: the target might still have come
    {"claim": Decimal("NaN")},
    {"claim": Decimal(2)},
])  # fmt: skip
def test_what_says_nothing_about_the_claim_does_not_teach(changes):
    outcomes = [an_outcome(i, hit=False, **changes) for i in range(60)]
    assert confidence_after(outcomes) == Decimal("0.5")


def test_settings_that_make_no_sense_are_refused_at_start():
    with pytest.raises(ValueError, match="ttl_s"):
        MarketAnalysis(instruments=(EUR_USD,), ttl_s=31)
    with pytest.raises(ValueError, match="M7"):
        MarketAnalysis(instruments=(EUR_USD,), timeframes=("M7",))
    wrong = {"mine": partial(SHIPPED["pullback"], colour="red")}
    with pytest.raises(ValueError, match=r"strategy mine: .*colour"):
        MarketAnalysis(instruments=(EUR_USD,), strategies=wrong)


@pytest.mark.parametrize(("name", "kind", "parameters", "text"), [
    ("Upper", Always, {}, "name"),
    ("x" * 25, Always, {}, "name"),
    ("mine", Always, {"colour": 1}, "colour"),
    ("mine", Always, {"timeframe": "M7"}, "M7"),
    ("mine", int, {}, "not a subclass of Strategy"),
    ("mine", Always(), {}, "not a subclass of Strategy"),
    ("trend_following", SHIPPED["trend_following"], {"fast": 50}, "below slow"),
    ("session_breakout", SHIPPED["session_breakout"], {"sessions": ["mars"]}, "mars"),
])  # fmt: skip
def test_a_mistake_in_a_strategys_settings_names_the_strategy(name, kind, parameters, text):
    with pytest.raises(ValueError, match=text):
        maker_of(name, kind, parameters)


def test_the_shipped_and_the_demo_set_can_be_made_and_share_no_state():
    for makers in (shipped_makers(), demo_makers()):
        assert makers.keys() >= SHIPPED.keys()
        for maker in makers.values():
            assert maker() is not maker()
    with pytest.raises(ValueError, match="nobody"):
        shipped_makers({"nobody": {}})


def test_the_demonstration_speaks_within_every_two_minutes_and_the_shipped_set_has_no_pulse():
    """Six instruments, prices that wander a little: what a newcomer sees after the start."""
    names = ("EUR_USD", "USD_JPY", "GBP_USD", "NZD_USD", "EUR_GBP", "XAU_USD")
    agent = MarketAnalysis(instruments=names, strategies=demo_makers())
    for name in names:
        assert agent.hear(structs.replace(history(120), instrument=InstrumentName(name))) == ()
    counts = [
        sum(
            len(agent.hear(tick(NOON + i * MINUTE_NS + NS_PER_S, 139_000 + i % 7, instrument=name)))
            for name in names
        )
        for i in range(1, 30)
    ]
    assert min(a + b for a, b in itertools.pairwise(counts)) >= 1
    assert "pulse" not in shipped_makers()


def test_the_longest_name_gives_an_id_that_fits():
    name = "x" * 24
    agent = MarketAnalysis(instruments=(EUR_USD,), strategies={name: lambda: Late(wish=a_wish())})
    agent.hear(history())
    (signal,) = signals_of_minutes(agent, 2)
    assert re.fullmatch(r"[A-Za-z0-9_.:-]{1,64}", signal.signal_id)
    with pytest.raises(ValueError, match="name"):
        MarketAnalysis(instruments=(EUR_USD,), strategies={"a b": Always})
