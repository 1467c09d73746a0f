"""Learning Safety: no trade in an unusual market, less trade where a strategy has drifted."""

from orchestrator.agents.learning_safety.agent import LearningSafety

__all__ = ["LearningSafety"]
