"""Commands of market data: what is stored, and a day or a span of it in a file."""

from __future__ import annotations

import gzip
import re
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from threading import Event as Flag
from typing import Annotated, Generic, TextIO, TypeVar

import msgspec
import typer

from orchestrator.model.time import DAY_NS, NS_PER_MS, Instant, format_time, parse_time
from orchestrator.service.cli import tables
from orchestrator.service.cli.answers import Answer, Exported, Listed, MarketSpan
from orchestrator.service.cli.client import Query, read
from orchestrator.service.cli.session import Session, asks_service
from orchestrator.service.cli.trouble import Refusal, Trouble, WrongUsage

T = TypeVar("T")

_INSTRUMENT = re.compile(r"[A-Z0-9]{2,12}_[A-Z]{3}")
_GRANULARITY = re.compile(r"[A-Z][0-9]{0,2}")
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_BUSY = 429
_BREATH_S = 1.0
_ROWS = 1_000

data_app = typer.Typer(rich_markup_mode="rich", no_args_is_help=True)


class TickRow(Answer, frozen=True, kw_only=True):
    bid: Decimal
    ask: Decimal
    venue_at: str


class CandleRow(Answer, frozen=True, kw_only=True):
    start_at: str
    volume: int
    complete: bool
    bid_o: str
    bid_h: str
    bid_l: str
    bid_c: str
    ask_o: str
    ask_h: str
    ask_l: str
    ask_c: str


@data_app.callback()
def data() -> None:
    """Market data: what is stored, and files of it.

    \b
    Examples:
      orchestrator data info
      orchestrator data export EUR_USD --day 2014-05-08
    """


@data_app.command("info")
@asks_service
def info(session: Session) -> None:
    """What is stored of each instrument: minutes with a price, from the first to the last."""
    session.show(Listed[MarketSpan], session.client.get("/market-data", {"limit": _ROWS}),
                 tables.market_data)  # fmt: skip


@data_app.command("export")
@asks_service
def export(
    session: Session,
    instrument: Annotated[str, typer.Argument(metavar="INSTRUMENT", help="As EUR_USD.")],
    day: Annotated[str, typer.Option("--day", metavar="YYYY-MM-DD", help="The day, UTC.")],
    days: Annotated[
        int, typer.Option("--days", min=1, max=3_660, metavar="N", help="So many days from it on.")
    ] = 1,
    candles: Annotated[
        str | None,
        typer.Option(
            "--candles", metavar="GRANULARITY", help="Candles (M1, H1, D ...), not ticks."
        ),
    ] = None,
    to: Annotated[
        Path, typer.Option("--to", metavar="DIR", file_okay=False, exists=True, help="The folder.")
    ] = Path(),
) -> None:
    """Write stored prices to compressed CSV files.

    Ticks: a file for each day, INSTRUMENT_YYYYMMDD.csv.gz, which `orchestrator run --replay` plays:
    milliseconds since midnight, bid, ask. Candles: one file with a line of names.

    \b
    Examples:
      orchestrator data export EUR_USD --day 2014-05-08
      orchestrator data export EUR_USD --day 2014-05-08 --days 30 --candles M1 --to research
    """
    if not _INSTRUMENT.fullmatch(instrument):
        raise WrongUsage(f"{instrument!r} is no instrument's name, like EUR_USD")
    if candles and not _GRANULARITY.fullmatch(candles):
        raise WrongUsage(f"{candles!r} is no granularity, like M1")
    since = _midnight(day)
    done = (
        [_export_candles(session, instrument, candles, since, since + days * DAY_NS, to)]
        if candles
        else [_export_day(session, instrument, since + n * DAY_NS, to) for n in range(days)]
    )
    answer = msgspec.json.encode(Listed(items=tuple(done)))
    session.show(Listed[Exported], answer, tables.exported)


def _midnight(day: str) -> Instant:
    try:
        if _DATE.fullmatch(day):
            return parse_time(f"{day}T00:00:00Z")
    except ValueError:
        pass
    raise WrongUsage(f"--day {day!r} is no date, like 2014-05-08")


def _export_day(session: Session, instrument: str, since: Instant, to: Path) -> Exported:
    """A replay takes only what a market can have quoted: the rest is left out, and counted."""
    name = f"{instrument}_{format_time(since)[:10].replace('-', '')}.csv.gz"
    kept = left_out = 0
    with _writing(to / name) as file:
        for tick in _all(session, "/ticks", _span(instrument, since, since + DAY_NS), TickRow):
            if not 0 < tick.bid <= tick.ask:
                left_out += 1
                continue
            at_ms = (parse_time(tick.venue_at) - since) // NS_PER_MS
            file.write(f"{at_ms},{tick.bid:f},{tick.ask:f}\n")
            kept += 1
    return Exported(file=str(to / name), rows=kept, left_out=left_out)


def _export_candles(
    session: Session, instrument: str, granularity: str, since: Instant, until: Instant, to: Path
) -> Exported:
    days = "_".join(format_time(at)[:10].replace("-", "") for at in (since, until - 1))
    path = to / f"{instrument}_{granularity}_{days}.csv.gz"
    query = {**_span(instrument, since, until), "granularity": granularity}
    names = CandleRow.__struct_fields__
    rows = 0
    with _writing(path) as file:
        file.write(",".join(names) + "\n")
        for candle in _all(session, "/candles", query, CandleRow):
            file.write(",".join(str(getattr(candle, name)) for name in names) + "\n")
            rows += 1
    return Exported(file=str(path), rows=rows, left_out=0)


def _span(instrument: str, since: Instant, until: Instant) -> dict[str, str | int]:
    return {
        "instrument": instrument, "since": format_time(since), "until": format_time(until),
        "limit": _ROWS,
    }  # fmt: skip


class _Page(msgspec.Struct, Generic[T], frozen=True):
    items: tuple[T, ...]
    next: str | None = None


def _all(session: Session, path: str, query: Query, kind: type[T]) -> Iterator[T]:
    """Page after page; a service that asks for patience is given it."""
    cursor: str | None = ""
    while cursor is not None:
        page = read(_Page[kind], _asked(session, path, {**query, "cursor": cursor}))
        yield from page.items
        cursor = page.next


def _asked(session: Session, path: str, query: Query) -> bytes:
    while True:
        try:
            return session.client.get(path, query)
        except Refusal as refusal:
            if refusal.status != _BUSY:
                raise
            Flag().wait(_BREATH_S)


@contextmanager
def _writing(path: Path) -> Generator[TextIO]:
    """Under its own name only when it is whole; one that is there already is not touched."""
    if path.exists():
        raise Trouble(f"{path} is there already; move it away, or give --to another folder")
    unfinished = path.with_name(f".{path.name}.part")
    try:
        with gzip.open(unfinished, "wt", encoding="ascii", newline="\n") as file:
            yield file
        unfinished.replace(path)
    except OSError as exc:
        raise Trouble(f"{path} cannot be written: {exc.strerror or exc}") from exc
    finally:
        unfinished.unlink(missing_ok=True)
