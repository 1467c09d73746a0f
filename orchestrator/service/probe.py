"""`python -m orchestrator.service.probe [livez|readyz]`: is the service of STATE_DIR well?

For health checks of containers: no shell, no other program, quick to start. Exit code 0 for well, 1
with a line of why not.
"""

from __future__ import annotations

import http.client
import os
import ssl
import sys
from pathlib import Path
from urllib.parse import urlsplit

_TIMEOUT_S = 3.0
_OK = 200


def main(words: list[str]) -> int:
    """The exit code."""
    path = words[0] if words else "livez"
    folder = Path(os.environ.get("STATE_DIR") or "state")
    try:
        status = _ask(folder, path)
    except (OSError, http.client.HTTPException, ValueError) as exc:
        sys.stdout.write(f"{path}: {str(exc) or type(exc).__name__}\n")
        return 1
    sys.stdout.write(f"{path}: {status}\n")
    return 0 if status == _OK else 1


def _ask(folder: Path, path: str) -> int:
    """The status of the answer; the service's address and certificate stand in its folder."""
    parts = urlsplit((folder / "service.url").read_text().strip())
    host, port = parts.hostname or "127.0.0.1", parts.port
    connection: http.client.HTTPConnection = (
        http.client.HTTPSConnection(
            host, port, timeout=_TIMEOUT_S, context=pinned(folder / "service.pem")
        )
        if parts.scheme == "https"
        else http.client.HTTPConnection(host, port, timeout=_TIMEOUT_S)
    )
    try:
        connection.request("GET", f"/{path}")
        return connection.getresponse().status
    finally:
        connection.close()


def pinned(certificate: Path) -> ssl.SSLContext:
    """Trusts the holder of this very certificate's key, whatever name it is reached by."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = False  # stricter than a name: nobody else has that key
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.load_verify_locations(certificate)
    return context


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
