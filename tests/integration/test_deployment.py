"""What deploy/ says is done here as far as a machine without a container engine can."""

from __future__ import annotations

import tempfile
from pathlib import Path

from tests.image import check


def test_the_image_runs_as_its_user_on_code_that_it_does_not_write():
    """Goal: each step of the Dockerfile, with this interpreter instead of a fresh one; then its
    command, its health check and its stop signal."""
    with tempfile.TemporaryDirectory(prefix="image-") as folder:
        scratch = Path(folder)
        scratch.chmod(0o755)
        check(installed=False, scratch=scratch)
