"""A signal's way: taken in, asked about stage by stage, checked, and written down as an intent."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from typing import assert_never

from orchestrator.kernel.engine import flow, integrity, overriding, scene
from orchestrator.kernel.engine.live import Said
from orchestrator.kernel.engine.state import SignalRecord
from orchestrator.kernel.engine.turn import Turn
from orchestrator.kernel.orders.body import order_request
from orchestrator.kernel.orders.identity import intent_id
from orchestrator.kernel.safety.checks import ALL_CHECKS, evaluate, id_of
from orchestrator.kernel.safety.checks.c07_collar import bound_of
from orchestrator.kernel.safety.overrides import Override
from orchestrator.kernel.safety.view import View, reservation_of
from orchestrator.kernel.signals.answers import judge
from orchestrator.kernel.signals.intake import defect_of, well_named
from orchestrator.kernel.signals.path import (
    EVERYWHERE,
    Ask,
    Progress,
    proposal_of,
    scaled_units,
    shares_of,
)
from orchestrator.model.acts import AskStage, SendOrder
from orchestrator.model.events import StageAnswered
from orchestrator.model.facts import (
    ChecksDecided,
    IntentWritten,
    OperatorActed,
    SignalAccepted,
    SignalEnded,
    StageDecided,
)
from orchestrator.model.money import AccountId
from orchestrator.model.orders import Intent, WriteRequest
from orchestrator.model.safety import SystemMode
from orchestrator.model.signals import (
    AccountView,
    Allocation,
    AskAllocation,
    AskScore,
    AskSizing,
    AskVerdict,
    Outcome,
    Proposal,
    Question,
    Role,
    Score,
    Signal,
    Sizing,
    Verdict,
)
from orchestrator.model.time import NS_PER_MS

GATE = "gate"
CHECKS = "checks"
_VERDICTS_MAX = 200
_SIGNALS_MAX = 5_000  # on their way at once; beyond, new ones are refused (K8)
_CHECK_IDS = tuple(id_of(check) for check in ALL_CHECKS)

# -- taking in ---------------------------------------------------------------------------------


def on_signal(turn: Turn, signal: Signal) -> None:
    """A stranger's word: judged whole before anything is asked."""
    world = turn.world
    if not well_named(signal.signal_id):
        _refuse(turn, signal, "the signal's id is not 1 to 64 of A-Z a-z 0-9 _ . : -")
        return
    if signal.signal_id in turn.state.seen:
        # It has its outcomes already, or will: a second set would contradict them.
        _refuse(turn, signal, f"signal {signal.signal_id} was seen before")
        return
    defect = defect_of(signal, turn.now, world.plan.checks, world.instruments, world.plans)
    accounts = _wanted(turn, signal)
    if defect is not None:
        end_all(turn, signal.signal_id, accounts, defect.outcome, "intake", defect.reason)
        return
    turn.say(SignalAccepted(signal=signal, accounts=accounts))
    willing = [name for name in accounts if not _blocked(turn, signal, name)]
    if willing:
        _ask_allocation(turn, signal, willing)


def _refuse(turn: Turn, signal: Signal, why: str) -> None:
    turn.say(
        OperatorActed(
            actor=str(signal.source)[:64], action="signal", text=str(signal.signal_id)[:64],
            refused=why,
        )
    )  # fmt: skip


def _wanted(turn: Turn, signal: Signal) -> tuple[AccountId, ...]:
    """Those the signal names, in the order of the settings; all, if it names none of ours."""
    named = set(signal.accounts)
    chosen = tuple(name for name in turn.world.account_ids if name in named)
    return chosen or turn.world.account_ids


def _blocked(turn: Turn, signal: Signal, account_id: AccountId) -> bool:
    """End it at the gate where new risk is refused anyway: no stage is asked in vain."""
    reasons: list[str] = []
    if turn.state.mode is not SystemMode.RUNNING:
        reasons.append(f"system is {turn.state.mode}")
    reasons.extend(scene.blocks(turn.world, account_id, signal.instrument))
    if len(turn.state.signals) > _SIGNALS_MAX:
        reasons.append(f"more than {_SIGNALS_MAX} signals are on their way")
    if turn.live.quotes.tick(signal.instrument) is None:
        reasons.append(f"{signal.instrument} has no price")
    record = turn.world.record(account_id)
    book = record.book if record is not None else None
    if book is not None and scene.factors_of(turn.world, book, signal.instrument) is None:
        quote = signal.instrument.split("_")[1]
        reasons.append(f"no price converts {quote} into the account's {book.currency}")
    if reasons:
        end(turn, signal.signal_id, account_id, Outcome.REJECTED, GATE, "; ".join(reasons))
    return bool(reasons)


# -- asking --------------------------------------------------------------------------------------


def _ask(turn: Turn, role: Role, signal: Signal, account_id: AccountId, question: Question) -> None:
    ask_id = turn.live.paths.next_id(turn.state.epoch)
    deadline = turn.now + turn.world.plan.stage_deadline_ms * NS_PER_MS
    turn.live.paths.open(Ask(
        ask_id=ask_id, role=role, signal_id=signal.signal_id, account_id=account_id,
        question=question, deadline_ns=deadline,
    ))  # fmt: skip
    turn.do(AskStage(
        ask_id=ask_id, role=role, signal_id=signal.signal_id, question=question,
        deadline_ns=deadline,
    ))  # fmt: skip


def _ask_allocation(turn: Turn, signal: Signal, accounts: list[AccountId]) -> None:
    views: list[AccountView] = []
    for account_id in accounts:
        view = scene.account_view(turn.world, account_id, _wish(signal))
        if view is None:
            reason = "the account's money is not known"
            end(turn, signal.signal_id, account_id, Outcome.REJECTED, GATE, reason)
        else:
            views.append(view)
    if views:
        seed = turn.world.plan.seed ^ zlib.crc32(signal.signal_id.encode())
        question = AskAllocation(signal=signal, accounts=tuple(views), seed=seed)
        _ask(turn, Role.DISAGREEMENT, signal, EVERYWHERE, question)


def _wish(signal: Signal) -> scene.Wish:
    return scene.Wish(
        instrument=signal.instrument, side=signal.side, stop_distance=signal.stop_distance,
        strategy=signal.strategy, regime=signal.regime,
    )  # fmt: skip


def _ask_next(turn: Turn, role: Role, signal: Signal, account_id: AccountId) -> None:
    """A stage's question about one account, with that account as it stands now."""
    progress = turn.live.paths.progress[signal.signal_id, account_id]
    view = scene.account_view(turn.world, account_id, _wish(signal))
    tick = turn.live.quotes.tick(signal.instrument)
    record = turn.world.record(account_id)
    spec = record.specs.get(signal.instrument) if record is not None else None
    if view is None or tick is None or spec is None:
        reason = "the account's money, or the instrument's price or rules, are not known"
        end(turn, signal.signal_id, account_id, Outcome.REJECTED, GATE, reason)
        return
    question: Question
    if role is Role.STRATEGY_ANALYSIS:
        question = AskScore(
            signal=signal, account=view, spec=spec, bid=tick.bid, ask=tick.ask,
            weight=progress.weight, confidence=progress.confidence,
        )  # fmt: skip
    elif role is Role.PARAMETER_OPTIMIZATION:
        assert progress.score is not None, "sizing is asked after the score"
        question = AskSizing(
            signal=signal, account=view, spec=spec, bid=tick.bid, ask=tick.ask,
            weight=progress.weight, confidence=progress.confidence, score=progress.score,
        )  # fmt: skip
    else:
        assert progress.sizing is not None, "the verdict is asked after the sizing"
        question = AskVerdict(
            signal=signal, account=view, bid=tick.bid, ask=tick.ask, sizing=progress.sizing
        )
    _ask(turn, role, signal, account_id, question)


# -- hearing answers -------------------------------------------------------------------------------


def on_answer(turn: Turn, event: StageAnswered) -> None:
    """Judged as a stranger's; an answer to no open question is counted and ignored."""
    ask = turn.live.paths.close(event.ask_id)
    record = turn.state.signals.get(ask.signal_id) if ask is not None else None
    if ask is None or record is None:
        turn.live.answers_ignored += 1
        return
    signal, accounts = record.signal, _accounts_of(ask, record)
    if turn.now > signal.expires_ns:
        end_all(turn, signal.signal_id, accounts, Outcome.EXPIRED, "", "its time to live is over")
        return
    if turn.now > ask.deadline_ns:
        give_up_on(turn, ask)
        return
    judgement = judge(ask.question, event.answer, event.error)
    reason = judgement.reason if judgement.sound else f"{ask.role} {judgement.reason}"
    turn.say(StageDecided(
        signal_id=signal.signal_id, account_id=ask.account_id, stage=ask.role,
        agent_id=event.agent_id, agent_version=event.agent_version, passed=judgement.passed,
        reason=reason, question=ask.question,
        answer=event.answer if judgement.sound else None, latency_us=event.latency_us,
    ))  # fmt: skip
    if not judgement.passed or event.answer is None:
        end_all(turn, signal.signal_id, accounts, Outcome.REJECTED, ask.role, reason)
        return
    _go_on(turn, ask, signal, event.answer)


def _accounts_of(ask: Ask, record: SignalRecord) -> tuple[AccountId, ...]:
    """Whom a question is about, as far as the signal has not ended there."""
    if isinstance(ask.question, AskAllocation):
        asked = {view.account_id for view in ask.question.accounts}
        return tuple(name for name in record.open if name in asked)
    return (ask.account_id,) if ask.account_id in record.open else ()


def _go_on(
    turn: Turn, ask: Ask, signal: Signal, answer: Allocation | Score | Sizing | Verdict
) -> None:
    paths = turn.live.paths
    match answer:
        case Allocation():
            _allocated(turn, ask, signal, answer)
        case Score():
            paths.progress[signal.signal_id, ask.account_id].score = answer
            _ask_next(turn, Role.PARAMETER_OPTIMIZATION, signal, ask.account_id)
        case Sizing():
            paths.progress[signal.signal_id, ask.account_id].sizing = answer
            _ask_next(turn, Role.LEARNING_SAFETY, signal, ask.account_id)
        case Verdict():
            _judged(turn, ask, signal, answer)
        case _:
            assert_never(answer)


def _allocated(turn: Turn, ask: Ask, signal: Signal, answer: Allocation) -> None:
    assert isinstance(ask.question, AskAllocation), "judged as an answer to this question"
    record = turn.state.signals[signal.signal_id]
    for account_id, weight, reason in shares_of(ask.question, answer):
        if account_id not in record.open:
            continue
        if weight == 0:
            why = reason or "weight 0"
            end(turn, signal.signal_id, account_id, Outcome.REJECTED, ask.role, why)
            continue
        turn.live.paths.progress[signal.signal_id, account_id] = Progress(
            weight=weight, confidence=answer.confidence
        )
        _ask_next(turn, Role.STRATEGY_ANALYSIS, signal, account_id)


# -- checking and reserving ------------------------------------------------------------------------


def _judged(turn: Turn, ask: Ask, signal: Signal, verdict: Verdict) -> None:
    """All checks, the reservation and the intent in one uninterrupted step."""
    account_id = ask.account_id
    progress = turn.live.paths.progress[signal.signal_id, account_id]
    assert progress.sizing is not None, "the verdict was asked with the sizing"
    _remember(turn, signal, account_id, verdict)
    record = turn.world.record(account_id)
    spec = record.specs.get(signal.instrument) if record is not None else None
    if spec is None:
        end(turn, signal.signal_id, account_id, Outcome.REJECTED, GATE, "no rules")
        return
    units = spec.round_units_to_zero(scaled_units(progress.sizing, verdict))
    if units == 0:
        reason = f"{progress.sizing.units} units x {verdict.scale} leave nothing"
        end(turn, signal.signal_id, account_id, Outcome.REJECTED, ask.role, reason)
        return
    decide(turn, proposal_of(signal, account_id, progress, progress.sizing, units))


def _remember(turn: Turn, signal: Signal, account_id: AccountId, verdict: Verdict) -> None:
    """What Learning Safety left of it, for who looks at the limits."""
    verdicts, key = turn.live.verdicts, f"{account_id}|{signal.strategy}|{signal.instrument}"
    verdicts.pop(key, None)
    verdicts[key] = Said(
        account_id=account_id, strategy=signal.strategy, instrument=signal.instrument,
        scale=verdict.scale, why="; ".join(verdict.reasons)[:200],
    )  # fmt: skip
    while len(verdicts) > _VERDICTS_MAX:
        del verdicts[next(iter(verdicts))]


def decide(turn: Turn, order: Proposal) -> None:
    name = intent_id(order.signal_id, order.account_id, order.leg)
    view = scene.view_of(turn.world, order, turn.now, name)
    objections = evaluate(order, view, ALL_CHECKS)
    used: list[Override] = []
    ready = overriding.loosening(turn.world, order) if objections else []
    if ready:
        wide = scene.view_of(turn.world, order, turn.now, name, loosened=True)
        left = evaluate(order, wide, ALL_CHECKS)
        if not left:
            used = overriding.needed(ready, objections)
            view, objections = wide, left
    request = None
    if not objections:
        request, problem = _words(turn, order, view, name)
        objections = (problem,) if problem else ()
    turn.say(ChecksDecided(
        signal_id=order.signal_id, account_id=order.account_id, passed=not objections,
        checks=_CHECK_IDS, objections=objections,
    ))  # fmt: skip
    reservation = reservation_of(order, view)
    record = turn.world.record(order.account_id)
    if request is None or reservation is None or record is None or record.book is None:
        reason = objections[0] if objections else "C10 its risk is unknown"
        end(turn, order.signal_id, order.account_id, Outcome.REJECTED, CHECKS, reason)
        return
    turn.live.paths.forget(order.signal_id, order.account_id)
    overriding.use(turn, used, order, name)
    turn.say(IntentWritten(intent=Intent(
        intent_id=name, proposal=order, body=request.body, watermark=record.book.last_id,
        epoch=turn.state.epoch, generation=turn.state.generation, checked_ns=turn.now,
        expires_ns=order.expires_ns, reservation=reservation,
    )))  # fmt: skip
    turn.do(SendOrder(intent_id=name, request=request))
    runaway = flow.on_intent(turn, turn.state.intents[name].intent)
    if runaway is not None:
        integrity.broken(turn, runaway)


def _words(turn: Turn, order: Proposal, view: View, name: str) -> tuple[WriteRequest | None, str]:
    assert view.market is not None, "C05 has passed"
    assert view.spec is not None, "C02 has passed"
    bound = bound_of(order.side, view.market, view.spec, view.checks)
    try:
        return order_request(order, name, turn.state.epoch, view.spec, bound), ""
    except ValueError as exc:  # a number that the venue would not read
        return None, f"C02 {exc}"


def may_send(turn: Turn, intent: Intent) -> str | None:
    """G2's last part: the same checks again, the intent's own reservation left out."""
    view = scene.view_of(
        turn.world, intent.proposal, turn.now, intent.intent_id, own=intent.intent_id
    )
    objections = evaluate(intent.proposal, view, ALL_CHECKS)
    if objections and turn.state.overrides:
        wide = scene.view_of(
            turn.world, intent.proposal, turn.now, intent.intent_id, own=intent.intent_id,
            loosened=True,
        )  # fmt: skip
        objections = evaluate(intent.proposal, wide, ALL_CHECKS)
    return objections[0] if objections else None


# -- ending --------------------------------------------------------------------------------------


def end(
    turn: Turn, signal_id: str, account_id: AccountId, outcome: Outcome, stage: str, reason: str
) -> None:
    """The one outcome (INV-14): only where the signal is still open, or was never taken."""
    record = turn.state.signals.get(signal_id)
    if record is not None and account_id not in record.open:
        return
    turn.live.paths.forget(signal_id, account_id)
    turn.say(SignalEnded(
        signal_id=signal_id, account_id=account_id, outcome=outcome, stage=stage,
        reason=reason[:1_000],
    ))  # fmt: skip


def end_all(
    turn: Turn, signal_id: str, accounts: Iterable[AccountId], outcome: Outcome, stage: str,
    reason: str,
) -> None:  # fmt: skip
    for account_id in accounts:
        end(turn, signal_id, account_id, outcome, stage, reason)


def give_up_on(turn: Turn, ask: Ask) -> None:
    """The stage did not answer in time: its silence is its verdict."""
    record = turn.state.signals.get(ask.signal_id)
    turn.live.paths.close(ask.ask_id)
    if record is None:
        return
    reason = f"{ask.role} is late: no answer within {turn.world.plan.stage_deadline_ms} ms"
    turn.say(StageDecided(
        signal_id=ask.signal_id, account_id=ask.account_id, stage=ask.role, agent_id="",
        agent_version="", passed=False, reason=reason, question=ask.question, answer=None,
        latency_us=0,
    ))  # fmt: skip
    accounts = _accounts_of(ask, record)
    end_all(turn, ask.signal_id, accounts, Outcome.REJECTED, ask.role, reason)


def keep_signals(turn: Turn) -> None:
    """On each beat: expiries first, then stages that are late."""
    for signal_id, record in list(turn.state.signals.items()):
        if turn.now > record.signal.expires_ns:
            waiting = idle_accounts(turn, signal_id, record)
            end_all(turn, signal_id, waiting, Outcome.EXPIRED, "", "its time to live is over")
    for ask in turn.live.paths.late(turn.now):
        give_up_on(turn, ask)


def idle_accounts(turn: Turn, signal_id: str, record: SignalRecord) -> tuple[AccountId, ...]:
    """Where the signal is open and no intent of it is in flight."""
    return tuple(
        account_id
        for account_id in record.open
        if intent_id(signal_id, account_id, "1") not in turn.state.intents
    )
