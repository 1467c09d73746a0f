"""A signal and what becomes of it: the questions that stages are asked, and their answers.

Order of the stages (SPEC 2): disagreement -> strategy_analysis -> parameter_optimization ->
learning_safety, then the kernel's checks, then the order. Decimals between 0 and 1 are fractions.
"""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum

from orchestrator.model.base import Message
from orchestrator.model.money import (
    ONE,
    AccountId,
    Currency,
    InstrumentName,
    InstrumentSpec,
    Price,
    Side,
    Units,
)
from orchestrator.model.time import Instant


class Role(StrEnum):
    """The eight agents, and the engine that executes."""

    MARKET_ANALYSIS = "market_analysis"
    DISAGREEMENT = "disagreement"
    STRATEGY_ANALYSIS = "strategy_analysis"
    PARAMETER_OPTIMIZATION = "parameter_optimization"
    LEARNING_SAFETY = "learning_safety"
    DATA_COLLECTION = "data_collection"
    PATTERN_DETECTION = "pattern_detection"
    CONTINUOUS_IMPROVEMENT = "continuous_improvement"
    EXECUTION_ENGINE = "execution_engine"


STAGES = (
    Role.DISAGREEMENT,
    Role.STRATEGY_ANALYSIS,
    Role.PARAMETER_OPTIMIZATION,
    Role.LEARNING_SAFETY,
)


class Feature(Message, frozen=True, kw_only=True, gc=False, tag="feature"):
    """A number that a strategy saw, kept with its signal for learning."""

    name: str
    value: Decimal


class Signal(Message, frozen=True, kw_only=True, gc=False, tag="signal"):
    """A wish to trade one instrument (SPEC 1). Distances are positive prices.

    `signal_id` is unique for ever: `[A-Za-z0-9_.:-]{1,64}`. `ttl_ms` counts from `created_ns`.
    """

    signal_id: str
    strategy: str
    instrument: InstrumentName
    side: Side
    reference_price: Price
    stop_distance: Price
    target_distance: Price | None = None
    confidence: Decimal  # probability that the target is reached before the stop, 0 < c <= 1
    regime: str = "unknown"  # trend_up | trend_down | range | volatile | quiet | unknown
    created_ns: Instant
    ttl_ms: int = 10_000
    source: str = "market_analysis"  # agent, or "person:NAME" for POST /signals
    features: tuple[Feature, ...] = ()
    note: str = ""
    accounts: tuple[AccountId, ...] = ()  # empty: any account

    @property
    def expires_ns(self) -> Instant:
        return self.created_ns + self.ttl_ms * 1_000_000


class TradeView(Message, frozen=True, kw_only=True, gc=False, tag="trade_view"):
    """An open trade as agents see it. `risk` is the loss from now to its stop, home, >= 0."""

    trade_id: str
    instrument: InstrumentName
    units: Units
    price: Price
    stop_price: Price | None
    unrealized_pl: Decimal
    risk: Decimal
    strategy: str = ""
    signal_id: str = ""
    ours: bool = True


class Exposure(Message, frozen=True, kw_only=True, gc=False, tag="exposure"):
    """Signed exposure to one currency, in home currency; positions and what is in flight."""

    currency: Currency
    amount: Decimal


class AccountView(Message, frozen=True, kw_only=True, gc=False, tag="account_view"):
    """An account as a stage may see it at the moment of the question. Money in home currency.

    `loss_factor`, `gain_factor`, `value_factor` convert the asked instrument's quote currency to
    home. `risk_per_trade` is the fraction allowed now, scales included. `headroom_units` is the
    largest size (unsigned) that the kernel's limits leave for the asked side and stop.
    """

    account_id: AccountId
    currency: Currency
    balance: Decimal
    nav: Decimal
    margin_used: Decimal
    margin_available: Decimal
    risk_per_trade: Decimal
    open_risk: Decimal
    open_trades: tuple[TradeView, ...] = ()
    exposures: tuple[Exposure, ...] = ()
    day_loss_fraction: Decimal = Decimal(0)
    drawdown_fraction: Decimal = Decimal(0)
    loss_factor: Decimal = ONE
    gain_factor: Decimal = ONE
    value_factor: Decimal = ONE
    margin_rate: Decimal = Decimal("0.02")
    headroom_units: Units
    headroom_binds: str = ""  # the check that allows no more
    blocked_by: tuple[str, ...] = ()  # breakers and modes that would refuse new risk now


class AskAllocation(Message, frozen=True, kw_only=True, gc=False, tag="ask_allocation"):
    """To Disagreement: who takes this signal, at what weight?"""

    signal: Signal
    accounts: tuple[AccountView, ...]
    seed: int


class Share(Message, frozen=True, kw_only=True, gc=False, tag="share"):
    """One account's part: weight 0 < w <= 1 multiplies risk; weight 0 skips, `reason` says why."""

    account_id: AccountId
    weight: Decimal
    reason: str


class Allocation(Message, frozen=True, kw_only=True, gc=False, tag="allocation"):
    """Disagreement's answer: one share for each account that was asked about.

    `confidence` replaces the signal's (dissent among strategies lowers it, never raises it).
    """

    signal_id: str
    confidence: Decimal
    shares: tuple[Share, ...]
    reason: str = ""


class AskScore(Message, frozen=True, kw_only=True, gc=False, tag="ask_score"):
    """To Strategy Analysis: is this signal worth its costs on this account?"""

    signal: Signal
    account: AccountView
    spec: InstrumentSpec
    bid: Price
    ask: Price
    weight: Decimal
    confidence: Decimal


class Score(Message, frozen=True, kw_only=True, gc=False, tag="score"):
    """Strategy Analysis' answer. `expected_r`: expected value after costs, in units of risk (R)."""

    signal_id: str
    account_id: AccountId
    approved: bool
    score: Decimal  # 0 ... 1
    expected_r: Decimal
    win_rate: Decimal  # posterior mean
    samples: int  # closed trades behind it
    reasons: tuple[str, ...]


class AskSizing(Message, frozen=True, kw_only=True, gc=False, tag="ask_sizing"):
    """To Parameter Optimization: how many units, which stop, which target?"""

    signal: Signal
    account: AccountView
    spec: InstrumentSpec
    bid: Price
    ask: Price
    weight: Decimal
    confidence: Decimal
    score: Score


class Sizing(Message, frozen=True, kw_only=True, gc=False, tag="sizing"):
    """Parameter Optimization's answer. Units are signed as the side; 0 declines, with reasons."""

    signal_id: str
    account_id: AccountId
    units: Units
    stop_price: Price
    target_price: Price | None
    risk: Decimal  # home money lost if the stop is hit
    reasons: tuple[str, ...]


class AskVerdict(Message, frozen=True, kw_only=True, gc=False, tag="ask_verdict"):
    """To Learning Safety: may this be traded now, and at which part of its size?"""

    signal: Signal
    account: AccountView
    bid: Price
    ask: Price
    sizing: Sizing


class Verdict(Message, frozen=True, kw_only=True, gc=False, tag="verdict"):
    """Learning Safety's answer; it can only tighten. `scale` 0 < s <= 1 multiplies the units."""

    signal_id: str
    account_id: AccountId
    approved: bool
    scale: Decimal = ONE
    reasons: tuple[str, ...] = ()


Question = AskAllocation | AskScore | AskSizing | AskVerdict
Answer = Allocation | Score | Sizing | Verdict


class Proposal(Message, frozen=True, kw_only=True, gc=False, tag="proposal"):
    """A signal as one account would trade it: what the kernel checks. Market order, FOK."""

    signal_id: str
    account_id: AccountId
    leg: str = "1"
    strategy: str
    regime: str
    instrument: InstrumentName
    side: Side
    units: Units
    reference_price: Price
    stop_price: Price
    target_price: Price | None
    confidence: Decimal
    score: Decimal
    created_ns: Instant
    expires_ns: Instant


class Outcome(StrEnum):
    """How a signal ended for one account (SPEC 2): exactly one of these."""

    FILLED = "filled"
    REJECTED = "rejected"
    EXPIRED = "expired"
    FAILED = "failed"
