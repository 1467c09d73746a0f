"""The Ed25519 key that signs checkpoints: made once, kept in the state folder, its owner's only.

`cryptography` is imported at the first use: it takes a tenth of a second, and no order needs it.
"""

from __future__ import annotations

import os
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.adapters.trail.files import replace_durably

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

PRIVATE = "audit-key"
PUBLIC = "audit-key.pub"


class SigningKey:
    """Reads the key of a folder, or makes it. OSError, or ValueError for a file that is no key."""

    def __init__(self, folder: Path) -> None:
        self._private = folder / PRIVATE
        self._public = folder / PUBLIC

    @cached_property
    def _key(self) -> Ed25519PrivateKey:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import (  # noqa: PLC0415 -- slow
            Ed25519PrivateKey,
        )

        try:
            text = self._private.read_text("ascii").strip()
        except FileNotFoundError:
            text = Ed25519PrivateKey.generate().private_bytes_raw().hex()
            replace_durably(self._private, f"{text}\n".encode())
        try:
            key = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(text))
        except ValueError:
            raise ValueError(f"{self._private} holds no Ed25519 key; see docs/audit.md") from None
        self._publish(key.public_key().public_bytes_raw().hex())
        return key

    def _publish(self, public: str) -> None:
        """Beside the private key, to be copied to where checkpoints are verified."""
        with suppress(OSError, UnicodeError):
            if self._public.read_text("ascii").strip() == public:
                return
        replace_durably(self._public, f"{public}\n".encode(), mode=0o644)

    @property
    def public(self) -> str:
        """In hex."""
        return self._key.public_key().public_bytes_raw().hex()

    def sign(self, text: bytes) -> str:
        """The signature in hex."""
        return self._key.sign(text).hex()


def is_signed(key: str, signature: str, text: bytes) -> bool:
    """Whether the holder of this public key (hex) has signed the text."""
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415 -- slow, seldom needed
    from cryptography.hazmat.primitives.asymmetric.ed25519 import (  # noqa: PLC0415
        Ed25519PublicKey,
    )

    try:
        public = Ed25519PublicKey.from_public_bytes(bytes.fromhex(key))
        public.verify(bytes.fromhex(signature), text)
    except (InvalidSignature, ValueError):
        return False
    return True


def public_key_of(folder: Path) -> str:
    """The public key that stands in a folder, in hex; "" where there is none. Makes none."""
    try:
        return (folder / PUBLIC).read_text("ascii").strip()
    except (OSError, UnicodeError):
        return ""


def owner_only(path: Path) -> bool:
    """Whether nobody but its owner may read the file."""
    return not os.stat(path).st_mode & 0o077
