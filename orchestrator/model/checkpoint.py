"""A signed statement of how far the audit trail had come: size, head and time (SAFETY D4)."""

from __future__ import annotations

import msgspec

from orchestrator.model.base import Message
from orchestrator.model.time import Instant

_DOMAIN = b"tso-checkpoint-1\n"
_encode = msgspec.json.Encoder(order="sorted").encode
_DIGEST_DIGITS = 64


class Checkpoint(Message, frozen=True, kw_only=True, gc=False, tag="checkpoint"):
    """`seq` records stood in the trail of the installation `origin`, the last one hashed `head`.

    `accepted`: who accepted, and why, that earlier checkpoints say something else of this trail (a
    store restored from an older copy); from this one on they count no more. "" in all others.
    `key` and `signature`: Ed25519, in hex; the signature covers everything but itself.
    """

    origin: str
    seq: int
    head: str
    at_ns: Instant
    why: str  # records | time | asked | stop | shutdown | day | prune
    accepted: str = ""
    key: str = ""
    signature: str = ""

    def __post_init__(self) -> None:
        if self.seq < 0 or len(bytes.fromhex(self.head)) * 2 != _DIGEST_DIGITS:
            raise ValueError(f"no checkpoint: seq {self.seq}, head {self.head!r}")

    def signed_text(self) -> bytes:
        """What the signature is of."""
        return _DOMAIN + _encode(msgspec.structs.replace(self, signature=""))

    def line(self) -> bytes:
        """Canonical JSON, without a line end."""
        return _encode(self)
