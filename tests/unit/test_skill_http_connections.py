"""Connections between calls: kept, one call at a time on each, and let go in time."""

from __future__ import annotations

import asyncio
import gc
import ssl
import time
from typing import Any

import httpcore
import pytest

from dragoman.skills.http_connections import Connections
from tests.skill_server import Behaviour, SkillServer, answering, endless, hang, http, serving
from tests.waiting import PATIENCE_S, eventually

FINE = answering({"replies": ["fine"]})
LONG = 10 * PATIENCE_S


def connections(*, idle_seconds: float = LONG, **options: Any) -> Connections:
    return Connections(ssl.create_default_context(), httpcore.AnyIOBackend(), idle_seconds=idle_seconds, **options)


async def get(kept: Connections, server: SkillServer, *, read: bool = True) -> int:
    request = httpcore.Request("GET", server.url(), headers=[("Host", "skills.test")])
    async with kept.send(request) as response:
        if read:
            async for _ in response.aiter_stream():
                pass
        return response.status


async def test_one_after_the_other_share_a_connection() -> None:
    async with serving(FINE) as server:
        kept = connections()
        assert [await get(kept, server) for _ in range(5)] == [200] * 5
        await kept.aclose()
    assert server.connections == 1


async def test_calls_at_once_have_connections_of_their_own_and_reuse_them() -> None:
    rounds = 0

    async def together(request: Any, writer: asyncio.StreamWriter) -> None:
        await server.arrived(20 * rounds)
        await FINE(request, writer)

    async with serving(together) as server:
        kept = connections()
        for rounds in range(1, 5):  # noqa: B007 - read above
            await asyncio.gather(*(get(kept, server) for _ in range(20)))
        await kept.aclose()
    assert (server.connections, len(server.received)) == (20, 80)


async def test_a_connection_that_the_server_closed_is_not_used_again() -> None:
    async def once(request: Any, writer: asyncio.StreamWriter) -> None:
        await FINE(request, writer)
        await writer.drain()
        writer.close()

    async with serving(once) as server:
        kept = connections()
        for _ in range(3):
            await get(kept, server)
            (idle,) = kept._idle.values()
            assert idle
            await eventually(lambda idle=idle: all(one.has_expired() for one in idle))  # type: ignore[misc]
        await kept.aclose()
    assert server.connections == 3


@pytest.mark.parametrize("behaviour", [endless, http(b"{}", headers={"Connection": "close"})])
async def test_a_connection_in_the_middle_of_an_answer_is_closed(behaviour: Behaviour) -> None:
    async with serving(behaviour) as server:
        kept = connections()
        for _ in range(2):
            await get(kept, server, read=False)
        await kept.aclose()
    assert server.connections == 2


async def test_no_more_stay_idle_than_allowed_and_not_for_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(FINE) as server:
        kept = connections(most_idle=2)
        await asyncio.gather(*(get(kept, server) for _ in range(5)))
        made = server.connections
        assert sum(map(len, kept._idle.values())) == 2
        read = time.monotonic
        monkeypatch.setattr(time, "monotonic", lambda: read() + LONG + 1)
        await get(kept, server)
        assert server.connections == made + 1
        assert sum(map(len, kept._idle.values())) == 1, "the two that had expired are closed and forgotten"
        await kept.aclose()


async def test_a_call_that_is_cancelled_takes_its_connection_with_it() -> None:
    async with serving(hang) as server:
        kept = connections()
        for count in range(1, 4):
            task = asyncio.create_task(get(kept, server))
            await server.arrived(count)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        assert sum(map(len, kept._idle.values())) == 0
        gc.collect()  # an open socket would be a ResourceWarning, and so a failure
