"""Disagreement: which accounts take a signal, at what weight, so that their books stay diverse."""

from orchestrator.agents.disagreement.agent import Disagreement

__all__ = ["Disagreement"]
