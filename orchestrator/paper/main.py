"""The paper venue as a program: flags in, a listening server out."""

from __future__ import annotations

import asyncio
import os
import signal
import ssl
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

from orchestrator.model.errors import FeedError
from orchestrator.model.money import InstrumentName
from orchestrator.model.time import format_time
from orchestrator.paper.clock import VenueTime
from orchestrator.paper.exchange.config import AccountConfig
from orchestrator.paper.feeds.base import Feed
from orchestrator.paper.feeds.live import Connect, LiveFeed, open_live
from orchestrator.paper.feeds.manual import ManualFeed
from orchestrator.paper.feeds.replay import ReplayFeed
from orchestrator.paper.feeds.synthetic import SyntheticFeed
from orchestrator.paper.flags import FlagError, PaperConfig, parse, parse_account
from orchestrator.paper.instruments import SPECS, spec_of
from orchestrator.paper.market import Market
from orchestrator.paper.server import Connection, Server
from orchestrator.paper.state import StateFile
from orchestrator.paper.write_log import WriteLog

__all__ = ["FlagError", "PaperConfig", "open_accounts", "parse", "parse_account", "run", "serve"]


def make_feed(config: PaperConfig, wall_ns: int) -> Feed:
    """FeedError when a replay file cannot be read."""
    if config.feed == "manual":
        return ManualFeed(wall_ns, tuple(SPECS))
    if config.feed == "synthetic":
        names = _with_conversions(config)
        return SyntheticFeed(wall_ns, config.seed, hours=config.hours, instruments=names)
    return ReplayFeed(config.files)


def _with_conversions(config: PaperConfig) -> tuple[InstrumentName, ...]:
    """The instruments, and the pairs that turn their currencies into the accounts' and back."""
    names = dict.fromkeys(config.instruments)
    currencies = [spec_of(name).quote for name in names]
    for currency in (*currencies, *(account.currency for account in config.accounts)):
        pairs = [InstrumentName(f"{currency}_USD"), InstrumentName(f"USD_{currency}")]
        if not any(pair in names for pair in pairs):
            names |= dict.fromkeys(pair for pair in pairs if pair in SPECS)
    return tuple(names)


def make_market(
    config: PaperConfig, feed: Feed, mono: Callable[[], int], mono_start: int | None = None
) -> Market:
    """The market without its accounts: `config.hold` keeps it still until it is listened to."""
    venue_time = VenueTime(
        feed.start_ns, config.speed, mono, held=config.hold, mono_start=mono_start
    )
    if isinstance(feed, LiveFeed):
        return Market(
            feed, venue_time, calendar=feed.calendar, depth=config.depth, specs=feed.specs
        )
    calendar = "fx" if config.feed == "replay" or config.hours == "fx" else "always"
    return Market(feed, venue_time, calendar=calendar, depth=config.depth)


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


@contextmanager
def _named(flag: str, value: object) -> Generator[None]:
    """What the machine refuses is told with the flag that asked for it."""
    try:
        yield
    except OSError as error:
        raise FeedError(f"{flag} {value}: {error.strerror or error}") from error


def tls_of(config: PaperConfig) -> ssl.SSLContext | None:
    """FlagError when the certificate and the key cannot be used."""
    if config.tls_cert is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(config.tls_cert, config.tls_key, password=_no_password)
    except (ssl.SSLError, OSError) as error:
        what = f"--tls-cert {config.tls_cert} with --tls-key {config.tls_key}"
        raise FlagError(f"{what}: {error.strerror or error}") from error
    return context


def _no_password() -> str:
    """A locked key is an error, not a question at a terminal."""
    return ""


async def _feed_of(config: PaperConfig, wall_ns: int, connect: Connect | None) -> Feed:
    if config.source is None:
        return make_feed(config, wall_ns)
    if connect is None:
        raise FlagError("--feed live: only as `orchestrator paper`")
    return await open_live(
        connect, config.source, config.instruments,
        [account.currency for account in config.accounts],
        named=config.named, wall_ns=time.time_ns, mono=time.monotonic_ns, say=_say,
    )  # fmt: skip


def _end_in_order(stopping: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)


async def serve(config: PaperConfig, connect: Connect | None = None) -> None:
    """Run until SIGTERM, SIGINT or POST /control/shutdown. `connect`: to the source of live prices.

    FeedError when prices cannot be read, FlagError when an account cannot be opened so.
    """
    loop, stopping = asyncio.get_running_loop(), asyncio.Event()
    if config.source is None:
        _end_in_order(stopping)
    with _named("--state", config.state):
        state = StateFile(config.state) if config.state is not None else None
    with _named("--log", config.log):
        log = WriteLog(config.log) if config.log is not None else None
    feed: Feed | None = None
    try:
        wall_ns, mono_ns = time.time_ns(), time.monotonic_ns()
        feed = await _feed_of(config, wall_ns, connect)
        _end_in_order(stopping)  # while a source is waited for, a signal ends us at once
        # A market of today starts when we did, not when its history was made.
        mono_start = mono_ns if config.feed in {"synthetic", "manual"} else None
        market = make_market(config, feed, time.monotonic_ns, mono_start)
        open_accounts(market, config.accounts, state)
        if config.feed == "live" and market.exchange.now_ns > market.time.now():
            lived = format_time(market.exchange.now_ns)
            raise FeedError(
                f"--state: its accounts have lived until {lived}, later than the source"
            )
        market.go_on_from_accounts(catch_up=config.feed != "replay")
        server = Server(
            market, config.token, with_control=config.control, with_limits=config.limits,
            seed=config.seed, log=log,
            stop=lambda: loop.call_later(0.05, stopping.set) and None,
        )  # fmt: skip
        await _listen(config, market, server, stopping)
    finally:
        if isinstance(feed, LiveFeed):
            await feed.reader.close()
        if state is not None:
            state.close()
        if log is not None:
            log.close()


async def _listen(
    config: PaperConfig, market: Market, server: Server, stopping: asyncio.Event
) -> None:
    loop = asyncio.get_running_loop()
    opened: list[asyncio.Server] = []
    try:
        tls = tls_of(config)
        for flag, asked in (("--port", config.port), ("--stream-port", config.stream_port)):
            if asked is not None:
                made = loop.create_server(
                    lambda: Connection(server), config.host, asked, backlog=512, ssl=tls
                )
                with _named(f"--host {config.host} {flag}", asked):
                    opened.append(await made)
        ports = [int(one.sockets[0].getsockname()[1]) for one in opened]
        if config.port_file is not None:
            with _named("--port-file", config.port_file):
                write_atomically(config.port_file, "".join(f"{port}\n" for port in ports))
        _announce(config, market, ports)
        await _until_stopped(market, stopping)
    finally:
        for one in opened:
            one.close()
        server.close()


async def _until_stopped(market: Market, stopping: asyncio.Event) -> None:
    feed = market.feed
    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(market.run(), name="feed")]
        if isinstance(feed, LiveFeed):
            feed.tell(market.publish, market.time.now)
            running.append(tasks.create_task(feed.run(), name="source"))
        await stopping.wait()
        for one in running:
            one.cancel()


def _announce(config: PaperConfig, market: Market, ports: Sequence[int]) -> None:
    names = ", ".join(market.feed.instruments)
    what = f"feed={config.feed} speed={config.speed:g} seed={config.seed}"
    when = f"calendar={market.calendar} market time {format_time(market.time.now())}"
    where = f"{'http' if config.tls_cert is None else 'https'}://{config.host}:{ports[0]}"
    if ports[1:]:
        where += f" (streams also on port {ports[1]})"
    lines = [f"paper venue: {where} {what} {when}", f"instruments: {names}"]
    if market.references:
        quotes = ", ".join(
            f"{name} {tick.bid}/{tick.ask}"
            for name in market.references
            if (tick := market.exchange.quotes.get(name)) is not None
        )
        lines.append(f"constant reference quotes, for conversions only, not recorded: {quotes}")
    sys.stderr.write("\n".join(lines) + "\n")
    sys.stderr.flush()


def _say(text: str) -> None:
    sys.stderr.write(f"paper venue: {text}\n")
    sys.stderr.flush()


def run(argv: Sequence[str] | None = None, connect: Connect | None = None) -> int:
    """The program: 0 after an ordered end, 2 for a bad flag, 1 when it cannot start or go on.

    `connect` reaches the source of live prices; without it `--feed live` is refused.
    """
    try:
        config = parse(sys.argv[1:] if argv is None else argv)
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(serve(config, connect))
    except FlagError as error:
        return _fail(2, error)
    except FeedError as error:
        return _fail(1, _with_flag(error))
    except OSError as error:
        return _fail(1, error)
    except ExceptionGroup as group:
        feed_error = next((e for e in group.exceptions if isinstance(e, FeedError)), None)
        if feed_error is None:
            raise
        return _fail(1, _with_flag(feed_error))
    return 0


def _with_flag(error: FeedError) -> str:
    """The feeds name file and line; the flag that gave the file stands before them."""
    told = str(error)
    return told if told.startswith("--") else f"--feed {told}"


def _fail(code: int, error: Exception | str) -> int:
    sys.stderr.write(f"orchestrator paper: {error}\n")
    return code


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop  # noqa: PLC0415  # not there on every platform
    except ImportError:
        return None
    return uvloop.new_event_loop
