"""What the flow of our own orders and their results says of an account: A3, A4, A5, S4's rate."""

from __future__ import annotations

from orchestrator.kernel.engine.live import AccountLive
from orchestrator.kernel.engine.probing import cool
from orchestrator.kernel.engine.state import AccountRecord, entry_key
from orchestrator.kernel.engine.turn import Turn
from orchestrator.kernel.safety.breakers.a3_losing_run import a3_losing_run
from orchestrator.kernel.safety.breakers.a4_repetition import a4_rates
from orchestrator.kernel.safety.breakers.a5_rejects import a5_rejects
from orchestrator.kernel.safety.breakers.s4_integrity import s4_order_rate
from orchestrator.model.money import AccountId
from orchestrator.model.orders import Intent, IntentState
from orchestrator.model.outcomes import TradeClosed
from orchestrator.model.safety import Scope
from orchestrator.model.time import HOUR_NS, NS_PER_S, Instant

_TEN_S = 10 * NS_PER_S
# A cancel that somebody asked for is no rejection.
_WANTED = "CLIENT_REQUEST"


def on_intent(turn: Turn, intent: Intent) -> str | None:
    """After an intent was written: A4 trips here; what breaks S4 is returned."""
    record = turn.state.accounts[intent.account_id]
    evidence = repetition(turn, record, intent.proposal.strategy, intent.instrument)
    if evidence is not None and turn.state.board.get("A4", intent.account_id) is None:
        turn.trip("A4", Scope.ACCOUNT, evidence, subject=intent.account_id, latched=True)
    every = sum(_in_10_s(each, turn.now) for each in turn.state.accounts.values())
    return s4_order_rate(every, turn.world.plan.checks)


def repetition(turn: Turn, record: AccountRecord, strategy: str, instrument: str) -> str | None:
    key = entry_key(strategy, instrument)
    hour = sum(1 for at in record.entries.get(key, ()) if turn.now - at < HOUR_NS)
    what = f"{strategy} on {instrument}"
    return a4_rates(what, hour, _in_10_s(record, turn.now), turn.world.plan.breakers)


def still_repeating(turn: Turn, record: AccountRecord) -> str | None:
    """Whether any of the account's flows is over its rate now."""
    for key in record.entries:
        strategy, _, instrument = key.partition("|")
        evidence = repetition(turn, record, strategy, instrument)
        if evidence is not None:
            return evidence
    return None


def _in_10_s(record: AccountRecord, now: Instant) -> int:
    return sum(1 for past in record.recent if now - past.at_ns < _TEN_S)


def on_closed(turn: Turn, closed: TradeClosed) -> None:
    """After a trade of ours was closed and counted: the losing run."""
    record = turn.world.record(closed.account_id)
    if record is None or not closed.ours or closed.remaining:
        return
    limits = turn.world.plan.breakers
    evidence = a3_losing_run(record.losing_run, record.stop_outs, turn.now, limits)
    if evidence is not None:
        cool(turn, "A3", evidence, closed.account_id)


def on_end(turn: Turn, account_id: AccountId, state: IntentState, reason: str) -> None:
    """After an order of ours ended: whether the venue refused it."""
    refused = state is IntentState.REJECTED or (
        state is IntentState.CANCELLED and not reason.startswith(_WANTED)
    )
    if not refused:
        return
    limits = turn.world.plan.breakers
    live: AccountLive = turn.live.account(account_id)
    trip = turn.state.board.get("A5", account_id)
    count = live.rejects.count(turn.now, limits)
    probing = trip is not None and trip.probing
    evidence = a5_rejects(count, reason, limits, probing=probing)
    if evidence is not None:
        cool(turn, "A5", evidence, account_id)
