"""The hash chain of the audit trail: links, lines and their verification (SAFETY D1, D5)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from orchestrator.model.facts import Fact, actor_of, corr_of, subject_of
from orchestrator.model.journal import Record, canonical
from orchestrator.model.time import Instant

_DOMAIN = b"tso-audit-1\n"
# Sorted keys and no spaces: one fact has one text, on every machine.
_encode = msgspec.json.Encoder(order="sorted").encode


class Broken(msgspec.Struct, frozen=True, kw_only=True):
    """The first record that does not hold, and what is wrong with it."""

    seq: int
    what: str


def first_prev(installation_id: str) -> bytes:
    """What the first record chains to."""
    return hashlib.sha256(installation_id.encode()).digest()


def hash_of(record: Record) -> bytes:
    """SHA-256 over the domain, the previous hash as raw bytes, and the canonical record."""
    return hashlib.sha256(_DOMAIN + record.prev + canonical(record)).digest()


class AuditChain:
    """Links facts to the trail's head. The head moves only after the commit succeeded."""

    def __init__(self, installation_id: str, last: Record | None = None) -> None:
        self._seq = 0 if last is None else last.seq
        self._head = first_prev(installation_id) if last is None else last.hash

    @property
    def seq(self) -> int:
        """The last record's number; 0 before the first."""
        return self._seq

    @property
    def head(self) -> bytes:
        return self._head

    def link(
        self, entries: Sequence[Fact], ts: Instant | Sequence[Instant], node: str, epoch: int
    ) -> tuple[Record, ...]:
        """Records for these facts, after the head. Changes nothing: a commit may yet fail.

        `ts`: the instant of all, or one for each.
        """
        seq, prev = self._seq, self._head
        records: list[Record] = []
        times = (ts,) * len(entries) if isinstance(ts, int) else ts
        for fact, at in zip(entries, times, strict=True):
            seq += 1
            bare = Record(
                seq=seq,
                ts=at,
                node=node,
                epoch=epoch,
                type=tag_of(fact),
                subject=subject_of(fact),
                corr=corr_of(fact),
                actor=actor_of(fact),
                data=_encode(fact),
                prev=prev,
                hash=b"",
            )
            prev = hash_of(bare)
            records.append(msgspec.structs.replace(bare, hash=prev))
        return tuple(records)

    def advance(self, records: Sequence[Record]) -> None:
        """Move the head over records that are durable now."""
        if not records:
            return
        assert records[0].seq == self._seq + 1, "records advance past others"
        assert records[0].prev == self._head, "records were linked to another head"
        self._seq, self._head = records[-1].seq, records[-1].hash


def tag_of(fact: Fact) -> str:
    """The fact's own name on the wire."""
    return str(type(fact).__struct_config__.tag)


class Links:
    """Follows a chain record by record, from `seq` on, after a record hashed `prev`.

    `known`: hashes of checkpoints, or of the store's own head, by number: without one, a chain that
    was cut at its end, or rewritten to its end, looks whole.
    """

    def __init__(self, prev: bytes, seq: int = 1, known: Mapping[int, bytes] | None = None) -> None:
        self._prev = prev
        self._known = known or {}
        self.seq = seq  # of the record that comes next

    @property
    def head(self) -> bytes:
        """The hash of the last record that held."""
        return self._prev

    def take(self, record: Record) -> Broken | None:
        """What is wrong with the next record; None when it holds."""
        wrong = self._wrong(record)
        if wrong:
            return Broken(seq=self.seq, what=wrong)
        self._prev = record.hash
        self.seq += 1
        return None

    def _wrong(self, record: Record) -> str:
        if record.seq != self.seq:
            return f"record {record.seq} stands where {self.seq} belongs"
        if record.prev != self._prev:
            return "does not chain to the record before it"
        if record.hash != hash_of(record):
            return "its content does not match its hash"
        if self._known.get(self.seq, record.hash) != record.hash:
            return "differs from the checkpoint"
        return ""

    def end(self) -> Broken | None:
        """After the last record: whether any that is known of is missing."""
        last = max(self._known, default=0)
        if last < self.seq:
            return None
        return Broken(seq=self.seq, what=f"records {self.seq} to {last} are missing at the end")


def verify(
    records: Iterable[Record],
    installation_id: str,
    from_seq: int = 1,
    prev: bytes | None = None,
    known: tuple[int, bytes] | None = None,
) -> Broken | None:
    """None when the chain holds, else the first record that does not.

    `from_seq`, `prev`: where the records begin, and the hash before them (needed past the first).
    `known`: (seq, hash) of a checkpoint or of the store's own head.
    """
    start = first_prev(installation_id) if prev is None else prev
    links = Links(start, from_seq, None if known is None else dict((known,)))
    for record in records:
        broken = links.take(record)
        if broken is not None:
            return broken
    return links.end()
