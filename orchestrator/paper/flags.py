"""The paper venue's flags: read, checked, and each mistake told with the flag's name."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Callable, Sequence
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import NoReturn

import msgspec

from orchestrator.model.money import AccountId, Currency, InstrumentName
from orchestrator.paper.exchange.config import AccountConfig, Commission
from orchestrator.paper.exchange.depth import DEEP, Depth, Level
from orchestrator.paper.feeds.live import Source
from orchestrator.paper.instruments import SPECS, USUAL

EXAMPLE = "101-001-1000001-001:USD:100000"


class PaperConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that the venue is started with. `feed`: synthetic, manual, replay or live."""

    token: str
    accounts: tuple[AccountConfig, ...]
    host: str = "127.0.0.1"
    port: int = 8101
    feed: str = "synthetic"
    files: tuple[Path, ...] = ()
    speed: float = 1.0
    seed: int = 1
    hours: str = "always"
    instruments: tuple[InstrumentName, ...] = USUAL  # synthetic and live; none: all of the source
    named: bool = False  # one by one, so that none of them may be missing
    source: Source | None = None
    control: bool = False
    limits: bool = False
    stream_port: int | None = None
    depth: Depth = DEEP
    hold: bool = False
    state: Path | None = None
    log: Path | None = None
    port_file: Path | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None


class FlagError(ValueError):
    """A flag that cannot be used; the text names it."""


_ACCOUNT = "ID:CURRENCY:BALANCE[:OPTION...]"
_NUMBERS = 4
_LETTERS = 3
_BALANCE_MAX = Decimal(10) ** 14
_MODES = {"daily": "DAILY", "second": "SECOND_BY_SECOND", "none": "NO_FINANCING"}


def parse_account(text: str) -> AccountConfig:
    """ID:CURRENCY:BALANCE[:OPTION...]; FlagError says what is wrong."""
    expected = f"expected {_ACCOUNT}, for example {EXAMPLE}"
    account_id, currency, balance, *options = [*text.split(":"), "", ""]
    if not balance:
        raise FlagError(f"--account {text!r}: {expected}")
    numbers = account_id.split("-")
    if len(numbers) != _NUMBERS or not all(n.isascii() and n.isdigit() for n in numbers):
        raise FlagError(f"--account {text!r}: the id must be four numbers with dashes; {expected}")
    if not (len(currency) == _LETTERS and currency.isalpha() and currency.isupper()):
        raise FlagError(f"--account {text!r}: {currency!r} is not a currency; {expected}")
    amount = _number(balance)
    if amount is None or not 0 <= amount < _BALANCE_MAX:
        raise FlagError(f"--account {text!r}: {balance!r} is not a balance; {expected}")
    config = AccountConfig(
        account_id=AccountId(account_id), currency=Currency(currency), balance=amount
    )
    for option in (each for each in options if each):
        changed = _option(config, option)
        if changed is None:
            raise FlagError(f"--account {text!r}: {option!r} is no option; {_OPTIONS}")
        config = changed
    return config


_OPTIONS = (
    "options are hedging, guaranteed, leverage=N, charge=PERCENT, financing=daily|second|none, "
    "commission=AMOUNT/UNITS[/MINIMUM]"
)


def _option(config: AccountConfig, option: str) -> AccountConfig | None:
    name, _, value = option.partition("=")
    number = _number(value)
    change = msgspec.structs.replace
    match name:
        case "hedging" | "guaranteed" if option == name:
            return change(config, **{name: True})
        case "leverage" if number is not None and 1 <= number <= 1000:  # noqa: PLR2004
            rate = (1 / number).quantize(Decimal("0.00001"))
            return change(config, margin_rate=rate.normalize())
        case "charge" if number is not None and 0 <= number <= 10:  # noqa: PLR2004
            return change(config, conversion_charge=number / 100)
        case "financing" if value in _MODES:
            return change(config, financing=_MODES[value])
        case "commission":
            terms = _commission(value)
            return None if terms is None else change(config, commission=terms)
        case _:
            return None


def _commission(value: str) -> Commission | None:
    numbers = [_number(part) for part in value.split("/")]
    given = [n for n in numbers if n is not None and 0 <= n < _BALANCE_MAX]
    if len(given) != len(numbers) or len(given) not in {2, 3} or not given[1]:
        return None
    minimum = given[2] if len(given) == 3 else Decimal(0)  # noqa: PLR2004
    return Commission(amount=given[0], units_traded=given[1], minimum=minimum)


def _number(text: str) -> Decimal | None:
    try:
        number = Decimal(text)
    except InvalidOperation:
        return None
    return number if number.is_finite() else None


def parse_depth(text: str) -> Depth:
    """UNITS:PIPS,...; FlagError says what is wrong."""
    expected = "expected UNITS:PIPS,... from the best price on, for example 1000000:0,5000000:0.3"
    levels: list[Level] = []
    for part in text.split(","):
        units, _, pips = part.partition(":")
        away = _number(pips)
        if not (units.isascii() and units.isdigit()) or away is None or not 0 <= away <= 1000:  # noqa: PLR2004
            raise FlagError(f"--depth {text!r}: {expected}")
        levels.append(Level(int(units[:12]), away))
    steps = [level.pips for level in levels]
    if steps[0] != 0 or steps != sorted(set(steps)) or not all(level.units for level in levels):
        raise FlagError(f"--depth {text!r}: {expected}")
    return Depth(tuple(levels), limited=True)


class _Parser(argparse.ArgumentParser):
    """Errors become FlagError, so that one place prints them."""

    def error(self, message: str) -> NoReturn:
        raise FlagError(message.removeprefix("argument "))


_EPILOG = f"""\
account options, in any order after the balance:
  hedging                    long and short trades of an instrument side by side
  leverage=N                 1 to 1000; the margin rate is 1/N (default 50)
  charge=PERCENT             conversions at the mid less and plus so much, not at bid and ask
  financing=MODE             daily (default), second (by the second), or none
  commission=AMT/UNITS[/MIN] home money for so many units, of each fill at least MIN
  guaranteed                 guaranteed stops are allowed

examples:
  orchestrator paper --token secret --account {EXAMPLE}
  orchestrator paper --token secret --account {EXAMPLE}:hedging:leverage=30 \\
      --account 101-001-1000001-002:EUR:50000:charge=0.5 --control --limits
  orchestrator paper --token secret --account {EXAMPLE} --speed 60 --hold \\
      --feed replay:EUR_USD_20140508.csv.gz EUR_USD_20140509.csv.gz

Exit code 0 after an ordered end, 2 for a flag that cannot be used, 1 when it cannot start or go on.
More in docs/paper-venue.md.
"""


def _parser() -> _Parser:
    parser = _Parser(
        prog="orchestrator paper",
        description="A venue to practise on: OANDA v20 over real HTTP, REST and streams.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    _who(parser.add_argument_group("who may trade").add_argument)
    _prices(parser.add_argument_group("prices and time").add_argument)
    _where(parser.add_argument_group("where it listens, and how strictly").add_argument)
    _memory(parser.add_argument_group("what it keeps").add_argument)
    return parser


def _who(add: Callable[..., argparse.Action]) -> None:
    about = f"an account, may be repeated (required), for example {EXAMPLE}"
    add("--account", action="append", default=[], metavar=_ACCOUNT, help=about)
    about = "bearer token that clients must send (or in PAPER_TOKEN, which no one sees in a list)"
    add("--token", default=os.environ.get("PAPER_TOKEN", ""), help=about)


def _prices(add: Callable[..., argparse.Action]) -> None:
    about = "synthetic (default), manual, live, or replay:FILE [FILE...]; replay may be repeated"
    add("--feed", action="append", nargs="+", default=[], metavar="FEED", help=about)
    add("--speed", default="1", help="market seconds per second, or max (default 1)")
    about = "seed of the synthetic market, and of the dice of faults (default 1)"
    add("--seed", default="1", help=about)
    add("--hours", default="always", help="always, or fx: the synthetic market keeps FX hours")
    about = f"synthetic and live: usual (default, {len(USUAL)}), all, or NAME,NAME,..."
    add("--instruments", default="usual", help=about)
    about = "of live prices: practice (default), live, or an address; token in PAPER_SOURCE_TOKEN"
    add("--source", default=None, metavar="WHERE", help=about)
    add("--source-stream", default=None, metavar="URL", help="the source's streams' own address")
    about = "account of the source to read with (default: the first that the token may use)"
    add("--source-account", default=None, metavar="ID", help=about)
    about = "what the book offers: UNITS:PIPS,... for each level (default: any size at one price)"
    add("--depth", default=None, help=about)
    add("--hold", action="store_true", help="hold market time until the first price stream")


def _where(add: Callable[..., argparse.Action]) -> None:
    add("--host", default="127.0.0.1", help="address to listen on (default 127.0.0.1)")
    add("--port", default="8101", help="port to listen on, 0 for any free one (default 8101)")
    about = "a second port, with the same answers, for clients that want streams on another one"
    add("--stream-port", default=None, help=about)
    about = "answer over TLS, with this certificate (PEM, its chain behind it)"
    add("--tls-cert", default=None, metavar="FILE", help=about)
    add("--tls-key", default=None, metavar="FILE", help="the private key of --tls-cert (PEM)")
    about = "file into which the chosen port is written, the streams' one on a second line"
    add("--port-file", default=None, help=about)
    about = (
        "answer /control/... too: prices, halts, locks, clock, funds, faults, the venue's own acts"
    )
    add("--control", action="store_true", help=about)
    about = "keep OANDA's limits: 120 requests/s, 20 streams, 2 new connections/s an address"
    add("--limits", action="store_true", help=about)


def _memory(add: Callable[..., argparse.Action]) -> None:
    add("--state", default=None, help="file that keeps all transactions over restarts")
    add("--log", default=None, help="file to which every write request is appended")


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
    if (given.tls_cert is None) != (given.tls_key is None):
        raise FlagError("--tls-cert and --tls-key belong together: one of them is missing")
    if given.hours not in {"always", "fx"}:
        raise FlagError(f"--hours {given.hours!r}: must be always or fx")
    source = _source(given, feed)
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
        instruments=_instruments(given.instruments, feed),
        named=given.instruments not in {"usual", "all"},
        source=source,
        control=given.control,
        limits=given.limits,
        depth=DEEP if given.depth is None else parse_depth(given.depth),
        stream_port=None
        if given.stream_port is None
        else _whole("--stream-port", given.stream_port, 0, 65535),
        hold=given.hold,
        state=_file("--state", given.state),
        log=_file("--log", given.log),
        tls_cert=_there("--tls-cert", given.tls_cert),
        tls_key=_there("--tls-key", given.tls_key),
        port_file=_file("--port-file", given.port_file),
    )


def _feed(words: list[str]) -> tuple[str, tuple[Path, ...]]:
    if words in ([], ["synthetic"]):
        return "synthetic", ()
    if words in (["manual"], ["live"]):
        return words[0], ()
    if not words[0].startswith("replay:"):
        raise FlagError(f"--feed {words[0]!r}: must be synthetic, manual, live or replay:FILE")
    files = tuple(Path(word.removeprefix("replay:")) for word in words)
    for file in files:
        if not file.is_file():
            raise FlagError(f"--feed replay: {file}: no such file")
    return "replay", files


def _source(given: argparse.Namespace, feed: str) -> Source | None:
    """The token comes from the environment alone: a command line is everybody's to read."""
    if feed != "live":
        for flag in ("source", "source_stream", "source_account"):
            if getattr(given, flag) is not None:
                raise FlagError(f"--{flag.replace('_', '-')}: only with --feed live")
        return None
    if given.speed != "1" or given.hold:
        raise FlagError("--feed live: runs at the market's own pace, without --speed and --hold")
    token = os.environ.get("PAPER_SOURCE_TOKEN") or os.environ.get("OANDA_API_KEY") or ""
    if not token or not token.isascii() or any(c.isspace() for c in token):
        raise FlagError(
            "--feed live: the token of the source is missing, or not plain text without spaces; "
            "put it into PAPER_SOURCE_TOKEN (or OANDA_API_KEY)"
        )
    return Source(
        where=given.source or "practice",
        token=token,
        stream=given.source_stream or "",
        account=given.source_account or "",
    )


_NAME = re.compile(r"[A-Z0-9]{2,12}_[A-Z0-9]{2,12}")


def _instruments(text: str, feed: str) -> tuple[InstrumentName, ...]:
    if text in {"usual", "all"}:
        everything = () if feed == "live" else tuple(SPECS)
        return USUAL if text == "usual" else everything
    if feed not in {"synthetic", "live"}:
        raise FlagError("--instruments: only with --feed synthetic or live")
    names = tuple(InstrumentName(name) for name in text.split(","))
    for name in names:
        if _NAME.fullmatch(name) is None:
            raise FlagError(f"--instruments: {name!r} is no instrument, for example EUR_USD")
        if feed == "synthetic" and name not in SPECS:
            known = ", ".join(SPECS)
            raise FlagError(f"--instruments: {name!r} is not known; usual, all, or some of {known}")
        if names.count(name) > 1:
            raise FlagError(f"--instruments: {name} is named twice")
    return names


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


def _there(flag: str, text: str | None) -> Path | None:
    if text is None:
        return None
    if not Path(text).is_file():
        raise FlagError(f"{flag} {text!r}: no such file")
    return Path(text)


def _file(flag: str, text: str | None) -> Path | None:
    if text is None:
        return None
    path = Path(text)
    if path.is_dir() or not path.absolute().parent.is_dir():
        raise FlagError(f"{flag} {text!r}: must be a file in a folder that exists")
    return path
