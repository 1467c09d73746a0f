"""Ticks and streams: bad ones out first, then quotes, spread, and what they do to the accounts."""

from __future__ import annotations

from orchestrator.kernel.engine import scene
from orchestrator.kernel.engine.losses import Witness, judge
from orchestrator.kernel.engine.turn import Turn
from orchestrator.kernel.safety.board import key_of
from orchestrator.kernel.safety.breakers.m1_stale import m1_stale
from orchestrator.kernel.safety.breakers.m2_spread import SpreadRing, m2_spread
from orchestrator.kernel.safety.breakers.m5_bad_ticks import BadTicks, defect
from orchestrator.model.facts import TickDropped
from orchestrator.model.market import Tick
from orchestrator.model.money import InstrumentName
from orchestrator.model.safety import Scope
from orchestrator.model.time import NS_PER_S, seconds


def on_tick(turn: Turn, tick: Tick) -> None:
    live, limits, name = turn.live, turn.world.plan.breakers, tick.instrument
    if name not in turn.world.instruments:
        return
    live.prices_ns = max(live.prices_ns, tick.seen_ns)
    wrong = defect(tick, live.quotes.tick(name), limits)
    if wrong is not None or not live.quotes.put(tick):
        _drop(turn, tick, wrong or "it is no price")
        return
    ring = live.rings.get(name)
    if ring is None:
        ring = live.rings[name] = SpreadRing()
    spread = tick.ask - tick.bid
    wide = m2_spread(spread, ring, limits)
    ring.add(spread, tick.seen_ns)
    if wide is not None and turn.state.board.get("M2", name) is None:
        until = turn.now + seconds(limits.spread_cooldown_s)
        turn.trip("M2", Scope.INSTRUMENT, wide, subject=name, until_ns=until)
    touched = scene.touched_by(turn.world, name)
    if touched:
        for account_id in touched:
            live.prices_moved(account_id)
        judge(turn, touched, Witness(tick=tick))


def _drop(turn: Turn, tick: Tick, wrong: str) -> None:
    live, limits, name = turn.live, turn.world.plan.breakers, tick.instrument
    live.ticks_dropped += 1
    bad = live.bad.get(name)
    if bad is None:
        bad = live.bad[name] = BadTicks()
    if turn.now - bad.said_ns >= NS_PER_S:
        bad.said_ns = turn.now
        turn.say(TickDropped(instrument=name, reason=wrong, at_ns=turn.now))
    count = bad.count(turn.now, limits)
    if count >= limits.bad_ticks and turn.state.board.get("M5", name) is None:
        turn.trip(
            "M5", Scope.INSTRUMENT, f"{count} bad ticks in {limits.bad_ticks_window_s} s: {wrong}",
            subject=name, until_ns=turn.now + seconds(limits.bad_tick_cooldown_s),
        )  # fmt: skip


def keep_prices(turn: Turn) -> None:
    """On each beat: staleness, and the end of cool-downs whose condition is false."""
    for name in turn.world.plan.instruments:
        _keep_fresh(turn, name)
        _cool(turn, name)


def _keep_fresh(turn: Turn, name: InstrumentName) -> None:
    live, limits = turn.live, turn.world.plan.breakers
    seen = live.quotes.seen_ns(name)
    # Before the first tick of this life the age counts from the start; C05 refuses until then.
    since = live.started_ns if seen is None else seen
    stale = m1_stale(since, max(live.prices_ns, live.started_ns), turn.now, limits)
    trip, key = turn.state.board.get("M1", name), key_of("M1", name)
    if stale is not None:
        live.calm_ns.pop(key, None)
        if trip is None:
            turn.trip("M1", Scope.INSTRUMENT, stale, subject=name)
    elif trip is not None and not trip.latched and seen is not None:
        calm = live.calm_ns.setdefault(key, turn.now)
        if turn.now - calm >= seconds(limits.stale_clear_s):
            turn.reset("M1", Scope.INSTRUMENT, name, "prices are fresh again")


def _cool(turn: Turn, name: InstrumentName) -> None:
    """M2 and M5: the time is over, and what tripped them is so no more."""
    live, limits = turn.live, turn.world.plan.breakers
    for breaker in ("M2", "M5"):
        trip = turn.state.board.get(breaker, name)
        if trip is None or trip.latched or trip.until_ns is None or turn.now < trip.until_ns:
            continue
        tick, ring = live.quotes.tick(name), live.rings.get(name)
        if tick is None or ring is None or turn.now - tick.seen_ns > seconds(limits.stale_tick_s):
            continue
        if breaker == "M2" and m2_spread(tick.ask - tick.bid, ring, limits) is not None:
            continue
        turn.reset(breaker, Scope.INSTRUMENT, name, "cooled down")
