"""The key that signs checkpoints: made once, and kept in the data directory for its owner alone.

It is not in the database, and that is the point of it: who rules the database cannot sign.
"""

from __future__ import annotations

import base64
import contextlib
import os
import tempfile
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from dragoman.domain.errors import ConfigurationError
from dragoman.ledger.checkpoint import public_bytes
from dragoman.settings import Settings

FILE = "checkpoint.key"


def signing_key(settings: Settings) -> Ed25519PrivateKey:
    """The key; made now where there is none yet. Raises ConfigurationError for one that cannot be used, and OSError."""
    found = _known(settings)
    if found is not None:
        return found
    _make(settings.data_directory / FILE)
    return _read((settings.data_directory / FILE).read_text(), str(settings.data_directory / FILE))


def public_key(settings: Settings) -> bytes | None:
    """The public key's 32 bytes; None where no key was made or given yet. Raises ConfigurationError, OSError."""
    found = _known(settings)
    return None if found is None else public_bytes(found)


def pem(public: bytes) -> str:
    """Write the public key in the form that other programs read."""
    key = Ed25519PublicKey.from_public_bytes(public)
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def _known(settings: Settings) -> Ed25519PrivateKey | None:
    if settings.checkpoint_key is not None:
        return _read(settings.checkpoint_key, "DRAGOMAN_CHECKPOINT_KEY")
    path = settings.data_directory / FILE
    try:
        return _read(path.read_text(), str(path))
    except FileNotFoundError:
        return None


def _read(text: str, where: str) -> Ed25519PrivateKey:
    try:
        return Ed25519PrivateKey.from_private_bytes(base64.urlsafe_b64decode(text.strip()))
    except ValueError as error:
        raise ConfigurationError(f"{where} must be 32 random bytes in URL-safe base64") from error


def _make(path: Path) -> None:
    """Write a new key, whole or not at all; of two processes that do so at once, one has its way."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # Readable by this user only, as the module promises.
    descriptor, unfinished = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w") as handle:
            handle.write(base64.urlsafe_b64encode(Ed25519PrivateKey.generate().private_bytes_raw()).decode() + "\n")
            handle.flush()
            os.fsync(handle.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(unfinished, path)
    finally:
        Path(unfinished).unlink()
