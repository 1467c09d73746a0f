"""The hash chain of the audit trail: links, lines and their verification (SAFETY D1, D5)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

import msgspec

from orchestrator.model.facts import Fact, actor_of, corr_of, subject_of
from orchestrator.model.journal import Record
from orchestrator.model.time import Instant

VERSION = 1
_DOMAIN = b"tso-audit-1\n"


class Broken(msgspec.Struct, frozen=True, kw_only=True):
    """The first record that does not hold, and what is wrong with it."""

    seq: int
    what: str


class _Bare(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A record as it is hashed: without its own hash. `ts` in nanoseconds, UTC."""

    v: int
    seq: int
    ts: int
    node: str
    epoch: int
    type: str
    subject: str
    corr: str
    actor: str
    data: msgspec.Raw
    prev: str


class _Line(_Bare, frozen=True, kw_only=True, gc=False, forbid_unknown_fields=True):
    """A record as a line of an export."""

    hash: str


# Sorted keys and no spaces: one record has one text, on every machine.
_encode = msgspec.json.Encoder(order="sorted").encode
_decode_line = msgspec.json.Decoder(_Line).decode


def first_prev(installation_id: str) -> bytes:
    """What the first record chains to."""
    return hashlib.sha256(installation_id.encode()).digest()


def canonical(record: Record) -> bytes:
    """The text that is hashed: canonical JSON of the record without its hash."""
    return _encode(
        _Bare(
            v=VERSION,
            seq=record.seq,
            ts=record.ts,
            node=record.node,
            epoch=record.epoch,
            type=record.type,
            subject=record.subject,
            corr=record.corr,
            actor=record.actor,
            data=msgspec.Raw(record.data),
            prev=record.prev.hex(),
        )
    )


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


def to_line(record: Record) -> bytes:
    """One line of an export, without its line end."""
    return _encode(
        _Line(
            v=VERSION,
            seq=record.seq,
            ts=record.ts,
            node=record.node,
            epoch=record.epoch,
            type=record.type,
            subject=record.subject,
            corr=record.corr,
            actor=record.actor,
            data=msgspec.Raw(record.data),
            prev=record.prev.hex(),
            hash=record.hash.hex(),
        )
    )


def from_line(line: bytes) -> Record:
    """ValueError for a line that `to_line` would not have written, byte for byte."""
    text = line.rstrip(b"\r\n")
    try:
        read = _decode_line(text)
        record = Record(
            seq=read.seq,
            ts=read.ts,
            node=read.node,
            epoch=read.epoch,
            type=read.type,
            subject=read.subject,
            corr=read.corr,
            actor=read.actor,
            data=bytes(read.data),
            prev=bytes.fromhex(read.prev),
            hash=bytes.fromhex(read.hash),
        )
    except msgspec.MsgspecError as exc:
        raise ValueError(f"not a record: {exc}") from exc
    if read.v != VERSION or to_line(record) != text:
        raise ValueError("not a record in its canonical form")
    return record


def verify(
    records: Iterable[Record],
    installation_id: str,
    from_seq: int = 1,
    prev: bytes | None = None,
    known: tuple[int, bytes] | None = None,
) -> Broken | None:
    """None when the chain holds, else the first record that does not.

    `from_seq`, `prev`: where the records begin, and the hash before them (needed past the first).
    `known`: (seq, hash) of a checkpoint or of the store's own head: without it a chain that was
    cut at its end, or rewritten to its end, looks whole.
    """
    expected = first_prev(installation_id) if prev is None else prev
    seq = from_seq
    for record in records:
        wrong = _wrong(record, seq, expected, known)
        if wrong:
            return Broken(seq=seq, what=wrong)
        expected = record.hash
        seq += 1
    if known is not None and known[0] >= seq:
        return Broken(seq=seq, what=f"records {seq} to {known[0]} are missing at the end")
    return None


def _wrong(record: Record, seq: int, prev: bytes, known: tuple[int, bytes] | None) -> str:
    if record.seq != seq:
        return f"record {record.seq} stands where {seq} belongs"
    if record.prev != prev:
        return "does not chain to the record before it"
    if record.hash != hash_of(record):
        return "its content does not match its hash"
    if known is not None and known[0] == seq and known[1] != record.hash:
        return "differs from the checkpoint"
    return ""
