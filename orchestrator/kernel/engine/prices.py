"""Ticks and streams: bad ones out first, then quotes, spread, and what they do to the accounts."""

from __future__ import annotations

from orchestrator.kernel.engine import scene
from orchestrator.kernel.engine.holding import hold
from orchestrator.kernel.engine.losses import Witness, judge
from orchestrator.kernel.engine.probing import cool
from orchestrator.kernel.engine.turn import Turn
from orchestrator.kernel.safety.breakers.m1_stale import m1_stale
from orchestrator.kernel.safety.breakers.m2_spread import SpreadRing, m2_spread
from orchestrator.kernel.safety.breakers.m5_bad_ticks import BadTicks, defect
from orchestrator.model.facts import TickDropped
from orchestrator.model.market import Tick
from orchestrator.model.time import NS_PER_S


def on_tick(turn: Turn, tick: Tick) -> None:
    live, limits, name = turn.live, turn.world.plan.breakers, tick.instrument
    if name not in turn.world.instruments:
        return
    live.prices_ns = max(live.prices_ns, tick.seen_ns)
    wrong = defect(tick, live.quotes.tick(name), limits)
    if wrong is not None or not live.quotes.put(tick):
        _drop(turn, tick, wrong or "it is no price")
        return
    live.covariance.hear(name, (tick.bid, tick.ask), turn.now)
    ring = live.rings.get(name)
    if ring is None:
        ring = live.rings[name] = SpreadRing()
    spread = tick.ask - tick.bid
    wide = m2_spread(spread, ring, limits)
    ring.add(spread, tick.seen_ns)
    if wide is not None:
        cool(turn, "M2", wide, name)
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
    if count >= limits.bad_ticks:
        evidence = f"{count} bad ticks in {limits.bad_ticks_window_s} s: {wrong}"
        cool(turn, "M5", evidence, name)


def keep_prices(turn: Turn) -> None:
    """On each beat: staleness."""
    live, limits = turn.live, turn.world.plan.breakers
    stream_ns = max(live.prices_ns, live.started_ns)
    for name in turn.world.plan.instruments:
        seen = live.quotes.seen_ns(name)
        # Before the first tick of this life the age counts from the start; C05 refuses until then.
        since = live.started_ns if seen is None else seen
        stale = m1_stale(since, stream_ns, turn.now, limits)
        if stale is not None or seen is not None:
            hold(turn, "M1", stale, name)
