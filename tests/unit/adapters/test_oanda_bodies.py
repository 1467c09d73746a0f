"""What is written to the venue: numbers on the grid, and nothing that makes no sense."""

import json
from decimal import Decimal

import pytest

from orchestrator.adapters.oanda.bodies import (
    ALL,
    CANCEL,
    Bodies,
    Dependents,
    Life,
    Names,
    Resting,
)
from orchestrator.model.money import InstrumentName
from orchestrator.model.orders import WriteKind
from orchestrator.paper.instruments import SPECS
from tests.unit.adapters.oanda_server import ACCOUNT

D = Decimal
MAKE = Bodies(ACCOUNT, SPECS[InstrumentName("EUR_USD")])
STOP = Dependents(stop_loss=Resting(price=D("1.09")))


def body(request) -> dict:
    return json.loads(request.body)


def test_numbers_have_the_instruments_digits_and_no_exponent():
    order = body(MAKE.limit(D("1E+3"), D("1.1")))["order"]
    assert (order["units"], order["price"]) == ("1000", "1.10000")
    assert body(MAKE.market(D(-5)))["order"]["units"] == "-5"
    part = body(MAKE.close_trade("7", D("2E+1")))
    assert part == {"units": "20"}


@pytest.mark.parametrize(
    "make",
    [
        lambda: MAKE.market(D(0)),
        lambda: MAKE.market(D("NaN")),
        lambda: MAKE.market(D("Infinity")),
        lambda: MAKE.market(D("1.5")),
        lambda: MAKE.market(D("1E+20")),
        lambda: MAKE.market(D(1), bound=D("-1")),
        lambda: MAKE.limit(D(1), D("1.123456")),
        lambda: MAKE.limit(D(1), D(0)),
        lambda: MAKE.limit(D(1), D(1), with_it=Dependents(stop_loss=CANCEL)),
        lambda: MAKE.close_trade("7", D(-1)),
        MAKE.close_position,
        lambda: MAKE.close_position(long=D("NaN")),
        lambda: MAKE.protect("7", Dependents()),
        lambda: MAKE.dependent("7", Dependents()),
        lambda: MAKE.dependent(
            "7", Dependents(stop_loss=Resting(price=D(1)), take_profit=Resting(price=D(2)))
        ),
        lambda: MAKE.replace("7", MAKE.cancel("8")),
        MAKE.configure,
        lambda: MAKE.configure(margin_rate=D("1.01")),
        lambda: Names(id="x" * 129),
        lambda: Life(how="GTD"),
        lambda: Life(how="GTC", until_ns=5),
        Resting,
        lambda: Resting(price=D(1), distance=D(1)),
        lambda: Dependents(take_profit=Resting(distance=D(1))),
        lambda: Dependents(trailing_stop_loss=Resting(price=D(1))),
    ],
)
def test_what_the_venue_would_refuse_is_refused_here(make):
    with pytest.raises(ValueError, match=r"\S"):
        make()


def test_an_order_carries_its_dependents_and_its_name():
    request = MAKE.stop(
        D(10), D("1.2"), bound=D("1.3"), with_it=STOP, names=Names(id="i-1", tag="t"),
        life=Life(how="GTD", until_ns=0),
    )  # fmt: skip
    assert request.client_request_id == "i-1"
    assert body(request)["order"] == {
        "type": "STOP", "instrument": "EUR_USD", "units": "10", "positionFill": "DEFAULT",
        "timeInForce": "GTD", "gtdTime": "1970-01-01T00:00:00.000000000Z", "price": "1.20000",
        "priceBound": "1.30000", "stopLossOnFill": {"timeInForce": "GTC", "price": "1.09000"},
        "clientExtensions": {"id": "i-1", "tag": "t"},
        "tradeClientExtensions": {"id": "i-1", "tag": "t"},
    }  # fmt: skip


def test_what_hangs_on_a_trade_is_placed_left_or_taken_away():
    request = MAKE.protect(
        "7", Dependents(take_profit=CANCEL, stop_loss=Resting(distance=D("0.01")))
    )
    assert (request.kind, request.target) == (WriteKind.PROTECT, "7")
    assert body(request) == {
        "takeProfit": None, "stopLoss": {"timeInForce": "GTC", "distance": "0.01000"},
    }  # fmt: skip


def test_only_what_can_only_reduce_goes_first():
    urgent = {
        MAKE.cancel("1"), MAKE.close_trade("1"), MAKE.close_position(short=ALL),
        MAKE.protect("1", STOP),
    }  # fmt: skip
    assert all(one.urgent and not one.makes_order for one in urgent)
    order = MAKE.market(D(1))
    risky = {order, MAKE.replace("1", order), MAKE.dependent("1", STOP)}
    assert all(one.makes_order and not one.urgent for one in risky)
    quiet = {
        MAKE.configure(alias="a"),
        MAKE.name_order("1", Names()),
        MAKE.name_trade("1", Names()),
    }
    assert not any(one.makes_order or one.urgent for one in quiet)
