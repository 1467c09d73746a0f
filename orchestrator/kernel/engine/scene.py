"""What checks and stages may see, worked out from the books, the reservations and live prices."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

import msgspec

from orchestrator.kernel.engine.exposing import (
    currency_book,
    exposed_of,
    exposures_of,
    neighbours,
    reservations,
    resting,
    resting_entries,
)
from orchestrator.kernel.engine.probing import busy
from orchestrator.kernel.engine.state import AccountRecord
from orchestrator.kernel.engine.tightening import scale_of
from orchestrator.kernel.engine.turn import World
from orchestrator.kernel.ledger import valuation
from orchestrator.kernel.ledger.book import Book, OpenTrade
from orchestrator.kernel.safety.breakers.t1_session import session_of
from orchestrator.kernel.safety.checks.c17_throttle import interval_ns
from orchestrator.kernel.safety.headroom import Headroom, headroom
from orchestrator.kernel.safety.view import Funds, Market, Totals, View
from orchestrator.model.conversion import Factors, links
from orchestrator.model.money import (
    ONE,
    ZERO,
    AccountId,
    Currency,
    InstrumentName,
    Price,
    Side,
    Units,
)
from orchestrator.model.orders import IntentState
from orchestrator.model.profiles import PLAIN
from orchestrator.model.reducing import ReductionState
from orchestrator.model.safety import AccountMode, Effect
from orchestrator.model.signals import AccountView, Proposal, TradeView
from orchestrator.model.time import MINUTE_NS, Instant

_SIZES_MIN = 9  # so that the tenth order is the first that is compared (C09)
_NO_FACTORS = Factors(ZERO, ZERO, ZERO)
_NO_ROOM = Headroom(Units(ZERO), "")

# -- blocks and modes --------------------------------------------------------------------------


def blocks(
    world: World, account_id: AccountId, instrument: InstrumentName | None = None, own: str = ""
) -> tuple[str, ...]:
    """Everything that refuses new risk there now, breakers in scope included.

    `own`: the intent that is asked about, which is not in its own way.
    """
    record = world.record(account_id)
    if record is None or account_id not in world.plans:
        return (f"account {account_id} is not configured",)
    found: list[str] = []
    stop = world.state.stop
    if stop is not None and record.stopped:
        found.append(f"emergency stop {stop.stop_id} by {stop.actor}: {stop.reason}")
    if not world.enabled(account_id):
        found.append("account is disabled")
    if record.book is None or not record.reconciled:
        found.append("account is not reconciled")
    found.extend(world.state.board.blocks(account_id, instrument))
    found.extend(busy(world, account_id, instrument, own))
    found.extend(_unknown(world, account_id, instrument))
    return tuple(found)


def _unknown(
    world: World, account_id: AccountId, instrument: InstrumentName | None
) -> Iterator[str]:
    """O5: while an order is looked for, its account x instrument gets no new risk."""
    for intent_id, record in world.state.intents.items():
        intent = record.intent
        if record.state is not IntentState.UNKNOWN or intent.instrument != instrument:
            continue
        if intent.account_id == account_id:
            yield f"order {intent_id} on {instrument} is unknown"
    for name, record in world.state.reductions.items():
        wish = record.reduction
        here = wish.account_id == account_id and wish.instrument == instrument
        if here and record.state is ReductionState.UNKNOWN:
            yield f"{wish.kind} {name} on {instrument} is unknown"


def account_mode(world: World, account_id: AccountId) -> AccountMode:
    """The strictest active rule wins (SAFETY 3)."""
    record = world.record(account_id)
    if record is None or record.stopped:
        return AccountMode.HALT
    if any(trip.effect is Effect.HALT for trip in world.state.board.in_scope(account_id, None)):
        return AccountMode.HALT
    return AccountMode.REDUCE if blocks(world, account_id) else AccountMode.OPEN


# -- money ---------------------------------------------------------------------------------------


def nav_of(world: World, account_id: AccountId) -> Decimal | None:
    """NAV at closeout prices, remembered until a price or the books touch it."""
    live = world.live.account(account_id)
    if not live.nav_known:
        record = world.record(account_id)
        book = record.book if record is not None else None
        live.nav = None if book is None else _nav(world, book)
        live.nav_known = True
    return live.nav


def _nav(world: World, book: Book) -> Decimal | None:
    if not book.trades:
        return book.balance
    usual = None
    if world.live.rolling:
        usual = {
            name: ZERO if ring.median is None else ring.median  # not known yet: at mid
            for name, ring in world.live.rings.items()
        }
    return valuation.nav(book, world.live.quotes, usual)


def funds_of(world: World, account_id: AccountId, exclude: str = "") -> Funds | None:
    """None while anything of it is unknown: prices, rules, the day's start."""
    record = world.record(account_id)
    if record is None or record.book is None or record.day is None:
        return None
    book, nav, load = record.book, nav_of(world, account_id), _load(world, account_id, record)
    if nav is None or load is None:
        return None
    margin, risk = load
    margin_reserved, count = ZERO, len(book.trades)
    for waiting in reservations(world, account_id, exclude):
        risk += waiting.intent.reservation.risk
        margin_reserved += waiting.intent.reservation.margin
        count += 1
    return Funds(
        balance=book.balance, nav=nav, margin_used=margin, margin_reserved=margin_reserved,
        equity_start=record.day.equity_start, peak=record.day.peak, open_risk=risk,
        open_count=count,
    )  # fmt: skip


def margin_of(world: World, account_id: AccountId) -> Decimal | None:
    """Margin of the open trades; None while prices or rules are missing."""
    record = world.record(account_id)
    load = None if record is None else _load(world, account_id, record)
    return None if load is None else load[0]


def _load(
    world: World, account_id: AccountId, record: AccountRecord
) -> tuple[Decimal, Decimal] | None:
    """Margin used and risk to the stops of the open trades, remembered as the NAV is."""
    live = world.live.account(account_id)
    if not live.load_known and record.book is not None:
        margin = valuation.margin_used(record.book, world.live.quotes, record.specs)
        risk = valuation.open_risk(record.book, world.live.quotes, world.plan.checks.no_stop_risk)
        live.load = None if margin is None or risk is None else (margin, risk)
        live.load_known = True
    return live.load


def counted(world: World) -> tuple[AccountId, ...]:
    """The accounts that make up the totals: those whose books were ever seen (R3)."""
    return tuple(
        account_id
        for account_id in world.account_ids
        if (record := world.state.accounts[account_id]).book is not None and record.day is not None
    )


def rate_of(world: World, account_id: AccountId) -> Decimal | None:
    """What one unit of an account's home currency counts in the totals."""
    record = world.record(account_id)
    if record is None or record.book is None:
        return None
    if len(world.account_ids) == 1:
        return ONE
    reporting = Currency(world.plan.reporting_currency)
    factors = world.live.quotes.factors(record.book.currency, reporting)
    return None if factors is None else factors.value


def totals_of(world: World, account_id: AccountId, exclude: str = "") -> Totals | None:
    """All accounts together, with `account_id`'s rate; None while any part is unknown."""
    accounts = counted(world)
    own = rate_of(world, account_id)
    if own is None or account_id not in accounts:
        return None
    nav = start = peak = loss = risk = ZERO
    count = 0
    for name in accounts:
        funds, rate = funds_of(world, name, exclude), rate_of(world, name)
        if funds is None or rate is None:
            return None
        nav += funds.nav * rate
        start += funds.equity_start * rate
        peak += highest_of(world, name, funds) * rate
        loss += funds.day_loss * rate
        risk += funds.open_risk * rate
        count += funds.open_count
    return Totals(
        rate=own, nav=nav, equity_start=start, peak=peak, day_loss=loss, open_risk=risk,
        open_count=count, accounts=len(accounts),
    )  # fmt: skip


def highest_of(world: World, account_id: AccountId, funds: Funds) -> Decimal:
    """What an account adds to the total peak: its highest NAV, however its own P is measured."""
    record = world.record(account_id)
    return funds.peak if record is None or record.day is None else record.day.highest


# -- the market ----------------------------------------------------------------------------------


def market_of(world: World, instrument: InstrumentName) -> Market | None:
    tick = world.live.quotes.tick(instrument)
    if tick is None:
        return None
    ring = world.live.rings.get(instrument)
    return Market(
        bid=tick.bid, ask=tick.ask, venue_ns=tick.venue_ns, seen_ns=tick.seen_ns,
        stream_ns=world.live.prices_ns, tradeable=tick.tradeable,
        median_spread=ring.median if ring is not None else None,
    )  # fmt: skip


def factors_of(world: World, book: Book, instrument: InstrumentName) -> Factors | None:
    """What the instrument's quote currency is worth at home."""
    return world.live.quotes.factors(valuation.currencies(instrument)[1], book.currency)


def touched_by(world: World, instrument: InstrumentName) -> tuple[AccountId, ...]:
    """The accounts whose NAV moves with this instrument: traded in it, or converted by it."""
    live = world.live
    if live.touches is None:
        live.touches = _touches(world)
    return live.touches.get(instrument, ())


def _touches(world: World) -> dict[InstrumentName, tuple[AccountId, ...]]:
    found: dict[InstrumentName, dict[AccountId, None]] = {}
    for account_id, record in world.state.accounts.items():
        book = record.book
        if book is None:
            continue
        # Orders of other hands that rest at the venue are worth something, too (C15).
        waiting = (o.instrument for o in resting_entries(world, book) if o.instrument is not None)
        for traded in (*(t.instrument for t in book.trades.values()), *waiting):
            quote = valuation.currencies(traded)[1]
            for name in (traded, *_conversions(world, quote, book.currency)):
                found.setdefault(name, {})[account_id] = None
    return {name: tuple(accounts) for name, accounts in found.items()}


def _conversions(world: World, frm: Currency, home: Currency) -> set[InstrumentName]:
    """All instruments by which it may be converted: the shortest way has not always a price."""
    found: set[InstrumentName] = set()
    known = world.instruments.union(*(r.specs for r in world.state.accounts.values()))
    while names := links(frm, home, known - found):
        found.update(names)
    return found


# -- the checks' view ------------------------------------------------------------------------------


def view_of(
    world: World,
    order: Proposal,
    now: Instant,
    intent_id: str,
    own: str = "",
    *,
    loosened: bool = False,
) -> View:
    """`own`: the intent whose reservation and throttle are left out, when it is checked again.

    `loosened`: by the numbers that overrides allow, too.
    """
    plan, account_id = world.plan, order.account_id
    force = world.in_force(account_id, order.instrument, now=now, loosened=loosened, own=own)
    record = world.record(account_id) or AccountRecord()
    book = record.book
    spec = record.specs.get(order.instrument)
    past = [recent for recent in record.recent if recent.intent_id != own]
    configured = account_id in world.plans
    return View(
        now=now,
        limits=force.limits,
        total_limits=force.total,
        checks=force.checks,
        breakers=plan.breakers,
        mode=world.state.mode,
        blocks=blocks(world, account_id, order.instrument, own),
        configured=configured,
        live=plan.live,
        live_allowed=plan.live_allowed,
        account_seen_ns=world.live.account(account_id).heard_ns,
        session=session_of(plan.calendar, now),
        spec=spec,
        market=market_of(world, order.instrument),
        factors=None if book is None else factors_of(world, book, order.instrument),
        funds=funds_of(world, account_id, own),
        totals=totals_of(world, account_id, own),
        scale=scale_of(
            world, account_id, order.instrument, strategy=order.strategy, regime=order.regime
        ),
        margin_rate=(ONE if book is None or spec is None else valuation.margin_rate_of(book, spec)),
        position_units=_position(world, account_id, order.instrument, order.side, own),
        seen_before=intent_id != own and world.state.intent_of(intent_id) is not None,
        alike_ns=max(
            (
                recent.at_ns
                for recent in past
                if recent.strategy == order.strategy
                and recent.instrument == order.instrument
                and recent.side is order.side
            ),
            default=None,
        ),
        median_units=_median(record, order.strategy, order.instrument),
        strategy_order_ns=max(
            (
                recent.at_ns
                for recent in past
                if recent.strategy == order.strategy and recent.instrument == order.instrument
            ),
            default=None,
        ),
        bucket_ns=record.bucket_ns - (interval_ns(plan.checks) if own else 0),
        orders_last_minute=_last_minute(record, now, own),
        orders_last_minute_total=sum(
            _last_minute(other, now, own) for other in world.state.accounts.values()
        ),
        exposed=exposed_of(world, account_id, own),
        gross_total=gross_total(world, own),
        hedging=book is not None and book.hedging,
        currency_book=currency_book(world, account_id, own),
        covariance=world.live.covariance,
        neighbours=neighbours(world, account_id, order.instrument),
        resting=resting(world, order.instrument),
        profile=world.plans[account_id].profile if configured else PLAIN,
        orders_today=_today(record, own),
    )


def gross_total(world: World, own: str = "") -> Decimal | None:
    """Gross exposure of all accounts, reporting currency; None while any of it is unknown."""
    total = ZERO
    for account_id in counted(world):
        sums, rate = exposed_of(world, account_id, own), rate_of(world, account_id)
        if sums is None or rate is None:
            return None
        total += sums.gross * rate
    return total


def _today(record: AccountRecord, own: str) -> int | None:
    """Orders of this trading day; the one that is checked again counts itself already."""
    return None if record.day is None else record.day.orders - bool(own)


def _last_minute(record: AccountRecord, now: Instant, own: str) -> int:
    return sum(
        1 for past in record.recent if now - past.at_ns < MINUTE_NS and past.intent_id != own
    )


def _median(record: AccountRecord, strategy: str, instrument: InstrumentName) -> Decimal | None:
    sizes = sorted(record.sizes.get(f"{strategy}|{instrument}", []))
    if len(sizes) < _SIZES_MIN:
        return None
    middle = len(sizes) // 2
    return sizes[middle] if len(sizes) % 2 else (sizes[middle - 1] + sizes[middle]) / 2


def _position(
    world: World, account_id: AccountId, instrument: InstrumentName, side: Side, own: str
) -> Units:
    """Held, and in flight at its worst: what would reduce counts only once it is filled."""
    record = world.record(account_id)
    total = ZERO
    for trade in record.book.trades.values() if record and record.book else ():
        if trade.instrument == instrument:
            total += trade.units
    for waiting in reservations(world, account_id, own):
        order = waiting.intent.proposal
        if order.instrument == instrument and order.side is side:
            total += order.units
    return Units(total)


# -- the stages' view -----------------------------------------------------------------------------


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """What an account is asked about: the part of a signal that its room depends on."""

    instrument: InstrumentName
    side: Side | None = None
    stop_distance: Price | None = None
    strategy: str = ""
    regime: str = ""


def account_view(
    world: World, account_id: AccountId, wish: Wish | None = None
) -> AccountView | None:
    """None while the account's money is unknown. Headroom 0 without side and stop."""
    key = (account_id, wish)
    if key not in world.views:
        world.views[key] = _account_view(world, account_id, wish)
    return world.views[key]


def _account_view(world: World, account_id: AccountId, wish: Wish | None) -> AccountView | None:
    record, funds = world.record(account_id), funds_of(world, account_id)
    if record is None or record.book is None or funds is None or account_id not in world.plans:
        return None
    book, instrument = record.book, None if wish is None else wish.instrument
    factors = None if instrument is None else factors_of(world, book, instrument)
    spec = record.specs.get(instrument) if instrument is not None else None
    worth = factors or _NO_FACTORS
    strategy, regime = ("", "") if wish is None else (wish.strategy, wish.regime)
    room = _NO_ROOM if wish is None else room_of(world, account_id, wish)
    return AccountView(
        account_id=account_id,
        currency=book.currency,
        balance=book.balance,
        nav=funds.nav,
        margin_used=funds.margin_used + funds.margin_reserved,
        margin_available=max(ZERO, funds.nav - funds.margin_used - funds.margin_reserved),
        risk_per_trade=(
            world.limits(account_id, instrument).risk_per_trade
            * scale_of(world, account_id, instrument, strategy=strategy, regime=regime)
        ),
        open_risk=funds.open_risk,
        open_trades=tuple(_trade_view(world, book, trade) for trade in book.trades.values()),
        exposures=exposures_of(world, account_id),
        day_loss_fraction=_fraction(funds.day_loss, funds.equity_start),
        drawdown_fraction=_fraction(funds.fallen, funds.peak),
        loss_factor=worth.loss,
        gain_factor=worth.gain,
        value_factor=worth.value,
        margin_rate=ONE if spec is None else valuation.margin_rate_of(book, spec),
        headroom_units=room.units,
        headroom_binds=room.binds,
        blocked_by=blocks(world, account_id, instrument),
    )


def room_of(world: World, account_id: AccountId, wish: Wish) -> Headroom:
    """The largest size that C09 to C15 leave for a wish; 0 where anything is unknown."""
    record, plan = world.record(account_id), world.plan
    spec = record.specs.get(wish.instrument) if record is not None else None
    if record is None or record.book is None or spec is None or account_id not in world.plans:
        return _NO_ROOM
    if wish.side is None or wish.stop_distance is None:
        return _NO_ROOM
    book, force = record.book, world.in_force(account_id, wish.instrument)
    view = View(
        now=0,
        limits=force.limits,
        total_limits=force.total,
        checks=force.checks,
        breakers=plan.breakers,
        mode=world.state.mode,
        spec=spec,
        market=market_of(world, wish.instrument),
        factors=factors_of(world, book, wish.instrument),
        funds=funds_of(world, account_id),
        totals=totals_of(world, account_id),
        scale=scale_of(
            world, account_id, wish.instrument, strategy=wish.strategy, regime=wish.regime
        ),
        margin_rate=valuation.margin_rate_of(book, spec),
        position_units=_position(world, account_id, wish.instrument, wish.side, ""),
        median_units=_median(record, wish.strategy, wish.instrument),
        exposed=exposed_of(world, account_id),
        gross_total=gross_total(world),
        hedging=book.hedging,
    )
    return headroom(view, spec, wish.side, wish.stop_distance)


def _fraction(part: Decimal, base: Decimal) -> Decimal:
    return ONE if base <= 0 else part / base


def _trade_view(world: World, book: Book, trade: OpenTrade) -> TradeView:
    quotes = world.live.quotes
    risk = valuation.trade_risk(trade, quotes, book.currency, world.plan.checks.no_stop_risk)
    return TradeView(
        trade_id=trade.trade_id, instrument=trade.instrument, units=trade.units, price=trade.price,
        stop_price=trade.worst_exit,
        unrealized_pl=valuation.unrealized(trade, quotes, book.currency) or ZERO,
        risk=risk or ZERO, strategy=trade.strategy, signal_id=trade.signal_id, ours=trade.ours,
    )  # fmt: skip
