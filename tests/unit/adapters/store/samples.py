"""Facts and chained records for the tests of stores."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any, get_args

import msgspec
from hypothesis import strategies as st

from orchestrator.model.facts import (
    AccountAdopted,
    AlertRaised,
    BreakerTripped,
    ChecksDecided,
    Fact,
    IntentMoved,
    IntentWritten,
    OperatorActed,
    SignalAccepted,
    SignalEnded,
    StageDecided,
    TransactionApplied,
    actor_of,
    corr_of,
    subject_of,
)
from orchestrator.model.journal import Record
from orchestrator.model.orders import Intent, IntentState, Reservation
from orchestrator.model.outcomes import TradeClosed, TradeOpened, TradeOutcome
from orchestrator.model.safety import Alert, Effect, Scope, Severity
from orchestrator.model.signals import (
    Allocation,
    AskAllocation,
    Outcome,
    Proposal,
    Role,
    Share,
    Side,
    Signal,
)
from orchestrator.model.venue import (
    Account,
    ClientExtensions,
    Trade,
    TradeOpen,
    TradeReduce,
    Transaction,
)

D = Decimal
FACT_TYPES: tuple[type, ...] = get_args(Fact)
ACCOUNT = "101-001-1-001"
START = 1_400_000_000_000_000_000


def chained(facts: Sequence[Fact], last: Record | None = None, ts: int = START) -> list[Record]:
    """Records in the form of SAFETY D1, each chained to the one before."""
    prev = last.hash if last else hashlib.sha256(b"test").digest()
    seq = last.seq if last else 0
    records: list[Record] = []
    for fact in facts:
        seq += 1
        data = msgspec.json.encode(fact, order="sorted")
        digest = hashlib.sha256(prev + data).digest()
        records.append(
            Record(
                seq=seq, ts=ts + seq * 1_000_000, node="n1", epoch=1,
                type=type(fact).__struct_config__.tag, subject=subject_of(fact),
                corr=corr_of(fact), actor=actor_of(fact), data=data, prev=prev, hash=digest,
            )
        )  # fmt: skip
        prev = digest
    return records


def append(store: Any, *facts: Fact) -> list[Record]:
    """Write facts as the host would."""
    records = chained(facts, store.last_record())
    store.append(records, facts)
    return records


def append_after(store: Any, last: Record | None, *facts: Fact) -> list[Record]:
    """As `append`, without asking the store for its last record."""
    records = chained(facts, last)
    store.append(records, facts)
    return records


def signal(signal_id: str = "s1", **changes: Any) -> Signal:
    fields: dict[str, Any] = {
        "signal_id": signal_id, "strategy": "trend", "instrument": "EUR_USD", "side": Side.BUY,
        "reference_price": D("1.10000"), "stop_distance": D("0.00200"), "confidence": D("0.6"),
        "created_ns": START,
    }  # fmt: skip
    return Signal(**(fields | changes))


def proposal(signal_id: str = "s1", account: str = ACCOUNT, leg: str = "1") -> Proposal:
    return Proposal(
        signal_id=signal_id, account_id=account, leg=leg, strategy="trend", regime="trend_up",
        instrument="EUR_USD", side=Side.BUY, units=D(1000), reference_price=D("1.10000"),
        stop_price=D("1.09800"), target_price=D("1.10400"), confidence=D("0.6"), score=D("0.7"),
        created_ns=START, expires_ns=START + 10_000_000_000,
    )  # fmt: skip


def intent(
    signal_id: str = "s1", account: str = ACCOUNT, leg: str = "1", intent_id: str = ""
) -> Intent:
    return Intent(
        intent_id=intent_id or f"tso-{signal_id}-{account}-{leg}",
        proposal=proposal(signal_id, account, leg), body='{"order":{}}', watermark=5, epoch=1,
        generation=3, checked_ns=START, expires_ns=START + 10_000_000_000,
        reservation=Reservation(risk=D("2.1"), notional=D(1100), margin=D(22)),
    )  # fmt: skip


def stage(signal_id: str = "s1", *, passed: bool = True) -> StageDecided:
    return StageDecided(
        signal_id=signal_id, account_id="", stage=Role.DISAGREEMENT, agent_id="disagreement-1",
        agent_version="1", passed=passed, reason="two accounts differ",
        question=AskAllocation(signal=signal(signal_id), accounts=(), seed=1),
        answer=Allocation(
            signal_id=signal_id, confidence=D("0.6"),
            shares=(Share(account_id=ACCOUNT, weight=D(1), reason="least exposed"),),
        ),
        latency_us=120,
    )  # fmt: skip


def path(signal_id: str = "s1", order: int = 7, account: str = ACCOUNT) -> list[Fact]:
    """A signal's whole way to a filled trade, whose ids begin at `order`; 12 facts."""
    one = intent(signal_id, account)
    trade = str(order + 1)
    return [
        SignalAccepted(signal=signal(signal_id), accounts=(account,)),
        stage(signal_id),
        stage(signal_id),
        stage(signal_id),
        stage(signal_id),
        ChecksDecided(
            signal_id=signal_id, account_id=account, passed=True, checks=("C01", "C02"),
            objections=(),
        ),
        IntentWritten(intent=one),
        TransactionApplied(
            account_id=account, source="answer",
            transaction=Transaction(
                id=str(order), type="MARKET_ORDER", instrument="EUR_USD", units=D(1000),
                client_extensions=ClientExtensions(id=one.intent_id),
            ),
        ),
        TransactionApplied(
            account_id=account, source="answer",
            transaction=Transaction(
                id=trade, type="ORDER_FILL", order_id=str(order), client_order_id=one.intent_id,
                units=D(1000), price=D("1.10010"), pl=D(0), account_balance=D(10000),
                trade_opened=TradeOpen(trade_id=trade, units=D(1000), price=D("1.10010")),
            ),
        ),
        TradeOpened(
            account_id=account, trade_id=trade, instrument="EUR_USD", units=D(1000),
            price=D("1.10010"), opened_ns=START, ours=True, intent_id=one.intent_id,
            signal_id=signal_id, strategy="trend", regime="trend_up", stop_price=D("1.09800"),
        ),
        IntentMoved(
            intent_id=one.intent_id, signal_id=signal_id, account_id=account,
            state=IntentState.FILLED, order_id=str(order), trade_id=trade, first_byte_ns=START + 5,
            latency_us=900,
        ),
        SignalEnded(
            signal_id=signal_id, account_id=account, outcome=Outcome.FILLED, stage="", reason=""
        ),
    ]  # fmt: skip


def closing(
    trade: int, pl: str, *, account: str = ACCOUNT, signal_id: str = "s1", units: str = "1000",
    remaining: str = "0", strategy: str = "trend",
) -> list[Fact]:  # fmt: skip
    """The venue's fill that closes a trade, and the ledger's word on it."""
    number = str(trade + 100)
    return [
        TransactionApplied(
            account_id=account, source="stream",
            transaction=Transaction(
                id=number, type="ORDER_FILL", reason="STOP_LOSS_ORDER", order_id=str(trade + 1),
                pl=D(pl), account_balance=D(10000) + D(pl),
                trades_closed=(
                    TradeReduce(trade_id=str(trade), units=-D(units), realized_pl=D(pl)),
                ),
            ),
        ),
        TradeClosed(
            account_id=account, trade_id=str(trade), instrument="EUR_USD", units=D(units),
            remaining=D(remaining), price=D("1.09800"), realized_pl=D(pl), financing=D("-0.0001"),
            closed_ns=START + 60_000_000_000, reason="STOP_LOSS_ORDER", ours=True,
            signal_id=signal_id, strategy=strategy,
        ),
    ]  # fmt: skip


def outcome(trade: int, r_multiple: str, *, account: str = ACCOUNT) -> TradeOutcome:
    return TradeOutcome(
        account_id=account, trade_id=str(trade), signal_id="s1", strategy="trend",
        regime="trend_up", instrument="EUR_USD", side=Side.BUY, units=D(1000),
        entry_price=D("1.10010"), exit_price=D("1.09800"), opened_ns=START,
        closed_ns=START + 60_000_000_000, realized_pl=D("-2.1"), financing=D(0),
        r_multiple=D(r_multiple), mae=D("0.002"), mfe=D("0.0001"), slippage=D("0.0001"),
        exit_reason="STOP_LOSS_ORDER",
    )  # fmt: skip


def adopted(account: str = ACCOUNT, currency: str = "USD", trades: Iterable[Trade] = ()) -> Fact:
    return AccountAdopted(
        account=Account(
            id=account, currency=currency, balance=D(10000), last_transaction_id="5",
            trades=tuple(trades),
        )
    )  # fmt: skip


def tripped(breaker: str = "A1", subject: str = ACCOUNT, evidence: str = "loss 6 %") -> Fact:
    return BreakerTripped(
        breaker=breaker, scope=Scope.ACCOUNT, subject=subject, effect=Effect.FLATTEN,
        evidence=evidence,
    )  # fmt: skip


def alert(severity: Severity = Severity.WARNING, key: str = "k") -> AlertRaised:
    return AlertRaised(
        alert=Alert(key=key, severity=severity, title="T", text="something", at_ns=START)
    )


def note(text: str = "hello") -> OperatorActed:
    return OperatorActed(actor="ann", action="note", text=text)


# -- any fact at all ---------------------------------------------------------------------------

_DECIMALS = st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**9), max_value=10**9)
_TEXT = st.text(max_size=8)


_IDS = st.integers(min_value=1, max_value=2**53).map(str)
_OWN_FORM = {(Transaction, "id"): _IDS, (Account, "last_transaction_id"): _IDS}


class _Shape:
    """A type's description without its representation, which runs to tens of kilobytes."""

    def __init__(self, info: Any) -> None:
        self.info = info


@st.composite
def any_fact(draw: st.DrawFn) -> Fact:
    """A fact of any type, every field filled by its declared type."""
    return draw(a_fact(draw(st.sampled_from(FACT_TYPES))))


def a_fact(kind: type) -> st.SearchStrategy[Fact]:
    """A fact of this type."""
    return _filled(_Shape(msgspec.inspect.type_info(kind)))


@st.composite
def _filled(draw: st.DrawFn, shape: _Shape) -> Any:  # noqa: PLR0911
    info = shape.info
    match info:
        case msgspec.inspect.StructType():
            return info.cls(**{field.name: draw(_field(info.cls, field)) for field in info.fields})
        case msgspec.inspect.UnionType():
            return draw(_filled(_Shape(draw(st.sampled_from(info.types)))))
        case msgspec.inspect.VarTupleType():
            count = draw(st.integers(0, 2))
            return tuple(draw(_filled(_Shape(info.item_type))) for _ in range(count))
        case msgspec.inspect.EnumType():
            return draw(st.sampled_from(list(info.cls)))
        case msgspec.inspect.DecimalType():
            return draw(_DECIMALS)
        case msgspec.inspect.IntType():
            return draw(st.integers(min_value=-(2**53), max_value=2**53))
        case msgspec.inspect.BoolType():
            return draw(st.booleans())
        case msgspec.inspect.NoneType():
            return None
        case msgspec.inspect.StrType():
            return draw(_TEXT)
        case _:
            raise TypeError(f"no strategy for {info}")


def _field(kind: type, field: msgspec.inspect.Field) -> st.SearchStrategy[Any]:
    own = _OWN_FORM.get((kind, field.name))
    return _filled(_Shape(field.type)) if own is None else own
