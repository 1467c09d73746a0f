"""Hearing what is called out to everybody now: stops, live views, agents that come up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from orchestrator.adapters.bus.redis.dialer import Where
from orchestrator.adapters.bus.redis.group import asked
from orchestrator.adapters.bus.redis.link import Keeper, watch
from orchestrator.adapters.bus.redis.pipe import Pipe
from orchestrator.adapters.bus.redis.words import Reply, text

# (channel, data): called for each message, in order, in the event loop; must not raise.
Heard = Callable[[str, bytes], None]

_MESSAGE, _PATTERN = 3, 4


class Subscriber:
    """Nothing that was called out while it was not connected is ever heard: see `connects`."""

    def __init__(
        self, where: Where, heard: Heard, *, channels: Sequence[str] = (),
        patterns: Sequence[str] = (), name: str = "subscriber", seed: int = 0,
    ) -> None:  # fmt: skip
        self._keeper = Keeper(where, name, seed=seed)
        self._heard = heard
        self._channels = channels
        self._patterns = patterns
        self._left = 0
        self.ready = asyncio.Event()  # set while subscribed

    async def run(self) -> None:
        """Runs until cancelled."""
        await self._keeper.run(self._serve)

    @property
    def connects(self) -> int:
        return self._keeper.connects

    @property
    def trouble(self) -> str:
        return self._keeper.trouble

    async def _serve(self, pipe: Pipe) -> None:
        # The first answer comes as an ordinary reply; everything after it is pushed.
        await asked(pipe, 0, "PING")
        pipe.pushed = self._pushed
        self._left = len(self._channels) + len(self._patterns)
        for words in (("SUBSCRIBE", *self._channels), ("PSUBSCRIBE", *self._patterns)):
            if len(words) > 1:
                pipe.say(*words)
        try:
            await watch(pipe)
        finally:
            self.ready.clear()

    def _pushed(self, reply: list[Reply]) -> None:
        kind = reply[0] if reply else b""
        if kind == b"message" and len(reply) == _MESSAGE and isinstance(reply[2], bytes):
            self._heard(text(reply[1]), reply[2])
        elif kind == b"pmessage" and len(reply) == _PATTERN and isinstance(reply[3], bytes):
            self._heard(text(reply[2]), reply[3])
        elif kind in (b"subscribe", b"psubscribe"):
            self._left -= 1
            if not self._left:
                self.ready.set()
