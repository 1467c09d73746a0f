"""The whole house in virtual time: real kernel, agents, journal, venue; the venue judges."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest

from orchestrator.kernel.audit import verify
from orchestrator.kernel.engine import Kernel
from orchestrator.kernel.orders.reconcile import differences
from orchestrator.main.parts import kernel_plan
from orchestrator.model.journal import RecordFilter
from orchestrator.model.money import InstrumentName, Side
from orchestrator.model.safety import StopState, SystemMode
from orchestrator.model.signals import Role
from orchestrator.paper.in_process import InProcessVenue
from orchestrator.service.views import Done, Refused, SignalTaken
from orchestrator.settings import load_settings
from tests.house import EUR_ACCOUNT, USD_ACCOUNT, House, in_virtual_time, new_market


def _ended(house: House, signal_id: str) -> dict[str, tuple[str, str, str]]:
    """account -> (outcome, stage, reason); a signal must have exactly one for each account."""
    rows = house.store.records(RecordFilter(types=("signal.ended",), corr=signal_id, limit=100))
    found = [msgspec.json.decode(row.data) for row in rows]
    ended = {f["account_id"]: (f["outcome"], f["stage"], f["reason"]) for f in found}
    assert len(ended) == len(found), "a signal ended twice at one account"
    return ended


def _agent_file(tmp_path: Path, body: str, *, base: str, role: str) -> str:
    path = tmp_path / "own_agent.py"
    path.write_text(
        "from decimal import Decimal\n"
        "from orchestrator.agents.base import Agent, NOTHING, Role, Says, hears\n"
        "from orchestrator.model.signals import *\n"
        f"class Own(Agent):\n    role = Role.{role}\n    name = 'own'\n    says = ({base},)\n{body}"
    )
    config = tmp_path / "orchestrator.toml"
    config.write_text(f'[agents.{Role[role].value}]\npath = "{path}:Own"\n')
    return str(config)


def test_a_signal_becomes_a_filled_protected_and_explained_order(tmp_path):
    async def story() -> None:
        async with House(tmp_path / "state", new_market()) as house:
            await house.calm(15)
            assert house.kernel.mode is SystemMode.RUNNING
            taken = await house.buy()
            await house.calm(3)
            ended = _ended(house, taken.signal_id)
            assert set(ended) == {USD_ACCOUNT, EUR_ACCOUNT}
            filled = [a for a, (outcome, _, _) in ended.items() if outcome == "filled"]
            assert filled, ended
            for account_id in filled:
                books = house.market.exchange.accounts[account_id]
                (trade,) = books.trades.values()
                assert trade.current_units > 0
                assert trade.stop_loss_order_id in books.pending
                explained = house.desk.queries().explain(trade.id, account_id)
                stages = [s.decided.stage.value for s in explained.stages]
                assert stages[0] == "disagreement"
                assert {"strategy_analysis", "parameter_optimization", "learning_safety"} <= set(
                    stages
                )
                assert explained.intents[0].trade_id == trade.id

    in_virtual_time(story)


def test_every_order_at_the_venue_has_an_older_durable_intent(tmp_path):
    async def story() -> None:
        async with House(tmp_path / "state", new_market()) as house:
            await house.calm(15)
            await house.buy()
            await house.calm(3)
            names = {
                name: row.intent.watermark
                for row in house.desk.queries().intents()
                for name in [row.intent.intent_id]
            }
            orders = [
                transaction
                for account_id in house.kernel.account_ids
                for transaction in (await house.venue.transactions_since(account_id, 0))[0]
                if transaction.type == "MARKET_ORDER"
            ]
            assert orders
            for order in orders:
                assert order.client_extensions is not None
                assert names[order.client_extensions.id or ""] < order.number

    in_virtual_time(story)


_SCORE = """
    @hears(AskScore)
    def on(self, ask: AskScore) -> Says:
        return (Score(
            signal_id=ask.signal.signal_id, account_id={account}, approved=True, score={score},
            expected_r=Decimal(1), win_rate=Decimal("0.5"), samples=1, reasons=(),
        ),)
"""
_DOES = """
    @hears(AskScore)
    def on(self, ask: AskScore) -> Says:
        {what}
"""


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (_DOES.format(what="raise OSError('no')"), "OSError"),
        (_DOES.format(what="raise SystemExit"), "SystemExit"),
        (_DOES.format(what="return NOTHING"), "0 answers"),
        (_SCORE.format(account="ask.account.account_id", score="Decimal('NaN')"), "Score"),
        (_SCORE.format(account="'101-001-1-001'", score="Decimal(1)"), "account"),
    ],
    ids=["raises", "exits", "silent", "NaN", "foreign"],
)
def test_an_agents_nonsense_costs_only_its_own_opinion(tmp_path, body, why):
    config = _agent_file(tmp_path, body, base="Score", role="STRATEGY_ANALYSIS")

    async def story() -> None:
        async with House(tmp_path / "s", new_market(), ORCHESTRATOR_CONFIG=config) as house:
            await house.calm(15)
            taken = await house.buy()
            await house.calm(2)
            ended = _ended(house, taken.signal_id)
            assert set(ended) == {USD_ACCOUNT, EUR_ACCOUNT}
            refused = [e for e in ended.values() if e[1] == "strategy_analysis"]
            assert refused
            assert all(outcome == "rejected" and why in reason for outcome, _, reason in refused)
            assert house.venue_trades() == []
            health = {a.agent_id: a for a in house.desk.agents()}
            assert all(a.state == "healthy" for n, a in health.items() if n != "own-1")
            assert (await house.desk.health()).mode is SystemMode.RUNNING

    in_virtual_time(story)


def test_an_emergency_stop_closes_everything_and_outlives_a_crash(tmp_path):
    async def story() -> None:
        market = new_market()
        house = House(tmp_path / "state", market)
        async with house:
            await house.calm(15)
            await house.buy()
            await house.calm(3)
            assert house.venue_trades()
            receipt = await house.desk.emergency_stop("anna", "test")
            assert not isinstance(receipt, Refused)
            assert receipt.persisted
            assert receipt.took_us < 100_000
            refused = await house.desk.submit_signal(_wish(), "anna")
            assert isinstance(refused, Refused)
            await house.calm(5)
            assert house.venue_trades() == []
            done = house.desk.stop_receipt()
            assert done is not None
            assert done.state is StopState.FLAT
            assert done.stop_id == receipt.stop_id
            again = await house.desk.emergency_stop("bert", "again")
            assert not isinstance(again, Refused)
            assert again.stop_id == receipt.stop_id
            assert again.already_stopped
            await house.crash()
        async with House(tmp_path / "state", market) as later:
            await later.calm(15)
            assert later.kernel.mode is SystemMode.STOPPED
            started = await later.desk.start("anna")
            assert isinstance(started, Refused)
            assert receipt.stop_id in started.detail
            wrong = await later.desk.resume("anna", "stop-other", "looked at it")
            assert isinstance(wrong, Refused)
            resumed = await later.desk.resume("anna", receipt.stop_id, "looked at it")
            assert isinstance(resumed, Done), resumed
            assert later.kernel.mode is SystemMode.READY
            assert isinstance(await later.desk.start("anna"), Done)
            await later.calm(2)
            taken = await later.buy()
            await later.calm(2)
            assert "filled" in {
                outcome for outcome, _, _ in _ended(later, taken.signal_id).values()
            }

    in_virtual_time(story)


def test_a_stop_by_another_process_is_taken_up(tmp_path):
    """What `orchestrator emergency-stop --local` does: the word, and no latch yet."""

    async def story() -> None:
        async with House(tmp_path / "state", new_market()) as house:
            await house.calm(15)
            await house.buy()
            await house.calm(2)
            house.gate.close()
            refused = await house.desk.submit_signal(_wish(), "anna")
            await house.calm(15)
            if isinstance(refused, SignalTaken):
                outcomes = _ended(house, refused.signal_id).values()
                assert "filled" not in {outcome for outcome, _, _ in outcomes}
            assert house.kernel.mode is SystemMode.STOPPED
            assert house.venue_trades() == []
            assert house.gate.read_latch() is not None

    in_virtual_time(story)


def test_a_crash_with_an_order_on_the_wire_neither_loses_nor_doubles_it(tmp_path):
    """The order reaches the venue, and the service dies before it hears the answer."""

    class Deaf(InProcessVenue):
        """Takes orders, and never tells what became of them; its log streams are silent too."""

        def submit(self, request, gate, _done):
            super().submit(request, gate, lambda *_: None)

        async def stream_transactions(self, *_):
            await asyncio.Event().wait()

    async def story() -> None:
        market = new_market()
        house = House(tmp_path / "state", market, venue=Deaf(market))
        async with house:
            for _ in range(12):
                await house.price("1.39100", "1.39110")
            taken = await house.buy()
            await asyncio.sleep(0.1)
            assert house.venue_trades()
            await house.crash()
        before = house.venue_trades()
        async with House(tmp_path / "state", market) as later:
            await later.calm(20)
            assert later.venue_trades() == before
            ended = _ended(later, taken.signal_id)
            assert set(ended) == {USD_ACCOUNT, EUR_ACCOUNT}
            for account_id, _ in before:
                assert ended[account_id][0] == "filled"
            for account_id in later.kernel.account_ids:
                account = await later.venue.account(account_id)
                assert differences(later.kernel.books[account_id], account) == ()

    in_virtual_time(story)


def test_the_books_equal_the_venues_to_the_last_digit_after_stops_and_targets(tmp_path):
    async def story() -> None:
        async with House(tmp_path / "state", new_market()) as house:
            await house.calm(15)
            await house.buy()
            await house.calm(12)
            await house.buy(side=Side.SELL)
            await house.calm(3)
            for bid in ("1.39200", "1.39350", "1.39500", "1.39720"):
                await house.price(bid, str(Decimal(bid) + Decimal("0.00010")))
            await house.calm(3, "1.39720", "1.39730")
            for account_id in house.kernel.account_ids:
                account = await house.venue.account(account_id)
                assert differences(house.kernel.books[account_id], account) == ()

    in_virtual_time(story)


def test_the_journal_alone_rebuilds_the_kernel_and_its_chain_verifies(tmp_path):
    async def story() -> bytes:
        async with House(tmp_path / "state", new_market()) as house:
            await house.calm(15)
            await house.buy()
            await house.calm(3)
            settings = load_settings(env={"INSTRUMENTS": "EUR_USD"}, env_file=None)
            replayed = Kernel(kernel_plan(settings, "always"))
            records = []
            for record, fact in house.store.facts_after(0):
                replayed.apply(fact, record.ts)
                records.append(record)
            assert verify(records, "house") is None
            assert replayed.snapshot() == house.kernel.snapshot()
            return replayed.snapshot()

    in_virtual_time(story)


def test_the_same_story_twice_gives_the_same_journal(tmp_path):
    def journal(folder: Path) -> bytes:
        async def story() -> bytes:
            house = House(folder, new_market())
            async with house:
                await house.calm(15)
                await house.buy(signal_id="one")
                await house.calm(4)
                last = house.store.last_record()
                assert last is not None
                return last.hash

        return in_virtual_time(story)

    assert journal(tmp_path / "a") == journal(tmp_path / "b")


def test_a_second_service_on_the_same_folder_is_refused(tmp_path):
    async def story() -> None:
        market = new_market()
        async with House(tmp_path / "state", market):
            with pytest.raises(Exception, match="state") as caught:
                House(tmp_path / "state", market)
            assert type(caught.value).__name__ == "StoreLocked"

    in_virtual_time(story)


def test_stop_drains_and_names_what_stays_open(tmp_path):
    async def story() -> None:
        async with House(tmp_path / "state", new_market()) as house:
            await house.calm(15)
            await house.buy()
            await house.calm(2)
            done = await house.desk.stop("anna", "evening")
            assert isinstance(done, Done)
            assert {(t.account_id, t.trade_id) for t in done.open_trades} == set(
                house.venue_trades()
            )
            assert house.kernel.mode is SystemMode.READY
            assert isinstance(await house.desk.submit_signal(_wish(), "anna"), Refused)
            assert isinstance(await house.desk.stop("anna", "home", close=True), Done)
            await house.calm(3)
            assert house.venue_trades() == []

    in_virtual_time(story)


def test_a_failing_store_stops_new_orders_and_heals(tmp_path, monkeypatch):
    from orchestrator.model.errors import StoreError

    async def story() -> None:
        async with House(tmp_path / "state", new_market()) as house:
            await house.calm(15)

            def broken(*_: object) -> None:
                raise StoreError("disk full")

            with monkeypatch.context() as patch:
                patch.setattr(house.store, "append", broken)
                answer = await house.desk.submit_signal(_wish(), "anna")
                await house.calm(3)
                assert house.venue_trades() == []
                assert house.kernel.storage_blocked
            await house.calm(40)
            assert not house.kernel.storage_blocked
            if isinstance(answer, SignalTaken):
                outcomes = {outcome for outcome, _, _ in _ended(house, answer.signal_id).values()}
                assert "filled" not in outcomes
            records = [record for record, _ in house.store.facts_after(0)]
            assert verify(records, "house") is None
            taken = await house.buy()
            await house.calm(3)
            assert "filled" in {o for o, _, _ in _ended(house, taken.signal_id).values()}

    in_virtual_time(story)


def _wish():
    from orchestrator.service.desk import SignalWish

    return SignalWish(
        instrument=InstrumentName("EUR_USD"), side=Side.BUY, stop_distance=Decimal("0.00300"),
        target_distance=Decimal("0.00600"), confidence=Decimal("0.6"),
    )  # fmt: skip
