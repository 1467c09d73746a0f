"""One life of the service as `orchestrator run` lives it, without its API; says when it trades.

`python -m benchmarks.life STATE_FOLDER` with the service's environment. Each line on standard
output is JSON. SIGTERM ends it in order, and its paper venue with it.
"""

from __future__ import annotations

import time

BEGAN_NS = time.monotonic_ns()  # before the imports, which are most of a start

import asyncio  # noqa: E402
import logging  # noqa: E402
import os  # noqa: E402
import signal  # noqa: E402
import sys  # noqa: E402
from pathlib import Path  # noqa: E402

import msgspec  # noqa: E402
import structlog  # noqa: E402
import uvloop  # noqa: E402

from benchmarks.children import resident_mb  # noqa: E402
from orchestrator.main.hosting import Service, Wishes  # noqa: E402
from orchestrator.model.errors import VenueError  # noqa: E402
from orchestrator.model.money import AccountId  # noqa: E402
from orchestrator.model.safety import SystemMode  # noqa: E402
from orchestrator.model.signals import STAGES  # noqa: E402
from orchestrator.settings import load_settings  # noqa: E402

_COMPARE_S = 5.0


def _say(**words: object) -> None:
    sys.stdout.write(msgspec.json.encode(words).decode() + "\n")
    sys.stdout.flush()


async def _live(folder: str) -> None:
    imported = time.monotonic_ns()
    service = Service(
        load_settings(env={**os.environ, "STATE_DIR": folder}, env_file=None), Wishes()
    )
    opened = time.monotonic_ns()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, service.end)
    async with asyncio.TaskGroup() as tasks:
        living = tasks.create_task(service.live())
        while service.system is None or not _trading(service):
            if living.done():
                return
            await asyncio.sleep(0.002)
        trading = time.monotonic_ns()
        equal, compared = await _equals_venue(service)
        counts = service.system.telemetry.counts
        last = service.store.last_record()
        _say(began=BEGAN_NS, imported=imported, opened=opened, trading=trading, equal=equal,
             compared=compared, rss_mb=resident_mb(),
             records=0 if last is None else last.seq, orders=counts["orders"])  # fmt: skip
    service.close()


def _trading(service: Service) -> bool:
    """Running and up, every account reconciled, every stage served, every instrument priced."""
    assert service.system is not None
    system, kernel = service.system, service.system.kernel
    return (
        system.up.is_set()
        and kernel.mode is SystemMode.RUNNING
        and all(map(kernel.reconciled, kernel.account_ids))
        and all(map(system.agents.healthy, STAGES))
        and all(kernel.quotes.tick(name) is not None for name in kernel.instruments)
    )


async def _equals_venue(service: Service) -> tuple[bool, list[str]]:
    """Balance, trades and last transaction by our ledger and by the venue's own answer."""
    until = time.monotonic() + _COMPARE_S
    while True:
        texts = [await _difference(service, account) for account in service.settings.account_ids]
        found = [text for text in texts if text]
        if not found or time.monotonic() > until:
            return not found, found
        await asyncio.sleep(0.05)  # a trade may close between the two looks


async def _difference(service: Service, name: str) -> str:
    assert service.system is not None
    assert service.connection is not None
    try:
        theirs = await service.connection.venue.account(AccountId(name))
    except VenueError as exc:
        return f"{name}: {exc}"
    book = service.system.kernel.books[AccountId(name)]
    ours = (book.balance, sorted(book.trades), book.last_id)
    venue = (theirs.balance, sorted(t.id for t in theirs.trades or ()),
             int(theirs.last_transaction_id))  # fmt: skip
    return "" if ours == venue else f"{name}: ours {ours}, the venue's {venue}"


def main() -> None:
    # Standard output is for what `_say` says: an alert must not stand between.
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL),
        logger_factory=structlog.PrintLoggerFactory(file=sys.stderr),
    )
    folder = Path(sys.argv[1])
    uvloop.run(_live(str(folder)))


if __name__ == "__main__":
    main()
