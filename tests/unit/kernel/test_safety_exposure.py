"""C15, C16, C19, C20: exposures at their worst, alike books, opposition, and the profile."""

from __future__ import annotations

import math

import pytest

from orchestrator.kernel.safety.checks.c15_exposure import c15_exposure, room, with_order
from orchestrator.kernel.safety.checks.c16_correlation import c16_correlation
from orchestrator.kernel.safety.checks.c19_opposition import c19_opposition
from orchestrator.kernel.safety.checks.c20_profile import c20_profile
from orchestrator.kernel.safety.covariance import KEEP, POINTS_MIN, Covariance
from orchestrator.kernel.safety.exposure import Leg, exposed
from orchestrator.kernel.safety.view import Neighbour, Resting
from orchestrator.model.limits import CheckLimits
from orchestrator.model.market import Candle, History
from orchestrator.model.money import Side
from orchestrator.model.profiles import Profile, Span, Window
from orchestrator.model.time import HOUR_NS
from tests.unit.kernel.safety_makers import NOW, D, order_of, totals_of, view_of

WORTH = D("11001.00")  # of the makers' order: 10,000 at 1.10010
SELL = {"side": Side.SELL, "units": D(-10_000), "stop_price": D("1.10200"), "target_price": None}


def leg(value, name="EUR_USD", *, flying=False):
    return Leg(name, D(value), flying)


# -- C15 -------------------------------------------------------------------------------


def test_in_flight_counts_at_its_worst_and_what_would_reduce_only_once_filled():
    sums = exposed([leg(100), leg(30, flying=True), leg(-70, flying=True)])
    load = sums.of("EUR_USD")
    assert (load.held, load.up, load.down) == (100, 30, 70)
    assert load.worst == 130
    assert sums.in_currency("USD").worst == 130
    assert sums.gross == 130
    short = exposed([leg(-100), leg(30, flying=True), leg(-70, flying=True)])
    assert short.of("EUR_USD").worst == 170
    flips = exposed([leg(100), leg(-250, flying=True)])
    assert flips.of("EUR_USD").worst == 150


def test_legs_of_a_currency_net_over_instruments_and_gross_does_not():
    sums = exposed([leg(100), leg(-60, "GBP_USD")])
    assert sums.in_currency("USD").held == -40
    assert sums.in_currency("GBP").held == -60
    assert sums.gross == 160


def test_a_hedging_account_nets_nothing_in_its_gross():
    legs = [leg(100), leg(-100), leg(10, flying=True)]
    assert exposed(legs, hedging=True).gross == 210
    assert exposed(legs).gross == 10


@pytest.mark.parametrize("hedging", [False, True])
@pytest.mark.parametrize("side", [Side.BUY, Side.SELL])
def test_the_sums_with_an_order_are_those_of_its_leg_among_the_others(hedging, side):
    legs = [leg(100), leg(-40, "GBP_USD"), leg(-250, flying=True), leg(70, "EUR_GBP", flying=True)]
    order = order_of(side=side)
    added = with_order(exposed(legs, hedging=hedging), order, D(300), hedging=hedging)
    afresh = exposed([*legs, leg(300 * side.sign, flying=True)], hedging=hedging)
    assert added.gross == afresh.gross
    for name in ("EUR_USD", "GBP_USD", "EUR_GBP"):
        assert added.of(name).worst == afresh.of(name).worst
    for name in ("EUR", "USD", "GBP"):
        assert added.in_currency(name).worst == afresh.in_currency(name).worst


def c15(*legs, order=None, gross_total=None, **changes):
    sums = exposed(legs)
    total = sums.gross if gross_total is None else D(gross_total)
    return c15_exposure(order or order_of(), view_of(exposed=sums, gross_total=total, **changes))


LIMITS = CheckLimits(
    instrument_exposure_max=D("0.50"), currency_exposure_max=D("0.60"),
    gross_exposure_max=D("0.80"),
)  # fmt: skip


@pytest.mark.parametrize(
    ("legs", "room_left", "what"),
    [
        (lambda rest: [leg(50_000 - rest)], WORTH, "EUR_USD"),
        (lambda rest: [leg(50_000 - rest, flying=True), leg(-5, flying=True)], WORTH, "EUR_USD"),
        (lambda rest: [leg(60_000 - rest, "GBP_USD", flying=True)], WORTH, "USD"),
        (lambda rest: [leg(40_000, "USD_JPY"), leg(40_000 - rest, "GBP_USD")], WORTH, "gross"),
    ],
)
def test_c15_each_limit_passes_at_its_edge_and_refuses_a_hair_above(legs, room_left, what):
    roomy = CheckLimits(
        instrument_exposure_max=D("0.50") if what == "EUR_USD" else D(9),
        currency_exposure_max=D("0.60") if what == "USD" else D(9),
        gross_exposure_max=D("0.80") if what == "gross" else D(9),
    )
    assert c15(*legs(room_left), checks=roomy) is None
    said = c15(*legs(room_left - D("0.01")), checks=roomy)
    assert said is not None
    assert said.startswith(f"C15 {what} exposure would be ")


def test_c15_an_opposite_order_is_no_relief_before_it_is_filled():
    assert c15(leg(60_000), order=order_of(**SELL), checks=LIMITS) is not None
    assert c15(leg(40_000), order=order_of(**SELL), checks=LIMITS) is None


def test_c15_what_is_over_anywhere_lets_nothing_through():
    assert "C15 GBP_JPY" in c15(leg(50_001, "GBP_JPY"), checks=LIMITS)


def test_c15_all_accounts_together_in_the_reporting_currency():
    totals = totals_of(rate=D(2), nav=D(100_000))
    limit = D(15) * 100_000
    edge = limit - 2 * D("11001.00")
    assert c15(gross_total=edge, totals=totals) is None
    said = c15(gross_total=edge + D("0.01"), totals=totals)
    assert said.startswith("C15 gross exposure of all accounts would be 1500000.01")


@pytest.mark.parametrize("name", ["exposed", "gross_total", "funds", "totals", "market", "factors"])
def test_c15_refuses_what_is_unknown(name):
    assert "C15" in c15_exposure(order_of(), view_of(**{name: None}))


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("held", [-30_000, 0, 30_000])
def test_the_room_is_exactly_what_the_check_lets_through(sign, held):
    sums = exposed([leg(held), leg(7_000, flying=True), leg(-9_000, "GBP_USD", flying=True)])
    view = view_of(exposed=sums, gross_total=sums.gross, checks=LIMITS)
    worth = room(view, "EUR_USD", sign)
    assert worth > 0
    side = Side.BUY if sign > 0 else Side.SELL
    price = view.market.ask if sign > 0 else view.market.bid
    for extra, passes in ((0, True), (D("0.001"), False)):
        units = (worth + extra) / price * sign
        found = c15_exposure(order_of(side=side, units=units), view)
        # A worth is a product of 28 digits: an edge is met to the last of them.
        assert (found is None) is passes


def test_there_is_no_room_where_a_limit_is_passed_or_something_is_unknown():
    over = view_of(exposed=exposed([leg(60_001, "GBP_JPY")]), gross_total=D(0), checks=LIMITS)
    assert room(over, "EUR_USD", 1) == 0
    assert room(view_of(exposed=None), "EUR_USD", 1) == 0
    assert room(view_of(gross_total=None), "EUR_USD", 1) == 0


# -- C16 -------------------------------------------------------------------------------


def neighbour(exposures=None, sides=()):
    return Neighbour(account_id="b", exposures=exposures or {}, sides=sides)


def taught(moves):
    """A covariance that has heard these hourly returns of EUR_USD and GBP_USD."""
    known = Covariance(("EUR_USD", "GBP_USD", "USD_JPY"), "USD")
    eur, gbp = D("1.10000"), D("1.30000")
    for hour, (one, other) in enumerate([(0, 0), *moves, (0, 0)]):
        eur, gbp = eur * (1 + D(repr(one))), gbp * (1 + D(repr(other)))
        known.hear("EUR_USD", (eur, eur), (hour + 1) * HOUR_NS)
        known.hear("GBP_USD", (gbp, gbp), (hour + 1) * HOUR_NS + 1)
        known.hear("USD_JPY", (D(150), D(150)), (hour + 1) * HOUR_NS + 2)
    return known


def test_c16_passes_without_other_accounts_or_where_they_hold_nothing():
    assert c16_correlation(order_of(), view_of()) is None
    assert c16_correlation(order_of(), view_of(neighbours=(neighbour(),))) is None
    flat = neighbour({"EUR": 0.0, "USD": 0.0})
    assert c16_correlation(order_of(), view_of(neighbours=(flat,))) is None


def test_c16_the_same_bet_is_refused_and_its_opposite_is_not():
    same = neighbour({"EUR": 5_000.0, "USD": -5_000.0})
    said = c16_correlation(order_of(), view_of(neighbours=(same,)))
    assert said == "C16 correlation with account b would be 1.00, limit 0.70"
    assert c16_correlation(order_of(**SELL), view_of(neighbours=(same,))) is None


def test_c16_below_50_points_it_is_the_cosine_of_the_exposures():
    half = neighbour({"GBP": 5_000.0, "USD": -5_000.0})  # cosine 0.5 with EUR_USD
    at = CheckLimits(correlation_max=D("0.50"))
    below = CheckLimits(correlation_max=D("0.49"))
    assert c16_correlation(order_of(), view_of(neighbours=(half,), checks=at)) is None
    assert c16_correlation(order_of(), view_of(neighbours=(half,), checks=below))


def test_c16_or_lower_than_before():
    other = neighbour({"EUR": 5_000.0, "USD": -5_000.0})
    mine = {"EUR": 100_000.0, "USD": -100_000.0}
    # A part of another bet makes the books less alike, though they stay too much so.
    away = order_of(instrument="GBP_USD")
    assert c16_correlation(away, view_of(neighbours=(other,), currency_book=mine)) is None
    assert c16_correlation(order_of(), view_of(neighbours=(other,), currency_book=mine))


def test_c16_by_the_covariance_of_the_currencies_from_50_points_on():
    dice = [((hash((i, 7)) % 200 - 100) / 1e4, (hash((i, 9)) % 200 - 100) / 1e4) for i in range(90)]
    together = [(a, a * 0.98) for a, _ in dice]
    apart = [(a, -a) for a, _ in dice]
    other = neighbour({"GBP": 5_000.0, "USD": -5_000.0})
    alike = c16_correlation(order_of(), view_of(neighbours=(other,), covariance=taught(together)))
    assert alike is not None  # the cosine alone, 0.5, would have passed
    unlike = view_of(neighbours=(other,), covariance=taught(apart))
    assert c16_correlation(order_of(), unlike) is None


def test_the_formula_of_c16_to_the_last_digit():
    """EWMA of centred returns with warm start, shrunk by 0.2: worked out here a second time."""
    moves = [((i % 7 - 3) / 1_000, (i % 5 - 2) / 1_000) for i in range(70)]
    known = taught(moves)
    names = ("EUR", "GBP", "JPY", "USD")
    sums = {(a, b): 0.0 for a in names for b in names}
    for count, (one, other) in enumerate(moves):
        raw = {"EUR": math.log(1 + one), "GBP": math.log(1 + other), "JPY": 0.0, "USD": 0.0}
        mean = sum(raw.values()) / 4
        share = max(1 - KEEP, 1 / (count + 1))
        for a in names:
            for b in names:
                sums[a, b] += share * ((raw[a] - mean) * (raw[b] - mean) - sums[a, b])
    assert known.points == len(moves)
    x, y = {"EUR": 3.0, "USD": -3.0}, {"GBP": 2.0, "JPY": -2.0}

    def product(u, v):
        return sum(
            p * q * sums[a, b] * (1.0 if a == b else 0.8)
            for a, p in u.items() for b, q in v.items()
        )  # fmt: skip

    wanted = product(x, y) / math.sqrt(product(x, x) * product(y, y))
    assert known.correlation(x, y) == pytest.approx(wanted, rel=1e-9)


def candles(name, closes):
    return History(
        instrument=name, granularity="H1",
        candles=tuple(
            Candle(
                instrument=name, granularity="H1", start_ns=(hour + 1) * HOUR_NS, volume=1,
                complete=True, bid_o=close, bid_h=close, bid_l=close, bid_c=close,
                ask_o=close, ask_h=close, ask_l=close, ask_c=close,
            )
            for hour, close in enumerate(closes)
        ),
    )  # fmt: skip


def test_candles_teach_what_live_prices_would_have_taught():
    moves = [((i % 7 - 3) / 1_000, (i % 5 - 2) / 1_000) for i in range(60)]
    live = taught(moves)
    eur, gbp, eurs, gbps = D("1.10000"), D("1.30000"), [], []
    for one, other in [(0, 0), *moves]:
        eur, gbp = eur * (1 + D(repr(one))), gbp * (1 + D(repr(other)))
        eurs.append(eur)
        gbps.append(gbp)
    read = Covariance(("EUR_USD", "GBP_USD", "USD_JPY"), "USD")
    yens = [D(150)] * len(eurs)
    read.teach([candles("GBP_USD", gbps), candles("EUR_USD", eurs), candles("USD_JPY", yens)])
    assert read.points == live.points >= POINTS_MIN
    x, y = {"EUR": 1.0, "USD": -1.0}, {"GBP": 1.0, "USD": -1.0}
    assert read.correlation(x, y) == live.correlation(x, y)
    read.hear("EUR_USD", (D(1), D(1)), 900 * HOUR_NS)
    points = read.points
    read.teach([candles("EUR_USD", eurs)])  # too late: live prices have begun
    assert read.points == points


def test_a_move_that_cannot_be_and_a_currency_without_a_price_teach_nothing():
    known = taught([(0.5, 0.0)])
    assert known.points == 0
    lone = Covariance(("EUR_USD", "GBP_USD"), "USD")
    for hour in range(3):
        lone.hear("EUR_USD", (D(1), D(1)), (hour + 1) * HOUR_NS)
    assert lone.points == 1
    assert lone.correlation({"GBP": 1.0, "USD": -1.0}, {"GBP": 1.0, "USD": -1.0}) == 1.0


def test_c16_refuses_what_is_unknown():
    assert "C16" in c16_correlation(order_of(), view_of(neighbours=None))
    assert "C16" in c16_correlation(order_of(), view_of(currency_book=None))
    other = (neighbour({"EUR": 1.0, "USD": -1.0}),)
    assert "C16" in c16_correlation(order_of(), view_of(neighbours=other, market=None))


# -- C19 -------------------------------------------------------------------------------


def test_c19_no_order_against_a_trade_or_order_of_another_account():
    against = (neighbour(sides=((Side.BUY, "trade 6"), (Side.SELL, "trade 7"))),)
    said = c19_opposition(order_of(), view_of(neighbours=against))
    assert said == "C19 account b has the opposite on EUR_USD: trade 7 to sell"
    allowed = CheckLimits(opposition_allowed=True)
    assert c19_opposition(order_of(), view_of(neighbours=against, checks=allowed)) is None
    with_it = (neighbour(sides=((Side.BUY, "trade 6"),)),)
    assert c19_opposition(order_of(), view_of(neighbours=with_it)) is None
    assert "C19" in c19_opposition(order_of(), view_of(neighbours=None))


def test_c19_no_order_that_would_meet_our_own_even_where_opposition_is_allowed():
    allowed = CheckLimits(opposition_allowed=True)
    # 1.10010 and at most 0.05 %: 1.10065
    for side, price, order, refused in (
        (Side.SELL, "1.10065", order_of(), True),
        (Side.SELL, "1.10066", order_of(), False),
        (Side.BUY, "1.10065", order_of(), False),
        (Side.BUY, "1.09945", order_of(**SELL), True),
        (Side.BUY, "1.09944", order_of(**SELL), False),
    ):
        rests = (Resting("a", "9", side, D(price)),)
        found = c19_opposition(order, view_of(resting=rests, checks=allowed))
        assert (found is not None) is refused, (side, price)
    assert "C19" in c19_opposition(
        order_of(), view_of(resting=(Resting("a", "9", Side.SELL, D(1)),), market=None)
    )


# -- C20 -------------------------------------------------------------------------------


def test_c20_each_rule_of_a_profile():
    news = Span(from_ns=NOW, to_ns=NOW + 1, text="jobs report", currencies=("USD",))
    for profile, said in (
        (Profile(), None),
        (Profile(name="p", instruments=("EUR_USD",), strategies=("trend",)), None),
        (Profile(name="p", instruments=("USD_JPY",)), "C20 EUR_USD is not among its instruments"),
        (Profile(name="p", strategies=("other",)), "C20 strategy trend is not among"),
        (Profile(name="p", hours=(Window(days=(), zone="UTC"),)), "C20 outside the hours"),
        (Profile(name="p", news=(news,)), "C20 jobs report (profile p)"),
        (Profile(name="p", orders_a_day=4), "C20 4 orders today, limit 4"),
        (Profile(name="p", orders_a_day=5), None),
    ):
        found = c20_profile(order_of(), view_of(profile=profile, orders_today=4))
        assert (found is None) if said is None else found.startswith(said)
    unknown = view_of(profile=Profile(orders_a_day=4), orders_today=None)
    assert "unknown" in c20_profile(order_of(), unknown)


def test_where_all_accounts_together_are_over_there_is_no_room_even_for_what_offsets():
    """A sale against what is held costs no gross, and is refused all the same (C15)."""
    sums = exposed([leg(30_000)])
    limit = LIMITS.gross_exposure_max * view_of().totals.nav
    order = order_of(side=Side.SELL, units=D(-1_000))
    at = view_of(exposed=sums, gross_total=limit, checks=LIMITS)
    assert room(at, "EUR_USD", -1) > 0
    assert c15_exposure(order, at) is None
    over = view_of(exposed=sums, gross_total=limit + 1, checks=LIMITS)
    assert room(over, "EUR_USD", -1) == 0
    assert "of all accounts" in c15_exposure(order, over)
