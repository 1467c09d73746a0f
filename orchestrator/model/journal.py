"""A journal record: one fact in the hash-chained audit trail, and its text (SAFETY D1)."""

from __future__ import annotations

import msgspec

from orchestrator.model.time import Instant

VERSION = 1


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


# Fields stand in the order of their names, and are written without spaces: one record has one text,
# on every machine, and no time is lost with sorting.
class _Bare(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A record as it is hashed: without its own hash. `ts` in nanoseconds, UTC."""

    actor: str
    corr: str
    data: msgspec.Raw
    epoch: int
    node: str
    prev: str
    seq: int
    subject: str
    ts: int
    type: str
    v: int


class _Line(msgspec.Struct, frozen=True, kw_only=True, gc=False, forbid_unknown_fields=True):
    """A record as a line of an export."""

    actor: str
    corr: str
    data: msgspec.Raw
    epoch: int
    hash: str
    node: str
    prev: str
    seq: int
    subject: str
    ts: int
    type: str
    v: int


_encode = msgspec.json.Encoder().encode
_decode_line = msgspec.json.Decoder(_Line).decode


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
