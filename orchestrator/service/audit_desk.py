"""The audit trail verified for a person, up to where its chain stands in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from orchestrator.kernel.audit import AuditChain, verify
from orchestrator.model.events import AuditTrouble
from orchestrator.model.journal import Record, RecordFilter
from orchestrator.model.ports import Store
from orchestrator.model.queries import PAGE_ROWS_MAX, Queries
from orchestrator.service.execution_engine import ExecutionEngine
from orchestrator.service.views import Done, Refused


class AuditDesk:
    """Part of the front desk. `threads` false: a virtual-time loop, which waits for no thread."""

    def __init__(
        self, engine: ExecutionEngine, store: Store, chain: AuditChain, queries: Queries,
        *, threads: bool,
    ) -> None:  # fmt: skip
        self._engine = engine
        self._store = store
        self._chain = chain
        self._queries = queries
        self._threads = threads
        self._installation_id = store.installation_id()

    async def verify(self) -> Done | Refused:
        broken = await asyncio.to_thread(self._verify) if self._threads else self._verify()
        if broken is not None or self._engine.kernel.audit_blocked:
            # A trail that is found whole only lets a person reset what stands (S12).
            self._engine.handle(AuditTrouble(ok=broken is None, reason=broken or ""))
        if broken is not None:
            return Refused(status=409, title="The audit chain is broken", detail=broken)
        return Done(text="the audit chain verifies", mode=self._engine.kernel.mode)

    def _verify(self) -> str | None:
        # Up to where the chain stands in memory, so that a shortened journal is found too.
        known = (self._chain.seq, self._chain.head) if self._chain.seq else None
        start, prev = self._store.trail_start()
        records = self._records_after(start)
        broken = verify(records, self._installation_id, start + 1, prev or None, known)
        return None if broken is None else f"record {broken.seq}: {broken.what}"

    def _records_after(self, seq: int) -> Iterator[Record]:
        while True:
            wanted = RecordFilter(after_seq=seq, ascending=True, limit=PAGE_ROWS_MAX)
            page = self._queries.records(wanted)
            yield from page
            if len(page) < PAGE_ROWS_MAX:
                return
            seq = page[-1].seq
