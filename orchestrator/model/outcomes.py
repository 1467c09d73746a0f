"""What trades came to, and what agents noticed: the material of learning."""

from __future__ import annotations

from decimal import Decimal

from orchestrator.model.base import Message
from orchestrator.model.money import AccountId, InstrumentName, Price, Side, Units
from orchestrator.model.safety import Severity
from orchestrator.model.signals import Feature
from orchestrator.model.time import Instant


class TradeOpened(Message, frozen=True, kw_only=True, gc=False, tag="trade.opened"):
    """A trade of ours (or, `ours` false, somebody else's) stands at the venue."""

    account_id: AccountId
    trade_id: str
    instrument: InstrumentName
    units: Units
    price: Price
    opened_ns: Instant
    ours: bool
    intent_id: str = ""
    signal_id: str = ""
    strategy: str = ""
    regime: str = ""
    stop_price: Price | None = None
    target_price: Price | None = None
    reference_price: Price | None = None  # the signal's, for slippage
    half_spread_cost: Decimal = Decimal(0)


class TradeClosed(Message, frozen=True, kw_only=True, gc=False, tag="trade.closed"):
    """A trade was closed, wholly (`remaining` 0) or in part. Money in home currency."""

    account_id: AccountId
    trade_id: str
    instrument: InstrumentName
    units: Units  # that were closed, signed as the trade
    remaining: Units
    price: Price
    realized_pl: Decimal
    financing: Decimal
    closed_ns: Instant
    reason: str  # OANDA's fill reason
    ours: bool
    signal_id: str = ""
    strategy: str = ""


class TradeOutcome(Message, frozen=True, kw_only=True, gc=False, tag="trade.outcome"):
    """A finished trade with all that learning needs. Said by Data Collection.

    `r_multiple`: realised result over initial risk. `mae`, `mfe`: worst and best excursion of
    price from the entry while open, >= 0, in price. `slippage`: fill against the signal's
    reference price, positive is worse, in price. `quarantined`: fell in an anomalous period.
    """

    account_id: AccountId
    trade_id: str
    signal_id: str
    strategy: str
    regime: str
    instrument: InstrumentName
    side: Side
    units: Units
    entry_price: Price
    exit_price: Price
    opened_ns: Instant
    closed_ns: Instant
    realized_pl: Decimal
    financing: Decimal
    r_multiple: Decimal
    mae: Price
    mfe: Price
    slippage: Price
    exit_reason: str
    features: tuple[Feature, ...] = ()
    quarantined: bool = False


class AnomalySeen(Message, frozen=True, kw_only=True, gc=False, tag="anomaly.seen"):
    """Learning Safety saw an unusual market; outcomes until `until_ns` are quarantined."""

    instrument: InstrumentName
    kind: str  # spread | gap | flash | stale | bad_tick
    text: str
    at_ns: Instant
    until_ns: Instant


class PatternSeen(Message, frozen=True, kw_only=True, gc=False, tag="pattern.seen"):
    """Pattern Detection saw flow of our own that should not be there."""

    kind: str  # runaway | duplicate | herding | offsetting | churn | ...
    severity: Severity
    text: str
    at_ns: Instant
    account_id: AccountId = AccountId("")
    instrument: InstrumentName = InstrumentName("")
    strategy: str = ""


class RiskAdvice(Message, frozen=True, kw_only=True, gc=False, tag="risk_advice"):
    """An agent advises to risk less for a while; it can only tighten (SAFETY B6).

    Empty account, instrument, strategy: all of them. `source`: the agent's role. A newer word of
    the same source on the same replaces the older one.
    """

    source: str
    scale: Decimal  # 0.01 to 1
    until_ns: Instant
    text: str
    account_id: AccountId = AccountId("")
    instrument: InstrumentName = InstrumentName("")
    strategy: str = ""


class ChangeProposed(Message, frozen=True, kw_only=True, gc=False, tag="change.proposed"):
    """Continuous Improvement proposes to change a strategy's share of risk; a person decides."""

    strategy: str
    regime: str
    proposal: str  # raise | lower | pause
    evidence: str
    at_ns: Instant
    sample: int
    mean_r: Decimal
    deflated_sharpe: Decimal | None = None
