"""The demo's order system: what it takes, and that nothing makes it fall over."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest

from dragoman_shop.order_system import MOST_BYTES, WAREHOUSE, OrderSystem
from tests.ports import free_port

SIGNED = {"Dragoman-Signature": "v1=00"}


@pytest.fixture
async def port() -> AsyncIterator[int]:
    port = free_port()
    system = OrderSystem(port=port)
    await system.start()
    yield port
    await system.close()


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [("/conversations", SIGNED, 200), (f"{WAREHOUSE}/collections", SIGNED, 503), ("/conversations", {}, 401)],
)
async def test_it_takes_what_is_signed_but_for_its_warehouse(
    port: int, path: str, headers: dict[str, str], status: int
) -> None:
    async with httpx.AsyncClient(trust_env=False) as client:
        answer = await client.post(f"http://127.0.0.1:{port}{path}", json={"order": "VF-1"}, headers=headers)
    assert answer.status_code == status
    assert answer.json()


@pytest.mark.parametrize(
    "request_", [b"", b"hello\r\n\r\n", f"POST / X\r\nContent-Length: {MOST_BYTES + 1}\r\n\r\n".encode()]
)
async def test_what_is_no_request_is_hung_up_on(port: int, request_: bytes) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request_)
    writer.write_eof()
    await reader.read()
    writer.close()
    async with httpx.AsyncClient(trust_env=False) as client:
        assert (await client.post(f"http://127.0.0.1:{port}/", headers=SIGNED)).status_code == 200
