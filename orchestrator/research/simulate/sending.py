"""What must hold at an order's first byte, by the venue's books and what was known of them."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import msgspec

from orchestrator.kernel.orders.identity import is_ours
from orchestrator.model.limits import AccountLimits, CheckLimits, KernelPlan
from orchestrator.model.money import ZERO, AccountId, Currency, InstrumentName
from orchestrator.model.orders import Intent, IntentState, WriteRequest
from orchestrator.model.profiles import Profile
from orchestrator.model.time import NS_PER_MS, NS_PER_S, Instant
from orchestrator.model.venue import Trade, Transaction
from orchestrator.paper.exchange.books import Books
from orchestrator.paper.instruments import SPECS
from orchestrator.research.simulate.exposing import Bet, alike, held, opposed, over
from orchestrator.research.simulate.knowledge import Knowledge, QuotesThen
from orchestrator.research.simulate.overriding import OverrideJudge
from orchestrator.research.simulate.standing import Day, Standing
from orchestrator.research.simulate.worth import Cost, Worth, cost_of, rate, worth_of

_RECHECK_NS = 500 * NS_PER_MS  # so old may checks be at the first byte (G2)
_MINUTE_NS = 60 * NS_PER_S
# Money is rounded here and there, and E0 is a figure of an earlier moment.
_SLACK = Decimal("1.005")
# Where the journal has not yet all that the venue did, its sums may be other sums.
_SLACK_BEHIND = Decimal("1.10")
_ENTRIES = frozenset(("LIMIT", "STOP", "MARKET_IF_TOUCHED"))
# Of an order's cancel: somebody asked for it. What a fill brings about is no surprise.
_BY_HAND = frozenset(("CLIENT_REQUEST", "CLIENT_REQUEST_REPLACED"))
_MONEY_MOVED = frozenset(("TRANSFER_FUNDS", "DAILY_FINANCING", "DIVIDEND_ADJUSTMENT"))
_OVER = frozenset((
    IntentState.FILLED, IntentState.CANCELLED, IntentState.REJECTED, IntentState.ABSENT,
    IntentState.BLOCKED, IntentState.EXPIRED,
))  # fmt: skip


class Order(msgspec.Struct, frozen=True):
    """What the request's own body says."""

    account_id: AccountId
    instrument: InstrumentName
    units: Decimal
    stop: Decimal


def order_of(request: WriteRequest) -> Order | None:
    """None when it carries no stop loss."""
    order: dict[str, Any] = msgspec.json.decode(request.body)["order"]
    stop: dict[str, str] = order.get("stopLossOnFill") or {}
    if "price" not in stop:
        return None
    return Order(
        request.account_id, InstrumentName(order["instrument"]), Decimal(order["units"]),
        Decimal(stop["price"]),
    )  # fmt: skip


class SendingJudge:
    """INV-04, INV-08 and G2 at each first byte. `books`: the venue's own."""

    def __init__(
        self, standing: Standing, knowledge: Knowledge, books: dict[AccountId, Books],
        log: dict[AccountId, list[Transaction]],
    ) -> None:  # fmt: skip
        self._standing = standing
        self._known = knowledge
        self._books = books
        self._log = log
        self.plan: KernelPlan | None = None
        self.overrides: OverrideJudge | None = None
        self.intents: dict[str, Intent] = {}
        self.ends: dict[str, IntentState] = {}
        self.at_venue: dict[str, str] = {}  # our orders that the venue has seen: their order ids
        self.applied: dict[AccountId, int] = {}
        self._costs: dict[str, Cost] = {}
        self._checked_at: dict[str, list[QuotesThen]] = {}
        self._written_ns: list[tuple[Instant, AccountId]] = []

    def forget(self) -> None:
        """As before the first record; what orders cost is kept, should they be heard again."""
        for each in (self.intents, self.ends, self.applied):
            each.clear()
        self._written_ns.clear()

    # -- hearing ----------------------------------------------------------------------------------

    def on_intent(self, intent: Intent) -> None:
        """It is durable: from now on it costs what it may cost at its worst."""
        order, books = intent.proposal, self._books[intent.account_id]
        self.intents[intent.intent_id] = intent
        if intent.intent_id in self._checked_at:
            return  # heard again, from an older copy of the store
        self._written_ns.append((intent.checked_ns, intent.account_id))
        then = self._checked_at[intent.intent_id] = self._known.quotes_at(intent.checked_ns)
        cost = cost_of(books, then[0], order.instrument, order.units, order.stop_price)
        if cost is not None:
            self._costs[intent.intent_id] = cost

    # -- judging ----------------------------------------------------------------------------------

    def judge(self, request: WriteRequest, now: Instant) -> Iterator[tuple[str, str]]:
        """(invariant, what is wrong) for each."""
        name, order = request.client_request_id, order_of(request)
        intent = self.intents.get(name)
        if intent is None or order is None or self.plan is None:
            return  # said by others
        for text in self._standing.objections(order.account_id, order.instrument):
            yield "INV-08", f"{name} leaves, and {text}"
        if intent.epoch != self._standing.epoch:
            yield "INV-13", f"{name} of epoch {intent.epoch} leaves in {self._standing.epoch}"
        if now > intent.expires_ns:
            yield "G2", f"{name} leaves after its time to live"
        for trip in self._standing.probing(order.account_id, order.instrument):
            for other in self._flying_names(name):
                if trip.reaches(self.intents[other].account_id, self.intents[other].instrument):
                    yield "B2", f"{name} leaves with {other} in flight, {trip.fact.breaker} probes"
        for text in self._unknown(name, order, now):
            yield "INV-08", f"{name} leaves, and {text}"
        yield from self._limits(name, intent, order, now)

    def _unknown(self, name: str, order: Order, now: Instant) -> Iterator[str]:
        """Needed state that nobody told this life, or too long ago."""
        checks = self.plan.checks if self.plan is not None else None
        assert checks is not None, "asked before"
        tick = self._known.tick_age_ns(order.instrument, now)
        alive = self._known.stream_age_ns(now)
        told = self._known.account_age_ns(order.account_id, now)
        if tick is None or alive is None:
            yield f"{order.instrument} has no price"
            return
        silent = alive > checks.stream_silence_s_max * NS_PER_S + _RECHECK_NS
        limit_s = checks.price_age_s_max if silent else checks.price_age_alive_s_max
        if tick > limit_s * NS_PER_S + _RECHECK_NS:
            yield f"the price is {tick / NS_PER_S:.1f} s old"
        if told is None or told > checks.account_age_s_max * NS_PER_S + _RECHECK_NS:
            yield "nothing was heard of the account lately"
        for other, intent in self.intents.items():
            same = intent.account_id == order.account_id and intent.instrument == order.instrument
            if same and other != name and self.ends.get(other) is IntentState.UNKNOWN:
                yield f"{other} is unknown there"

    def _limits(
        self, name: str, intent: Intent, order: Order, now: Instant
    ) -> Iterator[tuple[str, str]]:
        """By what was known when it was checked, or is known now: either may have been asked."""
        if any(self._unseen_acts(account_id) for account_id in self._books):
            return  # no one could know what the accounts are worth, or may lose
        moments = [self._known.quotes()]
        if now - intent.checked_ns <= _RECHECK_NS:
            moments.extend(self._checked_at[name])
        found: list[str] = []
        for quotes in moments:
            found = list(self._over(name, order, quotes, now))
            if not found:
                return
        for text in found:
            yield "INV-04", f"{name}: {text}"
        yield from self._throttle(intent)

    def _throttle(self, intent: Intent) -> Iterator[tuple[str, str]]:
        """C17, by when orders were written down."""
        checks = self.plan.checks if self.plan is not None else None
        assert checks is not None, "asked before"
        self._written_ns = [w for w in self._written_ns if intent.checked_ns - w[0] < _MINUTE_NS]
        own = sum(1 for _, account_id in self._written_ns if account_id == intent.account_id)
        if own > checks.orders_per_min or len(self._written_ns) > checks.orders_per_min_total:
            yield "INV-04", f"C17 {own} orders in a minute, {len(self._written_ns)} in all"

    def _in_force(
        self, name: str, order: Order, now: Instant
    ) -> tuple[AccountLimits, CheckLimits, Profile]:
        assert self.plan is not None, "asked before"
        account = next(a for a in self.plan.accounts if a.account_id == order.account_id)
        if self.overrides is None:
            return account.limits, self.plan.checks, account.profile
        where = (order.account_id, order.instrument, name, now)
        return (
            self.overrides.in_force(account.limits, *where),
            self.overrides.in_force(self.plan.checks, *where), account.profile,
        )  # fmt: skip

    def _over(self, name: str, order: Order, quotes: QuotesThen, now: Instant) -> Iterator[str]:
        """The checks that it fails."""
        books = self._books[order.account_id]
        limits, checks, profile = self._in_force(name, order, now)
        if profile.instruments and order.instrument not in profile.instruments:
            yield f"C20 {order.instrument} is not among those of profile {profile.name}"
        cost = cost_of(books, quotes, order.instrument, order.units, order.stop)
        worth = self._worth(order.account_id, quotes)
        day = self._standing.days.get(order.account_id)
        if cost is None or worth is None or day is None:
            yield "C12 what it costs, or what the account is worth, is not known"
            return
        slack = self._slack(order.account_id)
        # Where limits have been moved, a later order may have limits of its own: it counts this
        # one, and not this one it.
        moved = self.overrides is not None and self.overrides.any_set
        flying = self._flying(order.account_id, name, earlier=moved)
        spec, size = SPECS[order.instrument], abs(order.units)
        if size != spec.round_units_to_zero(size) or size > spec.maximum_order_units:
            yield f"C09 {order.units} units"
        most = min(checks.notional_nav_max * worth.nav, checks.order_notional_max)
        if cost.notional > most * slack:
            yield f"C09 notional {cost.notional:.2f}, limit {most:.2f}"
        scale = self._standing.scale(order.account_id, order.instrument)
        most = limits.risk_per_trade * scale * min(worth.balance, worth.nav)
        if cost.risk > most * slack:
            yield f"C10 risk {cost.risk:.2f}, limit {most:.2f}"
        if worth.count + len(flying) >= limits.max_concurrent_trades:
            yield f"C11 {worth.count} trades and {len(flying)} in flight"
        margin = worth.margin + cost.margin + sum((each.margin for each in flying), ZERO)
        most = checks.margin_used_max * worth.nav
        if margin > most * slack:
            yield f"C14 margin {margin:.2f}, limit {most:.2f}"
        risk = worth.risk + cost.risk + sum((each.risk for each in flying), ZERO)
        yield from _losses(worth, day, limits, risk, slack)
        yield from self._exposures(name, order, cost, worth, quotes)
        yield from self._totals(name, order, cost, quotes, slack)

    def _exposures(
        self, name: str, order: Order, cost: Cost, worth: Worth, quotes: QuotesThen
    ) -> Iterator[str]:
        """C15, C16 and C19; what the others hold is judged where the journal has all of it."""
        assert self.plan is not None, "asked before"
        checks = self.plan.checks
        bet = Bet(order.instrument, cost.notional if order.units > 0 else -cost.notional, True)
        own = self._bets(order.account_id, name, quotes)
        yield from over([*own, bet], worth.nav, checks, self._slack(order.account_id))
        for other in self._books:
            level = self._slack(other) == self._slack(order.account_id) == _SLACK
            if other == order.account_id or not level or self._worth(other, quotes) is None:
                continue
            theirs = self._bets(other, name, quotes)
            # A later order of the same burst was checked against this one, not this against it:
            # one that makes them less alike again would make this one look worse. Checks that were
            # made again before the first byte (G2) counted both; either may have been asked.
            before = self._bets(order.account_id, name, quotes, earlier=True)
            others = self._bets(other, name, quotes, earlier=True)
            # What strangers have resting counts as well, before and after: not summed here.
            resting = self._rests(other) or self._rests(order.account_id)
            text = None if resting else alike(bet, before, others, checks.correlation_max)
            if text is not None and alike(bet, own, theirs, checks.correlation_max) is not None:
                yield f"{text} with {other}"
            if opposed(bet, theirs) and not checks.opposition_allowed:
                yield f"C19 {other} has the opposite"

    def _rests(self, account_id: AccountId) -> bool:
        return any(each.type in _ENTRIES for each in self._books[account_id].pending.values())

    def _bets(
        self, account_id: AccountId, name: str, quotes: QuotesThen, *, earlier: bool = False
    ) -> list[Bet]:
        """Held and in flight; `earlier`: only what was in flight when this one was written."""
        books = self._books[account_id]
        found = held(books, quotes, [t for t in books.trades.values() if self._seen(books, t)])
        older = list(self.intents)[: list(self.intents).index(name)] if earlier else self.intents
        for other in (flying for flying in self._flying_names(name) if flying in older):
            intent, cost = self.intents[other], self._costs.get(other)
            if intent.account_id == account_id and cost is not None:
                found.append(
                    Bet(intent.instrument, cost.notional * intent.proposal.side.sign, True)
                )
        return found

    def _totals(
        self, name: str, order: Order, cost: Cost, quotes: QuotesThen, slack: Decimal
    ) -> Iterator[str]:
        """C11 to C13 for all accounts together, in the reporting currency."""
        assert self.plan is not None, "asked before"
        nav = start = peak = lost = risk = ZERO
        count = 0
        for account_id, books in self._books.items():
            worth, day = self._worth(account_id, quotes), self._standing.days.get(account_id)
            told = rate(quotes, books.currency, Currency(self.plan.reporting_currency))
            if worth is None or day is None or told is None:
                return  # an account that was never met counts nowhere
            flying = self._flying(account_id, name)
            own = worth.risk + sum((each.risk for each in flying), ZERO)
            own += cost.risk if account_id == order.account_id else ZERO
            nav, start = nav + worth.nav * told.value, start + day.start * told.value
            peak, risk = peak + day.peak * told.value, risk + own * told.value
            lost += max(ZERO, day.start - worth.nav) * told.value
            count += worth.count + len(flying)
        total = self.plan.total
        if count >= len(self._books) * total.max_concurrent_trades:
            yield f"C11 {count} trades in all"
        if lost + risk > total.max_daily_loss * start * slack:
            yield f"C12 the total loss could be {lost + risk:.2f} of {start:.2f}"
        if max(ZERO, peak - nav) + risk > total.max_drawdown * peak * slack:
            yield f"C13 the total drawdown could be {peak - nav + risk:.2f} of {peak:.2f}"

    # -- the venue's side -------------------------------------------------------------------------

    def _worth(self, account_id: AccountId, quotes: QuotesThen) -> Worth | None:
        books = self._books[account_id]
        return worth_of(books, quotes, [t for t in books.trades.values() if self._seen(books, t)])

    def _seen(self, books: Books, trade: Trade) -> bool:
        """Whether it counts: ours from its intent on, others' once the journal has them."""
        extensions = trade.client_extensions
        name = (extensions.id if extensions is not None else None) or ""
        written = int(trade.id) <= self.applied.get(books.account_id, 0)
        return written or (is_ours(name) and self.ends.get(name) not in _OVER)

    def _flying_names(self, name: str) -> list[str]:
        """Intents that may still become trades: on their way, and none of the venue's yet."""
        return [
            other
            for other in self.intents
            if other not in self.at_venue and self.ends.get(other) not in _OVER and other != name
        ]

    def _flying(self, account_id: AccountId, name: str, *, earlier: bool = False) -> list[Cost]:
        """What those of one account may cost; `earlier`: of those that were written before it."""
        names = list(self.intents)
        older = names[: names.index(name)] if earlier else names
        return [
            self._costs[other]
            for other in self._flying_names(name)
            if other in older
            and self.intents[other].account_id == account_id
            and other in self._costs
        ]

    def _unseen_acts(self, account_id: AccountId) -> bool:
        """Whether the journal does not know yet of money that was moved, a stop that was taken
        away, or a trade that the venue closed at a price of its own.
        """
        after = self._log.get(account_id, [])[self.applied.get(account_id, 0) :]
        return any(
            tx.type in _MONEY_MOVED
            or tx.reason in _BY_HAND
            or (tx.type == "ORDER_FILL" and tx.reason != "MARKET_ORDER")
            for tx in after
        )

    def _slack(self, account_id: AccountId) -> Decimal:
        level = self._books[account_id].last_id == self.applied.get(account_id, 0)
        return _SLACK if level else _SLACK_BEHIND


def _losses(
    worth: Worth, day: Day, limits: AccountLimits, risk: Decimal, slack: Decimal
) -> Iterator[str]:
    worst, most = max(ZERO, day.start - worth.nav) + risk, limits.max_daily_loss * day.start
    if worst > most * slack:
        yield f"C12 the day's loss could be {worst:.2f}, limit {most:.2f}"
    worst, most = max(ZERO, day.peak - worth.nav) + risk, limits.max_drawdown * day.peak
    if worst > most * slack:
        yield f"C13 the drawdown could be {worst:.2f}, limit {most:.2f}"
