"""Both media stores keep the same promises: the directory, and a bucket behind a real S3-compatible server."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from uuid import UUID

import pytest

from dragoman.domain.errors import ConfigurationError
from dragoman.store.blobs import (
    BlobKey,
    BlobMissingError,
    Blobs,
    BlobsUnavailableError,
    CheckpointKey,
    FileAddress,
    S3Address,
    open_blobs,
    open_checkpoints,
    read_address,
)
from dragoman.store.blobs.local import LocalBlobs
from tests.s3 import serving

TENANT, OTHER = UUID(int=1), UUID(int=2)
CONTENT = os.urandom(700_000)
# Above the size at which an upload goes in parts.
LARGE = os.urandom(11 * 1024 * 1024)


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    """A server for the tests of this process; each of them has a place of its own in the bucket."""
    with serving("media") as endpoint:
        yield endpoint


@pytest.fixture(params=["directory", "bucket"])
def blobs(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Blobs:
    if request.param == "directory":
        return LocalBlobs(tmp_path / "media")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    endpoint = request.getfixturevalue("s3")
    return open_blobs(f"s3://media/{tmp_path.name}?endpoint={endpoint}", tmp_path)


def key_of(content: bytes, tenant: UUID = TENANT) -> BlobKey:
    return BlobKey(tenant, hashlib.sha256(content).digest())


async def put(blobs: Blobs, content: bytes, name: str = "part") -> BlobKey:
    file = blobs.workspace / name
    await asyncio.to_thread(file.parent.mkdir, parents=True, exist_ok=True)
    await asyncio.to_thread(file.write_bytes, content)
    await blobs.put(key_of(content), file)
    assert not await asyncio.to_thread(file.exists)
    return key_of(content)


async def whole(chunks: AsyncIterator[bytes]) -> bytes:
    return b"".join([chunk async for chunk in chunks])


async def test_what_is_put_is_read(blobs: Blobs) -> None:
    for content in (CONTENT, LARGE, b"x"):
        key = await put(blobs, content)
        assert await blobs.has(key)
        assert await whole(blobs.read(key, 0, len(content))) == content


async def test_a_checkpoint_lies_under_its_number(blobs: Blobs) -> None:
    key = CheckpointKey(TENANT, 3)
    assert await blobs.size(key) is None
    file = blobs.workspace / "upload"
    await asyncio.to_thread(file.parent.mkdir, parents=True, exist_ok=True)
    await asyncio.to_thread(file.write_bytes, CONTENT)
    await blobs.put(key, file)
    assert await blobs.size(key) == len(CONTENT)
    assert await blobs.size(CheckpointKey(TENANT, 4)) is None
    assert await whole(blobs.read(key, 0, len(CONTENT))) == CONTENT
    assert key.path == f"{TENANT}/00000003.jsonl"


async def test_a_part_is_read(blobs: Blobs) -> None:
    key = await put(blobs, CONTENT)
    for start, end in ((0, 1), (10, 20), (299_999, 600_001), (len(CONTENT) - 1, len(CONTENT)), (5, 5)):
        assert await whole(blobs.read(key, start, end)) == CONTENT[start:end]


async def test_putting_twice_and_deleting_twice_is_harmless(blobs: Blobs) -> None:
    key = await put(blobs, CONTENT, "one")
    await put(blobs, CONTENT, "two")
    assert await whole(blobs.read(key, 0, 10)) == CONTENT[:10]
    await blobs.delete(key)
    await blobs.delete(key)
    assert not await blobs.has(key)
    with pytest.raises(BlobMissingError):
        await whole(blobs.read(key, 0, 10))


async def test_tenants_do_not_share(blobs: Blobs) -> None:
    await put(blobs, CONTENT)
    assert not await blobs.has(key_of(CONTENT, OTHER))
    await blobs.delete(key_of(CONTENT, OTHER))
    assert await blobs.has(key_of(CONTENT))


async def test_a_directory_is_private_and_left_clean(tmp_path: Path) -> None:
    blobs = LocalBlobs(tmp_path / "media")
    key = await put(blobs, b"a photo")
    (stored,) = [path for path in (tmp_path / "media" / "objects").rglob("*") if path.is_file()]
    assert stored.name == key.sha256.hex()
    assert stored.parent.stat().st_mode & 0o077 == 0
    await blobs.delete(key)
    assert list((tmp_path / "media" / "objects").iterdir()) == []


async def test_a_file_that_lost_its_end_is_noticed(tmp_path: Path) -> None:
    blobs = LocalBlobs(tmp_path / "media")
    key = await put(blobs, CONTENT)
    (stored,) = [path for path in (tmp_path / "media" / "objects").rglob("*") if path.is_file()]
    os.truncate(stored, 100)
    with pytest.raises(BlobMissingError):
        await whole(blobs.read(key, 0, len(CONTENT)))


async def test_a_store_that_is_away_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    blocked = tmp_path / "blocked"
    blocked.write_bytes(b"")
    file = tmp_path / "file"
    file.write_bytes(b"x")
    with pytest.raises(BlobsUnavailableError):
        await LocalBlobs(blocked).put(key_of(b"x"), file)
    assert file.exists()


def test_addresses(tmp_path: Path) -> None:
    assert (
        read_address("file:/srv/media")
        == read_address("file:///srv/media")
        == FileAddress(directory=Path("/srv/media"))
    )
    assert read_address("s3://bucket/a/b?endpoint=https://s3.example&region=eu-1") == S3Address(
        bucket="bucket", prefix="a/b", endpoint="https://s3.example", region="eu-1", virtual_hosts=False
    )
    assert read_address("s3://bucket") == S3Address(
        bucket="bucket", prefix="", endpoint=None, region=None, virtual_hosts=True
    )
    assert open_blobs(None, tmp_path).workspace == tmp_path / "media" / "incoming"


def test_where_checkpoints_lie(tmp_path: Path) -> None:
    assert open_checkpoints(None, tmp_path).workspace == tmp_path / "checkpoints" / "incoming"
    with pytest.raises(ConfigurationError, match="DRAGOMAN_CHECKPOINT_URL is 'ftp://there'; use file:"):
        open_checkpoints("ftp://there", tmp_path)


@pytest.mark.parametrize(
    "url",
    [
        "media",
        "file:media",
        "file://host/media",
        "ftp://x/y",
        "s3://",
        "s3://key:secret@bucket",
        "s3://bucket?endpoint=s3.example",
        "s3://bucket?endpont=https://s3.example",
        "s3://bucket?style=odd",
    ],
)
def test_an_address_that_cannot_be_used_is_told(url: str) -> None:
    with pytest.raises(ConfigurationError, match="DRAGOMAN_MEDIA_URL") as told:
        read_address(url)
    assert "secret" not in str(told.value)
