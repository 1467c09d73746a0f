"""What the venue has told the life that runs, kept beside it: nobody may act on more than this."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from orchestrator.model.conversion import BidAsk
from orchestrator.model.market import StreamBeat, StreamUp, Tick
from orchestrator.model.money import AccountId, InstrumentName
from orchestrator.model.ports import StreamItem
from orchestrator.model.time import Instant
from orchestrator.paper.market import Market

_KEPT = 64  # published ticks of an instrument that may still be on the line
_PAST = 1_000  # told ticks that something which waits now may have been checked with
QuotesThen = dict[InstrumentName, BidAsk]


class Knowledge:
    """Of one life; `begin` forgets all, as a new process does. Spoilt ticks are no knowledge."""

    def __init__(self, market: Market) -> None:
        self._market = market
        self._true: dict[InstrumentName, deque[Tick]] = {}
        self._heard: dict[InstrumentName, tuple[Instant, Tick]] = {}
        self._past: deque[tuple[Instant, QuotesThen]] = deque(maxlen=_PAST)
        self._accounts: dict[AccountId, Instant] = {}
        self._prices_ns: Instant = 0
        self.begun_ns: Instant = 0
        market.listen(self._published)

    def begin(self) -> None:
        """A new life knows nothing yet."""
        self._heard.clear()
        self._past.clear()
        self._accounts.clear()
        self._prices_ns = 0
        self.begun_ns = self._market.time.now()

    def _published(self, ticks: Sequence[Tick]) -> None:
        for tick in ticks:
            self._true.setdefault(tick.instrument, deque(maxlen=_KEPT)).append(tick)

    # -- being told -------------------------------------------------------------------------------

    def stream(self, account_id: AccountId, name: str, items: Sequence[StreamItem]) -> list[Tick]:
        """These items are given to the service now; the ticks among them that are true."""
        now, ticks = self._market.time.now(), list[Tick]()
        for item in items:
            if isinstance(item, Tick):
                self._prices_ns = now
                if item in self._true.get(item.instrument, ()) and self._is_news(item):
                    self._heard[item.instrument] = (now, item)
                    self._past.append((now, self.quotes()))
                    ticks.append(item)
            elif name == "prices" and isinstance(item, (StreamBeat, StreamUp)):
                self._prices_ns = now
            elif name == "transactions":
                self.account(account_id)
        return ticks

    def _is_news(self, tick: Tick) -> bool:
        """A price that comes after a later one (a line that was held up) says nothing of now."""
        heard = self._heard.get(tick.instrument)
        return heard is None or tick.venue_ns >= heard[1].venue_ns

    def account(self, account_id: AccountId) -> None:
        """The venue has said something about this account."""
        self._accounts[account_id] = self._market.time.now()

    # -- being asked ------------------------------------------------------------------------------

    def quotes(self) -> QuotesThen:
        """The last true bid and ask of each instrument, as they are known now."""
        return {name: (tick.bid, tick.ask) for name, (_, tick) in self._heard.items()}

    def quotes_at(self, at: Instant) -> list[QuotesThen]:
        """As they may have been known then: after a freeze many are told at one instant."""
        if at >= self._market.time.now():
            return [self.quotes()]
        found: list[QuotesThen] = []
        for told_ns, quotes in reversed(self._past):
            if told_ns <= at:
                found.append(quotes)
            if told_ns < at:
                break
        return found or [self.quotes()]

    def tick_age_ns(self, name: InstrumentName, at: Instant) -> int | None:
        """Since the last true tick; None when there was none."""
        heard = self._heard.get(name)
        return None if heard is None else at - heard[0]

    def stream_age_ns(self, at: Instant) -> int | None:
        """Since the price stream's last sign of life; None when there was none."""
        return at - self._prices_ns if self._prices_ns else None

    def account_age_ns(self, account_id: AccountId, at: Instant) -> int | None:
        """Since the venue's last word on an account; None when there was none."""
        heard_ns = self._accounts.get(account_id)
        return None if heard_ns is None else at - heard_ns
