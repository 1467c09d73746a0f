"""Every answer of the paper venue fits OANDA's own definitions, field by field."""

import pytest

from tests.integration.paper_definitions import fits
from tests.integration.paper_venue import EUR, HEDGING, USD, Venue


@pytest.fixture(scope="module")
def venue(tmp_path_factory):
    with Venue(tmp_path_factory.mktemp("venue")) as venue:
        venue.price("EUR_USD", "1.10000", "1.10010")
        venue.price("USD_JPY", "150.000", "150.012")
        yield venue


def call(venue, method, template, body=None, account=USD, status=200, query="", **names):
    path = template.replace("{accountID}", account)
    for key, value in names.items():
        path = path.replace("{" + key + "}", value)
    got, answer, headers = venue.ask(method, "/v3" + path + query, body)
    assert got == status, answer
    assert headers["RequestID"]
    fits(template, method, got, answer)
    return answer


# Nothing is triggered without being filled; each trade of the account was opened since, and closed.
UNUSED = {"ordersTriggered", "tradesOpened", "tradesReduced"}
A = "/accounts/{accountID}"
PROTECTED = {
    "stopLossOnFill": {"price": "1.08000", "clientExtensions": {"id": "s", "tag": "t"}},
    "takeProfitOnFill": {"price": "1.13000"},
    "trailingStopLossOnFill": {"distance": "0.01000"},
    "clientExtensions": {"id": "o", "comment": "c"},
    "tradeClientExtensions": {"id": "t"},
}


def entry(units="1000", **fields):
    return {"order": {"type": "MARKET", "instrument": "EUR_USD", "units": units} | fields}


def test_a_whole_life_of_orders_fits_the_definitions(venue):
    call(venue, "GET", "/accounts")
    made = call(venue, "POST", f"{A}/orders", entry(**PROTECTED), status=201)
    trade = made["orderFillTransaction"]["tradeOpened"]["tradeID"]
    resting = entry(type="LIMIT", price="1.05", gtdTime="2099-01-01T00:00:00Z", timeInForce="GTD")
    created = call(venue, "POST", f"{A}/orders", resting, status=201)
    limit = created["orderCreateTransaction"]["id"]
    stop = entry(type="STOP", price="1.20", priceBound="1.21")
    call(venue, "POST", f"{A}/orders", stop, status=201)
    touched = entry(type="MARKET_IF_TOUCHED", price="1.30")
    call(venue, "POST", f"{A}/orders", touched, status=201)
    call(venue, "POST", f"{A}/orders", entry("0"), status=400)
    call(venue, "POST", f"{A}/orders", entry("999999999999"), status=400)
    call(venue, "POST", f"{A}/orders", entry("50000000"), status=201)
    for template in (A, f"{A}/summary", f"{A}/instruments", f"{A}/orders", f"{A}/pendingOrders",
                     f"{A}/trades", f"{A}/openTrades", f"{A}/positions", f"{A}/openPositions",
                     f"{A}/transactions"):  # fmt: skip
        call(venue, "GET", template)
    call(venue, "GET", f"{A}/orders/{{orderSpecifier}}", orderSpecifier=limit)
    call(venue, "GET", f"{A}/trades/{{tradeSpecifier}}", tradeSpecifier="@t")
    call(venue, "GET", f"{A}/positions/{{instrument}}", instrument="EUR_USD")
    spec = f"{A}/orders/{{orderSpecifier}}"
    replaced = entry(type="LIMIT", price="1.06")
    again = call(venue, "PUT", spec, replaced, status=201, orderSpecifier=limit)
    new = again["orderCreateTransaction"]["id"]
    call(venue, "PUT", f"{spec}/clientExtensions", {"clientExtensions": {"id": "renamed"}},
         orderSpecifier=new)  # fmt: skip
    call(venue, "PUT", f"{spec}/cancel", orderSpecifier="@renamed")
    call(venue, "PUT", f"{spec}/cancel", status=404, orderSpecifier="@renamed")
    orders = f"{A}/trades/{{tradeSpecifier}}/orders"
    call(venue, "PUT", orders, {"stopLoss": {"price": "1.09000"}, "takeProfit": None},
         tradeSpecifier=trade)  # fmt: skip
    call(venue, "PUT", orders, {"stopLoss": {"price": "-1"}}, status=400, tradeSpecifier=trade)
    extensions = f"{A}/trades/{{tradeSpecifier}}/clientExtensions"
    call(venue, "PUT", extensions, {"clientExtensions": {"id": "t2"}}, tradeSpecifier=trade)
    close = f"{A}/trades/{{tradeSpecifier}}/close"
    call(venue, "PUT", close, {"units": "100"}, tradeSpecifier=trade)
    call(venue, "PUT", close, {"units": "5000"}, status=400, tradeSpecifier=trade)
    call(venue, "PUT", close, {"units": "1"}, status=404, tradeSpecifier="999999")
    position = f"{A}/positions/{{instrument}}/close"
    call(venue, "PUT", position, {"longUnits": "ALL"}, instrument="EUR_USD")
    call(venue, "PUT", position, {"longUnits": "ALL"}, status=404, instrument="EUR_USD")
    call(venue, "PATCH", f"{A}/configuration", {"alias": "mine", "marginRate": "0.05"})
    call(venue, "PATCH", f"{A}/configuration", {"marginRate": "7"}, status=400)
    answer = call(venue, "GET", f"{A}/transactions/sinceid", query="?id=0")
    ids = [t["id"] for t in answer["transactions"]]
    assert ids == [str(n) for n in range(1, int(answer["lastTransactionID"]) + 1)]
    call(venue, "GET", f"{A}/transactions/idrange", query="?from=2&to=9&type=ORDER_FILL,ORDER")
    call(venue, "GET", f"{A}/transactions/{{transactionID}}", transactionID="4")
    answer = call(venue, "GET", f"{A}/changes", query="?sinceTransactionID=3")
    changes, state = answer["changes"], answer["state"]
    assert all(changes[name] for name in changes if name not in UNUSED), changes
    assert all(state[name] for name in ("NAV", "balance"))
    call(venue, "GET", f"{A}/changes", status=416, query="?sinceTransactionID=9999")
    for state in ("ALL", "FILLED", "CANCELLED"):
        call(venue, "GET", f"{A}/orders", query=f"?state={state}&count=500")
    call(venue, "GET", f"{A}/trades", query="?state=ALL&instrument=EUR_USD")


def test_other_accounts_prices_and_candles_fit_the_definitions(venue):
    for account in (EUR, HEDGING):
        call(venue, "POST", f"{A}/orders", entry(**PROTECTED), account, 201)
        call(venue, "POST", f"{A}/orders", entry("-500"), account, 201)
        call(venue, "GET", A, account=account)
        call(venue, "GET", f"{A}/positions", account=account)
    call(venue, "GET", f"{A}/pricing", account=EUR,
         query="?instruments=EUR_USD,USD_JPY&includeHomeConversions=True")  # fmt: skip
    candles = "/instruments/{instrument}/candles"
    call(venue, "GET", candles, instrument="EUR_USD", query="?price=MBA&granularity=S5&count=5")
    call(venue, "GET", candles, instrument="EUR_USD", query="?granularity=D&smooth=True")
