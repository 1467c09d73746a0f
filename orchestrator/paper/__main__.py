"""`python -m orchestrator.paper`: the paper venue as a process of its own."""

import sys

from orchestrator.paper.main import run

if __name__ == "__main__":
    sys.exit(run())
