"""Shows the Handoff Inbox: who waits for a person, one conversation to answer, and why the bot gave it up.

One address serves the page and its fragments: ``#rows`` and ``#talk`` are asked for by name, and live updates ask for
them again and again, with what was written since (``newer``).
"""

from __future__ import annotations

import dataclasses
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Request
from fastapi.responses import HTMLResponse, Response
from starlette.exceptions import HTTPException

from dragoman.domain.handoff import service_level
from dragoman.domain.nouns import Policy
from dragoman.domain.states import TERMINAL, State
from dragoman.domain.text_values import choice_refusal
from dragoman.ledger import changes, pages
from dragoman.ledger.pages import LATEST, EventFilter, PageAnchor
from dragoman.ledger.read import Event
from dragoman.runtime import Runtime
from dragoman.services.handoff.read_inbox import InboxPage, WaitingConversation, read_conversation, read_inbox
from dragoman.store.catalogue import skills
from dragoman.store.conversation_list import conversations
from dragoman.store.conversation_list.conversations import Conversation, Filters, MalformedCursorError
from dragoman.store.database import Connection
from dragoman.store.handoff import agents, attention, drafts, inbox
from dragoman.store.handoff.inbox import SHOWN, Show
from dragoman.store.handoff.queue_places import MOST_COUNTED
from dragoman.translations import deferred
from dragoman.web import audited_reads, media
from dragoman.web.auth import Principal, agent_of, require
from dragoman.web.console import detail, fragments, timeline, wording
from dragoman.web.console.detail import ConversationReader
from dragoman.web.console.emoji import emoji
from dragoman.web.console.handoff_compose import compose_context
from dragoman.web.console.page import off_the_loop, render, target_of
from dragoman.web.http.dependencies import RuntimeDependency, retention_cutoff
from dragoman.web.live import EventStream
from dragoman.web.live.open_stream import open_stream, resumed_from

router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)

ADDRESS = "/communications/handoff-inbox"
READ, WRITE = "communications.handoff_inbox:read", "communications.handoff_inbox:write"
Reader = Annotated[Principal, Depends(require(READ))]

PAGE_SIZE = 50
EARLIER_SESSIONS = 5
STEPS = 8

GAVE_UP = EventFilter(
    types=frozenset(
        {*wording.ERRORS.types, *wording.WARNINGS.types, "intent.unclear", "verification.required"},
    ),
    failed_deliveries=True,
)
"""The steps that led to a person."""

REASONS = (
    deferred("Solved"),
    deferred("Question answered"),
    deferred("The contact did not answer"),
    deferred("Duplicate"),
    deferred("Spam"),
    deferred("Other"),
)
"""What agents choose from when they resolve a conversation; they may write their own."""

NOT_HANDED_OVER = deferred(
    "This conversation is not with an agent. The bot may have it, or the link may be incomplete."
)


@router.get(ADDRESS)
async def page(request: Request, runtime: RuntimeDependency, identity: Reader) -> Response:
    """Show the queue, and no conversation."""
    async with runtime.database.tenant(identity.tenant_id) as connection:
        since = (await changes.read(connection, identity.tenant_id, None)).place
        shown = await _queue(request, runtime, connection, identity)
    return render(request, "handoff/page.html", since=since, active=None, **shown)


@router.get(f"{ADDRESS}/rows")
async def rows(request: Request, runtime: RuntimeDependency, identity: Reader) -> Response:
    """Show the queue as a fragment."""
    async with runtime.database.tenant(identity.tenant_id) as connection:
        shown = await _queue(request, runtime, connection, identity)
    return render(request, "handoff/_queue.html", open_id=request.query_params.get("open", ""), **shown)


@router.get(f"{ADDRESS}/emoji")
async def emoji_to_choose(request: Request, identity: Reader) -> Response:  # noqa: ARG001 - who may see the page
    """Show the emoji to choose from, as a fragment."""
    return render(request, "handoff/_emoji.html", emoji=emoji())


@router.get(f"{ADDRESS}/events", response_class=EventStream)
async def listen(request: Request, identity: Reader) -> Response:
    """Which sessions change, for whoever may see the inbox: the API's stream of events."""
    if request.query_params:
        raise HTTPException(422, "The stream of events takes no parameters.")
    place, lost = resumed_from(request)
    return open_stream(request, identity, READ, place=place, lost=lost)


@router.get(f"{ADDRESS}/{{session_id}}")
async def conversation(request: Request, runtime: RuntimeDependency, identity: Reader, session_id: str) -> Response:
    """Show one conversation beside the queue, or alone as a fragment."""
    return await answer(request, runtime, identity, session_id)


@router.get(f"{ADDRESS}/{{session_id}}/transcript")
async def transcript(request: Request, runtime: RuntimeDependency, identity: Reader, session_id: str) -> Response:
    """Show messages at the place that the query names."""
    async with runtime.database.tenant(identity.tenant_id) as connection:
        reading = await reader_of(connection, runtime, identity, session_id)
        place = await fragments.anchor_of(request, reading)
        shown = await reading.transcript(place)

    def part() -> Response:
        context = detail.transcript_view(request, reading.shown, shown)
        return render(request, "logs/_messages.html", active=reading.shown, side=place.side, **context)

    return await off_the_loop(part)


@router.get(f"{ADDRESS}/{{session_id}}/newer")
async def newer(request: Request, runtime: RuntimeDependency, identity: Reader, session_id: str) -> Response:
    """What was written after ``message`` (an ordinal), with the messages before that changed after ``event``."""
    last, position = (fragments.number_of(request.query_params.get(name, "0"), name) for name in ("message", "event"))
    async with runtime.database.tenant(identity.tenant_id) as connection:
        reading = await reader_of(connection, runtime, identity, session_id)
        events = await reading.timeline(PageAnchor(side="after", number=position))
        fresh = await reading.transcript(PageAnchor(side="after", number=last))
        changed = await fragments.changed_messages(reading, fresh, events.part, last)

    def part() -> Response:
        context = detail.transcript_view(request, reading.shown, fresh)
        changed_items = detail.transcript_view(request, reading.shown, changed)["items"]
        return render(
            request,
            "handoff/_newer.html",
            active=reading.shown,
            changed=changed_items,
            last_event=events.part.items[-1].position if events.part.items else "",
            **context,
        )

    return await off_the_loop(part)


@router.get(f"{ADDRESS}/{{session_id}}/media/{{message_id}}")
async def file(
    request: Request, runtime: RuntimeDependency, identity: Reader, session_id: str, message_id: str
) -> Response:
    """The file that came with a message."""
    try:
        named = UUID(session_id), UUID(message_id)
    except ValueError:
        raise HTTPException(404, deferred("There is no such file. The link may be incomplete.")) from None
    async with runtime.database.tenant(identity.tenant_id) as connection:
        await reader_of(connection, runtime, identity, session_id)
    return await media.answer(request, runtime, identity, *named)


async def reader_of(
    connection: Connection, runtime: Runtime, identity: Principal, session_id: str
) -> ConversationReader:
    """A reading of a session that was handed over at some time. Raises HTTPException 404 for any other."""
    reading = await fragments.reader_of(connection, runtime, identity, session_id)
    if await inbox.handoff_of(connection, identity.tenant_id, reading.conversation.session_id) is None:
        raise HTTPException(404, NOT_HANDED_OVER)
    return dataclasses.replace(reading, address=ADDRESS)


async def answer(
    request: Request,
    runtime: Runtime,
    identity: Principal,
    session_id: str,
    *,
    said: str = "",
    mistake: str = "",
    text: str | None = None,
) -> Response:
    """The conversation as it is now: as a fragment, or beside its queue.

    *said* tells what was done, *mistake* why something was not; *text* is what the agent had written then.
    """
    now = runtime.clock.now()
    async with runtime.database.tenant(identity.tenant_id) as connection:
        since = (await changes.read(connection, identity.tenant_id, None)).place
        reading = await reader_of(connection, runtime, identity, session_id)
        context = await _talk(runtime, connection, identity, reading, now)
        whole = target_of(request) != "talk"
        if whole:
            context |= await _queue(request, runtime, connection, identity)
    context |= {
        "since": since,
        "said": said,
        "mistake": mistake,
        "text": text,
        "reasons": {str(each): each for each in REASONS},
        "address": ADDRESS,
    }
    messages, steps = context.pop("messages_shown"), context.pop("steps_shown")

    def shown() -> Response:
        view = detail.transcript_view(request, reading.shown, messages)
        return render(
            request,
            "handoff/page.html" if whole else "handoff/_talk.html",
            status_code=409 if mistake else 200,
            **context,
            **view,
            side="around",
            steps=timeline.entries_of(steps),
        )

    return await off_the_loop(shown)


async def _talk(
    runtime: Runtime, connection: Connection, identity: Principal, reading: ConversationReader, now: datetime
) -> dict[str, Any]:
    """What the page shows of one conversation."""
    tenant_id, session_id = identity.tenant_id, reading.conversation.session_id
    me = agent_of(identity)
    item = await read_conversation(connection, tenant_id, me.agent_id, session_id, since=reading.cutoff)
    if item is None:
        raise HTTPException(404, NOT_HANDED_OVER)
    policy = (await skills.dispatch_rules(connection, tenant_id)).policy
    window_until = await detail.window_until(connection, tenant_id, reading.conversation, now)
    owner = item.handoff.owner
    last_event = reading.conversation.event_count
    return {
        "active": reading.shown,
        "name": detail.name_of(reading.shown),
        "human": item.handoff,
        "is_open": reading.conversation.state is State.WITH_AGENT,
        "has_ended": reading.conversation.state in TERMINAL,
        "is_mine": owner is not None and owner.agent_id == me.agent_id,
        "level": service_level(item.handoff.waiting_since, policy.handoff.target_seconds, now),
        "window_until": window_until,
        "window_open": window_until is None or window_until > now,
        "messages_shown": await reading.transcript(LATEST),
        "last_event": last_event,
        "steps_shown": await _steps(reading),
        "requested": await _requested(reading),
        "earlier": await _earlier(connection, identity, reading),
        "drafts": await _drafts(connection, identity, session_id),
        "onlookers": await attention.onlookers(connection, tenant_id, session_id, me.agent_id, now=now),
        "request_id": runtime.source.new_id(),
        **await compose_context(runtime, identity, reading),
    }


async def _steps(reading: ConversationReader) -> list[Event]:
    of = (reading.connection, reading.tenant_id, reading.conversation)
    part = await pages.events(*of, LATEST, cutoff=reading.cutoff, limit=STEPS, wanted=GAVE_UP)
    return reading.visibility.events(part.items, reading.mask)


async def _requested(reading: ConversationReader) -> Event | None:
    of = (reading.connection, reading.tenant_id, reading.conversation)
    wanted = EventFilter(types=frozenset({"handoff.requested"}))
    part = await pages.events(*of, LATEST, cutoff=reading.cutoff, limit=1, wanted=wanted)
    return next(iter(reading.visibility.events(part.items, reading.mask)), None)


async def _earlier(connection: Connection, identity: Principal, reading: ConversationReader) -> list[Conversation]:
    found = await conversations.of_contact(
        connection, identity.tenant_id, reading.conversation.contact_id, limit=EARLIER_SESSIONS + 1
    )
    others = [one for one in found if one.session_id != reading.conversation.session_id][:EARLIER_SESSIONS]
    return [identity.visibility.conversation(one, reading.masks) for one in others]


async def _drafts(connection: Connection, identity: Principal, session_id: UUID) -> dict[str, Any]:
    found = await drafts.of_session(connection, identity.tenant_id, session_id, identity.actor_id)
    return {
        "mine": next((draft for draft in found if draft.agent_id == identity.actor_id), None),
        "shared": [
            dataclasses.replace(draft, body=identity.visibility.typed(draft.body))
            for draft in found
            if draft.agent_id != identity.actor_id
        ],
    }


async def _queue(request: Request, runtime: Runtime, connection: Connection, identity: Principal) -> dict[str, Any]:
    """What ``handoff/_queue.html`` shows."""
    show = _shown(request)
    cutoff = retention_cutoff(runtime, identity.retention_days)
    me, now = agent_of(identity), runtime.clock.now()
    try:
        found = await read_inbox(
            connection,
            identity.tenant_id,
            me.agent_id,
            show,
            cursor=request.query_params.get("cursor") or None,
            limit=PAGE_SIZE,
            since=cutoff,
        )
    except MalformedCursorError as error:
        raise HTTPException(
            422, deferred("This page of the list no longer exists. Start again from the first page.")
        ) from error
    await audited_reads.listed(runtime, connection, identity, Filters(state=(State.WITH_AGENT,)))
    policy = (await skills.dispatch_rules(connection, identity.tenant_id)).policy
    return {
        "show": show,
        "cursor": request.query_params.get("cursor", ""),
        "counts": await inbox.counts(connection, identity.tenant_id, me.agent_id),
        "most": MOST_COUNTED,
        "waiting": await _masked(connection, identity, found),
        "next_cursor": found.next_cursor,
        "address": ADDRESS,
        "levels": {one.conversation.session_id: _level(one, policy, now) for one in found.items},
        "me": me,
        "present": await _present(connection, identity),
    }


async def _present(connection: Connection, identity: Principal) -> bool | None:
    """Whether the reader takes new conversations, as they said; None for somebody who answers no contacts."""
    if identity.user_id is None or not identity.may(WRITE):
        return None
    return (await agents.get(connection, identity.tenant_id, identity.user_id)).available


def _level(one: WaitingConversation, policy: Policy, now: datetime) -> str:
    return service_level(one.handoff.waiting_since, policy.handoff.target_seconds, now)


def _shown(request: Request) -> Show:
    """Which list the query names; all that wait where it names none."""
    given = request.query_params.get("show", "all")
    for show in SHOWN:
        if show == given:
            return show
    raise HTTPException(422, deferred("%(name)s: %(refusal)s.", name="show", refusal=choice_refusal(SHOWN, given)))


async def _masked(connection: Connection, identity: Principal, found: InboxPage) -> list[WaitingConversation]:
    masks = await identity.visibility.masks(
        connection, identity.tenant_id, [one.conversation.contact_id for one in found.items]
    )
    return [identity.visibility.waiting(one, masks) for one in found.items]
