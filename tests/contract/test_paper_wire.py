"""The wire as OANDA speaks it: headers, both forms of time, zipped books, streams that convert."""

import gzip
import http.client
import json
import socket
from contextlib import contextmanager

import pytest

from tests.integration.paper_definitions import DEFINITIONS, SPEC
from tests.integration.paper_venue import EUR, HEDGING, TOKEN, USD, Venue

A = f"/v3/accounts/{USD}"
ORDERS = f"{A}/orders"
MARKET = {"order": {"type": "MARKET", "instrument": "EUR_USD", "units": "10"}}


@pytest.fixture(scope="module")
def venue(tmp_path_factory):
    folder = tmp_path_factory.mktemp("venue")
    depth = ("--depth", "1000:0,9000:1")
    with Venue(folder, "--stream-port", "0", *depth) as venue:
        ports = venue.port_file.read_text().split()
        venue.stream_port = int(ports[1])
        venue.price("EUR_USD", "1.10000", "1.10010")
        venue.price("USD_JPY", "150.000", "150.012")
        yield venue


@contextmanager
def opened(venue, path, port=None, **headers):
    """The answer to a GET whose body is read line by line."""
    where = ("127.0.0.1", port or venue.port)
    told = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    with socket.create_connection(where, timeout=10) as connection:
        told += f"Host: h\r\nAuthorization: Bearer {TOKEN}\r\n"
        connection.sendall(f"GET {path} HTTP/1.1\r\n{told}\r\n".encode())
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        yield answer


def test_a_request_id_is_in_the_header_and_in_each_transaction_of_the_request(venue):
    wishes = (
        ("POST", ORDERS, MARKET),
        ("POST", ORDERS, {"order": MARKET["order"] | {"units": "0"}}),
        ("PUT", f"{ORDERS}/9999/cancel", None),
        ("PATCH", f"{A}/configuration", {"alias": "mine"}),
        ("PUT", f"{A}/positions/EUR_USD/close", {"longUnits": "ALL"}),
    )
    seen = set()
    for method, path, body in wishes:
        _, answer, headers = venue.ask(method, path, body)
        made = [v for key, v in answer.items() if key.endswith("Transaction")]
        assert made
        assert {one["requestID"] for one in made} == {headers["RequestID"]}
        seen.add(headers["RequestID"])
    for path in ("/v3/accounts", "/v3/nothing", f"{A}/orders/none"):
        seen.add(venue.ask("GET", path)[2]["RequestID"])
    assert len(seen) == len(wishes) + 3


def test_a_new_orders_url_leads_to_it(venue):
    limit = {"order": {"type": "LIMIT", "instrument": "EUR_USD", "units": "1", "price": "0.5"}}
    _, made, headers = venue.ask("POST", ORDERS, limit)
    _, moved, later = venue.ask("PUT", f"{ORDERS}/{made['orderCreateTransaction']['id']}", limit)
    for answer, told in ((made, headers), (moved, later)):
        host, path = told["Location"].removeprefix("http://").split("/", 1)
        assert host == f"127.0.0.1:{venue.port}"
        assert venue.get("/" + path)["order"]["id"] == answer["orderCreateTransaction"]["id"]
    venue.ask("PUT", f"{ORDERS}/{moved['orderCreateTransaction']['id']}/cancel")


def test_what_cannot_be_parsed_still_has_a_request_id(venue):
    with socket.create_connection(("127.0.0.1", venue.port), timeout=10) as connection:
        connection.sendall(b"HELLO\r\n\r\n")
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        assert answer.status == 400
        assert answer.getheader("RequestID")
        assert answer.getheader("Connection") == "close"
        assert json.loads(answer.read())["errorMessage"]


def test_times_are_read_and_written_in_both_forms(venue):
    first = venue.get(f"{A}/transactions/1")["transaction"]["time"]
    unix = {"Accept-Datetime-Format": "UNIX"}
    told = venue.ask("GET", f"{A}/transactions/1", **unix)[1]["transaction"]["time"]
    for start in (first, told, first.replace("Z", "%2B00:00"), first.replace("Z", "+00:00")):
        pages = venue.get(f"{A}/transactions?from={start}")
        assert pages["from"] == first
    expiry = {"type": "LIMIT", "instrument": "EUR_USD", "units": "1", "price": "0.5",
              "timeInForce": "GTD"}  # fmt: skip
    for given in ("4070908800", "4070908800.000000000", "2099-01-01T00:00:00Z",
                  "2099-01-01T01:00:00.0+01:00"):  # fmt: skip
        _, made, _ = venue.ask("POST", ORDERS, {"order": expiry | {"gtdTime": given}}, **unix)
        created = made["orderCreateTransaction"]
        assert created["gtdTime"] == "4070908800.000000000"
        plain = venue.get(f"{ORDERS}/{created['id']}")["order"]
        assert plain["gtdTime"] == "2099-01-01T00:00:00.000000000Z"
        assert venue.ask("PUT", f"{ORDERS}/{created['id']}/cancel")[0] == 200
    summary = venue.ask("GET", f"{A}/summary", **unix)[1]["account"]
    assert summary["resettablePLTime"] == "0"
    with opened(venue, f"{A}/pricing/stream?instruments=EUR_USD", **unix) as answer:
        seconds, _, fraction = json.loads(answer.readline())["time"].partition(".")
        assert int(seconds) > 1_700_000_000
        assert len(fraction) == 9


def test_both_ports_give_the_same_answers(venue):
    for port in (venue.port, venue.stream_port):
        with opened(venue, f"{A}/summary", port) as answer:
            assert json.loads(answer.read())["account"]["id"] == USD
        with opened(venue, f"{A}/pricing/stream?instruments=EUR_USD", port) as answer:
            assert answer.getheader("Transfer-Encoding") == "chunked"
            assert json.loads(answer.readline())["instrument"] == "EUR_USD"


def test_a_price_stream_converts_for_the_account_when_asked(venue):
    path = f"/v3/accounts/{EUR}/pricing/stream?instruments=EUR_USD,USD_JPY"
    asked = path.replace("/stream?", "?") + "&includeHomeConversions=true"
    wanted = {c["currency"]: c for c in venue.get(asked)["homeConversions"]}
    with opened(venue, f"{path}&includeHomeConversions=True") as answer:
        lines = [json.loads(answer.readline()) for _ in range(2)]
    for line, currencies in zip(lines, (["EUR", "USD"], ["USD", "JPY"]), strict=True):
        told = line["homeConversions"]
        assert [c["currency"] for c in told] == currencies
        assert all(c == wanted[c["currency"]] for c in told)
    assert wanted["EUR"]["accountGain"] == "1"
    assert wanted["USD"]["accountGain"] == "0.90900827"  # 1 / 1.10010
    with opened(venue, path) as answer:
        assert "homeConversions" not in json.loads(answer.readline())


def test_books_are_zipped_for_everyone_and_lead_to_their_neighbours(venue):
    path = "/v3/instruments/EUR_USD/orderBook"
    with opened(venue, path) as answer:
        assert answer.getheader("Content-Encoding") == "gzip"
        book = json.loads(gzip.decompress(answer.read()))["orderBook"]
        links = dict(
            reversed(link.removeprefix("<").split('>; rel="'))
            for link in answer.getheader("Link").removesuffix('"').split('", ')
        )
    assert set(links) == {"prev"}  # it is the latest
    assert links["prev"].startswith(f"http://h{path}?time=")
    assert set(book) == set(SPEC["definitions"]["OrderBook"]["properties"])
    with opened(venue, f"{path}?time={book['time']}", **{"Accept-Datetime-Format": "UNIX"}) as one:
        again = json.loads(gzip.decompress(one.read()))["orderBook"]
    assert again["buckets"] == book["buckets"]
    assert again["time"].endswith(".000000000")
    with opened(venue, "/v3/" + links["prev"].partition("/v3/")[2]) as answer:
        assert answer.status == 404  # nothing was quoted then
    for query, status in (("?time=2999-01-01T00:00:00Z", 400), ("?time=never", 400)):
        with opened(venue, path + query) as answer:
            assert answer.status == status
    with opened(venue, "/v3/instruments/XXX_YYY/positionBook") as answer:
        assert answer.status == 400


def test_candles_of_an_account_are_of_the_average_price_of_so_many_units(venue):
    path = "/instruments/EUR_USD/candles?granularity=S5&count=1&price=BAM"

    def close(prefix, units):
        [candle] = venue.get(f"{prefix}{path}&units={units}")["candles"]
        return [candle[side]["c"] for side in ("bid", "mid", "ask")]

    best = ["1.10000", "1.10005", "1.10010"]
    assert close(A, "1") == close(A, "1000") == close("/v3", "5000") == best
    # 1,000 at the best price, 1,000 a pip away: half a pip on average; at most the whole book.
    assert close(A, "2000") == ["1.09995", "1.10005", "1.10015"]
    assert close(A, "10000") == close(A, "100000") == ["1.09991", "1.10005", "1.10019"]
    for bad in ("0", "-1", "NaN", "x", "1e30"):
        assert venue.ask("GET", f"{A}{path}&units={bad}")[0] == 400


def test_filters_of_transactions_know_their_words(venue):
    for word in SPEC["definitions"]["TransactionFilter"]["enum"]:
        assert venue.ask("GET", f"{A}/transactions/sinceid?id=0&type={word}")[0] == 200
    every = venue.get(f"{A}/transactions/sinceid?id=0")["transactions"]
    groups = [
        {t["id"] for t in venue.get(f"{A}/transactions/sinceid?id=0&type={g}")["transactions"]}
        for g in ("ORDER", "FUNDING", "ADMIN")
    ]
    assert sum(len(g) for g in groups) == len({t["id"] for t in every}) == len(set.union(*groups))
    for wrong in ("NONSENSE", "ORDER,nothing"):
        status, body, _ = venue.ask("GET", f"{A}/transactions/idrange?from=1&to=2&type={wrong}")
        assert (status, body["errorMessage"]) == (400, "Invalid value specified for 'type'")


def test_the_venues_own_acts_are_made_by_control_and_fit_the_definitions(venue):
    def act(**body):
        return venue.ask("POST", "/control/transactions", {"account": HEDGING, **body})

    def trade():
        made = venue.ask("POST", f"/v3/accounts/{HEDGING}/orders", MARKET)[1]
        return made["orderFillTransaction"]["id"]

    moved = {"instrument": "EUR_USD", "units": "-7", "price": "1.25"}
    assert act(type="FIXED_PRICE_ORDER", **moved)[0] == 200
    first = trade()
    for body in (
        {"type": "DIVIDEND_ADJUSTMENT", "instrument": "EUR_USD", "perUnit": "0.1"},
        {"type": "RESET_RESETTABLE_PL"},
        {"type": "DELAYED_TRADE_CLOSURE", "tradeIDs": [first]},
        {"type": "CLOSE"}, {"type": "REOPEN"},
    ):  # fmt: skip
        status, told, _ = act(**body)
        assert (status, told["transactions"][0]["type"]) == (200, body["type"]), told
        name = "".join(word.capitalize() for word in body["type"].split("_")) + "Transaction"
        name = name.replace("ResettablePl", "ResettablePL")
        if name in DEFINITIONS:
            known = set(DEFINITIONS[name]["properties"])
            assert all(set(t) <= known for t in told["transactions"])
    listed = f"/v3/accounts/{HEDGING}/trades?state="
    assert [t["id"] for t in venue.get(listed + "CLOSE_WHEN_TRADEABLE")["trades"]] == [first]
    assert first not in [t["id"] for t in venue.get(listed + "OPEN")["trades"]]
    opened_ = venue.get(f"/v3/accounts/{HEDGING}/openTrades")["trades"]
    assert first in [t["id"] for t in opened_]
    venue.price("EUR_USD", "1.10000", "1.10010")
    closed = venue.get(f"/v3/accounts/{HEDGING}/trades/{first}")["trade"]
    assert (closed["state"], closed["dividendAdjustment"]) == ("CLOSED", "1.0000")
    for wrong in (
        {"type": "MARKET_ORDER"}, {"type": "REOPEN"}, {"type": "CLOSE", "account": "x"},
        {"type": "DELAYED_TRADE_CLOSURE", "tradeIDs": ["99999"]},
        {"type": "FIXED_PRICE_ORDER", **moved, "price": "1.2500001"},
        {"type": "FIXED_PRICE_ORDER", **moved, "price": "-1"},
        {"type": "FIXED_PRICE_ORDER", **moved, "units": "1e30"},
        {"type": "FIXED_PRICE_ORDER", **moved, "instrument": "GBP_USD"},
        {"type": "DIVIDEND_ADJUSTMENT", "instrument": "EUR_USD", "perUnit": "NaN"},
        {"type": "RESET_RESETTABLE_PL", "more": 1},
    ):  # fmt: skip
        assert act(**wrong)[0] == 400


def test_accounts_are_locked_and_sides_halted_by_control(venue):
    lock = {"account": HEDGING, "locks": ["orderCreation"]}
    orders = f"/v3/accounts/{HEDGING}/orders"
    assert venue.ask("POST", "/control/accounts", lock)[1] == lock
    assert venue.ask("POST", orders, MARKET)[1]["errorCode"] == "ACCOUNT_ORDER_CREATION_LOCKED"
    assert venue.ask("POST", "/control/accounts", lock | {"locks": []})[0] == 200
    assert venue.ask("POST", "/control/accounts", lock | {"locks": ["sleep"]})[0] == 400
    halt = {"instrument": "EUR_USD", "ask": "halted"}
    assert venue.ask("POST", "/control/instruments", halt)[1] == halt
    cancelled = venue.ask("POST", orders, MARKET)[1]["orderCancelTransaction"]
    assert cancelled["reason"] == "INSTRUMENT_ASK_HALTED"
    assert venue.ask("POST", "/control/instruments", halt | {"ask": "open"})[0] == 200
    assert "orderFillTransaction" in venue.ask("POST", orders, MARKET)[1]
    for wrong in (halt | {"ask": "shut"}, {"instrument": "EUR_USD"}):
        assert venue.ask("POST", "/control/instruments", wrong)[0] == 400


def test_what_could_only_be_inferred_is_as_the_page_of_choices_says(venue):
    account = f"/v3/accounts/{EUR}"
    first = venue.get(f"{account}/transactions/idrange?from=1&to=3")["transactions"]
    assert [t["type"] for t in first] == ["CREATE", "CLIENT_CONFIGURE", "TRANSFER_FUNDS"]
    assert [t["batchID"] for t in first] == ["1", "2", "3"]

    guarded = {
        "takeProfitOnFill": {"price": "1.2"}, "stopLossOnFill": {"price": "1.0"},
        "trailingStopLossOnFill": {"distance": "0.05"},
    }  # fmt: skip
    made = venue.ask("POST", f"{account}/orders", {"order": MARKET["order"] | guarded})[1]
    start = int(made["orderCreateTransaction"]["id"])
    assert made["relatedTransactionIDs"] == [str(n) for n in range(start, start + 5)]
    assert made["lastTransactionID"] == str(start + 4)
    kinds = [t["type"] for t in venue.get(f"{account}/transactions/sinceid?id={start + 1}")[
        "transactions"]]  # fmt: skip
    assert kinds == ["TAKE_PROFIT_ORDER", "STOP_LOSS_ORDER", "TRAILING_STOP_LOSS_ORDER"]

    limit = {"type": "LIMIT", "instrument": "EUR_USD", "units": "1", "price": "0.5"}
    rich = limit | guarded | {"timeInForce": "GFD", "clientExtensions": {"id": "kept"}}
    old = venue.ask("POST", f"{account}/orders", {"order": rich})[1]["orderCreateTransaction"]["id"]
    new = venue.ask("PUT", f"{account}/orders/{old}", {"order": limit})[1]["orderCreateTransaction"]
    assert new["timeInForce"] == "GTC"
    assert not {"takeProfitOnFill", "stopLossOnFill", "trailingStopLossOnFill"} & set(new)
    assert new["clientExtensions"] == {"id": "kept"}

    reduce = MARKET["order"] | {"units": "-500", "positionFill": "REDUCE_ONLY"}
    cut = venue.ask("POST", f"{account}/orders", {"order": reduce})[1]["orderFillTransaction"]
    assert (cut["units"], cut["requestedUnits"]) == ("-10", "-500")

    summary = venue.get(f"{account}/summary")["account"]
    assert summary["withdrawalLimit"] == min(
        summary["balance"], summary["marginAvailable"], key=float
    )
    venue.price("EUR_GBP", "0.85000", "0.85010")
    venue.price("GBP_USD", "1.27000", "1.27010")
    [price] = venue.get(f"{A}/pricing?instruments=EUR_GBP")["prices"]
    used = price["quoteHomeConversionFactors"]
    assert used == {"positiveUnits": "1.27000000", "negativeUnits": "1.27010000"}
    text = {"Content-Type": "application/xml"}
    assert venue.ask("POST", f"{account}/orders", {"order": limit}, **text)[0] == 415
    assert venue.ask("GET", f"{account}/summary", **text)[0] == 200
