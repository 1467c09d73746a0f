"""Overrides by the journal alone: what may be set at all, and which limits are in force (B5)."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import TypeVar

import msgspec

from orchestrator.model.facts import Fact, OverrideEnded, OverrideSet, OverrideUsed
from orchestrator.model.journal import Record
from orchestrator.model.limits import AccountLimits, CheckLimits
from orchestrator.model.money import AccountId, InstrumentName
from orchestrator.model.safety import Scope
from orchestrator.model.time import MINUTE_NS, NS_PER_MS, Instant

_LASTS_MAX_NS = 60 * MINUTE_NS
_RECHECK_NS = 500 * NS_PER_MS  # so old may checks be at the first byte (G2)
_NEVER = frozenset(("A1", "A7", "S4", "S5", "S12", "max_daily_loss"))
L = TypeVar("L", AccountLimits, CheckLimits)


class OverrideJudge:
    """Hears every durable record."""

    def __init__(self, blame: Callable[[str, str], None]) -> None:
        self._blame = blame
        self._set: dict[str, OverrideSet] = {}
        self._used: dict[str, list[str]] = {}
        self.standing: set[str] = set()

    def forget(self) -> None:
        """As before the first record."""
        for each in (self._set, self._used, self.standing):
            each.clear()

    def hear(self, record: Record, fact: Fact) -> None:
        match fact:
            case OverrideSet():
                self._set[fact.override_id] = fact
                self.standing.add(fact.override_id)
                self._judge(fact, record.ts)
            case OverrideUsed():
                used = self._used.setdefault(fact.override_id, [])
                used.append(fact.intent_id)
                if len(used) > self._set[fact.override_id].uses_max:
                    self._blame("B5", f"{fact.override_id} was used {len(used)} times")
            case OverrideEnded():
                self.standing.discard(fact.override_id)
            case _:
                pass

    def _judge(self, fact: OverrideSet, at: Instant) -> None:
        if not fact.actor or not fact.reason:
            self._blame("INV-19", f"{fact.override_id} has no actor, or no reason")
        if not fact.loosens:
            return
        ends = fact.until_ns is not None and fact.until_ns <= at + _LASTS_MAX_NS
        if fact.role != "admin" or fact.scope is Scope.SYSTEM or not ends or not fact.uses_max:
            self._blame("B5", f"{fact.override_id} loosens {fact.limit}: {fact}")
        if fact.limit in _NEVER:
            self._blame("B5", f"{fact.override_id} loosens {fact.limit}, which nobody may")

    def in_force(
        self, base: L, account_id: AccountId, instrument: InstrumentName, name: str, now: Instant
    ) -> L:
        """Limits for an order: loosened by what it has used, then tightened by what stands."""
        found: dict[str, Decimal] = {}
        for override_id, fact in self._set.items():
            if fact.limit not in base.__struct_fields__:
                continue
            if fact.loosens:
                used = name in self._used.get(override_id, ())
                if used and (fact.until_ns or 0) + _RECHECK_NS > now:
                    found[fact.limit] = max(fact.value, found.get(fact.limit, fact.value))
        for override_id in self.standing:
            fact = self._set[override_id]
            if fact.loosens or fact.limit not in base.__struct_fields__:
                continue
            if _reaches(fact, account_id, instrument):
                own = found.get(fact.limit, Decimal(getattr(base, fact.limit)))
                found[fact.limit] = min(own, fact.value)
        return msgspec.structs.replace(base, **found) if found else base

    @property
    def any_set(self) -> bool:
        """Whether limits were ever moved."""
        return bool(self._set)

    def look(self, shown: set[str]) -> None:
        """INV-07: what a person has set stands until it ends, over all lives."""
        lost = {each for each in self.standing if not self._set[each].loosens} - shown
        if lost:
            self._blame("INV-07", f"overrides {', '.join(sorted(lost))} stand no more")


def _reaches(fact: OverrideSet, account_id: AccountId, instrument: InstrumentName) -> bool:
    return fact.scope is Scope.SYSTEM or fact.subject in (account_id, instrument)
