"""What the engine hands on to its neighbours."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import structlog

from orchestrator.model.acts import CloseGate, Liquidate
from orchestrator.model.errors import StoreFenced
from orchestrator.model.facts import Fact
from orchestrator.model.safety import Alert

log = structlog.get_logger()

LiquidateHook: TypeAlias = Callable[[Liquidate], None]
StopHook: TypeAlias = Callable[[CloseGate], None]
AlertHook: TypeAlias = Callable[[Alert], None]
BrokenHook: TypeAlias = Callable[[Exception], None]
FencedHook: TypeAlias = Callable[[StoreFenced], None]
DurableHook: TypeAlias = Callable[[Fact], None]


class Hooks:
    """What the engine hands on to its neighbours; set by the supervisor before the first event."""

    liquidate: LiquidateHook
    stop: StopHook
    alert: AlertHook
    broken: BrokenHook  # this life cannot go on: the gate is closed already
    fenced: FencedHook  # another node leads: no order leaves any more
    durable: DurableHook | None = None  # each fact, once it is

    def __init__(self) -> None:
        self.liquidate = lambda act: log.error("liquidation.unwired", act=act.reason)
        self.stop = lambda act: log.error("stop.unwired", act=act.reason)
        self.alert = lambda alert: log.warning("alert.raised", title=alert.title)
        self.broken = lambda cause: log.error("engine.broken", cause=str(cause))
        self.fenced = self._end_with

    def _end_with(self, cause: StoreFenced) -> None:
        self.broken(cause)
