"""The parts list of a simulated life: the System of `orchestrator run`, with mortal outsides."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from orchestrator.adapters.alerts.log import LogAlerts
from orchestrator.adapters.bus.in_process import InProcessBus
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
from orchestrator.model.limits import AccountPlan, BreakerLimits, KernelPlan
from orchestrator.research.simulate.agents import haunted
from orchestrator.research.simulate.death import Death
from orchestrator.research.simulate.feed import INSTRUMENTS
from orchestrator.research.simulate.judge import LIMITS
from orchestrator.research.simulate.store import NoMarketStore, SimGate, SimStore
from orchestrator.research.simulate.venue import FaultyVenue
from orchestrator.research.simulate.world import ACCOUNTS, World
from orchestrator.service.agent_manager import AgentManager
from orchestrator.service.alerts import Alerts
from orchestrator.service.execution_engine import ExecutionEngine
from orchestrator.service.feeds import Feeds
from orchestrator.service.front_desk import About, FrontDesk
from orchestrator.service.recorder import Recorder
from orchestrator.service.safety_monitor import SafetyMonitor
from orchestrator.service.seams import VirtualClock
from orchestrator.service.supervisor import Plan, System
from orchestrator.service.telemetry import Telemetry

_NODE = "simulation"
_VERSION = "simulated"
# Lives here are short: at three unclean starts in ten minutes most seeds would be blocked for good.
_BREAKERS = BreakerLimits(unclean_starts=12)
PLAN = KernelPlan(
    breakers=_BREAKERS,
    accounts=tuple(AccountPlan(account_id=account_id, limits=LIMITS) for account_id in ACCOUNTS),
    instruments=INSTRUMENTS, calendar="always",
)  # fmt: skip

EIGHT: tuple[Callable[[], Agent], ...] = (
    partial(MarketAnalysis, instruments=INSTRUMENTS, strategies=shipped_makers()),
    Disagreement, StrategyAnalysis, ParameterOptimization, LearningSafety, DataCollection,
    PatternDetection, ContinuousImprovement,
)  # fmt: skip


def build_system(world: World, death: Death, store: SimStore, gate: SimGate) -> System:
    """A System of real parts; nothing of it has started."""
    clock = VirtualClock(world.market.time.now, world.loop)
    venue = FaultyVenue(world, death)
    telemetry = Telemetry()
    kernel = Kernel(PLAN)
    chain = AuditChain(store.installation_id(), store.last_record())
    bus = InProcessBus()
    agents = AgentManager(clock)
    agents.measured = telemetry.took
    for make in EIGHT:
        agents.register(haunted(make, world))
    engine = ExecutionEngine(
        kernel, chain, store, bus, venue, venue, agents, gate, clock, telemetry, node=_NODE
    )
    safety = SafetyMonitor(engine, gate, venue, venue, clock, seed=world.seed, threads=False)
    alerts = Alerts((LogAlerts(),), clock, engine.note)
    engine.hooks.alert = alerts.send
    recorder = Recorder(NoMarketStore(), clock)
    feeds = Feeds(engine, venue, clock, INSTRUMENTS, recorder.keep)
    about = About(environment="paper", version=_VERSION, node=_NODE, calendar=PLAN.calendar)
    desk = FrontDesk(
        engine, agents, safety, bus, store, chain, store.queries, telemetry, clock, about,
        threads=False,
    )  # fmt: skip
    plan = Plan(
        version=_VERSION, node=_NODE, config_digest="", accounts=ACCOUNTS,
        instruments=INSTRUMENTS, auto_start=True, history=False, real_time=False,
    )  # fmt: skip
    system = System(
        plan, kernel, chain, store, gate, engine, agents, safety, feeds, recorder, desk, venue,
        clock, telemetry, speed=lambda: clock.speed, past=tuple,
    )  # fmt: skip
    system.accompany(alerts.run)
    return system
