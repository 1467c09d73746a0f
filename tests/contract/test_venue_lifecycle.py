"""The Venue port, an order's whole life: every type, replaced, renamed, closed in parts."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import msgspec
import pytest

from orchestrator.adapters.oanda.bodies import ALL, CANCEL, Dependents, Life, Names, Resting
from orchestrator.model.errors import VenueRefused
from orchestrator.model.orders import Answered, Rejected, WriteKind
from orchestrator.model.time import NS_PER_S, parse_time
from orchestrator.model.venue import Account
from tests.contract.venues import EUR_USD


def names_of(bench) -> Names:
    name = f"{bench.prefix}-{next(bench.names)}"
    return Names(id=name, tag="t", comment="c")


def resting_entry(bench, kind: str, **more):
    units, low = Decimal(bench.units), bench.below("0.2")
    match kind:
        case "LIMIT":
            return bench.bodies.limit(units, low, names=names_of(bench), **more)
        case "STOP":
            return bench.bodies.stop(-units, low, names=names_of(bench), **more)
        case _:
            return bench.bodies.stop(units, low, touched=True, names=names_of(bench), **more)


@pytest.mark.parametrize("kind", ["LIMIT", "STOP", "MARKET_IF_TOUCHED"])
async def test_a_pending_order_is_replaced_in_one_request_and_the_new_one_cancelled(bench, kind):
    (first,) = await bench.done(resting_entry(bench, kind))
    assert first.type == f"{kind}_ORDER"
    again = resting_entry(bench, kind)
    gone, second = await bench.done(bench.bodies.replace(first.id, again))
    assert (gone.type, gone.order_id, gone.reason) == (
        "ORDER_CANCEL", first.id, "CLIENT_REQUEST_REPLACED",
    )  # fmt: skip
    assert (second.type, second.replaces_order_id) == (first.type, first.id)
    pending = {one.id for one in (await bench.venue.account(bench.account)).orders}
    assert second.id in pending
    assert first.id not in pending
    (cancelled,) = await bench.done(bench.bodies.cancel(second.id))
    assert cancelled.order_id == second.id


async def test_what_is_gone_cannot_be_replaced(bench):
    (first,) = await bench.done(bench.limit())
    await bench.done(bench.bodies.cancel(first.id))
    outcome = await bench.write(bench.bodies.replace(first.id, bench.limit()))
    assert isinstance(outcome, Rejected)
    assert outcome.status == 404
    assert not any(one.id > first.id for one in (await bench.venue.account(bench.account)).orders)


async def test_an_order_ends_when_its_time_is_over(paper_bench):
    (first,) = await paper_bench.done(paper_bench.limit())
    await paper_bench.done(paper_bench.bodies.cancel(first.id))
    life = Life(how="GTD", until_ns=parse_time(first.time) + NS_PER_S // 2)
    (order,) = await paper_bench.done(resting_entry(paper_bench, "LIMIT", life=life))
    async with asyncio.timeout(60):
        while (await paper_bench.venue.account(order.account_id)).orders:  # noqa: ASYNC110 - polls
            await asyncio.sleep(0.05)
    ends = [one for one in await paper_bench.log() if one.order_id == order.id]
    assert [(one.type, one.reason) for one in ends] == [("ORDER_CANCEL", "TIME_IN_FORCE_EXPIRED")]


async def test_a_trade_carries_target_stop_and_trailing_stop_each_replaced_and_taken_away(bench):
    everything = Dependents(
        take_profit=Resting(price=bench.below("-0.02")),
        stop_loss=Resting(price=bench.below("0.02")),
        trailing_stop_loss=Resting(distance=Decimal("0.02000")),
    )
    order = bench.bodies.market(Decimal(bench.units), with_it=everything, names=names_of(bench))
    made = await bench.done(order)
    trade_id = made[1].trade_opened.trade_id

    async def hanging() -> dict[str, str]:
        orders = (await bench.venue.account(bench.account)).orders
        return {one.type: one.id for one in orders if one.trade_id == trade_id}

    first = await hanging()
    assert set(first) == {"TAKE_PROFIT", "STOP_LOSS", "TRAILING_STOP_LOSS"}
    moved = Dependents(
        take_profit=CANCEL, stop_loss=Resting(price=bench.below("0.01")),
    )  # fmt: skip
    await bench.done(bench.bodies.protect(trade_id, moved))
    second = await hanging()
    assert set(second) == {"STOP_LOSS", "TRAILING_STOP_LOSS"}
    assert second["STOP_LOSS"] != first["STOP_LOSS"]
    assert second["TRAILING_STOP_LOSS"] == first["TRAILING_STOP_LOSS"]
    alone = Dependents(take_profit=Resting(price=bench.below("-0.03")))
    (target,) = await bench.done(bench.bodies.dependent(trade_id, alone))
    assert (target.type, target.trade_id) == ("TAKE_PROFIT_ORDER", trade_id)
    await bench.done(bench.bodies.close_trade(trade_id))
    assert await hanging() == {}


async def test_a_guaranteed_stop_fills_at_its_price_and_costs_its_premium(guaranteed_bench):
    bench = guaranteed_bench
    hangs = Dependents(guaranteed_stop_loss=Resting(price=bench.below("0.02")))
    await bench.done(bench.bodies.market(Decimal(100), with_it=hangs))
    assert (await bench.types())[-1] == "GUARANTEED_STOP_LOSS_ORDER"
    await bench.price("1.00000", "1.00010")
    fill = [one for one in await bench.log() if one.type == "ORDER_FILL"][-1]
    assert (fill.reason, fill.price) == ("GUARANTEED_STOP_LOSS_ORDER", bench.below("0.02"))
    assert fill.guaranteed_execution_fee > 0


async def test_a_trade_is_closed_in_parts(paper_bench):
    made = await paper_bench.done(paper_bench.protected())
    trade_id = made[1].id
    _, fill = await paper_bench.done(paper_bench.bodies.close_trade(trade_id, Decimal(30)))
    assert (fill.trade_reduced.trade_id, fill.units) == (trade_id, -30)
    too_much = await paper_bench.write(paper_bench.bodies.close_trade(trade_id, Decimal(71)))
    assert isinstance(too_much, Rejected)
    assert too_much.code == "CLOSE_TRADE_UNITS_EXCEED_TRADE_SIZE"
    (trade,) = (await paper_bench.venue.account(paper_bench.account)).trades
    assert trade.current_units == 70


async def test_a_position_is_closed_in_part_and_then_whole(paper_bench):
    for _ in range(2):
        await paper_bench.done(paper_bench.order())
    close = paper_bench.bodies.close_position(long=Decimal(150))
    (_, fill) = await paper_bench.done(close)
    assert fill.units == -150
    (_, fill) = await paper_bench.done(paper_bench.bodies.close_position(long=ALL))
    assert fill.units == -50


async def test_the_side_that_is_not_there_refuses_the_whole_close(paper_bench):
    await paper_bench.done(paper_bench.order())
    outcome = await paper_bench.write(paper_bench.bodies.close_position(long=ALL, short=ALL))
    assert isinstance(outcome, Rejected)
    assert len((await paper_bench.venue.account(paper_bench.account)).trades) == 1


async def test_orders_and_trades_are_renamed(bench):
    (order,) = await bench.done(bench.limit())
    fresh = names_of(bench)
    (renamed,) = await bench.done(bench.bodies.name_order(order.id, fresh))
    assert renamed.type == "ORDER_CLIENT_EXTENSIONS_MODIFY"
    account = await bench.venue.account(bench.account)
    (found,) = [one for one in account.orders if one.id == order.id]
    assert found.client_extensions.id == fresh.id
    assert isinstance(await bench.write(bench.bodies.cancel(f"@{fresh.id}")), Answered)
    made = await bench.done(bench.protected())
    (renamed,) = await bench.done(bench.bodies.name_trade(made[1].id, names_of(bench)))
    assert renamed.type == "TRADE_CLIENT_EXTENSIONS_MODIFY"
    assert isinstance(await bench.write(bench.bodies.close_trade(made[1].id)), Answered)


async def test_an_account_is_configured(paper_bench):
    wish = paper_bench.bodies.configure(alias="contract", margin_rate=Decimal("0.05"))
    (made,) = await paper_bench.done(wish)
    assert made.type == "CLIENT_CONFIGURE"
    account = await paper_bench.venue.account(paper_bench.account)
    assert (account.alias, account.margin_rate) == ("contract", Decimal("0.05"))
    senseless = paper_bench.request(WriteKind.CONFIGURE, "", {"marginRate": "7"})
    assert isinstance(await paper_bench.write(senseless), Rejected)


def plain(account: Account) -> Account:
    """Their order means nothing."""
    lists = {
        "orders": tuple(sorted(account.orders, key=lambda o: int(o.id))),
        "trades": tuple(sorted(account.trades, key=lambda t: int(t.id))),
        "positions": tuple(sorted(account.positions, key=lambda p: p.instrument)),
    }
    return msgspec.structs.replace(account, **lists)


async def test_a_snapshot_is_brought_up_to_date_by_changes(paper_bench):
    known = await paper_bench.venue.account(paper_bench.account)
    for step in range(3):
        made = await paper_bench.done(paper_bench.protected())
        await paper_bench.done(paper_bench.limit())
        await paper_bench.price(f"1.0{9 - step}950", f"1.0{9 - step}960")
        if step == 1:
            await paper_bench.write(paper_bench.bodies.close_trade(made[1].id))
        known = await paper_bench.venue.refreshed(known)
        assert plain(known) == plain(await paper_bench.venue.account(paper_bench.account))


# what the client reads beyond the port


async def test_lists_are_read_to_their_last_page(client_bench, monkeypatch):
    monkeypatch.setattr("orchestrator.adapters.oanda.lists._PAGE", 3)
    bench, lists = client_bench, client_bench.venue.lists
    made = [(await bench.done(bench.limit()))[0].id for _ in range(8)]
    found = await lists.orders(bench.account, instrument=EUR_USD)
    assert [one.id for one in found if one.id in made] == made[::-1]
    (one,) = await lists.orders(bench.account, ids=[made[3]])
    assert one == await lists.order(bench.account, made[3])
    for order_id in made:
        await bench.done(bench.bodies.cancel(order_id))
    gone = await lists.orders(bench.account, state="CANCELLED", ids=made)
    assert {one.id for one in gone} == set(made)
    assert {one.state for one in gone} == {"CANCELLED"}
    with pytest.raises(VenueRefused):
        await lists.order(bench.account, "999999999")


async def test_trades_and_positions_are_read_singly_and_in_lists(client_bench):
    bench, lists = client_bench, client_bench.venue.lists
    made = await bench.done(bench.protected())
    trade = await lists.trade(bench.account, made[1].id)
    assert trade.stop_loss_order.trade_id == trade.id == made[1].id
    assert trade.id in {one.id for one in await lists.trades(bench.account)}
    position = await lists.position(bench.account, EUR_USD)
    assert trade.id in position.long.trade_ids
    assert EUR_USD in {p.instrument for p in await lists.positions(bench.account, only_open=True)}
    await bench.done(bench.bodies.close_trade(trade.id))
    assert EUR_USD in {p.instrument for p in await lists.positions(bench.account)}
    summary = await lists.summary(bench.account)
    assert (summary.id, summary.trades) == (bench.account, None)


async def test_transactions_are_read_by_id_by_range_and_by_time(client_bench, monkeypatch):
    monkeypatch.setattr("orchestrator.adapters.oanda.lists._TRANSACTIONS", 2)
    bench, lists = client_bench, client_bench.venue.lists
    for _ in range(3):
        await bench.done(bench.bodies.cancel((await bench.done(bench.limit()))[0].id))
    log = await bench.log()
    assert len(log) == 6
    found = await lists.transactions_between(bench.account, bench.since + 1, log[-1].number)
    assert list(found) == log
    assert await lists.transaction(bench.account, log[2].id) == log[2]
    first, last = parse_time(log[0].time), parse_time(log[-1].time)
    timed = await lists.transactions_in(bench.account, first, last)
    assert [one for one in timed if one.number > bench.since] == log


async def test_candles_are_read_by_their_times(client_bench):
    bench, lists = client_bench, client_bench.venue.lists
    latest = await bench.venue.candles(EUR_USD, "M1", 5)
    begun, ends = latest[0].start_ns, latest[-1].start_ns
    found = await lists.candles_between(bench.account, EUR_USD, "M1", begun, ends)
    assert [one.start_ns for one in found] == [one.start_ns for one in latest[:-1]]
    both = await lists.latest_candles(bench.account, [(EUR_USD, "M1"), (EUR_USD, "S5")])
    assert set(both) == {(EUR_USD, "M1"), (EUR_USD, "S5")}
    assert both[EUR_USD, "M1"][-1].start_ns >= ends
