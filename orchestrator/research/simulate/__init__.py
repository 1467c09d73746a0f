"""One seed, one run of the whole house in a storm of faults, judged by the venue's own books."""

from orchestrator.research.simulate.fates import EVERY, KINDS, kinds_of
from orchestrator.research.simulate.run import simulate
from orchestrator.research.simulate.shrink import shrink
from orchestrator.research.simulate.verdict import Verdict

__all__ = ["EVERY", "KINDS", "Verdict", "kinds_of", "shrink", "simulate"]
