"""INV-09: a trade of ours without a stop loss is protected at once, or closed."""

from __future__ import annotations

from collections.abc import Callable, Collection

from orchestrator.model.orders import WriteKind, WriteRequest

# In looks, a second apart each: 2 s, 5 s, the beat that notices, and one for what just happened.
_TRIED_AFTER = 5
_CLOSED_AFTER = 9


class NakedJudge:
    """Counts looks at trades that the service knows to be naked, and what it tries for them."""

    def __init__(self, blame: Callable[[str, str], None]) -> None:
        self._blame = blame
        self._looks: dict[str, int] = {}
        self._tried: set[str] = set()
        self._closed: set[str] = set()

    def begin(self) -> None:
        """A new life has its whole time again."""
        self._looks.clear()

    def wrote(self, request: WriteRequest) -> None:
        """The service hands a write over."""
        trade = f"{request.account_id}/{request.target}"
        if request.kind is WriteKind.PROTECT:
            self._tried.add(trade)
        elif request.kind is WriteKind.CLOSE_TRADE:
            self._closed.add(trade)
        elif request.kind is WriteKind.CLOSE_POSITION:
            mine = {each for each in self._looks if each.startswith(request.account_id)}
            self._closed |= mine

    def look(self, naked: Collection[str]) -> None:
        """`naked`: the trades that the service knows to have no stop."""
        for gone in [trade for trade in self._looks if trade not in naked]:
            del self._looks[gone]
            self._tried.discard(gone)
            self._closed.discard(gone)
        for trade in naked:
            looks = self._looks[trade] = self._looks.get(trade, 0) + 1
            if looks == _TRIED_AFTER and trade not in self._tried | self._closed:
                self._blame("INV-09", f"trade {trade} has no stop, and nothing is done about it")
            if looks == _CLOSED_AFTER and trade not in self._closed:
                self._blame("INV-09", f"trade {trade} has no stop, and is not being closed")
