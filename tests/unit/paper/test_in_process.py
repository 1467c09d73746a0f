"""The venue in one process, on virtual time: every tick, the gate last, the same run each time."""

import asyncio
import hashlib
import json

from orchestrator.model.market import StreamBeat, StreamUp, Tick
from orchestrator.model.orders import Answered, NotSent, Rejected, WriteKind, WriteRequest
from orchestrator.model.time import NS_PER_S
from orchestrator.model.venue import Transaction
from orchestrator.paper.clock import VenueTime
from orchestrator.paper.feeds.synthetic import SyntheticFeed
from orchestrator.paper.in_process import InProcessVenue
from orchestrator.paper.main import open_accounts, parse_account
from orchestrator.paper.market import Market
from orchestrator.service.virtual import run_virtual
from tests.unit.paper.desk import ACCOUNT, NOON


def order(units="1000", **fields) -> WriteRequest:
    wish = {"type": "MARKET", "instrument": "EUR_USD", "units": units} | fields
    return WriteRequest(kind=WriteKind.ORDER, account_id=ACCOUNT, body=json.dumps({"order": wish}))


def open_gate() -> None:
    return None


async def played(script) -> InProcessVenue:
    """Run `script(venue)` beside a synthetic market of seed 5, then end both."""
    loop = asyncio.get_running_loop()
    time = VenueTime(NOON, 1.0, lambda: round(loop.time() * NS_PER_S), held=True)
    market = Market(SyntheticFeed(NOON, 5, history_ns=60 * NS_PER_S), time, calendar="always")
    open_accounts(market, [parse_account(f"{ACCOUNT}:USD:100000")], None)
    venue = InProcessVenue(market)
    async with asyncio.TaskGroup() as tasks:
        beside = [tasks.create_task(market.run())]
        await script(venue, lambda work: beside.append(tasks.create_task(work)))
        for task in beside:
            task.cancel()
    return venue


async def hour(venue, beside) -> None:
    """Trade on every 500th tick for ten minutes."""
    heard = []

    def sink(items):
        before = len(heard) // 500
        heard.extend(items)
        if len(heard) // 500 > before:
            side = "1000" if before % 2 else "-700"
            stop = {"stopLossOnFill": {"distance": "0.00050"}}
            venue.submit(order(side, **stop), open_gate, lambda *_: None)

    beside(venue.stream_prices(ACCOUNT, venue.market.instruments, sink))
    await asyncio.sleep(600)
    ticks = [item for item in heard if isinstance(item, Tick)]
    assert len(ticks) >= venue.market.ticks - 20  # all but those before the first listener
    assert sum(isinstance(item, StreamUp) for item in heard) == 1
    assert sum(isinstance(item, StreamBeat) for item in heard) in {119, 120}


def test_the_same_seed_gives_the_same_books_to_the_byte():
    digests = set()
    for _ in range(2):
        venue = run_virtual(played(hour))
        history = venue.market.exchange.accounts[ACCOUNT].history
        assert len(history) > 20
        digests.add(hashlib.sha256(b"\n".join(history)).hexdigest())
    assert len(digests) == 1


def test_urgent_writes_go_first_and_the_gate_is_asked_just_before_each():
    said = []

    def gate(name, answer=None):
        return lambda: said.append(f"gate {name}") or answer

    def done(name):
        return lambda outcome, first_byte: said.append((name, type(outcome), bool(first_byte)))

    async def script(venue, beside):
        beside(venue.stream_prices(ACCOUNT, ["EUR_USD"], lambda _items: None))
        await asyncio.sleep(5)
        cancel = WriteRequest(kind=WriteKind.CANCEL, account_id=ACCOUNT, target="99")
        venue.submit(order(), gate("order"), done("order"))
        venue.submit(order(), gate("shut", "closed"), done("shut"))
        venue.submit(cancel, gate("cancel"), done("cancel"))
        bad = WriteRequest(kind=WriteKind.ORDER, account_id=ACCOUNT, body="{")
        venue.submit(bad, gate("bad"), done("bad"))
        assert said == []
        await asyncio.sleep(1)
        await venue.close()
        venue.submit(order(), gate("late"), done("late"))
        await asyncio.sleep(1)

    run_virtual(played(script))
    assert [s for s in said if isinstance(s, str)] == [
        "gate cancel", "gate order", "gate shut", "gate bad",
    ]  # fmt: skip
    assert {s[0]: s[1:] for s in said if isinstance(s, tuple)} == {
        "cancel": (Rejected, True), "order": (Answered, True), "shut": (NotSent, False),
        "bad": (Rejected, True), "late": (NotSent, False),
    }  # fmt: skip


def test_a_transaction_stream_gets_each_batch_whole_and_the_log_agrees():
    heard = []

    async def script(venue, beside):
        beside(venue.stream_prices(ACCOUNT, ["EUR_USD"], lambda _items: None))
        beside(venue.stream_transactions(ACCOUNT, heard.append))
        await asyncio.sleep(5)
        venue.submit(order(), open_gate, lambda *_: None)
        await asyncio.sleep(6)
        log, last = await venue.transactions_since(ACCOUNT, 3)
        streamed = [t for batch in heard for t in batch if isinstance(t, Transaction)]
        assert tuple(streamed) == log
        assert last == log[-1].number
        beats = [b for batch in heard for b in batch if isinstance(b, StreamBeat)]
        assert beats[-1].last_transaction_id == str(last)
        [candle] = await venue.candles("EUR_USD", "H1", 1)
        assert (candle.complete, candle.start_ns) == (False, NOON)

    run_virtual(played(script))
    assert [len(batch) for batch in heard if isinstance(batch[0], Transaction)] == [2]
