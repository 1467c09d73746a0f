"""What all rings of tests share: Hypothesis' profiles, and recorded quotes where there are some."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings

from tests.servers.netns import hindrance
from tests.servers.postgres import (
    database,
    databases,
    fresh_database,
    one_postgres,
    own_postgres,
    postgres,
    speaks_tls,
)

# Fixtures: they start nothing until a test asks for them.
__all__ = [
    "database", "databases", "fresh_database", "one_postgres", "own_postgres", "postgres",
]  # fmt: skip

ROOT = Path(__file__).resolve().parent.parent
# Where files are shared out to several workers (make test): those that take long first, so that
# none of them is left for the end, when everybody else has nothing more to do.
LONG_FIRST = ("integration", "simulation", "contract", "property", "tidy")
PRACTICE = ("OANDA_PRACTICE_TOKEN", "OANDA_PRACTICE_ACCOUNT")

# No deadlines: speed is measured in benchmarks/, never asserted by a test.
settings.register_profile(
    "default", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.register_profile("thorough", parent=settings.get_profile("default"), max_examples=2_000)
settings.register_profile(
    "mutation",
    parent=settings.get_profile("default"),
    phases=[Phase.explicit, Phase.generate],
    derandomize=True,
    database=None,
)
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


def _practice() -> bool:
    """Whether a practice account is named, whole or not at all."""
    named = [name for name in PRACTICE if os.environ.get(name)]
    if named and len(named) < len(PRACTICE):
        raise pytest.UsageError(f"{' and '.join(PRACTICE)}: both or none")
    return bool(named)


def pytest_report_header() -> list[str]:
    folder = _recorded_quotes()
    quotes = "none, tests marked `quotes` are left out (ORCHESTRATOR_QUOTES=DIR)"
    practice = f"none, tests marked `practice` are left out ({' and '.join(PRACTICE)})"
    if _practice():
        practice = "named: tests marked `practice` TRADE on it, one unit an order"
    networks = "made and cut by tests marked `networks`"
    if hindrance():
        networks = f"none can be made, tests marked `networks` are left out ({hindrance()})"
    return [
        f"recorded quotes: {folder or quotes}",
        f"OANDA practice account: {practice}",
        f"networks of their own: {networks}",
        "PostgreSQL's own TLS: "
        + (
            "met" if speaks_tls() else "not in this build, tests marked `postgres_tls` are left out"
        ),
    ]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    missing = {
        "quotes": _recorded_quotes() is None,
        "practice": not _practice(),
        "networks": bool(hindrance()),
        "postgres_tls": not speaks_tls(),
    }
    left_out = [
        item
        for item in items
        if any(item.get_closest_marker(m) for m, is_ in missing.items() if is_)
    ]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        gone = set(left_out)
        items[:] = [item for item in items if item not in gone]
    if hasattr(config, "workerinput"):
        items.sort(key=_ring)


def _ring(item: pytest.Item) -> int:
    rings = (number for number, ring in enumerate(LONG_FIRST) if ring in item.path.parts)
    return next(rings, len(LONG_FIRST))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """`-n auto`: half as many again as processors, since long tests mostly wait for processes."""
    processors = os.cpu_count() or 1
    return processors + (processors + 1) // 2


@pytest.fixture(scope="session")
def quotes_dir() -> Path:
    """The folder of recorded OANDA quotes; for tests marked `quotes` only."""
    folder = _recorded_quotes()
    assert folder is not None, "a test that uses quotes_dir must be marked `quotes`"
    return folder
