"""Seals the key of a tenant's language model together with the server that it is for, and opens it for that one alone.

Whoever can name another server must not be able to have the key sent there.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from dragoman.domain.errors import ConfigurationError
from dragoman.runtime import Keyring


class OtherServerError(ConfigurationError):
    """The key was added for another server."""


def seal_key(keyring: Keyring, base_url: str, key: str) -> bytes:
    """Seal *key*, which is ASCII without blanks, for the server of *base_url*."""
    return keyring.encrypt(f"{_origin(base_url)} {key}".encode("ascii"))


def open_key(keyring: Keyring, base_url: str, sealed: bytes) -> str:
    """Open what :func:`seal_key` sealed.

    Raises OtherServerError, and cryptography.fernet.InvalidToken under another key of the installation.
    """
    origin, _, key = keyring.decrypt(sealed).decode("ascii").partition(" ")
    if origin != _origin(base_url):
        raise OtherServerError("the key was added for another server; `dragoman classifier key add` replaces it")
    return key


def _origin(base_url: str) -> str:
    """Scheme, host and port, as the address has them."""
    parts = urlsplit(base_url)
    return f"{parts.scheme}://{parts.netloc}".lower()
