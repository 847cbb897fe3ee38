"""Where the bytes of media lie: an interface, and the address that chooses between its implementations.

A content is named by its tenant and its SHA-256, so writing the same twice is harmless and no content is ever changed.
Checkpoints lie in such a store of their own, named by their numbers: they are never changed either.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import parse_qsl, unquote, urlsplit
from uuid import UUID

from dragoman.domain.errors import ConfigurationError

CHUNK = 256 * 1024
"""Bytes that are read at a time."""


class BlobsUnavailableError(Exception):
    """The media store cannot be reached, or refuses; the text says why. Trying again later may help."""


class BlobMissingError(Exception):
    """The media store does not have this content."""


@dataclass(frozen=True, slots=True)
class BlobKey:
    """The name of a content; where an *area* is named its contents are apart, and *sha256* may be of any name."""

    tenant_id: UUID
    sha256: bytes
    area: str = ""

    @property
    def path(self) -> str:
        """Write the key as a path: 256 times 256 folders for each tenant, so that none grows large."""
        digest = self.sha256.hex()
        area = f"{self.area}/" if self.area else ""
        return f"{area}{self.tenant_id}/{digest[:2]}/{digest[2:4]}/{digest}"


@dataclass(frozen=True, slots=True)
class CheckpointKey:
    """Names a checkpoint of a tenant."""

    tenant_id: UUID
    number: int

    @property
    def path(self) -> str:
        """As a path: a folder for each tenant, in which the names sort as the numbers do."""
        return f"{self.tenant_id}/{self.number:08d}.jsonl"


class Key(Protocol):
    """What names a content."""

    @property
    def path(self) -> str:
        """Where it lies in the store."""
        ...


class Blobs(Protocol):
    """Is a media store. All of it raises BlobsUnavailableError when the store cannot be used."""

    @property
    def workspace(self) -> Path:
        """A directory on this machine in which files are made ready for :meth:`put`."""
        ...

    async def put(self, key: Key, file: Path) -> None:
        """Take over *file* as the content *key*, durably and at once: it is there whole, or not at all."""
        ...

    async def has(self, key: Key) -> bool:
        """Whether it is there."""
        ...

    async def size(self, key: Key) -> int | None:
        """How many bytes it has; None where it is not there."""
        ...

    def read(self, key: Key, start: int, end: int) -> AsyncIterator[bytes]:
        """Read its bytes from *start* up to, not including, *end*. Raises BlobMissingError."""
        ...

    async def delete(self, key: Key) -> None:
        """Remove it; harmless when it is not there."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class FileAddress:
    """Names a directory."""

    directory: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class S3Address:
    """A bucket of a store that speaks S3; without *endpoint* it is Amazon's."""

    bucket: str
    prefix: str
    endpoint: str | None
    region: str | None
    virtual_hosts: bool


def read_address(url: str, variable: str = "DRAGOMAN_MEDIA_URL") -> FileAddress | S3Address:
    """Read ``file:/srv/media``, or ``s3://bucket/prefix?endpoint=https://…&region=…&style=virtual``.

    Raises ConfigurationError, with what to write instead into *variable*.
    """
    parts = urlsplit(url)
    if parts.scheme == "file" and not parts.netloc and unquote(parts.path).startswith("/") and not parts.query:
        return FileAddress(directory=Path(unquote(parts.path)))
    if parts.scheme != "s3" or not parts.netloc or "@" in parts.netloc:
        raise ConfigurationError(
            f"{variable} is {_without_secrets(url)!r}; use file:/a/directory or "
            "s3://bucket/prefix?endpoint=https://…&region=…"
        )
    options = dict(parse_qsl(parts.query))
    unknown = set(options) - {"endpoint", "region", "style"}
    if unknown:
        raise ConfigurationError(f"{variable} has no option {min(unknown)!r}; it has endpoint, region and style")
    endpoint = options.get("endpoint")
    if endpoint is not None and urlsplit(endpoint).scheme not in {"http", "https"}:
        raise ConfigurationError(f"{variable}'s endpoint must begin with https:// (or http://)")
    if options.get("style", "path") not in {"path", "virtual"}:
        raise ConfigurationError(f"{variable}'s style is path or virtual")
    return S3Address(
        bucket=parts.netloc,
        prefix=parts.path.strip("/"),
        endpoint=endpoint,
        region=options.get("region"),
        virtual_hosts=options.get("style") == "virtual" or endpoint is None,
    )


def _without_secrets(url: str) -> str:
    scheme, separator, rest = url.partition("://")
    return f"{scheme}{separator}…@{rest.rpartition('@')[2]}" if "@" in rest else url


def open_blobs(url: str | None, data_directory: Path) -> Blobs:
    """Open the media store at *url*; None means the directory ``media`` under *data_directory*.

    Raises ConfigurationError.
    """
    return _open(FileAddress(directory=data_directory / "media") if url is None else read_address(url), data_directory)


def open_checkpoints(url: str | None, data_directory: Path) -> Blobs:
    """Open the store of checkpoints at *url*; None means the directory ``checkpoints`` under *data_directory*.

    Raises ConfigurationError.
    """
    if url is None:
        return _open(FileAddress(directory=data_directory / "checkpoints"), data_directory)
    return _open(read_address(url, "DRAGOMAN_CHECKPOINT_URL"), data_directory)


def _open(address: FileAddress | S3Address, data_directory: Path) -> Blobs:
    # Imported when it is needed: the S3 client is a library of its own, and starting shall be quick.
    if isinstance(address, FileAddress):
        from dragoman.store.blobs.local import LocalBlobs  # noqa: PLC0415

        return LocalBlobs(address.directory)
    from dragoman.store.blobs.s3 import S3Blobs  # noqa: PLC0415

    return S3Blobs(address, data_directory / "media-incoming")
