"""Start, running and shutdown of a whole house in virtual time: crash and start are one path."""

from __future__ import annotations

import asyncio

import pytest

from orchestrator.kernel.audit import verify
from orchestrator.model.errors import VenueRefused
from orchestrator.model.safety import SystemMode
from tests.house import EUR_ACCOUNT, USD_ACCOUNT, House, in_virtual_time, new_market
from tests.unit.service.supervised import FickleVenue, in_time, journalled, replayed

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
            whole = replayed(house)
            assert whole == house.kernel.snapshot()
            await house.crash()
        later = House(tmp_path / "s", market)
        seq, _ = later.store.load_snapshot()
        assert 0 < seq < later.store.last_record().seq
        later.system._earlier.recover()
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
        whole = replayed(house)
        house.store.save_snapshot(house.store.last_record().seq, raw)
        house.system._earlier.recover()
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
            begun = journalled(third, "service.started")
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
            await in_time(house.__aenter__(), 120)
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
            await in_time(asyncio.wait((running,)), 15)
        assert journalled(house, "service.stopped")
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
            ended = journalled(later, "signal.ended")
            assert "filled" in {e["outcome"] for e in ended}
            assert len({(e["signal_id"], e["account_id"]) for e in ended}) == len(ended)
            trades = later.venue_trades()
            assert {(a, t) for a, b in later.kernel.books.items() for t in b.trades} == set(trades)

    in_virtual_time(story)
