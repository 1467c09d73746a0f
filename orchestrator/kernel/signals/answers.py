"""A stage's answer as a stranger's: whether it fits its question, and what it decides."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

import msgspec

from orchestrator.model.money import ONE, ZERO, Side
from orchestrator.model.signals import (
    Allocation,
    Answer,
    AskAllocation,
    AskScore,
    AskSizing,
    AskVerdict,
    Question,
    Score,
    Sizing,
    Verdict,
)

_REASONS_MAX = 500


class Judgement(msgspec.Struct, frozen=True, kw_only=True):
    """`sound` false: nonsense, whoever said it. `passed` false: the stage declines."""

    sound: bool
    passed: bool
    reason: str


def judge(question: Question, answer: Answer | None, error: str) -> Judgement:
    """Whether the answer is one to this question, all of it; an ArithmeticError is nonsense too."""
    if error or answer is None:
        return _nonsense(f"failed: {_short(error or 'no answer')}")
    try:
        return _judge(question, answer)
    except (ArithmeticError, TypeError, AttributeError) as exc:
        return _nonsense(f"answer cannot be read: {type(exc).__name__}")


def _judge(question: Question, answer: Answer) -> Judgement:
    match question, answer:
        case AskAllocation(), Allocation():
            return _allocation(question, answer)
        case AskScore(), Score():
            return _score(question, answer)
        case AskSizing(), Sizing():
            return _sizing(question, answer)
        case AskVerdict(), Verdict():
            return _verdict(question, answer)
        case _:
            return _nonsense(f"{type(answer).__name__} does not answer {type(question).__name__}")


def _nonsense(reason: str) -> Judgement:
    return Judgement(sound=False, passed=False, reason=reason)


def _decided(passed: bool, reasons: Iterable[str], otherwise: str) -> Judgement:
    return Judgement(sound=True, passed=passed, reason=_short("; ".join(reasons)) or otherwise)


def _short(text: str) -> str:
    return text if len(text) <= _REASONS_MAX else f"{text[: _REASONS_MAX - 3]}..."


def _within(value: Decimal, low: Decimal, high: Decimal) -> bool:
    return value.is_finite() and low <= value <= high


def _allocation(question: AskAllocation, answer: Allocation) -> Judgement:
    if answer.signal_id != question.signal.signal_id:
        return _nonsense("allocates another signal")
    if not (_within(answer.confidence, ZERO, question.signal.confidence) and answer.confidence > 0):
        return _nonsense(
            f"confidence {answer.confidence} is not within (0, {question.signal.confidence}]"
        )
    asked = sorted(view.account_id for view in question.accounts)
    if sorted(share.account_id for share in answer.shares) != asked:
        return _nonsense("shares are not one for each account that was asked about")
    for share in answer.shares:
        if not _within(share.weight, ZERO, ONE):
            return _nonsense(f"weight {share.weight} is not within [0, 1]")
    return _decided(True, [answer.reason], "allocated")


def _score(question: AskScore, answer: Score) -> Judgement:
    if _elsewhere(question, answer):
        return _nonsense("scores another signal or account")
    for word, value in (("score", answer.score), ("win rate", answer.win_rate)):
        if not _within(value, ZERO, ONE):
            return _nonsense(f"{word} {value} is not within [0, 1]")
    if not answer.expected_r.is_finite() or answer.samples < 0:
        return _nonsense(f"expected R {answer.expected_r} of {answer.samples} samples is no figure")
    return _decided(answer.approved is True, answer.reasons, f"score {answer.score}")


def _sizing(question: AskSizing, answer: Sizing) -> Judgement:
    if _elsewhere(question, answer):
        return _nonsense("sizes another signal or account")
    if not (answer.units.is_finite() and answer.risk.is_finite() and answer.risk >= 0):
        return _nonsense(f"{answer.units} units at risk {answer.risk} are no figures")
    if answer.units == 0:
        return _decided(False, answer.reasons, "nothing fits")
    objection = _prices(question, answer)
    if objection is not None:
        return _nonsense(objection)
    return _decided(True, answer.reasons, f"{answer.units} units")


def _prices(  # noqa: PLR0911 -- a list of what can be wrong
    question: AskSizing, answer: Sizing
) -> str | None:
    side, spec = question.signal.side, question.spec
    price = question.ask if side is Side.BUY else question.bid
    if (answer.units > 0) is not (side is Side.BUY):
        return f"{answer.units} units do not {side}"
    if answer.units != spec.round_units_to_zero(answer.units):
        return f"{answer.units} units are finer than {spec.trade_units_precision} decimals"
    if not (answer.stop_price.is_finite() and answer.stop_price > 0):
        return f"stop {answer.stop_price} is not a price"
    if answer.stop_price != spec.round_price(answer.stop_price):
        return f"stop {answer.stop_price} is finer than {spec.tick}"
    if (answer.stop_price - price) * side.sign >= 0:
        return f"stop {answer.stop_price} is not on the losing side of {price}"
    target = answer.target_price
    if target is None:
        return None
    if not (target.is_finite() and target > 0 and target == spec.round_price(target)):
        return f"target {target} is not a price of {spec.name}"
    if (target - price) * side.sign <= 0:
        return f"target {target} is not on the winning side of {price}"
    return None


def _verdict(question: AskVerdict, answer: Verdict) -> Judgement:
    if _elsewhere(question, answer):
        return _nonsense("judges another signal or account")
    if not (_within(answer.scale, ZERO, ONE) and answer.scale > 0):
        return _nonsense(f"scale {answer.scale} is not within (0, 1]")
    return _decided(answer.approved is True, answer.reasons, f"scale {answer.scale}")


def _elsewhere(
    question: AskScore | AskSizing | AskVerdict, answer: Score | Sizing | Verdict
) -> bool:
    return (
        answer.signal_id != question.signal.signal_id
        or answer.account_id != question.account.account_id
    )
