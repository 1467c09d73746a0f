"""`python -m tests.sbom LOCK OUT`: what the service is made of, as a CycloneDX document.

Out of the lock file alone: names, versions and the hashes of what may be installed. The same lock
gives the same document, to the byte.
"""

from __future__ import annotations

import json
import re
import sys
import uuid
from pathlib import Path

import orchestrator

_ENTRY = re.compile(r"^([A-Za-z0-9._-]+)==([^ \\;]+)((?:[^\n]*\\\n)*[^\n]*)", re.MULTILINE)
_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")
_OURS = "trading-system-orchestrator"


def document(lock: str) -> dict[str, object]:
    components = [
        {
            "type": "library",
            "name": name,
            "version": version,
            "bom-ref": _reference(name, version),
            "purl": _reference(name, version),
            "hashes": [{"alg": "SHA-256", "content": each} for each in sorted(_HASH.findall(rest))],
        }
        for name, version, rest in _ENTRY.findall(lock)
    ]
    references = [str(each["bom-ref"]) for each in components]
    own = _reference(_OURS, orchestrator.__version__)
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, lock)}",
        "version": 1,
        "metadata": {
            "component": {
                "type": "application", "name": _OURS, "version": orchestrator.__version__,
                "bom-ref": own, "purl": own,
                "licenses": [{"license": {"id": "Apache-2.0"}}],
            }
        },
        "components": components,
        "dependencies": [{"ref": own, "dependsOn": references}],
    }  # fmt: skip


def _reference(name: str, version: str) -> str:
    return f"pkg:pypi/{name.lower().replace('_', '-')}@{version}"


def main(lock: str, out: str) -> None:
    made = document(Path(lock).read_text("utf-8"))
    Path(out).write_text(json.dumps(made, indent=1) + "\n")
    print(f"{out}: {len(made['components'])} packages")


if __name__ == "__main__":
    main(*sys.argv[1:])
