"""The venue of a service: OANDA itself, or our paper venue as a process of its own."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import structlog

from orchestrator.adapters.oanda.client import OandaVenue
from orchestrator.model.errors import VenueError, VenueUnreachable
from orchestrator.model.money import AccountId
from orchestrator.model.ports import VenueClock
from orchestrator.model.time import Instant
from orchestrator.paper.instruments import REFERENCE_MIDS, USUAL
from orchestrator.service.children import ChildFailed, PaperProcess
from orchestrator.service.seams import FollowingClock, SystemClock, dice, mono_ns, new_token
from orchestrator.settings import Settings

log = structlog.get_logger()

_FOLLOW_S = 2.0
_FOLLOW_QUICK_S = (0.02, 0.25)
_WATCH_S = 0.5


class Replay(msgspec.Struct, frozen=True, kw_only=True):
    """Recorded ticks to drive the paper venue; `speed` market seconds per second."""

    files: tuple[Path, ...]
    speed: float


class Connection:
    """A venue and the clock that belongs to it. `paper` is the child process, where we own one."""

    def __init__(self, venue: OandaVenue, clock: SystemClock | FollowingClock,
                 paper: PaperProcess | None, told: VenueClock | None) -> None:  # fmt: skip
        self.venue = venue
        self.clock = clock
        self.paper = paper
        self.told = told
        self.finished = asyncio.Event()
        self.replays = False
        self.renews = False  # its tokens come from the settings, which may be read anew
        self.ask_again: Callable[[], None] = _nobody

    @property
    def calendar(self) -> str:
        return "fx" if self.told is None else self.told.calendar

    def renew(self, _: AccountId) -> None:
        """The account's token is refused (A10): new ones are asked for, and used when they come."""
        if self.renews:
            self.ask_again()

    def use_token(self, account_id: str, token: str) -> None:
        """From the next request on; what can be no token changes nothing."""
        if not self.renews:
            return
        try:
            self.venue.use_token(AccountId(account_id), token)
        except ValueError as exc:
            log.error("secret.unusable", account=account_id, reason=str(exc))  # noqa: TRY400

    async def follow_clock(self) -> None:
        """Runs until cancelled: market time is the venue's."""
        clock = self.clock
        if not isinstance(clock, FollowingClock):
            return
        while True:
            # A held market begins to run at any moment; a quick one drifts quickly.
            await clock.sleep(_FOLLOW_S if clock.speed == 1 else _FOLLOW_QUICK_S[clock.speed > 0])
            try:
                told = await self.venue.clock()
            except VenueError as exc:
                log.debug("clock.unread", reason=str(exc))
                continue
            if told is not None:
                clock.follow(told)
                self.told = told
                if told.finished:
                    self.finished.set()

    async def keep_paper_alive(self) -> None:
        """Runs until cancelled: a paper venue that died comes back on its port, with its books."""
        while self.paper is not None:
            await self.clock.sleep(_WATCH_S)
            if not self.paper.alive:
                if self.replays:
                    words = self.paper.last_words()
                    raise ChildFailed(f"the paper venue ended within the replay: {words}")
                log.error("paper.died", port=self.paper.port)
                await self.paper.start(port=self.paper.port)

    async def close(self) -> None:
        await self.venue.close()
        if self.paper is not None:
            await self.paper.stop()


def _nobody() -> None:
    """There are no other secrets than those of the start."""


def paper_arguments(settings: Settings, folder: Path, replay: Replay | None) -> list[str]:
    """The paper venue's command line out of the settings."""
    words = ["--hours", settings.paper_market_hours if replay is None else "fx", "--control",
             "--seed", str(settings.seed), "--state", str(folder / "paper-state"),
             "--log", str(folder / "paper-requests.log")]  # fmt: skip
    for account in settings.paper_accounts:
        words += ["--account", f"{account.account_id}:{account.currency}:{account.balance}"]
    if replay is None and settings.paper_feed == "live":
        words += ["--feed", "live", "--source", settings.paper_source]
        words += ["--instruments", ",".join(settings.instruments)]
        account = settings.paper_source_account
        words += ["--source-account", account] if account is not None else []
    elif replay is None:
        words += ["--feed", "synthetic"]
        # One that the venue does not know is told by the setting's name, like at OANDA's.
        known = (name for name in settings.instruments if name in REFERENCE_MIDS)
        names = dict.fromkeys((*USUAL, *known))
        words += ["--instruments", ",".join(names)] if len(names) > len(USUAL) else []
    else:
        first, *others = (str(file.resolve()) for file in replay.files)
        words += ["--feed", f"replay:{first}", *others]
        words += ["--speed", f"{replay.speed:g}", "--hold"]
    return words


async def connect(settings: Settings, replay: Replay | None) -> Connection:
    """ChildFailed when the paper venue does not come up; nothing is sent to a real venue yet."""
    folder = settings.state_dir.resolve()  # it tells our venue from any other
    if settings.on_paper and settings.base_url is None:
        paper = await _paper(settings, folder, replay)
        url = f"http://127.0.0.1:{paper.port}"
        met = await _meet(settings, url, url, lambda _: paper.token, paper)
        met.replays = replay is not None
        return met
    base, stream = settings.base_url, settings.stream_url
    if base is None or stream is None:
        raise ValueError("no address of the venue")
    met = await _meet(settings, base, stream, _token_source(settings), None)
    met.renews = True
    return met


async def look_at(settings: Settings) -> Connection:
    """For reading beside a service: starts no paper venue, and ends none. VenueUnreachable."""
    if not (settings.on_paper and settings.base_url is None):
        return await connect(settings, None)
    folder = settings.state_dir.resolve()
    paper = _process(settings, folder, None)
    if not paper.find():
        raise VenueUnreachable("the embedded paper venue does not run; start the service first")
    url = f"http://127.0.0.1:{paper.port}"
    return await _meet(settings, url, url, lambda _: paper.token, None)


def _token_source(settings: Settings) -> Callable[[str], str]:
    def token_of(account_id: str) -> str:
        secret = settings.token_of(account_id)
        return "" if secret is None else secret.get_secret_value()

    return token_of


async def _paper(settings: Settings, folder: Path, replay: Replay | None) -> PaperProcess:
    paper = _process(settings, folder, replay)
    if not paper.find():
        await paper.start(port=settings.paper_port)
    return paper


def _process(settings: Settings, folder: Path, replay: Replay | None) -> PaperProcess:
    """The paper venue with the settings' words; with a client of its own where prices are live."""
    arguments = paper_arguments(settings, folder, replay)
    fingerprint = hashlib.sha256("\0".join(arguments).encode()).hexdigest()
    live = settings.paper_feed == "live" and replay is None
    if not live or settings.oanda_api_key is None:
        return PaperProcess(folder, arguments, new_token(), fingerprint)
    secrets = {"PAPER_SOURCE_TOKEN": settings.oanda_api_key.get_secret_value()}
    return PaperProcess(
        folder, arguments, new_token(), fingerprint, module="orchestrator.main.paper",
        secrets=secrets,
    )  # fmt: skip


async def _meet(
    settings: Settings, base: str, stream: str, token_of: Callable[[str], str],
    paper: PaperProcess | None,
) -> Connection:  # fmt: skip
    system_clock = SystemClock()
    clocks: list[SystemClock | FollowingClock] = [system_clock]

    def now() -> Instant:
        return clocks[0].now()

    venue = OandaVenue(
        accounts=_ids(settings.account_ids),
        token={a: token_of(a) for a in _ids(settings.account_ids)},
        rest_url=base, stream_url=stream, now=now, mono=mono_ns,
        dice=dice(settings.seed).random,
        ca_file=None if settings.oanda_cacert is None else str(settings.oanda_cacert),
    )  # fmt: skip
    told = await venue.clock() if settings.on_paper else None
    if told is not None:
        clocks[0] = FollowingClock(told)
    return Connection(venue, clocks[0], paper, told)


def _ids(names: Sequence[str]) -> tuple[AccountId, ...]:
    return tuple(AccountId(name) for name in names)
