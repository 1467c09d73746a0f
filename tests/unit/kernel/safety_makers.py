"""A proposal and a view that pass every check; tests change one thing and ask again."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from orchestrator.kernel.safety.covariance import Covariance
from orchestrator.kernel.safety.exposure import exposed
from orchestrator.kernel.safety.view import Funds, Market, Totals, View
from orchestrator.model.conversion import Factors
from orchestrator.model.limits import AccountLimits, BreakerLimits, CheckLimits
from orchestrator.model.money import InstrumentSpec, Side
from orchestrator.model.safety import SystemMode
from orchestrator.model.signals import Proposal
from orchestrator.model.time import NS_PER_S

D = Decimal
NOW = 1_000_000 * NS_PER_S


def order_of(**changes) -> Proposal:
    """Buys 10,000 EUR_USD at 1.10010 with a stop 0.00200 away: risk 10,000 x 0.00210 = 21."""
    order = Proposal(
        signal_id="s1", account_id="a", strategy="trend", regime="range", instrument="EUR_USD",
        side=Side.BUY, units=D(10_000), reference_price=D("1.10000"), stop_price=D("1.09810"),
        target_price=D("1.10400"), confidence=D("0.6"), score=D("0.5"), created_ns=NOW - NS_PER_S,
        expires_ns=NOW + 9 * NS_PER_S,
    )  # fmt: skip
    return msgspec.structs.replace(order, **changes)


def market_of(**changes) -> Market:
    market = Market(
        bid=D("1.10000"), ask=D("1.10010"), venue_ns=NOW, seen_ns=NOW, stream_ns=NOW,
        tradeable=True, median_spread=D("0.00010"),
    )  # fmt: skip
    return msgspec.structs.replace(market, **changes)


def funds_of(**changes) -> Funds:
    funds = Funds(
        balance=D(100_000), nav=D(100_000), margin_used=D(0), margin_reserved=D(0),
        equity_start=D(100_000), peak=D(100_000), open_risk=D(0), open_count=0,
    )  # fmt: skip
    return msgspec.structs.replace(funds, **changes)


def totals_of(**changes) -> Totals:
    totals = Totals(
        rate=D(1), nav=D(200_000), equity_start=D(200_000), peak=D(200_000), day_loss=D(0),
        open_risk=D(0), open_count=0, accounts=2,
    )  # fmt: skip
    return msgspec.structs.replace(totals, **changes)


def view_of(**changes) -> View:
    view = View(
        now=NOW, limits=AccountLimits(), total_limits=AccountLimits(), checks=CheckLimits(),
        breakers=BreakerLimits(), mode=SystemMode.RUNNING, account_seen_ns=NOW,
        spec=InstrumentSpec(name="EUR_USD"), market=market_of(),
        factors=Factors(D(1), D(1), D(1)), funds=funds_of(), totals=totals_of(),
        margin_rate=D("0.02"), exposed=exposed(()), gross_total=D(0), currency_book={},
        covariance=Covariance(("EUR_USD", "GBP_USD", "USD_JPY"), "USD"),
    )  # fmt: skip
    return msgspec.structs.replace(view, **changes)
