"""The trail's transactions against the venue's log: each exactly once, in order (INV-05)."""

from __future__ import annotations

import msgspec

from orchestrator.main.venue import look_at
from orchestrator.model.errors import OrchestratorError
from orchestrator.model.facts import AccountAdopted, TransactionApplied
from orchestrator.model.journal import Record
from orchestrator.model.money import AccountId
from orchestrator.model.ports import VenueReader
from orchestrator.service.cli.trail import VenueReport
from orchestrator.settings import Settings

_NAMED_MAX = 20


_HEARD = frozenset(("account.adopted", "transaction.applied"))
_fact = msgspec.json.Decoder(AccountAdopted | TransactionApplied)


class Applied:
    """What a trail says of each account's transactions."""

    def __init__(self) -> None:
        self.ids: dict[str, set[int]] = {}
        self.last: dict[str, int] = {}
        self.watermark: dict[str, int] = {}
        self.disorder: dict[str, str] = {}

    def hear(self, record: Record) -> None:
        """One record that holds. ValueError for one that cannot be read."""
        if record.type not in _HEARD:
            return
        # A hole is no transaction: the venue has none of its number, or it is found missing.
        fact: AccountAdopted | TransactionApplied = _fact.decode(record.data)
        if isinstance(fact, AccountAdopted):
            self.watermark.setdefault(fact.account.id, int(fact.account.last_transaction_id))
        else:
            self._take(fact.account_id, fact.transaction.number, record.seq)

    def _take(self, account_id: str, number: int, seq: int) -> None:
        # A pruned trail begins in the middle: its first transaction is where it is compared from.
        self.watermark.setdefault(account_id, number - 1)
        if number <= self.last.get(account_id, 0):
            self.disorder.setdefault(
                account_id, f"record {seq}: transaction {number} came after a later one, or twice"
            )
        self.last[account_id] = max(number, self.last.get(account_id, 0))
        self.ids.setdefault(account_id, set()).add(number)


async def compare_with_venue(settings: Settings, applied: Applied) -> tuple[VenueReport, ...]:
    """Reads only; a venue that cannot be asked is a problem, and no verdict."""
    try:
        connection = await look_at(settings)
    except (OrchestratorError, OSError) as exc:
        return tuple(
            _problem(account_id, applied, f"the venue cannot be asked: {exc}")
            for account_id in settings.account_ids
        )
    try:
        return tuple([
            await _compare(connection.venue, AccountId(a), applied) for a in settings.account_ids
        ])  # fmt: skip
    finally:
        await connection.close()


async def _compare(reader: VenueReader, account_id: AccountId, applied: Applied) -> VenueReport:
    if account_id not in applied.watermark:
        return _problem(account_id, applied, "the trail knows nothing of this account")
    watermark, last = applied.watermark[account_id], applied.last.get(account_id, 0)
    try:
        found, _ = await reader.transactions_since(account_id, watermark)
    except OrchestratorError as exc:
        return _problem(account_id, applied, f"the venue cannot be asked: {exc}")
    # What the venue did since the trail's last record is not missing, only not read yet.
    there = {tx.number for tx in found if tx.number <= last}
    here = applied.ids.get(account_id, set())
    return VenueReport(
        account_id=account_id, watermark=watermark, last=last, compared=len(there & here),
        missing=tuple(sorted(there - here))[:_NAMED_MAX],
        unknown=tuple(sorted(here - there))[:_NAMED_MAX],
        disorder=applied.disorder.get(account_id, ""),
    )  # fmt: skip


def _problem(account_id: str, applied: Applied, text: str) -> VenueReport:
    return VenueReport(
        account_id=account_id, watermark=applied.watermark.get(account_id, 0),
        last=applied.last.get(account_id, 0), compared=0, problem=text,
    )  # fmt: skip
