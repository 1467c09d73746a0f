"""The Trading System Orchestrator: eight agents, one kernel that decides, one gate to the venue."""

__version__ = "0.1.0"
