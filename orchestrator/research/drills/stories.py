"""The bad days: each a short story, told to a stage, with the rules that only it can show."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from decimal import Decimal

import msgspec

from orchestrator.model.money import Side
from orchestrator.model.time import NS_PER_S, Instant, parse_time
from orchestrator.research.drills.stage import WHO, Stage, machine_ns
from orchestrator.service.views import Refused, SignalTaken

WEDNESDAY = parse_time("2014-05-07T13:00:00Z")
FRIDAY = parse_time("2014-05-09T19:30:00Z")  # 15:30 in New York, half an hour before T2
SUNDAY = parse_time("2014-05-11T21:06:00Z")  # a minute after the market has opened again
_FLAT_S = 5.0
_STOP_MS = 100
_FALL_S = 10
_OVER_S = 60
_BACK_S = 60.0
_MARKET = ("M1", "M2", "M3", "M4", "M5", "M6", "M7")


class Story(msgspec.Struct, frozen=True, kw_only=True):
    """`about`: one sentence for a person; `size`: what --size changes, and its default."""

    about: str
    play: Callable[[Stage], Awaitable[None]]
    starts_ns: Instant = WEDNESDAY
    size: float = 0.0
    size_is: str = ""


async def _warm_up(stage: Stage) -> None:
    stage.say("the service starts on a quiet market")
    await stage.start()
    await stage.wait(75.0)  # warm-ups of agents and instruments
    stage.progress(0.15)


async def _works_again(stage: Stage, what: str) -> None:
    """After the trouble, a signal is traded in the ordinary way, on some instrument."""
    for turn in range(12):
        for at, name in enumerate(stage.maker.instruments):
            side = (Side.BUY, Side.SELL)[(turn + at) % 2]
            taken = await stage.signal(name, side)
            await stage.wait(2.0)
            if isinstance(taken, SignalTaken) and _taken(stage, taken):
                stage.say(f"{what}: a signal is on its path again")
                stage.rule("R1", "trading goes on by itself", f"{what}: yes", passed=True)
                return
        await stage.wait(15.0)
    stage.rule("R1", "trading goes on by itself", f"{what}: no signal was taken", passed=False)


def _taken(stage: Stage, taken: SignalTaken) -> bool:
    """Filled, or turned down for its own sake and not for a block of the house."""
    held = any(trip.blocks and trip.reset_ns is None and trip.fact.subject == "system"
               for trip in stage.witness.trips)  # fmt: skip
    return bool(taken.accounts) and not held


# -- flash-crash -----------------------------------------------------------------------------------


async def _flash_crash(stage: Stage) -> None:
    await _warm_up(stage)
    await stage.fill_up(Side.BUY)
    stage.progress(0.4)
    fall = (stage.size or 3.0) / 100
    began = stage.market.time.now()
    stage.say(f"every price falls by {fall:.1%} within 30 s, spreads widen eightfold")
    for name in stage.maker.instruments:
        stage.feed.push(name, -fall, 30.0)
        stage.feed.widen(name, 8.0)
    await stage.keep_signalling(45.0)
    stage.progress(0.6)
    stage.say("prices climb back by half, spreads stay wide for a minute")
    for name in stage.maker.instruments:
        stage.feed.push(name, fall / 2, 60.0)
    await stage.keep_signalling(60.0)
    for name in stage.maker.instruments:
        stage.feed.widen(name, 1.0)
    await stage.wait(120.0)
    stage.progress(0.8)
    trips = stage.witness.tripped(*_MARKET, "A1", "A2", "S1", "S2", since=began)
    text = "no breaker tripped"
    if trips:
        text = f"{trips[0].fact.breaker} tripped after {(trips[0].at_ns - began) / NS_PER_S:.1f} s"
    late = [at for at in stage.witness.first_bytes
            if began + _FALL_S * NS_PER_S <= at < began + _OVER_S * NS_PER_S]  # fmt: skip
    stage.rule("M4", "nothing is opened into the fall",
               f"{len(late)} orders between its 10th and 60th second; {text}",
               passed=not late)  # fmt: skip


# -- broker-outage ---------------------------------------------------------------------------------


async def _broker_outage(stage: Stage) -> None:
    await _warm_up(stage)
    await stage.fill_up()
    stage.progress(0.35)
    minutes = stage.size or 3.0
    began = stage.market.time.now()
    stage.say(f"the broker is gone for {minutes:g} min: connections refused, streams down")
    stage.venue.away = stage.witness.quiet = True
    await stage.keep_signalling(minutes * 60)
    stage.progress(0.6)
    trips = stage.witness.tripped("A7", "M1", since=began)
    text = ", ".join(f"{t.fact.breaker} after {(t.at_ns - began) / NS_PER_S:.0f} s"
                     for t in trips[:4]) or "none tripped"  # fmt: skip
    stage.rule("A7", "what is not known blocks within 30 s", text,
               passed=bool(trips) and trips[0].at_ns - began <= 30 * NS_PER_S)  # fmt: skip
    sent = [at for at in stage.witness.first_bytes if at > began + 15 * NS_PER_S]
    stage.rule("INV-08", "nothing is sent into the unknown", f"{len(sent)} orders after 15 s",
               passed=not sent)  # fmt: skip
    back = stage.market.time.now()
    stage.say("the broker is back")
    stage.venue.away = stage.witness.quiet = False
    wrong = await stage.settle()
    took_s = (stage.market.time.now() - back) / NS_PER_S
    stage.figure("broker back → all accounts reconciled", f"{took_s:.0f} s", "60 s",
                 passed=not wrong and took_s <= _BACK_S)  # fmt: skip
    stage.progress(0.75)
    await _works_again(stage, "after the outage")


# -- slow-broker -----------------------------------------------------------------------------------


async def _slow_broker(stage: Stage) -> None:
    await _warm_up(stage)
    slow_s = stage.size or 6.0
    stage.say("answers take 2 s")
    stage.venue.slow_s = 2.0
    await stage.keep_signalling(6.0)
    stage.progress(0.3)
    stage.say(f"answers take {slow_s:g} s: nobody waits for them, every order is of unknown fate")
    stage.venue.slow_s = slow_s
    began = stage.market.time.now()
    await stage.keep_signalling(90.0)
    stage.progress(0.6)
    stage.venue.slow_s = 0.0
    stage.say("the broker is quick again")
    wrong = await stage.settle()
    took_s = (stage.market.time.now() - began) / NS_PER_S - 90
    stage.rule("O5", "every unknown order is settled by the venue's log", wrong or
               f"all settled {took_s:.0f} s after the broker was quick again",
               passed=not wrong)  # fmt: skip
    stage.progress(0.8)
    await _works_again(stage, "after the slowness")


# -- weekend-gap -----------------------------------------------------------------------------------


async def _weekend_gap(stage: Stage) -> None:
    await _warm_up(stage)
    await stage.fill_up(Side.BUY, rounds=3)
    stage.progress(0.35)
    await _until(stage, parse_time("2014-05-09T20:01:00Z"))
    held = stage.open_trades()
    stage.say("Friday 16:01 in New York: nothing new over the weekend")
    await stage.keep_signalling(60.0)
    await _jump(stage, parse_time("2014-05-09T20:31:00Z"))
    await stage.wait(30.0)
    stage.say(f"{stage.open_trades()} of {held} trades are kept over the weekend")
    stage.progress(0.5)
    await _jump(stage, parse_time("2014-05-09T20:59:30Z"))
    await stage.wait(60.0)
    gap = (stage.size or 0.2) / 100
    for name in stage.maker.instruments:
        stage.feed.push(name, -gap, 0.0)
    await _jump(stage, SUNDAY)
    stage.say(f"Sunday 17:06: the market opens {gap:.2%} lower, quoted five times as wide")
    for name in stage.maker.instruments:
        stage.feed.widen(name, 5.0)
    opened = stage.market.time.now()
    await stage.keep_signalling(120.0)
    for name in stage.maker.instruments:
        stage.feed.widen(name, 1.0)
    stage.progress(0.75)
    closed = [at for at in stage.witness.first_bytes
              if parse_time("2014-05-09T20:01:00Z") <= at < opened]  # fmt: skip
    stage.rule("T2", "no order from Friday 16:00 to Sunday's opening", f"{len(closed)} orders",
               passed=not closed)  # fmt: skip
    wrong = await stage.settle()
    stage.rule("O11", "all accounts reconciled after the opening", wrong or "yes",
               passed=not wrong)  # fmt: skip


async def _until(stage: Stage, at_ns: Instant) -> None:
    """To a minute before at once, as nothing happens meanwhile; then on."""
    await _jump(stage, at_ns - 60 * NS_PER_S)
    await stage.wait((at_ns - stage.market.time.now()) / NS_PER_S)


async def _jump(stage: Stage, at_ns: Instant) -> None:
    ahead = at_ns - stage.market.time.now()
    if ahead > 0:
        stage.say("time is skipped: for the service, the venue's clock jumps")
        stage.feed.skip_to(at_ns)
        stage.market.jump(ahead)
    await stage.wait(2.0)


# -- runaway-strategy ------------------------------------------------------------------------------


async def _runaway_strategy(stage: Stage) -> None:
    await _warm_up(stage)
    a_second = round(stage.size or 20)
    before = len(stage.witness.first_bytes)
    began = stage.market.time.now()
    stage.say(f"a strategy goes wild: {a_second} signals each second, for a minute")
    name = stage.maker.instruments[0]
    for second in range(60):
        for at in range(a_second):
            # Stops differ, so that the duplicate check alone does not hold it.
            distance = Decimal("0.0010") + Decimal(second * a_second + at) / Decimal(1_000_000)
            await stage.signal(name, Side.BUY, distance)
        await stage.wait(1.0)
        stage.progress(0.2 + 0.6 * second / 60)
    sent = stage.witness.first_bytes[before:]
    asked = 60 * a_second
    accounts = len(stage.maker.accounts)
    busiest = max((sum(1 for at in sent if start <= at < start + 10 * NS_PER_S)
                   for start in sent), default=0)  # fmt: skip
    limit = 10 * 2 * accounts + 5 * accounts
    stage.rule("C17", "the throttle holds", f"{asked:,} signals, {len(sent)} orders, at most "
               f"{busiest} in 10 s (limit {limit})", passed=busiest <= limit)  # fmt: skip
    trips = stage.witness.tripped("A4", "A3", "A5", "S4", since=began)
    last_s = (sent[-1] - began) / NS_PER_S if sent else 0.0
    text = f"{trips[0].fact.breaker} latched" if trips else "held by checks alone"
    text += f"; {len(sent)} orders in 60 s, the last after {last_s:.0f} s"
    stage.rule("A4", "the flood ends in few orders", text, passed=len(sent) <= limit)


# -- disk-full -------------------------------------------------------------------------------------


async def _disk_full(stage: Stage) -> None:
    await _warm_up(stage)
    await stage.fill_up(rounds=2)
    stage.progress(0.35)
    seconds = stage.size or 60.0
    records = stage.store.last_record()
    began = stage.market.time.now()
    stage.say(f"the disk is full for {seconds:g} s")
    stage.disk.full = True
    before = len(stage.witness.first_bytes)
    await stage.keep_signalling(seconds)
    stage.progress(0.6)
    sent = len(stage.witness.first_bytes) - before
    stage.rule("INV-03", "no order without a durable intent", f"{sent} orders on a full disk",
               passed=sent == 0)  # fmt: skip
    stage.disk.full = False
    stage.say("there is room again")
    wrong = await stage.settle()
    trips = stage.witness.tripped("S5", since=began)
    last = stage.store.last_record()
    assert records is not None
    assert last is not None
    stage.rule("S5", "a full disk blocks, and heals by itself",
               wrong or f"{len(trips)} trips; {last.seq - records.seq} records were written late, "
               "none is lost", passed=bool(trips) and not wrong)  # fmt: skip
    stage.progress(0.8)
    await _works_again(stage, "after the disk had room")


# -- stop ------------------------------------------------------------------------------------------


async def _stop(stage: Stage) -> None:
    await _warm_up(stage)
    await stage.fill_up()
    stage.progress(0.4)
    held = stage.open_trades()
    began = stage.market.time.now()
    stage.say("an emergency stop is raised, with signals on their way")
    for name in stage.maker.instruments:
        await stage.signal(name, Side.BUY)
    asked_ns = machine_ns()
    receipt = await stage.system.desk.emergency_stop(WHO, "a drill", liquidate=True)
    if isinstance(receipt, Refused):
        stage.rule("5.1", "the stop is taken", receipt.detail, passed=False)
        return
    took_ms = (stage.gate.closed_at_ns - asked_ns) / 1e6
    stage.figure("stop: asked → gate closed, here", f"{took_ms:.2f} ms", f"{_STOP_MS} ms",
                 passed=took_ms <= _STOP_MS)  # fmt: skip
    await _until_flat(stage)
    flat_s = (stage.market.time.now() - began) / NS_PER_S
    stage.figure("stop: all positions closed", f"{flat_s:.1f} s for {held} trades", "5 s",
                 passed=stage.open_trades() == 0 and flat_s <= _FLAT_S)  # fmt: skip
    await stage.keep_signalling(30.0)
    stage.progress(0.6)
    stage.say("the service is killed while it is stopped, and starts again")
    await stage.kill()
    await stage.start()
    await stage.keep_signalling(30.0)
    again = stage.system.desk.stop_receipt()
    stage.rule("INV-07", "the stop survives a kill", "still stopped" if again else "NOT STOPPED",
               passed=again is not None and again.stop_id == receipt.stop_id)  # fmt: skip
    stage.progress(0.75)
    answer = await stage.system.desk.resume(WHO, receipt.stop_id, "the drill goes on")
    resumed = not isinstance(answer, Refused)
    if resumed:
        answer = await stage.system.desk.start(WHO, "the drill goes on")
    text = answer.detail if isinstance(answer, Refused) else "resumed and started by a person"
    stage.rule("5.9", "only a person resumes", text, passed=resumed)


async def _until_flat(stage: Stage) -> None:
    for _ in range(100):
        if stage.open_trades() == 0:
            return
        await stage.wait(0.1)


STORIES: Mapping[str, Story] = {
    "flash-crash": Story(
        about="All prices fall hard within half a minute and come half-way back.",
        play=_flash_crash, size=3.0, size_is="percent of the fall",
    ),
    "broker-outage": Story(
        about="The broker is gone for minutes, with positions open.",
        play=_broker_outage, size=3.0, size_is="minutes of the outage",
    ),
    "slow-broker": Story(
        about="Answers take longer than anybody waits: orders of unknown fate.",
        play=_slow_broker, size=6.0, size_is="seconds that an answer takes",
    ),
    "weekend-gap": Story(
        about="Positions are held over a weekend, and the market opens lower.",
        play=_weekend_gap, starts_ns=FRIDAY, size=0.2, size_is="percent of the gap",
    ),
    "runaway-strategy": Story(
        about="A strategy sends signals without end.",
        play=_runaway_strategy, size=20, size_is="signals each second",
    ),
    "disk-full": Story(
        about="The disk under the journal is full for a minute.",
        play=_disk_full, size=60, size_is="seconds that it is full",
    ),
    "stop": Story(
        about="An emergency stop with everything open, a kill while stopped, and a resume.",
        play=_stop,
    ),
}  # fmt: skip
