"""Loss breakers and the trading day: A1, A2, S1, S2 judged on the price that moves them."""

from __future__ import annotations

from collections.abc import Collection
from decimal import Decimal

import msgspec

from orchestrator.kernel.engine import leverage, profiling, scene
from orchestrator.kernel.engine.live import Crossing
from orchestrator.kernel.engine.turn import Turn
from orchestrator.kernel.safety.board import SYSTEM, key_of
from orchestrator.kernel.safety.breakers.a1_daily_loss import a1_daily_loss
from orchestrator.kernel.safety.breakers.a2_drawdown import a2_drawdown
from orchestrator.kernel.safety.breakers.losses import Level
from orchestrator.kernel.safety.breakers.s1_total_daily_loss import s1_total_daily_loss
from orchestrator.kernel.safety.breakers.s2_total_drawdown import s2_total_drawdown
from orchestrator.model.acts import CloseGate, FetchAccount, Liquidate
from orchestrator.model.facts import DayStarted
from orchestrator.model.market import Tick
from orchestrator.model.money import ZERO, AccountId
from orchestrator.model.safety import Effect, Scope
from orchestrator.model.time import NS_PER_S, new_york, trading_day

# Within this time a second witness turns a block into flatten or stop (SAFETY B1).
_CONFIRM_NS = NS_PER_S
# A drawdown's scale is taken back only when it has recovered by a tenth of its level.
_EASED = Decimal("0.9")
_ROLL = (16 * 3600 + 55 * 60, 17 * 3600 + 10 * 60)  # New York, seconds of the day


class Case(msgspec.Struct, frozen=True):
    """One loss breaker of one subject."""

    breaker: str
    scope: Scope
    subject: str
    effect: Effect  # once confirmed
    daily: bool
    threshold: Decimal


class Witness(msgspec.Struct, frozen=True):
    """What made us look.

    `told`: the venue's own NAV, which confirms a crossing that was seen before. `sure`: nothing is
    open, so that the loss is booked and no price can take it back: no second witness is needed.
    """

    tick: Tick | None = None
    told: bool = False
    sure: bool = False


# -- judging -------------------------------------------------------------------------------------


def judge(turn: Turn, accounts: Collection[AccountId], witness: Witness) -> None:
    """Peaks, then each account's own breakers, then the totals'."""
    moved = False
    for account_id in accounts:
        nav = scene.nav_of(turn.world, account_id)
        if nav is not None:
            moved = True
            judge_account(turn, account_id, nav, witness)
            if nav <= turn.live.account(account_id).margin_near:
                leverage.judge_margin(turn, account_id, nav)
    if moved:
        judge_totals(turn, {}, witness)
        # Margin and gross exposure move no faster than the price: unless the books changed, or NAV
        # is near the limit, the figures of a second ago will do.
        if witness.tick is None or turn.now - turn.live.gross_ns >= NS_PER_S:
            leverage.judge_margins(turn, accounts)
            leverage.judge_exposure(turn)


def judge_account(turn: Turn, account_id: AccountId, nav: Decimal, witness: Witness) -> None:
    record = turn.world.record(account_id)
    if record is None or record.day is None or account_id not in turn.world.plans:
        return
    day, limits, breakers = record.day, turn.world.limits(account_id), turn.world.plan.breakers
    if not turn.live.rolling:
        profiling.raise_peak(turn, account_id, day, nav)
        profiling.judge(turn, account_id, nav, witness.tick, sure=witness.sure)
    _weigh(
        turn,
        Case("A1", Scope.ACCOUNT, account_id, Effect.FLATTEN, True, limits.max_daily_loss),
        a1_daily_loss(nav, day.equity_start, limits, breakers),
        witness,
    )
    _weigh(
        turn,
        Case("A2", Scope.ACCOUNT, account_id, Effect.FLATTEN, False, limits.max_drawdown),
        a2_drawdown(nav, day.peak, limits, breakers),
        witness,
    )


def judge_totals(turn: Turn, told: dict[AccountId, Decimal], witness: Witness) -> None:
    """`told`: NAVs by the venue's own figures, which weigh more than ours."""
    world = turn.world
    nav = start = peak = loss = ZERO
    for account_id in scene.counted(world):
        own = told.get(account_id)
        if own is None:
            own = scene.nav_of(world, account_id)
        rate, day = scene.rate_of(world, account_id), world.state.accounts[account_id].day
        if own is None or rate is None or day is None:
            return
        nav += own * rate
        start += day.equity_start * rate
        peak += day.highest * rate
        loss += day.loss(own) * rate
    if start <= 0:
        return
    limits, breakers = world.plan.total, world.plan.breakers
    _weigh(
        turn,
        Case("S1", Scope.SYSTEM, SYSTEM, Effect.FLATTEN, True, limits.max_daily_loss),
        s1_total_daily_loss(loss, start, limits, breakers),
        witness,
    )
    _weigh(
        turn,
        Case("S2", Scope.SYSTEM, SYSTEM, Effect.STOP, False, limits.max_drawdown),
        s2_total_drawdown(nav, peak, limits, breakers),
        witness,
    )


def judge_told(turn: Turn, account_id: AccountId, nav: Decimal) -> None:
    """The venue's own NAV: it confirms a crossing that waits, and refutes none."""
    if turn.live.rolling:
        return  # it is at the roll's wide spread, which trips nothing (SAFETY B4)
    witness = Witness(told=True)
    judge_account(turn, account_id, nav, witness)
    judge_totals(turn, {account_id: nav}, witness)


# -- one breaker ---------------------------------------------------------------------------------


def _weigh(turn: Turn, case: Case, level: Level | None, witness: Witness) -> None:
    trip = turn.state.board.get(case.breaker, case.subject)
    if trip is not None and trip.effect in (Effect.FLATTEN, Effect.STOP):
        return
    if level is not None and level.crossed:
        _crossed(turn, case, level, witness)
        return
    if trip is not None and trip.blocks:
        _perhaps_refuted(turn, case, witness)
        trip = turn.state.board.get(case.breaker, case.subject)
    if trip is not None and trip.blocks:
        return
    standing = trip.scale if trip is not None else None
    if level is not None and level.scale is not None:
        if standing is None or level.scale < standing:
            turn.trip(
                case.breaker, case.scope, level.evidence, subject=case.subject,
                effect=Effect.SCALE, scale=level.scale, until_ns=_until(turn, case),
            )  # fmt: skip
    elif standing is not None and not case.daily:
        _ease(turn, case)


def _ease(turn: Turn, case: Case) -> None:
    """A daily loss keeps its scale until the day ends; a drawdown's ends with the drawdown."""
    limits = turn.world.plan.breakers
    half = limits.scale_half_at * case.threshold
    if _fraction_now(turn, case) < _EASED * half:
        turn.reset(case.breaker, case.scope, case.subject, f"drawdown below {_EASED * half}")


def _fraction_now(turn: Turn, case: Case) -> Decimal:
    if case.scope is Scope.ACCOUNT:
        account_id = AccountId(case.subject)
        record, nav = turn.world.record(account_id), scene.nav_of(turn.world, account_id)
        fraction = record.day.drawdown_fraction(nav) if record and record.day and nav else None
        return case.threshold if fraction is None else fraction
    for account_id in scene.counted(turn.world):
        totals = scene.totals_of(turn.world, account_id)
        if totals is not None and totals.peak > 0:
            return (totals.peak - totals.nav) / totals.peak
    return case.threshold


def _crossed(turn: Turn, case: Case, level: Level, witness: Witness) -> None:
    key = key_of(case.breaker, case.subject)
    crossing = turn.live.crossings.get(key)
    trip = turn.state.board.get(case.breaker, case.subject)
    waiting = trip is not None and trip.blocks
    if not waiting:
        turn.trip(
            case.breaker, case.scope, level.evidence, subject=case.subject,
            effect=Effect.BLOCK, until_ns=_until(turn, case),
        )  # fmt: skip
        crossing = None
    if witness.sure or (witness.told and waiting) or _seconds(turn, crossing, witness):
        turn.live.crossings.pop(key, None)
        _confirm(turn, case, level)
    elif crossing is None or turn.now - crossing.at_ns > _CONFIRM_NS:
        _open_window(turn, case, witness)


def _seconds(turn: Turn, crossing: Crossing | None, witness: Witness) -> bool:
    """A second tick of the same instrument: one bad price must not be its own witness."""
    return (
        crossing is not None
        and witness.tick is not None
        and witness.tick.instrument == crossing.instrument
        and turn.now - crossing.at_ns <= _CONFIRM_NS
    )


def _open_window(turn: Turn, case: Case, witness: Witness) -> None:
    tick = witness.tick
    turn.live.crossings[key_of(case.breaker, case.subject)] = Crossing(
        turn.now, tick.instrument if tick else None, tick.venue_ns if tick else 0
    )
    for account_id in _accounts(turn, case):
        turn.do(FetchAccount(account_id=account_id))


def _perhaps_refuted(turn: Turn, case: Case, witness: Witness) -> None:
    """Within its second the next tick says that it was nothing; later it stays blocked."""
    crossing = turn.live.crossings.get(key_of(case.breaker, case.subject))
    trip = turn.state.board.get(case.breaker, case.subject)
    if crossing is None or trip is None or trip.by_hand or trip.latched or witness.tick is None:
        return
    del turn.live.crossings[key_of(case.breaker, case.subject)]
    if turn.now - crossing.at_ns <= _CONFIRM_NS:
        turn.reset(case.breaker, case.scope, case.subject, "refuted by the next price")


def _confirm(turn: Turn, case: Case, level: Level) -> None:
    turn.trip(
        case.breaker, case.scope, f"{level.evidence}, confirmed", subject=case.subject,
        effect=case.effect, latched=not case.daily, until_ns=_until(turn, case),
    )  # fmt: skip
    reason = f"{case.breaker}: {level.evidence}"
    if case.effect is Effect.STOP:
        turn.do(CloseGate(actor=case.breaker, reason=reason))
        return
    turn.do(
        Liquidate(
            stop_id=key_of(case.breaker, case.subject), accounts=_accounts(turn, case),
            reason=reason,
        )
    )  # fmt: skip


def _accounts(turn: Turn, case: Case) -> tuple[AccountId, ...]:
    if case.scope is Scope.ACCOUNT:
        return (AccountId(case.subject),)
    return turn.world.account_ids


def _until(turn: Turn, case: Case) -> int | None:
    return turn.live.day_end_ns if case.daily and turn.live.day_end_ns else None


def flatten_again(turn: Turn) -> None:
    """Flattening goes on until flat, over restarts too: the host does nothing twice."""
    for trip in list(turn.state.board.trips.values()):
        if trip.effect is Effect.STOP and turn.state.stop is None:
            turn.do(CloseGate(actor=trip.breaker, reason=trip.evidence))
        if trip.effect is not Effect.FLATTEN:
            continue
        accounts = turn.world.account_ids
        if trip.scope is Scope.ACCOUNT:
            accounts = (AccountId(trip.subject),)
        held = tuple(name for name in accounts if _holds(turn, name))
        if not held:
            continue
        turn.do(
            Liquidate(
                stop_id=key_of(trip.breaker, trip.subject),
                accounts=held,
                reason=f"{trip.breaker}: {trip.evidence}",
            )
        )


def liquidate_again(turn: Turn) -> None:
    """A stop that liquidates goes on, too: what filled late is closed (SAFETY 5.7)."""
    stop = turn.state.stop
    if stop is None or not stop.liquidate:
        return
    held = tuple(n for n in stop.accounts or turn.world.account_ids if _holds(turn, n))
    if held:
        turn.do(Liquidate(stop_id=stop.stop_id, accounts=held, reason=stop.reason))


def _holds(turn: Turn, account_id: AccountId) -> bool:
    record = turn.world.record(account_id)
    if record is None or record.book is None:
        return False
    return bool(record.book.trades) or any(o.is_entry for o in record.book.orders.values())


# -- the trading day -------------------------------------------------------------------------------


def know_day(turn: Turn) -> str:
    """The trading day of now."""
    live = turn.live
    if turn.now >= live.day_end_ns:
        live.day, _, live.day_end_ns = trading_day(turn.now)
    return live.day


def keep_day(turn: Turn) -> None:
    """On each beat: know the trading day, and begin it for accounts that are still in another."""
    live = turn.live
    know_day(turn)
    keep_roll(turn)
    for account_id in turn.world.account_ids:
        record = turn.world.record(account_id)
        if record is None or record.day is None or record.day.day == live.day:
            continue
        nav = scene.nav_of(turn.world, account_id)
        if nav is not None and record.reconciled:
            begin_day(turn, account_id, nav)


def keep_roll(turn: Turn) -> None:
    """Know whether it is the roll: at a start too, before anything is valued."""
    rolling = False
    if turn.world.plan.calendar == "fx":
        _, second = new_york(turn.now)
        rolling = _ROLL[0] <= second < _ROLL[1]
    if rolling is not turn.live.rolling:
        turn.live.rolling = rolling
        for account_id in turn.world.account_ids:
            turn.live.prices_moved(account_id)


def begin_day(turn: Turn, account_id: AccountId, equity: Decimal) -> None:
    """E0 is set; the daily breakers of the account, and the system's once all have begun, end."""
    turn.say(DayStarted(account_id=account_id, day=know_day(turn), equity=equity))
    profiling.take(turn, account_id)
    profiling.end_of_day(turn, account_id)
    _end_daily(turn, "A1", Scope.ACCOUNT, account_id)
    days = {
        record.day.day
        for name in scene.counted(turn.world)
        if (record := turn.state.accounts[name]).day is not None
    }
    if days == {turn.live.day}:
        _end_daily(turn, "S1", Scope.SYSTEM, SYSTEM)


def _end_daily(turn: Turn, breaker: str, scope: Scope, subject: str) -> None:
    trip = turn.state.board.get(breaker, subject)
    turn.live.crossings.pop(key_of(breaker, subject), None)
    if trip is not None and not trip.latched:
        turn.reset(breaker, scope, subject, f"trading day {turn.live.day} began")
