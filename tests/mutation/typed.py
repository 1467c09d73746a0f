"""Which mutants the type checker refuses: `make types` finds them, no test has to.

The checker reads a copy of the code in which all mutants of a function stand beside it. What it
says of the original in that place as well is no finding.
"""

from __future__ import annotations

import bisect
import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from tests.mutation.mutants import Broken, Mutant

# Of the copy only: it imports mutmut, and its functions have strange names and no callers.
_OF_THE_COPY = (
    "reportMissingImports", "reportMissingTypeStubs", "reportUnusedFunction", "reportUnusedClass",
    "reportPrivateUsage", "reportRedeclaration", "reportUnknownMemberType",
)  # fmt: skip


def refused(files: Sequence[Broken], python: str) -> dict[str, str]:
    """Mutant's name -> what the checker says of it."""
    with tempfile.TemporaryDirectory() as folder:
        return _refused(files, Path(folder), python)


def _refused(files: Sequence[Broken], folder: Path, python: str) -> dict[str, str]:
    shutil.copytree("orchestrator", folder / "orchestrator")
    for file in files:
        (folder / file.path).write_text(file.text)
    config = {
        "include": [file.path for file in files], "pythonVersion": "3.11",
        "typeCheckingMode": "strict", **dict.fromkeys(_OF_THE_COPY, "none"),
    }  # fmt: skip
    (folder / "pyrightconfig.json").write_text(json.dumps(config))
    done = subprocess.run(
        [python, "-m", "basedpyright", "--outputjson", "--pythonpath", python],
        cwd=folder, check=False, capture_output=True, text=True,
    )  # fmt: skip
    told: list[Any] = json.loads(done.stdout)["generalDiagnostics"]
    by_file: dict[str, list[Any]] = {}
    for each in told:
        if each["severity"] == "error":
            by_file.setdefault(each["file"], []).append(each)
    found: dict[str, str] = {}
    for file in files:
        own = by_file.get(str((folder / file.path).resolve()), [])
        found.update(_of_file(file.mutants, own))
    return found


def _of_file(mutants: Sequence[Mutant], told: Iterable[Any]) -> dict[str, str]:
    """A mutant is refused when more is said of its lines than of the original's."""
    starts = sorted({span for m in mutants for span in (m.stands, m.original)})
    said: dict[tuple[int, int], list[tuple[str, str]]] = {}
    for each in told:
        line = each["range"]["start"]["line"] + 1
        at = bisect.bisect_right(starts, (line, 1 << 30)) - 1
        if at >= 0 and starts[at][0] <= line <= starts[at][1]:
            said.setdefault(starts[at], []).append((each.get("rule", "syntax"), each["message"]))
    found: dict[str, str] = {}
    for mutant in mutants:
        before = [rule for rule, _ in said.get(mutant.original, [])]
        for rule, message in said.get(mutant.stands, []):
            if rule in before:
                before.remove(rule)
            else:
                found[mutant.name] = f"{rule}: {message.splitlines()[0]}"
                break
    return found
