"""What all rings of tests share: Hypothesis' profiles, and recorded quotes where there are some."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).resolve().parent.parent

# No deadlines: speed is measured in benchmarks/, never asserted by a test.
settings.register_profile(
    "default", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.register_profile("thorough", parent=settings.get_profile("default"), max_examples=2_000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


def _recorded_quotes() -> Path | None:
    """The folder of recorded quotes, or None. One that is named must exist."""
    named = os.environ.get("ORCHESTRATOR_QUOTES")
    folder = Path(named) if named else ROOT.parent / "shared" / "data" / "oanda"
    if folder.is_dir():
        return folder
    if named:
        raise pytest.UsageError(f"ORCHESTRATOR_QUOTES: there is no folder {folder}")
    return None


def pytest_report_header() -> str:
    folder = _recorded_quotes()
    if folder is None:
        return "recorded quotes: none, tests marked `quotes` are left out (ORCHESTRATOR_QUOTES=DIR)"
    return f"recorded quotes: {folder}"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if _recorded_quotes() is not None:
        return
    left_out = [item for item in items if item.get_closest_marker("quotes")]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


@pytest.fixture(scope="session")
def quotes_dir() -> Path:
    """The folder of recorded OANDA quotes; for tests marked `quotes` only."""
    folder = _recorded_quotes()
    assert folder is not None, "a test that uses quotes_dir must be marked `quotes`"
    return folder
