"""A stand-in with a webhook beside it, both in this process, for the stand-in's own tests."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from graph_standin import Number, Standin, StandinConfig, create_app

NOW = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)
NUMBER = Number(phone_number_id="700", token="t-700", app_secret="s-700", display_phone_number="+43 1 23")
SECOND = Number(phone_number_id="701", token="t-701", app_secret="s-701")
OURS = {"Authorization": "Bearer control"}
TEXT = {"messaging_product": "whatsapp", "to": "+43 664 1", "type": "text", "text": {"body": "Hello"}}


class RecordingReceiver:
    """A webhook in this process: keeps what came, and answers the next of *answers*, then 200."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.signatures: list[str] = []
        self.answers: list[int] = []
        self.app = Starlette(routes=[Route("/hook", self.receive, methods=["POST"])])

    async def receive(self, request: Request) -> Response:
        self.bodies.append(await request.body())
        self.signatures.append(request.headers["x-hub-signature-256"])
        return Response(status_code=self.answers.pop(0) if self.answers else 200)

    @property
    def values(self) -> list[dict[str, Any]]:
        return [json.loads(body)["entry"][0]["changes"][0]["value"] for body in self.bodies]

    @property
    def statuses(self) -> list[dict[str, Any]]:
        return [status for value in self.values for status in value.get("statuses", [])]


class StandinHarness:
    """One stand-in, its receiver, and a client to the stand-in."""

    def __init__(self, journal: Path | None = None, **changes: Any) -> None:
        self.receiver = RecordingReceiver()
        config = StandinConfig(
            webhook_url="http://dispatcher.test/hook",
            control_token="control",
            numbers=(NUMBER, SECOND),
            journal_path=journal,
            http=lambda: httpx.AsyncClient(transport=httpx.ASGITransport(app=self.receiver.app)),
            clock=lambda: NOW,
            webhook_pause=0.0,
        )
        app = create_app(replace(config, **changes))
        self.standin: Standin = app.state.standin
        self.http = httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://graph.test")

    async def send(self, body: Any = TEXT, *, token: str = "t-700", number: str = "700") -> httpx.Response:
        headers = {"Authorization": f"Bearer {token}"}
        return await self.http.post(f"/v24.0/{number}/messages", json=body, headers=headers)

    async def tell(self, *rules: dict[str, Any]) -> httpx.Response:
        return await self.http.post("/control", json={"rules": rules}, headers=OURS)

    async def journal(self, **query: Any) -> list[dict[str, Any]]:
        response = await self.http.get("/journal", params=query, headers=OURS)
        entries: list[dict[str, Any]] = response.json()["entries"]
        return entries


@asynccontextmanager
async def world_of(journal: Path | None = None, **changes: Any) -> AsyncIterator[StandinHarness]:
    made = StandinHarness(journal, **changes)
    try:
        yield made
    finally:
        await made.http.aclose()
        await made.standin.close()
