"""Others at the venue: a person who trades on our accounts by hand, and their bank."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any

import msgspec

from orchestrator.model.money import AccountId, InstrumentName, round_money
from orchestrator.model.orders import WriteKind, WriteOutcome, WriteRequest
from orchestrator.model.time import Instant
from orchestrator.paper.exchange.valuation import account_value
from orchestrator.paper.instruments import SPECS
from orchestrator.research.simulate.feed import INSTRUMENTS
from orchestrator.research.simulate.world import ACCOUNTS, World

_APART_S = 15.0
_FUNDS_APART_S = 20.0
_UNITS = (1_000, 20_000)
_AWAY_PIPS = 40


class Stranger:
    """Trades, closes trades, leaves orders behind, and takes our stop losses away."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._rolls = world.fates.dice("stranger")

    async def work(self) -> None:
        """Until the storm is over. Keeps away from what was promised to be closed."""
        world = self._world
        while world.fates.has("stranger"):
            await asyncio.sleep(self._rolls.expovariate(1 / _APART_S))
            account_id = self._rolls.choice(ACCOUNTS)
            # A stop closes what it finds, and not what a person opens after it.
            if account_id not in world.judge.halted and world.fates.has("stranger"):
                world.judge.strangers = True
                world.fates.struck["stranger"] += 1
                self._act(account_id)

    def _act(self, account_id: AccountId) -> None:
        books = self._world.market.exchange.accounts[account_id]
        trades, pending = sorted(books.trades), sorted(books.pending)
        what = self._rolls.choice(("trade", "limit", "close", "cancel"))
        if what == "close" and trades:
            body = msgspec.json.encode({"units": "ALL"}).decode()
            self._write(WriteKind.CLOSE_TRADE, account_id, self._rolls.choice(trades), body)
        elif what == "cancel" and pending:
            self._write(WriteKind.CANCEL, account_id, self._rolls.choice(pending), "")
        elif what == "limit":
            self._order(account_id, limit=True)
        else:
            self._order(account_id, limit=False)

    def _order(self, account_id: AccountId, *, limit: bool) -> None:
        name: InstrumentName = self._rolls.choice(INSTRUMENTS)
        order: dict[str, Any] = {
            "type": "MARKET", "instrument": name, "units": str(self._rolls.randint(*_UNITS)),
            "timeInForce": "FOK", "positionFill": "DEFAULT",
        }  # fmt: skip
        quote = self._world.market.exchange.quotes.get(name)
        if limit and quote is not None:
            price = quote.bid - _AWAY_PIPS * SPECS[name].pip
            order |= {"type": "LIMIT", "timeInForce": "GTC", "price": str(price)}
        elif self._rolls.random() < 1 / 2:
            order["units"] = "-" + order["units"]
        body = msgspec.json.encode({"order": order}).decode()
        self._write(WriteKind.ORDER, account_id, "", body)

    def _write(self, kind: WriteKind, account_id: AccountId, target: str, body: str) -> None:
        request = WriteRequest(kind=kind, account_id=account_id, target=target, body=body)
        self._world.tell(f"a stranger: {kind} {account_id[-3:]} {target} {body}")
        self._world.venue.submit(request, _free, _unheard)


def _free() -> str | None:
    """A stranger asks no gate of ours."""
    return None


def _unheard(_outcome: WriteOutcome, _first_byte_ns: Instant) -> None:
    """A stranger's answer is nobody's business here."""


class Bank:
    """Pays in, and takes out; at times so much that the venue calls for margin."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._rolls = world.fates.dice("funds")

    async def work(self) -> None:
        """Until the storm is over."""
        world = self._world
        while world.fates.has("funds"):
            await asyncio.sleep(self._rolls.expovariate(1 / _FUNDS_APART_S))
            if world.fates.has("funds"):
                world.fates.struck["funds"] += 1
                self._move(self._rolls.choice(ACCOUNTS))

    def _move(self, account_id: AccountId) -> None:
        exchange = self._world.market.exchange
        books = exchange.accounts[account_id]
        value = account_value(books, exchange.specs, exchange.quotes)
        if self._rolls.random() < 1 / 2:
            amount = books.balance * Decimal(self._rolls.randint(1, 20)) / 100
        else:
            amount = -value.withdrawal_limit * Decimal(self._rolls.randint(1, 999)) / 1000
        amount = round_money(amount)
        self._world.tell(f"the bank: {amount} at {account_id[-3:]}")
        exchange.transfer(books, amount, None, "bank", self._world.market.time.now())
