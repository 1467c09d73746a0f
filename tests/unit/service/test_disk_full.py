"""A disk that fills up under a service that trades: it blocks, loses nothing, and goes on (S5)."""

from __future__ import annotations

import asyncio
import resource
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from orchestrator.adapters.trail.book import CheckpointFile
from orchestrator.kernel.audit import verify
from orchestrator.model.facts import BreakerReset, BreakerTripped, OperatorActed, SignalEnded
from orchestrator.service.views import Refused
from tests.house import USD_ACCOUNT, House, in_virtual_time, new_market

# So large is the log before it may grow no more: no other file of this process comes near.
_LOG_BYTES = 3_000_000


@contextmanager
def no_room_beyond(size: int) -> Generator[None]:
    """No file of this process may grow beyond so many bytes, as on a disk without room."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_blocks_and_everything_is_written_when_there_is_room(tmp_path: Path) -> None:
    async def story() -> None:
        market = new_market()
        async with House(tmp_path, market) as house:
            await house.calm(40)
            log = tmp_path / "orchestrator.db-wal"
            while log.stat().st_size < _LOG_BYTES:
                house.system.engine.note(
                    OperatorActed(actor="test", action="note", text="x" * 200_000)
                )
            before = house.store.last_record().seq
            with no_room_beyond(log.stat().st_size):
                house.system.engine.note(OperatorActed(actor="test", action="late", text="kept"))
                await house.calm(5)
                assert not house.system.engine.durable
                assert house.store.last_record().seq == before
                with pytest.raises(AssertionError, match=r"Not written down|S5"):
                    await house.buy(signal_id="blocked", accounts=(USD_ACCOUNT,))
                answer = await house.desk.enable(USD_ACCOUNT, "anna", "while full")
                assert isinstance(answer, Refused)
                assert house.venue_trades() == []
            await house.calm(30)
            assert house.system.engine.durable
            await house.buy(signal_id="after", accounts=(USD_ACCOUNT,))
            await house.calm(3)
            assert len(house.venue_trades()) == 1
            facts = [fact for _, fact in house.store.facts_after(before)]
            assert any(isinstance(f, OperatorActed) and f.text == "kept" for f in facts)
            moves = [
                type(f) for f in facts
                if isinstance(f, BreakerTripped | BreakerReset) and f.breaker == "S5"
            ]  # fmt: skip
            assert moves == [BreakerTripped, BreakerReset]
            ends = [f.signal_id for f in facts if isinstance(f, SignalEnded)]
            assert ends.count("blocked") == 1
            await asyncio.sleep(61)
            assert CheckpointFile(tmp_path).latest().seq > before
            records = (record for record, _ in house.store.facts_after(0))
            assert verify(records, house.store.installation_id()) is None

    in_virtual_time(story)
