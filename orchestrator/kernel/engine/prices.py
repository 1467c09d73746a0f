"""Ticks and streams: bad ones out first, then quotes, spread, and what they do to the accounts."""

from __future__ import annotations

from decimal import Decimal

from orchestrator.kernel.engine import scene
from orchestrator.kernel.engine.holding import hold
from orchestrator.kernel.engine.losses import Witness, judge
from orchestrator.kernel.engine.probing import cool
from orchestrator.kernel.engine.pulse import Pulse
from orchestrator.kernel.engine.turn import Turn
from orchestrator.kernel.safety.breakers.m1_stale import m1_stale
from orchestrator.kernel.safety.breakers.m2_spread import m2_spread
from orchestrator.kernel.safety.breakers.m3_volatility import m3_volatility
from orchestrator.kernel.safety.breakers.m4_gap import m4_flash, m4_gap
from orchestrator.kernel.safety.breakers.m5_bad_ticks import BadTicks, defect
from orchestrator.kernel.safety.breakers.m6_halted import m6_halted
from orchestrator.kernel.safety.breakers.m7_market_wide import WATCHED, m7_market_wide
from orchestrator.model.facts import BreakerTripped, TickDropped
from orchestrator.model.market import Tick
from orchestrator.model.money import ZERO, InstrumentName
from orchestrator.model.safety import Effect, Scope, Severity
from orchestrator.model.time import MINUTE_NS, NS_PER_S, Instant


def on_tick(turn: Turn, tick: Tick) -> None:
    live, limits, name = turn.live, turn.world.plan.breakers, tick.instrument
    if name not in turn.world.instruments:
        _hear_rate(turn, tick)
        return
    silent_ns = tick.seen_ns - live.prices_ns
    if silent_ns > 0:
        if silent_ns > turn.world.outage_ns and live.prices_ns:
            warm_up(turn, "the stream was silent", silent_ns)
        live.prices_ns = tick.seen_ns
    pulse, last = live.pulses.get(name) or live.pulse(name, limits), live.quotes.tick(name)
    wrong = defect(tick, last, limits, pulse.band)
    if wrong is not None or not live.quotes.put(tick):
        _drop(turn, tick, wrong or "it is no price")
        return
    live.covariance.hear(name, (tick.bid, tick.ask), turn.now)
    _feel(turn, tick, last, pulse)
    _value(turn, tick)


def _hear_rate(turn: Turn, tick: Tick) -> None:
    """Not traded here, but known to the venue: it may convert money into an account's own."""
    live, name = turn.live, tick.instrument
    if not any(name in record.specs for record in turn.state.accounts.values()):
        return
    wrong = defect(tick, live.quotes.tick(name), turn.world.plan.breakers)
    if wrong is not None or not live.quotes.put(tick):
        live.ticks_dropped += 1
        return
    _value(turn, tick)


def _value(turn: Turn, tick: Tick) -> None:
    touched = scene.touched_by(turn.world, tick.instrument)
    if touched:
        for account_id in touched:
            turn.live.prices_moved(account_id)
        judge(turn, touched, Witness(tick=tick))


def _feel(turn: Turn, tick: Tick, last: Tick | None, pulse: Pulse) -> None:
    """M2, M3, M4, M6 and T4 of one good tick; on most ticks a handful of comparisons."""
    name, bid, at, ring, band = tick.instrument, tick.bid, tick.seen_ns, pulse.ring, pulse.band
    spread, before = tick.ask - bid, len(turn.facts)
    if spread > ring.suspect:
        wide = m2_spread(spread, ring, turn.world.plan.breakers)
        if wide is not None:
            cool(turn, "M2", wide, name)
    if at >= ring.due_ns or ring.smallest is None or spread < ring.smallest:
        ring.add(spread, at)
    moved = ZERO if last is None else abs(bid - last.bid)
    if moved > pulse.spread or not band.near:
        _perhaps_jumped(turn, tick, last, moved, pulse)
    pulse.spread = spread
    if not band.lowest <= bid <= band.highest:
        band.add(bid)
    if at >= pulse.minute_end_ns:
        pulse.minute_end_ns = (at // MINUTE_NS + 1) * MINUTE_NS
        pulse.volatility.minute_over(tick.bid, at)
        _judge_volatility(turn, pulse, name)
    if pulse.halted is not (not tick.tradeable):
        pulse.halted = not tick.tradeable
        hold(turn, "M6", m6_halted(tradeable=tick.tradeable), name)
    if pulse.cold:
        pulse.warmth.tick(tick.venue_ns, at)
        keep_warm(turn, name, pulse)
    if len(turn.facts) > before:
        keep_market_wide(turn)


def _perhaps_jumped(
    turn: Turn, tick: Tick, last: Tick | None, moved: Decimal, pulse: Pulse
) -> None:
    """M4; not asked for a move within a spread, near every price of the last minute."""
    limits = turn.world.plan.breakers
    jumped = m4_flash(tick.bid, pulse.band, limits)
    if jumped is None and last is not None:
        jumped = m4_gap(moved, last.bid, pulse.spread, limits)
    if jumped is not None:
        cool(turn, "M4", jumped, tick.instrument)


def _judge_volatility(turn: Turn, pulse: Pulse, name: InstrumentName) -> None:
    found = m3_volatility(pulse.volatility, turn.world.plan.breakers)
    if found is not None:
        effect, evidence = found
        cool(turn, "M3", evidence, name, effect=effect)


def keep_market_wide(turn: Turn) -> None:
    """M7, after anything tripped, and on each beat."""
    tripped = (
        trip.subject
        for trip in turn.state.board.trips.values()
        if trip.breaker in WATCHED and trip.blocks and not trip.by_hand
    )
    hold(turn, "M7", m7_market_wide(tripped, turn.world.plan.breakers))


# -- warm-up ---------------------------------------------------------------------------------------


def warm_up(turn: Turn, why: str, outage_ns: Instant) -> None:
    """T4: every instrument shows anew that its price lives; one alert for all of them."""
    limits, cold = turn.world.plan.breakers, list[str]()
    for name in turn.world.plan.instruments:
        pulse = turn.live.pulse(name, limits)
        pulse.warmth.begin(limits, outage_ns=outage_ns)
        pulse.cold = True
        if turn.state.board.get("T4", name) is None:
            cold.append(name)
            turn.say(
                BreakerTripped(
                    breaker="T4", scope=Scope.INSTRUMENT, subject=name, effect=Effect.BLOCK,
                    evidence=f"{why}: waits for {limits.warm_ticks} fresh prices",
                )
            )  # fmt: skip
    if cold:
        turn.alert("breaker:T4", Severity.INFO, "T4 tripped", f"{why}: {', '.join(cold)}")


def keep_warm(turn: Turn, name: InstrumentName, pulse: Pulse) -> None:
    if pulse.warmth.is_over(turn.now):
        pulse.warmth.end()
        pulse.cold = False
        hold(turn, "T4", None, name)


# -- bad ticks -------------------------------------------------------------------------------------


def on_stream_up(turn: Turn) -> None:
    """A new stream: its first prices may be old ones."""
    last_ns = turn.live.prices_ns
    warm_up(turn, "the stream began", turn.now - last_ns if last_ns else 0)


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
    """On each beat: staleness, the end of warm-ups, and what several together mean."""
    live, limits = turn.live, turn.world.plan.breakers
    stream_ns = max(live.prices_ns, live.started_ns)
    for name in turn.world.plan.instruments:
        seen = live.quotes.seen_ns(name)
        # Before the first tick of this life the age counts from the start; C05 refuses until then.
        since = live.started_ns if seen is None else seen
        stale = m1_stale(since, stream_ns, turn.now, limits)
        if stale is not None or seen is not None:
            hold(turn, "M1", stale, name)
        pulse = live.pulses.get(name)
        if pulse is not None and pulse.cold:
            keep_warm(turn, name, pulse)
    keep_market_wide(turn)
