"""The paper venue as a program: flags in, a listening server out."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import NoReturn

import msgspec

from orchestrator.model.errors import FeedError
from orchestrator.model.money import AccountId, Currency
from orchestrator.model.time import format_time
from orchestrator.paper.clock import VenueTime
from orchestrator.paper.exchange.config import AccountConfig
from orchestrator.paper.feeds.base import Feed
from orchestrator.paper.feeds.manual import ManualFeed
from orchestrator.paper.feeds.replay import ReplayFeed
from orchestrator.paper.feeds.synthetic import SyntheticFeed
from orchestrator.paper.instruments import SPECS
from orchestrator.paper.market import Market
from orchestrator.paper.server import Connection, Server, WriteLog
from orchestrator.paper.state import StateFile

EXAMPLE = "101-001-1000001-001:USD:100000"


class PaperConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that the venue is started with. `feed`: synthetic, manual, or replay files."""

    token: str
    accounts: tuple[AccountConfig, ...]
    host: str = "127.0.0.1"
    port: int = 8101
    feed: str = "synthetic"
    files: tuple[Path, ...] = ()
    speed: float = 1.0
    seed: int = 1
    hours: str = "always"
    control: bool = False
    hold: bool = False
    state: Path | None = None
    log: Path | None = None
    port_file: Path | None = None


class FlagError(ValueError):
    """A flag that cannot be used; the text names it."""


def parse_account(text: str) -> AccountConfig:
    """ID:CURRENCY:BALANCE[:hedging]; FlagError says what is wrong."""
    parts = text.split(":")
    expected = f"expected ID:CURRENCY:BALANCE[:hedging], for example {EXAMPLE}"
    if len(parts) not in {3, 4} or parts[3:] not in ([], ["hedging"]):
        raise FlagError(f"--account {text!r}: {expected}")
    numbers = parts[0].split("-")
    if len(numbers) != 4 or not all(n.isascii() and n.isdigit() for n in numbers):  # noqa: PLR2004
        raise FlagError(f"--account {text!r}: the id must be four numbers with dashes; {expected}")
    if not (len(parts[1]) == 3 and parts[1].isalpha() and parts[1].isupper()):  # noqa: PLR2004
        raise FlagError(f"--account {text!r}: {parts[1]!r} is not a currency; {expected}")
    try:
        balance = Decimal(parts[2])
    except InvalidOperation:
        balance = Decimal("NaN")
    if not balance.is_finite() or not 0 <= balance < Decimal(10) ** 15:
        raise FlagError(f"--account {text!r}: {parts[2]!r} is not a balance; {expected}")
    return AccountConfig(
        account_id=AccountId(parts[0]),
        currency=Currency(parts[1]),
        balance=balance,
        hedging=len(parts) == 4,  # noqa: PLR2004
    )


def make_feed(config: PaperConfig, wall_ns: int) -> Feed:
    """FeedError when a replay file cannot be read."""
    if config.feed == "manual":
        return ManualFeed(wall_ns, tuple(SPECS))
    if config.feed == "synthetic":
        return SyntheticFeed(wall_ns, config.seed, hours=config.hours)
    return ReplayFeed(config.files)


def make_market(
    config: PaperConfig, feed: Feed, mono: Callable[[], int], mono_start: int | None = None
) -> Market:
    """The market without its accounts: `config.hold` keeps it still until it is listened to."""
    venue_time = VenueTime(
        feed.start_ns, config.speed, mono, held=config.hold, mono_start=mono_start
    )
    calendar = "fx" if config.feed == "replay" or config.hours == "fx" else "always"
    return Market(feed, venue_time, calendar=calendar)


def open_accounts(
    market: Market, configs: Sequence[AccountConfig], state: StateFile | None
) -> None:
    """From the state file where it knows them, else new. FlagError when the two disagree."""
    market.prepare(configs)
    known = state.load() if state is not None else {}
    restored = {
        config.account_id: known[config.account_id]
        for config in configs
        if config.account_id in known
    }
    for config in configs:
        history = restored.get(config.account_id)
        if history is None:
            continue
        created = history.transactions[0].home_currency if history.transactions else None
        if created != config.currency:
            raise FlagError(
                f"--account {config.account_id}: the state file keeps it in {created}, "
                f"not {config.currency}"
            )
        try:
            books = market.exchange.restore(config, history.transactions)
            for note in history.notes.values():
                books.recall(note.order, note.trailing, note.initial)
        except (ValueError, KeyError) as error:
            raise FlagError(f"--state: account {config.account_id}: {error}") from error
    if state is not None:
        market.exchange.listeners.append(state.listen)
    for config in configs:
        if config.account_id not in restored:
            market.exchange.open_account(config, market.time.now())
        if state is not None:
            market.exchange.accounts[config.account_id].on_note = state.listen_note


def write_atomically(path: Path, text: str) -> None:
    """Another process sees the whole text or no file."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name)
    try:
        with os.fdopen(handle, "w") as file:
            file.write(text)
        Path(name).replace(path)
    except OSError:
        Path(name).unlink(missing_ok=True)
        raise


async def serve(config: PaperConfig) -> None:
    """Run until SIGTERM, SIGINT or POST /control/shutdown."""
    loop, stopping = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    state = StateFile(config.state) if config.state is not None else None
    log = WriteLog(config.log) if config.log is not None else None
    try:
        wall_ns, mono_ns = time.time_ns(), time.monotonic_ns()
        feed = make_feed(config, wall_ns)
        # A market of today starts when we did, not when its history was made.
        mono_start = None if config.feed == "replay" else mono_ns
        market = make_market(config, feed, time.monotonic_ns, mono_start)
        open_accounts(market, config.accounts, state)
        server = Server(
            market, config.token, with_control=config.control, log=log,
            stop=lambda: loop.call_later(0.05, stopping.set) and None,
        )  # fmt: skip
        await _listen(config, market, server, stopping)
    finally:
        if state is not None:
            state.close()
        if log is not None:
            log.close()


async def _listen(
    config: PaperConfig, market: Market, server: Server, stopping: asyncio.Event
) -> None:
    loop = asyncio.get_running_loop()
    listening = await loop.create_server(
        lambda: Connection(server), config.host, config.port, backlog=512
    )
    port = int(listening.sockets[0].getsockname()[1])
    if config.port_file is not None:
        write_atomically(config.port_file, f"{port}\n")
    _announce(config, market, port)
    try:
        async with asyncio.TaskGroup() as tasks:
            feed = tasks.create_task(market.run(), name="feed")
            await stopping.wait()
            feed.cancel()
    finally:
        listening.close()
        server.close()


def _announce(config: PaperConfig, market: Market, port: int) -> None:
    names = ", ".join(market.feed.instruments)
    what = f"feed={config.feed} speed={config.speed:g} seed={config.seed}"
    when = f"calendar={market.calendar} market time {format_time(market.time.now())}"
    lines = [f"paper venue: http://{config.host}:{port} {what} {when}", f"instruments: {names}"]
    if market.references:
        quotes = ", ".join(
            f"{name} {tick.bid}/{tick.ask}"
            for name in market.references
            if (tick := market.exchange.quotes.get(name)) is not None
        )
        lines.append(f"constant reference quotes, for conversions only, not recorded: {quotes}")
    sys.stderr.write("\n".join(lines) + "\n")
    sys.stderr.flush()


class _Parser(argparse.ArgumentParser):
    """Errors become FlagError, so that one place prints them."""

    def error(self, message: str) -> NoReturn:
        raise FlagError(message.removeprefix("argument "))


def _parser() -> _Parser:
    parser = _Parser(
        prog="orchestrator paper",
        description="A pretend OANDA v20 venue over real HTTP: REST and streams on one port.",
        epilog=f"Example: --port 8101 --token secret --account {EXAMPLE} --feed synthetic",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--host", default="127.0.0.1", help="address to listen on (default 127.0.0.1)")
    add("--port", default="8101", help="port to listen on, 0 for any free one (default 8101)")
    about = "bearer token that clients must send (or in PAPER_TOKEN, which no one sees in a list)"
    add("--token", default=os.environ.get("PAPER_TOKEN", ""), help=about)
    add(
        "--account",
        action="append",
        default=[],
        metavar="ID:CURRENCY:BALANCE[:hedging]",
        help=f"an account, may be repeated (required), for example {EXAMPLE}",
    )
    add(
        "--feed",
        action="append",
        nargs="+",
        default=[],
        metavar="FEED",
        help="synthetic (default), manual, or replay:FILE [FILE...]; replay may be repeated",
    )
    add("--speed", default="1", help="market seconds per second, or max (default 1)")
    add("--seed", default="1", help="seed of the synthetic market (default 1)")
    add("--hours", default="always", help="always, or fx: the synthetic market keeps FX hours")
    add("--control", action="store_true", help="answer /control/... (clock, prices, shutdown)")
    add("--hold", action="store_true", help="hold market time until the first price stream")
    add("--state", default=None, help="file that keeps all transactions over restarts")
    add("--log", default=None, help="file to which every write request is appended")
    add("--port-file", default=None, help="file into which the chosen port is written")
    return parser


def parse(argv: Sequence[str]) -> PaperConfig:
    """FlagError names the flag that cannot be used. SystemExit 0 for --help."""
    given = _parser().parse_args(argv)
    feed, files = _feed([part for group in given.feed for part in group])
    accounts = tuple(parse_account(text) for text in given.account)
    if not accounts:
        raise FlagError(f"--account is missing; for example --account {EXAMPLE}")
    ids = [account.account_id for account in accounts]
    for one in ids:
        if ids.count(one) > 1:
            raise FlagError(f"--account {one}: given twice")
    if not given.token or not given.token.isascii() or " " in given.token:
        raise FlagError("--token (or PAPER_TOKEN) is missing, or not plain text without spaces")
    if given.hours not in {"always", "fx"}:
        raise FlagError(f"--hours {given.hours!r}: must be always or fx")
    return PaperConfig(
        token=given.token,
        accounts=accounts,
        host=given.host,
        port=_whole("--port", given.port, 0, 65535),
        feed=feed,
        files=files,
        speed=_speed(given.speed),
        seed=_whole("--seed", given.seed, 0, 2**63),
        hours=given.hours,
        control=given.control,
        hold=given.hold,
        state=_file("--state", given.state),
        log=_file("--log", given.log),
        port_file=_file("--port-file", given.port_file),
    )


def _feed(words: list[str]) -> tuple[str, tuple[Path, ...]]:
    if words in ([], ["synthetic"]):
        return "synthetic", ()
    if words == ["manual"]:
        return "manual", ()
    if not words[0].startswith("replay:"):
        raise FlagError(f"--feed {words[0]!r}: must be synthetic, manual or replay:FILE")
    files = tuple(Path(word.removeprefix("replay:")) for word in words)
    for file in files:
        if not file.is_file():
            raise FlagError(f"--feed replay: {file}: no such file")
    return "replay", files


def _whole(flag: str, text: str, low: int, high: int) -> int:
    if not (text.isascii() and text.isdigit()) or not low <= int(text[:20]) <= high:
        raise FlagError(f"{flag} {text!r}: must be a whole number from {low} to {high}")
    return int(text)


def _speed(text: str) -> float:
    if text == "max":
        return 0.0
    try:
        speed = float(text)
    except ValueError:
        speed = 0.0
    if not 0.001 <= speed <= 1_000_000:  # noqa: PLR2004
        raise FlagError(f"--speed {text!r}: must be a number from 0.001 to 1000000, or max")
    return speed


def _file(flag: str, text: str | None) -> Path | None:
    if text is None:
        return None
    path = Path(text)
    if path.is_dir() or not path.absolute().parent.is_dir():
        raise FlagError(f"{flag} {text!r}: must be a file in a folder that exists")
    return path


def run(argv: Sequence[str] | None = None) -> int:
    """The program: 0 after an ordered end, 2 for a bad flag, 1 when it cannot start or go on."""
    try:
        config = parse(sys.argv[1:] if argv is None else argv)
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(serve(config))
    except FlagError as error:
        return _fail(2, error)
    except FeedError as error:
        return _fail(1, error)
    except OSError as error:
        return _fail(1, f"{error} (--host, --port, --state, --log or --port-file)")
    except ExceptionGroup as group:
        feed_error = next((e for e in group.exceptions if isinstance(e, FeedError)), None)
        if feed_error is None:
            raise
        return _fail(1, feed_error)
    return 0


def _fail(code: int, error: Exception | str) -> int:
    sys.stderr.write(f"orchestrator paper: {error}\n")
    return code


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop  # noqa: PLC0415  # not there on every platform
    except ImportError:
        return None
    return uvloop.new_event_loop
