"""Keeps media in a directory of this machine, or of a network file system that all machines share.

A file is written under ``incoming`` and renamed into its place, after it and before the rename's directory were
brought to the disk (fsync): a power cut leaves a whole file or none.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

from dragoman.store.blobs import CHUNK, BlobMissingError, BlobsUnavailableError, Key


class LocalBlobs:
    """The directory; made when something is first put there, readable by this user only."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    @property
    def workspace(self) -> Path:
        """On the same file system, so that putting a file there is a rename."""
        return self._directory / "incoming"

    def _path(self, key: Key) -> Path:
        return self._directory / "objects" / key.path

    async def put(self, key: Key, file: Path) -> None:
        """See :class:`~dragoman.store.blobs.Blobs`."""
        await asyncio.to_thread(self._put, key, file)

    def _put(self, key: Key, file: Path) -> None:
        with _told():
            target = self._path(key)
            if target.exists():
                file.unlink(missing_ok=True)
                return
            made = _make_directories(target.parent)
            _sync(file)
            file.replace(target)
            for directory in (target.parent, *made):
                _sync(directory)

    async def has(self, key: Key) -> bool:
        """See :class:`~dragoman.store.blobs.Blobs`."""
        return await asyncio.to_thread(self._path(key).is_file)

    async def size(self, key: Key) -> int | None:
        """See :class:`~dragoman.store.blobs.Blobs`."""
        with _told():
            try:
                return (await asyncio.to_thread(self._path(key).stat)).st_size
            except FileNotFoundError:
                return None

    async def read(self, key: Key, start: int, end: int) -> AsyncIterator[bytes]:
        """See :class:`~dragoman.store.blobs.Blobs`."""
        with _told():
            try:
                handle = await asyncio.to_thread(self._path(key).open, "rb")
            except FileNotFoundError:
                raise BlobMissingError(key.path) from None
            try:
                await asyncio.to_thread(handle.seek, start)
                while start < end:
                    chunk = await asyncio.to_thread(handle.read, min(CHUNK, end - start))
                    if not chunk:
                        raise BlobMissingError(f"{key.path} is shorter than it was")
                    start += len(chunk)
                    yield chunk
            finally:
                handle.close()

    async def delete(self, key: Key) -> None:
        """See :class:`~dragoman.store.blobs.Blobs`."""
        await asyncio.to_thread(self._delete, key)

    def _delete(self, key: Key) -> None:
        with _told():
            path = self._path(key)
            path.unlink(missing_ok=True)
            left = path.parent
            # Empty folders would pile up; one that is not empty stays.
            for folder in list(path.parents)[:3]:
                try:
                    folder.rmdir()
                except OSError:
                    break
                left = folder.parent
            with contextlib.suppress(FileNotFoundError):
                _sync(left)


def _make_directories(folder: Path) -> list[Path]:
    """Make *folder* with all above it; the directories in which something new stands by that."""
    missing = [folder, *folder.parents]
    missing = missing[: next(place for place, found in enumerate(missing) if found.is_dir())]
    for made in reversed(missing):
        made.mkdir(mode=0o700, exist_ok=True)
    return [made.parent for made in missing]


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise BlobsUnavailableError(f"the directory cannot be used: {error}") from error
