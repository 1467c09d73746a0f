"""The rules of the accounts' profiles at work: where P stands, and breaker A11."""

from __future__ import annotations

from decimal import Decimal

from orchestrator.kernel.engine import scene
from orchestrator.kernel.engine.holding import hold
from orchestrator.kernel.engine.live import Crossing
from orchestrator.kernel.engine.turn import Turn
from orchestrator.kernel.ledger.day import DayBook
from orchestrator.kernel.safety.board import key_of
from orchestrator.kernel.safety.breakers import stronger
from orchestrator.kernel.safety.breakers.a11_profile import Course, Rule, a11_profile
from orchestrator.model.acts import Liquidate
from orchestrator.model.facts import PeakRaised, ProfileTaken
from orchestrator.model.market import Tick
from orchestrator.model.money import AccountId
from orchestrator.model.profiles import PLAIN, Drawdown, Profile
from orchestrator.model.safety import Effect, Scope
from orchestrator.model.time import NS_PER_S

_CONFIRM_NS = NS_PER_S


def key_of_profile(profile: Profile) -> str:
    """By what it is known that an account's drawdown is to be measured anew."""
    return f"{profile.name} {profile.drawdown} {profile.start_balance or ''}".strip()


def take(turn: Turn, account_id: AccountId) -> None:
    """After a day began, and in each life: the profile that the settings give, if it is new.

    From a trailing to an end-of-day peak the standing one is kept: it is the stricter of the two.
    """
    record, plan = turn.world.record(account_id), turn.world.plans.get(account_id)
    if record is None or record.day is None or plan is None:
        return
    day, profile = record.day, plan.profile
    if day.profile == key_of_profile(profile):
        return
    start = profile.start_balance or day.start or day.equity_start
    peak = {
        Drawdown.TRAILING: day.highest,
        Drawdown.STATIC: start,
        Drawdown.END_OF_DAY: max(start, day.peak),
    }[profile.drawdown]
    turn.say(ProfileTaken(
        account_id=account_id, profile=key_of_profile(profile), start=start, peak=peak,
        high=day.highest,
    ))  # fmt: skip


def raise_peak(turn: Turn, account_id: AccountId, day: DayBook, nav: Decimal) -> None:
    """A new highest NAV: it moves P only where the profile trails it (SAFETY B4)."""
    high = day.new_peak(nav)
    if high is None:
        return
    trailing = turn.world.plans[account_id].profile.drawdown is Drawdown.TRAILING
    peak = high if trailing else day.peak
    turn.say(PeakRaised(account_id=account_id, peak=peak, high=high))


def end_of_day(turn: Turn, account_id: AccountId) -> None:
    """A trading day has begun: an end-of-day P may rise to what it began with."""
    record, profile = turn.world.record(account_id), turn.world.plans[account_id].profile
    if record is None or record.day is None or profile.drawdown is not Drawdown.END_OF_DAY:
        return
    day = record.day
    if day.equity_start > day.peak:
        turn.say(PeakRaised(
            account_id=account_id, peak=day.equity_start, high=max(day.highest, day.equity_start)
        ))  # fmt: skip


def course_of(day: DayBook, balance: Decimal, nav: Decimal) -> Course:
    return Course(
        start=day.start, balance=balance, nav=nav, days=day.days, trading_days=day.trading_days
    )


# -- A11 -------------------------------------------------------------------------------------------


def judge(
    turn: Turn, account_id: AccountId, nav: Decimal, tick: Tick | None = None, *, sure: bool = False
) -> None:
    """On each price that moves the account, each transaction, and each beat."""
    profile = turn.world.plans[account_id].profile
    record = turn.world.record(account_id)
    if profile is PLAIN or record is None or record.day is None or record.book is None:
        return
    trip = turn.state.board.get("A11", account_id)
    if trip is not None and trip.latched and trip.effect is Effect.FLATTEN:
        return
    rule = a11_profile(profile, course_of(record.day, record.book.balance, nav), turn.now)
    if rule is None or not rule.lasting:
        turn.live.crossings.pop(key_of("A11", account_id), None)
        evidence = None if rule is None else rule.evidence
        hold(turn, "A11", evidence, account_id, effect=Effect.FLATTEN)
    elif trip is None or not trip.latched or stronger(rule.effect, trip.effect):
        _lasting(turn, account_id, rule, tick, sure=sure)


def still(turn: Turn, account_id: AccountId) -> str | None:
    """Whether what tripped A11 for good is so still."""
    record, plan = turn.world.record(account_id), turn.world.plans.get(account_id)
    nav = scene.nav_of(turn.world, account_id)
    if record is None or record.day is None or record.book is None or plan is None or nav is None:
        return None
    course = course_of(record.day, record.book.balance, nav)
    rule = a11_profile(plan.profile, course, turn.now)
    return None if rule is None else rule.evidence


def keep(turn: Turn) -> None:
    """On each beat: days and hours, which come without a price."""
    if turn.live.rolling:
        return
    for account_id, plan in turn.world.plans.items():
        nav = None if plan.profile is PLAIN else scene.nav_of(turn.world, account_id)
        if nav is not None:
            judge(turn, account_id, nav)


def _lasting(
    turn: Turn, account_id: AccountId, rule: Rule, tick: Tick | None, *, sure: bool
) -> None:
    """What flattens needs a second price as its witness: one bad tick must close nothing."""
    if rule.effect is Effect.FLATTEN and not sure and not _confirmed(turn, account_id, tick):
        return
    turn.live.crossings.pop(key_of("A11", account_id), None)
    turn.trip(
        "A11", Scope.ACCOUNT, rule.evidence, subject=account_id, effect=rule.effect, latched=True
    )
    if rule.effect is Effect.FLATTEN:
        key = key_of("A11", account_id)
        turn.do(Liquidate(stop_id=key, accounts=(account_id,), reason=f"A11: {rule.evidence}"))


def _confirmed(turn: Turn, account_id: AccountId, tick: Tick | None) -> bool:
    if tick is None:
        return False
    key = key_of("A11", account_id)
    before = turn.live.crossings.get(key)
    if before is None or turn.now - before.at_ns > _CONFIRM_NS:
        turn.live.crossings[key] = Crossing(turn.now, tick.instrument, tick.venue_ns)
        return False
    return before.tick_ns != tick.venue_ns or before.instrument != tick.instrument
