"""What happens around the service: halts, gaps, clocks that are set, loops that freeze."""

from __future__ import annotations

import sqlite3
from contextlib import closing

from orchestrator.model.time import NS_PER_S
from orchestrator.research.simulate.feed import INSTRUMENTS, SimFeed, opening
from orchestrator.research.simulate.world import World

_GAP_STEPS = 400.0  # standard deviation of a gap, in steps of a price
_STEPS_S = (-86_400.0, -60.0, -3.0, -0.4, 0.4, 3.0, 60.0, 86_400.0)
_FROZEN_S = (0.3, 1.0, 3.0, 8.0)
_TIMES = (1, 4)
_AWAY_S = (600, 5 * 3600, 26 * 3600, 50 * 3600)
_AWAY_LATE_S = 600  # while an order is still on its way: no longer than it is watched for


def plan_weather(world: World, feed: SimFeed) -> None:
    """All of it at once; the end of the storm ends what is left."""
    fates, later = world.fates, world.loop.call_later
    for begin_s, end_s in fates.windows("halted"):
        later(begin_s, _halt, world)
        later(end_s, _open, world)
    for _, end_s in fates.windows("gap"):
        later(end_s, _gap, world, feed)
    for kind, happen in (("clock_steps", _set_clock), ("loop_frozen", _freeze)):
        rolls = fates.dice(kind)
        for _ in range(rolls.randint(*_TIMES)):
            later(rolls.uniform(0.0, world.storm_s), happen, world)


def _halt(world: World) -> None:
    if world.inside("halted"):
        world.tell("the market is halted")
        _set(world, tradeable=False)


def _open(world: World) -> None:
    if not world.inside("halted"):
        _set(world, tradeable=True)


def _set(world: World, *, tradeable: bool) -> None:
    for name in INSTRUMENTS:
        world.market.set_tradeable(name, tradeable=tradeable)


def _gap(world: World, feed: SimFeed) -> None:
    if world.fates.has("gap"):
        world.tell("prices have moved while nobody was told")
        for name in INSTRUMENTS:
            feed.shift(name, round(world.fates.dice("gap").gauss(0.0, _GAP_STEPS)))


def _set_clock(world: World) -> None:
    if world.fates.has("clock_steps"):
        world.fates.struck["clock_steps"] += 1
        world.loop.wall_off_s += world.fates.dice("clock_steps").choice(_STEPS_S)
        world.tell(f"the wall clock is set {world.loop.wall_off_s:.1f} s off")


def _freeze(world: World) -> None:
    if world.fates.has("loop_frozen"):
        world.fates.struck["loop_frozen"] += 1
        frozen_s = world.fates.dice("loop_frozen").choice(_FROZEN_S)
        world.tell(f"the process is frozen for {frozen_s} s")
        world.loop.block(frozen_s)


# -- between two lives -----------------------------------------------------------------------------


def sleep_long(world: World) -> None:
    """Hours or days go by before somebody starts the service again; the market is open then."""
    rolls = world.fates.dice("long_down")
    if not world.fates.strikes("long_down"):
        return
    ahead_ns = rolls.choice(_AWAY_S) * NS_PER_S
    if world.judge.on_their_way:
        ahead_ns = _AWAY_LATE_S * NS_PER_S
    now = world.market.time.now()
    if world.market.calendar == "fx":
        ahead_ns = opening(now + ahead_ns) - now
    world.tell(f"nobody starts it for {ahead_ns / NS_PER_S / 3600:.1f} h")
    world.market.jump(ahead_ns)


def hurt_snapshot(world: World) -> None:
    """Half of each snapshot is lost; it can be read, and is not whole."""
    if not world.fates.strikes("snapshot_torn"):
        return
    world.tell("the snapshots are torn")
    with closing(sqlite3.connect(world.folder / "orchestrator.db")) as db, db:
        db.execute("UPDATE snapshots SET state = substr(state, 1, length(state) / 2)")
