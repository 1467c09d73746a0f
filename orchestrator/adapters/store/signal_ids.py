"""Which signal ids were ever used, in memory: eight bytes each, and no round trip to ask."""

from __future__ import annotations

import hashlib

import numpy as np

from orchestrator.adapters.store.postgres_sql import coded

# 128 MB: eleven days at 1,000 signals a minute. Of a longer history the newest are kept.
IDS_MAX = 16_000_000
_FRESH_MAX = 50_000


class SignalIds:
    """`has` is never wrong about an id that is kept; one in 10^12 of the others it calls used.

    `complete`: every id of the store is kept; else what is not found here is to be asked for.
    """

    def __init__(self, digests: bytes = b"", total: int = 0) -> None:
        """`digests`: big-endian, in any order. `total`: how many ids the store has."""
        self._old = np.sort(np.frombuffer(digests, dtype=">u8").astype(np.uint64))
        self._fresh: set[int] = set()
        self.complete = total <= len(self._old)

    def __len__(self) -> int:
        return len(self._old) + len(self._fresh)

    def add(self, signal_id: str) -> None:
        self._fresh.add(digest(signal_id))
        if len(self._fresh) <= _FRESH_MAX:
            return
        if len(self._old) < IDS_MAX:
            fresh = np.array(sorted(self._fresh), dtype=np.uint64)
            # Copied, not sorted anew: 50 ms for all that we keep.
            self._old = np.insert(self._old, np.searchsorted(self._old, fresh), fresh)
            self._fresh = set()
        else:
            self.complete, self._fresh = False, set()  # from now on they are asked for

    def has(self, signal_id: str) -> bool:
        """May be called from another thread than `add`."""
        number = digest(signal_id)
        if number in self._fresh:
            return True
        old = self._old  # replaced whole, and before the fresh ones are let go
        at = int(np.searchsorted(old, np.uint64(number)))
        return at < len(old) and int(old[at]) == number


def digest(signal_id: str) -> int:
    """The first eight bytes of its SHA-256, as the database computes them, too."""
    return int.from_bytes(hashlib.sha256(coded(signal_id).encode()).digest()[:8], "big")
