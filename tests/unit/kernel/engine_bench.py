"""A bench for the engine: a kernel, a hand-cranked clock, agents that agree, and a small venue."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal

from orchestrator.kernel.engine import Kernel, Step
from orchestrator.kernel.orders.identity import intent_id
from orchestrator.model.acts import (
    Act,
    AskStage,
    FetchAccount,
    FetchTransactions,
    SendAlert,
    SendOrder,
)
from orchestrator.model.events import (
    AccountSeen,
    Event,
    SendFinished,
    SignalSeen,
    SpecsSeen,
    StageAnswered,
    Started,
    StartTrading,
    TransactionsSeen,
)
from orchestrator.model.facts import (
    AlertRaised,
    BreakerTripped,
    Fact,
    IntentWritten,
    SignalEnded,
)
from orchestrator.model.limits import AccountPlan, CheckLimits, KernelPlan
from orchestrator.model.market import Beat, StreamBeat, Tick
from orchestrator.model.money import ONE, InstrumentSpec, Side
from orchestrator.model.orders import Answered, Intent, WriteOutcome
from orchestrator.model.signals import (
    Allocation,
    AskAllocation,
    AskScore,
    AskSizing,
    Score,
    Share,
    Signal,
    Sizing,
    Verdict,
)
from orchestrator.model.time import NS_PER_S, parse_time
from orchestrator.model.venue import Account, Order, Trade, TradeOpen, Transaction
from orchestrator.model.venue import ClientExtensions as Ext

D = Decimal
A, B, C = "101-001-1-001", "101-001-1-002", "101-001-1-003"
START = parse_time("2026-11-18T14:00:00Z")  # a Wednesday, mid session
EUR_USD = InstrumentSpec(name="EUR_USD")
GBP_USD = InstrumentSpec(name="GBP_USD")
USD_JPY = InstrumentSpec(name="USD_JPY", pip_location=-2, display_precision=3)
SPECS = (EUR_USD, GBP_USD, USD_JPY)


def make_plan(**changes) -> KernelPlan:
    """Two accounts, three instruments; `changes` replace fields."""
    fields = {
        "accounts": (AccountPlan(account_id=A), AccountPlan(account_id=B)),
        "instruments": tuple(spec.name for spec in SPECS),
        "calendar": "always",
        # The bench's agents give every signal to both accounts: C16 has tests of its own.
        "checks": CheckLimits(correlation_max=ONE),
    }
    return KernelPlan(**{**fields, **changes})


@dataclass
class FakeAccount:
    """What the venue holds of one account, in the least that the kernel looks at."""

    account_id: str
    currency: str
    balance: Decimal
    last_id: int = 10
    trades: dict[str, Trade] = field(default_factory=dict)
    orders: dict[str, Order] = field(default_factory=dict)
    log: list[Transaction] = field(default_factory=list)

    def next_id(self) -> str:
        self.last_id += 1
        return str(self.last_id)

    def seen(self, nav: Decimal | None = None) -> AccountSeen:
        positions = {}
        for trade in self.trades.values():
            long, short = positions.get(trade.instrument, (D(0), D(0)))
            units = trade.current_units
            positions[trade.instrument] = (long + max(units, D(0)), short + min(units, D(0)))
        from orchestrator.model.venue import Position, PositionSide

        return AccountSeen(
            account=Account(
                id=self.account_id, currency=self.currency, balance=self.balance, nav=nav,
                last_transaction_id=str(self.last_id), margin_rate=D("0.02"),
                trades=tuple(self.trades.values()), orders=tuple(self.orders.values()),
                positions=tuple(
                    Position(
                        instrument=name, long=PositionSide(units=long),
                        short=PositionSide(units=short),
                    )
                    for name, (long, short) in positions.items()
                ),
            )
        )  # fmt: skip

    def add(self, **fields) -> Transaction:
        tx = Transaction(id=self.next_id(), account_id=self.account_id, **fields)
        self.log.append(tx)
        return tx

    def fill(self, intent: Intent, price: Decimal, *, stop: bool = True) -> tuple[Transaction, ...]:
        """A market order and its fill, with its stop unless told otherwise."""
        order, names = intent.proposal, Ext(id=intent.intent_id)
        first = len(self.log)
        made = self.add(
            type="MARKET_ORDER", instrument=order.instrument, units=order.units,
            client_extensions=names, reason="CLIENT_ORDER",
        )  # fmt: skip
        trade_id = str(self.last_id + 1)
        self.add(
            type="ORDER_FILL", order_id=made.id, client_order_id=intent.intent_id, price=price,
            instrument=order.instrument, units=order.units, pl=D(0), financing=D(0),
            commission=D(0), account_balance=self.balance, reason="MARKET_ORDER",
            trade_opened=TradeOpen(
                trade_id=trade_id, units=order.units, price=price, client_extensions=names
            ),
        )  # fmt: skip
        self.trades[trade_id] = Trade(
            id=trade_id, instrument=order.instrument, price=price, initial_units=order.units,
            current_units=order.units, client_extensions=names,
        )  # fmt: skip
        if stop:
            tied = self.add(
                type="STOP_LOSS_ORDER", trade_id=trade_id, price=order.stop_price, reason="ON_FILL"
            )
            self.orders[tied.id] = Order(
                id=tied.id, type="STOP_LOSS", trade_id=trade_id, price=order.stop_price
            )
        return tuple(self.log[first:])

    def cancel(self, intent: Intent, reason: str) -> tuple[Transaction, ...]:
        """A market order that the venue cancelled at once."""
        order = intent.proposal
        made = self.add(
            type="MARKET_ORDER", instrument=order.instrument, units=order.units,
            client_extensions=Ext(id=intent.intent_id), reason="CLIENT_ORDER",
        )  # fmt: skip
        ended = self.add(
            type="ORDER_CANCEL", order_id=made.id, client_order_id=intent.intent_id, reason=reason
        )
        return made, ended

    def close(self, trade_id: str, price: Decimal, pl: Decimal) -> tuple[Transaction, ...]:
        """The whole trade is closed by its stop; the stop order goes with the fill."""
        from orchestrator.model.venue import TradeReduce

        trade = self.trades.pop(trade_id)
        stop = next(o for o in self.orders.values() if o.trade_id == trade_id)
        del self.orders[stop.id]
        self.balance += pl
        tx = self.add(
            type="ORDER_FILL", order_id=stop.id, instrument=trade.instrument, price=price,
            units=-trade.current_units, pl=pl, financing=D(0), commission=D(0),
            account_balance=self.balance, reason="STOP_LOSS_ORDER",
            trades_closed=(
                TradeReduce(
                    trade_id=trade_id, units=-trade.current_units, price=price, realized_pl=pl
                ),
            ),
        )  # fmt: skip
        return (tx,)


def _every_trip_is_told(step: Step) -> None:
    """B3: in the step that trips a breaker there is an alert that names it; T4's is one for all."""
    told = {fact.alert.key for fact in step.facts if isinstance(fact, AlertRaised)}
    told |= {f"sent {act.alert.key}" for act in step.acts if isinstance(act, SendAlert)}
    for fact in step.facts:
        if (
            isinstance(fact, BreakerTripped)
            and fact.breaker != "E3"
            and "breakers:lost" not in told
        ):
            each = f"breaker:{fact.breaker}:{fact.subject}"
            key = "breaker:T4" if fact.breaker == "T4" else each
            assert {key, f"sent {key}"} <= told, f"{key} trips in silence"
            assert fact.evidence, f"{key} trips without evidence"


class Bench:
    """Feeds a kernel, keeps everything that went in and came out."""

    def __init__(self, plan: KernelPlan | None = None, *, begin: bool = True) -> None:
        self.plan = plan or make_plan()
        self.kernel = Kernel(self.plan)
        self.now = START
        self.heard: list[tuple[Event, int]] = []
        self.facts: list[tuple[Fact, int]] = []
        self.acts: list[Act] = []
        self.venue = {
            A: FakeAccount(A, "USD", D(100_000)),
            B: FakeAccount(B, "EUR", D(50_000)),
            C: FakeAccount(C, "USD", D(20_000)),
        }
        self.prices = {"EUR_USD": D("1.10000"), "GBP_USD": D("1.30000"), "USD_JPY": D("150.000")}
        self.epoch = 0
        self.count = 0
        if begin:
            self.begin()

    # -- feeding ---------------------------------------------------------------------------------

    def feed(self, event: Event) -> Step:
        step = self.kernel.step(event, self.now)
        _every_trip_is_told(step)
        self.heard.append((event, self.now))
        self.facts.extend((fact, self.now) for fact in step.facts)
        self.acts.extend(step.acts)
        return step

    def begin(self, *, run: bool = True) -> None:
        """A life from its start: rules, accounts, prices, and a person who starts it."""
        self.start_life()
        for account in self.known():
            self.feed(account.seen())
        self.tick_all()
        self.tick_all()
        self.beat()
        if run:
            self.feed(StartTrading(actor="ann"))
            assert self.kernel.mode == "running"

    def start_life(self, latched: str | None = None, *, unclean: bool = False) -> Step:
        self.epoch += 1
        step = self.feed(
            Started(
                version="1", node="n", epoch=self.epoch, config_digest="d", unclean=unclean,
                latched_stop_id=latched,
            )
        )  # fmt: skip
        for account in self.known():
            self.feed(SpecsSeen(account_id=account.account_id, specs=SPECS))
        return step

    def known(self) -> list[FakeAccount]:
        return [self.venue[plan.account_id] for plan in self.plan.accounts]

    def tick(self, instrument: str, bid, ask=None, **fields) -> Step:
        bid = D(bid)
        ask = (
            bid + (D("0.010") if instrument == "USD_JPY" else D("0.00010")) if ask is None else ask
        )
        times = {"venue_ns": self.now, "seen_ns": self.now, **fields}
        return self.feed(Tick(instrument=instrument, bid=bid, ask=D(ask), **times))

    def tick_all(self) -> None:
        for name in self.plan.instruments:
            self.tick(name, self.prices[name])

    def hearts(self) -> None:
        for account in self.known():
            self.feed(
                StreamBeat(
                    stream="transactions", account_id=account.account_id, venue_ns=self.now,
                    seen_ns=self.now, last_transaction_id=str(account.last_id),
                )
            )  # fmt: skip

    def beat(self) -> Step:
        return self.feed(Beat(now_ns=self.now))

    def wait(self, seconds: float, *, alive: bool = True) -> None:
        """Market time passes, a beat each second; alive: streams and prices go on."""
        whole, rest = divmod(round(seconds * NS_PER_S), NS_PER_S)
        for _ in range(whole):
            self.now += NS_PER_S
            if alive:
                self.tick_all()
                self.hearts()
            self.beat()
        self.now += rest

    def rest(self, seconds: int) -> None:
        """As `wait`, in strides of ten seconds: for long times in which nothing happens."""
        for _ in range(seconds // 10):
            self.now += 10 * NS_PER_S
            self.tick_all()
            self.hearts()
            self.beat()
        self.wait(seconds % 10)

    # -- signals ---------------------------------------------------------------------------------

    def signal(self, **fields) -> Signal:
        self.count += 1
        wanted = {
            "signal_id": f"s{self.count}", "strategy": f"trend{self.count}",
            "instrument": "EUR_USD", "side": Side.BUY, "reference_price": D("1.10010"),
            "stop_distance": D("0.00200"), "target_distance": D("0.00400"),
            "confidence": D("0.6"), "created_ns": self.now, "ttl_ms": 10_000,
        }  # fmt: skip
        return Signal(**{**wanted, **fields})

    def send_signal(self, **fields) -> Signal:
        """Feed a signal and let agreeable agents answer; orders wait in `orders()`."""
        signal = self.signal(**fields)
        self.answer(self.feed(SignalSeen(signal=signal)))
        return signal

    def feed_signal(self, **fields) -> Step:
        """The signal alone: its questions wait."""
        return self.feed(SignalSeen(signal=self.signal(**fields)))

    def answer(self, step: Step, **changes) -> None:
        """Answer every question of a step, and those that follow from it."""
        waiting = list(step.acts)
        while waiting:
            act = waiting.pop(0)
            if isinstance(act, AskStage):
                waiting.extend(self.reply(act, agree(act.question, **changes)).acts)

    def reply(self, act: AskStage, answer, error: str = "") -> Step:
        return self.feed(
            StageAnswered(
                ask_id=act.ask_id,
                agent_id="agent-1",
                agent_version="1",
                answer=answer,
                error=error,
                latency_us=5,
            )
        )

    # -- orders ----------------------------------------------------------------------------------

    def orders(self) -> list[SendOrder]:
        """Take what is to be sent."""
        found = [act for act in self.acts if isinstance(act, SendOrder)]
        self.acts = [act for act in self.acts if not isinstance(act, SendOrder)]
        return found

    def acts_of_orders(self) -> list[SendOrder]:
        """As `orders`, and they stay."""
        return [act for act in self.acts if isinstance(act, SendOrder)]

    def intent(self, name: str) -> Intent:
        return next(
            fact.intent
            for fact, _ in self.facts
            if isinstance(fact, IntentWritten) and fact.intent.intent_id == name
        )

    def finish(self, name: str, outcome: WriteOutcome) -> Step:
        return self.feed(
            SendFinished(intent_id=name, outcome=outcome, first_byte_ns=self.now, latency_us=100)
        )

    def fill(self, act: SendOrder, *, stop: bool = True) -> Step:
        """The venue fills it, and says so in the answer."""
        intent = self.intent(act.intent_id)
        price = self.kernel.quotes.tick(intent.instrument)
        paid = price.ask if intent.proposal.side is Side.BUY else price.bid
        account = self.venue[intent.account_id]
        made = account.fill(intent, paid, stop=stop)
        return self.finish(
            act.intent_id,
            Answered(status=201, transactions=made, last_transaction_id=account.last_id),
        )

    def fill_all(self) -> int:
        orders = self.orders()
        for act in orders:
            self.fill(act)
        return len(orders)

    def read(self, account_id: str, since: int) -> Step:
        """The venue answers a read of the log."""
        account = self.venue[account_id]
        return self.feed(
            TransactionsSeen(
                account_id=account_id,
                transactions=tuple(tx for tx in account.log if tx.number > since),
                last_transaction_id=account.last_id, source="gap_fill",
                complete_to=account.last_id,
            )
        )  # fmt: skip

    def stream(self, account_id: str, *transactions: Transaction) -> Step:
        return self.feed(
            TransactionsSeen(
                account_id=account_id,
                transactions=transactions,
                last_transaction_id=max((tx.number for tx in transactions), default=0),
                source="stream",
            )
        )

    def serve_reads(self) -> int:
        """Answer every read that was asked for, by what the venue has."""
        wanted = [a for a in self.acts if isinstance(a, FetchTransactions | FetchAccount)]
        self.acts = [a for a in self.acts if not isinstance(a, FetchTransactions | FetchAccount)]
        for act in wanted:
            if isinstance(act, FetchTransactions):
                self.read(act.account_id, act.since)
            else:
                self.feed(self.venue[act.account_id].seen())
        return len(wanted)

    # -- looking ---------------------------------------------------------------------------------

    def said(self, kind: type) -> list:
        return [fact for fact, _ in self.facts if isinstance(fact, kind)]

    def done(self, kind: type) -> list:
        return [act for act in self.acts if isinstance(act, kind)]

    def ends(self, signal_id: str) -> dict[str, SignalEnded]:
        """The outcome by account; an account that ended twice is a failure at once."""
        found: dict[str, SignalEnded] = {}
        for fact in self.said(SignalEnded):
            if fact.signal_id == signal_id:
                assert fact.account_id not in found, f"two outcomes: {fact}"
                found[fact.account_id] = fact
        return found

    def name(self, signal: Signal, account_id: str) -> str:
        return intent_id(signal.signal_id, account_id, "1")


def agree(question, *, units=None, scale=ONE):
    """What an agent says that finds everything fine; sizes are small and within headroom."""
    signal = question.signal
    if isinstance(question, AskAllocation):
        return Allocation(
            signal_id=signal.signal_id, confidence=signal.confidence,
            shares=tuple(
                Share(account_id=view.account_id, weight=ONE, reason="fits")
                for view in question.accounts
            ),
        )  # fmt: skip
    named = {"signal_id": signal.signal_id, "account_id": question.account.account_id}
    if isinstance(question, AskScore):
        return Score(
            **named, approved=True, score=D("0.7"), expected_r=D("0.2"), win_rate=D("0.5"),
            samples=0, reasons=("fine",),
        )  # fmt: skip
    if isinstance(question, AskSizing):
        price = question.ask if signal.side is Side.BUY else question.bid
        sign = signal.side.sign
        size = min(D(1_000), question.account.headroom_units) if units is None else D(units)
        target = signal.target_distance
        return Sizing(
            **named, units=size * sign, stop_price=price - sign * signal.stop_distance,
            target_price=None if target is None else price + sign * target, risk=D(1),
            reasons=("small",),
        )  # fmt: skip
    return Verdict(**named, approved=True, scale=scale, reasons=("calm",))
