"""What stands by the journal alone, over all lives: breakers, switches, mode, epoch, day values."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import msgspec

from orchestrator.model.facts import (
    AccountSwitched,
    BreakerMoved,
    BreakerReset,
    BreakerTripped,
    DayStarted,
    Fact,
    ModeChanged,
    OperatorActed,
    PeakRaised,
    ProfileTaken,
    Resumed,
    ServiceStarted,
    TransactionApplied,
)
from orchestrator.model.journal import Record
from orchestrator.model.money import ONE, AccountId, InstrumentName
from orchestrator.model.safety import BreakerState, BreakerView, Effect, Scope, SystemMode
from orchestrator.model.time import Instant

Blame = Callable[[str, str], None]

_BY_PERSON_ONLY = frozenset((Effect.FLATTEN, Effect.STOP))
_ALL = "system"
_DAILY = frozenset(("A1", "S1"))


class Trip(msgspec.Struct, frozen=True):
    """A breaker that is not armed, as the journal has it."""

    fact: BreakerTripped
    at_ns: Instant
    day: str  # of the account, or of the one that is furthest, when it tripped
    probing: bool = False

    @property
    def blocks(self) -> bool:
        return self.fact.effect is not Effect.SCALE and not self.probing

    def reaches(self, account_id: AccountId, instrument: InstrumentName) -> bool:
        """Whether an order there is in its scope."""
        names = {Scope.ACCOUNT: account_id, Scope.INSTRUMENT: instrument}
        return self.fact.scope is Scope.SYSTEM or self.fact.subject == names[self.fact.scope]


class Day(msgspec.Struct):
    """E0 and P of an account (SAFETY B4)."""

    day: str = ""
    start: Decimal = Decimal(0)
    peak: Decimal = Decimal(0)
    trails: bool = True  # P is the highest NAV; else as the account's profile says


class Standing:
    """Hears every durable record; blames what may not be written down at all."""

    def __init__(self, blame: Blame) -> None:
        self._blame = blame
        self.forget()

    def forget(self) -> None:
        """As before the first record."""
        self.trips: dict[tuple[str, str], Trip] = {}
        self.tripped_ns: dict[tuple[str, str], Instant] = {}  # when each last tripped
        self.disabled: set[AccountId] = set()
        self.resumed: set[str] = set()  # stops that are over, for ever
        self.days: dict[AccountId, Day] = {}
        self.mode = SystemMode.STARTING
        self.epoch = 0
        self._record_epoch = 0
        self.last_seq = 0

    # -- hearing ----------------------------------------------------------------------------------

    def hear(self, record: Record, fact: Fact) -> None:  # noqa: C901, PLR0912 -- one table
        self._judge_record(record)
        match fact:
            case ServiceStarted():
                self._begin_epoch(fact.epoch)
            case Resumed():
                self._begin_epoch(fact.epoch)
                self._end_stops(fact)
            case ModeChanged():
                self.mode = fact.mode
            case AccountSwitched():
                (self.disabled.discard if fact.enabled else self.disabled.add)(fact.account_id)
            case BreakerTripped():
                key = (fact.breaker, fact.subject)
                self.trips[key] = Trip(fact, record.ts, self._today(fact.subject))
                self.tripped_ns[key] = record.ts
            case BreakerMoved():
                self._on_moved(fact)
            case BreakerReset():
                self._on_reset(fact)
            case DayStarted():
                self._on_day(fact)
            case PeakRaised():
                self._on_peak(fact)
            case ProfileTaken():
                day = self._day_of(fact.account_id)
                day.peak, day.trails = fact.peak, "trailing" in fact.profile.split()
            case TransactionApplied() if fact.transaction.type == "TRANSFER_FUNDS":
                self._shift(fact.account_id, fact.transaction.amount or Decimal(0))
            case OperatorActed() if not fact.actor:
                self._blame("INV-19", f"{fact.action} has no actor")
            case _:
                pass

    def _judge_record(self, record: Record) -> None:
        if record.seq != self.last_seq + 1:
            self._blame("INV-11", f"record {record.seq} was written after {self.last_seq}")
        if record.epoch < self._record_epoch:
            self._blame("INV-13", f"record {record.seq} of epoch {record.epoch} after a later one")
        self.last_seq, self._record_epoch = record.seq, record.epoch

    def _begin_epoch(self, epoch: int) -> None:
        if epoch <= self.epoch:
            self._blame("INV-13", f"epoch {epoch} begins after {self.epoch}")
        self.epoch = epoch

    def _on_moved(self, fact: BreakerMoved) -> None:
        """Probing (B2), or its cool-down begins anew."""
        key = (fact.breaker, fact.subject)
        trip = self.trips.get(key)
        if trip is None:
            self._blame("B2", f"{fact.breaker} of {fact.subject} moved, and was not tripped")
            return
        probing = fact.state is BreakerState.PROBING
        if trip.fact.latched and fact.state is not BreakerState.LATCHED:
            self._blame("INV-07", f"{fact.breaker} of {fact.subject} was latched, and moved")
        moved = msgspec.structs.replace(trip.fact, scale=fact.scale)
        self.trips[key] = Trip(moved, trip.at_ns, trip.day, probing)

    def _on_reset(self, fact: BreakerReset) -> None:
        trip = self.trips.pop((fact.breaker, fact.subject), None)
        if trip is None or fact.actor != "kernel":
            return
        if trip.fact.latched:
            self._blame("INV-07", f"{fact.breaker} of {fact.subject} was latched, nobody reset it")
        same_day = self._today(fact.subject) == trip.day
        if fact.breaker in _DAILY and same_day and trip.fact.effect in _BY_PERSON_ONLY:
            self._blame("INV-07", f"{fact.breaker} of {fact.subject} ended on its own day")

    def _end_stops(self, fact: Resumed) -> None:
        if not fact.actor or fact.actor == "kernel":
            self._blame("INV-07", f"stop {fact.stop_id} was resumed by nobody")
        self.resumed.add(fact.stop_id)

    def _today(self, subject: str) -> str:
        """Days begin where an account is known again, which may be long after 17:00."""
        days = [day.day for account_id, day in self.days.items() if subject in (account_id, _ALL)]
        return max(days, default="")

    def _on_day(self, fact: DayStarted) -> None:
        day = self._day_of(fact.account_id)
        if day.day and fact.day <= day.day:
            self._blame("B4", f"{fact.account_id}: day {fact.day} begins after {day.day}")
        day.day, day.start = fact.day, fact.equity
        if day.trails:
            day.peak = max(day.peak, fact.equity)

    def _on_peak(self, fact: PeakRaised) -> None:
        """P trails the NAV only where the profile says so; else a new day may raise it."""
        day = self._day_of(fact.account_id)
        if not day.trails and fact.peak not in (day.peak, day.start):
            self._blame("B4", f"{fact.account_id}: P goes from {day.peak} to {fact.peak}")
        day.peak = fact.peak

    def _day_of(self, account_id: AccountId) -> Day:
        return self.days.setdefault(account_id, Day())

    def _shift(self, account_id: AccountId, amount: Decimal) -> None:
        day = self.days.get(account_id)
        if day is not None:
            day.start += amount
            day.peak += amount

    # -- being asked ------------------------------------------------------------------------------

    def objections(self, account_id: AccountId, instrument: InstrumentName) -> list[str]:
        """Why nothing may be opened there now."""
        found = [
            f"{trip.fact.breaker} of {trip.fact.subject} blocks"
            for trip in self.trips.values()
            if trip.blocks and trip.reaches(account_id, instrument)
        ]
        if account_id in self.disabled:
            found.append(f"{account_id} is disabled")
        if self.mode not in (SystemMode.RUNNING, SystemMode.DRAINING):
            found.append(f"the system is {self.mode}")
        return found

    def probing(self, account_id: AccountId, instrument: InstrumentName) -> list[Trip]:
        """What lets one order in flight through there."""
        return [t for t in self.trips.values() if t.probing and t.reaches(account_id, instrument)]

    def scale(self, account_id: AccountId, instrument: InstrumentName) -> Decimal:
        """The product of all scales in scope; several that probe count as one."""
        scale = probing = ONE
        for trip in self.trips.values():
            if trip.fact.scale is None or not trip.reaches(account_id, instrument):
                continue
            if trip.probing:
                probing = min(probing, trip.fact.scale)
            elif not trip.blocks:
                scale *= trip.fact.scale
        return scale * probing

    def judge_views(self, views: tuple[BreakerView, ...]) -> None:
        """INV-07: what stands in the journal stands in the kernel, latched where it was latched."""
        shown = {(view.breaker, view.subject): view.state for view in views}
        for (breaker, subject), trip in self.trips.items():
            state = shown.get((breaker, subject), "unknown")
            if state in ("armed", "unknown") and trip.blocks:
                self._blame("INV-07", f"{breaker} of {subject} was tripped, and is {state}")
            elif trip.fact.latched and state != "latched":
                self._blame("INV-07", f"{breaker} of {subject} was latched, and is {state}")
