"""The parts list of a simulated life: the System of `orchestrator run`, with mortal outsides."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from functools import partial
from typing import Any

import msgspec

from orchestrator.adapters.alerts.log import LogAlerts
from orchestrator.adapters.bus.in_process import InProcessBus
from orchestrator.adapters.trail.book import CheckpointFile
from orchestrator.agents.base import Agent
from orchestrator.agents.continuous_improvement import ContinuousImprovement
from orchestrator.agents.data_collection import DataCollection
from orchestrator.agents.disagreement import Disagreement
from orchestrator.agents.learning_safety import LearningSafety
from orchestrator.agents.market_analysis import MarketAnalysis, shipped_makers
from orchestrator.agents.parameter_optimization import ParameterOptimization
from orchestrator.agents.pattern_detection import PatternDetection
from orchestrator.agents.strategy_analysis import StrategyAnalysis
from orchestrator.kernel.audit import AuditChain
from orchestrator.kernel.engine import Kernel
from orchestrator.model.checkpoint import Checkpoint
from orchestrator.model.events import AuditTrouble
from orchestrator.model.limits import AccountLimits, AccountPlan, BreakerLimits, KernelPlan
from orchestrator.model.profiles import PLAIN, Drawdown, Profile, Window
from orchestrator.model.safety import Effect
from orchestrator.research.simulate.agents import haunted
from orchestrator.research.simulate.death import Death
from orchestrator.research.simulate.fates import dice_of
from orchestrator.research.simulate.feed import INSTRUMENTS
from orchestrator.research.simulate.store import NoMarketStore, SimGate, SimStore
from orchestrator.research.simulate.venue import FaultyVenue
from orchestrator.research.simulate.world import ACCOUNTS, INSTALLATION, World
from orchestrator.service.agent_manager import AgentManager
from orchestrator.service.alerts import Alerts
from orchestrator.service.checkpoints import Checkpoints, checkpoint_alert
from orchestrator.service.checkpoints import Hooks as CheckpointHooks
from orchestrator.service.execution_engine import ExecutionEngine
from orchestrator.service.feeds import Feeds
from orchestrator.service.front_desk import FrontDesk
from orchestrator.service.health_desk import About
from orchestrator.service.recorder import Recorder
from orchestrator.service.safety_monitor import SafetyMonitor
from orchestrator.service.seams import VirtualClock
from orchestrator.service.supervisor import Plan, System
from orchestrator.service.telemetry import Telemetry

_NODE = "simulation"
_VERSION = "simulated"
# Lives here are short: at three unclean starts in ten minutes most seeds would only be blocked.
_PATIENT = BreakerLimits(unclean_starts=12)
_PATIENTLY = 0.7
# Small enough for three trades at once within the margin, so that limits are met together.
LIMITS = AccountLimits(risk_per_trade=Decimal("0.004"))
PLAN = KernelPlan(
    accounts=tuple(AccountPlan(account_id=account_id, limits=LIMITS) for account_id in ACCOUNTS),
    instruments=INSTRUMENTS, calendar="always",
)  # fmt: skip

_TIGHTER: tuple[dict[str, Any], ...] = (
    {"max_concurrent_trades": 2}, {"max_concurrent_trades": 1},
    {"risk_per_trade": Decimal("0.002")}, {"max_daily_loss": Decimal("0.01")},
    {"max_drawdown": Decimal("0.01")},
)  # fmt: skip
# What proprietary firms prescribe, small enough to be met within a storm.
_PROFILES = (
    Profile(name="static", drawdown=Drawdown.STATIC),
    Profile(name="end of day", drawdown=Drawdown.END_OF_DAY, instruments=INSTRUMENTS[:2]),
    Profile(name="target", profit_target=Decimal("0.003"), on_target=Effect.FLATTEN),
    Profile(name="days", profit_target=Decimal("0.002"), days_min=2, days_max=3, orders_a_day=6),
    Profile(name="weekend", weekend_flat=True, off_hours=Effect.FLATTEN,
            hours=(Window(from_s=0, to_s=17 * 3600), Window(from_s=18 * 3600))),
)  # fmt: skip
_replace = msgspec.structs.replace

EIGHT: tuple[Callable[[], Agent], ...] = (
    partial(MarketAnalysis, instruments=INSTRUMENTS, strategies=shipped_makers()),
    Disagreement, StrategyAnalysis, ParameterOptimization, LearningSafety, DataCollection,
    PatternDetection, ContinuousImprovement,
)  # fmt: skip


def plan_of(world: World) -> KernelPlan:
    """The settings of the life that begins: as shipped, or tight, or tighter than before."""
    kinds, rolls = world.fates.kinds, dice_of(world.seed, "settings")
    limits, plan = LIMITS, PLAN
    if "tight_limits" in kinds:
        limits = _replace(LIMITS, max_daily_loss=Decimal("0.012"), max_drawdown=Decimal("0.02"))
        plan = _replace(plan, total=_replace(plan.total, max_daily_loss=Decimal("0.015")))
    if "op_settings" in kinds:
        for _ in range(1, world.lives):
            limits = _replace(limits, **rolls.choice(_TIGHTER))
    if dice_of(world.seed, "crash loop").random() < _PATIENTLY:
        plan = _replace(plan, breakers=_PATIENT)
    profiles = [PLAIN] * len(ACCOUNTS)
    if "profiles" in kinds:
        kinds_of_rules = dice_of(world.seed, "profiles")
        profiles = [kinds_of_rules.choice(_PROFILES) for _ in ACCOUNTS]
    accounts = tuple(
        AccountPlan(account_id=name, limits=limits, profile=profile)
        for name, profile in zip(ACCOUNTS, profiles, strict=True)
    )
    return _replace(plan, accounts=accounts, calendar=world.market.calendar)


def checkpoints_of(
    world: World, chain: AuditChain, clock: VirtualClock, engine: ExecutionEngine, alerts: Alerts
) -> Checkpoints:
    """As `main` wires them, in the loop's own thread."""
    kernel = engine.kernel

    def trouble(reason: str) -> None:
        engine.handle(AuditTrouble(ok=not reason, reason=reason))

    def told(checkpoint: Checkpoint) -> None:
        alerts.pass_on(checkpoint_alert(checkpoint, clock.now()), recorded=False)

    hooks = CheckpointHooks(
        trouble=trouble, told=told, blocked=lambda: kernel.audit_blocked,
        storing=lambda: engine.storing and not kernel.storage_blocked,
        stop_id=lambda: kernel.stop_id,
    )  # fmt: skip
    return Checkpoints(
        CheckpointFile(world.folder), chain, clock, hooks, origin=INSTALLATION, threads=False
    )


def build_system(
    world: World, death: Death, store: SimStore, gate: SimGate, plan_: KernelPlan = PLAN
) -> System:
    """A System of real parts; nothing of it has started."""
    clock = VirtualClock(world.market.time.now, world.loop)
    venue = FaultyVenue(world, death)
    telemetry = Telemetry()
    kernel = Kernel(plan_)
    chain = AuditChain(store.installation_id(), store.last_record())
    bus = InProcessBus()
    agents = AgentManager(clock)
    agents.measured = telemetry.took
    for make in EIGHT:
        agents.register(haunted(make, world))
    engine = ExecutionEngine(
        kernel,
        chain,
        store,
        bus,
        venue,
        venue,
        agents,
        gate,
        clock,
        telemetry,
        node=_NODE,
        threads=False,
    )
    safety = SafetyMonitor(engine, gate, venue, venue, clock, seed=world.seed, threads=False)
    alerts = Alerts((LogAlerts(),), clock, engine.note)
    engine.hooks.alert = alerts.send
    market = NoMarketStore()
    recorder = Recorder(market, clock)
    feeds = Feeds(engine, venue, clock, INSTRUMENTS, recorder.keep)
    about = About(environment="paper", version=_VERSION, node=_NODE, calendar=plan_.calendar)
    desk = FrontDesk(
        engine, agents, safety, bus, store, chain, store.queries, telemetry, clock, about,
        market, threads=False,
    )  # fmt: skip
    plan = Plan(
        version=_VERSION, node=_NODE, config_digest="", accounts=ACCOUNTS,
        instruments=INSTRUMENTS, auto_start=True, history=False, real_time=False,
    )  # fmt: skip
    system = System(
        plan, kernel, chain, store, gate, engine, agents, safety, feeds, recorder, desk, venue,
        clock, telemetry, speed=lambda: clock.speed, past=tuple,
        checkpoints=checkpoints_of(world, chain, clock, engine, alerts),
    )  # fmt: skip
    system.accompany(alerts.run)
    return system
