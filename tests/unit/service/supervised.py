"""What the tests of the supervisor share: a fickle venue, and looks into the journal."""

from __future__ import annotations

import asyncio

import msgspec

from orchestrator.kernel.engine import Kernel
from orchestrator.main.parts import kernel_plan
from orchestrator.model.errors import VenueError, VenueUnreachable
from orchestrator.model.journal import RecordFilter
from orchestrator.model.money import AccountId
from orchestrator.model.orders import Unknown, WriteKind
from orchestrator.paper.in_process import InProcessVenue
from orchestrator.settings import load_settings
from tests.house import EUR_ACCOUNT, USD_ACCOUNT, House


class FickleVenue(InProcessVenue):
    """Reads of an account raise `away[account]`; orders are held back while `holding`."""

    def __init__(self, market) -> None:
        super().__init__(market)
        self.away: dict[AccountId, VenueError] = {}
        self.holding = False
        self.held: list[tuple] = []

    def _troubled(self, account_id: AccountId) -> None:
        trouble = self.away.get(account_id)
        if trouble is not None:
            raise trouble

    def all_away(self) -> None:
        self.away = dict.fromkeys((USD_ACCOUNT, EUR_ACCOUNT), VenueUnreachable("refused"))

    async def account(self, account_id):
        self._troubled(account_id)
        return await super().account(account_id)

    async def instruments(self, account_id):
        self._troubled(account_id)
        return await super().instruments(account_id)

    async def transactions_since(self, account_id, since):
        self._troubled(account_id)
        return await super().transactions_since(account_id, since)

    def submit(self, request, gate, done) -> None:
        """A held order has left: the gate let it pass, and its answer is a time-out."""
        if self.holding and request.kind is WriteKind.ORDER and gate() is None:
            self.held.append(request)
            loop = asyncio.get_running_loop()
            loop.call_later(0.5, done, Unknown(reason="time-out"), self.market.time.now())
            return
        super().submit(request, gate, done)

    def arrive(self) -> None:
        """What was held reaches the exchange."""
        for request in self.held:
            super().submit(request, lambda: None, lambda *_: None)
        self.held.clear()


def journalled(house: House, *types: str) -> list[dict]:
    rows = house.store.records(RecordFilter(types=types, ascending=True, limit=1000))
    return [msgspec.json.decode(row.data) for row in rows]


def replayed(house: House) -> bytes:
    settings = load_settings(env={"INSTRUMENTS": "EUR_USD"}, env_file=None)
    kernel = Kernel(kernel_plan(settings, "always"))
    for record, fact in house.store.facts_after(0):
        kernel.apply(fact, record.ts)
    return kernel.snapshot()


async def in_time(work, seconds: float = 60) -> None:
    async with asyncio.timeout(seconds):
        await work
