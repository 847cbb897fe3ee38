"""One conversation whole, to take away: as plain text, and as a document to print.

Both are sent while they are read, part by part, each in a transaction of its own: a long conversation neither waits in
memory nor holds a connection while somebody's browser is slow.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import HTMLResponse, Response, StreamingResponse

from dragoman.ledger.pages import FIRST, PageAnchor
from dragoman.store.conversation_list.conversations import Conversation, Filters
from dragoman.web.auth import Principal, require
from dragoman.web.console import detail, fragments, holds, plain, reviews
from dragoman.web.console.detail import ConversationReader, Timeline, Transcript
from dragoman.web.console.page import html, off_the_loop, times_of, times_on_paper
from dragoman.web.console.query import ADDRESS
from dragoman.web.http.dependencies import RuntimeDependency

router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)

Reader = Annotated[Principal, Depends(require("communications.access:read"))]
Opened = Callable[[], AbstractAsyncContextManager[ConversationReader]]

MESSAGES = 200
EVENTS = 300


@router.get(f"{ADDRESS}/{{session_id}}/text")
async def text(request: Request, runtime: RuntimeDependency, identity: Reader, session_id: str) -> Response:
    """Send the transcript as plain text, with names and times; with ``timeline=1`` the timeline after it."""
    with_timeline = request.query_params.get("timeline") == "1"
    opened = _opener(runtime, identity, session_id)
    async with opened() as reading:
        found = reading.shown
    times = times_of(request)

    async def lines() -> AsyncIterator[str]:
        yield plain.heading(found, times)
        async for shown in _transcript(opened):
            yield await off_the_loop(partial(_plain_messages, request, found, shown))
        if with_timeline:
            yield plain.timeline_heading()
            async for events in _timeline(opened):
                yield await off_the_loop(partial(_plain_events, request, events))

    return StreamingResponse(lines(), media_type="text/plain; charset=utf-8", headers={"Cache-Control": "no-store"})


@router.get(f"{ADDRESS}/{{session_id}}/print")
async def printed(request: Request, runtime: RuntimeDependency, identity: Reader, session_id: str) -> Response:
    """Show summary, transcript and timeline as one document, every step expanded."""
    opened = _opener(runtime, identity, session_id)
    now = runtime.clock.now()
    async with opened() as reading:
        loaded = await detail.load(reading, Filters(), now=now)
        review = await reviews.context(reading.connection, identity, reading.conversation.session_id)
        review |= await holds.context(reading.connection, identity, reading.conversation.session_id)
    context = (
        await off_the_loop(lambda: detail.view(request, loaded, now))
        | detail.keeping(runtime, identity, loaded.conversation)
        | review
        | {"active": loaded.conversation, "side": "around"}
        | {"times": times_on_paper(request)}
    )

    async def pieces() -> AsyncIterator[str]:
        yield html(request, "logs/print/top.html", **context)
        async for shown in _transcript(opened):
            yield await off_the_loop(partial(_messages, request, context, loaded.conversation, shown))
        yield html(request, "logs/print/middle.html", **context)
        async for events in _timeline(opened):
            yield await off_the_loop(partial(_events, request, context, events))
        yield html(request, "logs/print/end.html", **context)

    return StreamingResponse(pieces(), media_type="text/html; charset=utf-8")


def _plain_messages(request: Request, found: Conversation, shown: Transcript) -> str:
    view = detail.transcript_view(request, found, shown, times_on_paper(request))
    return plain.transcript(view["items"], times_of(request))


def _plain_events(request: Request, events: Timeline) -> str:
    return plain.timeline(detail.timeline_view(events)["groups"], times_of(request))


def _messages(request: Request, context: dict[str, Any], found: Conversation, shown: Transcript) -> str:
    view = detail.transcript_view(request, found, shown, times_on_paper(request))
    return html(request, "logs/_messages.html", **(context | view))


def _events(request: Request, context: dict[str, Any], events: Timeline) -> str:
    return html(request, "logs/_events.html", expanded=True, **(context | detail.timeline_view(events)))


def _opener(runtime: RuntimeDependency, identity: Principal, session_id: str) -> Opened:
    return lambda: fragments.opened(runtime, identity, session_id)


async def _transcript(opened: Opened) -> AsyncIterator[Transcript]:
    place = FIRST
    while True:
        async with opened() as reading:
            shown = await reading.transcript(place, limit=MESSAGES)
        if shown.part.items:
            yield dataclasses.replace(shown, part=dataclasses.replace(shown.part, earlier=False, later=False))
        if not shown.part.later:
            return
        place = PageAnchor(side="after", number=shown.part.items[-1].ordinal)
        await asyncio.sleep(0)


async def _timeline(opened: Opened) -> AsyncIterator[Timeline]:
    place = FIRST
    while True:
        async with opened() as reading:
            shown = await reading.timeline(place, limit=EVENTS)
        if shown.part.items:
            yield dataclasses.replace(shown, part=dataclasses.replace(shown.part, earlier=False, later=False))
        if not shown.part.later:
            return
        place = PageAnchor(side="after", number=shown.part.items[-1].position)
        await asyncio.sleep(0)
