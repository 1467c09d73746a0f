"""Stops over lives of a whole house in virtual time: what is latched outlives any crash."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import msgspec

from orchestrator.model.orders import WriteKind, WriteRequest
from orchestrator.model.safety import BreakerState, StopState, SystemMode
from orchestrator.paper.in_process import InProcessVenue
from orchestrator.service.gate import Gate, Latch
from orchestrator.service.views import Done, Refused
from tests.house import EUR_ACCOUNT, USD_ACCOUNT, House, in_virtual_time, new_market
from tests.unit.service.supervised import FickleVenue

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
