"""Every endpoint of OANDA's client and of oandapyV20, each answer held against the definitions."""

import itertools
import json

import oandapyV20
import pytest
import v20
from oandapyV20.endpoints import accounts, instruments, orders, positions, pricing, trades
from oandapyV20.endpoints import transactions as history

from tests.integration.paper_definitions import SPEC, fits, template_of
from tests.integration.paper_venue import HEDGING, TOKEN, USD, Venue

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")

# In OANDA's definitions, but not on its public site: nobody relies on them, the venue answers 404.
NOT_MADE = {
    "/users/{userSpecifier}", "/users/{userSpecifier}/externalInfo", "/pricing", "/pricing/range",
    "/instruments/{instrument}/price", "/instruments/{instrument}/price/range",
}  # fmt: skip
STREAMS = {"/accounts/{accountID}/transactions/stream", "/accounts/{accountID}/pricing/stream"}
LIMIT = {"type": "LIMIT", "instrument": "EUR_USD", "units": "10", "price": "0.5"}
EVERY = {
    (method.upper(), template)
    for template, methods in SPEC["paths"].items()
    for method in methods
    if template not in NOT_MADE
}


@pytest.fixture(scope="module")
def venue(tmp_path_factory):
    folder = tmp_path_factory.mktemp("venue")
    with Venue(folder, "--speed", "20", "--seed", "4", feed=("synthetic",)) as venue:
        yield venue


class Judge:
    """Holds each answer against the definitions, and remembers what was asked."""

    def __init__(self):
        self.asked = set()

    def hear(self, method, path, status, body):
        template = template_of(method, path)
        if template is not None and template not in STREAMS:
            fits(template, method, status, body)
        self.asked.add((method, template))


@pytest.fixture
def official(venue):
    judge = Judge()
    context = v20.Context("127.0.0.1", venue.port, ssl=False, token=TOKEN, stream_timeout=10)
    ask = context.request

    def request(wish):
        response = ask(wish)
        body = json.loads(response.raw_body) if response.raw_body else None
        path = response.path.partition("://")[2].partition("/")[2] or response.path
        judge.hear(wish.method, "/" + path.lstrip("/").partition("?")[0], response.status, body)
        return response

    context.request = request
    context.judge = judge
    yield context
    context._session.close()


def read_back(official, start, opened):
    changes = official.account.changes(USD, sinceTransactionID=start)
    assert opened in [t.id for t in changes.get("changes", 200).tradesClosed]
    last = changes.get("lastTransactionID", 200)
    assert official.transaction.get(USD, last).get("transaction", 200).id == last
    found = official.transaction.range(USD, fromID="1", toID=last)
    assert len(found.get("transactions", 200)) == int(last)
    fills = official.transaction.range(USD, fromID="1", toID=last, type="ORDER_FILL")
    assert {t.type for t in fills.get("transactions", 200)} == {"ORDER_FILL"}
    since = official.transaction.since(USD, id="3").get("transactions", 200)
    assert [int(t.id) for t in since] == list(range(4, int(last) + 1))
    official.transaction.list(USD, pageSize=10).get("pages", 200)

    rows = official.instrument.candles("EUR_USD", price="MBA", granularity="M5", count=4)
    assert len(rows.get("candles", 200)) == 4
    # The client never fills in the account of this one's path; the venue says so.
    rows = official.pricing.candles("EUR_USD", granularity="H1", count=2)
    assert "accountID" in rows.get("errorMessage", 400)
    book = official.instrument.order_book("EUR_USD").get("orderBook", 200)
    earlier = official.instrument.order_book("EUR_USD", time="2000-01-01T00:00:00Z")
    assert earlier.get("errorCode", 404) == "NO_SUCH_BOOK"
    book = official.instrument.position_book("EUR_USD", time=book.time).get("positionBook", 200)
    assert len(book.buckets) > 50
    stream = official.pricing.stream(USD, instruments="EUR_USD")
    assert next(kind for kind, _ in stream.parts()) == "pricing.ClientPrice"
    stream = official.transaction.stream(USD)
    assert next(kind for kind, _ in stream.parts()) == "transaction.TransactionHeartbeat"


def test_every_endpoint_of_oandas_own_client(official):
    account, order, trade = official.account, official.order, official.trade
    start = official.account.summary(USD).get("lastTransactionID", 200)
    account.list().get("accounts", 200)
    account.get(USD).get("account", 200)
    account.instruments(USD, instruments="EUR_USD,XAU_USD").get("instruments", 200)
    account.configure(USD, alias="mine", marginRate="0.03").get("clientConfigureTransaction", 200)

    made = order.market(USD, instrument="EUR_USD", units=500, timeInForce="IOC")
    opened = made.get("orderFillTransaction", 201).tradeOpened.tradeID
    bid = official.pricing.get(USD, instruments="EUR_USD").get("prices", 200)[0].bids[0].price
    rests = [
        order.limit(USD, instrument="EUR_USD", units=10, price="0.5"),
        order.stop(USD, instrument="EUR_USD", units=10, price="2.5"),
        order.market_if_touched(USD, instrument="EUR_USD", units=10, price="0.6"),
        order.take_profit(USD, tradeID=opened, price=f"{bid + 0.1:.5f}"),
        order.stop_loss(USD, tradeID=opened, price=f"{bid - 0.1:.5f}"),
        order.trailing_stop_loss(USD, tradeID=opened, distance="0.05000"),
    ]
    ids = [rest.get("orderCreateTransaction", 201).id for rest in rests]
    replaced = [
        order.limit_replace(USD, ids[0], instrument="EUR_USD", units=11, price="0.5"),
        order.stop_replace(USD, ids[1], instrument="EUR_USD", units=11, price="2.5"),
        order.market_if_touched_replace(USD, ids[2], instrument="EUR_USD", units=11, price="0.6"),
        order.take_profit_replace(USD, ids[3], tradeID=opened, price=f"{bid + 0.2:.5f}"),
        order.stop_loss_replace(USD, ids[4], tradeID=opened, price=f"{bid - 0.2:.5f}"),
        order.trailing_stop_loss_replace(USD, ids[5], tradeID=opened, distance="0.06000"),
    ]
    for old, new in zip(ids, replaced, strict=True):
        assert new.get("orderCancelTransaction", 201).orderID == old
    limit = replaced[0].get("orderCreateTransaction", 201).id
    order.replace(USD, limit, order=LIMIT).get("orderCreateTransaction", 201)
    order.create(USD, order=LIMIT | {"units": "12"}).get("orderCreateTransaction", 201)
    assert len(order.list_pending(USD).get("orders", 200)) == 7
    every = order.list(USD, state="ALL", count=500, instrument="EUR_USD").get("orders", 200)
    assert {one.state for one in every} == {"PENDING", "FILLED", "CANCELLED"}
    pending = order.list(USD).get("orders", 200)[0].id
    extensions = {"id": "mine", "tag": "t", "comment": "c"}
    order.set_client_extensions(USD, pending, clientExtensions=extensions)
    assert order.get(USD, "@mine").get("order", 200).id == pending
    order.cancel(USD, "@mine").get("orderCancelTransaction", 200)
    assert order.cancel(USD, "@mine").get("errorCode", 404) == "ORDER_DOESNT_EXIST"

    trade.set_client_extensions(USD, opened, clientExtensions=extensions)
    assert trade.get(USD, "@mine").get("trade", 200).trailingStopLossOrder.distance == 0.06
    trade.set_dependent_orders(USD, opened, takeProfit={"price": f"{bid + 0.3:.5f}"})
    assert [t.id for t in trade.list(USD, ids=opened).get("trades", 200)] == [opened]
    assert opened in [t.id for t in trade.list_open(USD).get("trades", 200)]
    trade.close(USD, opened, units="100").get("orderFillTransaction", 200)

    position = official.position
    assert "EUR_USD" in [p.instrument for p in position.list(USD).get("positions", 200)]
    assert position.list_open(USD).get("positions", 200)[0].long.units == 400
    assert position.get(USD, "EUR_USD").get("position", 200).long.tradeIDs == [opened]
    position.close(USD, "EUR_USD", longUnits="ALL").get("longOrderFillTransaction", 200)

    read_back(official, start, opened)
    assert official.judge.asked == EVERY


@pytest.fixture
def popular(venue, monkeypatch):
    here = f"http://127.0.0.1:{venue.port}"
    monkeypatch.setitem(
        oandapyV20.oandapyV20.TRADING_ENVIRONMENTS, "practice", {"stream": here, "api": here}
    )
    client = oandapyV20.API(access_token=TOKEN, environment="practice")
    judge = Judge()

    def ask(request):
        try:
            body, status = client.request(request), request.status_code
        except oandapyV20.exceptions.V20Error as error:
            body, status = json.loads(error.msg), error.code
        judge.hear(request.method, "/" + request._endpoint, status, body)
        return body

    yield ask, judge, client
    client.client.close()


def ask_back(ask, start, opened):
    changes = ask(accounts.AccountChanges(HEDGING, params={"sinceTransactionID": start}))
    assert [t["id"] for t in changes["changes"]["tradesClosed"]] == [opened]
    last = changes["lastTransactionID"]
    assert ask(history.TransactionDetails(HEDGING, last))["transaction"]["id"] == last
    found = ask(history.TransactionIDRange(HEDGING, params={"from": 1, "to": last}))
    assert len(found["transactions"]) == int(last)
    ask(history.TransactionsSinceID(HEDGING, params={"id": 2}))
    assert ask(history.TransactionList(HEDGING, params={"pageSize": 5}))["count"] == int(last)
    ask(instruments.InstrumentsCandles("EUR_USD", params={"granularity": "D", "price": "BA"}))
    assert ask(instruments.InstrumentsOrderBook("EUR_USD", params={}))["orderBook"]["buckets"]
    assert ask(instruments.InstrumentsPositionBook("EUR_USD", params={}))["positionBook"]["price"]
    listed = {"instruments": "EUR_USD,USD_JPY", "includeHomeConversions": True}
    answer = ask(pricing.PricingInfo(HEDGING, params=listed))
    assert {c["currency"] for c in answer["homeConversions"]} == {"EUR", "USD", "JPY"}
    units = answer["prices"][0]["unitsAvailable"]
    assert int(units["default"]["long"]) > 0
    assert units["reduceOnly"] == {"long": "50", "short": "0"}


def test_every_endpoint_of_oandapyv20(popular):
    ask, judge, client = popular
    start = ask(accounts.AccountSummary(HEDGING))["lastTransactionID"]
    ask(accounts.AccountList())
    ask(accounts.AccountDetails(HEDGING))
    ask(accounts.AccountInstruments(HEDGING, params={"instruments": "EUR_USD"}))
    ask(accounts.AccountConfiguration(HEDGING, data={"marginRate": "0.05"}))
    market = {"type": "MARKET", "instrument": "EUR_USD", "units": 300}
    made = ask(orders.OrderCreate(HEDGING, data={"order": market}))
    opened = made["orderFillTransaction"]["tradeOpened"]["tradeID"]
    ask(orders.OrderCreate(HEDGING, data={"order": market | {"units": -100}}))
    limit = ask(orders.OrderCreate(HEDGING, data={"order": LIMIT}))["orderCreateTransaction"]["id"]
    assert ask(orders.OrderList(HEDGING))["orders"][0]["id"] == limit
    assert ask(orders.OrdersPending(HEDGING))["orders"]
    assert ask(orders.OrderDetails(HEDGING, limit))["order"]["price"] == "0.50000"
    named = {"clientExtensions": {"id": "l", "comment": "c"}}
    ask(orders.OrderClientExtensions(HEDGING, limit, data=named))
    again = ask(orders.OrderReplace(HEDGING, "@l", data={"order": LIMIT | {"units": "20"}}))
    assert again["orderCreateTransaction"]["clientExtensions"]["id"] == "l"
    assert ask(orders.OrderCancel(HEDGING, "@l"))["orderCancelTransaction"]
    assert len(ask(trades.TradesList(HEDGING))["trades"]) == 2
    assert len(ask(trades.OpenTrades(HEDGING))["trades"]) == 2
    ask(trades.TradeClientExtensions(HEDGING, opened, data=named))
    assert ask(trades.TradeDetails(HEDGING, "@l"))["trade"]["id"] == opened
    ask(trades.TradeCRCDO(HEDGING, opened, data={"stopLoss": {"distance": "0.05"}}))
    ask(trades.TradeClose(HEDGING, opened, data={"units": 100}))
    assert ask(positions.PositionList(HEDGING))["positions"]
    position = ask(positions.OpenPositions(HEDGING))["positions"][0]
    assert (position["long"]["units"], position["short"]["units"]) == ("200", "-100")
    ask(positions.PositionDetails(HEDGING, "EUR_USD"))
    both = {"longUnits": "ALL", "shortUnits": "50"}
    closed = ask(positions.PositionClose(HEDGING, "EUR_USD", data=both))
    assert {"longOrderFillTransaction", "shortOrderFillTransaction"} <= set(closed)
    ask_back(ask, start, opened)
    for stream in (pricing.PricingStream(HEDGING, {"instruments": "EUR_USD"}),
                   history.TransactionsStream(HEDGING)):  # fmt: skip
        [line] = itertools.islice(client.request(stream), 1)
        assert line["type"] in {"PRICE", "HEARTBEAT"}
        judge.asked.add(("GET", template_of("GET", "/" + stream._endpoint)))
    # The account's own candles are the one endpoint that this client does not have.
    own = ("GET", "/accounts/{accountID}/instruments/{instrument}/candles")
    assert judge.asked == EVERY - {own}


def test_the_latest_candles_of_several_specifications(venue):
    path = f"/v3/accounts/{USD}/candles/latest?candleSpecifications="
    # A minute or an hour that has no price yet has no candle that is running.
    venue.price("EUR_USD", "1.08500", "1.08510")
    venue.price("USD_JPY", "149.500", "149.510")
    answer = venue.get(path + "EUR_USD:M1:BM,USD_JPY:H1:A&smooth=true")["latestCandles"]
    assert [(a["instrument"], a["granularity"]) for a in answer] == [
        ("EUR_USD", "M1"), ("USD_JPY", "H1"),
    ]  # fmt: skip
    for one in answer:
        fits("/instruments/{instrument}/candles", "GET", 200, one)
        before, running = one["candles"]
        assert (before["complete"], running["complete"]) == (True, False)
    before, running = answer[0]["candles"]
    assert running["bid"]["o"] == before["bid"]["c"]  # smooth
    for bad in ("EUR_USD:M1", "EUR_USD:M3:B", "XXX_YYY:M1:B", "EUR_USD:M1:X", "a:b:c:d", ""):
        assert venue.ask("GET", path + bad)[0] == 400


def test_candles_by_time(venue):
    own = f"/v3/accounts/{USD}/instruments/EUR_USD/candles?granularity=H1&count=2&units=100"
    fits("/accounts/{accountID}/instruments/{instrument}/candles", "GET", 200, venue.get(own))
    path = "/v3/instruments/EUR_USD/candles?granularity=H1&price=M"
    five = venue.get(path + "&count=6")["candles"][:5]
    times = [c["time"] for c in five]
    middle = times[1].replace(":00:00.", ":30:00.")  # within the second candle
    got = venue.get(f"{path}&from={middle}&count=2")["candles"]
    assert [c["time"] for c in got] == times[1:3]
    got = venue.get(f"{path}&from={middle}&count=2&includeFirst=False")["candles"]
    assert [c["time"] for c in got] == times[2:4]
    got = venue.get(f"{path}&from={times[1]}&to={times[3]}")["candles"]
    assert [c["time"] for c in got] == times[1:3]
    smooth = venue.get(f"{path}&from={times[1]}&to={times[3]}&smooth=true")["candles"]
    assert smooth[0]["mid"]["o"] == five[0]["mid"]["c"]
    assert smooth[1]["mid"]["o"] == smooth[0]["mid"]["c"]
