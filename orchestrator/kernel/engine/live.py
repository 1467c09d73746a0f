"""What the kernel sees but need not remember: prices, streams, open questions; rebuilt live."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from orchestrator.kernel.engine.pulse import Pulse
from orchestrator.kernel.ledger.door import Door
from orchestrator.kernel.ledger.quotes import Quotes
from orchestrator.kernel.orders.reading import Settling
from orchestrator.kernel.safety.breakers.a5_rejects import Rejects
from orchestrator.kernel.safety.breakers.m2_spread import SpreadRing
from orchestrator.kernel.safety.breakers.m5_bad_ticks import BadTicks
from orchestrator.kernel.safety.covariance import Covariance
from orchestrator.kernel.safety.exposure import Leg
from orchestrator.kernel.signals.path import Paths
from orchestrator.model.limits import BreakerLimits
from orchestrator.model.money import ZERO, AccountId, InstrumentName
from orchestrator.model.signals import Role
from orchestrator.model.time import Instant
from orchestrator.model.venue import Account


class Crossing(msgspec.Struct, frozen=True):
    """A loss limit was crossed, and waits for a second witness (SAFETY B1)."""

    at_ns: Instant
    instrument: InstrumentName | None
    tick_ns: Instant


class Ahead(msgspec.Struct, frozen=True):
    """A heartbeat spoke of a transaction that we have not."""

    number: int
    since_ns: Instant


class Sent(msgspec.Struct, frozen=True):
    """When an order's first byte left, and how long its answer took."""

    first_byte_ns: Instant
    latency_us: int


class Said(msgspec.Struct, frozen=True, kw_only=True):
    """How Learning Safety left the last order of a strategy on an instrument."""

    account_id: AccountId
    strategy: str
    instrument: InstrumentName
    scale: Decimal
    why: str


class AccountLive:
    """The volatile side of one account."""

    def __init__(self) -> None:
        self.door = Door()
        self.heard_ns: Instant | None = None
        self.asked_ns: Instant = -(10**18)  # last FetchAccount of the regular round
        self.reading_ns: Instant | None = None  # a read of transactions is under way since
        self.attempt = 0  # of settling reads in a row
        self.ahead: Ahead | None = None
        self.behind_ns: Instant | None = None  # a gap before what we know of, since
        self.mismatches = 0
        self.compare: Account | None = None  # read at a transaction that our books have not reached
        self.nav: Decimal | None = None
        self.nav_known = False
        self.load: tuple[Decimal, Decimal] | None = None  # margin used, risk to the stops
        self.load_known = False
        self.legs: tuple[Leg, ...] | None = None  # of trades and of orders at the venue
        self.legs_known = False
        self.margin_near: Decimal = ZERO  # the NAV from which A6 looks at each price
        self.rejects = Rejects()
        self.naked: dict[str, list[Instant]] = {}  # trade -> [first seen, last tried]


class Live:
    """The volatile side of the whole."""

    def __init__(self, covariance: Covariance) -> None:
        self.quotes = Quotes()
        self.covariance = covariance  # of currencies, for C16
        self.prices_ns: Instant = 0  # last sign of life of the pricing stream
        self.accounts: dict[AccountId, AccountLive] = {}
        self.pulses: dict[InstrumentName, Pulse] = {}
        self.rings: dict[InstrumentName, SpreadRing] = {}  # the pulses' own
        self.bad: dict[InstrumentName, BadTicks] = {}
        self.calm_ns: dict[str, Instant] = {}  # breaker key -> its condition is false since
        self.touches: dict[InstrumentName, tuple[AccountId, ...]] | None = None
        self.crossings: dict[str, Crossing] = {}
        self.paths = Paths()
        self.verdicts: dict[str, Said] = {}  # the last one of each kind of order, for people
        self.settling: dict[str, Settling] = {}
        self.sent: dict[str, Sent] = {}
        # (account, order) -> the person's close that made it
        self.closing: dict[tuple[AccountId, str], str] = {}
        self.orders_of: dict[str, str] = {}  # intent -> the one order that the venue has of it
        self.started_ns: Instant = 0
        self.unhealthy: set[Role] = set()
        self.audit_trouble = ""  # why the audit trail is not trusted now; "": it is
        self.gross_ns: Instant = -(10**18)  # when S3 last looked
        self.returns_hour = 0
        self.correlated: str | None = None  # the two accounts whose returns are one
        self.good_writes = 0
        self.storage_failed_ns: Instant = 0
        self.day_end_ns: Instant = 0
        self.day = ""
        self.rolling = False  # 16:55 to 17:10 New York: the roll's wide spread values nothing
        self.reflatten_ns: Instant = 0
        self.ticks_dropped = 0
        self.answers_ignored = 0

    def account(self, account_id: AccountId) -> AccountLive:
        found = self.accounts.get(account_id)
        if found is None:
            found = self.accounts[account_id] = AccountLive()
        return found

    def pulse(self, name: InstrumentName, limits: BreakerLimits) -> Pulse:
        found = self.pulses.get(name)
        if found is None:
            ring = self.rings[name] = SpreadRing(limits.spread_caps.get(name))
            found = self.pulses[name] = Pulse(ring, limits)
        return found

    def books_moved(self, account_id: AccountId) -> None:
        """Trades, rules or balance changed: what was worked out of them is stale."""
        self.touches = None
        self.prices_moved(account_id)

    def prices_moved(self, account_id: AccountId) -> None:
        """A price that values this account changed."""
        account = self.account(account_id)
        account.nav_known = account.load_known = account.legs_known = False
