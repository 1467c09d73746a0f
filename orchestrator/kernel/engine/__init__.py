"""The kernel's engine: step(event, now) gives facts and acts; here the rooms of the kernel meet."""

from orchestrator.kernel.engine.kernel import DayView, InFlight, Kernel, Step

__all__ = ["DayView", "InFlight", "Kernel", "Step"]
