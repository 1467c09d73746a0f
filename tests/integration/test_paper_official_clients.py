"""OANDA's own client and the best-known other one drive the paper venue, unchanged."""

import itertools
import json

import oandapyV20
import pytest
import v20
from oandapyV20.contrib.requests import (
    MarketOrderRequest,
    StopLossDetails,
    TakeProfitDetails,
    TradeCloseRequest,
)
from oandapyV20.endpoints import accounts, instruments, orders, positions, pricing, trades
from oandapyV20.endpoints import transactions as history

from tests.integration.paper_venue import TOKEN, USD, Venue

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")


@pytest.fixture(scope="module")
def venue(tmp_path_factory):
    folder = tmp_path_factory.mktemp("venue")
    with Venue(folder, "--speed", "20", "--seed", "4", feed=("synthetic",)) as venue:
        yield venue


@pytest.fixture
def official(venue):
    context = v20.Context(
        "127.0.0.1", venue.port, ssl=False, token=TOKEN, application="test", stream_timeout=10
    )
    yield context
    context._session.close()


@pytest.fixture
def popular(venue, monkeypatch):
    here = f"http://127.0.0.1:{venue.port}"
    monkeypatch.setitem(
        oandapyV20.oandapyV20.TRADING_ENVIRONMENTS, "practice", {"stream": here, "api": here}
    )
    client = oandapyV20.API(access_token=TOKEN, environment="practice")
    yield client
    client.client.close()


def test_the_official_client_trades_a_whole_round(official):
    answer = official.account.list()
    assert USD in [one.id for one in answer.get("accounts", 200)]
    account = official.account.get(USD).get("account", 200)
    assert account.currency == "USD"
    assert official.account.summary(USD).get("account", 200).balance == account.balance
    names = [i.name for i in official.account.instruments(USD).get("instruments", 200)]
    assert {"EUR_USD", "XAU_USD"} <= set(names)

    [price] = official.pricing.get(USD, instruments="EUR_USD").get("prices", 200)
    assert price.bids[0].price < price.asks[0].price
    candles = official.instrument.candles(
        "EUR_USD", granularity="M5", count=20, price="BA", smooth=False
    ).get("candles", 200)
    assert len(candles) == 20
    assert candles[0].complete

    answer = official.order.market(
        USD, instrument="EUR_USD", units=1000,
        stopLossOnFill={"price": f"{price.bids[0].price - 0.02:.5f}"},
        takeProfitOnFill={"price": f"{price.asks[0].price + 0.02:.5f}"},
    )  # fmt: skip
    fill = answer.get("orderFillTransaction", 201)
    trade = official.trade.get(USD, fill.tradeOpened.tradeID).get("trade", 200)
    assert trade.currentUnits == 1000
    assert trade.stopLossOrder.tradeID == trade.id
    moved = official.trade.set_dependent_orders(
        USD, trade.id, stopLoss={"price": f"{price.bids[0].price - 0.01:.5f}"}
    )
    assert moved.get("stopLossOrderTransaction", 200).reason == "REPLACEMENT"
    limit = official.order.limit(USD, instrument="EUR_USD", units=10, price="0.50000")
    pending = limit.get("orderCreateTransaction", 201).id
    assert pending in [o.id for o in official.order.list_pending(USD).get("orders", 200)]
    cancelled = official.order.cancel(USD, pending)
    assert cancelled.get("orderCancelTransaction", 200).orderID == pending
    assert official.trade.close(USD, trade.id).get("orderFillTransaction", 200).pl is not None
    bad = official.order.market(USD, instrument="EUR_USD", units=0)
    assert bad.get("errorCode", 400) == "UNITS_INVALID"
    since = official.transaction.since(USD, id=fill.id).get("transactions", 200)
    assert [int(t.id) for t in since] == list(
        range(int(fill.id) + 1, int(fill.id) + 1 + len(since))
    )


def test_the_official_client_reads_both_streams(official, venue):
    stream = official.pricing.stream(USD, instruments="EUR_USD,USD_JPY", snapshot=True)
    seen = [message.instrument for kind, message in itertools.islice(stream.parts(), 6)
            if kind == "pricing.ClientPrice"]  # fmt: skip
    assert set(seen) == {"EUR_USD", "USD_JPY"}
    stream = official.transaction.stream(USD)
    order = {"order": {"type": "MARKET", "instrument": "EUR_USD", "units": "5"}}
    assert venue.ask("POST", f"/v3/accounts/{USD}/orders", order)[0] == 201
    heard = [message.type for kind, message in itertools.islice(stream.parts(), 2)]
    assert heard == ["MARKET_ORDER", "ORDER_FILL"]


def test_the_popular_client_trades_a_whole_round(popular):
    def ask(request):
        return popular.request(request)

    assert ask(accounts.AccountList())["accounts"]
    assert ask(accounts.AccountDetails(USD))["account"]["currency"] == "USD"
    assert ask(accounts.AccountSummary(USD))["account"]["NAV"]
    assert ask(accounts.AccountInstruments(USD))["instruments"]
    bid = float(
        ask(pricing.PricingInfo(USD, {"instruments": "EUR_USD"}))["prices"][0]["closeoutBid"]
    )
    wish = MarketOrderRequest(
        instrument="EUR_USD", units=1000,
        stopLossOnFill=StopLossDetails(price=bid - 0.02).data,
        takeProfitOnFill=TakeProfitDetails(price=bid + 0.02).data,
    )  # fmt: skip
    made = ask(orders.OrderCreate(USD, data=wish.data))
    trade = made["orderFillTransaction"]["tradeOpened"]["tradeID"]
    assert ask(trades.TradeDetails(USD, trade))["trade"]["stopLossOrder"]["price"]
    assert trade in [t["id"] for t in ask(trades.TradesList(USD))["trades"]]
    data = {"stopLoss": {"price": f"{bid - 0.01:.5f}"}, "takeProfit": None}
    assert "takeProfitOrderCancelTransaction" in ask(trades.TradeCRCDO(USD, trade, data=data))
    assert ask(positions.OpenPositions(USD))["positions"]
    part = TradeCloseRequest(units=400).data
    assert ask(trades.TradeClose(USD, trade, data=part))["orderFillTransaction"]["pl"]
    assert ask(positions.PositionClose(USD, "EUR_USD", data={"longUnits": "ALL"}))
    pages = ask(history.TransactionList(USD))["pages"]
    assert "idrange" in pages[0]
    assert ask(history.TransactionsSinceID(USD, params={"id": 1}))["transactions"]
    rows = ask(instruments.InstrumentsCandles("EUR_USD", params={"granularity": "H1", "count": 3}))[
        "candles"
    ]
    assert [row["complete"] for row in rows] == [True, True, False]
    with pytest.raises(oandapyV20.exceptions.V20Error) as caught:
        ask(orders.OrderCancel(USD, "999999"))
    assert json.loads(caught.value.msg)["errorCode"] == "ORDER_DOESNT_EXIST"


def test_the_popular_client_reads_both_streams(popular):
    request = pricing.PricingStream(USD, {"instruments": "EUR_USD"})
    prices = list(itertools.islice(popular.request(request), 3))
    assert [p["instrument"] for p in prices if p["type"] == "PRICE"][:1] == ["EUR_USD"]
    stream = popular.request(history.TransactionsStream(USD))
    wish = MarketOrderRequest(instrument="EUR_USD", units=-5).data
    first = next(stream_after(popular, stream, orders.OrderCreate(USD, data=wish)))
    assert first["type"] in {"MARKET_ORDER", "HEARTBEAT"}


def stream_after(client, stream, request):
    """The stream opens at its first read, so the order must come from a thread beside it."""
    import threading

    stop = threading.Event()

    def order():
        other = oandapyV20.API(access_token=TOKEN, environment="practice")
        while not stop.wait(0.2):
            other.request(request)
        other.client.close()

    beside = threading.Thread(target=order)
    beside.start()
    try:
        yield from stream
    finally:
        stop.set()
        beside.join()
        client.client.close()
