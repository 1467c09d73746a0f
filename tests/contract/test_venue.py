"""The Venue port: the OANDA client at the paper venue's socket, and the paper venue in process.

Marked `practice` and chosen by the environment: the client at a real practice account.
"""

from __future__ import annotations

import asyncio
from decimal import Decimal

import pytest

from orchestrator.adapters.oanda.bodies import Dependents, Resting
from orchestrator.model.errors import VenueError, VenueRefused
from orchestrator.model.market import Tick
from orchestrator.model.money import AccountId, InstrumentName
from orchestrator.model.orders import Answered, NotSent, Rejected, WriteKind, WriteRequest
from orchestrator.model.ports import StreamItem
from orchestrator.model.venue import Transaction
from tests.contract.venues import EUR_USD, OTHER, heard, until

# reading


async def test_an_account_starts_with_its_money_and_its_log(paper_bench):
    account = await paper_bench.venue.account(paper_bench.account)
    assert (account.id, account.currency, account.balance) == (paper_bench.account, "USD", 100_000)
    assert account.nav == 100_000
    assert account.trades == account.orders == ()
    log, last = await paper_bench.venue.transactions_since(paper_bench.account, 0)
    assert [one.number for one in log] == list(range(1, last + 1))
    assert log[0].type == "CREATE"
    assert account.last_transaction_id == str(last)


async def test_all_accounts_are_listed(bench):
    found = set(await bench.venue.account_ids())
    assert bench.account in found
    assert bench.practice or OTHER in found


async def test_an_account_that_is_not_there_is_an_error(bench):
    with pytest.raises(VenueError):
        await bench.venue.account(AccountId("101-001-9999999-001"))


async def test_instruments_have_rules_that_orders_can_be_made_with(bench):
    specs = {spec.name: spec for spec in await bench.venue.instruments(bench.account)}
    assert specs["EUR_USD"].display_precision == 5
    assert specs["USD_JPY"].pip == Decimal("0.01")
    assert all(spec.margin_rate > 0 and spec.minimum_trade_size > 0 for spec in specs.values())


async def test_prices_are_the_latest(paper_bench):
    await paper_bench.price("1.20000", "1.20010")
    (tick,) = await paper_bench.venue.prices(paper_bench.account, [EUR_USD])
    assert (tick.bid, tick.ask, tick.tradeable) == (Decimal("1.2"), Decimal("1.2001"), True)


async def test_candles_are_ascending_and_only_the_last_may_run(bench):
    found = await bench.venue.candles(EUR_USD, "M1", 10)
    assert found
    assert [one.start_ns for one in found] == sorted({one.start_ns for one in found})
    assert all(one.complete for one in found[:-1])
    assert all(one.bid_l <= one.bid_o <= one.bid_h and one.bid_c < one.ask_c for one in found)


async def test_candles_of_nothing_are_an_error(bench):
    with pytest.raises(VenueError):
        await bench.venue.candles(InstrumentName("NO_SUCH"), "M1", 10)
    with pytest.raises(VenueError):
        await bench.venue.candles(EUR_USD, "M3", 10)


async def test_the_end_of_the_log_is_empty_and_beyond_it_is_an_error(bench):
    last = bench.since
    assert await bench.venue.transactions_since(bench.account, last) == ((), last)
    with pytest.raises(VenueRefused):
        await bench.venue.transactions_since(bench.account, last + 5)


async def test_the_venue_tells_its_market_clock(paper_bench):
    first = await paper_bench.venue.clock()
    await asyncio.sleep(0.01)
    second = await paper_bench.venue.clock()
    assert first.speed == 1.0
    assert first.calendar == "always"
    assert first.start_ns <= first.now_ns < second.now_ns
    assert not second.finished


async def test_the_clocks_are_compared_by_what_the_venue_answers(bench):
    await bench.venue.account(bench.account)
    assert isinstance(bench.venue.clock_offset_ns, int)


# orders


async def test_a_market_order_fills_with_its_stop_loss_in_the_same_batch(bench):
    request = bench.protected()
    outcome, first_byte_ns = await bench.send(request)
    assert isinstance(outcome, Answered)
    assert outcome.status == 201
    assert first_byte_ns > 0
    create, fill = outcome.transactions[:2]
    assert (create.type, fill.type) == ("MARKET_ORDER", "ORDER_FILL")
    assert create.client_extensions.id == request.client_request_id
    assert (fill.units, fill.order_id) == (int(bench.units), create.id)
    assert bench.practice or fill.price == Decimal("1.1001")
    log = await bench.log()
    assert [one.type for one in log] == ["MARKET_ORDER", "ORDER_FILL", "STOP_LOSS_ORDER"]
    assert {one.batch_id for one in log} == {create.id}
    assert outcome.last_transaction_id == log[-1].number
    account = await bench.venue.account(bench.account)
    (trade,) = [one for one in account.trades if one.id == fill.id]
    assert trade.current_units == int(bench.units)
    assert trade.stop_loss_order_id == log[-1].id
    assert account.balance == fill.account_balance


async def test_a_201_may_be_no_fill(bench):
    outcome = await bench.write(bench.order(priceBound=str(bench.below())))
    assert isinstance(outcome, Answered)
    assert [one.type for one in outcome.transactions] == ["MARKET_ORDER", "ORDER_CANCEL"]
    assert outcome.transactions[1].reason == "BOUNDS_VIOLATION"


async def test_an_order_that_the_account_refuses_is_rejected_with_its_transaction(bench):
    outcome = await bench.write(bench.order(units="0"))
    assert isinstance(outcome, Rejected)
    assert (outcome.status, outcome.code) == (400, "UNITS_INVALID")
    assert [one.type for one in outcome.transactions] == ["MARKET_ORDER_REJECT"]
    assert (await bench.types())[-1] == "MARKET_ORDER_REJECT"


@pytest.mark.parametrize("body", ["", "{", "[]", '{"order": 7}', '{"order": {}}', '{"units": 1}'])
async def test_a_body_that_is_no_order_is_rejected_and_leaves_no_order(bench, body):
    request = WriteRequest(kind=WriteKind.ORDER, account_id=bench.account, body=body)
    before = await bench.venue.account(bench.account)
    outcome = await bench.write(request)
    assert isinstance(outcome, Rejected)
    assert outcome.status in {400, 404}
    account = await bench.venue.account(bench.account)
    assert (account.orders, account.trades) == (before.orders, before.trades)


async def test_an_account_that_is_not_there_trades_nothing(bench):
    request = WriteRequest(
        kind=WriteKind.ORDER, account_id=AccountId("101-001-9999999-001"), body=bench.order().body
    )
    assert isinstance(await bench.write(request), Rejected | NotSent)


async def test_a_refusing_gate_leaves_no_trace_at_the_venue(bench):
    before = await bench.types()
    outcome, first_byte_ns = await bench.send(bench.order(), lambda: "stopped")
    assert outcome == NotSent(reason="stopped", by_gate=True)
    assert first_byte_ns == 0
    assert await bench.types() == before


async def test_the_gate_is_asked_once_for_each_write_and_never_for_a_read(bench):
    asked: list[int] = []
    for _ in range(3):
        await bench.send(bench.order(), lambda: asked.append(1))
    await bench.venue.account(bench.account)
    assert len(asked) == 3


async def test_many_orders_at_once_are_each_answered_once_and_each_in_the_log_once(paper_bench):
    requests = [paper_bench.order() for _ in range(30)]
    async with asyncio.TaskGroup() as tasks:
        sent = [tasks.create_task(paper_bench.write(request)) for request in requests]
    assert all(isinstance(one.result(), Answered) for one in sent)
    ids = [t.client_extensions.id for t in await paper_bench.log() if t.type == "MARKET_ORDER"]
    assert sorted(ids) == sorted(request.client_request_id for request in requests)


async def test_a_pending_order_is_cancelled_once(bench):
    made = await bench.write(bench.limit())
    assert isinstance(made, Answered)
    (create,) = made.transactions
    assert create.id in {one.id for one in (await bench.venue.account(bench.account)).orders}
    cancel = bench.request(WriteKind.CANCEL, create.id)
    gone = await bench.write(cancel)
    assert isinstance(gone, Answered)
    assert [(t.type, t.order_id) for t in gone.transactions] == [("ORDER_CANCEL", create.id)]
    again = await bench.write(cancel)
    assert isinstance(again, Rejected)
    assert (again.status, again.code) == (404, "ORDER_DOESNT_EXIST")


async def test_an_order_is_found_by_its_client_id_too(bench):
    request = bench.limit()
    await bench.write(request)
    cancel = bench.request(WriteKind.CANCEL, f"@{request.client_request_id}")
    assert isinstance(await bench.write(cancel), Answered)


# reducing


async def test_a_trade_is_closed_with_its_stop(bench):
    opened = await bench.write(bench.protected())
    trade_id = opened.transactions[1].trade_opened.trade_id
    close = bench.request(WriteKind.CLOSE_TRADE, trade_id, {"units": "ALL"})
    outcome = await bench.write(close)
    assert isinstance(outcome, Answered)
    assert outcome.transactions[1].trades_closed[0].trade_id == trade_id
    assert (await bench.types())[-3:] == ["MARKET_ORDER", "ORDER_FILL", "ORDER_CANCEL"]
    left = (await bench.venue.account(bench.account)).trades
    assert trade_id not in {one.id for one in left}
    again = await bench.write(close)
    assert isinstance(again, Rejected)
    assert (again.status, again.code) == (404, "TRADE_DOESNT_EXIST")


async def test_a_position_is_closed_by_its_side_and_only_once(bench):
    await bench.write(bench.order())
    await bench.write(bench.order())
    close = bench.request(WriteKind.CLOSE_POSITION, EUR_USD, {"longUnits": "ALL"})
    outcome = await bench.write(close)
    assert isinstance(outcome, Answered)
    (fill,) = [one for one in outcome.transactions if one.type == "ORDER_FILL"]
    assert fill.units == -2 * int(bench.units)
    assert len(fill.trades_closed) == 2
    again = await bench.write(close)
    assert isinstance(again, Rejected)
    assert again.code == "CLOSEOUT_POSITION_DOESNT_EXIST"


async def test_a_stop_is_moved_by_protect(bench):
    opened = await bench.write(bench.protected())
    trade_id = opened.transactions[1].id
    protect = bench.bodies.protect(
        trade_id, Dependents(stop_loss=Resting(price=bench.below("0.02")))
    )
    outcome = await bench.write(protect)
    assert isinstance(outcome, Answered)
    assert {one.type for one in outcome.transactions} == {"ORDER_CANCEL", "STOP_LOSS_ORDER"}
    orders = (await bench.venue.account(bench.account)).orders
    (order,) = [one for one in orders if one.trade_id == trade_id]
    assert (order.type, order.price) == ("STOP_LOSS", bench.below("0.02"))


async def test_a_stop_triggers_by_itself_at_the_gapped_price(paper_bench):
    await paper_bench.write(paper_bench.protected())
    await paper_bench.price("1.05000", "1.05010")
    fill = [one for one in await paper_bench.log() if one.type == "ORDER_FILL"][-1]
    assert (fill.reason, fill.price) == ("STOP_LOSS_ORDER", Decimal("1.05"))
    account = await paper_bench.venue.account(paper_bench.account)
    assert account.trades == ()
    assert account.balance == 100_000 + fill.pl == fill.account_balance


# streams


async def test_transactions_are_streamed_once_and_in_order_from_now_on(paper_bench):
    await paper_bench.write(paper_bench.order())
    _, before = await paper_bench.venue.transactions_since(paper_bench.account, 0)

    def stream(sink):
        return paper_bench.venue.stream_transactions(paper_bench.account, sink)

    async with heard(stream) as items:
        await paper_bench.write(paper_bench.protected())
        await paper_bench.write(paper_bench.order(units="0"))
        await paper_bench.price("1.05000", "1.05010")
        log = await paper_bench.log(before)
        await until(lambda: sum(isinstance(one, Transaction) for one in items) >= len(log))
    streamed = [one for one in items if isinstance(one, Transaction)]
    assert streamed == log
    assert {one.account_id for one in streamed} == {paper_bench.account}


async def test_another_accounts_transactions_are_not_streamed(paper_bench):
    def stream(sink):
        return paper_bench.venue.stream_transactions(OTHER, sink)

    async with heard(stream) as items:
        await paper_bench.write(paper_bench.order())
        await asyncio.sleep(0.05)
    assert not any(isinstance(one, Transaction) for one in items)


async def test_prices_are_streamed_from_a_snapshot_on(paper_bench):
    def stream(sink):
        return paper_bench.venue.stream_prices(paper_bench.account, [EUR_USD], sink)

    def ticks(items: list[StreamItem]) -> list[Decimal]:
        return [one.bid for one in items if isinstance(one, Tick)]

    async with heard(stream) as items:
        await until(lambda: Decimal("1.10000") in ticks(items))
        await paper_bench.price("1.30000", "1.30010")
        await until(lambda: ticks(items)[-1] == Decimal("1.30000"))
    assert {one.instrument for one in items if isinstance(one, Tick)} == {EUR_USD}


async def test_a_closed_venue_sends_nothing(paper_bench):
    await paper_bench.venue.close()
    outcome, first_byte_ns = await paper_bench.send(paper_bench.order())
    assert isinstance(outcome, NotSent)
    assert not outcome.by_gate
    assert first_byte_ns == 0
