"""How many requests a second, and whose turn it is: a token bucket and a fair queue. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Generic, TypeVar

from orchestrator.model.time import NS_PER_S

T = TypeVar("T")

_ROUNDING = 1e-6  # a float's last digits must not cost another wait


class TokenBucket:
    """At most `burst + rate * t` takes in any `t` seconds; `rate` 0 means without limit.

    Urgent takes may go into debt: they borrow from the turns that come next.
    """

    def __init__(self, rate: float, burst: float, urgent_debt: float = 0.0) -> None:
        self._rate = rate
        self._burst = burst
        self._debt = urgent_debt
        self._tokens = burst
        self._at_ns: int | None = None
        self._shut_until_ns = 0
        self._urgent_shut_until_ns = 0

    def take(self, now_ns: int, *, urgent: bool = False) -> int:
        """0: taken. Else nanoseconds until it is worth asking again; nothing was taken."""
        shut_until_ns = self._urgent_shut_until_ns if urgent else self._shut_until_ns
        if now_ns < shut_until_ns:
            return shut_until_ns - now_ns
        if self._rate <= 0:
            return 0
        self._refill(now_ns)
        missing = 1.0 - (self._debt if urgent else 0.0) - self._tokens
        if missing > _ROUNDING:
            return max(1, round(missing / self._rate * NS_PER_S))
        self._tokens -= 1.0
        return 0

    def put_back(self) -> None:
        """A take that sent nothing (the gate refused)."""
        self._tokens = min(self._burst, self._tokens + 1.0)

    def shut(self, until_ns: int, urgent_until_ns: int) -> None:
        """Nothing before these instants: the venue said 429."""
        self._shut_until_ns = max(self._shut_until_ns, until_ns)
        self._urgent_shut_until_ns = max(self._urgent_shut_until_ns, urgent_until_ns)

    def _refill(self, now_ns: int) -> None:
        if self._at_ns is not None and now_ns > self._at_ns:
            gained = (now_ns - self._at_ns) * self._rate / NS_PER_S
            self._tokens = min(self._burst, self._tokens + gained)
        self._at_ns = now_ns if self._at_ns is None else max(self._at_ns, now_ns)


class FairQueue(Generic[T]):
    """First in, first out for each owner; owners take turns."""

    def __init__(self) -> None:
        self._lines: dict[str, deque[T]] = {}
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[T]:
        return (item for line in self._lines.values() for item in line)

    def waiting(self, owner: str) -> int:
        """How many of this owner wait."""
        return len(self._lines.get(owner, ()))

    def waits_for(self, owner: str) -> bool:
        return owner in self._lines

    def heads(self) -> list[T]:
        """The first of each owner, whose turn is next first."""
        return [line[0] for line in self._lines.values()]

    def add(self, owner: str, item: T) -> None:
        self._lines.setdefault(owner, deque()).append(item)
        self._size += 1

    def remove(self, owner: str, item: T) -> bool:
        """False when it was not there. The owner goes to the end of the round."""
        line = self._lines.pop(owner, None)
        if line is None:
            return False
        held = len(line)
        if line[0] is item:
            line.popleft()
        else:
            line = deque(other for other in line if other is not item)
        if line:
            self._lines[owner] = line
        self._size -= held - len(line)
        return len(line) < held
