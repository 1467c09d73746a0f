"""The API's certificate: loaded at start, taken anew when its files change, known to the CLI."""

from __future__ import annotations

import asyncio
import os
import ssl
from pathlib import Path

import structlog

from orchestrator.main.places import SERVICE_CERTIFICATE
from orchestrator.settings import Settings, SettingsError

log = structlog.get_logger()

_LOOK_S = 60.0
_END = "-----END CERTIFICATE-----"


class ApiTls:
    """`context` is the server's for all its life; a renewed certificate needs no restart."""

    def __init__(self, certificate: Path, key: Path, folder: Path) -> None:
        """SettingsError names the variable of what cannot be used."""
        self._files = (certificate, key)
        self._pinned = folder / SERVICE_CERTIFICATE
        self.context = _context()
        self._stamp = self._stamped()
        try:
            self._load()
        except (OSError, ValueError) as exc:
            raise SettingsError(f"API_TLS_CERT, API_TLS_KEY: {_words(exc)}") from None

    def give(self, *_: object) -> ssl.SSLContext:
        """In the form that uvicorn asks for it."""
        return self.context

    async def follow(self) -> None:
        """Runs until cancelled."""
        while True:
            await asyncio.sleep(_LOOK_S)
            self.look()

    def look(self) -> None:
        """What is new and good is taken; what is not leaves the old in use."""
        stamp = self._stamped()
        if stamp == self._stamp:
            return
        try:
            self._load()
        except (OSError, ValueError) as exc:
            # Perhaps half of it is written yet: it is looked at again.
            log.warning("certificate.unusable", reason=_words(exc))
            return
        self._stamp = stamp
        log.info("certificate.changed", file=str(self._files[0]))

    def _load(self) -> None:
        # First where it can do no harm: the two files may not belong together.
        _context().load_cert_chain(*self._files)
        pem = self._files[0].read_text("ascii")
        self.context.load_cert_chain(*self._files)
        # The server's own certificate alone, and none that could vouch for another's.
        first, end, _ = pem.partition(_END)
        if not end:
            raise ValueError("the certificate is not in PEM")
        draft = self._pinned.with_name(f".{self._pinned.name}.new")
        draft.write_text(f"{first}{end}\n")
        draft.replace(self._pinned)

    def _stamped(self) -> tuple[tuple[int, int, int], ...]:
        """OSError-free: what is away looks different from what was there."""
        return tuple(_look_of(file) for file in self._files)


def api_tls(settings: Settings) -> ApiTls | None:
    """None where the API speaks plain HTTP: to this machine, or to a proxy before it."""
    certificate, key = settings.api_tls_cert, settings.api_tls_key
    if certificate is None or key is None:
        (settings.state_dir / SERVICE_CERTIFICATE).unlink(missing_ok=True)
        return None
    return ApiTls(certificate, key, settings.state_dir)


def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _look_of(file: Path) -> tuple[int, int, int]:
    try:
        found = os.stat(file)
    except OSError:
        return (0, 0, 0)
    return (found.st_mtime_ns, found.st_size, found.st_ino)


def _words(exc: Exception) -> str:
    reason = getattr(exc, "reason", None)
    if reason == "KEY_VALUES_MISMATCH":
        return "the key does not belong to the certificate"
    if isinstance(exc, ssl.SSLError):
        return "the files are no certificate and key in PEM"
    if isinstance(exc, OSError) and exc.strerror:
        return f"cannot be read: {exc.strerror}"
    return str(exc)
