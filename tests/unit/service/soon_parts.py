"""An engine over a store that works beside the loop, its answers in the test's hand."""

from __future__ import annotations

from orchestrator.kernel.engine import Step
from orchestrator.model.events import (
    Noted,
    StartTrading,
    StopTrading,
)
from orchestrator.model.orders import WriteKind, WriteRequest
from tests.unit.service.engine_parts import Bench, HandStore, fact
from tests.unit.service.parts import A

START = StartTrading(actor="anna")
STOP = StopTrading(actor="anna")
CLOSE = WriteRequest(kind=WriteKind.CLOSE_TRADE, account_id=A, target="7", body="{}")


class HandBench(Bench):
    store: HandStore

    def noted(self, *texts: str) -> None:
        """Facts of these texts, each from an event of its own."""
        self.script(Noted, lambda e: Step((fact(e.text),), ()))
        for text in texts:
            self.engine.handle(Noted(actor="a", action="x", text=text))

    def said(self) -> list[str]:
        return [f.text for _, f in self.bus.published]
