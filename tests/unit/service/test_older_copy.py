"""A store that was restored from an older copy, beside a venue that went on (SAFETY R6)."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest

from orchestrator.adapters.trail.book import CheckpointFile
from orchestrator.kernel.orders.identity import epoch_of
from orchestrator.model.facts import BreakerTripped
from orchestrator.model.safety import BreakerState
from orchestrator.model.venue import ClientExtensions
from orchestrator.service.views import Done
from tests.house import USD_ACCOUNT, House, in_virtual_time, new_market


def copy_of(folder: Path, to: Path) -> None:
    to.mkdir()
    for file in folder.glob("orchestrator.db*"):
        shutil.copy(file, to)


def restore(copy: Path, folder: Path) -> None:
    for file in folder.glob("orchestrator.db*"):
        file.unlink()
    for file in copy.iterdir():
        shutil.copy(file, folder)


def standing(house: House) -> set[str]:
    return {view.breaker for view in house.desk.breakers() if view.state is BreakerState.LATCHED}


def told(house: House, kind: type) -> list:
    return [fact for _, fact in house.store.facts_after(0) if isinstance(fact, kind)]


def test_lost_orders_are_adopted_epochs_outgrow_them_and_nothing_opens(tmp_path: Path) -> None:
    folder, copy = tmp_path / "state", tmp_path / "copy"

    async def story() -> None:
        market = new_market()
        async with House(folder, market) as first:
            await first.calm(40)
            await first.buy(signal_id="before", accounts=(USD_ACCOUNT,))
            await first.calm(3)
        copy_of(folder, copy)
        for _ in range(3):  # lives whose epochs the copy has never seen
            async with House(folder, market) as lost:
                await lost.calm(15)
                await lost.buy(signal_id=f"lost-{lost.kernel.epoch}", accounts=(USD_ACCOUNT,))
                await lost.calm(3)
        log, _ = await first.venue.transactions_since(USD_ACCOUNT, 0)
        highest = max(epoch_of(tx.client_extensions) for tx in log)
        assert highest > 1, "no order of a lost life reached the venue"
        trades = first.venue_trades()
        assert len(trades) >= 2
        restore(copy, folder)
        async with House(folder, market) as house:
            assert house.kernel.epoch > highest
            await house.calm(5)
            # What the venue has is known here, to the last trade.
            assert sorted(house.kernel.books[USD_ACCOUNT].trades) == sorted(
                trade for account, trade in trades if account == USD_ACCOUNT
            )
            assert {"S12", "A8"} <= standing(house)
            before = len(house.venue_trades())
            await house.desk.start("anna")
            with pytest.raises(AssertionError, match="it was cut, or restored from an older copy"):
                await house.buy(signal_id="after")
            await house.calm(3)
            assert len(house.venue_trades()) == before
            # Verified as it is and accepted by a person, the trail goes on from here.
            assert isinstance(await house.desk.verify_audit(), Done)
            reset = await house.desk.reset_breaker("S12", "system", "anna", "restored the copy")
            assert isinstance(reset, Done), reset
            await asyncio.sleep(3.0)
            accepted = CheckpointFile(folder).latest()
            assert accepted is not None
            assert "S12 was reset" in accepted.accepted
            tripped = told(house, BreakerTripped)
            assert any("restored from an older copy" in fact.evidence for fact in tripped)
        async with House(folder, market) as again:
            assert "S12" not in standing(again)

    in_virtual_time(story)


def test_only_an_epoch_of_our_own_orders_counts() -> None:
    ours = "tso-" + "0" * 32
    assert epoch_of(ClientExtensions(id=ours, tag="e17")) == 17
    for other in (
        None, ClientExtensions(id=ours), ClientExtensions(id=ours, tag="e"),
        ClientExtensions(id=ours, tag="e1x"), ClientExtensions(id="x", tag="e99"),
        ClientExtensions(id=ours, tag="e" + "9" * 40),
    ):  # fmt: skip
        assert epoch_of(other) == 0
