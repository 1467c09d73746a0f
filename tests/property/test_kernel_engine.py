"""The engine under any interleaving: limits hold together, outcomes are single, runs replay.

Goal: whatever order signals, answers, orders, prices, losses of answers and crashes come in, no
account ever risks more than its limits, every accepted signal ends once at each account, and the
run's events give the same facts and acts to a fresh kernel, and its facts the same state.
Method: hypothesis draws a script; the venue's own books, not the ledger, are the judge.
"""

from __future__ import annotations

import random
from collections import Counter

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.kernel.engine import Kernel
from orchestrator.kernel.ledger import valuation
from orchestrator.model.acts import AskStage
from orchestrator.model.events import EndOverride, SetOverride, SignalSeen
from orchestrator.model.facts import (
    ChecksDecided,
    IntentMoved,
    IntentWritten,
    SignalAccepted,
    SignalEnded,
)
from orchestrator.model.limits import AccountLimits, AccountPlan, CheckLimits
from orchestrator.model.money import Side
from orchestrator.model.orders import Answered, NotSent, Rejected, Unknown
from orchestrator.model.outcomes import RiskAdvice
from orchestrator.model.profiles import PLAIN, Drawdown, Profile
from orchestrator.model.safety import Scope
from tests.unit.kernel.engine_bench import A, B, Bench, C, D, agree, make_plan

LIMITS = AccountLimits(
    risk_per_trade=D("0.01"), max_daily_loss=D("0.02"), max_drawdown=D("0.03"),
    max_concurrent_trades=3,
)  # fmt: skip
ALL = (A, B, C)
# Tight enough that exposures bind beside risk; C16 has a law of its own below.
CHECKS = CheckLimits(
    correlation_max=D(1), instrument_exposure_max=D(4), currency_exposure_max=D(5),
    gross_exposure_max=D(6),
)  # fmt: skip
FIRM = Profile(name="firm", drawdown=Drawdown.END_OF_DAY, profit_target=D("0.001"), orders_a_day=4)
PLAN = make_plan(
    accounts=tuple(
        AccountPlan(account_id=a, limits=LIMITS, profile=FIRM if a == C else PLAIN) for a in ALL
    ),
    total=LIMITS,
    checks=CHECKS,
)  # fmt: skip
TERMINAL = {"filled", "cancelled", "rejected", "absent", "blocked", "expired"}


class Storm:
    """One run: a bench whose questions and orders wait until the script picks them."""

    def __init__(self) -> None:
        self.bench = Bench(PLAN)
        self.questions: list[AskStage] = []
        self.orders: list = []
        self.lost: set[str] = set()

    def collect(self) -> None:
        """Whatever the last events asked for waits; every new intent is judged at once."""
        bench = self.bench
        self.questions.extend(act for act in bench.acts if isinstance(act, AskStage))
        bench.acts = [act for act in bench.acts if not isinstance(act, AskStage)]
        self.orders.extend(bench.orders())

    def play(self, step: tuple[int, int]) -> None:
        kind, number = step
        before = len(self.bench.facts)
        moves = (
            self.new_signal, self.answer, self.answer, self.rush, self.rush, self.fill,
            self.lose, self.refuse, self.price, self.wait, self.reads, self.crash, self.close,
            self.override, self.advise,
        )  # fmt: skip
        moves[kind % len(moves)](number)
        self.collect()
        written = [f.intent for f, _ in self.bench.facts[before:] if isinstance(f, IntentWritten)]
        self.compare_money()
        self.judge({intent.account_id for intent in written})

    # -- moves ---------------------------------------------------------------------------

    def new_signal(self, number: int) -> None:
        name = ("EUR_USD", "GBP_USD", "USD_JPY")[number % 3]
        side = Side.BUY if number % 2 else Side.SELL
        price = self.bench.prices[name]
        distance = price * (2 + number % 5) / 1000
        grid = D("0.001") if name == "USD_JPY" else D("0.00001")
        signal = self.bench.signal(
            instrument=name, side=side, reference_price=price, target_distance=None,
            stop_distance=distance.quantize(grid), ttl_ms=10_000 + number * 100,
        )  # fmt: skip
        self.bench.feed(SignalSeen(signal=signal))

    def rush(self, number: int) -> None:
        """A signal whose stages are all asked at once: its orders wait beside the others'."""
        self.new_signal(number)
        self.collect()
        for _ in range(7):
            self.answer(-3 if number % 8 == 7 else -2)

    def answer(self, number: int) -> None:
        """Any waiting question, with the greediest answer there is, or a modest one."""
        if self.questions:
            ask = self.questions.pop(-1 if number < 0 else number % len(self.questions))
            number = abs(number)
            bad = number % 17 == 0
            units = None
            if ask.role == "parameter_optimization":
                units = ask.question.account.headroom_units * (1 + number % 2)
                if int(ask.question.signal.signal_id[1:]) % 2:
                    units = D(500)  # whatever the headroom, so that counts bind, too
            answer = agree(ask.question, units=units)
            self.bench.reply(ask, None if bad else answer, error="oops" if bad else "")
            self.collect()

    def fill(self, number: int) -> None:
        if self.orders:
            order = self.orders.pop(number % len(self.orders))
            if self.bench.kernel.may_send(order.intent_id, self.bench.now) is None:
                self.bench.fill(order)
            else:
                self.bench.finish(order.intent_id, NotSent(reason="gate", by_gate=True))

    def lose(self, number: int) -> None:
        """The answer is lost; the order may have been filled or not."""
        if not self.orders:
            return
        order = self.orders.pop(number % len(self.orders))
        if self.bench.kernel.may_send(order.intent_id, self.bench.now) is not None:
            self.bench.finish(order.intent_id, NotSent(reason="gate", by_gate=True))
            return
        intent = self.bench.intent(order.intent_id)
        if number % 2:
            self.bench.venue[intent.account_id].fill(intent, intent.proposal.reference_price)
        self.bench.finish(order.intent_id, Unknown(reason="time-out"))

    def refuse(self, number: int) -> None:
        if not self.orders:
            return
        order = self.orders.pop(number % len(self.orders))
        intent = self.bench.intent(order.intent_id)
        if number % 2:
            self.bench.finish(order.intent_id, Rejected(status=400, code="X", message="no"))
            return
        made = self.bench.venue[intent.account_id].cancel(intent, "INSUFFICIENT_MARGIN")
        last = made[-1].number
        self.bench.finish(
            order.intent_id, Answered(status=201, transactions=made, last_transaction_id=last)
        )

    def price(self, number: int) -> None:
        name = ("EUR_USD", "GBP_USD", "USD_JPY")[number % 3]
        base = {"EUR_USD": D("1.1"), "GBP_USD": D("1.3"), "USD_JPY": D("150")}[name]
        grid = D("0.001") if name == "USD_JPY" else D("0.00001")
        moved = base * (1 + D(number % 11 - 5) / 5_000)
        self.bench.prices[name] = moved.quantize(grid)
        self.bench.now += 50_000_000
        self.bench.tick(name, self.bench.prices[name])

    def wait(self, number: int) -> None:
        self.bench.wait(1 + number % 6)

    def reads(self, _number: int) -> None:
        self.bench.serve_reads()

    def crash(self, number: int) -> None:
        """A new life from what is durable; answers and senders of the old one are gone."""
        if number % 4:
            return
        bench = self.bench
        copy = Kernel(PLAN)
        for fact, at in bench.facts:
            copy.apply(fact, at)
        assert copy.snapshot() == bench.kernel.snapshot()
        bench.kernel = copy
        for order in self.orders:  # what was handed over may have reached the venue, or not
            intent = bench.intent(order.intent_id)
            if number % 8 == 0:
                bench.venue[intent.account_id].fill(intent, intent.proposal.reference_price)
        self.questions, self.orders, bench.acts = [], [], []
        bench.start_life(unclean=True)
        bench.tick_all()
        bench.serve_reads()
        bench.serve_reads()

    def close(self, number: int) -> None:
        account = self.bench.venue[ALL[number % 3]]
        told = self.bench.kernel.books[account.account_id].trades
        ours = [t for t in account.trades if t in told]
        if ours:
            trade = ours[number % len(ours)]
            self.bench.stream(account.account_id, *account.close(trade, D("1.1"), D("-20.0000")))

    def override(self, number: int) -> None:
        """People tighten and untighten a limit, loosen one that the judge does not know."""
        named = {"actor": "ann", "role": "admin", "reason": "storm"}
        name = f"o{number % 4}"
        if number % 8 > 3:
            self.bench.feed(EndOverride(override_id=name, **named))
            return
        tightens = number % 2 == 0
        self.bench.feed(SetOverride(
            override_id=name, scope=Scope.ACCOUNT, subject=ALL[number % 3],
            limit="risk_per_trade" if tightens else "size_median_factor",
            value=D("0.004") if tightens else D(50), uses_max=2,
            until_ns=None if tightens else self.bench.now + 20_000_000_000, **named,
        ))  # fmt: skip

    def advise(self, number: int) -> None:
        self.bench.feed(RiskAdvice(
            source="pattern_detection", scale=D(number % 11) / 10, text="storm",
            until_ns=self.bench.now + (number % 5) * 5_000_000_000,
            account_id="" if number % 4 == 0 else ALL[number % 3],
        ))  # fmt: skip

    # -- the judge -----------------------------------------------------------------------

    def open_intents(self) -> dict[str, list]:
        """By account: intents of which no end was said."""
        ended = {f.intent_id for f in self.bench.said(IntentMoved) if f.state in TERMINAL}
        found: dict[str, list] = {name: [] for name in ALL}
        for fact in self.bench.said(IntentWritten):
            if fact.intent.intent_id not in ended:
                found[fact.intent.account_id].append(fact.intent)
        return found

    def compare_money(self) -> None:
        """What the engine remembers of an account's worth is what it would work out anew."""
        kernel = self.bench.kernel
        for name, book in kernel.books.items():
            assert kernel.nav(name) == valuation.nav(book, kernel.quotes)
            view = kernel.account_view(name, self.bench.now)
            reserved = sum((r.margin for r in kernel.reservations(name)), D(0))
            assert view is None or view.margin_used == kernel.margin_used(name) + reserved

    def judge(self, names: set[str]) -> None:
        """By the venue's books and the intents' own words, at the worst that could come.

        Only where an intent was written just now: prices alone may carry an account over.
        """
        if not names:
            return
        flying = self.open_intents()
        self.judge_exposures(names, flying)
        self.judge_opposition(names, flying)
        for name in names:
            account, funds = self.bench.venue[name], self.bench.kernel.day_values(name)
            known = self.bench.kernel.books[name].trades
            trades = [t for t in account.trades.values() if t.id in known]
            assert len(trades) + len(flying[name]) <= LIMITS.max_concurrent_trades
            risk = sum((self.loss_at_stop(t, account) for t in trades), D(0))
            risk += sum((i.reservation.risk for i in flying[name]), D(0))
            lost = max(D(0), funds.equity_start - funds.nav)
            assert lost + risk <= LIMITS.max_daily_loss * funds.equity_start + 1
            fallen = max(D(0), funds.peak - funds.nav)
            assert fallen + risk <= LIMITS.max_drawdown * funds.peak + 1
            margin = sum((self.margin(t, account) for t in trades), D(0))
            margin += sum((i.reservation.margin for i in flying[name]), D(0))
            assert margin <= funds.nav / 2 + 1
            for intent in flying[name]:
                if intent.checked_ns == self.bench.now:
                    allowed = LIMITS.risk_per_trade * min(account.balance, funds.nav)
                    assert intent.reservation.risk <= allowed + 1

    def judge_exposures(self, names: set[str], flying: dict[str, list]) -> None:
        """C15 by a second way: every subset of what is in flight may fill, and the rest not."""
        gross = worth = D(0)
        for name in ALL:
            account, funds = self.bench.venue[name], self.bench.kernel.day_values(name)
            known = self.bench.kernel.books[name].trades
            held = [
                (t.instrument, t.current_units * self.mid(t.instrument))
                for t in account.trades.values() if t.id in known
            ]  # fmt: skip
            held = [(name_, value * self.rate(name_, account)) for name_, value in held]
            waiting = [
                (i.instrument, i.reservation.notional * i.proposal.side.sign) for i in flying[name]
            ]
            worst = [
                sums_of(held + [w for place, w in enumerate(waiting) if chosen >> place & 1])
                for chosen in range(2 ** len(waiting))
            ]
            if name in names:
                room = D("1.002") * funds.nav
                for legs, instruments in worst:
                    assert all(abs(v) <= 4 * room for v in instruments.values())
                    assert all(abs(v) <= 5 * room for v in legs.values())
                    assert sum(map(abs, instruments.values())) <= 6 * room
            dollars = D(1) if account.currency == "USD" else self.bench.prices["EUR_USD"]
            gross += dollars * max(sum(map(abs, i.values()), D(0)) for _, i in worst)
            worth += dollars * funds.nav
        assert gross <= 6 * worth * D("1.002")

    def judge_opposition(self, names: set[str], flying: dict[str, list]) -> None:
        """C19: where an order was just made, no other account stands against it."""
        for name in names:
            for intent in flying[name]:
                if intent.checked_ns != self.bench.now:
                    continue
                for other in set(ALL) - {name}:
                    known = self.bench.kernel.books[other].trades
                    against = [
                        t.current_units for t in self.bench.venue[other].trades.values()
                        if t.id in known and t.instrument == intent.instrument
                    ]  # fmt: skip
                    against += [
                        i.proposal.units for i in flying[other] if i.instrument == intent.instrument
                    ]
                    assert all(u * intent.proposal.units > 0 for u in against)

    def mid(self, instrument: str) -> object:
        spread = D("0.010") if instrument == "USD_JPY" else D("0.00010")
        return self.bench.prices[instrument] + spread / 2

    def rate(self, instrument: str, account) -> object:
        """Home worth of one unit of the quote currency, within the file's precision."""
        prices = self.bench.prices
        dollars = 1 / prices["USD_JPY"] if instrument == "USD_JPY" else D(1)
        return dollars if account.currency == "USD" else dollars / prices["EUR_USD"]

    def loss_at_stop(self, trade, account) -> object:
        stop = next(o.price for o in account.orders.values() if o.trade_id == trade.id)
        bid = self.bench.prices[trade.instrument]
        spread = D("0.010") if trade.instrument == "USD_JPY" else D("0.00010")
        size = abs(trade.current_units)
        away = bid - stop if trade.current_units > 0 else stop - bid - spread
        return max(D(0), (away + spread) * size * self.rate(trade.instrument, account))

    def margin(self, trade, account) -> object:
        """Netted by instrument it can only be less."""
        others = [
            t.current_units for t in account.trades.values() if t.instrument == trade.instrument
        ]
        share = abs(sum(others)) / sum(abs(u) for u in others)
        worth = self.bench.prices[trade.instrument] * self.rate(trade.instrument, account)
        return abs(trade.current_units) * share * worth * D("0.02")

    def finish(self) -> None:
        """The storm is over: everything settles."""
        self.questions.clear()
        for order in self.orders:
            self.bench.finish(order.intent_id, NotSent(reason="gate", by_gate=True))
        for _ in range(50):
            self.bench.wait(1)
            self.bench.serve_reads()
        self.collect()


def sums_of(values: list) -> tuple[dict, dict]:
    """Signed sums by currency, and by instrument."""
    legs: dict[str, object] = {}
    instruments: dict[str, object] = {}
    for name, value in values:
        base, quote = name.split("_")
        legs[base] = legs.get(base, D(0)) + value
        legs[quote] = legs.get(quote, D(0)) - value
        instruments[name] = instruments.get(name, D(0)) + value
    return legs, instruments


SCRIPTS = st.lists(st.tuples(st.integers(0, 14), st.integers(0, 63)), min_size=5, max_size=70)
STORMY = settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow], database=None
)


@given(SCRIPTS)
@STORMY
def test_limits_hold_together_and_every_signal_ends_once(script):
    storm = Storm()
    for step in script:
        storm.play(step)
    storm.finish()
    bench = storm.bench
    ends = Counter((f.signal_id, f.account_id) for f in bench.said(SignalEnded))
    assert all(count == 1 for count in ends.values()), ends
    for accepted in bench.said(SignalAccepted):
        for account in accepted.accounts:
            assert (accepted.signal.signal_id, account) in ends
    assert bench.kernel.in_flight() == ()
    live = bench.kernel._world.live  # INV-17: nothing is left behind
    assert (live.paths.asks, live.paths.progress) == ({}, {})
    assert (live.settling, live.sent) == ({}, {})
    written = Counter(f.intent.intent_id for f in bench.said(IntentWritten))
    assert all(count == 1 for count in written.values())  # INV-02
    for name in ALL:  # INV-06: the venue is the judge
        book, account = bench.kernel.books[name], bench.venue[name]
        assert book.last_id == account.last_id
        assert book.balance == account.balance
        assert {t: book.trades[t].units for t in book.trades} == {
            t.id: t.current_units for t in account.trades.values()
        }


@given(SCRIPTS, st.integers(0, 1_000))
@STORMY
def test_a_recorded_run_gives_the_same_facts_acts_and_state(script, cut):
    storm = Storm()
    said: list[tuple] = []
    feed = storm.bench.feed

    def recording(event):
        step = feed(event)
        said.append((event, storm.bench.now, step))
        return step

    storm.bench.feed = recording
    first = storm.bench.kernel.snapshot()
    begun = len(storm.bench.facts)
    for kind, number in script:
        if kind != 11:  # one life: a crash is another law's matter
            storm.play((kind, number))
    bench = storm.bench
    fresh = Bench(PLAN)  # the same beginning
    assert fresh.kernel.snapshot() == first
    for event, now, step in said:
        again = fresh.kernel.step(event, now)
        assert again == step
    assert fresh.kernel.snapshot() == bench.kernel.snapshot()
    # The facts alone, and a snapshot in the middle with the facts after it, give the same state.
    facts = bench.facts
    middle = begun + cut % max(1, len(facts) - begun)
    replayed = Kernel(PLAN)
    for fact, at in facts[:middle]:
        replayed.apply(fact, at)
    resumed = Kernel(PLAN)
    resumed.restore(replayed.snapshot())
    for fact, at in facts[middle:]:
        resumed.apply(fact, at)
    assert resumed.snapshot() == bench.kernel.snapshot()


def test_the_storm_really_reaches_every_shore():
    """Guards the two laws above against scripts that never get anywhere."""
    dice, states, objections, kinds = random.Random(1), Counter(), Counter(), Counter()
    for _ in range(60):
        storm = Storm()
        for _ in range(60):
            storm.play((dice.randrange(15), dice.randrange(64)))
        states.update(str(f.state) for f in storm.bench.said(IntentMoved))
        for fact in storm.bench.said(ChecksDecided):
            objections.update(text.split()[0] for text in fact.objections)
        kinds.update(type(f).__name__ for f, _ in storm.bench.facts)
    assert {"filled", "cancelled", "rejected", "unknown", "absent", "blocked"} <= set(states)
    assert states["filled"] > 50
    assert {"C10", "C11", "C12", "C15", "C19"} <= set(objections)
    assert {"TradeClosed", "ServiceStarted", "BreakerTripped"} <= set(kinds)
    assert {"OverrideSet", "OverrideEnded", "RiskAdvised"} <= set(kinds)
