"""The parts list of a System: constructor calls, and nothing that decides anything."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable
from functools import partial

import msgspec

from orchestrator import __version__
from orchestrator.adapters.alerts.log import LogAlerts
from orchestrator.adapters.bus.in_process import InProcessBus
from orchestrator.adapters.trail.book import CheckpointFile
from orchestrator.agents.market_analysis.strategies import StrategyMaker
from orchestrator.kernel.audit import AuditChain
from orchestrator.kernel.engine import Kernel
from orchestrator.main.agents import factory_of
from orchestrator.main.agents import strategy_makers as makers_of
from orchestrator.main.broker import redis_bus
from orchestrator.main.elsewhere import (
    ExactHosting,
    agent_spec,
    agents_elsewhere,
    exact_agents,
    homes,
    strategy_specs,
)
from orchestrator.main.stores import KeptStore
from orchestrator.model.base import Message
from orchestrator.model.checkpoint import Checkpoint
from orchestrator.model.events import AuditTrouble
from orchestrator.model.facts import Fact
from orchestrator.model.journal import RecordFilter
from orchestrator.model.limits import AccountPlan, KernelPlan
from orchestrator.model.money import AccountId, InstrumentName
from orchestrator.model.outcomes import TradeOpened
from orchestrator.model.ports import CheckpointBook, Clock, MarketData, SoonStore, Venue
from orchestrator.model.queries import Page
from orchestrator.model.safety import Alert, Severity
from orchestrator.service.agent_manager import AgentManager
from orchestrator.service.agents_elsewhere import AgentsElsewhere
from orchestrator.service.alerts import Alerts
from orchestrator.service.checkpoints import Checkpoints, checkpoint_alert
from orchestrator.service.checkpoints import Hooks as CheckpointHooks
from orchestrator.service.exact_agents import ExactAgents
from orchestrator.service.execution_engine import ExecutionEngine
from orchestrator.service.feeds import Feeds
from orchestrator.service.front_desk import FrontDesk
from orchestrator.service.gate import Gate
from orchestrator.service.health_desk import About
from orchestrator.service.house_watch import HouseWatch, Renew, keep_token
from orchestrator.service.past import REMEMBERED, Past
from orchestrator.service.recorder import Recorder
from orchestrator.service.safety_monitor import SafetyMonitor
from orchestrator.service.seams import Machine
from orchestrator.service.supervisor import Plan, System
from orchestrator.service.telemetry import Telemetry
from orchestrator.settings import AccountSettings, Settings


class Hosting(msgspec.Struct, frozen=True, kw_only=True):
    """What differs between a live service and a run in virtual time."""

    calendar: str
    history: bool
    threads: bool
    taste: str = ""  # which strategies are run when none are chosen: demo | replay | ""
    node: str = ""
    exact: ExactHosting | None = None  # in virtual time: else all agents are in this process


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


def strategy_makers(settings: Settings, taste: str) -> dict[str, StrategyMaker]:
    """As `agents.strategy_makers`, by the settings."""
    return makers_of(strategy_specs(settings), taste)


def register_agents(
    settings: Settings, agents: AgentManager, taste: str, *, all_here: bool = False
) -> None:
    """The eight, each replaced by the user's own where the settings name one.

    Those that live elsewhere are left out, unless `all_here`.
    PluginError names the setting when a user's class cannot be loaded or built.
    """
    for role, home in homes(settings).items():
        if all_here or home == "service":
            agents.register(factory_of(agent_spec(settings, role, taste)))


def build_system(
    settings: Settings, venue: Venue, clock: Clock, store: KeptStore, gate: Gate,
    market_store: MarketData, hosting: Hosting, renew: Renew = keep_token,
) -> System:  # fmt: skip
    """A System of real parts; nothing of it has started. `renew` reads a secret anew (A10)."""
    node = hosting.node or platform.node() or "node"
    telemetry = Telemetry()
    kernel = Kernel(_kernel_plan(settings, hosting, clock))
    chain = AuditChain(store.installation_id(), store.last_record())
    broker = redis_bus(settings, partial(_warn, lambda: safety, clock)) if hosting.threads else None
    bus = InProcessBus() if broker is None else broker
    agents = AgentManager(clock)
    agents.measured = telemetry.took
    all_here = not hosting.threads and hosting.exact is None
    register_agents(settings, agents, hosting.taste, all_here=all_here)
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
    elsewhere: AgentsElsewhere | ExactAgents | None = None
    if hosting.threads:
        elsewhere = agents_elsewhere(
            settings, hosting.taste, agents, engine, clock, node, safety.raise_alert
        )
    elif hosting.exact is not None:
        elsewhere = exact_agents(settings, hosting.taste, agents, clock, node, hosting.exact)
    desk = FrontDesk(
        engine, agents, safety, bus, store, chain, store.queries, telemetry, clock, about,
        market_store, threads=hosting.threads,
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
        clock, telemetry, speed=lambda: clock.speed, past=_past(store, engine),
        checkpoints=_checkpoints(
            CheckpointFile(settings.state_dir), chain, clock, engine, alerts,
            origin=store.installation_id(), threads=hosting.threads,
        ), elsewhere=elsewhere,
    )  # fmt: skip
    system.accompany(alerts.run)
    if broker is not None:
        # Without agents over it, the broker only broadcasts: trading goes on without it (H5).
        broker.needed = lambda: elsewhere is not None and elsewhere.over_broker
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


def _kernel_plan(settings: Settings, hosting: Hosting, clock: Clock) -> KernelPlan:
    """A replay's seconds are short: an answer from elsewhere has as long as it has at speed 1."""
    plan = kernel_plan(settings, hosting.calendar)
    if not hosting.threads or set(homes(settings).values()) == {"service"}:
        return plan
    deadline_ms = round(plan.stage_deadline_ms * max(1.0, clock.speed))
    return msgspec.structs.replace(plan, stage_deadline_ms=deadline_ms)


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


def _past(store: KeptStore, engine: ExecutionEngine) -> Callable[[], Iterable[Message]]:
    """Read where it stands, when it is asked for; of a store that may be away, kept in memory."""
    kernel = engine.kernel
    read = partial(past_of, store, kernel)
    if not isinstance(store, SoonStore):
        return read
    past = Past(read, lambda: ((a, t) for a, book in kernel.books.items() for t in book.trades))
    engine.hooks.durable = past.heard
    return past


def past_of(store: KeptStore, kernel: Kernel) -> Iterable[Message]:
    """What agents that (re)start must know of the past, oldest first (DESIGN 5: state again).

    Finished trades and proposals; and of the trades that are open, their signals and openings.
    """
    rows = store.queries.outcomes(page=Page(limit=REMEMBERED))
    finished: list[Message] = [row.outcome for row in reversed(rows)]
    still_open = {(a, t) for a, book in kernel.books.items() for t in book.trades}
    opened = [
        fact
        for fact in _facts(store, "trade.opened")
        if isinstance(fact, TradeOpened) and (fact.account_id, fact.trade_id) in still_open
    ]
    signals = [f for each in opened for f in _facts(store, "signal.accepted", each.signal_id)]
    return (*finished, *_facts(store, "change.proposed"), *signals, *opened)


def _facts(store: KeptStore, kind: str, signal_id: str = "") -> list[Fact]:
    if kind == "signal.accepted" and not signal_id:
        return []  # a foreign trade has no signal
    wanted = RecordFilter(types=(kind,), corr=signal_id, limit=REMEMBERED)
    return [_read_fact(record.data) for record in reversed(store.queries.records(wanted))]


_read_fact = msgspec.json.Decoder(Fact).decode
