"""Small makers of intents, transactions and books for the tests of the ledger and of orders."""

from decimal import Decimal

from orchestrator.kernel.ledger.book import Book, OpenTrade
from orchestrator.kernel.ledger.quotes import Quotes
from orchestrator.kernel.orders.identity import intent_id
from orchestrator.model.market import Tick
from orchestrator.model.money import Side
from orchestrator.model.orders import Intent, Reservation
from orchestrator.model.signals import Proposal
from orchestrator.model.venue import ClientExtensions, Transaction

ACCOUNT = "101-001-1000001-001"
NAME = intent_id("s1", ACCOUNT, "1")


def dec(text):
    return Decimal(text)


def proposal(**fields):
    base = {
        "signal_id": "s1",
        "account_id": ACCOUNT,
        "strategy": "trend",
        "regime": "trend_up",
        "instrument": "EUR_USD",
        "side": Side.BUY,
        "units": Decimal(1000),
        "reference_price": Decimal("1.1000"),
        "stop_price": Decimal("1.09500"),
        "target_price": Decimal("1.11000"),
        "confidence": Decimal("0.6"),
        "score": Decimal("0.5"),
        "created_ns": 1,
        "expires_ns": 2,
    }
    return Proposal(**(base | fields))


def intent(**fields):
    base = {
        "intent_id": NAME,
        "proposal": proposal(),
        "body": "{}",
        "watermark": 10,
        "epoch": 3,
        "generation": 1,
        "checked_ns": 1,
        "expires_ns": 2,
        "reservation": Reservation(risk=Decimal(5), notional=Decimal(1100), margin=Decimal(22)),
    }
    return Intent(**(base | fields))


def known(*intents):
    """An `intent_of` that knows these."""
    return {one.intent_id: one for one in intents}.get


def nobody(_client_id):
    return None


def tx(number, kind, **fields):
    return Transaction(id=str(number), type=kind, account_id=ACCOUNT, **fields)


def named(name=NAME):
    return ClientExtensions(id=name)


def book(**fields):
    base = {
        "account_id": ACCOUNT,
        "currency": "USD",
        "balance": Decimal("10000.0000"),
        "last_id": 10,
    }
    return Book(**(base | fields))


def trade(trade_id="12", units=1000, price="1.10000", **fields):
    base = {
        "trade_id": trade_id,
        "instrument": "EUR_USD",
        "units": Decimal(units),
        "initial_units": Decimal(units),
        "price": Decimal(price),
        "opened_ns": 1,
        "ours": True,
    }
    return OpenTrade(**(base | fields))


def quotes(**pairs):
    """quotes(EUR_USD=("1.1", "1.1002"))."""
    found = Quotes()
    for name, (bid, ask) in pairs.items():
        assert found.put(tick(name, bid, ask))
    return found


def tick(name="EUR_USD", bid="1.10000", ask="1.10020", seen_ns=7):
    return Tick(instrument=name, bid=Decimal(bid), ask=Decimal(ask), venue_ns=5, seen_ns=seen_ns)
