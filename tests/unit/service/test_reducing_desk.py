"""A person closes, cancels and tightens on a whole house: done once, and on record."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from pathlib import Path

from orchestrator.model.errors import StoreError
from orchestrator.model.facts import OperatorActed, ReductionMoved, ReductionWritten
from orchestrator.model.orders import NotSent, Unknown, WriteKind
from orchestrator.model.reducing import ReduceKind, ReductionState
from orchestrator.paper.in_process import InProcessVenue
from orchestrator.service.reducing_desk import ReduceWish
from orchestrator.service.views import ReductionView, Refused
from tests.house import EUR_USD, USD_ACCOUNT, House, in_virtual_time, new_market

D = Decimal
_REDUCING = {
    WriteKind.CLOSE_TRADE, WriteKind.CLOSE_POSITION, WriteKind.CANCEL, WriteKind.PROTECT,
}  # fmt: skip


class Line(InProcessVenue):
    """The venue; `fate` says what becomes of a person's writes: lost before, after, or never."""

    def __init__(self, market):
        super().__init__(market)
        self.fate = ""
        self.asked = []

    def submit(self, request, gate, done):
        if request.kind not in _REDUCING:
            return super().submit(request, gate, done)
        refused = gate()
        self.asked.append((request.kind, refused))
        loop = asyncio.get_running_loop()
        if refused is not None:
            loop.call_soon(done, NotSent(reason=refused, by_gate=True), 0)
        elif self.fate == "lost before":
            loop.call_later(5.0, done, Unknown(reason="no answer within 5 s"), 1)
        elif self.fate == "lost after":
            super().submit(request, lambda: None, lambda *_: None)
            loop.call_later(5.0, done, Unknown(reason="no answer within 5 s"), 1)
        else:
            super().submit(request, lambda: None, done)
        return None


def wish(kind, target, **fields):
    return ReduceWish(
        kind=ReduceKind(kind), account_id=USD_ACCOUNT, target=target, reason="test", **fields
    )


def played(folder: Path, story) -> None:
    """A house with one open trade, given to the story."""

    async def main() -> None:
        market = new_market()
        line = Line(market)
        async with House(folder, market, venue=line) as house:
            await house.calm(40)
            await house.buy(accounts=(USD_ACCOUNT,))
            await house.calm(3)
            ((_, trade),) = house.venue_trades()
            await story(house, line, trade)

    in_virtual_time(main)


def units_of(house, trade) -> Decimal:
    return house.market.exchange.accounts[USD_ACCOUNT].trades[trade].current_units


def facts_of(house, *kinds):
    return [fact for _, fact in house.store.facts_after(0) if isinstance(fact, kinds)]


def test_a_part_then_the_rest_of_a_trade_are_closed_and_on_record(tmp_path):
    async def story(house, line, trade):
        before = units_of(house, trade)
        part = wish("close_trade", trade, units=D(100), command_id="part", instrument=EUR_USD)
        done = await house.desk.reduce(part, "anna")
        assert isinstance(done, ReductionView)
        assert (done.state, done.units, done.persisted) == (ReductionState.DONE, D(100), True)
        assert units_of(house, trade) == before - 100
        again = await house.desk.reduce(part, "anna")
        assert (again.state, again.transaction_id) == (done.state, done.transaction_id)
        assert units_of(house, trade) == before - 100
        rest = await house.desk.reduce(wish("close_position", EUR_USD), "anna")
        assert rest.state is ReductionState.DONE
        assert house.venue_trades() == []
        assert len(line.asked) == 2
        acted = [f for f in facts_of(house, OperatorActed) if f.action.startswith("close")]
        assert [f.actor for f in acted] == ["anna", "anna"]
        assert "test" in acted[0].text
        assert len(facts_of(house, ReductionWritten)) == 2
        listed = house.desk.reductions()
        assert [each.command_id for each in listed][1] == "part"

    played(tmp_path, story)


def test_a_stop_moves_one_way_only(tmp_path):
    async def story(house, line, trade):
        stop = house.kernel.books[USD_ACCOUNT].trades[trade].stop_price
        done = await house.desk.reduce(wish("tighten_stop", trade, price=stop + D("0.001")), "anna")
        assert done.state is ReductionState.DONE
        assert house.kernel.books[USD_ACCOUNT].trades[trade].stop_price == stop + D("0.001")
        back = await house.desk.reduce(wish("tighten_stop", trade, price=stop), "anna")
        assert isinstance(back, Refused)
        assert "is not tighter" in back.detail
        assert len(line.asked) == 1

    played(tmp_path, story)


def test_the_wrong_account_and_a_stale_page_are_refused_and_on_record(tmp_path):
    async def story(house, line, trade):
        other = await house.desk.reduce(wish("close_trade", trade, instrument="GBP_USD"), "anna")
        assert (other.status, other.title) == (409, "Another instrument")
        stranger = ReduceWish(kind=ReduceKind.CLOSE_TRADE, account_id="101-001-9-009", target=trade)
        assert (await house.desk.reduce(stranger, "anna")).status == 404
        order = await house.desk.reduce(wish("cancel_order", "99"), "anna")
        assert order.status == 409
        refusals = [f for f in facts_of(house, OperatorActed) if f.refused]
        assert len(refusals) == 3
        assert line.asked == []

    played(tmp_path, story)


def test_a_part_whose_answer_is_lost_is_done_once(tmp_path):
    async def story(house, line, trade):
        before, line.fate = units_of(house, trade), "lost after"
        done = await house.desk.reduce(wish("close_trade", trade, units=D(100)), "anna")
        assert done.state is ReductionState.DONE
        assert units_of(house, trade) == before - 100
        assert len(line.asked) == 1

    played(tmp_path, story)


def test_a_part_that_never_arrives_is_told_unknown_then_absent(tmp_path):
    async def story(house, line, trade):
        before, line.fate = units_of(house, trade), "lost before"
        part = wish("close_trade", trade, units=D(100), command_id="part")
        told = await house.desk.reduce(part, "anna")
        assert told.state is ReductionState.UNKNOWN
        await house.calm(25)
        told = await house.desk.reduce(part, "anna")
        assert (told.status, told.title) == (409, "Not done")
        assert "absent" in told.detail
        assert units_of(house, trade) == before
        assert len(line.asked) == 1

    played(tmp_path, story)


def test_in_a_stop_nothing_of_a_person_leaves(tmp_path):
    async def story(house, line, trade):
        await house.desk.emergency_stop("bob", "test", liquidate=False)
        told = await house.desk.reduce(wish("close_trade", trade), "anna")
        assert isinstance(told, Refused)
        assert "emergency stop" in told.detail
        assert line.asked == []
        assert house.venue_trades() != []

    played(tmp_path, story)


def test_a_gate_that_closes_while_a_close_waits_keeps_it_back(tmp_path):
    async def story(house, line, trade):
        house.gate.hold()
        told = await house.desk.reduce(wish("close_trade", trade), "anna")
        assert (told.status, told.title) == (409, "Not done")
        assert "guard" in told.detail
        assert line.asked[0][1] == "the guard has closed the gate: the main loop was blocked"
        house.gate.release()
        done = await house.desk.reduce(wish("close_trade", trade), "anna")
        assert done.state is ReductionState.DONE

    played(tmp_path, story)


def test_a_store_that_fails_keeps_no_whole_close_back_but_every_part(tmp_path, monkeypatch):
    def full(*_):
        raise StoreError("disk full")

    async def story(house, line, trade):
        append = house.store.append
        monkeypatch.setattr(house.store, "append", full)
        part = await house.desk.reduce(wish("close_trade", trade, units=D(100)), "anna")
        assert part.status == 503
        assert line.asked == []
        whole = await house.desk.reduce(wish("close_trade", trade), "anna")
        assert (whole.state, whole.persisted) == (ReductionState.DONE, False)
        assert house.venue_trades() == []
        late = await house.desk.reduce(wish("close_position", EUR_USD), "anna")
        assert isinstance(late, Refused)
        monkeypatch.setattr(house.store, "append", append)
        await house.calm(15)
        states = [fact.state for fact in facts_of(house, ReductionMoved)]
        assert states == [ReductionState.NOT_SENT, ReductionState.DONE]

    played(tmp_path, story)
