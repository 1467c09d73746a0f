"""What tightens an account's limits just now, by whom and why (SAFETY B6)."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

import msgspec

from orchestrator.kernel.engine.turn import Turn, World
from orchestrator.kernel.safety.board import SYSTEM
from orchestrator.kernel.safety.breakers.a11_profile import WAITING_SCALE, Course, waiting
from orchestrator.kernel.safety.limits import value_of
from orchestrator.model.facts import RiskAdvised
from orchestrator.model.money import ONE, AccountId, InstrumentName
from orchestrator.model.outcomes import RiskAdvice
from orchestrator.model.time import HOUR_NS, NS_PER_S, Instant

ADVICE_MAX = 200
_SCALE_MIN = Decimal("0.01")  # a block is for breakers
_NEWS_NS = 60 * NS_PER_S
_LASTS_MAX_NS = 24 * HOUR_NS
_SAID_MAX = 200


class Tightening(msgspec.Struct, frozen=True, kw_only=True):
    """`limit` is multiplied by `scale`, or set to `value`. `subject`: where it reaches."""

    limit: str
    by: str
    why: str
    subject: str
    scale: Decimal | None = None
    value: Decimal | None = None
    until_ns: Instant | None = None


# -- what agents advise ----------------------------------------------------------------------------


def on_advice(turn: Turn, advice: RiskAdvice) -> None:
    """An agent's word can only tighten, for a day at most; nonsense is not taken at all."""
    now, known = turn.now, turn.world
    sound = (
        advice.scale.is_finite()
        and _SCALE_MIN <= advice.scale <= 1
        and now < advice.until_ns <= now + _LASTS_MAX_NS
        and (not advice.account_id or advice.account_id in known.plans)
        and (not advice.instrument or advice.instrument in known.instruments)
        and 0 < len(advice.source) <= _SAID_MAX
        and len(advice.strategy) <= _SAID_MAX
    )
    standing = {key: each for key, each in turn.state.advice.items() if each.until_ns > now}
    before = standing.get(key_of(advice))
    if before is not None and before.scale == advice.scale:
        # The same again, and hardly longer, is no news: it would only fill the journal.
        sound = sound and abs(advice.until_ns - before.until_ns) >= _NEWS_NS
    if sound and (before is not None or len(standing) < ADVICE_MAX):
        turn.say(RiskAdvised(advice=msgspec.structs.replace(advice, text=advice.text[:_SAID_MAX])))


def key_of(advice: RiskAdvice) -> str:
    """An agent's newer word on the same replaces its older one."""
    return "|".join((advice.source, advice.account_id, advice.instrument, advice.strategy))


def _advised(
    world: World, account_id: AccountId, instrument: InstrumentName | None, strategy: str
) -> Iterator[RiskAdvice]:
    for advice in world.state.advice.values():
        if (
            advice.until_ns > world.now_ns
            and advice.account_id in {"", account_id}
            and advice.instrument in {"", instrument}
            and advice.strategy in {"", strategy}
        ):
            yield advice


# -- the scale of risk -----------------------------------------------------------------------------


def scale_of(
    world: World,
    account_id: AccountId,
    instrument: InstrumentName | None,
    *,
    strategy: str = "",
    regime: str = "",
) -> Decimal:
    """The product of all that scales risk per trade there, above 0 and at most 1."""
    scale = world.state.board.scale(account_id, instrument)
    plan = world.plans.get(account_id)
    if plan is not None:
        for tide in plan.profile.tides:
            if tide.window.holds(world.now_ns):
                scale *= tide.scale
        for name, part in plan.profile.regimes:
            if name == regime:
                scale *= part
        if _waiting(world, account_id) is not None:
            scale *= WAITING_SCALE
    for advice in _advised(world, account_id, instrument, strategy):
        scale *= advice.scale
    return scale


def _waiting(world: World, account_id: AccountId) -> str | None:
    profile, record = world.plans[account_id].profile, world.record(account_id)
    if profile.profit_target is None or record is None:
        return None
    if record.day is None or record.book is None:
        return None
    day, balance = record.day, record.book.balance
    course = Course(
        start=day.start, balance=balance, nav=balance, days=day.days,
        trading_days=day.trading_days,
    )  # fmt: skip
    return waiting(profile, course)


# -- for people ------------------------------------------------------------------------------------


def tightenings(world: World, account_id: AccountId) -> tuple[Tightening, ...]:
    """Everything by which the account's limits are tighter than the settings' own, now."""
    return (*_by_breakers(world, account_id), *_by_profile(world, account_id),
            *_by_agents(world, account_id), *_by_people(world, account_id))  # fmt: skip


def _by_breakers(world: World, account_id: AccountId) -> Iterator[Tightening]:
    for trip in world.state.board.trips.values():
        if trip.scale is not None and not trip.blocks and trip.subject in {SYSTEM, account_id}:
            yield Tightening(
                limit="risk_per_trade", by=f"breaker {trip.breaker}", why=trip.evidence,
                subject=trip.subject, scale=trip.scale, until_ns=trip.until_ns,
            )  # fmt: skip


def _by_profile(world: World, account_id: AccountId) -> Iterator[Tightening]:
    profile = world.plans[account_id].profile
    by = f"profile {profile.name}"
    for tide in profile.tides:
        if tide.window.holds(world.now_ns):
            yield Tightening(
                limit="risk_per_trade", by=by, why=tide.text, subject=account_id, scale=tide.scale
            )
    for regime, scale in profile.regimes:
        yield Tightening(
            limit="risk_per_trade", by=by, why=f"signals in regime {regime}", subject=account_id,
            scale=scale,
        )  # fmt: skip
    why = _waiting(world, account_id)
    if why is not None:
        yield Tightening(
            limit="risk_per_trade", by=by, why=why, subject=account_id, scale=WAITING_SCALE
        )


def _by_agents(world: World, account_id: AccountId) -> Iterator[Tightening]:
    for advice in world.state.advice.values():
        if advice.until_ns > world.now_ns and advice.account_id in {"", account_id}:
            where = (advice.account_id, advice.instrument, advice.strategy)
            yield Tightening(
                limit="risk_per_trade", by=f"agent {advice.source}", why=advice.text,
                subject=" ".join(part for part in where if part) or SYSTEM, scale=advice.scale,
                until_ns=advice.until_ns,
            )  # fmt: skip
    for said in world.live.verdicts.values():
        if said.account_id == account_id and said.scale < ONE:
            yield Tightening(
                limit="the last order", by="agent learning_safety", why=said.why,
                subject=f"{said.strategy} {said.instrument}", scale=said.scale,
            )  # fmt: skip


def _by_people(world: World, account_id: AccountId) -> Iterator[Tightening]:
    plan = world.plans[account_id]
    for override in world.state.overrides.values():
        here = override.reaches(account_id, None) or override.subject in world.instruments
        if here and not override.loosens and override.holds(world.now_ns):
            was = value_of(plan.limits, world.plan.checks, override.limit)
            yield Tightening(
                limit=override.limit, by=override.actor, why=f"{override.reason} (was {was})",
                subject=override.subject, value=override.value, until_ns=override.until_ns,
            )  # fmt: skip
