"""The synthetic market beside recordings of the real one: `python -m benchmarks.calibration`.

Needs recorded quotes: the folder ../shared/data/oanda, or the one named in ORCHESTRATOR_QUOTES or
by --quotes, with tick/, h1/ and d1/ in it (docs/paper-venue.md, "Recorded prices").
"""

from __future__ import annotations

import argparse
import datetime as dt
import gzip
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from orchestrator.model.money import InstrumentName
from orchestrator.model.time import (
    DAY_NS,
    HOUR_NS,
    MINUTE_NS,
    NS_PER_MS,
    NS_PER_S,
    new_york,
    parse_time,
)
from orchestrator.paper.feeds.assets import ASSETS, legs_of
from orchestrator.paper.feeds.seasons import opening
from orchestrator.paper.feeds.synthetic import SyntheticFeed
from orchestrator.paper.feeds.world import World

Array = NDArray[np.float64]

PAIRS = ("EUR_USD", "NZD_USD")
DAILY = ("EUR_USD", "GBP_USD", "NZD_USD", "EUR_GBP")
_SINCE = 2012  # the years of hours and days that are compared; before them stand 2008 and 2009
_START = "2024-01-08T00:00:00Z"  # a Monday
_TICK_DAYS_FROM = "2024-05-02T00:00:00Z"  # a Thursday, as the recorded ticks begin with one
_PART_S, _PART_STEPS = 300, 30
_FULL_DAY = 20  # hours


class Ticks(NamedTuple):
    """Nanoseconds and pips."""

    at: NDArray[np.int64]
    bid: Array
    ask: Array


class Hours(NamedTuple):
    """Starts of hours (nanoseconds) and the log mid at their ends."""

    at: NDArray[np.int64]
    log: Array


Row = tuple[str, str]  # what, its figure


# --- recorded ------------------------------------------------------------------------------------


def _lines(path: Path) -> list[str]:
    return gzip.decompress(path.read_bytes()).decode().splitlines()


def recorded_bars(path: Path) -> Hours:
    at: list[int] = []
    log: list[float] = []
    for line in _lines(path):
        fields = line.split(",")
        if int(fields[0][:4]) >= _SINCE:
            moment = dt.datetime.strptime(fields[0], "%Y%m%d %H:%M").replace(tzinfo=dt.UTC)
            at.append(round(moment.timestamp()) * NS_PER_S)
            log.append(np.log((float(fields[4]) + float(fields[9])) / 2))
    return Hours(np.array(at), np.array(log))


def recorded_ticks(folder: Path, pair: str) -> list[Ticks]:
    """By file: a day each."""
    found: list[Ticks] = []
    for path in sorted(folder.glob(f"{pair}_*.csv.gz")):
        rows = np.array([line.split(",") for line in _lines(path)], dtype=float)
        midnight = parse_time(f"{path.name[8:12]}-{path.name[12:14]}-{path.name[14:16]}T00:00:00Z")
        at = midnight + rows[:, 0].astype(np.int64) * NS_PER_MS
        found.append(Ticks(at, rows[:, 1] / 1e-4, rows[:, 2] / 1e-4))
    return found


# --- synthetic -----------------------------------------------------------------------------------


def synthetic_hours(seed: int, days: int, pairs: Sequence[str]) -> dict[str, Hours]:
    """The market's own walk, without its ticks."""
    world = World(seed, every_day=False)
    legs = np.zeros((len(pairs), len(ASSETS)))
    for row, pair in enumerate(pairs):
        for place, sign in legs_of(InstrumentName(pair)):
            legs[row, place] = sign
    at_ns, hours, logs = parse_time(_START), [], []
    ends = at_ns + days * DAY_NS
    while at_ns < ends:
        opens_ns = opening(at_ns)
        if opens_ns - at_ns > HOUR_NS:
            world.gap(1.0)
            at_ns = opens_ns - opens_ns % HOUR_NS
        for part in range(HOUR_NS // NS_PER_S // _PART_S):
            world.block(at_ns + part * _PART_S * NS_PER_S, _PART_S, _PART_STEPS)
        hours.append(at_ns)
        logs.append(legs @ world.values)
        at_ns += HOUR_NS
    table = np.array(logs)
    return {pair: Hours(np.array(hours), table[:, row]) for row, pair in enumerate(pairs)}


def synthetic_ticks(seed: int, days: int) -> dict[str, list[Ticks]]:
    """By UTC day, as recordings are kept."""
    start = parse_time(_TICK_DAYS_FROM)
    names = tuple(InstrumentName(pair) for pair in PAIRS)
    feed = SyntheticFeed(start, seed, hours="fx", history_ns=HOUR_NS, instruments=names)
    found: dict[str, list[Ticks]] = {pair: [] for pair in PAIRS}
    for day in range(days):
        rows: dict[str, list[tuple[int, float, float]]] = {pair: [] for pair in PAIRS}
        for minute in range(DAY_NS // MINUTE_NS):
            for tick in feed.due(start + day * DAY_NS + (minute + 1) * MINUTE_NS - 1):
                row = (tick.venue_ns, float(tick.bid) / 1e-4, float(tick.ask) / 1e-4)
                rows[tick.instrument].append(row)
        for pair, told in rows.items():
            if told:
                at, bid, ask = zip(*told, strict=True)
                found[pair].append(Ticks(np.array(at), np.array(bid), np.array(ask)))
    return found


# --- figures -------------------------------------------------------------------------------------


def fourth(moves: Array) -> float:
    """3 for a bell curve."""
    return float((moves**4).mean() / (moves**2).mean() ** 2)


def _next_to_each_other(hours: Hours) -> tuple[Array, NDArray[np.int64]]:
    close = np.diff(hours.at) == HOUR_NS
    return np.diff(hours.log)[close], hours.at[1:][close]


def hour_rows(runs: Sequence[Hours]) -> Iterator[Row]:
    parts = [_next_to_each_other(run) for run in runs]
    moves, at = np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts])
    local = np.array([new_york(int(each))[1] // 3600 for each in at])
    by_hour = np.array([moves[local == hour].std() for hour in range(24)])
    yield "standard deviation of an hour", f"{moves.std() * 100:.3f} %"
    usual = by_hour / moves.std()
    best, least = int(usual.argmax()), int(usual.argmin())
    yield "liveliest hour (New York) against all", f"{usual[best]:.2f} ({best} h)"
    yield "quietest", f"{usual[least]:.2f} ({least} h)"
    yield "fourth moment of hours", f"{fourth(moves):.1f}"
    yield "the same, each hour of the day by itself", f"{fourth(moves / by_hour[local]):.1f}"
    sizes = [np.abs(p[0]) / by_hour[[new_york(int(a))[1] // 3600 for a in p[1]]] for p in parts]
    for lag in (1, 6, 24):
        pairs = [(size[:-lag], size[lag:]) for size in sizes]
        one, other = (np.concatenate(side) for side in zip(*pairs, strict=True))
        told = f"{np.corrcoef(one, other)[0, 1]:.2f}"
        yield f"correlation of an hour's size with the size {lag} h later", told
    gaps = np.concatenate([np.diff(r.log)[np.diff(r.at) > DAY_NS] for r in runs])
    yield "over the weekend, standard deviation", f"{gaps.std() * 100:.2f} %"
    yield "days: log standard deviation of their restlessness", f"{_restlessness(parts):.2f}"


def _restlessness(parts: Sequence[tuple[Array, NDArray[np.int64]]]) -> float:
    logs: list[float] = []
    for moves, at in parts:
        days = at // DAY_NS
        for day in np.unique(days):
            inside = moves[days == day]
            if len(inside) >= _FULL_DAY:
                logs.append(float(np.log(np.sqrt((inside**2).sum()))))
    return float(np.std(logs))


def day_rows(runs: Sequence[Array]) -> Iterator[Row]:
    """`runs`: the log mids of days, for the pairs of DAILY."""
    moves = np.concatenate([np.diff(run, axis=1) for run in runs], axis=1)
    for row, pair in enumerate(DAILY):
        yield f"standard deviation of a day, {pair}", f"{moves[row].std() * 100:.2f} %"
    yield f"fourth moment of days, {DAILY[0]}", f"{fourth(moves[0]):.1f}"
    table = np.corrcoef(moves)
    for one, other in ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3)):
        yield f"correlation of days, {DAILY[one]} and {DAILY[other]}", f"{table[one, other]:.2f}"


def tick_rows(days: Sequence[Ticks]) -> Iterator[Row]:
    waits = np.concatenate([np.diff(day.at) / NS_PER_S for day in days])
    yield "time between prices, median and mean", f"{np.median(waits):.2f} s, {waits.mean():.2f} s"
    some = np.quantile(waits, [0.1, 0.25, 0.75, 0.9, 0.99])
    yield "10, 25, 75, 90, 99 % of them are below", ", ".join(f"{x:.2f}" for x in some) + " s"
    logs = [np.log(np.maximum(np.diff(day.at) / NS_PER_S, 1e-3)) for day in days]
    one, other = (np.concatenate([x[cut] for x in logs]) for cut in (slice(-1), slice(1, None)))
    yield "correlation of a wait's logarithm with the next", f"{np.corrcoef(one, other)[0, 1]:.2f}"
    at = np.concatenate([day.at for day in days])
    spreads = np.concatenate([day.ask - day.bid for day in days])
    told = [new_york(int(each)) for each in at]
    second = np.array([each[1] for each in told])
    sunday = np.array([each[0] == 6 for each in told])
    hours = second // 3600

    def median(chosen: NDArray[np.bool_]) -> str:
        return f"{np.median(spreads[chosen]):.1f}"

    yield "spread 3 to 15 h, median (pips)", median((hours >= 3) & (hours < 15))
    rest = np.quantile(spreads, [0.01, 0.9, 0.99, 0.999])
    yield "1, 90, 99, 99.9 % of spreads are below", ", ".join(f"{x:.1f}" for x in rest)
    yield (
        "spread 17 h (the roll), 18 h, 20 h",
        ", ".join(median((hours == hour) & ~sunday) for hour in (17, 18, 20)),
    )
    yield "Sunday's first quarter of an hour", median(sunday & (second < 17.25 * 3600))
    yield "fourth moment of minutes", f"{fourth(_moves_of(days, 60)):.0f}"
    yield "a day's size from moves of 1 s, 1 min, 15 min", ", ".join(
        f"{_moves_of(days, s).std() * np.sqrt(86_400 / s) * 100:.2f}" for s in (1, 60, 900)
    ) + " %"  # fmt: skip


def _moves_of(days: Sequence[Ticks], seconds: int) -> Array:
    moves: list[Array] = []
    for day in days:
        grid = np.arange(day.at[0], day.at[-1], seconds * NS_PER_S)
        mids = np.log((day.bid + day.ask)[np.searchsorted(day.at, grid, side="right") - 1])
        moves.append(np.diff(mids))
    return np.concatenate(moves)


# --- the tables ----------------------------------------------------------------------------------


def compared(title: str, pairs: Sequence[str], columns: Sequence[Sequence[Row]]) -> str:
    """A table in Markdown. `columns`: recorded and synthetic of the first pair, of the second."""
    kinds = ("recorded", "synthetic")
    heads = [f"{pair} {kind}".strip() for pair in pairs for kind in kinds]
    lines = [f"| {title} | {' | '.join(heads)} |", "|---" * (len(heads) + 1) + "|"]
    lines += [
        f"| {cells[0][0]} | {' | '.join(cell[1] for cell in cells)} |"
        for cells in zip(*columns, strict=True)
    ]
    return "\n".join(lines)


def _daily_closes(hours: dict[str, Hours]) -> Array:
    """At New York's 17:00, as OANDA's daily bars end."""
    at = hours[DAILY[0]].at
    ends = np.array([new_york(int(each))[1] // 3600 == 16 for each in at])
    return np.array([hours[pair].log[ends] for pair in DAILY])


def _recorded_closes(folder: Path) -> Array:
    bars = {pair: recorded_bars(next(folder.glob(f"{pair}_*"))) for pair in DAILY}
    known = [dict(zip(b.at.tolist(), b.log.tolist(), strict=True)) for b in bars.values()]
    common = sorted(set.intersection(*(set(each) for each in known)))
    return np.array([[each[at] for at in common] for each in known])


def tables(quotes: Path, seeds: int, days: int) -> Iterator[str]:
    hours = [synthetic_hours(seed, days, DAILY) for seed in range(1, seeds + 1)]
    columns = [list(day_rows([_recorded_closes(quotes / "d1")])),
               list(day_rows([_daily_closes(run) for run in hours]))]  # fmt: skip
    yield compared(f"days since {_SINCE}", ("",), columns)
    columns = []
    for pair in PAIRS:
        columns.append(list(hour_rows([recorded_bars(next((quotes / "h1").glob(f"{pair}_*")))])))
        columns.append(list(hour_rows([run[pair] for run in hours])))
    yield compared(f"hours since {_SINCE}", PAIRS, columns)
    told = [synthetic_ticks(seed, 9) for seed in range(1, seeds // 2 + 1)]
    columns = []
    for pair in PAIRS:
        columns.append(list(tick_rows(recorded_ticks(quotes / "tick", pair))))
        columns.append(list(tick_rows([day for run in told for day in run[pair]])))
    yield compared("ticks of nine days", PAIRS, columns)


def main() -> int:
    """Exit code 1 when there are no recordings."""
    parser = argparse.ArgumentParser(description=__doc__)
    default = os.environ.get("ORCHESTRATOR_QUOTES", "../shared/data/oanda")
    parser.add_argument("--quotes", type=Path, default=Path(default))
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--days", type=int, default=240)
    given = parser.parse_args()
    if not (given.quotes / "tick").is_dir():
        print(f"{given.quotes}: no recorded quotes here (see --help)", file=sys.stderr)
        return 1
    for table in tables(given.quotes, given.seeds, given.days):
        print(table, end="\n\n", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
