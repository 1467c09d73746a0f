"""What agents are told and asked, and what they say of their own accord: a bounded conversation."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

from orchestrator.model.acts import AskStage
from orchestrator.model.base import Message
from orchestrator.model.events import Event, SignalSeen
from orchestrator.model.facts import AlertRaised, Fact, StageDecided
from orchestrator.model.market import Tick
from orchestrator.model.outcomes import (
    AnomalySeen,
    ChangeProposed,
    PatternSeen,
    RiskAdvice,
    TradeOutcome,
)
from orchestrator.model.safety import Alert
from orchestrator.model.signals import Signal
from orchestrator.service.agent_manager import AgentManager
from orchestrator.service.engine_hooks import Hooks
from orchestrator.service.kept_prices import KeptPrices
from orchestrator.service.seats import Seat

# So much may agents say to what follows from one delivery, before they are taken for a flood.
_SAID_MAX = 1_000

# Said by agents and written down as they are; the kernel hears patterns too, since they may block.
_SAID_FACTS = (TradeOutcome, AnomalySeen, ChangeProposed)


class Conversation:
    """Part of the engine, on its loop and within its turns.

    `inbox`: the engine's own, for what the kernel is to hear. `note`: writes a fact down. `left`:
    how much agents may still say to what follows from this delivery.
    """

    def __init__(
        self, agents: AgentManager, inbox: deque[Event], note: Callable[[Fact], None], hooks: Hooks
    ) -> None:
        self._agents = agents
        self._inbox = inbox
        self._note = note
        self._hooks = hooks
        self._prices = KeptPrices()
        self.left = _SAID_MAX

    def begin(self, more: int = 0) -> None:
        """A new delivery, to which agents may say their share, and `more`."""
        self.left = _SAID_MAX + more

    # -- asking ----------------------------------------------------------------------------------

    def ask(self, asks: list[AskStage]) -> None:
        """All of one role; the list is used up."""
        if self._agents.elsewhere(asks[0].role):
            # Last first, as the answers of plain calls are taken up: so accounts come in one order.
            asks.reverse()
        for act in asks:
            answered = self._agents.ask(act.role, act.ask_id, act.question)
            if answered is not None:
                # An opinion within the process is a plain call: the path goes on in this turn.
                self._inbox.appendleft(answered)

    def judge_answer(self, facts: tuple[Fact, ...]) -> None:
        """An answer that the kernel could not even keep was nonsense (SAFETY 12)."""
        for fact in facts:
            if isinstance(fact, StageDecided) and fact.answer is None:
                self._agents.refused(fact.agent_id, fact.reason)

    # -- telling ---------------------------------------------------------------------------------

    def publish(self, facts: Sequence[Fact]) -> None:
        for fact in facts:
            self.tell(fact)

    def tell(self, message: Message) -> None:
        if not self._agents.hears(type(message)):
            return
        for seat, said in self._agents.tell(message):
            self.hear(seat, said)

    def tell_price(self, tick: Tick) -> None:
        if not self._prices.keep(tick):
            self.tell(tick)

    def hold_prices(self) -> None:
        """From now on agents hear no price until `release_prices`; the kernel hears all."""
        self._prices.hold()

    def release_prices(self) -> Sequence[Tick]:
        """The prices that were held; those that come next are told again."""
        return self._prices.release()

    # -- hearing ---------------------------------------------------------------------------------

    def hear(self, seat: Seat, said: Message) -> None:
        """What an agent has said unasked."""
        self.left -= 1
        if self.left < 0:
            self._agents.erred(seat, "floods: it answers what was said with ever more")
            return
        if isinstance(said, Signal):
            self._inbox.append(SignalSeen(signal=said))
        elif isinstance(said, (PatternSeen, RiskAdvice)):
            self._inbox.append(said)
        elif isinstance(said, _SAID_FACTS):
            self._note(said)
        elif isinstance(said, Alert):
            self._note(AlertRaised(alert=said))
            self._hooks.alert(said)
        else:
            self._agents.erred(seat, f"said {type(said).__name__}, which nobody here takes unasked")
