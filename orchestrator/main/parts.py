"""The parts list of a System: constructor calls, and nothing that decides anything."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

import msgspec

from orchestrator import __version__
from orchestrator.adapters.alerts.log import LogAlerts
from orchestrator.adapters.bus.in_process import InProcessBus
from orchestrator.adapters.store.sqlite import SqliteStore
from orchestrator.adapters.trail.book import CheckpointFile
from orchestrator.agents.base import Agent
from orchestrator.agents.continuous_improvement import ContinuousImprovement
from orchestrator.agents.data_collection import DataCollection
from orchestrator.agents.disagreement import Disagreement
from orchestrator.agents.learning_safety import LearningSafety
from orchestrator.agents.market_analysis import (
    DEMO,
    SHIPPED,
    MarketAnalysis,
    demo_makers,
    maker_of,
    shipped_makers,
)
from orchestrator.agents.market_analysis.strategies import Strategy, StrategyMaker
from orchestrator.agents.parameter_optimization import ParameterOptimization
from orchestrator.agents.pattern_detection import PatternDetection
from orchestrator.agents.strategy_analysis import StrategyAnalysis
from orchestrator.kernel.audit import AuditChain
from orchestrator.kernel.engine import Kernel
from orchestrator.main.broker import redis_bus
from orchestrator.model.base import Message
from orchestrator.model.checkpoint import Checkpoint
from orchestrator.model.events import AuditTrouble
from orchestrator.model.facts import Fact
from orchestrator.model.journal import RecordFilter
from orchestrator.model.limits import AccountPlan, KernelPlan
from orchestrator.model.money import AccountId, InstrumentName
from orchestrator.model.outcomes import TradeOpened
from orchestrator.model.ports import CheckpointBook, Clock, MarketData, Venue
from orchestrator.model.queries import Page
from orchestrator.model.safety import Alert, Severity
from orchestrator.model.signals import Role
from orchestrator.service.agent_manager import AgentManager, PluginError, load_class
from orchestrator.service.alerts import Alerts
from orchestrator.service.checkpoints import Checkpoints, checkpoint_alert
from orchestrator.service.checkpoints import Hooks as CheckpointHooks
from orchestrator.service.execution_engine import ExecutionEngine
from orchestrator.service.feeds import Feeds
from orchestrator.service.front_desk import About, FrontDesk
from orchestrator.service.gate import Gate
from orchestrator.service.house_watch import HouseWatch, Renew, keep_token
from orchestrator.service.recorder import Recorder
from orchestrator.service.safety_monitor import SafetyMonitor
from orchestrator.service.seams import Machine
from orchestrator.service.supervisor import Plan, System
from orchestrator.service.telemetry import Telemetry
from orchestrator.settings import AccountSettings, ClassFile, Settings

_SHIPPED_AGENTS: Mapping[Role, type[Agent]] = {
    Role.DISAGREEMENT: Disagreement,
    Role.STRATEGY_ANALYSIS: StrategyAnalysis,
    Role.PARAMETER_OPTIMIZATION: ParameterOptimization,
    Role.LEARNING_SAFETY: LearningSafety,
    Role.DATA_COLLECTION: DataCollection,
    Role.PATTERN_DETECTION: PatternDetection,
    Role.CONTINUOUS_IMPROVEMENT: ContinuousImprovement,
}

# A synthetic market holds no edge, and the agents find that out: on the demo they give up later,
# so that the whole path can still be watched on the second day.
_DEMO_PARAMS: Mapping[Role, dict[str, Any]] = {
    Role.MARKET_ANALYSIS: {"prior_trades": 5_000.0},
    Role.STRATEGY_ANALYSIS: {"prior_trades": 5_000.0},
}

_REMEMBERED = 1_000


class Hosting(msgspec.Struct, frozen=True, kw_only=True):
    """What differs between a live service and a run in virtual time."""

    calendar: str
    history: bool
    threads: bool
    taste: str = ""  # which strategies are run when none are chosen: demo | replay | ""
    node: str = ""


def kernel_plan(settings: Settings, calendar: str) -> KernelPlan:
    """The kernel's numbers out of the settings."""
    return KernelPlan(
        accounts=tuple(
            AccountPlan(
                account_id=AccountId(account_id),
                enabled=settings.accounts.get(account_id, AccountSettings()).enabled,
                limits=settings.account_limits(account_id),
                profile=settings.profile_of(account_id),
                exclusive=settings.accounts.get(account_id, AccountSettings()).exclusive,
            )
            for account_id in settings.account_ids
        ),
        instruments=tuple(InstrumentName(name) for name in settings.instruments),
        checks=settings.check_limits(), breakers=settings.breaker_limits(),
        total=settings.account_limits(), calendar=calendar, seed=settings.seed,
        windows=settings.hours.spans(),
        live=settings.oanda_environment == "live", live_allowed=settings.allow_live_trading,
    )  # fmt: skip


def register_agents(settings: Settings, agents: AgentManager, taste: str) -> None:
    """The eight, each replaced by the user's own where the settings name one.

    PluginError names the setting when a user's class cannot be loaded or built.
    """
    agents.register(_market_analysis(settings, taste))
    for role, shipped in _SHIPPED_AGENTS.items():
        own = settings.agents.get(role)
        kind = (
            shipped if own is None or own.path is None else _own(f"agents.{role}", own.path, Agent)
        )
        params: dict[str, Any] = {} if own is None else dict(own.params)
        if taste == "demo" and own is None:
            params |= _DEMO_PARAMS.get(role, {})
        agents.register(partial(kind, **params))


def _own(setting: str, path: ClassFile, base: type[Any]) -> type[Any]:
    return load_class(setting, str(path), base)


def _market_analysis(settings: Settings, taste: str) -> Callable[[], Agent]:
    own = settings.agents.get(Role.MARKET_ANALYSIS)
    if own is not None and own.path is not None:
        return partial(_own("agents.market_analysis", own.path, Agent), **own.params)
    params: dict[str, Any] = {} if own is None else dict(own.params)
    if taste == "demo" and own is None:
        params |= _DEMO_PARAMS[Role.MARKET_ANALYSIS]
    instruments = tuple(InstrumentName(name) for name in settings.instruments)
    makers = strategy_makers(settings, taste)
    return partial(MarketAnalysis, instruments=instruments, strategies=makers, **params)


def strategy_makers(settings: Settings, taste: str) -> dict[str, StrategyMaker]:
    """What `[strategies]` says; without it the shipped ones, by `taste` of the deployment.

    `demo`: busy, for a synthetic market; `replay`: on minutes, since a day of ticks warms nothing
    slower; else the defaults. ValueError names a strategy that cannot be made.
    """
    if not settings.strategies and taste in _TASTES:
        return _TASTES[taste]()
    makers = shipped_makers()
    for name, chosen in settings.strategies.items():
        if not chosen.enabled:
            makers.pop(name, None)
            continue
        kind = SHIPPED.get(name)
        if chosen.path is not None:
            kind = _own(f"strategies.{name}", chosen.path, Strategy)
        if kind is None:
            raise PluginError(
                f"strategies.{name}: is not shipped ({', '.join(SHIPPED)}); give its path"
            )
        makers[name] = maker_of(name, kind, chosen.params)
    return makers


_TASTES: Mapping[str, Callable[[], dict[str, StrategyMaker]]] = {
    "demo": demo_makers,
    "replay": partial(shipped_makers, DEMO),
}


def build_system(
    settings: Settings, venue: Venue, clock: Clock, store: SqliteStore, gate: Gate,
    market_store: MarketData, hosting: Hosting, renew: Renew = keep_token,
) -> System:  # fmt: skip
    """A System of real parts; nothing of it has started. `renew` reads a secret anew (A10)."""
    node = hosting.node or platform.node() or "node"
    telemetry = Telemetry()
    kernel = Kernel(kernel_plan(settings, hosting.calendar))
    chain = AuditChain(store.installation_id(), store.last_record())
    broker = redis_bus(settings, partial(_warn, lambda: safety, clock)) if hosting.threads else None
    bus = InProcessBus() if broker is None else broker
    agents = AgentManager(clock)
    agents.measured = telemetry.took
    register_agents(settings, agents, hosting.taste)
    engine = ExecutionEngine(
        kernel, chain, store, bus, venue, venue, agents, gate, clock, telemetry, node=node
    )
    safety = SafetyMonitor(
        engine, gate, venue, venue, clock, seed=settings.seed, threads=hosting.threads
    )
    alerts = Alerts((LogAlerts(),), clock, engine.note)
    engine.hooks.alert = alerts.send
    recorder = Recorder(market_store, clock)
    account_ids = tuple(AccountId(a) for a in settings.account_ids)
    instruments = tuple(InstrumentName(name) for name in settings.instruments)
    feeds = Feeds(engine, venue, clock, instruments, recorder.keep)
    about = About(
        environment=settings.oanda_environment, version=__version__, node=node,
        calendar=hosting.calendar,
    )  # fmt: skip
    desk = FrontDesk(
        engine, agents, safety, bus, store, chain, store.queries, telemetry, clock, about,
        threads=hosting.threads,
    )  # fmt: skip
    plan = Plan(
        version=__version__, node=node, config_digest=settings.fingerprint(),
        config=settings.decisive(),
        accounts=account_ids, instruments=instruments, auto_start=settings.starts_by_itself,
        history=hosting.history, health_interval_s=settings.agent_health_check_interval,
        real_time=hosting.threads,
    )  # fmt: skip
    system = System(
        plan, kernel, chain, store, gate, engine, agents, safety, feeds, recorder, desk, venue,
        clock, telemetry, speed=lambda: clock.speed, past=partial(past_of, store, kernel),
        checkpoints=_checkpoints(
            CheckpointFile(settings.state_dir), chain, clock, engine, alerts,
            origin=store.installation_id(), threads=hosting.threads,
        ),
    )  # fmt: skip
    system.accompany(alerts.run)
    if broker is not None:
        # Agents elsewhere make it needed, and they are asked of the broker by their manager (H5).
        broker.needed = lambda: False
        system.accompany(broker.run)
    if hosting.threads:  # in virtual time nothing lags, leaks or steps
        machine = Machine(settings.state_dir)
        system.accompany(partial(recorder.follow, bus))
        system.accompany(HouseWatch(engine, bus, venue, clock, machine, renew).run)
    return system


def _warn(safety: Callable[[], SafetyMonitor], clock: Clock, title: str, text: str) -> None:
    """An alert of the broker's: written down and told."""
    safety().raise_alert(
        Alert(
            key=f"bus:{title}", severity=Severity.WARNING, title=title, text=text,
            at_ns=clock.now(),
        )
    )  # fmt: skip


def _checkpoints(
    book: CheckpointBook, chain: AuditChain, clock: Clock, engine: ExecutionEngine,
    alerts: Alerts, *, origin: str, threads: bool,
) -> Checkpoints:  # fmt: skip
    kernel = engine.kernel

    def trouble(reason: str) -> None:
        engine.handle(AuditTrouble(ok=not reason, reason=reason))

    def told(checkpoint: Checkpoint) -> None:
        # Not written down: the book has it, and it may be the last word of a life.
        alerts.pass_on(checkpoint_alert(checkpoint, clock.now()), recorded=False)

    hooks = CheckpointHooks(
        trouble=trouble, told=told, blocked=lambda: kernel.audit_blocked,
        storing=lambda: engine.storing and not kernel.storage_blocked,
        stop_id=lambda: kernel.stop_id,
    )  # fmt: skip
    return Checkpoints(book, chain, clock, hooks, origin=origin, threads=threads)


def past_of(store: SqliteStore, kernel: Kernel) -> Iterable[Message]:
    """What agents that (re)start must know of the past, oldest first (DESIGN 5: state again).

    Finished trades and proposals; and of the trades that are open, their signals and openings.
    """
    rows = store.queries.outcomes(page=Page(limit=_REMEMBERED))
    finished: list[Message] = [row.outcome for row in reversed(rows)]
    still_open = {(a, t) for a, book in kernel.books.items() for t in book.trades}
    opened = [
        fact
        for fact in _facts(store, "trade.opened")
        if isinstance(fact, TradeOpened) and (fact.account_id, fact.trade_id) in still_open
    ]
    signals = [f for each in opened for f in _facts(store, "signal.accepted", each.signal_id)]
    return (*finished, *_facts(store, "change.proposed"), *signals, *opened)


def _facts(store: SqliteStore, kind: str, signal_id: str = "") -> list[Fact]:
    if kind == "signal.accepted" and not signal_id:
        return []  # a foreign trade has no signal
    wanted = RecordFilter(types=(kind,), corr=signal_id, limit=_REMEMBERED)
    return [_read_fact(record.data) for record in reversed(store.queries.records(wanted))]


_read_fact = msgspec.json.Decoder(Fact).decode
