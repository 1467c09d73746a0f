"""Acts of an account at random: prices, orders, closes, nights; played at a desk."""

from decimal import Decimal

from hypothesis import strategies as st

from orchestrator.model.money import InstrumentName
from orchestrator.paper.exchange.config import Commission
from orchestrator.paper.exchange.depth import Depth, Level
from orchestrator.paper.instruments import SPECS
from tests.unit.paper.desk import Desk

D = Decimal

PAIRS = {"EUR_USD": D("1.10000"), "USD_JPY": D("150.000"), "EUR_GBP": D("0.85000")}

# Accounts of every division: what an account pays, and how deep its book is.
TERMS = (
    {"currency": "USD"},
    {"currency": "EUR"},
    {"currency": "JPY", "hedging": True},
    {"currency": "USD", "guaranteed": True, "financing": "SECOND_BY_SECOND"},
    {"currency": "EUR", "charge": "0.005", "commission": Commission(amount=D(5), minimum=D(1))},
    {"currency": "USD", "depth": Depth((Level(9000, D(0)), Level(30_000, D("0.4"))), limited=True)},
)

prices = st.tuples(
    st.just("price"), st.sampled_from(sorted(PAIRS)), st.integers(-1500, 1500), st.integers(1, 40)
)
orders = st.tuples(
    st.just("order"),
    st.sampled_from(sorted(PAIRS)),
    st.sampled_from(["MARKET", "MARKET", "MARKET", "LIMIT", "STOP", "MARKET_IF_TOUCHED"]),
    st.sampled_from([500, -500, 3000, -3000, 3000, -3000, 9500, -9500, 60_000, -60_000]),
    st.integers(-800, 800),
    st.sampled_from(["DEFAULT"] * 5 + ["REDUCE_ONLY", "REDUCE_FIRST", "OPEN_ONLY"]),
    st.sampled_from([None, "stop", "both", "both", "trailing", "guaranteed"]),
)
others = st.sampled_from(
    [
        ("close",),
        ("part",),
        ("position",),
        ("cancel",),
        ("night",),
        ("night",),
        ("night",),
        ("protect",),
        ("replace",),
        ("rename",),
        ("configure",),
        ("dividend",),
        ("reset",),
        ("delay",),
        ("moved",),
        ("halt",),
    ]
)
# Long enough that trades are opened, protected, and closed in every way.
acts = st.lists(st.one_of(prices, orders, orders, others), min_size=12, max_size=45)


def away(name: str, steps: int) -> D:
    return PAIRS[name] + steps * SPECS[name].tick


def order(desk: Desk, name: str, kind: str, units: int, steps: int, rest: tuple) -> None:
    fill, protect = rest
    step = SPECS[name].tick
    wish = {"type": kind, "positionFill": fill}
    if kind != "MARKET":
        wish["price"] = str(away(name, steps))
    if protect in {"stop", "both"}:
        wish["stopLossOnFill"] = {"distance": str(400 * step)}
    if protect == "both":
        target = away(name, steps) + (900 if units > 0 else -900) * step
        wish["takeProfitOnFill"] = {"price": str(target)}
    if protect == "guaranteed":
        wish["guaranteedStopLossOnFill"] = {"distance": str(450 * step)}
    if protect == "trailing":
        wish["trailingStopLossOnFill"] = {"distance": str(500 * step)}
    desk.order(str(units), name, **wish)


def play(desk: Desk, act: tuple) -> None:
    trades, pending = list(desk.books.trades), list(desk.books.pending.values())
    entries = [o for o in pending if o.trade_id is None]
    match act:
        case ("price", name, steps, width):
            desk.price(name, str(away(name, steps)), str(away(name, steps + width)))
        case ("order", name, kind, units, steps, *rest):
            order(desk, name, kind, units, steps, tuple(rest))
        case ("close",) if trades:
            desk.close_trade(trades[0])
        case ("part",) if trades:
            desk.close_trade(trades[-1], units="1")
        case ("position",):
            desk.close_position("EUR_USD")
        case ("cancel",) if entries:
            desk.cancel(entries[0].id)
        case ("protect",) if trades:
            desk.trade_orders(trades[0], stopLoss={"distance": "0.01000"}, takeProfit=None)
        case ("replace",) if entries:
            old = entries[0]
            desk.replace(
                old.id, type=old.type, instrument=old.instrument, units="5", price=str(old.price)
            )
        case _:
            play_rarer(desk, act, trades, pending)


def play_rarer(desk: Desk, act: tuple, trades: list, pending: list) -> None:
    match act:
        case ("rename",) if trades:
            number = desk.books.last_id
            named = {"id": f"n{number}"} if number % 2 else {}
            desk.rename_trade(trades[-1], {"tag": f"t{number}", **named})
            for old in pending[:1]:
                desk.rename_order(old.id, {"comment": f"c{number}", **named})
        case ("configure",):
            desk.configure(marginRate="0.05", alias="mine")
        case ("night",):
            desk.later(13 * 3600)
            desk.clockwork.on_time(desk.now)
        case ("halt",):
            tick = desk.exchange.quotes.get(InstrumentName("EUR_USD"))
            desk.price("EUR_USD", str(tick.bid), str(tick.ask), tradeable=not tick.tradeable)
        case _:
            administer(desk, act[0])


def administer(desk: Desk, what: str) -> None:
    """What only the venue does."""
    admin, books, now = desk.exchange.admin, desk.books, desk.later()
    name = next(iter(books.trades_in), None)
    late = [i for i in books.trades if i not in books.delayed]
    if what == "reset":
        admin.reset_pl(books, now)
    elif what == "moved":
        price = D("1.09000")
        admin.fixed_price(books, InstrumentName("EUR_USD"), D(70), price, "OPEN", now)
    elif what == "dividend" and name is not None:
        admin.dividend(books, name, D("0.012"), now)
    elif what == "delay" and late:
        admin.delay_closure(books, (late[0],), "TRADE_CLOSE", now)
