"""Which breakers are tripped: the durable board, and what it blocks and scales."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

import msgspec

from orchestrator.kernel.safety.breakers import TABLE
from orchestrator.model.facts import BreakerMoved, BreakerReset, BreakerTripped
from orchestrator.model.money import AccountId, InstrumentName
from orchestrator.model.safety import BreakerState, BreakerView, Effect, Scope
from orchestrator.model.time import Instant

SYSTEM = "system"
ONE = Decimal(1)


class Trip(msgspec.Struct):
    """A breaker that is not armed. `actor` "kernel", or the person who tripped it."""

    breaker: str
    scope: Scope
    subject: str
    effect: Effect
    evidence: str
    since_ns: Instant
    until_ns: Instant | None
    latched: bool
    scale: Decimal | None
    actor: str
    cooldown_s: int = 0
    probing: bool = False
    probes: int = 0  # orders that the venue has answered since it began to probe

    @property
    def by_hand(self) -> bool:
        return self.actor != "kernel"

    @property
    def blocks(self) -> bool:
        """Whether it refuses all new risk; probing lets one small order at a time through."""
        return self.effect is not Effect.SCALE and not self.probing

    @property
    def state(self) -> BreakerState:
        if self.probing:
            return BreakerState.PROBING
        return BreakerState.LATCHED if self.latched else BreakerState.TRIPPED


class Board(msgspec.Struct):
    """All trips by key. Changed only by the methods that apply facts."""

    trips: dict[str, Trip] = {}

    def get(self, breaker: str, subject: str = SYSTEM) -> Trip | None:
        return self.trips.get(key_of(breaker, subject))

    def in_scope(
        self, account_id: AccountId | None, instrument: InstrumentName | None
    ) -> Iterator[Trip]:
        for trip in self.trips.values():
            if (
                trip.scope is Scope.SYSTEM
                or (trip.scope is Scope.ACCOUNT and trip.subject == account_id)
                or (trip.scope is Scope.INSTRUMENT and trip.subject == instrument)
            ):
                yield trip

    def blocks(
        self, account_id: AccountId | None, instrument: InstrumentName | None
    ) -> tuple[str, ...]:
        """Texts of the breakers that refuse new risk there; empty: none does."""
        return tuple(
            f"{trip.breaker} {TABLE[trip.breaker].name}: {trip.evidence}"
            for trip in self.in_scope(account_id, instrument)
            if trip.blocks
        )

    def scale(self, account_id: AccountId, instrument: InstrumentName | None) -> Decimal:
        """The product of all scales in scope, 0 < s <= 1; several that probe count as one."""
        scale = probing = ONE
        for trip in self.in_scope(account_id, instrument):
            if trip.scale is None or trip.blocks:
                continue
            if trip.probing:
                probing = min(probing, trip.scale)
            else:
                scale *= trip.scale
        return scale * probing

    def trip(self, fact: BreakerTripped, at: Instant) -> None:
        self.trips[key_of(fact.breaker, fact.subject)] = Trip(
            breaker=fact.breaker, scope=fact.scope, subject=fact.subject, effect=fact.effect,
            evidence=fact.evidence, since_ns=at, until_ns=fact.until_ns, latched=fact.latched,
            scale=fact.scale, actor=fact.actor, cooldown_s=fact.cooldown_s,
        )  # fmt: skip

    def move(self, fact: BreakerMoved) -> None:
        """It probes from now on, or waits anew; nothing for a breaker that is not tripped."""
        trip = self.get(fact.breaker, fact.subject)
        if trip is not None:
            trip.probing, trip.probes = fact.state is BreakerState.PROBING, 0
            trip.until_ns, trip.scale = fact.until_ns, fact.scale

    def probed(self, account_id: AccountId, instrument: InstrumentName) -> None:
        """The venue has answered an order there: one probe more."""
        for trip in self.in_scope(account_id, instrument):
            if trip.probing:
                trip.probes += 1

    def reset(self, fact: BreakerReset) -> None:
        self.trips.pop(key_of(fact.breaker, fact.subject), None)

    def views(
        self, accounts: tuple[AccountId, ...], instruments: tuple[InstrumentName, ...]
    ) -> tuple[BreakerView, ...]:
        """Every breaker of the table for every subject, armed ones too."""
        subjects: dict[Scope, tuple[str, ...]] = {
            Scope.SYSTEM: (SYSTEM,), Scope.ACCOUNT: accounts, Scope.INSTRUMENT: instruments,
        }  # fmt: skip
        seen = [
            self._view(breaker, row.scope, subject)
            for breaker, row in TABLE.items()
            for subject in subjects[row.scope]
        ]
        known = {(view.breaker, view.subject) for view in seen}
        seen.extend(
            self._view(trip.breaker, trip.scope, trip.subject)
            for trip in self.trips.values()
            if (trip.breaker, trip.subject) not in known
        )
        return tuple(seen)

    def _view(self, breaker: str, scope: Scope, subject: str) -> BreakerView:
        row, trip = TABLE[breaker], self.get(breaker, subject)
        if trip is None:
            return BreakerView(
                breaker=breaker, name=row.name, scope=scope, subject=subject,
                state=BreakerState.ARMED, effect=row.effect, reset=row.reset, who=row.who,
            )  # fmt: skip
        return BreakerView(
            breaker=breaker, name=row.name, scope=trip.scope, subject=subject, state=trip.state,
            effect=trip.effect, reset="manual" if trip.latched else row.reset,
            who=row.who or ("operator" if trip.by_hand else ""),
            since_ns=trip.since_ns, until_ns=trip.until_ns, evidence=trip.evidence,
        )  # fmt: skip


def key_of(breaker: str, subject: str) -> str:
    return f"{breaker}:{subject}"
