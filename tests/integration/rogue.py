"""An agent that misbehaves on demand: a signal's note says how."""

from __future__ import annotations

import time
from decimal import Decimal
from typing import Any

from orchestrator.agents.base import NOTHING, Agent, Role, Says, hears
from orchestrator.model.signals import AskScore, Score


class Rogue(Agent):
    """Approves everything, unless asked to do worse."""

    role = Role.STRATEGY_ANALYSIS
    name = "rogue"
    says = (Score,)

    @hears(AskScore)
    def on_ask(self, ask: AskScore) -> Says:
        how = ask.signal.note
        if how == "raises":
            raise RuntimeError("rogue says no")
        if how == "exits":
            raise SystemExit(3)
        if how == "interrupts":
            raise KeyboardInterrupt
        if how == "is silent":
            return NOTHING
        if how == "is late":
            time.sleep(2.3)  # noqa: TID251 -- that is its crime
        fields: dict[str, Any] = {
            "signal_id": ask.signal.signal_id, "account_id": ask.account.account_id,
            "approved": True, "score": Decimal(1), "expected_r": Decimal("0.2"),
            "win_rate": ask.confidence, "samples": 0, "reasons": ("yes",),
        }  # fmt: skip
        if how == "says NaN":
            fields |= {"score": Decimal("NaN"), "expected_r": Decimal("NaN")}
        if how == "speaks of another":
            fields["signal_id"] = "another"
        if how == "says nonsense":
            return ("nonsense",)  # type: ignore[return-value]
        return (Score(**fields),)
