"""Start, running and shutdown of a whole house in virtual time: crash and start are one path."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import msgspec
import pytest

from orchestrator.kernel.audit import verify
from orchestrator.kernel.engine import Kernel
from orchestrator.main.parts import kernel_plan
from orchestrator.model.errors import StoreError, VenueError, VenueRefused, VenueUnreachable
from orchestrator.model.journal import RecordFilter
from orchestrator.model.money import AccountId
from orchestrator.model.orders import Unknown, WriteKind, WriteRequest
from orchestrator.model.safety import BreakerState, StopState, SystemMode
from orchestrator.paper.in_process import InProcessVenue
from orchestrator.service.gate import Gate, Latch
from orchestrator.service.views import Done, Refused
from orchestrator.settings import load_settings
from tests.house import EUR_ACCOUNT, EUR_USD, USD_ACCOUNT, House, in_virtual_time, new_market


class FickleVenue(InProcessVenue):
    """Reads of an account raise `away[account]`; orders are held back while `holding`."""

    def __init__(self, market) -> None:
        super().__init__(market)
        self.away: dict[AccountId, VenueError] = {}
        self.holding = False
        self.held: list[tuple] = []

    def _troubled(self, account_id: AccountId) -> None:
        trouble = self.away.get(account_id)
        if trouble is not None:
            raise trouble

    def all_away(self) -> None:
        self.away = dict.fromkeys((USD_ACCOUNT, EUR_ACCOUNT), VenueUnreachable("refused"))

    async def account(self, account_id):
        self._troubled(account_id)
        return await super().account(account_id)

    async def instruments(self, account_id):
        self._troubled(account_id)
        return await super().instruments(account_id)

    async def transactions_since(self, account_id, since):
        self._troubled(account_id)
        return await super().transactions_since(account_id, since)

    def submit(self, request, gate, done) -> None:
        """A held order has left: the gate let it pass, and its answer is a time-out."""
        if self.holding and request.kind is WriteKind.ORDER and gate() is None:
            self.held.append(request)
            loop = asyncio.get_running_loop()
            loop.call_later(0.5, done, Unknown(reason="time-out"), self.market.time.now())
            return
        super().submit(request, gate, done)

    def arrive(self) -> None:
        """What was held reaches the exchange."""
        for request in self.held:
            super().submit(request, lambda: None, lambda *_: None)
        self.held.clear()


def _facts(house: House, *types: str) -> list[dict]:
    rows = house.store.records(RecordFilter(types=types, ascending=True, limit=1000))
    return [msgspec.json.decode(row.data) for row in rows]


def _replayed(house: House) -> bytes:
    settings = load_settings(env={"INSTRUMENTS": "EUR_USD"}, env_file=None)
    kernel = Kernel(kernel_plan(settings, "always"))
    for record, fact in house.store.facts_after(0):
        kernel.apply(fact, record.ts)
    return kernel.snapshot()


async def _in_time(work, seconds: float = 60) -> None:
    async with asyncio.timeout(seconds):
        await work


# -- recovery ---------------------------------------------------------------------------------


def test_a_snapshot_and_the_facts_after_it_are_as_good_as_the_whole_journal(tmp_path):
    async def story() -> None:
        market = new_market()
        house = House(tmp_path / "s", market)
        async with house:
            await house.calm(15)
            house.system.engine.maybe_snapshot(force=True)
            await house.buy()
            await house.calm(3)
            whole = _replayed(house)
            assert whole == house.kernel.snapshot()
            await house.crash()
        later = House(tmp_path / "s", market)
        seq, _ = later.store.load_snapshot()
        assert 0 < seq < later.store.last_record().seq
        later.system._recover()
        assert later.kernel.snapshot() == whole
        assert later.system.engine._journal.seq == later.store.last_record().seq
        await later._end()

    in_virtual_time(story)


@pytest.mark.parametrize("raw", [b"", b"\x00\xff", b'{"mode":', b'{"from": "another version"}'])
def test_a_snapshot_that_cannot_be_read_only_costs_time(tmp_path, raw):
    """A snapshot is a projection: the journal has it all."""

    async def story() -> None:
        market = new_market()
        async with House(tmp_path / "s", market) as house:
            await house.calm(15)
        house = House(tmp_path / "s", market)
        whole = _replayed(house)
        house.store.save_snapshot(house.store.last_record().seq, raw)
        house.system._recover()
        assert house.kernel.snapshot() == whole
        await house._end()

    in_virtual_time(story)


def test_each_life_has_a_higher_epoch_and_says_whether_the_last_was_cut_off(tmp_path):
    async def story() -> None:
        market = new_market()
        async with House(tmp_path / "s", market) as first:
            await first.calm(2)
        async with House(tmp_path / "s", market) as second:
            await second.calm(2)
            await second.crash()
        async with House(tmp_path / "s", market) as third:
            begun = _facts(third, "service.started")
            assert [b["unclean"] for b in begun] == [False, False, True]
            epochs = [b["epoch"] for b in begun]
            assert epochs == sorted(set(epochs))
            records = [record for record, _ in third.store.facts_after(0)]
            assert verify(records, "house") is None

    in_virtual_time(story)


# -- the venue at the start -------------------------------------------------------------------


def test_a_venue_that_is_away_at_the_start_is_waited_for(tmp_path):
    async def story() -> None:
        market = new_market()
        venue = FickleVenue(market)
        venue.all_away()
        house = House(tmp_path / "s", market, venue=venue)
        loop = asyncio.get_running_loop()
        loop.call_later(45, venue.away.clear)
        async with house:
            assert loop.time() >= 45
            await house.calm(15)
            assert house.kernel.mode is SystemMode.RUNNING
            await house.buy()
            await house.calm(3)
            assert house.venue_trades()

    in_virtual_time(story)


def test_an_account_that_cannot_be_met_does_not_keep_the_others_from_trading(tmp_path):
    """SAFETY R3: it stays blocked, the others trade."""

    async def story() -> None:
        market = new_market()
        venue = FickleVenue(market)
        venue.away[USD_ACCOUNT] = VenueRefused(403, "", "forbidden")
        house = House(tmp_path / "s", market, venue=venue)
        try:
            await _in_time(house.__aenter__(), 120)
            await house.calm(60)
            assert house.kernel.mode is SystemMode.RUNNING
            await house.buy()
            await house.calm(3)
            assert {account for account, _ in house.venue_trades()} == {EUR_ACCOUNT}
        finally:
            await house.crash()

    in_virtual_time(story)


def test_a_shutdown_while_the_start_waits_for_the_venue_is_quick(tmp_path):
    async def story() -> None:
        market = new_market()
        venue = FickleVenue(market)
        venue.all_away()
        house = House(tmp_path / "s", market, venue=venue)
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(house.system.run())
            await asyncio.sleep(7)
            house.system.shutdown()
            await _in_time(asyncio.wait((running,)), 15)
        assert _facts(house, "service.stopped")
        await house._end()

    in_virtual_time(story)


# -- the end ----------------------------------------------------------------------------------


def test_a_shutdown_is_bounded_while_a_liquidation_cannot_reach_the_venue(tmp_path):
    """SAFETY R5: SIGTERM ends the service in 10 s; the liquidation is the next life's."""

    async def story() -> None:
        market = new_market()
        venue = FickleVenue(market)
        house = House(tmp_path / "s", market, venue=venue)
        await house.__aenter__()
        await house.calm(15)
        await house.buy()
        await house.calm(2)
        assert house.venue_trades()
        venue.all_away()
        await house.desk.emergency_stop("anna", "storm")
        await house.calm(5)
        house.system.shutdown()
        done, _ = await asyncio.wait((house._tasks[1],), timeout=15)
        ended = bool(done)
        venue.away.clear()
        await house.crash()
        assert ended, "the service did not end within 15 s of its shutdown"
        async with House(tmp_path / "s", market, venue=FickleVenue(market)) as later:
            await later.calm(10)
            assert later.venue_trades() == []
            assert later.kernel.mode is SystemMode.STOPPED

    in_virtual_time(story)


def test_an_order_on_the_wire_at_the_shutdown_is_settled_in_the_next_life(tmp_path):
    async def story() -> None:
        market = new_market()
        venue = FickleVenue(market)
        async with House(tmp_path / "s", market, venue=venue) as house:
            await house.calm(15)
            venue.holding = True
            await house.buy()
            await asyncio.sleep(0.1)
            assert venue.held
        venue.arrive()
        venue.holding = False
        async with House(tmp_path / "s", market, venue=venue) as later:
            await later.calm(20)
            ended = _facts(later, "signal.ended")
            assert "filled" in {e["outcome"] for e in ended}
            assert len({(e["signal_id"], e["account_id"]) for e in ended}) == len(ended)
            trades = later.venue_trades()
            assert {(a, t) for a, b in later.kernel.books.items() for t in b.trades} == set(trades)

    in_virtual_time(story)


# -- stops over lives -------------------------------------------------------------------------


def test_a_word_that_was_found_closed_is_a_stop_with_a_latch(tmp_path):
    async def story() -> None:
        market = new_market()
        async with House(tmp_path / "s", market) as house:
            await house.calm(15)
            await house.buy()
            await house.calm(2)
        assert house.venue_trades()
        Gate(tmp_path / "s").close()
        async with House(tmp_path / "s", market) as later:
            assert later.kernel.mode is SystemMode.STOPPED
            assert later.gate.read_latch() is not None
            await later.calm(10)
            assert later.venue_trades() == []
            latch = later.gate.read_latch()
            assert latch is not None
            assert latch.stop_id == later.kernel.stop_id

    in_virtual_time(story)


def test_a_gate_that_an_earlier_lifes_guard_holds_is_no_stop_at_the_start(tmp_path):
    async def story() -> None:
        Gate(tmp_path / "s").hold()
        async with House(tmp_path / "s", new_market()) as house:
            assert house.kernel.mode is SystemMode.RUNNING
            assert house.gate.closed, "it stays the guard's to open"
            assert house.gate.read_latch() is None

    in_virtual_time(story)


def test_a_latch_that_cannot_be_read_stops_the_next_life(tmp_path):
    async def story() -> None:
        market = new_market()
        async with House(tmp_path / "s", market) as house:
            await house.calm(15)
        (tmp_path / "s" / "stop.latch").write_bytes(b"\xff\x00")
        async with House(tmp_path / "s", market) as later:
            await later.calm(10)
            assert later.kernel.mode is SystemMode.STOPPED
            assert later.gate.closed
            assert isinstance(await later.desk.start("anna"), Refused)

    in_virtual_time(story)


def test_a_latch_that_the_journal_never_heard_of_is_in_force_at_the_next_start(tmp_path):
    """The file was written, and the process was gone before its fact was."""

    async def story() -> None:
        market = new_market()
        async with House(tmp_path / "s", market) as house:
            await house.calm(15)
            await house.buy()
            await house.calm(2)
        ((account, _),) = house.venue_trades()
        Gate(tmp_path / "s").latch(
            Latch(
                stop_id="stop-file", actor="anna", reason="x", liquidate=True, closed_ns=1,
                accounts=(account,),
            )
        )  # fmt: skip
        async with House(tmp_path / "s", market) as later:
            await later.calm(10)
            assert later.venue_trades() == []
            assert later.kernel.stop_id == "stop-file"
            assert later.kernel.mode is SystemMode.RUNNING

    in_virtual_time(story)


def test_a_first_start_that_was_cut_off_before_it_traded_is_still_to_come(tmp_path):
    async def story() -> None:
        market = new_market()
        for _ in range(2):
            cut = House(tmp_path / "s", market)
            begun = asyncio.get_running_loop().create_task(cut.system.run())
            while cut.store.last_record() is None:  # noqa: ASYNC110 -- nothing tells us
                await asyncio.sleep(0)
            begun.cancel()
            await asyncio.wait([begun])
            cut.store.close()
        async with House(tmp_path / "s", market) as later:
            assert later.kernel.mode is SystemMode.RUNNING

    in_virtual_time(story)


def test_what_a_person_has_stopped_does_not_start_by_itself_again(tmp_path):
    async def story() -> None:
        market = new_market()
        house = House(tmp_path / "s", market)
        async with house:
            assert isinstance(await house.desk.stop("anna", "enough"), Done)
            await house.crash()
        async with House(tmp_path / "s", market) as later:
            assert later.kernel.mode is SystemMode.READY

    in_virtual_time(story)


def test_a_stop_of_one_account_outlives_a_crash_and_the_other_trades_on(tmp_path):
    async def story() -> None:
        market = new_market()
        house = House(tmp_path / "s", market)
        async with house:
            await house.calm(15)
            receipt = await house.desk.emergency_stop("anna", "odd", accounts=(USD_ACCOUNT,))
            await house.calm(3)
            assert house.kernel.mode is SystemMode.RUNNING
            await house.crash()
        async with House(tmp_path / "s", market) as later:
            await later.calm(15)
            assert later.kernel.mode is SystemMode.RUNNING
            assert later.desk.stop_receipt().stop_id == receipt.stop_id
            await later.buy()
            await later.calm(12)
            await later.buy(strategy="second")
            await later.calm(3)
            assert {account for account, _ in later.venue_trades()} == {EUR_ACCOUNT}

    in_virtual_time(story)


def test_flat_is_not_said_while_an_order_may_still_fill(tmp_path):
    """SAFETY 5.8: no UNKNOWN intent; what fills late is closed by the same loop."""

    async def story() -> None:
        market = new_market()
        venue = FickleVenue(market)
        async with House(tmp_path / "s", market, venue=venue) as house:
            await house.calm(15)
            venue.holding = True
            await house.buy()
            await asyncio.sleep(0.1)
            assert venue.held
            await house.desk.emergency_stop("anna", "now")
            await house.calm(5)
            early = house.desk.stop_receipt().state
            venue.arrive()
            await house.calm(40)
            assert house.venue_trades() == [], "what filled after the stop was left open"
            assert early is not StopState.FLAT
            assert house.desk.stop_receipt().state is StopState.FLAT

    in_virtual_time(story)


def test_a_loss_of_the_day_flattens_its_account_and_blocks_it(tmp_path):
    async def story() -> None:
        market = new_market()
        venue = FickleVenue(market)
        async with House(tmp_path / "s", market, venue=venue) as house:
            await house.calm(15)
            body = {"order": {"type": "MARKET", "instrument": "EUR_USD", "units": "900000",
                              "timeInForce": "FOK", "positionFill": "DEFAULT"}}  # fmt: skip
            InProcessVenue.submit(
                venue,
                WriteRequest(
                    kind=WriteKind.ORDER, account_id=USD_ACCOUNT,
                    body=msgspec.json.encode(body).decode(),
                ),
                lambda: None, lambda *_: None,
            )  # fmt: skip
            await house.calm(3)
            assert house.venue_trades()
            price = Decimal("1.39100")
            for _ in range(12):
                price -= Decimal("0.00080")
                await house.price(str(price), str(price + Decimal("0.00010")))
                await asyncio.sleep(0.8)
            await house.calm(10, str(price), str(price + Decimal("0.00010")))
            tripped = {
                b.breaker for b in house.desk.breakers()
                if b.subject == USD_ACCOUNT and b.state is not BreakerState.ARMED
            }  # fmt: skip
            assert "A1" in tripped
            assert house.venue_trades() == []
            assert house.desk.account(USD_ACCOUNT).blocked_by
            assert house.gate.closed is (house.desk.stop_receipt() is not None)

    in_virtual_time(story)


# -- resume and commands ----------------------------------------------------------------------


def test_a_resume_is_refused_for_each_thing_that_is_not_in_order(tmp_path):
    async def story() -> None:
        market = new_market()
        async with House(tmp_path / "s", market) as house:
            await house.calm(15)
            assert isinstance(await house.desk.resume("anna", "stop-x", "why"), Refused)
            await house.buy()
            await house.calm(2)
            receipt = await house.desk.emergency_stop("anna", "look", liquidate=False)
            await house.calm(3)
            ((account, trade),) = house.venue_trades()
            for actor, stop_id, reason, listed in (
                ("anna", "stop-other", "fine", (trade,)), ("", receipt.stop_id, "fine", (trade,)),
                ("anna", receipt.stop_id, " ", (trade,)), ("anna", receipt.stop_id, "fine", ()),
                ("anna", receipt.stop_id, "fine", ("999",)),
            ):  # fmt: skip
                refused = await house.desk.resume(actor, stop_id, reason, listed)
                assert isinstance(refused, Refused), (actor, stop_id, reason, listed)
                assert refused.status == 409
                assert house.gate.closed
                assert house.gate.read_latch() is not None
            listed = (f"{account}/{trade}",)
            done = await house.desk.resume("anna", receipt.stop_id, "fine", listed)
            assert isinstance(done, Done), done
            assert not house.gate.closed
            assert house.gate.read_latch() is None
            assert house.desk.stop_receipt() is None

    in_virtual_time(story)


def test_a_broken_chain_refuses_the_resume(tmp_path, monkeypatch):
    async def story() -> None:
        async with House(tmp_path / "s", new_market()) as house:
            await house.calm(15)
            receipt = await house.desk.emergency_stop("anna", "x", liquidate=False)
            await house.calm(2)
            monkeypatch.setattr(house.desk, "_verify", lambda: "record 3: changed")
            refused = await house.desk.resume("anna", receipt.stop_id, "fine")
            assert isinstance(refused, Refused)
            assert "record 3" in refused.detail
            assert house.gate.closed

    in_virtual_time(story)


def test_a_resume_whose_latch_could_not_be_removed_may_be_repeated(tmp_path, monkeypatch):
    async def story() -> None:
        async with House(tmp_path / "s", new_market()) as house:
            await house.calm(15)
            receipt = await house.desk.emergency_stop("anna", "x", liquidate=False)
            await house.calm(2)

            def broken(_stop_id: str) -> None:
                raise OSError(30, "read-only file system")

            with monkeypatch.context() as patch:
                patch.setattr(house.gate, "reopen", broken)
                refused = await house.desk.resume("anna", receipt.stop_id, "fine")
                assert isinstance(refused, Refused)
                assert house.gate.closed
            for actor, reason in (("anna", " "), ("", "mended")):
                assert isinstance(await house.desk.resume(actor, receipt.stop_id, reason), Refused)
                assert house.gate.closed
            done = await house.desk.resume("anna", receipt.stop_id, "mended")
            assert isinstance(done, Done), done
            assert not house.gate.closed

    in_virtual_time(story)


def test_a_resume_that_was_written_down_late_may_be_repeated(tmp_path, monkeypatch):
    """Else the gate stayed closed for ever: the kernel had resumed, and refused to do it again."""

    async def story() -> None:
        async with House(tmp_path / "s", new_market()) as house:
            await house.calm(15)
            receipt = await house.desk.emergency_stop("anna", "x", liquidate=False)
            await house.calm(2)

            def broken(*_: object) -> None:
                raise StoreError("disk full")

            with monkeypatch.context() as patch:
                patch.setattr(house.store, "append", broken)
                refused = await house.desk.resume("anna", receipt.stop_id, "fine")
                assert isinstance(refused, Refused)
                again = await house.desk.resume("anna", receipt.stop_id, "fine")
                assert isinstance(again, Refused)
                assert house.gate.closed
            await house.calm(15)
            done = await house.desk.resume("anna", receipt.stop_id, "mended")
            assert isinstance(done, Done), done
            assert not house.gate.closed

    in_virtual_time(story)


@pytest.mark.parametrize("what", ["start", "stop", "enable", "trip", "resume"])
def test_no_command_is_called_done_that_could_not_be_written_down(tmp_path, monkeypatch, what):
    """SAFETY K4: durable before any answer that promises it; what is not done is said."""

    async def story() -> None:
        async with House(tmp_path / "s", new_market()) as house:
            await house.calm(15)
            stop_id = ""
            if what == "resume":
                receipt = await house.desk.emergency_stop("anna", "x", liquidate=False)
                stop_id = receipt.stop_id
                await house.calm(2)

            def broken(*_: object) -> None:
                raise StoreError("disk full")

            desk = house.desk
            with monkeypatch.context() as patch:
                patch.setattr(house.store, "append", broken)
                answer = await {
                    "start": lambda: desk.start("anna"),
                    "stop": lambda: desk.stop("anna"),
                    "enable": lambda: desk.enable(USD_ACCOUNT, "anna", enabled=False),
                    "trip": lambda: desk.trip_breaker("M2", EUR_USD, "anna", "wide"),
                    "resume": lambda: desk.resume("anna", stop_id, "fine"),
                }[what]()
                assert isinstance(answer, Refused), answer
                assert answer.status == 503
                if what == "resume":
                    assert house.gate.closed
                    assert house.gate.read_latch() is not None

    in_virtual_time(story)


def test_a_signal_is_not_called_taken_that_could_not_be_written_down(tmp_path, monkeypatch):
    from orchestrator.model.errors import StoreError

    async def story() -> None:
        async with House(tmp_path / "s", new_market()) as house:
            await house.calm(15)

            def broken(*_: object) -> None:
                raise StoreError("disk full")

            from orchestrator.model.money import Side
            from orchestrator.service.desk import SignalWish

            with monkeypatch.context() as patch:
                patch.setattr(house.store, "append", broken)
                answer = await house.desk.submit_signal(
                    SignalWish(instrument=EUR_USD, side=Side.BUY, stop_distance=Decimal("0.003")),
                    "anna",
                )
                assert isinstance(answer, Refused), answer
                assert house.venue_trades() == []

    in_virtual_time(story)
