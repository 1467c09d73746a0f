"""Liquidation: cancels, closes and reads again until the venue itself says flat, twice."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from decimal import Decimal
from itertools import pairwise
from types import SimpleNamespace

import msgspec
import pytest

from orchestrator.model.errors import VenueError, VenueNonsense, VenueRefused, VenueSilent
from orchestrator.model.events import LiquidationSeen
from orchestrator.model.money import AccountId, InstrumentName
from orchestrator.model.orders import Answered, NotSent, Rejected, Unknown, WriteKind, WriteRequest
from orchestrator.model.safety import AccountReceipt, StopState
from orchestrator.model.venue import (
    Account,
    Order,
    Position,
    PositionSide,
    Trade,
    TradeReduce,
    Transaction,
)
from orchestrator.service.liquidation import Liquidator
from orchestrator.service.seams import VirtualClock
from orchestrator.service.virtual import run_virtual
from tests.unit.service.parts import START_NS, A, B

D = Decimal


class Shop:
    """A venue of few words: trades by id, entry and dependent orders; halted, troubled at will."""

    def __init__(self) -> None:
        self.trades: dict[AccountId, dict[str, tuple[str, Decimal]]] = {A: {}, B: {}}
        self.orders: dict[AccountId, dict[str, str]] = {A: {}, B: {}}
        self.last: dict[AccountId, int] = {A: 100, B: 100}
        self.halted = False
        self.away: dict[AccountId, VenueError | None] = {A: None, B: None}
        self.outcomes: list[object] = []  # instead of doing what is asked, first come first served
        self.reads: list[tuple[float, AccountId]] = []
        self.written: list[tuple[float, WriteRequest]] = []
        self.lag: list[Account] = []  # stale answers to the next reads
        self.on_read: Callable[[], None] = lambda: None

    def open(self, account: AccountId, trade: str, name: str, units: int) -> None:
        self.last[account] += 1
        self.trades[account][trade] = (name, D(units))

    def seen(self, account: AccountId) -> Account:
        sides: dict[str, tuple[Decimal, Decimal]] = {}
        for name, units in self.trades[account].values():
            long, short = sides.get(name, (D(0), D(0)))
            sides[name] = (long + max(units, D(0)), short + min(units, D(0)))
        return Account(
            id=account, currency="USD", balance=D(1000),
            last_transaction_id=str(self.last[account]),
            trades=tuple(
                Trade(id=t, instrument=InstrumentName(n), price=D(1), current_units=u)
                for t, (n, u) in self.trades[account].items()
            ),
            positions=tuple(
                Position(
                    instrument=InstrumentName(n), long=PositionSide(units=long),
                    short=PositionSide(units=short), margin_used=abs(long) + abs(short),
                )
                for n, (long, short) in sides.items()
            ),
            orders=tuple(Order(id=o, type=t) for o, t in self.orders[account].items()),
        )  # fmt: skip

    async def account(self, account_id: AccountId) -> Account:
        self.reads.append((asyncio.get_running_loop().time(), account_id))
        self.on_read()
        trouble = self.away[account_id]
        if isinstance(trouble, VenueSilent):
            await asyncio.sleep(5.0)
        if trouble is not None:
            raise trouble
        return self.lag.pop(0) if self.lag else self.seen(account_id)

    def submit(self, request, gate, done) -> None:
        loop = asyncio.get_running_loop()
        assert gate() is None, "a closed gate must not hold back what reduces risk"
        self.written.append((loop.time(), request))
        outcome = self.outcomes.pop(0) if self.outcomes else self._do(request)
        loop.call_later(0.01, done, outcome, START_NS)

    def _do(self, request: WriteRequest) -> Answered | Rejected:
        account = request.account_id
        if request.kind is WriteKind.CANCEL:
            if self.orders[account].pop(request.target, None) is None:
                return Rejected(status=404, code="ORDER_DOESNT_EXIST", message="gone")
            return self._answer(account, type="ORDER_CANCEL", order_id=request.target,
                                reason="CLIENT_REQUEST")  # fmt: skip
        assert request.kind is WriteKind.CLOSE_POSITION
        if self.halted:
            return self._answer(account, type="ORDER_CANCEL", reason="MARKET_HALTED")
        sides = msgspec.json.decode(request.body)
        mine = {t: u for t, (n, u) in self.trades[account].items() if n == request.target}
        for side, has in (("longUnits", any(u > 0 for u in mine.values())),
                          ("shortUnits", any(u < 0 for u in mine.values()))):  # fmt: skip
            if side in sides and not has:
                return Rejected(status=400, code="CLOSEOUT_POSITION_DOESNT_EXIST", message=side)
        gone = [t for t, u in mine.items() if ("longUnits" if u > 0 else "shortUnits") in sides]
        for trade in gone:
            del self.trades[account][trade]
        return self._answer(
            account, type="ORDER_FILL", pl=D(-1),
            trades_closed=tuple(TradeReduce(trade_id=t, units=D(1)) for t in gone),
        )  # fmt: skip

    def _answer(self, account: AccountId, **fields: object) -> Answered:
        self.last[account] += 1
        made = Transaction(id=str(self.last[account]), account_id=account, **fields)
        return Answered(status=200, transactions=(made,), last_transaction_id=self.last[account])


class Ear:
    """The engine as the liquidator knows it."""

    def __init__(self) -> None:
        self.in_flight: list[object] = []
        self.kernel = SimpleNamespace(in_flight=lambda: self.in_flight)
        self.steps: list[LiquidationSeen] = []
        self.told: list[object] = []

    def handle(self, event: LiquidationSeen) -> None:
        self.steps.append(event)

    def venue_said(self, _: AccountId, outcome: object) -> None:
        self.told.append(outcome)

    def may_reduce(self) -> str | None:
        return None


class Scene:
    def __init__(self, seed: int = 1) -> None:
        self.shop, self.ear = Shop(), Ear()
        self.states: list[tuple[float, AccountId, StopState]] = []
        self.troubles: list[tuple[AccountId, float, str]] = []
        self.seed = seed
        self.took: dict[AccountId, float] = {}

    def changed(self, _: str, receipt: AccountReceipt, state: StopState) -> None:
        now = asyncio.get_running_loop().time()
        self.states.append((now, receipt.account_id, state))

    def run(
        self, *accounts: AccountId, meanwhile=None, limit_s: float = 3600
    ) -> list[AccountReceipt]:
        async def main() -> list[AccountReceipt]:
            loop = asyncio.get_running_loop()
            clock = VirtualClock(lambda: START_NS, loop)
            liquidator = Liquidator(
                self.ear, self.shop, self.shop, clock, self.changed,
                lambda *t: self.troubles.append(t), seed=self.seed,
            )  # fmt: skip

            async def one(account: AccountId) -> AccountReceipt:
                receipt = await liquidator.flatten("stop-1", AccountReceipt(account_id=account))
                self.took[account] = loop.time()
                return receipt

            async with asyncio.timeout(limit_s), asyncio.TaskGroup() as tasks:
                works = [tasks.create_task(one(a)) for a in accounts or (A,)]
                if meanwhile is not None:
                    tasks.create_task(meanwhile())
            return [work.result() for work in works]

        return run_virtual(main())

    def kinds(self) -> list[tuple[WriteKind, str]]:
        return [(r.kind, r.target) for _, r in self.shop.written]


@pytest.fixture
def scene():
    return Scene()


def test_nothing_open_is_believed_only_when_read_twice_a_second_apart(scene):
    (receipt,) = scene.run()
    first, second = (at for at, _ in scene.shop.reads)
    assert second - first >= 1.0
    assert scene.shop.written == []
    assert receipt.verified_ns is not None
    assert scene.states[-1][2] is StopState.FLAT
    assert [s for *_, s in scene.states].count(StopState.FLAT) == 1


def test_entries_are_cancelled_and_what_protects_a_trade_stays(scene):
    scene.shop.open(A, "5", "EUR_USD", 100)
    scene.shop.orders[A] = {
        "1": "LIMIT", "2": "STOP", "3": "MARKET_IF_TOUCHED", "6": "STOP_LOSS", "7": "TAKE_PROFIT",
        "8": "TRAILING_STOP_LOSS", "9": "GUARANTEED_STOP_LOSS",
    }  # fmt: skip
    (receipt,) = scene.run()
    cancelled = {target for kind, target in scene.kinds() if kind is WriteKind.CANCEL}
    assert cancelled == {"1", "2", "3"}
    assert set(receipt.orders_cancelled) == {"1", "2", "3"}
    assert receipt.trades_closed == ("5",)
    assert (receipt.still_open, receipt.pending_orders, receipt.problem) == ((), (), "")
    assert Decimal(receipt.realized_pl) == -1


def test_cancels_go_first_and_then_the_largest_position(scene):
    scene.shop.open(A, "5", "EUR_USD", 100)
    scene.shop.open(A, "6", "USD_JPY", -900)
    scene.shop.open(A, "7", "GBP_USD", 300)
    scene.shop.orders[A] = {"1": "LIMIT"}
    scene.run()
    assert scene.kinds() == [
        (WriteKind.CANCEL, "1"), (WriteKind.CLOSE_POSITION, "USD_JPY"),
        (WriteKind.CLOSE_POSITION, "GBP_USD"), (WriteKind.CLOSE_POSITION, "EUR_USD"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("units", "body"),
    [((5,), {"longUnits": "ALL"}), ((-5,), {"shortUnits": "ALL"}),
     ((5, -3), {"longUnits": "ALL", "shortUnits": "ALL"})],
)  # fmt: skip
def test_only_sides_that_exist_are_closed_so_that_neither_is_refused(scene, units, body):
    for number, each in enumerate(units):
        scene.shop.open(A, str(number + 1), "EUR_USD", each)
    scene.run()
    (request,) = [r for _, r in scene.shop.written]
    assert msgspec.json.decode(request.body) == body


@pytest.mark.parametrize(
    "trouble",
    [VenueSilent("no answer"), VenueRefused(503), VenueNonsense("cut"), VenueRefused(429)],
)
def test_a_venue_that_cannot_be_read_is_asked_until_it_can(scene, trouble):
    scene.shop.open(A, "5", "EUR_USD", 100)
    scene.shop.away[A] = trouble

    async def mend() -> None:
        await asyncio.sleep(100)
        assert [s for *_, s in scene.states][-1] is StopState.NOT_FLAT
        scene.shop.away[A] = None

    (receipt,) = scene.run(meanwhile=mend)
    assert receipt.trades_closed == ("5",)
    assert scene.took[A] < 120
    assert receipt.problem == ""
    times = [at for at, _ in scene.shop.reads if at < 100]
    waits = [b - a for a, b in pairwise(times)]
    assert max(waits) <= 5.0 * 1.25 + 5.0
    assert len(times) >= 9


def test_waits_grow_from_a_fifth_of_a_second_to_five(scene):
    scene.shop.away[A] = VenueRefused(503)

    async def mend() -> None:
        await asyncio.sleep(60)
        scene.shop.away[A] = None

    scene.run(meanwhile=mend)
    times = [at for at, _ in scene.shop.reads if at < 55]
    waits = [b - a for a, b in pairwise(times)]
    assert 0.1 <= waits[0] <= 0.8
    assert waits[-1] > 3
    assert len({round(w, 6) for w in waits[-5:]}) > 1, "no jitter: all retry at once"


@pytest.mark.parametrize(
    "outcome",
    [Unknown(reason="cut"), NotSent(reason="429"), Rejected(status=503, code="", message="")],
)
def test_a_write_that_fails_is_repeated_after_a_new_read(scene, outcome):
    scene.shop.open(A, "5", "EUR_USD", 100)
    scene.shop.outcomes = [outcome] * 3
    (receipt,) = scene.run()
    assert receipt.trades_closed == ("5",)
    assert len(scene.shop.written) == 4
    for (asked, _), (again, _) in pairwise(scene.shop.written):
        assert any(asked < at <= again for at, _ in scene.shop.reads)


def test_a_position_that_was_closed_unheard_is_not_closed_again(scene):
    """The answer is lost, the close is not: reading comes before writing again."""
    scene.shop.open(A, "5", "EUR_USD", 100)
    real = scene.shop._do

    def lost(request):
        real(request)
        return Unknown(reason="cut")

    scene.shop._do = lost
    scene.run()
    assert len(scene.shop.written) == 1


def test_a_closed_market_is_waited_for_and_used_within_five_seconds_of_its_opening():
    late: list[float] = []
    for seed in range(40):
        scene = Scene(seed)
        scene.shop.open(A, "5", "EUR_USD", 100)
        scene.shop.halted = True
        opens = 300.0 + seed * 0.7

        async def reopen(scene: Scene = scene, opens: float = opens) -> None:
            await asyncio.sleep(opens)
            assert scene.states[-1][2] is StopState.WAITING_MARKET
            scene.shop.halted = False

        (receipt,) = scene.run(meanwhile=reopen)
        assert receipt.trades_closed == ("5",)
        late.append(min(at for at, _ in scene.shop.written if at >= opens) - opens)
    assert max(late) <= 5.0, late


def test_one_accounts_trouble_does_not_delay_another(scene):
    scene.shop.open(A, "5", "EUR_USD", 100)
    scene.shop.open(B, "6", "EUR_USD", 100)
    scene.shop.away[A] = VenueSilent("no answer")

    async def mend() -> None:
        await asyncio.sleep(60)
        assert scene.took[B] < 3
        scene.shop.away[A] = None

    receipts = scene.run(A, B, meanwhile=mend)
    assert [r.trades_closed for r in receipts] == [("5",), ("6",)]


def test_an_order_whose_outcome_is_unknown_holds_up_flat_at_its_own_account(scene):
    scene.ear.in_flight = [SimpleNamespace(intent=SimpleNamespace(account_id=A))]

    async def settle() -> None:
        await asyncio.sleep(30)
        assert A not in scene.took
        assert scene.took[B] < 3
        scene.shop.open(A, "5", "EUR_USD", 100)
        scene.ear.in_flight.clear()

    receipt, _ = scene.run(A, B, meanwhile=settle)
    assert receipt.trades_closed == ("5",)


def test_a_read_of_the_past_never_counts_as_flat(scene):
    """A replica that is behind still shows the account before the trade."""
    old = scene.shop.seen(A)
    scene.shop.open(A, "5", "EUR_USD", 100)
    scene.shop.halted = True
    before: list[int] = []

    def behind() -> None:
        if len(scene.shop.reads) in (2, 3):
            scene.shop.lag.append(old)

    scene.shop.on_read = behind

    async def reopen() -> None:
        await asyncio.sleep(30)
        before.append(len([s for *_, s in scene.states if s is StopState.FLAT]))
        scene.shop.halted = False

    (receipt,) = scene.run(meanwhile=reopen)
    assert before == [0]
    assert receipt.trades_closed == ("5",)


def test_what_fills_between_the_two_reads_is_closed_too(scene):
    def late() -> None:
        if len(scene.shop.reads) == 2:
            scene.shop.open(A, "77", "EUR_USD", 100)

    scene.shop.on_read = late
    (receipt,) = scene.run()
    assert receipt.trades_closed == ("77",)
    assert scene.shop.trades[A] == {}
    flat_reads = [at for at, _ in scene.shop.reads if at > scene.shop.written[-1][0]]
    assert len(flat_reads) == 2
    assert flat_reads[1] - flat_reads[0] >= 1.0


def test_an_answer_without_its_lists_is_not_taken_for_an_empty_account(scene):
    """The summary form of an account carries no trades or orders: not known, not flat."""
    scene.shop.open(A, "5", "EUR_USD", 100)
    summary = msgspec.structs.replace(
        scene.shop.seen(A), trades=None, positions=None, orders=None, open_trade_count=1
    )
    scene.shop.lag = [summary, summary]
    (receipt,) = scene.run()
    assert receipt.trades_closed == ("5",)


def test_someone_is_told_after_ten_seconds_a_minute_and_each_five_minutes(scene):
    scene.shop.away[A] = VenueRefused(503, "", "maintenance")

    async def mend() -> None:
        await asyncio.sleep(1000)
        scene.shop.away[A] = None

    scene.run(meanwhile=mend)
    told = [took for _, took, _ in scene.troubles]
    assert len(told) == 5
    for took, at_least in zip(told, (10, 60, 360, 660, 960), strict=True):
        assert at_least <= took < at_least + 30
    assert all("503" in problem for *_, problem in scene.troubles)


def test_every_step_is_recorded_once_and_answers_go_through_the_one_door(scene):
    scene.shop.open(A, "5", "EUR_USD", 100)
    scene.run()
    steps = [(s.state, s.text) for s in scene.ear.steps]
    assert len(steps) == len(set(steps))
    assert {s.stop_id for s in scene.ear.steps} == {"stop-1"}
    assert scene.ear.steps[-1].state == StopState.FLAT.value
    assert any(isinstance(o, Answered) and o.transactions for o in scene.ear.told)
