"""Which answers are made smaller, and which are not."""

from __future__ import annotations

import gzip
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response, StreamingResponse
from starlette.routing import Mount, Route

from dragoman.web.http.compression import Bundle, Compression

LONG = "<p>" + "words " * 2000


async def _page(_: Request) -> Response:
    return HTMLResponse(LONG)


async def _short(_: Request) -> Response:
    return HTMLResponse("short")


async def _image(_: Request) -> Response:
    return Response(LONG.encode(), media_type="image/png")


async def _parts(request: Request) -> Response:
    async def parts() -> AsyncIterator[bytes]:
        for _ in range(3):
            yield LONG.encode()

    return StreamingResponse(parts(), media_type=request.query_params["type"])


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    (tmp_path / "a.js").write_text("whole")
    (tmp_path / "a.js.br").write_text("small")
    (tmp_path / "b.js").write_text("whole")
    app = Starlette(
        routes=[
            Route("/page", _page),
            Route("/short", _short),
            Route("/image", _image),
            Route("/parts", _parts),
            Mount("/static", Bundle(directory=tmp_path)),
        ],
        middleware=[Middleware(Compression)],
    )
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://x") as made:
        yield made


async def _raw(client: httpx.AsyncClient, path: str, **headers: str) -> tuple[httpx.Response, bytes]:
    sent = {"accept-encoding": "gzip, br", **{name.replace("_", "-"): value for name, value in headers.items()}}
    async with client.stream("GET", path, headers=sent) as response:
        return response, b"".join([part async for part in response.aiter_raw()])


async def test_a_page_is_compressed_for_whom_it_may_be(client: httpx.AsyncClient) -> None:
    for headers in ({}, {"sec_fetch_site": "same-origin"}, {"sec_fetch_site": "none"}):
        response, body = await _raw(client, "/page", **headers)
        assert response.headers["content-encoding"] == "gzip"
        assert gzip.decompress(body).decode() == LONG
        assert len(body) == int(response.headers["content-length"]) < 500
        assert {"Accept-Encoding", "Sec-Fetch-Site"} <= set(response.headers["vary"].split(", "))


async def test_not_for_who_cannot_read_it_nor_when_another_site_asked(client: httpx.AsyncClient) -> None:
    for headers in (
        {"accept_encoding": "identity"},
        {"accept_encoding": "gzip;q=0"},
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "same-site"},
    ):
        response, body = await _raw(client, "/page", **headers)
        assert "content-encoding" not in response.headers, headers
        assert body.decode() == LONG
        assert "Sec-Fetch-Site" in response.headers["vary"]


async def test_what_would_not_gain_or_comes_in_parts_passes(client: httpx.AsyncClient) -> None:
    for path in ("/short", "/image", "/parts?type=text/html", "/parts?type=text/event-stream"):
        response, body = await _raw(client, path)
        assert "content-encoding" not in response.headers, path
        assert body


async def test_a_file_of_the_bundle_has_a_smaller_twin(client: httpx.AsyncClient) -> None:
    response, body = await _raw(client, "/static/a.js")
    assert (body, response.headers["content-encoding"], response.headers["vary"]) == (b"small", "br", "Accept-Encoding")
    assert response.headers["content-type"].startswith("text/javascript")
    assert (await _raw(client, "/static/a.js", accept_encoding="gzip"))[1] == b"whole"
    response, body = await _raw(client, "/static/b.js")
    assert (body, "content-encoding" in response.headers) == (b"whole", False)
