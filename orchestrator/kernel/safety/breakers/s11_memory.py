"""S11: the process holds more than it should: memory, or file descriptors."""

from __future__ import annotations

from orchestrator.kernel.safety.view import percent_text
from orchestrator.model.limits import BreakerLimits


def s11_memory(rss_mb: int, files: int, files_max: int, limits: BreakerLimits) -> str | None:
    """RSS > 1.5 GB, or file descriptors > 80 % of those allowed (`files_max` 0: not known)."""
    if rss_mb > limits.rss_mb_max:
        return f"{rss_mb} MB of memory, limit {limits.rss_mb_max} MB"
    if files_max and files > limits.files_fraction_max * files_max:
        share = percent_text(limits.files_fraction_max)
        return f"{files} file descriptors of {files_max}, limit {share}"
    return None
