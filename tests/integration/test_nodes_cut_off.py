"""A leader whose cable is cut, in a network of its own; judged by the venue's books."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.processes import ROOT, clean_environment
from tests.servers.netns import apart


@pytest.mark.networks
@pytest.mark.postgres_tls
def test_a_leader_that_is_really_cut_off_never_orders_after_the_one_that_follows(tmp_path: Path):
    """Two leaders after each other: no packet passes any more, and none of the database's answers
    do. The program is one of its own, since all of it runs in a network apart."""
    words = (sys.executable, "-m", "tests.integration.cut_cable", str(tmp_path), "cut", "deaf")
    done = subprocess.run(
        apart(words), capture_output=True, text=True, cwd=ROOT, check=False, timeout=170,
        env=clean_environment({"PYTHONPATH": str(ROOT)}),
    )  # fmt: skip
    assert done.returncode == 0, f"{done.stdout[-8000:]}{done.stderr[-4000:]}"
    assert done.stdout.count("the other node leads after") == 2
