"""One step of the kernel: what it may read, what it says, what it asks to be done."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from orchestrator.kernel.engine.applying import apply_fact
from orchestrator.kernel.engine.live import Live
from orchestrator.kernel.engine.state import AccountRecord, State
from orchestrator.kernel.ledger.book import Changes
from orchestrator.kernel.safety.board import SYSTEM
from orchestrator.kernel.safety.breakers import TABLE
from orchestrator.kernel.safety.covariance import Covariance
from orchestrator.kernel.safety.exposure import Exposed
from orchestrator.kernel.safety.overrides import moved
from orchestrator.model.acts import Act, SendAlert
from orchestrator.model.facts import (
    AlertRaised,
    BreakerReset,
    BreakerTripped,
    ChecksDecided,
    Fact,
    SignalAccepted,
    SignalEnded,
    StageDecided,
)
from orchestrator.model.limits import AccountLimits, AccountPlan, CheckLimits, KernelPlan
from orchestrator.model.money import AccountId, Currency, InstrumentName
from orchestrator.model.safety import Alert, Effect, Scope, Severity
from orchestrator.model.signals import AccountView
from orchestrator.model.time import NS_PER_S, Instant, seconds

# Facts of a signal's path that change nothing of an account; any other makes views stale.
_SHOWN_IN_NO_VIEW = frozenset((SignalAccepted, StageDecided, ChecksDecided, SignalEnded))

_QUARTER = Decimal("0.25")


class InForce(msgspec.Struct, frozen=True):
    """The numbers by which an account's orders on an instrument are judged."""

    limits: AccountLimits
    total: AccountLimits
    checks: CheckLimits


class World:
    """The plan, what is remembered, what is seen."""

    def __init__(self, plan: KernelPlan, state: State) -> None:
        self.plan = plan
        self.state = state
        reporting = Currency(plan.reporting_currency)
        self.live = Live(Covariance(plan.instruments, reporting))
        # Account views made for questions, as long as nothing that they show has changed: the
        # stages of one signal are asked about the same account at the same moment.
        self.now_ns: Instant = 0  # of the step under way
        self.views: dict[tuple[object, ...], AccountView | None] = {}
        # Exposures by account and the intent left out, as long as views are good.
        self.sums: dict[tuple[AccountId, str], Exposed | None] = {}
        self.plans: dict[AccountId, AccountPlan] = {a.account_id: a for a in plan.accounts}
        self.account_ids: tuple[AccountId, ...] = tuple(self.plans)
        self.outage_ns: Instant = seconds(plan.breakers.warm_outage_s)  # T4: longer is an outage
        self.instruments: frozenset[InstrumentName] = frozenset(plan.instruments)

    def forget(self) -> None:
        """What was worked out of prices and books that have moved since."""
        self.views.clear()
        self.sums.clear()

    def enabled(self, account_id: AccountId) -> bool:
        """A person's switch decides over the settings."""
        plan, record = self.plans.get(account_id), self.state.accounts.get(account_id)
        if plan is None or record is None:
            return False
        return plan.enabled if record.enabled is None else record.enabled

    def limits(
        self, account_id: AccountId, instrument: InstrumentName | None = None
    ) -> AccountLimits:
        """In force now, overrides included; for an account that is not configured the totals'."""
        return self.in_force(account_id, instrument).limits

    def in_force(
        self,
        account_id: AccountId,
        instrument: InstrumentName | None = None,
        *,
        now: Instant | None = None,
        loosened: bool = True,
        own: str = "",
    ) -> InForce:
        """Numbers as people have moved them. `loosened` false: only as they have tightened them.

        `now` where an override may be over that no step has ended yet; `own`: an order that was
        decided before: of what loosens only those reach it that it has used.
        """
        plan, account = self.plan, self.plans.get(account_id)
        limits = plan.total if account is None else account.limits
        if not self.state.overrides:
            return InForce(limits, plan.total, plan.checks)
        standing = [
            override
            for override in self.state.overrides.values()
            if (not override.loosens or (loosened and (not own or own in override.used_by)))
            and (now is None or override.holds(now, own))
            and (not override.ended or (now is not None and own in override.used_by))
        ]
        reached = [each for each in standing if each.reaches(account_id, instrument)]
        everywhere = [each for each in standing if each.scope is Scope.SYSTEM]
        return InForce(
            moved(limits, reached), moved(plan.total, everywhere), moved(plan.checks, reached)
        )

    def record(self, account_id: AccountId) -> AccountRecord | None:
        return self.state.accounts.get(account_id)


class Turn:
    """The facts and acts of one event. Every durable change goes through `say`."""

    __slots__ = ("acts", "facts", "live", "now", "state", "world")

    def __init__(self, world: World, now: Instant) -> None:
        self.world = world
        world.now_ns = now
        self.state = world.state
        self.live = world.live
        self.now = now
        self.facts: list[Fact] = []
        self.acts: list[Act] = []

    def say(self, fact: Fact) -> Changes:
        self.facts.append(fact)
        if type(fact) not in _SHOWN_IN_NO_VIEW:
            self.world.forget()
        return apply_fact(self.state, fact, self.now, self.world.plan.checks)

    def do(self, act: Act) -> None:
        self.acts.append(act)

    def alert(self, key: str, severity: Severity, title: str, text: str, subject: str = "") -> None:
        alert = Alert(
            key=key, severity=severity, title=title, text=text, at_ns=self.now, subject=subject
        )
        self.say(AlertRaised(alert=alert))
        self.do(SendAlert(alert=alert))

    def trip(
        self,
        breaker: str,
        scope: Scope,
        evidence: str,
        *,
        subject: str = SYSTEM,
        effect: Effect = Effect.BLOCK,
        latched: bool = False,
        until_ns: Instant | None = None,
        scale: Decimal | None = None,
        actor: str = "kernel",
        cooldown_s: int = 0,
    ) -> None:
        """`cooldown_s`: it probes after that time (B2); `until_ns` is then worked out here."""
        if cooldown_s:
            until_ns = self.now + cooldown_s * NS_PER_S
        self.say(
            BreakerTripped(
                breaker=breaker, scope=scope, subject=subject, effect=effect, evidence=evidence,
                latched=latched, until_ns=until_ns, scale=scale, actor=actor,
                cooldown_s=cooldown_s,
            )
        )  # fmt: skip
        severity = TABLE[breaker].severity
        if effect is Effect.SCALE:
            # Half size is news, a quarter is a warning (A1, A2).
            half = scale is not None and scale > _QUARTER
            severity = Severity.INFO if half else Severity.WARNING
        elif effect is not Effect.BLOCK or latched:
            severity = Severity.CRITICAL
        where = "" if subject == SYSTEM else f" for {subject}"
        self.alert(
            f"breaker:{breaker}:{subject}", severity, f"{breaker} tripped{where}", evidence, subject
        )

    def reset(self, breaker: str, scope: Scope, subject: str, reason: str) -> None:
        self.say(
            BreakerReset(
                breaker=breaker, scope=scope, subject=subject, actor="kernel", reason=reason
            )
        )
        self.live.calm_ns.pop(f"{breaker}:{subject}", None)
