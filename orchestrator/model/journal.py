"""A journal record: one fact in the hash-chained audit trail (SAFETY D1)."""

from __future__ import annotations

import msgspec

from orchestrator.model.time import Instant


class Record(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A row of the journal. `data` is the fact's canonical JSON; `hash` chains to `prev`."""

    seq: int
    ts: Instant
    node: str
    epoch: int
    type: str
    subject: str
    corr: str
    actor: str
    data: bytes
    prev: bytes  # 32 raw bytes
    hash: bytes  # 32 raw bytes


class RecordFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which records a reader wants; empty fields do not filter. Newest first unless ascending."""

    types: tuple[str, ...] = ()
    subject: str = ""
    corr: str = ""
    after_seq: int = 0
    before_seq: int = 0
    since_ns: Instant = 0
    until_ns: Instant = 0
    limit: int = 100
    ascending: bool = False
