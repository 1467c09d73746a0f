"""One step of the kernel: what it may read, what it says, what it asks to be done."""

from __future__ import annotations

from decimal import Decimal

from orchestrator.kernel.engine.applying import apply_fact
from orchestrator.kernel.engine.live import Live
from orchestrator.kernel.engine.state import AccountRecord, State
from orchestrator.kernel.ledger.book import Changes
from orchestrator.kernel.safety.board import SYSTEM
from orchestrator.kernel.safety.breakers import TABLE
from orchestrator.kernel.safety.covariance import Covariance
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
from orchestrator.model.limits import AccountLimits, AccountPlan, KernelPlan
from orchestrator.model.money import AccountId, Currency, InstrumentName
from orchestrator.model.safety import Alert, Effect, Scope, Severity
from orchestrator.model.signals import AccountView
from orchestrator.model.time import NS_PER_S, Instant

# Facts of a signal's path that change nothing of an account; any other makes views stale.
_SHOWN_IN_NO_VIEW = frozenset((SignalAccepted, StageDecided, ChecksDecided, SignalEnded))


class World:
    """The plan, what is remembered, what is seen."""

    def __init__(self, plan: KernelPlan, state: State) -> None:
        self.plan = plan
        self.state = state
        reporting = Currency(plan.reporting_currency)
        self.live = Live(Covariance(plan.instruments, reporting))
        # Account views made for questions, as long as nothing that they show has changed: the
        # stages of one signal are asked about the same account at the same moment.
        self.views: dict[tuple[object, ...], AccountView | None] = {}
        self.plans: dict[AccountId, AccountPlan] = {a.account_id: a for a in plan.accounts}
        self.account_ids: tuple[AccountId, ...] = tuple(self.plans)
        self.instruments: frozenset[InstrumentName] = frozenset(plan.instruments)

    def enabled(self, account_id: AccountId) -> bool:
        """A person's switch decides over the settings."""
        plan, record = self.plans.get(account_id), self.state.accounts.get(account_id)
        if plan is None or record is None:
            return False
        return plan.enabled if record.enabled is None else record.enabled

    def limits(self, account_id: AccountId) -> AccountLimits:
        return self.plans[account_id].limits

    def record(self, account_id: AccountId) -> AccountRecord | None:
        return self.state.accounts.get(account_id)


class Turn:
    """The facts and acts of one event. Every durable change goes through `say`."""

    __slots__ = ("acts", "facts", "live", "now", "state", "world")

    def __init__(self, world: World, now: Instant) -> None:
        self.world = world
        self.state = world.state
        self.live = world.live
        self.now = now
        self.facts: list[Fact] = []
        self.acts: list[Act] = []

    def say(self, fact: Fact) -> Changes:
        self.facts.append(fact)
        if type(fact) not in _SHOWN_IN_NO_VIEW:
            self.world.views.clear()
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
        if effect is Effect.SCALE:
            return
        severe = effect is not Effect.BLOCK or latched
        severity = Severity.CRITICAL if severe else TABLE[breaker].severity
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
