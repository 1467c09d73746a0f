"""Resume and commands of a whole house: nothing is called done that could not be written down."""

from __future__ import annotations

from decimal import Decimal

import pytest

from orchestrator.model.errors import StoreError
from orchestrator.service.views import Done, Refused
from tests.house import EUR_USD, USD_ACCOUNT, House, in_virtual_time, new_market

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
            monkeypatch.setattr(house.desk._audit, "_verify", lambda: "record 3: changed")
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
