"""Whatever is sent to the venue, in whatever pieces: an answer, never a 500, and whole books.

The connection is driven without a socket: requests are bytes, cut anywhere, and the answers are
read as a client would read them.
"""

import asyncio
import gzip
import json
from decimal import Decimal

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.model.money import AccountId, Currency, InstrumentName
from orchestrator.model.time import parse_time
from orchestrator.model.venue import Transaction
from orchestrator.paper.clock import VenueTime
from orchestrator.paper.exchange.config import AccountConfig, Commission
from orchestrator.paper.exchange.depth import Depth, Level
from orchestrator.paper.exchange.exchange import Exchange
from orchestrator.paper.feeds.manual import ManualFeed
from orchestrator.paper.main import open_accounts
from orchestrator.paper.market import Market
from orchestrator.paper.routes.table import ACCOUNT, INSTRUMENT
from orchestrator.paper.server import BODY_MAX, Connection, Server
from tests.unit.paper.test_books_law import known

TOKEN = "secret"
START = parse_time("2024-03-12T12:00:00Z")
PRICES = {"EUR_USD": "1.10000", "USD_JPY": "150.000", "EUR_GBP": "0.85000", "GBP_USD": "1.27000"}
IDS = ("101-001-1000001-001", "101-001-1000001-002")
CONFIGS = (
    AccountConfig(account_id=AccountId(IDS[0]), currency=Currency("USD"), balance=Decimal(20_000)),
    AccountConfig(
        account_id=AccountId(IDS[1]), currency=Currency("EUR"), balance=Decimal(9_000),
        hedging=True, commission=Commission(amount=Decimal(3)), financing="SECOND_BY_SECOND",
    ),
)  # fmt: skip


class Wire:
    """A transport that remembers; streams and closes as asyncio's would."""

    def __init__(self):
        self.told, self.closed = b"", False

    def write(self, data):
        if not self.closed:
            self.told += data

    def close(self):
        self.closed = True

    abort = close

    def is_closing(self):
        return self.closed

    def get_extra_info(self, name):
        return ("127.0.0.1", 1) if name == "peername" else None

    def get_write_buffer_size(self):
        return 0


class Door:
    """A venue with two accounts that hold trades and resting orders."""

    def __init__(self):
        self.mono = 0
        feed = ManualFeed(START, tuple(InstrumentName(name) for name in PRICES))
        time = VenueTime(START, 1.0, lambda: self.mono)
        depth = Depth((Level(40_000, Decimal(0)), Level(60_000, Decimal("0.5"))), limited=True)
        self.market = Market(feed, time, calendar="always", depth=depth)
        open_accounts(self.market, CONFIGS, None)
        self.server = Server(self.market, TOKEN, with_control=True)
        for name, price in PRICES.items():
            self.price(name, price)
        for account in IDS:
            for body in (
                {"type": "MARKET", "instrument": "EUR_USD", "units": "900",
                 "stopLossOnFill": {"price": "1.05"}, "tradeClientExtensions": {"id": "mine"}},
                {"type": "MARKET", "instrument": "USD_JPY", "units": "-700",
                 "trailingStopLossOnFill": {"distance": "0.5"}},
                {"type": "LIMIT", "instrument": "EUR_USD", "units": "50", "price": "1.08",
                 "clientExtensions": {"id": "mine"}},
            ):  # fmt: skip
                text = json.dumps({"order": body}).encode()
                self.send([request("POST", f"/v3/accounts/{account}/orders", {}, text)], 10**9)

    def price(self, name, bid):
        spec = self.market.spec(InstrumentName(name))
        self.mono += 1_500_000_000
        ask = Decimal(bid) + 10 * spec.tick
        self.market.put_price(InstrumentName(name), Decimal(bid), ask)

    def send(self, texts, piece):
        """All answers to these requests over one connection, fed in pieces."""
        self.mono += 100_000_000
        wire, connection = Wire(), Connection(self.server)
        connection.connection_made(wire)
        sent = b"".join(texts)
        for start in range(0, len(sent), piece):
            if not wire.closed:
                connection.data_received(sent[start : start + piece])
        connection.connection_lost(None)
        return wire.told


def request(method, path, headers, body, length=None):
    lines = [f"{method} {path} HTTP/1.1", "Host: h"]
    every = {"Authorization": f"Bearer {TOKEN}"} | headers
    lines += [f"{name}: {value}" for name, value in every.items()]
    if body or length is not None:
        lines.append(f"Content-Length: {len(body) if length is None else length}")
    return "\r\n".join(lines).encode("latin-1", "replace") + b"\r\n\r\n" + body


def answers(told, heads):
    """(status, body) of each whole answer; a stream's, or one that was cut, ends the reading."""
    found = []
    while told:
        head, _, rest = told.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        status = int(lines[0].split(" ")[1])
        if status == 100:
            told = rest
            continue
        fields = {name.lower(): value for name, _, value in (x.partition(": ") for x in lines[1:])}
        assert fields["requestid"], head
        if "content-length" not in fields:
            assert fields["transfer-encoding"] == "chunked"
            return found
        length = int(fields["content-length"])
        if len(found) < len(heads) and heads[len(found)]:
            length = 0
        body, told = rest[:length], rest[length:]
        assert len(body) == length
        if "content-encoding" in fields:
            body = gzip.decompress(body)
        found.append((status, json.loads(body) if body else None))
    return found


WORDS = [
    "", "0", "1", "-1", "5", "7", "900", "1e3", "1e400", "1E-400", "NaN", "-Infinity", "0.00001",
    "1.08", "1.2", "0.5", "150.1", "ALL", "NONE", "true", "False", "maybe", "EUR_USD", "USD_JPY",
    "XXX_YYY", "MARKET", "LIMIT", "STOP", "MARKET_IF_TOUCHED", "TAKE_PROFIT", "STOP_LOSS",
    "TRAILING_STOP_LOSS", "GUARANTEED_STOP_LOSS", "GTC", "GTD", "GFD", "FOK", "IOC", "DEFAULT",
    "OPEN_ONLY", "REDUCE_FIRST", "REDUCE_ONLY", "BID", "MID", "INVERSE", "mine", "@mine", "@",
    "2099-01-01T00:00:00Z", "2024-03-12T12:00:05Z", "9999999999", "M1", "D", "M", "MBA", "Monday",
    "EUR_USD:M1:BM", "1,2,7", "UTC", "Asia/Kathmandu", "../..", "\u20ac", "x" * 129, "9" * 40,
    "ORDER", "ORDER_FILL", "PENDING", *IDS,
]  # fmt: skip
words = st.sampled_from(WORDS)
odd = st.one_of(
    words,
    words,
    st.none(),
    st.booleans(),
    st.integers(-(10**20), 10**20),
    st.floats(),
    st.text(max_size=4),
    st.just([]),
    st.just({}),
)
EXTENSIONS = st.dictionaries(st.sampled_from(["id", "tag", "comment", "more"]), odd, max_size=3)
WISH = st.dictionaries(
    st.sampled_from(["price", "distance", "timeInForce", "gtdTime", "clientExtensions", "odd"]),
    st.one_of(odd, EXTENSIONS),
    max_size=4,
)
FIELDS = [
    "instrument", "units", "price", "priceBound", "distance", "timeInForce", "gtdTime",
    "positionFill", "triggerCondition", "tradeID", "clientTradeID", "clientExtensions",
    "tradeClientExtensions", "takeProfitOnFill", "stopLossOnFill", "trailingStopLossOnFill",
    "guaranteedStopLossOnFill", "replace",
]  # fmt: skip
GOOD = {
    "units": st.sampled_from(["100", "-900", "45000", "-200000", 7, "1"]),
    "price": st.sampled_from(["1.08", "1.1", "1.12", "149.5", 1.1]),
    "instrument": st.sampled_from(sorted(PRICES)),
    "tradeID": st.sampled_from(["5", "8", 5]),
}


FINE = {
    "priceBound": ["1.2", "0.5", "200"],
    "timeInForce": ["GTC", "FOK", "IOC", "GFD"],
    "positionFill": ["DEFAULT", "OPEN_ONLY", "REDUCE_FIRST", "REDUCE_ONLY"],
    "triggerCondition": ["BID", "MID", "INVERSE"],
    "clientExtensions": [{"id": "new"}, {"id": "mine", "tag": "t"}, {"comment": "c"}],
    "tradeClientExtensions": [{"id": "new"}, {"id": "mine"}],
    "takeProfitOnFill": [{"price": "1.2"}, {"price": "1.05", "clientExtensions": {"id": "tp"}}],
    "stopLossOnFill": [{"price": "1.05"}, {"distance": "0.01"}, {"distance": "0.00001"}],
    "trailingStopLossOnFill": [{"distance": "0.01"}, {"distance": "0.00001"}],
}


@st.composite
def orders(draw):
    """An order that makes some sense: often it is accepted, sometimes only almost."""
    order = {"type": draw(st.sampled_from(WORDS[WORDS.index("MARKET") : WORDS.index("GTC")]))}
    order |= {name: draw(good) for name, good in GOOD.items()}
    for name in draw(st.lists(st.sampled_from(sorted(FINE)), max_size=4, unique=True)):
        order[name] = draw(st.sampled_from(FINE[name]))
    if draw(st.integers(0, 2)) == 2:
        name = draw(st.sampled_from(FIELDS))
        order[name] = draw(st.one_of(odd, WISH, EXTENSIONS))
    return {"order": order}


BODIES = st.one_of(
    orders(),
    orders(),
    st.dictionaries(
        st.sampled_from([
            "order", "units", "longUnits", "shortUnits", "longClientExtensions", "takeProfit",
            "stopLoss", "trailingStopLoss", "guaranteedStopLoss", "clientExtensions",
            "tradeClientExtensions", "alias", "marginRate",
        ]),
        st.one_of(odd, WISH, EXTENSIONS),
        max_size=4,
    ),
    odd,
)  # fmt: skip
CONTROL = {
    "prices": {"instrument": "EUR_USD", "bid": "1.1", "ask": "1.1001"},
    "instruments": {"instrument": "EUR_USD", "tradeable": True, "bid": "open"},
    "accounts": {"account": IDS[0], "locks": []},
    "funds": {"account": IDS[0], "amount": "5"},
    "transactions": {"account": IDS[0], "type": "FIXED_PRICE_ORDER", "instrument": "EUR_USD",
                     "units": "5", "price": "1.1", "perUnit": "0.1", "tradeIDs": ["5"]},
}  # fmt: skip
SPECIFIERS = st.sampled_from(["5", "6", "8", "10", "@mine", "@none", "99", "x", "EUR_USD", "%00"])
QUERY = st.dictionaries(
    st.sampled_from([
        "from", "to", "count", "granularity", "price", "smooth", "includeFirst", "dailyAlignment",
        "alignmentTimezone", "weeklyAlignment", "units", "ids", "state", "instrument", "beforeID",
        "pageSize", "type", "id", "since", "sinceTransactionID", "instruments", "time",
        "candleSpecifications", "includeHomeConversions", "snapshot",
    ]),
    words,
    max_size=4,
)  # fmt: skip
HEADERS = st.dictionaries(
    st.sampled_from([
        "Authorization", "Content-Type", "Accept-Datetime-Format", "Accept-Encoding", "Expect",
        "ClientRequestID", "Connection", "X-Odd", "Host",
    ]),
    st.sampled_from([
        "Bearer wrong", "", "text/plain", "application/json; charset=utf-8", "UNIX", "RFC3339",
        "gzip", "100-continue", "close", "keep-alive", "\u00e9\u00ff", "x" * 5000,
    ]),
    max_size=2,
)  # fmt: skip
METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "BREW"]


@st.composite
def requests(draw):
    """(request, whether its answer is a head alone)."""
    account = draw(st.sampled_from([*IDS * 9, "101-001-1000001-009", "nobody"]))
    kind, headers = draw(st.integers(0, 11)), draw(st.sampled_from([st.just({})] * 4 + [HEADERS]))
    if kind == 0:
        name = draw(st.sampled_from(sorted(CONTROL)))
        body = CONTROL[name] | draw(st.dictionaries(st.sampled_from(sorted(CONTROL[name])), odd))
        return request("POST", f"/control/{name}", {}, json.dumps(body).encode()), False
    if kind == 1:
        book = draw(st.sampled_from(sorted(INSTRUMENT)))
        path, methods = f"/v3/instruments/{draw(words)}/{book}".replace("\u20ac", "e"), ["GET"]
    elif kind in {2, 3, 4, 5}:
        text = json.dumps(draw(orders())).encode()
        one = draw(st.sampled_from(["", "", "", "/7", "/10", "/@mine"]))
        path = f"/v3/accounts/{account}/orders{one}"
        return request("PUT" if one else "POST", path, draw(headers), text), False
    elif kind == 6:
        path = draw(st.sampled_from(["/", "/v3", "/v3/accounts", "//v3//accounts", "*", "/%"]))
        methods = ["GET"]
    else:
        shape = draw(st.sampled_from(sorted(ACCOUNT)))
        parts = [draw(SPECIFIERS) if part == "*" else part for part in shape]
        path, methods = "/".join(("", "v3", "accounts", account, *parts)), list(ACCOUNT[shape])
    method = draw(st.sampled_from(methods * 16 + METHODS))
    query = "&".join(f"{n}={v}" for n, v in draw(QUERY).items())
    query = query.replace("\u20ac", "%E2%82%AC")
    text = json.dumps(draw(BODIES)).encode() if method in {"POST", "PUT", "PATCH"} else b""
    if draw(st.integers(0, 19)) == 0:
        text = draw(st.one_of(st.binary(max_size=30), st.just(b"[" * 3000), st.just(text[:-3])))
    path = f"{path}?{query}" if query else path
    return request(method, path, draw(headers), text), method == "HEAD"


def check_books(market):
    """The laws of an account: no hole in the ids, its balance is their sum, they rebuild it."""
    for config in CONFIGS:
        books = market.exchange.accounts[config.account_id]
        log = [json.loads(line) for line in books.history]
        assert [t["id"] for t in log] == [str(n) for n in range(1, books.last_id + 1)]
        total = Decimal(0)
        for t in log:
            if not t["type"].endswith("_REJECT"):
                total += sum(
                    Decimal(t.get(k, 0))
                    for k in ("amount", "pl", "financing", "dividendAdjustment")
                )
            total -= sum(Decimal(t.get(k, 0)) for k in ("commission", "guaranteedExecutionFee"))
            if "accountBalance" in t:
                assert Decimal(t["accountBalance"]) == total
        assert books.balance == total
        assert not [o for o in books.pending.values() if o.type in {"MARKET", "FIXED_PRICE"}]
        again = Exchange(market.exchange.specs)
        again.quotes = market.exchange.quotes
        decoded = [msgspec.json.decode(line, type=Transaction) for line in books.history]
        rebuilt = again.restore(config, decoded)
        assert known(again, rebuilt) == known(market.exchange, books)


@given(
    st.lists(st.lists(requests(), min_size=1, max_size=5), min_size=1, max_size=5),
    st.sampled_from([1, 7, 64, 1000, 10**9]),
    st.lists(st.tuples(st.sampled_from(sorted(PRICES)), st.integers(-900, 900)), max_size=3),
    st.integers(0, 40),
)
@settings(max_examples=60)
def test_no_request_gives_a_500_or_half_an_order(connections, piece, moves, cut):
    async def play():
        door = Door()
        for texts in connections:
            sent, heads = [t for t, _ in texts], [head for _, head in texts]
            told = door.send(sent, piece)
            for status, body in answers(told, heads):
                assert status < 500, (sent, body)
                assert body is None or status < 400 or body["errorMessage"], (sent, body)
        last = connections[-1][-1][0]
        door.send([last[: max(1, len(last) - cut)]], piece)  # the client leaves in the middle
        for name, steps in moves:
            tick = door.market.spec(InstrumentName(name)).tick
            door.price(name, str(Decimal(PRICES[name]) + steps * tick))
        check_books(door.market)

    asyncio.run(play())


HEAD = 5000


@pytest.fixture
def short_heads(monkeypatch):
    monkeypatch.setattr("orchestrator.paper.server.HEAD_MAX", HEAD)


@pytest.mark.usefixtures("short_heads")
def test_a_head_without_an_end_is_cut_off():
    async def play():
        door = Door()
        for start in (b"GET /", b"GET / HTTP/1.1\r\nX-Long: ", b"GET / HTTP/1.1\r\n"):
            wire, connection = Wire(), Connection(door.server)
            connection.connection_made(wire)
            connection.data_received(start)
            fed = 0
            more = b"X: y\r\n" * 100 if start.endswith(b"1.1\r\n") else b"y" * 700
            while not wire.closed and fed < 3 * HEAD:
                connection.data_received(more)
                fed += len(more)
            assert wire.closed
            assert wire.told.startswith(b"HTTP/1.1 413")
            connection.connection_lost(None)

    asyncio.run(play())


@pytest.mark.usefixtures("short_heads")
def test_long_bodies_and_many_requests_of_one_connection_are_not_a_long_head():
    async def play():
        door = Door()
        path = f"/v3/accounts/{IDS[0]}/orders"
        order = {"order": {"type": "MARKET", "instrument": "EUR_USD", "units": "1"}}
        long = json.dumps(order | {"x": "y" * (3 * HEAD)}).encode()
        sent = [request("POST", path, {}, long)] * 2 + [request("GET", path, {}, b"")] * 99
        for piece in (1, 1000, 10**9):
            told = answers(door.send(sent, piece), [False] * len(sent))
            assert [status for status, _ in told] == [201] * 2 + [200] * 99

    asyncio.run(play())


def test_only_so_many_connections_are_kept(monkeypatch):
    async def play():
        door = Door()
        monkeypatch.setattr("orchestrator.paper.server.CONNECTIONS_MAX", 3)
        wires = [Wire() for _ in range(5)]
        connections = [Connection(door.server) for _ in wires]
        for wire, connection in zip(wires, connections, strict=True):
            connection.connection_made(wire)
        assert [wire.closed for wire in wires] == [False] * 3 + [True] * 2
        connections[0].connection_lost(None)
        again = Wire()
        Connection(door.server).connection_made(again)
        assert not again.closed

    asyncio.run(play())


def test_requests_too_large_are_413_and_nothing_of_them_is_kept():
    async def play():
        door = Door()
        before = door.market.exchange.accounts[AccountId(IDS[0])].last_id
        path = f"/v3/accounts/{IDS[0]}/orders"
        order = {"order": {"type": "MARKET", "instrument": "EUR_USD", "units": "1"}}
        for sent in (
            request("POST", path, {}, json.dumps(order | {"x": "y" * BODY_MAX}).encode()),
            request("POST", f"{path}?{'q' * 70_000}", {}, json.dumps(order).encode()),
            request("POST", path, {f"X-{n}": "y" for n in range(300)}, json.dumps(order).encode()),
        ):
            [(status, _)] = answers(door.send([sent], 65_536), [False])
            assert status == 413
        assert door.market.exchange.accounts[AccountId(IDS[0])].last_id == before
        check_books(door.market)

    asyncio.run(play())
