"""All that agents elsewhere were told in a run, in order: who comes late hears all of it.

On disk, since a long run says more than memory should hold; it is of no use after the run.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path


class HeardLog:
    """Lines of a type's name and its JSON. OSError where the disk is full: nothing goes on then."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = path.open("wb")

    def add(self, kind: str, words: bytes) -> None:
        """JSON has no line break in it."""
        self._file.write(b"%s %s\n" % (kind.encode(), words))

    def told(self, kinds: Collection[str]) -> Iterator[bytes]:
        """What of these types was told, oldest first."""
        wanted = {kind.encode() for kind in kinds}
        self._file.flush()
        with self._path.open("rb") as file:
            for line in file:
                kind, _, words = line.rstrip(b"\n").partition(b" ")
                if kind in wanted:
                    yield words

    def close(self) -> None:
        """And away with it."""
        self._file.close()
        self._path.unlink(missing_ok=True)
