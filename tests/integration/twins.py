"""A service whose agents live elsewhere, each with a twin in its process that hears the same.

`python -m tests.integration.twins FILE run ...` does what `orchestrator run ...` does; at the end
FILE tells of each question whether the answer that came over the link is what the embedded agent
says to it, asked at the same place among the same messages. Then the orders are those of an
embedded run as well: the kernel is the same, and so is everything that it heard.
"""

from __future__ import annotations

import atexit
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from orchestrator.agents.base import Agent
from orchestrator.main import elsewhere, run_command_line
from orchestrator.main.agents import AgentSpec, factory_of
from orchestrator.model.base import Message
from orchestrator.model.events import StageAnswered
from orchestrator.model.signals import Question, Role
from orchestrator.service.agent_manager import ANSWERS
from orchestrator.service.remote_agents import RemoteAgents
from orchestrator.service.seats import Seat


class Verdict(msgspec.Struct):
    """What FILE holds. `by_instance`: how many each has answered."""

    equal: int = 0
    errors: int = 0
    different: list[str] = []
    by_instance: dict[str, int] = {}


class Twins(RemoteAgents):
    """Compares each answer, and passes it on as it is."""

    verdict = Verdict()
    specs: tuple[AgentSpec, ...] = ()

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self._twins: dict[Role, Agent] = {spec.role: factory_of(spec)() for spec in self.specs}
        self._expected: dict[int, Message | None] = {}
        self._tell, self._manager.tell = self._manager.tell, self._told

    def _told(self, message: Message) -> list[tuple[Seat, Message]]:
        for twin in self._twins.values():
            twin.hear(message)
        return self._tell(message)

    def bring_up(self, memory: Iterable[Message]) -> None:
        told = tuple(memory)
        for message in told:
            for twin in self._twins.values():
                twin.hear(message)
        answered = self.questions.answered
        self.questions.answered = lambda answer: answered(self._compared(answer))
        super().bring_up(told)

    def ask(self, seat: Seat, ask_id: int, question: Question) -> None:
        role = seat.about.role
        said = [m for m in self._twins[role].hear(question) if isinstance(m, ANSWERS[role])]
        self._expected[ask_id] = said[0] if len(said) == 1 else None
        super().ask(seat, ask_id, question)

    def _compared(self, answer: StageAnswered) -> StageAnswered:
        expected, verdict = self._expected.pop(answer.ask_id, None), self.verdict
        verdict.by_instance[answer.agent_id] = verdict.by_instance.get(answer.agent_id, 0) + 1
        if answer.error:
            verdict.errors += 1
        elif answer.answer == expected:
            verdict.equal += 1
        else:
            verdict.different.append(f"{answer.agent_id}: {answer.answer} instead of {expected}")
        return answer


def main() -> None:
    """Everything after FILE is the command line's."""
    target = Path(sys.argv.pop(1))
    Twins.specs = msgspec.json.decode(os.environ["TWINS"], type=tuple[AgentSpec, ...])
    elsewhere.RemoteAgents = Twins  # type: ignore[misc]
    atexit.register(lambda: target.write_bytes(msgspec.json.encode(Twins.verdict)))
    run_command_line()


if __name__ == "__main__":
    main()
